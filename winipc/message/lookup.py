"""Windows of any process: found by title or class, waited for, and asked about.

A `Target` says where a message goes: a `CopyDataWindow`, a `Window`, an hwnd, a
title, or a pair (title, class) of which one may be None. A class is given by its name
or its atom.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Protocol, SupportsIndex, TypeAlias

from winipc import _core
from winipc.base.deadline import Deadline
from winipc.base.winerror import ERROR_INVALID_WINDOW_HANDLE, ERROR_TIMEOUT

__all__ = ["Target", "Window", "find_window", "find_windows", "wait_window"]

_POLL = 0.02


class _HasHwnd(Protocol):
    @property
    def hwnd(self) -> int: ...


#: What a message may be sent to.
Target: TypeAlias = _HasHwnd | SupportsIndex | str | tuple[str | None, str | int | None]


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


def _no_window(title: str | None, class_name: str | int | None) -> FileNotFoundError:
    what = " and ".join(
        f"{key} {value!r}"
        for key, value in (("title", title), ("class", class_name))
        if value is not None
    )
    # errno comes from the winerror.
    return FileNotFoundError(
        0, f"no window with {what or 'any title'}", None, ERROR_INVALID_WINDOW_HANDLE
    )


def find_window(
    title: str | None = None, class_name: str | int | None = None
) -> Window | None:
    """The window with this title, class or both, or None.

    Top-level windows come before message-only ones; of several the one on top
    (the newest, if all are hidden) is taken. Letter case does not count. A
    class is given by its name or its atom.

    Win32: FindWindowEx.
    """
    for message_only in (False, True):
        hwnd = _core._find_window(title, class_name, message_only)
        if hwnd:
            return Window(hwnd)
    return None


def find_windows(
    title: str | None = None,
    class_name: str | int | None = None,
    pid: int | None = None,
    *,
    message_only: bool = False,
    visible: bool | None = None,
) -> list[Window]:
    """All windows of the desktop that match everything that is given.

    Titles and classes are compared as in `find_window`. `message_only` lists
    message-only windows in place of the top-level ones; `visible` True or
    False asks for shown or hidden ones.

    Win32: EnumWindows, EnumChildWindows.
    """
    found = _core._find_windows(title, class_name, message_only)
    return [
        window
        for window in map(Window, found)
        if (pid is None or window.pid == pid)
        and (visible is None or window.is_visible == visible)
    ]


def wait_window(
    title: str | None = None,
    timeout: float | None = None,
    *,
    class_name: str | int | None = None,
) -> Window:
    """Wait until there is a window with this title, class or both.

    `timeout` is in seconds, None for forever. Windows does not notify of new
    windows, so it looks every 20 ms.

    Raises `TimeoutError` (winerror 1460).

    Win32: FindWindowEx.
    """
    deadline = Deadline(timeout)
    while (window := find_window(title, class_name)) is None:
        if deadline.left() == 0:
            text = f"{_no_window(title, class_name).strerror} within {timeout} s"
            raise TimeoutError(0, text, None, ERROR_TIMEOUT)
        time.sleep(_POLL)
    return window


def _find_old_pair(class_name: str | None, title: str | int | None) -> Window | None:
    """The window of a pair in the former order."""
    if class_name is None or isinstance(title, int):
        return None
    window = find_window(title, class_name)
    if window is not None:
        warnings.warn(
            f"the title now comes first in a target: {(title, class_name)!r}",
            DeprecationWarning,
            stacklevel=3,
        )
    return window


def hwnd_of(target: Target) -> int:
    """The handle behind any kind of target; raises as `send_copydata` does."""
    if isinstance(target, str | tuple):
        title, class_name = (target, None) if isinstance(target, str) else target
        window = find_window(title, class_name)
        if window is None and isinstance(target, tuple):
            window = _find_old_pair(title, class_name)
        if window is None:
            raise _no_window(title, class_name)
        return window.hwnd
    hwnd = getattr(target, "hwnd", None)
    if hwnd is None:
        return target.__index__()  # type: ignore[union-attr]
    if not hwnd:
        raise ValueError(f"{target!r} is closed")
    return int(hwnd)
