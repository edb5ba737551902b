"""A SharedMapping with a file behind it."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.linux_file import LinuxFile

from winipc import (
    SharedMapping,
)

# -------------------------------------------------------------------------------- files


def test_file_is_created_and_grown(tmp_path: Path, unique_name: str) -> None:
    """A file behind the memory is made, grown, and has the bytes after flush."""
    path = tmp_path / "data.bin"
    with SharedMapping.create(unique_name, 5000, file=path) as m:
        assert (m.size, m.size_is_exact) == (5000, True)
        m.write(b"first")
        m.write(b"last", 4996)
        m.flush()
        assert path.read_bytes()[:5] == b"first"
        with SharedMapping.open(unique_name, access="read") as other:
            assert other.read(4, 4996) == b"last"
            assert (other.size, other.size_is_exact) == (5000, True)
    assert path.stat().st_size == 5000
    with SharedMapping.create(None, 70_000, file=path, offset=66_000) as m:
        m.write(b"far")
        m.flush(0, 3)
    assert path.stat().st_size == 136_000
    assert path.read_bytes()[66_000:66_003] == b"far"


def test_whole_file_is_mapped_without_size(tmp_path: Path) -> None:
    """size=None takes the file's, exactly."""
    path = tmp_path / "data.bin"
    path.write_bytes(b"0123456789")
    with SharedMapping.create(None, file=path, access="read") as m:
        assert bytes(m) == b"0123456789"
    with SharedMapping.create(None, file=path, offset=4) as m:
        assert bytes(m) == b"456789"
    with SharedMapping.create(None, file=str(path), access="copy") as m:
        m[0:1] = b"X"
        assert bytes(m) == b"X123456789"
    assert path.read_bytes() == b"0123456789"


def test_an_offset_may_be_beyond_4_gib(tmp_path: Path, unique_name: str) -> None:
    """In 32-bit processes too."""
    path = tmp_path / "large.bin"
    offset = (4 << 30) + 65536
    path.touch()
    # Or Windows would write 4 GiB of zeros; Wine's files have holes anyway.
    subprocess.run(["fsutil", "sparse", "setflag", path], capture_output=True)
    os.truncate(path, offset + 10)
    with SharedMapping.create(unique_name, file=path, offset=offset) as m:
        assert m.size == 10
        m.write(b"far")
        with SharedMapping.open(unique_name, offset=offset, access="read") as far:
            assert far.read(10) == b"far" + bytes(7)
        with SharedMapping.open(unique_name, offset=65536, size=10) as near:
            assert near.read(10) == bytes(10)


def test_file_errors_are_clear(tmp_path: Path) -> None:
    """A missing, an empty and a short file say so."""
    with pytest.raises(FileNotFoundError):
        SharedMapping.create(None, 10, file=tmp_path / "none", access="read")
    with pytest.raises(FileNotFoundError):
        SharedMapping.create(None, file=tmp_path / "none")
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(ValueError, match="has 0 bytes"):
        SharedMapping.create(None, file=empty)
    with pytest.raises(ValueError, match="has 0 bytes"):
        SharedMapping.create(None, 1, file=empty, access="copy")
    assert empty.stat().st_size == 0


def test_failing_create_removes_the_file_that_it_made(
    tmp_path: Path, unique_name: str
) -> None:
    """And no other one: a file that was there is left as it was."""
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(b"kept")
    with SharedMapping.create(unique_name, 4096):
        for path in (new, old):
            with pytest.raises(FileExistsError):
                SharedMapping.create(unique_name, 4, file=path)
    for path in (new, old):
        with pytest.raises((OSError, OverflowError)):
            SharedMapping.create(None, 1 << 55, file=path)
        with pytest.raises(OSError, match="CreateFileMappingW"):
            SharedMapping.create("no\\such\\place", 4, file=path)
    assert os.listdir(tmp_path) == ["old"]
    assert old.read_bytes() == b"kept"
    SharedMapping.create(None, 4, file=new).close()
    assert new.stat().st_size == 4


