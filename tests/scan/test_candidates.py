"""CandidateSet against a model in Python, in tests/peers/target.c."""

from __future__ import annotations

import _thread
import gc
import itertools
import math
import os
import random
import struct
import threading
from collections.abc import Callable

import pytest
from helpers.c_target import Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from winipc import CandidateSet, RemoteProcess, ValueChange, ValueType

PAGE = 4096
WINDOW = 65536  # addresses of one block of candidates

KINDS = [pytest.param(kind, id=str(kind)) for kind in ValueType]


def unpack(kind: ValueType, data: bytes, step: int) -> dict[int, float]:
    """Offset and value of each place."""
    places = range(0, len(data) - kind.size + 1, step)
    return {at: struct.unpack_from(kind.format, data, at)[0] for at in places}


def differs_by(
    kind: ValueType, now: float, then: float, low: float, high: float
) -> bool:
    """Whether low <= now - then <= high, as the type wraps around."""
    if kind.is_float:
        return low <= now - then <= high
    return (now - then - low) % (1 << 8 * kind.size) <= high - low


def model(
    kind: ValueType,
    change: str,
    numbers: tuple[float, ...],
    old: dict[int, float],
    new: dict[int, float],
) -> dict[int, float]:
    """What a rescan has to keep."""

    def raw(value: float) -> bytes:
        return struct.pack(kind.format, value)

    tests: dict[str, Callable[[float, float], bool]] = {
        "changed": lambda now, then: raw(now) != raw(then),
        "unchanged": lambda now, then: raw(now) == raw(then),
        "increased": lambda now, then: now > then,
        "decreased": lambda now, then: now < then,
        "equals": lambda now, then: now == numbers[0],
        "in_range": lambda now, then: numbers[0] <= now <= numbers[1],
        "by": lambda now, then: differs_by(kind, now, then, numbers[0], numbers[-1]),
    }
    return {at: new[at] for at, then in old.items() if tests[change](new[at], then)}


def noise(kind: ValueType, size: int, seed: int) -> bytes:
    """Few different numbers, no NaN."""
    chooser = random.Random(seed)
    numbers = [0.0, 1.5, -2.0, 1e10] if kind.is_float else [0, 1, 7, kind.bounds()[1]]
    packed = [struct.pack(kind.format, number) for number in numbers]
    return b"".join(chooser.choices(packed, k=size // kind.size))


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
                expected = unpack(kind, first, step)
                assert len(found) == len(expected)
                process.write(at, second)
                expected = model(
                    kind, change, numbers, expected, unpack(kind, second, step)
                )
                assert found.rescan(change, *numbers) == len(expected)
                process.write(at, third)
                expected = model(
                    kind, "unchanged", (), expected, unpack(kind, third, step)
                )
                assert found.rescan(ValueChange.UNCHANGED) == len(expected)
                assert {place - at: v for place, v in found.items()} == expected


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
    with CandidateSet.scan(process, "u64", equals=number) as found:
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
    numbers = itertools.count()
    each = (found._take(number, found._version) for number in numbers)
    return list(itertools.takewhile(lambda block: block is not None, each))


def test_threads_keep_what_one_keeps(process: RemoteProcess, target: Target) -> None:
    """First passes and rescans; values over the border of pieces, and holes."""
    size = 6 << 20
    at = target.alloc(size)
    where = [(at + PAGE, size - PAGE), (target.where("pages"), 16 * PAGE)]
    for kind, options in (
        ("u8", {"equals": 0}),
        ("i32", {}),
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
            process.write(at + (2 << 20), b"\2" * (3 << 20))
        for one in sets:
            one.close()
        process.write(at, bytes(size))


def test_millions_take_little_memory(process: RemoteProcess, target: Target) -> None:
    """Their values, and little more; far less when they are few."""
    size = 16 << 20
    at = target.alloc(size)
    where = [(at, size)]
    with CandidateSet.scan(process, "i32", regions=where) as found:
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
