"""Patterns that find the same code in the next build of a module."""

from __future__ import annotations

import bisect
import dataclasses
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from winipc.errors import PartialReadError
from winipc.pe import ImageReader, PESection, SectionFlags
from winipc.scan._files import check_format, reading
from winipc.scan.scan import Pattern, scan_bytes

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess
    from winipc.process.types import Module

__all__ = ["Signature", "SignatureCheck"]

#: The format and version in a file of a signature.
_FORMAT = {"format": "winipc signature", "version": 1}

_BITNESS = {"amd64": 64, "x86": 32}
_LONGEST = 15  # bytes of an instruction


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureCheck:
    """The matches of a signature in one build of its module."""

    build: str
    """The file, or the module and its process."""
    version: str
    """The build, as symbol servers name it: the time stamp in the headers and the size,
    in hexadecimal."""
    matches: tuple[int, ...]
    """The offsets of the matches in the module."""
    in_code: int
    """The number of matches in executable sections."""
    target: int | None
    """The offset in the module of what the operand refers to; None without an operand,
    or unless there is exactly one match."""

    @property
    def unique(self) -> bool:
        """Whether there is exactly one match."""
        return len(self.matches) == 1


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """A pattern of code that occurs once in a module.

    ::

        world = winipc.Signature("48 8B 05 ? ? ? ? C3", "game.exe", operand=(3, 4, 7))
        print(world)  # 48 8B 05 ?? ?? ?? ?? C3
        world.save("world.json")

    `RemoteProcess.signature` makes one. For a published one, write
    `Signature("48 8B 05 ? ? ? ?", "game.exe", operand=(3, 4, 7))`. It is accepted
    wherever a pattern is, and its `str` is the pattern's text.
    """

    text: str
    """The pattern, for `Pattern.hex`."""
    module: str
    """The name of the module."""
    bitness: int = 64
    """The bitness of the code: 32 or 64."""
    operand: tuple[int, int, int] | None = None
    """The place of the address that the first instruction refers to: the offset in the
    pattern, the size in bytes, and the offset in the pattern to which a relative
    address
    is added (the end of the instruction); 0 for an absolute address."""
    version: str = dataclasses.field(default="", compare=False)
    """The build from which it was made, as in `SignatureCheck`."""

    def __post_init__(self) -> None:
        spec: tuple[Any, ...] = Pattern.hex(self.text)._spec
        value, mask = spec[1:3]
        text = " ".join(map(_byte_text, value, mask or b"\xff" * len(value)))
        object.__setattr__(self, "text", text)
        if operator.index(self.bitness) not in (32, 64):
            raise ValueError(f"code has 32 or 64 bits, not {self.bitness!r}")
        if self.operand is not None:
            offset, size, end = operand = tuple(map(operator.index, self.operand))
            if size not in (1, 2, 4, 8) or not 0 <= offset < 64 or not 0 <= end < 64:
                raise ValueError(f"{operand} is no place of an operand")
            object.__setattr__(self, "operand", operand)

    @property
    def pattern(self) -> Pattern:
        """The signature as a `Pattern`."""
        return Pattern.hex(self.text)

    def __str__(self) -> str:
        return self.text

    def find(self, process: RemoteProcess) -> int:
        """Find the only match in a process, and return its address.

        Raises:
            LookupError: The module is not loaded, or does not have exactly one match.
            ProcessLookupError: The target has exited.

        Win32: EnumProcessModulesEx, VirtualQueryEx, ReadProcessMemory
        """
        module = process.module(self.module)
        with process.scan(self, start=module.base, end=module.end, limit=2) as scan:
            found: list[int] = list(scan)
        if len(found) != 1:
            times = "more than once" if found else "not"
            raise LookupError(
                f"the signature {self.text!r} is {times} in {module.name} "
                f"of pid {process.pid}"
            )
        return found[0]

    def target(self, process: RemoteProcess) -> int:
        """The address of the variable or function that the first instruction refers to.

        Raises:
            ValueError: The first instruction refers to no address.
            LookupError, ProcessLookupError: As `find` does.
        """
        if self.operand is None:
            raise ValueError(
                f"the first instruction of {self.text!r} refers to no address"
            )
        offset, size, _ = self.operand
        place = self.find(process)
        return self._target(place, process.read(place + offset, size))

    def _target(self, place: int, written: bytes) -> int:
        """The address that the operand of a match at `place` refers to."""
        assert self.operand is not None
        end = self.operand[2]
        number = int.from_bytes(written, "little", signed=self.bitness == 64 or end > 0)
        address = number + place + end if end else number
        return address & ((1 << self.bitness) - 1)

    def check(
        self, *builds: RemoteProcess | str | os.PathLike[str]
    ) -> list[SignatureCheck]:
        """Look for the signature in builds of the module.

        A build is a file (it is not loaded), or a process that has loaded the module.

        Raises:
            LookupError: A process has not loaded the module.
            OSError: A file cannot be opened.
            ValueError: A file is not an image, or has another bitness.
        """
        return [self._check(build) for build in builds]

    def _check(self, build: RemoteProcess | str | os.PathLike[str]) -> SignatureCheck:
        if isinstance(build, (str, os.PathLike)):
            image = Image.of_file(build)
        else:
            image = Image.of_module(build, build.module(self.module))
        if image.bitness != self.bitness:
            raise ValueError(
                f"{image.name} has code of {image.machine}, the signature is of "
                f"{self.bitness} bits"
            )
        matches = tuple(image.find(self.pattern))
        target = None
        if len(matches) == 1 and self.operand is not None:
            offset, size, _ = self.operand
            written = image.bytes_at(matches[0] + offset, size)
            if len(written) == size:
                place = image.base + matches[0]
                target = self._target(place, written) - image.base
        in_code = sum(map(image.is_code, matches))
        return SignatureCheck(image.name, image.version, matches, in_code, target)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the signature to a file in JSON; see `docs/signatures.md`."""
        import json  # few programs need it

        entry = dataclasses.asdict(self)
        data = {**_FORMAT, "signature": {"pattern": entry.pop("text"), **entry}}
        Path(path).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file of `save`.

        Raises:
            ValueError: The file is not of this format.
        """
        import json

        with reading(path, "a signature"):
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            check_format(data, _FORMAT)
            entry = dict(data["signature"])
            text = entry.pop("pattern")
            if not all(isinstance(entry[name], str) for name in ("module", "version")):
                raise ValueError("its module or version is no text")
            return cls(text, **entry)


