"""The command line: `python -m winipc COMMAND`, or `winipc COMMAND`.

Each command is a module with `add(commands)`, which adds its parser and sets
`run`, a function from parsed arguments to an exit status. Exit statuses: 0
done, 1 failed (one line on standard error says why), 2 wrong usage, 130
stopped by Ctrl+C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import winipc
from winipc.cli import demo, receive, send

__all__ = ["main"]

_COMMANDS = (demo, send, receive)
_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit status."""
    _use_utf8()
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (OSError, ValueError) as error:
        print(f"winipc: {_one_line(error)}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="winipc", description="Win32 inter-process communication."
    )
    parser.add_argument("--version", action="version", version=winipc.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser


def _use_utf8() -> None:
    """A pipe gets UTF-8 whatever the code page, and no character is fatal."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _one_line(error: BaseException) -> str:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    return f"{error}{notes}"
