"""Windows and the messages that they receive and send."""

from winipc.message.lookup import (
    Target,
    Window,
    find_window,
    find_windows,
    wait_window,
)
from winipc.message.message import Message
from winipc.message.send import (
    HWND_BROADCAST,
    broadcast_message,
    mapping_is_ours,
    post_message,
    register_message,
    send_copydata,
    send_copydata_async,
    send_message,
)
from winipc.message.window import (
    Accept,
    CopyDataWindow,
    Handler,
    Overflow,
    call,
)

__all__ = [
    "HWND_BROADCAST",
    "Accept",
    "CopyDataWindow",
    "Handler",
    "Message",
    "Overflow",
    "Target",
    "Window",
    "broadcast_message",
    "call",
    "find_window",
    "find_windows",
    "mapping_is_ours",
    "post_message",
    "register_message",
    "send_copydata",
    "send_copydata_async",
    "send_message",
    "wait_window",
]
