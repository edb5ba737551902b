"""Values laid over bytes, as `--struct` describes them.

Either a format of Python's module struct, such as `<Iff`; or fields with names, such
as `speed:f gear:i name:16s`, aligned as in C, or packed after a lone `<`.
"""

from __future__ import annotations

import math
import re
import struct
from typing import Any

from winipc.base.text import clean
from winipc.memory.layout import Layout

__all__ = ["HELP", "Overlay"]

HELP = (
    "show values instead: a format of Python's module struct, such as <Iff; or fields "
    'with names, laid out as in C, such as "speed:f gear:i wheels:4f name:16s" '
    '(with "< " in front: packed)'
)

_FIELD = re.compile(r"(?P<name>\w+):(?P<count>\d*)(?P<code>[cbB?hHiIlLqQfds])")


class Overlay:
    """Which values the bytes hold; `names` is None for values without names."""

    def __init__(self, text: str) -> None:
        self.names: tuple[str, ...] | None = None
        if ":" in text:
            self._fields = _parse(text)
            self.names = tuple(field.name for field in self._fields)
            self.size = self._fields.size
            return
        try:
            self.size = struct.calcsize(text)
        except struct.error as error:
            raise ValueError(f"--struct {text!r}: {error}") from None
        self._format = text

    def values(self, data: bytes) -> list[Any]:
        """The values, in order; text up to its NUL."""
        if self.names is None:
            return [_text(value) for value in struct.unpack_from(self._format, data)]
        found: list[Any] = []
        for field in self._fields:
            raw = data[field.offset : field.offset + field.size]
            if field.kind == "c":
                found.append(_text(raw))
                continue
            values = struct.unpack(f"<{field.count}{field.kind}", raw)
            found.append(list(values) if field.is_array else values[0])
        return found

    def as_json(self, data: bytes) -> list[Any] | dict[str, Any]:
        """A list, or a dict by names. NaN and infinity, which JSON lacks, are None."""
        values = [_finite(value) for value in self.values(data)]
        if self.names is None:
            return values
        return dict(zip(self.names, values, strict=True))

    def line(self, data: bytes) -> str:
        """All in one line."""
        return " ".join(
            value if self.names is None else f"{name}={value}"
            for name, value in self.rows(data)
        )

    def rows(self, data: bytes) -> list[tuple[str, str]]:
        """For each value its name, or its number, and its text."""
        values = self.values(data)
        names = self.names or [str(number) for number in range(len(values))]
        return [(n, _shown(value)) for n, value in zip(names, values, strict=True)]


def _parse(text: str) -> Layout:
    words = text.split()
    packed = words[:1] == ["<"]
    members: dict[str, str | Layout | tuple[str | Layout, int]] = {}
    for word in words[packed:]:
        field = _FIELD.fullmatch(word)
        if field is None:
            raise ValueError(f"--struct: {word!r} is not a field such as speed:f")
        name, count, code = field["name"], field["count"], field["code"]
        if name in members:
            raise ValueError(f"--struct: two fields are called {name!r}")
        if code == "s":
            members[name] = ("c", int(count or 1))
        else:
            # As in the module struct with < in front: l is 32 bits, as in Windows.
            members[name] = (code, int(count)) if count else code
    return Layout.of("--struct", members, pack=1 if packed else None)


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    return value.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_shown(item) for item in value) + "]"
    return _number(value) if isinstance(value, float) else clean(str(value))


def _number(value: float) -> str:
    """The number, with the digits of a C float if it is one."""
    try:
        single = struct.unpack("<f", struct.pack("<f", value))[0] == value
    except OverflowError:
        single = False
    return f"{value:.7g}" if single else repr(value)
