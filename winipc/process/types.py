"""What describes another process: access rights, and rows of its tables."""

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
    """Rights to another process (PROCESS_* of Win32), and useful sums."""

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
    """To see whether it lives and what it is called; no memory."""
    READ = VM_READ | QUERY_INFORMATION | QUERY
    """To read memory and list regions, modules and threads."""
    WRITE = READ | VM_WRITE | VM_OPERATION
    """To write, protect, allocate and free memory as well."""


@dataclasses.dataclass(frozen=True, slots=True)
class PartialRead:
    """What a read got: the data, and which pages of it are real.

    `mask` has a 1 for each page that could be read and a 0 for each that could
    not; the first and the last page may be covered in part. Where a page could
    not be read, `data` is zero.
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
        """How many bytes could be read."""
        return sum(stop - start for start, stop in self._runs())

    @property
    def prefix(self) -> bytes:
        """The data up to the first byte that could not be read."""
        for start, stop in self._runs():
            return bytes(memoryview(self.data).cast("B")[:stop]) if start == 0 else b""
        return b""

    def runs(self) -> Iterator[tuple[int, bytes]]:
        """Each stretch that could be read, as its address and its bytes."""
        view = memoryview(self.data).cast("B")
        for start, stop in self._runs():
            yield self.address + start, bytes(view[start:stop])

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Offsets of the stretches that could be read."""
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
    """Pages of a process that have everything in common (VirtualQueryEx)."""

    base: int
    size: int
    state: MemoryState
    protection: MemoryProtection
    type: MemoryType
    allocation_base: int
    allocation_protection: MemoryProtection
    path: str | None = None
    """The file that is mapped here, if it is one."""
    sections: tuple[str, ...] = ()
    """Named sections that may be mapped here; see `RemoteProcess.regions`."""

    @property
    def end(self) -> int:
        """The address after the region."""
        return self.base + self.size

    @property
    def readable(self) -> bool:
        """Whether it can be read without disarming a guard page."""
        return (
            self.state == MemoryState.COMMIT
            and self.protection != 0
            and not self.protection
            & (MemoryProtection.NOACCESS | MemoryProtection.GUARD)
        )

    @property
    def writable(self) -> bool:
        """Whether the process itself can write it."""
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
        """Whether code can run in it."""
        return bool(self.protection & 0xF0)

    def __contains__(self, address: int) -> bool:
        return self.base <= address < self.end


@dataclasses.dataclass(frozen=True, slots=True)
class Module:
    """A program or DLL that is loaded in a process.

    `module + 0x10` is an address relative to it, and a module can be given
    wherever an address is wanted.
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
    """What a module offers to others: a function or a variable."""

    name: str | None
    """None where it has only an ordinal."""
    ordinal: int
    address: int | None
    """Where it is in the process; None where it is forwarded."""
    forwarder: str | None = None
    """The "module.name" that stands in for it."""


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
    """One allocation of the address space: what was reserved at once."""

    base: int
    size: int
    committed: int
    type: MemoryType
    protections: tuple[MemoryProtection, ...]
    """Of its regions, each once, in order."""
    label: str
    """The module or file in it, or what kind of memory it is."""
    regions: int


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What a watch has seen: the bytes before and after."""

    address: int
    old: bytes
    new: bytes
