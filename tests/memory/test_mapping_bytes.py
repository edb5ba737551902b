"""The bytes of a SharedMapping: items, slices, numbers, arrays, and a model."""

from __future__ import annotations

import ctypes
import gc
import sys
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from winipc import Layout, SharedMapping

# ---------------------------------------------------------------------------- the bytes


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
    [(11, 0), (1, 10), (-2, 0), (0, 11), (1, -1), (sys.maxsize // 2 + 1,) * 2],
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
        for offset in (0, 3, 32 - width):
            for value in (low, high, 1):
                m.set(offset, kind, value)
                assert m.get(offset, kind) == value
                raw = m.read(width, offset)
                assert int.from_bytes(raw, "little", signed=low < 0) == value
        for value in (low - 1, high + 1):
            with pytest.raises(OverflowError):
                m.set(0, kind, value)
        for offset in (-1, 33 - width):
            with pytest.raises(ValueError, match=kind):
                m.get(offset, kind)
            with pytest.raises(ValueError, match=kind):
                m.set(offset, kind, 1)
        with pytest.raises(TypeError):
            m.set(0, kind, 1.5)


def test_floats() -> None:
    """Floats go through at both widths; a double too large for 32 bits is told."""
    with SharedMapping.create(None, 16) as m:
        m.set(0, "f64", 1e300)
        m.set(8, "f32", 0.5)
        assert (m.get(0, "f64"), m.get(8, "f32")) == (1e300, 0.5)
        m.set(8, "f32", float("inf"))
        assert m.get(8, "f32") == float("inf")
        with pytest.raises(OverflowError):
            m.set(8, "f32", 1e300)


# --------------------------------------------------------------------- arrays and views


def test_arrays_are_the_memory_itself() -> None:
    """NumPy without copies, both ways, and the mapping stays open meanwhile."""
    numpy = pytest.importorskip("numpy")
    with SharedMapping.create(None, 1000) as m:
        a = m.array("<u4", (3, 2), offset=4)
        a[2, 1] = 0xAABBCCDD
        assert m.get(4 + 5 * 4, "u32") == 0xAABBCCDD
        m.set(4, "u32", 17)
        assert a[0, 0] == 17
        assert not a.flags.owndata
        with pytest.raises(BufferError):
            m.close()
        assert m.array().shape == (1000,)
        assert m.array("f8", offset=3).shape == (124,)
        assert m.array("u2", 5).shape == (5,)
        assert numpy.frombuffer(m, "u1").size == 1000
        with m.view(400, 16) as view:
            view.array("<i8")[1] = -1
            assert m.get(408, "i64") == -1
        assert m.array("u4", offset=999).shape == (0,)
        bad = ((1001, 0), ((2, 501), 0), (1, 1000), (None, 1001), ((-1, -1), 0))
        for shape, offset in bad:
            with pytest.raises(ValueError, match=r"offset|fit|negative"):
                m.array("u1", shape, offset)
        with pytest.raises(TypeError, match="Python objects"):
            m.array("O")
        del a
        gc.collect()


def test_ctypes_over_read_only_memory_says_what_to_use(unique_name: str) -> None:
    """from_buffer wants writable memory; both ways round it are named, and work."""

    class Pair(ctypes.Structure):
        _fields_ = [("a", ctypes.c_int32), ("b", ctypes.c_int32)]

    with (
        SharedMapping.create(unique_name, 100) as m,
        SharedMapping.open(unique_name, access="read") as r,
    ):
        m.struct_view(Pair).b = 7
        with pytest.raises(TypeError) as caught:
            r.struct_view(Pair)
        (hint,) = caught.value.__notes__
        assert "Pair.from_buffer_copy(mapping)" in hint
        assert "Layout.from_ctypes(Pair)" in hint
        assert Pair.from_buffer_copy(r).b == 7
        assert r.struct_view(Layout.from_ctypes(Pair)).b == 7


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


# ---------------------------------------------------------------------- against a model


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
        if abs(start) <= sys.maxsize and abs(end or 0) <= sys.maxsize:
            expected = self.model.find(sub, start, end)
            assert self.mapping.find(sub, start, end) == expected

    @rule(offset=offsets, value=st.integers(-(2**65), 2**65))
    def numbers(self, offset: int, value: int) -> None:
        """A 64-bit number at any offset."""
        try:
            self.mapping.set(offset, "i64", value)
        except (ValueError, OverflowError):
            assert not (0 <= offset <= self.size - 8 and -(2**63) <= value < 2**63)
        else:
            self.model[offset : offset + 8] = value.to_bytes(8, "little", signed=True)
            assert self.other.get(offset, "i64") == value


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
