"""Structures in shared memory: where C puts the fields, and reading them.

A structure that crosses processes has to mean the same bytes to both. `Layout`
knows where Windows compilers put each field, in 32 and in 64 bits: made from a C or C++
header, from a ctypes Structure, or from `struct` codes. Two of them can be compared
before wrong bytes are read, and one can be laid over memory as a `StructView`.
"""

from __future__ import annotations

import operator
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from winipc.base.shown import Shown

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Field", "Layout", "LayoutError", "StructView"]

Bits = Literal[32, 64]

#: Codes, and what the short text form of a layout consists of.
_KNOWN = "cbB?hHiIlLqQfdeu"
_SIGNED = "bhilq"
_MEMBER = re.compile(rf"(?P<name>\w+):(?P<count>\d*)(?P<code>[{_KNOWN}s])")


class LayoutError(ValueError):
    """What cannot be laid out, or two layouts that should be the same and are not."""


class Memory(Protocol):
    """What a structure is laid over: a mapping, a view, a section."""

    def read(self, size: int, offset: int) -> bytes: ...
    def write(self, data: Buffer, offset: int) -> int: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure."""

    name: str
    #: A `struct` code such as "I", "u" for a wchar_t, or the layout of a structure.
    kind: str | Layout
    offset: int
    #: Elements of an array, 1 for a field that is none, 0 for a flexible array.
    count: int = 1
    is_array: bool = False
    #: Of a bit-field: its lowest bit in the byte at `offset`, and how many it has.
    bits: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Bytes, of all elements."""
        if self.bits is not None:
            return (sum(self.bits) + 7) // 8
        return self.count * _size_of(self.kind)

    def unpack(self, data: bytes) -> Any:
        """The value in the bytes of the field, which is no structure."""
        if self.bits is not None:
            lowest, width = self.bits
            number = int.from_bytes(data, "little") >> lowest & ((1 << width) - 1)
            if str(self.kind) in _SIGNED and number >> (width - 1):
                number -= 1 << width
            return bool(number) if self.kind == "?" else number
        if self.kind == "c":
            return data
        if self.kind == "u":
            text = data.decode("utf-16-le", "surrogatepass")
            return text.partition("\0")[0] if self.is_array else text
        values = struct.unpack(f"<{self.count}{self.kind}", data)
        return values if self.is_array else values[0]

    def pack(self, value: Any, old: bytes = b"") -> bytes:
        """The bytes of the field with this value; other bits remain as in `old`."""
        if self.bits is not None:
            lowest, width = self.bits
            number, limit = operator.index(value), 1 << width
            least = -limit // 2 if str(self.kind) in _SIGNED else 0
            if not least <= number < least + limit:
                raise ValueError(f"{self.name} has {width} bits, {number} does not fit")
            others = int.from_bytes(old, "little") & ~((limit - 1) << lowest)
            number = others | (number & (limit - 1)) << lowest
            return number.to_bytes(self.size, "little")
        if self.kind == "u" and isinstance(value, str):
            value = value.encode("utf-16-le", "surrogatepass")
        is_raw = self.is_array and isinstance(value, (bytes, bytearray, memoryview))
        if str(self.kind) in "cu" or (is_raw and str(self.kind) in "bB"):
            data = bytes(memoryview(value))  # of an int, bytes() makes zeros
            if len(data) > self.size:
                raise ValueError(f"{self.name} has {self.size} bytes, not {len(data)}")
            return data.ljust(self.size, b"\0")
        values = value if self.is_array else (value,)
        return struct.pack(f"<{self.count}{self.kind}", *values)


def _size_of(kind: str | Layout) -> int:
    if isinstance(kind, Layout):
        return kind.size
    return 2 if kind == "u" else struct.calcsize(f"<{kind}")


def _up(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) // alignment * alignment


