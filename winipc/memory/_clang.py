"""C and C++ headers, read by libclang: a compiler says where each field is.

A header is compiled for Windows, with the ABI of MSVC. Without an SDK, `winipc/data`
has the parts of <windows.h> and the standard headers that shared structures use. Names
that a header uses without a declaration come from there, too. A compiler's error counts
only if it may change the structure: it is in the structure's declaration, in a
declaration that this needs, or outside all declarations.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from winipc.base.text import meant
from winipc.errors import add_hint
from winipc.memory.layout import Bits, Field, Layout, LayoutError, enum_of

try:
    from clang import cindex

    cindex.conf.get_cindex_library()
except Exception as error:  # clang has its own exception if its DLL cannot be loaded
    raise ImportError(
        "Layout.from_c reads headers by libclang: pip install winipc[headers]"
    ) from error


_DATA = Path(__file__).parents[1] / "data" / "include"
_WINDOWS = _DATA / "windows.h"
#: Files that exist only for the compiler.
_PRELUDE, _TEXT = str(_DATA / "prelude"), str(_DATA / "text" / "header")
_STD = "namespace std = winipc_names::std;\n"
_MISSING = re.compile("'(.+)' file not found")
_UNKNOWN = re.compile(
    r"(?:unknown type name|undeclared identifier|no (?:type|member) named|"
    r"incomplete type) '(?:struct |union )?(\w+)'"
)
_UTF16 = re.compile(r"byte order mark detected in '(.+?)'")
#: Errors that the compiler reports later than the place that they concern.
_AFTER = re.compile(r"redefinition of '(\w+)'|expected '}'|static.assert\w* failed")
#: Go on after a fatal error (0x200), and skip the bodies of functions.
_OPTIONS = 0x200 | cindex.TranslationUnit.PARSE_SKIP_FUNCTION_BODIES

_Kind, _Cursor = cindex.TypeKind, cindex.CursorKind
_SCOPES = _Cursor.NAMESPACE, _Cursor.LINKAGE_SPEC, _Cursor.UNEXPOSED_DECL
_OUTSIDE = *_SCOPES, _Cursor.TRANSLATION_UNIT, _Cursor.NO_DECL_FOUND
_RECORDS = _Cursor.STRUCT_DECL, _Cursor.UNION_DECL, _Cursor.CLASS_DECL
_NAMED = *_RECORDS, _Cursor.TYPEDEF_DECL, _Cursor.TYPE_ALIAS_DECL
_LOOKED_AT = frozenset((*_NAMED, *_SCOPES))
_FUNCTIONS = (
    *(_Cursor.CXX_METHOD, _Cursor.CONSTRUCTOR, _Cursor.DESTRUCTOR, _Cursor.VAR_DECL),
    *(_Cursor.CONVERSION_FUNCTION, _Cursor.FUNCTION_TEMPLATE, _Cursor.FRIEND_DECL),
)
_POINTERS = "POINTER LVALUEREFERENCE RVALUEREFERENCE NULLPTR MEMBERPOINTER"
#: The type names of characters.
_WIDE = re.compile(r"\b(wchar_t|T?W?CHAR)$")
_NARROW = re.compile(r"char(8?_t)?$", re.IGNORECASE)
#: For each kind of type its code, or its codes for 1, 2, 4 and 8 bytes.
_CODES = {
    kind: code
    for kinds, code in (
        ("BOOL", "?"),
        ("CHAR_S CHAR_U", "c"),
        ("WCHAR CHAR16", "u"),
        ("HALF", "e"),
        ("FLOAT", "f"),
        ("DOUBLE LONGDOUBLE", "d"),
        ("SCHAR SHORT INT LONG LONGLONG", "bhiq"),
        ("UCHAR USHORT UINT ULONG ULONGLONG CHAR32", "BHIQ"),
        (_POINTERS, "BHIQ"),
    )
    for kind in kinds.split()
}
#: The most names of structures in an error.
_OFFERED = 8
_LOCK = threading.Lock()


def read_header(
    header: str | os.PathLike[str],
    name: str,
    bits: Bits,
    flags: tuple[str, ...],
    encoding: str | None,
    enums: bool,
) -> Layout:
    """Read a layout as C++, or else as C.

    `header` is the text of a header if it has a newline, a brace or a semicolon; else
    it is a path.
    """
    if isinstance(header, str) and re.search(r"[\n{;]", header):
        path, text = _TEXT, header
    else:
        path = os.path.abspath(header)
        text = _read(path)
    is_c = path.lower().endswith(".c")
    told: ValueError | LookupError | None = None
    with _LOCK:  # only one thread at a time may use a translation unit
        # C has no namespace for our names, which may clash with the header's own.
        for language, helped in (("c++", True), ("c", False), ("c", True)):
            if language == "c++" and is_c:
                continue
            rest = path, language, helped, bits, flags
            try:
                return _fresh(text, *rest).layout(name, encoding, enums)
            except (LayoutError, LookupError) as error:
                told = error if is_c else told or error
            if language == "c++" and isinstance(told, LookupError):
                # For an alias or a template's instance, ask the compiler.
                probe = f"{text}\n;struct winipc_probe {{ {name} it; }};"
                with contextlib.suppress(LayoutError, LookupError):
                    found = _fresh(probe, *rest).layout("winipc_probe", encoding, enums)
                    inner = found["it"].kind
                    if isinstance(inner, Layout) and not found["it"].shape:
                        return Layout(name, inner, inner.size, inner.alignment)
    assert told is not None
    raise told


def _read(path: str) -> str:
    data = Path(path).read_bytes()
    is_wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if is_wide else "utf-8", "replace")


def _fresh(*arguments: Any) -> _Header:
    """The compiled header; it is compiled again if one of its files has changed."""
    if not _header(*arguments).is_fresh():
        _header.cache_clear()
    return _header(*arguments)


class _Header:
    """A compiled header, and the compiler's errors."""

    def __init__(
        self,
        text: str,
        path: str,
        language: str,
        helped: bool,
        bits: Bits,
        flags: tuple[str, ...],
    ) -> None:
        self._text = text.encode("utf-8", "replace")  # UTF-8 has no lone surrogates
        self._path, self._bits = path, bits
        machine = {32: "i686", 64: "x86_64"}[bits]
        self._arguments = [
            *("-x", language, f"--target={machine}-pc-windows-msvc"),
            *("-ferror-limit=0", "-fno-spell-checking", "-fno-access-control"),
            *(["-std=c++20"] if language == "c++" else []),
            *(*flags, f"-I{os.path.dirname(path)}"),
            # After an SDK, which libclang finds itself.
            *("-idirafter", str(_DATA), "-include", _PRELUDE),
        ]
        self._language, self._unknown = language, None
        self._decoded: dict[str, str] = {}  # included files in UTF-16, decoded
        self._starts: dict[str, list[int]] = {}  # the offsets of bases
        while True:
            self._unit = self._parse()
            self._errors = list(filter(_matters, self._unit.diagnostics))
            ours = (e for e in self._errors if not e.location.is_in_system_header)
            told = "\n".join(error.spelling for error in ours)
            if wide := set(_UTF16.findall(told)) - self._decoded.keys():
                self._decoded |= {file: _read(file) for file in wide}
                continue
            unknown = set(_UNKNOWN.findall(told))
            is_seen = self._unknown is not None and unknown <= self._unknown
            if not told or not helped or is_seen:
                break
            self._unknown = unknown | (self._unknown or set())
        self._is_whole = all(map(self._is_system, self._errors))
        self._files = {include.include.name for include in self._unit.get_includes()}
        self._stamps = _stamps(self._files)
        self._found: dict[str, list[Any]] = {}
        self._records: list[tuple[Any, str]] = []  # not yet indexed
        self._index(self._unit.cursor, "")

    def _is_system(self, error: Any) -> bool:
        """Whether an error is anything but a missing header of the user's.

        A missing <header> is not counted: if its names are used, they are missing, too.
        """
        found, at = _MISSING.match(error.spelling), error.location
        if found is None or "." not in found[1] or at.is_in_system_header:
            return True
        is_main = str(at.file) == self._path
        text = self._text if is_main else Path(str(at.file)).read_bytes()
        return f"<{found[1]}>".encode() in text

    def is_fresh(self) -> bool:
        """Whether no file has changed, and none is missing that may exist by now."""
        return self._is_whole and self._stamps == _stamps(self._files)

    def _parse(self, more: str = "") -> Any:
        """Compile our declarations of unknown names, the header, and `more`."""
        if self._unknown is None:
            prelude = ""
        elif self._language == "c":
            prelude = f'#include "{_WINDOWS}"\n'
        else:  # a namespace, so that names that the header declares stay its own
            prelude = (
                f'namespace winipc_names {{\n#include "{_WINDOWS}"\n}}\n'
                + "".join(
                    f"using winipc_names::{name};\n" if name != "std" else _STD
                    for name in self._unknown
                )
            )
        files = [(_PRELUDE, prelude), (self._path, self._text.decode() + more)]
        files += self._decoded.items()
        index = cindex.Index.create()
        try:
            return index.parse(self._path, self._arguments, files, _OPTIONS)
        except cindex.TranslationUnitLoadError as error:  # such as a crash of libclang
            raise LayoutError(f"{self._path}: {error}") from None

    def _index(self, scope: Any, prefix: str) -> None:
        for cursor in scope.get_children():
            kind = cursor.kind
            if kind not in _LOOKED_AT:  # most are functions and fields
                continue
            name = cursor.spelling
            if name == "winipc_names":
                continue
            if kind in _NAMED:
                for known_as in {prefix + name, name}:
                    self._found.setdefault(known_as, []).append(cursor)
            if kind in _SCOPES or (kind in _RECORDS and cursor.is_definition()):
                within = f"{prefix}{name}::" if name else prefix
                if kind in _SCOPES:
                    self._index(cursor, within)
                else:
                    self._records.append((cursor, within))

    def layout(self, name: str, encoding: str | None, enums: bool) -> Layout:
        self._encoding, self._enums = encoding, enums
        kinds: dict[str, Any] = {}
        while name not in self._found and self._records:
            # Few names are declared within a record, and <windows.h> has thousands of
            # records. So index those last.
            records, self._records = self._records, []
            for record, within in records:
                self._index(record, within)
        for cursor in self._found.get(name, ()):
            kind = cursor.type.get_canonical()
            if kind.kind == _Kind.RECORD and kind.get_size() >= 0:
                kinds[kind.spelling] = kind
            else:
                self._check(cursor)
        if len(kinds) != 1:
            among = f": {', '.join(kinds)}" if kinds else self._offer(name)
            what = f"no struct {name}" if name else "which struct"
            told = f"{what} in the header{among}"
            try:
                self._check(None)
            except LayoutError as error:
                add_hint(error, told)
                raise
            raise LookupError(told)
        [kind] = kinds.values()
        self._check(kind.get_declaration())
        return self._layout(kind, name)

    def _offer(self, name: str) -> str:
        """The name of the header's own that is meant, or else its first names."""
        known = [
            known_as
            for known_as, cursors in self._found.items()
            if any(map(self._is_own, cursors))
        ]
        if hint := meant(name, known):
            return hint
        names = [one for one in known if one.isidentifier()]  # without namespaces
        shown = ", ".join(names[:_OFFERED]) + ", ..." * (len(names) > _OFFERED)
        return f": it has {shown or 'none'}"

    def _is_own(self, cursor: Any) -> bool:
        """Whether the header, or one that it includes, declares this structure."""
        file = str(cursor.location.file)
        return (
            not cursor.location.is_in_system_header
            and (file == self._path or not file.startswith(str(_DATA)))
            and cursor.type.get_canonical().kind == _Kind.RECORD
        )

    # ----------------------------------------------------------------- errors

    def _check(self, declaration: Any) -> None:
        """Raise LayoutError if an error may change the layout of a declaration."""
        needed = _needed(declaration) if declaration and self._errors else set()
        end = declaration and declaration.extent.end
        stop = end.offset if end else 0
        if end and str(end.file) == self._path:  # an attribute may follow the brace
            stop = max(stop, self._text.find(b";", stop))
        for error in self._errors:
            at = error.location
            is_behind = end and str(end.file) == str(at.file) and stop <= at.offset
            is_behind = is_behind and not _AFTER.search(error.spelling)
            if not is_behind and self._concerns(error, needed):
                where = "" if str(at.file) in (_TEXT, "None") else f"{at.file}, "
                told = error.spelling.replace("winipc_names::", "")
                raise LayoutError(f"{where}line {at.line}: {told}")

    def _concerns(self, error: Any, needed: set[int | str]) -> bool:
        """Whether an error is in a needed declaration, or outside all declarations."""
        told = error.spelling
        is_system = error.location.is_in_system_header
        if _MISSING.match(told):
            return not self._is_system(error)
        cursor = cindex.Cursor.from_location(self._unit, error.location)
        if not is_system and (loose := self._is_loose(error, cursor)) is not None:
            return loose
        if again := _AFTER.search(told):
            return again[1] in needed
        while cursor is not None and cursor.hash not in needed:
            if cursor.kind in _FUNCTIONS:
                return False
            cursor = cursor.semantic_parent
        return cursor is not None

    def _is_loose(self, error: Any, cursor: Any) -> bool | None:
        """Whether an error concerns all that follows it; None if in a declaration."""
        told, at = error.spelling, error.location
        parent = cursor.semantic_parent
        if parent is None or cursor.kind in _OUTSIDE:
            if "undeclared identifier" not in told or str(at.file) != self._path:
                return True
            # In an initial value it is harmless: the use of the variable is an error,
            # too.
            return b"=" not in re.split(b"[;}]", self._text[: at.offset])[-1]
        is_global = parent.kind in _OUTSIDE and cursor.kind == _Cursor.VAR_DECL
        if is_global and "unknown type" in told:
            return bool(cursor.storage_class != cindex.StorageClass.EXTERN)
        if "type specifier" in told:  # perhaps the call of an unknown macro
            return True
        again = _AFTER.search(told)
        return True if again and again[1] is None else None

    # ------------------------------------------------------------------ fields

    def _layout(self, kind: Any, name: str) -> Layout:
        cursors = list(kind.get_fields())
        children = kind.get_declaration().get_children()
        if not cursors and any(c.kind == _Cursor.FIELD_DECL for c in children):
            raise LayoutError(f"the compiler cannot lay {name} out")
        own = [field for cursor in cursors for field in self._fields(cursor)]
        names = {field.name for field in own}
        inherited = [f for f in self._inherited(kind) if f.name not in names]
        return Layout(name, inherited + own, kind.get_size(), kind.get_align())

    def _fields(self, cursor: Any) -> Iterator[Field]:
        """The field, or the fields of a structure without a name."""
        at, name = cursor.get_field_offsetof(), cursor.spelling
        kind = cursor.type.get_canonical()
        shape: tuple[int, ...] = ()
        if cursor.is_bitfield():
            if name:
                bits = at % 8, cursor.get_bitfield_width()
                yield self._field(name, kind, at // 8, bits=bits)
            return
        while kind.kind in (_Kind.CONSTANTARRAY, _Kind.INCOMPLETEARRAY):
            is_known = kind.kind == _Kind.CONSTANTARRAY
            shape = (*shape, kind.element_count if is_known else 0)
            kind = kind.element_type.get_canonical()
        field = self._field(name, kind, at // 8, shape)
        if isinstance(field.kind, Layout) and (not name or "(" in name):
            yield from (replace(f, offset=at // 8 + f.offset) for f in field.kind)
            return
        # In C, wchar_t is a typedef. Bytes are text or numbers by their name in the
        # header.
        called = _called(cursor.type)
        is_guid = cursor.semantic_parent.spelling == "_GUID"
        if field.kind == "H" and _WIDE.search(called):
            field = replace(field, kind="u")
        elif field.kind == "B" and shape and _NARROW.search(called) and not is_guid:
            field = replace(field, kind="c")
        yield field

    def _field(
        self,
        name: str,
        kind: Any,
        offset: int,
        shape: tuple[int, ...] = (),
        bits: tuple[int, int] | None = None,
    ) -> Field:
        is_pointer = kind.kind.name in _POINTERS.split()
        members = _enum_of(kind) if self._enums and kind.kind == _Kind.ENUM else None
        return Field(
            *(name, self._code(kind, name), offset, shape, bits),
            *(is_pointer, self._encoding, members),
        )

    def _code(self, kind: Any, field: str) -> str | Layout:
        """The code of a type; a structure without a name is called as the field."""
        if kind.kind == _Kind.ATOMIC:
            kind = _value_of(kind).get_canonical()
        if kind.kind == _Kind.ENUM:
            kind = kind.get_declaration().enum_type.get_canonical()
        if kind.kind == _Kind.RECORD:
            record = kind.get_declaration()
            name = record.spelling
            if name == "atomic" and record.semantic_parent.spelling == "std":
                value = kind.get_template_argument_type(0).get_canonical()
                return self._code(value, field)
            names = (word for word in (name, field, "struct") if word.isidentifier())
            return self._layout(kind, next(names))
        is_reference = kind.kind in (_Kind.LVALUEREFERENCE, _Kind.RVALUEREFERENCE)
        size = self._bits // 8 if is_reference else kind.get_size()
        codes = "B" if kind.spelling == "char8_t" else _CODES.get(kind.kind.name)
        if codes is None:
            raw = Field("raw", "c", 0, (size,), encoding=None)
            return Layout(kind.spelling, [raw], size, kind.get_align())
        return codes if len(codes) == 1 else codes[size.bit_length() - 1]

    def _inherited(self, kind: Any) -> Iterator[Field]:
        """The fields of the bases."""
        derived = kind.get_declaration()
        bases = [
            child.type.get_canonical()
            for child in (_template_of(derived) or derived).get_children()
            if child.kind == _Cursor.CXX_BASE_SPECIFIER
        ]
        layouts = [self._layout(base, base.spelling) for base in bases]
        if any(layout.fields for layout in layouts):
            starts = self._starts_of(derived, bases)
            for layout, start in zip(layouts, starts, strict=True):
                yield from (replace(f, offset=start + f.offset) for f in layout)

    def _starts_of(self, derived: Any, bases: list[Any]) -> list[int]:
        """The offsets of bases; only a cast by the compiler tells them."""
        name = _spelled(derived.type)
        if name not in self._starts:
            # After this condition, whatever the compiler can fold counts as a constant.
            casts = "".join(
                f"winipc_{i} = __builtin_constant_p(0)"
                f" ? (unsigned long long)({_spelled(base)} *)({name} *)4096 : 0,"
                for i, base in enumerate(bases)
            )
            unit = self._parse(f"\n;enum : unsigned long long {{ {casts} }};")
            for error in filter(_matters, unit.diagnostics):
                at = error.location
                if str(at.file) == self._path and at.offset > len(self._text):
                    told = error.spelling
                    raise LayoutError(f"perhaps a virtual base of {name}: {told}")
            constants = list(unit.cursor.get_children())[-1].get_children()
            self._starts[name] = [each.enum_value - 4096 for each in constants]
        return self._starts[name]


_header = functools.lru_cache(maxsize=8)(_Header)


def _matters(told: Any) -> bool:
    """Whether a message is an error, or of an ignored packing; not in our own files."""
    if str(told.location.file) == _PRELUDE:
        return False
    is_packing = re.search("expected #pragma pack|after '#pragma pack'", told.spelling)
    return bool(told.severity >= told.Error or is_packing)


def _needed(declaration: Any) -> set[int | str]:
    """The hashes and names of all declarations that a declaration needs."""
    needed: set[int | str] = set()
    todo = [declaration]
    while todo:
        cursor = todo.pop()
        if cursor is not None and cursor.hash not in needed:
            needed |= {cursor.hash, cursor.spelling}
            todo += [cursor.referenced, _template_of(cursor)]
            if cursor.kind == _Cursor.ENUM_CONSTANT_DECL:
                todo.append(cursor.semantic_parent)
            todo += [c for c in cursor.get_children() if c.kind not in _FUNCTIONS]
    return needed


def _template_of(declaration: Any) -> Any:
    return cindex.conf.lib.clang_getSpecializedCursorTemplate(declaration)


def _spelled(kind: Any) -> str:
    return str(kind.spelling).replace("(anonymous namespace)::", "")


def _called(kind: Any) -> str:
    """The header's name for the element type of an array, or for another type."""
    arrays = _Kind.CONSTANTARRAY, _Kind.INCOMPLETEARRAY
    while kind.get_canonical().kind in arrays:
        is_array = kind.kind in arrays
        typedef = kind.get_declaration()
        kind = kind.element_type if is_array else typedef.underlying_typedef_type
    return re.sub(r"^(const|volatile| )+|.*::", "", kind.spelling)


def _enum_of(kind: Any) -> type[enum.IntEnum] | None:
    """The IntEnum; None if a member has a name that Python reserves, such as `mro`."""
    declaration = kind.get_declaration()
    named = declaration.spelling
    members = [
        (cursor.spelling, cursor.enum_value)
        for cursor in declaration.get_children()
        if cursor.kind == _Cursor.ENUM_CONSTANT_DECL
    ]
    name = named if named.isidentifier() else "enum"
    try:
        return enum_of(name, *members)
    except ValueError:
        return None


def _stamps(files: set[str]) -> dict[str, int]:
    return {f: os.stat(f).st_mtime_ns for f in files if os.path.exists(f)}


def _value_of(kind: Any) -> Any:
    """The type T of `_Atomic(T)`; cindex lacks this function."""
    function = cindex.conf.lib["clang_Type_getValueType"]
    function.argtypes, function.restype = [cindex.Type], cindex.Type
    function.errcheck = cindex.Type.from_result
    return function(kind)
