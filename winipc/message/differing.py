"""How a message differs from the expected one, in words."""

from __future__ import annotations

from typing import Protocol

from winipc import decoders
from winipc.base.text import HEX_WIDTH, hex_rows
from winipc.memory.record import Record
from winipc.message.message import WM_COPYDATA

#: The expected attributes of a message by name, and the expected data (None: any).
Expected = tuple[dict[str, int], bytes | str | Record | None]


class _HasData(Protocol):
    def __bytes__(self) -> bytes: ...


def differences(expected: Expected, came: _HasData) -> list[str]:
    """A line for each difference; an empty list if there is none."""
    numbers, data = expected
    lines = [
        f"{name}: expected {_shown(name, wanted)}, came {_shown(name, got)}"
        for name, wanted in numbers.items()
        if (got := getattr(came, name)) != wanted
    ]
    if isinstance(data, str):
        try:
            text = decoders.utf8(bytes(came))
        except UnicodeDecodeError:
            lines.append(f"data: expected {data!r}, but this is not UTF-8:")
            lines += _dump("came", bytes(came), 0)
        else:
            if text != data:
                lines += [f"data: expected {data!r}", f"          came {text!r}"]
    elif isinstance(data, Record):
        lines += _field_differences(data, bytes(came))
    elif data is not None and data != bytes(came):
        lines += _data_difference(data, bytes(came))
    return lines


def described(expected: Expected) -> str:
    """The expected message in one line."""
    numbers, data = expected
    parts = [f"{name}={_shown(name, n)}" for name, n in numbers.items()]
    if data is not None:
        parts.append(f"data={short(data)}")
    return " ".join(parts) or "any message"


def short(data: bytes | str | Record) -> str:
    """Data in one line; only the beginning of long data."""
    if isinstance(data, Record):
        return repr(data)
    return repr(data) if len(data) <= 64 else f"{data[:64]!r}... ({len(data)})"


def _shown(name: str, number: int) -> str:
    if name == "message" and number == WM_COPYDATA:
        return f"{number:#x} (WM_COPYDATA)"
    return str(number) if name == "pid" else f"{number:#x}"


def _field_differences(expected: Record, came: bytes) -> list[str]:
    layout = expected._layout
    if len(came) < layout.size:
        return [
            f"data: {layout.size} bytes of {layout.name} expected, {len(came)} came"
        ]
    got = layout.unpack(came)
    pairs = [(field.name, expected[field.name], got[field.name]) for field in layout]
    return [
        f"data: {name}: expected {wanted!r}, came {found!r}"
        for name, wanted, found in pairs
        if found != wanted
    ]


def _data_difference(expected: bytes, came: bytes) -> list[str]:
    pairs = zip(expected, came, strict=False)
    shorter = min(len(expected), len(came))
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)
    sizes = f"{len(expected)} bytes expected, {len(came)} came"
    return [
        f"data: {sizes}; they differ from offset {at} on",
        *_dump("expected", expected, at),
        *_dump("came", came, at),
    ]


def _dump(label: str, data: bytes, at: int) -> list[str]:
    """A few rows of a hex dump around an offset."""
    begin = max(0, at // HEX_WIDTH - 1) * HEX_WIDTH
    rows = hex_rows(begin, data[begin : begin + 3 * HEX_WIDTH])
    lines = [f"{label:>10} {row.line()}" for row in rows]
    return lines or [f"{label:>10} (nothing)"]
