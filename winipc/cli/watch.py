"""`winipc watch`: print what changes in a mapping or in memory of a process."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator

from winipc import _core
from winipc.cli.options import Commands, add_command, add_end
from winipc.cli.output import print_result, until_ctrl_c
from winipc.cli.targets import (
    Target,
    add_interval,
    add_raw,
    add_size,
    add_target,
    changes,
    open_target,
)

#: Bytes of one change that are shown as text; JSON has all.
_SHOWN = 16
#: Equal bytes between two changes that are shown as one.
_JOIN = 4


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "watch",
        run,
        "print changes of memory",
        "Print what changes in a mapping or in memory of a process.",
        "watch my-app.state --size 64",
    )
    add_target(parser)
    add_size(parser)
    add_raw(parser)
    add_interval(parser)
    add_end(parser, "changes", "changes")


def run(arguments: argparse.Namespace) -> int:
    with open_target(arguments) as target:
        old = target.read()
        with until_ctrl_c() as say:
            say(f"watching {len(old)} bytes of {target.label}")
            rows = itertools.islice(_rows(target, old, arguments), arguments.count)
            for seconds, address, before, after in rows:
                fields = {
                    "seconds": round(seconds, 6),
                    "address": address,
                    "old": before.hex(),
                    "new": after.hex(),
                }
                change = f"{_hex(before)} -> {_hex(after)}"
                text = f"{seconds:10.3f}  {address:08x}  {change}"
                print_result(arguments.json, fields, text)
    return 0


def _rows(
    target: Target, old: bytes, arguments: argparse.Namespace
) -> Iterator[tuple[float, int, bytes, bytes]]:
    """For each change: seconds since the start, address, bytes before and after."""
    start = time.monotonic()
    for new in changes(target, old, arguments.interval, arguments.timeout):
        seconds = time.monotonic() - start
        for at, data in _core._changes(old, new, _JOIN):
            yield seconds, target.address + at, old[at : at + len(data)], data
        old = new


def _hex(data: bytes) -> str:
    if len(data) <= _SHOWN:
        return data.hex(" ")
    return f"{data[:_SHOWN].hex(' ')} ... ({len(data)} bytes)"
