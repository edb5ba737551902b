"""SharedMapping: create, open, map, read, write and close."""

from __future__ import annotations

import ctypes
import gc
import importlib
import multiprocessing
import os
import pickle
import struct
import sys
import threading
import time
import uuid
import warnings
import weakref
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, Peer, handle_count
from helpers.linux_file import LinuxFile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from winipc import (
    Event,
    LockedMapping,
    MappingView,
    MemoryType,
    RemoteProcess,
    SharedMapping,
    Snapshot,
    _core,
)
from winipc.base import transfer


@pytest.mark.smoke
def test_two_mappings_of_one_name_share_bytes(unique_name: str) -> None:
    """What one writes, the other reads; `created` tells them apart."""
    with (
        SharedMapping.create(unique_name, 4096) as a,
        SharedMapping.open(unique_name) as b,
    ):
        a.write(b"hello", offset=7)
        assert b.read(5, offset=7) == b"hello"
        assert b.read(5, 7) == b"hello"
        assert a.address != b.address
        assert (a.created, b.created) == (True, False)


def test_size_is_what_was_asked_for(unique_name: str) -> None:
    """The creator knows the exact size; an opener knows whole pages."""
    with SharedMapping.create(unique_name, 1000) as a:
        assert (len(a), a.size, a.mapped_size, a.size_is_exact) == (
            1000,
            1000,
            4096,
            True,
        )
        assert a.name == unique_name
        assert a.access == "readwrite"
        assert (
            repr(a) == f"<SharedMapping {unique_name!r} size=1000 access='readwrite'>"
        )
        with SharedMapping.open(unique_name) as b:
            assert (b.size, b.size_is_exact) == (4096, False)
            assert "(whole pages)" in repr(b)
        with SharedMapping.open(unique_name, size=1000) as b:
            assert (b.size, b.size_is_exact) == (1000, True)


@pytest.mark.smoke
def test_create_is_exclusive(unique_name: str) -> None:
    """A taken name is FileExistsError, unless exist_ok."""
    with SharedMapping.create(unique_name, 4096) as a:
        with pytest.raises(FileExistsError) as caught:
            SharedMapping.create(unique_name, 4096)
        assert caught.value.winerror == 183
        assert caught.value.filename == unique_name
        assert caught.value.filename2 == "CreateFileMappingW"
        with SharedMapping.create(unique_name, 4096, exist_ok=True) as b:
            assert not b.created
            b[0] = 7
        assert a[0] == 7
    with pytest.raises(FileNotFoundError):  # those who were refused hold nothing
        SharedMapping.open(unique_name)


@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 65536, 65537])
def test_create_knows_what_open_asks(unique_name: str, size: int) -> None:
    """How many pages there are is worked out here, and asked of Windows there."""
    with (
        SharedMapping.create(unique_name, size) as made,
        SharedMapping.open(unique_name) as opened,
    ):
        assert (made.mapped_size, made.reserved) == (opened.size, opened.reserved)
        assert made.mapped_size == opened.mapped_size
        assert (made.file_backed, opened.file_backed) == (False, False)
        with SharedMapping.create(unique_name, size, exist_ok=True) as again:
            assert (again.size, again.mapped_size) == (size, made.mapped_size)


@pytest.mark.parametrize("offset", [1, 4096, 65536, 70_001])
def test_create_at_an_offset(unique_name: str, offset: int) -> None:
    """The mapping reaches from 0 to there and on; the first byte is at the offset."""
    with (
        SharedMapping.create(unique_name, 5000, offset=offset) as late,
        SharedMapping.open(unique_name) as whole,
    ):
        assert (late.size, late.offset) == (5000, offset)
        late[4999] = 7
        assert whole[offset + 4999] == 7
        assert late.mapped_size == whole.mapped_size - offset


def test_exist_ok_takes_what_is_there_as_it_is(
    unique_name: str, tmp_path: Path
) -> None:
    """Memory that is only reserved is not touched; a file behind it is noticed."""
    with (
        SharedMapping.create(unique_name, 1 << 16, reserve=True),
        SharedMapping.create(unique_name, 1 << 16, exist_ok=True) as again,
    ):
        assert (again.size, again.mapped_size, again.reserved) == (0, 0, 1 << 16)
        assert again.commit(5000) == 5000
        again.write(b"x" * 5000)
    with (
        SharedMapping.create(unique_name, 5000, file=tmp_path / "behind"),
        SharedMapping.create(unique_name, 5000, exist_ok=True) as again,
    ):
        assert again.file_backed


def test_open_never_creates(unique_name: str) -> None:
    """A name that nobody has is FileNotFoundError."""
    with pytest.raises(FileNotFoundError) as caught:
        SharedMapping.open(unique_name)
    assert caught.value.winerror == 2


def test_exist_ok_refuses_a_smaller_mapping(unique_name: str) -> None:
    """Taking an existing mapping never gives fewer bytes than asked for."""
    with SharedMapping.create(unique_name, 4096):
        with pytest.raises(ValueError, match="leave the 4096 bytes"):
            SharedMapping.create(unique_name, 8192, exist_ok=True)
        with pytest.raises(ValueError, match="leave the 4096 bytes"):
            SharedMapping.open(unique_name, size=8192)
        with pytest.raises(ValueError, match="leave the 4096 bytes"):
            SharedMapping.open(unique_name, offset=65536)


def test_unnamed_mapping_has_no_name() -> None:
    """No name, and nobody can open it by one."""
    with SharedMapping.create(None, 100) as m:
        assert m.name is None
        assert "None" in repr(m)
        m[:] = bytes(range(100))
        assert bytes(m) == bytes(range(100))


@pytest.mark.parametrize("size", [0, None, -1])
def test_size_must_be_positive(size: int | None) -> None:
    """Without a file there is no size to take over."""
    with pytest.raises(ValueError, match="size"):
        SharedMapping.create(None, size)


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_bad_names_are_refused(name: str) -> None:
    """An empty name would mean none to Windows, a NUL would end it."""
    with pytest.raises(ValueError, match=r"name|null"):
        SharedMapping.create(name, 4096)
    with pytest.raises(ValueError, match=r"name|null"):
        SharedMapping.open(name)


def test_huge_size_is_overflow() -> None:
    """Numbers that no address space holds are told before Windows sees them."""
    with pytest.raises(OverflowError):
        SharedMapping.create(None, 2**63 - 1, offset=1)
    with pytest.raises(OverflowError):
        SharedMapping.create(None, 2**64)


