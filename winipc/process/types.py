"""What describes a process: access rights, regions, modules, and rows of lists."""

from __future__ import annotations

import dataclasses
import enum
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from winipc.memory.pages import PAGE_SIZE, MemoryProtection, MemoryState, MemoryType

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Change",
    "Export",
    "MapRow",
    "Module",
    "PartialRead",
    "ProcessAccess",
    "ProcessEntry",
    "Region",
    "ThreadEntry",
]


class ProcessAccess(enum.IntFlag):
    """Rights to another process (PROCESS_* of Win32), and useful combinations."""

    TERMINATE = 0x0001
    CREATE_THREAD = 0x0002
    VM_OPERATION = 0x0008
    VM_READ = 0x0010
    VM_WRITE = 0x0020
    DUP_HANDLE = 0x0040
    SUSPEND_RESUME = 0x0800
    QUERY_INFORMATION = 0x0400
    QUERY_LIMITED_INFORMATION = 0x1000
    SYNCHRONIZE = 0x100000

    QUERY = QUERY_LIMITED_INFORMATION | SYNCHRONIZE
    """To query the state and the name of a process, but not its memory."""
    READ = VM_READ | QUERY_INFORMATION | QUERY
    """To read memory and list regions, modules and threads."""
    WRITE = READ | VM_WRITE | VM_OPERATION
    """To write, protect, allocate and free memory as well."""


@dataclasses.dataclass(frozen=True, slots=True)
class PartialRead:
    """The result of a partial read: the data, and which pages could be read.

    `mask` has a 1 for each page that could be read, and a 0 for each other page; the
    data may cover only a part of the first and the last page. `data` is zero for pages
    that could not be read.
    """

    address: int
    data: Buffer
    mask: bytes

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


@dataclasses.dataclass(frozen=True, slots=True)
class Region:
    """Adjacent pages of a process with the same attributes (VirtualQueryEx)."""

    base: int
    size: int
    state: MemoryState
    protection: MemoryProtection
    type: MemoryType
    allocation_base: int
    allocation_protection: MemoryProtection
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


@dataclasses.dataclass(frozen=True, slots=True)
class Module:
    """A program or DLL that is loaded in a process.

    A module is accepted wherever an address is. `module + 0x10` is the address 0x10
    bytes after its base.
    """

    name: str
    path: str
    base: int
    size: int
    entry_point: int

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


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """A function or a variable that a module exports."""

    name: str | None
    """None if the export has only an ordinal."""
    ordinal: int
    address: int | None
    """The address in the process; None if the export is forwarded."""
    forwarder: str | None = None
    """The "module.name" to which the export is forwarded."""


@dataclasses.dataclass(frozen=True, slots=True)
class ThreadEntry:
    """A thread of a process."""

    id: int
    priority: int


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A row of the list of all processes."""

    pid: int
    name: str
    parent: int
    threads: int

    def _cells(self) -> dict[str, Any]:
        return {
            "pid": str(self.pid),
            "name": self.name,
            "parent": str(self.parent),
            "threads": self.threads,
        }


@dataclasses.dataclass(frozen=True, slots=True)
class MapRow:
    """One allocation in the address space: memory that one call reserved."""

    base: int
    size: int
    committed: int
    type: MemoryType
    protections: tuple[MemoryProtection, ...]
    """The protections of its regions, each once, in order."""
    label: str
    """The module or file in the allocation, or the kind of memory."""
    regions: int


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """A change that a `Watch` has seen: the bytes before and after."""

    address: int
    old: bytes
    new: bytes
