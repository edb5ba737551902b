"""Numbers of another process, in the names that all memory of winipc has for them."""

from __future__ import annotations

import struct

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
KINDS = {  # the code of the struct module, and the name in a ValueType
    "i8": ("b", "int8"),
    "i16": ("h", "int16"),
    "i32": ("i", "int32"),
    "i64": ("q", "int64"),
    "u8": ("B", "uint8"),
    "u16": ("H", "uint16"),
    "u32": ("I", "uint32"),
    "u64": ("Q", "uint64"),
    "f32": ("f", "float"),
    "f64": ("d", "double"),
}
VALUES = {
    **{
        f"i{bits}": (-1 << bits - 1, -2, (1 << bits - 1) - 1)
        for bits in (8, 16, 32, 64)
    },
    **{f"u{bits}": (0, 0x7B, (1 << bits) - 1) for bits in (8, 16, 32, 64)},
    **{"f32": (-0.5, 1.5, float("inf")), "f64": (-0.1, 1e300, float("-inf"))},
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_each_kind(
    process: RemoteProcess, target: Target, kind: str
) -> None:
    """The target sees what was written, and it is read as the target wrote it."""
    at = target.alloc(PAGE) + 1  # wherever it lies
    code, long = KINDS[kind]
    size = struct.calcsize(code)
    for value in VALUES[kind]:
        target.ask(f"poke {at:x} {bytes(9).hex()}")
        assert getattr(process, f"write_{kind}")(at, value) is None
        wanted = struct.pack("<" + code, value)
        assert target.peek(at, 9) == wanted.ljust(9, b"\0")
        target.ask(f"poke {at:x} {wanted.hex()}{'a5' * (9 - size)}")
        assert getattr(process, f"read_{kind}")(at) == value
        for name in (kind, code, long):
            assert process.read_number(at, name) == value
            process.write_number(at + 16, name, value)
            assert target.peek(at + 16, size) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_the_names_are_those_of_other_memory(kind: str, me: RemoteProcess) -> None:
    """What a mapping or a block has as get_ and set_, a process reads and writes."""
    with GlobalMemory(16) as memory:
        getattr(memory, f"set_{kind}")(8, 5)
        assert getattr(me, f"read_{kind}")(memory.address + 8) == 5
        getattr(me, f"write_{kind}")(memory.address, 6)
        assert getattr(memory, f"get_{kind}")(0) == 6


def test_numbers_that_do_not_fit(process: RemoteProcess, target: Target) -> None:
    """They are refused before anything is written."""
    at = target.alloc(PAGE)
    for kind, value in (("u8", 256), ("i16", 1 << 15), ("u32", -1), ("f32", 1e300)):
        with pytest.raises(OverflowError, match=f"does not fit in {kind}"):
            getattr(process, f"write_{kind}")(at, value)
    with pytest.raises(TypeError):
        process.write_i32(at, 1.5)
    with pytest.raises(ValueError, match="no type of numbers 'i12'"):
        process.read_number(at, "i12")
    with pytest.raises(ValueError, match="no type of numbers 'i12'"):
        process.write_number(at, "i12", 1)
    for call in (
        lambda: process.read_number(at),
        lambda: process.write_number(at, "i8"),
        lambda: process.write_i8(at),
    ):
        with pytest.raises(TypeError, match=r"takes an address"):
            call()
    with pytest.raises(OverflowError):
        process.read_i32(1 << BITS)
    assert target.peek(at, 16) == bytes(16)


def test_numbers_in_no_memory(process: RemoteProcess, target: Target) -> None:
    """The errors are those of read and write."""
    with pytest.raises(PartialReadError) as read:
        process.read_i32(0x10)
    assert read.value.winerror == 998
    edge = target.where("edge") & -PAGE
    with pytest.raises(PartialReadError) as read:
        process.read_u64(edge + PAGE - 4)
    assert (read.value.winerror, read.value.partial.readable) == (299, 4)
    with pytest.raises(PartialWriteError):
        process.write_u64(0x10, 1)
    with (
        RemoteProcess.open(target, access=ProcessAccess.READ) as reader,
        pytest.raises(PermissionError, match=r"ProcessAccess\.WRITE"),
    ):
        reader.write_u8(edge, 1)
    target.peer.kill()
    with pytest.raises(ProcessLookupError):
        process.read_f64(edge)
    with pytest.raises(ProcessLookupError):
        process.write_f64(edge, 1)
    process.close()
    with pytest.raises(ValueError, match="closed"):
        process.read_i8(edge)
    with pytest.raises(ValueError, match="closed"):
        process.write_i8(edge, 1)


def test_cached_numbers(process: RemoteProcess, target: Target) -> None:
    """Within `cached` they come from the copy, until they are written."""
    at = target.alloc(PAGE)
    with process.cached():
        assert process.read_i32(at) == 0
        target.ask(f"poke {at:x} 05000000")
        assert process.read_i32(at) == 0
        process.write_i32(at + 4, 7)
        assert process.read_u64(at) == 7 << 32 | 5
