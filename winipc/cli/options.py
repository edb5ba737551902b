"""Options that several commands share."""

from __future__ import annotations

import argparse
import itertools
import math
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from winipc.cli.output import one_line
from winipc.cli.terminal import columns

if TYPE_CHECKING:
    from winipc.memory.layout import Field, Layout

#: What `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
#: What a command does: from its arguments to the exit status.
Run: TypeAlias = Callable[[argparse.Namespace], int]

_Made = TypeVar("_Made")

_EXAMPLES = "examples:"
_HEAD = re.compile("^`winipc [^:]*`: (.)")
_MOST_16 = 0xFFFF
#: A process id and the size of a message have 32 bits.
_MOST_32 = 0xFFFFFFFF
#: Seconds, 68 years: every clock can wait that long.
_LONGEST = 1 << 31


def field_in(parser: argparse.ArgumentParser, layout: Layout, path: str) -> Field:
    """The field of a layout; ends with an error if there is none."""
    try:
        return layout[path]
    except LookupError as error:
        parser.error(error.args[0])


def number(text: str) -> int:
    """Convert a number that is not negative, decimal or with 0x, for `type=`."""
    try:
        value = int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return _at_most(sys.maxsize, value)


def positive(text: str) -> int:
    """Convert a number of 1 or more, for `type=`."""
    value = number(text)
    if not value:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def port(text: str) -> int:
    """Convert the number of a port, for `type=`."""
    return _at_most(_MOST_16, number(text))


def number32(text: str) -> int:
    """Convert a process id, or the size of a message, for `type=`."""
    return _at_most(_MOST_32, number(text))


def pid_or_name(text: str) -> int | str:
    """A process id if the text has only decimal digits, else a program's name."""
    return _at_most(_MOST_32, int(text)) if text.isdecimal() else text


def _at_most(most: int, value: int) -> int:
    if value > most:
        raise argparse.ArgumentTypeError(f"{value} is more than {most}")
    return value


def seconds(text: str) -> float:
    """Convert a time-out or a pause, for `type=`."""
    value = factor(text, "a number of seconds")
    if value > _LONGEST:
        raise argparse.ArgumentTypeError(f"{text} s are more than {_LONGEST}")
    return value


def factor(text: str, what: str = "a number of 0 or more") -> float:
    """Convert a number of 0 or more, such as a speed, for `type=`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def title(text: str) -> str:
    """The title by which a window is found, for `type=`: an empty one finds any."""
    if not text:
        raise argparse.ArgumentTypeError("the title of a window is not empty")
    return text


def converted(make: Callable[[str], _Made]) -> Callable[[str], _Made]:
    """Wrap `make` for `type=`: its errors are reported as wrong usage."""

    def convert(text: str) -> _Made:
        try:
            return make(text)
        except (OSError, ValueError, LookupError) as error:
            raise argparse.ArgumentTypeError(one_line(error)) from None

    return convert


class Formatter(argparse.HelpFormatter):
    """Keeps the lines of examples, and finds the width without shutil.

    A module's docstring loses its head, the name of the command.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"width": columns() - 2, **options})

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(_EXAMPLES):
            return text
        text = _HEAD.sub(lambda head: head[1].upper(), text)
        return super()._fill_text(text, width, indent)


def add_command(
    commands: Commands,
    name: str,
    run: Run,
    help: str,
    description: str | None = None,
    *examples: str,
) -> argparse.ArgumentParser:
    """Add a command that `run` carries out, with `--json`; return its parser.

    `examples` are command lines without the word winipc.
    """
    parser = commands.add_parser(
        name,
        help=help,
        description=description or f"{help[0].upper()}{help[1:]}.",
        epilog="\n  winipc ".join((_EXAMPLES, *examples)) if examples else None,
        formatter_class=Formatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON, one object on each line"
    )
    # `run` reports wrong usage by `arguments.parser.error`.
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_seconds(parser: argparse.ArgumentParser, more: str = "") -> None:
    """Add the option that ends a command after a time, without an error."""
    parser.add_argument(
        "--seconds",
        type=seconds,
        metavar="N",
        help=f"end after this many seconds{more}",
    )


def add_end(parser: argparse.ArgumentParser, what: str, nothing: str) -> None:
    """Add the options that end a command without an end."""
    parser.add_argument("--count", type=number, help=f"end after this many {what}")
    add_seconds(parser)
    parser.add_argument(
        "--timeout",
        type=seconds,
        help=f"fail when nothing {nothing} for this many seconds",
    )


def received(
    receive: Callable[[float | None], _Made], arguments: argparse.Namespace
) -> Iterator[_Made]:
    """Yield what `receive(timeout)` returns until the end that `add_end` lets choose.

    Raises TimeoutError if nothing comes for `--timeout` seconds.
    """
    from winipc.base.deadline import Deadline

    deadline, timeout = Deadline(arguments.seconds), arguments.timeout
    steps = itertools.count() if arguments.count is None else range(arguments.count)
    for _ in itertools.takewhile(lambda _: deadline.left() != 0, steps):
        left = deadline.left() if timeout is None else deadline.part(timeout)
        try:
            message = receive(left)
        except TimeoutError:
            if left != timeout:  # --seconds are over
                return
            raise TimeoutError(
                f"no message came to {arguments.title!r} within {timeout:g} s"
            ) from None
        yield message


def add_process(parser: argparse.ArgumentParser) -> None:
    """Add the argument for a process: its id, or a program that only it runs."""
    parser.add_argument(
        "pid", metavar="PID", type=pid_or_name, help="process id, or name.exe"
    )
