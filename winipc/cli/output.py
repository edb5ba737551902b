"""How commands print: lines, tables, JSON and errors.

With `--json` every command prints lines of JSON, one object a line.

Tables are columns of text. On a terminal some rows have colours, and a wide cell
continues on the next line. In a pipe each row is one line.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from winipc.base.rows import cell_text
from winipc.base.text import clean, folded, meant, text_table
from winipc.base.winerror import (
    ERROR_ALREADY_EXISTS,
    ERROR_FILE_NOT_FOUND,
    ERROR_INVALID_WINDOW_HANDLE,
)
from winipc.cli import terminal

#: Lines of a table for one print, because each print calls the terminal.
_AT_ONCE = 50


def print_line(text: str) -> None:
    """Print a line and flush, so that the reader of a pipe has it at once.

    On a terminal, a long line continues on the next one, between two words.
    """
    _print(text, sys.stdout)


def print_json(value: object) -> None:
    """Print one line of JSON; ValueError for NaN and infinity, which JSON lacks."""
    import json  # tables do not need it

    print(json.dumps(value, ensure_ascii=False, allow_nan=False), flush=True)


def print_result(as_json: bool, value: object, text: str) -> None:
    """Print what a command did, as JSON or as a line of text."""
    if as_json:
        print_json(value)
    else:
        print_line(text)


def note(text: str) -> None:
    """Print a remark on standard error: standard output has the results only."""
    _print(text, sys.stderr)


def _print(text: str, stream: TextIO) -> None:
    if terminal.is_terminal(stream):
        room = terminal.columns() - 1
        text = "\n".join(
            part for line in text.split("\n") for part in folded(line, room)
        )
    print(text, file=stream, flush=True)


@contextlib.contextmanager
def until_ctrl_c() -> Iterator[Callable[[str], None]]:
    """Ctrl+C ends the block without an error.

    The given function prints its text, and adds that Ctrl+C ends the command.
    """
    with contextlib.suppress(KeyboardInterrupt):
        yield lambda text: note(f"{text}, Ctrl+C ends")


#: What the user can do about an error, by the Win32 function and its error.
_HINTS = {
    ("OpenFileMappingW", ERROR_FILE_NOT_FOUND): "winipc ls shows which names there are",
    # No Win32 function says that no window has a title.
    (None, ERROR_INVALID_WINDOW_HANDLE): "winipc windows shows which there are",
    (
        "CreateFileMappingW",
        ERROR_ALREADY_EXISTS,
    ): "winipc ls --holders shows who has it",
}


#: What has names, by the function that did not find one; the names of objects are
#: case-sensitive.
_NAMED = {
    "OpenFileMappingW": "mapping",
    "OpenEventW": "event",
    "OpenMutexW": "mutex",
    "OpenSemaphoreW": "semaphore",
    "CreateToolhelp32Snapshot": "process",
}
#: How alike a name and the one that is meant are: but for a letter or two.
_LIKENESS = 0.85


def _named_alike(kind: str, name: str) -> str:
    """Return " (did you mean X?)" if one of the kind has nearly the name, or ""."""
    with contextlib.suppress(OSError):  # most errors need no list
        if kind == "process":
            from winipc.process import processes

            names = [row.name for row in processes()]
            names += [name.removesuffix(".exe") for name in names]
        else:
            from winipc.system.catalog import named_objects

            names = [row.name.removeprefix("Local\\") for row in named_objects(kind)]
        return meant(name, map(clean, names), likeness=_LIKENESS)
    return ""


def one_line(error: BaseException) -> str:
    """The text of an error, with its notes and what the user can do about it."""
    from winipc.errors import notes_of  # most commands have no error

    notes = notes_of(error)
    # The str of a LookupError may be the repr of its message.
    text = error.args[0] if isinstance(error, LookupError) and error.args else error
    if isinstance(error, MemoryError) and not error.args:
        text = "there is not enough memory"
    if isinstance(error, OSError):
        text = re.sub(r"^\[(Errno|WinError) \d+\] ", "", str(error))
        # The call that failed would read as the target of a copy.
        text, *told = re.split(r" -> '(\w+|[A-Z]\w+\.\w+)'$", text)[:2]
        if hint := _HINTS.get((error.filename2, error.winerror)):
            notes.append(hint)
        is_missing = isinstance(error, (FileNotFoundError, ProcessLookupError))
        if is_missing and error.filename2 in _NAMED:
            text += _named_alike(_NAMED[error.filename2], error.filename)
        if isinstance(error, ProcessLookupError):
            told = []  # Windows calls it a wrong parameter
        elif error.winerror:  # it helps to search; an errno only repeats the text
            told.append(f"WinError {error.winerror}")
        notes += [", ".join(told)] if told else []
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
    """Print what a command found, as JSON or as a table, and return the status 0.

    Without rows, print `nothing` as a remark. `columns` gives for each heading the name
    of a field, or a function of the row.
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
    """Print a table with these headings; those in `right` head columns of numbers.

    A number is shown exactly, with a comma between thousands. `styles` has the style of
    each row on a terminal, such as "red" or "". A terminal does not show the last
    column if it is empty.
    """
    cells = [[cell_text(cell) for cell in row] for row in rows]
    room = None
    if terminal.is_terminal(sys.stdout):
        room = terminal.columns() - 1  # some terminals wrap a line of the full width
        if cells and not any(row[-1] for row in cells):
            columns = columns[:-1]
            cells = [row[:-1] for row in cells]
    lines = list(text_table(columns, cells, set(right), room))
    if terminal.has_colours():
        each = zip(["bold", *(styles or [""] * len(cells))], lines, strict=True)
        lines = [terminal.coloured(style, line) for style, line in each]
    for start in range(0, len(lines), _AT_ONCE):
        print("\n".join(lines[start : start + _AT_ONCE]))
