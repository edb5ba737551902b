"""Scans against a naive matcher, and against tests/peers/target.c."""

from __future__ import annotations

import _thread
import contextlib
import math
import os
import re
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import FULL
from helpers.c_target import Target
from helpers.linux_file import LinuxFile
from hypothesis import given, settings
from hypothesis import strategies as st

import winipc
from winipc import (
    Pattern,
    ProcessAccess,
    RemoteProcess,
    Scan,
    ScanMatch,
    ValueType,
    scan_bytes,
)

PAGE = 4096
BLOCK = 16384  # start positions that the kernels look at in one go
CHUNK = 1024 * 1024  # bytes of one read
READWRITE, READONLY, NOACCESS, GUARD = 0x04, 0x02, 0x01, 0x100
EXECUTE_ONLY = 0x10  # which no program has

#: How often to scan while the target maps and frees memory, and how often a
#: test does, which the limit for a test that hangs must not end.
CHURN_SCANS = 10_000 if FULL else 16
CHURN_ROUND = 100


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests."""
    return targets()


@pytest.fixture
def needle() -> bytes:
    """Bytes that are nowhere else."""
    return os.urandom(16)


# ------------------------------------------------------------ a naive matcher


def naive_hex(data: bytes, pattern: str) -> list[int]:
    """Where an IDA-style pattern is, by the regular expressions of Python."""
    parts = []
    for word in pattern.split():
        word = "??" if word == "?" else word
        choices = [
            byte
            for byte in range(256)
            if all(
                p in ("?", h) for p, h in zip(word.upper(), f"{byte:02X}", strict=True)
            )
        ]
        parts.append(b"[" + b"".join(b"\\x%02x" % byte for byte in choices) + b"]")
    return [m.start() for m in re.finditer(b"(?=" + b"".join(parts) + b")", data, re.S)]


alphabet = st.sampled_from([0x00, 0x01, 0x10, 0x11, 0xFF])
few_bytes = st.lists(alphabet, max_size=300).map(bytes)
hex_byte = st.builds(
    str.__add__, st.sampled_from("01F?"), st.sampled_from("01f?")
) | st.just("?")
hex_pattern = (
    st.lists(hex_byte, min_size=1, max_size=6)
    .map(" ".join)
    .filter(lambda text: re.search("[^ ?]", text))
)


@given(few_bytes, hex_pattern)
def test_wildcards_are_what_a_naive_matcher_finds(data: bytes, pattern: str) -> None:
    """With overlaps and at the borders."""
    assert list(scan_bytes(data, pattern)) == naive_hex(data, pattern)


@given(few_bytes, st.lists(hex_pattern, min_size=1, max_size=20))
def test_many_patterns_are_found_in_one_pass(data: bytes, patterns: list[str]) -> None:
    """All of them, in the order of (offset, pattern)."""
    expected = sorted(
        (at, number)
        for number, pattern in enumerate(patterns)
        for at in naive_hex(data, pattern)
    )
    assert list(scan_bytes(data, patterns)) == expected


KINDS = [pytest.param(kind, id=str(kind)) for kind in ValueType]
numbers = {
    kind: st.floats(width=kind.size * 8, allow_nan=False)
    if kind.is_float
    else st.integers(*kind.bounds())
    for kind in ValueType
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aligned", [True, False], ids=["aligned", "anywhere"])
def test_ranges_of_values(kind: ValueType, aligned: bool) -> None:
    """Each type, with limits that are values of the data."""

    @settings(max_examples=settings().max_examples if FULL else 15)
    @given(st.data(), st.binary(max_size=200))
    def check(draw: st.DataObject, noise: bytes) -> None:
        values = draw.draw(st.lists(numbers[kind], min_size=2, max_size=20))
        data = noise + b"".join(struct.pack(kind.format, value) for value in values)
        low, high = sorted(draw.draw(st.tuples(*[st.sampled_from(values)] * 2)))
        step = kind.size if aligned else 1
        expected = [
            at
            for at in range(0, len(data) - kind.size + 1, step)
            if low <= struct.unpack_from(kind.format, data, at)[0] <= high
        ]
        pattern = Pattern.range(kind, low, high, aligned=aligned)
        assert list(scan_bytes(data, pattern)) == expected

    check()


@given(
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.floats(0, 1e30),
    st.lists(st.floats(allow_nan=False, width=32), max_size=20),
)
def test_float_tolerance_is_exact(
    value: float, tolerance: float, others: list[float]
) -> None:
    """32-bit floats in a range whose limits are no 32-bit floats."""
    near = [value + tolerance * f for f in (-1.01, -1, -0.5, 0.5, 1, 1.01)]
    near = [v for v in near if abs(v) < 3e38]
    values = [struct.unpack("<f", struct.pack("<f", v))[0] for v in near + others]
    data = struct.pack(f"<{len(values)}f", *values)
    found = list(scan_bytes(data, Pattern.value("f32", value, tolerance=tolerance)))
    if tolerance == 0:
        expected = [4 * i for i, v in enumerate(values) if v == value]
    else:
        low, high = value - tolerance, value + tolerance
        expected = [4 * i for i, v in enumerate(values) if low <= v <= high]
    assert found == expected


# ------------------------------------------------------------------ patterns


@pytest.mark.smoke
def test_bytes_text_and_values_are_patterns() -> None:
    """Each way to write a pattern."""
    data = (
        b"...caf\xc3\xa9..." + "wide".encode("utf-16-le") + struct.pack("<id", -7, 0.1)
    )
    assert list(scan_bytes(data, b"caf")) == [3]
    assert list(scan_bytes(data, "63 61 ?? C3")) == [3]
    assert list(scan_bytes(data, "6361??c3")) == [3]
    assert list(scan_bytes(data, "63 ? 6? ?3")) == [3]
    assert list(scan_bytes(data, Pattern.text("café"))) == [3]
    assert list(scan_bytes(data, Pattern.text("wide", "utf-16-le"))) == [11]
    assert list(scan_bytes(data, Pattern.value("i32", -7, aligned=False))) == [19]
    assert list(scan_bytes(data, Pattern.value("f64", 0.1, aligned=False))) == [23]
    big = data + struct.pack(">hid", -7, 8, 0.1)
    assert list(scan_bytes(big, Pattern.value("i16be", -7))) == []
    assert list(scan_bytes(big, Pattern.value("i16be", -7, aligned=False))) == [31]
    assert list(scan_bytes(big, Pattern.value(">i", 8, aligned=False))) == [33]
    assert list(scan_bytes(big, Pattern.value("f64be", 0.1, aligned=False))) == [37]


def test_float_means_the_nearest_one() -> None:
    """0.1 is no 32-bit float, and is found all the same; zero has two forms."""
    data = struct.pack("<4f", 0.1, 0.2, 0.0, -0.0)
    assert list(scan_bytes(data, Pattern.value(ValueType.F32, 0.1))) == [0]
    assert list(scan_bytes(data, Pattern.value(ValueType.F32, 0.0))) == [8, 12]
    assert list(scan_bytes(data, Pattern.range("f32", 0.1, 0.2))) == [0]


def test_integer_tolerance_stays_within_the_type() -> None:
    """Limits beyond the type are those of the type."""
    data = bytes(range(256))
    found = list(scan_bytes(data, Pattern.value("u8", 2, tolerance=4)))
    assert found == [0, 1, 2, 3, 4, 5, 6]
    found = list(scan_bytes(data, Pattern.value("i8", 127, tolerance=1.5)))
    assert found == [126, 127]
    found = list(scan_bytes(data, Pattern.value("u8", 2, tolerance=math.inf)))
    assert found == list(range(256))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        pytest.param(lambda: Pattern.hex(""), ValueError, id="empty"),
        pytest.param(lambda: Pattern.hex("?? ?"), ValueError, id="nothing fixed"),
        pytest.param(lambda: Pattern.hex("48 8"), ValueError, id="half a byte"),
        pytest.param(lambda: Pattern.hex("48 8G"), ValueError, id="no digit"),
        pytest.param(
            lambda: Pattern.hex("48 \u0664\u0664"), ValueError, id="not ASCII"
        ),
        pytest.param(lambda: Pattern.exact(b""), ValueError, id="no bytes"),
        pytest.param(lambda: Pattern.exact(bytes(65537)), ValueError, id="too long"),
        pytest.param(lambda: Pattern.exact(5), TypeError, id="a number"),
        pytest.param(lambda: Pattern.text("a", "utf-16"), ValueError, id="with a mark"),
        pytest.param(lambda: Pattern.text(""), ValueError, id="empty text"),
        pytest.param(lambda: Pattern.value("int3", 1), ValueError, id="no type"),
        pytest.param(lambda: Pattern.value("u8", 256), OverflowError, id="too big"),
        pytest.param(lambda: Pattern.value("u8", -1), OverflowError, id="negative"),
        pytest.param(lambda: Pattern.value("i32", 1.5), TypeError, id="fraction"),
        pytest.param(lambda: Pattern.value("f32", math.nan), ValueError, id="NaN"),
        pytest.param(
            lambda: Pattern.value("i8", 1, tolerance=-1), ValueError, id="tolerance"
        ),
        pytest.param(lambda: Pattern.range("i8", 2, 1), ValueError, id="reversed"),
        pytest.param(lambda: scan_bytes(b"", []), ValueError, id="no pattern"),
        pytest.param(lambda: scan_bytes(b"", [b"x"] * 1025), ValueError, id="1025"),
        pytest.param(
            lambda: scan_bytes(b"", b"x", aligned=3), ValueError, id="align 3"
        ),
        pytest.param(lambda: scan_bytes(b"", b"x", limit=0), ValueError, id="limit 0"),
        pytest.param(lambda: scan_bytes(5, b"x"), TypeError, id="no buffer"),
    ],
)
def test_malformed_patterns_are_refused(
    make: Callable[[], object], error: type[Exception]
) -> None:
    """With an error of the right kind, before anything is searched."""
    with pytest.raises(error):
        make()


@pytest.mark.parametrize(
    "pattern",
    [
        "48 8B ?? ?? 05",
        "48 8B ? ? 05",
        " 488b????05 ",
        r"\x48\x8B\x00\x00\x05 xx??x",
        Pattern.exact(b"\x48\x8b\0\0\x05", "xx??x"),
    ],
)
def test_patterns_in_the_habits_of_others(pattern: str | Pattern) -> None:
    """IDA, Cheat Engine, a debugger, and C programs with a mask: one pattern."""
    data = bytes.fromhex("488b0000 05 488bfeed 05 488b0000 06 498b0000 05")
    assert list(scan_bytes(data, pattern)) == [0, 5]


def test_escapes_without_a_mask_are_all_fixed() -> None:
    """Nothing is guessed from zeros."""
    data = bytes.fromhex("488b01 488b00")
    assert list(scan_bytes(data, r"\x48\x8B\x00")) == [3]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"\x48\x8B xxx", "'xxx' is not 2 times 'x' or '\\?'"),
        (r"\x48\x8B x.", "the bytes and then the mask"),
        (r"\x48 \x8", "the bytes and then the mask"),
        ("0x48, 0x8B", "write 48 for 0x48"),
        ("48 8B ** 05", r"write '\?\?' for any byte"),
        ("48 8B .. 05", r"write '\?\?' for any byte"),
        ("\x48\x8b", "bytes are given as bytes"),
        ("48 8B ??? 05", "has half a byte"),
        ("48 8B [2-4] 05", r"'\[2-4\]' .* half a byte"),
        ("4 88", "has half a byte"),
    ],
)
def test_other_habits_are_refused_in_words(pattern: str, words: str) -> None:
    """They say what to write instead, where it is known."""
    with pytest.raises(ValueError, match=words):
        scan_bytes(b"", pattern)


@pytest.mark.parametrize("mask", ["", "x", "xx?", "xX", "??"])
def test_a_mask_is_for_all_bytes(mask: str) -> None:
    """Of the same length, of two signs, and with something fixed."""
    with pytest.raises(ValueError, match=r"mask|fixed"):
        Pattern.exact(b"ab", mask)


def test_a_pattern_says_what_it_is() -> None:
    """In its repr, and equal ones are equal."""
    assert repr(Pattern.hex("48 ??")) == "Pattern.hex('48 ??')"
    assert repr(Pattern.value("i32", 5)) == "Pattern.value('i32', 5)"
    assert Pattern.hex("41 42").size == 2
    assert Pattern.value("f64", 1).size == 8
    assert Pattern.exact(b"AB") != Pattern.exact(b"AC")


@pytest.mark.parametrize("kind", KINDS)
def test_each_spelling_of_a_type(kind: ValueType) -> None:
    """Its name and its struct code, with the byte order too."""
    assert struct.calcsize(kind.format) == kind.size
    words = [str(kind), kind.value, kind.format, kind]
    for word in words:
        assert ValueType.named(word) is kind
    value = Pattern.value(kind, 1)
    assert {Pattern.value(word, 1) for word in words} == {value}


def test_types_that_are_none_are_refused() -> None:
    """The error lists those that there are, as that of mapping views does."""
    assert ValueType.named("l") is ValueType.I32
    assert ValueType.named("L") is ValueType.U32
    for name in ("", "x", "i24", "I32", ">b", "i8be", "be"):
        with pytest.raises(ValueError, match="there are u8 i8 u16"):
            ValueType.named(name)


values_of = st.sampled_from(
    [0.0, 1.0, -1.0, 1.5, math.nan, math.inf, -0.0, 100.0, 1e30]
)


@given(st.lists(values_of, max_size=30), st.data())
def test_negated_values_are_all_others(
    values: list[float], draw: st.DataObject
) -> None:
    """Not equal, and not between; NaN is neither equal nor between."""
    kind = draw.draw(st.sampled_from([ValueType.F32, ValueType.F64BE]))
    data = b"".join(struct.pack(kind.format, value) for value in values)
    stored = [each for (each,) in struct.iter_unpack(kind.format, data)]
    equal = Pattern.value(kind, 1.5, negate=True)
    assert list(scan_bytes(data, equal)) == [
        kind.size * i for i, value in enumerate(stored) if value != 1.5
    ]
    within = Pattern.range(kind, -1, 100, negate=True)
    assert list(scan_bytes(data, within)) == [
        kind.size * i for i, value in enumerate(stored) if not -1 <= value <= 100
    ]


def test_integers_are_negated_and_have_open_ends() -> None:
    """An infinite limit is that of the type."""
    data = bytes(range(256))
    found = list(scan_bytes(data, Pattern.value("u8", 5, negate=True)))
    assert found == [each for each in range(256) if each != 5]
    found = list(scan_bytes(data, Pattern.value("u8", 5, tolerance=1.5, negate=True)))
    assert found == [each for each in range(256) if not 4 <= each <= 6]
    assert list(scan_bytes(data, Pattern.range("u8", 250, math.inf))) == [
        *range(250, 256)
    ]
    assert list(scan_bytes(data, Pattern.range("i8", -math.inf, -127))) == [128, 129]
    with pytest.raises(TypeError):
        Pattern.value("u8", math.inf)


@given(st.binary(max_size=120), st.integers(-300, 70000), st.booleans())
def test_any_type_is_each_type_by_itself(
    noise: bytes, number: int, as_float: bool
) -> None:
    """With the type in the result, and what has the same bytes once."""
    value = float(number) if as_float else number
    data = noise + struct.pack("<dq", number, number) + noise
    data += struct.pack("<fi", number, number)
    patterns = Pattern.any_type(value, aligned=False)
    assert all(str(kind)[0] == "f" for kind in patterns) or not as_float
    expected = []
    for at in range(len(data)):
        for order, kind in enumerate(patterns):
            if at + kind.size <= len(data):
                (stored,) = struct.unpack_from(kind.format, data, at)
                if stored == value:
                    expected.append((at, order))
    found = list(scan_bytes(data, patterns))
    order_of = {kind: order for order, kind in enumerate(patterns)}
    assert [(match.address, order_of[match.pattern]) for match in found] == expected


def test_any_type_is_what_can_hold_the_number() -> None:
    """Signed where that is the same bytes; no float that is another number."""
    names = [
        (100, "i8 i16 i32 i64 f32 f64"),
        (200, "u8 i16 i32 i64 f32 f64"),
        (-129, "i16 i32 i64 f32 f64"),
        (2**24 + 1, "i32 i64 f64"),
        (2**63, "u64 f32 f64"),
        (2**64 - 1, "u64"),
        (0.1, "f32 f64"),
        (1e300, "f64"),
        (2**70, "f32 f64"),
    ]
    for value, expected in names:
        assert " ".join(map(str, Pattern.any_type(value))) == expected
    with pytest.raises(OverflowError):
        Pattern.any_type(2**70 + 1)
    with pytest.raises(OverflowError):
        Pattern.any_type(10**400)


def test_a_group_is_fields_at_distances() -> None:
    """Numbers, ranges and bytes of a structure; bytes between them do not count."""
    record = struct.Struct("<fi i 4s")
    rows = [
        (100.0, 7, 5, b"name"),
        (100.0, 8, 5, b"name"),
        (100.0, 7, 5, b"nama"),
        (100.5, 9, 5, b"name"),
        (100.0, 9, 10, b"name"),
    ]
    data = b"".join(record.pack(*row) for row in rows)
    group = Pattern.group(
        {
            12: b"name",
            0: ("f32", 100.0),
            8: Pattern.range("i32", 1, 9),
            4: Pattern.value("i32", 8, negate=True),
        }
    )
    assert group.size == record.size
    assert list(scan_bytes(data, group)) == [0]
    wide = Pattern.group({0: Pattern.value("f32", 100, tolerance=0.5), 8: ("i32", 5)})
    assert list(scan_bytes(data, wide)) == [0, 16, 32, 48]
    # Offset 0 is where a match is, though the first field is elsewhere.
    assert list(scan_bytes(data, Pattern.group({8: ("i32", 10)}))) == [64]
    assert repr(Pattern.group({8: ("i32", 10)})) == (
        "Pattern.group({8: Pattern.value('i32', 10)})"
    )
    # One group may be in another, and in a scan for several patterns.
    outer = Pattern.group({0: ("f32", 100.0), 4: Pattern.group({0: ("i32", 9)})})
    assert list(scan_bytes(data, [outer, group])) == [(0, 1), (64, 0)]


def test_a_group_by_the_names_of_a_layout() -> None:
    """Their offsets and types are those of the layout."""
    player = winipc.Layout.of("player", "health:f score:i name:8s")
    data = bytes(8) + player.pack({"health": 100.0, "score": 5, "name": "Ann"})
    group = Pattern.group({"health": 100.0, "score": 5}, player)
    assert list(scan_bytes(data, group)) == [8]
    group = Pattern.group({"name": b"Ann", "score": Pattern.range("i", 1, 9)}, player)
    assert list(scan_bytes(data, group)) == [8]
    with pytest.raises(LookupError):
        Pattern.group({"mana": 1}, player)


@pytest.mark.parametrize("field", ["name:4s", "name:4u", "name:c", "name:u"])
def test_a_str_for_a_text_in_a_group_is_the_text(field: str) -> None:
    """With its NUL unless it fills the field; what is behind the NUL does not count."""
    row = winipc.Layout.of("row", f"{field} score:i32")
    texts = ["A"] if row["name"].size < 4 else ["", "Fa", "Fade", "F", "\xe4"]
    data = b"".join(row.pack(name=text, score=5) for text in texts)
    for number, text in enumerate(texts):
        group = Pattern.group({"name": text, "score": 5}, row)
        assert list(scan_bytes(data, group)) == [number * row.size]
    if "" in texts:
        data = row.pack(name="F\0x", score=5)
        assert list(scan_bytes(data, Pattern.group({"name": "F"}, row))) == [0]
    with pytest.raises(ValueError, match=r"name: .*do not fit"):
        Pattern.group({"name": "Fades"}, row)


def test_a_str_for_numbers_in_a_group_is_a_pattern() -> None:
    """So is any str without a layout."""
    row = winipc.Layout.of("row", "score:i32 id:2u8")
    data = row.pack(score=5, id=b"\xfa\xde")
    assert list(scan_bytes(data, Pattern.group({"id": "FA ?E"}, row))) == [0]
    assert list(scan_bytes(data, Pattern.group({4: "FA DE"}))) == [0]


def test_a_group_is_aligned_as_its_fields_are() -> None:
    """Where a field is not at a multiple of its size, everywhere is looked at."""
    data = bytes(2) + struct.pack("<Hi", 7, 9) + bytes(2)
    data += struct.pack("<iH", 9, 7) + bytes(3) + struct.pack("<Bi", 7, 9)
    assert list(scan_bytes(data, Pattern.group({2: ("i32", 9)}))) == [2, 8, 18]
    assert list(scan_bytes(data, Pattern.group({0: ("u16", 7), 2: ("i32", 9)}))) == [2]
    assert list(scan_bytes(data, Pattern.group({0: ("i32", 9), 4: ("u16", 7)}))) == []
    assert list(scan_bytes(data, Pattern.group({0: ("u8", 7), 1: ("i32", 9)}))) == [19]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({}, ValueError, id="none"),
        pytest.param({-4: ("i32", 1)}, ValueError, id="negative"),
        pytest.param({0: ("i32", 1), 3: b"x"}, ValueError, id="overlap"),
        pytest.param({0: b"x", 65536: b"x"}, ValueError, id="too far"),
        pytest.param({"x": ("i32", 1)}, TypeError, id="a name, no layout"),
        pytest.param({0: 5}, TypeError, id="a number alone"),
        pytest.param({0: ("i3", 5)}, ValueError, id="no type"),
        pytest.param({0: ("u8", 256)}, OverflowError, id="too big"),
    ],
)
def test_malformed_groups_are_refused(
    fields: dict[Any, Any], error: type[Exception]
) -> None:
    """Before anything is searched."""
    with pytest.raises(error):
        Pattern.group(fields)


@given(st.data())
def test_groups_are_what_a_naive_matcher_finds(draw: st.DataObject) -> None:
    """Random structures of several types, also at odd places, over pieces."""
    kinds = draw.draw(
        st.lists(st.sampled_from(list(ValueType)), min_size=1, max_size=4)
    )
    fields: dict[int, Any] = {}
    tests: list[tuple[int, ValueType, int, int, bool]] = []
    offset = 0
    for kind in kinds:
        offset += draw.draw(st.integers(0, 3))
        low = draw.draw(st.integers(0, 2))
        high = low + draw.draw(st.integers(0, 1))
        negate = draw.draw(st.booleans())
        fields[offset] = Pattern.range(kind, low, high, negate=negate, aligned=False)
        tests.append((offset, kind, low, high, negate))
        offset += kind.size
    data = draw.draw(few_bytes)
    expected = [
        at
        for at in range(len(data) - offset + 1)
        if all(
            (low <= struct.unpack_from(kind.format, data, at + where)[0] <= high)
            != negate
            for where, kind, low, high, negate in tests
        )
    ]
    assert list(scan_bytes(data, Pattern.group(fields))) == expected


# --------------------------------------------------------------- local scans


def test_matches_at_every_place_of_blocks_are_found() -> None:
    """Around the borders of the kernels' blocks, and at both ends."""
    data = bytearray(3 * BLOCK)
    places = [0, 100, BLOCK - 9, BLOCK - 1, BLOCK + 63, 2 * BLOCK, 3 * BLOCK - 8]
    for at in places:
        data[at : at + 8] = b"ABCDEFGH"
    assert list(scan_bytes(data, b"ABCDEFGH")) == places


