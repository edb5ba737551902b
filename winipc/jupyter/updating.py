"""Views that keep themselves up to date while the kernel does other things."""

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
from winipc.jupyter.choosing import view_of
from winipc.jupyter.hexdump import HexView
from winipc.jupyter.markup import escape
from winipc.jupyter.view import View
from winipc.memory.snapshot import Snapshot
from winipc.process.process import RemoteProcess

__all__ = ["LiveView", "live", "stop_all"]

#: Seconds that `stop` waits for a look that is under way.
_LAST_LOOK = 10.0


def live(shown: Any, interval: float = 0.5, **options: Any) -> LiveView:
    """Show something here, and again every `interval` seconds, until it ends.

    A thread looks at it and updates the output of this cell, while other cells run. It
    ends when the cell runs again, when the object is closed or its process exits, when
    the kernel ends, and on `stop()`.

    Args:
        shown: An object that has a view, with the options of that view; a view; or
            a function without arguments, whose results are displayed as IPython
            displays them. It is called in the thread of the view (Matplotlib's
            `Figure` is safe there, its `pyplot` is not). StopIteration from it ends
            the view; any other exception is shown, and ends it too.
        interval: Seconds between looks.

    Raises:
        TypeError: there is no view of this object.
        RuntimeError: there is no IPython here.

    It keeps the object alive while it runs. A look at a mapping of a file, or at a
    `Snapshot`, is a short call of another thread, during which `close` raises
    BufferError. It does not wait for a whole record: the one before stays, and the view
    says so after a second.
    """
    if not interval > 0:
        raise ValueError("interval must be a number of seconds above 0")
    look: _Look
    if callable(shown) and not isinstance(shown, View):
        if options:
            raise TypeError("options are for views, and this is a function")
        look = _FunctionLook(shown)
    else:
        look = _ViewLook(view_of(shown, **options), interval)
    try:
        cell = _current_cell()
        display = importlib.import_module("IPython.display").display
    except ImportError:
        raise RuntimeError(
            "live() needs IPython: pip install winipc[jupyter]"
        ) from None
    first = look()
    # The handle is None where nothing can be displayed.
    handle = display(first, display_id=True)
    view = LiveView(look, handle, interval, cell)
    with _lock:
        _views.add(view)
    view._start(_key_of(first))
    return view


class LiveView:
    """What `live` gives. Any thread may use it."""

    def __init__(
        self, look: _Look, handle: Any, interval: float, cell: _Cell | None
    ) -> None:
        self.interval = interval
        #: How often the output was updated because something was new.
        self.updates = 0
        #: Why it ended; None while it runs.
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

    def _start(self, key: Any) -> None:
        self._thread = threading.Thread(
            target=self._run, args=(key,), name="winipc live view", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the updates; the output stays. More calls do nothing."""
        self._stop("stopped")

    def _stop(self, why: str) -> None:
        with self._change:
            self._stopping = self._stopping or why
            self._change.notify_all()
        if self._thread not in (None, threading.current_thread()):
            assert self._thread is not None
            self._thread.join(_LAST_LOOK)

    def wait(self, timeout: float | None = None, *, updates: int | None = None) -> bool:
        """Wait at most `timeout` seconds for its end; whether it came.

        With `updates`, it is enough that the output was updated so many times in
        all. This number was the first argument once, which now is the time-out as
        in every other `wait`. Ctrl+C gets in within a moment.
        """

        def reached() -> bool:
            enough = updates is not None and self.updates >= updates
            return enough or not self.running

        with self._change:
            return wait_until(self._change, reached, timeout)

    def _run(self, key: Any) -> None:
        reason = "stopped"
        try:
            while (end := self._pause()) is None:
                new = self._look()
                if (new_key := _key_of(new)) != key:
                    key = new_key
                    self._show(new)
                if (end := self._look.gone()) is not None:
                    break
            reason = end or reason
        except StopIteration:
            reason = "finished"
        except BaseException as error:
            reason = f"{type(error).__name__}: {error}"
        finally:
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
        # A cell that runs again has lost its output.
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


class _Html:
    """HTML that is displayed as it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def _repr_html_(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return "<winipc live view>"


def _key_of(shown: Any) -> Any:
    """Equal for HTML that is the same; any other object counts as new."""
    return shown.text if isinstance(shown, _Html) else object()


class _Look:
    """Looks once: a call gives what to display."""

    def __call__(self) -> Any:
        raise NotImplementedError

    def gone(self) -> str | None:
        return None

    def last(self, reason: str) -> Any:
        """What to display at the end; None to leave what is there."""
        return None

    def close(self) -> None:
        """Let go of what was opened for looking."""


class _ViewLook(_Look):
    """A view in a frame that says whether it is still updated."""

    def __init__(self, view: View, interval: float) -> None:
        self._view = view
        self._own, self._process = _for_thread(view)
        self._interval = interval
        self._html = ""

    def __call__(self) -> Any:
        if (reason := self._view.gone()) is None:
            self._html = self._own.html()
            return self._framed("#2b8a3e", f"live, every {self._interval:g} s")
        return self.last(reason)

    def gone(self) -> str | None:
        return self._view.gone()

    def last(self, reason: str) -> Any:
        if self._view.gone() is not None and not self._html:
            self._html = self._view.html()
        return self._framed("#868e96", f"not live any more: {reason}")

    def close(self) -> None:
        if self._process is not None:
            self._process.close()

    def _framed(self, colour: str, state: str) -> _Html:
        return _Html(
            f"<div style='font-size:11px'><span style='color:{colour}'>●</span> "
            f"{escape(state)}</div>{self._html}"
        )


class _FunctionLook(_Look):
    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __call__(self) -> Any:
        return self._function()

    def last(self, reason: str) -> Any:
        if reason in ("stopped", "finished"):
            return None
        return _Html(f"<div>not live any more: {escape(reason, 600)}</div>")


def _for_thread(view: View) -> tuple[View, RemoteProcess | None]:
    """A view for the thread that looks, and what it owns of its own.

    A process has a handle for each of the two threads, since `close` refuses while a
    call of the other is at work. A snapshot is not waited for: the owner's `close`
    would be refused for as long as a record is not whole.
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


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell of a notebook: its id where the front end tells it, and its text."""

    id: str | None
    text: str

    def is_run_again_by(self, other: _Cell) -> bool:
        if self.id is not None and other.id is not None:
            return self.id == other.id
        return self.text == other.text


#: The cell that runs, if the hook below has seen it.
_running: _Cell | None = None
_hooked: Any = None


def _current_cell() -> _Cell | None:
    """The cell that runs now; a hook sees each later one before it runs."""
    global _hooked
    shell = importlib.import_module("IPython").get_ipython()
    if shell is None:
        return None
    if _hooked is not shell:
        shell.events.register("pre_run_cell", _before_cell)
        _hooked = shell
        return _cell_of_kernel(shell)
    return _running or _cell_of_kernel(shell)


def _cell_of_kernel(shell: Any) -> _Cell | None:
    """The cell of the request that the kernel is carrying out."""
    try:
        request = shell.get_parent()
        return _Cell(request["metadata"].get("cellId"), request["content"]["code"])
    except (AttributeError, KeyError, TypeError):
        return None


def _before_cell(info: Any) -> None:
    """A cell that runs again ends the views of its former run."""
    global _running
    cell = _Cell(getattr(info, "cell_id", None), info.raw_cell or "")
    _running = cell
    _stop_those(
        lambda view: view._cell is not None and view._cell.is_run_again_by(cell),
        _RUN_AGAIN,
    )
