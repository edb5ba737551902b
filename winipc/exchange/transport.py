"""The four transports, and what the two ends of the exchange agree on."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from winipc import _core
from winipc.base.closing import Closing
from winipc.base.deadline import timed_out
from winipc.base.text import Words
from winipc.memory.mapping import SharedMapping
from winipc.sync.shared_lock import SharedLock

if TYPE_CHECKING:
    from winipc.message.window import CopyDataWindow
    from winipc.section.section import SharedSection

__all__ = ["Transport"]

DEFAULT_TITLE = "Receive"
DEFAULT_MAPPING = "MySharedMem"
DEFAULT_MAPPING_SIZE = 4096
DEFAULT_MAX_MESSAGE = 64 << 20

#: The lock of the section has the name of the variable, whatever the path of the DLL.
#: Senders to two DLLs then share a lock, and only wait for each other.
SECTION_LOCK = "MySharedData"

#: The registered message by which a sender asks whether the receiver has handled all
#: earlier deliveries. A receiver answers 1, or BUSY while its handler sends (Windows
#: then delivers the next message). A program that does not know the message answers 0.
BARRIER = "winipc.ExchangeBarrier"
BUSY = 2

#: The registered message by which a sender asks what the receiver sees at the start of
#: a transport's memory; wParam is the message that announces the transport's data.
PROOF = "winipc.ExchangeProof"

#: Offset of the doubt flag, after the lock of a `Lane`.
_DOUBT = 64
#: Where the receiver that looks says how much its memory holds.
_MOST = 144

#: How long a receiver looks for more after a delivery, and a sender for its answer,
#: before they leave the rest to Windows, in microseconds.
LOOK_US = 100

#: What comes of a question in place of an answer.
NOT_ANSWERED, NOT_TAKEN = _core.LANE_NOT_ANSWERED, _core.LANE_NOT_TAKEN


class Transport(Words):
    """How the data of a message travels."""

    #: Windows copies the data, in a WM_COPYDATA message.
    COPYDATA = "copydata"
    #: The sender writes the data to the receiver's shared memory mapping.
    MAPPING = "mapping"
    #: The sender writes the data to the shared section of a DLL that both have loaded.
    SECTION = "section"
    #: The receiver reads the data from the sender's memory.
    PROCESS = "process"


#: The registered message that announces data of a transport.
MESSAGE_NAMES = {
    Transport.MAPPING: "Mapped",
    Transport.SECTION: "Shared",
    Transport.PROCESS: "Handle",
}


def seen(shared: SharedMapping | SharedSection) -> int:
    """The answer to PROOF: the first bytes, as a number that is positive in 32 bits."""
    start = shared.read(min(4, len(shared)))
    return 1 + int.from_bytes(start, "little") % 0x7FFF_FFFF


class Lane(Closing):
    """What all senders to one memory share: whose turn it is, and a doubt flag.

    The flag says that a message about the memory may still be on its way: it timed out,
    or its sender died. By more words a sender asks a receiver that looks there
    (csrc/message/lane.h), and sends no message.
    """

    def __init__(self, name: str) -> None:
        self._memory = SharedMapping.create(
            f"{name}.winipc-exchange", 4096, exist_ok=True
        )
        self._lock = SharedLock(self._memory, 0)

    @property
    def doubt(self) -> bool:
        return bool(self._memory.get(_DOUBT, "u32"))

    @doubt.setter
    def doubt(self, doubt: bool) -> None:
        self._memory.set(_DOUBT, "u32", doubt)

    def turn(
        self, timeout: float | None
    ) -> contextlib.AbstractContextManager[SharedLock]:
        if self._lock.held:
            # A handler of this thread sends, while the thread waits for an answer.
            raise timed_out("a send of this thread has it", repr(self._lock))
        return self._lock.lock(timeout, repair=self._owner_died)

    def _owner_died(self, _lock: SharedLock) -> None:
        self.doubt = True

    def serve(self, window: CopyDataWindow, message: int, most: int) -> None:
        """Let the thread of the window look for what senders ask, of `most` bytes."""
        if self._memory.created:  # or another program decides who may ask
            self._memory.set(_MOST, "u64", most)
            window._look_at(self._memory.handle, message, LOOK_US)

    def is_looked_at(self, hwnd: int) -> bool:
        """Whether this window looks now; if not, it will after its next message."""
        return bool(_core._lane(self._memory, _core.LANE_LOOK, hwnd))

    def ask(self, hwnd: int, length: int) -> int:
        """The answer to what a message would announce; or NOT_ANSWERED, NOT_TAKEN."""
        return _core._lane(self._memory, _core.LANE_ASK, hwnd, length, LOOK_US)

    def answer(self) -> int:
        """What was answered after NOT_ANSWERED, or NOT_ANSWERED still."""
        return _core._lane(self._memory, _core.LANE_ANSWER)

    def withdraw(self) -> None:
        """Take back what a sender that died has asked, and nobody has taken."""
        _core._lane(self._memory, _core.LANE_WITHDRAW)

    def close(self) -> None:
        self._lock.close()
        self._memory.close()
