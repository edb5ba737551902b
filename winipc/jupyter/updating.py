"""Views that are updated while the kernel does other things."""

from __future__ import annotations

import atexit
import contextlib
import copy
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from winipc.base.deadline import wait_until
from winipc.memory.snapshot import Snapshot
from winipc.process.process import RemoteProcess
from winipc.views.choosing import view_of
from winipc.views.hexdump import HexView
from winipc.views.markup import escape
from winipc.views.view import View

#: Seconds that `stop` waits for a running look.
_LAST_LOOK = 10.0


def live(shown: Any, interval: float = 0.5, **options: Any) -> LiveView:
    """Show something in this cell, and update it every `interval` seconds.

    A thread updates the output of the cell while other cells run. The view ends when
    the cell runs again, when the object is closed or its process exits, when the kernel
    ends, and on `stop()`.

    Args:
        shown: An object that has a view, with the options of that view; a view; or a
            function without arguments, whose results IPython displays. The view's
            thread calls the function (Matplotlib's `Figure` is safe there, its `pyplot`
            is not). If it raises StopIteration, the view ends; any other exception is
            shown, and ends the view, too.
        interval: Seconds between two looks.

    Raises:
        TypeError: There is no view of this object.
        RuntimeError: IPython is not installed.

    The view keeps the object alive. A look at a mapping of a file, or at a `Snapshot`,
    is a short call in another thread; `close` of the object raises BufferError during
    it. The view does not wait for a whole record: it shows the last one, and says so
    after a second.
    """
    if not interval > 0:
        raise ValueError("interval must be a number of seconds above 0")
    if callable(shown) and not isinstance(shown, View):
        if options:
            raise TypeError("options are for views, and this is a function")
        look = _Look(shown)
    else:
        look = _ViewLook(view_of(shown, **options), interval)
    try:
        shell = importlib.import_module("IPython").get_ipython()
        display = importlib.import_module("IPython.display").display
    except ImportError:
        raise RuntimeError(
            "live() needs IPython: pip install winipc[jupyter]"
        ) from None
    if shell is not None:
        shell.events.register("pre_run_cell", _before_cell)  # once, however often
    first = look()
    # The handle is None if nothing can be displayed.
    view = LiveView(look, display(first, display_id=True), interval, _cell(shell))
    with _lock:
        _views.add(view)
    view._thread = threading.Thread(
        target=view._run, args=(first,), name="winipc live view", daemon=True
    )
    view._thread.start()
    return view


