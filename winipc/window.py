"""`CopyDataWindow`: a window that takes messages from other processes.

The window runs on a native thread of its own. In queue mode it copies each
message and answers at once, without Python, so that no sender ever waits for
a busy interpreter; `receive`, iteration and `async for` take from the queue.
In handler mode a Python callable answers while the sender waits.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import weakref
from enum import Enum
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from winipc import _core
from winipc.message import register_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType
    from typing import Self

    #: Gets the message while its sender waits. What it returns is the answer:
    #: an int, True or None (1: taken), False (0: refused), or NotImplemented
    #: to put the message into the queue.
    Handler: TypeAlias = Callable[["Message"], Any]

__all__ = ["CopyDataWindow", "Message", "Overflow"]

WM_COPYDATA = 0x004A

#: Windows gives these their meaning while a window is made and ends.
_NOT_FOR_US = {0x0001, 0x0002, 0x0024, 0x0081, 0x0082, 0x0083, WM_COPYDATA, 0x7FF1}

_EXIT_WAIT = 5.0


class Overflow(Enum):
    """What to do with a message for which the queue has no room."""

    #: Answer 0: its sender knows that it was not taken.
    REFUSE = 0
    #: Drop the oldest ones, which were answered 1, and count them.
    DROP_OLDEST = 1


class Message(_core.Message):
    """One received message; its data is a read-only buffer.

    `memoryview(message)` is the data without a copy, `bytes(message)` with
    one, `len(message)` its size. `id` tells what kind of data it is, `sender`
    is the window that claims to have sent it and `pid` that window's process.
    For a plain message `message`, `wparam` and `lparam` say all.
    """

    __slots__ = ()

    @property
    def is_copydata(self) -> bool:
        """Whether it is a WM_COPYDATA: one with data and an id."""
        return self.message == WM_COPYDATA

    @property
    def verified(self) -> bool:
        """Whether `sender` was a window of a living process on arrival.

        Windows itself does not tell who sends: a program may name another's
        window. A sender with no window of its own is never verified.
        """
        return self.pid != 0

    @property
    def executable(self) -> str | None:
        """Path of the program behind `pid`, or None where it may not be known.

        Asked for now: None when the process has ended, even if its number
        was given to another since. Win32: QueryFullProcessImageName.
        """
        if not self.pid:
            return None
        try:
            path, created = _core._process_image(self.pid)
        except OSError:
            return None
        return path if created <= self.time else None

    def text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The data as text, up to its first NUL if it has one."""
        return bytes(self).decode(encoding, errors).partition("\0")[0]

    def __repr__(self) -> str:
        if self.message == WM_COPYDATA:
            return (
                f"<winipc.Message id={self.id:#x} size={len(self)} "
                f"sender={self.sender:#x} pid={self.pid}>"
            )
        return (
            f"<winipc.Message message={self.message:#x} "
            f"wparam={self.wparam:#x} lparam={self.lparam:#x}>"
        )


