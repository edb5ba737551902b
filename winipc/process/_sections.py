"""Which named sections may be behind the views in another process.

Windows tells the file behind a view, but not the section. So this module reads some
pages of each view, and then maps one section at a time and compares it with all views.

The target may write meanwhile. So views that have changed at the end, or that are like
no section, are compared once more. Then a page that differs is read again at once.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from winipc.memory.mapping import SharedMapping
from winipc.memory.pages import PAGE_SIZE, MemoryProtection, MemoryType
from winipc.process.types import Region
from winipc.system.catalog import NamedObject, holders_of, named_objects

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess


_GRANULARITY = 65536  # views begin at multiples of it
_MOST_PAGES = 64  # pages of a view to compare
_MOST_PLACES = 4096  # offsets in a section to try
_MOST_TRIED = 16  # of these offsets, where more than one page is compared
_LOOKS = 8  # looks at a page that differs
_ZEROS = hash(bytes(PAGE_SIZE))
_UNREADABLE = hash(None)
_SILENT = (_ZEROS, _UNREADABLE)
_PRIVATE = MemoryProtection.WRITECOPY | MemoryProtection.EXECUTE_WRITECOPY


def with_sections(process: RemoteProcess, regions: list[Region]) -> list[Region]:
    """Return the regions with the names of the sections that may be behind them."""
    bases = {
        region.allocation_base
        for region in regions
        if region.type == MemoryType.MAPPED and region.path is None
    }
    if not bases:
        return regions
    whole = process.regions(min(bases))  # `regions` may begin or end within a view
    views = {
        base: _View(process, list(group))
        for base, group in itertools.groupby(whole, lambda row: row.allocation_base)
        if base in bases
    }
    rows = [row for row in named_objects("mapping") if row.size]
    held = [found and process.pid in found.pids for found in holders_of(rows)]
    left = list(views.values())
    for again in (False, True):
        if again:
            left = [one for one in left if not one.names or one.changes(one.pages)]
        for view in left:
            view.names, view.again = (), again
        for row, is_held in zip(rows, held, strict=True):
            for view in _possible(left, row, bool(is_held)):
                view.names += (row.name,)
    return [
        dataclasses.replace(region, sections=views[region.allocation_base].names)
        if region.allocation_base in views
        else region
        for region in regions
    ]


class _View:
    """A view in the target, and the names of its possible sections.

    Of its pages it keeps hashes: the bytes of many views would take much memory.
    """

    def __init__(self, process: RemoteProcess, regions: list[Region]) -> None:
        self.process = process
        self.base = regions[0].base
        self.size = regions[-1].end - self.base
        self.names: tuple[str, ...] = ()
        self.again = False
        self.quiet: set[int] = set()  # pages that many looks found unchanged
        self.pages: dict[int, int] = {}  # hash at each address
        self.changes(_some_pages(regions))
        self.telling = [at for at, page in self.pages.items() if page not in _SILENT]

    def changes(self, pages: Iterable[int]) -> bool:
        """Read these pages again, and tell whether one is not as before."""
        pages = list(pages)
        read = self.process.read_many([(at, PAGE_SIZE) for at in pages])
        before = [self.pages.get(at) for at in pages]
        self.pages.update(zip(pages, map(hash, read), strict=True))
        return before != [self.pages[at] for at in pages]

    def is_quiet(self, at: int) -> bool:
        """Whether the page is as before: by many looks, and later by one."""
        looks = 1 if at in self.quiet else _LOOKS
        quiet = not any(self.changes([at]) for _ in range(looks))
        (self.quiet.add if quiet else self.quiet.discard)(at)
        return quiet


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


def _possible(views: list[_View], row: NamedObject, held: bool) -> list[_View]:
    """Those of the views that may be of this section.

    If the target holds a handle of the section, these are all but those whose bytes
    differ. Without a handle, bytes must be equal and not all zero.
    """
    end = (row.size or 0) + PAGE_SIZE
    views = [view for view in views if view.size < end and (held or view.telling)]
    if not views:
        return []
    try:
        section = SharedMapping.open(row.name, access="read")
    except (OSError, ValueError):
        # The section has gone, or this process may not read it.
        return views if held else []
    process = type(views[0].process)
    with section, process.open(os.getpid()) as me, memoryview(section) as memory:
        start = section.address
        regions = list(me.regions(start, start + len(section), paths=True))
        if any(region.path for region in regions):
            return []  # a view of a file has its path
        bases = [region.base for region in regions]

        def ours(at: int) -> int:
            # A direct read of pages that are only reserved would fault.
            region = regions[bisect.bisect(bases, start + at) - 1]
            return hash(bytes(memory[at : at + PAGE_SIZE]) if region.readable else None)

        once = functools.cache(ours)
        return [
            view
            for view in views
            if _may_be(view, ours if view.again else once, len(section), held)
        ]


def _may_be(view: _View, ours: Callable[[int], int], size: int, held: bool) -> bool:
    """Whether the view may be of the section of this size."""
    last = min(size - view.size, _MOST_PLACES * _GRANULARITY)
    places: Sequence[int] = range(0, max(last, 0) + 1, _GRANULARITY)
    if len(places) > 1 and view.pages:
        at = (view.telling or list(view.pages))[0]
        # A page that is being written tells nothing.
        if not view.again or view.is_quiet(at):
            known = (_UNREADABLE, view.pages[at])
            shift = at - view.base
            places = [place for place in places if ours(place + shift) in known]
    for place in places[:_MOST_TRIED]:
        same = _same(view, ours, place - view.base)
        if same or (same is None and held):
            return True
    return held and len(places) > _MOST_TRIED


def _same(view: _View, ours: Callable[[int], int], shift: int) -> bool | None:
    """Whether the bytes are equal; None if all bytes that can be read are zero."""
    told = None
    for at in view.pages:
        for _ in range(_LOOKS):
            own = ours(at + shift)
            if _UNREADABLE in (own, view.pages[at]):
                break
            if own == view.pages[at]:
                told = True if own != _ZEROS else told
                break
            if not view.again or (
                view.is_quiet(at)
                and all(ours(at + shift) == own for _ in range(_LOOKS))
            ):
                return False
    return told
