"""Structures in shared memory: where C puts the fields, and reading them.

A structure that crosses processes has to mean the same bytes to both. `Layout`
knows where Windows compilers put each field, in 32 and in 64 bits: made from a
declaration in a C header, from a ctypes Structure, or from `struct` formats. Two
of them can be compared before anybody reads the wrong bytes, and one can be laid
over memory as a `StructView`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from winipc.base.shown import Shown

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Field", "Layout", "LayoutError", "StructView"]

Bits = Literal[32, 64]


class LayoutError(ValueError):
    """Two layouts that should be the same are not; the message lists where."""


class Memory(Protocol):
    """What a structure is laid over: a mapping, a view, a section."""

    def read(self, size: int, offset: int) -> bytes: ...
    def write(self, data: Buffer, offset: int) -> int: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure."""

    name: str
    #: A `struct` code such as "I", or the layout of a structure.
    kind: str | Layout
    offset: int
    #: Elements of an array, 1 for a field that is none.
    count: int = 1
    is_array: bool = False

    @property
    def size(self) -> int:
        """Bytes, of all elements."""
        return self.count * _size_of(self.kind)


def _size_of(kind: str | Layout) -> int:
    return kind.size if isinstance(kind, Layout) else struct.calcsize(f"<{kind}")


def _alignment_of(kind: str | Layout) -> int:
    return kind.alignment if isinstance(kind, Layout) else _size_of(kind)


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
        members: Mapping[str, str | Layout | tuple[str | Layout, int]],
        *,
        pack: int | None = None,
    ) -> Layout:
        """Lay members out as a C compiler does.

        Args:
            members: For each name a `struct` code ("I", "d", ...), a layout, or
                either with a number of elements: `("H", 4)`.
            pack: The largest alignment, as `#pragma pack(n)` sets it.
        """
        fields = []
        offset, alignment = 0, 1
        for member, what in members.items():
            kind, count = what if isinstance(what, tuple) else (what, 1)
            if isinstance(kind, str) and (
                len(kind) != 1 or kind not in "cbB?hHiIlLqQfde"
            ):
                raise ValueError(f"{name}.{member}: unknown struct code {kind!r}")
            if count < 1:
                raise ValueError(f"{name}.{member}: {count} elements")
            own = _alignment_of(kind)
            own = own if pack is None else min(own, pack)
            offset = _up(offset, own)
            fields.append(Field(member, kind, offset, count, isinstance(what, tuple)))
            offset += fields[-1].size
            alignment = max(alignment, own)
        return cls(name, fields, _up(offset, alignment), alignment)

    @classmethod
    def from_c(cls, header: str, name: str, *, bits: Bits = 64) -> Layout:
        """Read `struct name { ... }` or `typedef struct { ... } name` from C text.

        Knows the integer, floating-point and character types of C, <stdint.h> and
        <windows.h>, pointers and handles, arrays, typedefs and structures declared
        before, `#pragma pack`, <pshpack1.h> and its like, and
        `__attribute__((packed))`. Data is laid out as by Windows compilers.

        Never a guess: what could move a field and is not known is refused. Macros
        are not expanded but for numbers of elements, and no branch of an `#if` is
        chosen: where that matters, give the text that the preprocessor makes
        (`cl /P`, `gcc -E`). An attribute in a macro of another header is taken for
        one, unless it stands where a name could.

        Args:
            header: The text of a C header.
            bits: 32 or 64, which is the size of pointers.

        Raises:
            LookupError: No such structure.
            ValueError: It has what is not known here (a union, a structure inside,
                a bit field, an attribute, an `#if`, an unknown type, `long double`,
                whose size depends on the compiler), or two members of one name, or
                it is declared twice and not alike.
        """
        from winipc.memory._c_header import structures

        found = structures(header, bits)
        if name not in found:
            raise LookupError(f"no struct {name} in the header")
        result = found[name]
        if isinstance(result, ValueError):
            raise result
        return result

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
    for). Arrays are tuples, arrays of "c" bytes, inner structures views of their own.
    A field whose name is an attribute of this class is reached by `[]` only.
    """

    __slots__ = ("_layout", "_memory", "_offset")

    _layout: Layout
    _memory: Memory
    _offset: int

    def __init__(self, memory: Memory, layout: Layout, offset: int = 0) -> None:
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
        data = self._memory.read(field.size, at)
        if field.kind == "c":
            return data
        values = struct.unpack(f"<{field.count}{field.kind}", data)
        return values if field.is_array else values[0]

    def __setitem__(self, name: str, value: Any) -> None:
        field = self._layout[name]
        if isinstance(field.kind, Layout):
            raise TypeError(f"{name} is a structure: assign to its fields")
        if field.kind == "c":
            data = bytes(memoryview(value))  # of an int, bytes() makes zeros
            if len(data) > field.size:
                raise ValueError(f"{name} has {field.size} bytes, not {len(data)}")
            data = data.ljust(field.size, b"\0")
        else:
            values = value if field.is_array else (value,)
            data = struct.pack(f"<{field.count}{field.kind}", *values)
        self._memory.write(data, self._offset + field.offset)

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


class _Frozen:
    """A private copy of a structure's bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, size: int, offset: int) -> bytes:
        return self.data[offset : offset + size]

    def write(self, data: Buffer, offset: int) -> int:
        raise TypeError("a copy is read-only")

    def __len__(self) -> int:
        return len(self.data)


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


def _code_of_ctypes(kind: type[Any]) -> str:
    import ctypes

    if getattr(kind, "__ctype_le__", kind) is not kind:
        raise ValueError(f"{kind.__name__} is big-endian")
    code = getattr(kind, "_type_", None)
    if isinstance(code, str) and code in "cbB?hHiIlLqQfd":
        return code
    if code == "u":
        return "H"
    if ctypes.sizeof(kind) == ctypes.sizeof(ctypes.c_void_p):
        return "I" if ctypes.sizeof(ctypes.c_void_p) == 4 else "Q"
    raise ValueError(f"{kind.__name__} has no struct code")
