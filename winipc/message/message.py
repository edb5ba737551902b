"""`Message`: one message that a window received."""

from __future__ import annotations

import sys
from typing import Any

from winipc import _core
from winipc.base.shown import Shown

__all__ = ["Message"]

WM_COPYDATA = 0x004A
#: Ids have the size of a pointer; a negative id is counted down from here.
ID_LIMIT = 2 * sys.maxsize + 2


class Message(_core.Message, Shown):
    """A received message; its data is a read-only buffer.

    `memoryview(message)` is the data without a copy, `bytes(message)` is a copy, and
    `len(message)` is its size. `id` says what kind of data it is. `sender` is the
    window that claims to have sent it, and `pid` is that window's process. A message
    other than WM_COPYDATA has only `message`, `wparam` and `lparam`.
    """

    __slots__ = ()

    @property
    def is_copydata(self) -> bool:
        """Whether the message is a WM_COPYDATA, with data and an id."""
        return self.message == WM_COPYDATA

    @property
    def verified(self) -> bool:
        """Whether `sender` was a window of a living process on arrival.

        Windows does not tell the sender: a program may name another program's window. A
        sender that names no window is never verified.
        """
        return self.pid != 0

    @property
    def executable(self) -> str | None:
        """The path of the program of `pid`, or None if Windows does not tell.

        Windows is asked now. The result is None if the process has ended, even if
        another process has its id by now. Win32: QueryFullProcessImageName.
        """
        if not self.pid:
            return None
        try:
            path, created = _core._process_image(self.pid)
        except OSError:
            return None
        return path if created <= self.time else None

    def text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The data as text, up to its first NUL: see `winipc.decoders.text`."""
        from winipc import decoders  # only here: it imports json

        return decoders.text(encoding, errors)(self)

    def unpack(self, layout: Any) -> Any:
        """The data as a structure: see `winipc.decoders.structure`."""
        from winipc import decoders

        return decoders.structure(layout)(self)

    def __repr__(self) -> str:
        if self.message == WM_COPYDATA:
            return (
                f"<Message id={self.id:#x} size={len(self)} "
                f"sender={self.sender:#x} pid={self.pid}>"
            )
        return (
            f"<Message message={self.message:#x} "
            f"wparam={self.wparam:#x} lparam={self.lparam:#x}>"
        )