def test_overlapping_matches_are_all_reported() -> None:
    """Also where everything matches, over several blocks and batches."""
    size = BLOCK + 5000
    assert list(scan_bytes(bytes(size), bytes(100))) == list(range(size - 99))


def test_several_patterns_give_their_keys() -> None:
    """Indices of a sequence, keys of a mapping, in the order of offsets."""
    data = b"xx-yy-xx"
    assert list(scan_bytes(data, [b"yy", b"xx"])) == [(0, 1), (3, 0), (6, 1)]
    matches = list(scan_bytes(data, {"a": b"xx", "b": "79 ??"}))
    assert matches == [(0, "a"), (3, "b"), (4, "b"), (6, "a")]
    assert isinstance(matches[0], ScanMatch)
    address = matches[0].address
    assert repr(matches[0]).startswith(f"ScanMatch(address={address:#x}, pattern=")
    assert matches[0].address == 0
    assert matches[0].pattern == "a"


def test_alignment_of_bytes() -> None:
    """None leaves it to the pattern, True takes its size, a number is one."""
    data = b"ABAB" * 20
    assert list(scan_bytes(data, b"AB", aligned=4)) == list(range(0, 80, 4))
    assert list(scan_bytes(data, b"BA", aligned=True)) == []
    assert list(scan_bytes(data, b"ABAB", aligned=True)) == list(range(0, 77, 4))
    value = Pattern.value("i16", 0x4142, aligned=True)
    assert list(scan_bytes(data, value)) == []
    assert list(scan_bytes(data, value, aligned=False))[:2] == [1, 3]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 8, 12, 24, 100])
