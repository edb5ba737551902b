"""Channel: messages from one process to another at the speed of memory.

One process makes it, others open it by name; who receives first is the receiver,
who sends is a sender::

    with Channel.create("prices", 1 << 20) as channel:   # in one process
        for message in channel:
            print(message)

    with Channel.open("prices") as channel:              # in another
        channel.send(b"EURUSD 1.0712")

A channel has one sender unless it is made with `producers="many"`, and one receiver.
When all senders have closed, the receiver gets what is left and then `EndOfStream`;
when one of them died, `BrokenPipeError`.

The layout is in `include/winipc.h`, with which a C program is a full peer.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeAlias

from winipc import _core
from winipc._core import EndOfStream, PeekedMessage

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Channel", "EndOfStream", "PeekedMessage"]

Role: TypeAlias = Literal["send", "recv"]
Overflow: TypeAlias = Literal["block", "refuse", "drop_oldest"]

_MANY = 1
_OVERFLOW = {"block": 0, "drop_oldest": 2, "refuse": 4}

_ERROR_ALREADY_EXISTS = 183


class Channel(_core.Channel):
    """A bounded ring of messages in shared memory.

    `name`, `capacity` and `max_record` (bytes), `created`, `closed`, `pending` (bytes
    in use), `dropped` (messages), `max_message` (bytes, may be set).

    Any thread may use it. Threads that send on one object take turns, and so do those
    that receive; a sender and a receiver do not disturb each other.
    """

    __slots__ = ()

    @classmethod
    def create(
        cls,
        name: str | None,
        capacity: int,
        *,
        producers: Literal["one", "many"] = "one",
        overflow: Overflow = "block",
        max_record: int | None = None,
        exist_ok: bool = False,
        role: Role | None = None,
        security: str | None = None,
    ) -> Self:
        """Make a channel of `capacity` bytes, a power of two from 256 to 1 GiB.

        Without a name it gets one that nobody else has. `overflow` says what `send`
        does when the ring is full: wait ("block"), raise TimeoutError at once
        ("refuse", where no timeout is given), or forget the oldest messages
        ("drop_oldest"). A message takes its length, rounded up to 8, and 8 bytes.
        One larger than `max_record` bytes (default capacity - 8) goes in parts; a
        smaller `max_record` takes less memory (a channel needs
        4096 + capacity + max_record bytes) and makes large messages faster, as the
        receiver copies one part while the sender writes the next.

        `role` takes an end of the channel at once instead of at the first call.
        With `exist_ok` an existing channel of this name is opened. `security` is an
        SDDL string, "owner", or None.

        Raises FileExistsError (winerror 183) when the name is taken, ValueError for
        numbers that cannot be.

        Win32: CreateFileMappingW, CreateEventW, MapViewOfFile
        """
        if producers not in ("one", "many"):
            raise ValueError('producers must be "one" or "many"')
        if overflow not in _OVERFLOW:
            raise ValueError('overflow must be "block", "refuse" or "drop_oldest"')
        flags = _OVERFLOW[overflow] | (_MANY if producers == "many" else 0)
        if name is None:
            name = f"winipc-channel-{os.getpid()}-{uuid.uuid4().hex}"
        while True:
            try:
                self = cls._create(
                    name,
                    capacity,
                    0 if max_record is None else max_record,
                    flags,
                    security,
                )
                break
            except FileExistsError:
                if not exist_ok:
                    raise
            try:
                self = cls._open(name)
                break
            except FileNotFoundError:
                pass  # it went away in between
        self._take(role)
        return self

    @classmethod
    def open(cls, name: str, *, role: Role | None = None) -> Self:
        """Open the channel that has this name.

        Raises FileNotFoundError (winerror 2), PermissionError (5), OSError with
        winerror 6 when an object of another kind has the name, and with 13 when a
        mapping that is no channel has it.

        Win32: OpenFileMappingW, OpenEventW, MapViewOfFile
        """
        self = cls._open(name)
        self._take(role)
        return self

    @classmethod
    def wait_for(
        cls, name: str, timeout: float | None = None, *, role: Role | None = None
    ) -> Self:
        """Open the channel of this name as soon as somebody makes it.

        Raises TimeoutError, and what `open` raises but FileNotFoundError.

        Win32: OpenFileMappingW
        """
        end = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        while True:
            try:
                return cls.open(name, role=role)
            except FileNotFoundError:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"nobody made the channel {name!r}") from None
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 2, 0.05)

    def _take(self, role: Role | None) -> None:
        if role is None:
            return
        try:
            if role not in ("send", "recv"):
                raise ValueError('role must be "send", "recv" or None')
            self._claim(role == "recv")
        except BaseException:
            self.close()
            raise

    @property
    def producers(self) -> str:
        """ "one" or "many"."""
        return "many" if self._flags & _MANY else "one"

    @property
    def overflow(self) -> str:
        """ "block", "refuse" or "drop_oldest"."""
        return next(
            key for key, flag in _OVERFLOW.items() if (self._flags & ~_MANY) == flag
        )

    @property
    def receiver(self) -> int | None:
        """The id of the process that receives, or None."""
        return self._members()[0]

    @property
    def senders(self) -> list[int]:
        """The ids of the processes that send."""
        return self._members()[1]

    def recv_many(
        self, limit: int | None = None, timeout: float | None = None
    ) -> list[bytes]:
        """Receive all messages that are there, at least one, at most `limit`.

        Waits at most `timeout` seconds for the first one. Raises as `recv` does.

        Win32: WaitForMultipleObjects, SetEvent
        """
        return self._recv_many(65536 if limit is None else limit, timeout)

    def __iter__(self) -> Iterator[bytes]:
        """All messages until the end of the stream."""
        while True:
            try:
                message = self.recv()
            except EndOfStream:
                return
            yield message

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        if self.closed:
            raise ValueError("channel is closed")
        return (type(self).open, (self.name,))

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.capacity} bytes"
        return f"<winipc.Channel {self.name!r}, {state}>"
