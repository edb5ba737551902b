"""Live messages as events, and the recorded messages that answer them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from winipc import _core
from winipc.base.closing import Closing
from winipc.cassette.events import MessageEvent, Track
from winipc.exchange import Delivery, Receiver
from winipc.exchange.transport import DEFAULT_MAPPING, DEFAULT_MAPPING_SIZE
from winipc.message import CopyDataWindow, Message, post_message, register_message
from winipc.message.differing import Expected, described, differences
from winipc.message.message import ID_LIMIT, WM_COPYDATA

#: When a recorded message answers a live one: "strict" (all is equal), "lenient" (the
#: message, and the id of a WM_COPYDATA, are equal), or a function of both that decides.
Match: TypeAlias = str | Callable[[MessageEvent, MessageEvent], bool]

#: The bytes of a window's handle in the data of a message.
_HANDLE = 4

#: The message that comes after all that was posted to a window, and the seconds to
#: wait.
_LAST = "winipc.CassetteLast"
_PATIENCE = 5.0


class TrackWindow(Closing):
    """A window in place of a track's; it handles all that was posted to it."""

    def __init__(
        self,
        track: Track,
        handler: Callable[[Message], int],
        others: Iterable[int | range] = (),
    ) -> None:
        """`others` are messages that it takes besides those of the track."""
        self._handler = handler
        self._last = threading.Event()
        self._thread = 0  # the window's thread, once it has handled a message
        self._movable = not track.message_only
        self.window = CopyDataWindow.create(
            track.name,
            class_name=track.class_name,
            message_only=track.message_only,
            handler=self._handle,
            messages=(*track.messages, *others, _LAST),
        )

    @property
    def hwnd(self) -> int:
        """The handle of the window; 0 if it is closed."""
        return self.window.hwnd

    def to_top(self, top: bool = True) -> None:
        """Let programs that look for such a window find this one first, or last."""
        if self._movable:
            _core._window_order(self.hwnd, top)

    def _handle(self, message: Message) -> int:
        self._thread = threading.get_ident()
        if message.message == register_message(_LAST):
            self._last.set()
            return 0
        return self._handler(message)

    def close(self) -> None:
        with suppress(OSError):  # the window was destroyed, or its queue is full
            self.to_top(False)
            post_message(self.hwnd, _LAST)
            if threading.get_ident() != self._thread:
                self._last.wait(_PATIENCE)
        self.window.close()


def reply_window(track: Track, message: Message) -> int:
    """The window that a message names for its answer; 0 if it names none."""
    at = track.replies
    if not message.is_copydata or at is None:
        return 0
    if isinstance(at, str):
        named = track.kind == "window" and message.verified
        return message.sender if named else 0
    with memoryview(message) as data:
        part = data[at : at + _HANDLE]
        return int.from_bytes(part, "little") if len(part) == _HANDLE else 0


def with_reply_window(track: Track, data: bytes, hwnd: int) -> bytes:
    """The data of a message, with another window for its answer."""
    at = track.replies
    if not isinstance(at, int) or len(data) < at + _HANDLE:
        return data
    return data[:at] + hwnd.to_bytes(_HANDLE, "little") + data[at + _HANDLE :]


def heard(track: Track, index: int, message: Message, way: str = "in") -> MessageEvent:
    """The event of a live message.

    A registered message has its name, as its number differs in each session; a handle
    in the data is 0.
    """
    if message.is_copydata:
        data = with_reply_window(track, bytes(message), 0)
        return MessageEvent(
            0, index, way, id=message.id, data=data, wparam=message.sender
        )
    number: int | str = message.message
    for one in track.messages:
        if isinstance(one, str) and register_message(one) == number:
            number = one
    return MessageEvent(
        *(0, index, way, number),
        data=bytes(message),
        wparam=message.wparam,
        lparam=message.lparam,
    )


def delivered(index: int, delivery: Delivery, number: int) -> MessageEvent:
    """The event of a delivery of the exchange."""
    data, via = bytes(delivery.data), str(delivery.transport)
    return MessageEvent(0, index, data=data, via=via, number=number)


