"""The exchange: bytes from a sender to a receiver, by any of four transports.

A `Receiver` owns a window whose title is its address; a `Sender` finds it. The
data travels in the message itself (WM_COPYDATA), in a named mapping, in a DLL's
shared section, or stays in the sender's memory for the receiver to read; for the
last three a registered message ("Mapped", "Shared", "Handle") says that it is
there. SendMessage is the barrier: it returns when the receiver has copied the
data, or its handler has looked at it, so the sender may use the memory again at
once.

| transport | message | wParam | lParam |
| --- | --- | --- | --- |
| mapping | "Mapped" | length, 0 = NUL-terminated text | 0 |
| section | "Shared" | length, 0 = NUL-terminated text | 0 |
| copydata | WM_COPYDATA | the sender's window, or 0 | COPYDATASTRUCT |
| process | "Handle" | low 32 bits pid, high 32 bits length (0 = text) | address |

The answer is positive when the data was taken and 0 when it was refused. A
length of 0 keeps a plain C program that knows only text a full peer.

Every program in the session may send to a receiver, and may write to the mapping
and the section: the data is copied once and never trusted. Windows does not tell
a receiver which process sent a message, and none of the transports does either.
"""

from winipc.exchange.receiver import Delivery, Received, Receiver
from winipc.exchange.sender import Sender
from winipc.exchange.transport import Transport

__all__ = ["Delivery", "Received", "Receiver", "Sender", "Transport"]
