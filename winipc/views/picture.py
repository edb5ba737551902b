"""A process's address space as a picture and as rows.

The space has 2**47 bytes or more. A program uses a millionth of it, in pieces from one
page to gigabytes. So the axis is not to scale: used memory is a row of blocks whose
widths grow with the logarithm of their sizes, free memory is a gap, and much free
memory begins a new line.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex

from winipc.base.text import clean, size_text
from winipc.memory.pages import MemoryProtection, MemoryState, MemoryType
from winipc.process.process import RemoteProcess
from winipc.process.types import Region
from winipc.views.markup import chip, escape, note, table
from winipc.views.view import View

_MOST_BLOCKS = 1500
_MOST_ROWS = 200

#: In pixels. A line: its label on the left, names above, blocks, protections below.
_LEFT = 118
_NAMES, _BLOCKS, _STRIP, _LINE = 13, 18, 5, 46
_GAP_SMALL, _GAP_LARGE = 2.0, 12.0
_LETTER = 5.4

#: Bytes of free memory that make a large gap, and that begin a new line.
_LARGE_GAP = 16 << 20
_HUGE_GAP = 1 << 36

_TYPES = {
    MemoryType.IMAGE: ("image", "#4c8bd6"),
    MemoryType.MAPPED: ("mapped", "#3aa76d"),
    MemoryType.PRIVATE: ("private", "#f08c3a"),
}
_OTHER_TYPE = "#999999"

_PROTECTIONS = {
    "read": ("readable", "#b8c4ce"),
    "write": ("writable", "#d6336c"),
    "copy": ("copied when written", "#f4a3c0"),
    "execute": ("executable", "#5f3dc4"),
    "all": ("writable and executable", "#12b5cb"),
    "guard": ("guard page", "#f2c200"),
    "none": ("no access", "none"),
}


# -------------------------------------------------------------- kinds of memory


def _colour_of(region: Region) -> str:
    return _TYPES[region.type][1] if region.type in _TYPES else _OTHER_TYPE


def _access_of(protection: MemoryProtection) -> str:
    """The key of a protection in the legend."""
    if protection & MemoryProtection.GUARD:
        return "guard"
    kind = protection & 0xFF
    if kind in (MemoryProtection.EXECUTE_READWRITE, MemoryProtection.EXECUTE_WRITECOPY):
        return "all"
    if kind & 0xF0:
        return "execute"
    if kind == MemoryProtection.READWRITE:
        return "write"
    if kind == MemoryProtection.WRITECOPY:
        return "copy"
    return "read" if kind == MemoryProtection.READONLY else "none"


def _name(flags: Any) -> str:
    return str(flags.name or f"{int(flags):#x}").replace("|", " | ")


@dataclass(slots=True)
class _Block:
    """A region, or several if there are too many to draw each."""

    base: int
    end: int
    allocation: int
    region: Region
    regions: int = 1

    @property
    def size(self) -> int:
        return self.end - self.base

    @property
    def width(self) -> float:
        return 3 + 2.4 * math.log2(max(self.size, 4096) / 4096)


def _blocks(regions: Iterable[Region], most: int) -> list[_Block]:
    """The used part of the address space in at most `most` blocks."""
    blocks = [
        _Block(r.base, r.end, r.allocation_base, r)
        for r in regions
        if r.state != MemoryState.FREE
    ]
    if len(blocks) > most:
        blocks = _joined(blocks, lambda block: block.allocation)
    if len(blocks) > most:
        step = -(-len(blocks) // most)
        number = itertools.count()
        # Blocks are not joined over a huge gap.
        blocks = _joined(
            blocks, lambda block: (block.base // _HUGE_GAP, next(number) // step)
        )
    return blocks


def _joined(blocks: list[_Block], key: Callable[[_Block], object]) -> list[_Block]:
    """Neighbours with the same key become one block."""
    return [_merged(list(group)) for _, group in itertools.groupby(blocks, key)]


def _merged(blocks: list[_Block]) -> _Block:
    """One block for several; it looks like the largest of them."""
    largest = max(blocks, key=lambda block: block.size)
    return _Block(
        blocks[0].base,
        blocks[-1].end,
        blocks[0].allocation,
        largest.region,
        sum(block.regions for block in blocks),
    )


def _names(process: RemoteProcess) -> dict[int, str]:
    """The names of modules by their base addresses."""
    try:
        return {module.base: module.name for module in process.modules()}
    except OSError:
        return {}  # the process is starting, or ending


# ----------------------------------------------------------------- the picture


class AddressSpace(View):
    """A view of a process: its memory as a picture, with a legend, and as rows.

    A colour shows the type of memory (image, mapped file or section, private); a pale
    colour shows reserved memory. The strip below shows the protection. Widths are
    logarithmic. A tip says what a block is.

    Args:
        width: Width of the picture, in pixels.
    """

    def __init__(self, process: RemoteProcess, *, width: int = 960) -> None:
        if not 320 <= width <= 4096:
            raise ValueError("width must be from 320 to 4096 pixels")
        super().__init__(process)
        self.width = width

    def svg(self) -> str:
        """The picture alone, as an SVG document.

        Raises:
            ProcessLookupError: The process has exited.
        """
        return self._draw(*self._found())

    def _found(self) -> tuple[list[Region], dict[int, str]]:
        return list(self.target.regions(paths=True)), _names(self.target)

    def _body(self) -> str:
        if (end := self.gone()) is not None:
            return note(f"the process cannot be read: {end}")
        regions, names = self._found()
        used = [r for r in regions if r.state != MemoryState.FREE]
        rows = _table(used, names, _MOST_ROWS)
        return (
            f"{_legend(used)}{self._draw(regions, names)}"
            f"<details><summary>{len(used)} regions as rows</summary>{rows}</details>"
        )

    def _draw(self, regions: list[Region], names: dict[int, str]) -> str:
        pen = _Pen(self.width)
        end = 0
        blocks = _blocks(regions, _MOST_BLOCKS)
        for _, group in itertools.groupby(blocks, lambda block: block.allocation):
            whole = list(group)
            label = _label(whole[0].region, names)
            pen.begin(whole, whole[0].base - end, label)
            for block in whole:
                pen.draw(block, label)
            end = whole[-1].end
        return pen.finish()


address_space = AddressSpace


def _label(region: Region, names: dict[int, str]) -> str:
    if (name := names.get(region.allocation_base)) is not None:
        return name
    return "" if region.path is None else region.path.rpartition("\\")[2]


class _Pen:
    """Draws lines of blocks, from left to right and from the top down."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._parts: list[str] = []
        self._x = float(width)
        self._y = -float(_LINE)

    def begin(self, blocks: list[_Block], free: int, name: str) -> None:
        """Move to the start of an allocation, and write its name if there is room."""
        gap = _GAP_LARGE if free >= _LARGE_GAP else _GAP_SMALL
        if free >= _HUGE_GAP or self._beyond(gap, blocks[0]):
            self._new_line(blocks[0].base, free if free >= _HUGE_GAP else 0)
        else:
            if free >= _LARGE_GAP:
                self._gap(free)
            self._x += gap
        room = min(sum(block.width for block in blocks), self._width - self._x)
        letters = int(room / _LETTER)
        if letters >= 4 and name:
            name = clean(name, 60)
            shown = name if len(name) <= letters else name[: letters - 1] + "…"
            self._text("wi-n", self._x, _NAMES - 3, shown)

    def _beyond(self, gap: float, block: _Block) -> bool:
        """Whether a block would not fit into the line."""
        return self._x + gap + min(block.width, self._width - _LEFT) > self._width

    def _new_line(self, base: int, free: int) -> None:
        self._y += _LINE
        self._x = float(_LEFT)
        self._text("wi-a", _LEFT - 8, _NAMES + 13, f"{base:#x}")
        if free:
            self._text("wi-g", _LEFT - 8, 11, f"{size_text(free)} free")

    def _text(self, kind: str, x: float, y: float, text: str) -> None:
        """Add a text; `y` counts from the top of the line, `finish` has the styles."""
        self._parts.append(
            f"<text class='{kind}' x='{x:.1f}' y='{self._y + y:.0f}'>"
            f"{escape(text)}</text>"
        )

    def _gap(self, free: int) -> None:
        x, y = self._x + 3, self._y + _NAMES
        self._parts.append(
            f"<g><title>{escape(size_text(free))} free</title>"
            f"<rect x='{self._x:.1f}' y='{y}' width='{_GAP_LARGE}' height='{_BLOCKS}' "
            "fill='transparent'/>"
            f"<path class='wi-z' d='M{x:.1f} {y + 3}l3 4l-3 4l3 4M{x + 3:.1f} {y + 3}"
            "l3 4l-3 4l3 4'/></g>"
        )

    def draw(self, block: _Block, label: str) -> None:
        if self._beyond(0, block):
            self._new_line(block.base, 0)
        width = min(block.width, self._width - _LEFT)
        region = block.region
        y = self._y + _NAMES
        x, shown = f"{self._x:.1f}", f"{max(width - 0.6, 1):.1f}"
        reserved = region.state == MemoryState.RESERVE
        style = f"fill='{_colour_of(region)}'" + (
            " fill-opacity='.3'" if reserved else ""
        )
        parts = [
            f"<g><title>{_tip(block, label)}</title>",
            f"<rect x='{x}' y='{y:.0f}' width='{shown}' height='{_BLOCKS}' {style}/>",
        ]
        strip = _PROTECTIONS[_access_of(region.protection)][1]
        if not reserved and strip != "none":
            parts.append(
                f"<rect x='{x}' y='{y + _BLOCKS + 1:.0f}' width='{shown}' "
                f"height='{_STRIP}' fill='{strip}'/>"
            )
        self._parts += [*parts, "</g>"]
        self._x += width

    def finish(self) -> str:
        height = max(self._y + _LINE, 20)
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{self._width}' "
            f"height='{height:.0f}' viewBox='0 0 {self._width} {height:.0f}' "
            "role='img' aria-label='address space'><style>"
            ".wi-a,.wi-n,.wi-g{font-family:ui-monospace,Consolas,'DejaVu Sans Mono',"
            "monospace;fill:currentColor}.wi-a{font-size:10px}"
            ".wi-n{font-size:9px}.wi-g{font-size:9px;opacity:.6}"
            ".wi-a,.wi-g{text-anchor:end}"
            ".wi-z{fill:none;stroke:currentColor;opacity:.5}"
            f"</style>{''.join(self._parts)}</svg>"
        )


