"""PE images: write a DLL with a shared section, and inspect images without loading.

`build_section_dll` writes, without a compiler, a DLL whose exported variables are
shared by all processes that load it::

    from winipc.pe import build_section_dll

    build_section_dll("telemetry.dll", {"counter": 8, "frames": 1 << 20})
    with winipc.SharedSection.load("telemetry.dll", "counter") as section:
        print(section.symbol, section.get(0, "i64"))  # counter 0

The DLL has no code. Equal arguments give equal bytes, and long runs of zeros take no
room in the file. `inspect_dll` reads the sections and exports of any DLL from its file,
without loading or trusting it. `ImageReader` does the same with an image in memory, of
this process or another one.

See `winipc.section` for the security of shared sections.
"""

from __future__ import annotations

import contextlib
import enum
import os
import struct
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, NoReturn

__all__ = [
    "ImageReader",
    "MachineName",
    "PEExport",
    "PEImage",
    "PESection",
    "SectionFlags",
    "SectionVariable",
    "build_section_dll",
    "definition_bytes",
    "inspect_dll",
    "section_dll_bytes",
]

MachineName = Literal["amd64", "x86", "arm64"]

#: The machine of this process.
MACHINE: MachineName = (
    "arm64" if "ARM64" in sys.version else "amd64" if sys.maxsize > 1 << 32 else "x86"
)

#: A variable's size, its initial bytes, or both (the rest is zeros).
Initial = int | bytes | bytearray | memoryview | tuple[int, bytes]


class SectionFlags(enum.IntFlag, boundary=enum.KEEP):
    """Characteristics of a section of a PE image, named as in Win32."""

    #: The section has code.
    CNT_CODE = 0x00000020
    #: The section has data whose bytes are in the file.
    CNT_INITIALIZED_DATA = 0x00000040
    #: The section has data that starts as zeros and takes no room in the file.
    CNT_UNINITIALIZED_DATA = 0x00000080
    #: The section is not needed once the image is loaded, such as relocations.
    MEM_DISCARDABLE = 0x02000000
    #: All processes that load the image have the same memory there. Without it, each
    #: process gets copies of the pages that it writes.
    MEM_SHARED = 0x10000000
    #: Code can run there.
    MEM_EXECUTE = 0x20000000
    #: The memory can be read.
    MEM_READ = 0x40000000
    #: The memory can be written.
    MEM_WRITE = 0x80000000


#: The flags of a section with functions.
CODE = SectionFlags.MEM_EXECUTE | SectionFlags.CNT_CODE


@dataclass(frozen=True, slots=True)
class SectionVariable:
    """A data export in a shared section of a DLL."""

    #: The name of the export.
    name: str
    #: The name of the section, such as ".shared".
    section: str
    #: The offset from the start of the section, in bytes.
    offset: int
    #: The bytes up to the next export or the end of the section; padding may be among
    #: them.
    size: int
    #: Whether the section cannot be written.
    readonly: bool


@dataclass(frozen=True, slots=True)
class PESection:
    """A section header."""

    #: The name of the section, such as ".text".
    name: str
    #: The offset from the base of the image in memory, in bytes.
    rva: int
    #: The size in memory, in bytes.
    size: int
    #: The offset in the file, in bytes.
    file_offset: int
    #: The size in the file, in bytes.
    file_size: int
    #: What the section contains, and what can be done with its memory.
    flags: SectionFlags


@dataclass(frozen=True, slots=True)
class PEExport:
    """An export."""

    #: The name of the export; None if it has only an ordinal.
    name: str | None
    #: The offset from the base of the image in memory, in bytes.
    rva: int
    #: Whether the export stands for one of another DLL; `rva` is then the place of that
    #: one's name.
    forwarder: bool


