"""A layout in other type systems: ctypes, NumPy, and the source of C, C# and Rust.

Each field gets the layout's offset, whatever a language's rules of alignment are. The
bytes between two fields are padding with a name. Fields that share bytes (of a union,
or bit-fields) become members of a union, each after padding of its own. An enum is
declared with its constants; a field of it is a number of the exact size, except in C#.
"""

from __future__ import annotations

import ctypes
import enum
import importlib
import pprint
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from winipc.memory.layout import Field, Layout, size_of

#: The types for the codes in each language. If a language has no such bool or float,
#: the type is an integer.
_C = {
    **{"c": "char", "b": "int8_t", "B": "uint8_t", "?": "bool", "h": "int16_t"},
    **{"H": "uint16_t", "i": "int32_t", "I": "uint32_t", "l": "int32_t"},
    **{"L": "uint32_t", "q": "int64_t", "Q": "uint64_t", "f": "float"},
    **{"d": "double", "e": "uint16_t", "u": "wchar_t"},
}
_RUST = {
    **{"c": "u8", "b": "i8", "B": "u8", "?": "u8", "h": "i16", "H": "u16"},
    **{"i": "i32", "I": "u32", "l": "i32", "L": "u32", "q": "i64", "Q": "u64"},
    **{"f": "f32", "d": "f64", "e": "u16", "u": "u16"},
}
_CSHARP = {
    **{"c": "byte", "b": "sbyte", "B": "byte", "?": "byte", "h": "short"},
    **{"H": "ushort", "i": "int", "I": "uint", "l": "int", "L": "uint"},
    **{"q": "long", "Q": "ulong", "f": "float", "d": "double", "e": "ushort"},
    "u": "char",
}
_CTYPES = {
    **{"c": "c_char", "b": "c_int8", "B": "c_uint8", "?": "c_bool", "h": "c_int16"},
    **{"H": "c_uint16", "i": "c_int32", "I": "c_uint32", "l": "c_int32"},
    **{"L": "c_uint32", "q": "c_int64", "Q": "c_uint64", "f": "c_float"},
    **{"d": "c_double", "e": "c_uint16", "u": "c_wchar"},
}
#: Names that a field cannot have in one of the languages.
_KEYWORDS = """
    abstract alignas alignof and as asm async auto await base become bool box break
    case catch char checked class compl const continue crate decimal default
    delegate delete do double dyn else enum event explicit export extern false final
    finally fixed float fn for foreach friend goto if impl implicit in inline int
    interface internal is let lock long loop macro match mod move mut mutable
    namespace new not null object operator or out override params priv private
    protected pub public readonly ref register return sbyte sealed self short signed
    sizeof stackalloc static string struct super switch template this throw trait
    true try type typedef typeof typename uint ulong unchecked union unsafe unsigned
    unsized use ushort using virtual void volatile wchar_t where while xor yield
    Self
"""


#: The names of structures, and of enums with the code of their numbers.
_Enum: TypeAlias = "tuple[type[enum.IntEnum], str]"
_Names: TypeAlias = "dict[Layout | _Enum, str]"
#: An enum: what is before its members, each member, and what is behind them.
_PYTHON = (
    "# values of {fields}\n{name} = enum.IntEnum(\n    {name!r},\n    {{",
    *("        {member!r}: {value},", "    }},\n)"),
)
_ENUMS = {
    "c": ("/* values of {fields} */\nenum {name} {{", "    {member} = {value},", "}};"),
    "csharp": (
        "// values of {fields}\npublic enum {name} : {type}\n{{",
        *("    {member} = {value},", "}}"),
    ),
    "rust": (
        "/// values of {fields}\n"
        "#[allow(dead_code, non_snake_case, non_upper_case_globals)]\n"
        "pub mod {name} {{",
        *("    pub const {member}: {type} = {value};", "}}"),
    ),
    **{"ctypes": _PYTHON, "numpy": _PYTHON},
}