def test_aligned_misses_no_multiple_of_the_size(size: int) -> None:
    """Also where the size is no power of two, as that of many structures is."""
    pattern = bytes(range(1, size + 1))
    for number in range(20):
        data = bytes(number * size) + pattern + bytes(20)
        assert list(scan_bytes(data, pattern, aligned=True)) == [number * size]
    power = size & -size
    for before in range(1, power):
        data = bytes(before) + pattern
        assert list(scan_bytes(data, pattern, aligned=True)) == []


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(b"\x48\x8b....\x05", id="dots"),
        pytest.param(b"\x8b\x05....H", id="dots before a letter"),
        pytest.param(rb"\x48.\x05", id="escapes spelled out"),
    ],
)
def test_bytes_that_look_like_an_expression_are_told(pattern: bytes) -> None:
    """They match themselves alone, and in silence that would be taken for nothing."""
    data = b"." + pattern + b"H\x8b\x05123456"
    with pytest.warns(UserWarning, match="as they are"):
        assert list(scan_bytes(data, pattern)) == [1]
    assert list(scan_bytes(data, Pattern.exact(pattern))) == [1]
    with pytest.raises(ValueError, match="which is the wildcard"):
        scan_bytes(data, "48 .. 05")


@pytest.mark.parametrize(
    "pattern",
    [b"game.exe", b"and so on...\0", b"\x01.\x02", b"\x05....", ".…".encode()],
)
def test_other_dots_are_told_nothing(pattern: bytes) -> None:
    """Text has dots, and numbers have bytes that look like one."""
    assert list(scan_bytes(b"!" + pattern, pattern)) == [1]


