"""`CandidateSet`: narrow down the addresses of a process that hold a value."""

from __future__ import annotations

import array
import bisect
import contextlib
import itertools
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Self

from winipc import _core
from winipc.base.closing import Closing
from winipc.base.text import Words
from winipc.memory.pages import MemoryProtection
from winipc.scan._files import check_format, reading
from winipc.scan.pointers import module_version
from winipc.scan.scan import (
    Pattern,
    ValueType,
    process_ranges,
    protection_mask,
    value_limits,
)

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess
    from winipc.scan.scan import PatternLike

__all__ = ["CandidateSet", "ValueChange"]


class ValueChange(Words):
    """How a value must have changed since it was last read, to stay a candidate."""

    CHANGED = "changed"
    """The value has other bytes."""
    UNCHANGED = "unchanged"
    """The value has the same bytes."""
    INCREASED = "increased"
    """The value is greater than before."""
    DECREASED = "decreased"
    """The value is less than before."""
    EQUALS = "equals"
    """The value is now the given number."""
    IN_RANGE = "in_range"
    """The value is now between the two given numbers, both included."""
    BY = "by"
    """The value grew by the given number, or by a number between the two given numbers;
    a negative number means that it shrank. Integers wrap around."""


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


#: The type number of bytes: SCAN_TYPES in csrc/scan/kernels.h.
_BYTES = len(ValueType)
#: The format and version in a file of candidates.
_FORMAT = {"format": "winipc candidates", "version": 1}
#: The most bytes of a file's head.
_HEAD_MOST = 1 << 20
#: Addresses of one block, and the most bytes of its values: csrc/scan/candidates.c.
_WINDOW = 65536
_VALUES_MOST = 8 * _WINDOW
#: A block in a file: base, candidates, the first and the last place.
_BLOCK = struct.Struct("<QIHH")


