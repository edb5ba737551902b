"""The terminal: rich's console for it, which draws by escape sequences."""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from typing import Any, TextIO

from winipc import _core

_ENABLE_VIRTUAL_TERMINAL_PROCESSING = 0x0004
#: More columns than any line has characters, with its escape sequences.
_WIDE = 0x7FFE


def columns() -> int:
    """How many the terminal has; 80 without one.

    As shutil finds out, which brings compressors along that every command would wait
    for.
    """
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size().columns or 80
    except (OSError, ValueError):
        return 80


def console(stream: TextIO | None = None) -> Any:
    """rich's console of a stream (standard output); None without rich or a terminal."""
    stream = sys.stdout if stream is None else stream
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return None
    try:
        consoles = importlib.import_module("rich.console")
    except ImportError:
        return None
    # None: rich looks itself, but only at standard output.
    legacy = False if _obeys_escapes(stream) else None
    return consoles.Console(file=stream, legacy_windows=legacy)


def _obeys_escapes(stream: TextIO) -> bool:
    """Whether the terminal obeys escape sequences; this process turns that on.

    Without them rich asks the console where its cursor is, and Wine's does not know:
    pictures would be drawn over earlier lines.

    Win32: GetConsoleMode, SetConsoleMode, SetConsoleScreenBufferSize
    """
    import msvcrt

    handle = msvcrt.get_osfhandle(stream.fileno())
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
        # Wine hands escape sequences on, but counts them as text, and would begin a new
        # line in the middle of one.
        size = os.get_terminal_size(stream.fileno())
        resize = _core._set_console_size
        resize(handle, _WIDE, size.lines)
        atexit.register(resize, handle, size.columns, size.lines)
    return True