def declaration(layout: Layout, language: str) -> str:
    """The source of a declaration, with assertions of sizes if the language has them.

    `language` is "c" (and C++), "ctypes", "numpy", "csharp" or "rust".
    """
    makers = {"c": _c, "ctypes": _ctypes_source, "csharp": _csharp, "rust": _rust}
    names = _named(layout)
    told = f"{names[layout].upper()}_LAYOUT"
    lines = [f"#ifndef {told}"] if language == "c" else []
    enums = [*_enums(language, names)]
    lines += ["import enum"] if enums and _ENUMS[language] is _PYTHON else []
    lines += [_HEADS[language], *enums]
    if language == "numpy":
        spec = pprint.pformat(_dtype_spec(layout), sort_dicts=False, width=88)
        bits = [
            f"{names[one]}.{f.name}" for one in _structs(names) for f in one if f.bits
        ]
        note = f"# Without bit-fields, which NumPy lacks: {', '.join(bits)}\n"
        made = f"{names[layout]} = numpy.dtype(\n{spec}\n)\n"
        return "\n".join([*lines, f"{note if bits else ''}{made}"])
    for one in _structs(names):
        lines += [*makers[language](one, names), ""]
    if language == "c":
        number = f"UINT64_C({layout.fingerprint:#x})"
        lines += ["#pragma pack(pop)", ""]
        lines += [f"#define {told} {number}", "#endif", ""]
    return "\n".join(lines)


_HEADS = {
    "c": "#include <assert.h>\n#include <stdbool.h>\n#include <stddef.h>\n"
    "#include <stdint.h>\n\n#pragma pack(push, 1)\n",
    "ctypes": "import ctypes\n",
    "csharp": "using System.Runtime.InteropServices;\n",
    "rust": "",
    "numpy": "import numpy\n",
}


def _word(name: str) -> str:
    """The name, changed if a language reserves it."""
    word = re.sub(r"\W+", "_", name.rpartition("::")[2]).strip("_") or "unnamed"
    return f"{word}_" if word in _KEYWORDS.split() or word[0].isdigit() else word


def _named(layout: Layout) -> _Names:
    """A name for each structure in a layout, inner ones first, and for each enum."""
    names: _Names = {}

    def name(one: Layout | _Enum, own: str, called: str) -> None:
        is_bad = own in ("struct_", "enum_") or own in names.values()
        names[one] = called if is_bad else own

    def add(one: Layout, called: str) -> None:
        own = _word(one.name)
        for field in one:
            if isinstance(field.kind, Layout) and field.kind not in names:
                add(field.kind, f"{own}_{_word(field.name)}")
        name(one, own, called)

    add(layout, "unnamed")
    for one in _structs(names):
        for field in one:
            if (of := _enum_of(field)) is not None and of not in names:
                called = f"{names[one]}_{_word(field.name)}"
                name(of, _word(of[0].__name__), called)
    return names


def _structs(names: _Names) -> list[Layout]:
    return [one for one in names if isinstance(one, Layout)]


def _enum_of(field: Field) -> _Enum | None:
    return None if field.enum is None else (field.enum, str(field.kind))


def _enums(language: str, names: _Names) -> Iterator[str]:
    """The source of all enums, each with the fields that have it."""
    found: dict[_Enum, list[str]] = {}
    for one in _structs(names):
        for field in one:
            if (of := _enum_of(field)) is not None:
                found.setdefault(of, []).append(f"{names[one]}.{field.name}")
    before, each, behind = _ENUMS[language]
    taken = {*names.values()}
    for of, fields in found.items():
        kind, code = of
        told = {"name": names[of], "fields": ", ".join(fields)}
        told["type"] = (_RUST if language == "rust" else _CSHARP)[code]
        yield before.format(**told)
        for member, value in kind.__members__.items():
            text, word = f"{value:d}", _word(member)
            if language == "c":  # all constants are in one scope
                word = f"{names[of]}_{member}" if word in taken else word
                taken.add(word)
                text += "u" * (value > 0x7FFFFFFF)
            yield each.format(member=word, value=text, **told)
        yield f"{behind.format()}\n"


def _span(layout: Layout, field: Field) -> tuple[int, int]:
    """Where a field's bytes begin and end; a bit-field counts as its whole number."""
    size = field.size if field.bits is None else size_of(field.kind)
    start = min(field.offset, layout.size - size) if field.bits else field.offset
    return start, start + size


