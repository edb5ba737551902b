"""`Recorder`: reads a live program's memory and objects, and records what changes.

One thread reads them, some times a second and whenever one of the events is set. The
program does not notice that, but its mappings stay open until the end. Messages come
through windows that stand before the program's: `winipc.cassette.proxy`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar

from winipc import _core
from winipc.base.appearing import wait_until_made
from winipc.base.closing import ClosedAtExit
from winipc.base.deadline import SLICE, Deadline
from winipc.cassette.cassette import Cassette
from winipc.cassette.events import (
    CassetteEvent,
    ChangeEvent,
    Changes,
    MessageEvent,
    StateEvent,
    Track,
)
from winipc.cassette.file import Writer
from winipc.cassette.messages import Answers
from winipc.cassette.proxy import ExchangeProxy, Proxy
from winipc.errors import add_hint
from winipc.memory.mapping import SharedMapping
from winipc.message import Window
from winipc.sync import Event, Mutex, Semaphore, SyncAccess, wait_any

__all__ = ["Recorder"]

_T = TypeVar("_T")

#: Windows to record: each is a title, a pair (title, class) of which one may be None,
#: or a track.
Windows: TypeAlias = "Iterable[str | tuple[str | None, str | None] | Track]"
#: A function that returns the event to keep, or None.
Filter: TypeAlias = Callable[[CassetteEvent], CassetteEvent | None]

#: Up to this many equal bytes between two changes cost less than another range.
_JOIN = 16
#: Seconds between two looks at an event that is set, and the longest pause.
_SHORT = 0.005
_LONG = 0.25

_LOOK = SyncAccess.SYNCHRONIZE | SyncAccess.QUERY_STATE


class Memory(Protocol):
    """Bytes that change."""

    @property
    def size(self) -> int: ...
    def read_into(self, buffer: bytearray, /) -> int: ...
    def close(self) -> None: ...


class _Changes:
    """A mapping, and its contents at the last look."""

    def __init__(self, name: str, memory: Memory) -> None:
        self.memory = memory
        self.track = Track("mapping", name, size=memory.size)
        self._old = bytearray(memory.size)
        self._new = bytearray(memory.size)

    def look(self) -> Changes:
        """The changes since the last look."""
        self.memory.read_into(self._new)
        found = tuple(_core._changes(self._old, self._new, _JOIN))
        if found:
            self._old, self._new = self._new, self._old
        return found


class _State:
    """An event, a mutex or a semaphore, and its state at the last look."""

    def __init__(self, kind: str, name: str, timeout: float | None) -> None:
        cls: Any = {"event": Event, "mutex": Mutex, "semaphore": Semaphore}[kind]
        self.object = opened(lambda: cls.open(name, access=_LOOK), name, timeout)
        self.track = Track(kind, name)
        if kind == "event":
            self.track = replace(self.track, manual=bool(self.object.manual))
        elif kind == "semaphore":
            self.track = replace(self.track, maximum=self.object.maximum)
        self.state = -1

    def look(self) -> int:
        if self.track.kind == "event":
            return int(self.object.is_set())
        return int(
            self.object._taken if self.track.kind == "mutex" else self.object.value
        )


def opened(open_it: Callable[[], _T], name: str, timeout: float | None) -> _T:
    """Call `open_it`, until it finds the name or `timeout` seconds have passed."""
    return open_it() if timeout == 0 else wait_until_made(open_it, name, timeout)


class Recorder(ClosedAtExit):
    """A recording that goes on until it is closed; `Cassette.record` makes it.

    If an error ended the recording early, `close` raises it. Any thread may close it.
    Without that, it is closed when Python ends.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mappings: Iterable[str | tuple[str, Memory]],
        windows: Windows,
        clients: Windows,
        broadcasts: Iterable[int | str],
        exchanges: Iterable[str | Track],
        events: Iterable[str],
        mutexes: Iterable[str],
        semaphores: Iterable[str],
        rate: float | None,
        on: str | None,
        before_record: Filter | None,
        known: Cassette | None,
        timeout: float | None,
    ) -> None:
        """See `Cassette.record`, which has the defaults."""
        if rate is not None and not 0 < rate <= 10_000:
            raise ValueError("rate is above 0 and at most 10,000 looks a second")
        for given in (
            *(mappings, windows, clients, broadcasts, exchanges),
            *(events, mutexes, semaphores),
        ):
            if isinstance(given, str):
                raise TypeError(f"a list is needed, such as [{given!r}], not a str")
        self.path = os.fspath(path)
        self._period = None if on is not None or rate is None else 1 / rate
        self._on = on
        self._filter = before_record
        self._filtering = threading.local()
        self._error: BaseException | None = None
        with ExitStack() as undo:
            self._changes: dict[int, _Changes] = {}
            self._states: dict[int, _State] = {}
            tracks: list[Track] = []
            for one in mappings:
                name, memory = (one, None) if isinstance(one, str) else one
                if memory is None:
                    memory = opened(
                        lambda n=name: SharedMapping.open(n, access="read"),  # type: ignore[misc]
                        name,
                        timeout,
                    )
                    undo.callback(memory.close)
                changes = _Changes(name, memory)
                self._changes[len(tracks)] = changes
                tracks.append(changes.track)
            names = [("event", name) for name in dict.fromkeys([*events, on]) if name]
            names += [("mutex", name) for name in mutexes]
            names += [("semaphore", name) for name in semaphores]
            for kind, name in names:
                state = _State(kind, name, timeout)
                undo.callback(state.object.close)
                self._states[len(tracks)] = state
                tracks.append(state.track)
                if name == on and not state.track.manual:
                    raise ValueError(
                        f"{on!r} is an auto-reset event: a wait for it would take the "
                        "signal from the program that it is for"
                    )
            proxies: list[Proxy] = [
                ExchangeProxy.find("exchange", one, timeout) for one in exchanges
            ]
            proxies += [Proxy.find("window", one, timeout) for one in windows]
            proxies += [Proxy.find("client", one, timeout) for one in clients]
            if broadcasts:
                proxies.append(Proxy(Track("broadcast", messages=tuple(broadcasts))))
            self._proxies = proxies
            first = len(tracks)
            _check_twice([track.name.removeprefix("Local\\") for track in tracks])
            _check_twice([Window(proxy.hwnd) for proxy in proxies if proxy.hwnd])
            tracks += [proxy.kept_track for proxy in proxies]
            self._stop = Event.create(manual=True)
            undo.callback(self._stop.close)
            self._writer = Writer(path, tracks)
            undo.callback(self._writer.close)
            self._look(at=0)
            for index, proxy in enumerate(proxies, first):
                undo.callback(proxy.close)
                answers = _answers(known, proxy.track)
                proxy.start(index, self._add, self._writer.now, answers)
            self._thread = threading.Thread(
                target=self._run, name="winipc recorder", daemon=True
            )
            self._thread.start()
            undo.callback(self._thread.join)
            undo.callback(self._stop.set)
            self._undo = undo.pop_all()
            self._open_until_exit()

    @property
    def events(self) -> int:
        """The number of events that have been recorded."""
        return self._writer.events

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for an early end of the recording.

        True means that it has ended: `close` raises the reason.
        """
        deadline = Deadline(timeout)
        while self._thread.is_alive() and (left := deadline.part(SLICE)):
            self._thread.join(left)
        return not self._thread.is_alive()

    def close(self) -> None:
        """End the recording and its file; may be called twice.

        Raises:
            OSError: The recording ended early: the disk is full, or memory has gone.
            RuntimeError: It is called in `before_record`, or in the handler of a
                message that came through the recorder: `close` would wait for these.
        """
        if hasattr(self._filtering, "event"):
            raise RuntimeError("before_record cannot close its recorder")
        if _core._in_send():
            own = threading.get_native_id()
            real = [Window(one.hwnd) for one in self._proxies if one.hwnd]
            if any(window.thread_id == own for window in real):
                raise RuntimeError("a recorded window cannot close its recorder")
        self._undo.close()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def __exit__(self, *exc: object) -> None:
        try:
            self.close()
        except Exception as own:
            if not isinstance(exc[1], BaseException):
                raise
            add_hint(exc[1], f"the recording ended early: {own}")

    def __repr__(self) -> str:
        return f"<Recorder of {self.path!r}, {self.events} events>"

    # ------------------------------------------------------------------ the looks

    def _add(self, event: CassetteEvent, at: int | None = None) -> None:
        """Record an event; a failure ends only the recording."""
        if self._error is not None:
            return
        try:
            kept = event if self._filter is None else self._filtered(event)
            if kept is not None:
                if at is not None:
                    kept = replace(kept, time_ns=at)
                self._writer.add(kept, stamp=at is None)
        except BaseException as error:
            self._error = error

    def _filtered(self, event: CassetteEvent) -> CassetteEvent | None:
        """Call the owner's function, and check that a reader accepts its event."""
        assert self._filter is not None
        self._filtering.event = event
        try:
            kept = self._filter(event)
        finally:
            del self._filtering.event
        if kept is None or kept is event:
            return kept
        if type(kept) is not type(event) or kept.track != event.track:
            raise ValueError(f"before_record made {kept!r} of {event!r}")
        track = self._writer.tracks[event.track]
        return kept.from_json(event.time_ns, event.track, track, kept.as_json())

    def _look(
        self, woken: object = None, *, memory: bool = True, at: int | None = None
    ) -> None:
        """Record what has changed since the last look."""
        # Look at states first. Then memory that was written before an event was set is
        # recorded with the event.
        states = {
            index: 1 if one.object is woken else one.look()
            for index, one in self._states.items()
        }
        for index, changes in self._changes.items() if memory else ():
            found = changes.look()
            if found or at is not None:
                self._add(ChangeEvent(0, index, found), at)
        for index, state in states.items():
            if state != self._states[index].state:
                self._states[index].state = state
                self._add(StateEvent(0, index, state), at)

    def _run(self) -> None:
        try:
            self._follow()
            self._look()
        except BaseException as error:
            self._error = self._error or error

    def _follow(self) -> None:
        period = self._period
        due = time.perf_counter() + (period or 0)
        while self._error is None:
            events = [s for s in self._states.values() if s.track.manual]
            waits = [self._stop, *(s.object for s in events if not s.state)]
            pause = _LONG if period is None else due - time.perf_counter()
            if any(s.state for s in events):
                pause = min(pause, _SHORT)
            try:
                woken = wait_any(waits, min(max(pause, 0), _LONG))
            except TimeoutError:
                woken = None
            if woken is self._stop:
                return
            memory = woken is not None and self._on in (None, woken.name)
            if period is not None and time.perf_counter() >= due:
                due = max(due + period, time.perf_counter())
                memory = True
            self._look(woken, memory=memory)
            self._writer.flush_if_due()


def _check_twice(given: list[Any]) -> None:
    for one in given:
        if given.count(one) > 1:
            raise ValueError(f"{one!r} is to be recorded twice")


def _answers(known: Cassette | None, track: Track) -> Answers | None:
    """The answers of a cassette for the window with this title."""
    if known is None or track.kind not in ("window", "exchange"):
        return None
    for index, one in enumerate(known.tracks):
        if (one.kind, one.name) == (track.kind, track.name):
            answers = Answers("strict", False)
            for event in known:
                if event.track == index and isinstance(event, MessageEvent):
                    answers.add(event)
            return answers
    return None
