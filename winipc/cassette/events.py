"""What a cassette consists of: tracks, and events on them.

Each event is a line of JSON in the file. All fields from a file are checked here: a
value that is not a number, a range outside its mapping, or an unknown kind is a
CassetteError.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from winipc.memory.mapping import HEADER_START, sizes_in_header
from winipc.message.message import WM_COPYDATA

__all__ = [
    "CassetteError",
    "CassetteEvent",
    "ChangeEvent",
    "MessageEvent",
    "StateEvent",
    "Track",
]

#: The most characters of a name on Windows.
_MOST_NAME = 32767
#: The most bytes of a mapping, and of the data of a message.
MOST_BYTES = 1 << 32
MOST_DATA = 64 << 20
_MOST_NUMBER = (1 << 63) - 1

#: The kinds of tracks: objects with a state, and windows with messages.
STATES = ("event", "mutex", "semaphore")
MESSAGES = ("window", "client", "broadcast", "exchange")


class CassetteError(ValueError):
    """A file that is no cassette, or that no recorder would write."""


def whole(value: Any, what: str, least: int = 0, most: int = _MOST_NUMBER) -> int:
    """Check that a value of a file is a whole number within bounds, and return it."""
    if type(value) is not int or not least <= value <= most:
        raise CassetteError(f"{what} is {_short(value)}, no number here")
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "..."


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or len(value) > _MOST_NAME or "\0" in value:
        raise CassetteError(f"{what} is {_short(value)}, no name")
    return value


def _flag(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise CassetteError(f"{what} is {_short(value)}, neither true nor false")
    return value


def _bytes(value: Any) -> bytes:
    try:
        if isinstance(value, str):
            return binascii.a2b_base64(value.encode("ascii"), strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError, too
        pass
    raise CassetteError(f"{_short(value)} is no base64")


def _message(value: Any, what: str) -> int | str:
    return (
        value
        if type(value) is str and _text(value, what)
        else whole(value, what, 1, 0xFFFF)
    )


def _messages(value: Any, what: str) -> tuple[int | str, ...]:
    if not isinstance(value, list | tuple) or len(value) > 1024:
        raise CassetteError(f"{what} is {_short(value)}, no list of messages")
    return tuple(_message(item, what) for item in value)


def _replies(value: Any, what: str) -> int | str | None:
    return value if value in ("wparam", None) else whole(value, what, 0, MOST_DATA)


def _as_is(value: Any) -> Any:
    return value


def base64_of(value: bytes) -> bytes:
    """The base64 text for bytes in the file."""
    return binascii.b2a_base64(value, newline=False)


def _base64(value: bytes) -> str:
    return base64_of(value).decode("ascii")


def _in_file(
    check: Callable[[Any, str], Any],
    default: Any,
    key: str | None = None,
    write: Callable[[Any], Any] = _as_is,
) -> Any:
    """A field that a line of the file has unless its value is the default."""
    return field(default=default, metadata={"check": check, "key": key, "write": write})


class _InFile:
    """A dataclass; its fields with a check are in a line of the file."""

    __slots__ = ()

    def as_json(self) -> dict[str, Any]:
        """The fields for the file, without those that have the default."""
        found = {}
        for one in fields(self):  # type: ignore[arg-type]
            value = getattr(self, one.name)
            if "check" in one.metadata and value != one.default:
                key = one.metadata["key"] or one.name
                found[key] = one.metadata["write"](value)
        return found

    @classmethod
    def _checked(cls, row: dict[str, Any]) -> dict[str, Any]:
        """The fields in a line, checked."""
        found = {}
        for one in fields(cls):  # type: ignore[arg-type]
            key = one.metadata.get("key") or one.name
            if "check" in one.metadata and key in row:
                found[one.name] = one.metadata["check"](row[key], key)
        return found


@dataclass(frozen=True, slots=True)
class Track(_InFile):
    """A recorded object with a name, or a recorded window."""

    #: One of `mapping`, `event`, `mutex`, `semaphore`; `window`, a window of the
    #: program; `client`, a window to which the program sends; `broadcast`, the messages
    #: that it sends to all windows; and `exchange`, the window of a `winipc.Receiver`.
    kind: str
    #: The name of the object, or the title of the window.
    name: str = _in_file(_text, "")
    #: The size of a mapping in bytes.
    size: int = _in_file(lambda v, what: whole(v, what, 1, MOST_BYTES), 0)
    #: Whether an event is a manual-reset event.
    manual: bool = _in_file(_flag, False)
    #: The maximum of a semaphore.
    maximum: int = _in_file(lambda v, what: whole(v, what, 1, 0x7FFFFFFF), 0)
    #: The class of a window; None if it is known by its title alone.
    class_name: str | None = _in_file(_text, None, "class")
    #: Whether a window is message-only: not visible, and not reached by broadcasts.
    message_only: bool = _in_file(_flag, False)
    #: The messages that a window takes besides WM_COPYDATA: numbers, or registered
    #: names.
    messages: tuple[int | str, ...] = _in_file(_messages, ())
    #: Where a request to a window names the one that gets the answer: "wparam", or the
    #: offset of a 32-bit handle in its data. With None, the program sees the sender's
    #: window, and what it sends there is not recorded.
    replies: int | str | None = _in_file(_replies, "wparam")
    #: The name of the mapping of an exchange.
    mapping: str | None = _in_file(_text, None)

    @classmethod
    def from_json(cls, row: Any) -> Track:
        """Read a track from a file.

        Raises:
            CassetteError: The track is damaged.
        """
        if not isinstance(row, dict) or row.get("kind") not in list(EVENTS):
            raise CassetteError(f"{_short(row)} is no track")
        track = cls(row["kind"], **cls._checked(row))
        if track.kind == "mapping" and not track.size:
            raise CassetteError(f"mapping {_short(track.name)} has no size")
        if track.kind == "semaphore" and not track.maximum:
            raise CassetteError(f"semaphore {_short(track.name)} has no maximum")
        return track

    def line(self) -> dict[str, Any]:
        """The track for the head of a file."""
        return {"kind": self.kind, **self.as_json()}


#: The offset and the new bytes of each changed range, in order.
Changes: TypeAlias = tuple[tuple[int, bytes], ...]


def within(changes: Changes, start: int, size: int) -> Changes:
    """The changes of a part of the memory; offsets begin at its start."""
    parts = (
        (max(at - start, 0), data[max(start - at, 0) : max(start + size - at, 0)])
        for at, data in changes
    )
    return tuple((at, data) for at, data in parts if data)


def behind_header(changes: Changes, size: int) -> tuple[int, int]:
    """Where the bytes of a mapping begin behind its header, and how many there are.

    `changes` are the first that the mapping has, and `size` is its own. Without a
    header of winipc, all bytes count.
    """
    first = bytearray(HEADER_START.size)
    for at, data in within(changes, 0, len(first)):
        first[at : at + len(data)] = data
    start, count = sizes_in_header(first)
    return (start, min(count, size - start)) if 0 < start < size else (0, size)


@dataclass(frozen=True, slots=True)
class ChangeEvent(_InFile):
    """Bytes of a mapping that changed since the last event; at first, from zeros."""

    #: Nanoseconds since the start.
    time_ns: int
    #: The number of the track.
    track: int
    #: Pairs of an offset and the bytes that are there now.
    changes: Changes = ()
    #: Whether the next event continues this one, which was too much for one line.
    more: bool = _in_file(_flag, False)

    def as_json(self) -> dict[str, Any]:
        changes = [[offset, _base64(data)] for offset, data in self.changes]
        return {"changes": changes, **({"more": True} if self.more else {})}

    @classmethod
    def from_json(
        cls, time_ns: int, index: int, track: Track, row: dict[str, Any]
    ) -> ChangeEvent:
        """Read changes from a line of a file.

        Raises:
            CassetteError: The line is damaged.
        """
        rows = row.get("changes")
        if not isinstance(rows, list):
            raise CassetteError(f"{_short(rows)} are no changes")
        changes = []
        at = 0
        for change in rows:
            if not isinstance(change, list) or len(change) != 2:
                raise CassetteError(f"{_short(change)} is no change")
            offset, data = whole(change[0], "offset", at), _bytes(change[1])
            at = offset + len(data)
            if at > track.size:
                raise CassetteError(
                    f"{len(data)} bytes at offset {offset} do not fit in the "
                    f"{track.size} of mapping {_short(track.name)}"
                )
            changes.append((offset, data))
        return cls(time_ns, index, tuple(changes), **cls._checked(row))


@dataclass(frozen=True, slots=True)
class StateEvent(_InFile):
    """The state of an event (1: set), a mutex (1: held) or a semaphore (its count)."""

    #: Nanoseconds since the start.
    time_ns: int
    #: The number of the track.
    track: int
    #: The new state: 1 if the event is set or the mutex is held, else 0; for a
    #: semaphore, its count.
    state: int = 0

    def as_json(self) -> dict[str, Any]:
        return {"state": self.state}

    @classmethod
    def from_json(
        cls, time_ns: int, index: int, track: Track, row: dict[str, Any]
    ) -> StateEvent:
        """Read a state from a line of a file.

        Raises:
            CassetteError: The line is damaged.
        """
        most = track.maximum if track.kind == "semaphore" else 1
        return cls(time_ns, index, whole(row.get("state"), "state", 0, most))


def _param(value: Any, what: str) -> int:
    return whole(value, what, -1 << 63, (1 << 64) - 1)


def _way(value: Any, what: str) -> str:
    if value not in ("in", "out"):
        raise CassetteError(f"{what} is {_short(value)}, neither in nor out")
    return str(value)


@dataclass(frozen=True, slots=True)
class MessageEvent(_InFile):
    """A message to the recorded program ("in"), or from it ("out").

    `time_ns` is the time of the answer; the message came `took_ns` before.
    """

    #: Nanoseconds since the start.
    time_ns: int
    #: The number of the track.
    track: int
    #: "in" or "out".
    way: str = _in_file(_way, "in")
    #: The message's number, or its registered name.
    message: int | str = _in_file(_message, WM_COPYDATA)
    #: The id (dwData) of a WM_COPYDATA.
    id: int = _in_file(_param, 0)
    #: The data of a WM_COPYDATA.
    data: bytes = _in_file(lambda v, what: _bytes(v), b"", None, _base64)
    #: For a WM_COPYDATA, the window that it names as its sender.
    wparam: int = _in_file(_param, 0)
    #: The second parameter of a message other than WM_COPYDATA.
    lparam: int = _in_file(_param, 0)
    #: Whether the message was posted, and so has no answer.
    posted: bool = _in_file(_flag, False)
    #: The number that the receiver answered.
    answer: int = _in_file(_param, 0)
    #: Nanoseconds from the message to its answer.
    took_ns: int = _in_file(whole, 0, "took")
    #: For a message "in", its number on the track, in the order in which they came.
    number: int = _in_file(whole, 0)
    #: For a message "out", the number of the message that it answers, or None.
    to: int | None = _in_file(whole, None)
    #: For a delivery of the exchange, the transport.
    via: str | None = _in_file(_text, None)

    @classmethod
    def from_json(
        cls, time_ns: int, index: int, track: Track, row: dict[str, Any]
    ) -> MessageEvent:
        """Read a message from a line of a file.

        Raises:
            CassetteError: The line is damaged.
        """
        return cls(time_ns, index, **cls._checked(row))

    def __bytes__(self) -> bytes:
        return self.data

    @property
    def came_ns(self) -> int:
        """The time when the message came."""
        return self.time_ns - self.took_ns


#: What a cassette has in it: a change of bytes, a state, or a message.
CassetteEvent: TypeAlias = ChangeEvent | StateEvent | MessageEvent

#: The class of the events of each kind of track.
EVENTS: dict[str, type[ChangeEvent] | type[StateEvent] | type[MessageEvent]] = {
    "mapping": ChangeEvent,
    **dict.fromkeys(STATES, StateEvent),
    **dict.fromkeys(MESSAGES, MessageEvent),
}