def _byte_text(value: int, mask: int) -> str:
    high = f"{value >> 4:X}" if mask & 0xF0 else "?"
    return high + (f"{value & 15:X}" if mask & 0x0F else "?")


# ----------------------------------------------------------------- images


class Image:
    """The readable bytes of a module, in a process or in a file."""

    def __init__(
        self, name: str, reader: ImageReader, base: int, pieces: list[tuple[int, Any]]
    ) -> None:
        self.name = name
        self.base = base
        self.machine = reader.machine
        self.bitness = _BITNESS.get(reader.machine)
        self.version = f"{reader.time_stamp:08X}{reader.image_size:x}"
        self.size = reader.image_size
        self.reader = reader
        #: The offset and the bytes of each contiguous piece, ascending.
        self.pieces = sorted(pieces, key=lambda piece: piece[0])
        self._starts = [start for start, _ in self.pieces]

    @classmethod
    def of_module(cls, process: RemoteProcess, module: Module) -> Image:
        """A module of a process, as its memory is now."""
        base, size = module.base, module.size
        name = f"{module.name} of pid {process.pid}"
        try:
            reader = ImageReader(
                lambda offset, size: process.read(base + offset, size),
                size,
                name,
                mapped=True,
            )
            found = process.read(base, size, partial=True)
            reader.sections  # noqa: B018 - read them now, while the module is loaded
        except ProcessLookupError:
            raise
        except (OSError, ValueError):
            _check_loaded(process, module)
            raise
        pieces = [(address - base, data) for address, data in found.runs()]
        return cls(name, reader, base, pieces)

    @classmethod
    def of_file(cls, path: str | os.PathLike[str]) -> Image:
        """A file, laid out as the loader would."""
        data = Path(path).read_bytes()
        name = os.fspath(path)
        reader = ImageReader(lambda at, size: data[at : at + size], len(data), name)
        whole = memoryview(data)
        pieces = [(0, whole[: reader.headers_size])]
        for section in reader.sections:
            size = min(section.size, section.file_size)
            pieces.append((section.rva, whole[section.file_offset :][:size]))
        return cls(name, reader, reader.image_base, pieces)

    def piece_at(self, offset: int) -> tuple[int, bytes]:
        """The offset and the bytes of the piece there; no bytes if there is none."""
        number = bisect.bisect_right(self._starts, offset) - 1
        if number >= 0:
            start, data = self.pieces[number]
            if offset < start + len(data):
                return start, data
        return offset, b""

    def bytes_at(self, offset: int, size: int) -> bytes:
        start, data = self.piece_at(offset)
        return bytes(data[offset - start :][:size])

    def section_at(self, offset: int) -> PESection | None:
        for section in self.reader.sections:
            if section.rva <= offset < section.rva + section.size:
                return section
        return None

    def is_code(self, offset: int) -> bool:
        section = self.section_at(offset)
        return section is not None and bool(section.flags & SectionFlags.MEM_EXECUTE)

    def find(self, pattern: Pattern) -> Iterator[int]:
        """The offsets of the matches."""
        for start, data in self.pieces:
            for offset in scan_bytes(data, pattern):
                yield start + offset


