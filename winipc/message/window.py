"""`CopyDataWindow`: a window that takes messages from other processes.

A native thread runs the window. Without a handler, it copies each message into a queue
and answers at once, so that no sender waits for busy Python code; `receive`, iteration
and `async for` take messages from the queue. With a handler, Python code answers while
the sender waits.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import os
import struct
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    Self,
    SupportsIndex,
    TypeAlias,
    TypeVar,
)

from winipc import _core
from winipc.base.closing import Closing
from winipc.base.deadline import Deadline, timed_out
from winipc.base.shown import Shown
from winipc.base.winerror import ERROR_ALREADY_EXISTS, ERROR_INVALID_WINDOW_HANDLE
from winipc.errors import hint_taken
from winipc.message.message import ID_LIMIT, WM_COPYDATA, Message
from winipc.message.send import (
    register_message,
    send_copydata,
    send_copydata_async,
)
from winipc.message.target import Target, find_hwnd, hwnd_of

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Accept", "CopyDataWindow", "Handler", "Overflow", "call"]

WM_TIMER = 0x0113

_HANDLED = 1 << 32  # WI_ROUTE_HANDLED of csrc/message/pump.h

#: Windows sends these itself when it creates and destroys a window.
_NOT_FOR_US = {0x0001, 0x0002, 0x0024, 0x0081, 0x0082, 0x0083, WM_COPYDATA, 0x7FF1}

_EXIT_WAIT = 5.0
#: Seconds after which `call` looks whether the window that it asked is still there.
_LOOK = 0.1

#: The mutex that a process holds while it checks that its title is free and opens the
#: window. Every process of the session may take it.
_TITLES = "Local\\winipc.titles"
_TITLES_SECURITY = "D:(A;;0x1F0003;;;WD)S:(ML;;NW;;;LW)"


class Overflow(StrEnum):
    """What to do with a message if the queue is full."""

    #: Answer 0: the sender knows that the message was not taken.
    REFUSE = "refuse"
    #: Drop the oldest messages (they were answered 1), and count them.
    DROP_OLDEST = "drop_oldest"


#: A handler gets the message while the sender waits. Its result is the answer: an int,
#: True or None (1: taken), False (0: refused), or NotImplemented to put the message
#: into the queue.
Handler: TypeAlias = Callable[[Message], Any]

#: Which processes may send: a process id, the path of an executable, several ids and
#: paths, or a function that gets a verified message.
Accept: TypeAlias = (
    int
    | str
    | os.PathLike[str]
    | Callable[[Message], bool]
    | Iterable[int | str | os.PathLike[str]]
)


#: CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR of inspect: a call of such a
#: function runs none of its code.
_RUNS_LATER = 0x20 | 0x80 | 0x200

_H = TypeVar("_H", bound=Callable[..., Any])


def checked_handler(handler: _H) -> _H:
    """The handler, if the window's thread can call it while the sender waits."""
    code = getattr(handler, "__code__", None)
    if not callable(handler) or getattr(code, "co_flags", 0) & _RUNS_LATER:
        raise TypeError(
            "a handler is a plain function, which answers while the sender waits, not "
            f"{handler!r}; a task of asyncio takes messages by `async for`"
        )
    return handler


class _Router:
    """Chooses the handler of a message.

    It does not refer to its window, so that it does not keep the window alive.
    """

    __slots__ = ("default", "handlers", "ids", "predicate", "queue", "queued")

    def __init__(
        self,
        handler: Handler | None,
        messages: Iterable[int | str | range] | Mapping[int | str, Handler],
        predicate: Callable[[Message], bool] | None,
        queue: bool | None,
    ) -> None:
        self.default = handler if handler is None else checked_handler(handler)
        self.ids: dict[int, Handler] = {}
        given = messages if isinstance(messages, Mapping) else {}
        self.handlers = {_number(k): checked_handler(v) for k, v in given.items()}
        self.queued = {_route(message) for message in messages} - set(self.handlers)
        self.predicate = predicate
        self.queue = queue

    def queues_rest(self) -> bool:
        """Whether a WM_COPYDATA that no handler takes is queued, not refused."""
        return not self.ids if self.queue is None else self.queue

    def routes(self) -> _core._Routes:
        some = bool(self.ids or self.handlers or self.predicate)
        handled = {*self.handlers, *(self.queued if self.default else ())}
        queued = self.queued - handled
        return (
            self.default is not None or self.predicate is not None,
            self.queues_rest(),
            len(self.ids),
            _packed(*self.ids, *(_HANDLED | number for number in handled), *queued),
            some or self.default is not None,
            self if some or self.default is None else self.default,
        )

    def __call__(self, message: Message) -> Any:
        copydata = message.message == WM_COPYDATA
        ask = self.predicate if copydata else None
        if ask is not None and not (message.verified and ask(message)):
            return 0
        handler = self.handler_of(message)
        if handler is not None:
            return handler(message)
        return NotImplemented if self.queues_rest() or not copydata else 0

    def handler_of(self, message: Message) -> Handler | None:
        """The handler of a message; an error report asks for it, too."""
        if message.message == WM_COPYDATA:
            return self.ids.get(message.id, self.default)
        return self.handlers.get(message.message, self.default)


