"""Record: the values of a structure's bytes, and the bytes of values."""

from __future__ import annotations

import ctypes
import pickle
import re
import struct
import traceback
from pathlib import Path
from typing import Any

import pytest

from winipc import Layout, Record, SharedMapping, StructView, Text
from winipc.memory.layout import Field

POINT = Layout.of("point", "x:h y:h")
SHIP = Layout.of(
    "ship",
    {
        "id": "I",
        "name": ("c", 8),
        "rows": ("c", (2, 4)),
        "at": POINT,
        "path": (POINT, 2),
        "grid": ("f", (2, 3)),
        "on": "?",
        "wide": ("u", 4),
    },
)
VALUES = {
    "id": 7,
    "name": "alpha",
    "rows": ("ab", "cdef"),
    "at": {"x": 1, "y": -2},
    "path": ({"x": 3, "y": 4}, {"x": 5, "y": 6}),
    "grid": ((1.0, 2.0, 3.0), (4.0, 5.0, 6.5)),
    "on": True,
    "wide": "Zo\xeb",
}


def test_values_come_back_from_bytes() -> None:
    """As attributes, by name, and as a dict."""
    data = SHIP.pack(**VALUES)
    assert len(data) == SHIP.size
    record = SHIP.unpack(data)
    assert record.as_dict() == VALUES
    assert (record.id, record["name"], record.path[1].y) == (7, "alpha", 6)
    assert "grid" in dir(record)
    assert bytes(record) == data
    assert repr(record.at) == "point(x=1, y=-2)"
    assert repr(record).startswith("ship(id=7, name='alpha', rows=('ab', 'cdef'), at=")


def test_a_repr_leaves_out_the_middle_of_what_is_long() -> None:
    """Arrays of any dimensions, and texts."""
    layout = Layout.of("big", "numbers:10000i text:9000s")
    record = layout.unpack(layout.pack(numbers=range(10_000), text="ab" * 4_000))
    assert repr(record).startswith(
        "big(numbers=(0, 1, 2, ..., 9997, 9998, 9999), text='abab"
    )
    assert len(repr(record)) < 300
    grid = Layout.of("grid", {"rows": ("i", (100, 100))})
    assert repr(grid.unpack(bytes(grid.size))).count("0") == 36


def test_bytes_may_be_anywhere_in_a_buffer() -> None:
    """Behind others, in front of others, and in every buffer."""
    data = b"..." + POINT.pack(x=1, y=2) + b"."
    for buffer in (data, bytearray(data), memoryview(data), (ctypes.c_char * 8)(*data)):
        assert POINT.unpack(buffer, 3).as_dict() == {"x": 1, "y": 2}
        for offset in (-1, 5, 8, 9):
            with pytest.raises(ValueError, match="point needs 4 bytes at offset"):
                POINT.unpack(buffer, offset)


def test_bytes_of_another_length() -> None:
    """Fewer are an error; what follows is not kept."""
    data = POINT.pack(x=1, y=2)
    assert bytes(POINT.unpack(data + b"...")) == data
    for short in (b"", data[:-1]):
        with pytest.raises(ValueError, match="point needs 4 bytes at offset 0"):
            POINT.unpack(short)


def test_a_record_does_not_change() -> None:
    """Another one is made from it; it is a value that can be compared and kept."""
    data = bytearray(SHIP.pack(**VALUES))
    record = SHIP.unpack(data)
    data[:] = bytes(len(data))
    assert record.id == 7
    with pytest.raises(AttributeError, match=r"layout\.pack\(record, id=\.\.\.\)"):
        record.id = 8
    other = SHIP.unpack(SHIP.pack(record, id=8, at={"y": 9}))
    assert other.as_dict() == VALUES | {"id": 8, "at": {"x": 1, "y": 9}}
    assert other != record
    assert SHIP.unpack(SHIP.pack(other, id=7, at=record.at)) == record
    assert len({record, other, pickle.loads(pickle.dumps(record))}) == 2
    assert pickle.loads(pickle.dumps(record)).name.raw == b"alpha\0\0\0"
    assert record != VALUES