def test_limit_ends_the_scan() -> None:
    """With exactly so many matches."""
    for limit in (1, 63, 64, 65, 4096, 4097, 9000):
        scan = scan_bytes(bytes(10000), b"\0", limit=limit)
        assert list(scan) == list(range(limit))
        assert scan.closed


def test_a_scan_that_was_left_lets_go(target: Target) -> None:
    """However it ended, and with matches that nobody fetched."""
    data = bytearray(b"x" * 10)
    for limit in (None, 2):
        it = scan_bytes(data, b"x", limit=limit)
        assert next(it) == 0
        with pytest.raises(BufferError):
            data.append(1)
        del it
        data.append(1)
    with RemoteProcess.open(target) as process:
        references = sys.getrefcount(process)
        found = process.scan(b"\0", limit=1)
        assert list(found)
        found = process.scan(b"\0", limit=2)
        next(found)
        assert sys.getrefcount(process) > references
        del found
        assert sys.getrefcount(process) == references


def test_more_than_one_batch_comes_in_order() -> None:
    """4096 are searched ahead; the end stays the end."""
    scan = scan_bytes(bytes(5000), b"\0")
    assert list(scan) == list(range(5000))
    assert next(scan, None) is None


@pytest.mark.smoke
def test_the_buffer_is_held_until_the_end() -> None:
    """And let go by the end, close, with or garbage collection."""
    data = bytearray(b"abc" * 10)
    scan = scan_bytes(data, b"abc")
    next(scan)
    with pytest.raises(BufferError):
        data.append(1)
    assert len(list(scan)) == 9
    data.append(1)
    with scan_bytes(data, b"abc") as scan:
        next(scan)
    data.append(1)
    assert list(scan) == []
    scan = scan_bytes(data, b"abc")
    del scan
    data.append(1)


