"""Bytes as lines of hexadecimal and text."""

from __future__ import annotations

from collections.abc import Collection, Iterator

__all__ = ["WIDTH", "digits_of", "line", "lines"]

WIDTH = 16


def line(address: int, data: bytes, digits: int, changed: Collection[int] = ()) -> str:
    """One line; bytes whose offsets in `data` are in `changed` have a * in front."""
    cells = [
        ("*" if i in changed else " ") + f"{byte:02x}" for i, byte in enumerate(data)
    ]
    cells += ["   "] * (WIDTH - len(data))
    half = WIDTH // 2
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in data)
    left, right = "".join(cells[:half]), "".join(cells[half:])
    return f"{address:0{digits}x} {left} {right}  {text}"


def lines(address: int, data: bytes) -> Iterator[str]:
    """All lines; a * stands for lines that are equal to the one before."""
    digits = digits_of(address + len(data))
    last = None
    skipping = False
    for at in range(0, len(data), WIDTH):
        row = data[at : at + WIDTH]
        if row == last and at + WIDTH < len(data):
            if not skipping:
                yield "*"
            skipping = True
            continue
        skipping = False
        last = row
        yield line(address + at, row, digits)


def digits_of(end: int) -> int:
    """How wide addresses up to `end` are."""
    return 16 if end > 0xFFFF_FFFF_FFFF else 12 if end > 0xFFFF_FFFF else 8
