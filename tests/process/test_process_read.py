"""Memory is read and written whole, or what is missing is told.

Against tests/process/peers/target.c, whose memory is known.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import FULL
from helpers import BITS
from helpers.c_target import Target
from helpers.linux_file import LinuxFile

import winipc
from winipc import (
    GlobalMemory,
    MemoryProtection,
    PartialRead,
    PartialReadError,
    PartialWriteError,
    ProcessAccess,
    RemoteProcess,
)

PAGE = 4096

#: Where nothing is, in 32 bits too.
WILD = sorted({0, 1, 2**47 % 2**BITS, 2 ** (BITS - 1), 2**BITS - 8, 2**BITS - 1})


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests; one that spoils what is known there ends it."""
    return targets()


@pytest.mark.smoke
def test_read_gets_the_bytes(process: RemoteProcess, target: Target) -> None:
    """What the target sees itself is what is read."""
    point = target.where("point")
    assert process.read(point, 15) == target.peek(point, 15)
    assert process.read(address=point, size=1) == b"\x11"
    buffer = bytearray(15)
    assert process.read_into(point, buffer) == 15
    assert buffer == target.peek(point, 15)


def test_nothing_is_read_from_anywhere(process: RemoteProcess) -> None:
    """A length of 0 makes no call."""
    assert process.read(0, 0) == b""
    assert process.read_into(2**BITS - 1, bytearray()) == 0
    assert process.write(0, b"") == 0
    assert process.read(0, 0, partial=True).complete


def test_a_partial_read_gives_what_there_is(
    process: RemoteProcess, target: Target
) -> None:
    """Holes are zeros in the data and zeros in the mask."""
    pages = target.where("pages")
    with pytest.raises(PartialReadError) as caught:
        process.read(pages, 16 * PAGE)
    assert caught.value.winerror == 299
    partial = caught.value.partial
    assert isinstance(partial, PartialRead)
    assert partial == process.read(pages, 16 * PAGE, partial=True)
    #                      0 1 2 3 4 5 6 7 8 9 . . . . . .
    assert partial.mask == bytes([1, 1, 1, 1, 0, 1, 1, 0, 0] + [1] * 7)
    assert not partial.complete
    assert partial.readable == 13 * PAGE
    for index, real in enumerate(partial.mask):
        page = partial.data[index * PAGE : (index + 1) * PAGE]
        assert page == bytes([index + 1 if real else 0]) * PAGE
    assert partial.prefix == process.read(pages, 4 * PAGE)
    assert [(start, len(data)) for start, data in partial.runs()] == [
        (pages, 4 * PAGE),
        (pages + 5 * PAGE, 2 * PAGE),
        (pages + 9 * PAGE, 7 * PAGE),
    ]


def test_the_mask_counts_pages_not_bytes(
    process: RemoteProcess, target: Target
) -> None:
    """A range that starts and ends within pages has them as its first and last."""
    pages = target.where("pages")
    partial = process.read(pages + 4 * PAGE - 10, PAGE + 30, partial=True)
    assert partial.mask == b"\1\0\1"
    assert partial.data == b"\4" * 10 + bytes(PAGE) + b"\6" * 20
    assert partial.readable == 30
    assert list(partial.runs()) == [
        (pages + 4 * PAGE - 10, b"\4" * 10),
        (pages + 5 * PAGE, b"\6" * 20),
    ]


def test_a_guard_page_keeps_its_guard(process: RemoteProcess, target: Target) -> None:
    """Reading around it, or at it, does not disarm it."""
    guard = target.where("pages") + 8 * PAGE
    process.read(guard - 4 * PAGE, 8 * PAGE, partial=True)
    assert int(target.ask(f"query {guard:x}"), 16) & 0x100


def test_no_guard_is_met_by_reading_ahead(
    process: RemoteProcess, target: Target
) -> None:
    """By what is read beyond what was asked for, to save calls."""
    pages = target.where("pages")
    guard = pages + 8 * PAGE
    with process.cached():
        for page in (5, 6, 9, 10):
            assert process.read(pages + page * PAGE, 1) == bytes([page + 1])
    around = [(guard - 3 * PAGE, 2 * PAGE), (guard + PAGE, 4)]
    assert None not in process.read_many(around)
    # A string of four pages and more that ends just before a guard.
    block = int(target.ask(f"alloc {32 * PAGE}"), 16)
    process.write(block, b"x" * (20 * PAGE - 1) + b"\0")
    guards = MemoryProtection.READWRITE | MemoryProtection.GUARD
    process._change("protect", block + 20 * PAGE, 12 * PAGE, 0, guards)
    assert len(process.read_cstr(block, max_bytes=32 * PAGE)) == 20 * PAGE - 1
    process.read_many([(block + 19 * PAGE, PAGE), (block + 19 * PAGE, 1)])
    for page in (guard, block + 20 * PAGE):
        assert int(target.ask(f"query {page:x}"), 16) & 0x100


