"""Options that several commands share."""

from __future__ import annotations

import argparse
import math
from typing import TypeAlias

from winipc.exchange import DEFAULT_MAPPING, DEFAULT_TITLE

__all__ = ["Commands", "add_address", "add_json", "factor", "number", "seconds"]

#: What `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def number(text: str) -> int:
    """A number that is not negative, decimal or with 0x, for `type=`."""
    try:
        value = int(text, 0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def seconds(text: str) -> float:
    """A time that is not negative, for `type=`."""
    return _not_negative(text, "no number of seconds")


def factor(text: str) -> float:
    """How many times as fast, for `type=`."""
    return _not_negative(text, "no number of 0 or more")


def _not_negative(text: str, complaint: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is {complaint}")
    return value


def add_address(parser: argparse.ArgumentParser) -> None:
    """Where a receiver is: its title, and the mapping that it owns."""
    parser.add_argument(
        "--title",
        default=DEFAULT_TITLE,
        help="title of the receiver's window (%(default)s)",
    )
    parser.add_argument(
        "--mapping", default=DEFAULT_MAPPING, help="name of the mapping (%(default)s)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")
