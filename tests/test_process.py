"""RemoteProcess against tests/peers/target.c, whose memory is known."""

from __future__ import annotations

import ctypes
import itertools
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

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


class Target:
    """The C target, spoken to by name."""

    def __init__(self, peer: object) -> None:
        self.peer = peer
        self.pid = peer.pid
        peer.expect("ready")

    def ask(self, line: str) -> str:
        self.peer.say(line)
        return self.peer.read_line()

    def where(self, name: str) -> int:
        return int(self.ask(f"where {name}"), 16)

    def peek(self, address: int, size: int) -> bytes:
        return bytes.fromhex(self.ask(f"peek {address:x} {size}"))

    def exit(self, code: int = 0) -> None:
        self.peer.say(f"exit {code}")
        self.peer.process.wait(60)


@pytest.fixture
def target(start_peer: Callable[..., object]) -> Target:
    """A fresh target process."""
    return Target(start_peer("target.exe"))


@pytest.fixture
def process(target: Target) -> Iterator[RemoteProcess]:
    """The target, opened for reading and writing."""
    with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
        yield process


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
    assert process.read_cstr(target.where("text")) == "café"
    assert process.read_cstr(target.where("text"), None) == b"caf\xc3\xa9"
    assert process.read_cstr(target.where("wide"), "utf-16-le") == "café"
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


# ---------------------------------------------------------- its memory


def test_alloc_is_freed_once(process: RemoteProcess, target: Target) -> None:
    """In the target, and never twice."""
    with process.alloc(10_000) as block:
        address = block.address
        assert block.write(b"block") == 5
        assert target.peek(address, 6) == b"block\0"
        assert block.read(0, 5) == b"block"
        assert len(block.read()) == len(block) == 10_000
        for bad in (lambda: block.read(9_999, 2), lambda: block.write(b"x", -1)):
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
    kernel32 = ctypes.WinDLL("kernel32")
    count = ctypes.c_uint32()

    def handles() -> int:
        kernel32.GetProcessHandleCount(ctypes.c_void_p(-1), ctypes.byref(count))
        return count.value

    def once() -> None:
        with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
            process.read(point, 1)
            with process.alloc(1):
                pass
        with pytest.raises(ProcessLookupError):
            RemoteProcess.open(0x7FFFFFFC)

    point = target.where("point")
    once()
    before = handles()
    for _ in range(300):
        once()
    assert handles() <= before + 2
