"""Structures in shared memory: where C puts the fields, and how to read them.

Both sides must place the fields of a shared structure alike. A `Layout` knows where
Windows compilers put each field, in 32 and in 64 bits. It is made from a C or C++
header, from a ctypes Structure, or from `struct` codes. Two layouts can be compared
before wrong bytes are read, and a `StructView` reads the fields in memory.
"""

from __future__ import annotations

import contextlib
import copyreg
import enum as enums
import functools
import itertools
import math
import operator
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from dataclasses import field as declared
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from winipc import _core
from winipc.base.shown import Shown
from winipc.memory.record import Record, StructView, Text

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from winipc.base.rows import Rows

__all__ = ["Field", "Layout", "LayoutError"]

Bits = Literal[32, 64]
#: A member for `Layout.of`: a code or a layout, perhaps with the dimensions of an
#: array.
Member: TypeAlias = "str | Layout | tuple[str | Layout, int | tuple[int, ...]]"

#: The known codes, and the form of a member in the short text form of a layout.
_KNOWN = "cbB?hHiIlLqQfdeu"
_SIGNED = "bhilq"
_NUMBERS = "bB?hHiIlLqQefd"
#: Codes that mean the same type as another one.
_SAME = {"l": "i", "L": "I"}
_MEMBER = re.compile(r"(?P<name>\w+):(?P<type>\d*[<>=@!]?[a-zA-Z?]\w*)")
#: The type of an array or of a text, such as "4f32" or "16s".
_SHORT = re.compile(r"(?P<count>\d*)(?P<code>s|(?<=\d)\D.*)")
#: The first step of a path, such as `wheels[1]` of `wheels[1].temps[0]`.
_STEP = re.compile(r"\w+(\[\d+\])*")
#: A word, although each of its letters is a code of `struct`.
_WORD = re.compile(r"(?=.*[sp])[a-zA-Z]{3,}")
#: The default of an argument that has to be given: the error says what to write.
_MISSING: Any = None
#: The most elements of an array, and characters of a value, that a repr shows whole.
_MOST_SHOWN = 16
_WIDEST_SHOWN = 200
#: After the list of the types of numbers.
_OTHERS = "? e; text has 16s (16 bytes) or 16u (16 wchar_t), and an array 4f32"
_SPELLING = "a field is NAME:TYPE, such as speed:f32, or NAME:COUNT+TYPE: wheels:4f32"


class LayoutError(ValueError):
    """A structure that cannot be laid out, or two layouts that should not differ."""


class _HeaderEnumType(enums.EnumType):
    """The class of enums from headers: no module has them, so a pickle has members."""


class _HeaderEnum(enums.IntEnum, metaclass=_HeaderEnumType):
    pass


@functools.cache
def enum_of(name: str, *members: tuple[str, int]) -> type[enums.IntEnum]:
    """The IntEnum with these members, the same one at each call.

    Raises:
        ValueError: Python reserves the name of a member, such as `mro`.
    """
    make: Any = _HeaderEnum
    return make(name, members)  # type: ignore[no-any-return]


def _reduce_enum(kind: Any) -> Any:
    return enum_of, (kind.__name__, *((n, +m) for n, m in kind.__members__.items()))