def _tip(block: _Block, label: str) -> str:
    region = block.region
    words = [
        f"{block.base:#x} – {block.end:#x}, {size_text(block.size)}",
        f"{_name(region.state)}, {_name(region.type)}, {_name(region.protection)}",
    ]
    if block.regions > 1:
        words.append(f"{block.regions} regions, drawn as the largest of them")
    if label:
        words.append(label)
    return "\n".join(escape(word) for word in words)


def _legend(used: list[Region]) -> str:
    """What the colours mean, and how much memory has each colour."""
    items = []
    for kind, (name, colour) in _TYPES.items():
        committed = sum(
            r.size for r in used if r.type == kind and r.state == MemoryState.COMMIT
        )
        items.append(_item(colour, f"{name} {size_text(committed)}"))
    reserved = sum(r.size for r in used if r.state == MemoryState.RESERVE)
    items.append(
        "<span class='wi-item'><span class='wi-chip' style='background:transparent;"
        f"border:1px dashed #888'></span>paler: reserved {escape(size_text(reserved))}"
        "</span>"
    )
    seen = {_access_of(r.protection) for r in used if r.state == MemoryState.COMMIT}
    strip = [
        _item(colour, name)
        for access, (name, colour) in _PROTECTIONS.items()
        if access in seen and colour != "none"
    ]
    return (
        f"<div class='wi-legend'>{''.join(items)}</div>"
        f"<div class='wi-legend'><span class='wi-dim'>strip below: </span>"
        f"{''.join(strip)}</div>"
    )


