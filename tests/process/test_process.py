"""RemoteProcess against tests/process/peers/target.c, whose memory is known."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import dataclasses
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import handle_count
from helpers.c_target import Target
from hypothesis import given, settings
from hypothesis import strategies as st

import winipc
from winipc import (
    GlobalMemory,
    MemoryProtection,
    PartialRead,
    PartialReadError,
    PartialWriteError,
    ProcessAccess,
    RemoteProcess,
    Watch,
)

PAGE = 4096


@pytest.fixture
def me() -> Iterator[RemoteProcess]:
    """This very process."""
    with RemoteProcess.open(os.getpid(), access=ProcessAccess.WRITE) as process:
        yield process


# ------------------------------------------------------------------ opening


@pytest.mark.smoke
def test_it_knows_the_target(process: RemoteProcess, target: Target) -> None:
    """Its pid, file, pointers and life."""
    assert process.pid == target.pid
    assert process.name == "target.exe"
    assert process.path.endswith("\\target.exe")
    assert process.is_64bit
    assert process.pointer_size == 8
    assert process.alive
    assert process.exit_code is None
    assert process.access == ProcessAccess.WRITE
    assert f"pid={target.pid}" in repr(process)


def test_a_popen_object_will_do(target: Target) -> None:
    """Anything with a pid can be opened."""
    with RemoteProcess.open(target.peer.process) as process:
        assert process.pid == target.pid


@pytest.mark.parametrize("pid", [0x7FFFFFFC, 4_000_000], ids=hex)
def test_no_such_process(pid: int) -> None:
    """A dead pid is a ProcessLookupError with winerror 87."""
    with pytest.raises(ProcessLookupError) as caught:
        RemoteProcess.open(pid)
    assert caught.value.winerror == 87
    assert str(pid) in str(caught.value)


@pytest.mark.parametrize("pid", [-1, 2**32, 2**80], ids=["negative", "33-bit", "huge"])
def test_a_pid_that_cannot_be(pid: int) -> None:
    """A number that is no DWORD is not cut down to one."""
    with pytest.raises(OverflowError):
        RemoteProcess.open(pid)


def test_a_pid_is_not_rounded(target: Target) -> None:
    """Windows opens 4000 for 4001; that is no process of that number."""
    for pid in range(target.pid + 1, target.pid + 4):
        with pytest.raises(ProcessLookupError) as caught:
            RemoteProcess.open(pid)
        assert caught.value.winerror == 87


def test_exit_is_seen(process: RemoteProcess, target: Target) -> None:
    """The exit code, and wait."""
    with pytest.raises(TimeoutError) as caught:
        process.wait(0.05)
    assert caught.value.winerror == 1460
    target.exit(259)  # the value that Windows uses for "still active"
    assert process.wait(60) == 259
    assert not process.alive
    assert process.exit_code == 259


def test_close_is_final(target: Target) -> None:
    """A closed process refuses everything; closing twice does nothing."""
    process = RemoteProcess.open(target)
    process.close()
    process.close()
    assert process.closed
    assert "closed" in repr(process)
    for call in (
        lambda: process.read(0, 0),
        lambda: process.read_into(0, bytearray()),
        lambda: process.write(0, b""),
        lambda: process.read_cstr(0),
        lambda: process.wait(0),
        lambda: process.alive,
        lambda: process.handle,
        lambda: list(process.regions()),
        lambda: process.alloc(1),
        lambda: process.__enter__(),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_a_forgotten_process_warns() -> None:
    """ResourceWarning names the pid."""
    process = RemoteProcess.open(os.getpid())
    assert process
    with pytest.warns(ResourceWarning, match=f"pid={os.getpid()}"):
        del process


def test_an_index_that_closes_the_process_is_refused(target: Target) -> None:
    """An argument whose conversion closes it meets a closed process."""
    process = RemoteProcess.open(target)

    class Closer:
        def __index__(self) -> int:
            process.close()
            return 8

    with pytest.raises(ValueError, match="closed"):
        process.read(0x10000, Closer())


def test_missing_rights_are_named(target: Target) -> None:
    """What was opened for queries says what it lacks when it is read."""
    with RemoteProcess.open(target, access=ProcessAccess.QUERY) as process:
        assert process.name == "target.exe"
        with pytest.raises(PermissionError) as caught:
            process.read(target.where("point"), 4)
    assert caught.value.winerror == 5
    assert any("0x10" in note for note in caught.value.__notes__)
    with (
        RemoteProcess.open(target) as process,
        pytest.raises(PermissionError),
    ):
        process.write(target.where("point"), b"x")


# ------------------------------------------------------------------ reading


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
    """A length of 0 asks nobody."""
    assert process.read(0, 0) == b""
    assert process.read_into(2**64 - 1, bytearray()) == 0
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
    process._protect(block + 20 * PAGE, 12 * PAGE, guards)
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


@pytest.mark.parametrize("address", [0, 1, 2**47, 2**63, 2**64 - 8, 2**64 - 1], ids=hex)
def test_wild_addresses_are_errors(process: RemoteProcess, address: int) -> None:
    """The whole 64-bit range may be asked for, and wraps nowhere."""
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
    for address in (-1, 2**64):
        with pytest.raises(OverflowError):
            process.read(address, 1)
    with pytest.raises(ValueError, match="size"):
        process.read(0, -1)
    with pytest.raises((OverflowError, MemoryError)):
        process.read(0, 2**63)
    with pytest.raises(MemoryError):
        process.read(0, 2**62)
    with pytest.raises(TypeError):
        process.read("0", 1)
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


# ------------------------------------------------------------------ writing


@pytest.mark.smoke
def test_write_is_seen_by_the_target(process: RemoteProcess, target: Target) -> None:
    """The target's own eyes see the bytes."""
    pages = target.where("pages")
    assert process.write(pages + 100, b"written") == 7
    assert target.peek(pages + 100, 7) == b"written"
    assert process.write(pages, memoryview(b"x" * 3 * PAGE), verify=True) == 3 * PAGE
    assert target.peek(pages + 3 * PAGE - 1, 2) == b"x\4"


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
    """A byte that somebody else changes at once is noticed."""
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


# ---------------------------------------------------------- its memory


