"""The terminal: its width, and drawing by escape sequences."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from typing import Any, TextIO

from winipc import _core

_ENABLE_VIRTUAL_TERMINAL_PROCESSING = 0x0004
#: The most characters of escape sequences in a line of a table, and of a picture.
#: Wine's console moves its whole buffer to scroll, so a wide buffer is slow.
_COLOURED = 16
_DRAWN = 0x7000
#: Select Graphic Rendition, ECMA-48.
_STYLES = {"bold": "1", "dim": "2", "red": "31", "yellow": "33"}


def columns() -> int:
    """The width of the terminal in characters; 80 without a terminal.

    shutil tells the same, but its import takes time, as it imports compressors.
    """
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size().columns or 80
    except (OSError, ValueError):
        return 80


def has_colours() -> bool:
    """Whether standard output is a terminal with colours, and NO_COLOR is not set."""
    return (
        _draws(sys.stdout)
        and not os.environ.get("NO_COLOR")
        and _obeys_escapes(sys.stdout, _COLOURED)
    )


def coloured(style: str, text: str) -> str:
    """A text in a style such as "dim", "bold red" or ""."""
    if not style:
        return text
    return f"\x1b[{';'.join(_STYLES[word] for word in style.split())}m{text}\x1b[0m"


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal; for isatty() of Windows, NUL is one as well."""
    if not stream.isatty():
        return False
    try:
        return _core._console_mode(_handle(stream)) is not None
    except OSError:  # a stream of the caller that has no handle
        return False


def _handle(stream: TextIO) -> int:
    import msvcrt

    return msvcrt.get_osfhandle(stream.fileno())


def _draws(stream: TextIO) -> bool:
    return is_terminal(stream) and os.environ.get("TERM") != "dumb"


def console(stream: TextIO | None = None) -> Any:
    """rich's console for a stream (standard output), or None.

    None if rich is not installed, or the stream is no terminal.
    """
    stream = sys.stdout if stream is None else stream
    if not _draws(stream):
        return None
    try:
        consoles = importlib.import_module("rich.console")
    except ImportError:
        return None
    # None: rich finds out itself, but only for standard output.
    legacy = False if _obeys_escapes(stream, _DRAWN) else None
    return consoles.Console(file=stream, legacy_windows=legacy)


def _obeys_escapes(stream: TextIO, more: int) -> bool:
    """Turn escape sequences on; return whether the terminal obeys them.

    A line has up to `more` characters of them. Without them, rich asks the console
    where its cursor is. Wine's console does not know, and rich would draw over earlier
    lines.

    Win32: GetConsoleMode, SetConsoleMode, SetConsoleScreenBufferSize
    """
    handle = _handle(stream)
    mode = _core._console_mode(handle)
    if mode is None:
        return False
    wanted = mode | _ENABLE_VIRTUAL_TERMINAL_PROCESSING
    if wanted == mode:
        return True
    if not _core._set_console_mode(handle, wanted):
        return False
    atexit.register(_core._set_console_mode, handle, mode)
    if _core._wine_version() is not None:
        # Wine passes escape sequences on, but counts them as text: it would begin a new
        # line too early.
        size = os.get_terminal_size(stream.fileno())
        resize = _core._set_console_size
        resize(handle, size.columns + more, size.lines)
        atexit.register(resize, handle, size.columns, size.lines)
    return True
