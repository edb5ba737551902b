"""SharedMapping: create, open, map, read, write and close."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from winipc import MappingView, SharedMapping


@pytest.mark.smoke
def test_two_mappings_of_one_name_share_bytes(unique_name: str) -> None:
    """What one writes, the other reads; `created` tells them apart."""
    with SharedMapping.create(unique_name, 4096) as a:
        with SharedMapping.open(unique_name) as b:
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
