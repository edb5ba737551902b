"""Searches for patterns and values in bytes and in other processes' memory."""

from __future__ import annotations

import contextlib
import math
import operator
import re
import struct
import sys
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Self, SupportsIndex, TypeAlias, cast

from winipc import _core
from winipc.base.closing import Closing
from winipc.errors import add_hint
from winipc.memory.pages import MemoryProtection

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from winipc.memory.layout import Layout
    from winipc.scan.signature import Signature

__all__ = ["Pattern", "Scan", "ScanMatch", "ValueType", "scan_bytes"]

_NO_LIMIT = (1 << 64) - 1
#: The last address that this process can ask for.
_ADDRESS_END = 2 * sys.maxsize + 1
_MAX_LENGTH = 65536
#: packed_field in csrc/scan/scan.c.
_FIELD = struct.Struct("<IHH8s8s")


class ValueType(str, Enum):  # noqa: UP042 - StrEnum shows the value, not the name
    """A number type; `value` is its `struct` code.

    Wherever a type is expected, its name (`"i32"`) or its struct code (`"i"`, `"<i"`)
    is accepted, too. Types that end in "be" are big-endian, and their codes begin with
    `>`; only scans take them.
    """

    # The order is that of scan_type in csrc/scan/kernels.h.
    #: An unsigned integer of 1 byte.
    U8 = "B"
    #: A signed integer of 1 byte.
    I8 = "b"
    #: An unsigned integer of 2 bytes.
    U16 = "H"
    #: A signed integer of 2 bytes.
    I16 = "h"
    #: An unsigned integer of 4 bytes.
    U32 = "I"
    #: A signed integer of 4 bytes.
    I32 = "i"
    #: An unsigned integer of 8 bytes.
    U64 = "Q"
    #: A signed integer of 8 bytes.
    I64 = "q"
    #: A number with a fraction, of 4 bytes (``float`` in C).
    F32 = "f"
    #: A number with a fraction, of 8 bytes (``double`` in C).
    F64 = "d"
    #: An unsigned integer of 2 bytes, big-endian.
    U16BE = ">H"
    #: A signed integer of 2 bytes, big-endian.
    I16BE = ">h"
    #: An unsigned integer of 4 bytes, big-endian.
    U32BE = ">I"
    #: A signed integer of 4 bytes, big-endian.
    I32BE = ">i"
    #: An unsigned integer of 8 bytes, big-endian.
    U64BE = ">Q"
    #: A signed integer of 8 bytes, big-endian.
    I64BE = ">q"
    #: A number with a fraction, of 4 bytes, big-endian (``float`` in C).
    F32BE = ">f"
    #: A number with a fraction, of 8 bytes, big-endian (``double`` in C).
    F64BE = ">d"

    @property
    def format(self) -> str:  # type: ignore[override]
        """The `struct` format, with the byte order."""
        return self.value if self.value[0] == ">" else "<" + self.value

    @property
    def size(self) -> int:
        """The size of a value in bytes."""
        return struct.calcsize(self.format)

    @property
    def is_float(self) -> bool:
        """Whether it is a floating-point type."""
        return self.value[-1] in "fd"

    @property
    def number(self) -> int:
        """The place of the type in the list of all types, from 0."""
        return list(ValueType).index(self)

    @classmethod
    def named(cls, kind: ValueType | str) -> ValueType:
        """The type with a name such as "i32", or with a struct code such as "i".

        Raises:
            ValueError: There is no such type.
            TypeError: `kind` is neither a type nor a str.
        """
        if isinstance(kind, ValueType):
            return kind
        if not isinstance(kind, str):
            raise TypeError(f"a type of numbers is a str such as 'i32', not {kind!r}")
        word = kind.removesuffix("be").removeprefix(">")
        try:
            code = _core._number_code(word)
            return cls(code if word == kind else f">{code}")
        except ValueError:
            names = " ".join(map(str, cls))
            raise ValueError(
                f"no type {kind!r}: there are {names}, and their struct codes"
            ) from None

    def __str__(self) -> str:
        return self.name.lower()

    def bounds(self) -> tuple[int, int]:
        """The least and the greatest number of an integer type."""
        bits = 8 * self.size
        if self.value[-1].isupper():
            return 0, (1 << bits) - 1
        return -(1 << bits - 1), (1 << bits - 1) - 1

    def check(self, value: float) -> int | float:
        """Convert `value` to a number of this type.

        Raises:
            TypeError: `value` is no number.
            OverflowError: The type has no such number.
            ValueError: The value is NaN.
        """
        if self.is_float:
            number = float(value)
            if math.isnan(number):
                raise ValueError("NaN is equal to nothing: look for its bytes")
            return number
        if not isinstance(value, SupportsIndex):
            raise TypeError(f"{self} takes an int, not {value!r}")
        whole = operator.index(value)
        low, high = self.bounds()
        if not low <= whole <= high:
            raise OverflowError(f"{whole} does not fit in {self}")
        return whole

    def check_limit(self, value: float) -> int | float:
        """Like `check`; for an integer type, infinity becomes the type's limit."""
        if not self.is_float and isinstance(value, float) and math.isinf(value):
            return self.bounds()[value > 0]
        return self.check(value)

    def pack_limit(self, value: float, *, upward: bool) -> bytes:
        """Pack a limit as scan_number of C; rounding never widens the range."""
        if self.value[-1] == "d":
            return struct.pack("<d", value)
        if self.value[-1] == "f":
            return struct.pack("<f4x", _to_float32(value, upward=upward))
        return struct.pack("<q" if value < 0 else "<Q", value)


