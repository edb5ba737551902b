"""The command line: `python -m winipc COMMAND`, or `winipc COMMAND`.

Each command is a module with `add(commands)`, which adds its parser and sets
`run`, a function from parsed arguments to an exit status. Exit statuses: 0
done, 1 failed (one line on standard error says why), 2 wrong usage, 130
stopped by Ctrl+C.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

import winipc
from winipc.base.winerror import ERROR_ALREADY_EXISTS, ERROR_FILE_NOT_FOUND

__all__ = ["main"]

#: The modules of the commands, in the order in which --help lists them.
_COMMANDS = (
    *("demo", "send", "receive", "ls", "dump", "watch", "listen", "windows", "maps"),
    *("scan", "record", "cassette", "layout", "section", "bridge", "doctor"),
    "selftest",
)
_INTERRUPTED = 130

#: What to do about an error: by the call of Windows and what it said.
_HINTS = {
    (
        "OpenFileMappingW",
        ERROR_FILE_NOT_FOUND,
    ): " (winipc ls shows which names there are)",
    (
        "CreateFileMappingW",
        ERROR_ALREADY_EXISTS,
    ): " (winipc ls --holders shows who has it)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the process's exit status."""
    _use_utf8()
    arguments = _parsed(sys.argv[1:] if argv is None else list(argv))
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (OSError, ValueError, LookupError, OverflowError, MemoryError) as error:
        if _reader_has_gone(error):
            _drop_output()
        else:
            print(f"winipc: {_one_line(error)}", file=sys.stderr)
        return 1
    return status


def _parsed(words: list[str]) -> argparse.Namespace:
    """The arguments; a command that starts a `program` has what is after the --."""
    parser = _parser()
    arguments, rest = parser.parse_known_args(words)
    if rest:
        after = words[words.index("--") + 1 :] if "--" in words else []
        if rest[:1] == ["--"]:
            rest = rest[1:]
        if not hasattr(arguments, "program") or rest != after:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        arguments.program = after
    return arguments


def _reader_has_gone(error: Exception) -> bool:
    """Whether standard output is a pipe that its reader has closed, as `head` does."""
    if not isinstance(error, OSError) or error.filename is not None:
        return False
    # A write by descriptor to a broken pipe is EINVAL on Windows.
    return error.errno == errno.EPIPE or (
        error.errno == errno.EINVAL and error.winerror is None
    )


def _drop_output() -> None:
    """Let the exit write what is still buffered to nowhere, without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="winipc", description="Win32 inter-process communication."
    )
    parser.add_argument("--version", action="version", version=winipc.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        importlib.import_module(f"winipc.cli.{command}").add(commands)
    return parser


def _use_utf8() -> None:
    """Write UTF-8 to pipes, whatever the code page, and fail for no character."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _one_line(error: BaseException) -> str:
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    # The str of a LookupError may be the repr of its message.
    text = error.args[0] if isinstance(error, LookupError) and error.args else error
    if isinstance(error, MemoryError) and not error.args:
        text = "there is not enough memory"
    if isinstance(error, ProcessLookupError) and isinstance(error.filename, str):
        # Windows says only that a parameter is wrong.
        text = f"no such process: {error.filename.removeprefix('no process ')}"
    elif isinstance(error, OSError):
        notes += _HINTS.get((error.filename2, error.winerror), "")
    return f"{text}{notes}"
