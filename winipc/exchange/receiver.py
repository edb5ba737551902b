"""`Receiver`: the window, the mapping and the section to which senders deliver."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterator

from winipc.base.closing import Closing
from winipc.base.shown import Shown
from winipc.exchange.transport import (
    DEFAULT_MAPPING,
    DEFAULT_MAPPING_SIZE,
    DEFAULT_TITLE,
    MESSAGE_NAMES,
    SECTION_LOCK,
    Lane,
    Transport,
)
from winipc.memory.mapping import SharedMapping
from winipc.message.message import Message
from winipc.message.send import register_message
from winipc.message.window import CopyDataWindow
from winipc.process.process import RemoteProcess
from winipc.section.section import SharedSection

__all__ = ["Delivery", "Received", "Receiver"]

DEFAULT_MAX_MESSAGE = 64 * 1024 * 1024

_TAKEN = 1
_REFUSED = 0
#: An answer crosses between 32 and 64 bits as an LRESULT: above 0 on both.
_MAX_ANSWER = 0x7FFF_FFFF
#: Longest time in seconds that a wait goes without a look for Ctrl+C.
_SLICE = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as a handler sees it: in place, while its sender waits.

    `data` is read-only and ends with the call. For "section", and for "mapping"
    when the receiver made it, it is the shared memory itself, where a process that
    does not wait for its turn may still write: what decides something is copied
    first, `bytes(delivery.data)`.
    `pid` is as in `Received`.
    """

    transport: Transport
    data: memoryview
    pid: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """One delivery.

    `pid` is the sender's process where the transport tells it: always for
    "process", for "copydata" when the sender named a window of its own.
    """

    transport: Transport
    data: bytes
    pid: int | None = None


def _whole(view: memoryview) -> bytes:
    """The bytes of a view; those that it is all of, rather than a copy."""
    whole = view.obj
    return whole if type(whole) is bytes else bytes(view)


def _until_nul(data: bytes) -> bytes:
    """NUL-terminated text, or all of it when there is no NUL."""
    return data.partition(b"\0")[0]


class _Refused(Exception):
    """The receiver does not take this message."""