def _to_float32(value: float, *, upward: bool) -> float:
    """The nearest 32-bit float that is not below `value` (upward), or not above it."""
    if math.isinf(value):
        return value
    try:
        near: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:  # beyond the greatest finite float
        near = math.copysign(math.inf, value)
    if near == value or (near > value) == upward:
        return near
    # One step in the right direction, through the bits.
    (bits,) = struct.unpack("<i", struct.pack("<f", near))
    if near == 0.0:
        bits = 1 if upward else -0x7FFFFFFF
    else:
        bits += 1 if (near > 0) == upward else -1
    stepped: float = struct.unpack("<f", struct.pack("<i", bits))[0]
    return stepped


def _fits_float(kind: ValueType, number: float) -> bool:
    """Whether the float type holds the number exactly."""
    try:
        data = struct.pack(kind.format, float(number))
    except OverflowError:
        return False
    return bool(struct.unpack(kind.format, data)[0] == number)


#: Bytes that look like a regular expression: three dots in a row next to a byte that is
#: not text, or an escape in letters.
_EXPRESSION = re.compile(
    rb"[^\x20-\x7e\0\t\r\n]\.{3,}[^.]|[^.]\.{3,}[^\x20-\x7e\0\t\r\n]"
    rb"|\\x[0-9a-fA-F]{2}"
)


#: A pattern as in C programs: \x48\x8B\x00, and perhaps the mask xx? after it.
_ESCAPED = re.compile(r"\s*((?:\\x[0-9a-fA-F]{2})+)(?:\s+([x?]+))?\s*")


def _byte_mask(mask: str, size: int) -> bytes:
    """Convert a mask as in C programs, for `size` bytes."""
    if len(mask) != size or not set(mask) <= set("x?"):
        raise ValueError(f"the mask {mask!r} is not {size} times 'x' or '?'")
    return bytes(255 if sign == "x" else 0 for sign in mask)


