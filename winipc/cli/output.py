"""How commands print: lines, tables, JSON and errors.

With `--json` every command prints lines of JSON, an object for each thing.

On a terminal, with `rich` installed, tables have lines and colours. In a pipe, or
without `rich`, they are columns of text, and nothing is cut off.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from winipc.base.rows import cell_text
from winipc.base.text import text_table
from winipc.base.winerror import ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND
from winipc.cli.terminal import console


def print_line(text: str) -> None:
    """Print a line and flush, so that the reader of a pipe has it at once."""
    print(text, flush=True)


def print_json(value: object) -> None:
    """Print one line of JSON; ValueError for NaN and infinity, which JSON lacks."""
    import json  # which a table does not need

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


@contextlib.contextmanager
def until_ctrl_c() -> Iterator[Callable[[str], None]]:
    """Ctrl+C ends what is in it, and is no failure; the function given says so."""
    with contextlib.suppress(KeyboardInterrupt):
        yield lambda text: note(f"{text}, Ctrl+C ends")


#: What to do about an error: by the call of Windows and what it said.
_HINTS = {
    ("OpenFileMappingW", ERROR_FILE_NOT_FOUND): "winipc ls shows which names there are",
    (
        "CreateFileMappingW",
        ERROR_ALREADY_EXISTS,
    ): "winipc ls --holders shows who has it",
}


def one_line(error: BaseException) -> str:
    """What an error says, with its notes and what can be done."""
    notes = list(getattr(error, "__notes__", ()))
    # The str of a LookupError may be the repr of its message.
    text = error.args[0] if isinstance(error, LookupError) and error.args else error
    if isinstance(error, MemoryError) and not error.args:
        text = "there is not enough memory"
    if isinstance(error, ProcessLookupError) and isinstance(error.filename, str):
        # Windows says only that a parameter is wrong.
        text = f"no such process: {error.filename}"
    elif isinstance(error, OSError):
        # A number of Windows helps to search; that of C says what the text does.
        text = re.sub(r"^\[Errno \d+\] ", "", str(error))
        if hint := _HINTS.get((error.filename2, error.winerror)):
            notes.append(hint)
    return "".join([str(text), *(f" ({note})" for note in notes)])


def print_rows(
    as_json: bool,
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str | Callable[[Any], object]],
    *,
    right: Iterable[str] = (),
    style: Callable[[Any], str] | None = None,
    nothing: str,
) -> int:
    """What a command found, as JSON or a table, or `nothing` as a remark; status 0.

    `columns` says for each heading which field of a row is there, or what of a row.
    """
    if as_json:
        for row in rows:
            print_json(row)
    elif rows:
        cells = [
            [row[of] if isinstance(of, str) else of(row) for of in columns.values()]
            for row in rows
        ]
        styles = [style(row) for row in rows] if style else None
        print_table(list(columns), cells, right=right, styles=styles)
    else:
        note(nothing)
    return 0


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Iterable[str] = (),
    styles: Sequence[str] | None = None,
) -> None:
    """A table with these headings; those in `right` are columns of numbers.

    A number is shown exactly, with a comma between thousands. `styles` say how rich
    shows each row, such as "red" or "". A terminal does not show a last column in
    which there is nothing.
    """
    to_right = set(right)
    cells = [[cell_text(cell) for cell in row] for row in rows]
    terminal = console()
    if terminal is not None:
        styles = styles or [""] * len(cells)
        if cells and not any(row[-1] for row in cells):
            columns = columns[:-1]
            cells = [row[:-1] for row in cells]
        _print_rich(terminal, columns, cells, to_right, styles)
        return
    for line in text_table(columns, cells, to_right):
        print(line)


def _print_rich(
    terminal: Any,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: set[str],
    styles: Sequence[str],
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
            style="cyan" if is_number else None,
        )
    for row, style in zip(rows, styles, strict=True):
        # Text, not markup: names may have brackets.
        table.add_row(*(text.Text(cell) for cell in row), style=style)
    terminal.print(table)