def _pieces(layout: Layout) -> Iterator[tuple[int, int, list[Field]]]:
    """The pieces of a layout from the first byte to the last, with their fields.

    A piece without a field is padding; one with several fields, or with a bit-field, is
    a union.
    """
    at, end, members = 0, 0, list[Field]()
    for field in sorted(layout, key=lambda field: _span(layout, field)):
        start, stop = _span(layout, field)
        if start >= end:
            if members:
                yield at, end, members
            if start > end:
                yield end, start, []
            at, end, members = start, stop, []
        end = max(end, stop)
        members.append(field)
    if members:
        yield at, end, members
    if end < layout.size:
        yield end, layout.size, []


def _low_bit(layout: Layout, field: Field) -> int:
    """The lowest bit of a bit-field in the number at the start of its span."""
    lowest, _ = field.bits or (0, 0)
    return 8 * (field.offset - _span(layout, field)[0]) + lowest


# --------------------------------------------------------------------- NumPy


def dtype(layout: Layout) -> Any:
    """The NumPy dtype, without bit-fields, which NumPy lacks."""
    return importlib.import_module("numpy").dtype(_dtype_spec(layout))


def _dtype_spec(layout: Layout) -> dict[str, Any]:
    fields = [field for field in layout if field.bits is None]
    return {
        "names": [field.name for field in fields],
        "formats": [_format(field) for field in fields],
        "offsets": [field.offset for field in fields],
        "itemsize": layout.size,
    }


def _format(field: Field) -> Any:
    kind, shape = field.kind, field.shape
    one: Any
    if isinstance(kind, Layout):
        one = _dtype_spec(kind)
    elif kind == "c":
        one, shape = f"S{shape[-1] if shape else 1}", shape[:-1]
    elif kind in "?efd":
        one = {"?": "?", "e": "<f2", "f": "<f4", "d": "<f8"}[kind]
    else:
        one = f"<{'i' if kind.islower() and kind != 'u' else 'u'}{size_of(kind)}"
    return (one, shape) if shape else one


# -------------------------------------------------------------------- ctypes


def ctypes_type(layout: Layout) -> Any:
    """A ctypes Structure; laid out by ctypes itself if that gives the same offsets."""
    return _ctypes_type(layout, _named(layout))


def _ctypes_type(layout: Layout, names: _Names) -> Any:
    kinds = {field.name: _ctypes_kind(field, names) for field in layout}
    plain = [_ctypes_field(field, kinds[field.name]) for field in layout]
    for pack in ({}, {"_pack_": layout.alignment}):
        body = {**pack, "_layout_": "ms", "_fields_": plain}
        made = type(names[layout], (ctypes.Structure,), body)
        if _places(Layout.from_ctypes(made)) == _places(layout):
            return made
    fields: list[Any] = []
    unions = []
    for at, end, members in _pieces(layout):
        if not members:
            fields.append((f"pad_{at}", ctypes.c_uint8 * (end - at)))
        elif len(members) == 1 and members[0].bits is None:
            fields += [_ctypes_field(members[0], kinds[members[0].name])]
        else:
            own = [_ctypes_member(layout, f, kinds[f.name], at) for f in members]
            body = {"_fields_": own, "_anonymous_": [name for name, _ in own]}
            union = type(f"{names[layout]}_{at}", (ctypes.Union,), body)
            unions.append(f"union_{at}")
            fields.append((unions[-1], union))
    body = {"_pack_": 1, "_layout_": "ms", "_anonymous_": unions, "_fields_": fields}
    return type(names[layout], (ctypes.Structure,), body)


def _places(layout: Layout) -> Any:
    return layout.size, [(f.offset, f.size, f.bits) for f in layout]


def _ctypes_kind(field: Field, names: _Names) -> Any:
    if isinstance(field.kind, Layout):
        kind = _ctypes_type(field.kind, names)
    else:
        kind = getattr(ctypes, _CTYPES[field.kind])
    for length in reversed(field.shape):
        kind *= length
    return kind


def _ctypes_field(field: Field, kind: Any) -> Any:
    return (
        (field.name, kind) if field.bits is None else (field.name, kind, field.bits[1])
    )