def _other_habit(text: str) -> str:
    """Say how to write a pattern that has another tool's notation, if that is known."""
    if "\\x" in text:
        return r": write r'\x48\x8B\x00 xx?', the bytes and then the mask"
    if re.fullmatch(r"[\s,]*(0[xX][0-9a-fA-F]{2}[\s,]*)+", text):
        return ": write 48 for 0x48, with spaces between"
    if "*" in text or "." in text:
        return ": write '??' for any byte"
    if not text.isascii() or not text.isprintable():
        return ": bytes are given as bytes, with a mask to Pattern.exact"
    return ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a scan looks for; class methods make it.

    ::

        code = bytes.fromhex("90 48 8B 05 11 22 33 44 C3")
        pattern = winipc.Pattern.hex("48 8B 05 ?? ?? ?? ??")
        print(list(winipc.scan_bytes(code, pattern)))  # [1]
        print(list(winipc.scan_bytes(code, winipc.Pattern.value("u8", 0xC3))))  # [8]

    Wherever a pattern is expected, `bytes` mean `Pattern.exact`, and a `str` means
    `Pattern.hex`; for text, use `Pattern.text`. A dot in `bytes` is a dot, not a
    wildcard: bytes that look like a regular expression (`b"\\x48....\\x05"`) cause a
    warning, except in `Pattern.exact`.
    """

    _spec: tuple[int, bytes | None, bytes | None, bytes]  # see wi_scan_compile
    _alignment: int
    _text: str

    def __repr__(self) -> str:
        return f"Pattern.{self._text}"

    @property
    def size(self) -> int:
        """The size of a match in bytes."""
        return self._spec[0]

    @classmethod
    def exact(cls, data: Buffer, mask: str | None = None) -> Self:
        """These bytes, 1 to 65,536 of them.

        `mask`, as in C programs, has an `x` for each fixed byte, and a `?` for each
        byte that may have any value: `Pattern.exact(b"\\x48\\x8B\\0", "xx?")`.

        Raises:
            ValueError: The mask has other characters, or not the length of the bytes.
        """
        value = bytes(memoryview(data))
        if mask is None:
            return cls._make(value, None, f"exact({_shorten(value)!r})")
        text = f"exact({_shorten(value)!r}, {_shorten(mask)!r})"
        return cls._make(value, _byte_mask(mask, len(value)), text)

    @classmethod
    def hex(cls, text: str) -> Self:
        """Bytes in hexadecimal with wildcards, as in IDA and Cheat Engine.

        In `"48 8B ?? ?? 05"`, each `?` stands for any hexadecimal digit; `"4? ?B"`
        fixes half of each byte. A single `?` stands for a whole byte. Spaces between
        bytes are optional. The bytes may also be written as in C, with or without a
        mask for `exact` after them: `r"\\x48\\x8B\\x00 xx?"`.

        Raises:
            ValueError: The text is not of this form, or nothing in it is fixed.
        """
        shown = f"hex({_shorten(text)!r})"
        if escaped := _ESCAPED.fullmatch(text):
            value = bytes.fromhex(escaped[1].replace("\\x", ""))
            mask = _byte_mask(escaped[2], len(value)) if escaped[2] else None
            return cls._make(value, mask, shown)
        digits = ""
        for word in text.split():
            word = "??" if word == "?" else word
            if len(word) % 2:
                raise ValueError(
                    f"{word!r} in pattern {text!r} has half a byte" + _other_habit(text)
                )
            digits += word
        for digit in digits:
            if digit not in "0123456789abcdefABCDEF?":
                raise ValueError(
                    f"{digit!r} in pattern {text!r} is neither a hexadecimal digit "
                    "nor '?', which is the wildcard" + _other_habit(text)
                )
        fixed = "".join("0" if digit == "?" else "f" for digit in digits)
        value = bytes.fromhex(digits.replace("?", "0"))
        return cls._make(value, bytes.fromhex(fixed), shown)

    @classmethod
    def text(cls, text: str, encoding: str = "utf-8") -> Self:
        """This text in an encoding: `"utf-8"`, `"utf-16-le"`, ...

        Name the byte order: `"utf-16"` would add a byte order mark.

        Raises:
            ValueError: The text is empty, or the encoding adds a mark.
            UnicodeEncodeError: The encoding lacks a character.
        """
        data = text.encode(encoding)
        if text and "".encode(encoding):
            raise ValueError(f"{encoding!r} adds a byte order mark: name the order")
        return cls._make(data, None, f"text({_shorten(text)!r}, {encoding!r})")

    @classmethod
    def value(
        cls,
        kind: ValueType | str,
        value: float,
        *,
        tolerance: float = 0,
        negate: bool = False,
        aligned: bool = True,
    ) -> Self:
        """A number: `Pattern.value("i32", 100)`.

        `kind` is a `ValueType` or its name. A match differs from `value` by at most
        `tolerance`, in either direction. `negate` finds every other value, also NaN.
        With `aligned`, only addresses that are multiples of the size match: compilers
        put numbers there.

        Raises:
            OverflowError: The number does not fit in the type.
        """
        type_ = ValueType.named(kind)
        number = type_.check(value)
        text = f"value({str(type_)!r}, {value!r}"
        text += f", tolerance={tolerance!r}" if tolerance else ""
        if tolerance or type_.is_float or negate:
            limits = value_limits(type_, number, number, tolerance)
            return cls._within(type_, limits, negate, aligned, text)
        data = struct.pack(type_.format, number)
        return cls(
            (len(data), data, None, b""), type_.size if aligned else 1, text + ")"
        )

    @classmethod
    def range(
        cls,
        kind: ValueType | str,
        low: float,
        high: float,
        *,
        negate: bool = False,
        aligned: bool = True,
    ) -> Self:
        """A number from `low` to `high`, both included; with `negate`, any other one.

        `math.inf` and `-math.inf` are limits for integers, too.

        Raises:
            OverflowError: A limit does not fit in the type.
            ValueError: `low` is greater than `high`.
        """
        type_ = ValueType.named(kind)
        first, last = type_.check_limit(low), type_.check_limit(high)
        if first > last:
            raise ValueError(f"low {low!r} is greater than high {high!r}")
        limits = value_limits(type_, first, last)
        text = f"range({str(type_)!r}, {low!r}, {high!r}"
        return cls._within(type_, limits, negate, aligned, text)

    @classmethod
    def any_type(
        cls, value: float, *, tolerance: float = 0, aligned: bool = True
    ) -> dict[ValueType, Self]:
        """Patterns for a number in each little-endian type that can hold it.

        `process.scan(Pattern.any_type(100))` returns a `ScanMatch` with the type for
        each match. If a signed and an unsigned type have the same bytes, only the
        signed one is searched for. Where a wide type matches, a narrower one often
        matches, too.

        Raises:
            OverflowError: No type holds the number.
        """
        whole = not isinstance(value, float)
        found: dict[ValueType, Self] = {}
        for name in (
            "I8",
            "U8",
            "I16",
            "U16",
            "I32",
            "U32",
            "I64",
            "U64",
            "F32",
            "F64",
        ):
            kind = ValueType[name]
            if ValueType[name.replace("U", "I")] in found:
                continue
            if kind.is_float:
                # An integer that would be rounded is another number.
                if whole and not _fits_float(kind, value):
                    continue
            elif not whole:
                continue
            with contextlib.suppress(OverflowError):
                found[kind] = cls.value(
                    kind, value, tolerance=tolerance, aligned=aligned
                )
        if not found:
            raise OverflowError(f"{value!r} fits in no type")
        return found

    @classmethod
    def group(
        cls,
        fields: Mapping[int, FieldLike] | Mapping[str, FieldLike],
        layout: Layout | None = None,
    ) -> Self:
        """Several fields at fixed distances, such as those of a structure.

        `fields` maps the offset of each field to a pattern, or to a type and a number:
        `{0: ("f32", 100.0), 8: Pattern.range("i32", 1, 9), 12: b"name"}`. With a
        `layout`, it maps names of fields, and a number needs no type:
        `{"health": 100.0, "name": "Ann"}`. A str for a field of text is that text: its
        bytes, and the NUL that ends it unless it fills the field. Any other str is a
        pattern such as "48 8B ??".

        The address of a match is that of offset 0. It is a multiple of the largest
        alignment among the fields; or any address, if the offset of a field is not a
        multiple of the field's alignment.

        Raises:
            ValueError: There is no field, a negative offset, or two fields overlap; or
                a text does not fit in its field.
        """
        placed = [_place(key, field, layout) for key, field in fields.items()]
        placed.sort(key=operator.itemgetter(0))
        end = 0
        value, mask, packed, alignment = bytearray(), bytearray(), [], 1
        for offset, pattern in placed:
            if offset < end:
                raise ValueError(f"the field at {offset} is in another, up to {end}")
            length, data, bits, inner = pattern._spec
            if offset + length > _MAX_LENGTH:
                raise ValueError(f"the fields have more than {_MAX_LENGTH} bytes")
            value += bytes(offset - end) + (data or bytes(length))
            fixed = bytes([255 if data else 0]) * length
            mask += bytes(offset - end) + (bits or fixed)
            for at in range(0, len(inner), _FIELD.size):
                where, *rest = _FIELD.unpack_from(inner, at)
                packed.append(_FIELD.pack(offset + where, *rest))
            own = pattern._alignment
            alignment = 0 if offset % own else alignment and max(alignment, own)
            end = offset + length
        if not placed:
            raise ValueError("no field")
        spec = (end, bytes(value), bytes(mask), b"".join(packed))
        text = ", ".join(f"{at}: {each!r}" for at, each in placed)
        return cls(spec, alignment or 1, f"group({{{text}}})")

    @classmethod
    def _within(
        cls,
        kind: ValueType,
        limits: tuple[bytes, bytes],
        negate: bool,
        aligned: bool,
        text: str,
    ) -> Self:
        field = _FIELD.pack(0, kind.number, negate, *limits)
        text += ", negate=True)" if negate else ")"
        return cls((kind.size, None, None, field), kind.size if aligned else 1, text)

    @classmethod
    def _make(cls, value: bytes, mask: bytes | None, text: str) -> Self:
        if not value:
            raise ValueError("the pattern is empty")
        if len(value) > _MAX_LENGTH:
            raise ValueError(f"the pattern has {len(value)} bytes, over {_MAX_LENGTH}")
        if mask is not None:
            if not any(mask):
                raise ValueError("nothing in the pattern is fixed")
            if mask.count(255) == len(mask):
                mask = None
        return cls((len(value), value, mask, b""), 1, text)

    @classmethod
    def _of(cls, pattern: PatternLike) -> Pattern:
        inner = getattr(pattern, "pattern", pattern)  # a Signature has one
        if isinstance(inner, Pattern):
            return inner
        if isinstance(pattern, str):
            try:
                return cls.hex(pattern)
            except ValueError as error:
                if re.search("[g-zG-Z]", pattern):
                    add_hint(error, "for a text, Pattern.text")
                elif pattern.strip().isdecimal():
                    add_hint(error, f"for a number, Pattern.value('i32', {pattern})")
                raise
        try:
            made = cls.exact(cast("Buffer", pattern))
        except TypeError:
            raise TypeError(
                "a pattern is bytes, a str such as '48 8B ??', or a Pattern, not "
                f"{pattern!r}: for a number, Pattern.value('i32', 100)"
            ) from None
        # Long bytes may look like an expression by chance.
        data = made._spec[1] or b""
        if len(data) <= 256 and _EXPRESSION.search(data):
            warnings.warn(
                f"the pattern {_shorten(data)!r} looks like a regular "
                "expression, and its bytes are looked for as they are: write a str "
                'with wildcards, such as "48 8B ?? ?? 05"; Pattern.exact, if you '
                "mean these bytes; or RemoteProcess.scan_regex",
                stacklevel=4,
            )
        return made

    def compile(self, aligned: bool | int | None) -> tuple[Any, ...]:
        """Return the pattern as the scanner takes it."""
        if aligned is None:
            alignment = self._alignment
        elif aligned is True:
            # The greatest power of two that divides the size.
            alignment = self.size & -self.size
        else:
            alignment = 1 if aligned is False else aligned
        return (*self._spec, alignment)


def _place(key: Any, field: Any, layout: Layout | None) -> tuple[int, Pattern]:
    """The offset and the pattern of a field of a group."""
    kind: Any = None
    if layout is not None:
        member = layout[key]
        key, kind = member.offset, member.kind
        if kind in ("c", "u") and isinstance(field, str):
            used = len(member._encoded(field + "\0"))
            field = member.pack(field)[:used]
    offset = operator.index(key)
    if offset < 0:
        raise ValueError(f"offset {offset} is negative: begin with the first field")
    if isinstance(field, tuple):
        return offset, Pattern.value(*field)
    if kind is not None and isinstance(field, (int, float)):
        return offset, Pattern.value(kind, field)
    return offset, Pattern._of(field)


PatternLike: TypeAlias = "Pattern | Signature | str | Buffer"
FieldLike: TypeAlias = "PatternLike | tuple[ValueType | str, float] | float"
Patterns: TypeAlias = "PatternLike | Sequence[PatternLike] | Mapping[Any, PatternLike]"


def value_limits(
    kind: ValueType, low: float, high: float, tolerance: float = 0
) -> tuple[bytes, bytes]:
    """The packed limits of the range from `low - tolerance` to `high + tolerance`."""
    if not tolerance >= 0:
        raise ValueError("tolerance must be >= 0")
    low, high = kind.check_limit(low), kind.check_limit(high)
    if kind.value[-1] == "f" and tolerance == 0 and low == high:
        # 0.1 means the float nearest to 0.1.
        low = high = struct.unpack("<f", struct.pack("<f", low))[0]
    elif tolerance:
        low, high = low - tolerance, high + tolerance
        if not kind.is_float:
            least, most = kind.bounds()
            low = math.ceil(low) if low > least else least
            high = math.floor(high) if high < most else most
    return kind.pack_limit(low, upward=True), kind.pack_limit(high, upward=False)


def _shorten(what: Any) -> Any:
    return what if len(what) <= 40 else what[:40] + type(what)()


class ScanMatch(NamedTuple):
    """One match of several patterns."""

    address: int  #: the address of the first byte
    pattern: Hashable  #: the pattern's index in the sequence, or its key in the mapping

    def __repr__(self) -> str:
        address, pattern = self
        return f"ScanMatch({address=:#x}, {pattern=})"


class Scan(_core.Scan, Closing):
    """An iterator over the matches of a scan, in the order of addresses.

    For one pattern, an item is the address (or offset) of a match; for several
    patterns, it is a `ScanMatch`. Matches may overlap. The search runs in `next`,
    without the GIL; any thread may call `cancel`. The end of the iteration, `close`,
    and the end of a `with` release the buffer or process.
    """

    __slots__ = ("__weakref__",)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<Scan {state}, {self.scanned} bytes scanned, {self.skipped} skipped>"


def open_scan(
    source: Any,
    ranges: bytes | None,
    protections: int,
    pattern: Patterns,
    aligned: bool | int | None,
    progress: Callable[[int, int], object] | None,
    limit: int | None,
    threads: int | None,
) -> Scan:
    """Start a scan of a process, or of a buffer if `ranges` is None."""
    if limit is not None and limit < 1:
        raise ValueError("limit must be >= 1, or None")
    match: Any = ScanMatch
    keys: tuple[Any, ...] = ()
    if isinstance(pattern, Mapping):
        patterns, keys = list(pattern.values()), tuple(pattern)
    elif isinstance(pattern, (list, tuple)):
        patterns, keys = list(pattern), tuple(range(len(pattern)))
    else:
        patterns, match = [pattern], None  # type: ignore[list-item]
    specs = [each.compile(aligned) for each in map(Pattern._of, patterns)]
    most = _NO_LIMIT if limit is None else limit
    return Scan._open(
        *(source, ranges, protections, specs, match, keys, progress, most, threads)
    )


def scan_bytes(
    buffer: Buffer,
    pattern: Patterns,
    *,
    aligned: bool | int | None = None,
    progress: Callable[[int, int], object] | None = None,
    limit: int | None = None,
    threads: int | None = None,
) -> Scan:
    """Search a bytes-like object; iterate over the offsets of matches.

    ::

        print(list(winipc.scan_bytes(b"one two one", b"one")))  # [0, 8]

    Args:
        buffer: The object; it is kept until the scan is closed.
        pattern: A `Pattern` or a `Signature`, `bytes`, or a hexadecimal `str` with
            wildcards, such as `"48 8B ?? ?? 05"`; or a list or a dict of up to 1,024 of
            them, which one pass looks for: matches are then `ScanMatch` tuples.
        aligned: Offsets must be multiples of this power of two. True means the greatest
            one that divides the size of the pattern (4 for 12 bytes, 1 for 3), and None
            leaves it to the pattern.
        progress: A function that is called now and then with the bytes done and their
            total; if it returns False, the scan ends.
        limit: The most matches to find.
        threads: Number of threads that search, 1 to 64, from the third MiB on. The
            matches are the same in the same order. None means one for each processor
            that this process may use, up to 8.

    Raises:
        ValueError: A pattern is malformed, empty, or has no fixed part.
        BufferError: The object's bytes are not contiguous.

    Win32: none
    """
    return open_scan(buffer, None, 0, pattern, aligned, progress, limit, threads)


#: The protections that the letters r, w and x mean.
_READABLE = MemoryProtection(0xFE)
_WRITABLE = MemoryProtection(0xCC)
_EXECUTABLE = MemoryProtection(0xF0)


def protection_mask(protection: MemoryProtection | int | str | None) -> int:
    """The PAGE_ values to accept; 0 for all that can be read."""
    if protection is None:
        return 0
    if not isinstance(protection, str):
        return int(protection)
    accepted = _READABLE
    for letter in protection:
        try:
            accepted &= {"r": _READABLE, "w": _WRITABLE, "x": _EXECUTABLE}[letter]
        except KeyError:
            raise ValueError(
                f"protection {protection!r}: only r, w and x are known"
            ) from None
    return int(accepted)


def process_ranges(
    regions: Iterable[Any] | None, start: int | None, end: int | None
) -> bytes:
    """The ranges to search: packed pairs of start and end, ascending, not adjacent."""
    low = 0 if start is None else start
    high = _ADDRESS_END if end is None else end
    if not 0 <= low <= high:
        raise ValueError(f"no addresses from {low:#x} to {high:#x}")
    high = min(high, _ADDRESS_END)
    if regions is None:
        regions = [(low, max(high - low, 0))]
    found: list[tuple[int, int]] = []
    for region in regions:
        try:
            if isinstance(region, tuple):
                base, size = region
            else:
                base, size = region.base, region.size
        except (AttributeError, ValueError):
            raise TypeError(
                "a region has a base and a size, as a Region, a Module and "
                f"(base, size) do, not {region!r}"
            ) from None
        if base < 0 or size < 0:
            raise ValueError(f"no region: {size} bytes at {base}")
        first, last = max(base, low), min(base + size, high)
        if first < last:
            found.append((first, last))
    found.sort()
    apart: list[tuple[int, int]] = []
    for first, last in found:
        if apart and first <= apart[-1][1]:
            apart[-1] = apart[-1][0], max(last, apart[-1][1])
        else:
            apart.append((first, last))
    return b"".join(struct.pack("<QQ", *each) for each in apart)
