"""Memory as hexadecimal and text, with the fields of a structure in colours."""

from __future__ import annotations

import contextlib
import html
import itertools
import time
from collections.abc import Iterator
from typing import Any

from winipc.jupyter.fields import Leaf, leaves, make_layout
from winipc.jupyter.markup import View, clean, escape, note, size_text, table
from winipc.jupyter.targets import describe, gone, read_bytes, size_of

__all__ = ["HexView", "hexview"]

_WIDTH = 16
_DEFAULT_SIZE = 256
#: Up to here a mapping is read in one go, without giving other threads a turn;
#: and nobody reads more lines than this.
_MOST_BYTES = 4096
_MOST_FIELDS = 256
#: Seconds without a whole record after which a view says so.
_LONG_TORN = 1.0

_COLOURS = (
    *("#ffd8a8", "#b2f2bb", "#a5d8ff", "#eebefa"),
    *("#ffec99", "#99e9f2", "#ffc9c9", "#d0bfff"),
)


def hexview(
    memory: Any,
    layout: Any = None,
    *,
    offset: int = 0,
    size: int | None = None,
    address: int | None = None,
) -> HexView:
    """A view of bytes: offsets, hexadecimal, text.

    Args:
        memory: A mapping, a view of one, a section, a `GlobalMemory`, a
            `RemoteBlock`, a `Snapshot` (whole records), or any buffer. Or a
            `RemoteProcess`, with `address`: pages that cannot be read show as ??.
        layout: A `winipc.Layout` or a ctypes Structure class, laid over the bytes
            at `offset`: the fields are coloured, and listed with their values.
        offset: The first byte to show.
        size: Bytes to show, at most 4096; by default the layout, or 256.
        address: Where `offset` counts from, in a process.

    When the same view is shown again, by `live` above all, bytes that are not what
    they were the time before are marked.
    """
    return HexView(memory, layout, offset=offset, size=size, address=address)


