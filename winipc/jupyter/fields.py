"""The fields of a structure: place, type and value of each."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from winipc.memory.layout import Field, Layout

__all__ = ["Leaf", "leaves", "make_layout"]

#: How many elements of an array are listed.
_ELEMENTS = 8

_NAMES = {
    "c": "char",
    "?": "bool",
    "b": "i8",
    "B": "u8",
    "h": "i16",
    "H": "u16",
    "i": "i32",
    "l": "i32",
    "I": "u32",
    "L": "u32",
    "q": "i64",
    "Q": "u64",
    "e": "f16",
    "f": "f32",
    "d": "f64",
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that is not a structure; `name` is its path, such as `wheel[0].speed`."""

    name: str
    type: str
    offset: int
    size: int
    code: str
    count: int

    def value(self, data: bytes) -> str:
        """Its value in the bytes of the field, as text."""
        if self.code == "c":
            text = data.partition(b"\0")[0]
            try:
                return repr(text.decode())
            except UnicodeDecodeError:
                return repr(text)
        shown = min(self.count, _ELEMENTS)
        numbers = struct.unpack_from(f"<{shown}{self.code}", data)
        words = [
            f"{number:.7g}" if isinstance(number, float) else str(number)
            for number in numbers
        ]
        if not self.type.endswith("]"):
            return words[0]
        more = ", …" if shown < self.count else ""
        return f"({', '.join(words)}{more})"


def make_layout(layout: Any) -> Layout:
    """A `Layout`, from one or from a ctypes Structure class."""
    return layout if isinstance(layout, Layout) else Layout.from_ctypes(layout)


def leaves(layout: Layout, at: int = 0, prefix: str = "") -> Iterator[Leaf]:
    """All fields in the order of declaration, with those of inner structures."""
    for field in layout:
        yield from _leaves_of(field, at, prefix + field.name)


def _leaves_of(field: Field, at: int, name: str) -> Iterator[Leaf]:
    start = at + field.offset
    if isinstance(field.kind, Layout):
        for index in range(field.count):
            inner = f"{name}[{index}]" if field.is_array else name
            yield from leaves(field.kind, start + index * field.kind.size, f"{inner}.")
        return
    kind = _NAMES.get(field.kind, field.kind)
    if field.is_array:
        kind += f"[{field.count}]"
    yield Leaf(name, kind, start, field.size, field.kind, field.count)
