"""Options that several commands share."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterable
from typing import TypeAlias

from winipc.base.text import clean
from winipc.exchange.transport import DEFAULT_MAPPING, DEFAULT_TITLE

#: What `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
#: What a command does: from its arguments to the exit status.
Run: TypeAlias = Callable[[argparse.Namespace], int]

#: A process id and the size of a message have 32 bits.
_MOST_32 = 0xFFFFFFFF
#: 68 years, which every clock can wait.
_LONGEST = 1 << 31


def number(text: str) -> int:
    """A number that is not negative, decimal or with 0x, for `type=`."""
    try:
        value = int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return _at_most(sys.maxsize, value)


def number32(text: str) -> int:
    """A process id, or the size of a message, for `type=`."""
    return _at_most(_MOST_32, number(text))


def pid_or_name(text: str) -> int | str:
    """A process id if there are only decimal digits, else the name of a program."""
    return _at_most(_MOST_32, int(text)) if text.isdecimal() else text


def _at_most(most: int, value: int) -> int:
    if value > most:
        raise argparse.ArgumentTypeError(f"{value} is more than {most}")
    return value


def seconds(text: str) -> float:
    """A time-out or a pause, for `type=`."""
    value = factor(text, "a number of seconds")
    if value > _LONGEST:
        raise argparse.ArgumentTypeError(f"{text} s are more than {_LONGEST}")
    return value


def factor(text: str, what: str = "a number of 0 or more") -> float:
    """A factor of speed, for `type=`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def add_address(parser: argparse.ArgumentParser) -> None:
    """The address of a receiver: its title, and the name of its mapping."""
    parser.add_argument(
        "--title",
        default=DEFAULT_TITLE,
        help="title of the receiver's window (%(default)s)",
    )
    parser.add_argument(
        "--mapping", default=DEFAULT_MAPPING, help="name of the mapping (%(default)s)"
    )


def add_command(
    commands: Commands, name: str, run: Run, help: str, description: str | None = None
) -> argparse.ArgumentParser:
    """The parser of a command that `run` carries out; it has `--json`."""
    parser = commands.add_parser(
        name, help=help, description=description or help, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)
    return parser


def add_end(parser: argparse.ArgumentParser, what: str, nothing: str) -> None:
    """What ends a command that would go on forever; see `counted`."""
    parser.add_argument("--count", type=number, help=f"end after so many {what}")
    parser.add_argument(
        "--timeout",
        type=seconds,
        help=f"fail when nothing {nothing} for so many seconds",
    )


def add_exist_ok(parser: argparse.ArgumentParser) -> None:
    """Whether a second window of a title is allowed."""
    parser.add_argument(
        "--exist-ok",
        action="store_true",
        help="even if a window has this title; the newest gets what is sent",
    )


def add_hex(parser: argparse.ArgumentParser) -> None:
    """How data is printed; see `shown`."""
    parser.add_argument(
        "--hex", action="store_true", help="print the bytes in hexadecimal"
    )


def shown(data: bytes, in_hex: bool) -> str:
    """Data on one line: its text, or its bytes in hexadecimal."""
    if in_hex:
        return data.hex(" ")
    return clean(data.removesuffix(b"\0").decode("utf-8", "backslashreplace"))


def counted(count: int | None) -> Iterable[object]:
    """As many steps as `--count` says, or steps without end."""
    return itertools.count() if count is None else range(count)


def add_process(parser: argparse.ArgumentParser) -> None:
    """Which process: its id, or its program if only one process runs it."""
    parser.add_argument(
        "pid", metavar="PID", type=pid_or_name, help="process id, or name.exe"
    )
