"""The events of a cassette as text, for the command line and for notebooks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from winipc.base.text import clean
from winipc.cassette.cassette import Cassette
from winipc.cassette.events import (
    CassetteEvent,
    ChangeEvent,
    MessageEvent,
    StateEvent,
    Track,
    behind_header,
    within,
)
from winipc.message.differing import short
from winipc.message.message import WM_COPYDATA

__all__ = ["Row", "timeline"]

#: The most bytes of a mapping that a decoder gets.
_DECODED = 64 << 10
_SHOWN = 16  # bytes

_WORDS = {
    "event": ("is reset", "is set"),
    "mutex": ("is free", "is held"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """An event with its text."""

    event: CassetteEvent
    track: Track
    text: str
    #: The value that the track's decoder made of the memory or of the message's data.
    value: Any = None

    @property
    def seconds(self) -> float:
        return self.event.time_ns / 1e9


def timeline(
    cassette: Cassette,
    decoders: Mapping[str, Callable[[bytes], Any]] | None = None,
    offset: int = 0,
    raw: bool = False,
) -> Iterator[Row]:
    """The events of a cassette in order, with their texts.

    `decoders` has, for a track's name, a function that makes a value of 64 KiB of the
    track's memory, from `offset` on, or of its messages' data: `layout.unpack`, or a
    function of `winipc.decoders`. Data that it refuses is shown as bytes. If a mapping
    has a header of winipc, its events are without it, and offsets begin behind it;
    with `raw`, the events are those of the cassette.
    """
    decoders = decoders or {}
    users: dict[int, tuple[int, int]] = {}  # where each mapping's own bytes are
    memories: dict[int, bytearray] = {}
    for event in cassette:
        track = cassette.tracks[event.track]
        decode = decoders.get(track.name)
        data = event.data if isinstance(event, MessageEvent) else b""
        if isinstance(event, ChangeEvent) and event.changes and not raw:
            is_first = event.track not in users
            if is_first:
                users[event.track] = behind_header(event.changes, track.size)
            own = within(event.changes, *users[event.track])
            if not own and not is_first:
                continue  # only the header has changed, or what is behind the end
            event = replace(event, changes=own)
        if isinstance(event, ChangeEvent) and decode is not None:
            memory = memories.setdefault(
                event.track, bytearray(min(max(track.size - offset, 0), _DECODED))
            )
            for at, new in within(event.changes, offset, len(memory)):
                memory[at : at + len(new)] = new
            data = bytes(memory)
        value = None
        if decode is not None and not isinstance(event, StateEvent):
            try:
                value = decode(data)
            except (ValueError, struct.error):
                value = None
        yield Row(event, track, _text(event, track, value), value)


def _text(event: CassetteEvent, track: Track, value: Any) -> str:
    if isinstance(event, StateEvent):
        words = _WORDS.get(track.kind)
        return words[event.state] if words else f"counts {event.state}"
    if isinstance(event, ChangeEvent):
        return clean(value) if value is not None else _changes(event)
    arrow = "<-" if event.way == "in" else "->"
    if event.message == WM_COPYDATA:
        what = f"{arrow} id={event.id:#x} "
        what += short(event.data) if value is None else clean(value)
    else:
        name = event.message
        name = f"{name:#x}" if isinstance(name, int) else clean(name)
        what = f"{arrow} {name} {event.wparam:#x} {event.lparam:#x}"
    if event.posted:
        return f"{what} (posted)"
    return f"{what} = {event.answer} ({event.took_ns / 1e6:.1f} ms)"


def _changes(event: ChangeEvent) -> str:
    if not event.changes:
        return "all zeros"
    at, data = event.changes[0]
    text = f"{at:#x}: {data[:_SHOWN].hex(' ')}"
    if len(data) > _SHOWN:
        text += f" ... ({len(data)} bytes)"
    more = len(event.changes) - 1
    return f"{text}, {more} more" if more else text