def test_alloc_is_freed_once(process: RemoteProcess, target: Target) -> None:
    """In the target, and never twice."""
    with process.alloc(10_000) as block:
        address = block.address
        assert block.write(b"block") == 5
        assert target.peek(address, 6) == b"block\0"
        assert block.read(5) == block.read(size=5, offset=0) == b"block"
        assert block.read(3, 2) == b"ock"
        assert len(block.read()) == len(block) == 10_000
        for bad in (lambda: block.read(2, 9_999), lambda: block.write(b"x", -1)):
            with pytest.raises(ValueError, match="outside"):
                bad()
    assert block.closed
    block.close()
    with pytest.raises(ValueError, match="closed"):
        block.read()
    with pytest.raises(PartialReadError):
        process.read(address, 1)


def test_two_threads_free_a_block_once(process: RemoteProcess) -> None:
    """Whoever comes second does nothing."""
    for _ in range(20):
        block = process.alloc(1)
        errors: list[BaseException] = []

        def close(
            block: winipc.RemoteBlock = block, errors: list[BaseException] = errors
        ) -> None:
            try:
                block.close()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert block.closed


def test_a_detached_block_stays(process: RemoteProcess, target: Target) -> None:
    """It is the target's now."""
    with process.alloc(1, MemoryProtection.READWRITE) as block:
        block.write(b"!")
        address = block.detach()
    assert target.peek(address, 1) == b"!"
    assert target.ask(f"free {address:x}") == "ok"


def test_a_block_outlives_the_process_object(target: Target) -> None:
    """It has a handle of its own."""
    with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
        block = process.alloc(1)
    with block:
        block.write(b"?")
        assert target.peek(block.address, 1) == b"?"


def test_a_forgotten_block_warns_and_is_freed(process: RemoteProcess) -> None:
    """ResourceWarning, and the memory is gone."""
    block = process.alloc(1)
    address = block.address
    with pytest.warns(ResourceWarning, match="RemoteBlock"):
        del block
    with pytest.raises(PartialReadError):
        process.read(address, 1)


def test_closing_a_block_of_a_dead_target_is_quiet(
    process: RemoteProcess, target: Target
) -> None:
    """Its memory went with it."""
    block = process.alloc(1)
    target.exit()
    block.close()
    assert block.closed


def test_regions_follow_each_other(process: RemoteProcess, target: Target) -> None:
    """They are in order, without overlap, and show the protections."""
    regions = list(process.regions())
    for before, after in itertools.pairwise(regions):
        assert before.end <= after.base
    pages = target.where("pages")
    rows = [r for r in process.regions(pages, pages + 16 * PAGE)]
    assert [(r.end - pages) // PAGE for r in rows] == [4, 5, 7, 8, 9, 10, 13, 14, 16]
    assert [r.readable for r in rows] == [1, 0, 1, 0, 0, 1, 1, 1, 1]
    assert rows[4].protection == MemoryProtection.READWRITE | MemoryProtection.GUARD
    assert [r.executable for r in rows].index(True) == 7
    assert pages in rows[0]
    assert {r.allocation_base for r in rows} == {pages}


# -------------------------------------------------------------- the target dies


def test_the_end_of_the_address_space_may_be_named(process: RemoteProcess) -> None:
    """Whatever the size of an address is here: what lies beyond is nothing."""
    everything = len(list(process.regions()))
    for end in (2**64 - 1, 2**64, 2**80):
        assert abs(len(list(process.regions(0, end))) - everything) < 10
        assert list(process.regions(end, end + 1)) == []
    assert list(process.regions(2**80)) == []


def test_a_dead_target_is_a_lookup_error(
    process: RemoteProcess, target: Target
) -> None:
    """Each operation says that it is gone."""
    point = target.where("point")
    target.peer.kill()
    for call in (
        lambda: process.read(point, 8),
        lambda: process.read(point, 8, partial=True),
        lambda: process.read_into(point, bytearray(10 * PAGE)),
        lambda: process.read_cstr(point),
        lambda: process.write(point, b"x"),
        lambda: process.alloc(1),
        lambda: list(process.regions()),
    ):
        with pytest.raises(ProcessLookupError):
            call()


# ------------------------------------------------------------- handing over


def test_hand_over_by_address(start_peer: Callable[..., object]) -> None:
    """The article's way: this process keeps a block, another one reads it.

    Only the pid, the address and the length travel (here by a pipe; in the
    exchange by a message), and the answer says that the block may go.
    """
    code = (
        "import sys, winipc\n"
        "pid, address, size = map(int, sys.stdin.readline().split())\n"
        "with winipc.RemoteProcess.open(pid) as sender:\n"
        "    sys.stdout.write(sender.read(address, size).decode())\n"
    )
    with GlobalMemory("fünf".encode()) as memory:
        where = f"{os.getpid()} {memory.address} {memory.size}\n"
        answer = subprocess.run(
            [sys.executable, "-X", "utf8", "-c", code],
            input=where,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
    assert answer.stdout == "fünf", answer.stderr


def test_no_handles_leak(target: Target) -> None:
    """Thousands of opens, reads and failures leave no handle behind."""

    def once() -> None:
        with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
            process.read(point, 1)
            with process.alloc(1):
                pass
        with pytest.raises(ProcessLookupError):
            RemoteProcess.open(0x7FFFFFFC)

    point = target.where("point")
    once()
    before = handle_count()
    for _ in range(300):
        once()
    assert handle_count() <= before + 2


# ------------------------------------------------------------ opening, more


def test_a_name_opens_the_one_that_has_it(
    target: Target, start_peer: Callable[..., object]
) -> None:
    """With or without .exe, in any case; two of a name are an error."""
    for name in ("target.exe", "TARGET"):
        with RemoteProcess.open(name) as process:
            assert process.pid == target.pid
    second = Target(start_peer("target.exe"))
    with pytest.raises(ValueError, match="2 processes") as several:
        RemoteProcess.open("target.exe")
    assert str(target.pid) in str(several.value)
    assert str(second.pid) in str(several.value)
    with pytest.raises(ProcessLookupError, match="no-such-program"):
        RemoteProcess.open("no-such-program.exe")


def test_a_window_opens_its_process() -> None:
    """By handle, or by an object that has one.

    The window is this process's own: the first window under Wine starts a
    program for the desktop, which would keep the pipes of a peer open.
    """
    user32 = ctypes.WinDLL("user32")
    user32.CreateWindowExW.restype = ctypes.c_void_p
    user32.CreateWindowExW.argtypes = [
        ctypes.c_uint32,
        ctypes.c_wchar_p,
        ctypes.c_wchar_p,
        ctypes.c_uint32,
        *([ctypes.c_int] * 4),
        *([ctypes.c_void_p] * 4),
    ]
    user32.DestroyWindow.argtypes = [ctypes.c_void_p]
    message_only = ctypes.c_void_p(-3)
    hwnd = user32.CreateWindowExW(
        0, "STATIC", None, 0, 0, 0, 0, 0, message_only, None, None, None
    )
    assert hwnd

    class Window:
        def __init__(self, hwnd: int) -> None:
            self.hwnd = hwnd

    with RemoteProcess.of_window(hwnd) as process:
        assert process.pid == os.getpid()
    # One of ours counts as an int as well, which is no pid.
    for window in (Window(hwnd), winipc.Window(hwnd)):
        with RemoteProcess.open(window) as process:
            assert process.pid == os.getpid()
    user32.DestroyWindow(hwnd)
    with pytest.raises(OSError, match="window") as caught:
        RemoteProcess.of_window(hwnd)
    assert caught.value.winerror == 1400


A_MODULE = winipc.Module("game.exe", "C:\\game.exe", os.getpid(), 4096, 0)


@pytest.mark.parametrize(
    "target",
    [None, 1.5, object(), b"x", A_MODULE],
    ids=["None", "float", "object", "bytes", "address"],
)
def test_what_is_no_process(target: object) -> None:
    """A clear TypeError."""
    with pytest.raises(TypeError):
        RemoteProcess.open(target)


def test_an_exited_process_has_only_its_exit_code(target: Target) -> None:
    """Its memory is gone, though somebody's handle keeps the pid."""
    target.exit(7)
    with pytest.raises(ProcessLookupError):
        RemoteProcess.open(target.peer.process)
    with RemoteProcess.open(target, access=ProcessAccess.QUERY) as process:
        assert process.exit_code == 7


def test_a_stale_psutil_process_is_refused() -> None:
    """Its pid may be somebody else's by now: psutil can tell."""

    class Stale:
        pid = os.getpid()

        def is_running(self) -> bool:
            return False

    with pytest.raises(ProcessLookupError):
        RemoteProcess.open(Stale())


FACTS = {"exit_code": None, "session": 1, "user": "S-1-5-21-1", "integrity": 0x2000}


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"protected": True}, "protected process"),
        ({"user": "S-1-5-18"}, "another user"),
        ({"integrity": 0x4000}, "level is system, that of this process medium"),
        ({"session": 0}, "session 0"),
        ({"user": None, "session": None, "integrity": None}, "not even tell"),
        ({}, "security descriptor"),
    ],
    ids=["protected", "user", "integrity", "session", "unknown", "acl"],
)
def test_a_denied_process_says_why(theirs: dict[str, object], said: str) -> None:
    """Whatever can be known of the two is compared."""
    from winipc.process._access import ProcessFacts, compare

    mine = ProcessFacts(**FACTS, protected=False)
    other = ProcessFacts(**{**FACTS, "protected": False, **theirs})
    assert any(said in hint for hint in compare(8, mine, other))