def _check_loaded(process: RemoteProcess, module: Module) -> None:
    """Raise LookupError if the module is no longer loaded."""
    if not any(row.base == module.base for row in process.modules()):
        raise LookupError(f"{module.name} of pid {process.pid} was unloaded meanwhile")


# ----------------------------------------------------------------- making one


def make_signature(
    process: RemoteProcess, address: int, max_size: int, constants: bool
) -> Signature:
    """See `RemoteProcess.signature`."""
    from winipc.scan._x86 import instructions  # first, as the extra may be missing

    module = next((row for row in process.modules() if address in row), None)
    if module is None:
        raise ValueError(
            f"{address:#x} is in no module of pid {process.pid}: a signature is of "
            "code that comes from a file"
        )
    image = Image.of_module(process, module)
    offset = address - module.base
    if not image.bytes_at(offset, 1):
        _check_loaded(process, module)
        process.read(address, 1)  # for the exception
    try:
        return sign(image, module.name, offset, max_size, constants, instructions)
    except PartialReadError:  # from reading the relocations
        _check_loaded(process, module)
        raise


def sign(
    image: Image,
    module: str,
    offset: int,
    max_size: int,
    constants: bool,
    instructions: Any,
) -> Signature:
    """The signature of the code at an offset in an image."""
    what = f"{module}+{offset:#x}"
    if image.bitness is None:
        raise ValueError(f"{module} has code of {image.machine}, not of x86")
    if max_size < 1:
        raise ValueError("max_size must be >= 1")
    section = image.section_at(offset)
    if section is None or not section.flags & SectionFlags.MEM_EXECUTE:
        where = "the headers" if section is None else f"{section.name}, which is data"
        raise ValueError(
            f"{what} is in {where}: take the address of an instruction, such as one "
            "that refers to it"
        )
    room = section.rva + section.size - offset
    code = image.bytes_at(offset, min(max_size + _LONGEST, room))
    relocated = set(image.reader.relocations(offset, offset + len(code)))

    def is_address(at: int, size: int, value: int) -> bool:
        inside = 0 <= value - image.base < image.size
        return (offset + at, size) in relocated or (
            inside and 8 * size == image.bitness
        )

    found = list(
        instructions(code, image.base + offset, image.bitness, is_address, constants)
    )
    if not found:
        raise ValueError(f"no instruction begins at {what}")
    first = found[0]
    fixed = b"".join(one.fixed for one in found)[: max(max_size, first.size)]
    size, matches = _shortest(image, code, fixed, first.size)
    if len(matches) != 1:
        limit = (
            f"max_size, {max_size} bytes"
            if len(fixed) >= max_size
            else f"the end of {section.name}"
            if len(fixed) >= room
            else "bytes that are no code"
        )
        raise ValueError(
            f"{what}: the code from there to {limit} is {len(matches)} times in "
            f"{module}, {sum(map(image.is_code, matches))} of them in code: begin at "
            "another instruction" + ("" if constants else ", or take constants=True")
        )
    text = " ".join(map(_byte_text, code[:size], fixed))
    return Signature(text, module, image.bitness, first.operand, image.version)


def _shortest(
    image: Image, code: bytes, fixed: bytes, least: int
) -> tuple[int, list[int]]:
    """The number of bytes with which there is one match, and the matches.

    The bytes include the first instruction, up to its last fixed byte.
    """
    size = len(fixed[:least].rstrip(b"\0"))
    pattern = Pattern.hex(" ".join(map(_byte_text, code[:size], fixed)))
    left = [
        (start, data, list(scan_bytes(data, pattern))) for start, data in image.pieces
    ]
    while sum(len(places) for _, _, places in left) > 1 and size < len(fixed):
        if fixed[size]:
            byte = code[size : size + 1]
            left = [
                (
                    start,
                    data,
                    [at for at in places if data[at + size : at + size + 1] == byte],
                )
                for start, data, places in left
            ]
        size += 1
    return size, [start + at for start, _, places in left for at in places]
