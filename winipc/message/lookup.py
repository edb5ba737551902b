"""Registered messages, window look-up and sends.

`send_copydata` delivers bytes to a window of another process; `send_message`
and `post_message` deliver two numbers. A target is a `CopyDataWindow`, a
`Window`, an hwnd, a title, or a pair (class name, title) of which one may be
None.
"""

from __future__ import annotations

import errno
import functools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, SupportsIndex, TypeAlias

from winipc import _core
from winipc._core import in_send_message, register_message, reply_message
from winipc.errors import add_hint

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "HWND_BROADCAST",
    "Target",
    "Window",
    "broadcast_message",
    "find_window",
    "find_windows",
    "in_send_message",
    "mapping_is_ours",
    "max_message_of",
    "post_message",
    "register_message",
    "reply_message",
    "send_copydata",
    "send_message",
    "wait_window",
]

#: The target that stands for all top-level windows.
HWND_BROADCAST = 0xFFFF

_NO_SUCH_WINDOW = 1400

#: Below this, no receiver's limit is asked for: any window takes so much.
_ALWAYS_TAKEN = 1 << 20
_LIMIT_MESSAGE = register_message("winipc.MaxMessage")
_LIMIT_MARK = 0x5749
_LIMIT_BITS = 48

_POLL = 0.02


@functools.lru_cache(256)  # it stays as long as the session, and asking costs a call
def _number_of(name: str) -> int:
    return register_message(name)


class _HasHwnd(Protocol):
    @property
    def hwnd(self) -> int: ...


#: What a message may be sent to.
Target: TypeAlias = _HasHwnd | SupportsIndex | str | tuple[str | None, str | None]


@dataclass(frozen=True, slots=True)
class Window:
    """A window of any process, by its handle. Nothing is owned or kept open."""

    hwnd: int

    def __index__(self) -> int:
        return self.hwnd

    @property
    def exists(self) -> bool:
        """Whether there is (still) a window with this handle.

        Win32: IsWindow.
        """
        return _core._window_is(self.hwnd, 0)

    @property
    def is_visible(self) -> bool:
        """Whether the window is shown. Win32: IsWindowVisible."""
        return _core._window_is(self.hwnd, 1)

    @property
    def is_hung(self) -> bool:
        """Whether its thread has not looked at messages for 5 s.

        Win32: IsHungAppWindow.
        """
        return _core._window_is(self.hwnd, 2)

    @property
    def class_name(self) -> str:
        """The name of its class. Raises `FileNotFoundError` when it is gone.

        Win32: GetClassName.
        """
        return _core._window_class(self.hwnd)

    @property
    def title(self) -> str:
        """Its title, which a hung window has too; empty when it is gone.

        Win32: InternalGetWindowText.
        """
        return _core._window_title(self.hwnd)

    @property
    def pid(self) -> int:
        """The process that owns it; 0 when it is gone.

        Win32: GetWindowThreadProcessId.
        """
        return _core._window_process(self.hwnd)[0]

    @property
    def thread_id(self) -> int:
        """The thread that owns it; 0 when it is gone.

        Win32: GetWindowThreadProcessId.
        """
        return _core._window_process(self.hwnd)[1]

    @property
    def executable(self) -> str:
        """Path of the program that owns it.

        Raises `ProcessLookupError` when it is gone and `PermissionError` when
        Windows does not say. Win32: QueryFullProcessImageName.
        """
        return _core._process_image(self.pid)[0]

    @property
    def is_elevated(self) -> bool:
        """Whether its process runs as administrator.

        Raises `ProcessLookupError` when it is gone and `PermissionError` when
        Windows does not say. Win32: GetTokenInformation.
        """
        return _core._process_token(self.pid)[0]

    @property
    def integrity(self) -> int:
        """The integrity level of its process: 0x1000 low, 0x2000 medium, 0x3000 high.

        Win32: GetTokenInformation.
        """
        return _core._process_token(self.pid)[1]


def _no_window(title: str | None, class_name: str | None) -> FileNotFoundError:
    what = " and ".join(
        f"{key} {value!r}"
        for key, value in (("title", title), ("class", class_name))
        if value is not None
    )
    # errno comes from the winerror.
    return FileNotFoundError(
        0, f"no window with {what or 'any title'}", None, _NO_SUCH_WINDOW
    )