@pytest.mark.parametrize(
    "offset",
    [4 * PAGE, 4 * PAGE + 5, 7 * PAGE, 8 * PAGE],
    ids=["no-access", "inside", "reserved", "guard"],
)
def test_an_unreadable_byte_is_an_error(
    process: RemoteProcess, target: Target, offset: int
) -> None:
    """Small reads meet the same truth as large ones."""
    with pytest.raises(PartialReadError) as caught:
        process.read(target.where("pages") + offset, 8)
    assert caught.value.winerror == 998
    assert caught.value.partial.data == bytes(8)
    assert caught.value.partial.mask == b"\0"
    assert str(target.pid) in str(caught.value)


@pytest.mark.parametrize("address", WILD, ids=hex)
def test_wild_addresses_are_errors(process: RemoteProcess, address: int) -> None:
    """The whole range may be asked for, and wraps nowhere."""
    for size in (8, PAGE, 3 * PAGE + 1):
        with pytest.raises(PartialReadError):
            process.read(address, size)
        partial = process.read(address, size, partial=True)
        assert partial.readable == 0
        assert not partial.complete
        with pytest.raises(PartialWriteError) as caught:
            process.write(address, bytes(size))
        assert caught.value.written == 0


def test_addresses_and_sizes_that_cannot_be(process: RemoteProcess) -> None:
    """They are errors of their own, before anything is asked."""
    for address in (-1, 2**BITS, 2**64):
        with pytest.raises(OverflowError):
            process.read(address, 1)
    with pytest.raises(ValueError, match="size"):
        process.read(0, -1)
    with pytest.raises((OverflowError, MemoryError)):
        process.read(0, 2**63)
    with pytest.raises((OverflowError, MemoryError)):
        process.read(0, 2**62)
    with pytest.raises(TypeError):
        process.read(b"0", 1)
    with pytest.raises(TypeError):
        process.read(0)
    with pytest.raises(TypeError):
        process.read(0, 1, wrong=True)


def test_read_into_fills_any_writable_buffer(
    process: RemoteProcess, target: Target
) -> None:
    """Arrays and slices too; a read-only one is refused."""
    pages = target.where("pages")
    array = (ctypes.c_uint32 * 1024)()
    assert process.read_into(pages, array) == PAGE
    assert array[0] == 0x01010101
    buffer = bytearray(8)
    with memoryview(buffer) as view:
        process.read_into(pages, view[2:4])
    assert buffer == b"\0\0\1\1\0\0\0\0"
    with pytest.raises(BufferError):
        process.read_into(pages, b"read-only")
    partial = process.read_into(pages + 4 * PAGE - 4, buffer, partial=True)
    assert partial.data is buffer
    assert buffer == b"\4\4\4\4\0\0\0\0"
    with pytest.raises(PartialReadError) as caught:
        process.read_into(pages + 4 * PAGE - 4, buffer)
    assert caught.value.partial.readable == 4


BESIDE_FILES: dict[str, Callable[[RemoteProcess, int, memoryview], object]] = {
    "read_into": lambda process, at, view: process.read_into(at, view),
    "partial": lambda process, at, view: process.read_into(at, view, True),
    "from a hole": lambda process, at, view: process.read_into(0x10, view),
    "cached": lambda process, at, view: cached_into(process, at, view),
    "verify": lambda process, at, view: process.write(at, view, True),
}


def cached_into(process: RemoteProcess, at: int, view: memoryview) -> None:
    with process.cached():
        process.read_into(at, view)


@pytest.mark.parametrize("name", BESIDE_FILES)
def test_a_page_of_a_file_that_is_gone_is_an_error(
    linux_file: LinuxFile, name: str
) -> None:
    """Where it is read to, and where it is written from."""
    with (
        RemoteProcess.open(os.getpid(), access=ProcessAccess.WRITE) as me,
        GlobalMemory(PAGE) as other,
        winipc.SharedMapping.create(None, 4 * PAGE, file=linux_file.path) as mapping,
    ):
        mapping.write(bytes(4 * PAGE))
        linux_file.cut(0)
        with memoryview(mapping) as view, pytest.raises(OSError):
            BESIDE_FILES[name](me, other.address, view[PAGE : 2 * PAGE])