class Layout:
    """The fields of a structure, and where each of them is.

    Win32: none.
    """

    __slots__ = ("_by_name", "alignment", "fields", "name", "size")

    def __init__(
        self, name: str, fields: Iterable[Field], size: int, alignment: int = 1
    ) -> None:
        self.name = name
        self.fields = tuple(fields)
        self.size = size
        self.alignment = alignment
        self._by_name = {field.name: field for field in self.fields}
        if len(self._by_name) != len(self.fields):
            raise ValueError(f"{name}: two fields have the same name")
        for field in self.fields:
            if field.offset < 0 or field.offset + field.size > size:
                raise ValueError(f"{name}.{field.name} leaves the {size} bytes")

    # ------------------------------------------------------------- made from

    @classmethod
    def of(
        cls,
        name: str,
        members: str | Mapping[str, str | Layout | tuple[str | Layout, int]],
        *,
        pack: int | None = None,
    ) -> Layout:
        """Lay members out as a C compiler does.

        Args:
            members: For each name a `struct` code ("I", "d", ..., "u" for a wchar_t),
                a layout, or either with a number of elements: `("H", 4)`. Or a text
                such as "speed:f wheels:4h name:16s"; "< " in front of it packs.
            pack: The largest alignment, as `#pragma pack(n)` sets it.
        """
        if isinstance(members, str):
            words = members.split()
            if words[:1] == ["<"]:
                del words[0]
                pack = 1
            members = _members_of(name, words)
        fields = []
        offset, alignment = 0, 1
        for member, what in members.items():
            kind, count = what if isinstance(what, tuple) else (what, 1)
            if isinstance(kind, str) and (len(kind) != 1 or kind not in _KNOWN):
                raise ValueError(f"{name}.{member}: unknown struct code {kind!r}")
            if count < 1:
                raise ValueError(f"{name}.{member}: {count} elements")
            own = kind.alignment if isinstance(kind, Layout) else _size_of(kind)
            own = own if pack is None else min(own, pack)
            offset = _up(offset, own)
            fields.append(Field(member, kind, offset, count, isinstance(what, tuple)))
            offset += fields[-1].size
            alignment = max(alignment, own)
        return cls(name, fields, _up(offset, alignment), alignment)

    @classmethod
    def from_c(
        cls,
        header: str | os.PathLike[str],
        name: str,
        *,
        bits: Bits = 64,
        defines: Mapping[str, object] | None = None,
        include: Iterable[str | os.PathLike[str]] = (),
    ) -> Layout:
        """Read a structure from a C or C++ header, as a compiler for Windows does.

        Needs libclang: `pip install winipc[headers]`. Fields of bases, and of
        structures and unions without a name, become fields of its own. An enum is an
        integer, an array of several dimensions one of all elements, a flexible array
        has a `count` of 0, and what has no `struct` code is a structure with its bytes
        in `raw`. <windows.h> comes from an SDK, if there is one; else, and for names
        without a declaration, winipc knows what shared structures use of it.

        Args:
            header: The text of a header, or its path. It is C++, unless its name
                ends in ".c" or only C can be made of it.
            name: A structure, union, class or typedef, also "space::name".
            bits: 32 or 64, which is the size of pointers.
            defines: Macros by name, such as `{"UNICODE": 1}`.
            include: Folders with headers, beside the header's own.

        Raises:
            LookupError: No such structure, or several.
            LayoutError: An error of the compiler that may concern it, with its line.
            ImportError: libclang is not installed.
        """
        from winipc.memory._clang import layout_of

        flags = [f"-D{key}={value}" for key, value in (defines or {}).items()]
        flags += [f"-I{os.fspath(folder)}" for folder in include]
        return layout_of(header, name, bits, tuple(flags))

    @classmethod
    def from_ctypes(cls, structure: type[Any]) -> Layout:
        """The layout of a `ctypes.Structure` class, as this process lays it out."""
        import ctypes

        fields = []
        inherited = [
            (base, declared)
            for base in reversed(structure.__mro__)
            for declared in vars(base).get("_fields_", ())
        ]
        for base, declared in inherited:
            if len(declared) != 2:
                raise ValueError(f"{declared[0]} is a bit field")
            kind, count, is_array = declared[1], 1, False
            while issubclass(kind, ctypes.Array):
                kind, count, is_array = kind._type_, count * kind._length_, True
            code: str | Layout
            if issubclass(kind, ctypes.Structure):
                code = cls.from_ctypes(kind)
            elif issubclass(kind, ctypes.Union):
                raise ValueError(f"{declared[0]} is a union")
            else:
                code = _code_of_ctypes(kind)
            offset = getattr(base, declared[0]).offset
            fields.append(Field(declared[0], code, offset, count, is_array))
        return cls(
            structure.__name__,
            fields,
            ctypes.sizeof(structure),
            ctypes.alignment(structure),
        )

    # --------------------------------------------------------------- looked at

    def __getitem__(self, name: str) -> Field:
        try:
            return self._by_name[name]
        except KeyError:
            raise LookupError(f"{self.name} has no field {name!r}") from None

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layout):
            return NotImplemented
        return self.fields == other.fields and self.size == other.size

    def __hash__(self) -> int:
        return hash((self.fields, self.size))

    def __repr__(self) -> str:
        return f"<Layout {self.name} {len(self.fields)} fields, {self.size} bytes>"

    def offsets(self) -> dict[str, int]:
        """Field name to offset; those of inner structures as "outer.inner"."""
        result = {}
        for field in self.fields:
            result[field.name] = field.offset
            if isinstance(field.kind, Layout):
                for inner, offset in field.kind.offsets().items():
                    result[f"{field.name}.{inner}"] = field.offset + offset
        return result

    def differences(
        self, other: Layout | Mapping[str, int], size: int | None = None
    ) -> list[str]:
        """Where this layout and `other` do not agree, in sentences; [] when they do.

        `other` may be offsets by field name, as `offsetof` gives them in C, and
        `size` then what `sizeof` gives.
        """
        mine = self.offsets()
        result = []
        if isinstance(other, Layout):
            theirs: Mapping[str, int] = other.offsets()
            size = other.size
            for field in self.fields:
                twin = other._by_name.get(field.name)
                if twin is not None and twin.size != field.size:
                    result.append(
                        f"{field.name} has {field.size} bytes, not {twin.size}"
                    )
        else:
            theirs = other
        for name, offset in theirs.items():
            if name not in mine:
                result.append(f"{name} is missing")
            elif mine[name] != offset:
                result.append(f"{name} is at {mine[name]}, not {offset}")
        if isinstance(other, Layout):
            result += [f"{name} is too much" for name in mine if name not in theirs]
        if size is not None and size != self.size:
            result.append(f"the whole has {self.size} bytes, not {size}")
        return result

    def check(self, other: Layout | Mapping[str, int], size: int | None = None) -> None:
        """Raise `LayoutError` with all `differences`, if there are any."""
        differences = self.differences(other, size)
        if differences:
            raise LayoutError(f"{self.name}: {'; '.join(differences)}")

    @staticmethod
    def check_portable(header: str, name: str) -> Layout:
        """The layout of a C structure that is the same in 32 and 64 bits.

        Raises:
            LayoutError: It is not (it has a pointer, a handle, a size_t, ...), so
                processes of different bitness cannot share it.
        """
        wide = Layout.from_c(header, name, bits=64)
        narrow = Layout.from_c(header, name, bits=32)
        differences = narrow.differences(wide)
        if differences:
            raise LayoutError(
                f"{name} differs: in 32 bits {'; '.join(differences)} as in 64"
            )
        return wide


