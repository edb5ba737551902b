"""The exchange: bytes from a sender to a receiver, by any of four transports.

A `Receiver` owns a window whose title is its address; a `Sender` finds it. The
data travels in the message itself (WM_COPYDATA), in a named mapping, in a
DLL's shared section, or stays in the sender's memory for the receiver to read;
for the last three a registered message ("Mapped", "Shared", "Handle") says
that it is there. SendMessage is the barrier: it returns when the receiver has
copied the data, or its handler has looked at it, so the sender may use the
memory again at once.

| transport | message | wParam | lParam |
| --- | --- | --- | --- |
| mapping | "Mapped" | length, 0 = NUL-terminated text | 0 |
| section | "Shared" | length, 0 = NUL-terminated text | 0 |
| copydata | WM_COPYDATA | the sender's window, or 0 | COPYDATASTRUCT |
| process | "Handle" | low 32 bits pid, high 32 bits length (0 = text) | address |

The answer is positive when the data was taken and 0 when it was refused. A
length of 0 keeps a plain C program that knows only text a full peer.

Everyone in the session may send to a receiver, and everyone may write to the
mapping and the section: the data is copied once and never trusted, but where
it came from is only known for sure for the "process" transport.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import errno
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, ClassVar

from winipc.base.closing import Closing
from winipc.base.shown import Shown
from winipc.memory.block import GlobalMemory, MemoryKind
from winipc.memory.mapping import SharedMapping
from winipc.message.lookup import (
    find_window,
    register_message,
    send_copydata,
    send_message,
)
from winipc.message.window import CopyDataWindow, Message
from winipc.process.process import RemoteProcess
from winipc.section.section import SharedSection
from winipc.sync.waitable import Event, Mutex

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Delivery", "Received", "Receiver", "Sender", "Transport"]

DEFAULT_TITLE = "Receive"
DEFAULT_MAPPING = "MySharedMem"
DEFAULT_MAPPING_SIZE = 4096
DEFAULT_MAX_MESSAGE = 64 * 1024 * 1024
DEFAULT_TIMEOUT = 5.0

_TAKEN = 1
_REFUSED = 0
_MAX_LENGTH = 0xFFFF_FFFF
#: An answer crosses between 32 and 64 bits as an LRESULT: above 0 on both.
_MAX_ANSWER = 0x7FFF_FFFF
_WM_NULL = 0

#: Named for the data, not for the DLL's path: one lock too many hurts nobody.
_SECTION_LOCK = "MySharedData"
#: Bytes up to which WM_COPYDATA is faster than the mapping and its lock.
_SMALL = 1 << 16
#: Longest time in seconds that a wait goes without a look for Ctrl+C.
_SLICE = 0.1


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
            for name in (mapping, _SECTION_LOCK):
                _Lane(name, stack)
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


class _Lane:
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


class Sender(Closing):
    """The sending end: finds the receiver's window and delivers bytes to it.

    Raises:
        FileNotFoundError: no window has this title.

    A sender may be used by one thread at a time. Several senders, of this and
    of other processes, take turns on the mapping and the section by a named
    mutex that they hold until the receiver has answered; plain C programs
    know nothing of it.

    Win32: FindWindow, SendMessageTimeout, RegisterWindowMessage
    """

    def __init__(
        self,
        title: str = DEFAULT_TITLE,
        *,
        mapping: str = DEFAULT_MAPPING,
        section: SharedSection | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> None:
        self.title = title
        self.timeout = timeout
        self._mapping_name = mapping
        self._section = section
        self._hwnd = _find_receiver(title)
        self._stack = contextlib.ExitStack()
        self._mapping: SharedMapping | None = None
        self._lanes: dict[str, _Lane] = {}
        # A send that timed out may be carried out later: until the receiver
        # has answered something sent after it, its memory is kept.
        self._doubtful: list[GlobalMemory] = []

    def send(
        self, data: ReadableBuffer, via: Transport | str = Transport.COPYDATA
    ) -> int:
        """Deliver `data` and return the receiver's answer, a positive number.

        With `via="auto"`, what is large goes by the mapping, if there is one and
        it has room, since WM_COPYDATA would copy it twice; the rest goes by
        WM_COPYDATA.

        Raises:
            ConnectionRefusedError: the receiver answered 0.
            TimeoutError: it did not answer in time, or hangs.
            ValueError: the data does not fit in the mapping or the section.
            OSError: its window is gone.
        """
        with memoryview(data).cast("B") as view:
            size = len(view)
            transport = self._choose(size) if via == "auto" else Transport(via)
            if size > _MAX_LENGTH:
                raise OverflowError("a message has at most 4 GiB - 1 bytes")
            answer = self._senders[transport](self, view)
        if answer <= 0:
            raise ConnectionRefusedError(
                errno.ECONNREFUSED,
                f"the receiver refused {size} bytes via {transport}",
                self.title,
            )
        return answer

    def _choose(self, size: int) -> Transport:
        if size <= _SMALL:
            return Transport.COPYDATA
        try:
            fits = size <= len(self._open_mapping())
        except OSError:
            fits = False  # the receiver has none
        return Transport.MAPPING if fits else Transport.COPYDATA

    def _open_mapping(self) -> SharedMapping:
        if self._mapping is None:
            self._mapping = self._stack.enter_context(
                _senders_mapping(self._mapping_name)
            )
        return self._mapping

    # ------------------------------------------------- one for each transport

    def _send_copydata(self, view: memoryview) -> int:
        return send_copydata(self._hwnd, view, timeout=self.timeout)

    def _send_mapping(self, view: memoryview) -> int:
        return self._send_shared(
            Transport.MAPPING, self._open_mapping(), self._mapping_name, view
        )

    def _send_section(self, view: memoryview) -> int:
        if self._section is None:
            self._section = self._stack.enter_context(SharedSection.load())
        return self._send_shared(Transport.SECTION, self._section, _SECTION_LOCK, view)

    def _send_shared(
        self,
        transport: Transport,
        shared: SharedMapping | SharedSection,
        lock_name: str,
        view: memoryview,
    ) -> int:
        if len(view) > len(shared):
            raise ValueError(
                f"{len(view)} bytes do not fit in the {transport}'s {len(shared)}"
            )
        lane = self._lane(lock_name)
        with lane.turn(self.timeout):
            if lane.doubt.is_set():
                self._barrier()
                lane.doubt.reset()
            shared.write(view)
            if len(view) < len(shared):
                # A plain C program looks for the end of the text, and a
                # length of 0 says "text" to everyone.
                shared[len(view)] = 0
            try:
                return self._notify(transport, len(view), 0)
            except (TimeoutError, KeyboardInterrupt):
                lane.doubt.set()
                raise

    def _send_process(self, view: memoryview) -> int:
        if self._doubtful:
            self._barrier()
            self._free_doubtful()
        # Pages of their own: once they are freed, a late read of them fails.
        # One byte more is the NUL that a plain C program looks for.
        memory = GlobalMemory.allocate(len(view) + 1, kind=MemoryKind.VIRTUAL)
        memory.write(view)
        try:
            answer = self._notify(
                Transport.PROCESS, _pack(os.getpid(), view), memory.address
            )
        except (TimeoutError, KeyboardInterrupt):
            self._doubtful.append(memory)
            raise
        except BaseException:
            memory.close()
            raise
        memory.close()
        return answer

    _senders: ClassVar = {
        Transport.COPYDATA: _send_copydata,
        Transport.MAPPING: _send_mapping,
        Transport.SECTION: _send_section,
        Transport.PROCESS: _send_process,
    }

    def _notify(self, transport: Transport, wparam: int, lparam: int) -> int:
        name = MESSAGE_NAMES[transport]
        return send_message(self._hwnd, name, wparam, lparam, timeout=self.timeout)

    def _barrier(self) -> None:
        """Wait until the receiver is through with everything sent before."""
        # Sent messages are carried out in order, so an answer to the last one
        # speaks for all of them.
        send_message(self._hwnd, _WM_NULL, 0, 0, timeout=self.timeout)

    def _free_doubtful(self) -> None:
        while self._doubtful:
            self._doubtful.pop().close()

    def _lane(self, name: str) -> _Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(name, self._stack)
        return lane

    def close(self) -> None:
        """Let go of everything; may be called twice.

        Memory of a "process" message that timed out goes too: a receiver that
        comes to it after this finds nothing, and refuses it.
        """
        self._stack.close()
        self._free_doubtful()

    def __repr__(self) -> str:
        return f"<winipc.Sender {self.title!r} hwnd={self._hwnd:#x}>"


def _pack(pid: int, view: memoryview) -> int:
    """The wParam of "Handle": pid and length, or 0 for text."""
    if sys.maxsize > 1 << 32:
        return pid | len(view) << 32
    if 0 in view:
        raise ValueError(
            "a 32-bit process sends only text without NUL by the process transport"
        )
    return pid


def _find_receiver(title: str) -> int:
    window = find_window(title)
    if window is None:
        raise FileNotFoundError(
            errno.ENOENT, "no window has this title: is the receiver running?", title
        )
    return window.hwnd


def _senders_mapping(name: str) -> SharedMapping:
    """The receiver's mapping; made here for a receiver that only opens it."""
    try:
        return SharedMapping.open(name)
    except FileNotFoundError:
        return SharedMapping.create(name, DEFAULT_MAPPING_SIZE, exist_ok=True)
