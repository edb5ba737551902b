"""A search for a regular expression in the memory of another process."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess

__all__ = ["RegexMatch"]

#: The bytes of one read.
_PIECE = 1 << 20
_OVERLAP_MOST = 1 << 26


class RegexMatch(NamedTuple):
    """One match of a regular expression."""

    address: int  #: the address of the first byte
    data: bytes  #: the bytes of the match
    groups: tuple[bytes | None, ...]  #: see `re.Match.groups`

    def __repr__(self) -> str:
        address, data, groups = self
        return f"RegexMatch({address=:#x}, {data=}, {groups=})"


def regex_scan(
    process: RemoteProcess,
    regex: bytes | re.Pattern[bytes],
    overlap: int,
    ranges: bytes,
    protections: int,
    progress: Callable[[int, int], object] | None,
    limit: int | None,
) -> Iterator[RegexMatch]:
    """See `RemoteProcess.scan_regex`."""
    compiled = re.compile(regex)
    if not isinstance(compiled.pattern, bytes):
        raise TypeError(f"a regular expression of bytes, not {compiled.pattern!r}")
    if not 1 <= overlap <= _OVERLAP_MOST:
        raise ValueError(f"overlap must be 1 to {_OVERLAP_MOST} bytes, not {overlap}")
    if limit is not None and limit < 1:
        raise ValueError("limit must be >= 1, or None")
    stretches = _stretches(process, ranges, protections)
    found = _search(process, stretches, _Window(compiled, overlap), progress)
    return itertools.islice(found, limit)


def _search(
    process: RemoteProcess,
    stretches: Iterable[tuple[int, int]],
    window: _Window,
    progress: Callable[[int, int], object] | None,
) -> Iterator[RegexMatch]:
    stretches = list(stretches)
    total = sum(size for _, size in stretches)
    done = 0
    for base, size in stretches:
        for at in range(base, base + size, _PIECE):
            step = min(_PIECE, base + size - at)
            for place, data in process.read(at, step, partial=True).runs():
                yield from window.take(place, data)
            done += step
            if progress is not None and progress(done, total) is False:
                return
    yield from window.finish()


def _stretches(
    process: RemoteProcess, ranges: bytes, protections: int
) -> Iterator[tuple[int, int]]:
    """The base and the size of the memory to search."""
    return (
        (max(region.base, low), min(region.end, high) - max(region.base, low))
        for low, high in struct.iter_unpack("<QQ", ranges)
        for region in process.regions(low, high)
        if region.readable
        and (not protections or region.protection & 0xFF & protections)
    )


class _Window:
    """Adjacent bytes; those before `position` have been searched."""

    def __init__(self, regex: re.Pattern[bytes], overlap: int) -> None:
        self._regex, self._overlap = regex, overlap
        self._base = self._position = 0
        self._data = b""

    def take(self, address: int, data: bytes) -> Iterator[RegexMatch]:
        """Add bytes, and search all but the last ones."""
        if address != self._base + len(self._data):
            yield from self.finish()
            self._base = address
        self._data += data
        yield from self._matches(len(self._data) - self._overlap)
        # Keep bytes before the position, for expressions that look behind.
        if (old := self._position - self._overlap) > 0:
            self._data = self._data[old:]
            self._base += old
            self._position -= old

    def finish(self) -> Iterator[RegexMatch]:
        """Search up to the end, as no adjacent bytes follow."""
        yield from self._matches(len(self._data))
        self._data = b""
        self._position = 0

    def _matches(self, end: int) -> Iterator[RegexMatch]:
        """The matches that begin before `end`."""
        if end <= self._position:
            return
        for match in self._regex.finditer(self._data, self._position):
            if match.start() >= end:
                break
            if match.end() > match.start():
                self._position = match.end()
                yield RegexMatch(
                    self._base + match.start(), match.group(), match.groups()
                )
        self._position = max(self._position, end)
