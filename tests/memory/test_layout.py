"""Layout and StructView: structures that mean the same bytes to both sides."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable

import pytest
from conftest import Peer
from hypothesis import given
from hypothesis import strategies as st

from winipc import Layout, LayoutError, SharedMapping

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
struct strange { int x : 3; };
struct unknown { frobnicator f; };
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


def test_c_declarations_and_ctypes_agree() -> None:
    """Two ways to the same 64-bit layout, padding included."""
    from_c = Layout.from_c(HEADER, "reading")
    from_c.check(Layout.from_ctypes(Reading))
    Layout.from_ctypes(Reading).check(from_c)
    assert from_c["when"].offset == 8
    assert from_c["values"].count == 6
    assert from_c.offsets()["where.y"] == from_c["where"].offset + 4
    assert from_c.size == ctypes.sizeof(Reading)


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


def test_pack_is_followed() -> None:
    """#pragma pack changes offsets, and only until it is popped."""
    packed = Layout.from_c(HEADER, "packed")
    assert packed.offsets() == {"kind": 0, "value": 1, "ratio": 5}
    assert packed.size == struct.calcsize("<BId")
    assert Layout.from_c(HEADER, "plain").size == 16


@pytest.mark.parametrize(
    ("name", "message"),
    [("strange", "bit field"), ("unknown", "unknown type 'frobnicator'")],
)
def test_what_is_not_known_is_told(name: str, message: str) -> None:
    """Never a guess: an unknown construct is an error for its structure only."""
    with pytest.raises(ValueError, match=message):
        Layout.from_c(HEADER, name)
    with pytest.raises(LookupError, match="no struct nowhere"):
        Layout.from_c(HEADER, "nowhere")


#: What a header may have around or in `struct T { char a; int b; }` that is not
#: known, and what the error has to say.
REFUSED = {
    "union inside": ("struct T { char a; union { int i; float f; } u; };", "inside"),
    "structure inside": ("struct T { char a; struct { int i; } s; };", "inside"),
    "union": ("union T { char a; int b; };", "declared as union"),
    "aligned behind": (
        "struct T { char a; int b; } __attribute__((aligned(16)));",
        "behind it",
    ),
    "packed and aligned": (
        "struct T { char a; int b; } __attribute__((packed, aligned(4)));",
        "behind it",
    ),
    "declspec behind": ("struct T { char a; int b; } __declspec(align(8));", "behind"),
    "declspec before the name": (
        "struct __declspec(align(8)) T { char a; int b; };",
        "before its brace",
    ),
    "declspec in front": (
        "__declspec(align(8)) struct T { char a; int b; };",
        "in front of it",
    ),
    "alignas": ("struct alignas(16) T { char a; int b; };", "before its brace"),
    "C++ attribute": ("struct [[gnu::packed]] T { char a; int b; };", "before its"),
    "bases": ("struct T : public B { char a; int b; };", "before its brace"),
    "template": ("template <class U> struct T { char a; U b; };", "not as struct"),
    "macro behind": ("struct T { char a; int b; } __packed;", "'__packed' behind"),
    "macro before the name": ("struct PACKED T { char a; int b; };", "'PACKED T'"),
    "macro for a tag": ("typedef struct PACKED { char a; int b; } T;", "'PACKED'"),
    "macro before the type's name": (
        "typedef struct { char a; int b; } PACKED T;",
        "behind it",
    ),
    "macro around": (
        "#define PACK(x) __pragma(pack(push, 1)) x __pragma(pack(pop))\n"
        "PACK(struct T { char a; int b; });",
        "in front of it",
    ),
    "attribute of a typedef": (
        "typedef struct { char a; int b; } T __attribute__((packed));",
        "behind it",
    ),
    "attribute that is a macro": (
        "#define __attribute__(x)\n"
        "struct T { char a; int b; } __attribute__((packed));",
        "is a macro",
    ),
    "array type": ("typedef struct { char a; int b; } T[4];", "behind it"),
    "if inside": (
        "struct T { char a;\n#ifdef WIDE\nlong long b;\n#else\nint b;\n#endif\n};",
        "#ifdef WIDE inside it",
    ),
    "if with two heads": (
        "#ifdef A\nstruct T {\n#else\nstruct P T {\n#endif\nchar a; int b; };",
        "T has no end",
    ),
    "if behind": (
        "struct T { char a; int b; }\n#if X\n__attribute__((packed))\n#endif\n;",
        "#if X inside it",
    ),
    "if with two of it": (
        "#if X\nstruct T { char a; };\n#else\nstruct T { int a; };\n#endif",
        "declared twice",
    ),
    "include inside": ('struct T { char a;\n#include "more.h"\n};', "#include"),
    "pack inside": ("struct T { char a;\n#pragma pack(1)\nint b; };", "#pragma pack"),
    "member twice": ("struct T { int a; char a; };", "two members are called a"),
    "no member": ("struct T { };", "no members"),
    "bit field without a name": ("struct T { char a; int : 4; };", "bit field"),
    "member's alignment": ("struct T { char a; alignas(8) int b; };", "cannot read"),
    "member's attribute": (
        "struct T { char a; int b __attribute__((aligned(8))); };",
        "cannot read",
    ),
    "macro of a pointer": ("struct T { char a; ALIGNED char *b; };", "unknown type"),
    "macro for a type": (
        "#define BYTE long\nstruct T { BYTE a; };",
        "BYTE is a macro",
    ),
    "macro with members": ("#define HEAD int x;\nstruct T { HEAD int b; };", "macro"),
    "member without a name": ("struct T { char a; unsigned int; };", "cannot read"),
    "two values of a macro": (
        "#if X\n#define N 4\n#else\n#define N (8)\n#endif\nstruct T { char a[N]; };",
        r"elements \[N\]",
    ),
    "expression": ("#define N 4\nstruct T { char a[N + 1]; };", r"\[N \+ 1\]"),
    "flexible array": ("struct T { char a; char b[]; };", "elements"),
    "octal": ("struct T { char a[010]; };", "elements"),
    "typedef of two kinds": (
        "#if X\ntypedef int num;\n#else\ntypedef char num;\n#endif\n"
        "struct T { num a; };",
        "num is declared twice",
    ),
    "enum": ("typedef enum { X } BOOL;\nstruct T { BOOL a; };", "declared as enum"),
    "typedef of an array": ("typedef int A[4];\nstruct T { A a; };", "array type"),
    "aligned typedef": (
        "typedef __declspec(align(16)) int INT;\nstruct T { INT a; };",
        "cannot read",
    ),
    "long double": ("struct T { long double a; };", "long double depends"),
    "atomic structure": (
        "struct P { int x; int y; };\nstruct T { char a; _Atomic struct P b; };",
        "_Atomic",
    ),
    "tag that is a type": (
        "struct DWORD { char x; };\nstruct T { DWORD a; };",
        "DWORD is a",
    ),
    "structure that is only named": ("struct T { struct DWORD a; };", "unknown type"),
    "pack of a macro": ("#pragma pack(push, SIZE)\nstruct T { char a; };", "SIZE"),
    "pack of 3": ("#pragma pack(3)\nstruct T { char a; int b; };", r"pack\(3\)"),
    "pack of 0": ("#pragma pack(0)\nstruct T { char a; int b; };", r"pack\(0\)"),
    "pack without braces": ("#pragma pack 1\nstruct T { char a; };", "pack 1"),
    "pop to a number": (
        "#pragma pack(push, 2)\n#pragma pack(pop, 1)\nstruct T { char a; };",
        "pop, 1",
    ),
    "pop of another label": (
        "#pragma pack(push, x, 2)\n#pragma pack(pop, y)\nstruct T { char a; };",
        "without its push",
    ),
    "pack in an if": (
        "#if X\n#pragma pack(1)\n#endif\nstruct T { char a; };",
        "depends on an #if",
    ),
    "pop in an if": (
        "#pragma pack(push, 1)\n#if X\n#pragma pack(pop)\n#endif\n"
        "struct T { char a; };",
        "depends on an #if",
    ),
    "other header that packs": (
        '#include "pack_begin.h"\nstruct T { char a; int b; };',
        "may change the packing",
    ),
    "byte order": (
        "#pragma scalar_storage_order big-endian\nstruct T { int a; };",
        "scalar_storage_order",
    ),
}