def test_progress_and_cancelling() -> None:
    """Progress is told, ends the scan by False, and its errors come through."""
    told: list[tuple[int, int]] = []
    data = bytes(8 << 20)
    list(scan_bytes(data, b"x", progress=lambda *seen: told.append(seen)))
    assert told[-1] == (len(data), len(data))
    scan = scan_bytes(data, b"\0", progress=lambda done, total: False)
    assert len(list(scan)) == 4096
    assert scan.cancelled

    def fail(done: int, total: int) -> None:
        raise KeyError("progress")

    with pytest.raises(KeyError):
        list(scan_bytes(data, b"x", progress=fail))
    scan = scan_bytes(data, b"\0")
    next(scan)
    scan.cancel()
    assert len(list(scan)) == 4095
    assert scan.cancelled
    assert scan.closed


def test_a_scan_is_used_by_one_thread_at_a_time() -> None:
    """A second thread is refused rather than let in, and cancel gets through."""
    data = bytes(64 << 20)
    inside = threading.Event()
    errors: list[str] = []

    def disturb() -> None:
        inside.wait()
        while not scan.closed:
            try:
                next(scan, None)
            except ValueError as error:
                errors.append(str(error))
                break
        scan.cancel()

    scan = scan_bytes(data, [bytes([n] * 9) for n in range(1, 100)])
    thread = threading.Thread(target=disturb)
    thread.start()
    inside.set()
    with contextlib.suppress(ValueError):  # when the other one was first
        list(scan)
    thread.join()
    assert all("another thread" in error for error in errors)


