"""The values of a structure: `Record`, a copy; `StructView`, the memory itself."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, cast

from winipc import _core
from winipc._core import Atomic
from winipc.base.shown import Shown
from winipc.errors import add_hint

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Record", "StructView", "Text"]


class Text(str):
    """The text of a field, up to its NUL; `raw` has all bytes of the field.

    It can also be compared with bytes, whatever zeros are at the end:
    `record.magic == b"RTSS"`.
    """

    __slots__ = ("raw",)

    #: All bytes of the field, with the NUL and what follows it.
    raw: bytes

    def __new__(cls, text: str, raw: bytes = b"") -> Self:
        self = super().__new__(cls, text)
        self.raw = raw
        return self

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (bytes, bytearray)):
            return self.raw == bytes(other).ljust(len(self.raw), b"\0")
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


class _Fields(_core.Fields):
    """Fields as attributes; `[]` also reaches a field with the name of a method.

    csrc/memory/fields.c reads and writes numbers; `_get` and `_put` do the rest.
    """

    __slots__ = ()

    #: Without it, iteration would try `[]` with 0, 1, ...
    __iter__ = None

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(field.name for field in self._layout)]


class Record(_Fields):
    """A structure's values at one moment, from `Layout.unpack`.

    `record.field` and `record["field"]` return a value: a number, `Text`, a record of
    an inner structure, or a tuple for an array. A record does not change;
    `layout.pack(record, field=1)` returns the bytes of a changed one. `bytes(record)`
    are the record's bytes, with padding. Records are equal if all their values are.
    """

    __slots__ = ()

    def _get(self, name: str) -> Any:
        field = self._layout[name]
        return field.unpack(self._memory[field.offset : field.offset + field.size])

    def _put(self, name: str, _: object) -> NoReturn:
        told = f"{name}=..." if name.isidentifier() else f'**{{"{name}": ...}}'
        raise AttributeError(
            f"a record does not change: layout.pack(record, {told}) makes new bytes"
        )

    def __bytes__(self) -> bytes:
        return cast("bytes", self._memory)

    def as_dict(self) -> dict[str, Any]:
        """All values by name; an inner structure is a dict."""
        layout = self._layout
        if len(layout._numbers) == len(layout.fields):
            return self._all_numbers()
        values = layout._values(self._memory, _plain)
        return dict(zip(layout._by_name, values, strict=True))

    def _items(self) -> Iterator[tuple[str, Any]]:
        layout = self._layout
        return zip(layout._by_name, layout._values(self._memory), strict=True)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        return tuple(self._items()) == tuple(other._items())

    def __hash__(self) -> int:
        return hash(tuple(self._items()))

    def __repr__(self) -> str:
        values = ", ".join(f"{n}={self._layout[n].shown(v)}" for n, v in self._items())
        return f"{self._layout.name}({values})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Record, (self._layout, self._memory)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.as_dict() if isinstance(value, Record) else value


class Memory(Protocol):
    """Memory for a structure: a mapping, a view, a section, ..."""

    def read(self, size: int, offset: int) -> bytes: ...
    def write(self, data: Buffer, offset: int) -> int: ...
    def __len__(self) -> int: ...


class _Frozen(bytes):
    """A private copy of a structure's bytes."""

    def read(self, size: int, offset: int) -> bytes:
        return self[offset : offset + size]

    def write(self, data: Buffer, offset: int) -> int:
        raise TypeError("a copy is read-only")


