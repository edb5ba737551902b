"""Chains of pointers that lead from a module to an address."""

from __future__ import annotations

import bisect
import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from winipc import _core
from winipc.base.closing import Closing
from winipc.errors import PartialReadError
from winipc.scan._files import check_format, reading
from winipc.scan.scan import process_ranges

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess
    from winipc.process.types import Module

__all__ = ["PointerPath", "PointerPaths", "PointerScan"]

#: The format and version in a file of paths.
_FORMAT = {"format": "winipc pointer paths", "version": 1}


@dataclasses.dataclass(frozen=True, slots=True)
class PointerPath:
    """A chain of pointers that begins in a module.

    The pointer at `module` + `offset` is read, and the first of `offsets` is added; the
    pointer there is read, and the next offset is added; and so on. It is a chain for
    `RemoteProcess.pointer` and `RemoteProcess.at`. Its text is that of Cheat Engine:
    `[["game.exe"+0x10F4F4]+0x18]+0x20`.
    """

    module: str
    """The name of the module in which the first pointer is."""
    offset: int
    """The offset of the first pointer from the module's base, in bytes."""
    offsets: tuple[int, ...]
    """What is added to each pointer that is read, in bytes, in order."""
    bitness: int
    """The size of the pointers in bits: 32 or 64."""
    version: str = dataclasses.field(default="", compare=False)
    """The build of the module, as symbol servers name it: the time stamp in its headers
    and its size, in hexadecimal. Comparisons of paths ignore it."""

    @property
    def base(self) -> str:
        """The place of the first pointer, as a text for `RemoteProcess.address`."""
        return f'"{self.module}"+{self.offset:#x}'

    def __iter__(self) -> Iterator[Any]:
        """The chain: the base and the offsets."""
        return iter((self.base, *self.offsets))

    def __str__(self) -> str:
        text = self.base
        for offset in self.offsets:
            text = f"[{text}]+{offset:#x}"
        return text


class PointerPaths(tuple[PointerPath, ...]):
    """Paths to one address: `PointerPaths(process.pointer_paths(address))`.

    ::

        paths = winipc.PointerPaths.load("lives.json")
        paths = paths.check(process, address)  # those that lead there in this run

    It is a tuple. `check` and `&` keep the paths that are right in another run of the
    program.
    """

    __slots__ = ()

    def check(self, process: RemoteProcess, address: int | None = None) -> Self:
        """The paths that lead to `address` in this process.

        Without an address, the paths that lead to readable memory. That proves little:
        check the value there.

        Raises:
            ProcessLookupError: The target has exited.

        Win32: ReadProcessMemory, EnumProcessModulesEx
        """
        bitness = 8 * process.pointer_size
        bases = {m.name.casefold(): m.base for m in reversed(process.modules())}

        def holds(path: PointerPath) -> bool:
            base = bases.get(path.module.casefold())
            if base is None or path.bitness != bitness:
                return False
            place = base + path.offset
            try:
                for offset in path.offsets:
                    place = process.read_pointer(place) + offset
                if address is None:
                    process.read(place, 1)
                return address in (None, place)
            except (PartialReadError, OverflowError):  # not an address
                return False

        with process.cached():
            return type(self)(path for path in self if holds(path))

    def __and__(self, other: Iterable[PointerPath]) -> Self:
        """The paths that are also in `other`, such as those found in another run."""
        others = frozenset(other)
        return type(self)(path for path in self if path in others)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the paths to a file in JSON, one on each line.

        `docs/pointer-paths.md` has the format.
        """
        import json  # few programs need it

        head = json.dumps(_FORMAT)[:-1]
        lines = (json.dumps(dataclasses.asdict(one)) for one in self)
        text = head + ', "paths": [\n' + ",\n".join(lines) + "\n]}\n"
        Path(path).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a file of `save`.

        Raises:
            ValueError: The file is not of this format.
        """
        import json

        with reading(path, "pointer paths"):
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            check_format(data, _FORMAT)
            return cls(_path_of(**entry) for entry in data["paths"])

    def __repr__(self) -> str:
        return f"<PointerPaths: {len(self)}>"


def _path_of(
    module: str, offset: int, offsets: list[int], bitness: int, version: str = ""
) -> PointerPath:
    """A path from a file; nothing in it is trusted."""
    if type(offsets) is not list:
        raise ValueError(f"{offsets!r} is no list of offsets")
    numbers = [offset, *offsets]
    if not all(type(n) is int and 0 <= n < 1 << 64 for n in numbers):
        raise ValueError(f"{numbers} are no offsets")
    texts = isinstance(module, str) and isinstance(version, str)
    if type(bitness) is not int or bitness not in (32, 64):
        raise ValueError(f"pointers have 32 or 64 bits, not {bitness!r}")
    if not texts or '"' in module:
        raise ValueError(f"{module!r} is no module, or {version!r} no version of one")
    return PointerPath(module, offset, tuple(offsets), bitness, version)


class PointerScan(_core.PointerScan, Closing):
    """An iterator over the paths that `RemoteProcess.pointer_paths` finds.

    The search runs in `next`, without the GIL; any thread may call `cancel`. The end of
    the iteration, `close`, and the end of a `with` free the memory.
    """

    __slots__ = ("__weakref__",)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return (
            f"<PointerScan {state}, {self.pointers} pointers in {self.scanned} bytes>"
        )


def module_version(process: RemoteProcess, module: Module) -> str:
    """The build of a module, as symbol servers name it; "" if unknown."""
    # The target may have exited, or `process` may be closed.
    with contextlib.suppress(OSError, ValueError):
        (header,) = process.read_struct(module.base + 0x3C, "<I")
        (stamp,) = process.read_struct(module.base + header + 8, "<I")
        return f"{stamp:08X}{module.size:x}"
    return ""


def open_pointer_scan(
    process: RemoteProcess,
    address: int,
    limits: tuple[int, int, int, float | None],
    base: str | Module | Iterable[str | Module],
    ranges: bytes,
    protections: int,
    progress: Callable[[int, int], object] | None,
    threads: int | None,
) -> PointerScan:
    """See `RemoteProcess.pointer_paths`; `limits` are depth, max_offset, max_bytes and
    timeout.
    """
    modules = sorted(_modules_of(process, base), key=lambda module: module.base)
    starts = [module.base for module in modules]
    width = process.pointer_size

    @functools.cache
    def version(module: Module) -> str:
        return module_version(process, module)

    def match(place: int, offsets: tuple[int, ...]) -> PointerPath:
        module = modules[bisect.bisect_right(starts, place) - 1]
        return PointerPath(
            module.name, place - module.base, offsets, 8 * width, version(module)
        )

    readable = (region for region in process.regions() if region.readable)
    return PointerScan._open(
        process,
        ranges,
        protections,
        process_ranges(readable, None, None),
        process_ranges(modules, None, None),
        width,
        address,
        *limits,
        match,
        progress,
        threads,
    )


def _modules_of(
    process: RemoteProcess, base: str | Module | Iterable[str | Module]
) -> Iterable[Module]:
    """The modules in which paths may begin."""
    if base == "module":
        return process.modules()
    if isinstance(base, str) or not isinstance(base, Iterable):
        base = [base]
    return [process.module(one) if isinstance(one, str) else one for one in base]
