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

    Win32: SetConsoleMode
    """
    import ctypes  # rich has loaded it
    import msvcrt

    kernel32 = ctypes.WinDLL("kernel32")
    handle = ctypes.c_void_p(msvcrt.get_osfhandle(stream.fileno()))
    mode = ctypes.c_ulong()
    if not kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
        return False
    wanted = mode.value | _ENABLE_VIRTUAL_TERMINAL_PROCESSING
    if wanted == mode.value:
        return True
    if not kernel32.SetConsoleMode(handle, ctypes.c_ulong(wanted)):
        return False
    atexit.register(kernel32.SetConsoleMode, handle, mode)
    if _core._wine_version() is not None:
        # Wine hands escape sequences on, but counts them as text, and would begin a new
        # line in the middle of one.
        size = os.get_terminal_size(stream.fileno())
        resize = kernel32.SetConsoleScreenBufferSize
        resize(handle, ctypes.c_uint32(_WIDE | size.lines << 16))
        before = ctypes.c_uint32(size.columns | size.lines << 16)
        atexit.register(resize, handle, before)
    return True
