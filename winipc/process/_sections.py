"""Which named sections may be behind a view in another process.

Windows tells the file behind a view, but not the section. So this module compares the
bytes of the view with those of sections.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from winipc.memory.mapping import SharedMapping
from winipc.memory.pages import PAGE_SIZE, MemoryProtection, MemoryType
from winipc.process.types import Region
from winipc.system.catalog import holders_of, named_objects

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess


_GRANULARITY = 65536  # views begin at multiples of it
_MOST_PAGES = 64  # pages of a view to compare
_MOST_PLACES = 4096  # offsets in a section to try
_MOST_TRIED = 16  # of these offsets, where more than one page is compared
_LOOKS = 8  # comparisons of a page that differs
_ZEROS = bytes(PAGE_SIZE)
_PRIVATE = MemoryProtection.WRITECOPY | MemoryProtection.EXECUTE_WRITECOPY


def section_finder(
    process: RemoteProcess, regions_from: Callable[[int], Iterator[Region]]
) -> Callable[[int], tuple[str, ...]]:
    """Return a function from a view's base to the names of its possible sections."""
    rows = [row for row in named_objects("mapping") if row.size]
    held = {
        row.name
        for row, found in zip(rows, holders_of(rows), strict=True)
        if found is not None and process.pid in found.pids
    }

    def is_in_view(region: Region, base: int) -> bool:
        return region.allocation_base == base and region.type == MemoryType.MAPPED

    @functools.cache
    def sections_of(base: int) -> tuple[str, ...]:
        regions = regions_from(base)
        view = list(itertools.takewhile(lambda row: is_in_view(row, base), regions))
        size = view[-1].end - base
        pages = _some_pages(view)
        return tuple(
            row.name
            for row in rows
            if (row.size or 0) + PAGE_SIZE > size
            and _may_be(process, base, size, pages, row.name, row.name in held)
        )

    return sections_of


def _some_pages(view: list[Region]) -> list[int]:
    """Addresses of pages to compare: spread over the view, the same in each call."""
    pages = [
        address
        for region in view
        # A copy-on-write page that the target has written is not in the section.
        if region.readable
        and not (
            region.allocation_protection & _PRIVATE and not region.protection & _PRIVATE
        )
        for address in range(region.base, region.end, PAGE_SIZE)
    ]
    step = -(-len(pages) // _MOST_PAGES) or 1
    return pages[::step]


def _may_be(
    process: RemoteProcess,
    base: int,
    size: int,
    pages: list[int],
    name: str,
    held: bool,
) -> bool:
    """Whether the view may be of this section.

    If the target holds a handle of the section, the answer is yes unless bytes differ.
    Without a handle, it is yes only if bytes are equal and not all zero.
    """
    read = process.read_many([(at, PAGE_SIZE) for at in pages])
    theirs = {at: data for at, data in zip(pages, read, strict=True) if data}
    telling = [at for at, data in theirs.items() if data != _ZEROS]
    if not held and not telling:
        return False
    try:
        section = SharedMapping.open(name, access="read")
    except (OSError, ValueError):
        return held  # the section has gone, or this process may not read it
    with section, type(process).open(os.getpid()) as me, memoryview(section) as memory:
        start = section.address
        regions = list(me.regions(start, start + len(section), paths=True))
        if any(region.path for region in regions):
            return False  # a view of a file has its path
        bases = [region.base for region in regions]

        def ours(at: int) -> bytes | None:
            # A direct read of pages that are only reserved would fault.
            region = regions[bisect.bisect(bases, start + at) - 1]
            return bytes(memory[at : at + PAGE_SIZE]) if region.readable else None

        last = min(len(section) - size, _MOST_PLACES * _GRANULARITY)
        places: Sequence[int] = range(0, max(last, 0) + 1, _GRANULARITY)
        if len(places) > 1 and theirs:
            at = (telling or list(theirs))[0]
            known = (None, theirs[at])
            fitting = [place for place in places if ours(place + at - base) in known]
            looks = (process.read_many([(at, PAGE_SIZE)])[0] for _ in range(_LOOKS))
            if all(look == theirs[at] for look in looks):
                places = fitting  # else the page is being written, and tells nothing
        for place in places[:_MOST_TRIED]:
            same = _same(process, theirs, ours, place - base)
            if same or (same is None and held):
                return True
        return held and len(places) > _MOST_TRIED


def _same(
    process: RemoteProcess,
    theirs: dict[int, bytes],
    ours: Callable[[int], bytes | None],
    shift: int,
) -> bool | None:
    """Whether the bytes are equal; None if all bytes that can be read are zero."""
    told = None
    for at, read in theirs.items():
        data: bytes | None = read
        for _ in range(_LOOKS):
            own = ours(at + shift)
            if own is None or own == data:
                break
            last = data
            (data,) = process.read_many([(at, PAGE_SIZE)])
            if data is None or data != last:
                break  # the page is being written
        else:
            return False
        if own is not None and own == data and own != _ZEROS:
            told = True
    return told
