"""`Player`: the double of a recorded program.

It owns mappings, events and windows like those of the program. One thread changes them,
at the pace of the recording or step by step; it also owns the mutexes that the program
held. The windows answer on their own threads.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from winipc import _core
from winipc._bridge import Bridge
from winipc._bridge import bridge as make_bridge
from winipc.base.closing import ClosedAtExit
from winipc.base.deadline import wait_until
from winipc.cassette.cassette import Cassette
from winipc.cassette.events import (
    STATES,
    CassetteError,
    CassetteEvent,
    ChangeEvent,
    MessageEvent,
    StateEvent,
    Track,
)
from winipc.cassette.messages import (
    Answers,
    Match,
    TrackWindow,
    delivered,
    exchange_receiver,
    heard,
    number_of,
    reply_window,
)
from winipc.errors import add_hint, unhint_taken
from winipc.exchange import Delivery, Receiver
from winipc.memory.mapping import SharedMapping
from winipc.message import (
    Message,
    broadcast_message,
    find_window,
    post_message,
    send_copydata,
    send_message,
)
from winipc.message.lookup import window_of
from winipc.message.message import WM_COPYDATA
from winipc.sync import Event, Mutex, Semaphore

__all__ = ["Player"]

#: Seconds by which a wait for a condition may be late: it ends earlier, then sleeps.
_COARSE = 0.02
#: An answer that took less is given at once.
_NOTICED_NS = 20_000_000
#: The most bytes of messages, and the most messages, that a player keeps in memory.
_MOST_KEPT = 256 << 20
_MOST_MESSAGES = 1_000_000
#: Seconds for a client to take a message, or to release a mutex.
_PATIENCE = 5.0

_TAKEN_HINT = (
    "the program itself, another player, or a program that uses the name still has it: "
    "end that program, or play under other names (names=)"
)


class Player(ClosedAtExit):
    """The double of a recorded program; `Cassette.play` makes it.

    Any thread may call its methods. The end of a `with` closes it and, without an
    exception, calls `check`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Cassette,
        *,
        speed: float | None,
        match: Match,
        repeat: bool,
        loop: bool,
        names: Mapping[str, str] | None,
        bridge: bool,
    ) -> None:
        """See `Cassette.play`, which has the defaults."""
        if speed is not None and not speed > 0:
            raise ValueError("speed is above 0, or None for steps")
        self.cassette = path if isinstance(path, Cassette) else Cassette(path)
        self.speed = speed
        #: What was not as recorded: a text of several lines for each deviation.
        self.unexpected: list[str] = []
        self._loop = loop
        self._names = names or {}
        known = {
            name
            for track in self.cassette.tracks
            for name in (track.name, track.class_name, track.mapping)
        }
        if unknown := set(self._names) - known:
            names_there = ", ".join(sorted(filter(None, known)))
            raise ValueError(
                f"the cassette has nothing called {sorted(unknown)}; there is "
                f"{names_there or 'nothing with a name'}"
            )
        self._answers: dict[int, Answers] = {}
        self._objects: dict[int, Any] = {}
        self._states: dict[int, int] = {}
        self._error: BaseException | None = None
        # Guards all below; notified when there is work, and when it is done.
        self._changed = threading.Condition()
        self._jobs: list[Callable[[], None]] = []
        self._replies: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._events: Iterator[CassetteEvent] = iter(())
        self._next: CassetteEvent | None = None
        self._at_ns = 0  # the time of the last event that was played
        self._ended = False
        #: The number of changes, states and unasked messages that were played.
        self.events = 0
        self._origin = 0.0  # the moment of time 0 of the recording
        self._frozen_at: float | None = None
        self._closed = False
        self._collect(match, repeat)
        self._thread = threading.Thread(
            target=self._run, name="winipc player", daemon=True
        )
        tracks = list(enumerate(self.cassette.tracks))
        with ExitStack() as undo:
            for index, track in tracks:
                if track.kind == "mapping" or track.kind in STATES:
                    made = self._make(track, bridge)
                    undo.callback(made.close)
                    self._objects[index] = (
                        made.mapping if isinstance(made, Bridge) else made
                    )
            self._thread.start()
            undo.callback(self._thread.join)
            undo.callback(self._end)
            # The first contents are there before the windows are.
            self._ask(lambda: self._move_to(0))
            for index, track in tracks:
                if track.kind in ("window", "exchange"):
                    self._objects[index] = self._make_window(index, track)
                    undo.callback(self._objects[index].close)
            undo.callback(self._end)  # so that handlers end their pauses
            self._undo = undo.pop_all()
            self._open_until_exit()

    def _collect(self, match: Match, repeat: bool) -> None:
        """Read all messages into memory, for the answers to clients."""
        kept = count = 0
        for index in range(len(self.cassette.tracks)):
            self._answers[index] = Answers(match, repeat)
        for event in self.cassette:
            if isinstance(event, MessageEvent):
                kept += len(event.data)
                count += 1
                if kept > _MOST_KEPT or count > _MOST_MESSAGES:
                    raise CassetteError(
                        f"{self.cassette.path!r} has more messages than fit in memory"
                    )
                self._answers[event.track].add(event)

    # -------------------------------------------------------------- the objects

    def _name(self, name: str) -> str:
        return self._names.get(name, name)

    def _make(self, track: Track, bridge: bool) -> Any:
        name = self._name(track.name)
        try:
            if track.kind == "mapping":
                make = make_bridge if bridge else SharedMapping.create
                return make(name, track.size)
            if track.kind == "event":
                return Event.create(name, manual=track.manual)
            if track.kind == "mutex":
                return Mutex.create(name)
            return Semaphore.create(name, 0, track.maximum)
        except FileExistsError as error:
            unhint_taken(error)
            add_hint(error, _TAKEN_HINT)
            raise

    def _make_window(self, index: int, track: Track) -> TrackWindow | Receiver:
        title, class_name = self._name(track.name), track.class_name
        if class_name is not None:
            class_name = self._name(class_name)
        for names in ((title, None), (None, class_name)):
            if any(names) and find_window(*names) is not None:
                text = f"there is a {window_of(*names)}"
                error = FileExistsError(0, text, None, 183)
                add_hint(error, _TAKEN_HINT)
                raise error
        if track.kind == "exchange":
            track = replace(track, mapping=self._name(track.mapping or ""))
            return exchange_receiver(
                track, title, lambda delivery: self._take(index, delivery)
            )
        return TrackWindow(
            replace(track, name=title, class_name=class_name),
            lambda message: self._answer(index, track, message),
        )

    # ------------------------------------------------------------------- clients

    def _answer(self, index: int, track: Track, message: Message) -> int:
        """Answer like the program, on a window's thread."""
        arrived = time.perf_counter()
        came = heard(track, index, message)
        answers, found = self._answers[index], self._found(index, came)
        if found is None:
            return 0
        client = reply_window(track, message)
        window = self._objects.get(index)
        for out in answers.sent_for(found) if client else ():
            if out.time_ns <= found.time_ns:  # while the client waited for the answer
                self._pause(arrived, out.came_ns - found.came_ns)
                self._send(out, client, window)
            else:
                late = (out.came_ns - found.came_ns) / 1e9 / (self.speed or math.inf)
                self._reply_at(arrived + late, out, client, window)
        self._work(arrived, index, found)
        return found.answer

    def _take(self, index: int, delivery: Delivery) -> int:
        """Answer a delivery like the program, on a receiver's thread."""
        arrived = time.perf_counter()
        found = self._found(index, delivered(index, delivery, 0))
        if found is None:
            return 0
        self._work(arrived, index, found)
        return max(found.answer, 0)

    def _found(self, index: int, came: MessageEvent) -> MessageEvent | None:
        """The recorded message that answers a live one; None if it is unexpected."""
        answers = self._answers[index]
        try:
            found = answers.take(came)
        except BaseException as error:  # from the owner's match function
            self._fail(error)
            return None
        if found is None:
            track = self.cassette.tracks[index]
            name = self._name(track.name or track.class_name or "")
            self.unexpected.append(answers.complaint(came, name))
        return found

    def _work(self, arrived: float, index: int, found: MessageEvent) -> None:
        """Wait until the answer has taken as long as the program took."""
        if (work_ns := self._answers[index].work_ns(found)) >= _NOTICED_NS:
            self._pause(arrived, work_ns)

    def _pause(self, arrived: float, delay_ns: int) -> None:
        """Wait until `delay_ns` after the arrival, at the speed of the player."""
        if self.speed is not None:
            until = arrived + delay_ns / 1e9 / self.speed
            while not self._closed and (left := until - time.perf_counter()) > 0:
                time.sleep(min(left, _COARSE))

    def _reply_at(self, when: float, out: MessageEvent, client: int, own: Any) -> None:
        job = (when, next(self._order), lambda: self._send(out, client, own))
        with self._changed:
            heapq.heappush(self._replies, job)
            self._changed.notify_all()

    def _send(self, out: MessageEvent, to: Any, sender: Any) -> None:
        """Send what the program sent; note in `unexpected` if the client refuses it."""
        try:
            if out.message == WM_COPYDATA:
                options: Any = {"id": out.id, "sender": sender, "check": False}
                send_copydata(to, out.data, timeout=_PATIENCE, **options)
            elif out.posted:
                post_message(to, number_of(out.message), out.wparam, out.lparam)
            else:
                number = number_of(out.message)
                send_message(to, number, out.wparam, out.lparam, timeout=_PATIENCE)
        except (OSError, ValueError) as error:
            self.unexpected.append(f"{to!r} did not take what was sent: {error}")

    # ---------------------------------------------------------------- the thread

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._closed and not self._jobs:
                    break
                job, left = self._due()
                if job is None and left > _COARSE:
                    self._changed.wait(min(left - _COARSE, threading.TIMEOUT_MAX))
                    continue
            if job is None:
                time.sleep(max(left, 0))
                continue
            try:
                job()
            except BaseException as error:
                self._fail(error)
            with self._changed:
                self._changed.notify_all()
        for index, track in enumerate(self.cassette.tracks):
            if track.kind == "mutex" and self._states.get(index):
                self._objects[index].release()

    def _due(self) -> tuple[Callable[[], object] | None, float]:
        """The job to do now, or None and the seconds until the next job."""
        if self._jobs:
            return self._jobs.pop(0), 0
        now, left = time.perf_counter(), math.inf
        if self._replies:
            left = self._replies[0][0] - now
            if left <= 0:
                return heapq.heappop(self._replies)[2], 0
        if self.speed is None or self._frozen or self._ended or self._error:
            return None, left
        following = self._next
        time_ns = self.cassette.duration_ns if following is None else following.time_ns
        due = self._origin + time_ns / 1e9 / self.speed - now
        return (self._advance, 0) if due <= 0 else (None, min(left, due))

    @property
    def _frozen(self) -> bool:
        return self._frozen_at is not None

    def _ask(self, job: Callable[[], Any]) -> Any:
        """Let the thread do a job, and return its result. Ctrl+C ends the wait."""
        done: list[tuple[Any, BaseException | None]] = []

        def run() -> None:
            try:
                done.append((job(), None))
            except BaseException as error:
                done.append((None, error))

        with self._changed:
            if self._closed:
                raise ValueError("the player is closed")
            self._jobs.append(run)
            self._changed.notify_all()
            wait_until(self._changed, lambda: done, None)
        result, error = done[0]
        if error is not None:
            raise error
        return result

    # -------------------------------------------------------------- the timeline

    def _find_next(self) -> None:
        """Find the next event that does not wait for a client's message."""
        self._next = None
        for event in self._events:
            if not isinstance(event, MessageEvent) or (
                event.way == "out" and event.to is None
            ):
                self._next = event
                return

    def _advance(self) -> CassetteEvent | None:
        """Play the next event, with all parts of a change."""
        event = self._next
        if event is None:  # the end of the recording
            if not self._loop or not self.cassette.duration_ns:
                self._at_ns, self._ended = self.cassette.duration_ns, True
                return None
            self._move_to(0)
            if self.speed is not None or self._next is None:
                return None
            event = self._next
        self._play(event)
        self._at_ns = event.time_ns
        self.events += 1
        while isinstance(self._next, ChangeEvent) and self._next.more:
            self._find_next()
            if self._next is not None:
                self._play(self._next)
        self._find_next()
        return event

    def _play(self, event: CassetteEvent) -> None:
        track = self.cassette.tracks[event.track]
        if isinstance(event, ChangeEvent):
            for offset, data in event.changes:
                self._objects[event.track].write(data, offset)
        elif isinstance(event, StateEvent):
            self._set_state(event.track, track, event.state)
        elif track.kind == "broadcast":
            broadcast_message(event.message, event.wparam, event.lparam)
        else:
            windows = (self._objects.get(i) for i in self._answers)
            own = next((w for w in windows if isinstance(w, TrackWindow)), None)
            title, class_name = self._name(track.name), track.class_name
            self._send(event, title or (None, self._name(class_name or "")), own)

    def _set_state(self, index: int, track: Track, state: int) -> None:
        what = self._objects[index]
        before = self._states.get(index, 0)
        self._states[index] = state
        if track.kind == "event":
            # A waiting thread resets an auto-reset event.
            if state:
                what.set()
            elif track.manual:
                what.reset()
        elif track.kind == "mutex" and state != before:
            if not state:
                what.release()
            elif not what.acquire(_PATIENCE, "accept"):
                self._states[index] = 0
                name = self._name(track.name)
                self.unexpected.append(f"a client keeps the mutex {name!r}")
        elif track.kind == "semaphore":
            for _ in range(what.value - state):
                what.acquire(0)
            if (more := state - what.value) > 0:
                what.release(more)

    def _move_to(self, time_ns: int) -> None:
        """Set each object to its state at this time, in one step."""
        tracks = list(enumerate(self.cassette.tracks))
        states = {index: 0 for index, track in tracks if track.kind in STATES}
        memories = {
            index: bytearray(track.size)
            for index, track in tracks
            if track.kind == "mapping" and self.events  # else the mapping is new
        }
        self._events = iter(self.cassette)
        self._find_next()
        while self._next is not None and self._next.time_ns <= time_ns:
            event = self._next
            if isinstance(event, ChangeEvent):
                size = self.cassette.tracks[event.track].size
                memory = memories.setdefault(event.track, bytearray(size))
                for offset, data in event.changes:
                    memory[offset : offset + len(data)] = data
            elif isinstance(event, StateEvent):
                states[event.track] = event.state
            self.events += not (isinstance(event, ChangeEvent) and event.more)
            self._find_next()
        for index, memory in memories.items():
            mapping = self._objects[index]
            for at, data in _core._changes(mapping.read(len(memory)), memory, 0):
                mapping.write(data, at)
        for index, state in states.items():
            self._set_state(index, self.cassette.tracks[index], state)
        with self._changed:
            self._at_ns, self._ended = time_ns, False
            moment = time_ns / 1e9 / (self.speed or math.inf)
            self._origin = time.perf_counter() - moment
            if self._frozen:
                self._frozen_at = moment

    # ------------------------------------------------------------- for the owner

    def step(self) -> CassetteEvent | None:
        """Play the next event, and return it; None if there is none.

        The event is a change, a state, or a message that no client asks for. When
        `step` returns, other processes see it. Clients' messages are answered at any
        time.
        """
        event: CassetteEvent | None = self._ask(self._advance)
        self._raise_error()
        return event

    def seek(self, seconds: float) -> None:
        """Go to a time of the recording: memory and states become what they were then.

        Messages in between are not sent, and answered messages stay answered.
        """
        if not seconds >= 0:
            raise ValueError("a time is 0 or more seconds")
        end = self.cassette.duration_ns
        self._ask(lambda: self._move_to(round(min(seconds * 1e9, end))))

    def freeze(self) -> None:
        """Stop the clock until `resume`: nothing changes, but messages are answered."""
        with self._changed:
            if self._frozen_at is None:
                self._frozen_at = time.perf_counter() - self._origin
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on from where `freeze` stopped."""
        with self._changed:
            if self._frozen_at is not None:
                self._origin = time.perf_counter() - self._frozen_at
                self._frozen_at = None
            self._changed.notify_all()

    @property
    def position(self) -> float:
        """The player's time in the recording, in seconds."""
        with self._changed:
            if self.speed is None or self.finished:
                return self._at_ns / 1e9
            passed = self._frozen_at
            if passed is None:
                passed = time.perf_counter() - self._origin
            return min(passed * self.speed, self.cassette.duration_ns / 1e9)

    @property
    def finished(self) -> bool:
        """Whether the recording is at its end and every answer has been sent."""
        over = self._ended or (self.speed is None and self._next is None)
        return over and not self._replies and not self._loop

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all is played; False if `timeout` seconds passed first."""
        with self._changed:
            done = wait_until(
                self._changed, lambda: self.finished or self._error, timeout
            )
        self._raise_error()
        return done

    def idle(self, timeout: float) -> None:
        """Let `timeout` seconds pass; Ctrl+C ends the wait."""
        with self._changed:
            wait_until(self._changed, lambda: self._closed, timeout)

    @property
    def played(self) -> int:
        """The number of clients' messages that were answered as recorded."""
        return sum(answers.played for answers in self._answers.values())

    def unplayed(self) -> list[MessageEvent]:
        """The recorded messages to the program that no client has sent yet."""
        return [event for one in self._answers.values() for event in one.unplayed()]

    def check(self) -> None:
        """Raise AssertionError if there is anything in `unexpected`."""
        __tracebackhide__ = True  # pytest shows the test's line
        self._raise_error()
        if self.unexpected:
            raise AssertionError("\n".join(self.unexpected))

    def _fail(self, error: BaseException) -> None:
        """Keep an error, which the owner's next call raises."""
        with self._changed:
            self._error = self._error or error
            self._changed.notify_all()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _end(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def close(self) -> None:
        """End the double, and free its names; may be called twice."""
        self._undo.close()

    def __exit__(self, *exc: object) -> None:
        __tracebackhide__ = True  # pytest shows the test's line
        self.close()
        if not any(exc):
            self.check()

    def __repr__(self) -> str:
        return f"<Player of {self.cassette.path!r} at {self.position:.3f} s>"