# ---------------------------------------------------------------------- views


class StructView(Shown):
    """A structure in shared memory, field by field.

    `view.field` and `view["field"]` read; assigning writes. Each access copies the
    one field, with the memory's own checks; an aligned number of up to 8 bytes is
    one copy, but several fields are not one moment (that is what `Snapshot` is
    for). Arrays are tuples, inner structures views of their own. An array of char is
    bytes; one of wchar_t is text up to its NUL, and takes bytes too, as arrays of
    unsigned char do. Writing a bit-field writes the bytes that it is in. A field whose
    name is an attribute of this class is reached by `[]` only.

    The memory may also be bytes, or what exports them: a message, a record of a
    `Snapshot`. Then the view is of a copy, and read-only.
    """

    __slots__ = ("_layout", "_memory", "_offset")

    _layout: Layout
    _memory: Memory
    _offset: int

    def __init__(
        self, memory: Memory | Buffer, layout: Layout, offset: int = 0
    ) -> None:
        if not hasattr(memory, "read"):
            memory = _Frozen(memoryview(memory))
        memory = cast("Memory", memory)
        if offset < 0 or layout.size > len(memory) - offset:
            raise ValueError(
                f"{layout.size} bytes of {layout.name} at offset {offset} leave "
                f"the {len(memory)} bytes"
            )
        object.__setattr__(self, "_memory", memory)
        object.__setattr__(self, "_layout", layout)
        object.__setattr__(self, "_offset", offset)

    def __getitem__(self, name: str) -> Any:
        field = self._layout[name]
        at = self._offset + field.offset
        if isinstance(field.kind, Layout):
            views = [
                StructView(self._memory, field.kind, at + index * field.kind.size)
                for index in range(field.count)
            ]
            return tuple(views) if field.is_array else views[0]
        return field.unpack(self._memory.read(field.size, at))

    def __setitem__(self, name: str, value: Any) -> None:
        field = self._layout[name]
        if isinstance(field.kind, Layout):
            raise TypeError(f"{name} is a structure: assign to its fields")
        at = self._offset + field.offset
        old = b"" if field.bits is None else self._memory.read(field.size, at)
        self._memory.write(field.pack(value, old), at)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except LookupError as error:
            raise AttributeError(str(error)) from None

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            self[name] = value
        except LookupError as error:
            raise AttributeError(str(error)) from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(field.name for field in self._layout)]

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, from one copy of the whole structure."""
        frozen = _Frozen(self._memory.read(self._layout.size, self._offset))
        return _to_dict(StructView(frozen, self._layout))

    def __repr__(self) -> str:
        return f"<StructView {self._layout.name} at offset {self._offset}>"


class _Frozen(bytes):
    """A private copy of a structure's bytes."""

    def read(self, size: int, offset: int) -> bytes:
        return self[offset : offset + size]

    def write(self, data: Buffer, offset: int) -> int:
        raise TypeError("a copy is read-only")


