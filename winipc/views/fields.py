"""The fields of a structure: place, type and value of each."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from winipc.memory.layout import Field, Layout, word_of

#: How many elements of an array are listed.
_ELEMENTS = 8


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that is not a structure; `name` is its path, such as `wheel[0].speed`."""

    name: str
    offset: int
    field: Field

    @property
    def type(self) -> str:
        """The type, with the number of elements or of bits."""
        field = self.field
        kind = word_of(str(field.kind))
        if field.bits is not None:
            return f"{kind}:{field.bits[1]}"
        return kind + "".join(f"[{length}]" for length in field.shape)

    def value(self, data: bytes) -> str:
        """The value in `data`, the bytes of the field, as text."""
        value = self.field.unpack(data)
        return self.field.shown(value) if self.field.is_pointer else _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        words = [_shown(item) for item in value[:_ELEMENTS]]
        return f"({', '.join(words)}{', …' if len(value) > _ELEMENTS else ''})"
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, bytes):
        text = value.partition(b"\0")[0]
        try:
            return repr(text.decode())
        except UnicodeDecodeError:
            return repr(text)
    if isinstance(value, str):
        return repr(str(value))
    return f"{value:.7g}" if isinstance(value, float) else str(value)


def leaves(layout: Layout, at: int = 0, prefix: str = "") -> Iterator[Leaf]:
    """All fields in the order of declaration, also those of inner structures."""
    for field in layout:
        name, start = prefix + field.name, at + field.offset
        if not isinstance(field.kind, Layout):
            yield Leaf(name, start, field)
            continue
        for index in range(field.count):
            inner = f"{name}[{index}]" if field.shape else name
            yield from leaves(field.kind, start + index * field.kind.size, f"{inner}.")
