"""Receivers and windows that stay open when their cell runs again.

A notebook's cells run again and again, but a second `Receiver` with the same title is
an error while the first is open. So the functions here return the object that is open
with a title.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from winipc.base.deadline import Deadline
from winipc.exchange import Receiver
from winipc.message import CopyDataWindow

#: Seconds that the exit of Python waits for handlers.
_EXIT_WAIT = 5.0


def receiver(title: str, **options: Any) -> Receiver:
    """Return the open `Receiver` with this title, or a new one.

    A cell that runs again gets the same receiver, with all messages that came in
    between. Functions such as `accept` are replaced by those given now. For other
    options, close the receiver first; messages that it took can still be received.

    Raises:
        ValueError: A receiver with this title is open with other options, or a `window`
            with this title is open.
        OSError: As `Receiver` does.
    """
    kept: Receiver = _kept(Receiver, Receiver, title, options)
    return kept


def window(title: str, **options: Any) -> CopyDataWindow:
    """Return the open `CopyDataWindow` with this title, or a new one.

    It works like `receiver`, with the options of `CopyDataWindow.create`. Functions
    (`handler`, `accept`) are replaced. Decorators such as `@window.on(7)` replace the
    handler that their former run registered.

    Raises:
        ValueError: A window with this title is open with other options, or a `receiver`
            with this title is open.
        OSError: As `CopyDataWindow.create` does.
    """
    kept: CopyDataWindow = _kept(CopyDataWindow, CopyDataWindow.create, title, options)
    return kept


@dataclass
class _Kept:
    """An open object, its options, and its functions, which can be replaced."""

    options: dict[str, Any]
    functions: dict[str, Callable[..., Any]]
    made: Any = None

    def call(self, name: str, *args: Any) -> Any:
        return self.functions[name](*args)


_lock = threading.Lock()
#: Receivers and windows by title, as senders find either by its title.
_all_kept: dict[str, _Kept] = {}


def _kept(
    kind: type[Any],
    make: Callable[..., Any],
    title: str,
    options: dict[str, Any],
) -> Any:
    functions = {name: value for name, value in options.items() if callable(value)}
    others = {name: value for name, value in options.items() if name not in functions}
    with _lock:
        # FindWindow ignores the case of titles.
        former = _all_kept.get(title.casefold())
        if former is not None and former.made.closed:
            former = None
        if former is None:
            new = _Kept(others, functions)
            calls = {name: partial(new.call, name) for name in functions}
            new.made = make(title, **others, **calls)
            _all_kept[title.casefold()] = new
            return new.made
        if not isinstance(former.made, kind):
            raise ValueError(
                f"{former.made!r} is open and has this title, by which senders would "
                f"find either: close() it first, or give the {kind.__name__} another"
            )
        if former.options != others or former.functions.keys() != functions.keys():
            raise ValueError(
                f"{former.made!r} is open with other options: close() it first"
            )
        former.functions = functions
        return former.made


@atexit.register
def _close_at_exit() -> None:
    """Close all, with one deadline for all running handlers."""
    deadline = Deadline(_EXIT_WAIT)
    with _lock:
        for kept in _all_kept.values():
            with contextlib.suppress(Exception):
                kept.made.close(deadline.left())