def _ctypes_member(layout: Layout, field: Field, kind: Any, at: int) -> tuple[str, Any]:
    """A structure of one field and the padding before it."""
    start, low = _span(layout, field)[0], _low_bit(layout, field)
    fields: list[Any] = []
    if start > at:
        fields.append((f"{field.name}_behind", ctypes.c_uint8 * (start - at)))
    if low:
        fields.append((f"{field.name}_above", kind, low))
    fields.append(_ctypes_field(field, kind))
    body = {"_pack_": 1, "_layout_": "ms", "_fields_": fields}
    return f"of_{field.name}", type(f"of_{field.name}", (ctypes.Structure,), body)


def _ctypes_source(layout: Layout, names: _Names) -> Iterator[str]:
    name = names[layout]
    yield from _ctypes_class(_ctypes_type(layout, names), frozenset(names.values()))
    yield f"assert ctypes.sizeof({name}) == {layout.size}"
    for field in layout:
        if field.bits is None:
            yield f"assert {name}.{field.name}.offset == {field.offset}"


def _ctypes_class(kind: Any, known: frozenset[str]) -> Iterator[str]:
    rows = []
    for name, of, *width in kind._fields_:
        text, dimensions = "", ""
        while issubclass(of, ctypes.Array):
            of, dimensions = of._type_, f" * {of._length_}{dimensions}"
        if issubclass(of, (ctypes.Structure, ctypes.Union)):
            if of.__name__ not in known:
                yield from _ctypes_class(of, known)
            text = of.__name__
        else:
            text = f"ctypes.{_CTYPES[of._type_]}"
        rows.append(f"({name!r}, {', '.join([text + dimensions, *map(str, width)])}),")
    yield f"class {kind.__name__}(ctypes.{kind.__base__.__name__}):"
    for option in ("_pack_", "_layout_", "_anonymous_"):
        if (value := getattr(kind, option, None)) not in (None, []):
            yield f"    {option} = {value!r}"
    yield from (
        "    _fields_ = [",
        *(f"        {row}" for row in rows),
        "    ]",
        "",
        "",
    )


# ------------------------------------------------------------------ C and C++


def _c(layout: Layout, names: _Names) -> Iterator[str]:
    name = names[layout]
    yield f"typedef struct {name} {{"
    for at, end, members in _pieces(layout):
        if not members:
            yield f"    uint8_t pad_{at}[{end - at}];"
        elif len(members) == 1 and members[0].bits is None:
            yield f"    {_c_field(members[0], names)}"
        else:
            yield "    union {"
            for field in members:
                start, low = _span(layout, field)[0], _low_bit(layout, field)
                parts = [f"uint8_t behind_{field.name}[{start - at}];"] * (start > at)
                parts += [f"{_C[str(field.kind)]} : {low};"] if low else []
                parts.append(_c_field(field, names))
                is_one = len(parts) == 1 and field.bits is None
                text = " ".join(parts)
                yield f"        {text if is_one else f'struct {{ {text} }};'}"
            yield "    };"
    yield f"}} {name};"
    yield f'static_assert(sizeof({name}) == {layout.size}, "{name}");'
    for field in layout:
        if field.bits is None and field.size:
            place = f"offsetof({name}, {_word(field.name)}) == {field.offset}"
            yield f'static_assert({place}, "{name}.{field.name}");'


def _c_field(field: Field, names: _Names) -> str:
    kind = field.kind
    # Without the word struct, C++ refuses a field that is called as its type.
    of = f"struct {names[kind]}" if isinstance(kind, Layout) else _C[kind]
    text = f"{of} {_word(field.name)}"
    if field.bits is not None:
        return f"{text} : {field.bits[1]};"
    text += "".join(f"[{length}]" for length in field.shape) + ";"
    text = text if field.size else f"/* {text} */"
    return f"{text} /* a pointer */" if field.is_pointer else text


# ----------------------------------------------------------------------- Rust


