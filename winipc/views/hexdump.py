"""Memory as hexadecimal and text, with the fields of a structure in colours."""

from __future__ import annotations

import html
import itertools
import time
from collections.abc import Iterator
from typing import Any

from winipc.base.text import HEX_WIDTH, HexRow, hex_rows, size_text
from winipc.memory.layout import Layout, layout_of
from winipc.views.fields import Leaf, leaves
from winipc.views.markup import chip, dim, escape, mono, note, table
from winipc.views.view import View, read_bytes, size_of

_DEFAULT_SIZE = 256
#: More rows are of no use to a reader.
_MOST_BYTES = 4096
_MOST_FIELDS = 256
#: Seconds without a whole record, after which a view says so.
_LONG_TORN = 1.0

_COLOURS = (
    *("#ffd8a8", "#b2f2bb", "#a5d8ff", "#eebefa"),
    *("#ffec99", "#99e9f2", "#ffc9c9", "#d0bfff"),
)


class HexView(View):
    """A view of bytes: offsets, hexadecimal, text.

    Args:
        memory: A mapping, a view of a mapping, a section, a `GlobalMemory`, a
            `RemoteBlock`, a `Snapshot` (whole records), or any buffer. Or a
            `RemoteProcess`, with `address`: bytes that cannot be read show as ??.
        layout: The layout of the bytes at `offset`: a `winipc.Layout`, its short form
            such as "speed:f32 gear:i32", or a ctypes Structure class. The view
            colours the fields and lists their values. Default: the layout of a
            `Snapshot`.
        offset: Offset of the first byte to show.
        size: Number of bytes to show, at most 4096. Default: the layout's size, or
            256.
        address: The address in a process to which `offset` is added.

    When the same view is shown again, as `live` does, it marks the bytes that have
    changed since it was last shown.
    """

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
        super().__init__(memory)
        if layout is None:
            layout = getattr(memory, "layout", None)
        self.layout: Layout | None = None if layout is None else layout_of(layout)
        self.offset = offset
        self.address = address
        if size is None:
            size = _DEFAULT_SIZE if self.layout is None else self.layout.size
        self.size = min(size, _MOST_BYTES)
        fields = () if self.layout is None else leaves(self.layout)
        kept = list(itertools.islice(fields, _MOST_FIELDS + 1))
        self._more_fields = len(kept) > _MOST_FIELDS
        self._leaves = kept[:_MOST_FIELDS]
        self._last: bytes | None = None
        self._whole_at = 0.0
        #: Seconds for which a changed byte stays marked; 0: in one look only.
        self.marked = 0.0
        self._changed_at: dict[int, float] = {}
        #: Seconds to wait for a whole record of a `Snapshot`.
        self.patience = 1.0

    def _read(self) -> tuple[bytes, bytes]:
        return read_bytes(
            self.target, self.address, self.offset, self.size, self.patience
        )

    def _body(self) -> str:
        if (end := self.gone()) is not None:
            return note(f"there is nothing to read: {end}")
        torn = ""
        try:
            data, valid = self._read()
            self._whole_at = time.monotonic()
        except TimeoutError as error:  # the record's writer is busy, or died
            if self._last is None:
                raise
            data, valid = self._last, b"\1" * len(self._last)
            if time.monotonic() - self._whole_at > _LONG_TORN:
                torn = note(f"the last whole record: {error}")
        last = data if self._last is None else self._last
        changed = self._changed(last, data)
        self._last = data
        start = self.offset + (self.address or 0)
        lines = "\n".join(self._lines(start, data, valid, changed))
        parts = [torn, f"<pre class='wi-hex'>{lines}</pre>"]
        if self.layout is not None:
            parts.append(self._table(self.layout.name, start, data, valid))
        else:
            rest = (size_of(self.target) or 0) - self.offset - len(data)
            if rest > 0:
                parts.append(dim(f"{size_text(rest)} more: by offset= and size="))
        return "".join(parts)

    def __str__(self) -> str:
        """The bytes as plain text, without the fields."""
        data, valid = self._read()
        start = self.offset + (self.address or 0)
        return "\n".join(row.line() for row in hex_rows(start, data, valid))

    def _changed(self, last: bytes, data: bytes) -> set[int]:
        """The offsets of the bytes to mark as changed."""
        now = time.monotonic()
        kept = {i: at for i, at in self._changed_at.items() if now - at < self.marked}
        for i, (old, new) in enumerate(zip(last, data, strict=False)):
            if old != new:
                kept[i] = now
        self._changed_at = kept
        return set(kept)

    # ------------------------------------------------------------------ lines

    def _lines(
        self, start: int, data: bytes, valid: bytes, changed: set[int]
    ) -> Iterator[str]:
        owner: list[int | None] = [None] * len(data)
        for number, leaf in enumerate(self._leaves):
            for i in range(leaf.offset, min(leaf.offset + leaf.field.size, len(data))):
                owner[i] = number
        tips = [
            escape(f"{leaf.name}: {leaf.type} at +{leaf.offset:#x} = ")
            + escape(self._value(leaf, data, valid))
            for leaf in self._leaves
        ]
        skipped = 0
        zeros_before = False
        for row in hex_rows(start, data, valid):
            cells = range(row.offset, row.offset + len(row.pairs))
            plain = all(owner[i] is None and i not in changed for i in cells)
            zeros = plain and set(row.pairs) == {"00"}
            # Show the first of many rows of zeros, and always the last row of all.
            if zeros and zeros_before and row.offset + HEX_WIDTH < len(data):
                skipped += 1
                continue
            zeros_before = zeros
            if skipped:
                yield f"<span class='wi-dim'>*  {skipped} more of zeros</span>"
                skipped = 0
            yield self._line(row, owner, tips, changed)

    def _line(
        self, row: HexRow, owner: list[int | None], tips: list[str], changed: set[int]
    ) -> str:
        """A row in HTML: the bytes of a field are in a span with a tip."""
        pairs: list[str] = []
        letters: list[str] = []
        cells = range(row.offset, row.offset + len(row.pairs))
        for (number, new), group in itertools.groupby(
            cells, lambda i: (owner[i], i in changed)
        ):
            own = [i - row.offset for i in group]
            for parts, between, texts in (
                (pairs, " ", row.pairs),
                (letters, "", row.letters),
            ):
                text = html.escape(between.join(texts[i] for i in own))
                if new:
                    text = f"<b class='wi-new'>{text}</b>"
                if number is not None:
                    text = (
                        f"<span class='wi-f' style='background:{_colour(number)}' "
                        f"title='{tips[number]}'>{text}</span>"
                    )
                parts.append(text)
        padding = "   " * (HEX_WIDTH - len(row.pairs))
        return (
            f"<span class='wi-dim'>{row.address}</span>  "
            f"{' '.join(pairs)}{padding}  {''.join(letters)}"
        )

    def _value(self, leaf: Leaf, data: bytes, valid: bytes) -> str:
        end = leaf.offset + leaf.field.size
        if end > len(data):
            return "not in view"
        if not all(valid[leaf.offset : end]):
            return "not readable"
        return leaf.value(data[leaf.offset : end])

    def _table(self, name: str, start: int, data: bytes, valid: bytes) -> str:
        rows = [
            (
                chip(_colour(number)) + escape(leaf.name),
                escape(leaf.type),
                f"{start + leaf.offset:#x}",
                mono(self._value(leaf, data, valid)),
            )
            for number, leaf in enumerate(self._leaves)
        ]
        listed = table((name, "type", "at", "value"), rows, right=(2,))
        if self._more_fields:
            listed += note(f"only the first {_MOST_FIELDS} fields are shown")
        return listed


hexview = HexView


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