# ------------------------------------------------------------------ access


def test_read_access_refuses_every_write(unique_name: str) -> None:
    """access='read' gives a read-only buffer and no way around it."""
    with SharedMapping.create(unique_name, 16) as a:
        a.write(b"abc")
        with SharedMapping.open(unique_name, access="read") as b:
            assert b.access == "read"
            assert b.read(3) == b"abc"
            with memoryview(b) as view:
                assert view.readonly
            writes: list[Callable[[], object]] = [
                lambda: b.write(b"x"),
                lambda: b.__setitem__(0, 1),
                lambda: b.__setitem__(slice(0, 1), b"x"),
                lambda: b.set_i32(0, 1),
            ]
            for write in writes:
                with pytest.raises(TypeError, match="read-only"):
                    write()


def test_copy_access_leaves_the_original_alone(unique_name: str) -> None:
    """What is written to a copy-on-write view stays in it."""
    with SharedMapping.create(unique_name, 8192) as a:
        a.write(b"original")
        with SharedMapping.open(unique_name, access="copy") as b:
            b.write(b"private!")
            assert b.read(8) == b"private!"
            assert a.read(8) == b"original"
            a.write(b"page two", offset=4096)
            assert b.read(8, 4096) == b"page two"


def test_create_with_copy_access(unique_name: str) -> None:
    """PAGE_WRITECOPY from the start: everybody gets copies of zeros."""
    with SharedMapping.create(unique_name, 4096, access="copy") as a:
        a.write(b"mine")
        with SharedMapping.open(unique_name, access="copy") as b:
            assert b.read(4) == bytes(4)


def test_unknown_access_is_refused() -> None:
    """Only three words are known."""
    with pytest.raises(ValueError, match="'read', 'readwrite' or 'copy'"):
        SharedMapping.create(None, 10, access="rw")  # type: ignore[arg-type]


# ----------------------------------------------------------- offsets, views


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 65535, 65536, 65537, 100_000])
def test_any_offset_is_aligned_for_the_caller(unique_name: str, offset: int) -> None:
    """Windows maps multiples of 64 KiB; callers need not know."""
    with SharedMapping.create(unique_name, 200_000) as whole:
        whole.write(b"here", offset=offset)
        with SharedMapping.open(unique_name, offset=offset, size=4) as part:
            assert part.read() == b"here"
            assert (part.size, part.offset) == (4, offset)
            part.write(b"mine")
        assert whole.read(4, offset) == b"mine"


def test_views_share_the_mapping(unique_name: str) -> None:
    """A view() is another window on the same bytes, and keeps it from closing."""
    m = SharedMapping.create(unique_name, 200_000)
    with m.view(70_000, 1000) as view:
        assert isinstance(view, MappingView)
        assert view.mapping is m
        assert (view.size, view.offset, m.views) == (1000, 70_000, 1)
        view.write(b"through the view")
        assert m.read(16, 70_000) == b"through the view"
        with pytest.raises(BufferError, match="1 view is open"):
            m.close()
    assert m.views == 0
    m.close()
    assert view.closed


def test_view_of_a_closed_mapping(unique_name: str) -> None:
    """Closed is closed."""
    m = SharedMapping.create(unique_name, 4096)
    m.close()
    with pytest.raises(ValueError, match="is closed"):
        m.view()


def test_view_range_is_checked() -> None:
    """A view never reaches beyond its mapping."""
    with SharedMapping.create(None, 4096) as m:
        with pytest.raises(ValueError, match="leave the 4096 bytes"):
            m.view(4000, 97 + 4096)
        with m.view(4000) as view:
            assert view.size == 96


# --------------------------------------------------------------- the bytes


def test_items_and_slices() -> None:
    """Indexing works as on a bytearray of a fixed size."""
    with SharedMapping.create(None, 10) as m:
        m[0] = 1
        m[-1] = 255
        m[2:5] = b"abc"
        m[1::4] = bytearray([9, 8, 7])
        assert bytes(m) == bytes([1, 9, 97, 98, 99, 8, 0, 0, 0, 7])[:9] + b"\x07"
        assert m[-1] == 7
        assert m[::-1] == bytes(m)[::-1]
        assert list(m) == list(bytes(m))
        for key in (10, -11):
            with pytest.raises(IndexError):
                m[key]
            with pytest.raises(IndexError):
                m[key] = 0
        with pytest.raises(ValueError, match="slice"):
            m[0:3] = b"ab"
        with pytest.raises(ValueError, match="256"):
            m[0] = 256
        with pytest.raises(TypeError):
            m["x"]  # type: ignore[call-overload]
        with pytest.raises(TypeError):
            del m[0]  # type: ignore[attr-defined]


def test_extended_slice_takes_bytes_of_the_mapping_itself() -> None:
    """A value that overlaps its target is read before anything is written."""
    with SharedMapping.create(None, 8) as m:
        m[:] = b"abcdefgh"
        with memoryview(m) as view:
            m[::-1] = view
        assert bytes(m) == b"hgfedcba"


@pytest.mark.parametrize(
    ("size", "offset"),
    [(11, 0), (1, 10), (-2, 0), (0, 11), (1, -1), (2**62, 2**62)],
)
def test_read_outside_is_an_error_not_a_short_read(size: int, offset: int) -> None:
    """Every range is checked, and never by a sum that could wrap."""
    with SharedMapping.create(None, 10) as m:
        with pytest.raises(ValueError, match="read"):
            m.read(size, offset)
        assert m.read(0, 10) == b""
        assert m.read(-1, 4) == bytes(6)
        assert m.read(None, 4) == bytes(6)


def test_write_outside_writes_nothing() -> None:
    """A write that does not fit leaves every byte as it was."""
    with SharedMapping.create(None, 10) as m:
        with pytest.raises(ValueError, match="write"):
            m.write(b"12345", 6)
        with pytest.raises(ValueError, match="write"):
            m.write(bytes(20_000), 0)
        with pytest.raises(OverflowError):
            m.write(b"1", 2**64)
        assert bytes(m) == bytes(10)