def test_padding_does_not_count() -> None:
    """It is among the bytes, and no value."""
    layout = Layout.of("s", "a:b b:i")
    full = layout.unpack(b"\1" * 8)
    assert (
        full
        == layout.unpack(layout.pack(full))
        == layout.unpack(layout.pack(a=1, b=0x01010101))
    )
    assert bytes(full) == layout.pack(full) == b"\1" * 8
    assert hash(full) == hash(layout.unpack(layout.pack(a=1, b=0x01010101)))


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"id": -1}, ValueError, "id: "),
        ({"id": "1"}, TypeError, "id: u32 is a whole number, not '1'$"),
        ({"id": 1.5}, TypeError, "id: u32 is a whole number, not 1.5$"),
        ({"id": -1}, ValueError, "id: -1 does not fit in u32$"),
        ({"grid": ((1, 2, 3), ("a", 5, 6))}, TypeError, "grid: .* not 'a'$"),
        ({"grid": ((1, 2, 3), (1e99, 5, 6))}, ValueError, "grid: .* not fit"),
        ({"grid": 5}, TypeError, "grid: 2 elements are wanted, not 5$"),
        ({"name": "123456789"}, ValueError, "name: 9 bytes do not fit in 8"),
        ({"name": 3}, TypeError, "name: text is a str or bytes, not 3$"),
        ({"rows": ("ab",)}, ValueError, "rows: 2 elements"),
        ({"rows": "ab"}, ValueError, "rows: 2 elements"),
        ({"rows": ("ab", "cdefg")}, ValueError, "rows: 5 bytes"),
        ({"wide": "abcde"}, ValueError, "wide: 10 bytes"),
        ({"at": {"x": 2**15}}, ValueError, "at.x: "),
        ({"path": ({}, {"y": 2**15})}, ValueError, r"path\[1\].y: "),
        ({"at": 5}, TypeError, "at: not a record or a mapping of fields: 5"),
        ({"path": ({}, None)}, TypeError, r"path\[1\]: not a record"),
        ({"path": ({},)}, ValueError, "path: 2 elements"),
        ({"at": (1,)}, ValueError, r"at: 2 values are wanted, not \(1,\)"),
        ({"path": ((1, 2), (3, 2**15))}, ValueError, r"path\[1\].y: "),
        ({"grid": ((1, 2, 3), (4, 5))}, ValueError, "grid: 3 elements"),
        ({"z": 1}, LookupError, "ship has no field 'z'$"),
        ({"at": {"z": 1}}, LookupError, "point has no field 'z'"),
        (
            {"namee": "x"},
            LookupError,
            r"ship has no field 'namee' \(did you mean name\?",
        ),
    ],
)
def test_errors_name_the_field(
    fields: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        SHIP.pack(**fields)


def test_a_structure_is_made_of_all_its_values() -> None:
    record = SHIP.unpack(SHIP.pack(at=(1, -2), path=[[3, 4], (5, 6)]))
    assert (record.at.x, record.at.y) == (1, -2)
    assert [(one.x, one.y) for one in record.path] == [(3, 4), (5, 6)]
    assert POINT.pack((7, 8)) == POINT.pack(x=7, y=8)


def test_what_else_is_no_base() -> None:
    for base in (5, SHIP.pack()):
        with pytest.raises(TypeError, match=r"^ship: not a record or a mapping"):
            SHIP.pack(base)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not iterable"):
        list(SHIP.unpack(SHIP.pack()))


def test_an_encoding_for_each_layout() -> None:
    """None leaves bytes; what is no text comes back as it was."""
    for encoding, text, data in (
        ("utf-8", "Zo\xeb", b"Zo\xc3\xab"),
        ("cp1252", "Zo\xeb", b"Zo\xeb\0"),
    ):
        layout = Layout.of("s", "name:4s", encoding=encoding)
        assert layout.pack(name=text) == data
        assert layout.unpack(data).name == text
    layout = Layout.of("s", "name:4s")
    record = layout.unpack(b"Z\xff\xfe\0")
    assert layout.pack(name=record.name) == b"Z\xff\xfe\0"
    layout = Layout.of("s", "name:2u")  # half a pair of UTF-16
    record = layout.unpack(b"\x3d\xd8Z\0")
    assert layout.pack(name=str(record.name)) == bytes(record)
    layout = Layout.of("s", "name:4s", encoding=None)
    assert layout.unpack(b"ab\0c").as_dict() == {"name": b"ab\0c"}
    assert layout.pack(name=b"ab") == b"ab\0\0"
    with pytest.raises(ValueError, match="utf-16-le is no encoding of text that ends"):
        Layout.of("s", "name:4s", encoding="utf-16-le")
    with pytest.raises(LookupError, match="unknown encoding: nonesuch"):
        Layout.of("s", "name:4s", encoding="nonesuch")


def test_text_equals_its_bytes() -> None:
    """All of them, or those in front of zeros."""
    text = Layout.of("s", "name:4s").unpack(b"ab\0c").name
    assert isinstance(text, Text)
    assert (text, text.raw) == ("ab", b"ab\0c")
    assert text == b"ab\0c"
    assert text != b"ab"
    assert {text: 1}["ab"] == 1
    assert Layout.of("s", "name:4s").unpack(b"RIFF").name == b"RIFF"
    assert Layout.of("s", "name:4s").unpack(b"ab\0\0").name == b"ab"
    assert Text("x") != 1


def test_a_field_may_be_called_like_a_method() -> None:
    """Then `[]` reaches it."""
    record = Layout.of("s", "as_dict:i").unpack(b"\1\0\0\0")
    assert record["as_dict"] == 1
    assert record.as_dict() == {"as_dict": 1}
    assert not hasattr(record, "other")


def test_layouts_travel_with_their_records() -> None:
    assert isinstance(SHIP.unpack(bytes(SHIP.size)), Record)
    assert pickle.loads(pickle.dumps(SHIP)) == SHIP


NUMBERS = {code: (code,) for code in "bBhHiIlLqQfd"}


@pytest.mark.parametrize("packed", ["", "< "], ids=["aligned", "packed"])
def test_numbers_are_those_of_struct(packed: str, tmp_path: Path) -> None:
    """Every code, of a record, of memory, of a view of it and of a mapped file."""
    text = " ".join(["at:B", *(f"f{code}:{code}" for code in NUMBERS)])
    layout = Layout.of("numbers", packed + text)
    data = bytes((37 * i + 131) % 256 for i in range(layout.size))
    expected = {
        field.name: struct.unpack_from(f"<{field.kind}", data, field.offset)[0]
        for field in layout
    }
    record = layout.unpack(data)
    with (
        SharedMapping.create(None, 4096) as memory,
        SharedMapping.create(None, 4096, file=tmp_path / "pages") as file,
        memory.view(0, 1000) as part,
    ):
        for each in (memory, part, file):
            each.write(data, 3)
            view = StructView(each, layout, 3)
            for field in layout:
                name, value = field.name, expected[field.name]
                assert getattr(record, name) == record[name] == value
                assert getattr(view, name) == view[name] == value
                setattr(view, name, 0)
                assert view[name] == 0
                view[name] = value
            assert each.read(layout.size, 3) == layout.pack(record)
    assert record.as_dict() == expected


PUMP = Layout.of("pump", "before:u8 temps:3i16 name:4s after:u8")
PLANT = Layout.of("plant", {"id": "u8", "pumps": (PUMP, (2, 2)), "main": PUMP})


class Watched(bytearray):
    """Memory that keeps what was written, and where."""

    def read(self, size: int, offset: int) -> bytes:
        return bytes(self[offset : offset + size])

    def write(self, data: Any, offset: int) -> int:
        self.written = offset, bytes(data)
        self[offset : offset + len(data)] = data
        return len(data)


@pytest.mark.parametrize(
    ("path", "value", "data"),
    [
        ("main.after", 7, b"\7"),
        ("main.temps[2]", -2, b"\xfe\xff"),
        ("main.temps", (1, 2, 3), b"\1\0\2\0\3\0"),
        ("main.name", "ab", b"ab\0\0"),
        ("pumps[1][0].temps[0]", 5, b"\5\0"),
        ("pumps[0][1].name", "abcd", b"abcd"),
    ],
)
def test_a_path_leads_to_one_element(path: str, value: object, data: bytes) -> None:
    """A view reads it and writes nothing else; a record reads it, pack sets it."""
    memory = Watched(b"\x55" * (3 + PLANT.size))
    view = StructView(memory, PLANT, 3)
    view[path] = value
    place, written = memory.written
    assert written == data
    assert view[path] == view.as_record()[path] == value
    expected = bytearray(b"\x55" * PLANT.size)
    expected[place - 3 : place - 3 + len(data)] = data
    assert (
        memory[3:]
        == expected
        == PLANT.pack(PLANT.unpack(b"\x55" * PLANT.size), **{path: value})
    )
    by_steps: Any = view
    for name, numbers in re.findall(r"(\w+)((?:\[\d+\])*)", path):
        by_steps = getattr(by_steps, name)
        for number in re.findall(r"\d+", numbers):
            by_steps = by_steps[int(number)]
    assert by_steps == value
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(path)}: "):
        view[path] = 1.5
    assert bytes(memory[3:]) == expected


