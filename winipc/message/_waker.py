"""What wakes a coroutine that waits for a window's next message.

A module of its own, imported by the first coroutine that waits: asyncio takes longer
to import than all else that winipc needs.
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from winipc.message.window import CopyDataWindow


class Waker:
    """Wakes the coroutines of one event loop when a window has a message.

    The window's thread writes a byte to a socket, which both kinds of loop
    can wait for and which needs no Python.
    """

    def __init__(self, window: CopyDataWindow) -> None:
        self._ours, theirs = socket.socketpair()
        self._ours.setblocking(False)
        theirs.setblocking(False)
        self._theirs = theirs.fileno()
        #: One coroutine waits for the socket, the others for that one.
        self._turn = asyncio.Lock()
        token = [window._add_waker(self._theirs)]
        weakref.finalize(self, _end, token, self._ours, theirs)

    async def wait(self, window: CopyDataWindow) -> None:
        """Return when there may be something to take."""
        async with self._turn:
            if not window._arm_waker(self._theirs):
                loop = asyncio.get_running_loop()
                await loop.sock_recv(self._ours, 64)


def _end(token: list[object], *sockets: socket.socket) -> None:
    token.clear()  # the window's thread lets go of the socket, and then
    for end in sockets:
        end.close()
