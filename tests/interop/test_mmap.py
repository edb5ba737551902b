"""SharedMapping beside other libraries' shared memory, both ways round."""

from __future__ import annotations

import mmap
import multiprocessing.shared_memory
import os
from pathlib import Path

import pytest

from winipc import SharedMapping, Snapshot

SIZE = 8192


@pytest.mark.smoke
def test_stdlib_mmap_opens_ours(unique_name: str) -> None:
    """mmap(tagname=) sees the bytes of a SharedMapping."""
    with SharedMapping.create(unique_name, SIZE) as ours:
        with mmap.mmap(-1, SIZE, tagname=unique_name) as theirs:
            ours.write(b"from winipc", 100)
            assert theirs[100:111] == b"from winipc"
            theirs[-4:] = b"mmap"
            assert ours[-4:] == b"mmap"
        assert ours.read(4, SIZE - 4) == b"mmap"


def test_ours_opens_stdlib_mmap(unique_name: str) -> None:
    """And the other way, with the rights that were asked for."""
    with mmap.mmap(-1, SIZE, tagname=unique_name) as theirs:
        theirs[:5] = b"first"
        with SharedMapping.open(unique_name) as ours:
            assert ours.read(5) == b"first"
            ours[5:10] = b"+five"
        with SharedMapping.open(unique_name, access="read") as ours:
            assert ours.find(b"+") == 5
        assert theirs[:10] == b"first+five"
        with pytest.raises(FileExistsError):
            SharedMapping.create(unique_name, SIZE)
        with SharedMapping.create(unique_name, SIZE, exist_ok=True) as ours:
            assert not ours.created


def test_shared_memory_opens_ours(unique_name: str) -> None:
    """multiprocessing.shared_memory attaches by name."""
    with SharedMapping.create(unique_name, SIZE) as ours:
        theirs = multiprocessing.shared_memory.SharedMemory(unique_name)
        try:
            assert theirs.buf is not None
            assert theirs.size == ours.mapped_size
            ours[0:4] = b"ours"
            assert bytes(theirs.buf[:4]) == b"ours"
            theirs.buf[SIZE - 1] = 77
            assert ours[SIZE - 1] == 77
        finally:
            theirs.close()


def test_ours_opens_shared_memory() -> None:
    """The names that multiprocessing makes up are plain names."""
    theirs = multiprocessing.shared_memory.SharedMemory(create=True, size=1000)
    try:
        assert theirs.buf is not None
        with SharedMapping.open(theirs.name) as ours:
            theirs.buf[:6] = b"theirs"
            assert ours.read(6) == b"theirs"
            ours.write(b"back", 996)
            assert bytes(theirs.buf[996:1000]) == b"back"
    finally:
        theirs.close()
        theirs.unlink()


def test_pywin32_mmapfile_opens_ours(unique_name: str) -> None:
    """mmapfile sees the same bytes and the same name."""
    mmapfile = pytest.importorskip("mmapfile")
    with SharedMapping.create(unique_name, SIZE) as ours:
        theirs = mmapfile.mmapfile(File=None, Name=unique_name, MaximumSize=SIZE)
        try:
            ours.write(b"for pywin32")
            assert theirs.read(11) == b"for pywin32"
            theirs.seek(4000)
            theirs.write(b"for winipc")
            assert ours.read(10, 4000) == b"for winipc"
        finally:
            theirs.close()


def test_ours_opens_pywin32_mmapfile(unique_name: str) -> None:
    """A mapping of pywin32's is a mapping like any other."""
    mmapfile = pytest.importorskip("mmapfile")
    theirs = mmapfile.mmapfile(File=None, Name=unique_name, MaximumSize=SIZE)
    try:
        theirs.write(b"for winipc")
        with SharedMapping.open(unique_name) as ours:
            assert ours.size == SIZE
            assert ours.read(10) == b"for winipc"
            ours.write(b"BACK")
        theirs.seek(0)
        assert theirs.read(10) == b"BACKwinipc"
    finally:
        theirs.close()


def test_one_file_mapped_by_both(tmp_path: Path) -> None:
    """A file mapped by mmap and by us is one piece of memory."""
    path = tmp_path / "both"
    with SharedMapping.create(None, SIZE, file=path) as ours:
        descriptor = os.open(path, os.O_RDWR | os.O_BINARY)
        try:
            with mmap.mmap(descriptor, SIZE) as theirs:
                ours[10:14] = b"ours"
                assert theirs[10:14] == b"ours"
                theirs[5000:5006] = b"theirs"
                assert ours[5000:5006] == b"theirs"
        finally:
            os.close(descriptor)


def test_snapshot_over_stdlib_mmap(unique_name: str) -> None:
    """Snapshot takes any buffer, and guards what readers of it see."""
    with (
        mmap.mmap(-1, SIZE, tagname=unique_name) as theirs,
        SharedMapping.open(unique_name) as ours,
        Snapshot.over(theirs, 100, kind="double") as writer,
        Snapshot.over(ours, 100, kind="double") as reader,
    ):
        writer.write(b"r" * 100)
        assert reader.read() == b"r" * 100
        with pytest.raises(BufferError):
            theirs.close()