def _route(message: int | str | range) -> int:
    """A message; for a range, the first one, and bits 16 to 31 count the others."""
    if not isinstance(message, range):
        return _number(message)
    if not 0x400 <= message.start < message.stop <= 0x10000 or message.step != 1:
        raise ValueError(f"{message} is no range of messages from 0x400 to 0xFFFF")
    return message.start | len(message) - 1 << 16


def _packed(*numbers: int) -> bytes:
    return struct.pack(f"={len(numbers)}Q", *numbers)


def _number(message: int | str) -> int:
    if isinstance(message, str):
        return register_message(message)
    if not 0 < message <= 0xFFFF or message in _NOT_FOR_US:
        raise ValueError(f"message {message:#x} cannot be asked for")
    return message


def _split_accept(
    accept: Accept | None,
) -> tuple[tuple[int, ...], tuple[str, ...], Callable[[Message], bool] | None]:
    if accept is None:
        return (), (), None
    if callable(accept):
        return (), (), checked_handler(accept)
    if isinstance(accept, int | str | os.PathLike):
        accept = (accept,)
    pids, paths = [], []
    for item in accept:
        if isinstance(item, int):
            pids.append(item)
        else:
            paths += _images_of(os.path.abspath(item))
    if not pids and not paths:
        raise ValueError("accept is empty: no program could send")
    return tuple(pids), tuple(paths), None


def _images_of(path: str) -> list[str]:
    """This path and, if it is a venv's launcher, the path of the program it starts."""
    folder, name = os.path.split(path)
    config = os.path.join(os.path.dirname(folder), "pyvenv.cfg")
    with contextlib.suppress(OSError, UnicodeError), open(config) as lines:
        for line in lines:
            key, _, value = line.partition("=")
            if key.strip().lower() == "home":
                return [path, os.path.join(value.strip(), name)]
    return [path]


#: All open windows, to be closed when the interpreter exits.
_open_windows: weakref.WeakSet[CopyDataWindow] = weakref.WeakSet()


def is_unique_class(name: str) -> bool:
    """Whether `CopyDataWindow.create` chose this class name."""
    words = name.split(".")
    return (words[0], len(words), len(words[-1])) == ("winipc", 3, 16)


