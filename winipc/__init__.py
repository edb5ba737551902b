"""Win32 inter-process communication: shared memory, messages, remote memory.

Everything that is public is re-exported here; each name is documented where
it is defined.
"""

import pkgutil
import sys

if sys.platform != "win32":
    raise ImportError(
        "winipc needs Windows: install it in a Windows Python, "
        "or run it on Linux under Wine with ./dev from its repository"
    )

# `python -m winipc` in a checkout finds these sources first, which have no
# extension beside them: that of the installed package is then taken.
__path__ = pkgutil.extend_path(__path__, __name__)

from winipc.bridge import Bridge, GameMapping, bridge, game_mappings
from winipc.channel import Channel, EndOfStream, PeekedMessage
from winipc.errors import AbandonedError, PartialReadError, PartialWriteError
from winipc.exchange import Delivery, Received, Receiver, Sender, Transport
from winipc.memory.atomic import Atomic
from winipc.memory.block import GlobalMemory, MemoryKind
from winipc.memory.layout import Field, Layout, LayoutError, StructView
from winipc.memory.locked import LockedMapping
from winipc.memory.mapping import (
    MappingView,
    SharedMapping,
    large_pages_privilege,
)
from winipc.memory.pages import MemoryProtection, MemoryState, MemoryType
from winipc.memory.snapshot import Snapshot
from winipc.message.lookup import Window, find_window, find_windows, wait_window
from winipc.message.message import Message
from winipc.message.send import (
    broadcast_message,
    post_message,
    register_message,
    send_copydata,
    send_copydata_async,
    send_message,
)
from winipc.message.window import CopyDataWindow, Overflow, call
from winipc.pe import SectionFlags, SectionVariable
from winipc.process.memory import RemoteBlock, Watch
from winipc.process.process import RemoteProcess, debug_privilege, processes
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
from winipc.scan.candidates import CandidateSet, ValueChange
from winipc.scan.scan import Pattern, Scan, ScanMatch, ValueType, scan_bytes
from winipc.section.section import SectionError, SharedSection
from winipc.sync.event import Event
from winipc.sync.mutex import Mutex
from winipc.sync.semaphore import Semaphore
from winipc.sync.shared_lock import SharedLock
from winipc.sync.waitable import SyncAccess, Waitable
from winipc.sync.waits import wait_all, wait_any
from winipc.system.catalog import (
    Holders,
    NamedObject,
    ObjectKind,
    holders,
    holders_of,
    named_objects,
)

__all__ = [
    "AbandonedError",
    "Atomic",
    "Bridge",
    "CandidateSet",
    "Change",
    "Channel",
    "CopyDataWindow",
    "Delivery",
    "EndOfStream",
    "Event",
    "Export",
    "Field",
    "GameMapping",
    "GlobalMemory",
    "Holders",
    "Layout",
    "LayoutError",
    "LockedMapping",
    "MapRow",
    "MappingView",
    "MemoryKind",
    "MemoryProtection",
    "MemoryState",
    "MemoryType",
    "Message",
    "Module",
    "Mutex",
    "NamedObject",
    "ObjectKind",
    "Overflow",
    "PartialRead",
    "PartialReadError",
    "PartialWriteError",
    "Pattern",
    "PeekedMessage",
    "ProcessAccess",
    "ProcessEntry",
    "Received",
    "Receiver",
    "Region",
    "RemoteBlock",
    "RemoteProcess",
    "Scan",
    "ScanMatch",
    "SectionError",
    "SectionFlags",
    "SectionVariable",
    "Semaphore",
    "Sender",
    "SharedLock",
    "SharedMapping",
    "SharedSection",
    "Snapshot",
    "StructView",
    "SyncAccess",
    "ThreadEntry",
    "Transport",
    "ValueChange",
    "ValueType",
    "Waitable",
    "Watch",
    "Window",
    "bridge",
    "broadcast_message",
    "call",
    "debug_privilege",
    "find_window",
    "find_windows",
    "game_mappings",
    "holders",
    "holders_of",
    "large_pages_privilege",
    "named_objects",
    "post_message",
    "processes",
    "register_message",
    "scan_bytes",
    "send_copydata",
    "send_copydata_async",
    "send_message",
    "wait_all",
    "wait_any",
    "wait_window",
]

__version__ = "0.1.0"

# The names that modules had before they were put in rooms: imports of them still work.
_MOVED = {
    "atomic": "memory.atomic",
    "candidates": "scan.candidates",
    "catalog": "system.catalog",
    "layout": "memory.layout",
    "lock_word": "sync.shared_lock",
    "locked": "memory.locked",
    "mapping": "memory.mapping",
    "remote_memory": "process.memory",
    "remote_types": "process.types",
    "snapshot": "memory.snapshot",
    "window": "message.window",
}
for _old, _new in _MOVED.items():
    sys.modules[f"{__name__}.{_old}"] = sys.modules[f"{__name__}.{_new}"]