class CandidateSet(_core.CandidateSet, Closing):
    """Addresses in another process, with the values that were last read there.

    ::

        with winipc.CandidateSet.scan(process, "i32", equals=3) as found:
            process.set(address, "i32", 2)  # a life is lost in the game
            found.rescan("by", -1)
            print(address in found)  # True

    `scan` collects them, and each `rescan` keeps the addresses whose values changed as
    you say. Iteration returns the addresses in order. Millions of candidates take
    little more memory than their values. Any thread may use the object; one thread at a
    time may rescan. It keeps the process open until it is closed.
    """

    __slots__ = ("__weakref__", "_encoding")

    _encoding: str | None

    @classmethod
    def scan(
        cls,
        process: RemoteProcess,
        kind: ValueType | str,
        equals: float | PatternLike | None = None,
        *,
        between: tuple[float, float] | None = None,
        negate: bool = False,
        tolerance: float = 0,
        aligned: bool = True,
        keep_first: bool = False,
        undo_bytes: int = 1 << 26,
        regions: Iterable[Any] | None = None,
        protection: MemoryProtection | int | str | None = "w",
        start: int | None = None,
        end: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        threads: int | None = None,
    ) -> Self:
        """Collect the places that hold one value, a value in a range, or any value.

        With neither `equals` nor `between`, every place is a candidate.

        Args:
            process: The target, opened with `ProcessAccess.READ`.
            kind: A `ValueType` or its name; or an encoding, such as `"utf-16-le"`; or
                `"bytes"`.
            equals: The value: a number; a str for an encoding; a `Pattern`, or what is
                accepted as one, for `"bytes"`. An encoding and `"bytes"` need it, and
                take none of the next three.
            between: Two numbers: the values from one to the other, both included.
                `math.inf` is no limit.
            negate: Collect all values but these.
            tolerance: Collect the numbers from `equals - tolerance` to
                `equals + tolerance`.
            aligned: Only addresses that are multiples of the size of the number.
            keep_first: Keep the values of this scan, for `rescan(since="first")`; only
                for numbers.
            undo_bytes: Up to 16 sets are kept for `undo`, if together they take at most
                so many bytes.
            regions, start, end, threads: As in `RemoteProcess.scan`.
            protection: As in `RemoteProcess.scan`, but by default only writable memory
                is searched.
            progress: As in `RemoteProcess.scan`; if it returns False, the scan ends and
                keeps what it has found.

        Raises:
            ProcessLookupError: The target has exited.
            PermissionError: `process` was opened without `ProcessAccess.READ`.
            ValueError: There is no such `kind`; two arguments exclude each other, or
                one needs another; a limit or a pattern is not valid; or `process` is
                closed.
            TypeError: `equals` or `between` is not of this `kind`.
            OverflowError: A number does not fit in the type.

        Win32: VirtualQueryEx, ReadProcessMemory
        """
        if equals is not None and between is not None:
            raise ValueError("either equals or between, not both")
        if negate and equals is None and between is None:
            raise ValueError("negate what? equals or between")
        if tolerance and equals is None:
            raise ValueError("tolerance of what? equals")
        type_, encoding = _kind_of(kind)
        if type_ is None:
            if equals is None or negate or tolerance:
                raise ValueError(f"{kind!r} takes equals, and nothing else")
            if keep_first:
                raise ValueError("keep_first is for numbers")
            spec = _bytes_pattern(encoding, equals).compile(None)
        elif isinstance(equals, (int, float)):
            spec = Pattern.value(
                type_, equals, tolerance=tolerance, negate=negate, aligned=aligned
            ).compile(None)
        elif equals is not None:
            raise TypeError(f"{type_} is equal to a number, not {equals!r}")
        elif between is not None:
            spec = Pattern.range(
                type_, *_both(between), negate=negate, aligned=aligned
            ).compile(None)
        else:
            # A pattern in which nothing is fixed.
            nothing = bytes(type_.size)
            spec = (*(type_.size, nothing, nothing, b""), type_.size if aligned else 1)
        found = cls._create(
            process,
            process_ranges(regions, start, end),
            protection_mask(protection),
            [spec],
            _BYTES if type_ is None else type_.number,
            keep_first,
            undo_bytes,
            progress,
            threads,
        )
        found._encoding = encoding
        return found

    @property
    def kind(self) -> ValueType | str:
        """The type of the values, their encoding, or "bytes"."""
        return self._number or self._encoding or "bytes"

    @property
    def _number(self) -> ValueType | None:
        return None if self._type == _BYTES else list(ValueType)[self._type]

    def rescan(
        self,
        change: ValueChange | str | None = None,
        low: float | PatternLike | None = None,
        high: float | None = None,
        *,
        equals: float | PatternLike | None = None,
        between: tuple[float, float] | None = None,
        negate: bool = False,
        since: Literal["last", "first"] = "last",
        tolerance: float = 0,
        progress: Callable[[int, int], object] | None = None,
        threads: int | None = None,
    ) -> int:
        """Read all values again, and keep those that changed as asked.

        Returns the number of candidates.

        `change` is a `ValueChange` or its value: `rescan("increased")`,
        `rescan("equals", 5)`, `rescan("in_range", 1, 9)`, `rescan("by", -3)`,
        `rescan("by", 1, 3)`; or, as in `scan`, `rescan(equals=5)` and
        `rescan(between=(1, 9))`. `negate` keeps all other candidates. A value is
        compared with that of the last read; or, with `since="first"`, with that of the
        first scan, if that kept its values ("equals" and "in_range" take no `since`).
        `tolerance` widens the numbers in both directions. For text and bytes, `change`
        is "changed", "unchanged" or "equals"; the new text may be longer or shorter.

        `progress` is called now and then with the candidates done and their total; if
        it raises or returns False, the set stays as it was. `threads` is that of
        `scan`. Candidates whose memory is gone are dropped, and counted in `lost`.

        Raises:
            ProcessLookupError: The target has exited; the set stays as it was.
            ValueError: There are too few or too many numbers for this change, an
                argument that it does not take, or the first values were not kept.

        Win32: ReadProcessMemory
        """
        if (change, equals, between).count(None) != 2:
            raise ValueError("rescan takes a change, equals or between")
        if change is None and (low is not None or high is not None):
            raise ValueError("low and high belong to a change, such as 'in_range'")
        if between is not None:
            change, (low, high) = ValueChange.IN_RANGE, _both(between)
        elif change is None:
            change, low = ValueChange.EQUALS, equals
        change = ValueChange(change)
        if since not in ("last", "first"):
            raise ValueError(f"since {since!r}: 'last' or 'first'")
        if since == "first" and change in (ValueChange.EQUALS, ValueChange.IN_RANGE):
            raise ValueError(
                f"{change.value!r} compares with numbers: it takes no since"
            )
        if since == "first" and not self._keeps_first:
            raise ValueError(
                "the first values were not kept: scan with keep_first=True"
            )
        limits: tuple[Any, ...]
        if self._number is not None:
            limits = self._limits(self._number, change, low, high, tolerance)
        else:
            limits = self._bytes_limits(change, low, high, tolerance)
        self._rescan(
            _CODES[change], limits, since == "first", negate, progress, threads
        )
        return len(self)

    def undo(self) -> int:
        """Take back the last rescan; return the number of candidates.

        Raises:
            ValueError: There was no rescan, or the set before it was too large to keep.

        Win32: none
        """
        if self._undo() is False:
            raise ValueError(
                "there is no earlier set; undo keeps up to 16 that fit in undo_bytes"
            )
        return len(self)

    def _bytes_limits(
        self, change: ValueChange, low: Any, high: object, tolerance: float
    ) -> tuple[Any, ...]:
        """A tuple with the pattern, or an empty tuple."""
        if high is not None or tolerance:
            raise ValueError(f"{self.kind!r} takes no range")
        if change is ValueChange.EQUALS and low is not None:
            return (_bytes_pattern(self._encoding, low).compile(1),)
        if (
            change not in (ValueChange.CHANGED, ValueChange.UNCHANGED)
            or low is not None
        ):
            raise ValueError(f"{self.kind!r}: 'changed', 'unchanged', or 'equals' one")
        return ()

    def _limits(
        self,
        kind: ValueType,
        change: ValueChange,
        low: Any,
        high: Any,
        tolerance: float,
    ) -> tuple[bytes, bytes]:
        """The two limits (scan_number in C) of the change."""
        wanted = {
            ValueChange.EQUALS: (1, 1, "one number"),
            ValueChange.IN_RANGE: (2, 2, "two numbers"),
            ValueChange.BY: (1, 2, "one or two numbers"),
        }
        given = (low is not None) + (high is not None)
        least, most, words = wanted.get(change, (0, 0, "no numbers"))
        if not least <= given <= most or (low is None and high is not None):
            raise ValueError(f"{change.value!r} takes {words}")
        if not tolerance >= 0 or (tolerance and most == 0):
            raise ValueError("no such tolerance")
        if low is None:
            return bytes(8), bytes(8)
        if high is None:
            high = low
        if low > high:
            raise ValueError(f"low {low!r} is greater than high {high!r}")
        if change is ValueChange.BY:
            return _delta_limits(kind, low, high, tolerance)
        if change is ValueChange.EQUALS:
            kind.check(low)
        return value_limits(kind, low, high, tolerance)

    def __iter__(self) -> Iterator[int]:
        for _, addresses, _ in self._blocks():
            yield from addresses

    def items(self) -> Iterator[tuple[int, Any]]:
        """Iterate over each address with the value that was last read there.

        `list(candidates.items())` has all, `itertools.islice(candidates.items(), 10)`
        the first ten: there may be millions.
        """
        kind, encoding = self._number, self._encoding
        for _, addresses, data in self._blocks():
            if kind is not None:
                numbers = struct.iter_unpack(kind.format, data)
                yield from zip(
                    addresses, itertools.chain.from_iterable(numbers), strict=True
                )
                continue
            width = len(data) // len(addresses)
            for at, address in enumerate(addresses):
                part = data[at * width : (at + 1) * width]
                yield address, part.decode(encoding, "replace") if encoding else part

    def _blocks(self) -> Iterator[tuple[int, list[int], bytes]]:
        """The number, the addresses and the values of each block."""
        version = self._version
        for number in itertools.count():
            if (block := self._take(number, version, False)) is None:
                return
            base, step, places, values = block
            addresses = [base + at * step for at in memoryview(places).cast("H")]
            yield number, addresses, values

    # ------------------------------------------------------------------- files

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the candidates and their values to a file, for `load`.

        `docs/scanning.md` has the format. The sets for `undo` are not written.

        Raises:
            RuntimeError: Another thread changed the set meanwhile.

        Win32: EnumProcessModulesEx, ReadProcessMemory, GetProcessTimes
        """
        import json  # few programs need json and zlib
        import zlib

        if self.closed:
            raise ValueError("CandidateSet is closed")
        version = self._version
        head = {
            **_FORMAT,
            "kind": str(self.kind),
            "width": self._width,
            "step": self._step,
            "first": bool(self._keeps_first),
            "candidates": len(self),
            "process": _identity(self._process),
            "modules": [
                [m.name, m.base, m.size, module_version(self._process, m)]
                for m in self._process.modules()
            ],
        }
        squeeze = zlib.compressobj(1)
        with open(path, "wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            for number in itertools.count():
                if (block := self._take(number, version, False)) is None:
                    break
                base, _, places, values = block
                count, first, last = len(places) // 2, places[:2], places[-2:]
                parts = [struct.pack("<QI", base, count), first, last, values]
                if not _is_solid(count, *struct.unpack("<HH", first + last)):
                    parts.insert(3, places)
                if self._keeps_first:
                    again = self._take(number, version, True)
                    assert again is not None
                    parts.append(again[3])
                for part in parts:
                    file.write(squeeze.compress(part))
            file.write(squeeze.flush())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        process: RemoteProcess,
        *,
        another_run: bool = False,
        undo_bytes: int = 1 << 26,
        max_bytes: int = 1 << 28,
    ) -> Self:
        """Read a file of `save`: candidates of `process`, with the values at that time.

        A file of another run of the program is refused, as memory is elsewhere in each
        run. With `another_run`, the candidates in modules are kept, at their new
        addresses, if `process` has loaded the same build of the module; `lost` counts
        all others. The set may take at most `max_bytes` of memory.

        Raises:
            ValueError: The file is not of this format, is cut off or damaged, takes
                more than `max_bytes`, or is of another run or another bitness.

        Win32: EnumProcessModulesEx, ReadProcessMemory, GetProcessTimes
        """
        import json
        import zlib

        try:
            with reading(path, "candidates"), open(path, "rb") as file:
                head = _Head(json.loads(_first_line(file)))
                moved = head.moved(process, another_run)
                found = cls._empty(
                    process,
                    _BYTES if head.kind is None else head.kind.number,
                    head.width,
                    head.step,
                    head.first,
                    undo_bytes,
                )
                found._encoding = head.encoding
                found._fill(head, _Body(file, zlib.decompressobj()), moved, max_bytes)
        except _RunError as error:
            raise ValueError(f"{os.fspath(path)!r}: {error}") from None
        except zlib.error as error:
            text = f"{os.fspath(path)!r} is no file of candidates, or damaged: {error}"
            raise ValueError(text) from error
        return found

    def _fill(
        self,
        head: _Head,
        body: _Body,
        moved: Callable[[int], int | None] | None,
        max_bytes: int,
    ) -> None:
        """Add all candidates of a file."""
        left, size = head.candidates, 0
        rows = []
        while left > 0:
            base, count, first, last = _BLOCK.unpack(body.read(_BLOCK.size))
            if not 0 < count <= min(left, _WINDOW, _VALUES_MOST // head.width):
                raise ValueError(f"a block says that it has {count} candidates")
            if _is_solid(count, first, last):
                places = array.array("H", range(first, last + 1)).tobytes()
            else:
                places = body.read(2 * count)
            row = [places, body.read(head.width * count)]
            row.append(body.read(head.width * count) if head.first else b"")
            left -= count
            to = base if moved is None else moved(base)
            if to is None:
                self._lost += count
                continue
            size += sum(map(len, row))
            if size > max_bytes:
                raise _RunError(f"its candidates take more than {max_bytes=} bytes")
            if moved is None:
                self._put(base, row[0], row[1], row[2] or None)
            else:
                rows.append((to, row))
        body.end()
        # Modules may be in another order; the blocks of a window keep their order.
        rows.sort(key=lambda row: row[0])
        for to, row in rows:
            self._put(to, row[0], row[1], row[2] or None)

    def __repr__(self) -> str:
        if self.closed:
            return "<CandidateSet closed>"
        return f"<CandidateSet of {len(self)} {self.kind}>"


def _both(between: Any) -> tuple[float, float]:
    """The limits of a range. Raises TypeError for anything but two numbers."""
    try:
        low, high = between
    except (TypeError, ValueError):
        text = f"between takes two numbers, such as (1, 9), not {between!r}"
        raise TypeError(text) from None
    return low, high


def _kind_of(kind: ValueType | str) -> tuple[ValueType | None, str | None]:
    """The number type, or the encoding; neither for bytes."""
    if kind == "bytes":
        return None, None
    try:
        return ValueType.named(kind), None
    except ValueError as error:
        with contextlib.suppress(LookupError, ValueError):
            "".encode(str(kind))
            return None, str(kind)
        text = f"{error}; encodings, such as 'utf-8'; and 'bytes'"
        raise ValueError(text) from None


def _bytes_pattern(encoding: str | None, what: Any) -> Pattern:
    """The pattern with which bytes or text are compared."""
    if encoding is None:
        return Pattern._of(what)
    if not isinstance(what, str):
        raise TypeError(f"text in {encoding} is a str, not {what!r}")
    return Pattern.text(what, encoding)


def _delta_limits(
    kind: ValueType, low: Any, high: Any, tolerance: float
) -> tuple[bytes, bytes]:
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


# ------------------------------------------------------------------- files


class _RunError(Exception):
    """A valid file that is not for this process, or too large."""


def _identity(process: RemoteProcess) -> dict[str, Any]:
    """The facts that identify a run of a program."""
    started = None
    with contextlib.suppress(OSError):
        _, started = _core._process_image(process.pid)
    return {
        "pid": process.pid,
        "name": process.name,
        "started": started,
        "bitness": 8 * process.pointer_size,
    }


def _is_solid(count: int, first: int, last: int) -> bool:
    """Whether a block has every place from the first to the last."""
    return count == last - first + 1


def _first_line(file: BinaryIO) -> str:
    line = file.readline(_HEAD_MOST)
    if not line.endswith(b"\n"):
        raise ValueError("it has no head")
    return line.decode()


class _Head:
    """The head of a file; nothing in it is trusted."""

    def __init__(self, data: Any) -> None:
        check_format(data, _FORMAT)
        self.kind, self.encoding = _kind_of(str(data["kind"]))
        self.width, self.step = data["width"], data["step"]
        self.first, self.candidates = data["first"], data["candidates"]
        self.process, self.modules = data["process"], data["modules"]
        if not 1 <= self.width <= _WINDOW or not 1 <= self.step <= 64:
            raise ValueError(f"values of {self.width} bytes at each {self.step}")
        if type(self.first) is not bool or type(self.candidates) is not int:
            raise ValueError("its head says nothing")

    def moved(
        self, process: RemoteProcess, another_run: bool
    ) -> Callable[[int], int | None] | None:
        """Return a function from a window's address to that in this run.

        None means that the file is of this run.
        """
        there, here = self.process, _identity(process)
        run = f"{there['name']}, pid {there['pid']}, of {there['bitness']} bits"
        if there["bitness"] != here["bitness"]:
            raise _RunError(f"its candidates are of {run}, not {here['bitness']}")
        if there["started"] is not None and there == here:
            return None
        if not another_run:
            raise _RunError(
                f"its candidates are of another run, {run}: their addresses mean "
                "nothing here; another_run=True keeps those in modules"
            )
        bases = {
            (module.name.casefold(), version): module.base
            for module in process.modules()
            if (version := module_version(process, module))
        }
        rows = sorted((base, size, name, v) for name, base, size, v in self.modules)
        starts = [row[0] for row in rows]

        def moved(window: int) -> int | None:
            at = bisect.bisect_right(starts, window) - 1
            if at < 0:
                return None
            base, size, name, version = rows[at]
            to = bases.get((name.casefold(), version))
            # Modules begin at window boundaries, so a window moves as a whole.
            if to is None or window >= base + size or (to - base) % _WINDOW:
                return None
            return int(window - base + to)

        return moved


class _Body:
    """The blocks of a file; it decompresses no more than is read."""

    def __init__(self, file: BinaryIO, stream: Any) -> None:
        self._file, self._stream = file, stream

    def _some(self, most: int) -> bytes:
        data = self._stream.unconsumed_tail or self._file.read(65536)
        found: bytes = self._stream.decompress(data, most)
        if not found and not data and not self._stream.eof:
            raise ValueError("it is cut off")
        return found

    def read(self, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:
            if self._stream.eof:
                raise ValueError("it has fewer candidates than it says")
            out += self._some(size - len(out))
        return bytes(out)

    def end(self) -> None:
        while not self._stream.eof:
            if self._some(1):
                raise ValueError("it has more candidates than it says")
        if self._stream.unused_data or self._file.read(1):
            raise ValueError("something is behind its end")