def find_window(
    title: str | None = None, class_name: str | None = None
) -> Window | None:
    """The window with this title, class or both, or None.

    Top-level windows come before message-only ones; of several the one on top
    (the newest, if all are hidden) is taken. Letter case does not count.

    Win32: FindWindowEx.
    """
    for message_only in (False, True):
        hwnd = _core._find_window(class_name, title, message_only)
        if hwnd:
            return Window(hwnd)
    return None


def find_windows(
    class_name: str | None = None,
    title: str | None = None,
    pid: int | None = None,
    *,
    message_only: bool = False,
    visible: bool | None = None,
) -> list[Window]:
    """All windows of the desktop that match everything that is given.

    Letter case does not count. `message_only` lists message-only windows in
    place of the top-level ones; `visible` True or False asks for shown or
    hidden ones.

    Win32: EnumWindows, FindWindowEx.
    """
    found = []
    for hwnd in _core._enum_windows(message_only):
        window = Window(hwnd)
        try:
            if (
                (pid is None or window.pid == pid)
                and (visible is None or window.is_visible == visible)
                and (title is None or window.title.casefold() == title.casefold())
                and (
                    class_name is None
                    or window.class_name.casefold() == class_name.casefold()
                )
            ):
                found.append(window)
        except FileNotFoundError:
            continue  # it went away while we looked
    return found