@dataclass(frozen=True, slots=True)
class PEImage:
    """What the headers of an image say."""

    #: The kind of processor: "x86", "amd64" or "arm64"; another one is shown by its
    #: number, such as "0x01C4".
    machine: str
    #: Whether the image is a DLL, not a program.
    is_dll: bool
    #: The size in memory, in bytes.
    size: int
    #: The section headers, in the order of the file.
    sections: tuple[PESection, ...]
    #: What the image exports; () if it exports nothing.
    exports: tuple[PEExport, ...] = field(repr=False)

    @property
    def shared_variables(self) -> list[SectionVariable]:
        """The named data exports in shared sections, in the order of addresses."""
        starts = sorted({export.rva for export in self.exports})
        found: list[tuple[int, SectionVariable]] = []
        for section in self.sections:
            flags = section.flags
            if not flags & SectionFlags.MEM_SHARED or flags & CODE:
                continue
            readonly = not flags & SectionFlags.MEM_WRITE
            end = section.rva + section.size
            for export in self.exports:
                offset = export.rva - section.rva
                if not 0 <= offset < section.size or export.forwarder:
                    continue
                if export.name is not None:
                    after = bisect_right(starts, export.rva)
                    size = min([end, *starts[after : after + 1]]) - export.rva
                    variable = SectionVariable(
                        export.name, section.name, offset, size, readonly
                    )
                    found.append((export.rva, variable))
        found.sort(key=lambda item: (item[0], item[1].name))
        return [variable for _, variable in found]


# ----------------------------------------------------------------- reading

#: A section header: name, size, address, size and offset in the file, flags.
_SECTION = struct.Struct("<8s4I12xI")
_MOST_SECTIONS = 96  # the loader's own limit
_MOST_EXPORTS = 0x1_0000  # an ordinal has 16 bits
_LONGEST_NAME = 4096
_FIXED_PART = {0x10B: 96, 0x20B: 112}  # bytes of an optional header, by its magic
_RELOCATED = {3: 4, 10: 8}  # bytes of an address, by the type of relocation