def test_a_denied_open_carries_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hints are notes of the PermissionError, or it is a dead process."""
    facts = [None, 0, "S-1-5-18", 0x4000, True]

    class Denied(RemoteProcess):
        @classmethod
        def _open(cls, pid: int, access: int) -> RemoteProcess:
            raise PermissionError(0, "denied", f"pid {pid}", 5, "OpenProcess")

    monkeypatch.setattr(
        winipc._core,
        "_process_facts",
        lambda pid: tuple(facts) if pid == 4 else (None, 1, "S-1-5-21", 0x2000, None),
    )
    with pytest.raises(PermissionError) as caught:
        Denied.open(4)
    notes = " ".join(caught.value.__notes__)
    assert "protected" in notes
    assert "another user" in notes
    assert "granted" not in notes
    facts[0] = 5
    with pytest.raises(ProcessLookupError, match="exited with code 5"):
        Denied.open(4)


def test_a_denied_open_says_which_access_is_granted() -> None:
    """The most that can be had of what was asked for."""
    from winipc.process import _access

    for most in (ProcessAccess.READ, ProcessAccess.QUERY):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                _access, "_grants", lambda pid, access, most=most: not access & ~most
            )
            hints = _access.explain_denied(os.getpid(), ProcessAccess.WRITE)
        assert hints[-1] == f"access=ProcessAccess.{most.name} is granted"
    assert _access._grants(os.getpid(), ProcessAccess.READ)
    assert not _access._grants(0x7FFFFFFC, ProcessAccess.QUERY)


def test_the_facts_of_this_process() -> None:
    """What everyone may know of it, and nothing of one that is not."""
    from winipc.process._access import process_facts

    facts = process_facts(os.getpid())
    assert facts.exit_code is None
    assert facts.user is not None
    assert facts.user.startswith("S-1-")
    assert facts.integrity is not None
    assert process_facts(0x7FFFFFFC).user is None


def test_debug_privilege_is_given_back() -> None:
    """It is on only within the context."""
    switch = winipc._core._set_privilege
    try:
        before = switch("SeDebugPrivilege", False)
    except PermissionError:
        pytest.skip("this user does not have the privilege")
    with winipc.debug_privilege():
        with winipc.debug_privilege():
            pass
        assert switch("SeDebugPrivilege", True)
    assert not switch("SeDebugPrivilege", before)
    with pytest.raises(OSError, match="SeNoSuch") as caught:
        winipc._core._set_privilege("SeNoSuchPrivilege", True)
    assert caught.value.winerror == 1313


def test_wait_lets_other_threads_run_and_refuses_close(target: Target) -> None:
    """The object is pinned while a thread waits on it."""
    process = RemoteProcess.open(target)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(process.wait(60)))
    thread.start()
    refused = False
    while not refused:
        with contextlib.suppress(TimeoutError):
            process.wait(0.01)
        try:
            process.close()
            break
        except BufferError:
            refused = True
    target.exit(3)
    thread.join(60)
    assert refused
    assert codes == [3]
    process.close()


# ------------------------------------------------------------ reading, more


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
        (2**64 - 4, 8),
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
        ([(0, 2**62)], MemoryError),
    ],
    ids=str,
)
def test_read_many_refuses_nonsense(
    process: RemoteProcess, requests: object, error: type[Exception]
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
    assert process.read_int(at + 1) == -2
    assert process.read_int(at + 1, signed=False) == 2**32 - 2
    point.x = 77
    assert process.write_struct(at, point) == 15
    assert process.read_struct(at, "<Bi") == (0x11, 77)
    assert process.write_struct(at + 1, "<iH", 5, 6, verify=True) == 6
    assert target.peek(at, 7) == b"\x11\5\0\0\0\6\0"
    with pytest.raises(TypeError):
        process.write_struct(at, point, 1)
    with pytest.raises(PartialReadError):
        process.read_struct(0, Point)


def test_numpy_arrays(process: RemoteProcess, target: Target) -> None:
    """Any dtype and shape without objects in it."""
    numpy = pytest.importorskip("numpy")
    pages = target.where("pages")
    array = process.read_array(pages, "<u2", (2, 1024))
    assert array.shape == (2, 1024)
    assert (array == 0x0101).all()
    record = numpy.dtype([("tag", "u1"), ("x", "<i4"), ("y", "<u2"), ("z", "<f8")])
    assert process.read_array(target.where("point"), record, ()).item() == (
        0x11,
        -2,
        0x3344,
        1.5,
    )
    assert process.read_array(0, "u1", 0).size == 0
    with pytest.raises(TypeError, match="objects"):
        process.read_array(pages, object, 1)


def test_pointer_chains(process: RemoteProcess, target: Target) -> None:
    """As the C program laid them out; a broken one says where it broke."""
    chain = target.where("chain")
    end = process.pointer([chain + 0x10, 0x18, 0x20])
    assert process.read_int(end) == 0x1337
    assert process.pointer([chain]) == chain
    assert process.pointer([hex(chain) + "+0x10", 0]) == process.read_pointer(
        chain + 16
    )
    with pytest.raises(PartialReadError) as caught:
        process.pointer([chain, 8, 0])  # the first one is NULL
    assert any("pointer 2 of 2, at 0x8" in note for note in caught.value.__notes__)
    with pytest.raises(ValueError, match="no address"):
        process.pointer([chain, -1])


def test_addresses_as_text(process: RemoteProcess) -> None:
    """Module names, quoted or not, with offsets."""
    base = process.module("target.exe").base
    for text, wanted in {
        '"target.exe"+0x10': base + 16,
        ' "TARGET.EXE" + 0x10 - 6 ': base + 10,
        "target.exe": base,
        "target.exe+16": base + 16,
        "0x1000+0x10": 0x1010,
        "4096": 4096,
    }.items():
        assert process.address(text) == wanted
    assert (
        process.address(base) == process.address(process.module("target.exe")) == base
    )
    for text in ("", "+5", '"target.exe', "target.exe+", "target.exe*2", "1-2", "a+b"):
        with pytest.raises((ValueError, LookupError)):
            process.address(text)


@pytest.mark.parametrize(
    ("number", "meant"),
    [("00147198", "147198"), ("2628F8C", "2628F8C"), ("00492DA8", "492DA8")],
)
def test_bare_hexadecimal_is_refused_with_what_to_write(
    process: RemoteProcess, number: str, meant: str
) -> None:
    """As Cheat Engine shows addresses; never another number in silence."""
    for text in (f'"target.exe"+{number}', f"target.exe+{number}"):
        with pytest.raises(ValueError, match=f"write {number} as 0x{meant}") as error:
            process.address(text)
        assert text in str(error.value)
    for text in ("target.exe-0010", "0010"):
        with pytest.raises(ValueError, match="0x10"):
            process.address(text)


def test_modules_are_named_in_errors(process: RemoteProcess) -> None:
    """A name that no module has."""
    with pytest.raises(LookupError, match=r"nope\.dll"):
        process.address("nope.dll+1")


def test_a_linked_list_is_walked(process: RemoteProcess, target: Target) -> None:
    """All of its nodes in order; circles and broken links are noticed."""
    head = target.where("list")
    nodes = list(process.walk(head))
    assert len(nodes) == 10_000
    values = [process.read_int(node + 8, 8) for node in nodes[:50]]
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


@pytest.mark.parametrize("limit", [1, 1 << 20])
def test_a_block_keeps_its_copies_and_a_cache_begins_empty(limit: int) -> None:
    """The block comes at the second miss, around what was read before; the next
    cache has the memory of the one before, but nothing that was in it."""
    size = 16 * PAGE
    with (
        RemoteProcess.open(os.getpid()) as me,
        GlobalMemory(8 * size, kind=winipc.MemoryKind.VIRTUAL) as memory,
    ):
        for value in range(1, 9, 2):
            with me.cached(max_bytes=limit):
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
    with process.cached(max_bytes=1):
        for _ in range(3):
            assert process.read(pages + 3 * PAGE, PAGE) == b"\4" * PAGE
            with pytest.raises(PartialReadError):
                process.read(pages + 4 * PAGE, 1)
            partial = process.read(pages, 16 * PAGE, partial=True)
            assert partial.readable == 13 * PAGE
            assert process.read(target.where("point"), 1) == b"\x11"
        chain = target.where("chain")
        assert process.read_int(process.pointer([chain + 16, 24, 32])) == 0x1337
    process._exit_cached()  # one too many does nothing
    with pytest.raises(ValueError, match="limit"):
        process._enter_cached(0)


@given(
    st.lists(
        st.tuples(st.integers(0, 64 * PAGE), st.integers(0, 20 * PAGE)), max_size=40
    )
)
@settings(max_examples=30)
def test_cached_reads_equal_plain_ones(reads: list[tuple[int, int]]) -> None:
    """Over all blocks, sizes and a cache that is too small."""
    data = os.urandom(85 * PAGE)
    with (
        RemoteProcess.open(os.getpid()) as me,
        GlobalMemory(data, kind=winipc.MemoryKind.VIRTUAL) as memory,
        me.cached(max_bytes=128 * 1024),
    ):
        for start, size in reads:
            assert me.read(memory.address + start, size) == data[start : start + size]


def test_a_cache_does_not_outlive_a_closed_process(target: Target) -> None:
    """close() within the context drops it; leaving the context is quiet."""
    process = RemoteProcess.open(target)
    point = target.where("point")
    with process.cached():
        process.read(point, 1)
        process.close()
        with pytest.raises(ValueError, match="closed"):
            process.read(point, 1)


# ------------------------------------------------------------ memory, more


def test_protection_is_restored_region_by_region(
    process: RemoteProcess, target: Target
) -> None:
    """Each gets its own one back, also after an error."""
    pages = target.where("pages") + 9 * PAGE  # READONLY, then three READWRITE

    def fail_within() -> None:
        with process.protect(pages, 5 * PAGE) as before:
            assert [r.protection for r in before] == [2, 4, 0x20]
            assert process.write(pages, b"now writable") == 12
            assert int(target.ask(f"query {pages:x}"), 16) == 4
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_within()
    after = [int(target.ask(f"query {pages + i * PAGE:x}"), 16) for i in range(5)]
    assert after == [2, 4, 4, 4, 0x20]
    assert target.peek(pages, 12) == b"now writable"
    with pytest.raises(OSError, match="VirtualProtectEx"), process.protect(0, 1):
        pass


@pytest.mark.parametrize("own", [False, True], ids=["quiet", "raising"])
def test_a_region_that_went_leaves_the_others_restored(
    process: RemoteProcess, target: Target, own: bool
) -> None:
    """And an error of the body is the one that is seen."""
    pages = target.where("pages") + 9 * PAGE  # READONLY, READWRITE, EXECUTE_READ

    def decommit_within() -> None:
        with process.protect(pages, 5 * PAGE):
            process._free(pages + PAGE, 3 * PAGE, 0x4000)
            if own:
                raise RuntimeError("of the body")

    with pytest.raises(RuntimeError if own else OSError) as caught:
        decommit_within()
    if own:
        assert "restored" in caught.value.__notes__[0]
    else:
        assert "VirtualProtectEx" in str(caught.value)
    assert int(target.ask(f"query {pages:x}"), 16) == 2
    assert int(target.ask(f"query {pages + 4 * PAGE:x}"), 16) == 0x20


def test_protection_of_a_target_that_exits(
    process: RemoteProcess, target: Target
) -> None:
    """There is nothing to restore, and that is no error."""
    with process.protect(target.where("pages"), PAGE, MemoryProtection.READONLY):
        target.peer.kill()


def test_alloc_near(process: RemoteProcess) -> None:
    """All of it within reach of a 32-bit displacement."""
    base = process.module("target.exe").base
    with process.alloc(100_000, near=base) as block:
        assert abs(block.address - base) < 2**31
        assert abs(block.address + block.size - base) < 2**31
        block.write(b"near")
        with process.alloc(1, near=block.address) as other:
            assert other.address != block.address
    with pytest.raises(MemoryError):
        process.alloc(2**33, near=base)


def test_alloc_refuses_nonsense(process: RemoteProcess) -> None:
    """Sizes and protections that cannot be; no handle is left."""
    with pytest.raises(ValueError, match="size"):
        process.alloc(0)
    with pytest.raises(OSError, match="VirtualAllocEx"):
        process.alloc(1, 0x12345)
    with pytest.raises(OSError, match="VirtualAllocEx"):
        process.alloc(2**46 * 16)
    with RemoteProcess.open(process.pid) as reader:
        with pytest.raises(PermissionError) as caught:
            reader.alloc(1)
        assert caught.value.__notes__


def test_modules_and_exports(process: RemoteProcess, target: Target) -> None:
    """What is loaded, and what it exports, agree with the target itself."""
    modules = process.modules()
    names = [module.name.casefold() for module in modules]
    assert names[0] == "target.exe"
    assert {"ntdll.dll", "kernel32.dll"} <= set(names)
    module = process.module("Target.EXE")
    assert module.path == process.path
    exported = target.where("exported")
    assert exported in module
    assert module + (exported - module.base) == exported
    exports = {export.name: export for export in process.exports(module)}
    assert exports["target_exported"].address == exported
    assert process.read_int(exported, signed=False) == 0x600D600D
    witness = ctypes.WinDLL("kernel32")
    witness.GetModuleHandleW.restype = ctypes.c_void_p
    kernel32 = process.module("kernel32.dll")
    if witness.GetModuleHandleW("kernel32.dll") == kernel32.base:
        function = ctypes.cast(witness.GetTickCount, ctypes.c_void_p).value
        found = {export.name: export for export in process.exports("kernel32.dll")}
        assert found["GetTickCount"].address == function
        assert any(export.forwarder for export in found.values())
    with pytest.raises(LookupError, match="nope"):
        process.module("nope.dll")


def test_hostile_headers_are_errors(me: RemoteProcess) -> None:
    """A module whose headers lie is refused, whatever they say; never a crash."""
    import random

    real = me.module("kernel32.dll")
    image = me.read(real.base, real.size, partial=True).data
    rng = random.Random(1)
    pe = int.from_bytes(image[0x3C:0x40], "little")
    start = int.from_bytes(image[pe + 24 + 112 : pe + 24 + 116], "little")
    interesting = [*range(0x3C, 0x40), *range(pe, pe + 150), *range(start, start + 40)]
    refused = 0
    with GlobalMemory(real.size, kind=winipc.MemoryKind.VIRTUAL) as memory:
        fake = dataclasses.replace(real, base=memory.address)
        for _ in range(150):
            memory.write(image)
            for _ in range(rng.randint(1, 4)):
                memory[rng.choice(interesting)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
            try:
                me.exports(fake)
            except (ValueError, PartialReadError):
                refused += 1
        memory.write(bytes(4096))
        with pytest.raises(ValueError, match="no MZ header"):
            me.exports(fake)
    assert refused > 20
    with pytest.raises(ValueError, match="outside"):
        me.exports(dataclasses.replace(real, size=100))


IMAGE = 1 << 20
EXPORTS = 0x1000  # offsets in a crafted image
FUNCTIONS, NAMES, ORDINALS, TEXTS = 0x2000, 0x50000, 0x90000, 0xC0000


def crafted_image(
    *,
    magic: int = 0x20B,
    size: int = 0x1000,
    ordinal_base: int = 1,
    functions: int = 2,
    names: int = 1,
    tables: tuple[int, int, int] = (FUNCTIONS, NAMES, ORDINALS),
    offsets: tuple[int, ...] = (0x100, 0x200),
    name_offsets: tuple[int, ...] = (TEXTS,),
    ordinals: tuple[int, ...] = (1,),
    texts: bytes = b"name\0",
    header: int = 0x80,
    directories: int = 16,
) -> bytearray:
    """A module with exports: two functions, the second has a name."""
    import struct

    image = bytearray(IMAGE)

    def put(at: int, code: str, *values: int) -> None:
        struct.pack_into("<" + code, image, at, *values)

    image[0:2] = b"MZ"
    put(0x3C, "I", header)
    image[0x80:0x84] = b"PE\0\0"
    put(0x80 + 24, "H", magic)
    data = 0x80 + 24 + (112 if magic == 0x20B else 96)
    put(data - 4, "III", directories, EXPORTS, size)
    put(EXPORTS + 16, "III", ordinal_base, functions, names)
    put(EXPORTS + 28, "III", *tables)
    put(FUNCTIONS, f"{len(offsets)}I", *offsets)
    put(NAMES, f"{len(name_offsets)}I", *name_offsets)
    put(ORDINALS, f"{len(ordinals)}H", *ordinals)
    image[TEXTS : TEXTS + len(texts)] = texts
    return image


def exports_of(process: RemoteProcess, image: bytearray) -> list[winipc.Export]:
    with process.alloc(IMAGE) as block:
        process.write(block.address, image)
        module = winipc.Module("crafted.dll", "", block.address, IMAGE, 0)
        return [
            dataclasses.replace(e, address=e.address and e.address - block.address)
            for e in process.exports(module)
        ]


@pytest.mark.parametrize("magic", [0x20B, 0x10B], ids=["64-bit", "32-bit"])
def test_exports_of_a_crafted_image(process: RemoteProcess, magic: int) -> None:
    """Of either kind: by ordinal, by several names, unused and forwarded."""
    Export = winipc.Export
    assert exports_of(process, crafted_image(magic=magic)) == [
        Export(None, 1, 0x100),
        Export("name", 2, 0x200),
    ]
    image = crafted_image(
        magic=magic,
        functions=4,
        names=3,
        offsets=(0, 0x100, EXPORTS + 0x800, EXPORTS + 0x800),
        name_offsets=(TEXTS, TEXTS + 2, TEXTS + 4),
        ordinals=(1, 1, 2),
        ordinal_base=10,
    )
    # It stands in for itself, in a circle: that is said, and not followed.
    image[EXPORTS + 0x800 : EXPORTS + 0x80C] = b"crafted.#12\0"
    assert exports_of(process, image) == [
        Export("name", 11, 0x100),
        Export("me", 11, 0x100),
        Export("", 12, None, "crafted.#12"),
        Export(None, 13, None, "crafted.#12"),
    ]
    assert exports_of(process, crafted_image(magic=magic, directories=0)) == []
    assert exports_of(process, crafted_image(functions=0, names=0)) == []


HUGE = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"names": HUGE}, "too many", id="names"),
        pytest.param({"names": 65537}, "too many", id="names, one too many"),
        pytest.param({"functions": HUGE}, "too many", id="functions"),
        pytest.param({"tables": (HUGE - 3, NAMES, ORDINALS)}, "outside", id="table"),
        pytest.param({"tables": (FUNCTIONS, IMAGE - 2, ORDINALS)}, "outside", id="end"),
        pytest.param({"tables": (FUNCTIONS, NAMES, HUGE)}, "outside", id="ordinals"),
        pytest.param({"name_offsets": (HUGE,)}, "outside", id="a name"),
        pytest.param({"name_offsets": (IMAGE,)}, "outside", id="a name at the end"),
        pytest.param({"texts": b"x" * 5000}, "no NUL", id="a name without end"),
        pytest.param({"ordinals": (2,)}, "belongs to export 2", id="an ordinal"),
        pytest.param({"ordinals": (65535,)}, "belongs", id="the last ordinal"),
        pytest.param({"size": HUGE}, "outside", id="directory"),
        pytest.param({"header": HUGE}, "outside", id="header"),
        pytest.param({"header": IMAGE - 3}, "outside", id="header at the end"),
        pytest.param({"header": 0x90}, "no PE", id="no header"),
        pytest.param({"magic": 0x107}, "unknown", id="magic"),
        pytest.param(
            {
                "names": 65536,
                "name_offsets": (TEXTS,) * 65536,
                "ordinals": (0,) * 65536,
                "texts": b"x" * 4000 + b"\0",
            },
            "longer than the module",
            id="one long name for all",
        ),
        pytest.param(
            {
                "functions": 65536,
                "names": 0,
                "offsets": (TEXTS,) * 65536,
                "size": IMAGE - EXPORTS,
                "texts": b"x" * 4000 + b"\0",
            },
            "longer than the module",
            id="one long forwarder for all",
        ),
    ],
)
def test_exports_that_lie_are_refused(
    process: RemoteProcess, fields: dict[str, object], said: str
) -> None:
    """Before memory or time is spent on them."""
    import tracemalloc

    image = crafted_image(**fields)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=said):
            exports_of(process, image)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_threads(process: RemoteProcess, target: Target) -> None:
    """A thread more when it churns."""
    before = process.threads()
    assert before
    target.ask("churn on")
    assert len(process.threads()) == len(before) + 1
    target.ask("churn off")


def test_processes_lists_this_one(target: Target) -> None:
    """And the target."""
    rows = {row.pid: row for row in winipc.processes()}
    assert rows[target.pid].name == "target.exe"
    assert os.getpid() in rows


def test_the_map_has_what_is_there(process: RemoteProcess, target: Target) -> None:
    """Modules by name, private memory, and a mapped section."""
    rows = {row.base: row for row in process.memory_map()}
    assert rows[process.module("target.exe").base].label == "target.exe"
    pages = rows[target.where("pages")]
    assert pages.label == "private"
    assert pages.size == 16 * PAGE
    assert pages.committed == 15 * PAGE
    assert pages.regions == 9
    assert MemoryProtection.NOACCESS in pages.protections
    cow = rows[target.where("cow")]
    assert cow.type == winipc.MemoryType.MAPPED


def test_mapped_files_are_named(me: RemoteProcess, tmp_path: Path) -> None:
    """With a drive, as people know it."""
    import mmap

    path = tmp_path / "mapped.bin"
    path.write_bytes(bytes(PAGE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), PAGE) as mapped:
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        (region,) = me.regions(address, address + 1, paths=True)
        assert region.path is not None
        assert region.path.casefold().endswith("mapped.bin")


def test_paths_of_any_length(me: RemoteProcess, tmp_path: Path) -> None:
    """Of a mapped file and of a module: neither cut nor lost."""
    folder = Path("\\\\?\\" + str(tmp_path.resolve()))
    while len(str(folder)) < 2400:
        folder /= "long" * 50
    folder.mkdir(parents=True)
    file = folder / "data.bin"
    file.write_bytes(bytes(PAGE))
    with winipc.SharedMapping.create(None, file=str(file)) as mapping:
        (region,) = me.regions(mapping.address, mapping.address + 1, paths=True)
        assert region.path is not None
        assert region.path.casefold().endswith(str(file)[-2300:].casefold())
    library = folder / "shared.dll"
    winipc.pe.build_section_dll(str(library), {"x": 16})
    with winipc.SharedSection.load(str(library), symbol="x"):
        assert any(
            module.path.casefold().endswith(str(library)[-2300:].casefold())
            for module in me.modules()
        )


def sections_at(process: RemoteProcess, address: int) -> tuple[str, ...]:
    (region,) = process.regions(address, address + 1, names=True)
    assert region.path is None
    return region.sections


def test_named_sections_are_found_by_their_handle(
    process: RemoteProcess, target: Target, unique_name: str
) -> None:
    """The target's own, by what nothing speaks against, however it is mapped."""
    first, second = f"{unique_name}-1", f"{unique_name}-2"
    one = int(target.ask(f"share {first} {3 * PAGE} 1"), 16)
    two = int(target.ask(f"share {second} {3 * PAGE} 1"), 16)
    # Nothing is in either, so that either may be at both places.
    either = (f"Local\\{first}", f"Local\\{second}")
    assert sections_at(process, one) == sections_at(process, two) == either
    target.ask(f"poke {one + 2 * PAGE:x} 01")
    assert sections_at(process, one) == (either[0],)
    assert sections_at(process, two) == (either[1],)
    part = int(target.ask(f"share {first} {PAGE} 1"), 16)
    assert either[0] in sections_at(process, part)
    assert sections_at(process, target.where("cow")) == ()
    labels = {row.base: row.label for row in process.memory_map(names=True)}
    assert labels[one] == f"shared section, perhaps {either[0]}"
    assert labels[target.where("cow")] == "shared section"
    regions = process.regions(one, one + 1)
    assert [region.sections for region in regions] == [()]


