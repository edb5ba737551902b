"""Pages of memory: their size, protection, state and type."""

from __future__ import annotations

import enum

__all__ = ["MemoryProtection", "MemoryState", "MemoryType"]

#: The size of a page in bytes, on every Windows and every processor.
PAGE_SIZE = 4096


class MemoryProtection(enum.IntFlag):
    """Protection of pages (PAGE_* of Win32)."""

    NONE = 0
    NOACCESS = 0x01
    READONLY = 0x02
    READWRITE = 0x04
    WRITECOPY = 0x08
    EXECUTE = 0x10
    EXECUTE_READ = 0x20
    EXECUTE_READWRITE = 0x40
    EXECUTE_WRITECOPY = 0x80
    GUARD = 0x100
    NOCACHE = 0x200
    WRITECOMBINE = 0x400


class MemoryState(enum.IntFlag):
    """State of pages (MEM_* of Win32)."""

    COMMIT = 0x1000
    RESERVE = 0x2000
    FREE = 0x10000


class MemoryType(enum.IntFlag):
    """Type of pages (MEM_* of Win32); NONE for free memory."""

    NONE = 0
    PRIVATE = 0x20000
    MAPPED = 0x40000
    IMAGE = 0x1000000
