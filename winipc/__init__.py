"""Win32 inter-process communication: shared memory, messages, remote memory.

Everything that is public is re-exported here; each name is documented where
it is defined.
"""

import sys

if sys.platform != "win32":
    raise ImportError(
        "winipc needs Windows: install it in a Windows Python, "
        "or run it on Linux under Wine with ./dev from its repository"
    )

from winipc.errors import AbandonedError, PartialReadError, PartialWriteError
from winipc.exchange import Received, Receiver, Sender, Transport
from winipc.mapping import MappingView, SharedMapping
from winipc.memory import GlobalMemory, MemoryKind
from winipc.message import (
    Window,
    broadcast_message,
    find_window,
    find_windows,
    post_message,
    register_message,
    send_copydata,
    send_message,
    wait_window,
)
from winipc.process import RemoteBlock, RemoteProcess
from winipc.remote_types import (
    MemoryProtection,
    MemoryState,
    MemoryType,
    PartialRead,
    ProcessAccess,
    Region,
)
from winipc.section import (
    Atomic,
    SectionError,
    SectionFlags,
    SectionVariable,
    SharedSection,
)
from winipc.sync import (
    Event,
    Mutex,
    Semaphore,
    SyncAccess,
    Waitable,
    wait_all,
    wait_any,
)
from winipc.window import CopyDataWindow, Message, Overflow, call

__all__ = [
    "AbandonedError",
    "Atomic",
    "CopyDataWindow",
    "Event",
    "GlobalMemory",
    "MappingView",
    "MemoryKind",
    "MemoryProtection",
    "MemoryState",
    "MemoryType",
    "Message",
    "Mutex",
    "Overflow",
    "PartialRead",
    "PartialReadError",
    "PartialWriteError",
    "ProcessAccess",
    "Received",
    "Receiver",
    "Region",
    "RemoteBlock",
    "RemoteProcess",
    "SectionError",
    "SectionFlags",
    "SectionVariable",
    "Semaphore",
    "Sender",
    "SharedMapping",
    "SharedSection",
    "SyncAccess",
    "Transport",
    "Waitable",
    "Window",
    "broadcast_message",
    "call",
    "find_window",
    "find_windows",
    "post_message",
    "register_message",
    "send_copydata",
    "send_message",
    "wait_all",
    "wait_any",
    "wait_window",
]

__version__ = "0.1.0"
