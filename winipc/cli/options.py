"""Options that several commands share."""

from __future__ import annotations

import argparse
from typing import TypeAlias

from winipc.exchange import DEFAULT_MAPPING, DEFAULT_TITLE

__all__ = ["Commands", "add_address", "add_json"]

#: What `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


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