class LiveView:
    """A view that `live` updates. Any thread may use it."""

    def __init__(
        self, look: _Look, handle: Any, interval: float, cell: str | None
    ) -> None:
        self.interval = interval
        #: The number of updates of the output; it is updated only if something is new.
        self.updates = 0
        #: Why the view ended; None while it runs.
        self.reason: str | None = None
        self._look = look
        self._handle = handle
        self._cell = cell
        self._stopping: str | None = None
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the view is still updated."""
        return self.reason is None

    def stop(self) -> None:
        """End the updates, and leave the output; more calls do nothing."""
        self._stop("stopped")

    def _stop(self, why: str) -> None:
        with self._change:
            self._stopping = self._stopping or why
            self._change.notify_all()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(_LAST_LOOK)

    def wait(self, timeout: float | None = None, *, updates: int | None = None) -> bool:
        """Wait at most `timeout` seconds for the end of the view; True if it came.

        With `updates`, the wait also ends once the view has had this many updates.
        Ctrl+C ends the wait, too.
        """
        with self._change:
            return wait_until(
                self._change,
                lambda: (
                    not self.running
                    or (updates is not None and self.updates >= updates)
                ),
                timeout,
            )

    def _run(self, shown: Any) -> None:
        try:
            while (reason := self._pause() or self._look.gone()) is None:
                new = self._look()
                # Only HTML can be compared; any other object counts as new.
                if not isinstance(new, _Html) or new != shown:
                    shown = new
                    self._show(new)
        except StopIteration:
            reason = "finished"
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
        self._finish(reason)

    def _pause(self) -> str | None:
        with self._change:
            if self._stopping is None:
                self._change.wait(self.interval)
            return self._stopping

    def _show(self, new: Any) -> None:
        if self._handle is not None:
            self._handle.update(new)
        with self._change:
            self.updates += 1
            self._change.notify_all()

    def _finish(self, reason: str) -> None:
        with _lock:
            _views.discard(self)
        # The former output of a cell that runs again is gone.
        with contextlib.suppress(Exception):
            if self._handle is not None and reason != _RUN_AGAIN:
                last = self._look.last(reason)
                if last is not None:
                    self._handle.update(last)
        self._look.close()
        with self._change:
            self.reason = reason
            self._change.notify_all()

    def __repr__(self) -> str:
        state = "running" if self.reason is None else f"ended: {self.reason}"
        return f"<LiveView {state}, {self.updates} updates>"


def stop_all() -> None:
    """End every live view of this kernel."""
    _stop_those(lambda view: True, "stopped")


def _stop_those(chosen: Callable[[LiveView], bool], why: str) -> None:
    with _lock:
        views = [view for view in _views if chosen(view)]
    for view in views:
        view._stop(why)


_RUN_AGAIN = "the cell was run again"

_lock = threading.Lock()
_views: set[LiveView] = set()
atexit.register(stop_all)


# ------------------------------------------------------------------ what to show


@dataclass(frozen=True, slots=True)
class _Html:
    """HTML that is displayed as it is."""

    text: str

    def _repr_html_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return "<winipc live view>"


class _Look:
    """Looks once: a call returns what to display, here the result of a function."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __call__(self) -> Any:
        return self._function()

    def gone(self) -> str | None:
        """Why nothing new will come, or None."""
        return None

    def last(self, reason: str) -> Any:
        """What to display at the end; None leaves the output as it is."""
        if reason in ("stopped", "finished"):
            return None
        return _Html(f"<div>not live any more: {escape(reason, 600)}</div>")

    def close(self) -> None:
        """Close what was opened for the looks."""


class _ViewLook(_Look):
    """A view in a frame that says whether it is still updated."""

    def __init__(self, view: View, interval: float) -> None:
        self._own, self._process = _for_thread(view)
        super().__init__(self._own.html)
        self.gone = view.gone  # type: ignore[method-assign]
        self._interval = interval
        self._html = ""

    def __call__(self) -> Any:
        if (reason := self.gone()) is not None:
            return self.last(reason)
        self._html = self._function()
        return self._framed("#2b8a3e", f"live, every {self._interval:g} s")

    def last(self, reason: str) -> Any:
        if not self._html and self.gone() is not None:
            self._html = self._function()
        return self._framed("#868e96", f"not live any more: {reason}")

    def close(self) -> None:
        if self._process is not None:
            self._process.close()

    def _framed(self, colour: str, state: str) -> _Html:
        return _Html(
            f"<div style='font-size:11px'><span style='color:{colour}'>●</span> "
            f"{escape(state)}</div>{self._html}"
        )


def _for_thread(view: View) -> tuple[View, RemoteProcess | None]:
    """A view for the updating thread, and the process object that it owns.

    For a process, the thread has a handle of its own: otherwise the owner's `close`
    would raise BufferError during a look. With a snapshot, the thread does not wait:
    otherwise `close` would raise as long as no record is whole.
    """
    own = copy.copy(view)
    if view.gone() is not None:
        return view, None
    if isinstance(view.target, RemoteProcess):
        own.target = view.target._duplicate()
        return own, own.target
    if isinstance(own, HexView) and isinstance(view.target, Snapshot):
        own.patience = 0
        return own, None
    return view, None


# -------------------------------------------------------------------- the cell


def _cell(shell: Any) -> str | None:
    """The id of the running cell, or its text if it has no id."""
    try:
        request = shell.get_parent()
        return str(request["metadata"].get("cellId") or request["content"]["code"])
    except (AttributeError, KeyError, TypeError):
        return None  # no kernel


def _before_cell(info: Any) -> None:
    """End the views that the former run of this cell made."""
    cell = _cell(importlib.import_module("IPython").get_ipython())
    _stop_those(lambda view: cell is not None and view._cell == cell, _RUN_AGAIN)