def test_exist_ok_takes_a_mapping_of_this_file_only(
    tmp_path: Path, unique_name: str
) -> None:
    """The name of other memory is refused, by whatever path the file is named."""
    mine, other = tmp_path / "mine", tmp_path / "other"
    with SharedMapping.create(unique_name, 4096):
        with pytest.raises(FileExistsError, match="without this file") as caught:
            SharedMapping.create(unique_name, 4096, file=mine, exist_ok=True)
        assert (caught.value.winerror, caught.value.filename) == (183, unique_name)
    assert not mine.exists()
    with SharedMapping.create(unique_name, 4096, file=mine) as m:
        m.write(b"mine")
        with pytest.raises(FileExistsError, match="without this file"):
            SharedMapping.create(unique_name, 4096, file=other, exist_ok=True)
        assert not other.exists()
        spelled = tmp_path / ".." / tmp_path.name / "MINE"
        for file in (mine, spelled):
            with SharedMapping.create(
                unique_name, 4096, file=file, exist_ok=True
            ) as again:
                assert (again.created, again.read(4)) == (False, b"mine")


# ---------------------------------------------------------------------- files that fail


def test_page_that_does_not_come_in_is_an_error(linux_file: LinuxFile) -> None:
    """A file cut short under its mapping: OSError, and the process lives.

    Windows refuses to cut a mapped file, so another system has to: under Wine it
    is Linux, on Windows it would be a network share.
    """
    with (
        SharedMapping.create(None, 0x20000, file=linux_file.path) as m,
        m.view(0x4000) as view,
    ):
        m.write(b"x" * 0x20000)
        m.flush()
        linux_file.cut(100)
        assert m.read(10) == b"x" * 10
        uses: list[Callable[[], object]] = [
            lambda: m.read(10, 8000),
            lambda: m.read(),
            lambda: m.read_into(bytearray(100_000)),
            lambda: m.write(b"y" * 20_000, 4090),
            lambda: m[9000],
            lambda: m.__setitem__(9000, 1),
            lambda: m[::3],
            lambda: m.__setitem__(slice(None, None, 2), b"y" * 0x10000),
            lambda: m.find(b"zz"),
            lambda: m.get(8192, "i64"),
            lambda: m.set(8192, "f32", 1.0),
            lambda: view.read(1),
        ]
        for use in uses:
            with pytest.raises(OSError, match="touching a page") as caught:
                use()
            assert caught.value.winerror in (998, 999)
        assert m.read(4096)[:3] == b"yxy"


def test_page_of_the_other_side_that_does_not_come_in_is_an_error(
    linux_file: LinuxFile, unique_name: str
) -> None:
    """A copy has two sides, and the mapping of a file may be either or both."""
    other = LinuxFile(f"{unique_name}.other")
    with (
        SharedMapping.create(None, 0x20000, file=linux_file.path) as cut,
        SharedMapping.create(None, 0x20000, file=other.path) as whole,
        SharedMapping.create(None, 0x20000) as plain,
    ):
        cut.write(b"x" * 0x20000)
        cut.flush()
        linux_file.cut(100)
        for mine in (plain, whole):
            uses: list[Callable[[], object]] = [
                lambda m=mine: m.write(cut),
                lambda m=mine: m.write(memoryview(cut)[9000:9010]),
                lambda m=mine: m.read_into(cut),
                lambda m=mine: m.read_into(memoryview(cut)[9000:9010]),
                lambda m=mine: m.__setitem__(slice(None), cut),
                lambda m=mine: m.__setitem__(
                    slice(0, 20, 2), memoryview(cut)[9000:9010]
                ),
                lambda m=mine: m.find(memoryview(cut)[9000:9010]),
            ]
            for use in uses:
                with pytest.raises(OSError, match="touching a page") as caught:
                    use()
                assert caught.value.winerror in (998, 999)
            mine.write(memoryview(cut)[:10])
            assert mine.read(10) == b"x" * 10
    other.path.unlink()


def test_damaged_file_is_survived_by_threads(linux_file: LinuxFile) -> None:
    """Each thread has a guard of its own."""
    with SharedMapping.create(None, 0x40000, file=linux_file.path) as m:
        linux_file.cut(0x20000)
        results: list[object] = []

        def good() -> None:
            for _ in range(200):
                results.append(m.read(0x20000) == bytes(0x20000))

        def bad() -> None:
            for _ in range(200):
                try:
                    m.read()
                except OSError as error:
                    results.append(error.winerror in (998, 999))

        threads = [threading.Thread(target=f) for f in (good, bad, good, bad)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == [True] * 800


def test_no_hint_about_the_name_when_the_file_is_at_fault(
    tmp_path: Path, unique_name: str
) -> None:
    """A missing folder gives winerror 3, as a missing namespace does."""
    with pytest.raises(FileNotFoundError) as caught:
        SharedMapping.create(unique_name, 10, file=tmp_path / "missing" / "file")
    assert caught.value.winerror == 3
    assert not hasattr(caught.value, "__notes__")
