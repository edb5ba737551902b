"""How commands print: lines, tables and JSON.

On a terminal, with `rich` installed, tables have lines and colours. In a pipe, or
without `rich`, they are columns of text, and nothing is cut off.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from winipc.base.text import clean, columns_of
from winipc.cli.terminal import console


def print_line(text: str) -> None:
    """Print a line and flush, so that the reader of a pipe has it at once."""
    print(text, flush=True)


def print_json(value: object) -> None:
    """Print one line of JSON; ValueError for NaN and infinity, which JSON lacks."""
    print_line(json.dumps(value, ensure_ascii=False, allow_nan=False))


def print_result(as_json: bool, value: object, text: str) -> None:
    """Print what a command did, as JSON or as a line of text."""
    if as_json:
        print_json(value)
    else:
        print_line(text)


def note(text: str) -> None:
    """Print a remark on standard error: standard output has the results only."""
    print(text, file=sys.stderr, flush=True)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    style: Callable[[Sequence[object]], str] | None = None,
) -> None:
    """A table with these headings; those in `right` are columns of numbers.

    A number is shown exactly, with a comma between thousands. `style` is how rich
    shows a row, such as "red" or "". A terminal does not show a last column in
    which there is nothing.
    """
    to_right = set(right)
    cells = [[_cell(cell) for cell in row] for row in rows]
    terminal = console()
    if terminal is not None:
        styles = [style(row) if style else None for row in cells]
        if cells and not any(row[-1] for row in cells):
            columns = columns[:-1]
            cells = [row[:-1] for row in cells]
        _print_rich(terminal, columns, cells, to_right, styles)
        return
    lines = [[column.upper() for column in columns], *cells]
    widths = [max(map(columns_of, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        texts = [
            _padded(text, width, column in to_right)
            for text, width, column in zip(line, widths, columns, strict=True)
        ]
        print("  ".join(texts).rstrip())


def _padded(text: str, width: int, to_right: bool) -> str:
    blanks = " " * (width - columns_of(text))
    return blanks + text if to_right else text + blanks


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else clean(value)


def _print_rich(
    terminal: Any,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: set[str],
    styles: Sequence[str | None],
) -> None:
    text: Any = importlib.import_module("rich.text")
    tables: Any = importlib.import_module("rich.table")
    table = tables.Table(box=importlib.import_module("rich.box").SIMPLE_HEAD)
    for column in columns:
        is_number = column in right
        table.add_column(
            column,
            justify="right" if is_number else "left",
            overflow="fold",
            no_wrap=is_number,  # half a number is another number
        )
    for row, style in zip(rows, styles, strict=True):
        # Text, not markup: names may have brackets.
        table.add_row(*(text.Text(cell) for cell in row), style=style)
    terminal.print(table)
