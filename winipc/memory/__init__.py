"""Shared memory: mappings, whole records, structures, interlocked operations."""

from winipc.memory.atomic import Atomic
from winipc.memory.block import (
    GlobalMemory,
    MemoryKind,
)
from winipc.memory.layout import (
    Field,
    Layout,
    LayoutError,
    StructView,
)
from winipc.memory.locked import (
    LockedMapping,
)
from winipc.memory.mapping import (
    Access,
    MappingView,
    SharedMapping,
    large_pages_privilege,
)
from winipc.memory.pages import (
    MemoryProtection,
    MemoryState,
    MemoryType,
)
from winipc.memory.snapshot import (
    Snapshot,
)

__all__ = [
    "Access",
    "Atomic",
    "Field",
    "GlobalMemory",
    "Layout",
    "LayoutError",
    "LockedMapping",
    "MappingView",
    "MemoryKind",
    "MemoryProtection",
    "MemoryState",
    "MemoryType",
    "SharedMapping",
    "Snapshot",
    "StructView",
    "large_pages_privilege",
]
