"""Layout and StructView: structures that mean the same bytes to both sides."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Peer
from helpers import need_libclang
from hypothesis import given
from hypothesis import strategies as st

from winipc import Layout, LayoutError, SharedMapping
from winipc.memory.layout import Field


@pytest.fixture
def libclang() -> None:
    need_libclang()


HEADER = """
#include <stdint.h>
#define NAME_LENGTH 12
#define ROWS (3)

/* A point; // with a comment */
typedef struct tagPOINT { LONG x; LONG y; } POINT, *PPOINT;

struct reading {
    uint8_t kind;          // 1 byte, then a hole
    unsigned long long when;
    char name[NAME_LENGTH];
    float values[ROWS][2];
    POINT where;
    short a, b[2];
    void *cookie;
    const wchar_t *text;
    size_t length;
    bool good;
};

#pragma pack(push, 1)
typedef struct {
    uint8_t kind;
    uint32_t value;
    double ratio;
} packed;
#pragma pack(pop)

typedef struct { uint16_t a; uint64_t b; } plain;
"""


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int32), ("y", ctypes.c_int32)]


class Reading(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_uint8),
        ("when", ctypes.c_uint64),
        ("name", ctypes.c_char * 12),
        ("values", ctypes.c_float * 2 * 3),
        ("where", Point),
        ("a", ctypes.c_short),
        ("b", ctypes.c_short * 2),
        ("cookie", ctypes.c_void_p),
        ("text", ctypes.c_wchar_p),
        ("length", ctypes.c_size_t),
        ("good", ctypes.c_bool),
    ]


@pytest.mark.usefixtures("libclang")
def test_c_declarations_and_ctypes_agree() -> None:
    """Two ways to the same 64-bit layout, padding included."""
    from_c = Layout.from_c(HEADER, "reading")
    from_c.check(Layout.from_ctypes(Reading))
    Layout.from_ctypes(Reading).check(from_c)
    assert from_c["when"].offset == 8
    assert from_c["values"].count == 6
    assert from_c.offsets()["where.y"] == from_c["where"].offset + 4
    assert from_c.size == ctypes.sizeof(Reading)


@pytest.mark.usefixtures("libclang")
def test_a_compiler_agrees(start_peer: Callable[..., Peer]) -> None:
    """offsetof() and sizeof() of a C program are the judge."""
    layout = Layout.from_c(HEADER, "reading")
    peer = start_peer("layout.exe")
    told = {}
    while (line := peer.read_line()) != "end":
        name, offset = line.split()
        told[name] = int(offset)
    size = told.pop("sizeof")
    layout.check(told, size)
    assert len(told) == len(layout.fields)


@pytest.mark.usefixtures("libclang")
def test_32_bits_differ_where_pointers_are() -> None:
    """The check against the other bitness names each field that moves."""
    narrow = Layout.from_c(HEADER, "reading", bits=32)
    assert narrow["cookie"].size == 4
    assert narrow["when"].offset == 8
    with pytest.raises(LayoutError, match=r"text is at \d+, not \d+"):
        narrow.check(Layout.from_c(HEADER, "reading", bits=64))
    with pytest.raises(LayoutError, match="in 32 bits"):
        Layout.check_portable(HEADER, "reading")
    assert Layout.check_portable(HEADER, "plain").offsets() == {"a": 0, "b": 8}
    assert Layout.check_portable(HEADER, "tagPOINT") == Layout.check_portable(
        HEADER, "POINT"
    )


@pytest.mark.usefixtures("libclang")
def test_pack_is_followed() -> None:
    """#pragma pack changes offsets, and only until it is popped."""
    packed = Layout.from_c(HEADER, "packed")
    assert packed.offsets() == {"kind": 0, "value": 1, "ratio": 5}
    assert packed.size == struct.calcsize("<BId")
    assert Layout.from_c(HEADER, "plain").size == 16


