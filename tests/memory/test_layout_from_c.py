"""Layout.from_c: what headers have, laid out as a Windows compiler does.

The sizes and offsets are those of g++ for x86_64-w64-mingw32 and i686-w64-mingw32, but
for `long double` and for bases with virtual functions, in which MSVC differs.
"""

from __future__ import annotations

import copy
import ctypes
import pickle
import sys
from pathlib import Path

import pytest
from helpers import need_libclang

from winipc import Layout, LayoutError, SharedMapping, StructView
from winipc.memory.layout import enum_of

need_libclang()

Offsets = dict[str, int]

#: A header in which T is; its fields and size in 64 bits, and in 32 where they differ.
KINDS: dict[str, tuple[str, Offsets, int, Offsets | None, int]] = {}


def kind(
    name: str,
    header: str,
    offsets: Offsets,
    size: int,
    narrow: Offsets | None = None,
    narrow_size: int = 0,
) -> None:
    KINDS[name] = header, offsets, size, narrow, narrow_size or size


kind(
    "nested structures and unions, with and without names",
    """
    struct T {
        char kind;
        union { float ratio; struct { short low, high; }; } ;
        struct { double x; char tag; } inner[2];
        union both { long long wide; char narrow[3]; } u;
    };
    """,
    {"kind": 0, "ratio": 4, "low": 4, "high": 6, "inner": 8, "inner.x": 8}
    | {"inner.tag": 16, "u": 40, "u.wide": 40, "u.narrow": 40},
    48,
)
kind(
    "bases",
    """
    struct head { double when; int version; };
    class body : public head { public: char tag; int version; };
    struct T final : body { int last; T(); ~T(); };
    """.replace(" final", ""),
    {"when": 0, "tag": 16, "version": 20, "last": 24},
    32,
)
kind(
    "a class with virtual functions",
    "struct A { int a; }; struct B { virtual ~B(); int b; };\n"
    "struct T : A, B { int t; virtual int f() const = 0; };",
    {"b": 8, "a": 16, "t": 20},
    24,
    {"b": 4, "a": 8, "t": 12},
    16,
)
kind(
    "enums with a type, scoped, and as bounds",
    """
    enum class gear : signed char { reverse = -1, neutral };
    enum { WHEELS = 3 + 1 };
    enum plain { A, LAST };
    static const unsigned ROWS = WHEELS - LAST;
    struct T { gear g; plain p; float wheels[WHEELS + 1][ROWS]; enum { N = 5 } mode;
               char text[N + sizeof(int)]; };
    """,
    {"g": 0, "p": 4, "wheels": 8, "mode": 68, "text": 72},
    84,
)
kind(
    "functions, constants and initial values",
    """
    struct Unknown;
    struct T {
        static const int COUNT = 2;
        static constexpr int MORE = COUNT * 2;
        typedef short number;
        int get(Unknown *x, const Missing &y) const { return x->y + absent; }
        static Missing made;
        friend class Other;
        number values[MORE]{1, 2};
        volatile const bool on = true;
        T() : on(false) { nowhere(); }
        bool operator==(const T &other) const = default;
    };
    """,
    {"values": 0, "on": 8},
    10,
)
kind(
    "pointers of every sort",
    """
    struct T { void (*told)(int, struct later *); const wchar_t *text; int &number;
               int (*table[3])(void); struct later *next; HWND window; };
    """,
    {"told": 0, "text": 8, "number": 16, "table": 24, "next": 48, "window": 56},
    64,
    {"told": 0, "text": 4, "number": 8, "table": 12, "next": 24, "window": 28},
    32,
)
kind(
    "alignas",
    "struct alignas(16) V { float x, y, z; };\n"
    "struct T { char a; alignas(8) int b; V v; __declspec(align(32)) char c; };",
    {"a": 0, "b": 8, "v": 16, "v.x": 16, "v.y": 20, "v.z": 24, "c": 32},
    64,
)
kind(
    "namespaces, using and templates",
    """
    namespace sim { inline namespace v2 { struct point { short x, y; }; }
    template <class X, int N> struct ring { int head; X items[N]; };
    using pair = point[2];
    struct T { pair ends; ring<point, 3> r; }; }
    using namespace sim;
    """,
    {"ends": 0, "ends.x": 0, "ends.y": 2, "r": 8, "r.head": 8, "r.items": 12}
    | {"r.items.x": 12, "r.items.y": 14},
    24,
)
kind(
    "types of Windows that nobody includes",
    "struct T { BYTE b; FILETIME at; TCHAR path[MAX_PATH]; LARGE_INTEGER n; GUID id;\n"
    "           RECT where; SYSTEMTIME now; __time64_t t; DWORD_PTR p; BOOL last; };",
    {"b": 0, "at": 4, "at.dwHighDateTime": 8, "path": 12, "n": 272, "n.HighPart": 276}
    | {"n.QuadPart": 272, "id": 280, "id.Data4": 288, "where": 296, "where.left": 296}
    | {"now": 312, "now.wMilliseconds": 326, "t": 328, "p": 336, "last": 344},
    352,
    {"p": 336, "last": 340},
    344,
)
kind(
    "std::",
    "#include <atomic>\n#include <cstdint>\n#include <string>\n"
    "struct T { std::uint8_t a; std::atomic<std::int64_t> b; std::atomic<bool> c; };",
    {"a": 0, "b": 8, "c": 16},
    24,
)
kind(
    "a type of its own that Windows has too",
    "#include <stdint.h>\ntypedef struct { float x, y, z; } POINT;\n"
    "typedef unsigned char BOOL;\nstruct T { BOOL on; POINT at; DWORD n; };",
    {"on": 0, "at": 4, "at.x": 4, "at.y": 8, "at.z": 12, "n": 16},
    20,
)
kind(
    "what other compilers see",
    "#if _MSC_VER <= 1200\ntypedef int intptr_t;\n#endif\n#ifndef _WIN32\n"
    "typedef int HANDLE;\n#else\n#include <Windows.h>\n#endif\n#ifdef __GNUC__\n"
    "#define PACKED __attribute__((packed))\n#else\n#define PACKED\n#endif\n"
    "struct T { char a; HANDLE h; PACKED char b; intptr_t c; };",
    {"a": 0, "h": 8, "b": 16, "c": 24},
    32,
    {"a": 0, "h": 4, "b": 8, "c": 12},
    16,
)
kind(
    "#if inside",
    "#define VERSION 3\nstruct T { char a;\n#if VERSION > 2 && !defined(OLD)\n"
    "long long b;\n#else\nint b;\n#endif\n};",
    {"a": 0, "b": 8},
    16,
)
kind(
    "macros for all sorts",
    "#define RECORD struct\n#define FIELDS int x; short y;\n#define PACK(s) "
    "__pragma(pack(push, 1)) s __pragma(pack(pop))\n"
    "PACK(RECORD T { char c; FIELDS double d; });",
    {"c": 0, "x": 1, "y": 5, "d": 7},
    15,
)
kind(
    "functions of Windows and unknown ones",
    '#ifdef __cplusplus\nextern "C" {\n#endif\n'
    "HRESULT WINAPI open_it(IUnknown **out, FOO foo);\n"
    "static inline HANDLE create(DWORD id) { return CreateFileMappingW(id); }\n"
    "DEFINE_GUID(GUID_X, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);\n"
    "static const float PI_2 = M_PI / 2;\nstatic const char *WHO = who(1);\n"
    'static const TCHAR NAME[] = _T("name"), *OTHER = TEXT("other");\n'
    "struct other { ID3D11Device *device; };\n"
    "typedef struct T_ { char a; int b; } T;\n"
    "#ifdef __cplusplus\n}\n#endif\n",
    {"a": 0, "b": 4},
    8,
)
kind(
    "only C",
    "typedef struct new { int class; _Bool this; wchar_t name[4]; _Atomic short n;\n"
    "_Atomic(char) operator; } T;",
    {"class": 0, "this": 4, "name": 6, "n": 14, "operator": 16},
    20,
)
kind(
    "flexible array",
    "struct T { int count; struct { short a; char b; } rows[]; };",
    {"count": 0, "rows": 4, "rows.a": 4, "rows.b": 6},
    4,
)
kind(
    "macros of Windows about the machine",
    "#include <windows.h>\n#ifdef _AMD64_\nstruct T { char pad[8]; };\n"
    "#elif defined(_X86_)\nstruct T { char pad[4]; };\n#endif",
    {"pad": 0},
    8,
    {"pad": 0},
    4,
)
kind(
    "what the preprocessor made of a C file",
    "typedef unsigned short wchar_t;\ntypedef unsigned long DWORD;\n"
    "typedef struct _FILETIME { DWORD low; DWORD high; } FILETIME;\n"
    "__inline__ int unknown(void) { return CreateFileA(); }\n"
    "struct T { wchar_t name[3]; FILETIME at; };",
    {"name": 0, "at": 8, "at.low": 8, "at.high": 12},
    16,
)
kind(
    "an array type",
    "typedef int A[4];\nstruct T { char a; A b[2]; };",
    {"a": 0, "b": 4},
    36,
)
kind(
    "bases of bit-fields alone, private and in a nameless namespace",
    "namespace { struct A { double z; }; struct B { unsigned x : 3, y : 5; };\n"
    "struct T : private A, B { char w; }; }",
    {"z": 0, "x": 8, "y": 8, "w": 12},
    16,
)
kind(
    "a private base in a class",
    "class O { struct A { int x; }; struct T : private A { char y; }; };",
    {"x": 0, "y": 4},
    8,
)
kind("long double", "struct T { char a; long double b; };", {"a": 0, "b": 8}, 16)
kind("empty at the end", "struct E {}; struct T { int a; E e; };", {"a": 0, "e": 4}, 8)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_structure_is_laid_out(name: str) -> None:
    """As the compiler does it, in 64 bits and in 32."""
    header, offsets, size, narrow, narrow_size = KINDS[name]
    told = (64, offsets, size), (32, offsets | (narrow or {}), narrow_size)
    for bits, places, whole in told:
        layout = Layout.from_c(header, "T", bits=bits)
        found = layout.offsets()
        assert {place: found[place] for place in places} == places
        assert {field.name for field in layout} <= places.keys()
        assert layout.size == whole


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
    "pop under an #if that is not taken": (
        "#pragma pack(push, 1)\n#if X\n#pragma pack(pop)\n#endif\n"
        "struct T { char a; int b; };",
        1,
    ),
    "a label that looks like a size": (
        "#pragma pack(push, SIZE)\nstruct T { char a; int b; };",
        None,
    ),
    "attribute of C++": ("struct [[gnu::packed]] T { char a; int b; };", 1),
    "packed behind, and a name": (
        "typedef struct { char a; int b; } __attribute__((packed)) T, *PT;",
        1,
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


#: Headers in which something that is not known may change `T`, and what the compiler
#: says to it.
REFUSED = {
    "macro before the name": ("struct PACKED T { char a; int b; };", "expected '\\('"),
    "macro in front": ("PACKED struct T { char a; int b; };", "type name 'PACKED'"),
    "macro before the type's name": (
        "typedef struct { char a; int b; } PACKED T;",
        "expected ';'",
    ),
    "macro around": ("PACK(struct T { char a; int b; });", "line 3: .*type specifier"),
    "macro that packs, perhaps": (
        "BEGIN_PACK\nstruct T { char a; int b; };\nEND_PACK",
        "line 3: unknown type name 'BEGIN_PACK'",
    ),
    "call that packs, perhaps": (
        "BEGIN_PACK(1);\nstruct T { char a; int b; };",
        "type specifier",
    ),
    "base": ("struct T : public B { char a; int b; };", "expected class name"),
    "virtual base": (
        "struct A { int x; }; struct T : virtual A { char a; int b; };",
        "virtual base",
    ),
    "if with two heads": (
        "#ifdef A\nstruct T {\n#else\nstruct P T {\n#endif\nchar a; int b; };",
        "line 8",
    ),
    "declared twice": ("struct T { char a; }; struct T { int a; };", "redefinition"),
    "member twice": ("struct T { int a; char a; };", "duplicate member 'a'"),
    "include inside": (
        'struct T { char a;\n#include "more.h"\n};',
        "'more.h' file not",
    ),
    "include in front": (
        '#include "pack_begin.h"\nstruct T { char a; int b; };',
        "line 3: 'pack_begin.h' file not found",
    ),
    "unknown type": ("struct T { char a; Foo b; };", "line 3: unknown type name 'Foo'"),
    "macro of a member": ("struct T { char a; ALIGNED char *b; };", "'ALIGNED'"),
    "type of a typedef": ("typedef Foo bar;\nstruct T { bar a; };", "line 3: .* 'Foo'"),
    "type of an inner one": (
        "struct U { Foo a; };\nstruct T { char a; struct { U b[2]; }; };",
        "line 3: unknown type name 'Foo'",
    ),
    "pointer to an unknown type": ("struct T { char a; Foo *b; };", "'Foo'"),
    "member of a template": (
        "template <class X> struct U { X a; Foo b; };\nstruct T { U<int> a; };",
        "line 3: unknown type name 'Foo'",
    ),
    "bound": ("struct T { char a[COUNT]; };", "'COUNT'"),
    "value of a bound": ("enum { A = FOO, B };\nstruct T { char a[B]; };", "'FOO'"),
    "constant of a bound": (
        "static const int N = FOO;\nstruct T { char a[2 + N]; };",
        "line 4: fields must have a constant size",
    ),
    "static constant of a bound": (
        "struct T { static const int N = FOO; char a[2 + N]; };",
        "line 3",
    ),
    "function of a bound": (
        "constexpr int f() { return FOO; }\nstruct T { char a[f()]; };",
        "cannot lay T out",
    ),
    "alignment in front": (
        "__declspec(align(FOO)) struct T { char a; int b; };",
        "'FOO'",
    ),
    "alignment behind": (
        "struct T { char a; int b; } __attribute__((aligned(FOO)));",
        "'FOO'",
    ),
    "assertion in front": (
        'static_assert(sizeof(int) == 8, "no");\nstruct T { int a; };',
        "static assertion failed.* no",
    ),
    "bases with one name": (
        "struct U { int a; }; struct V { int a; };\nstruct T : U, V {};",
        "T: two fields are called 'a'",
    ),
    "pack of 3": ("#pragma pack(3)\nstruct T { char a; int b; };", "#pragma pack"),
    "pack without braces": ("#pragma pack 1\nstruct T { char a; };", "'#pragma pack'"),
    "#error": ("#error not for you\nstruct T { char a; };", "not for you"),
    "another type of Windows": ("struct T { struct DWORD a; };", "DWORD"),
}


@pytest.mark.parametrize(("header", "message"), REFUSED.values(), ids=REFUSED)
def test_what_could_move_a_field_is_refused(header: str, message: str) -> None:
    """With the compiler's message and the line; what was before it is known."""
    header = f"#pragma once\nstruct first {{ char a; }};\n{header}\n"
    with pytest.raises(LayoutError, match=message):
        Layout.from_c(header, "T")
    if "static_assert" not in header:
        assert Layout.from_c(header, "first").size == 1


def test_the_headers_own_check_counts() -> None:
    """Behind the structure, and for the bitness that is asked for."""
    header = """
    struct T { void *a; int b; };
    static_assert(sizeof(struct T) == 16, "ABI");
    """
    assert Layout.from_c(header, "T").size == 16
    with pytest.raises(LayoutError, match=r"line 3: static assertion failed.*ABI"):
        Layout.from_c(header, "T", bits=32)


def test_a_header_without_its_end_is_refused() -> None:
    """Whatever is asked for."""
    for name in ("first", "T"):
        with pytest.raises(LayoutError, match="expected '}'"):
            Layout.from_c("struct first { char a; };\nstruct T { char b;", name)


def test_errors_of_others_do_not_matter() -> None:
    """Behind it, in functions, in other structures, in what the system has."""
    header = """
    #include <d3d11.h>
    #include <vector>
    struct device { ID3D11Device *it; std::vector<int> rows; };
    struct T { char a; int b; int get(const Foo &) const; };
    Bar make(Foo foo);
    PACKED struct last { char a; };
    """
    assert Layout.from_c(header, "T").offsets() == {"a": 0, "b": 4}
    with pytest.raises(LayoutError, match="line 4: unknown type name 'ID3D11Device'"):
        Layout.from_c(header, "device")
    with pytest.raises(LayoutError, match=r"line 7: .* 'PACKED'"):
        Layout.from_c(header, "last")


def test_a_name_that_is_not_there_is_told_what_is(tmp_path: Path) -> None:
    """The header's own names, and not those of <windows.h>; at most eight."""
    (tmp_path / "inner.h").write_text("struct inner { DWORD a; struct { int b; } c; };")
    head = '#include <windows.h>\n#include "inner.h"\ntypedef struct { int a; } told;'
    for more, names in (
        ("", "inner, told"),
        (" enum e { A }; typedef int number;", "inner, told"),
        ("".join(f"struct s{i} {{ int a; }};" for i in range(7)), "inner, told, s0, "),
    ):
        header = tmp_path / "outer.h"
        header.write_text(head + more)
        with pytest.raises(LookupError) as caught:
            Layout.from_c(header, "nowhere")
        shown = str(caught.value.args[0]).partition(": it has ")[2]
        assert shown.startswith(names)
        assert shown.count(",") == (8 if "s0" in shown else 1)
        with pytest.raises(LookupError, match=r"no struct tod in .*mean told\?"):
            Layout.from_c(header, "tod")
    with pytest.raises(LookupError, match="no struct nowhere in the header: it has T"):
        Layout.from_c("struct T { int a; };", "nowhere")
    with pytest.raises(LayoutError, match="unknown type name 'what'") as failed:
        Layout.from_c("struct told { int a; }; what is;", "tod")
    assert failed.value.__notes__ == [
        "hint: no struct tod in the header (did you mean told?)"
    ]
    (tmp_path / "own.c").write_text("struct own { DWORD a; };")
    for plain, names in (("int a;", "none"), (tmp_path / "own.c", "own")):
        with pytest.raises(LookupError, match=f"it has {names}$"):
            Layout.from_c(plain, "nowhere")


def test_defines_are_the_users_word() -> None:
    """What a header lacks or leaves open."""
    header = "PACKED struct T { TCHAR name[N]; Foo *next; };"
    told = {"PACKED": "", "N": 8, "Foo": "void"}
    assert Layout.from_c(header, "T", defines=told).offsets() == {"name": 0, "next": 8}
    wide = Layout.from_c(header, "T", defines=told | {"UNICODE": 1})
    assert wide["next"].offset == wide["name"].size == 16
    assert (wide["name"].kind, wide["name"].count) == ("u", 8)
    assert Layout.from_c(header, "T", defines=told | {"_UNICODE": 1}) == wide
    header = "#if A\nstruct T { int a; };\n#else\nstruct T { char a; };\n#endif"
    for value, size in ((True, 4), (None, 4), (1, 4), (False, 1), (0, 1)):
        assert Layout.from_c(header, "T", defines={"A": value}).size == size
    with pytest.raises(ValueError, match="bits must be 32 or 64, not 16"):
        Layout.from_c(header, "T", bits=16)  # type: ignore[arg-type]


def test_names_in_scopes() -> None:
    """By the whole name, or by the last part where only one has it."""
    header = """
    namespace a { struct S { char x; }; }
    namespace a { struct U { int y; struct inner { short z; } i; }; }
    namespace b { struct S { int x; }; }
    """
    assert Layout.from_c(header, "a::S").size == 1
    assert Layout.from_c(header, "b::S").size == 4
    assert Layout.from_c(header, "U") == Layout.from_c(header, "a::U")
    assert Layout.from_c(header, "inner") == Layout.from_c(header, "a::U::inner")
    with pytest.raises(LookupError, match="a::S, b::S"):
        Layout.from_c(header, "S")


def test_names_that_only_the_compiler_knows() -> None:
    """Of what is elsewhere or made from a template; a pointer is no structure."""
    header = """
    namespace a { inline namespace v1 { struct S { short x; }; } }
    namespace b = a;
    template <class X> struct U { X x, y; };
    typedef U<short> V;
    struct W { V v; };
    typedef W *P, rows[2];
    template <class X> struct bad { X x; Foo y; };
    typedef bad<int> B;
    """
    for name in ("a::S", "b::S", "::a::S"):
        assert Layout.from_c(header, name).size == 2
    for name in ("V", "U<short>", "W", "struct W", "::W"):
        layout = Layout.from_c(header, name)
        assert (layout.size, layout.alignment) == (4, 2)
    assert Layout.from_c(header, "U<short>").name == "U<short>"
    for name in ("P", "rows", "X", "int", "W a; int"):
        with pytest.raises(LookupError, match="no struct"):
            Layout.from_c(header, name)
    with pytest.raises(LayoutError, match="line 8: unknown type name 'Foo'"):
        Layout.from_c(header, "B")


# ----------------------------------------------------------------------- files


def test_a_system_header_may_be_missing_from_an_included_one(tmp_path: Path) -> None:
    """What it declares is missed itself; a header of the project's own is needed."""
    (tmp_path / "main.h").write_text('#include "used.h"\nstruct T { used a; };')
    used = tmp_path / "used.h"
    used.write_text("#include <stdio.h>\n#include <INITGUID.H>\ntypedef int used;")
    assert Layout.from_c(tmp_path / "main.h", "T").size == 4
    used.write_text('#include "initguid_.h"\ntypedef int used;')
    with pytest.raises(LayoutError, match=r"used\.h, line 1: 'initguid_\.h' file"):
        Layout.from_c(tmp_path / "main.h", "T")


def test_a_message_of_a_control_has_its_header() -> None:
    """NMHDR is of <winuser.h>, and in the headers of plug-ins."""
    header = "#include <windows.h>\nstruct T { NMHDR h; int code; };"
    assert Layout.from_c(header, "T").offsets()["code"] == 24
    assert Layout.from_c(header, "T", bits=32).offsets()["code"] == 12


def test_a_path_finds_its_includes(tmp_path: Path) -> None:
    """Beside itself, and in the folders that are named; a change of one is seen."""
    more = tmp_path / "more"
    more.mkdir()
    (tmp_path / "main.h").write_text(
        '#include "beside.h"\n#include <other.h>\nstruct T { beside a; other b; };'
    )
    (tmp_path / "beside.h").write_text("#pragma once\ntypedef char beside;")
    with pytest.raises(LayoutError, match=r"'other\.h' file not found|'other'"):
        Layout.from_c(tmp_path / "main.h", "T")
    (more / "other.h").write_text("typedef int other;")
    layout = Layout.from_c(tmp_path / "main.h", "T", include=[more])
    assert layout.offsets() == {"a": 0, "b": 4}
    (more / "other.h").write_text("typedef long long other; // wider")
    for folders in ([str(more)], str(more), more):
        layout = Layout.from_c(str(tmp_path / "main.h"), "T", include=folders)
        assert layout.offsets() == {"a": 0, "b": 8}
    with pytest.raises(FileNotFoundError):
        Layout.from_c(tmp_path / "absent.h", "T")


def test_an_include_is_compiled_as_the_header_is(tmp_path: Path) -> None:
    """Its errors count, its structures are found, and so are bases from there."""
    (tmp_path / "deep.h").write_text(
        "#include <vector>\n" + "// long\n" * 100 + "struct B { char a; int b; };\n"
        "struct U { char a; Foo b; };\nstd::vector<int> all;\n"
    )
    header = tmp_path / "main.h"
    header.write_text('#include "deep.h"\nstruct T : B { short c; };')
    assert Layout.from_c(header, "T").offsets() == {"a": 0, "b": 4, "c": 8}
    assert Layout.from_c(header, "B").size == 8
    with pytest.raises(LayoutError, match=r"deep\.h, line 103: .* 'Foo'"):
        Layout.from_c(header, "U")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_encoding_of_a_header(tmp_path: Path, encoding: str) -> None:
    """A mark at the beginning does not hide the first line."""
    text = "#pragma pack(1)\r\nstruct T { char a; int b; }; // m\xfcde\r\n"
    (tmp_path / "h.hpp").write_bytes(text.encode(encoding))
    assert Layout.from_c(tmp_path / "h.hpp", "T").size == 5
    assert Layout.from_c("\ufeff" + text, "T").size == 5
    (tmp_path / "main.h").write_bytes('#include "h.hpp"\r\n'.encode(encoding))
    assert Layout.from_c(tmp_path / "main.h", "T").size == 5


def test_a_text_may_have_bytes_that_are_none() -> None:
    """As open(errors="surrogateescape") reads them, in a comment."""
    assert Layout.from_c("struct T { int a; }; // m\udcfcde", "T").size == 4


def test_a_c_file_is_c(tmp_path: Path) -> None:
    """An enum is no type of one byte there, and `struct` opens no namespace."""
    (tmp_path / "h.c").write_text(
        "struct P { int x; }; struct T { char P; int class; };"
        "struct U { char a[sizeof('a')]; };"
    )
    assert Layout.from_c(tmp_path / "h.c", "T").offsets() == {"P": 0, "class": 4}
    assert Layout.from_c(tmp_path / "h.c", "U").size == 4


def test_an_sdk_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What INCLUDE names, as in a developer's prompt, is before our own facts."""
    header = "#include <windows.h>\nstruct T { char name[MAX_PATH]; POINT at; };"
    assert Layout.from_c(header, "T").size == 268
    text = "#define MAX_PATH 8\ntypedef struct { double x, y; } POINT;\n"
    # Of a compiler's own header, which is not here; what needs it does not matter.
    text += '#include "xmm.h"\nMACRO(1);\nstruct s { __m128 a; };\n#error no\n'
    (tmp_path / "windows.h").write_text(text)
    monkeypatch.setenv("INCLUDE", str(tmp_path))
    header += "struct U { struct s a; };"
    assert Layout.from_c(header, "T").size == 24
    with pytest.raises(LayoutError, match=r"windows\.h, line 5: .*'__m128'"):
        Layout.from_c(header, "U")


def test_a_header_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 lines are, for all their structures; another header is parsed itself."""
    lines = [f"struct s{i} {{ int a[{i + 1}]; DWORD b; }};" for i in range(3000)]
    header = "\n".join([*lines, "struct derived : s1, s2 {};"])
    assert Layout.from_c(header, "s2999").size == 12004
    with pytest.raises(LayoutError, match="two fields are called 'a'"):
        Layout.from_c(header, "derived")

    def parse(*_: object) -> None:
        pytest.fail("parsed again")

    monkeypatch.setattr("clang.cindex.Index.parse", parse)
    assert Layout.from_c(header, "s2998").size == 12000
    with pytest.raises(LayoutError, match="two fields are called 'a'"):
        Layout.from_c(header, "derived")
    with pytest.raises(pytest.fail.Exception):
        Layout.from_c(header + "\n", "s2998")


def test_without_libclang_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An ImportError; the other ways to a layout need nothing."""
    for name in ("clang", "clang.cindex", "winipc.memory._clang"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "winipc.memory._clang")
    with pytest.raises(ImportError, match=r"pip install winipc\[headers\]"):
        Layout.from_c("struct T { int a; };", "T")
    assert Layout.of("T", "a:i").size == 4


# ------------------------------------------------------------------------ views


def test_bit_fields_are_read_and_written() -> None:
    """Without the bits beside them; ctypes sees the same."""

    class Witness(ctypes.Structure):
        _fields_ = [
            ("a", ctypes.c_uint32, 3),
            ("b", ctypes.c_int32, 7),
            ("c", ctypes.c_int32, 22),
            ("d", ctypes.c_uint64, 40),
        ]

    layout = Layout.from_c(
        "struct T { unsigned a : 3; int b : 7, c : 22; unsigned long long d : 40;"
        " bool e : 1; char f; };",
        "T",
    )
    assert [field.name for field in layout] == list("abcdef")
    assert (layout.size, layout["f"].offset) == (24, 17)
    with SharedMapping.create(None, 64) as mapping:
        view, witness = mapping.struct_view(layout), Witness.from_buffer(mapping)
        view.a, view.b, view.c, view.d, view.e = 5, -64, -1, 2**40 - 1, True
        assert (witness.a, witness.b, witness.c, witness.d) == (5, -64, -1, 2**40 - 1)
        witness.b = 63
        assert (view.a, view.b, view.c, view.d) == (5, 63, -1, 2**40 - 1)
        assert view.e is True
        for name, value in {"a": 8, "b": 64, "e": 2, "d": -1}.items():
            with pytest.raises(ValueError, match=f"^{name}: .* does not fit"):
                view[name] = value
        with pytest.raises(TypeError):
            view.a = 1.5
        del witness


def test_arrays_of_characters_are_text() -> None:
    """Whatever they are called; arrays of other bytes are numbers."""
    layout = Layout.from_c(
        "typedef unsigned char u8char; typedef char Name[4];\n"
        "struct T { wchar_t name[4]; wchar_t one; unsigned char nick[4]; Name c;"
        " TCHAR rows[2][4]; const UCHAR d[4]; u8char e[4]; uint8_t raw[3]; BYTE b[3];"
        " signed char s[3]; GUID id; char8_t f[4]; };",
        "T",
    )
    with SharedMapping.create(None, 128) as mapping:
        view = mapping.struct_view(layout)
        for name in ("name", "nick", "c", "d", "e", "f"):
            view[name] = "Zo\xeb"
            assert view[name] == "Zo\xeb"
            with pytest.raises(ValueError, match=f"^{name}: "):
                view[name] = "abcde"
        assert (view.nick.raw, view.name.raw) == (b"Zo\xc3\xab", b"Z\0o\0\xeb\0\0\0")
        view.one = "\xdf"
        view.rows = ("ab", b"cdef")
        assert (view.one, view.rows) == ("\xdf", ("ab", "cdef"))
        view.name = "ab".encode("utf-16-le")
        assert view.as_dict()["name"] == "ab"
        with pytest.raises(ValueError, match=r"^name: 10 bytes do not fit in 8"):
            view.name = "abcde"
        view.raw = b"ab"
        assert view.raw == (97, 98, 0)
        with pytest.raises(ValueError, match=r"^raw: 4 bytes"):
            view.raw = b"abcd"
        assert (view.b, view.s, view.id.Data4) == ((0,) * 3, (0,) * 3, (0,) * 8)
    layout = Layout.from_c(
        "typedef unsigned short wchar_t; typedef wchar_t WCHAR;"
        " struct T { wchar_t a[2]; WCHAR b[2]; unsigned short class[2]; };",
        "T",
    )
    assert [field.kind for field in layout] == ["u", "u", "H"]


def test_a_view_of_bytes_is_of_a_copy() -> None:
    """Of anything that exports them, such as a message."""
    layout = Layout.of("point", "x:h y:h")
    for data in (b"\1\0\2\0", bytearray(b"\1\0\2\0"), memoryview(b"\1\0\2\0")):
        view = StructView(data, layout)
        assert view.as_dict() == {"x": 1, "y": 2}
        with pytest.raises(TypeError, match="read-only"):
            view.x = 2
    with pytest.raises(ValueError, match="needs"):
        StructView(b"abc", layout)


def test_atomics_are_numbers() -> None:
    """As what they guard is."""
    header = "#include <atomic>\nstruct T { std::atomic<short> a; _Atomic int b; };"
    assert [field.kind for field in Layout.from_c(header, "T")] == ["h", "i"]


def test_what_has_no_code_is_bytes() -> None:
    """In `raw`, with the size and alignment that the compiler gives it."""
    layout = Layout.from_c("struct T { char a; _Complex double b; };", "T")
    assert layout.offsets() == {"a": 0, "b": 8, "b.raw": 8}
    assert StructView(bytes(24), layout).as_dict() == {
        "a": b"\0",
        "b": {"raw": bytes(16)},
    }


def test_enums_give_members_where_asked() -> None:
    """Also of arrays and bit-fields; a number without a name is a number."""
    header = """
    enum class gear : signed char { reverse = -1, neutral, first };
    typedef enum { off, on = 2 } power;
    struct T { gear g; power p[2]; power bit : 3; };
    """
    data = Layout.from_c(header, "T").pack(g=-1, p=(2, 7), bit=2)
    layout = Layout.from_c(header, "T", enums=True)
    plain = Layout.from_c(header, "T").unpack(data)
    record = layout.unpack(data)
    assert (plain.g, plain.p, plain.bit) == (record.g, record.p, record.bit)
    assert repr(plain) == "T(g=-1, p=(2, 7), bit=2)"
    assert (record.g.name, record.p[0].name, record.bit.name) == ("reverse", "on", "on")
    assert type(record.p[1]) is int
    for given in (
        {"g": "reverse", "p": ("on", 7), "bit": "on"},
        {"g": -1, "p": (record.p[0], 7), "bit": 2},
    ):
        assert layout.unpack(layout.pack(given)) == record
    with SharedMapping.create(None, layout.size) as mapping:
        view = mapping.struct_view(layout)
        view.g, view["p[1]"] = "reverse", "on"
        assert (int(view.g), int(view.p[1])) == (-1, 2)
    for field, value, told in (
        ("g", "first1", "gear has no 'first1': it has reverse, neutral, first"),
        ("p", ("on", "-"), "power has no '-': it has off, on"),
    ):
        with pytest.raises(ValueError, match=f"^{field}: {told}$"):
            layout.pack({field: value})
    header = "enum own { mro = 1 }; enum own2 { _x_ }; struct T { own a; own2 b; };"
    layout = Layout.from_c(header, "T", enums=True)
    assert layout.unpack(layout.pack(a=1)).as_dict() == {"a": 1, "b": 0}


def test_structures_without_a_name_are_called_as_their_fields() -> None:
    header = "struct T { struct { int a; } one, two[2]; union { int b; }; };"
    layout = Layout.from_c(header, "T")
    assert repr(layout.unpack(bytes(layout.size))) == (
        "T(one=one(a=0), two=(two(a=0), two(a=0)), b=0)"
    )


def test_enums_of_a_header_travel_by_pickle_and_copy() -> None:
    """Also where the header was not read; a process has one enum of such members."""
    header = """
    enum class gear : signed char { reverse = -1, neutral, back = -1 };
    struct inner { gear g; };
    struct T { gear p[2]; inner i; };
    """
    layout = Layout.from_c(header, "T", enums=True)
    record = layout.unpack(layout.pack(p=(-1, 0), i={"g": -1}))
    assert (
        copy.deepcopy(record).i.g
        is record.i.g
        is pickle.loads(pickle.dumps(record.i.g))
    )
    sent = [pickle.dumps(record, protocol) for protocol in (0, pickle.HIGHEST_PROTOCOL)]
    enum_of.cache_clear()
    for data in sent:
        back = pickle.loads(data)
        kind = back._layout["p"].enum
        assert back == record
        assert back._layout == layout
        assert back.p == (kind.reverse, kind.neutral)
        assert back.p[0] is kind.back is kind.reverse is back.i.g
        assert repr(back) == repr(record)


def test_pointers_are_numbers_of_their_width() -> None:
    """Shown as addresses of the program that has them."""
    header = "struct T { void *at; int (*call)(int); const char *names[2]; char &it; };"
    for bits, top in ((32, 2**32 - 1), (64, 2**64 - 1)):
        layout = Layout.from_c(header, "T", bits=bits)
        record = layout.unpack(layout.pack(at=top, names=(1, 2)))
        assert (record.at, record.names) == (top, (1, 2))
        assert layout["it"].size == bits // 8
        assert f"at=0x{top:x}, call=0x{0:0{bits // 4}x}" in repr(record)
        with pytest.raises(ValueError, match=r"^at: "):
            layout.pack(at=top + 1)