def test_a_path_may_end_at_a_structure_or_a_row() -> None:
    memory = Watched(PLANT.size)
    view = StructView(memory, PLANT)
    view["pumps[1][1]"].after = 9
    assert view.pumps[1][1].after == view["pumps[1]"][1].after == 9
    view["pumps[1][1].temps"] = (1, 2, 3)
    before = bytes(memory)
    view["pumps[1][1]"] = {"after": 9}  # what it lacks stays
    assert bytes(memory) == before
    view["pumps[0]"] = view.pumps[1]
    assert view["pumps[0][1]"].temps == (1, 2, 3)
    view.main = view["pumps[0][1]"].as_record()
    assert (view.main.temps, view.main.after) == ((1, 2, 3), 9)
    assert PLANT.pack(view, id=5)[1:] == PLANT.pack(view.as_record(), id=5)[1:]
    before = bytes(memory)
    with pytest.raises(ValueError, match=r"^pumps\[1\]\[1\].temps: 3 elements"):
        view["pumps[1][1]"] = {"after": 8, "temps": (1,)}
    with pytest.raises(TypeError, match=r"^main: not a record"):
        view.main = 5
    assert bytes(memory) == before
    assert (
        PLANT["pumps[1][1].temps[2]"].offset
        == PLANT["pumps"].offset + 3 * PUMP.size + 6
    )


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("pumps[2][0].after", r"^pumps\[2\]\[0\].after: plant.pumps has 2 elements"),
        ("main.temps[3]", r"^temps\[3\]: pump.temps has 3 elements"),
        ("pumps.after", r"plant.pumps is an array: pumps\[0\].after$"),
        ("id.after", "plant.id is no structure"),
        ("main.name[0]", r"pump has no field 'name\[0\]'"),
        ("id[0]", r"plant has no field 'id\[0\]'"),
        ("main.temp[0]", r"pump has no field 'temp' \(did you mean temps"),
        ("pumps[-1]", "plant has no field"),
        ("pumps[0", "plant has no field"),
        ("pumps[0][0]]", "plant has no field"),
        ("main.", "pump has no field ''"),
        (".id", "plant has no field ''"),
        ("[0]", "plant has no field ''"),
    ],
)
def test_a_wrong_path_is_told_why(path: str, told: str) -> None:
    view = StructView(Watched(PLANT.size), PLANT)
    with pytest.raises(LookupError, match=told):
        view[path]
    with pytest.raises(LookupError, match=told):
        view[path] = 1


