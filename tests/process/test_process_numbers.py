"""Numbers of another process, in the names that all memory of winipc has for them."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from helpers import BITS
from helpers.c_target import Target

from winipc import (
    GlobalMemory,
    PartialReadError,
    PartialWriteError,
    ProcessAccess,
    RemoteProcess,
)

PAGE = 4096
KINDS = {  # the code of the struct module
    "i8": "b",
    "i16": "h",
    "i32": "i",
    "i64": "q",
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "f32": "f",
    "f64": "d",
}
VALUES = {
    **{
        f"i{bits}": (-1 << bits - 1, -2, (1 << bits - 1) - 1)
        for bits in (8, 16, 32, 64)
    },
    **{f"u{bits}": (0, 0x7B, (1 << bits) - 1) for bits in (8, 16, 32, 64)},
    **{"f32": (-0.5, 1.5, float("inf")), "f64": (-0.1, 1e300, float("-inf"))},
}


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests; one that spoils what is known there ends it."""
    return targets()


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_each_kind(
    process: RemoteProcess, target: Target, kind: str
) -> None:
    """The target sees what was written, and it is read as the target wrote it."""
    at = target.alloc(PAGE) + 1  # wherever it lies
    code = KINDS[kind]
    size = struct.calcsize(code)
    for value in VALUES[kind]:
        target.ask(f"poke {at:x} {bytes(9).hex()}")
        assert process.set(at, kind, value) is None
        wanted = struct.pack("<" + code, value)
        assert target.peek(at, 9) == wanted.ljust(9, b"\0")
        target.ask(f"poke {at:x} {wanted.hex()}{'a5' * (9 - size)}")
        assert process.get(at, kind) == value
        for name in (kind, code, f"<{code}"):
            assert process.get(at, name) == value
            process.set(at + 16, name, value)
            assert target.peek(at + 16, size) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_are_those_of_other_memory(kind: str, me: RemoteProcess) -> None:
    """A process has get() and set() as a mapping or a block has them."""
    with GlobalMemory(16) as memory:
        memory.set(8, kind, 5)
        assert me.get(memory.address + 8, kind) == 5
        me.set(memory.address, kind, 6)
        assert memory.get(0, kind) == 6


def test_numbers_that_do_not_fit(process: RemoteProcess, target: Target) -> None:
    """They are refused before anything is written."""
    at = target.alloc(PAGE)
    for kind, value in (("u8", 256), ("i16", 1 << 15), ("u32", -1), ("f32", 1e300)):
        with pytest.raises(OverflowError, match=f"does not fit in {kind}"):
            process.set(at, kind, value)
    with pytest.raises(TypeError):
        process.set(at, "i32", 1.5)
    with pytest.raises(ValueError, match="no type of numbers 'i12'"):
        process.get(at, "i12")
    with pytest.raises(ValueError, match="no type of numbers 'i12'"):
        process.set(at, "i12", 1)
    for call in (
        lambda: process.get(at),
        lambda: process.set(at, "i8"),
    ):
        with pytest.raises(TypeError, match=r"takes an address"):
            call()
    with pytest.raises(OverflowError):
        process.get(1 << BITS, "i32")
    assert target.peek(at, 16) == bytes(16)


def test_numbers_in_no_memory(process: RemoteProcess, target: Target) -> None:
    """The errors are those of read and write."""
    with pytest.raises(PartialReadError) as read:
        process.get(0x10, "i32")
    assert read.value.winerror == 998
    edge = target.where("edge") & -PAGE
    with pytest.raises(PartialReadError) as read:
        process.get(edge + PAGE - 4, "u64")
    assert (read.value.winerror, read.value.partial.readable) == (299, 4)
    with pytest.raises(PartialWriteError):
        process.set(0x10, "u64", 1)
    with (
        RemoteProcess.open(target, access=ProcessAccess.READ) as reader,
        pytest.raises(PermissionError, match=r"ProcessAccess\.WRITE"),
    ):
        reader.set(edge, "u8", 1)
    target.peer.kill()
    with pytest.raises(ProcessLookupError):
        process.get(edge, "f64")
    with pytest.raises(ProcessLookupError):
        process.set(edge, "f64", 1)
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.get(edge, "i8")
    with pytest.raises(ValueError, match="closed"):
        process.set(edge, "i8", 1)


def test_cached_numbers(process: RemoteProcess, target: Target) -> None:
    """Within `cached` they come from the copy, until they are written."""
    at = target.alloc(PAGE)
    with process.cached():
        assert process.get(at, "i32") == 0
        target.ask(f"poke {at:x} 05000000")
        assert process.get(at, "i32") == 0
        process.set(at + 4, "i32", 7)
        assert process.get(at, "u64") == 7 << 32 | 5
