"""Which named sections may lie behind a view in another process.

Windows tells the file behind a view, but not the section: this compares.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from winipc.memory.mapping import SharedMapping
from winipc.memory.pages import PAGE_SIZE, MemoryProtection, MemoryType
from winipc.process.types import Region
from winipc.system.catalog import holders_of, named_objects

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess

__all__ = ["section_finder"]

_GRANULARITY = 65536  # views begin at multiples of it
_MOST_PAGES = 64  # of a view, compared
_MOST_PLACES = 4096  # in a section, tried
_LOOKS = 8  # at a page that differs
_PRIVATE = MemoryProtection.WRITECOPY | MemoryProtection.EXECUTE_WRITECOPY


class _View:
    """All that was mapped at once, and some pages of it."""

    def __init__(self, process: RemoteProcess, regions: list[Region]) -> None:
        self.process = process
        self.base = regions[0].allocation_base
        self.size = regions[-1].end - self.base
        pages = [
            address
            for region in regions
            # What the target has written to such a view is not in the section.
            if region.readable
            and not (
                region.allocation_protection & _PRIVATE
                and not region.protection & _PRIVATE
            )
            for address in range(region.base, region.end, PAGE_SIZE)
        ]
        # All over the view, and always the same ones.
        step = -(-len(pages) // _MOST_PAGES) or 1
        self.pages = pages[::step]

    def look(self) -> dict[int, bytes]:
        """The pages that can be read, by address."""
        found = self.process.read_many([(at, PAGE_SIZE) for at in self.pages])
        return {
            at: data
            for at, data in zip(self.pages, found, strict=True)
            if data is not None
        }


def section_finder(
    process: RemoteProcess, regions_from: Callable[[int], Iterator[Region]]
) -> Callable[[int], tuple[str, ...]]:
    """From the base of a view to the names of sections that it may be of."""
    rows = [row for row in named_objects("section") if row.size]
    held = {
        row.name
        for row, found in zip(rows, holders_of(rows), strict=True)
        if found is not None and process.pid in found.pids
    }
    known: dict[int, tuple[str, ...]] = {}

    def sections_of(base: int) -> tuple[str, ...]:
        if base not in known:
            view = _View(process, list(_allocation(regions_from(base), base)))
            known[base] = tuple(
                row.name
                for row in rows
                if (row.size or 0) + PAGE_SIZE > view.size
                and _may_be(view, row.name, row.name in held)
            )
        return known[base]

    return sections_of


def _allocation(regions: Iterator[Region], base: int) -> Iterator[Region]:
    for region in regions:
        if region.allocation_base != base or region.type != MemoryType.MAPPED:
            return
        yield region


def _may_be(view: _View, name: str, held: bool) -> bool:
    """Whether the view can be of this section.

    Without a handle in the target only the same bytes, not all zero, speak for
    it; with one, it needs bytes that differ to speak against it.
    """
    from winipc.process.process import RemoteProcess

    try:
        section = SharedMapping.open(name, access="read")
    except (OSError, ValueError):
        return held  # gone, or it may not be looked into
    with section, RemoteProcess.open(os.getpid()) as me:
        # Reading by a call: pages that are only reserved are no fault then.
        last = min(len(section) - view.size, _MOST_PLACES * _GRANULARITY)
        for place in range(0, max(last, 0) + 1, _GRANULARITY):
            same = _same(view, me, section.address + place)
            if same or (same is None and held):
                return True
    return False


def _same(view: _View, me: RemoteProcess, address: int) -> bool | None:
    """Whether the bytes agree; None where there is nothing to tell by."""
    told = None
    for at, data in view.look().items():
        still = True
        for _ in range(_LOOKS):
            (ours,) = me.read_many([(address + at - view.base, PAGE_SIZE)])
            if ours == data:
                told = told or (True if any(data) else None)
                break
            (theirs,) = view.process.read_many([(at, PAGE_SIZE)])
            if ours is None or theirs is None:
                break
            still = still and theirs == data  # else it is being written
            data = theirs
        else:
            if still:
                return False
    return told
