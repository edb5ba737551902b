"""The command line: `python -m winipc COMMAND`, or `winipc COMMAND`.

Each module here has the commands of one subject. Its `add(commands)` adds their parsers
and sets `run`, a function from parsed arguments to an exit status.

Exit statuses: 0 done, also when Ctrl+C ended a command that says "Ctrl+C ends"; 1
failed (one line on standard error says why); 2 wrong usage; 130 stopped by Ctrl+C; 141
the reader of standard output has gone.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import re
import sys
from collections.abc import Collection, Sequence
from typing import NoReturn

import winipc
from winipc.base.text import meant
from winipc.cli.options import Formatter
from winipc.cli.output import one_line

__all__ = ["main"]

#: The modules of the commands, in the order in which --help lists them.
_MODULES = (
    *("demo", "messages", "lists", "dump", "watch", "write", "scan", "record"),
    *("cassette", "layout", "section", "bridge", "serve", "relay"),
    *("doctor", "selftest"),
)
#: The commands of each module that is not called like its one command.
_COMMANDS = {
    "messages": ("send", "post", "listen", "receive"),
    "lists": ("ls", "windows", "maps"),
    "record": ("record", "replay"),
}
#: What newcomers call commands and options, and their names.
_SYNONYMS = {
    **{"list": "ls", "read": "dump", "show": "dump"},
    **{"--layout": "--struct", "--to": "--title", "--type": "--struct"},
    "--seconds": "--timeout",
}
#: A field, as --struct takes it.
_FIELD = re.compile(r"[A-Za-z_]\w*:\w+")
#: A type of numbers, as --type takes it.
_TYPE = re.compile(r"[iuf]\d+")
_INTERRUPTED = 130
#: That of a program of Linux: 128 and the number of SIGPIPE.
_READER_HAS_GONE = 141


class _Parser(argparse.ArgumentParser):
    """A wrong usage is told in two lines, and the help is written before the end."""

    def error(self, message: str) -> NoReturn:
        text = f"Try '{self.prog} --help'.\n{self.prog}: error: {message}\n"
        self.exit(2, text)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        sys.stdout.flush()
        super().exit(status, message)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, and return the exit status."""
    _use_utf8()
    arguments = argparse.Namespace()
    try:
        arguments = _parsed(sys.argv[1:] if argv is None else list(argv))
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (OSError, ValueError, LookupError, OverflowError, MemoryError) as error:
        if _reader_has_gone(error):
            _drop_output()
            return _READER_HAS_GONE
        if isinstance(error, FileExistsError) and hasattr(arguments, "exist_ok"):
            error.__notes__ = ["--exist-ok opens another"]
        print(f"winipc: {one_line(error)}", file=sys.stderr)
        return 1
    return status


def _parsed(words: list[str]) -> argparse.Namespace:
    """Parse the words; those after -- are the `program` that a command starts."""
    wants_help = False
    while words[:1] == ["help"]:
        wants_help, words = True, words[1:]
    parser, _ = _parser(words[0] if words else "")
    if "_ARGCOMPLETE" in os.environ:
        _complete(parser)
    place, kind = parser, "command"
    for given in words[:2]:
        known = _actions(place)
        if not known or given.startswith("-"):
            break
        if given not in known:
            word = given.lower()
            helped = place.prog.replace("winipc", "winipc help", 1)
            more = ["help"] if place is parser else []
            hint = meant(_SYNONYMS.get(word, word), [*known, *more])
            hint = hint or f" ({helped} lists them)"
            place.error(f"no {kind} is called {given!r}{hint}")
        place, kind = known[given], "action"
    if wants_help:
        _help(parser, words)
    arguments, rest = parser.parse_known_args(words or ["--help"])
    if rest:
        after = words[words.index("--") + 1 :] if "--" in words else []
        if rest[:1] == ["--"]:
            rest = rest[1:]
        if not hasattr(arguments, "program") or rest != after:
            arguments.parser.error(
                f"unrecognized arguments: {' '.join(rest)}{_hint(arguments, rest)}"
            )
        arguments.program = after
    return arguments


def _help(parser: argparse.ArgumentParser, words: list[str]) -> NoReturn:
    """Show the options of the command, or of its action, that the words name."""
    for word in words:
        if word not in (actions := _actions(parser)):
            parser.error(f"help shows one command at a time, not {word!r} as well")
        parser = actions[word]
    parser.print_help()
    parser.exit()