def _rust(layout: Layout, names: _Names) -> Iterator[str]:
    name, methods, checks = names[layout], list[str](), list[str]()
    yield "#[allow(dead_code, non_camel_case_types, non_snake_case)]"
    yield "#[repr(C, packed)]"
    yield "#[derive(Clone, Copy)]"
    yield f"pub struct {name} {{"
    for at, end, members in _pieces(layout):
        if not members:
            yield f"    pub pad_{at}: [u8; {end - at}],"
        elif len(members) == 1 and members[0].bits is None:
            [field] = members
            yield f"    pub {_word(field.name)}: {_rust_type(field, names)},"
            place = f"core::mem::offset_of!({name}, {_word(field.name)})"
            checks.append(f"{place} == {field.offset}")
        else:
            yield f"    /// {', '.join(field.name for field in members)}"
            yield f"    pub shared_{at}: [u8; {end - at}],"
            for f in members:
                methods += _rust_methods(layout, f, names, at)
    yield "}"
    if methods:
        yield "#[allow(dead_code, non_snake_case)]"
        yield from (f"impl {name} {{", *methods, "}")
    for check in (f"core::mem::size_of::<{name}>() == {layout.size}", *checks):
        yield f"const _: () = assert!({check});"


def _rust_type(field: Field, names: _Names) -> str:
    kind = field.kind
    text = names[kind] if isinstance(kind, Layout) else _RUST[kind]
    for length in reversed(field.shape):
        text = f"[{text}; {length}]"
    return text


def _rust_methods(
    layout: Layout, field: Field, names: _Names, at: int
) -> Iterator[str]:
    """What reads and what writes a field that shares its bytes with others."""
    kind = _rust_type(field, names)
    name, start = _word(field.name), _span(layout, field)[0] - at
    read = f"self.shared_{at}.as_ptr().add({start}).cast::<{kind}>().read_unaligned()"
    got, put = f"unsafe {{ {read} }}", "value"
    if field.bits is not None:  # up to the top, and down with the sign of its type
        width, bits, low = (
            8 * size_of(field.kind),
            field.bits[1],
            _low_bit(layout, field),
        )
        mask = f"{(1 << bits) - 1 << low:#x}u{width}"
        put = f"(({got} as u{width}) & !{mask} | (value as u{width}) << {low} & {mask})"
        put += f" as {kind}"
        got = f"({got}) << {width - low - bits} >> {width - bits}"
    write = f"self.shared_{at}.as_mut_ptr().add({start}).cast::<{kind}>()"
    yield f"    pub fn {name}(&self) -> {kind} {{ {got} }}"
    yield f"    pub fn set_{name}(&mut self, value: {kind}) {{"
    yield f"        let value = {put};"
    yield f"        unsafe {{ {write}.write_unaligned(value) }}"
    yield "    }"


# ------------------------------------------------------------------------- C#


def _csharp(layout: Layout, names: _Names) -> Iterator[str]:
    explicit = f"LayoutKind.Explicit, Size = {layout.size}, CharSet = CharSet.Unicode"
    yield f"[StructLayout({explicit})]"
    yield f"public unsafe struct {names[layout]}"
    yield "{"
    for field in layout:
        start, _ = _span(layout, field)
        for line in _csharp_field(layout, field, names):
            yield f"    {line.replace('@', f'[FieldOffset({start})]')}"
    yield "}"


def _csharp_field(layout: Layout, field: Field, names: _Names) -> Iterator[str]:
    kind, name = field.kind, _word(field.name)
    text = names[kind] if isinstance(kind, Layout) else _CSHARP[kind]
    of = _enum_of(field)
    shown = text if of is None else names[of]
    if field.bits is not None:  # up to the top, and down with the sign of its type
        wide = "long" if str(kind).islower() else "ulong"
        low, width = _low_bit(layout, field), field.bits[1]
        yield f"@ private {text} _{name};"
        got = f"({shown})(({wide})_{name} << {64 - low - width} >> {64 - width})"
        mask = f"{(1 << width) - 1 << low:#x}UL"
        made = f"(ulong)_{name} & ~{mask} | (ulong)value << {low} & {mask}"
        put = f"_{name} = unchecked(({text})({made}));"
        yield f"public {shown} {name} {{ get {{ return {got}; }} set {{ {put} }} }}"
    elif not field.shape:
        yield f"@ public {shown} {name};"
    elif not field.size:
        yield f"// {text} {name}[]"
    elif not isinstance(kind, Layout):
        yield f"@ public fixed {text} {name}[{field.count}];"
    else:
        yield f"@ private fixed byte _{name}[{field.size}];"
        yield f"public ref {text} {name}(int index)"
        read = f"return ref (({text}*)first)[index];"
        yield f"{{ fixed (byte* first = _{name}) {{ {read} }} }}"