def test_the_short_text_form() -> None:
    """Names and codes; packed behind a lone <."""
    layout = Layout.of("s", "speed:f gear:b wheels:2h name:7s title:4u on:?")
    assert layout.offsets() == {
        "speed": 0,
        "gear": 4,
        "wheels": 6,
        "name": 10,
        "title": 18,
        "on": 26,
    }
    assert (layout["name"].kind, layout["name"].count) == ("c", 7)
    assert layout["wheels"].shape == (2,)
    assert layout["speed"].shape == ()
    assert Layout.of("s", "< gear:b speed:f").size == 5
    types = {"speed": "f", "wheels": "2<h", "name": "7s", "letter": "s", "title": "4u"}
    by_name = Layout.of("s", types)
    short = " ".join(f"{name}:{kind}" for name, kind in types.items())
    assert by_name.description == Layout.of("s", short).description
    assert by_name.pack(name="Ada", title="Dr")[8:] == b"Ada\0\0\0\0\0D\0r\0" + bytes(4)
    for kind in ("0f", "4", "4s4", "f4"):
        with pytest.raises(ValueError, match=r"s\.a"):
            Layout.of("s", {"a": kind})
    for text, message in {
        "speed:x": r"^s\.speed: .*'x'",
        "speed": "'speed' is not a field; .*NAME:TYPE",
        "speed:f 4f:i": "'4f' cannot be the name of a field; .*wheels:4f32",
        "a:b a:b": "'a'",
        "a:0i": "0",
    }.items():
        with pytest.raises(ValueError, match=message):
            Layout.of("s", text)


def test_members_are_checked() -> None:
    """What is no code, no number of elements, no packing of a compiler."""
    wrong: dict[Any, str] = {
        "x": r"no type of numbers 'x': .* \? e; text has 16s",
        "4x": "no type of numbers 'x'",
        ("b", -1): "elements",
        None: "a type of numbers is a str",
    }
    for member, message in wrong.items():
        with pytest.raises((ValueError, TypeError), match=f"^s\\.a: .*{message}"):
            Layout.of("s", {"a": member})
    for name in ("4f", "a b", ""):
        with pytest.raises(ValueError, match=f"'{name}' cannot be the name of a field"):
            Layout.of("s", {name: "b"})
    with pytest.raises(TypeError, match=r"not \('b', 1\.5\)"):
        Layout.of("s", {"a": ("b", 1.5)})  # type: ignore[dict-item]
    for pack in (-1, 0, 3, 32):
        with pytest.raises(ValueError, match=f"pack must be .*, not {pack}"):
            Layout.of("s", "a:b b:i", pack=pack)
    assert Layout.of("s", "a:b b:q", pack=4).size == 12
    assert Layout.of("s", "a:b b:b", pack=4).size == 2
    for field in (Field("a", "I", -4), Field("a", "I", 5), Field("a", "H", 0, (5,))):
        with pytest.raises(ValueError, match=r"^s\.a leaves the 8 bytes"):
            Layout("s", [field], 8)
    assert Layout("s", [Field("a", "I", 0)], 8) != Layout.of("s", "a:I")


def test_what_is_no_layout() -> None:
    """Said by all that take one; a ctypes type has to have fields."""
    with SharedMapping.create(None, 64) as m:
        for wrong in (5, None, b"a:i", Named()):
            with pytest.raises(TypeError, match=r"^a layout is a "):
                m.struct_view(wrong)
        with pytest.raises(TypeError, match="integer"):
            m.struct_view("a:i", 1.5)  # type: ignore[arg-type]
    for kind in (ctypes.c_int, Named * 2, Named()):
        with pytest.raises(TypeError, match="not a ctypes Structure class"):
            Layout.from_ctypes(kind)  # type: ignore[arg-type]


def test_differences_are_all_listed() -> None:
    """A mismatch says what is where, for every field."""
    ours = Layout.of("s", {"a": "I", "b": "Q", "c": "H"})
    theirs = Layout.of("s", {"a": "Q", "b": "Q", "d": "H"})
    assert ours.differences(theirs) == [
        "a has 4 bytes, not 8",
        "d is missing",
        "c is too much",
    ]
    assert ours.differences({"a": 0, "b": 4}, 16) == [
        "b is at 8, not 4",
        "the whole has 24 bytes, not 16",
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from("cbB?hHiIqQfd"), st.integers(1, 5)),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([None, 1, 2, 4, 8]),
)
def test_any_structure_is_laid_out_as_ctypes_does(
    members: list[tuple[str, int]], pack: int | None
) -> None:
    """Alignment, padding and packing against an independent witness."""
    types = {
        "c": ctypes.c_char,
        "b": ctypes.c_int8,
        "B": ctypes.c_uint8,
        "?": ctypes.c_bool,
        "h": ctypes.c_int16,
        "H": ctypes.c_uint16,
        "i": ctypes.c_int32,
        "I": ctypes.c_uint32,
        "q": ctypes.c_int64,
        "Q": ctypes.c_uint64,
        "f": ctypes.c_float,
        "d": ctypes.c_double,
    }
    names = [f"f{index}" for index in range(len(members))]
    body: dict[str, object] = {
        "_fields_": [
            (name, types[code] * count)
            for name, (code, count) in zip(names, members, strict=True)
        ]
    }
    if pack is not None:
        body = {"_pack_": pack, "_layout_": "ms", **body}
    witness = type("Witness", (ctypes.Structure,), body)
    ours = Layout.of("s", dict(zip(names, members, strict=True)), pack=pack)
    ours.check(Layout.from_ctypes(witness))