@pytest.mark.parametrize(("header", "message"), REFUSED.values(), ids=REFUSED)
def test_what_could_move_a_field_is_refused(header: str, message: str) -> None:
    """What is not known is a ValueError with the reason; what was before is known."""
    header = f"#pragma once\nstruct first {{ char a; }};\n{header}\n"
    with pytest.raises(ValueError, match=message):
        Layout.from_c(header, "T")
    assert Layout.from_c(header, "first").size == 1


#: Headers in which T is `char a; int b;`, with the packing that holds for it.
PACKINGS = {
    "pshpack1": ("#include <pshpack1.h>\nstruct T { char a; int b; };", 1),
    "pshpack2": ('# include "PshPack2.h"\nstruct T { char a; int b; };', 2),
    "poppack": (
        "#include <pshpack1.h>\n#include <poppack.h>\nstruct T { char a; int b; };",
        None,
    ),
    "pack and no number": (
        "#pragma pack(1)\n#pragma pack()\nstruct T { char a; int b; };",
        None,
    ),
    "push, then set": (
        "#pragma pack(push)\n#pragma pack(1)\nstruct T { char a; int b; };",
        1,
    ),
    "push with a label": (
        "#pragma pack(push, mine, 2)\nstruct T { char a; int b; };",
        2,
    ),
    "label, then set": (
        "#pragma pack(push, mine)\n#pragma pack(1)\nstruct T { char a; int b; };",
        1,
    ),
    "pop to a label": (
        "#pragma pack(push, mine, 2)\n#pragma pack(push, 1)\n#pragma pack(pop, mine)\n"
        "struct T { char a; int b; };",
        None,
    ),
    "pop without a push": ("#pragma pack(pop)\nstruct T { char a; int b; };", None),
    "show": ("#pragma pack(show)\nstruct T { char a; int b; };", None),
    "__pragma": ("__pragma(pack(push, 1)) struct T { char a; int b; };", 1),
    "_Pragma": ('_Pragma("pack(push, 1)") struct T { char a; int b; };', 1),
    "continued line": ("#pragma \\\r\n pack(1)\r\nstruct T { char a; int b; };", 1),
    "in a comment": ("// \\\n#pragma pack(1)\nstruct T { char a; int b; };", None),
    "in a string": ('#define S "/*"\n#pragma pack(1)\nstruct T { char a; int b; };', 1),
    "same if": (
        "#if X\n#pragma pack(push, 1)\n#endif\nstruct U { char a; };\n"
        "#if X\n#pragma pack(pop)\n#endif\nstruct T { char a; int b; };",
        None,
    ),
    "guard": (
        "#ifndef H\n#define H\n#pragma pack(1)\nstruct T { char a; int b; };\n#endif",
        1,
    ),
    "packed": ("struct T { char a; int b; } __attribute__((packed));", 1),
    "packed before the name": (
        "struct __attribute__((__packed__)) T { char a; int b; };",
        1,
    ),
    "packed type": ("typedef struct { char a; int b; } __attribute__((packed)) T;", 1),
    "extern C": ('extern "C" {\nstruct T { char a; int b; };\n}', None),
    "function before": (
        "static int f(void) { return 1; }\nstruct T { char a; int b; };",
        None,
    ),
    "pack in another": (
        "struct U { char a;\n#pragma pack(1)\n};\nstruct T { char a; int b; };",
        1,
    ),
}


