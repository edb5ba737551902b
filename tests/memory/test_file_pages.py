"""Pages of mapped files: they may take their time, and fail, on either side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.linux_file import LinuxFile
from helpers.replaced_call import counted
from helpers.slow_page import PAGE, runs_beside, runs_beside_call

from winipc import Atomic, Channel, GlobalMemory, SharedLock, SharedMapping, Snapshot

AT = 2 * PAGE

TOUCHES: dict[str, Callable[[SharedMapping], object]] = {
    "item": lambda m: m[AT],
    "set item": lambda m: m.__setitem__(AT, 1),
    "slice": lambda m: m[AT : AT + 8],
    "slice with steps": lambda m: m[AT : AT + 8 : 2],
    "set slice": lambda m: m.__setitem__(slice(AT, AT + 2), b"ab"),
    "set slice with steps": lambda m: m.__setitem__(slice(AT, AT + 4, 2), b"ab"),
    "read": lambda m: m.read(8, AT),
    "read_into": lambda m: m.read_into(bytearray(8), AT),
    "write": lambda m: m.write(b"12345678", AT),
    "find": lambda m: m.find(b"x", AT, AT + 8),
    "get": lambda m: m.get(AT, "i32"),
    "get_u64": lambda m: m.get(AT, "u64"),
    "set_f32": lambda m: m.set(AT, "f32", 1.0),
    "a view": lambda m: GlobalMemory(8).write(memoryview(m)[AT : AT + 8]),
    "a strided view": lambda m: GlobalMemory(8).write(memoryview(m)[AT : AT + 16 : 2]),
    "what is looked for": lambda m: GlobalMemory(8).find(memoryview(m)[AT : AT + 1]),
    "a target": lambda m: GlobalMemory(8).read_into(memoryview(m)[AT : AT + 8]),
}


@pytest.fixture
def mapping(tmp_path: Path) -> Iterator[SharedMapping]:
    with SharedMapping.create(None, 4 * PAGE, file=tmp_path / "pages") as m:
        yield m


@pytest.mark.filterwarnings("ignore:unclosed <GlobalMemory")
@pytest.mark.parametrize("name", TOUCHES)
def test_threads_run_while_a_page_of_a_file_comes_in(
    mapping: SharedMapping, name: str
) -> None:
    """Also while a single byte of it is read or written."""
    assert runs_beside(mapping.address + AT, lambda: TOUCHES[name](mapping))


def test_a_file_of_a_long_path_is_known_as_one(
    tmp_path: Path, unique_name: str
) -> None:
    """Also where the handle may not ask for the section's kind."""
    folder = Path(f"\\\\?\\{tmp_path}", "d" * 240)
    folder.mkdir()
    path = folder / "f"
    with (
        SharedMapping.create(unique_name, PAGE, file=path, security="D:(A;;0x6;;;WD)"),
        SharedMapping.open(unique_name) as m,
    ):
        assert runs_beside(m.address, lambda: m[0])
    with (
        SharedMapping.create(unique_name, PAGE, file=path),
        SharedMapping.create(unique_name, PAGE, file=path, exist_ok=True) as m,
    ):
        assert not m.created
    path.unlink()
    folder.rmdir()


def test_threads_run_while_the_page_of_an_atomic_comes_in(
    mapping: SharedMapping,
) -> None:
    """Of each operation."""
    with Atomic(mapping, AT) as number:
        for touch in (number.load, lambda: number.store(1), lambda: number.add(1)):
            assert runs_beside(mapping.address + AT, touch)


def test_threads_run_while_the_page_of_a_snapshot_comes_in(
    mapping: SharedMapping,
) -> None:
    """The record's, and those of the buffers that it is copied from and to."""
    with Snapshot.over(mapping, 8, offset=AT) as s:
        touches: list[Callable[[], object]] = [
            s.read,
            lambda: s.write(b"12345678"),
            lambda: s.sequence,
        ]
        for touch in touches:
            assert runs_beside(mapping.address + AT, touch)
    with Snapshot.over(bytearray(64), 8) as s, memoryview(mapping) as view:
        part = view[AT : AT + 8]
        assert runs_beside(mapping.address + AT, lambda: s.write(part))
        part.release()