def test_named_sections_are_found_by_their_bytes(
    process: RemoteProcess, target: Target, unique_name: str
) -> None:
    """Where the target has closed its handle, and where it writes all the time."""
    with winipc.SharedMapping.create(unique_name, 20 * PAGE) as mapping:
        name = f"Local\\{unique_name}"
        view = int(target.ask(f"share {unique_name} {20 * PAGE} 0"), 16)
        assert sections_at(process, view) == ()  # all zero, like many
        mapping[17 * PAGE] = 1
        assert sections_at(process, view) == (name,)
        with winipc.SharedMapping.create(f"{unique_name}-2", 40 * PAGE) as other:
            other[16 * PAGE : 36 * PAGE] = bytes(20 * PAGE)
            assert sections_at(process, view) == (name,)
            other[33 * PAGE] = 1  # the same bytes, further on
            assert sections_at(process, view) == (name, f"{name}-2")
        target.ask(f"scribble {view + 5 * PAGE:x}")
        assert sections_at(process, view) == (name,)
    target.peer.kill()


def test_sections_of_a_dead_target(process: RemoteProcess, target: Target) -> None:
    """As with any other question."""
    target.peer.kill()
    with pytest.raises(ProcessLookupError):
        list(process.regions(names=True))


@pytest.mark.parametrize(
    ("kernel", "known"),
    [
        ("\\??\\C:\\x.dll", "C:\\x.dll"),
        ("\\Device\\HarddiskVolume3\\x.dll", "C:\\x.dll"),
        ("\\Device\\HarddiskVolume30\\x.dll", "\\Device\\HarddiskVolume30\\x.dll"),
        ("\\Device\\Mup\\server\\share\\x", "\\\\server\\share\\x"),
    ],
)
def test_kernel_paths(kernel: str, known: str) -> None:
    """They become the paths that people know."""
    from winipc.process.process import _dos_path

    assert _dos_path(kernel, [("C:", "\\Device\\HarddiskVolume3")]) == known