@pytest.mark.parametrize(("header", "pack"), PACKINGS.values(), ids=PACKINGS)
def test_every_way_to_pack_is_followed(header: str, pack: int | None) -> None:
    """ctypes, told the packing that a compiler has here, puts the fields there too."""
    body: dict[str, object] = {"_fields_": [("a", ctypes.c_char), ("b", ctypes.c_int)]}
    if pack is not None:
        body = {"_pack_": pack, "_layout_": "ms", **body}
    witness = Layout.from_ctypes(type("T", (ctypes.Structure,), body))
    Layout.from_c(header, "T").check(witness)
    assert Layout.from_c(header, "T").alignment == witness.alignment


def test_typedefs_are_followed() -> None:
    """Names that the header gives to types, in front of or behind the structure."""
    header = """
    typedef unsigned short u16;
    typedef struct tagP P, *PP;
    typedef void (*callback)(int);
    struct tagP { u16 x; u16 y; };
    typedef struct { P where; PP next; callback told; u16 a[2]; } T;
    """
    layout = Layout.from_c(header, "T")
    assert layout.offsets() == {
        "where": 0,
        "where.x": 0,
        "where.y": 2,
        "next": 8,
        "told": 16,
        "a": 24,
    }
    assert Layout.from_c(header, "P") == Layout.from_c(header, "tagP")
    for name in ("u16", "PP", "callback"):
        with pytest.raises(LookupError, match="no struct"):
            Layout.from_c(header, name)


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
    layout = Layout.from_c(HEADER, "reading")
    with SharedMapping.create(None, 4096) as m:
        view = m.struct_view(layout, 16)
        witness = m.struct_view(Reading, 16)
        view.kind = 7
        view.when = 2**63
        view.name = b"sensor"
        view["values"] = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
        view.where.x = -5
        view.good = True
        view.b = (1, -2)
        assert (witness.kind, witness.when, witness.name) == (7, 2**63, b"sensor")
        assert [list(row) for row in witness.values] == [[1, 2], [3, 4], [5, 6]]
        assert (witness.where.x, witness.good, list(witness.b)) == (-5, True, [1, -2])
        witness.where.y = 9
        witness.a = -3
        assert (view.where.y, view.a) == (9, -3)
        assert view.name == b"sensor".ljust(12, b"\0")
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
        with pytest.raises(struct.error):
            view.a = 256
        with pytest.raises(ValueError, match="4 bytes, not 5"):
            view.c = b"12345"
        for offset in (-1, 5, 2**70):
            with pytest.raises(ValueError, match="leave"):
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
        assert m.get_i16(4 + 2 * 4 + 2) == 77
        with pytest.raises(TypeError, match="assign to its fields"):
            view.points = ()
        assert view.as_dict()["points"][2] == {"x": 0, "y": 77}


def test_a_number_is_no_text() -> None:
    """bytes(3) would be three zeros: an int for a char array is a TypeError."""
    with SharedMapping.create(None, 16) as m:
        view = m.struct_view(Layout.from_ctypes(Named))
        view["name"] = bytearray(b"abc")
        with pytest.raises(TypeError):
            view["name"] = 3
        assert view["name"] == b"abc\0"


def test_inherited_fields_of_ctypes_come_first() -> None:
    """A derived Structure has the fields of its bases too."""

    class Derived(Point):
        """x, y and z."""

        _fields_ = [("z", ctypes.c_int32)]

    layout = Layout.from_ctypes(Derived)
    assert layout.offsets() == {"x": 0, "y": 4, "z": 8}
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