def _item(colour: str, text: str) -> str:
    return f"<span class='wi-item'>{chip(colour)}{escape(text)}</span>"


# -------------------------------------------------------------------- the rows


class MapRows(View):
    """A view of a process's regions from `start` to `stop`: at most `limit` rows.

    Raises:
        ValueError: `limit` is negative.
    """

    def __init__(
        self,
        process: RemoteProcess,
        start: SupportsIndex = 0,
        stop: SupportsIndex | None = None,
        *,
        limit: int = _MOST_ROWS,
    ) -> None:
        if limit < 0:
            raise ValueError("limit must not be negative")
        super().__init__(process)
        self.start = start
        self.stop = stop
        self.limit = min(limit, 10 * _MOST_ROWS)

    def _body(self) -> str:
        if (end := self.gone()) is not None:
            return note(f"the process cannot be read: {end}")
        found = self.target.regions(self.start, self.stop, paths=True)
        used = [r for r in found if r.state != MemoryState.FREE]
        return _table(used, _names(self.target), self.limit)


memory_map = MapRows


def _table(used: list[Region], names: dict[int, str], limit: int) -> str:
    rows = [
        (
            f"{region.base:#x}",
            escape(size_text(region.size)),
            escape(_name(region.state)),
            chip(_colour_of(region)) + escape(_name(region.type)),
            escape(_name(region.protection)) if region.protection else "",
            escape(names.get(region.allocation_base) or region.path or ""),
        )
        for region in used[:limit]
    ]
    columns = ("base", "size", "state", "type", "protection", "what")
    listed = table(columns, rows, right=(0, 1))
    if len(used) > limit:
        listed += note(f"{len(used) - limit} more: memory_map(start, stop, limit=)")
    return listed