def test_write_takes_any_buffer() -> None:
    """bytes, memoryviews with gaps, arrays: what counts is the buffer protocol."""
    with SharedMapping.create(None, 100_000) as m:
        assert m.write(bytearray(b"one")) == 3
        assert m.write(memoryview(b"abcdef")[::2], 10) == 3
        assert m.read(3, 10) == b"ace"
        big = bytes(range(256)) * 300
        assert m.write(big, offset=20) == len(big)
        assert m.read(len(big), 20) == big
        with pytest.raises(TypeError):
            m.write("text")  # type: ignore[arg-type]


def test_read_into_fills_a_buffer() -> None:
    """read_into copies straight into the caller's memory."""
    with SharedMapping.create(None, 10) as m:
        m[:] = b"0123456789"
        target = bytearray(4)
        assert m.read_into(target, 3) == 4
        assert target == b"3456"
        with pytest.raises(ValueError, match="read_into"):
            m.read_into(bytearray(11))


def test_find_works_like_bytes_find() -> None:
    """find() agrees with bytes.find on every start and end."""
    text = b"abracadabra" + bytes(9) + b"abra"
    with SharedMapping.create(None, len(text)) as m:
        m[:] = text
        for sub in (
            b"abra",
            b"a",
            b"",
            b"x",
            b"abracadabra",
            bytes(9),
            bytes(10),
            text,
        ):
            assert m.find(sub) == text.find(sub)
            for start in (-30, -5, 0, 3, 24, 25):
                assert m.find(sub, start) == text.find(sub, start)
                for end in (-30, -3, 0, 5, 24, 99):
                    assert m.find(sub, start, end) == text.find(sub, start, end)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [(f"i{n}", -(2 ** (n - 1)), 2 ** (n - 1) - 1) for n in (8, 16, 32, 64)]
    + [(f"u{n}", 0, 2**n - 1) for n in (8, 16, 32, 64)],
)
def test_numbers_keep_their_range(kind: str, low: int, high: int) -> None:
    """Each number fits exactly, at aligned and odd offsets alike."""
    width = int(kind[1:]) // 8
    with SharedMapping.create(None, 32) as m:
        get, put = getattr(m, f"get_{kind}"), getattr(m, f"set_{kind}")
        for offset in (0, 3, 32 - width):
            for value in (low, high, 1):
                put(offset, value)
                assert get(offset) == value
                raw = m.read(width, offset)
                assert int.from_bytes(raw, "little", signed=low < 0) == value
        for value in (low - 1, high + 1):
            with pytest.raises(OverflowError):
                put(0, value)
        for offset in (-1, 33 - width):
            with pytest.raises(ValueError, match=kind):
                get(offset)
            with pytest.raises(ValueError, match=kind):
                put(offset, 1)
        with pytest.raises(TypeError):
            put(0, 1.5)


def test_floats() -> None:
    """Floats go through at both widths; a double too large for 32 bits is told."""
    with SharedMapping.create(None, 16) as m:
        m.set_f64(0, 1e300)
        m.set_f32(8, 0.5)
        assert (m.get_f64(0), m.get_f32(8)) == (1e300, 0.5)
        m.set_f32(8, float("inf"))
        assert m.get_f32(8) == float("inf")
        with pytest.raises(OverflowError):
            m.set_f32(8, 1e300)


# ------------------------------------------------------------------- close


@pytest.mark.smoke
def test_close_refuses_while_view_exported(unique_name: str) -> None:
    """A memoryview keeps the mapping open, and the error counts it."""
    m = SharedMapping.create(unique_name, 4096)
    first, second = memoryview(m), memoryview(m)
    assert m.exports == 2
    with pytest.raises(BufferError, match="2 buffers are exported"):
        m.close()
    first.release()
    with pytest.raises(BufferError, match="1 buffer is exported"):
        m.close()
    second[0] = 9
    assert m[0] == 9
    second.release()
    m.close()
    assert m.closed


def test_close_names_who_holds_the_memory(unique_name: str) -> None:
    """The hint lists views, memoryviews, arrays and snapshots that are found."""
    m = SharedMapping.create(unique_name, 4096)
    view = m.view(16, 100)
    held = memoryview(m)[:10]
    snapshot = Snapshot.over(m, 8)
    with pytest.raises(BufferError) as caught:
        m.close()
    hint = caught.value.__notes__[0]
    assert "MappingView at offset 16 of 100 bytes" in hint
    assert "memoryview of 10 bytes" in hint
    assert "Snapshot" in hint
    snapshot.close()
    view.close()
    held.release()
    structure = m.struct_view(ctypes.c_uint64 * 2)
    with pytest.raises(BufferError) as caught:
        m.close()
    assert "memoryview of 4096 bytes" in caught.value.__notes__[0]
    del structure
    gc.collect()
    m.close()


def test_close_twice_and_use_after(unique_name: str) -> None:
    """close() is idempotent; everything else says that it is closed."""
    m = SharedMapping.create(unique_name, 4096)
    m.close()
    m.close()
    assert repr(m) == f"<SharedMapping {unique_name!r} closed>"
    uses: list[Callable[[], object]] = [
        m.read,
        lambda: m.write(b""),
        lambda: m[0],
        lambda: m[0:1],
        lambda: len(m),
        lambda: memoryview(m),
        lambda: m.address,
        lambda: m.handle,
        lambda: m.find(b"x"),
        lambda: m.get_i32(0),
        lambda: m.set_i32(0, 0),
        m.flush,
        m.__enter__,
        m.commit,
    ]
    for use in uses:
        with pytest.raises(ValueError, match="closed"):
            use()
    with SharedMapping.create(unique_name, 4096) as again:
        assert again.created


def test_forgotten_mapping_warns(unique_name: str) -> None:
    """An unclosed mapping is reported by name, and its handle is freed."""
    m = SharedMapping.create(unique_name, 4096)
    alive = weakref.ref(m)
    mappings = [m]
    del m
    with pytest.warns(ResourceWarning, match=unique_name):
        mappings.clear()
    gc.collect()
    assert alive() is None
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)


def test_forgotten_view_lets_its_mapping_close() -> None:
    """A dropped view gives its hold on the mapping back."""
    with SharedMapping.create(None, 4096) as m:
        with pytest.warns(ResourceWarning, match="MappingView"):
            m.view(0, 10)
        assert m.views == 0