class _Router:
    """Which handler gets which message. Knows nothing of its window, so that
    the window is not kept alive by it."""

    __slots__ = ("default", "handlers", "ids", "queued")

    def __init__(self, handler: Handler | None, messages: Iterable[int | str]) -> None:
        self.default = handler
        self.ids: dict[int, Handler] = {}
        self.handlers: dict[int, Handler] = {}
        self.queued = {_number(message) for message in messages}

    def routes(self) -> tuple[bool, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        everything = self.default is not None
        return (
            everything,
            tuple(self.ids),
            () if everything else tuple(self.queued),
            (*self.handlers, *self.queued) if everything else tuple(self.handlers),
        )

    def __call__(self, window: CopyDataWindow, message: Message) -> Any:
        if message.message == WM_COPYDATA:
            handler = self.ids.get(message.id, self.default)
        else:
            handler = self.handlers.get(message.message, self.default)
        if handler is None:  # taken away in this moment
            return NotImplemented
        return handler(message)


def _number(message: int | str) -> int:
    if isinstance(message, str):
        return register_message(message)
    if not 0 < message <= 0xFFFF or message in _NOT_FOR_US:
        raise ValueError(f"message {message:#x} cannot be asked for")
    return message


#: Every open window, for the exit of the interpreter.
_open_windows: weakref.WeakSet[CopyDataWindow] = weakref.WeakSet()


class CopyDataWindow(_core.CopyDataWindow):
    """A window of this process that others send to.

    Made by `create`; closed by `close()`, `with`, garbage collection (with a
    `ResourceWarning`) or the exit of the interpreter, each of which leaves no
    window, class or thread behind.
    """

    __slots__ = ("_router",)

    _router: _Router

    @classmethod
    def create(
        cls,
        title: str = "",
        *,
        handler: Handler | None = None,
        messages: Iterable[int | str] = (),
        class_name: str | None = None,
        message_only: bool = False,
        max_message: int = 64 << 20,
        max_count: int = 16384,
        max_bytes: int | None = None,
        overflow: Overflow = Overflow.REFUSE,
    ) -> Self:
        """Open a window with this title.

        Without `handler` each WM_COPYDATA goes to the queue and is answered 1,
        or 0 when the queue holds `max_count` messages or `max_bytes` of data
        (256 MiB, or one largest message if that is more); `overflow` may drop
        the oldest ones instead. With `handler`, it is called on the window's
        thread while the sender waits, and its result is the answer. When it
        raises, `sys.unraisablehook` is told and the answer is 0.

        `messages` are the other messages to take, in the same way: numbers, or
        names to be registered. Messages larger than `max_message` bytes are
        refused; the thread's stack has room for one, as Wine needs.

        A `message_only` window gets no broadcasts and is not listed among the
        top-level ones. The class name is unique unless one is given.

        Raises `OSError` (winerror 1410) when this process has a window with
        that `class_name` already.

        Win32: RegisterClassEx, CreateWindowEx.
        """
        if class_name is None:
            class_name = f"winipc.{os.getpid()}.{secrets.token_hex(8)}"
        if max_bytes is None:
            max_bytes = max(256 << 20, max_message)
        router = _Router(handler, messages)
        self = cls._create(
            title,
            class_name,
            message_only,
            max_message,
            max_count,
            max_bytes,
            overflow.value,
            router,
            router.routes(),
            Message,
        )
        self._router = router
        _open_windows.add(self)
        return self

    def on(self, id: int) -> Callable[[Handler], Handler]:
        """Decorator: handle WM_COPYDATA messages with this `id`."""

        def decorate(handler: Handler) -> Handler:
            self._router.ids[id % (1 << 64)] = handler
            self._set_routes(self._router.routes())
            return handler

        return decorate

    def on_message(self, message: int | str) -> Callable[[Handler], Handler]:
        """Decorator: handle this message, a number or a name to be registered."""
        number = _number(message)

        def decorate(handler: Handler) -> Handler:
            self._router.handlers[number] = handler
            self._set_routes(self._router.routes())
            return handler

        return decorate

    def subscribe(self, *messages: int | str) -> None:
        """Take these messages too: numbers, or names to be registered."""
        self._router.queued.update(_number(message) for message in messages)
        self._set_routes(self._router.routes())

    def unsubscribe(self, *messages: int | str) -> None:
        """Ignore these messages again, and forget their handlers."""
        for message in messages:
            number = _number(message)
            self._router.queued.discard(number)
            self._router.handlers.pop(number, None)
        self._set_routes(self._router.routes())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"hwnd={self.hwnd:#x}"
        return f"<winipc.CopyDataWindow {self.title!r} {state}>"


@atexit.register
def _close_at_exit() -> None:
    """End the threads while there is an interpreter for their handlers."""
    for window in list(_open_windows):
        # A handler that does not return ends with the process.
        with contextlib.suppress(TimeoutError):
            window.close(_EXIT_WAIT)
