"""The four transports, and what the two ends of the exchange agree on."""

from __future__ import annotations

import contextlib
import enum

from winipc.sync.waitable import Event, Mutex

__all__ = ["Transport"]

DEFAULT_TITLE = "Receive"
DEFAULT_MAPPING = "MySharedMem"
DEFAULT_MAPPING_SIZE = 4096

#: The lock of the section is named for the data, whatever the path of the DLL: two
#: sections that share a lock only wait for each other.
SECTION_LOCK = "MySharedData"


class Transport(enum.StrEnum):
    """How the data of a message travels."""

    COPYDATA = "copydata"
    MAPPING = "mapping"
    SECTION = "section"
    PROCESS = "process"


#: The registered message that announces data of a transport.
MESSAGE_NAMES = {
    Transport.MAPPING: "Mapped",
    Transport.SECTION: "Shared",
    Transport.PROCESS: "Handle",
}


class Lane:
    """What all senders share about one memory, under one name.

    Whose turn it is, and whether a message about it may still be on its way:
    one that timed out, or whose sender died.
    """

    def __init__(self, name: str, stack: contextlib.ExitStack) -> None:
        self.mutex = Mutex.create(f"{name}.winipc-exchange", exist_ok=True)
        stack.callback(self.mutex.close)
        self.doubt = stack.enter_context(
            Event.create(f"{name}.winipc-doubt", manual=True, exist_ok=True)
        )

    def turn(self, timeout: float | None) -> contextlib.AbstractContextManager[Mutex]:
        return self.mutex.lock(timeout, repair=lambda _: self.doubt.set())