def _actions(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the commands, or of the actions of a command, by their names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}


def _hint(arguments: argparse.Namespace, rest: list[str]) -> str:
    """What the user may have meant by the words that are not known, or ""."""
    word = rest[0]
    parser = arguments.parser
    options, places = parser._option_string_actions, parser._get_positional_actions()
    if word.startswith("-"):
        option = word.partition("=")[0]
        name = option.lstrip("-")
        if name in re.findall(r"\w+", " ".join(map(_name, places)).lower()):
            return f" (write the {name} without {option})"
        return meant(_SYNONYMS.get(option, option), options, "--")
    hints = []
    if "--protection" in options:  # scan
        words = f"{arguments.pattern} {' '.join(rest)}"
        hints.append(f'bytes in one argument: "{words}"; numbers from A to B: A..B')
    elif hasattr(arguments, "program"):
        hints.append(f"a program goes after --: -- {word}")
    elif "--struct" in options and _FIELD.fullmatch(word):
        given = getattr(arguments.struct, "text", None)
        fields = " ".join([given, *rest] if given else rest)
        hints.append(f'values by name: --struct "{fields}"')
    elif _TYPE.fullmatch(getattr(arguments, "data", None) or ""):
        hints.append(f"a number by its type: --type {arguments.data} {word}")
    elif "--wparam" in options and word.isdigit():
        hints.append(f"a number in the message: --wparam {word}")
    elif places:
        if "--struct" in options and word.isidentifier():
            hints.append(f'values by name and type: --struct "{word}:f32"')
        hints.append("an argument of several words needs quotes")
    if {"--title", "--mapping"} <= options.keys() and (  # send and receive
        arguments.title == parser.get_default("title")
    ):
        title = getattr(arguments, "text", None) or word
        hints.append(f'another window: --title "{title}"')
    return f" ({'; '.join(hints)})" if hints else ""


def _name(place: argparse.Action) -> str:
    """The name of a positional argument in the help."""
    return str(place.metavar or place.dest)


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks what the word under the cursor may be, and exit."""
    try:
        argcomplete = importlib.import_module("argcomplete")
    except ImportError:
        return
    # argcomplete would write in the code page, which lacks characters of some names.
    # Windows PowerShell knows UTF-8 by its mark; bash takes the mark for text.
    shell = os.environ.get("_ARGCOMPLETE_SHELL")
    encoding = "utf-8-sig" if shell == "powershell" else "utf-8"
    answer = os.environ.get("_ARGCOMPLETE_STDOUT_FILENAME")
    with (
        open(answer, "w", encoding=encoding)
        if answer
        else contextlib.nullcontext() as stream
    ):
        argcomplete.autocomplete(parser, output_stream=stream)


def _reader_has_gone(error: Exception) -> bool:
    """Whether the reader of standard output closed the pipe, as `head` does."""
    if not isinstance(error, OSError) or error.filename is not None:
        return False
    # A write by descriptor to a broken pipe is EINVAL on Windows.
    return error.errno == errno.EPIPE or (
        error.errno == errno.EINVAL and error.winerror is None
    )


def _drop_output() -> None:
    """Let what is still buffered go nowhere, so that the exit reports no error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _parser(command: str = "") -> tuple[argparse.ArgumentParser, Collection[str]]:
    """Return the parser, and the names of its commands.

    If `command` names a command, only its module is imported, and none for --version:
    the others cost time.
    """
    parser = _Parser(
        prog="winipc",
        description="Win32 inter-process communication.",
        epilog="winipc help COMMAND shows the options of a command, and examples.",
        formatter_class=Formatter,
    )
    parser.add_argument("--version", action="version", version=winipc.__version__)
    # Without `prog`, argparse makes a formatter to find it, which imports shutil.
    commands = parser.add_subparsers(prog="winipc", metavar="COMMAND", required=True)
    of_command = [
        module for module in _MODULES if command in _COMMANDS.get(module, (module,))
    ]
    for module in () if command == "--version" else of_command or _MODULES:
        importlib.import_module(f"winipc.cli.{module}").add(commands)
    return parser, commands.choices


def _use_utf8() -> None:
    """Write UTF-8 whatever the code page is, with lone surrogates escaped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - to the end
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
