"""CandidateSet against a model in Python, in tests/peers/target.c."""

from __future__ import annotations

import _thread
import gc
import itertools
import math
import operator
import os
import random
import struct
import threading
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any

import pytest
from helpers.c_target import Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from winipc import CandidateSet, Pattern, RemoteProcess, ValueChange, ValueType

PAGE = 4096
WINDOW = 65536  # addresses of one block of candidates

KINDS = [pytest.param(kind, id=str(kind)) for kind in ValueType]


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests."""
    return targets()


def unpack(kind: ValueType, data: bytes, step: int, base: int = 0) -> dict[int, float]:
    """Address and value of each place."""
    count = (len(data) - kind.size) // step + 1
    values: list[float] = [0] * count
    each = kind.size // step  # as many interleaved series
    for at in range(each):
        number = len(range(at, count, each))
        form = f"{kind.format[:-1]}{number}{kind.format[-1]}"
        values[at::each] = struct.unpack_from(form, data, at * step)
    return dict(zip(range(base, base + step * count, step), values, strict=True))


def bits(kind: ValueType, values: list[float]) -> tuple[bytes, ...]:
    """The bytes of each value: zero has two forms."""
    data = struct.pack(f"{kind.format[:-1]}{len(values)}{kind.format[-1]}", *values)
    return struct.unpack(f"{kind.size}s" * len(values), data)


def differs_by(modulus: int, low: float, high: float, now: float, then: float) -> bool:
    """Whether low <= now - then <= high, as the type wraps around."""
    if modulus == 0:
        return low <= now - then <= high
    return (now - then - low) % modulus <= high - low


def model(
    kind: ValueType,
    change: str,
    numbers: tuple[float, ...],
    old: dict[int, float],
    new: dict[int, float],
    negate: bool = False,
) -> dict[int, float]:
    """What a rescan has to keep."""
    modulus = 0 if kind.is_float else 1 << 8 * kind.size
    then, now = list(old.values()), list(map(new.__getitem__, old))
    keeps: Iterable[bool]
    if change in ("changed", "unchanged"):
        compare = operator.ne if change == "changed" else operator.eq
        keeps = map(compare, bits(kind, now), bits(kind, then))
    elif change in ("increased", "decreased"):
        keeps = map(operator.gt if change == "increased" else operator.lt, now, then)
    elif change == "equals":
        keeps = map(partial(operator.eq, numbers[0]), now)
    elif change == "in_range":
        keeps = (numbers[0] <= value <= numbers[1] for value in now)
    else:
        # Few pairs of numbers come again and again.
        low, high = numbers[0], numbers[-1]
        keeps = map(cache(partial(differs_by, modulus, low, high)), now, then)
    if negate:
        keeps = map(operator.not_, keeps)
    return dict(itertools.compress(zip(old, now, strict=True), keeps))


def noise(kind: ValueType, size: int, seed: int) -> bytes:
    """Few different numbers, no NaN."""
    numbers = [0.0, 1.5, -2.0, 1e10] if kind.is_float else [0, 1, 7, kind.bounds()[1]]
    packed = [struct.pack(kind.format, number) for number in numbers]
    choices = random.Random(seed).randbytes(size // kind.size)
    return b"".join(map((packed * 64).__getitem__, choices))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aligned", [True, False], ids=["aligned", "anywhere"])
def test_rescans_keep_what_a_model_keeps(
    process: RemoteProcess, kind: ValueType, aligned: bool
) -> None:
    """Each change, from every place and from few, over the border of windows."""
    size = 3 * PAGE
    before = WINDOW - PAGE - 16
    step = kind.size if aligned else 1
    one: tuple[float, ...] = (1.5,) if kind.is_float else (7,)
    two: tuple[float, ...] = (-2.0, 1.5) if kind.is_float else (1, 7)
    steps = [
        ("changed", ()),
        ("unchanged", ()),
        ("increased", ()),
        ("decreased", ()),
        ("equals", one),
        ("in_range", two),
        ("by", one),
        ("by", tuple(-number for number in one)),
        ("by", two),
    ]
    with process.alloc(before + size) as block:
        at = block.address + before
        assert block.address % WINDOW == 0
        where = [(at, size)]
        for number, (change, numbers) in enumerate(steps):
            first, second, third = (noise(kind, size, 3 * number + i) for i in range(3))
            second = first[: size // 3] + second[size // 3 :]
            third = third[: size // 2] + second[size // 2 :]
            process.write(at, first)
            with CandidateSet.scan(
                process, kind, aligned=aligned, regions=where
            ) as found:
                expected = unpack(kind, first, step, at)
                assert len(found) == len(expected)
                process.write(at, second)
                expected = model(
                    kind, change, numbers, expected, unpack(kind, second, step, at)
                )
                assert found.rescan(change, *numbers) == len(expected)
                process.write(at, third)
                expected = model(
                    kind, "unchanged", (), expected, unpack(kind, third, step, at)
                )
                assert found.rescan(ValueChange.UNCHANGED) == len(expected)
                assert dict(found.items()) == expected


@pytest.mark.smoke
def test_a_counter_is_found(process: RemoteProcess, target: Target) -> None:
    """As one looks for a number that one can change."""
    at = target.alloc(16 * PAGE)
    secret = at + 5 * PAGE + 12
    process.write(secret, struct.pack("<i", 100))
    where = [(at, 16 * PAGE)]
    with CandidateSet.scan(process, "i32", equals=100, regions=where) as found:
        assert list(found) == [secret]
    with CandidateSet.scan(process, "i32", regions=where) as found:
        assert len(found) == 16 * PAGE // 4
        process.write(secret, struct.pack("<i", 103))
        assert found.rescan("by", 3) == 1
        assert secret in found
        assert secret + 4 not in found
        assert dict(found.items()) == {secret: 103}
        assert found.rescan(equals=103) == found.rescan(between=(102, 103)) == 1
        assert found.rescan(between=(102, 103), negate=True) == 0
        assert found.undo() == 1
        assert found.rescan("by", -3) == 0
        assert list(found) == []
    with CandidateSet.scan(process, "i32", between=(1, 9), regions=where) as found:
        assert len(found) == 0


def test_all_writable_memory_is_searched_by_default(
    process: RemoteProcess, target: Target
) -> None:
    """Not what is only readable, unless asked for."""
    at = target.alloc(2 * PAGE)
    number = int.from_bytes(os.urandom(8), "little")
    for page in range(2):
        process.write(at + page * PAGE, number.to_bytes(8, "little"))
    target.protect(at + PAGE, PAGE, 0x02)
    with CandidateSet.scan(process, "u64", number) as found:
        assert list(found) == [at]
        assert found.scanned > 0
    with CandidateSet.scan(process, "u64", equals=number, protection="r") as found:
        assert list(found) == [at, at + PAGE]


def test_floats_take_a_tolerance(process: RemoteProcess) -> None:
    """In the first scan, in equals and in differences."""
    with process.alloc(PAGE) as block:
        values = (1.0, 1.01, 1.5, -1.0)
        block.write(struct.pack("<4f", *values), 64)
        at = block.address + 64
        where = [(block.address, PAGE)]
        with CandidateSet.scan(
            process, "f32", equals=1, tolerance=0.1, regions=where
        ) as found:
            assert list(found) == [at, at + 4]
            block.write(struct.pack("<2f", 1.1, 1.31), 64)
            assert found.rescan("by", 0.1, tolerance=0.01) == 1
            assert found.rescan("equals", 1.1) == 1
            assert found.rescan("equals", 1.0, tolerance=0.05) == 0


@settings(
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(st.integers(0, 4 * PAGE - 8), st.binary(min_size=1, max_size=40))
    )
)
def test_chains_of_rescans(
    process: RemoteProcess, writes: list[tuple[int, bytes]]
) -> None:
    """Random changes between rescans, unaligned, in few and many candidates."""
    size = 4 * PAGE
    kind = ValueType.U16
    with process.alloc(size) as block:
        image = bytearray(size)
        where = [(block.address, size)]
        changes = itertools.cycle(["unchanged", "in_range", "changed", "increased"])
        with CandidateSet.scan(process, kind, aligned=False, regions=where) as found:
            expected = unpack(kind, bytes(image), 1)
            for (at, data), change in zip(writes, changes, strict=False):
                data = data[: size - at]
                image[at : at + len(data)] = data
                block.write(bytes(image))
                numbers = (0, 255) if change == "in_range" else ()
                expected = model(
                    kind, change, numbers, expected, unpack(kind, bytes(image), 1)
                )
                assert found.rescan(change, *numbers) == len(expected)
            assert [at - block.address for at in found] == list(expected)


# ---------------------------------------- negated, since the first, and undone


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sparse", [False, True], ids=["all", "few"])
def test_rescans_negated_and_since_the_first_keep_what_a_model_keeps(
    process: RemoteProcess, kind: ValueType, sparse: bool
) -> None:
    """Each change, either way, compared to either; and each undone again."""
    size = 2 * PAGE
    steps: list[tuple[str, tuple[float, ...]]] = [
        ("changed", ()),
        ("unchanged", ()),
        ("increased", ()),
        ("decreased", ()),
        ("equals", (1.5,) if kind.is_float else (7,)),
        ("in_range", (-2.0, 1.5) if kind.is_float else (1, 7)),
        ("by", (1.5,) if kind.is_float else (7,)),
    ]
    least: float = 1.5 if kind.is_float else 7
    with process.alloc(WINDOW + size) as block:
        at = block.address + WINDOW - PAGE
        where = [(at, size)]
        for number, ((change, numbers), negate, first) in enumerate(
            itertools.product(steps, [False, True], [False, True])
        ):
            images = [noise(kind, size, 7 * number + i) for i in range(4)]
            is_change = change not in ("equals", "in_range")
            # A page that never changes, and one in which all does.
            images = [images[0][:512] + image[512:] for image in images]
            process.write(at, images[0])
            with CandidateSet.scan(
                process,
                kind,
                between=(least, math.inf) if sparse else None,
                keep_first=first,
                regions=where,
            ) as found:
                begun = unpack(kind, images[0], kind.size, at)
                expected = {
                    place: value
                    for place, value in begun.items()
                    if not sparse or value >= least
                }
                states = [expected]
                held = []
                for image in images[1:]:
                    held.append(blocks(found))
                    process.write(at, image)
                    new = unpack(kind, image, kind.size, at)
                    old = states[-1]
                    if first:
                        old = {place: begun[place] for place in old}
                    kept = model(kind, change, numbers, old, new, negate)
                    count = found.rescan(
                        change,
                        *numbers,
                        negate=negate,
                        since="first" if first and is_change else "last",
                    )
                    assert count == len(kept)
                    assert dict(found.items()) == kept
                    states.append(kept)
                for state, what in zip(states[-2::-1], held[::-1], strict=True):
                    assert found.undo() == len(state)
                    assert blocks(found) == what
                with pytest.raises(ValueError, match="undo_bytes"):
                    found.undo()


def test_nan_is_neither_equal_nor_between(process: RemoteProcess) -> None:
    """So it is among what is negated, in the first scan and in a rescan."""
    with process.alloc(PAGE) as block:
        block.write(struct.pack("<4d", math.nan, 1.0, 2.0, math.nan))
        at, where = block.address, [(block.address, 32)]
        with CandidateSet.scan(
            process, "f64", equals=1, negate=True, regions=where
        ) as found:
            assert list(found) == [at, at + 16, at + 24]
            assert found.rescan("in_range", 0, 5, negate=True) == 2
        with CandidateSet.scan(
            process, "f64", between=(1.5, math.inf), negate=True, regions=where
        ) as found:
            assert list(found) == [at, at + 8, at + 24]


def test_what_is_kept_for_undo_is_bounded(
    process: RemoteProcess, target: Target
) -> None:
    """By bytes, and by 16 sets; and nbytes tells it."""
    size = 1 << 20
    at = target.alloc(size)
    where = [(at, size)]
    with CandidateSet.scan(
        process, "i32", regions=where, undo_bytes=size // 2
    ) as found:
        process.write(at, (b"\x01" + bytes(255)) * (size // 256))
        assert found.rescan("increased") == size // 256
        assert found.nbytes < 8 * len(found)
        with pytest.raises(ValueError, match="undo_bytes"):
            found.undo()
        small = found.nbytes
        assert found.rescan("unchanged") == size // 256
        assert small < found.nbytes <= 2 * small
        assert found.undo() == size // 256
        assert found.nbytes == small
    with CandidateSet.scan(process, "u8", equals=1, regions=where) as found:
        for _ in range(20):
            found.rescan("unchanged")
        for _ in range(16):
            found.undo()
        with pytest.raises(ValueError, match="undo_bytes"):
            found.undo()
        assert len(found) == size // 256
    with pytest.raises(ValueError, match="closed"):
        found.undo()


def test_undo_goes_back_sixteen_times(process: RemoteProcess, target: Target) -> None:
    """The oldest sets are forgotten."""
    at = target.alloc(PAGE)
    with CandidateSet.scan(process, "u8", regions=[(at, PAGE)]) as found:
        for number in range(18):
            process.write(at + number, b"\1")
            assert found.rescan("equals", 0) == PAGE - 1 - number
        counts = [found.undo() for _ in range(16)]
        assert counts == [PAGE - 17 + number for number in range(16)]
        with pytest.raises(ValueError, match="no earlier set; undo keeps up to 16"):
            found.undo()


def test_the_first_values_cost_what_has_changed(
    process: RemoteProcess, target: Target
) -> None:
    """Nothing as long as they are the values; then as much as these."""
    size = 4 << 20
    at = target.alloc(size)
    with CandidateSet.scan(
        process, "i32", regions=[(at, size)], keep_first=True, undo_bytes=0
    ) as found:
        assert found.nbytes < 1.05 * size
        process.write(at, b"\x01\0\0\0" * (size // 8))
        assert found.rescan("decreased", negate=True) == size // 4
        assert found.nbytes < 1.55 * size
        assert found.rescan("unchanged", since="first") == size // 8
        assert found.nbytes < 0.6 * size
    with CandidateSet.scan(process, "i32", regions=[(at, PAGE)]) as found:
        with pytest.raises(ValueError, match="keep_first"):
            found.rescan("changed", since="first")
        with pytest.raises(ValueError, match="'last' or 'first'"):
            found.rescan("changed", since="then")  # type: ignore[arg-type]


def test_all_that_stay_have_the_values_of_now(
    process: RemoteProcess, target: Target
) -> None:
    """Also where "unchanged" keeps a whole block that has other values than before."""
    at = target.alloc(PAGE)
    with CandidateSet.scan(
        process, "i32", regions=[(at, PAGE)], keep_first=True
    ) as found:
        process.write(at, b"\x01\0\0\0" * (PAGE // 4))
        assert found.rescan("unchanged", negate=True) == PAGE // 4
        assert {value for _, value in found.items()} == {1}
        process.write(at, bytes(PAGE))
        assert found.rescan("unchanged", since="first") == PAGE // 4
        assert {value for _, value in found.items()} == {0}


def test_undo_counts_what_was_lost(process: RemoteProcess, target: Target) -> None:
    """It is what it was, with `lost`; what iterates over it notices."""
    at = target.alloc(2 * PAGE)
    with CandidateSet.scan(process, "u32", regions=[(at, 2 * PAGE)]) as found:
        target.protect(at + PAGE, PAGE, 0x01)
        assert found.rescan("unchanged") == found.lost == PAGE // 4
        rows = iter(found)
        next(rows)
        assert found.undo() == PAGE // 2
        assert found.lost == 0
        with pytest.raises(RuntimeError, match="changed while"):
            list(rows)
        # What is lost is not brought back by negating.
        assert found.rescan("changed", negate=True) == PAGE // 4


# ------------------------------------------------------------- text and bytes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "cp1252"])
def test_texts_are_followed(
    process: RemoteProcess, target: Target, encoding: str
) -> None:
    """Also as they get longer and shorter, and over borders of pages and windows."""
    at = target.alloc(2 * WINDOW)
    assert at % WINDOW == 0
    places = [at + 3, at + PAGE - 5, at + WINDOW - 7, at + 2 * WINDOW - 100]

    def write(text: str, where: list[int]) -> None:
        for place in where:
            process.write(place, text.encode(encoding))

    write("Jürgen", places)
    where = [(at, 2 * WINDOW)]
    with CandidateSet.scan(process, encoding, equals="Jürgen", regions=where) as found:
        assert found.kind == encoding
        assert dict(found.items()) == dict.fromkeys(places, "Jürgen")
        write("Jörg", places[1:])
        assert found.rescan("equals", "Jörg") == 3
        assert dict(found.items()) == dict.fromkeys(places[1:], "Jörg")
        assert found.rescan("unchanged") == 3
        write("Maximiliane", places[2:])
        assert found.rescan("changed") == 2
        maxi = "Maximiliane"[
            : len("Jörg".encode(encoding)) // len("M".encode(encoding))
        ]
        assert dict(found.items()) == dict.fromkeys(places[2:], maxi)
        assert found.rescan("equals", "Maximiliane") == 2
        assert found.rescan("equals", "Max", negate=True) == 0
        for state in [2, 2, 3, 3, 4]:
            assert found.undo() == state
        assert dict(found.items()) == dict.fromkeys(places, "Jürgen")
        assert found.rescan("equals", "Jürgen") == 1


def test_bytes_with_wildcards_and_groups_are_followed(
    process: RemoteProcess, target: Target
) -> None:
    """What stands for a pattern elsewhere does here, and fields may be ranges."""
    at = target.alloc(PAGE)
    process.write(at + 16, struct.pack("<fi", 100.0, 5))
    process.write(at + 32, struct.pack("<fi", 100.0, 6))
    where = [(at, PAGE)]
    group = Pattern.group({0: ("f32", 100.0), 4: Pattern.range("i32", 5, 6)})
    with CandidateSet.scan(process, "bytes", equals=group, regions=where) as found:
        assert found.kind == "bytes"
        assert repr(found) == "<CandidateSet of 2 bytes>"
        assert [value for _, value in found.items()] == [
            struct.pack("<fi", 100.0, 5),
            struct.pack("<fi", 100.0, 6),
        ]
        process.write(at + 16, struct.pack("<fi", 90.0, 5))
        process.write(at + 32, struct.pack("<fi", 90.0, 7))
        lower = {0: Pattern.range("f32", 80, 95), 4: Pattern.range("i32", 5, 6)}
        assert found.rescan("equals", Pattern.group(lower)) == 1
        assert list(found) == [at + 16]
        assert found.rescan("equals", "?? ?? b4 42 05") == 1
        assert found.rescan("equals", b"\0\0\xb4\x43") == 0


def test_long_bytes_make_several_blocks(process: RemoteProcess, target: Target) -> None:
    """Bytes of 64 KiB at each of many places, which would not fit in one."""
    size = 3 * WINDOW
    at = target.alloc(size)
    process.write(at, b"x" * size)
    long = b"x" * (WINDOW - 1)
    with CandidateSet.scan(
        process, "bytes", equals=long, regions=[(at, WINDOW + 30)], undo_bytes=0
    ) as found:
        assert list(found) == list(range(at, at + 32))
        assert {value for _, value in found.items()} == {long}
        process.write(at + WINDOW + 20, b"y")
        assert found.rescan("changed") == 10
        assert found.rescan("equals", b"x" * 3000) == 10
        assert list(found) == list(range(at + 22, at + 32))
        with pytest.raises(ValueError, match="65537 bytes"):
            found.rescan("equals", b"x" * (WINDOW + 1))


def test_bytes_lose_candidates_with_any_of_their_pages(
    process: RemoteProcess, target: Target
) -> None:
    """Also one between the first and the last."""
    at = target.alloc(8 * PAGE)
    long = b"x" * (3 * PAGE)
    process.write(at, b"x" * (8 * PAGE))
    with CandidateSet.scan(
        process, "bytes", equals=long, regions=[(at, 8 * PAGE)]
    ) as found:
        assert len(found) == 5 * PAGE + 1
        target.protect(at + 6 * PAGE, PAGE, 0x01)
        assert found.rescan("unchanged") == 3 * PAGE + 1
        assert found.lost == 2 * PAGE


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"kind": "utf-8"}, ValueError, id="unknown text"),
        pytest.param({"kind": "utf-8", "equals": b"x"}, TypeError, id="bytes as text"),
        pytest.param({"kind": "utf-16", "equals": "x"}, ValueError, id="a mark"),
        pytest.param({"kind": "hex", "equals": "x"}, ValueError, id="no encoding"),
        pytest.param({"kind": "bytes", "equals": 5}, TypeError, id="a number"),
        pytest.param({"kind": "i32", "equals": "5"}, TypeError, id="text as number"),
        pytest.param({"kind": "i32", "negate": True}, ValueError, id="negate nothing"),
        pytest.param(
            {"kind": "utf-8", "equals": "x", "negate": True}, ValueError, id="no text"
        ),
        pytest.param(
            {"kind": "utf-8", "equals": "x", "keep_first": True}, ValueError, id="first"
        ),
        pytest.param(
            {"kind": "utf-8", "between": (1, 2)}, ValueError, id="between texts"
        ),
    ],
)
def test_malformed_first_scans_are_refused(
    process: RemoteProcess, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """In words, before anything is read."""
    with pytest.raises(error):
        CandidateSet.scan(process, **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("grew",), "no ValueChange 'grew': there are changed, unchanged, increased"),
        (("by",), "'by' takes one or two numbers"),
        (("equals", 1, 2), "'equals' takes one number$"),
        (("in_range", 1), "'in_range' takes two numbers"),
        (("changed", 1), "'changed' takes no numbers"),
    ],
)
def test_malformed_rescans_say_what_is_wanted(
    process: RemoteProcess, target: Target, arguments: Any, words: str
) -> None:
    """With what is wanted."""
    at = target.alloc(PAGE)
    with pytest.raises(TypeError, match=r"takes two numbers, such as \(1, 9\), not 3"):
        CandidateSet.scan(process, "i32", between=3)  # type: ignore[arg-type]
    with CandidateSet.scan(process, "i32", equals=0, regions=[(at, PAGE)]) as found:
        with pytest.raises(ValueError, match=words):
            found.rescan(*arguments)
        for named in (
            {},
            {"equals": 0, "between": (0, 1)},
            {"change": "by", "equals": 0},
        ):
            with pytest.raises(ValueError, match="takes a change, equals or between"):
                found.rescan(**named)
        assert len(found) == PAGE // 4


def test_malformed_rescans_of_text_are_refused(
    process: RemoteProcess, target: Target
) -> None:
    """It has no order, and no difference."""
    at = target.alloc(PAGE)
    process.write(at, b"text")
    with CandidateSet.scan(
        process, "utf-8", equals="text", regions=[(at, PAGE)]
    ) as found:
        for arguments in (
            ("increased",),
            ("by", 1),
            ("in_range", "a", "b"),
            ("equals",),
            ("equals", ""),
            ("changed", "text"),
        ):
            with pytest.raises(ValueError):
                found.rescan(*arguments)
        with pytest.raises(TypeError):
            found.rescan("equals", 5)
        assert len(found) == 1


def test_memory_that_vanishes_loses_its_candidates(
    process: RemoteProcess, target: Target
) -> None:
    """Others are kept, no guard page is touched, and the loss is counted."""
    blocks = [target.alloc(4 * PAGE) for _ in range(3)]
    where = [(at, 4 * PAGE) for at in blocks]
    with CandidateSet.scan(process, "u32", equals=0, regions=where) as found:
        assert len(found) == 3 * PAGE
        target.free(blocks[1])
        target.protect(blocks[0] + PAGE, PAGE, 0x104)
        target.protect(blocks[2] + PAGE, PAGE, 0x01)
        assert found.rescan("unchanged") == 6 * PAGE // 4
        assert found.lost == 6 * PAGE // 4
        assert int(target.ask(f"query {blocks[0] + PAGE:x}"), 16) == 0x104
        assert blocks[0] + PAGE - 4 in found
        assert blocks[0] + PAGE not in found
        assert blocks[0] + 2 * PAGE in found


def blocks(found: CandidateSet) -> list[object]:
    """All that it holds, without an object for each candidate."""
    each = (
        [found._take(number, found._version, firsts) for firsts in (False, True)]
        for number in itertools.count()
    )
    return list(itertools.takewhile(lambda pair: pair[0] is not None, each))


def test_threads_keep_what_one_keeps(process: RemoteProcess, target: Target) -> None:
    """First passes and rescans; values over the border of pieces, and holes."""
    size = 4 << 20
    at = target.alloc(size)
    where = [(at + PAGE, size - PAGE), (target.where("pages"), 16 * PAGE)]
    for kind, options in (
        ("u8", {"equals": 0}),
        ("i32", {"keep_first": True}),
        ("i64", {"between": (0, 9), "aligned": False}),
    ):
        sets = [
            CandidateSet.scan(process, kind, regions=where, threads=n, **options)
            for n in (1, 2, 5)
        ]
        assert len(sets[0]) > size // 8
        assert blocks(sets[0]) == blocks(sets[1]) == blocks(sets[2])
        assert len({(one.scanned, one.skipped, one.nbytes) for one in sets}) == 1
        process.write(at + (1 << 20) - 3, bytes(range(1, 9)))
        for change in ("unchanged", "changed"):
            kept = [
                one.rescan(change, threads=n)
                for one, n in zip(sets, (1, 4, 2), strict=True)
            ]
            assert kept[0] == kept[1] == kept[2] > 1000
            assert blocks(sets[0]) == blocks(sets[1]) == blocks(sets[2])
            process.write(at + (2 << 20), b"\2" * (1 << 20))
        for one in sets:
            one.close()
        process.write(at, bytes(size))


def test_millions_take_little_memory(process: RemoteProcess, target: Target) -> None:
    """Their values, and little more; far less when they are few."""
    size = 16 << 20
    at = target.alloc(size)
    where = [(at, size)]
    with CandidateSet.scan(process, "i32", regions=where, undo_bytes=0) as found:
        assert len(found) == size // 4
        assert found.nbytes < 1.05 * size
        # Every 64th value changes.
        process.write(at, (b"\x01" + bytes(255)) * (size // 256))
        assert found.rescan("increased") == size // 256
        assert found.nbytes < 8 * len(found)
        assert next(iter(found)) == at
        assert at + 256 in found
        assert at + 4 not in found


def test_a_rescan_that_fails_changes_nothing(
    process: RemoteProcess, target: Target
) -> None:
    """Whether progress raises, says False, or the target is gone."""
    at = target.alloc(16 * PAGE)
    found = CandidateSet.scan(process, "u8", equals=0, regions=[(at, 16 * PAGE)])
    total = 16 * PAGE
    told: list[tuple[int, int]] = []

    def fail(done: int, of: int) -> None:
        told.append((done, of))
        raise KeyError("progress")

    with pytest.raises(KeyError):
        found.rescan("changed", progress=fail)
    assert told == [(total, total)]
    assert found.rescan("changed", progress=lambda done, of: False) == total
    assert len(found) == total
    target.peer.kill()
    with pytest.raises(ProcessLookupError):
        found.rescan("unchanged")
    assert len(found) == total
    with pytest.raises(ProcessLookupError):
        CandidateSet.scan(process, "u8", equals=0)
    found.close()


def test_a_finaliser_called_by_hand_leaves_a_rescan_at_work(
    process: RemoteProcess, target: Target
) -> None:
    """It would go on in memory that is freed."""
    at = target.alloc(16 * PAGE)
    told: list[int] = []

    def finalise(done: int, of: int) -> None:
        told.append(done)
        found.__del__()  # type: ignore[attr-defined]

    with CandidateSet.scan(process, "u8", regions=[(at, 16 * PAGE)]) as found:
        assert found.rescan("unchanged", progress=finalise) == 16 * PAGE
        assert told
        assert not found.closed


def test_ctrl_c_interrupts_a_rescan(process: RemoteProcess, target: Target) -> None:
    """Wherever it comes, the set is whole, and can be used again."""
    size = 16 << 20
    at = target.alloc(size)
    begun = threading.Event()

    def interrupt() -> None:
        begun.wait()
        _thread.interrupt_main()

    def rescan_for_ever(found: CandidateSet) -> None:
        while True:
            found.rescan("unchanged", progress=lambda done, of: begun.set())

    with CandidateSet.scan(process, "u8", regions=[(at, size)]) as found:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            rescan_for_ever(found)
        thread.join()
        assert len(found) == size
        process.write(at, b"\x01")
        assert found.rescan("increased") == 1


def test_iterating_notices_a_rescan(process: RemoteProcess, target: Target) -> None:
    """Rather than mix two states."""
    at = target.alloc(4 * PAGE)
    with CandidateSet.scan(process, "u8", regions=[(at, 4 * PAGE)]) as found:
        rows = iter(found)
        next(rows)
        found.rescan("unchanged")
        with pytest.raises(RuntimeError, match="changed while"):
            list(rows)
        assert list(found) == list(range(at, at + 4 * PAGE))


def test_closing(process: RemoteProcess, target: Target) -> None:
    """Twice, and before use; and a forgotten one goes quietly."""
    at = target.alloc(PAGE)
    found = CandidateSet.scan(process, "u8", regions=[(at, PAGE)])
    assert repr(found) == "<CandidateSet of 4096 u8>"
    found.close()
    found.close()
    assert found.closed
    assert len(found) == 0
    assert list(found) == []
    with pytest.raises(ValueError, match="closed"):
        found.rescan("changed")
    found = CandidateSet.scan(process, "u8", regions=[(at, PAGE)])
    del found
    gc.collect()


def test_one_thread_rescans_at_a_time(process: RemoteProcess, target: Target) -> None:
    """Others are refused, and cannot close it meanwhile."""
    at = target.alloc(8 << 20)
    with CandidateSet.scan(process, "u8", regions=[(at, 8 << 20)]) as found:
        errors: list[Exception] = []

        def again(done: int, of: int) -> None:
            def attempt(what: Callable[[], object]) -> None:
                with pytest.raises((ValueError, BufferError)) as caught:
                    what()
                errors.append(caught.value)

            thread = threading.Thread(
                target=lambda: (
                    attempt(lambda: found.rescan("changed")),
                    attempt(found.close),
                )
            )
            thread.start()
            thread.join()

        assert found.rescan("unchanged", progress=again) == 8 << 20
        assert {type(error) for error in errors} == {ValueError, BufferError}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param(("growing",), ValueError, id="no such change"),
        pytest.param(("changed", 1), ValueError, id="a number too many"),
        pytest.param(("equals",), ValueError, id="a number too few"),
        pytest.param(("equals", 1, 2), ValueError, id="two for equals"),
        pytest.param(("in_range", 1), ValueError, id="one for a range"),
        pytest.param(("in_range", 2, 1), ValueError, id="reversed"),
        pytest.param(("equals", 256), OverflowError, id="too big"),
        pytest.param(("equals", 1.5), TypeError, id="fraction"),
        pytest.param(("by", 256), OverflowError, id="too far"),
        pytest.param(("by", -128, 128), OverflowError, id="by anything and more"),
        pytest.param(("by", 0.5), TypeError, id="by a fraction"),
        pytest.param(("by", math.nan), (TypeError, ValueError), id="by NaN"),
    ],
)
def test_malformed_rescans_are_refused(
    process: RemoteProcess,
    target: Target,
    arguments: tuple[object, ...],
    error: type[Exception],
) -> None:
    """Before anything is read, and the set stays as it was."""
    at = target.alloc(PAGE)
    with CandidateSet.scan(process, "u8", regions=[(at, PAGE)]) as found:
        with pytest.raises(error):
            found.rescan(*arguments)
        assert len(found) == PAGE
    with pytest.raises(ValueError, match="not both"):
        CandidateSet.scan(process, "u8", equals=1, between=(1, 2))
    with pytest.raises(TypeError):
        CandidateSet.scan(5, "u8")