def exchange_receiver(
    track: Track, title: str, handler: Callable[[Delivery], int]
) -> Receiver:
    """A receiver in place of a track's, for all transports."""
    return Receiver(
        title,
        mapping=track.mapping or DEFAULT_MAPPING,
        mapping_size=track.size or DEFAULT_MAPPING_SIZE,
        handler=handler,
        exist_ok=True,
    )


def number_of(message: int | str) -> int:
    """The number of a message in this session."""
    return register_message(message) if isinstance(message, str) else message


class Answers:
    """The recorded messages to one track; each answers one live message."""

    def __init__(self, match: Match, repeat: bool) -> None:
        if match not in ("strict", "lenient") and not callable(match):
            raise ValueError(f"match is strict, lenient or a function, not {match!r}")
        self._match = match
        self._repeat = repeat
        self._recorded: list[MessageEvent] = []
        self._out: dict[int, list[MessageEvent]] = {}
        # For each key: the messages that were not played, and the last that was.
        self._waiting: dict[object, deque[MessageEvent]] = {}
        self._last: dict[object, MessageEvent] = {}
        self._played: set[int] = set()
        self._answered_ns = 0  # the time of the last answer that was added
        self._work_ns: dict[int, int] = {}

    def _key(self, event: MessageEvent) -> object:
        id = event.id % ID_LIMIT
        if self._match == "strict" and event.message == WM_COPYDATA:
            return id, event.data
        if self._match == "strict":
            return event.message, event.wparam, event.lparam, event.data
        return event.message, id if self._match == "lenient" else 0

    def add(self, event: MessageEvent) -> None:
        """Add the next recorded event of the track."""
        if event.way == "in":
            self._recorded.append(event)
            # A window takes one message at a time, so a message may have had to wait.
            began = max(event.came_ns, self._answered_ns)
            self._work_ns[id(event)] = event.time_ns - began
            self._answered_ns = event.time_ns
            self._waiting.setdefault(self._key(event), deque()).append(event)
        elif event.to is not None:
            self._out.setdefault(event.to, []).append(event)

    @property
    def played(self) -> int:
        """The number of recorded messages that were played."""
        return len(self._played)

    def unplayed(self) -> list[MessageEvent]:
        """The recorded messages that were not played, in order."""
        return [event for event in self._recorded if id(event) not in self._played]

    def work_ns(self, event: MessageEvent) -> int:
        """How long the program worked at its answer, in nanoseconds."""
        return self._work_ns[id(event)]

    def sent_for(self, event: MessageEvent) -> list[MessageEvent]:
        """The messages that the program sent in answer to this one."""
        return self._out.get(event.number, [])

    def take(self, came: MessageEvent) -> MessageEvent | None:
        """The first recorded message that matches and was not played, if any."""
        key, match = self._key(came), self._match
        waiting = self._waiting.get(key, deque())
        for event in waiting:
            if not callable(match) or match(event, came):
                waiting.remove(event)
                self._played.add(id(event))
                self._last[key] = event
                return event
        last = self._last.get(key)
        if self._repeat and last and (not callable(match) or match(last, came)):
            return last
        return None

    def complaint(self, came: MessageEvent, to: str) -> str:
        """How an unexpected message to `to` differs from the nearest recorded one."""
        left = self.unplayed()
        what = f"an unexpected message came to {to!r}"
        if not left:
            return (
                f"{what}: {described(_expected(came))}; all recorded ones were played"
            )
        same = [event for event in left if event.message == came.message]
        nearest = next((event for event in same if event.id == came.id), None)
        expected = nearest or (same or left)[0]
        lines = differences(
            _expected(expected), replace(came, message=number_of(came.message))
        )
        return "\n  ".join([what, *lines])


def _expected(event: MessageEvent) -> Expected:
    numbers = {"message": number_of(event.message)}
    if event.message == WM_COPYDATA:
        return {**numbers, "id": event.id}, event.data
    return {**numbers, "wparam": event.wparam, "lparam": event.lparam}, event.data