def test_progress_may_let_another_thread_in() -> None:
    """One of the two is refused: never do both search at once."""
    data = bytes(64 << 20)
    patterns = [bytes([n] * 9) for n in range(1, 100)]
    threads: list[threading.Thread] = []

    def search() -> None:
        with contextlib.suppress(ValueError):
            next(scan, None)

    def progress(done: int, total: int) -> None:
        if threading.current_thread() is threading.main_thread() and not threads:
            threads.append(threading.Thread(target=search))
            threads[0].start()
            time.sleep(0.01)  # it is in the middle of a slice now

    for _ in range(20):
        threads.clear()
        refused = ""
        scan = scan_bytes(data, patterns, progress=progress)
        try:
            next(scan, None)
        except ValueError as error:
            refused = str(error)
        scan.cancel()
        threads[0].join()
        if "another thread" in refused:
            return
    pytest.fail("both have searched at once")


@pytest.mark.parametrize("kind", ["bytes", "range"])
def test_a_page_of_a_file_that_is_gone_ends_the_scan(
    linux_file: LinuxFile, kind: str
) -> None:
    """What was found before comes first, then OSError; and the scan is closed."""
    what = b"xx" if kind == "bytes" else Pattern.range("u8", 120, 120)
    with winipc.SharedMapping.create(None, 64 * PAGE, file=linux_file.path) as mapping:
        mapping.write(b"xx")
        with scan_bytes(mapping, what) as scan:
            assert next(scan) == 0
        linux_file.cut(16 * PAGE)
        with memoryview(mapping) as view:
            scan = scan_bytes(view, what)
            found = []
            with pytest.raises(OSError, match="touching a page"):
                found.extend(scan)
            assert found[:1] == [0]
            assert scan.closed


def test_winipc_mappings_can_be_scanned() -> None:
    """Anything with the buffer protocol can."""
    with winipc.SharedMapping.create(None, PAGE) as memory:
        memory[1000:1006] = b"needle"
        assert list(scan_bytes(memory, b"needle")) == [1000]


# -------------------------------------------------------------- remote scans


@pytest.mark.smoke
def test_a_pattern_is_found_in_the_target(
    process: RemoteProcess, needle: bytes
) -> None:
    """In all of its memory, by bytes, wildcards and several at once."""
    with process.alloc(PAGE) as block:
        block.write(needle, 100)
        at = block.address + 100
        assert list(process.scan(needle)) == [at]
        text = needle.hex(" ").split()
        text[1] = text[5] = "??"
        assert list(process.scan(" ".join(text))) == [at]
        found = list(process.scan({"tail": needle[4:], "head": needle[:8]}))
        assert found == [(at, "head"), (at + 4, "tail")]


def test_matches_across_the_border_of_regions_are_found(
    process: RemoteProcess, target: Target
) -> None:
    """A READWRITE page and a READONLY one hold half of it each."""
    assert target.where("border") in process.scan(b"ACROSS-THE-BORDER")
    writable = process.scan(b"ACROSS-THE-BORDER", protection="w")
    assert target.where("border") not in writable


def test_copy_on_write_pages_are_searched(
    process: RemoteProcess, target: Target
) -> None:
    """Both the untouched and the private one."""
    cow = target.where("cow")
    assert cow in process.scan(b"COW-SHARED")
    assert cow + PAGE in process.scan(b"COW-PRIVATE")


def every_place(image: bytes, needle: bytes) -> Iterator[int]:
    """Where the needle is, with overlaps."""
    at = image.find(needle)
    while at >= 0:
        yield at
        at = image.find(needle, at + 1)