copyreg.pickle(_HeaderEnumType, _reduce_enum)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a structure."""

    #: The name of the field.
    name: str
    #: A `struct` code such as "I"; "c" for text of bytes, "u" for text of wchar_t; or
    #: the layout of a structure.
    kind: str | Layout
    #: The offset in bytes from the start of the structure.
    offset: int
    #: The dimensions of an array (0: flexible); () if the field is no array.
    shape: tuple[int, ...] = ()
    #: For a bit-field: its lowest bit in the byte at `offset`, and its width in bits.
    bits: tuple[int, int] | None = None
    #: Whether the field is an address, with the size of the program's pointers.
    is_pointer: bool = declared(default=False, compare=False)
    #: The encoding of text in bytes; None leaves it bytes.
    encoding: str | None = declared(default="utf-8", compare=False)
    #: The enum of the field's numbers, if enums were asked for.
    enum: type[enums.IntEnum] | None = declared(default=None, compare=False)

    @property
    def count(self) -> int:
        """The number of elements in all dimensions; 1 if the field is no array."""
        return math.prod(self.shape)

    @property
    def is_text(self) -> bool:
        """Whether the field is an array of characters, or of rows of characters."""
        return bool(self.shape) and self.kind in ("c", "u")

    @property
    def is_number(self) -> bool:
        """Whether the field is one number or bool that `struct` reads by its code."""
        single = not self.shape and self.bits is None and self.enum is None
        return single and str(self.kind) in tuple(_NUMBERS)

    @property
    def size(self) -> int:
        """The size of all elements in bytes."""
        if self.bits is not None:
            return (sum(self.bits) + 7) // 8
        return self.count * size_of(self.kind)

    @property
    def type(self) -> str:
        """The type in words, such as "f32[4]", "pointer" or "i32 mode" for an enum."""
        if isinstance(self.kind, Layout):
            text = self.kind.name
        else:
            text = "pointer" if self.is_pointer else word_of(self.kind)
        if self.enum is not None:
            text += f" {self.enum.__name__}"
        if self.bits is not None:
            from winipc.base.text import counted

            width = counted(self.bits[1], "bit")
            return f"{text}, {width} from bit {self.bits[0]}"
        return text + "".join(f"[{length or ''}]" for length in self.shape)

    def __post_init__(self) -> None:
        if self.encoding is not None:
            _check_encoding(self.encoding)

    # ------------------------------------------------------------------ reading

    def unpack(self, data: bytes) -> Any:
        """The value in `data`, the bytes of the field."""
        kind = self.kind
        if self.bits is not None:
            lowest, width = self.bits
            number = int.from_bytes(data, "little") >> lowest & ((1 << width) - 1)
            if str(kind) in _SIGNED and number >> (width - 1):
                number -= 1 << width
            return bool(number) if kind == "?" else self._member(number)
        if isinstance(kind, Layout):
            return self.nested(Record(kind, part) for part in _cut(data, kind.size))
        if kind == "c" and not self.shape:
            return data
        if kind in "cu":
            width = size_of(kind) * (self.shape[-1] if self.shape else 1)
            return self.nested(map(self._text, _cut(data, width)))
        values: Iterable[Any] = struct.unpack(f"<{self.count}{kind}", data)
        return self.nested(values if self.enum is None else map(self._member, values))

    def nested(self, items: Iterable[Any]) -> Any:
        """Arrange elements as nested tuples by `shape`; a text is one element."""
        items = tuple(items)
        shape = self.shape[:-1] if self.is_text else self.shape
        if not shape:
            return items[0] if items else Text("")  # a flexible array has no elements
        for length in shape[:0:-1]:
            items = tuple(_cut(items, length))
        return items

    def shown(self, value: Any) -> str:
        """The value as text, without the middle if it is long.

        An address is hexadecimal, with all digits.
        """
        if isinstance(value, tuple):
            texts = [
                *map(self.shown, value if len(value) <= _MOST_SHOWN else value[:3])
            ]
            if len(value) > _MOST_SHOWN:
                texts += ["...", *map(self.shown, value[-3:])]
            return f"({', '.join(texts)})"
        width = 2 + 2 * size_of(self.kind)
        text = f"{value:#0{width}x}" if self.is_pointer else repr(value)
        return text if len(text) <= _WIDEST_SHOWN else f"{text[:97]}...{text[-97:]}"

    def _text(self, raw: bytes) -> Text | bytes:
        if self.kind == "u":
            text = raw.decode("utf-16-le", "surrogatepass").partition("\0")[0]
        elif self.encoding is None:
            return raw
        else:  # surrogates keep bytes that are not text, for writing them back
            text = raw.partition(b"\0")[0].decode(self.encoding, "surrogateescape")
        return Text(text, raw)

    def _member(self, number: int) -> int:
        try:
            return number if self.enum is None else self.enum(number)
        except ValueError:  # the header has no name for the number
            return number

    # ------------------------------------------------------------------ writing

    def pack(self, value: Any, old: bytes = b"", path: str = "") -> bytes:
        """The bytes of the field with this value; an error begins with `path.name`.

        Other bits stay as in `old`; so do fields of an inner structure that the mapping
        lacks.
        """
        path += self.name
        try:
            if self.bits is not None:
                number = self._number(value)
                self._check_kind(number)
                return self._pack_bits(operator.index(number), old)
            if not isinstance(self.kind, Layout):
                return self._pack(value)
            values = list(self._flat(value, self.shape))
        except TypeError as error:
            raise TypeError(f"{path}: {error}") from None
        except (ValueError, OverflowError, struct.error) as error:
            raise ValueError(f"{path}: {error}") from None
        olds = _cut(old or bytes(self.size), self.kind.size)
        places = (f"[{i}]." if self.shape else "." for i in range(len(values)))
        return b"".join(map(self.kind._pack, values, olds, (path + p for p in places)))

    def _pack_bits(self, number: int, old: bytes) -> bytes:
        lowest, width = self.bits or (0, 0)
        limit = 1 << width
        least = -limit // 2 if str(self.kind) in _SIGNED else 0
        if not least <= number < least + limit:
            raise ValueError(f"{number} does not fit in {width} bits")
        others = int.from_bytes(old, "little") & ~((limit - 1) << lowest)
        number = others | (number & (limit - 1)) << lowest
        return number.to_bytes(self.size, "little")

    def _pack(self, value: Any) -> bytes:
        is_raw = bool(self.shape) and isinstance(value, (bytes, bytearray, memoryview))
        if is_raw and str(self.kind) in "cubB":
            return _padded(value, self.size)
        if str(self.kind) in "cu":
            rows = self.shape[:-1]
            width = self.size // math.prod(rows) if self.size else 0
            parts = (self._encoded(row) for row in self._flat(value, rows))
            return b"".join(_padded(part, width) for part in parts)
        values = [self._number(item) for item in self._flat(value, self.shape)]
        try:
            return struct.pack(f"<{self.count}{self.kind}", *values)
        except (struct.error, OverflowError):
            raise self._refusal(values) from None

    def _number(self, value: Any) -> Any:
        """The value; the number of the enum's member if it is its name."""
        if self.enum is None or not isinstance(value, str):
            return value
        if value not in self.enum.__members__:
            names = ", ".join(self.enum.__members__)
            told = f"{self.enum.__name__} has no {value!r}"
            raise ValueError(f"{told}: it has {names:.400}")
        return self.enum[value]

    def _check_kind(self, value: Any) -> None:
        whole = "" if str(self.kind) in "efd" else "whole "
        if not hasattr(value, "__index__" if whole else "__float__"):
            word = word_of(str(self.kind))
            raise TypeError(f"{word} is a {whole}number, not {value!r:.80}")

    def _refusal(self, values: list[Any]) -> ValueError:
        """The error of values that `struct` refused; TypeError for a wrong type."""
        for value in values:
            self._check_kind(value)
        shown = repr(values if self.shape else values[0])
        return ValueError(f"{shown:.80} does not fit in {word_of(str(self.kind))}")

    def _encoded(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if self.kind == "u":
            return value.encode("utf-16-le", "surrogatepass")
        return value.encode(self.encoding or "utf-8", "surrogateescape")

    def _flat(self, value: Any, shape: tuple[int, ...]) -> Iterator[Any]:
        if not shape:
            yield value
            return
        if not hasattr(value, "__len__"):
            raise TypeError(f"{shape[0]} elements are wanted, not {value!r:.80}")
        if isinstance(value, (str, bytes)) or len(value) != shape[0]:
            raise ValueError(f"{shape[0]} elements are wanted, not {value!r}")
        for item in value:
            yield from self._flat(item, shape[1:])


@functools.cache
def _check_encoding(encoding: str) -> None:
    """Raise ValueError unless a NUL is one zero byte: a text must end at it."""
    if "\0".encode(encoding) != b"\0":
        raise ValueError(f"{encoding} is no encoding of text that ends at a byte 0")


def _padded(value: Buffer, size: int) -> bytes:
    try:  # not bytes(value): for an int, that makes zeros
        data = bytes(memoryview(value))
    except TypeError:
        raise TypeError(f"text is a str or bytes, not {value!r:.80}") from None
    if len(data) > size:
        raise ValueError(f"{len(data)} bytes do not fit in {size}")
    return data.ljust(size, b"\0")


def _cut(whole: Any, length: int) -> list[Any]:
    """Cut a sequence into pieces of `length`; an empty sequence has none."""
    return [whole[at : at + length] for at in range(0, len(whole), length or 1)]


def size_of(kind: str | Layout) -> int:
    """The size of one element in bytes."""
    if isinstance(kind, Layout):
        return kind.size
    return 2 if kind == "u" else struct.calcsize(f"<{kind}")


def word_of(kind: str) -> str:
    """The name of the type of a struct code: "u32" for "I"."""
    if kind in "cu?":
        return {"c": "char", "u": "wchar_t", "?": "bool"}[kind]
    family = "f" if kind in "efd" else "u" if kind.isupper() else "i"
    return f"{family}{8 * size_of(kind)}"


def _told(line: str | None) -> str:
    """A line of a description in words; the creator of a mapping may write anything."""
    if line is None:
        return "no such field"
    parts = re.fullmatch(rf"(\S+) (\d+) (?:([{_KNOWN}])|{{(\d+)}})(\S*)", line)
    if parts is None:
        return repr(line)
    name, offset, code, size, more = parts.groups()
    kind = word_of(code) if code else f"(a structure of {size} bytes)"
    return f"{name}:{kind}{more} at offset {offset}"


def _not_made(name: object, members: object = _MISSING) -> TypeError:
    """The error of a layout for which only these were given."""
    if members is _MISSING:
        short = isinstance(name, str) and ":" not in name
        name, members = "state", "speed:f32 gear:i32" if short else name
    return TypeError(
        "a layout is made of a name and members, such as "
        f'Layout.of("{name}", {members!r:.200})'
    )


def _macro(value: object) -> object:
    if value is None:
        return 1
    return int(value) if isinstance(value, bool) else value


def _up(offset: int, alignment: int) -> int:
    return (offset + alignment - 1) // alignment * alignment


class FieldRow(NamedTuple):
    """A row of `Layout.table`."""

    offset: int  #: the offset in bytes from the start of the outermost structure
    size: int  #: the size of all elements in bytes
    type: str  #: see `Field.type`
    name: str  #: the path of the field, such as "pumps[0].speed"

    def _cells(self) -> dict[str, Any]:
        return self._asdict()


class Layout(_core.Layout, Shown):
    """The fields of a structure, with their offsets and types.

    ::

        car = winipc.Layout.of("car", "speed:f32 gear:i32")
        print([field.offset for field in car], car.size)  # [0, 4] 8
        mapping.write(car.pack(speed=1.5, gear=3))
        print(car.unpack(mapping))  # car(speed=1.5, gear=3)

    `of` lays fields out, `from_c` reads a header, and `from_ctypes` takes a class.

    Win32: none.
    """

    __slots__ = {
        "name": "The name of the structure.",
        "fields": "The fields, in the order of the structure.",
        "alignment": "The alignment of the structure in bytes; 1 if it is packed.",
        **dict.fromkeys(("_by_name", "_made", "_plan")),
    }

    name: str
    fields: tuple[Field, ...]
    alignment: int

    def __init__(
        self,
        name: str,
        fields: Iterable[Field] = _MISSING,
        size: int = _MISSING,
        alignment: int = 1,
    ) -> None:
        """See `of`, `from_c` and `from_ctypes`."""
        if size is _MISSING:
            raise _not_made(name, fields)
        self.name = name
        self.fields = tuple(fields)
        self.size = size
        self.alignment = alignment
        self._made: dict[str, Any] = {}
        self._by_name = {field.name: field for field in self.fields}
        for field in self.fields:
            if self._by_name[field.name] is not field:
                raise LayoutError(f"{name}: two fields are called {field.name!r}")
            if field.offset < 0 or field.offset + field.size > size:
                raise ValueError(f"{name}.{field.name} leaves the {size} bytes")
        #: For csrc/memory/fields.c: the offset and the code of each number. A field
        #: with the name of a method is reached by `[]` only, which is slower.
        self._numbers = {
            field.name: field.offset << 8 | ord(str(field.kind))
            for field in self.fields
            if field.is_number and field.name not in _TAKEN
        }
        self._record = Record
        self._plan: _Plan | None = None

    # ------------------------------------------------------------- made from

    @classmethod
    def of(
        cls,
        name: str,
        members: str | Mapping[str, Member] = _MISSING,
        *,
        pack: int | None = None,
        encoding: str | None = "utf-8",
    ) -> Layout:
        """Lay members out as a C compiler does.

        ::

            car = winipc.Layout.of("car", "speed:f32 gear:i32 name:16s")
            print(car.size, car["gear"].offset)  # 24 4
            data = car.pack(speed=1.5, gear=3, name="coupe")
            print(car.unpack(data))  # car(speed=1.5, gear=3, name='coupe')

        Args:
            members: For each name a type ("u32", "f64", ..., or a `struct` code) or a
                layout. For an array, "4u16", or a pair with the number of elements,
                `("u16", 4)`, or with dimensions, `("f32", (4, 4))`. Text is an array
                of characters: "16s" or `("c", 16)` has 16 bytes, and "16u" or
                `("u", 16)` has 16 wchar_t. Or a text such as
                "speed:f32 wheels:4i16 name:16s title:16u"; "< " in front packs the
                fields.
            pack: The largest alignment, as in `#pragma pack(n)`.
            encoding: The encoding of text in bytes; None leaves it bytes.

        Raises:
            ValueError: A name is no identifier, a type or `pack` is none of these, or
                the structure is too large.
            TypeError: A number of elements is no integer.
        """
        if members is _MISSING:
            raise _not_made(name)
        if pack not in (None, 1, 2, 4, 8, 16):
            raise ValueError(f"pack must be 1, 2, 4, 8 or 16, not {pack!r}")
        if isinstance(members, str):
            words = members.split()
            if words[:1] == ["<"]:
                del words[0]
                pack = 1
            members = _members_of(name, words)
        if not hasattr(members, "items"):
            raise TypeError(
                'members are a text such as "speed:f32 gear:i32", or a dict such as '
                f'{{"speed": "f32", "wheels": ("i16", 4)}}, not {members!r:.80}'
            )
        if not members:
            raise LayoutError(f"{name} has no fields; {_SPELLING}")
        fields = []
        offset, alignment = 0, 1
        for member, what in members.items():
            if not member.isidentifier():
                raise ValueError(
                    f"{name}: {member!r} cannot be the name of a field; {_SPELLING}"
                )
            if isinstance(what, str) and (short := _SHORT.fullmatch(what)):
                count = int(short["count"] or 1)
                what = ("c" if short["code"] == "s" else short["code"]), count
            try:
                kind, counts = what if isinstance(what, tuple) else (what, ())
                counts = counts if isinstance(counts, tuple) else (counts,)
                shape = tuple(map(operator.index, counts))
            except (TypeError, ValueError):
                raise TypeError(
                    f"{name}.{member}: an array is a type and the number of its "
                    f'elements, such as ("i16", 4), not {what!r:.80}'
                ) from None
            if not isinstance(kind, Layout) and kind not in tuple(_KNOWN):
                try:
                    kind = _core._number_code(kind)
                except TypeError as error:
                    raise TypeError(f"{name}.{member}: {error}") from None
                except ValueError as error:
                    raise ValueError(f"{name}.{member}: {error} {_OTHERS}") from None
            if min(shape, default=1) < 1:
                raise ValueError(f"{name}.{member}: {shape} elements")
            own = kind.alignment if isinstance(kind, Layout) else size_of(kind)
            own = own if pack is None else min(own, pack)
            offset = _up(offset, own)
            fields.append(Field(member, kind, offset, shape, encoding=encoding))
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
        include: Iterable[str | os.PathLike[str]] | os.PathLike[str] = (),
        encoding: str | None = "utf-8",
        enums: bool = False,
    ) -> Layout:
        """Read a structure from a C or C++ header, as a compiler for Windows does.

        ::

            header = "struct car { float speed; int gear; char name[16]; };"
            car = winipc.Layout.from_c(header, "car")
            print(car.size, car["name"].offset)  # 24 8

        Needs libclang: `pip install winipc[headers]`. Fields of base classes, and of
        structures and unions without a name, become fields of the structure. Arrays of
        char, unsigned char and wchar_t, also under other names such as TCHAR, are text;
        arrays of uint8_t and BYTE are numbers. A flexible array has no elements. A type
        without a `struct` code is a structure with its bytes in `raw`. <windows.h>
        comes from an SDK, if there is one. Without an SDK, and for names without a
        declaration, winipc has parts of <windows.h> and of the standard headers.

        Args:
            header: The text of a header, or its path. It is read as C++; as C if its
                name ends in ".c", or if it is not valid C++.
            name: A structure, union, class or typedef, also "space::name"; or an
                instance of a template, "ring<64>".
            bits: The size of pointers in bits: 32 or 64.
            defines: Macros by name, such as `{"UNICODE": 1}`; True and None mean 1.
            include: Folders with headers (or one folder), besides the header's own.
            encoding: The encoding of text in bytes, such as "mbcs"; None leaves it
                bytes.
            enums: Return members of an enum.IntEnum for fields that are enums in the
                header; numbers without a name in the enum stay numbers.

        Raises:
            LookupError: There is no such structure, or there are several.
            LayoutError: A compiler's error that may concern the structure, with its
                line.
            ImportError: libclang is not installed.
        """
        from winipc.memory._clang import read_header

        if bits not in (32, 64):
            raise ValueError(f"bits must be 32 or 64, not {bits!r}")
        if isinstance(include, (str, os.PathLike)):
            include = [include]
        flags = [f"-D{key}={_macro(value)}" for key, value in (defines or {}).items()]
        flags += [f"-I{os.fspath(folder)}" for folder in include]
        return read_header(header, name, bits, tuple(flags), encoding, enums)

    @classmethod
    def from_ctypes(
        cls, structure: type[Any], *, encoding: str | None = "utf-8"
    ) -> Layout:
        """The layout of a `ctypes.Structure` class, as this process lays it out."""
        import ctypes

        records = ctypes.Structure, ctypes.Union
        if not (isinstance(structure, type) and issubclass(structure, records)):
            raise TypeError(f"not a ctypes Structure class: {structure!r}")
        fields: list[Field] = []
        inherited = [
            (base, declared)
            for base in reversed(structure.__mro__)
            for declared in vars(base).get("_fields_", ())
        ]
        for base, (name, kind, *width) in inherited:
            place = getattr(base, name)
            shape: tuple[int, ...] = ()
            while issubclass(kind, ctypes.Array):
                kind, shape = kind._type_, (*shape, kind._length_)
            code: str | Layout
            if issubclass(kind, records):
                inner = cls.from_ctypes(kind, encoding=encoding)
                if name in vars(base).get("_anonymous_", ()):
                    at = place.offset
                    fields += (replace(f, offset=at + f.offset) for f in inner)
                    continue
                code, is_pointer = inner, False
            else:
                code, is_pointer = _code_of_ctypes(kind)
            offset, bits = place.offset, None
            if width:  # the low half is the number of lower bits in the number
                offset += (place.size & 0xFFFF) // 8
                bits = (place.size & 0xFFFF) % 8, width[0]
            fields.append(Field(name, code, offset, shape, bits, is_pointer, encoding))
        size, alignment = ctypes.sizeof(structure), ctypes.alignment(structure)
        return cls(structure.__name__, fields, size, alignment)

    # ------------------------------------------------------------------- bytes

    def _unpack(self, buffer: Buffer, offset: int = 0) -> Record:
        """`unpack` for anything but a whole `bytes`."""
        with memoryview(buffer) as whole, whole.cast("B") as view:
            if not 0 <= offset <= len(view) - self.size:
                raise ValueError(
                    f"{self.name} needs {self.size} bytes at offset {offset}, "
                    f"and there are {len(view)}"
                )
            return Record(self, bytes(view[offset : offset + self.size]))

    def _values(
        self, data: bytes, convert: Callable[[Any], Any] | None = None
    ) -> Iterable[Any]:
        """All values in the order of the fields; `convert` is for non-numbers."""
        if self._plan is None:
            self._plan = _plan(self.fields)
        numbers, others = self._plan
        read: tuple[Any, ...] = numbers.unpack_from(data)
        if not others:
            return read
        values = list(read)
        for place, field in others:
            part = field.unpack(data[field.offset : field.offset + field.size])
            values[place] = part if convert is None else convert(part)
        return values

    def pack(
        self, base: Record | Mapping[str, Any] | None = None, /, **fields: Any
    ) -> bytes:
        """Return the bytes of a structure with these fields.

        Other fields are those of `base`, a record, a view or a mapping; without it they
        are 0.
        Text may be str or bytes, the member of an enum its name, and an inner structure
        a mapping of its fields, or a tuple of all its values.

        Raises:
            LookupError: There is no such field.
            ValueError, TypeError: A value does not fit; the message begins with its
                field.
        """
        data = self._pack({} if base is None else base, bytes(self.size), "")
        return self._pack(fields, data, "")

    def _pack(self, values: Record | Mapping[str, Any], old: bytes, path: str) -> bytes:
        if isinstance(values, StructView):
            values = values.as_record()
        if isinstance(values, Record):
            if values._layout == self:
                return bytes(values)
            values = values.as_dict()
        told = path.rstrip(".") or self.name
        if isinstance(values, (tuple, list)):
            if len(values) != len(self.fields):
                count = len(self.fields)
                raise ValueError(f"{told}: {count} values are wanted, not {values!r}")
            values = dict(zip(self._by_name, values, strict=True))
        if not isinstance(values, Mapping):
            raise TypeError(f"{told}: not a record or a mapping of fields: {values!r}")
        data = bytearray(old)
        for name, value in values.items():
            field = self[name]
            place = slice(field.offset, field.offset + field.size)
            data[place] = field.pack(value, bytes(data[place]), path)
        return bytes(data)

    # --------------------------------------------------------------- looked at

    def __getitem__(self, name: str) -> Field:
        """A field by its name, or what a path such as `wheels[1].temps[0]` leads to."""
        try:
            return self._by_name[name]
        except KeyError:
            text = str(name)
            if "." in text or "[" in text:
                return self._at(text)
            from winipc.base.text import meant  # few programs need it

            close = meant(text, self._by_name)
            raise LookupError(f"{self.name} has no field {name!r}{close}") from None

    def _at(self, path: str) -> Field:
        """The field or element at a path: its name is the path."""
        first, dot, rest = path.partition(".")
        name, *texts = first.replace("]", "").split("[")
        field = self[name]
        offset, shape = field.offset, field.shape
        rows = shape[:-1] if field.is_text else shape
        if _STEP.fullmatch(first) is None or len(texts) > len(rows):
            raise LookupError(f"{self.name} has no field {path!r}")
        for text, length in zip(texts, rows, strict=False):
            if int(text) >= length:
                raise LookupError(f"{path}: {self.name}.{name} has {length} elements")
            shape = shape[1:]
            offset += int(text) * math.prod(shape) * size_of(field.kind)
        if not dot:
            return replace(field, name=path, offset=offset, shape=shape)
        if shape or not isinstance(field.kind, Layout):
            what = f"an array: {name}[0].{rest}" if shape else "no structure"
            raise LookupError(f"{path}: {self.name}.{name} is {what}")
        inner = field.kind[rest]
        return replace(inner, name=path, offset=offset + inner.offset)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layout):
            return NotImplemented
        return self.fields == other.fields and self.size == other.size

    def __hash__(self) -> int:
        return hash((self.fields, self.size))

    def __reduce__(self) -> tuple[Any, ...]:
        return Layout, (self.name, self.fields, self.size, self.alignment)

    def __repr__(self) -> str:
        return f"<Layout {self.name} {len(self.fields)} fields, {self.size} bytes>"

    def table(self) -> Rows[FieldRow]:
        """All fields, with those of inner structures, as rows of a table.

        A notebook shows it for the layout, and `winipc layout` prints it.
        """
        from winipc.base.rows import Rows  # few programs need it

        return Rows(self._rows(0, ""))

    def _rows(self, at: int, prefix: str) -> Iterator[FieldRow]:
        for field in self:
            name, offset = prefix + field.name, at + field.offset
            yield FieldRow(offset, field.size, field.type, name)
            if isinstance(field.kind, Layout):
                first = "[0]" * len(field.shape)
                yield from field.kind._rows(offset, f"{name}{first}.")

    @property
    def dtype(self) -> Any:
        """The NumPy dtype: text in bytes is "S", text of wchar_t is numbers.

        It lacks bit-fields, as NumPy has none.
        """
        return self._make("dtype")

    @property
    def ctypes_type(self) -> Any:
        """A ctypes Structure with the same fields at the same offsets."""
        return self._make("ctypes_type")

    def _make(self, name: str) -> Any:
        if name not in self._made:
            from winipc.memory import _declare

            self._made[name] = getattr(_declare, name)(self)
        return self._made[name]

    @property
    def description(self) -> str:
        """A line with the size, and a line for each field: name, offset, type.

        Two layouts with equal descriptions read the same values from the same bytes.
        """
        return "\n".join([f"{self.size}", *self._lines("", 0)])

    def first_difference(self, description: str) -> str:
        """A sentence about the first field whose offset or type differs."""
        if not description:
            return "its creator did not have room to describe it"
        mine, theirs = self.description.split("\n"), description.split("\n")
        for line, other in itertools.zip_longest(mine[1:], theirs[1:]):
            if line != other:
                return f"it has {_told(line)} here and {_told(other)} there"
        if theirs[0] == mine[0]:
            return "its hash is another one"
        return f"it has {theirs[0]} bytes there and {self.size} here"

    def _lines(self, prefix: str, at: int) -> Iterator[str]:
        for field in self.fields:
            kind = field.kind
            code = (
                f"{{{kind.size}}}"
                if isinstance(kind, Layout)
                else _SAME.get(kind, kind)
            )
            dimensions = "".join(f"[{length}]" for length in field.shape)
            bits = f":{field.bits[0]}+{field.bits[1]}" if field.bits else ""
            name, offset = prefix + field.name, at + field.offset
            yield f"{name} {offset} {code}{dimensions}{bits}"
            if isinstance(kind, Layout):
                yield from kind._lines(f"{name}.", offset)

    @property
    def fingerprint(self) -> int:
        """A hash of the description in 64 bits, never 0."""
        import hashlib  # only here: its OpenSSL loads user32.dll

        digest = hashlib.sha256(self.description.encode()).digest()
        return int.from_bytes(digest[:8], "little") or 1

    def offsets(self) -> dict[str, int]:
        """The offset of each field by name, such as "outer.inner"."""
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
        """A sentence for each difference between this layout and `other`.

        `other` may be offsets by field name (from `offsetof` in C), and `size` the size
        in bytes (from `sizeof`).
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
        """The layout of a C structure that is equal in 32 and 64 bits.

        Raises:
            LayoutError: The structure differs (it has a pointer, a handle, a size_t,
                ...), so processes of different bitness cannot share it.
        """
        wide = Layout.from_c(header, name, bits=64)
        narrow = Layout.from_c(header, name, bits=32)
        differences = narrow.differences(wide)
        if differences:
            raise LayoutError(
                f"{name} differs: in 32 bits {'; '.join(differences)} as in 64"
            )
        return wide


#: How to read all values of a structure: all numbers at once, and other fields one by
#: one, each with its index among the fields.
_Plan: TypeAlias = tuple[struct.Struct, list[tuple[int, Field]]]


def _plan(fields: tuple[Field, ...]) -> _Plan:
    codes, others, end = ["<"], [], 0
    for place, field in enumerate(fields):
        if field.is_number and field.offset >= end:
            codes.append(f"{field.offset - end}x{field.kind}")
            end = field.offset + field.size
        else:  # an empty item, which the field's value replaces
            codes.append("0s")
            others.append((place, field))
    return struct.Struct("".join(codes)), others


#: Attributes of `Record` and `StructView`.
_TAKEN = frozenset({*dir(Record), *dir(StructView)})


def _members_of(name: str, words: list[str]) -> dict[str, str]:
    members: dict[str, str] = {}
    for word in words:
        found = _MEMBER.fullmatch(word)
        if found is None:
            raise ValueError(f"{name}: {word!r} is not a field; {_SPELLING}")
        if found["name"] in members:
            raise ValueError(f"{name}: two fields are called {found['name']!r}")
        members[found["name"]] = found["type"]
    return members


def _code_of_ctypes(kind: type[Any]) -> tuple[str, bool]:
    """The code of a ctypes type, and whether it is a pointer."""
    import ctypes

    if getattr(kind, "__ctype_le__", kind) is not kind:
        raise ValueError(f"{kind.__name__} is big-endian")
    code = getattr(kind, "_type_", None)
    if isinstance(code, str) and code in _KNOWN:
        return _SAME.get(code, code), False
    if ctypes.sizeof(kind) == ctypes.sizeof(ctypes.c_void_p):
        return "I" if ctypes.sizeof(ctypes.c_void_p) == 4 else "Q", True
    raise ValueError(f"{kind.__name__} has no struct code")


# --------------------------------------------------------------------- codecs


class Codec(Protocol):
    """A reader and writer of values of `size` bytes: a Layout, a struct.Struct, ..."""

    @property
    def size(self) -> int: ...
    def unpack(self, buffer: Any, /) -> Any: ...
    @property
    def pack(self) -> Callable[..., bytes]: ...


class _Ctypes:
    """A ctypes class as a codec; values are its instances."""

    def __init__(self, kind: Any) -> None:
        import ctypes

        self.kind, self.size = kind, ctypes.sizeof(kind)

    def unpack(self, buffer: Buffer) -> Any:
        return self.kind.from_buffer_copy(memoryview(buffer))

    def pack(self, *values: Any) -> bytes:
        [value] = values
        return bytes(memoryview(value))


def codec_of(layout: Any, order: str = "") -> Codec:
    """Return the codec for the argument `layout` of a method.

    A `Layout`, or its short text form ("speed:f32 gear:i32"), gives records. A number
    type ("i32"), a format of the module `struct` or a `struct.Struct` gives tuples. A
    ctypes type gives its instances. `order` is as in `layout_of`.

    Raises:
        TypeError: The argument is none of these.
        ValueError: The text is none of these.
    """
    if isinstance(layout, (Layout, struct.Struct, _Ctypes)):
        return layout
    if isinstance(layout, str) and ":" in layout:
        return layout_of(layout)
    if isinstance(layout, str):
        big = re.fullmatch(r"([iuf]\d\d)be", layout)  # struct would take it as a format
        with contextlib.suppress(ValueError):
            code = _core._number_code(big[1] if big else layout)
            layout = f"{'>' if big else '<'}{code}"
    if isinstance(layout, (str, bytes)):
        try:
            if isinstance(layout, str) and _WORD.fullmatch(layout):
                raise struct.error("s and p have no count here")
            return struct.Struct(layout)
        except struct.error as error:
            raise ValueError(
                f"{layout!r} is no type such as 'i32', no format of struct such as "
                f"'<Iff' ({error}), and has no fields: {_SPELLING}"
            ) from None
    if isinstance(layout, type) and hasattr(layout, "from_buffer_copy"):
        return _Ctypes(layout)
    raise TypeError(
        "a layout is a winipc.Layout, fields such as 'speed:f32 gear:i32', a type of "
        "numbers, a format of the module struct or a ctypes type, not "
        f"{layout!r:.80}{order and '; '}{order}"
    )


def layout_of(layout: Any, order: str = "") -> Layout:
    """The `Layout` for a layout, its short text form or a ctypes class.

    `order` ends the TypeError: the order of the arguments, which may be swapped.
    """
    if isinstance(layout, Layout):
        return layout
    if isinstance(layout, str):
        return Layout.of("struct", layout)
    if isinstance(layout, type):
        return Layout.from_ctypes(layout)
    raise TypeError(
        "a layout is a winipc.Layout, fields such as 'speed:f32 gear:i32' or a ctypes "
        f"Structure class, not {layout!r:.80}{order and '; '}{order}"
    )
