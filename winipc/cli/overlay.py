"""Values that bytes hold, as `--struct` describes them.

A description is a type such as `i32`; a format of Python's module struct, such as
`<Iff`; fields with names, such as `speed:f32 gear:i32 name:16s`, aligned as in C, or
packed after a lone `<`; or a structure of a header, such as `telemetry.h:state`.
"""

from __future__ import annotations

import argparse
import enum
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

from winipc.base.text import clean
from winipc.cli.options import converted, field_in, number
from winipc.memory.layout import Field, Layout, codec_of
from winipc.memory.record import Record, Text

HELP = (
    "a type such as i32; a format of Python's module struct, such "
    "as <Iff; fields with names, laid out as in C, such as "
    '"speed:f32 gear:i32 wheels:4f32 name:16s title:16u" '
    '(with "< " in front: packed); or HEADER:NAME, a structure of a C or C++ header'
)
_OF_HEADER = re.compile(r"(?P<header>.+\.\w+):(?P<name>\w+(::\w+)*)")


def add_struct(
    parser: argparse.ArgumentParser, what: str = "show values instead"
) -> None:
    """Add the option for values."""
    parser.add_argument(
        "--struct", metavar="FORMAT", type=converted(Overlay), help=f"{what}: {HELP}"
    )


def add_offset(parser: argparse.ArgumentParser, where: str = "") -> None:
    """Add the option for a recording, whose `--struct` need not begin at its start."""
    parser.add_argument(
        "--offset",
        type=number,
        default=0,
        help=f"offset of the values of --struct{where}; 16 is the record of a Snapshot",
    )


def take_size(arguments: argparse.Namespace) -> None:
    """Make --struct the default of --size, and refuse a --size that is too small."""
    if arguments.struct is not None:
        needed = arguments.struct.size
        if arguments.size is None:
            arguments.size = needed
        elif arguments.size < needed:
            arguments.parser.error(f"--struct needs --size {needed} or more")


def field_of(arguments: argparse.Namespace, path: str) -> Field:
    """The field of --struct that --field names."""
    overlay = arguments.struct
    if overlay is None or overlay.layout is None:
        arguments.parser.error("--field needs a --struct with names")
    return field_in(arguments.parser, overlay.layout, path)


def add_fields(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the option that chooses some fields of --struct."""
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="FIELD",
        help=f"{what} this field of --struct only; may be repeated",
    )


def take_fields(arguments: argparse.Namespace) -> None:
    """Limit --struct to the fields that `add_fields` let choose."""
    chosen = [field_of(arguments, path) for path in arguments.field]
    if chosen:
        arguments.struct.only = chosen


class _Address(int):
    """A number that is shown in hexadecimal."""


class Overlay:
    """Values in bytes; each has a name, or else a number; one alone is the value."""

    def __init__(self, text: str) -> None:
        self.text = text
        #: None for a format without names.
        self.layout: Layout | None = None
        if of_header := _OF_HEADER.fullmatch(text):
            place, name = of_header["header"], of_header["name"]
            self.layout = Layout.from_c(place, name, enums=True)
        elif ":" in text:
            self.layout = Layout.of("struct", text)
        elif re.search(r"\w\.\w+$", text):
            raise ValueError(f"{text!r}: {text}:NAME names a structure of a header")
        elif len(text) > 1 and text.isalpha():
            told = f"{text!r} has no type: a field is {text}:f32"
            raise ValueError(f"{told}, and codes of struct begin with <")
        #: The fields that are shown; none: all.
        self.only: list[Field] = []
        self._codec = self.layout or codec_of(text)
        self.size = self._codec.size

    def _values(self, data: bytes) -> dict[str, Any]:
        """The values, in order; text up to its NUL."""
        values: Any = self._codec.unpack(data[: self.size])
        if self.layout is not None:
            fields = self.only or self.layout
            return {field.name: _of(field, bytes(values)) for field in fields}
        names = map(str, range(len(values))) if len(values) > 1 else ["value"]
        return {name: _plain(value) for name, value in zip(names, values, strict=True)}

    def as_json(self, data: bytes) -> list[Any] | dict[str, Any]:
        """A dict if values have names, else a list. NaN and infinity become None."""
        values = {name: _finite(value) for name, value in self._values(data).items()}
        return values if self.layout else list(values.values())

    def line(self, data: bytes) -> str:
        """All values in one line."""
        rows = self.rows(data)
        return " ".join(f"{n}={text}" if self.layout else text for n, text in rows)

    def cells(self, data: bytes) -> dict[str, Any]:
        """Each number and text by its path, such as `wheels[0].speed`."""
        return dict(_cells("", self._values(data)))

    def changes(
        self, old: bytes, new: bytes
    ) -> Iterator[tuple[str, tuple[Any, Any], tuple[str, str]]]:
        """For each number or text that differs: its path, both values, both texts."""
        before = self.cells(old)
        for path, value in self.cells(new).items():
            texts = _shown(before[path]), _shown(value)
            if texts[0] != texts[1]:  # NaN differs from itself
                yield path, (_finite(before[path]), _finite(value)), texts

    def rows(self, data: bytes) -> list[tuple[str, str]]:
        """The name and the text of each value."""
        return [(name, _shown(value)) for name, value in self._values(data).items()]


def _of(field: Field, data: bytes) -> Any:
    """The value of a field of the structure in `data`."""
    value = field.unpack(data[field.offset : field.offset + field.size])
    return _plain(value, field.is_pointer)


def _plain(value: Any, is_pointer: bool = False) -> Any:
    """The value for JSON: tuples become lists, bytes become text up to their NUL."""
    if isinstance(value, tuple):
        return [_plain(item, is_pointer) for item in value]
    if isinstance(value, Record):
        return {field.name: _of(field, bytes(value)) for field in value._layout}
    if is_pointer:
        return _Address(value)
    if isinstance(value, Text):  # it has surrogates for bytes that are not text
        return (
            str(value)
            .encode("utf-8", "surrogateescape")
            .decode("utf-8", "backslashreplace")
        )
    if isinstance(value, bytes):
        return value.partition(b"\0")[0].decode("utf-8", "backslashreplace")
    return value


def _cells(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _cells(f"{path}.{name}" if path else name, item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _cells(f"{path}[{index}]", item)
    else:
        yield path, value


def _finite(value: Any) -> Any:
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + " ".join(_shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + " ".join(f"{n}={_shown(v)}" for n, v in value.items()) + "}"
    if isinstance(value, enum.Enum):
        return f"{value.name} ({value.value})"
    if isinstance(value, _Address):
        return f"{value:#x}"
    return _number(value) if isinstance(value, float) else clean(str(value))


def _number(value: float) -> str:
    """The number; with the digits of a C float if a float holds it exactly."""
    try:
        single = struct.unpack("<f", struct.pack("<f", value))[0] == value
    except OverflowError:
        single = False
    return f"{value:.7g}" if single else repr(value)