def test_attributes_of_the_classes_are_no_fields() -> None:
    """A field of such a name is there by []."""
    layout = Layout.of("s", "as_dict:i _layout:i as_record:i n:i")
    record = layout.unpack(layout.pack(as_dict=1, _layout=2, as_record=3, n=4))
    assert record.as_dict() == {"as_dict": 1, "_layout": 2, "as_record": 3, "n": 4}
    assert record["as_dict"] == 1
    with SharedMapping.create(None, 64) as memory:
        view = memory.struct_view(layout)
        view["as_record"] = 7
        assert view.as_record()["as_record"] == view["as_record"] == 7
        assert record._layout is view._layout is layout


def test_fields_are_not_deleted_and_records_not_assigned_to() -> None:
    """By attribute or by []; and other names are an AttributeError or a LookupError."""
    record = POINT.unpack(POINT.pack())
    with SharedMapping.create(None, 64) as memory:
        view: Any = memory.struct_view(POINT)
        for each in (record, view):
            with pytest.raises(TypeError, match="keeps its fields"):
                del each.x
            with pytest.raises(TypeError, match="keeps its fields"):
                del each["x"]
            with pytest.raises(AttributeError, match=r"^point has no field 'z'$"):
                _ = each.z
            with pytest.raises(LookupError, match="has no field 'z'"):
                each["z"]
        with pytest.raises(AttributeError, match=r"^point has no field 'z'$"):
            view.z = 1
        with pytest.raises(LookupError, match="has no field 'z'"):
            view["z"] = 1
    with pytest.raises(AttributeError, match="does not change"):
        record["x"] = 1  # type: ignore[index]
    with pytest.raises(AttributeError, match=r"pack\(record, \*\*{\"path\[0\].x\": "):
        SHIP.unpack(SHIP.pack())["path[0].x"] = 1  # type: ignore[index]