@pytest.mark.parametrize("length", [1, 2, 7, 64, 5000, 65536])
def test_matches_at_every_border_of_reads_are_found(
    process: RemoteProcess, length: int
) -> None:
    """Around the chunks of a read, and at both ends of the region."""
    size = 3 * CHUNK
    needle = os.urandom(length)
    with process.alloc(size) as block:
        last = size - length
        if length < 100:
            places = {0, length, last, last - length}
            for border in (CHUNK, 2 * CHUNK):
                before = border - length
                places |= {before - 1 - length, before, border, border + 5 * length}
        else:
            places = {0, CHUNK - length // 2, last}
        for at in places:
            block.write(needle, at)
        where = [(block.address, size)]
        found = [at - block.address for at in process.scan(needle, regions=where)]
        image = block.read()
        assert found == list(every_place(image, needle))
        assert places <= set(found)


@pytest.mark.parametrize("length", [2, 7, 64, 5000, 65536])
def test_matches_across_the_border_of_reads_are_found(
    process: RemoteProcess, length: int
) -> None:
    """With any part of it before the border, by itself and beside a longer one."""
    needle = os.urandom(length)
    longer = os.urandom(65536)
    with process.alloc(2 * CHUNK) as block:
        where = [(block.address, 2 * CHUNK)]
        for before in sorted({1, length // 3, length // 2, length - 1} - {0}):
            at = CHUNK - before
            block.write(needle, at)
            found = process.scan(needle, regions=where)
            assert [place - block.address for place in found] == [at]
            both = process.scan([longer, needle], regions=where)
            assert [place - block.address for place, _ in both] == [at]
            block.write(bytes(length), at)


def test_threads_find_what_one_finds(
    process: RemoteProcess, target: Target, needle: bytes
) -> None:
    """In order, across borders, more than a batch of each piece, and all at once."""
    size = 12 * CHUNK
    with process.alloc(size) as block:
        for number in range(1, 12):
            block.write(needle, number * CHUNK - 5)
        block.write(b"AB" * 20_000, 5 * CHUNK + 100)
        where = [(block.address, size)]
        wanted = [needle, b"AB", b"A" + bytes(1)]
        scans = [process.scan(wanted, regions=where, threads=n) for n in (1, 2, 7)]
        one, *others = [list(scan) for scan in scans]
        assert len(one) == 11 + 20_000
        assert others == [one, one]
        assert {(scan.scanned, scan.skipped) for scan in scans} == {(size, 0)}
        data = block.read()
        local = [list(scan_bytes(data, wanted, threads=n)) for n in (1, 2, 7)]
        assert local[0] == [(at - block.address, which) for at, which in one]
        assert local[1:] == [local[0]] * 2
        first = process.scan(wanted, regions=where, threads=3, limit=5000)
        assert list(first) == one[:5000]
    pages = target.where("pages")
    where = [(pages, 16 * PAGE), (target.alloc(8 * CHUNK), 8 * CHUNK)]
    scans = [process.scan(b"\x04", regions=where, threads=n) for n in (1, 2)]
    assert list(scans[0]) == list(scans[1])
    assert scans[0].skipped == scans[1].skipped == 2 * PAGE


@pytest.mark.parametrize("threads", [0, -1, 65, 1 << 70])
def test_no_such_number_of_threads(threads: int) -> None:
    """1 to 64, or None."""
    with pytest.raises((ValueError, OverflowError)):
        scan_bytes(b"x", b"x", threads=threads)
    assert list(scan_bytes(b"x", b"x", threads=64)) == [0]


def test_a_scan_by_threads_that_was_left_lets_go(target: Target) -> None:
    """In the middle: the process is let go, and closed as if it had ended."""
    at = target.alloc(16 * CHUNK)
    process = RemoteProcess.open(target)
    for leave in (Scan.close, Scan.cancel, lambda _: None):
        scan = process.scan(bytes(8), regions=[(at, 16 * CHUNK)], threads=4)
        assert next(scan) == at
        leave(scan)
        assert leave is not Scan.cancel or len(list(scan)) == 4095
        del scan
    process.close()


def test_holes_are_left_out(process: RemoteProcess, target: Target) -> None:
    """No-access, guard and reserved pages: skipped, counted, never joined."""
    pages = target.where("pages")
    where = [(pages, 16 * PAGE)]
    unreadable = {4, 7, 8}
    for number in range(16):
        scan = process.scan(bytes([number + 1]) * PAGE, regions=where)
        expected = [] if number in unreadable else [pages + number * PAGE]
        assert list(scan) == expected
        assert scan.scanned == 13 * PAGE
        assert scan.skipped == 2 * PAGE  # the reserved one holds nothing
    # The last byte before a hole and the first one after it are not neighbours.
    assert list(process.scan(b"\x04\x06", regions=where)) == []
    assert list(process.scan(b"\x02\x03", regions=where)) == [pages + 2 * PAGE - 1]
    assert int(target.ask(f"query {pages + 8 * PAGE:x}"), 16) & GUARD


@pytest.mark.parametrize("threads", [1, 3])
def test_holes_at_borders_are_counted_once(
    process: RemoteProcess, target: Target, threads: int
) -> None:
    """At both ends of what is searched, and where one read ends and the next begins."""
    size = 4 * CHUNK
    at = target.alloc(size)
    border = (at + 2 * CHUNK) // CHUNK * CHUNK
    holes = ((at, 2), (border - PAGE, 2), (border + CHUNK, 1), (at + size - PAGE, 1))
    for hole, pages in holes:
        target.protect(hole, pages * PAGE, NOACCESS)
    for length in (1, 8, 3 * PAGE):
        where = [(at, size)]
        wanted = b"needle".ljust(length, b"!")[:length]
        scan = process.scan(wanted, regions=where, threads=threads)
        assert list(scan) == []
        assert (scan.scanned, scan.skipped) == (size - 6 * PAGE, 6 * PAGE)
    scan = process.scan(b"\0", regions=[(border - PAGE, 2 * PAGE)], threads=threads)
    assert list(scan) == []
    assert (scan.scanned, scan.skipped) == (0, 2 * PAGE)


def test_the_last_page_of_all_may_be_a_hole(process: RemoteProcess) -> None:
    """Behind it there are no more addresses, which is no error."""
    with process.alloc(PAGE, NOACCESS) as hole:
        where = [(hole.address, (1 << 63) - hole.address)]
        scan = process.scan(b"x", regions=where, protection=EXECUTE_ONLY)
        assert list(scan) == []
        assert scan.scanned == 0
        assert scan.skipped >= PAGE


def test_protection_filters_pages(process: RemoteProcess, target: Target) -> None:
    """By letters, or by any of the flags."""
    pages = target.where("pages")

    def numbers(protection: object) -> list[int]:
        found = []
        for number in range(16):
            pattern = bytes([number + 1]) * PAGE
            scan = process.scan(
                pattern, regions=[(pages, 16 * PAGE)], protection=protection
            )
            found += [number] * len(list(scan))
        return found

    assert numbers("w") == [0, 1, 2, 3, 5, 6, 10, 11, 12, 14, 15]
    assert numbers("x") == [13]
    assert numbers("wx") == []
    assert numbers(winipc.MemoryProtection.READONLY) == [9]
    assert numbers(READONLY | 0x20) == [9, 13]
    with pytest.raises(ValueError, match="only r, w and x"):
        process.scan(b"x", protection="z")


def test_ranges_of_addresses(process: RemoteProcess, needle: bytes) -> None:
    """start and end, regions, and both; what lies in the range whole counts."""
    with process.alloc(4 * PAGE) as block:
        at = block.address
        for page in range(4):
            block.write(needle, page * PAGE + 8)
        found = [at + page * PAGE + 8 for page in range(4)]
        assert list(process.scan(needle, start=at + 9)) == found[1:]
        assert list(process.scan(needle, end=found[3] + 16)) == found
        assert list(process.scan(needle, end=found[3] + 15)) == found[:3]
        assert list(process.scan(needle, start=at, end=at)) == []
        assert list(process.scan(needle, start=at, end=1 << 80)) == found
        assert list(process.scan(needle, start=1 << 80, end=1 << 80)) == []
        two = [(at + 2 * PAGE, PAGE), (at, PAGE)]
        assert list(process.scan(needle, regions=two)) == found[::2]
        assert list(process.scan(needle, regions=two, start=at + PAGE)) == found[2:3]
        overlapping = [(at, 2 * PAGE), (at + PAGE, 3 * PAGE), (at + 8, 100)]
        assert list(process.scan(needle, regions=overlapping)) == found
        rows = [
            row for row in process.regions() if row.base <= at < row.base + row.size
        ]
        assert list(process.scan(needle, regions=rows)) == found
        with pytest.raises(ValueError, match="no addresses"):
            process.scan(needle, start=2, end=1)


def test_alignment_is_that_of_the_address(process: RemoteProcess) -> None:
    """Not that of the chunk or of the part of a region that is searched."""
    with process.alloc(PAGE) as block:
        for at in (3, 8, 22, 40):
            block.write(struct.pack("<I", 0xABCDEF01), at)
        value = Pattern.value("u32", 0xABCDEF01)
        where = [(block.address + 1, PAGE - 1)]
        found = [at - block.address for at in process.scan(value, regions=where)]
        assert found == [8, 40]
        found = process.scan(value, regions=where, aligned=False)
        assert [at - block.address for at in found] == [3, 8, 22, 40]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("done", range(0, CHURN_SCANS, CHURN_ROUND))
def test_scanning_while_memory_comes_and_goes(
    process: RemoteProcess, target: Target, needle: bytes, done: int, threads: int
) -> None:
    """No scan fails, and what stays is found each time."""
    at = target.alloc(PAGE)
    process.write(at, needle)
    near = 16 << 20  # where the blocks that come and go are
    sizes = set()
    assert target.ask("churn on") == "ok"
    for _ in range(min(CHURN_ROUND, CHURN_SCANS - done)):
        scan = process.scan(
            needle,
            protection="w",
            start=max(0, at - near),
            end=at + near,
            threads=threads,
        )
        assert list(scan) == [at]
        sizes.add(scan.scanned)
    assert target.ask("churn off") == "ok"
    assert len(sizes) > 1


def test_memory_of_a_scan_is_bounded(
    target: Target, start_peer: Callable[..., object]
) -> None:
    """16 MiB at most, however much there is to search, to look for and to find."""
    size = 48 << 20
    at = target.alloc(size)
    peer = start_peer("scan_memory.py", target.pid, at, size)
    *matches, working_set, commit = map(int, peer.read_line().split())
    assert peer.wait() == 0
    assert matches == [0, 0, size // 256]
    assert working_set <= 16 << 20
    assert commit <= 16 << 20


#: Found nowhere, and slow to look for: seconds for the memory of `slow_scan`.
SLOW = [
    Pattern.range("i32", number, number + 1, aligned=False)
    for number in range(0x7E000001, 0x7E000401)
]


@contextlib.contextmanager
def slow_scan(
    process: RemoteProcess,
    target: Target,
    act: Callable[[Scan], None],
    there: bytes = b"",
) -> Iterator[Scan]:
    """A long scan; another thread calls act(scan) while it runs."""
    size = 64 << 20
    at = target.alloc(size)
    process.write(at + 100, there)
    scan = process.scan([b"needle!!", *SLOW[1:]], regions=[(at, size)])

    def wait_and_act() -> None:
        while scan.scanned <= CHUNK:
            time.sleep(0.001)
        act(scan)

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield scan
    finally:
        thread.join()
    assert scan.scanned < size


def test_ctrl_c_interrupts_a_scan(process: RemoteProcess, target: Target) -> None:
    """In the middle; it can be gone on with, or left."""

    def interrupt(scan: Scan) -> None:
        _thread.interrupt_main()

    with slow_scan(process, target, interrupt) as scan:
        with pytest.raises(KeyboardInterrupt):
            list(scan)
        assert not scan.closed
        assert not scan.cancelled
        scan.close()


def test_a_scan_is_cancelled_in_the_middle(
    process: RemoteProcess, target: Target
) -> None:
    """By another thread; what had been found is given."""
    with slow_scan(process, target, Scan.cancel, b"needle!!") as scan:
        assert [match.pattern for match in scan] == [0]
        assert scan.cancelled
        assert scan.closed


@pytest.mark.parametrize("threads", [1, 3])
def test_a_target_killed_during_a_scan(
    target: Target, process: RemoteProcess, threads: int
) -> None:
    """What had been found comes first, then ProcessLookupError."""
    size = 16 * CHUNK
    at = target.alloc(size)
    scan = process.scan(bytes(8), regions=[(at, size)], threads=threads)
    found = [next(scan)]
    target.peer.kill()
    with pytest.raises(ProcessLookupError):
        found.extend(scan)
    assert found == list(range(at, at + len(found)))
    assert next(scan, None) is None
    assert scan.closed
    with pytest.raises(ProcessLookupError):
        list(process.scan(bytes(8)))


def test_a_closed_process_is_not_scanned(target: Target) -> None:
    """Neither by a new scan nor by one that had begun."""
    process = RemoteProcess.open(target)
    scan = process.scan(b"\0")
    next(scan)
    process.close()
    with pytest.raises(ValueError, match="closed"):
        list(scan)
    scan.close()
    with pytest.raises(ValueError, match="closed"):
        process.scan(b"x")


def test_rights_are_missing(target: Target) -> None:
    """A process opened for queries cannot be scanned, and the error says why."""
    with (
        RemoteProcess.open(target, access=ProcessAccess.QUERY) as process,
        pytest.raises(PermissionError),
    ):
        list(process.scan(b"x"))


def test_remote_progress_counts_to_the_total(
    process: RemoteProcess, target: Target
) -> None:
    """The total is known in advance, about."""
    at = target.alloc(8 * CHUNK)
    told: list[tuple[int, int]] = []
    scan = process.scan(
        b"x" * 20,
        regions=[(at, 8 * CHUNK)],
        progress=lambda *seen: told.append(seen),
    )
    assert list(scan) == []
    assert told[-1] == (8 * CHUNK, 8 * CHUNK)
    assert all(total == 8 * CHUNK for _, total in told)
    assert scan.scanned == 8 * CHUNK
    assert scan.skipped == 0