class CopyDataWindow(_core.CopyDataWindow, Shown, Closing):
    """A window of this process that other processes send to; `create` opens it.

    ::

        with winipc.CopyDataWindow.create("my-app") as window:
            winipc.send_copydata("my-app", b"hello", id=3)  # in another program
            for message in window:  # waits for the next one
                print(message.id, message.text())  # 3 hello
                if message.id == 3:
                    break

    `close()`, the end of a `with`, garbage collection (with a `ResourceWarning`) and
    the exit of Python close it, and leave no window, class or thread behind.
    """

    __slots__ = ("__weakref__", "_cookie", "_lock", "_router")

    #: A secret of this process: orders to the window have it as their id.
    _cookie: int
    _lock: threading.Lock
    _router: _Router

    @classmethod
    def create(
        cls,
        title: str = "",
        *,
        handler: Handler | None = None,
        messages: Iterable[int | str | range] | Mapping[int | str, Handler] = (),
        accept: Accept | None = None,
        class_name: str | None = None,
        message_only: bool = False,
        max_message: int = 64 << 20,
        max_count: int = 16384,
        max_bytes: int | None = None,
        overflow: Overflow | Literal["refuse", "drop_oldest"] = "refuse",
        allow_lower_integrity: bool = False,
        queue: bool | None = None,
        exist_ok: bool = True,
    ) -> Self:
        """Open a window with this title.

        ::

            def handler(message):
                return len(message)  # the sender gets it as the answer

            with winipc.CopyDataWindow.create("my-app", handler=handler):
                print(winipc.send_copydata("my-app", b"hello"))  # 5

        Without `handler`, each WM_COPYDATA goes to the queue, and the answer is 1. If
        the queue holds `max_count` messages or `max_bytes` of data (default: 256 MiB,
        or `max_message` if that is more), the answer is 0, or the oldest messages are
        dropped: see `overflow`.

        With `handler`, the window's thread calls it while the sender waits, and its
        result is the answer. If it raises, the answer is 0, and `sys.unraisablehook`
        gets the error. If there are handlers for some ids only (see `on`), other
        messages are answered 0; with `queue=True` they go to the queue.

        `messages` are messages to take besides WM_COPYDATA: numbers, ranges of numbers
        from 0x400 (WM_USER) on, or names to register. A dict gives each message its
        handler, and has no ranges.

        Messages of more than `max_message` bytes are refused. The thread's stack has
        room for one such message, as Wine needs it. So about 20 windows with the
        default of 64 MiB use up the addresses of a 32-bit process (winerror 8); give a
        smaller number there. Two messages of Windows have an effect only if they are
        among the `messages`:

        - WM_CLOSE (0x10): a peer, such as taskkill, asks this program to end. The
          window stays open until `close`.
        - WM_SETTEXT (0x0C): a peer gives the window another title; it is the message's
          data, in UTF-16. The window takes the title if the answer is positive, also if
          the message is queued. The attribute `title` keeps the first title.

        `accept` says which processes may send WM_COPYDATA; others get the answer 0. It
        is process ids and paths of programs, which no Python code checks; or a
        function, which is called like a handler, and only for verified messages. This
        stops mistakes, not attacks: a program can name another program's window as its
        own. With `allow_lower_integrity`, processes of lower integrity levels may send
        WM_COPYDATA and `messages`.

        A `message_only` window gets no broadcasts, and is not listed among top-level
        windows. Without `class_name`, the class name is unique.

        Raises:
            FileExistsError: `exist_ok` is false, and a window has this title (winerror
                183).
            OSError: Other code of this process registered `class_name` with winipc's
                module (winerror 1410).

        Win32: RegisterClassEx, CreateWindowEx, ChangeWindowMessageFilterEx.
        """
        if class_name is None:
            class_name = f"winipc.{os.getpid()}.{os.urandom(8).hex()}"
        if overflow not in ("refuse", "drop_oldest"):
            raise ValueError('overflow must be "refuse" or "drop_oldest"')
        pids, paths, predicate = _split_accept(accept)
        router = _Router(handler, messages, predicate, queue)
        cookie = int.from_bytes(os.urandom(8), "little") % ID_LIMIT
        with contextlib.nullcontext() if exist_ok else _only_one(title):
            self = cls._create(
                title,
                class_name,
                message_only,
                max_message,
                max_count,
                max_bytes,
                overflow == "drop_oldest",
                router.routes(),
                Message,
                _packed(*pids),
                "".join(path + "\0" for path in paths),
                allow_lower_integrity,
                cookie,
            )
        self._cookie = cookie
        self._router = router
        self._lock = threading.Lock()
        _open_windows.add(self)
        return self

    # ------------------------------------------------------------- handlers

    def on(
        self, id: int, *, decode: Callable[[Any], Any] | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Decorator: handle WM_COPYDATA messages with this `id`.

        ::

            @window.on(7)
            def set_volume(message):
                print("volume", message.text())  # volume 11

            winipc.send_copydata(window, b"11", id=7)  # in any program

        The handler gets the message and, with `decode` (see `winipc.decoders`), also
        the decoded data. From the first handler on, messages with other ids are
        answered 0, unless the window has a `handler` or `queue=True`.

        Raises:
            TypeError: There is no id, as in `@window.on` without brackets; `decode` or
                the handler is not a plain function.
        """
        if not isinstance(id, SupportsIndex):
            raise TypeError(f"on takes the id of messages, as in on(7), not {id!r}")
        if decode is not None and not callable(decode):
            raise TypeError(
                f"decode is a function, such as winipc.decoders.utf8, not {decode!r}"
            )

        def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
            @functools.wraps(checked_handler(handler))
            def decoded(message: Message) -> Any:
                assert decode is not None
                return handler(message, decode(message))

            with self._lock:
                self._router.ids[id % ID_LIMIT] = decoded if decode else handler
                self._set_routes(self._router.routes())
            return handler

        return decorate

    def on_message(self, message: int | str) -> Callable[[Handler], Handler]:
        """Decorator: handle this message, a number or a name to register."""
        number = _number(message)

        def decorate(handler: Handler) -> Handler:
            with self._lock:
                self._router.handlers[number] = checked_handler(handler)
                self._set_routes(self._router.routes())
            return handler

        return decorate

    def subscribe(self, *messages: int | str) -> None:
        """Take these messages, too: numbers, or names to register."""
        numbers = [_number(message) for message in messages]
        with self._lock:
            self._router.queued.update(numbers)
            self._set_routes(self._router.routes())

    def reply(self, answer: int = 1) -> bool:
        """Answer now, in a handler, so that the sender goes on while the handler works.

        The result of the handler is then ignored. False means that no sender waits for
        an answer: the message was posted, was answered before, or came from the
        window's own thread.

        Raises:
            RuntimeError: It is called on another thread than the window's.

        Win32: ReplyMessage.
        """
        if threading.get_native_id() != self.thread_id:
            raise RuntimeError("reply() is for the handlers of this window")
        return _core._reply_message(answer)

    def answer(
        self,
        message: Message,
        data: ReadableBuffer,
        *,
        id: int | None = None,
        timeout: float | None = 5.0,
    ) -> int:
        """Send data back to the window that sent `message`; the sender may use `call`.

        ::

            @window.on(3)
            def upper(message):
                window.answer(message, bytes(message).upper())

            print(winipc.call(window, b"please", id=3))  # b'PLEASE'

        `id` is the message's by default; `timeout` is in seconds.

        Raises:
            ValueError: The sender named no window.

        The other errors are those of `send_copydata`.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        id, to = _back(message, id)
        return send_copydata(to, data, id=id, timeout=timeout, sender=self)

    def set_timer(self, id: int, period: float) -> None:
        """Get WM_TIMER (0x113), with `id` as wparam, every `period` seconds.

        At most one tick of a timer waits in the queue. Another call changes the period.
        Win32: SetTimer.
        """
        if not 0 < period <= 0x7FFFFFFF / 1000:
            raise ValueError("period must be a number of seconds above 0")
        if WM_TIMER not in self._router.handlers:
            self.subscribe(WM_TIMER)
        self._order_timer(id, math.ceil(period * 1000))

    def kill_timer(self, id: int) -> bool:
        """End a timer; return whether there was one. Win32: KillTimer."""
        return self._order_timer(id, 0)

    def _order_timer(self, id: int, milliseconds: int) -> bool:
        order = _packed(id % ID_LIMIT, milliseconds)
        answer = 0
        with contextlib.suppress(FileNotFoundError, ConnectionResetError):
            answer = send_copydata(
                self, order, id=self._cookie, timeout=None, check=False
            )
        if answer < 0:
            raise OSError(0, "no timer", self.title, -answer, "SetTimer")
        if not answer and self.closed:
            raise ValueError("the window is closed")
        return answer > 0

    # -------------------------------------------------------------- asyncio

    async def answer_async(
        self,
        message: Message,
        data: ReadableBuffer,
        *,
        id: int | None = None,
        timeout: float | None = 5.0,
    ) -> int:
        """`answer` for asyncio: other tasks run until the sender has taken the data.

        See `send_copydata_async` for what happens if the task is cancelled.

        Win32: SendMessageTimeout.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        id, to = _back(message, id)
        return await send_copydata_async(to, data, id=id, timeout=timeout, sender=self)

    async def receive_async(self, timeout: float | None = None) -> Message:
        """`receive` for an asyncio task.

        This works on every asyncio loop and on several at once, without polling. A
        cancelled task takes no message. The errors are those of `receive`.

        Win32: WaitForMultipleObjects
        """
        __tracebackhide__ = True  # pytest shows the test's line
        from winipc.base.loop_wait import wait_handle  # it imports asyncio

        deadline = Deadline(timeout)
        while (message := self.receive_nowait()) is None:
            try:
                ready = self._begin_wait()
            except ValueError:
                continue  # the window was closed, perhaps with messages left
            try:
                if not await wait_handle(ready, deadline.left(), name=self.title):
                    raise timed_out("no message came in time", self.title)
            finally:
                self._end_wait()
        return message

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive_async()
        except ValueError:
            if self.closed:
                raise StopAsyncIteration from None
            raise

    # ----------------------------------------------------------------- life

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"hwnd={self.hwnd:#x}"
        return f"<CopyDataWindow {self.title!r} {state}, {self.pending} waiting>"


def _back(message: Message, id: int | None) -> tuple[int, int]:
    """The id of an answer, and the window that it goes to."""
    if not message.sender:
        raise ValueError(f"{message!r} names no window to answer to")
    return message.id if id is None else id, message.sender


def call(
    target: Target,
    data: ReadableBuffer | Callable[[int], ReadableBuffer],
    *,
    id: int = 0,
    reply_id: int | None = None,
    timeout: float | None = 5.0,
    verify: bool = True,
) -> bytes:
    """Send a request by WM_COPYDATA, and return the data of the answer.

    ::

        print(winipc.call("my-app", b"please", id=3, timeout=2))  # b'PLEASE'

    Each call opens a window for its answer, so that answers are never mixed up, and a
    late answer goes nowhere. The request names this window as its sender. If the other
    program wants the handle in the data, pass a function as `data`: it gets the handle
    and returns the request. docs/messages.md shows a faster way for many requests.

    The answer is the first message with `reply_id` (if given) whose sender is a window
    of the target's process. With `verify=False` it may come from any sender, or from
    none.

    Raises:
        TimeoutError: No answer came within `timeout` seconds (winerror 1460).
        ConnectionResetError: The target's window was closed, or its process died,
            before it answered (winerror 1400).

    The other errors are those of `send_copydata`.

    Any thread may call it. Win32: SendMessageTimeout, IsWindow.
    """
    __tracebackhide__ = True  # pytest shows the test's line
    hwnd = hwnd_of(target)
    name = target if isinstance(target, str) else f"window {hwnd:#x}"
    pid, _ = _core._window_process(hwnd)
    deadline = Deadline(timeout)
    with CopyDataWindow.create(
        "", message_only=True, accept=pid if verify else None
    ) as own:
        request = data(own.hwnd) if callable(data) else data
        try:
            send_copydata(hwnd, request, id=id, timeout=timeout, sender=own)
        except OSError as error:
            error.filename = name
            raise
        gone = False
        while True:
            try:
                message = own.receive(0 if gone else deadline.part(_LOOK))
            except TimeoutError:
                if gone:
                    raise ConnectionResetError(
                        0,
                        "It ended before it answered",
                        name,
                        ERROR_INVALID_WINDOW_HANDLE,
                    ) from None
                if deadline.left() == 0:
                    text = f"it took the request, and sent no answer in {timeout} s"
                    raise timed_out(text, name) from None
                gone = not _core._window_is(hwnd, 0)
            else:
                if reply_id is None or message.id == reply_id % ID_LIMIT:
                    return bytes(message)


@contextlib.contextmanager
def _only_one(title: str) -> Iterator[None]:
    """Let one process at a time open a window, if no window has this title."""
    from winipc.sync.mutex import Mutex

    turn = Mutex.create(_TITLES, exist_ok=True, security=_TITLES_SECURITY)
    turn.acquire(abandoned="accept")
    try:
        if find_hwnd(title, None):
            error = FileExistsError(
                0, "there is a window with this title", title, ERROR_ALREADY_EXISTS
            )
            hint_taken(error, "makes another one; senders find the newest")
            raise error
        yield
    finally:
        turn.release()
        turn.close()


@atexit.register
def _close_at_exit() -> None:
    """End the threads while the interpreter can still run their handlers."""
    windows = list(_open_windows)
    # Ask all windows before waiting for one; all share one deadline. A handler that
    # does not return ends with the process.
    for deadline in (Deadline(0), Deadline(_EXIT_WAIT)):
        for window in windows:
            with contextlib.suppress(Exception, KeyboardInterrupt):
                window.close(deadline.left())
