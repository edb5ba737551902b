"""Many reads, typed reads, pointers, lists and the cache give what single reads do.

Against tests/process/peers/target.c, whose memory is known.
"""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable

import pytest
from helpers import BITS
from helpers.c_target import Target
from hypothesis import given, settings
from hypothesis import strategies as st

import winipc
from winipc import (
    GlobalMemory,
    PartialReadError,
    RemoteProcess,
)

PAGE = 4096


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests; one that spoils what is known there ends it."""
    return targets()


def test_read_many_spares_the_good_ones(process: RemoteProcess, target: Target) -> None:
    """In the order given; None for what cannot be read; overlaps are fine."""
    pages = target.where("pages")
    point = target.where("point")
    requests = [
        (pages + 3 * PAGE + 4088, 8),
        (pages + 3 * PAGE + 4092, 8),  # into the hole
        (0, 4),
        (pages, 16),
        (pages, 0),
        (pages + 8, 4096),
        (2**BITS - 4, 8),
        (point, 15),
        (pages + 5 * PAGE, 2 * PAGE),
        (pages + 5 * PAGE, 2 * PAGE + 1),
        [pages, 1],
    ]
    assert process.read_many(requests) == [
        b"\4" * 8,
        None,
        None,
        b"\1" * 16,
        b"",
        b"\1" * 4088 + b"\2" * 8,
        None,
        target.peek(point, 15),
        b"\6" * PAGE + b"\7" * PAGE,
        None,
        b"\1",
    ]
    assert process.read_many([]) == []
    assert process.read_many(iter([(point, 1)])) == [b"\x11"]


@pytest.mark.parametrize(
    ("requests", "error"),
    [
        ([(0,)], ValueError),
        ([(0, -1)], ValueError),
        ([(-1, 1)], OverflowError),
        ([5], TypeError),
        (5, TypeError),
        ([(0, 2**62)], (MemoryError, OverflowError)),
    ],
    ids=str,
)
def test_read_many_refuses_nonsense(
    process: RemoteProcess,
    requests: object,
    error: type[Exception] | tuple[type[Exception], ...],
) -> None:
    """Before anything is read."""
    with pytest.raises(error):
        process.read_many(requests)


@given(
    requests=st.lists(
        st.tuples(st.integers(0, 40 * PAGE), st.integers(0, 3 * PAGE)), max_size=30
    )
)
@settings(max_examples=60)
def test_read_many_equals_one_by_one(requests: list[tuple[int, int]]) -> None:
    """Whatever is asked for, coalescing changes nothing."""
    data = os.urandom(43 * PAGE)
    with (
        RemoteProcess.open(os.getpid()) as me,
        GlobalMemory(data, kind=winipc.MemoryKind.VIRTUAL) as memory,
    ):
        asked = [(memory.address + start, size) for start, size in requests]
        wanted = [data[start : start + size] for start, size in requests]
        assert me.read_many(asked) == wanted


def test_read_many_reads_megabytes(me: RemoteProcess) -> None:
    """Requests beyond the span of one call."""
    size = 3 << 20
    with GlobalMemory(os.urandom(size)) as memory:
        data = memory.read()
        asked = [
            (0, size),
            (10, 1 << 20),
            (size - 5, 5),
            *((i, 7) for i in range(0, size - 7, 9973)),
        ]
        got = me.read_many([(memory.address + start, n) for start, n in asked])
        assert got == [data[start : start + n] for start, n in asked]


class Point(ctypes.LittleEndianStructure):
    _pack_ = 1
    _fields_ = (
        ("tag", ctypes.c_uint8),
        ("x", ctypes.c_int32),
        ("y", ctypes.c_uint16),
        ("z", ctypes.c_double),
    )


def test_typed_reads_and_writes(process: RemoteProcess, target: Target) -> None:
    """struct formats, ctypes and integers agree with the C program."""
    import struct

    at = target.where("point")
    assert process.read_struct(at, "<BiHd") == (0x11, -2, 0x3344, 1.5)
    assert process.read_struct(at, struct.Struct("<Bi")) == (0x11, -2)
    point = process.read_struct(at, Point)
    assert (point.tag, point.x, point.y, point.z) == (0x11, -2, 0x3344, 1.5)
    assert list(process.read_struct(at, ctypes.c_uint8 * 3)) == [0x11, 0xFE, 0xFF]
    assert process.get(at + 1, "i32") == -2
    assert process.get(at + 1, "u32") == 2**32 - 2
    point.x = 77
    assert process.write_struct(at, point) == 15
    assert process.read_struct(at, "<Bi") == (0x11, 77)
    assert process.write_struct(at + 1, "<iH", 5, 6, verify=True) == 6
    assert target.peek(at, 7) == b"\x11\5\0\0\0\6\0"
    with pytest.raises(TypeError):
        process.write_struct(at, point, 1)
    with pytest.raises(PartialReadError):
        process.read_struct(0, Point)
    target.peer.kill()


def test_a_linked_list_is_walked(process: RemoteProcess, target: Target) -> None:
    """All of its nodes in order; circles and broken links are noticed."""
    head = target.where("list")
    nodes = list(process.walk(head))
    assert len(nodes) == 10_000
    values = [process.get(node + 8, "i64") for node in nodes[:50]]
    assert values == list(range(50))
    with pytest.raises(ValueError, match="more than 9999"):
        list(process.walk(head, limit=9999))
    assert list(process.walk(0)) == []

    def point(node: int, to: int) -> None:
        process.write(node, to.to_bytes(8, "little"))

    point(nodes[20], head)
    assert list(process.walk(head)) == nodes[:21]
    point(nodes[20], nodes[10])
    with pytest.raises(ValueError, match="circle"):
        list(process.walk(head, limit=5000))
    point(nodes[20], 0x10)
    walk = process.walk(head)
    assert list(itertools.islice(walk, 22)) == [*nodes[:21], 0x10]
    with pytest.raises(PartialReadError):
        next(walk)
    target.peer.kill()


def test_cached_reads_are_copies_until_the_end(
    process: RemoteProcess, target: Target
) -> None:
    """What the target writes meanwhile is not seen, what we write is."""
    pages = target.where("pages")
    with process.cached() as same:
        assert same is process
        assert process.read(pages, 4) == b"\1" * 4
        assert target.ask(f"poke {pages:x} 5a5a") == "ok"
        assert process.read(pages, 4) == b"\1" * 4
        with process.cached():
            process.write(pages + 2, b"w")
            assert process.read(pages, 4) == b"ZZw\1"
        assert process.read(pages + PAGE - 2, 4) == b"\1\1\2\2"
        target.ask(f"poke {pages:x} 2121")
        assert process.read(pages, 2) == b"ZZ"
    assert process.read(pages, 2) == b"!!"
    target.peer.kill()


def test_a_block_keeps_its_copies_and_a_cache_begins_empty() -> None:
    """The block comes at the second miss, around what was read before; the next
    cache has the memory of the one before, but nothing that was in it."""
    size = 16 * PAGE
    with (
        RemoteProcess.open(os.getpid()) as me,
        GlobalMemory(8 * size, kind=winipc.MemoryKind.VIRTUAL) as memory,
    ):
        for value in range(1, 9, 2):
            with me.cached():
                for start in range(0, 8 * size, size):
                    at = memory.address + start
                    memory[start : start + size] = bytes([value]) * size
                    assert me.read(at, 1)[0] == value
                    memory[start : start + size] = bytes([value + 1]) * size
                    first = me.read(at + PAGE, 1)[0]
                    assert first in (value, value + 1)
                    assert me.read(at, 1)[0] == value
                    assert me.read(at + 2 * PAGE, 1)[0] == first


def test_cached_reads_meet_the_same_holes(
    process: RemoteProcess, target: Target
) -> None:
    """Errors, partial reads and large reads are as without."""
    pages = target.where("pages")
    with process.cached():
        for _ in range(3):
            assert process.read(pages + 3 * PAGE, PAGE) == b"\4" * PAGE
            with pytest.raises(PartialReadError):
                process.read(pages + 4 * PAGE, 1)
            partial = process.read(pages, 16 * PAGE, partial=True)
            assert partial.readable == 13 * PAGE
            assert process.read(target.where("point"), 1) == b"\x11"
        chain = target.where("chain")
        assert process.get(process.pointer([chain + 16, 24, 32]), "i32") == 0x1337
    process._exit_cached()  # one too many does nothing


@given(
    st.lists(
        st.tuples(st.integers(0, 64 * PAGE), st.integers(0, 20 * PAGE)), max_size=40
    )
)
@settings(max_examples=30)
def test_cached_reads_equal_plain_ones(reads: list[tuple[int, int]]) -> None:
    """Over all blocks and sizes."""
    data = os.urandom(85 * PAGE)
    with (
        RemoteProcess.open(os.getpid()) as me,
        GlobalMemory(data, kind=winipc.MemoryKind.VIRTUAL) as memory,
        me.cached(),
    ):
        for start, size in reads:
            assert me.read(memory.address + start, size) == data[start : start + size]


def test_a_full_cache_forgets_and_goes_on(me: RemoteProcess) -> None:
    """It has at most 64 MiB: then every copy is made anew."""
    block, count = 65536, 1100
    with (
        GlobalMemory(count * block, kind=winipc.MemoryKind.VIRTUAL) as memory,
        me.cached(),
    ):
        assert me.read(memory.address, 1) == b"\0"
        memory[0] = 1
        assert me.read(memory.address, 1) == b"\0"
        for number in range(1, count):
            assert me.read(memory.address + number * block, 1) == b"\0"
        assert me.read(memory.address, 1) == b"\1"


def test_a_cache_does_not_outlive_a_closed_process(target: Target) -> None:
    """close() within the context drops it; leaving the context is quiet."""
    process = RemoteProcess.open(target)
    point = target.where("point")
    with process.cached():
        process.read(point, 1)
        process.close()
        with pytest.raises(ValueError, match="closed"):
            process.read(point, 1)
