"""Atomic: interlocked operations on sections, mappings and any buffer."""

from __future__ import annotations

import ctypes
import gc
import struct
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winipc import Atomic, SharedMapping, SharedSection

WIDTHS = {
    "b": 1,
    "B": 1,
    "h": 2,
    "H": 2,
    "i": 4,
    "I": 4,
    "l": 4,
    "L": 4,
    "q": 8,
    "Q": 8,
}
NAMES = ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64"]


def aligned(size: int = 64) -> Any:
    """Writable memory at an address that is a multiple of 8."""
    return (ctypes.c_uint64 * (size // 8))()


def bounds(code: str) -> tuple[int, int]:
    bits = WIDTHS[code] * 8
    return (
        (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
        if code.islower()
        else (0, (1 << bits) - 1)
    )


def wrap(code: str, number: int) -> int:
    low, high = bounds(code)
    return (number - low) % (high - low + 1) + low


MODELS = {
    "exchange": lambda old, new: new,
    "add": lambda old, new: old + new,
    "and": lambda old, new: old & new,
    "or": lambda old, new: old | new,
    "xor": lambda old, new: old ^ new,
}


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, str, int, int, int]:
    code = draw(st.sampled_from(sorted(WIDTHS)))
    low, high = bounds(code)
    number = st.integers(low, high)
    offset = draw(st.integers(0, 64 // WIDTHS[code] - 1)) * WIDTHS[code]
    return (
        draw(st.sampled_from(sorted(MODELS))),
        code,
        offset,
        draw(number),
        draw(number),
    )


@given(case=cases())
def test_operations_are_those_of_integers(case: tuple[str, str, int, int, int]) -> None:
    """The old number comes back, the new one is there, and no byte beside it."""
    name, code, offset, old, operand = case
    buffer = aligned()
    expected = bytearray(b"\xa5" * 64)
    struct.pack_into(f"<{code}", expected, offset, old)
    memoryview(buffer).cast("B")[:] = expected
    number = Atomic(buffer, offset, code)
    method = {"and": "and_", "or": "or_"}.get(name, name)
    assert getattr(number, method)(operand) == old
    struct.pack_into(
        f"<{code}", expected, offset, wrap(code, MODELS[name](old, operand))
    )
    assert bytes(buffer) == expected
    assert number.load() == struct.unpack_from(f"<{code}", expected, offset)[0]


@given(case=cases(), swap=st.booleans())
def test_compare_exchange_writes_only_when_equal(
    case: tuple[str, str, int, int, int], swap: bool
) -> None:
    """It returns what was there, which tells whether it wrote."""
    _, code, offset, old, desired = case
    buffer = aligned()
    number = Atomic(buffer, offset, code)
    number.store(old)
    expected = old if swap else wrap(code, old + 1)
    assert number.compare_exchange(expected, desired) == old
    assert number.load() == (desired if swap else old)


@pytest.mark.smoke
def test_each_operation_returns_the_number_before() -> None:
    """All of them in a row, on one number of a section."""
    with SharedSection.load() as section, section.atomic(16) as number:
        number.store(40)
        assert number.add(3) == 40
        assert number.value == 43
        number.value = 5
        assert number.and_(6) == 5
        assert number.or_(3) == 4
        assert number.xor(1) == 7
        assert number.exchange(9) == 6
        assert number.compare_exchange(9, 10) == 9
        assert number.compare_exchange(9, 11) == 10
        number.store(-1)
        assert Atomic(section, 16, type="u64").load() == 2**64 - 1
        assert Atomic(section, offset=16).load() == -1
        section.set(16, "i64", 0)


@pytest.mark.parametrize("name", NAMES)
def test_types_have_names_and_codes(name: str) -> None:
    """A name means the same as its struct code; `type` tells the name."""
    buffer = aligned()
    number = Atomic(buffer, 8, name)
    number.store(2)
    assert number.type == name
    [code] = [
        code
        for code in "bhiqBHIQ"
        if WIDTHS[code] == int(name[1:]) // 8 and code.islower() == (name[0] == "i")
    ]
    assert Atomic(buffer, 8, code).exchange(0) == 2
    assert Atomic(buffer, 8, f"<{code}").type == name


@pytest.mark.parametrize("code", WIDTHS)
def test_numbers_out_of_range_are_refused(code: str) -> None:
    """Nothing is cut off, except that an addition may take a negative number."""
    buffer = aligned()
    low, high = bounds(code)
    number = Atomic(buffer, 0, code)
    for operation in (
        number.store,
        number.exchange,
        number.and_,
        number.or_,
        number.xor,
    ):
        for value in (low - 1, high + 1, 1 << 100, -(1 << 100)):
            with pytest.raises(OverflowError, match=f"'{code}'"):
                operation(value)
    for value in (-(high // 2) - 2 if code.isupper() else low - 1, high + 1, 1 << 100):
        with pytest.raises(OverflowError):
            number.add(value)
    assert bytes(buffer) == bytes(64)
    number.add(-1)
    assert number.load() == wrap(code, -1)


@pytest.mark.parametrize("code", [c for c in WIDTHS if WIDTHS[c] > 1])
def test_a_misaligned_address_is_refused(code: str) -> None:
    """An interlocked instruction across a cache line is not one on every machine."""
    buffer = aligned()
    for offset in range(1, WIDTHS[code]):
        with pytest.raises(ValueError, match="multiple"):
            Atomic(buffer, offset, code)
    # It is the address that counts, not the offset.
    part = memoryview(buffer).cast("B")[1:]
    assert Atomic(part, WIDTHS[code] - 1, code).add(1) == 0


@pytest.mark.parametrize("code", WIDTHS)
def test_the_number_must_lie_in_the_buffer(code: str) -> None:
    """Its last byte counts."""
    buffer = aligned()
    width = WIDTHS[code]
    Atomic(buffer, 64 - width, code).add(1)
    for offset in (64 - width + 1, 64, 65, sys.maxsize):
        with pytest.raises(ValueError, match="not within"):
            Atomic(buffer, offset, code)
    with SharedSection.load() as section, pytest.raises(ValueError, match="not within"):
        section.atomic(len(section) - width + 1, code)
    with pytest.raises(ValueError, match="range"):
        Atomic(buffer, -1, code)
    with pytest.raises(OverflowError):
        Atomic(buffer, 1 << 70, code)


@pytest.mark.parametrize("code", ["", "x", "qq", ">q", "i32\0", "\0", "\U0001f600"])
def test_other_formats_are_refused(code: str) -> None:
    with pytest.raises(ValueError, match="there are i8 i16"):
        Atomic(aligned(), 0, code)


@pytest.mark.parametrize("code", ["d", "f32"])
def test_floating_point_is_refused(code: str) -> None:
    with pytest.raises(ValueError, match="an interlocked number is an integer"):
        Atomic(aligned(), 0, code)


def test_wrong_kinds_are_refused() -> None:
    """TypeError for each: no buffer, no number, no string, too many, too few."""
    buffer: Any = aligned()
    wrong: list[Any] = [
        lambda: Atomic(3, 0),
        lambda: Atomic(buffer, 1.0),
        lambda: Atomic(buffer, 0, 8),
        lambda: Atomic(buffer, 0, "q", 5),
        lambda: Atomic(buffer, 0, code="q"),
        lambda: Atomic(buffer).add(1.5),
        lambda: Atomic(),
        lambda: Atomic(buffer).add(),
        lambda: Atomic(buffer).add(1, 2),
        lambda: Atomic(buffer).compare_exchange(1),
        lambda: delattr(Atomic(buffer), "value"),
    ]
    for use in wrong:
        with pytest.raises(TypeError):
            use()


def test_read_only_memory_can_only_be_loaded_from() -> None:
    """A load does not write, so it works there; the rest is refused."""
    data = struct.pack("<16B", *range(16))
    number = Atomic(data, 3, "B")
    assert number.readonly
    assert number.load() == 3
    with pytest.raises(TypeError, match=r"Atomic is read-only$"):
        number.add(1)
    assert data == bytes(range(16))


def test_an_atomic_keeps_its_section_open() -> None:
    """close() is refused until it is released; then it is useless."""
    section = SharedSection.load()
    number = section.atomic(8, "i")
    assert number.type == "i32"
    with pytest.raises(BufferError, match="1 buffer"):
        section.close()
    number.release()
    number.release()
    section.close()
    assert repr(number) == "<Atomic released>"
    for use in (number.load, lambda: number.add(1), lambda: number.value):
        with pytest.raises(ValueError, match="released"):
            use()


def test_an_operand_that_releases_the_atomic_is_harmless() -> None:
    class Releaser:
        def __index__(self) -> int:
            number.release()
            return 1

    number = Atomic(aligned())
    with pytest.raises(ValueError, match="released"):
        number.add(Releaser())


def test_a_cycle_through_an_atomic_is_collected() -> None:
    """The garbage collector sees the buffer's owner."""

    class Owner(bytearray):
        pass

    owner = Owner(64)
    owner.number = Atomic(
        owner, -ctypes.addressof(ctypes.c_char.from_buffer(owner)) % 8
    )
    import weakref

    gone = weakref.ref(owner.number)
    del owner
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("kind", ["unnamed", "file"])
def test_numbers_of_a_mapping(tmp_path: Path, kind: str) -> None:
    """Also on a file, where a page may have to be brought in first."""
    file = tmp_path / "counter.bin" if kind == "file" else None
    with (
        SharedMapping.create(None, 4096, file=file) as mapping,
        Atomic(mapping, 8) as number,
    ):
        number.store(-2)
        assert number.add(3) == -2
        assert number.compare_exchange(1, 7) == 1
        assert number.exchange(9) == 7
        assert number.load() == 9
        assert mapping[8] == 9
        assert number.or_(6) == 9
        assert mapping.get(8, "i64") == 15
        with pytest.raises(ValueError, match="multiple"):
            Atomic(mapping, 9)
        with pytest.raises(ValueError, match="not within"):
            Atomic(mapping, 4096)
    with pytest.raises(ValueError, match="closed"):
        Atomic(mapping, 8)


def test_threads_lose_no_addition() -> None:
    """Several threads on one number, some by compare_exchange."""
    with SharedSection.load() as section:
        section.set(0, "i64", 0)

        def add() -> None:
            with section.atomic() as number:
                for _ in range(2000):
                    number.add(1)
                    old = number.load()
                    while (seen := number.compare_exchange(old, old + 1)) != old:
                        old = seen

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert section.get(0, "i64") == 4 * 2 * 2000


def test_a_memoryview_of_a_file_is_guarded_as_well(tmp_path: Path) -> None:
    """It counts, and cannot outlive the mapping that it looks through to."""
    with SharedMapping.create(None, 4096, file=tmp_path / "numbers.bin") as mapping:
        view = memoryview(mapping)[64:]
        with Atomic(view, 8) as number:
            number.add(3)
            with pytest.raises(BufferError):
                view.release()
        view.release()
        assert mapping.get(72, "i64") == 3
