"""Pages of memory: their size, protection, state and type."""

from __future__ import annotations

import enum

__all__ = ["MemoryProtection", "MemoryState", "MemoryType"]

#: The size of a page in bytes, on every Windows and every processor.
PAGE_SIZE = 4096


class MemoryProtection(enum.IntFlag):
    """Protection of pages (PAGE_* of Win32)."""

    #: The pages have no protection, as they are reserved and not committed.
    NONE = 0
    #: Every access is an access violation.
    NOACCESS = 0x01
    #: The pages can be read.
    READONLY = 0x02
    #: The pages can be read and written.
    READWRITE = 0x04
    #: The pages can be read; the first write to a page gives the process a private copy
    #: of that page.
    WRITECOPY = 0x08
    #: Code can run there. Windows promises no reading, but most processors allow it.
    EXECUTE = 0x10
    #: Code can run there, and the pages can be read.
    EXECUTE_READ = 0x20
    #: Code can run there, and the pages can be read and written.
    EXECUTE_READWRITE = 0x40
    #: Code can run there; the first write to a page gives the process a private copy of
    #: that page.
    EXECUTE_WRITECOPY = 0x80
    #: The first access to a page raises STATUS_GUARD_PAGE_VIOLATION and clears this
    #: flag. Stacks grow by it. Joins another protection.
    GUARD = 0x100
    #: The processor does not cache the pages. Joins another protection.
    NOCACHE = 0x200
    #: The processor may join and delay writes, as for video memory. Joins another
    #: protection.
    WRITECOMBINE = 0x400


class MemoryState(enum.IntFlag):
    """State of pages (MEM_* of Win32)."""

    #: The pages have memory, or room in the paging file or a mapped file.
    COMMIT = 0x1000
    #: The addresses are taken, but have no memory yet: an access is an access
    #: violation.
    RESERVE = 0x2000
    #: The addresses are not taken.
    FREE = 0x10000


class MemoryType(enum.IntFlag):
    """Type of pages (MEM_* of Win32); NONE for free memory."""

    #: The memory is free.
    NONE = 0
    #: The memory belongs to the process alone, as heaps and stacks do.
    PRIVATE = 0x20000
    #: A view of a file or of a shared memory mapping.
    MAPPED = 0x40000
    #: A program or DLL that the loader has mapped.
    IMAGE = 0x1000000