class HexView(View):
    """What `hexview` makes."""

    def __init__(
        self,
        memory: Any,
        layout: Any = None,
        *,
        offset: int = 0,
        size: int | None = None,
        address: int | None = None,
    ) -> None:
        if offset < 0 or (size is not None and size < 0):
            raise ValueError("offset and size must not be negative")
        self.memory = memory
        self.layout = None if layout is None else make_layout(layout)
        self.offset = offset
        self.address = address
        if size is None:
            size = _DEFAULT_SIZE if self.layout is None else self.layout.size
        self.size = min(size, _MOST_BYTES)
        fields: Iterator[Leaf] = (
            iter(()) if self.layout is None else leaves(self.layout)
        )
        kept = list(itertools.islice(fields, _MOST_FIELDS + 1))
        self._more_fields = len(kept) > _MOST_FIELDS
        self._leaves = kept[:_MOST_FIELDS]
        self._last: bytes | None = None
        self._whole_at = 0.0
        #: Seconds for which a `Snapshot` is waited for to be whole.
        self.patience = 1.0

    def gone(self) -> str | None:
        return gone(self.memory)

    def _head(self) -> str:
        return describe(self.memory)

    def _read(self) -> tuple[bytes, bytes]:
        return read_bytes(
            self.memory, self.address, self.offset, self.size, self.patience
        )

    def _body(self) -> str:
        if (end := self.gone()) is not None:
            return note(f"there is nothing to read: {end}")
        torn = ""
        try:
            data, valid = self._read()
            self._whole_at = time.monotonic()
        except TimeoutError as error:  # a record's writer is at work, or died
            if self._last is None:
                raise
            data, valid = self._last, b"\1" * len(self._last)
            if time.monotonic() - self._whole_at > _LONG_TORN:
                torn = note(f"the last whole record: {error}")
        changed: set[int] = set()
        if self._last is not None and len(self._last) == len(data):
            changed = {
                i
                for i, (a, b) in enumerate(zip(self._last, data, strict=True))
                if a != b
            }
        self._last = data
        start = self.offset + (self.address or 0)
        lines = "\n".join(self._lines(start, data, valid, changed))
        parts = [torn, f"<pre class='wi-hex'>{lines}</pre>"]
        if self.layout is not None:
            parts.append(self._table(self.layout.name, start, data, valid))
        total = None
        with contextlib.suppress(ValueError):
            total = size_of(self.memory)
        if self.layout is None and total is not None:
            rest = total - self.offset - len(data)
            if rest > 0:
                parts.append(
                    f"<div class='wi-dim'>{escape(size_text(rest))} more; "
                    "winipc.jupyter.hexview(..., offset=, size=) shows others</div>"
                )
        return "".join(parts)

    def __str__(self) -> str:
        """The same in plain text, without the fields."""
        data, valid = self._read()
        start = self.offset + (self.address or 0)
        digits = _digits(start + len(data))
        return "\n".join(
            f"{start + at:0{digits}x}  "
            + " ".join(_pair(data, valid, i) for i in _row(at, data)).ljust(47)
            + "  "
            + "".join(_letter(data, valid, i) for i in _row(at, data))
            for at in range(0, len(data), _WIDTH)
        )

    def __repr__(self) -> str:
        return f"<HexView of {clean(repr(self.memory))}>"

    # ------------------------------------------------------------------ lines

    def _lines(
        self, start: int, data: bytes, valid: bytes, changed: set[int]
    ) -> Iterator[str]:
        owner: list[int | None] = [None] * len(data)
        for number, leaf in enumerate(self._leaves):
            for i in range(leaf.offset, min(leaf.offset + leaf.size, len(data))):
                owner[i] = number
        tips = [
            escape(f"{leaf.name}: {leaf.type} at +{leaf.offset:#x} = ")
            + escape(self._value(leaf, data, valid))
            for leaf in self._leaves
        ]
        digits = _digits(start + len(data))
        skipped = 0
        for at in range(0, len(data), _WIDTH):
            row = _row(at, data)
            zero = not any(data[i] for i in row) and all(valid[i] for i in row)
            plain = all(owner[i] is None and i not in changed for i in row)
            last = at + _WIDTH >= len(data)
            # The first and the last of many zero lines are shown.
            before = at and not any(data[at - _WIDTH : at])
            if zero and plain and before and not last:
                skipped += 1
                continue
            if skipped:
                yield f"<span class='wi-dim'>*  {skipped} more of zeros</span>"
                skipped = 0
            hexes, letters = [], []
            for number, group in itertools.groupby(row, lambda i: owner[i]):
                cells = list(group)
                pairs = " ".join(
                    _mark(_pair(data, valid, i), i, changed) for i in cells
                )
                text = "".join(
                    _mark(html.escape(_letter(data, valid, i)), i, changed)
                    for i in cells
                )
                if number is not None:
                    opening = (
                        f"<span class='wi-f' style='background:{_colour(number)}' "
                        f"title='{tips[number]}'>"
                    )
                    pairs, text = f"{opening}{pairs}</span>", f"{opening}{text}</span>"
                hexes.append(pairs)
                letters.append(text)
            padding = "   " * (_WIDTH - len(row))
            yield (
                f"<span class='wi-dim'>{start + at:0{digits}x}</span>  "
                f"{' '.join(hexes)}{padding}  {''.join(letters)}"
            )

    def _value(self, leaf: Leaf, data: bytes, valid: bytes) -> str:
        end = leaf.offset + leaf.size
        if end > len(data):
            return "not in view"
        if not all(valid[leaf.offset : end]):
            return "not readable"
        return leaf.value(data[leaf.offset : end])

    def _table(self, name: str, start: int, data: bytes, valid: bytes) -> str:
        rows = [
            (
                f"<span class='wi-chip' style='background:{_colour(number)}'></span>"
                f"{escape(leaf.name)}",
                escape(leaf.type),
                f"{start + leaf.offset:#x}",
                f"<span class='wi-mono'>{escape(value)}</span>",
            )
            for number, (leaf, value) in enumerate(
                (leaf, self._value(leaf, data, valid)) for leaf in self._leaves
            )
        ]
        columns = (name, "type", "at", "value")
        listed = table(columns, rows, right=(2,))
        if self._more_fields:
            listed += note(f"only the first {_MOST_FIELDS} fields are shown")
        return listed


def _row(at: int, data: bytes) -> range:
    return range(at, min(at + _WIDTH, len(data)))


def _pair(data: bytes, valid: bytes, i: int) -> str:
    return f"{data[i]:02x}" if valid[i] else "??"


def _letter(data: bytes, valid: bytes, i: int) -> str:
    return chr(data[i]) if valid[i] and 32 <= data[i] < 127 else "·"


def _mark(text: str, i: int, changed: set[int]) -> str:
    return f"<b class='wi-new'>{text}</b>" if i in changed else text


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _digits(end: int) -> int:
    return 16 if end > 0xFFFF_FFFF_FFFF else 12 if end > 0xFFFF_FFFF else 8