def test_a_file_takes_what_could_be_read(tmp_path: Path, me: RemoteProcess) -> None:
    """As any other buffer does."""
    with (
        GlobalMemory(b"x" * PAGE) as other,
        winipc.SharedMapping.create(None, PAGE, file=tmp_path / "file") as mapping,
    ):
        assert me.read_into(other.address, mapping) == PAGE
        assert mapping.read() == b"x" * PAGE
        with pytest.raises(PartialReadError) as caught:
            me.read_into(0x10, mapping)
        assert caught.value.partial.readable == 0
        assert mapping.read() == bytes(PAGE)
        with me.cached():
            assert me.read_into(other.address, mapping) == PAGE
        assert mapping.read() == b"x" * PAGE


def test_strings_end_at_their_nul(process: RemoteProcess, target: Target) -> None:
    """Also at the very end of readable memory, in any encoding."""
    assert process.read_cstr(target.where("text")) == "été"
    assert process.read_cstr(target.where("text"), None) == b"\xc3\xa9t\xc3\xa9"
    assert process.read_cstr(target.where("wide"), "utf-16-le") == "été"
    assert process.read_cstr(target.where("edge")) == "edge"
    assert process.read_cstr(target.where("edge"), max_bytes=5) == "edge"
    with pytest.raises(ValueError, match="NUL within 4"):
        process.read_cstr(target.where("edge"), max_bytes=4)
    with pytest.raises(PartialReadError) as caught:
        process.read_cstr(target.where("open"))
    assert caught.value.partial.prefix == b"open"
    with pytest.raises(UnicodeDecodeError):
        process.read_cstr(target.where("text"), "ascii")


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65535, 65536, 300_000])
def test_long_strings(me: RemoteProcess, size: int) -> None:
    """The end is found wherever it lies in a page."""
    for lead in (0, 1, 4094):
        with GlobalMemory(lead + size + 1, kind=winipc.MemoryKind.VIRTUAL) as memory:
            memory.write(b"x" * size, lead)
            text = me.read_cstr(memory.address + lead, None, max_bytes=size + 1)
            assert text == b"x" * size
            if size:
                with pytest.raises(ValueError, match="no NUL"):
                    me.read_cstr(memory.address + lead, None, max_bytes=size)


