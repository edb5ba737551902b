"""Windows of any process: found by title or class, waited for, and asked about."""

from __future__ import annotations

import contextlib
import os
import re
import time
from dataclasses import dataclass
from typing import Any, TypeAlias

from winipc import _core
from winipc.base.deadline import Deadline, timed_out
from winipc.base.rows import Rows
from winipc.base.shown import Shown
from winipc.base.winerror import ERROR_INVALID_WINDOW_HANDLE
from winipc.message.target import Target, find_hwnd, hwnd_of

__all__ = ["Window", "find_window", "find_windows", "wait_window"]

WM_NULL = 0x0000
_POLL = 0.02


@dataclass(frozen=True, slots=True, repr=False)
class Window(Shown):
    """A window of any process, by its handle. The object owns nothing."""

    #: The handle of the window. Once the window is gone, Windows may give the same
    #: number to another one.
    hwnd: int

    @classmethod
    def wait_for(
        cls,
        title: Title | None = None,
        timeout: float | None = None,
        *,
        class_name: str | int | None = None,
        parent: Target | None = None,
        child_class: str | int | None = None,
        ready: bool = False,
    ) -> Window:
        """Wait until a window matches, and return it; see `find_window`.

        ::

            window = winipc.Window.wait_for("Settings", timeout=10, ready=True)
            print(window.title)  # Settings

        `timeout` is in seconds; None waits forever. Windows does not notify of new
        windows, so `wait_for` looks every 20 ms. With `ready`, it also waits until the
        window's program waits for input and the window has answered a message
        (WM_NULL).

        Raises:
            TimeoutError: No window appeared in time (winerror 1460).

        Win32: FindWindowEx, WaitForInputIdle, SendMessageTimeout.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        deadline = Deadline(timeout)
        while True:
            window = find_window(
                title, class_name, parent=parent, child_class=child_class
            )
            if window is not None and (not ready or _is_ready(window, deadline)):
                return window
            pause = deadline.part(_POLL)
            if pause == 0:
                text = str(no_window(title, class_name).strerror)
                if window is not None:
                    text = f"window {window.hwnd:#x} is not ready"
                raise timed_out(f"{text} within {timeout} s")
            time.sleep(pause)

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
        """Whether the window's thread has taken no message for 5 s.

        Win32: IsHungAppWindow.
        """
        return _core._window_is(self.hwnd, 2)

    @property
    def class_name(self) -> str:
        """The name of its class.

        Raises:
            FileNotFoundError: The window is gone.

        Win32: GetClassName.
        """
        return _core._window_class(self.hwnd)

    @property
    def title(self) -> str:
        """The title, also of a hung window; empty if the window is gone.

        Win32: InternalGetWindowText.
        """
        return _core._window_title(self.hwnd)

    @property
    def pid(self) -> int:
        """The id of the process that owns the window; 0 if the window is gone.

        Win32: GetWindowThreadProcessId.
        """
        return _core._window_process(self.hwnd)[0]

    @property
    def thread_id(self) -> int:
        """The id of the thread that owns the window; 0 if the window is gone.

        Win32: GetWindowThreadProcessId.
        """
        return _core._window_process(self.hwnd)[1]

    @property
    def parent(self) -> Window | None:
        """The parent window; None for a top-level or message-only window.

        Win32: GetAncestor.
        """
        hwnd = _core._window_place(self.hwnd)[0]
        return Window(hwnd) if hwnd else None

    @property
    def id(self) -> int:
        """The window's number within its parent (a control's id); 0 without a parent.

        Win32: GetDlgCtrlID.
        """
        return _core._window_place(self.hwnd)[1]

    def children(
        self,
        class_name: str | int | None = None,
        title: Title | None = None,
        id: int | None = None,
    ) -> Rows[Window]:
        """All windows within this one that match, at any depth.

        They come in Z order, the topmost first; each is followed by its own children.
        Titles and classes are compared as in `find_window`. `id` is the number of a
        control.

        Raises:
            FileNotFoundError: The window is gone (winerror 1400).

        Win32: EnumChildWindows.
        """
        found = find_windows(title, class_name, parent=self)
        return Rows(window for window in found if id is None or window.id == id)

    @property
    def executable(self) -> str:
        """The path of the program that owns the window.

        Raises:
            ProcessLookupError: The window is gone.
            PermissionError: Windows does not tell.

        Win32: QueryFullProcessImageName.
        """
        return _core._process_image(self.pid)[0]

    def __repr__(self) -> str:
        try:
            known = f"{self.title!r} class={self.class_name!r} pid={self.pid}"
        except OSError:
            known = "gone"
        return f"<Window {self.hwnd:#x} {known}>"

    @property
    def _state(self) -> str:
        if not self.exists:
            return ""  # the repr says that it is gone
        return "hung" if self.is_hung else "shown" if self.is_visible else "hidden"

    def _cells(self) -> dict[str, Any]:
        cells = dict.fromkeys(("pid", "program", "class", "title"), "")
        cells = {"hwnd": f"{self.hwnd:#x}", **cells, "state": "gone"}
        with contextlib.suppress(OSError):
            cells |= {"class": self.class_name, "title": self.title}
            cells |= {"pid": str(self.pid), "state": self._state}
            cells["program"] = self.executable.rpartition("\\")[2]
        return cells


#: A title, or a pattern that is searched for in titles.
Title: TypeAlias = str | re.Pattern[str]


def window_of(title: Title | None, class_name: str | int | None) -> str:
    """A description of the wanted window, for errors."""
    what = " and ".join(
        f"{key} {value!r}"
        for key, value in (
            ("title", title.pattern if isinstance(title, re.Pattern) else title),
            ("class", class_name),
        )
        if value is not None
    )
    return f"window with {what or 'any title'}"


def no_window(title: Title | None, class_name: str | int | None) -> FileNotFoundError:
    text = f"no {window_of(title, class_name)}"
    return FileNotFoundError(0, text, None, ERROR_INVALID_WINDOW_HANDLE)


def find_window(
    title: Title | None = None,
    class_name: str | int | None = None,
    *,
    parent: Target | None = None,
    child_class: str | int | None = None,
) -> Window | None:
    """Find the window with this title, class or both; None if there is none.

    ::

        import re

        window = winipc.find_window("Settings")
        print(window == winipc.find_window(re.compile("^Settings")))  # True
        print(winipc.find_window("No such title"))  # None

    Top-level windows come before message-only windows. If several windows match, the
    result is the topmost one, or the newest if all are hidden. Case does not matter in
    titles and class names.

    Args:
        title: The whole title, or a compiled regular expression to search for in
            titles, such as `re.compile("Notepad$")`.
        class_name: The name of the class, or its atom.
        parent: Search only within this window, at any depth.
        child_class: Find only a window with a window of this class within it.

    Raises:
        ValueError: No argument says what to look for; an empty title does not.

    Win32: FindWindowEx, EnumWindows, EnumChildWindows.
    """
    if parent is None and child_class is None and not isinstance(title, re.Pattern):
        hwnd = find_hwnd(title, class_name)
        return Window(hwnd) if hwnd else None
    for message_only in (False,) if parent is not None else (False, True):
        found = find_windows(
            title,
            class_name,
            message_only=message_only,
            parent=parent,
            child_class=child_class,
        )
        if found:
            return found[0]
    return None


def find_windows(
    title: Title | None = None,
    class_name: str | int | None = None,
    pid: int | None = None,
    *,
    message_only: bool = False,
    visible: bool | None = None,
    parent: Target | None = None,
    child_class: str | int | None = None,
) -> Rows[Window]:
    """List the windows of the desktop that match all arguments.

    The list shows itself as a table. `title` is a whole title, or a regular expression
    such as `re.compile("^my-app")`; for `class_name`, `parent` and `child_class` see
    `find_window`. `message_only` lists message-only windows instead
    of top-level ones; `visible` True or False selects shown or hidden windows.

    Raises:
        FileNotFoundError: The parent is gone (winerror 1400).

    Win32: EnumWindows, EnumChildWindows.
    """
    pattern = title if isinstance(title, re.Pattern) else None
    whole = None if isinstance(title, re.Pattern) else title
    within = () if parent is None else (hwnd_of(parent),)
    found = _core._find_windows(whole, class_name, message_only, *within)
    return Rows(
        window
        for window in map(Window, found)
        if (pid is None or window.pid == pid)
        and (visible is None or window.is_visible == visible)
        and (pattern is None or pattern.search(window.title))
        and (child_class is None or _has_child(window, child_class))
    )


def _has_child(window: Window, class_name: str | int) -> bool:
    try:
        return bool(window.children(class_name))
    except FileNotFoundError:
        return False  # the window has gone


def wait_window(
    title: Title | None = None, timeout: float | None = None, **options: Any
) -> Window:
    """Deprecated: use `Window.wait_for`. The next version will not have it."""
    import warnings

    told = "winipc.wait_window is now called winipc.Window.wait_for"
    warnings.warn(told, DeprecationWarning, stacklevel=2)
    return Window.wait_for(title, timeout, **options)


def _is_ready(window: Window, deadline: Deadline) -> bool:
    """Wait for the program and an answer; False if the window went or time is over."""
    from winipc.process.access import ProcessAccess
    from winipc.process.process import RemoteProcess

    pid, to_ask = window.pid, ProcessAccess.QUERY | ProcessAccess.QUERY_INFORMATION
    # A console program has no input idle state, and an administrator's program may not
    # be asked. The window may answer all the same.
    with contextlib.suppress(OSError):
        if pid not in (0, os.getpid()):
            with RemoteProcess.open(pid, access=to_ask) as process:
                process.wait_input_idle(deadline.left())
    try:
        _core.send_message(window.hwnd, WM_NULL, timeout=deadline.left())
    except (TimeoutError, FileNotFoundError, ConnectionResetError):
        return False
    return True