def test_copy_on_write_pages(process: RemoteProcess, target: Target) -> None:
    """The shared one and the private one both read as the target sees them."""
    cow = target.where("cow")
    assert process.read(cow, 10) == b"COW-SHARED"
    assert process.read(cow + PAGE, 11) == b"COW-PRIVATE"
    assert process.write(cow, b"mine") == 4
    assert process.read(cow, 10) == b"mineSHARED"
    assert target.peek(cow, 10) == b"mineSHARED"


# ------------------------------------------------------------------ watching


def test_watch_yields_changes_and_ends(process: RemoteProcess, target: Target) -> None:
    """Each change once, then the end when the target exits."""
    point = target.where("point")
    watch = process.watch(point, 1, 0.01)
    assert watch.value == target.peek(point, 1)
    target.ask(f"poke {point:x} 01")
    change = next(watch)
    assert (change.address, change.new) == (point, b"\1")
    seen = threading.Event()

    def later() -> None:
        target.ask(f"poke {point:x} 03")
        seen.wait(60)
        target.exit()

    thread = threading.Thread(target=later)
    thread.start()
    changes = []
    for change in watch:
        changes.append(change)
        seen.set()
    thread.join(60)
    assert [(c.old, c.new) for c in changes] == [(b"\1", b"\3")]
    assert list(watch) == []