def _to_dict(view: StructView) -> dict[str, Any]:
    result = {}
    for field in view._layout:
        value = view[field.name]
        if isinstance(value, StructView):
            value = _to_dict(value)
        elif isinstance(field.kind, Layout):
            value = tuple(_to_dict(inner) for inner in value)
        result[field.name] = value
    return result


def _members_of(
    name: str, words: list[str]
) -> dict[str, str | Layout | tuple[str | Layout, int]]:
    members: dict[str, str | Layout | tuple[str | Layout, int]] = {}
    for word in words:
        found = _MEMBER.fullmatch(word)
        if found is None:
            raise ValueError(f"{name}: {word!r} is not a field such as speed:f")
        member, count, code = found["name"], found["count"], found["code"]
        if member in members:
            raise ValueError(f"{name}: two fields are called {member!r}")
        if code == "s":
            members[member] = ("c", int(count or 1))
        else:
            members[member] = (code, int(count)) if count else code
    return members


def _code_of_ctypes(kind: type[Any]) -> str:
    import ctypes

    if getattr(kind, "__ctype_le__", kind) is not kind:
        raise ValueError(f"{kind.__name__} is big-endian")
    code = getattr(kind, "_type_", None)
    if isinstance(code, str) and code in _KNOWN:
        return code
    if ctypes.sizeof(kind) == ctypes.sizeof(ctypes.c_void_p):
        return "I" if ctypes.sizeof(ctypes.c_void_p) == 4 else "Q"
    raise ValueError(f"{kind.__name__} has no struct code")
