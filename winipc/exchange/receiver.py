"""`Receiver`: the window, the mapping and the section to which senders deliver."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from winipc import _core
from winipc.base.closing import Closing
from winipc.base.deadline import Deadline
from winipc.base.shown import Shown
from winipc.exchange.transport import (
    BARRIER,
    BUSY,
    DEFAULT_MAPPING,
    DEFAULT_MAPPING_SIZE,
    DEFAULT_MAX_MESSAGE,
    DEFAULT_TITLE,
    MESSAGE_NAMES,
    PROOF,
    SECTION_LOCK,
    Lane,
    Transport,
    seen,
)
from winipc.memory.mapping import SharedMapping
from winipc.message.message import WM_COPYDATA, Message
from winipc.message.send import register_message
from winipc.message.window import CopyDataWindow, checked_handler

if TYPE_CHECKING:
    from winipc.section.section import SharedSection

__all__ = ["Delivery", "Received", "Receiver"]

DEFAULT_MAX_BYTES = 256 << 20

_TAKEN = 1
_REFUSED = 0
#: An answer crosses between 32 and 64 bits as an LRESULT: above 0 on both.
_MAX_ANSWER = 0x7FFF_FFFF


class Delivery(NamedTuple):  # a frozen dataclass would cost each sender 0.3 us more
    """One delivery as a handler sees it: without a copy, while its sender waits.

    `data` is read-only and ends with the call. For "section", and for "mapping" if the
    receiver created the mapping, it is the shared memory itself. A process that does
    not wait for its turn may still write there: copy the data, by
    `bytes(delivery.data)`, before you check it. `pid` is as in `Received`.
    """

    #: How the data came.
    transport: Transport
    #: The data, read-only.
    data: memoryview
    #: The id of the process that the message names; None if it names none.
    pid: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Received:
    """One delivery.

    `pid` is the process that the message names as its sender. A "process" message
    names the process whose memory is read; a "copydata" message names one if the
    sender gave a window of its own. Windows does not tell which process sent a
    message, and a program may name another one.
    """

    #: How the data came.
    transport: Transport
    #: The data, a copy that the sender cannot change.
    data: bytes
    #: The id of the process that the message names; None if it names none.
    pid: int | None = None


def _whole(view: memoryview) -> bytes:
    """The bytes of a view; without a copy if the view is of a `bytes`."""
    whole = view.obj
    return whole if type(whole) is bytes else bytes(view)


class _Refused(Exception):
    """The receiver does not take this message."""


class Receiver(Shown, Closing):
    """The receiving end: a window, a mapping and the shared section.

    ::

        def handler(delivery):
            print(delivery.transport, bytes(delivery.data))  # copydata b'hello'

        with winipc.Receiver("my-app", handler=handler):
            with winipc.Sender("my-app") as sender:  # in another program
                sender.send(b"hello")

    `title` is the address that senders use. If another window has this title, senders
    could find either, so that is an error; with `exist_ok` the newest window gets the
    messages. `transports` are the transports that the receiver takes. `mapping` is the
    name of the mapping, which is created with `mapping_size` bytes, or opened if it
    exists. `section` is a `SharedSection`, or None for the bundled DLL.

    The receiver refuses a message above `max_message` bytes, and any message while
    `max_messages` wait, or `max_bytes` of data (or one largest message, if that is
    more).

    `accept(pid)` decides whose memory the receiver reads, for the "process" transport.
    It gets the process that the message names. That need not be the sender: any
    program may name an address in a process that is accepted.

    With `handler`, the receiver copies and queues nothing. It calls the handler with a
    `Delivery` for each message, in the window's thread, while the sender waits. The
    result is the answer: a positive number, or None (1), for "taken"; 0 for "refused".
    If the handler raises, the message is refused, and `sys.unraisablehook` gets the
    error. A handler that sends, or waits for a window, may be called again before it
    returns. If it keeps an array or a view of `data`, that shows later messages, too,
    and `close` raises BufferError; release it, and call `close` again. The handler
    itself may close the receiver.

    Any thread may use `receive` and iteration. `close`, or the end of a `with`, ends a
    `receive` that waits with ValueError.

    Raises:
        FileExistsError: A window has this title (winerror 183).
        OSError: The window, mapping or section could not be created.

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
        max_bytes: int = DEFAULT_MAX_BYTES,
        transports: Collection[Transport | str] = tuple(Transport),
        accept: Callable[[int], bool] | None = None,
        handler: Callable[[Delivery], int | None] | None = None,
        exist_ok: bool = False,
    ) -> None:
        self.title = title
        self.max_message = max_message
        self._refused = 0
        self._accept = accept and checked_handler(accept)
        self._handler = handler and checked_handler(handler)
        # Waiting messages are in the window's queue. For transports other than
        # WM_COPYDATA, the queue holds a number, which finds the copy here.
        self._copies: dict[int, Received] = {}
        self._numbers = itertools.count()
        self._making = threading.Lock()  # held until `window` is set
        self._closed = False
        self._taking: int | None = None  # the thread that handles a delivery now
        self._owned: list[SharedMapping | SharedSection | Lane] = []
        self._takers: dict[int, Callable[[int, int], Delivery]] = {}
        self._shared: dict[int, SharedMapping | SharedSection] = {}
        self._barrier = register_message(BARRIER)
        self._proof = register_message(PROOF)
        chosen = {Transport(transport) for transport in transports}
        try:
            if Transport.MAPPING in chosen:
                made = _receivers_mapping(mapping, mapping_size)
                self._owned.append(made)
                # The lane stays open, so that the death of a sender is not forgotten.
                self._owned.append(lane := Lane(mapping))
                self._answer_to_shared(Transport.MAPPING, made)
            if Transport.SECTION in chosen:
                if section is None:
                    from winipc.section.section import SharedSection

                    section = SharedSection.load()
                    self._owned.append(section)
                self._owned.append(Lane(SECTION_LOCK))
                self._answer_to_shared(Transport.SECTION, section)
            if Transport.PROCESS in chosen:
                number = register_message(MESSAGE_NAMES[Transport.PROCESS])
                self._takers[number] = self._look_at_process
            self._takes_copydata = Transport.COPYDATA in chosen
            numbers = (*self._takers, self._barrier, self._proof)
            # Without a handler, WM_COPYDATA is queued without Python.
            queued = self._takes_copydata and handler is None
            with self._making:
                self.window = CopyDataWindow.create(
                    title,
                    handler=None if queued else self._handle,
                    messages=dict.fromkeys(numbers, self._handle)
                    if queued
                    else numbers,
                    max_message=max_message,
                    max_count=max_messages,
                    max_bytes=max(max_bytes, max_message),
                    exist_ok=exist_ok,
                )
            # What is queued must not wait for Python: WM_COPYDATA does not.
            if Transport.MAPPING in chosen and handler is not None:
                number = register_message(MESSAGE_NAMES[Transport.MAPPING])
                lane.serve(self.window, number, len(made))
        except BaseException:
            self._let_go()
            raise

    def _answer_to_shared(
        self, transport: Transport, shared: SharedMapping | SharedSection
    ) -> None:
        number = register_message(MESSAGE_NAMES[transport])
        # A handler may look at the memory itself; except at a mapping that another
        # program made, which may have a file behind it whose pages fail to come in.
        lend = self._handler is not None and (
            isinstance(shared, _core.SharedSection) or shared.created
        )
        self._takers[number] = partial(self._look_at_shared, transport, shared, lend)
        self._shared[number] = shared

    # ----------------------------------------- in the window's own thread

    def _handle(self, message: Message) -> int:
        """Take the data that a message announces, and return the answer."""
        number = message.message
        if number == self._barrier:
            return _TAKEN if self._taking is None else BUSY
        if number == self._proof:
            with contextlib.suppress(KeyError, OSError, ValueError):
                return seen(self._shared[message.wparam])
            return _REFUSED
        # A handler that sends may be called again before it returns.
        outer, self._taking = self._taking, threading.get_ident()
        try:
            return self._take(number, message)
        finally:
            self._taking = outer
            if self._closed and outer is None:
                with contextlib.suppress(BufferError):
                    self._let_go()

    def _take(self, number: int, message: Message) -> int:
        try:
            delivery = self._look(number, message)
            if self._handler is None:
                return self._keep(number, delivery)
        except (_Refused, OSError, ValueError, OverflowError, MemoryError):
            # A hostile or dying sender is not this process's error: refuse and count.
            self._refused += 1
            return _REFUSED
        return self._call(self._handler, delivery)

    def _call(
        self, handler: Callable[[Delivery], int | None], delivery: Delivery
    ) -> int:
        answer: int | None = _REFUSED
        try:
            answer = handler(delivery)
            if answer is not None and not (
                hasattr(answer, "__index__") and 0 <= answer <= _MAX_ANSWER
            ):
                answer, wrong = _REFUSED, answer
                raise ValueError(
                    f"a handler answers 0 to {_MAX_ANSWER}, not {wrong!r}: {handler!r}"
                )
        finally:
            # A view cannot be released while the handler keeps a NumPy array of it.
            try:  # noqa: SIM105 - the sender waits, and suppress() takes 0.2 us
                delivery.data.release()
            except BufferError:
                pass
            if answer == _REFUSED:
                self._refused += 1
        return _TAKEN if answer is None else answer

    def _look(self, number: int, message: Message) -> Delivery:
        if number == WM_COPYDATA:
            if not self._takes_copydata:
                raise _Refused
            view = memoryview(message)  # the window has checked the length
            return Delivery(Transport.COPYDATA, view, message.pid or None)
        return self._takers[number](message.wparam, message.lparam)

    def _look_at_shared(
        self,
        transport: Transport,
        shared: SharedMapping | SharedSection,
        lend: bool,
        length: int,
        _lparam: int,
    ) -> Delivery:
        if length > self.max_message or length > len(shared):
            raise _Refused
        if length and lend:
            return Delivery(transport, memoryview(shared)[:length].toreadonly())
        data = read_shared(shared, length, self.max_message)
        self._check_length(len(data))
        return Delivery(transport, memoryview(data))

    def _look_at_process(self, packed: int, address: int) -> Delivery:
        pid, length = packed & 0xFFFF_FFFF, packed >> 32
        self._check_length(length)
        if self._accept is not None and not self._accept(pid):
            raise _Refused
        data = read_process(packed, address, self.max_message)
        return Delivery(Transport.PROCESS, memoryview(data), pid)

    def _check_length(self, length: int) -> None:
        if length > self.max_message:
            raise _Refused

    def _keep(self, number: int, delivery: Delivery) -> int:
        """Queue a copy, and return the answer."""
        with delivery.data as view:
            received = Received(delivery.transport, _whole(view), delivery.pid)
        at = next(self._numbers)
        self._copies[at] = received  # before another thread can receive the number
        with self._making:
            window = self.window
        if window._put(number, at, len(received.data)):
            return _TAKEN
        del self._copies[at]
        return _REFUSED  # the window counts it

    # ------------------------------------------------------- for the owner

    def receive(self, timeout: float | None = None) -> Received:
        """Return the next message; wait up to `timeout` seconds (None = forever).

        Messages that were taken before the receiver was closed can still be received.

        Raises:
            TimeoutError: No message came in time.
            ValueError: The receiver is closed and has no message left, or it has a
                handler.
        """
        self._check_queue()
        return self._received(self.window.receive(timeout))

    @property
    def pending(self) -> int:
        """The number of waiting messages."""
        return self.window.pending

    def latest(self, count: int = 16) -> list[Received]:
        """The newest `count` waiting messages, oldest first; `receive` takes them."""
        found = []
        for message in self.window.latest(count):
            with contextlib.suppress(KeyError):  # another thread has received it
                found.append(self._received(message, keep=True))
        return found

    def __iter__(self) -> Iterator[Received]:
        """Messages as they come, until the receiver is closed."""
        self._check_queue()
        yield from map(self._received, self.window)

    def _check_queue(self) -> None:
        if self._handler is not None:
            raise ValueError(f"receiver {self.title!r} gives messages to its handler")

    def _received(self, message: Message, *, keep: bool = False) -> Received:
        if message.message == WM_COPYDATA:
            return Received(Transport.COPYDATA, bytes(message), message.pid or None)
        at = message.wparam
        return self._copies[at] if keep else self._copies.pop(at)

    @property
    def refused(self) -> int:
        """The number of refused messages."""
        return self._refused + self.window.refused

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def close(self, timeout: float | None = None) -> None:
        """Destroy the window, and release the memory; may be called twice.

        It waits at most `timeout` seconds for a running handler (None = forever).
        Within the handler it does not wait: the memory is released when the handler
        returns.

        Raises:
            TimeoutError: The handler still runs. No more messages come; the memory is
                released when the handler returns.
            BufferError: The handler kept an array or a view of the memory. No more
                messages come; call `close` again to release the memory.
        """
        deadline = Deadline(timeout)
        self._closed = True
        self.window.close(deadline.left())
        if self._taking != threading.get_ident():
            self._let_go()

    def _let_go(self) -> None:
        """Close all memory that can be closed; more calls close the rest."""
        with contextlib.ExitStack() as stack:
            for owned in self._owned:
                stack.callback(owned.close)

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"hwnd={self.window.hwnd:#x}"
        return f"<Receiver {self.title!r} {state}, {self.pending} waiting>"


