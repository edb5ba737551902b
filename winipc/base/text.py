"""Bytes, sizes and texts of other programs, as people see them."""

from __future__ import annotations

import itertools
from collections.abc import Container, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

#: Bytes in a row of a hex dump.
HEX_WIDTH = 16
#: Between two columns of a table.
_BETWEEN = "  "
#: For a terminal, no column of texts becomes narrower than this.
_NARROWEST = 4
#: If the last column were narrower, it goes below the others.
_NARROW = 8
#: What goes below a line of a table is indented by this.
_INDENT = 4
#: A text without blanks breaks after one of these, if possible.
_JOINTS = "\\/-_."
_WORD = r"[^ \\/_.-]+[\\/_.-]?"


def clean(text: object, limit: int | None = None) -> str:
    """Return a text as one line of printable characters, cut after `limit` characters.

    Control characters, characters that change the direction of text, and lone
    surrogates become escapes. So another program's text can neither control a terminal
    nor make a notebook refuse it.
    """
    string = str(text)
    shown = string[:limit]
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
    return shown + "…" if limit is not None and len(string) > limit else shown


def meant(
    word: str, known: Iterable[str], before: str = "", likeness: float = 0.6
) -> str:
    """Return " (did you mean X?)" for a mistyped word, or "".

    What stands before each word, such as --, makes no two words alike, and case makes
    no two words different. Equal words have a `likeness` of 1.
    """
    import difflib

    full = {one.lower(): one for one in known if one.startswith(before)}
    bare = {one.removeprefix(before): full[one] for one in full}
    given = word.removeprefix(before).lower()
    close = difflib.get_close_matches(given, bare, 1, likeness)
    return f" (did you mean {bare[close[0]]}?)" if close else ""


def counted(number: object, what: str) -> str:
    """A number and what it counts: "1 byte", "2 bytes"."""
    return f"{number} {what}" if str(number) == "1" else f"{number} {what}s"


class Words(StrEnum):
    """An enum whose error for an unknown word lists the known ones."""

    @classmethod
    def _missing_(cls, value: object) -> Any:
        words = ", ".join(dict.fromkeys(cls))
        raise ValueError(f"no {cls.__name__} {value!r}: there are {words}") from None


def columns_of(text: str) -> int:
    """The number of columns that a clean text takes; some characters take two."""
    if text.isascii():
        return len(text)
    import unicodedata  # few texts need it

    return sum(
        2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
        if unicodedata.category(c) not in ("Mn", "Me")
    )


def text_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    right: Container[str] = (),
    room: int | None = None,
) -> Iterator[str]:
    """The heading and the rows of a table of clean texts; numbers are in `right`.

    If lines must fit into `room` columns of a terminal, the widest texts of a row
    continue on the next lines. Numbers do not: half a number is another number. If
    they leave too little for the last column, it goes below the others.
    """
    lines = [[column.upper() for column in columns], *rows]
    widths = [max(map(columns_of, column)) for column in zip(*lines, strict=True)]
    numbers = [column in right for column in columns]
    if room is not None:
        left = room - len(_BETWEEN) * (len(columns) - 1)
        if sum(widths) > left:
            words = [max(map(_word, column)) for column in zip(*lines, strict=True)]
            fitted = _fitted(widths, words, numbers, left)
            if fitted[-1] < min(widths[-1], _NARROW) and len(columns) > 1:
                rest = [line[:-1] for line in lines[1:]]
                upper = text_table(columns[:-1], rest, right, room)
                for text, line in zip(upper, lines, strict=True):
                    below = [one for one in folded(line[-1], room - _INDENT) if one]
                    yield "\n".join([text, *(" " * _INDENT + one for one in below)])
                return
            widths = fitted
    for line in lines:
        cells = (
            [text] if number else folded(text, width)
            for text, width, number in zip(line, widths, numbers, strict=True)
        )
        yield "\n".join(
            _BETWEEN.join(map(_padded, row, widths, numbers)).rstrip()
            for row in itertools.zip_longest(*cells, fillvalue="")
        )


def _word(text: str) -> int:
    """The columns that a text needs if no word of it is to be broken."""
    import re  # only terminals need it

    return max(map(columns_of, re.findall(_WORD, text)), default=0)


def _fitted(
    widths: list[int], words: list[int], numbers: list[bool], room: int
) -> list[int]:
    """Widths with a sum of at most `room`, unless texts would become too narrow.

    The widest column of texts gives way, but as long as possible none whose words would
    be broken.
    """
    fitted = list(widths)
    for _ in range(sum(widths) - room):
        narrower = [
            (width > word, width, i)
            for i, (width, word) in enumerate(zip(fitted, words, strict=True))
            if width > _NARROWEST and not numbers[i]
        ]
        if not narrower:
            break
        fitted[max(narrower)[2]] -= 1
    return fitted


def _padded(text: str, width: int, number: bool) -> str:
    blanks = " " * (width - columns_of(text))
    return blanks + text if number else text + blanks


def folded(text: str, width: int) -> list[str]:
    """The lines of a text; a line ends at a blank or behind a joint if possible."""
    if columns_of(text) <= width:
        return [text]
    lines, start = [], 0
    while start < len(text):
        end, room = start, width
        while end < len(text) and (room := room - columns_of(text[end])) >= 0:
            end += 1
        blank = text.rfind(" ", start + 1, end + 1) if end < len(text) else -1
        if blank > 0:
            end = blank
        elif end < len(text):
            joints = (text.rfind(joint, start, end) + 1 for joint in _JOINTS)
            end = max(joints) or max(end, start + 1)
        lines.append(text[start:end])
        start = end + (blank > 0)
    return lines


def size_text(size: int) -> str:
    """A number of bytes for people."""
    if size < 1024:
        return counted(size, "byte")
    power = min((size.bit_length() - 1) // 10, 4)
    return f"{size / 1024**power:.4g} {'KMGT'[power - 1]}iB"


class HexRow(NamedTuple):
    """One row of a hex dump: an address, pairs of digits, and letters."""

    #: The offset of the first byte in the data.
    offset: int
    address: str
    #: Two digits for each byte, or "??" if it could not be read.
    pairs: list[str]
    letters: list[str]
    #: The number of bytes of a whole row.
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
    """The bytes per row of a hex dump up to address `end` that fit into `columns`."""
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

    `valid` has a 0 for each byte that could not be read. `offsets` selects rows.
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
