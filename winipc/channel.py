"""Channel: a stream of messages from one process to another, in shared memory.

One process creates it, others open it by name. The first process that receives is the
receiver; processes that send are senders.

A channel has one sender unless it is made with `producers="many"`, and one receiver.
When all senders have closed, the receiver gets the remaining messages, and then
`EndOfStream`; if a sender died, `BrokenPipeError`.

The layout is in `include/winipc.h`, with which a C program is a full peer.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import winipc  # imports a module at the first use of its names
from winipc import _core
from winipc._core import EndOfStream, PeekedMessage
from winipc.base.appearing import make_or_open, wait_until_made
from winipc.base.closing import Closing
from winipc.base.deadline import Deadline
from winipc.base.shown import Shown

if TYPE_CHECKING:
    from typing import Self

    from typing_extensions import Buffer

    from winipc.memory.layout import Codec

__all__ = ["Channel", "EndOfStream", "PeekedMessage"]

Role: TypeAlias = Literal["send", "recv"]
Overflow: TypeAlias = Literal["block", "refuse", "drop_oldest"]

_MANY = 1
_OVERFLOW = {"block": 0, "drop_oldest": 2, "refuse": 4}

_T = TypeVar("_T")

#: The default limit of recv_many: this many `bytes` stay in the processor's cache.
_BATCH = 512


class Channel(_core.Channel, Shown, Closing):
    """A bounded ring of messages in shared memory.

    ::

        with winipc.Channel.create("my-app.prices", 1 << 20) as channel:
            with winipc.Channel.open("my-app.prices") as sender:  # in another program
                sender.send(b"EURUSD 1.0712")
            for message in channel:  # until all senders have closed
                print(message)  # b'EURUSD 1.0712'

    Attributes: `name`, `capacity` and `max_record` (bytes), `created`, `closed`,
    `pending` (bytes in use), `dropped` (messages).

    Any thread may use it. Threads that send by one object take turns, and so do threads
    that receive; a sender and a receiver do not wait for each other's turn.
    """

    __slots__ = ("__weakref__",)

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
        """Create a channel.

        A message occupies 8 bytes of the ring plus its length, rounded up to a multiple
        of 8. For messages that are larger than the ring, put the data into a
        `SharedMapping` and send its offset. A channel takes 4096 + capacity +
        max_record bytes of memory.

        Args:
            name: The name that other processes open. None gives it an unused one.
            capacity: The size of the ring in bytes, a power of two from 256 to 1 GiB.
            producers: "one" sender at a time, or "many".
            overflow: What `send` does if the ring is full: wait ("block"), raise
                TimeoutError at once unless it has a time-out ("refuse"), or drop the
                oldest messages ("drop_oldest").
            max_record: The most bytes of a message, from 16 up. None means
                capacity - 8.
            exist_ok: If the name is taken, open that channel; `created` tells.
            role: "send" or "recv" takes this end of the channel at once, None at the
                first call.
            security: As in `SharedMapping.create`; who may write ("GW") may also wait.

        Raises:
            FileExistsError: The name, or the name of one of its events, is taken
                (winerror 183).
            PermissionError: Another process has the end in `role` (winerror 231), or
                this one may not open the channel that exists (winerror 5).
            ValueError: An argument is none of these.

        Win32: CreateFileMappingW, CreateEventW, MapViewOfFile
        """
        if producers not in ("one", "many"):
            raise ValueError('producers must be "one" or "many"')
        if overflow not in _OVERFLOW:
            raise ValueError('overflow must be "block", "refuse" or "drop_oldest"')
        flags = _OVERFLOW[overflow] | (_MANY if producers == "many" else 0)
        if name is None:
            name = f"winipc-channel-{os.getpid()}-{os.urandom(16).hex()}"
        elif name == "":
            raise ValueError("name must not be empty")
        if isinstance(security, str):  # events: GW gives no SYNCHRONIZE
            security = security.replace("GW", "GWGX")
        self = make_or_open(
            lambda: cls._make(name, capacity, max_record or 0, flags, security),
            lambda: cls._make(name),
            exist_ok,
        )
        self._take(role)
        return self

    @classmethod
    def open(cls, name: str, *, role: Role | None = None) -> Self:
        """Open the channel with this name.

        Raises:
            FileNotFoundError: There is no such channel (winerror 2).
            PermissionError: This process may not open it (winerror 5).
            OSError: Another kind of object has the name (winerror 6), or the mapping
                with this name is no channel, or its creator did not finish within a
                second (winerror 13).

        Win32: OpenFileMappingW, OpenEventW, MapViewOfFile
        """
        self = cls._make(name)
        self._take(role)
        return self

    @classmethod
    def wait_for(
        cls, name: str, timeout: float | None = None, *, role: Role | None = None
    ) -> Self:
        """Open the channel with this name as soon as it exists.

        `timeout` is in seconds; None waits forever.

        Raises:
            TimeoutError: No channel appeared in time (winerror 1460).
            FileNotFoundError: The name is not valid (winerror 3).

        The other errors are those of `open`.

        Win32: OpenFileMappingW
        """
        return wait_until_made(lambda: cls.open(name, role=role), name, timeout)

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
        return memoryview(self._members()).cast("I")[0] or None

    @property
    def senders(self) -> list[int]:
        """The ids of the processes that send."""
        return [pid for pid in memoryview(self._members()).cast("I")[1:] if pid]

    def wait_for_sender(self, timeout: float | None = None) -> None:
        """Wait up to `timeout` seconds until a sender, or a message of one, is there.

        ::

            def take(channel):  # the messages of one producer after the other
                while True:
                    channel.wait_for_sender()
                    yield from channel  # until it closes; its death is an error

        After the end, `recv` raises the same error again until another sender comes.

        Raises:
            TimeoutError: None came in time (winerror 1460).

        Any thread may call it, in any process that has the channel. Windows does not
        tell that a peer came; this looks every 0.05 s.
        """

        self._wait_for(lambda: self.senders or self.pending, "sender", timeout)

    def wait_for_receiver(self, timeout: float | None = None) -> None:
        """Wait up to `timeout` seconds until a receiver is there.

        ::

            def put(channel, data):  # to one consumer after the other
                while True:
                    try:
                        return channel.send(data)
                    except BrokenPipeError:  # it closed, or died
                        channel.wait_for_receiver()

        The next receiver finds the messages that the last one did not take. The errors
        and the rest are those of `wait_for_sender`.
        """
        self._wait_for(lambda: self.receiver, "receiver", timeout)

    def _wait_for(
        self, look: Callable[[], object], who: str, timeout: float | None
    ) -> None:
        def check() -> None:
            if not look():
                raise FileNotFoundError

        wait_until_made(check, self.name or "", timeout, f"no {who} came in time")

    @staticmethod
    def _codec(layout: object) -> Codec:
        """The codec for a layout; `recv` calls this, too."""
        return winipc.memory.layout.codec_of(layout)

    def recv_many(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        layout: object = None,
    ) -> list[Any]:
        """Receive the messages that are there: at least one, at most `limit` (512).

        It waits at most `timeout` seconds for the first message. Messages are bytes or,
        with `layout`, values; a message that does not fit the layout ends the list. The
        errors are those of `recv`.

        Win32: WaitForSingleObject, SetEvent
        """
        if limit is not None and limit < 1:
            raise ValueError("the limit must be at least 1")
        if layout is None:
            return self._recv_many(_BATCH if limit is None else limit, timeout)
        codec = self._codec(layout)
        found = [self.recv(timeout, layout=codec)]
        # An error ends the list, and comes again in the next call.
        with contextlib.suppress(OSError, ValueError, EOFError, struct.error):
            while len(found) < (_BATCH if limit is None else limit):
                found.append(self.recv(0, layout=codec))
        return found

    def __iter__(self) -> Iterator[bytes]:
        """All messages until the end of the stream."""
        while True:
            try:
                message = self.recv()
            except EndOfStream:
                return
            yield message

    async def recv_async(
        self, timeout: float | None = None, layout: object = None
    ) -> Any:
        """`recv` for an asyncio task, without a thread of its own and without polling.

        A cancelled task has received nothing. Tasks and threads that receive take
        turns. `close` raises BufferError while one waits. The errors are those of
        `recv`.

        Win32: WaitForMultipleObjects, SetEvent
        """
        return await self._eventually(
            lambda: self.recv(0, layout=layout), True, 0, timeout
        )

    async def recv_many_async(
        self,
        limit: int | None = None,
        timeout: float | None = None,
        layout: object = None,
    ) -> list[Any]:
        """`recv_many` for an asyncio task, with the rules of `recv_async`.

        Win32: WaitForMultipleObjects, SetEvent
        """
        return await self._eventually(
            lambda: self.recv_many(limit, 0, layout), True, 0, timeout
        )

    async def send_async(self, data: Buffer, timeout: float | None = None) -> None:
        """`send` for an asyncio task, without a thread of its own and without polling.

        A cancelled task has sent nothing; with many producers, it gives its turn back.
        With overflow="refuse", `timeout` None means no wait, as in `send`. The errors
        are those of `send`.

        Win32: WaitForMultipleObjects, SetEvent
        """
        if timeout is None and self.overflow == "refuse":
            timeout = 0
        size = memoryview(data).nbytes
        await self._eventually(lambda: self.send(data, 0), False, size, timeout)

    async def _eventually(
        self, call: Callable[[], _T], receive: bool, size: int, timeout: float | None
    ) -> _T:
        """Call until there is no time-out, and sleep in between."""
        import asyncio

        from winipc.base.loop_wait import wait_handle

        deadline = Deadline(timeout)
        while True:
            try:
                return call()
            except TimeoutError:
                left = deadline.left()
                if left == 0:
                    raise
            handle = self._park(receive, size)
            if handle is None:
                await asyncio.sleep(0)
                continue
            turn = [handle]

            def give_back(turn: list[int] = turn) -> None:
                with contextlib.suppress(IndexError):  # once only
                    self._unpark(receive, turn.pop())

            try:
                await wait_handle(handle, left, name=self.name, abandoned=give_back)
            finally:
                give_back()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """All messages until the end of the stream."""
        while True:
            try:
                message = await self.recv_async()
            except EndOfStream:
                return
            yield message

    def __reduce__(self) -> tuple[object, ...]:
        if self.closed:
            raise ValueError("channel is closed")
        return (type(self).open, (self.name,))

    def __repr__(self) -> str:
        try:
            state = f"{self.pending} of {self.capacity} bytes"
        except ValueError:
            state = "closed"
        return f"<Channel {self.name!r}, {state}>"