def read_shared(shared: SharedMapping | SharedSection, length: int, most: int) -> bytes:
    """Read announced data from shared memory; for length 0, text up to its NUL.

    A text without a NUL within `most` bytes gives up to `most` + 1 bytes.
    """
    # Copy before looking for the NUL: the other side may still write.
    data = shared.read(length or min(len(shared), most + 1))
    return data if length else data.partition(b"\0")[0]


def read_process(packed: int, address: int, most: int) -> bytes:
    """Read announced data from a process; for length 0, text of up to `most` bytes."""
    pid, length = packed & 0xFFFF_FFFF, packed >> 32
    from winipc.process.process import RemoteProcess

    with RemoteProcess.open(pid) as process:
        if process.is_64bit and sys.maxsize < 1 << 32:
            raise ValueError("the length and the address came as halves")
        # LPARAM is signed; Windows sign-extends that of a 32-bit sender.
        address &= (1 << 8 * process.pointer_size) - 1
        if length:
            return process.read(address, length)
        return process.read_cstr(address, None, max_bytes=most + 1)  # with the NUL


def _receivers_mapping(name: str, size: int) -> SharedMapping:
    """Create the mapping `name`, or open it, whatever size it has."""
    try:
        return SharedMapping.create(name, size)
    except FileExistsError:
        return SharedMapping.open(name)
