"""The same structure for ctypes and NumPy: the bytes mean the same to all of them."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from dataclasses import replace
from typing import Any

import pytest

from winipc import Layout
from winipc.memory._declare import declaration
from winipc.memory.layout import Field, enum_of

needs_numpy = pytest.mark.skipif(
    importlib.util.find_spec("numpy") is None, reason="no NumPy"
)
POINT = Layout.of("point", "x:h y:i")
#: Layouts that C cannot make without tricks, and some that it can.
LAYOUTS = {
    "plain": Layout.of("plain", "a:b b:i name:5s w:u wide:3u d:d on:? h:2h"),
    "packed": Layout.of("packed", "< a:b b:i name:5s c:d"),
    "inner": Layout.of(
        "inner", {"a": "b", "at": POINT, "rows": (POINT, (2, 3)), "t": ("c", (2, 4))}
    ),
    "packed inner": Layout.of("inner", {"a": "b", "at": POINT}, pack=2),
}


class Union(ctypes.Union):
    _fields_ = [("ratio", ctypes.c_float), ("halves", ctypes.c_uint16 * 2)]


class Odd(ctypes.Structure):
    """Bit-fields of several types, beside a union and after a hole."""

    _layout_ = "ms"
    _fields_ = [
        ("a", ctypes.c_uint32, 3),
        ("b", ctypes.c_int32, 7),
        ("g", ctypes.c_int32, 9),
        ("u", Union),
        ("c", ctypes.c_int64, 40),
        ("d", ctypes.c_uint8, 1),
        ("e", ctypes.c_uint8, 4),
        ("last", ctypes.c_int8),
    ]


LAYOUTS["bits"] = Layout.from_ctypes(Odd)
#: Where no compiler puts them.
LAYOUTS["moved"] = Layout(
    "moved",
    [replace(field, offset=field.offset + 3) for field in LAYOUTS["bits"]],
    LAYOUTS["bits"].size + 3,
)
#: The number that has the bits of b begins in front of its byte.
LAYOUTS["tail"] = Layout(
    "tail",
    [Field("a", "I", 1, bits=(0, 3)), Field("b", "i", 4, bits=(2, 5))],
    5,
)
#: Two that share no bytes lie in one of their union.
LAYOUTS["overlap"] = Layout(
    "overlap",
    [Field("a", "Q", 0), Field("b", "H", 2), Field("c", "B", 5), Field("d", "I", 8)],
    12,
)
#: Behind the fields is whatever else there is.
LAYOUTS["flexible"] = Layout(
    "flexible",
    [Field("a", "I", 0), Field("name", "c", 4, (0,)), Field("rest", "h", 4, (0,))],
    4,
)
every = pytest.mark.parametrize("name", LAYOUTS)


def same(record: Any, other: Any) -> bool:
    """Whether a record and a ctypes instance have the same values."""
    if isinstance(record, tuple):
        return len(record) == len(other) and all(map(same, record, other))
    if hasattr(record, "as_dict"):
        return all(same(v, getattr(other, k)) for k, v in record._items())
    return bool(record == other or record != record)


@every
def test_ctypes_reads_what_the_record_reads(name: str) -> None:
    layout = LAYOUTS[name]
    kind = layout.ctypes_type
    assert kind is layout.ctypes_type
    assert ctypes.sizeof(kind) == layout.size
    for data in (bytes(range(1, layout.size + 1)), os.urandom(layout.size)):
        data = data.replace(b"\xd8", b"\1")  # no halves of UTF-16 pairs
        record, instance = layout.unpack(data), kind.from_buffer_copy(data)
        for field, value in record._items():
            found = getattr(instance, field)
            assert same(value, found) or layout[field].is_text, field
        if layout["a"].bits:
            assert bytes(instance)[: layout.size] == data
            instance.b = -5
            assert layout.unpack(bytes(instance)).b == -5


@needs_numpy
@every
def test_numpy_reads_what_the_record_reads(name: str) -> None:
    import numpy as np

    layout = LAYOUTS[name]
    assert layout.dtype.itemsize == layout.size
    data = bytes(range(1, layout.size + 1))
    row = np.frombuffer(data, layout.dtype)[0]
    record = layout.unpack(data)
    for field in layout:
        if field.bits is not None:
            assert field.name not in layout.dtype.names
        elif isinstance(field.kind, str) and field.kind not in "cu":
            assert np.array_equal(row[field.name], np.array(record[field.name]))
        place = layout.dtype.fields.get(field.name)
        assert place is None or place[1] == field.offset
    if name == "inner":
        assert row["rows"]["y"][1, 2] == record.rows[1][2].y
        assert row["t"][1] == record.t[1].raw


@needs_numpy
def test_sources_of_python_have_the_enums() -> None:
    """Also of an array and of an inner structure."""
    mode = enum_of("mode", ("OFF", 0), ("RUN", 5))
    inner = Layout("inner", [Field("mode", "b", 0, enum=mode)], 1)
    fields = [Field("modes", "i", 0, (2,), enum=mode), Field("part", inner, 8)]
    layout = Layout("plant", fields, 12)
    for language in ("ctypes", "numpy"):
        source = declaration(layout, language)
        space: dict[str, Any] = {}
        exec(source, space)
        assert [*space["mode"].__members__.items()] == [("OFF", 0), ("RUN", 5)]
        assert "# values of inner.mode\nmode = " in source
        assert "# values of plant.modes\nplant_modes = " in source


@every
@needs_numpy
def test_sources_of_python_make_the_same_types(name: str) -> None:
    """They run, with the asserts in them."""
    layout = LAYOUTS[name]
    space: dict[str, Any] = {}
    exec(declaration(layout, "ctypes"), space)
    made = Layout.from_ctypes(space[layout.name])
    mine = Layout.from_ctypes(layout.ctypes_type)
    assert (made.description, made.size) == (mine.description, mine.size)
    source = declaration(layout, "numpy")
    exec(source, space)
    for field in layout:
        assert (f"{layout.name}.{field.name}" in source) == (field.bits is not None)
    assert space[layout.name] == layout.dtype


def test_ctypes_unions_and_bits_come_back() -> None:
    """from_ctypes reads what ctypes_type makes, but for the names of the padding."""
    for name in ("plain", "inner", "bits"):
        assert Layout.from_ctypes(LAYOUTS[name].ctypes_type) == LAYOUTS[name]
    odd = LAYOUTS["bits"]
    assert (odd["g"].offset, odd["g"].bits) == (1, (2, 9))
    data = odd.pack(a=5, b=-9, g=-99, c=-(2**39), d=1, e=9, u={"ratio": 1.0})
    witness = Odd.from_buffer_copy(data)
    assert witness.g == -99
    assert (witness.a, witness.b, witness.c) == (5, -9, -(2**39))
    assert (witness.d, witness.e, witness.u.halves[1]) == (1, 9, 0x3F80)


def test_fingerprints_are_of_fields() -> None:
    """Not of the structure's name, and not of how a number is spelled."""
    one = Layout.of("a", "x:i name:4s")
    assert one.fingerprint == Layout.of("b", "x:l name:4s").fingerprint
    assert one.fingerprint == 0x3D0D4CB93FAC1918
    for other in ("x:I name:4s", "y:i name:4s", "x:i name:3s", "name:4s x:i"):
        assert Layout.of("a", other).fingerprint != one.fingerprint
    assert Layout.of("o", {"p": (POINT, 2)}).description == (
        "16\np 0 {8}[2]\np.x 0 h\np.y 4 i"
    )