def test_watch_is_asynchronous_too(process: RemoteProcess, target: Target) -> None:
    """`async for`, beside other tasks."""
    point = target.where("point")

    async def main() -> list[bytes]:
        got = []
        async for change in process.watch(point, 1, 0.01):
            got.append(change.new)
            if len(got) < 3:
                await asyncio.to_thread(target.ask, f"poke {point:x} {len(got):02x}")
            else:
                await asyncio.to_thread(target.exit)
        return got

    watch_from = target.peek(point, 1)
    assert watch_from == b"\x11"

    async def both() -> list[bytes]:
        task = asyncio.create_task(main())
        await asyncio.sleep(0)
        await asyncio.to_thread(target.ask, f"poke {point:x} ff")
        return await asyncio.wait_for(task, 60)

    assert asyncio.run(both()) == [b"\xff", b"\1", b"\2"]


def test_watch_ends_when_its_process_object_is_closed(
    process: RemoteProcess, target: Target
) -> None:
    """In the body of the loop, as at the end of a `with`: an end, no ValueError."""
    point = target.where("point")
    got = []
    watch = process.watch(point, 1, 0.01)
    target.ask(f"poke {point:x} 01")
    for change in watch:
        got.append(change.new)
        process.close()
    assert got == [b"\1"]
    assert list(watch) == []


