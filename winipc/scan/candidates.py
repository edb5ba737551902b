"""`CandidateSet`: narrow down which addresses of a process hold a value."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from winipc import _core
from winipc.base.closing import Closing
from winipc.memory.pages import MemoryProtection
from winipc.scan.scan import (
    Pattern,
    ValueType,
    process_ranges,
    protection_mask,
    value_limits,
)

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess

__all__ = ["CandidateSet", "ValueChange"]


class ValueChange(StrEnum):
    """What a candidate's value has to have done since it was last read."""

    CHANGED = "changed"
    """It has other bytes."""
    UNCHANGED = "unchanged"
    """It has the same bytes."""
    INCREASED = "increased"
    DECREASED = "decreased"
    EQUALS = "equals"
    """It is the number given now, whatever it was."""
    IN_RANGE = "in_range"
    """It is between the two numbers given, both included."""
    BY = "by"
    """It went up by the number given, or by a number between the two given;
    negative is down. Integers wrap around."""


#: The values of scan_change in csrc/scan/kernels.h.
_CODES = {
    ValueChange.CHANGED: 0,
    ValueChange.UNCHANGED: 1,
    ValueChange.INCREASED: 2,
    ValueChange.DECREASED: 3,
    ValueChange.EQUALS: 4,
    ValueChange.IN_RANGE: 4,
    ValueChange.BY: 5,
}


class CandidateSet(_core.CandidateSet, Closing):
    """Addresses in another process, with the values that they last had.

    A first `scan` collects them, and each `rescan` keeps those whose value
    changed as said. It is iterated in the order of addresses. Millions are kept
    in little more memory than their values take. Any thread may use it; one
    rescans at a time. It holds the process until it is closed.
    """

    __slots__ = ("__weakref__",)

    @classmethod
    def scan(
        cls,
        process: RemoteProcess,
        kind: ValueType | str,
        *,
        equals: float | None = None,
        between: tuple[float, float] | None = None,
        tolerance: float = 0,
        aligned: bool = True,
        regions: Iterable[Any] | None = None,
        protection: MemoryProtection | int | str | None = "w",
        start: int | None = None,
        end: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        threads: int | None = None,
    ) -> Self:
        """Collect the values of a type, those of one value or those in a range.

        `kind` is a `ValueType` or its name. `equals` (give or take `tolerance`)
        or `between` (both limits included) choose values; with neither, every
        place is a candidate. `aligned` looks only at multiples of the size. The
        rest is as in `RemoteProcess.scan`, except that only writable memory is
        searched unless `protection` says otherwise; False from `progress` keeps
        what was found until then.

        Raises:
            ProcessLookupError: the target has exited.
            OverflowError: a number does not fit in the type.

        Win32: VirtualQueryEx, ReadProcessMemory
        """
        type_ = ValueType.named(kind)
        if equals is not None and between is not None:
            raise ValueError("either equals or between, not both")
        step = type_.size if aligned else 1
        if equals is not None:
            pattern = Pattern.value(type_, equals, tolerance=tolerance, aligned=aligned)
            spec = pattern.compile(None)
        elif between is not None:
            spec = Pattern.range(type_, *between, aligned=aligned).compile(None)
        else:
            # A pattern in which nothing is fixed.
            spec = (type_.size, bytes(type_.size), bytes(type_.size), b"", step)
        return cls._create(
            process,
            process_ranges(regions, start, end),
            protection_mask(protection),
            [spec],
            type_.number,
            progress,
            threads,
        )

    @property
    def kind(self) -> ValueType:
        """The type of its values."""
        return list(ValueType)[self._type]

    def rescan(
        self,
        change: ValueChange | str,
        low: float | None = None,
        high: float | None = None,
        *,
        tolerance: float = 0,
        progress: Callable[[int, int], object] | None = None,
        threads: int | None = None,
    ) -> int:
        """Read all values again and keep those that changed so; return how many.

        `change` is a `ValueChange` or its value: `rescan("increased")`,
        `rescan("equals", 5)`, `rescan("in_range", 1, 9)`, `rescan("by", -3)`,
        `rescan("by", 1, 3)`. `tolerance` widens what is asked for in both
        directions. `progress` is called now and then with the candidates done
        and their total; when it raises, or returns False, the set stays as it
        was. `threads` is that of `scan`. Candidates whose memory is gone are dropped
        and counted in `lost`.

        Raises:
            ProcessLookupError: the target has exited; the set stays as it was.
            ValueError: too few or too many numbers for this change.

        Win32: ReadProcessMemory
        """
        change = ValueChange(change)
        first, last = self._limits(change, low, high, tolerance)
        self._rescan(_CODES[change], first, last, progress, threads)
        return len(self)

    def _limits(
        self,
        change: ValueChange,
        low: float | None,
        high: float | None,
        tolerance: float,
    ) -> tuple[bytes, bytes]:
        """The two scan_number of the change."""
        wanted = {
            ValueChange.EQUALS: (1, 1),
            ValueChange.IN_RANGE: (2, 2),
            ValueChange.BY: (1, 2),
        }
        given = (low is not None) + (high is not None)
        least, most = wanted.get(change, (0, 0))
        if not least <= given <= most or (low is None and high is not None):
            raise ValueError(f"{change.value!r} takes {least} to {most} numbers")
        if not tolerance >= 0 or (tolerance and most == 0):
            raise ValueError("no such tolerance")
        if low is None:
            return bytes(8), bytes(8)
        if high is None:
            high = low
        if low > high:
            raise ValueError(f"low {low!r} is greater than high {high!r}")
        if change is ValueChange.BY:
            return self._delta_limits(low, high, tolerance)
        return value_limits(self.kind, low, high, tolerance)

    def _delta_limits(
        self, low: float, high: float, tolerance: float
    ) -> tuple[bytes, bytes]:
        kind = self.kind
        if kind.is_float:
            first, last = float(low) - tolerance, float(high) + tolerance
            if math.isnan(first) or math.isnan(last):
                raise ValueError("NaN is no difference")
            return struct.pack("<d", first), struct.pack("<d", last)
        if not isinstance(low, int) or not isinstance(high, int):
            raise TypeError(f"values of {kind} differ by an int")
        down, up = math.ceil(low - tolerance), math.floor(high + tolerance)
        span = 1 << 8 * kind.size
        if not -span < down <= up < span or up - down >= span:
            raise OverflowError(f"{kind} cannot differ by so much")
        mask = (1 << 64) - 1
        return struct.pack("<Q", down & mask), struct.pack("<Q", up & mask)

    def __iter__(self) -> Iterator[int]:
        return self._rows(False)

    def items(self) -> Iterator[tuple[int, int | float]]:
        """Each address with the value that it had when it was last read."""
        return self._rows(True)

    def _rows(self, values: bool) -> Iterator[Any]:
        version = self._version
        for number in itertools.count():
            if (block := self._take(number, version)) is None:
                return
            base, step, places, found = block
            addresses = [base + at * step for at in memoryview(places).cast("H")]
            if values:
                numbers = struct.iter_unpack(self.kind.format, found)
                for address, (number_,) in zip(addresses, numbers, strict=True):
                    yield address, number_
            else:
                yield from addresses

    def __repr__(self) -> str:
        if self.closed:
            return "<CandidateSet closed>"
        return f"<CandidateSet of {len(self)} {self.kind}>"