class ImageReader:
    """A reader of the headers of an image that may be broken or hostile.

    `read(offset, size)` returns bytes of the image, which has `size` bytes. With
    `mapped`, the image is laid out as by the loader, not as in a file. `what` is its
    name in errors.

    Every count and offset is checked before its use. If the image changes meanwhile,
    the answer may be wrong, but no more. All methods raise `ValueError` if the headers
    contradict themselves.
    """

    def __init__(
        self,
        read: Callable[[int, int], bytes],
        size: int,
        what: str,
        *,
        mapped: bool = False,
    ) -> None:
        self._read = read
        self._page = lru_cache(64)(lambda at: read(at, min(_PAGE, size - at)))
        self._size = size
        self._what = what
        self._mapped = mapped
        dos = self._take(0, 64)
        if dos[:2] != b"MZ":
            self._fail("it has no MZ header")
        (at,) = struct.unpack_from("<I", dos, 60)
        file = self._take(at, 24)
        if file[:4] != b"PE\0\0":
            self._fail("it has no PE header")
        machine, self._section_count = struct.unpack_from("<HH", file, 4)
        self.machine: str = _MACHINE_NAMES.get(machine, f"0x{machine:04X}")
        optional_size, self._characteristics = struct.unpack_from("<HH", file, 20)
        optional = self._take(at + 24, optional_size)
        magic = int.from_bytes(optional[:2], "little")
        fixed = _FIXED_PART.get(magic, 0)
        if not 0 < fixed <= optional_size:
            self._fail(f"unknown optional header {magic:#x}")
        self.time_stamp: int  # the linker's: it distinguishes builds
        (self.time_stamp,) = struct.unpack_from("<I", file, 8)
        wide = magic == 0x20B
        place = ("<Q", optional, 24) if wide else ("<I", optional, 28)
        self.image_base: int  # the preferred address, or that where it is loaded
        (self.image_base,) = struct.unpack_from(*place)
        self.image_size: int
        self.headers_size: int
        self.image_size, self.headers_size = struct.unpack_from("<II", optional, 56)
        (count,) = struct.unpack_from("<I", optional, fixed - 4)
        count = min(count, (optional_size - fixed) // 8)
        directories = list(struct.iter_unpack("<II", optional[fixed:][: 8 * count]))
        self._directory: tuple[int, int] = directories[0] if count > 0 else (0, 0)
        self._relocations: tuple[int, int] = directories[5] if count > 5 else (0, 0)
        self._section_table = at + 24 + optional_size

    def image(self) -> PEImage:
        """All that the headers say."""
        return PEImage(
            self.machine,
            bool(self._characteristics & _FILE_DLL),
            self.image_size,
            self.sections,
            tuple(
                PEExport(name, rva, forwarder is not None)
                for name, _, rva, forwarder in self.exports()
            ),
        )

    @cached_property
    def sections(self) -> tuple[PESection, ...]:
        """The sections, each within the image and within the file."""
        if self._section_count > _MOST_SECTIONS:
            self._fail(f"{self._section_count} sections are too many")
        table = self._take(self._section_table, 40 * self._section_count)
        found = []
        for name, size, rva, stored, offset, flags in _SECTION.iter_unpack(table):
            size = size or stored
            if rva + size > self.image_size or (
                not self._mapped and stored and offset + stored > self._size
            ):
                self._fail("a section leaves the image")
            text = name.partition(b"\0")[0].decode("latin-1")
            found.append(
                PESection(text, rva, size, offset, stored, SectionFlags(flags))
            )
        return tuple(found)

    def exports(self) -> list[tuple[str | None, int, int, str | None]]:
        """(name, ordinal, rva, forwarder), by ordinal; a row for each name."""
        first, functions, names, indices = self._export_tables
        letters = self._size  # the most letters of all texts together

        def text(rva: int) -> str:
            nonlocal letters
            data = self._text(rva)
            # Overlapping names could make gigabytes from a small image.
            letters -= len(data) + 1
            if letters < 0:
                self._fail("its names are longer than the image")
            return data.decode("utf-8", "backslashreplace")

        named: dict[int, list[str]] = {}
        for index, rva in zip(indices, names, strict=True):
            if index >= len(functions):
                self._fail(f"a name belongs to export {index} of {len(functions)}")
            named.setdefault(index, []).append(text(rva))
        found = []
        for index, rva in enumerate(functions):
            if rva == 0:
                continue  # an unused ordinal
            forwarder = text(rva) if self._is_forwarder(rva) else None
            for name in named.get(index, (None,)):
                found.append((name, first + index, rva, forwarder))
        return found

    def export(self, name: str) -> tuple[int, bool] | None:
        """(rva, whether it is a forwarder) of an export, or None.

        The name is looked up by binary search, as the loader does.
        """
        _, functions, names, indices = self._export_tables
        wanted = name.encode("utf-8", "surrogatepass")
        at = bisect_left(names, wanted, key=self._text)
        if at == len(names) or self._text(names[at]) != wanted:
            return None
        if indices[at] >= len(functions):
            self._fail(f"a name belongs to export {indices[at]} of {len(functions)}")
        rva = functions[indices[at]]
        return rva, self._is_forwarder(rva)

    def relocations(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """The (rva, size) of each address from `start` to `end` that is relocated."""
        at, size = self._relocations
        limit = at + size
        while at < limit:
            page, size = struct.unpack("<II", self._take(self._offset(at), 8))
            if not 8 <= size <= limit - at or size % 2:
                self._fail(f"a block of {size} bytes in its relocations")
            if start - 8 < page + _PAGE and page < end:
                for entry in self._table(at + 8, (size - 8) // 2, "H"):
                    width = _RELOCATED.get(entry >> 12, 0)
                    rva = page + (entry & 0xFFF)
                    if width and start < rva + width and rva < end:
                        yield rva, width
            at += size

    def export_after(self, rva: int, end: int) -> int:
        """The lowest rva of an export between `rva` and `end`, or `end`."""
        return min((at for at in self._export_tables[1] if rva < at < end), default=end)

    @cached_property
    def _export_tables(
        self,
    ) -> tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """The first ordinal, the rvas of exports, and each name's rva and index."""
        start, size = self._directory
        if start == 0 or size < 40:
            return 0, (), (), ()
        header = self._take(self._offset(start), 40)
        if start + size > (self._size if self._mapped else self.image_size):
            self._fail(f"its exports, {size} bytes at {start:#x}, are outside of it")
        fields = struct.unpack_from("<6I", header, 16)
        first, functions, names, function_table, name_table, ordinal_table = fields
        if functions > _MOST_EXPORTS or names > _MOST_EXPORTS:
            self._fail(f"{functions} exports and {names} names are too many")
        return (
            first,
            self._table(function_table, functions, "I"),
            self._table(name_table, names, "I"),
            self._table(ordinal_table, names, "H"),
        )

    def _is_forwarder(self, rva: int) -> bool:
        """Whether the rva is in the export directory: a text, not code or data."""
        start, size = self._directory
        return start <= rva < start + size

    def _fail(self, why: str) -> NoReturn:
        raise ValueError(f"{self._what}: {why}")

    def _take(self, offset: int, size: int) -> bytes:
        if offset + size > self._size:
            self._fail(f"{size} bytes at offset {offset:#x} are outside of the image")
        within = offset % _PAGE
        if within + size <= _PAGE:
            data = self._page(offset - within)[within : within + size]
        else:
            data = self._read(offset, size)
        if len(data) != size:
            self._fail("it became shorter")
        return data

    def _offset(self, rva: int) -> int:
        """The offset in this image of what is at `rva` in memory."""
        if self._mapped or rva < self.headers_size:
            return rva
        for section in self.sections:
            into = rva - section.rva
            if 0 <= into < section.size:
                if into >= section.file_size:
                    self._fail(f"offset {rva:#x} is outside of the file")
                return section.file_offset + into
        self._fail(f"offset {rva:#x} is outside of its sections")

    def _table(self, rva: int, count: int, code: str) -> tuple[int, ...]:
        layout = struct.Struct(f"<{count}{code}")
        return layout.unpack(
            self._take(self._offset(rva), layout.size) if count else b""
        )

    def _text(self, rva: int) -> bytes:
        """The bytes up to a NUL, page by page: the next page may be unreadable."""
        found = b""
        offset = self._offset(rva)
        while len(found) < _LONGEST_NAME:
            if offset >= self._size:
                self._fail(f"a name at offset {offset:#x} is outside of the image")
            within = offset % _PAGE
            page = self._page(offset - within)
            end = page.find(b"\0", within)
            if end >= 0:
                return found + page[within:end]
            found += page[within:]
            offset += _PAGE - within
        self._fail(f"a name has no NUL within {_LONGEST_NAME} bytes")


def inspect_dll(path: str | os.PathLike[str]) -> PEImage:
    """Read the sections and exports of a DLL (or EXE) without loading it.

    Every field is checked against the file, so any file is safe.

    Raises:
        ValueError: The file is not a valid PE image; the error says what is wrong.
        OSError: The file cannot be read.
    """

    def read(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        return ImageReader(read, size, repr(os.fspath(path))).image()


# ----------------------------------------------------------------- writing


_FILE_EXECUTABLE = 0x0002
_FILE_LARGE_ADDRESS_AWARE = 0x0020
_FILE_32BIT = 0x0100
_FILE_DLL = 0x2000

_HIGH_ENTROPY_VA = 0x0020
_DYNAMIC_BASE = 0x0040  # without relocations, as the image contains no address
_NX_COMPAT = 0x0100
_NO_SEH = 0x0400

_MACHINES = {"amd64": 0x8664, "x86": 0x014C, "arm64": 0xAA64}
_MACHINE_NAMES = {code: name for name, code in _MACHINES.items()}

_PAGE = 0x1000
_BLOCK = 0x200  # the alignment in the file
_HEADERS = 0x400  # the size of the headers in the file
_FEW_ZEROS = 0x1_0000  # fewer are stored, so that variables keep their order
_MAX_IMAGE = 0x7FF0_0000  # the loader counts in 31 bits
_MAX_NAME = 1024
_SHARED = (
    SectionFlags.CNT_INITIALIZED_DATA
    | SectionFlags.MEM_READ
    | SectionFlags.MEM_WRITE
    | SectionFlags.MEM_SHARED
)
_EXPORTS = SectionFlags.CNT_INITIALIZED_DATA | SectionFlags.MEM_READ


def build_section_dll(
    path: str | os.PathLike[str],
    variables: Mapping[str, Initial],
    *,
    machine: MachineName = MACHINE,
    section: str = ".MYSEC",
    alignment: int = 16,
    definition: bool | str | os.PathLike[str] = False,
) -> PEImage:
    """Write a DLL that shares `variables` between all processes that load it.

    ::

        from winipc.pe import build_section_dll

        image = build_section_dll("state.dll", {"counter": 8, "name": b"car"})
        print([one.name for one in image.shared_variables])  # ['counter', 'name']

    `variables` maps each exported name to its size in bytes (zeros), to its initial
    bytes, or to a pair of both, where the rest is zeros. They are in one section named
    `section`, each at a multiple of `alignment` (a power of two up to 4096), in this
    order. But variables with 64 KiB of zeros or more come last, and the zeros take no
    room in the file. Up to just under 2 GiB are possible.

    `definition=True` also writes a module-definition file (`.def`) beside the DLL; a
    path puts it elsewhere. `lib /def:` and `dlltool -d` make an import library from it,
    for C programs that are linked against the DLL. `machine` is by default that of this
    process; processes of another machine cannot load the DLL.

    Returns what `inspect_dll` returns for the file.

    Raises:
        ValueError: A DLL cannot have such names or sizes.
        OSError: The file cannot be written; a PermissionError while a process has it
            loaded.
    """
    target = Path(path)
    data = section_dll_bytes(
        variables,
        name=target.name,
        machine=machine,
        section=section,
        alignment=alignment,
    )
    _replace(target, data)
    if definition:
        text = definition_bytes(variables, name=target.name)
        beside = target.with_suffix(".def")
        _replace(beside if definition is True else Path(definition), text)
    return inspect_dll(target)


def section_dll_bytes(
    variables: Mapping[str, Initial],
    *,
    name: str = "shared.dll",
    machine: MachineName = MACHINE,
    section: str = ".MYSEC",
    alignment: int = 16,
) -> bytes:
    """The bytes of the DLL that `build_section_dll` writes to a file `name`."""
    if machine not in _MACHINES:
        known = ", ".join(_MACHINES)
        raise ValueError(f"machine must be one of {known}, not {machine!r}")
    if not 1 <= alignment <= _PAGE or alignment & (alignment - 1):
        raise ValueError(
            f"alignment must be a power of two up to {_PAGE}, not {alignment}"
        )
    section_name = _ascii(section, "section name")
    if len(section_name) > 8:
        raise ValueError(f"a section name has at most 8 characters: {section!r}")
    offsets, size, content = _lay_out(variables, alignment)
    exports_rva = _PAGE
    exports_size = len(_exports(dict.fromkeys(variables, 0), name, 0))
    shared_rva = exports_rva + _round_up(exports_size, _PAGE)
    exports = _exports(
        {symbol: shared_rva + offset for symbol, offset in offsets.items()},
        name,
        exports_rva,
    )
    image_size = shared_rva + _round_up(size, _PAGE)
    if image_size > _MAX_IMAGE:
        raise ValueError(f"{size} bytes are more than a DLL can hold")

    # At least one block is stored, as every linker does for initialised data.
    stored_exports = exports.ljust(_round_up(len(exports), _BLOCK), b"\0")
    stored_shared = content.ljust(_round_up(max(len(content), 1), _BLOCK), b"\0")
    shared_at = _HEADERS + len(stored_exports)
    table = _SECTION.pack(
        b".edata",
        len(exports),
        exports_rva,
        len(stored_exports),
        _HEADERS,
        _EXPORTS,
    ) + _SECTION.pack(
        section_name, size, shared_rva, len(stored_shared), shared_at, _SHARED
    )
    headers = _headers(
        machine,
        table,
        initialised=len(stored_exports) + len(stored_shared),
        image_size=image_size,
        exports=(exports_rva, len(exports)),
    )
    return headers.ljust(_HEADERS, b"\0") + stored_exports + stored_shared


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def _symbol(name: str) -> str:
    if len(_ascii(name, "a variable's name")) > _MAX_NAME:
        raise ValueError(f"a variable's name has at most {_MAX_NAME} characters")
    return name


def _ascii(text: str, what: str) -> bytes:
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{what} must be printable ASCII without spaces, not {text!r}")
    return text.encode("ascii")


def _lay_out(
    variables: Mapping[str, Initial], alignment: int
) -> tuple[dict[str, int], int, bytes]:
    """The offsets, the section's size, and its bytes without zeros at the end."""
    if not 1 <= len(variables) <= 0xFFFF:
        raise ValueError("a DLL has between 1 and 65535 variables")
    sized = [
        (_symbol(name), *_initial(name, value)) for name, value in variables.items()
    ]
    # Long runs of zeros come last, so that the file need not hold them.
    sized.sort(key=lambda item: _zeros_behind(item[1], item[2]))
    offsets = {}
    at = 0
    content = bytearray()
    for name, size, initial in sized:
        at = _round_up(at, alignment)
        if at + size > _MAX_IMAGE:
            raise ValueError(f"{name}: {size} bytes are more than a DLL can hold")
        offsets[name] = at
        if initial:
            content.extend(bytes(at - len(content)))
            content += initial
        at += size
    return offsets, at, bytes(content)


def _initial(name: str, value: Initial) -> tuple[int, bytes]:
    """The size of a variable, and its initial bytes without zeros at the end."""
    if isinstance(value, tuple):
        size, initial = value
    elif isinstance(value, int):
        size, initial = value, b""
    else:
        initial = bytes(value)
        size = len(initial)
    if size < 1:
        raise ValueError(f"{name}: a variable has at least 1 byte, not {size}")
    if len(initial) > size:
        raise ValueError(f"{name}: {len(initial)} initial bytes do not fit in {size}")
    return size, initial.rstrip(b"\0")


def _zeros_behind(size: int, initial: bytes) -> int:
    """A sort key that moves only variables with many zeros."""
    zeros = size - len(initial)
    if zeros < _FEW_ZEROS:
        return 0
    return zeros if initial else _MAX_IMAGE


def _exports(addresses: Mapping[str, int], name: str, rva: int) -> bytes:
    """The export directory with its tables and strings."""
    # The names are sorted as bytes, for the binary search of GetProcAddress.
    symbols = sorted(addresses)
    count = len(symbols)
    functions = rva + 40
    names = functions + 4 * count
    ordinals = names + 4 * count
    strings = ordinals + 2 * count
    text = bytearray(os.fsencode(name) + b"\0")
    pointers = []
    for symbol in symbols:
        pointers.append(strings + len(text))
        text += symbol.encode("ascii") + b"\0"
    return (
        struct.pack("<12x7I", strings, 1, count, count, functions, names, ordinals)
        + struct.pack(f"<{count}I", *(addresses[symbol] for symbol in symbols))
        + struct.pack(f"<{count}I", *pointers)
        + struct.pack(f"<{count}H", *range(count))
        + text
    )


_PE_AT = 0x40


def _headers(
    machine: MachineName,
    table: bytes,
    *,
    initialised: int,
    image_size: int,
    exports: tuple[int, int],
) -> bytes:
    dos = struct.pack("<2s58xI", b"MZ", _PE_AT)
    directories = struct.pack("<II", *exports).ljust(16 * 8, b"\0")
    wide = machine != "x86"
    base = 0x1_8000_0000 if wide else 0x1000_0000
    characteristics = _FILE_EXECUTABLE | _FILE_DLL
    characteristics |= _FILE_LARGE_ADDRESS_AWARE if wide else _FILE_32BIT
    dll_characteristics = _DYNAMIC_BASE | _NX_COMPAT
    dll_characteristics |= _HIGH_ENTROPY_VA if wide else _NO_SEH
    subsystem = (6, 2) if machine == "arm64" else (6, 0)
    optional = (
        struct.pack(
            "<HBBIIIII", 0x20B if wide else 0x10B, 1, 0, 0, initialised, 0, 0, 0
        )
        + struct.pack("<Q" if wide else "<II", *((base,) if wide else (0, base)))
        + struct.pack("<II", _PAGE, _BLOCK)
        + struct.pack("<HHHHHHI", *subsystem, 0, 0, *subsystem, 0)
        + struct.pack("<III", image_size, _HEADERS, 0)
        + struct.pack("<HH", 2, dll_characteristics)
        + struct.pack("<4Q" if wide else "<4I", 1 << 20, 1 << 12, 1 << 20, 1 << 12)
        + struct.pack("<II", 0, 16)
        + directories
    )
    file = struct.pack(
        "<4sHH12xHH",  # no time stamp: equal input gives equal bytes
        b"PE\0\0",
        _MACHINES[machine],
        len(table) // _SECTION.size,
        len(optional),
        characteristics,
    )
    return dos + file + optional + table


def definition_bytes(variables: Iterable[str], *, name: str) -> bytes:
    """A module-definition file (`.def`) for a DLL called `name`."""
    symbols = [_symbol(symbol) for symbol in variables]
    lines = [
        f'LIBRARY "{name}"',
        "EXPORTS",
        *(f"    {symbol} DATA" for symbol in symbols),
    ]
    return ("\r\n".join(lines) + "\r\n").encode("utf-8")


def _replace(target: Path, data: bytes) -> None:
    """Replace a file as a whole, or not at all."""
    import tempfile

    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name)
    try:
        with open(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