def wait_window(
    title: str | None = None,
    timeout: float | None = None,
    *,
    class_name: str | None = None,
) -> Window:
    """Wait until there is a window with this title, class or both.

    `timeout` is in seconds, None for ever. Windows has no notification for
    this: it looks every 20 ms.

    Raises `TimeoutError` (winerror 1460).

    Win32: FindWindowEx.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while (window := find_window(title, class_name)) is None:
        if deadline is not None and time.monotonic() >= deadline:
            error = _no_window(title, class_name)
            raise TimeoutError(0, f"{error.strerror} within {timeout} s", None, 1460)
        time.sleep(_POLL)
    return window


def hwnd_of(target: Target) -> int:
    """The handle behind any kind of target; raises as `send_copydata` does."""
    if isinstance(target, str | tuple):
        class_name, title = (None, target) if isinstance(target, str) else target
        window = find_window(title, class_name)
        if window is None:
            raise _no_window(title, class_name)
        return window.hwnd
    hwnd = getattr(target, "hwnd", None)
    if hwnd is None:
        return target.__index__()  # type: ignore[union-attr]
    if not hwnd:
        raise ValueError(f"{target!r} is closed")
    return int(hwnd)


def _explain(error: PermissionError, hwnd: int) -> None:
    """Say which integrity levels are in the way, when that is what it is."""
    try:
        theirs = Window(hwnd).integrity
        ours = _core._process_token(os.getpid())[1]
    except OSError:
        add_hint(error, "the receiver may run at a higher integrity level")
        return
    if theirs > ours:
        add_hint(
            error,
            f"the receiver runs at integrity level {theirs:#x}, this process at "
            f"{ours:#x}: it has to allow the message (allow_lower_integrity=True, "
            "ChangeWindowMessageFilterEx), or both must run at the same level",
        )


def mapping_is_ours(name: str) -> bool:
    """Whether the user that this process runs as owns the mapping `name`.

    For servers that are given a name in a message, as Pageant is: open the
    mapping first, so that the name cannot go to another one, then ask.

    Raises `FileNotFoundError` when there is none, and `PermissionError` when
    it does not tell.

    Win32: GetKernelObjectSecurity.
    """
    return _core._mapping_is_ours(name)


def max_message_of(target: Target, *, timeout: float = 5.0) -> int | None:
    """The largest message that a window of winipc takes, in bytes.

    None for windows that cannot be asked: those of other programs, and those of
    a higher integrity level that do not let the question in.

    Win32: SendMessageTimeout.
    """
    try:
        answer = send_message(target, _LIMIT_MESSAGE, timeout=timeout)
    except PermissionError:
        # Of a higher integrity level: it may let WM_COPYDATA in, and not this.
        return None
    if answer >> _LIMIT_BITS != _LIMIT_MARK:
        return None
    return answer & ((1 << _LIMIT_BITS) - 1)


def _send_copydata(
    target: Target,
    data: ReadableBuffer,
    *,
    id: int = 0,
    timeout: float | None = 5.0,
    sender: Target | None = None,
    abort_if_hung: bool | None = None,
    check: bool = True,
) -> int:
    """Send bytes to a window and return what it answered.

    The data is anything with the buffer protocol, and is not copied on this
    side; when the call returns, the receiver has taken what it wants of it.
    `id` is dwData, 64 bits wide (32 for a 32-bit receiver). `sender` is the
    window that the receiver may answer to. `timeout` is in seconds, None for
    ever; a receiver that is hung ends the wait within a second, unless
    `abort_if_hung` is False, as it is by default without a time-out.

    The answer is the receiver's LRESULT, signed. 0 says that it did not take
    the data and raises, unless `check` is False.

    Raises `ConnectionRefusedError` for the answer 0 and for data above the
    limit of a receiver that is a winipc window; `TimeoutError` (winerror
    1460) for a hung or slow receiver; `FileNotFoundError` (winerror 1400)
    when there is no such window; `ConnectionResetError` when it went away
    during the send; `PermissionError` when its integrity level is higher;
    `OverflowError` for 4 GiB and more.

    Any thread may call it; meanwhile messages that are sent to windows of
    the calling thread are let in. Ctrl+C interrupts sends of more than 5 s;
    shorter ones it waits for.

    Win32: SendMessageTimeout, COPYDATASTRUCT.
    """
    hwnd = target if type(target) is int else hwnd_of(target)
    reply_to = 0 if sender is None else hwnd_of(sender)
    if abort_if_hung is None:
        abort_if_hung = timeout is not None
    try:
        size = memoryview(data).nbytes if type(data) is not bytes else len(data)
        if size > _ALWAYS_TAKEN:
            _check_limit(hwnd, size, timeout)
        answer = _core._send_copydata(hwnd, data, id, reply_to, timeout, abort_if_hung)
    except PermissionError as error:
        _explain(error, hwnd)
        raise
    if check and answer == 0:
        raise ConnectionRefusedError(
            errno.ECONNREFUSED,
            f"window {hwnd:#x} refused a message of {size} bytes with id {id:#x}",
        )
    return answer


send_copydata = _core._fast("send_copydata", _send_copydata, _explain)


def _check_limit(hwnd: int, size: int, timeout: float | None) -> None:
    limit = max_message_of(hwnd, timeout=5.0 if timeout is None else timeout)
    if limit is not None and size > limit:
        raise ConnectionRefusedError(
            errno.EMSGSIZE,
            f"window {hwnd:#x} takes messages of at most {limit} bytes, not {size} "
            "(max_message of its CopyDataWindow)",
        )


def send_message(
    target: Target,
    message: int | str,
    wparam: int = 0,
    lparam: int = 0,
    *,
    timeout: float | None = 5.0,
    abort_if_hung: bool | None = None,
) -> int:
    """Send a message and return what the window answered, signed.

    `message` is a number, or a name to be registered. `wparam` and `lparam`
    are ints of full width, signed or not. The rest is as in `send_copydata`,
    except that the answer 0 is an answer like any other.

    Raises as `send_copydata` does.

    Win32: SendMessageTimeout.
    """
    hwnd = target if type(target) is int else hwnd_of(target)
    if isinstance(message, str):
        message = _number_of(message)
    if abort_if_hung is None:
        abort_if_hung = timeout is not None
    try:
        return _core._send_message(
            hwnd, message, wparam, lparam, timeout, abort_if_hung
        )
    except PermissionError as error:
        _explain(error, hwnd)
        raise


def _post_message(
    target: Target, message: int | str, wparam: int = 0, lparam: int = 0
) -> None:
    """Leave a message for a window and go on; nobody answers.

    Raises `FileNotFoundError` (winerror 1400) when there is no such window,
    `PermissionError` when its integrity level is higher, and `OSError`
    (winerror 1816) when it has not taken the last 10,000.

    Win32: PostMessage.
    """
    hwnd = target if type(target) is int else hwnd_of(target)
    if isinstance(message, str):
        message = _number_of(message)
    try:
        _core._post_message(hwnd, message, wparam, lparam)
    except PermissionError as error:
        _explain(error, hwnd)
        raise


post_message = _core._fast("post_message", _post_message, _explain)


def broadcast_message(message: int | str, wparam: int = 0, lparam: int = 0) -> None:
    """Post a registered message to all top-level windows of the desktop.

    Raises `ValueError` for a message that is not registered: others would be
    taken for what they mean to each window.

    Win32: PostMessage with HWND_BROADCAST.
    """
    if isinstance(message, str):
        message = _number_of(message)
    if not 0xC000 <= message <= 0xFFFF:
        raise ValueError(f"message {message:#x} is not a registered one")
    _core._post_message(HWND_BROADCAST, message, wparam, lparam)
