"""What describes a process: regions, modules, and rows of lists."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeAlias

from winipc.memory.pages import PAGE_SIZE, MemoryProtection, MemoryState, MemoryType

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Address",
    "Change",
    "Export",
    "MapRow",
    "Module",
    "PartialRead",
    "ProcessEntry",
    "Region",
    "ThreadEntry",
]

#: Where something is in the memory of a process: an int, a `Module` or another object
#: with `__index__`; a text such as "game.exe!lives", see `RemoteProcess.address`; or a
#: chain, such as a `PointerPath`, see `RemoteProcess.pointer`.
Address: TypeAlias = SupportsIndex | str | Iterable[Any]

#: The fields that hold an address.
_ADDRESSES = ("address", "allocation_base", "base", "entry_point")


class _Addressed:
    """A dataclass whose repr shows addresses in hexadecimal."""

    __slots__ = ()

    def __repr__(self: Any) -> str:
        names = (field.name for field in dataclasses.fields(self))
        values = ((name, getattr(self, name)) for name in names)
        shown = (
            f"{name}={value:#x}"
            if name in _ADDRESSES and value is not None
            else f"{name}={value!r}"
            for name, value in values
        )
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class PartialRead(_Addressed):
    """The result of a partial read: the data, and which pages could be read.

    `mask` has a 1 for each page that could be read, and a 0 for each other page; the
    data may cover only a part of the first and the last page. `data` is zero for pages
    that could not be read.
    """

    address: int
    """The address of the first byte, in the other process."""
    data: Buffer
    """The bytes; those of pages that could not be read are zero."""
    mask: bytes
    """One byte for each page: 1 if it could be read, else 0."""

    @property
    def complete(self) -> bool:
        """Whether every page could be read."""
        return 0 not in self.mask

    @property
    def readable(self) -> int:
        """The number of bytes that could be read."""
        return sum(stop - start for start, stop in self._runs())

    @property
    def prefix(self) -> bytes:
        """The data up to the first byte that could not be read."""
        for start, stop in self._runs():
            return bytes(memoryview(self.data).cast("B")[:stop]) if start == 0 else b""
        return b""

    def runs(self) -> Iterator[tuple[int, bytes]]:
        """The address and the bytes of each run that could be read."""
        view = memoryview(self.data).cast("B")
        for start, stop in self._runs():
            yield self.address + start, bytes(view[start:stop])

    def _runs(self) -> Iterator[tuple[int, int]]:
        """The offsets of the start and the end of each run that could be read."""
        size = memoryview(self.data).nbytes
        skipped = self.address % PAGE_SIZE  # of the first page
        page = 0
        while (page := self.mask.find(1, page)) >= 0:
            end = self.mask.find(0, page)
            if end < 0:
                end = len(self.mask)
            start = max(page * PAGE_SIZE - skipped, 0)
            yield start, min(end * PAGE_SIZE - skipped, size)
            page = end


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Region(_Addressed):
    """Adjacent pages of a process with the same attributes (VirtualQueryEx)."""

    base: int
    """The address of the first page."""
    size: int
    """The size in bytes."""
    state: MemoryState
    """Whether the pages are committed, reserved or free."""
    protection: MemoryProtection
    """What may be done with the pages now; it tells nothing of free pages."""
    type: MemoryType
    """Whether the memory is private, mapped or an image; NONE if it is free."""
    allocation_base: int
    """The start of the allocation to which the pages belong; 0 if they are free."""
    allocation_protection: MemoryProtection
    """The protection that the allocation was made with; NONE if the pages are free."""
    path: str | None = None
    """The file that is mapped here, or None."""
    sections: tuple[str, ...] = ()
    """Named sections that may be mapped here; see `RemoteProcess.regions`."""

    @property
    def end(self) -> int:
        """The address after the region."""
        return self.base + self.size

    @property
    def readable(self) -> bool:
        """Whether the region can be read; false for a guard page."""
        return (
            self.state == MemoryState.COMMIT
            and self.protection != 0
            and not self.protection
            & (MemoryProtection.NOACCESS | MemoryProtection.GUARD)
        )

    @property
    def writable(self) -> bool:
        """Whether the process itself can write to the region."""
        return self.readable and bool(
            self.protection
            & (
                MemoryProtection.READWRITE
                | MemoryProtection.WRITECOPY
                | MemoryProtection.EXECUTE_READWRITE
                | MemoryProtection.EXECUTE_WRITECOPY
            )
        )

    @property
    def executable(self) -> bool:
        """Whether code can run in the region."""
        return bool(self.protection & 0xF0)

    def __contains__(self, address: int) -> bool:
        return self.base <= address < self.end


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Module(_Addressed):
    """A program or DLL that is loaded in a process.

    A module is accepted wherever an address is. `module + 0x10` is the address 0x10
    bytes after its base.
    """

    name: str
    """The name of the file without its folder, such as "game.exe"."""
    path: str
    """The full path of the file."""
    base: int
    """The address at which the module is loaded."""
    size: int
    """The size in memory in bytes."""
    entry_point: int
    """The address of the module's first function; 0 if it has none."""

    @property
    def end(self) -> int:
        """The address after the module."""
        return self.base + self.size

    def __add__(self, offset: int) -> int:
        return self.base + operator.index(offset)

    __radd__ = __add__

    def __index__(self) -> int:
        return self.base

    def __contains__(self, address: int) -> bool:
        return self.base <= address < self.end


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Export(_Addressed):
    """A function or a variable that a module exports."""

    name: str | None
    """None if the export has only an ordinal."""
    ordinal: int
    """The number of the export in its module."""
    address: int | None
    """The address in the process; None if the export is forwarded."""
    forwarder: str | None = None
    """The "module.name" to which the export is forwarded."""


@dataclasses.dataclass(frozen=True, slots=True)
class ThreadEntry:
    """A thread of a process."""

    id: int
    """The id of the thread, which is unique in the system."""
    priority: int
    """The base priority, from 0 to 31; 8 is usual."""


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A row of the list of all processes."""

    pid: int
    """The id of the process."""
    name: str
    """The name of the program's file without its folder."""
    parent: int
    """The id of the process that created this one. That process may have ended, and its
    id may be another's by now."""
    threads: int
    """The number of threads."""

    def _cells(self) -> dict[str, Any]:
        return {
            "pid": str(self.pid),
            "name": self.name,
            "parent": str(self.parent),
            "threads": self.threads,
        }


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class MapRow(_Addressed):
    """One allocation in the address space: memory that one call reserved."""

    base: int
    """The address at which the allocation starts."""
    size: int
    """The size in bytes, from the first region to the end of the last one."""
    committed: int
    """The number of bytes that are committed."""
    type: MemoryType
    """Whether the memory is private, mapped or an image."""
    protections: tuple[MemoryProtection, ...]
    """The protections of its regions, each once, in order."""
    label: str
    """The module or file in the allocation, or the kind of memory."""
    regions: int
    """The number of regions in the allocation."""


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Change(_Addressed):
    """A change that a `Watch` has seen: the bytes before and after."""

    address: int
    """The address of the watched bytes, in the other process."""
    old: bytes
    """All watched bytes at the look before."""
    new: bytes
    """All watched bytes at this look."""