def test_watch_ends_when_it_is_closed_between_look_and_wait(
    process: RemoteProcess, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look found nothing new, and there is nothing to wait for any more."""
    watch = process.watch(target.where("point"), 1, 0.01)
    look = watch._look

    def look_and_close(watch: Watch) -> None:
        assert look() is None
        process.close()

    monkeypatch.setattr(Watch, "_look", look_and_close)
    assert list(watch) == []


@pytest.mark.parametrize("interval", [0.001, 3600])
def test_a_watch_is_ended_by_closing_its_process_object(
    process: RemoteProcess, target: Target, interval: float
) -> None:
    """By another thread, at any moment: it is not refused, and the loop ends."""
    watch = process.watch(target.where("point"), 1, interval)
    ended = threading.Event()
    began = threading.Event()

    def loop() -> None:
        began.set()
        assert list(watch) == []
        ended.set()

    thread = threading.Thread(target=loop)
    thread.start()
    began.wait(60)
    process.close()
    assert ended.wait(60)
    thread.join(60)
    assert watch._reader.closed


def test_a_forgotten_watch_keeps_no_handle(
    process: RemoteProcess, target: Target
) -> None:
    """Whether it was used up or not."""
    watch = process.watch(target.where("point"), 1)
    reader = watch._reader
    del watch
    gc.collect()
    assert reader.closed


def test_asynchronous_watch_ends_when_its_process_object_is_closed(
    process: RemoteProcess, target: Target
) -> None:
    """Closed in the loop's body, or by another task while this one sleeps."""
    point = target.where("point")

    async def first_then_close() -> list[bytes]:
        got = []
        watch = process.watch(point, 1, 0.01)
        await asyncio.to_thread(target.ask, f"poke {point:x} 01")
        async for change in watch:
            got.append(change.new)
            process.close()
        return got

    async def closed_by_another() -> list[bytes]:
        with RemoteProcess.open(target) as other:
            watch = other.watch(point, 1, 0.01)
            task = asyncio.create_task(anext(watch, None))
            await asyncio.sleep(0)  # it has looked, and sleeps
        return await asyncio.wait_for(task, 60)

    assert asyncio.run(first_then_close()) == [b"\1"]
    assert asyncio.run(closed_by_another()) is None


def test_watch_says_when_memory_goes(process: RemoteProcess, target: Target) -> None:
    """Freed memory is an error, not the end."""
    block = process.alloc(PAGE)
    watch = process.watch(block.address, 4, 0.001)
    block.close()
    with pytest.raises(PartialReadError):
        next(watch)
    with pytest.raises(ValueError, match="interval"):
        process.watch(target.where("point"), 1, -1)


# ------------------------------------------------------- the target in motion


def test_reads_while_the_target_maps_and_frees(
    process: RemoteProcess, target: Target
) -> None:
    """Every region that is listed is read or not; nothing else happens."""
    target.ask("churn on")
    for _ in range(5):
        for region in process.regions():
            if region.readable and region.type == winipc.MemoryType.PRIVATE:
                partial = process.read(
                    region.base, min(region.size, 1 << 20), partial=True
                )
                assert len(partial.data) == min(region.size, 1 << 20)
    target.ask("churn off")


def do_alloc(process: RemoteProcess) -> None:
    with process.alloc(1):
        pass


def do_protect(process: RemoteProcess, address: int) -> None:
    with process.protect(address, 2 * PAGE, MemoryProtection.READONLY):
        pass


def do_cached(process: RemoteProcess, address: int) -> None:
    with process.cached():
        process.read(address, 8)


async def watch_async(process: RemoteProcess, address: int) -> None:
    async for _ in process.watch(address, 8, 0):
        pass


OPERATIONS: dict[str, Callable[[RemoteProcess, int], object]] = {
    "read": lambda process, at: process.read(at, 8),
    "read_into": lambda process, at: process.read_into(at, bytearray(4 * PAGE)),
    "partial": lambda process, at: process.read(at, 16 * PAGE, partial=True),
    "read_many": lambda process, at: process.read_many(
        [(at + i * 64, 8) for i in range(200)]
    ),
    "cached": do_cached,
    "cstr": lambda process, at: process.read_cstr(at + 4 * PAGE - 1),
    "pointer": lambda process, at: process.pointer([at, 0]),
    "walk": lambda process, at: list(process.walk(at)),
    "write": lambda process, at: process.write(at, b"x"),
    "verify": lambda process, at: process.write(at, bytes(2 * PAGE), verify=True),
    "alloc": lambda process, at: do_alloc(process),
    "near": lambda process, at: process.alloc(1, near=at).close(),
    "protect": do_protect,
    "regions": lambda process, at: list(process.regions()),
    "paths": lambda process, at: list(process.regions(paths=True)),
    "names": lambda process, at: list(process.regions(names=True)),
    "map": lambda process, at: process.memory_map(),
    "modules": lambda process, at: process.modules(),
    "exports": lambda process, at: process.exports("target.exe"),
    "threads": lambda process, at: process.threads(),
    "watch": lambda process, at: list(process.watch(at, 8, 0)),
    "watch_async": lambda process, at: asyncio.run(watch_async(process, at)),
    "scan": lambda process, at: list(process.scan(b"no such text", limit=3)),
    "first_scan": lambda process, at: winipc.CandidateSet.scan(
        process, "int32", equals=0x01020304
    ),
}

#: How often the target is killed in the middle of each of them.
KILLS = int(os.environ.get("WINIPC_KILLS", "1"))


@pytest.mark.parametrize("round_number", range(KILLS))
@pytest.mark.parametrize("operation", [*OPERATIONS, "rescan"])
def test_the_target_dies_in_the_middle(
    process: RemoteProcess, target: Target, operation: str, round_number: int
) -> None:
    """What was read, or ProcessLookupError; never anything else."""
    address = target.where("list" if operation == "walk" else "pages")
    if operation == "cstr":
        process.write(address + 4 * PAGE - 1, b"\0")
    elif operation == "pointer":
        process.write(address, address.to_bytes(8, "little"))
    until = time.monotonic() + 60
    found = winipc.CandidateSet.scan(process, "uint8", regions=[(address, 4 * PAGE)])
    killer = threading.Timer(0.05 + 0.007 * round_number, target.peer.process.kill)

    def go_on() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(PartialReadError, PartialWriteError):
                if operation == "rescan":
                    found.rescan("unchanged")
                else:
                    OPERATIONS[operation](process, address)

    with found:
        killer.start()
        with pytest.raises(ProcessLookupError):
            go_on()
        assert len(found) == 4 * PAGE
    killer.join()
    process.wait(60)


def allocate_and_list_for_ever(process: RemoteProcess) -> None:
    while True:
        with process.alloc(1):
            list(process.regions())


def test_no_memory_call_is_stuck_in_a_dead_target(
    start_peer: Callable[..., object],
) -> None:
    """Killed again and again in the middle of calls that work inside the target.

    Wine leaves about one in ten of these calls waiting for ever.
    """
    for round_number in range(24):
        target = Target(start_peer("target.exe"))
        with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
            killer = threading.Timer(0.005 * (round_number % 6), target.peer.kill)
            killer.start()
            with pytest.raises(ProcessLookupError):
                allocate_and_list_for_ever(process)
            killer.join()