def test_threads_run_while_the_page_of_a_message_comes_in(
    mapping: SharedMapping,
) -> None:
    """Of one that is sent from a file, and of one that is received into it."""
    with memoryview(mapping)[AT : AT + 8] as part, Channel.create(None, 256) as channel:
        for send in (channel.send, lambda data: channel.send_many([b"1", data])):
            assert runs_beside(mapping.address + AT, lambda send=send: send(part))  # type: ignore[misc]
        assert channel.recv_many() == [b"1"]
        channel.send(b"12345678")
        assert runs_beside(mapping.address + AT, lambda: channel.recv_into(part))
        assert channel.recv(0) == b"12345678"


def test_threads_run_while_the_page_of_a_lock_comes_in(mapping: SharedMapping) -> None:
    """Of a lock that is free, and of one that is given back."""
    with SharedLock(mapping, AT) as lock:
        assert runs_beside(mapping.address + AT, lambda: lock.release())
    with SharedLock(mapping, AT) as lock:
        lock.release()
        assert runs_beside(mapping.address + AT, lambda: lock.acquire(0))
        lock.acquire()


def test_threads_run_while_a_mapped_file_is_closed(tmp_path: Path) -> None:
    """Its last pages may be written then, to a disk that takes its time."""
    m = SharedMapping.create(None, PAGE, file=tmp_path / "closed")
    assert runs_beside_call("UnmapViewOfFile", m.close)


# ------------------------------------------------------------- the other side


def channel_send(data: memoryview) -> None:
    with Channel.create(None, 256) as channel:
        channel.send(data)


def channel_recv_into(buffer: memoryview) -> None:
    with Channel.create(None, 256) as channel:
        channel.send(b"12345678")
        channel.recv_into(buffer)


OTHER_SIDES: dict[str, Callable[[Any], object]] = {
    "write of a strided view": lambda view: GlobalMemory(50).write(view[100:200:2]),
    "find of a strided view": lambda view: GlobalMemory(50).find(view[100:200:2]),
    "slice with steps": lambda view: GlobalMemory(100).__setitem__(
        slice(None, None, 2), view[100:150]
    ),
    "Snapshot.write": lambda view: Snapshot.over(bytearray(64), 8).write(view[100:108]),
    "Channel.send": lambda view: channel_send(view[100:108]),
    "Channel.recv_into": lambda view: channel_recv_into(view[100:108]),
}


@pytest.mark.filterwarnings("ignore:unclosed <GlobalMemory")
@pytest.mark.parametrize("name", OTHER_SIDES)
def test_a_page_of_the_other_side_that_is_gone_is_an_error(
    linux_file: LinuxFile, name: str
) -> None:
    """Not the end of the process, whichever side of a copy the file is."""
    with SharedMapping.create(None, 4 * PAGE, file=linux_file.path) as m:
        m.write(bytes(4 * PAGE))
        linux_file.cut(0)
        with memoryview(m) as view, pytest.raises(OSError, match="touching a page"):
            OTHER_SIDES[name](view)


def test_one_handler_serves_all_files(linux_file: LinuxFile, tmp_path: Path) -> None:
    """Closing one mapped file leaves the others guarded."""
    with SharedMapping.create(None, 4 * PAGE, file=linux_file.path) as m:
        m.write(bytes(4 * PAGE))
        with counted("kernel32", "AddVectoredExceptionHandler") as added:
            for i in range(3):
                SharedMapping.create(None, PAGE, file=tmp_path / str(i)).close()
        assert added.value == 0
        linux_file.cut(0)
        with pytest.raises(OSError, match="touching a page"):
            m.get(PAGE, "u8")
