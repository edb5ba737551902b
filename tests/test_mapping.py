"""SharedMapping: create, open, map, read, write and close."""

from __future__ import annotations

import gc
import os
import struct
import subprocess
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE
from hypothesis import given
from hypothesis import strategies as st

from winipc import Event, MappingView, SharedMapping


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


class LinuxFile:
    """A file that Linux can cut short while Wine has it mapped."""

    def __init__(self, name: str) -> None:
        self.path = Path("Z:/dev/shm", name)
        self.linux_path = f"/dev/shm/{name}"

    def cut(self, size: int) -> None:
        """Set the file's size behind the back of Wine, which would refuse to."""
        subprocess.run(
            [
                "start.exe",
                "/unix",
                "/usr/bin/truncate",
                "-s",
                str(size),
                self.linux_path,
            ],
            check=True,
            timeout=DEADLINE,
        )
        deadline = time.monotonic() + DEADLINE
        while self.path.stat().st_size != size:  # start.exe does not wait for it
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def linux_file(unique_name: str) -> Iterator[LinuxFile]:
    """The file, which is made by the test and deleted after it."""
    if not Path("Z:/dev/shm").exists():
        pytest.skip("only under Wine is there another system to cut a file short")
    file = LinuxFile(unique_name)
    yield file
    file.path.unlink(missing_ok=True)


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