def test_index_that_closes_the_mapping() -> None:
    """An __index__ that closes the object is found out before memory is touched."""

    class Closes:
        def __init__(self, mapping: SharedMapping) -> None:
            self.mapping = mapping

        def __index__(self) -> int:
            self.mapping.close()
            return 1

    uses: list[Callable[[SharedMapping, Closes], object]] = [
        lambda m, i: m.read(1, i),  # type: ignore[arg-type]
        lambda m, i: m.read(i),  # type: ignore[arg-type]
        lambda m, i: m.write(b"x", i),  # type: ignore[arg-type]
        lambda m, i: m[i],
        lambda m, i: m[i:],
        lambda m, i: m.__setitem__(0, i),
        lambda m, i: m.__setitem__(i, 0),
        lambda m, i: m.__setitem__(slice(i, None), b"x"),
        lambda m, i: m.find(b"x", i),  # type: ignore[arg-type]
        lambda m, i: m.get_u8(i),
        lambda m, i: m.set_u8(i, 0),
        lambda m, i: m.set_u8(0, i),
        lambda m, i: m.flush(i),  # type: ignore[arg-type]
        lambda m, i: m.view(i),  # type: ignore[arg-type]
        lambda m, i: m.read_into(bytearray(1), i),  # type: ignore[arg-type]
    ]
    for use in uses:
        m = SharedMapping.create(None, 10)
        with pytest.raises(ValueError, match="closed"):
            use(m, Closes(m))


def test_no_plain_constructor() -> None:
    """Only the class methods make mappings."""
    with pytest.raises(TypeError, match="class methods"):
        SharedMapping()
    with pytest.raises(TypeError, match="class methods"):
        MappingView()


def test_subclass_may_add_state(unique_name: str) -> None:
    """A subclass is made by the same class methods."""

    class Mine(SharedMapping):
        note: str

    with Mine.create(unique_name, 16) as m:
        m.note = "kept"
        assert isinstance(m, Mine)
        assert m.note == "kept"


# ------------------------------------------------------------------- files


def test_file_is_created_and_grown(tmp_path: Path, unique_name: str) -> None:
    """A file behind the memory is made, grown, and has the bytes after flush."""
    path = tmp_path / "data.bin"
    with SharedMapping.create(unique_name, 5000, file=path) as m:
        assert (m.size, m.file_backed, m.size_is_exact) == (5000, True, True)
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


# ------------------------------------------------------------------ handles


def test_from_handle_takes_the_handle_over() -> None:
    """A duplicate in this very process maps the same bytes."""
    with SharedMapping.create(None, 4096) as a:
        handle = a.duplicate_to(os.getpid())
        with SharedMapping.from_handle(handle, size=100) as b:
            assert b.handle == handle
            b.write(b"shared")
            assert a.read(6) == b"shared"
        with pytest.raises(OSError, match="MapViewOfFile"):
            SharedMapping.from_handle(handle)
        reader = a.duplicate_to(os.getpid(), access="read")
        with pytest.raises(PermissionError):
            SharedMapping.from_handle(reader)
        with SharedMapping.from_handle(reader, access="read") as c:
            assert c.read(6) == b"shared"


def test_wait_finds_and_gives_up(unique_name: str) -> None:
    """wait() opens what is there, and raises TimeoutError for what is not."""
    with pytest.raises(TimeoutError) as caught:
        SharedMapping.wait(unique_name, 0.05)
    assert caught.value.winerror == 1460
    with SharedMapping.create(unique_name, 4096) as a:
        with SharedMapping.wait(unique_name, 5) as b:
            b[0] = 1
        assert a[0] == 1


# -------------------------------------------------------- names and security


def test_name_of_another_kind_is_told(unique_name: str) -> None:
    """An event has the name: error 6, and a hint that says so."""
    with Event.create(unique_name):
        for attempt in (
            lambda: SharedMapping.open(unique_name),
            lambda: SharedMapping.create(unique_name, 16),
            lambda: SharedMapping.create(unique_name, 16, exist_ok=True),
            lambda: SharedMapping.wait(unique_name, 1),
        ):
            with pytest.raises(OSError, match=unique_name) as caught:
                attempt()
            assert caught.value.winerror == 6
            assert "another kind of object" in caught.value.__notes__[0]


def test_missing_name_is_looked_for_elsewhere(unique_name: str) -> None:
    """Local and Global are two namespaces; the hint names the other one."""
    with SharedMapping.create(f"Global\\{unique_name}", 16):
        with pytest.raises(FileNotFoundError) as caught:
            SharedMapping.open(unique_name)
        assert f"Global\\{unique_name} exists" in caught.value.__notes__[0]
        with pytest.raises(TimeoutError) as timed_out:
            SharedMapping.wait(unique_name, 0)
        assert f"Global\\{unique_name} exists" in timed_out.value.__notes__[0]
    with SharedMapping.create(f"Local\\{unique_name}", 16):
        with pytest.raises(FileNotFoundError) as caught:
            SharedMapping.open(f"Global\\{unique_name}")
        assert "exists in session" in caught.value.__notes__[0]
        with SharedMapping.open(unique_name) as same:
            assert same.size == 4096


def test_backslash_in_a_name_is_explained(unique_name: str) -> None:
    """Only the known namespaces may stand before a backslash."""
    with pytest.raises(FileNotFoundError) as caught:
        SharedMapping.create(f"a\\{unique_name}", 16)
    assert caught.value.winerror == 3
    assert "backslash" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", [SharedMapping, LockedMapping])
def test_wait_refuses_a_name_that_cannot_be(
    kind: type[SharedMapping], unique_name: str
) -> None:
    """Nobody will ever create it: an error at once, with the hint of `open`."""
    with pytest.raises(FileNotFoundError) as caught:
        kind.wait(f"Other\\{unique_name}", 5)
    assert caught.value.winerror == 3
    assert "backslash" in caught.value.__notes__[0]


def test_owner_security_makes_this_user_the_owner(unique_name: str) -> None:
    """What a Pageant-style server asks: does the mapping belong to my user?"""
    win32security = pytest.importorskip("win32security")
    import win32api
    import win32con

    token = win32security.OpenProcessToken(
        win32api.GetCurrentProcess(), win32con.TOKEN_QUERY
    )
    me, _ = win32security.GetTokenInformation(token, win32security.TokenUser)
    sid = win32security.ConvertSidToStringSid(me)
    for security in ("owner", f"O:{sid}G:{sid}D:P(A;;GA;;;{sid})"):
        with SharedMapping.create(unique_name, 4096, security=security) as m:
            found = win32security.GetSecurityInfo(
                m.handle,
                win32security.SE_KERNEL_OBJECT,
                win32security.OWNER_SECURITY_INFORMATION,
            )
            assert found.GetSecurityDescriptorOwner() == me


