"""The values of `Peer(ready=...)`: when a peer is ready."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

from winipc.memory.mapping import SharedMapping
from winipc.message import Window
from winipc.sync import Event, Mutex, Semaphore

if TYPE_CHECKING:
    from winipc.testing.peer import Peer


class ReadyNames(TypedDict, total=False):
    """Names of objects that a peer creates: it is ready when all exist."""

    #: The name of a shared memory mapping.
    mapping: str
    #: The name of an event.
    event: str
    #: The name of a mutex.
    mutex: str
    #: The name of a semaphore.
    semaphore: str
    #: The title of a window.
    title: str
    #: The class of a window; with `title`, one window must have both.
    class_name: str


Ready: TypeAlias = "str | re.Pattern[str] | ReadyNames | Callable[[Peer], object]"

#: A check: whether a condition becomes true within this many seconds.
_Check: TypeAlias = Callable[[float], bool]

#: Seconds between two calls of the function that says whether the peer is ready.
_POLL = 0.02

_OBJECTS: dict[str, type[Any]] = {
    "mapping": SharedMapping,
    "event": Event,
    "mutex": Mutex,
    "semaphore": Semaphore,
}
_WINDOW = ("title", "class_name")


def conditions(peer: Peer, ready: Ready) -> Iterator[tuple[str, _Check]]:
    """The conditions to wait for, one after the other: a text and a check of each."""
    __tracebackhide__ = True
    if isinstance(ready, str):
        yield f"line {ready!r}", _line(peer, ready.__eq__)
    elif isinstance(ready, re.Pattern):
        yield f"line with {ready.pattern!r}", _line(peer, ready.search)
    elif callable(ready):
        yield getattr(ready, "__name__", repr(ready)), _truth(peer, ready)
    else:
        names: dict[str, Any] = dict(ready)
        for unknown in names.keys() - {*_OBJECTS, *_WINDOW}:
            known = ", ".join((*_OBJECTS, *_WINDOW))
            raise TypeError(f"ready may have {known}, not {unknown!r}")
        window = {key: names.pop(key) for key in _WINDOW if key in names}
        for kind, name in names.items():
            yield f"{kind} {name!r}", _object(_OBJECTS[kind], name)
        if window:
            text = " and ".join(f"{key} {value!r}" for key, value in window.items())
            yield f"window with {text}", _window(window)


def _line(peer: Peer, matches: Callable[[str], object]) -> _Check:
    """A check for a line of either stream; lines of stdout up to it count as read."""
    looked = {"stdout": 0, "stderr": 0}

    def printed() -> bool:
        for name in looked:
            for line in getattr(peer, name)[looked[name] :]:
                looked[name] += 1
                if matches(line.removesuffix("\n")):
                    for _ in range(looked["stdout"] if name == "stdout" else 0):
                        peer.read_line(0)
                    return True
        return False

    return lambda seconds: peer._wait_for_output(printed, seconds)


def _truth(peer: Peer, ready: Callable[[Peer], object]) -> _Check:
    def check(seconds: float) -> bool:
        __tracebackhide__ = True
        with contextlib.suppress(FileNotFoundError):
            if ready(peer):
                return True
        time.sleep(min(seconds, _POLL))
        return False

    return check


def _object(kind: type[Any], name: str) -> _Check:
    def check(seconds: float) -> bool:
        __tracebackhide__ = True
        with contextlib.suppress(TimeoutError):
            kind.wait_for(name, seconds).close()
            return True
        return False

    return check


def _window(what: dict[str, Any]) -> _Check:
    def check(seconds: float) -> bool:
        __tracebackhide__ = True
        with contextlib.suppress(TimeoutError):
            Window.wait_for(timeout=seconds, **what)
            return True
        return False

    return check
