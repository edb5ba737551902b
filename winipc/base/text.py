"""How bytes, sizes and the texts of other programs are shown to people."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: Bytes in a row of a hex dump.
HEX_WIDTH = 16


def clean(text: object, limit: int | None = None) -> str:
    """A text on one line, with nothing invisible in it; cut after `limit` characters.

    Control characters, those that turn the direction of text, and halves of
    surrogate pairs become escapes, so another program's text can neither steer a
    terminal nor be refused by a notebook.
    """
    string = str(text)
    shown = string[:limit]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
    return shown + "…" if limit is not None and len(string) > limit else shown


def meant(word: str, known: Iterable[str]) -> str:
    """What a mistyped word may have meant, for the end of a sentence; or ""."""
    import difflib

    close = difflib.get_close_matches(word, known, 1)
    return f" (did you mean {close[0]}?)" if close else ""


class Words(StrEnum):
    """Says which words there are to whoever writes another one."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        words = ", ".join(dict.fromkeys(cls))
        raise ValueError(f"no {cls.__name__} {value!r}: there are {words}") from None


def columns_of(text: str) -> int:
    """How many columns of a terminal a clean text takes; some characters take two."""
    if text.isascii():
        return len(text)
    import unicodedata  # which few texts need

    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
        if unicodedata.category(c) not in ("Mn", "Me")
    )


def text_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Container[str] = ()
) -> Iterator[str]:
    """The lines of a table of clean texts; the columns `right` are numbers."""
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(map(columns_of, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = []
        for text, width, column in zip(line, widths, columns, strict=True):
            blanks = " " * (width - columns_of(text))
            cells.append(blanks + text if column in right else text + blanks)
        yield "  ".join(cells).rstrip()


def size_text(size: int) -> str:
    """A number of bytes for people."""
    if size < 1024:
        return f"{size} bytes"
    power = min((size.bit_length() - 1) // 10, 4)
    return f"{size / 1024**power:.4g} {'KMGT'[power - 1]}iB"


@dataclass(frozen=True, slots=True)
class HexRow:
    """One row of a hex dump: an address, pairs of digits, and letters."""

    #: Where its first byte is in the data.
    offset: int
    address: str
    #: For each byte two digits, or "??" where it could not be read.
    pairs: list[str]
    letters: list[str]
    #: The bytes of a whole row.
    width: int = HEX_WIDTH

    def line(self, changed: Container[int] = ()) -> str:
        """The row as text; a * precedes each byte whose offset is in `changed`."""
        cells = [
            ("*" if offset in changed else " ") + pair
            for offset, pair in enumerate(self.pairs, self.offset)
        ]
        cells += ["   "] * (self.width - len(cells))
        half = self.width // 2
        left, right = "".join(cells[:half]), "".join(cells[half:])
        return f"{self.address} {left} {right}  {''.join(self.letters)}"


def _digits(end: int) -> int:
    return 16 if end > 0xFFFF_FFFF_FFFF else 12 if end > 0xFFFF_FFFF else 8


def row_width(end: int, columns: int) -> int:
    """Bytes for a row of a hex dump up to `end` on a terminal of so many columns."""
    return HEX_WIDTH if _digits(end) + 4 * HEX_WIDTH + 4 <= columns else HEX_WIDTH // 2


def hex_rows(
    address: int,
    data: bytes,
    valid: bytes | None = None,
    *,
    width: int = HEX_WIDTH,
    offsets: Iterable[int] | None = None,
) -> Iterator[HexRow]:
    """The rows of a hex dump of `data`, whose first byte is at `address`.

    `valid` has a 0 for each byte that could not be read. `offsets` chooses rows.
    """
    digits = _digits(address + len(data))
    for at in range(0, len(data), width) if offsets is None else offsets:
        bytes_of_row = range(at, min(at + width, len(data)))
        known = [valid is None or valid[i] for i in bytes_of_row]
        row = zip(data[at : at + width], known, strict=True)
        shown = [(f"{b:02x}", chr(b)) if ok else ("??", "") for b, ok in row]
        yield HexRow(
            at,
            f"{address + at:0{digits}x}",
            [pair for pair, _ in shown],
            [c if c.isascii() and c.isprintable() and c else "." for _, c in shown],
            width,
        )
