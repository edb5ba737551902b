"""Other processes and their memory."""

from winipc.process.memory import (
    RemoteBlock,
    Watch,
)
from winipc.process.process import (
    RemoteProcess,
    debug_privilege,
    processes,
)
from winipc.process.types import (
    Change,
    Export,
    MapRow,
    Module,
    PartialRead,
    ProcessAccess,
    ProcessEntry,
    Region,
    ThreadEntry,
)

__all__ = [
    "Change",
    "Export",
    "MapRow",
    "Module",
    "PartialRead",
    "ProcessAccess",
    "ProcessEntry",
    "Region",
    "RemoteBlock",
    "RemoteProcess",
    "ThreadEntry",
    "Watch",
    "debug_privilege",
    "processes",
]