def test_a_suggestion_is_told_once() -> None:
    """Python adds its own to an error without one."""
    layout = Layout.of("car", "speed:f32")
    with SharedMapping.create(None, 64) as memory:
        for each in layout.unpack(bytes(4)), memory.struct_view(layout):
            with pytest.raises(AttributeError) as caught:
                getattr(each, "sped")  # noqa: B009 - a name that mypy does not know
            assert caught.value.name == "sped"
            text = "".join(traceback.format_exception_only(caught.value))
            assert text.lower().count("did you mean") == 1
            with pytest.raises(AttributeError) as caught:
                getattr(each, "as_dic")  # noqa: B009
            assert caught.value.obj is each


def test_a_number_that_closes_the_memory_is_not_written() -> None:
    """Its __index__ runs between the check and the write."""
    memory = SharedMapping.create(None, 64)
    view = memory.struct_view(POINT)

    class Closing:
        def __index__(self) -> int:
            memory.close()
            return 5

    with pytest.raises(ValueError, match="closed"):
        view.x = Closing()
    with pytest.raises(ValueError, match="closed"):
        _ = view.y


def test_memory_that_with_has_closed_has_no_fields() -> None:
    """Even while a view keeps the memory itself."""
    memory = SharedMapping.create(None, 64)
    view = memory.struct_view(POINT)
    with memory:
        kept = memoryview(memory)
    with pytest.raises(ValueError, match="closed"):
        _ = view.x
    with pytest.raises(ValueError, match="closed"):
        view.x = 1
    kept.release()


def test_a_number_takes_no_call_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of a view nor of a record; what is speed can be counted."""
    calls: list[str] = []
    for name in ("unpack", "pack"):
        monkeypatch.setattr(Field, name, lambda field, *_: calls.append(field.name))
    monkeypatch.setattr(Layout, "__getitem__", lambda _, name: calls.append(name))
    record = POINT.unpack(bytes(POINT.size))
    with SharedMapping.create(None, 64) as memory:
        view = memory.struct_view(POINT)
        view.x = view.y = 3
        assert (view.x, view["y"], record.x, record["y"]) == (3, 3, 0, 0)
        assert list(view.as_dict().values()) == [3, 3]
    assert calls == []


def test_numbers_stay_within_what_may_be_touched(unique_name: str) -> None:
    """Memory that is read-only is not written; bytes that are short not read beyond."""
    with (
        SharedMapping.create(unique_name, 64) as memory,
        SharedMapping.open(unique_name, access="read") as readonly,
    ):
        memory.struct_view(POINT).x = 7
        view = readonly.struct_view(POINT)
        assert view.x == 7
        with pytest.raises(TypeError, match=r"read-only.*access='readwrite'"):
            view.x = 8
        assert view.x == 7
    for size in range(4):
        with pytest.raises((ValueError, struct.error)):
            _ = Record(POINT, bytes(size)).y