def test_long_strings_before_a_hole(process: RemoteProcess) -> None:
    """What cannot be read is met where it is, and only by texts that get there."""
    with process.alloc(60 * PAGE) as block:
        at = block.address
        block.write(b"xy" * (30 * PAGE))
        with process.protect(at + 45 * PAGE, PAGE, MemoryProtection.NOACCESS):
            for lead in (0, 2, 20 * PAGE + 2):
                with pytest.raises(PartialReadError) as caught:
                    process.read_cstr(at + lead, max_bytes=60 * PAGE)
                assert len(caught.value.partial.prefix) == 45 * PAGE - lead
            block.write(b"\0", 45 * PAGE - 1)
            for lead in (0, 2, 20 * PAGE + 2):
                text = process.read_cstr(at + lead, max_bytes=60 * PAGE)
                assert text == "xy" * ((45 * PAGE - lead) // 2 - 1) + "x"
                with pytest.raises(ValueError, match="no NUL"):
                    process.read_cstr(at + lead, max_bytes=45 * PAGE - lead - 1)
        block.write(b"x", 45 * PAGE - 1)
        block.write(b"\0\0\0\0", 58 * PAGE - 1)
        text = process.read_cstr(at, "utf-16-le", max_bytes=60 * PAGE)
        assert len(text) == 29 * PAGE


@pytest.mark.smoke
def test_write_is_seen_by_the_target(process: RemoteProcess, target: Target) -> None:
    """The target's own eyes see the bytes."""
    pages = target.where("pages")
    assert process.write(pages + 100, b"written") == 7
    assert target.peek(pages + 100, 7) == b"written"
    assert process.write(pages, memoryview(b"x" * 3 * PAGE), verify=True) == 3 * PAGE
    assert target.peek(pages + 3 * PAGE - 1, 2) == b"x\4"
    target.peer.kill()


@pytest.mark.parametrize(
    "offset",
    [4 * PAGE - 4, 9 * PAGE - 4, 9 * PAGE, 7 * PAGE],
    ids=["into-no-access", "out-of-guard", "read-only", "reserved"],
)
def test_a_write_is_all_or_an_error(
    process: RemoteProcess, target: Target, offset: int
) -> None:
    """What is partly not writable is not written in part."""
    address = target.where("pages") + offset
    before = process.read(address, 8, partial=True)
    with pytest.raises(PartialWriteError) as caught:
        process.write(address, b"12345678")
    assert caught.value.written == 0
    assert process.read(address, 8, partial=True) == before


def test_verify_reads_back(process: RemoteProcess, target: Target) -> None:
    """A byte that the target changes at once is noticed."""
    pages = target.where("pages")
    target.ask(f"scribble {pages + 3:x}")

    def write_until_it_fails() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            process.write(pages, b"0123456", verify=True)

    with pytest.raises(PartialWriteError) as caught:
        write_until_it_fails()
    assert caught.value.written == 3
    assert caught.value.winerror == 29
    target.peer.kill()


def test_a_page_that_was_just_read_may_be_shut(me: RemoteProcess) -> None:
    """However soon after: this process can change its memory between two reads."""
    kernel = ctypes.WinDLL("kernel32")
    old = ctypes.c_uint32()
    with me.alloc(PAGE) as block:
        where = ctypes.c_void_p(block.address)
        for _ in range(5):
            assert me.read(block.address, 8) == me.read(block.address, 8) == bytes(8)
            assert kernel.VirtualProtect(where, PAGE, 0x01, ctypes.byref(old))
            with pytest.raises(PartialReadError):
                me.read(block.address, 8)
            assert kernel.VirtualProtect(where, PAGE, 0x04, ctypes.byref(old))


def test_what_one_access_found_out_holds_for_no_other(
    process: RemoteProcess, target: Target
) -> None:
    """Not for writing, not for the pages behind, and not once they were changed."""
    first = target.alloc(4 * PAGE)
    readonly, shut = first + 2 * PAGE, first + 3 * PAGE
    target.protect(readonly, PAGE, 0x02)
    target.protect(shut, PAGE, 0x01)
    for _ in range(5):
        for read, wrong in (
            (first, lambda: process.write(readonly, b"x")),
            (readonly, lambda: process.write(readonly, b"x")),
            (readonly, lambda: process.write(readonly - 4, b"12345678")),
            (readonly, lambda: process.read(shut - 4, 8)),
            (readonly, lambda: process.read(shut, 1)),
        ):
            process.read(read, 8)
            with pytest.raises((PartialReadError, PartialWriteError)):
                wrong()
        process.write(first, b"12345678")
        with (
            process.protect(first, PAGE, MemoryProtection.NOACCESS),
            pytest.raises(PartialReadError),
        ):
            process.read(first, 8)
        process.read(first, 8)
        target.protect(first, PAGE, 0x01)
        with pytest.raises(PartialReadError):
            process.read(first, 8)
        target.protect(first, PAGE, 0x04)


def test_what_was_found_out_is_not_kept_by_other_accesses(target: Target) -> None:
    """Those by another handle say nothing of this one's memory."""
    first = target.alloc(2 * PAGE)
    stop = threading.Event()
    with (
        RemoteProcess.open(target, access=ProcessAccess.WRITE) as process,
        RemoteProcess.open(target, access=ProcessAccess.VM_READ) as other,
    ):

        def read_on() -> None:
            while not stop.is_set():
                other.read(first + PAGE, 8)

        thread = threading.Thread(target=read_on)
        thread.start()
        try:
            for _ in range(30):
                process.read(first, 8)
                target.protect(first, PAGE, 0x01)
                with pytest.raises(PartialReadError):
                    process.read(first, 8)
                target.protect(first, PAGE, 0x04)
        finally:
            stop.set()
            thread.join()


def test_a_change_ends_what_other_threads_found_out(
    process: RemoteProcess, target: Target
) -> None:
    """While they go on reading beside it."""
    first = target.alloc(2 * PAGE)
    stop = threading.Event()

    def read_on() -> None:
        while not stop.is_set():
            process.read(first + PAGE, 8)

    thread = threading.Thread(target=read_on)
    thread.start()
    try:
        for _ in range(50 if FULL else 20):
            process.read(first, 8)
            with (
                process.protect(first, PAGE, MemoryProtection.NOACCESS),
                pytest.raises(PartialReadError),
            ):
                process.read(first, 8)
    finally:
        stop.set()
        thread.join()