class StructView(_Fields, Shown):
    """A structure in shared memory, field by field.

    ::

        data = bytes.fromhex("0000C03F 03000000")
        car = winipc.StructView(data, "speed:f32 gear:i32")
        print(car.speed, car["gear"])  # 1.5 3

    `view.field` and `view["field"]` read a field; assigning writes it. Each access
    copies one field. An aligned number of up to 8 bytes is one copy. Several fields may
    be of different moments: take a `Snapshot` for a whole record. Values are those of a
    `Record`, except that inner structures are views. Text takes str or bytes, and an
    inner structure what `Layout.pack` takes: `view.pos = {"x": 1}` writes all its
    bytes, with `y` as it was. Writing a bit-field writes the bytes that it is in. A
    field with the name of a method, such as `as_dict`, is reached by `[]` only. `[]`
    takes paths, too: an array is a tuple, and `view["wheels[1].temps[0]"] = 5` writes
    one element.

    The memory may also be bytes or another buffer, such as a message. Then the view is
    of a copy, and read-only. The layout is a `winipc.Layout`, its short form such as
    "speed:f32 gear:i32", or a ctypes Structure class.
    """

    __slots__ = ()

    def __new__(cls, memory: Memory | Buffer, layout: Any, offset: int = 0) -> Self:
        order = "StructView takes the memory first, then the layout"
        if not isinstance(layout, _core.Layout):
            from winipc.memory.layout import layout_of

            layout = layout_of(layout, order)
        if not hasattr(memory, "read"):
            try:
                memory = _Frozen(memoryview(memory))
            except TypeError:
                raise TypeError(
                    "the memory is a mapping, a view, bytes or another buffer, not "
                    f"{memory!r:.80}; {order}"
                ) from None
        memory = cast("Memory", memory)
        offset = operator.index(offset)
        if offset < 0 or layout.size > len(memory) - offset:
            raise ValueError(
                f"{layout.name} needs {layout.size} bytes at offset {offset}, "
                f"and there are {len(memory)}"
            )
        return super().__new__(cls, layout, memory, offset)

    def _get(self, name: str) -> Any:
        field = self._layout[name]
        at = self._offset + field.offset
        kind = field.kind
        if not isinstance(kind, str):
            places = range(at, at + field.size, kind.size or 1)
            return field.nested([StructView(self._memory, kind, a) for a in places])
        return field.unpack(self._memory.read(field.size, at))

    def _put(self, name: str, value: Any) -> None:
        field = self._layout[name]
        at, is_whole = self._offset + field.offset, isinstance(field.kind, str)
        is_whole = is_whole and field.bits is None
        old = b"" if is_whole else self._memory.read(field.size, at)
        self._memory.write(field.pack(value, old), at)

    def as_record(self) -> Record:
        """All fields, from one copy of the whole structure."""
        return Record(self._layout, self._memory.read(self._layout.size, self._offset))

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, from one copy of the whole structure."""
        return self.as_record().as_dict()

    def __repr__(self) -> str:
        try:
            values = repr(self.as_record())
        except (OSError, ValueError) as error:  # closed, or not readable
            values = f"{self._layout.name}, {type(error).__name__}"
        place = getattr(self._memory, "_place", "offset {}".format)
        return f"<StructView {values} at {place(self._offset)}>"


class Structured:
    """Memory over which structures and interlocked numbers can be laid."""

    __slots__ = ()

    def atomic(self: Any, offset: int = 0, type: str = "i64") -> Atomic:
        """Return the number at `offset` for interlocked operations.

        ::

            with mapping.atomic(8, "u64") as counter:
                print(counter.add(1), counter.value)  # 0 1

        `close` of the memory raises BufferError until `release()` of the Atomic, or the
        end of its `with`. `type` is an integer type, such as "u32".

        Raises:
            ValueError: The number is not inside the memory, or its address is not a
                multiple of its size.

        Win32: none.
        """
        return Atomic(self, offset, type)

    def struct_view(self: Any, layout: Any, offset: int = 0) -> Any:
        """Return a structure in the memory at `offset`.

        ::

            car = mapping.struct_view("speed:f32 gear:i32")
            car.gear = 3
            print(car.gear, mapping.get(4, "i32"))  # 3 3

        Args:
            layout: A `winipc.Layout`, or its short form such as "speed:f32 gear:i32":
                the result is a `StructView`, which checks and copies at each access. Or
                a ctypes Structure class: the result is an instance that lies in the
                memory itself and keeps it in use.
            offset: The offset of the structure in bytes.

        Raises:
            ValueError: The structure does not fit in the memory after `offset`, or
                would be in the header of a mapping that was opened without `header`.
            TypeError: ctypes cannot use read-only memory; a hint says what to use.
        """
        from winipc.memory.layout import layout_of
        from winipc.memory.mapping import check_no_header

        check_no_header(self, offset)
        if not hasattr(layout, "from_buffer"):
            return StructView(self, layout_of(layout), offset)
        try:
            return layout.from_buffer(self, offset)
        except TypeError as error:
            with memoryview(self) as view:
                readonly = view.readonly
            if readonly:
                name = getattr(layout, "__name__", "the structure")
                add_hint(
                    error,
                    "ctypes lies in writable memory only: read a copy by "
                    f"{name}.from_buffer_copy(mapping), or the memory itself by "
                    f"struct_view(Layout.from_ctypes({name}))",
                )
            raise
