"""A cassette as one picture: for each track a lane over time.

Each event is a mark in its lane; events that lie too close share a mark. A click on a
mark shows its events below the lanes: their text, bytes and, with a layout, values.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

from winipc.base.text import clean, hex_rows
from winipc.cassette import Cassette, ChangeEvent, MessageEvent, StateEvent
from winipc.cassette.timeline import Row, timeline
from winipc.memory.layout import Layout, layout_of
from winipc.views.fields import leaves
from winipc.views.markup import chip, dim, escape, note, table
from winipc.views.view import View

#: The most marks in a lane, events shown of a mark, and bytes shown of an event.
_MOST_MARKS = 400
_MOST_SHOWN = 12
_MOST_BYTES = 256
#: The most events in a picture, bytes of their data, and events that a click can show.
_MOST_EVENTS = 100_000
_MOST_DATA = 64 << 20
_MOST_OPEN = 1000

#: In pixels: width of names, height of a lane, width of a mark, height of the panel.
_LEFT, _LANE, _MARK, _PANEL = 170, 24, 3, 240

_COLOURS = {
    "mapping": "#3aa76d",
    "in": "#4c8bd6",
    "out": "#f08c3a",
    "set": "#d6336c",
    "reset": "#b8c4ce",
}
_LEGEND = {
    "mapping": "memory changes",
    "in": "a message to the program",
    "out": "a message from it",
    "set": "set, held, or a count",
    "reset": "reset, free, or 0",
}


def _kind(row: Row) -> str:
    event = row.event
    if isinstance(event, MessageEvent):
        return event.way
    if isinstance(event, StateEvent):
        return "set" if event.state else "reset"
    return "mapping"


class Lanes(View):
    """A view of a `winipc.Cassette`: lanes over time; a click shows a mark's events.

    Args:
        layouts: For each track's name, the layout of its memory or of its messages'
            data: a `winipc.Layout`, its short text form, or a ctypes Structure.
        width: Width of the picture, in pixels.
        offset: Where a layout begins in a mapping; 16 is the record of a Snapshot.
        raw: Offsets begin at a mapping's header of winipc, and not behind it.
    """

    def __init__(
        self,
        cassette: Cassette,
        layouts: Mapping[str, Any] | None = None,
        *,
        width: int = 960,
        offset: int = 0,
        raw: bool = False,
    ) -> None:
        if not 320 <= width <= 4096:
            raise ValueError("width must be from 320 to 4096 pixels")
        super().__init__(cassette)
        self.width = width
        self.offset = offset
        self.raw = raw
        self._left = 0  # events that clicks may still show
        self.layouts = {n: layout_of(one) for n, one in (layouts or {}).items()}

    def _body(self) -> str:
        decoders: dict[str, Callable[[bytes], Any]] = {
            name: layout.unpack for name, layout in self.layouts.items()
        }
        cassette = self.target
        rows: list[Row] = []
        room, self._left = _MOST_DATA, _MOST_OPEN
        for row in timeline(cassette, decoders, self.offset, self.raw):
            room -= _size(row)
            if room < 0 or len(rows) == _MOST_EVENTS:
                break
            rows.append(row)
        end = max([cassette.duration_ns, *(row.event.time_ns for row in rows[-1:]), 1])
        seconds = f"{end / 1e9:.3f} s, {len(rows)} events"
        if not cassette.complete:
            seconds += ", ends early"
        lanes = "".join(
            self._lane(index, [r for r in rows if r.event.track == index], end)
            for index in range(len(cassette.tracks))
        )
        kinds = {_kind(row) for row in rows}
        legend = "".join(
            f"<span class='wi-item'>{chip(_COLOURS[kind])}{text}</span>"
            for kind, text in _LEGEND.items()
            if kind in kinds
        )
        more = ""
        if room < 0 or len(rows) == _MOST_EVENTS:
            more = note("only the first events are shown")
        return (
            f"{_STYLE}{dim(seconds)}<div class='wi-legend'>{legend}</div>"
            f"<div class='wi-lanes' style='width:{self.width}px'>{lanes}"
            f"<div class='wi-axis'><span>0 s</span><span>{end / 1e9:.3f} s</span></div>"
            f"</div>{more}"
        )

    def _lane(self, index: int, rows: list[Row], end: int) -> str:
        """The name of a track, and its marks, each with the text that a click shows."""
        track = self.target.tracks[index]
        name = f"{track.kind} {track.name or track.class_name or ''}"
        room, top = self.width - _LEFT - _MARK, index * _LANE + 4
        marks = min(_MOST_MARKS, room // (_MARK + 1))
        groups = itertools.groupby(rows, lambda r: r.event.time_ns * marks // (end + 1))
        parts = [
            f"<div class='wi-lane'><span class='wi-name' title='{escape(name)}'>"
            f"{escape(clean(name, 24))}</span>"
        ]
        for number, group in groups:
            some = list(group)
            left = _LEFT + number * room // marks
            colour = _COLOURS[_kind(some[0])]
            first = f"{some[0].seconds:.6f} s: {some[0].text}"
            if len(some) > 1:
                first += f", and {len(some) - 1} more"
            parts.append(
                f"<details name='winipc-{id(self)}'><summary style='left:{left}px;"
                f"top:{top}px;background:{colour}' title='{escape(first)}'></summary>"
                f"<div class='wi-what'>{self._shown(some)}</div></details>"
            )
        return "".join([*parts, "</div>"])

    def _shown(self, rows: list[Row]) -> str:
        """The events of a mark, in detail."""
        most = min(_MOST_SHOWN, self._left, len(rows))
        self._left -= most
        shown = "".join(map(self._event, rows[:most]))
        return shown + (dim(f"{len(rows) - most} more") if len(rows) > most else "")

    def _event(self, row: Row) -> str:
        event = row.event
        parts = [f"<b>{row.seconds:.6f} s</b> {escape(row.text)}"]
        if isinstance(event, MessageEvent):
            parts.append(_hex(0, event.data))
            parts.append(self._fields(row, event.data))
        elif isinstance(event, ChangeEvent):
            parts += [_hex(at, data) for at, data in event.changes[:4]]
            if row.value is not None:
                parts.append(self._fields(row, bytes(row.value)))
        return "".join(parts)

    def _fields(self, row: Row, data: bytes) -> str:
        layout: Layout | None = self.layouts.get(row.track.name)
        if layout is None or row.value is None:
            return ""
        cells = [
            (escape(leaf.name), escape(leaf.type), escape(_value(leaf, data)))
            for leaf in itertools.islice(leaves(layout), 64)
        ]
        return table(("name", "type", "value"), cells)


lanes = Lanes


def _size(row: Row) -> int:
    event = row.event
    if isinstance(event, ChangeEvent):
        return sum(len(data) for _, data in event.changes)
    return len(event.data) if isinstance(event, MessageEvent) else 0


def _value(leaf: Any, data: bytes) -> str:
    return str(leaf.value(data[leaf.offset : leaf.offset + leaf.field.size]))


def _hex(at: int, data: bytes) -> str:
    if not data:
        return ""
    lines = [escape(row.line()) for row in hex_rows(at, data[:_MOST_BYTES])]
    more = f"\n... ({len(data)} bytes)" if len(data) > _MOST_BYTES else ""
    text = "\n".join(lines)
    return f"<pre class='wi-hex'>{text}{more}</pre>"


_STYLE = f"""<style>
.winipc .wi-lanes{{position:relative}}
.winipc .wi-lanes:has(details[open]){{margin-bottom:{_PANEL + 8}px}}
.winipc .wi-lane{{height:{_LANE}px;border-bottom:1px solid rgba(128,128,128,.25)}}
.winipc .wi-name{{display:block;width:{_LEFT - 8}px;overflow:hidden;
white-space:nowrap;text-overflow:ellipsis;line-height:{_LANE}px;font-size:12px}}
.winipc .wi-axis{{display:flex;justify-content:space-between;font-size:11px;
padding-left:{_LEFT}px;opacity:.7}}
.winipc .wi-lane summary{{position:absolute;display:block;list-style:none;
width:{_MARK}px;height:{_LANE - 8}px}}
.winipc .wi-lane details[open] summary{{outline:2px solid currentColor}}
.winipc .wi-what{{position:absolute;top:100%;left:0;right:0;height:{_PANEL}px;
margin-top:4px;overflow:auto;padding:6px 10px;font-size:12px;
border:1px solid rgba(128,128,128,.4)}}
</style>"""