def test_server_that_checks_the_owner_takes_the_mapping(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """A C server in the way of Pageant: it answers only to its own user's mapping."""
    with SharedMapping.create(unique_name, 4096, security="owner") as m:
        peer = start_peer("mapping_header.exe", "owner", unique_name)
        peer.expect("taken")
        assert m.read(6) == b"answer"
        assert peer.finish() == 0  # or it still holds the name
    everyone = "O:WDG:WDD:(A;;GA;;;WD)"
    with SharedMapping.create(unique_name, 4096, security=everyone) as m:
        peer = start_peer("mapping_header.exe", "owner", unique_name)
        peer.expect("refused")
        assert m.read(6) == bytes(6)


def test_bad_security_is_refused() -> None:
    """Neither SDDL nor "owner": an error, and nothing is made."""
    with pytest.raises(OSError, match="nonsense"):
        SharedMapping.create(None, 16, security="nonsense")
    with pytest.raises(TypeError, match="SDDL"):
        SharedMapping.create(None, 16, security=5)  # type: ignore[arg-type]


# ------------------------------------------------------------------- header


def test_header_tells_the_exact_size(unique_name: str) -> None:
    """With a header both sides know the size to the byte, and who made it."""
    with SharedMapping.create(unique_name, 1000, header=True) as a:
        assert (a.size, a.owner_pid, a.layout_version) == (1000, os.getpid(), 1)
        assert a.mapped_size == 4096 - 64
        with SharedMapping.open(unique_name, header=True) as b:
            assert (b.size, b.size_is_exact, b.owner_pid) == (1000, True, os.getpid())
            a.write(b"xyz", 997)
            assert b.read(3, 997) == b"xyz"
        with SharedMapping.open(unique_name, header=True, offset=997) as b:
            assert (b.size, b.offset, bytes(b)) == (3, 997, b"xyz")
        with SharedMapping.create(unique_name, 10, header=True, exist_ok=True) as b:
            assert (b.size, b.created) == (10, False)
        for offset, size in ((1001, None), (999, 2), (0, 1001)):
            with pytest.raises(ValueError, match="leave the 1000 bytes"):
                SharedMapping.open(unique_name, header=True, offset=offset, size=size)
        with a.view(998) as view:
            assert (view.size, view.offset, bytes(view)) == (2, 998, b"yz")
        for offset in (1000, 1001):
            with pytest.raises(ValueError, match="leave the 1000 bytes"):
                a.view(offset)


def test_header_bytes_are_as_documented(unique_name: str) -> None:
    """The layout of include/winipc.h, byte by byte."""
    with (
        SharedMapping.create(unique_name, 1000, header=True),
        SharedMapping.open(unique_name) as raw,
    ):
        fields = struct.unpack_from("<4sHHQIIQ32s", raw)
    assert fields[:6] == (b"WPIM", 1, 64, 1000, os.getpid(), 0)
    assert fields[7] == bytes(32)
    seconds = fields[6] / 1e7 - 11644473600
    assert abs(seconds - time.time()) < 60


def test_header_is_read_by_a_c_program(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """include/winipc.h, compiled: size, version, owner, and the bytes behind."""
    with SharedMapping.create(unique_name, 12, header=True) as m:
        m[:] = b"from Python!"
        peer = start_peer("mapping_header.exe", "open", unique_name)
        peer.expect(f"version 1 size 12 pid {os.getpid()}")
        peer.expect("from Python!")
        assert peer.finish() == 0
        assert bytes(m) == b"from PythonC"
    with SharedMapping.create(unique_name, 4096) as m:
        m.write(struct.pack("<4sHHQ", b"WPIM", 1, 64, 4033))
        start_peer("mapping_header.exe", "open", unique_name).expect(
            "refused: a size that cannot be"
        )


def test_header_is_written_by_a_c_program(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """The other way: a C program creates, and we know the exact size."""
    peer = start_peer("mapping_header.exe", "create", unique_name, 5)
    with SharedMapping.wait(unique_name, DEADLINE, header=True) as m:
        peer.expect("ready")
        assert (m.size, m.owner_pid, m.layout_version) == (5, peer.pid, 1)
        m[:] = b"to C!"
        peer.say("look")
        peer.expect("to C!")


def test_mapping_without_header_is_refused(unique_name: str) -> None:
    """header=True on a mapping that has none is an error, after a short wait."""
    with SharedMapping.create(unique_name, 1000) as m:
        with pytest.raises(ValueError, match="no header yet"):
            SharedMapping.open(unique_name, header=True)
        m.write(b"ABCD")
        with pytest.raises(ValueError, match="no winipc header"):
            SharedMapping.open(unique_name, header=True)


@given(
    magic=st.sampled_from([b"WPIM", b"wpim"]),
    version=st.sampled_from([0, 1, 1, 1, 2, 0xFFFF]),
    header_size=st.one_of(st.just(64), st.integers(0, 0xFFFF)),
    size=st.one_of(st.integers(0, 5000), st.integers(0, 2**64 - 1)),
    rest=st.binary(min_size=48, max_size=48),
)
def test_hostile_headers_are_errors_or_fit(
    magic: bytes, version: int, header_size: int, size: int, rest: bytes
) -> None:
    """Whatever a peer writes there: what opens lies inside the mapping."""
    name = f"winipc-test-{uuid.uuid4().hex}"
    with SharedMapping.create(name, 4096) as raw:
        raw.write(magic + struct.pack("<HHQ", version, header_size, size) + rest)
        try:
            opened = SharedMapping.open(name, header=True)
        except ValueError:
            return
        with opened:
            assert (magic, version) == (b"WPIM", 1)
            assert header_size >= 64
            assert header_size + opened.size <= 4096
            assert opened.size == size
            opened.read()
            opened[-1] = 7
            assert raw[header_size + size - 1] == 7


@pytest.mark.parametrize(
    "options",
    [
        {"file": "x"},
        {"access": "read"},
        {"access": "copy"},
        {"offset": 1},
        {"reserve": True},
    ],
    ids=str,
)
def test_header_does_not_go_with_everything(options: dict[str, Any]) -> None:
    """Each combination that makes no sense says why, before anything is made."""
    with pytest.raises(ValueError, match=r"header|access"):
        SharedMapping.create(None, 100, header=True, **options)


# ------------------------------------------------------- reserve, large pages


def test_reserved_memory_grows_by_commit(unique_name: str) -> None:
    """Only what is committed can be used, in every process."""
    with SharedMapping.create(unique_name, 1 << 20, reserve=True) as a:
        assert (len(a), a.reserved, bytes(a)) == (0, 1 << 20, b"")
        with pytest.raises(ValueError, match="fit"):
            a.write(b"x")
        assert a.commit(5000) == 5000
        assert (a.size, a.mapped_size) == (5000, 8192)
        view = memoryview(a)
        a.write(b"kept", 4996)
        with SharedMapping.open(unique_name) as b:
            assert (b.size, b.reserved) == (8192, 1 << 20)
            assert a.commit(100_000) == 100_000
            assert len(view) == 5000
            assert b.commit() == 102_400
            b[99_999] = 3
        assert a[99_999] == 3
        assert a.read(4, 4996) == b"kept"
        assert a.commit(1) == 100_000
        with pytest.raises(ValueError, match="1048576 are reserved"):
            a.commit((1 << 20) + 1)
        with pytest.raises(ValueError, match="reserved"):
            a.commit(-1)
        view.release()


def test_more_than_4_gib_may_be_reserved(unique_name: str) -> None:
    """Sizes and offsets of more than 32 bits, at no cost."""
    size, offset = 5 << 30, (4 << 30) + 65536
    with (
        SharedMapping.create(unique_name, size, reserve=True) as m,
        SharedMapping.open(unique_name, offset=offset) as end,
    ):
        assert m.reserved == size
        assert end.reserved == size - offset


def test_commit_needs_write_access(unique_name: str) -> None:
    """A reader sees what others commit and cannot commit itself."""
    with (
        SharedMapping.create(unique_name, 1 << 20, reserve=True) as a,
        SharedMapping.open(unique_name, access="read") as b,
    ):
        with pytest.raises(TypeError, match="readwrite"):
            b.commit(10)
        a.commit(4096)
        assert b.commit() == 4096


def test_large_pages_work_or_say_what_is_missing() -> None:
    """Without the privilege the error is 1314 and names it."""
    error = None
    try:
        with SharedMapping.create(None, 10, large_pages=True) as m:
            m[9] = 1
            assert m.size == 10
    except OSError as caught:
        error = caught
    if error is not None:
        assert error.winerror == 1314
        assert "Lock pages in memory" in error.__notes__[0]
    for options in ({"reserve": True}, {"file": "x"}):
        with pytest.raises(ValueError, match=r"large.pages"):
            SharedMapping.create(None, 10, large_pages=True, **options)  # type: ignore[arg-type]


# ----------------------------------------------------------- files that fail


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
            lambda: m.get_i64(8192),
            lambda: m.set_f32(8192, 1.0),
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


# --------------------------------------------------------------- two processes


def test_the_creator_may_end_first(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """Nothing is lost while anyone holds it; after the last one the name is free."""
    peer = start_peer("mapping_peer.py", "create", unique_name, 1000, "kept", "header")
    with SharedMapping.wait(unique_name, DEADLINE, header=True) as m:
        peer.expect("ready")
        assert (m.size, m.owner_pid, m.created) == (1000, peer.pid, False)
        peer.kill()
        assert m.read(4) == b"kept"
        with SharedMapping.open(unique_name, header=True) as again:
            assert again.read(4) == b"kept"
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)


def test_handle_travels_to_another_process(start_peer: Callable[..., Peer]) -> None:
    """An unnamed mapping is given by duplicate_to, and outlives its maker's view."""
    peer = start_peer("mapping_peer.py", "handle", 14)
    peer.expect("ready")
    with SharedMapping.create(None, 4096) as m:
        m.write(b"from the maker")
        peer.say(str(m.duplicate_to(peer.pid)))
        peer.expect("from the maker")
        peer.expect("written")
        assert m.read(13) == b"from the peer"
        m.write(b"before the end")
    peer.say("look")
    peer.expect("before the en")
    assert peer.finish() == 0


def test_duplicate_to_nobody_says_so() -> None:
    """A process id that is not in use, and one that is not a process id."""
    with SharedMapping.create(None, 16) as m:
        with pytest.raises(ProcessLookupError) as caught:
            m.duplicate_to(0x7FFFFFF0)
        assert caught.value.filename == "pid 2147483632"
        with pytest.raises(OverflowError):
            m.duplicate_to(-1)
        with pytest.raises(OverflowError):
            m.duplicate_to(2**32)


def test_writer_killed_in_the_middle_leaves_usable_memory(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """Bytes are old or new, and the mapping works on."""
    size = 1 << 22
    with SharedMapping.create(unique_name, size) as m:
        peer = start_peer("mapping_peer.py", "hammer", unique_name)
        peer.expect("ready")
        peer.kill()
        assert m.read() == bytes(range(256)) * (size // 256)
        m.write(b"on")
        assert m.read(2) == b"on"


def test_creator_killed_before_its_header(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """A mapping whose maker died half way: an error in time, then a free name."""
    peer = start_peer("mapping_peer.py", "unmapped", unique_name)
    peer.expect("ready")
    with SharedMapping.open(unique_name) as held:
        peer.kill()
        with pytest.raises(ValueError, match="no header yet"):
            SharedMapping.open(unique_name, header=True)
        assert held.read(64) == bytes(64)
    with SharedMapping.create(unique_name, 100, header=True) as m:
        assert m.created


# ---------------------------------------------------------------------- pickle


def test_named_mapping_is_pickled_by_name(unique_name: str) -> None:
    """The copy is another view of the same memory, of the same part."""
    with SharedMapping.create(unique_name, 1000, header=True) as m:
        m.write(b"0123456789")
        with pickle.loads(pickle.dumps(m)) as other:
            assert (other.size, other.created, other.owner_pid) == (
                1000,
                False,
                os.getpid(),
            )
            other.write(b"new")
        assert m.read(4) == b"new3"
        with (
            SharedMapping.open(
                unique_name, access="read", header=True, offset=2, size=3
            ) as part,
            pickle.loads(pickle.dumps(part)) as other,
        ):
            assert (bytes(other), other.access) == (b"w34", "read")
        gone = pickle.dumps(m)
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(m)
    with pytest.raises(FileNotFoundError):
        pickle.loads(gone)


def test_unnamed_mapping_is_not_pickled_to_nowhere() -> None:
    """Outside multiprocessing a handle means nothing."""
    with SharedMapping.create(None, 16) as m:
        with pytest.raises(TypeError, match="duplicate_to"):
            pickle.dumps(m)
        with pytest.raises(TypeError), m.view() as view:
            pickle.dumps(view)


@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
def test_mapping_travels_through_multiprocessing(
    unique_name: str, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spawned process, a pool and an executor all see the same memory."""
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("peers")))
    mapping_mp = importlib.import_module("mapping_mp")
    context = multiprocessing.get_context("spawn")
    with SharedMapping.create(unique_name if named else None, 100) as m:
        m.write(b"here", 8)
        process = context.Process(target=mapping_mp.write_pid, args=(m, 0))
        process.start()
        pid = process.pid
        process.join(DEADLINE)
        assert process.exitcode == 0
        assert m.get_u32(0) == pid
        process.close()
        with context.Pool(1) as pool:
            pid = pool.apply_async(mapping_mp.write_pid, (m, 4)).get(DEADLINE)
            assert m.get_u32(4) == pid
            pool.close()
            pool.join()
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            told = executor.submit(mapping_mp.describe, m).result(DEADLINE)
        assert told["pid"] != os.getpid()
        assert (told["name"], told["size"]) == (m.name, 100)
        assert (told["exact"], told["created"]) == (True, False)
        assert told["start"] == m.read(4)


# ------------------------------------------------------------- arrays and views


def test_arrays_are_the_memory_itself() -> None:
    """NumPy without copies, both ways, and the mapping stays open meanwhile."""
    numpy = pytest.importorskip("numpy")
    with SharedMapping.create(None, 1000) as m:
        a = m.array("<u4", (3, 2), offset=4)
        a[2, 1] = 0xAABBCCDD
        assert m.get_u32(4 + 5 * 4) == 0xAABBCCDD
        m.set_u32(4, 17)
        assert a[0, 0] == 17
        assert not a.flags.owndata
        with pytest.raises(BufferError):
            m.close()
        assert m.array().shape == (1000,)
        assert m.array("f8", offset=3).shape == (124,)
        assert m.array("u2", 5).shape == (5,)
        assert numpy.frombuffer(m, "u1").size == 1000
        with m.view(400, 16) as view:
            view.array("i8")[1] = -1
            assert m.get_i64(408) == -1
        assert m.array("u4", offset=999).shape == (0,)
        bad = ((1001, 0), ((2, 501), 0), (1, 1000), (None, 1001), ((-1, -1), 0))
        for shape, offset in bad:
            with pytest.raises(ValueError, match=r"offset|fit|negative"):
                m.array("u1", shape, offset)
        with pytest.raises(TypeError, match="Python objects"):
            m.array("O")
        del a
        gc.collect()


def test_array_of_read_only_memory_is_read_only(unique_name: str) -> None:
    """No way around access="read"."""
    pytest.importorskip("numpy")
    with (
        SharedMapping.create(unique_name, 100),
        SharedMapping.open(unique_name, access="read") as r,
    ):
        a = r.array("u1")
        assert not a.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            a.flags.writeable = True
        del a
        gc.collect()


# ------------------------------------------------------------ against a model


class MappingModel(RuleBasedStateMachine):
    """A mapping, a view of it and a second mapping against one bytearray."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 70_000
        name = f"winipc-test-{uuid.uuid4().hex}"
        self.model = bytearray(self.size)
        self.mapping = SharedMapping.create(name, self.size)
        self.other = SharedMapping.open(name, size=self.size)
        self.start = 65_000
        self.view = self.mapping.view(self.start, self.size - self.start)

    def teardown(self) -> None:
        assert bytes(self.mapping) == bytes(self.model)
        assert bytes(self.other) == bytes(self.model)
        self.view.close()
        self.mapping.close()
        self.other.close()

    offsets = st.one_of(
        st.integers(-5, 5), st.integers(64_990, 70_010), st.integers(-(2**65), 2**65)
    )
    sizes = st.one_of(st.integers(-2, 20), st.integers(4000, 5000))

    @rule(data=st.binary(max_size=20), offset=offsets, repeat=st.sampled_from([1, 500]))
    def write(self, data: bytes, offset: int, repeat: int) -> None:
        """Inside it is written, elsewhere an error, and nothing is."""
        data *= repeat
        try:
            assert self.mapping.write(data, offset) == len(data)
        except (ValueError, OverflowError):
            assert not 0 <= offset <= self.size - len(data)
        else:
            assert 0 <= offset <= self.size - len(data)
            self.model[offset : offset + len(data)] = data

    @rule(size=sizes, offset=offsets)
    def read(self, size: int, offset: int) -> None:
        """The same bytes by the other mapping and, where it reaches, by the view."""
        whole = max(self.size - offset, 0) if size == -1 else size
        inside = 0 <= offset <= self.size - whole and whole >= 0
        try:
            assert self.other.read(size, offset) == self.model[offset : offset + whole]
        except (ValueError, OverflowError):
            assert not inside
        else:
            assert inside
        if inside and offset >= self.start:
            found = self.view.read(whole, offset - self.start)
            assert found == self.model[offset : offset + whole]

    @rule(key=st.slices(70_000))
    def get_slice(self, key: slice) -> None:
        """Slices of any step."""
        assert self.mapping[key] == bytes(self.model[key])

    @rule(key=st.slices(70_000), fill=st.integers(0, 255), extra=st.integers(-1, 1))
    def set_slice(self, key: slice, fill: int, extra: int) -> None:
        """A slice takes exactly its length."""
        length = len(range(*key.indices(self.size)))
        data = bytes([fill]) * max(length + extra, 0)
        try:
            self.mapping[key] = data
        except ValueError:
            assert len(data) != length
        else:
            assert len(data) == length
            self.model[key] = data

    @rule(index=st.integers(-70_003, 70_003), value=st.integers(-1, 256))
    def set_item(self, index: int, value: int) -> None:
        """Indexes and bytes in and out of range."""
        try:
            self.mapping[index] = value
        except (IndexError, ValueError):
            assert not (-self.size <= index < self.size and 0 <= value <= 255)
        else:
            self.model[index] = value
            assert self.other[index] == value

    @rule(sub=st.binary(max_size=3), start=offsets, end=st.none() | offsets)
    def find(self, sub: bytes, start: int, end: int | None) -> None:
        """find() cuts its bounds as bytes.find() does."""
        if abs(start) < 2**63 and abs(end or 0) < 2**63:
            expected = self.model.find(sub, start, end)
            assert self.mapping.find(sub, start, end) == expected

    @rule(offset=offsets, value=st.integers(-(2**65), 2**65))
    def numbers(self, offset: int, value: int) -> None:
        """A 64-bit number at any offset."""
        try:
            self.mapping.set_i64(offset, value)
        except (ValueError, OverflowError):
            assert not (0 <= offset <= self.size - 8 and -(2**63) <= value < 2**63)
        else:
            self.model[offset : offset + 8] = value.to_bytes(8, "little", signed=True)
            assert self.other.get_i64(offset) == value


TestMappingModel = MappingModel.TestCase
TestMappingModel.settings = settings(max_examples=40, stateful_step_count=30)


@given(size=st.integers(-3, 300_000), offset=st.integers(-3, 300_000))
def test_views_fit_or_are_refused(size: int, offset: int) -> None:
    """Any offset and size: a view inside, or an error."""
    with SharedMapping.create(None, 200_000) as m:
        try:
            view = m.view(offset, size)
        except ValueError:
            # Whole pages are there, so the last 192 bytes of the page are as well.
            assert size < 0 or offset < 0 or offset + max(size, 1) > 200_704
            return
        with view:
            assert offset >= 0
            assert offset + view.size <= 200_704
            assert view.size == size or size == 0
            view[-1] = 5
            assert view[-1] == 5


# ----------------------------------------------------------------------- leaks


@pytest.mark.slow
def test_ten_thousand_rounds_leave_nothing(unique_name: str, tmp_path: Path) -> None:
    """Handles, views, memory and type references are where they were."""
    path = tmp_path / "f"
    path.write_bytes(bytes(5000))

    def rounds(count: int) -> None:
        for _ in range(count):
            with SharedMapping.create(unique_name, 70_000, header=True) as m:
                m.write(b"x", 69_999)
                with SharedMapping.open(unique_name, header=True) as o:
                    assert o[69_999] == 120
                with m.view(66_000) as view, memoryview(view) as buffer:
                    assert buffer[3999] == 120
                with pytest.raises(FileExistsError):
                    SharedMapping.create(unique_name, 70_000)
        with pytest.raises(FileNotFoundError):
            SharedMapping.open(unique_name)
        with SharedMapping.create(None, file=path) as m:
            m.flush()

    rounds(50)
    gc.collect()
    before = handle_count(), sys.getrefcount(SharedMapping), mapped_bytes()
    for _ in range(20):
        rounds(500)
    gc.collect()
    after = handle_count(), sys.getrefcount(SharedMapping), mapped_bytes()
    assert after[0] - before[0] <= 3
    assert after[1] - before[1] <= 3
    assert after[2] - before[2] < 32 << 20  # one leaked view each would be 640 MiB


def test_failed_calls_leave_nothing(unique_name: str, tmp_path: Path) -> None:
    """Every way to fail half way gives back what it had taken."""
    path = tmp_path / "f"
    path.write_bytes(bytes(100))
    with (
        SharedMapping.create(unique_name, 4096) as m,
        SharedMapping.create(f"{unique_name}f", file=path),
        Event.create(f"{unique_name}e"),
    ):
        failing: list[Callable[[], object]] = [
            lambda: SharedMapping.create(unique_name, 10),
            lambda: SharedMapping.create(unique_name, 10_000, exist_ok=True),
            lambda: SharedMapping.create(f"{unique_name}e", 10),
            lambda: SharedMapping.create(None, 200, file=path, access="read"),
            lambda: SharedMapping.create(None, 10, security="nonsense"),
            lambda: SharedMapping.create(unique_name, file=path),
            lambda: SharedMapping.open(unique_name, size=10_000),
            lambda: SharedMapping.open(unique_name, header=True),
            lambda: SharedMapping.open(f"{unique_name}f", size=101),
            lambda: m.view(5000),
            lambda: m.duplicate_to(0x7FFFFFF0),
        ]
        m.write(b"ABCD")  # no header, and no waiting for one

        def fail(count: int) -> None:
            for _ in range(count):
                for attempt in failing:
                    with pytest.raises((OSError, ValueError)):
                        attempt()

        fail(3)
        gc.collect()
        before = handle_count(), mapped_bytes()
        fail(100)
        gc.collect()
        assert handle_count() - before[0] <= 3
        assert mapped_bytes() - before[1] < 100 * 4096  # one view each
    path.unlink()  # nobody holds it


def mapped_bytes() -> int:
    """How much address space of this process is taken by views of sections."""
    with RemoteProcess.open(os.getpid()) as process:
        return sum(
            region.size
            for region in process.regions()
            if region.type == MemoryType.MAPPED
        )


@pytest.mark.parametrize("by_view", [False, True])
def test_a_buffer_in_the_same_garbage_keeps_the_mapping(by_view: bool) -> None:
    """A cycle with a memoryview: finalisers still read it, and then all is closed."""
    seen = []

    class Reader:
        """Reads what it holds when it goes."""

        def __init__(self, memory: SharedMapping) -> None:
            self.cycle = self
            self.view = memoryview(memory.view(0, 4096) if by_view else memory)

        def __del__(self) -> None:
            seen.append(bytes(self.view[:3]))

    name = f"winipc-test-{uuid.uuid4()}"
    memory = SharedMapping.create(name, 4096)
    memory.write(b"abc")
    held = sys.getrefcount(name)
    reader = Reader(memory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del memory, reader
        gc.collect()
    assert seen == [b"abc"]
    assert sys.getrefcount(name) == held - 1
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(name)


def test_a_handle_that_cannot_be_used_is_closed() -> None:
    """What arrives in a pickle and maps nothing does not leak."""
    with SharedMapping.create(None, 4096) as m:
        handle = m.duplicate_to(os.getpid())
        with pytest.raises(ValueError, match="leave"):
            transfer._adopt(SharedMapping, handle, {"size": 1 << 30})
        with pytest.raises(OSError):
            _core._close_handle(handle)