class Receiver(Shown, Closing):
    """The receiving end: a window, a mapping and the shared section.

    `title` is the address that senders use. `mapping` names the mapping of
    `mapping_size` bytes (a larger or smaller one that exists already is used
    as it is); `section` is a `SharedSection`, or None for the bundled DLL.
    A message above `max_message` bytes is refused, and so is one that finds
    `max_messages` waiting. `transports` are those that are answered;
    `accept(pid)` decides who may have this process read its memory.

    With `handler`, nothing is copied and nothing is queued: it is called with a
    `Delivery` for each message, in the window's own thread and while the sender
    waits, and its result is the answer: a positive number or None (1) for "taken",
    0 for "refused". When it raises, that is reported by `sys.unraisablehook` and
    the message is refused. An array or a view made of `data` that it keeps shows
    what comes later, and has `close` raise BufferError; when it is gone, `close`
    once more lets go of the memory. The handler itself may close the receiver.

    `receive` and iteration may be used from any thread. Close it, or use
    `with`; closing ends a `receive` that waits with ValueError.

    Raises:
        OSError: a window, mapping or section could not be made.

    Win32: CreateWindowEx, RegisterWindowMessage, CreateFileMapping,
    LoadLibrary, OpenProcess, ReadProcessMemory
    """

    def __init__(
        self,
        title: str = DEFAULT_TITLE,
        *,
        mapping: str = DEFAULT_MAPPING,
        mapping_size: int = DEFAULT_MAPPING_SIZE,
        section: SharedSection | None = None,
        max_message: int = DEFAULT_MAX_MESSAGE,
        max_messages: int = 1024,
        transports: Collection[Transport | str] = tuple(Transport),
        accept: Callable[[int], bool] | None = None,
        handler: Callable[[Delivery], int | None] | None = None,
    ) -> None:
        self.title = title
        self.max_message = max_message
        self.refused = 0
        self._max_messages = max_messages
        self._accept = accept
        self._handler = handler
        # Only the window's thread puts messages in; None is its end.
        self._queue: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._closed = False
        self._handling: int | None = None  # the thread in which the handler is
        chosen = {Transport(transport) for transport in transports}
        # Closed in reverse order: the window first, so that no message finds the
        # memory gone.
        with contextlib.ExitStack() as memory, contextlib.ExitStack() as stack:
            self._mapping = memory.enter_context(
                _receivers_mapping(mapping, mapping_size)
            )
            self._memory: list[SharedMapping | SharedSection] = [self._mapping]
            if section is None:
                section = memory.enter_context(SharedSection.load())
                self._memory.append(section)
            self._section = section
            # Held open, so that the death of a sender in its turn is not lost.
            for name in (mapping, SECTION_LOCK):
                Lane(name, stack)
            self._takers: dict[int, Callable[[int, int], Delivery]] = {
                register_message(MESSAGE_NAMES[transport]): taker
                for transport, taker in (
                    (Transport.MAPPING, self._look_at_mapping),
                    (Transport.SECTION, self._look_at_section),
                    (Transport.PROCESS, self._look_at_process),
                )
                if transport in chosen
            }
            self._takes_copydata = Transport.COPYDATA in chosen
            self.window = stack.enter_context(self._open_window())
            self._stack = stack.pop_all()
            memory.pop_all()  # from here on _let_go closes it

    # ----------------------------------------- in the window's own thread

    def _open_window(self) -> CopyDataWindow:
        return CopyDataWindow.create(
            self.title,
            handler=self._handle,
            messages=tuple(self._takers),
            max_message=self.max_message,
        )

    def _handle(self, message: Message) -> int:
        """Take what a message announces while its sender waits; the answer."""
        try:
            delivery = self._look(message)
            if self._handler is None:
                self._enqueue(delivery)
        except (_Refused, OSError, ValueError, OverflowError, MemoryError):
            # A hostile or dying sender is no fault of this process: it gets
            # its refusal, and the count tells that there was one.
            self.refused += 1
            return _REFUSED
        return _TAKEN if self._handler is None else self._call(self._handler, delivery)

    def _call(
        self, handler: Callable[[Delivery], int | None], delivery: Delivery
    ) -> int:
        answer: int | None = _REFUSED
        # A handler that sends may be called again before it returns.
        outer, self._handling = self._handling, threading.get_ident()
        try:
            answer = handler(delivery)
            if answer is not None and not 0 <= answer <= _MAX_ANSWER:
                answer, wrong = _REFUSED, answer
                raise ValueError(f"a handler answers 0 to {_MAX_ANSWER}, not {wrong}")
        finally:
            # An array made of it cannot be taken away from whoever keeps it.
            with contextlib.suppress(BufferError):
                delivery.data.release()
            self.refused += answer == _REFUSED
            self._handling = outer
            if self._closed and outer is None:
                with contextlib.suppress(BufferError):
                    self._let_go()
        return _TAKEN if answer is None else answer

    def _look(self, message: Message) -> Delivery:
        if message.is_copydata:
            if not self._takes_copydata:
                raise _Refused
            self._check_length(len(message))
            view = memoryview(message)
            return Delivery(Transport.COPYDATA, view, message.pid or None)
        return self._takers[message.message](message.wparam, message.lparam)

    def _look_at_mapping(self, length: int, _lparam: int) -> Delivery:
        return Delivery(Transport.MAPPING, self._part(self._mapping, length))

    def _look_at_section(self, length: int, _lparam: int) -> Delivery:
        return Delivery(Transport.SECTION, self._part(self._section, length))

    def _part(self, shared: SharedMapping | SharedSection, length: int) -> memoryview:
        self._check_length(length)
        if length > len(shared):
            raise _Refused
        if length and self._may_lend(shared):
            with memoryview(shared) as whole:
                return whole[:length].toreadonly()
        # One copy, and only then a look at it: the other side may write on.
        # Of text one more than is taken, to see that there is more.
        data = shared.read(length or min(len(shared), self.max_message + 1))
        if not length:
            data = _until_nul(data)
            self._check_length(len(data))
        return memoryview(data)

    def _may_lend(self, shared: SharedMapping | SharedSection) -> bool:
        """Whether a handler may look at the memory itself.

        A mapping that somebody else made may have a file behind it that fails
        under whoever looks, which only `read` turns into an error.
        """
        return self._handler is not None and (
            shared is not self._mapping or self._mapping.created
        )

    def _look_at_process(self, packed: int, address: int) -> Delivery:
        pid, length = packed & 0xFFFF_FFFF, packed >> 32
        self._check_length(length)
        if self._accept is not None and not self._accept(pid):
            raise _Refused
        with RemoteProcess.open(pid) as process:
            # LPARAM is signed, and a 32-bit sender's is extended by its sign.
            address &= (1 << 8 * process.pointer_size) - 1
            if length:
                data = process.read(address, length)
            else:
                most = self.max_message + 1  # with the NUL
                data = process.read_cstr(address, None, max_bytes=most)
        return Delivery(Transport.PROCESS, memoryview(data), pid)

    def _check_length(self, length: int) -> None:
        if length > self.max_message:
            raise _Refused

    def _enqueue(self, delivery: Delivery) -> None:
        with delivery.data as view:
            if self._queue.qsize() >= self._max_messages:
                raise _Refused
            data = _whole(view)
        self._queue.put(Received(delivery.transport, data, delivery.pid))

    # ------------------------------------------------------- for the owner

    def receive(self, timeout: float | None = None) -> Received:
        """The next message, waiting `timeout` seconds (None = for ever).

        What was taken before the receiver was closed can still be received.

        Raises:
            TimeoutError: none came in time.
            ValueError: the receiver is closed and has no message left, or has a
                handler.
        """
        received = self._wait_for_message(timeout)
        if received is None:
            self._queue.put(None)  # the next one to ask has to end as well
            raise ValueError(f"receiver {self.title!r} is closed")
        return received

    def _wait_for_message(self, timeout: float | None) -> Received | None:
        if self._handler is not None:
            raise ValueError(f"receiver {self.title!r} gives all to its handler")
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            # A wait for a lock does not see Ctrl+C on Windows: wait in slices.
            left = _SLICE if deadline is None else deadline - time.monotonic()
            with contextlib.suppress(queue.Empty):
                return self._queue.get(timeout=min(max(left, 0.0), _SLICE))
            if left <= 0:
                raise TimeoutError(f"no message for {self.title!r} in {timeout} s")

    def __iter__(self) -> Iterator[Received]:
        """Messages as they come, until the receiver is closed."""
        while (received := self._wait_for_message(None)) is not None:
            yield received
        self._queue.put(None)

    @property
    def closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        """Destroy the window and let go of everything; may be called twice.

        Within the handler too: the memory then goes when the handler returns.

        Raises:
            BufferError: the handler kept an array or a view of the memory. No message
                comes any more; the memory goes by one more `close`.
        """
        if not self._closed:
            self._closed = True
            try:
                self._stack.close()
            finally:
                self._queue.put(None)
        if self._handling != threading.get_ident():
            self._let_go()

    def _let_go(self) -> None:
        """Close the memory, each time what is left of it."""
        with contextlib.ExitStack() as stack:
            for memory in self._memory:
                stack.callback(memory.close)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"hwnd={self.window.hwnd:#x}"
        return f"<winipc.Receiver {self.title!r} {state}>"


def _receivers_mapping(name: str, size: int) -> SharedMapping:
    """The mapping `name`, of whatever size it has if it exists."""
    try:
        return SharedMapping.create(name, size)
    except FileExistsError:
        return SharedMapping.open(name)
