"""What a module in another process exports, read from its memory there.

The headers belong to the other process, which may be broken or hostile: each
count and offset is checked against the module before it is used.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NoReturn

from winipc.process.types import Export, Module

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess

__all__ = ["read_exports"]

_MOST_EXPORTS = 65536  # an ordinal has 16 bits
_LONGEST_NAME = 4096
_OPTIONAL_HEADER = {0x10B: 96, 0x20B: 112}  # magic: offset of the directories


def read_exports(process: RemoteProcess, module: Module) -> list[Export]:
    """The exports of `module`, in the order of their ordinals.

    Raises:
        ValueError: the headers of the module contradict themselves.
        PartialReadError: they cannot be read.
    """
    with process.cached():
        return _Image(process, module).exports()


class _Image:
    """The image of a module, read with checks."""

    def __init__(self, process: RemoteProcess, module: Module) -> None:
        self.process = process
        self.module = module
        self.letters = module.size  # what all texts together may have

    def fail(self, what: str) -> NoReturn:
        raise ValueError(f"{self.module.name}: {what}")

    def read(self, rva: int, size: int) -> bytes:
        if rva > self.module.size or size > self.module.size - rva:
            self.fail(f"{size} bytes at offset {rva:#x} are outside of the module")
        return self.process.read(self.module.base + rva, size)

    def text(self, rva: int) -> str:
        if rva >= self.module.size:
            self.fail(f"a name at offset {rva:#x} is outside of the module")
        room = min(_LONGEST_NAME, self.module.size - rva)
        data = self.process.read_cstr(self.module.base + rva, None, max_bytes=room)
        # Names that overlap would make gigabytes of a small module.
        self.letters -= len(data)
        if self.letters < 0:
            self.fail("its names are longer than the module")
        return data.decode("utf-8", "backslashreplace")

    def table(self, rva: int, count: int, code: str) -> tuple[int, ...]:
        layout = struct.Struct(f"<{count}{code}")
        return layout.unpack(self.read(rva, layout.size))

    def directory(self) -> tuple[int, int]:
        """Where the export directory is, and its size; (0, 0) for none."""
        if self.read(0, 2) != b"MZ":
            self.fail("no MZ header")
        (pe,) = struct.unpack("<I", self.read(0x3C, 4))
        if self.read(pe, 4) != b"PE\0\0":
            self.fail("no PE header")
        optional = pe + 24
        (magic,) = struct.unpack("<H", self.read(optional, 2))
        if magic not in _OPTIONAL_HEADER:
            self.fail(f"unknown optional header {magic:#x}")
        directories = optional + _OPTIONAL_HEADER[magic]
        (count,) = struct.unpack("<I", self.read(directories - 4, 4))
        if count == 0:
            return 0, 0
        rva, size = struct.unpack("<II", self.read(directories, 8))
        return rva, size

    def exports(self) -> list[Export]:
        start, size = self.directory()
        if start == 0:
            return []
        fields = struct.unpack("<10I", self.read(start, 40))
        if size > self.module.size - start:
            self.fail(f"its exports, {size} bytes at {start:#x}, are outside of it")
        ordinal_base, functions, names = fields[4:7]
        function_table, name_table, ordinal_table = fields[7:10]
        if functions > _MOST_EXPORTS or names > _MOST_EXPORTS:
            self.fail(f"{functions} exports and {names} names are too many")
        offsets = self.table(function_table, functions, "I") if functions else ()
        named: dict[int, list[str]] = {}
        if names:
            name_offsets = self.table(name_table, names, "I")
            ordinals = self.table(ordinal_table, names, "H")
            for index, offset in zip(ordinals, name_offsets, strict=True):
                if index >= functions:
                    self.fail(f"a name belongs to export {index} of {functions}")
                named.setdefault(index, []).append(self.text(offset))
        found: list[Export] = []
        for index, offset in enumerate(offsets):
            if offset == 0:
                continue  # an ordinal that is not used
            forwarder = self.text(offset) if start <= offset < start + size else None
            address = None if forwarder is not None else self.module.base + offset
            for name in named.get(index, (None,)):
                found.append(Export(name, ordinal_base + index, address, forwarder))
        return found