# ------------------------------------------------------------------- StructView


@pytest.mark.smoke
def test_fields_are_read_and_written_in_place() -> None:
    """Attributes are the memory's own bytes; ctypes sees the same."""
    layout = Layout.from_ctypes(Reading)
    with SharedMapping.create(None, 4096) as m:
        view = m.struct_view(layout, 16)
        witness = m.struct_view(Reading, 16)
        view.kind = 7
        view.when = 2**63
        view.name = b"sensor"
        view["values"] = ((1.0, 2.0), (3.0, 4.0), (5.0, 6.0))
        view.where.x = -5
        view.good = True
        view.b = (1, -2)
        assert (witness.kind, witness.when, witness.name) == (7, 2**63, b"sensor")
        assert [list(row) for row in witness.values] == [[1, 2], [3, 4], [5, 6]]
        assert (witness.where.x, witness.good, list(witness.b)) == (-5, True, [1, -2])
        witness.where.y = 9
        witness.a = -3
        assert (view.where.y, view.a) == (9, -3)
        assert view.values[2] == (5.0, 6.0)
        assert view.name == "sensor"
        assert view.name == view.name.raw == b"sensor".ljust(12, b"\0")
        assert view.as_dict()["where"] == {"x": -5, "y": 9}
        assert "when" in dir(view)
        del witness


def test_struct_view_is_checked() -> None:
    """Unknown fields, values that do not fit, structures beyond the end."""
    layout = Layout.of("s", {"a": "B", "b": "I", "c": ("c", 4), "p": ("H", 2)})
    with SharedMapping.create(None, 20) as m:
        view = m.struct_view(layout, 4)
        with pytest.raises(AttributeError, match="no field"):
            _ = view.z
        with pytest.raises(AttributeError, match="no field"):
            view.z = 1
        with pytest.raises(ValueError, match=r"^a: 256 does not fit in u8$"):
            view.a = 256
        with pytest.raises(ValueError, match=r"^c: 5 bytes do not fit in 4"):
            view.c = b"12345"
        with pytest.raises(ValueError, match=r"^p: 2 elements are wanted"):
            view.p = (1, 2, 3)
        for offset in (-1, 5, 2**70):
            with pytest.raises(ValueError, match="needs"):
                m.struct_view(layout, offset)
        assert bytes(m) == bytes(20)
    with pytest.raises(ValueError, match="closed"):
        _ = view.a


def test_arrays_of_structures_are_views() -> None:
    """Each element of an array of structures is written through to the memory."""
    point = Layout.of("point", {"x": "h", "y": "h"})
    with SharedMapping.create(None, 64) as m:
        view = m.struct_view(Layout.of("s", {"n": "I", "points": (point, 3)}))
        view.points[2].y = 77
        assert m.get(4 + 2 * 4 + 2, "i16") == 77
        with pytest.raises(ValueError, match="points: 3 elements are wanted"):
            view.points = ()
        assert view.as_dict()["points"][2] == {"x": 0, "y": 77}


def test_a_number_is_no_text() -> None:
    """bytes(3) would be three zeros: an int for a char array is a TypeError."""
    with SharedMapping.create(None, 16) as m:
        view = m.struct_view(Layout.from_ctypes(Named))
        view["name"] = bytearray(b"abc")
        with pytest.raises(TypeError):
            view["name"] = 3
        assert view["name"] == "abc"


def test_inherited_fields_of_ctypes_come_first() -> None:
    """A derived Structure has the fields of its bases too."""

    class Derived(Point):
        """x, y and z."""

        _fields_ = [("z", ctypes.c_int32)]

    layout = Layout.from_ctypes(Derived)
    assert list(layout.offsets().items()) == [("x", 0), ("y", 4), ("z", 8)]
    assert layout.size == 12


def test_big_endian_ctypes_are_refused() -> None:
    """They would be read with their bytes swapped."""

    class Big(ctypes.BigEndianStructure):
        """One number the other way round."""

        _fields_ = [("x", ctypes.c_uint32 * 2)]

    with pytest.raises(ValueError, match="big-endian"):
        Layout.from_ctypes(Big)


class Named(ctypes.Structure):
    """Four characters."""

    _fields_ = [("name", ctypes.c_char * 4)]
