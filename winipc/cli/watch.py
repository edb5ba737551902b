"""`winipc watch`: print what changes in a mapping or in memory of a process."""

from __future__ import annotations

import argparse
import time

from winipc.cli.options import Commands, add_json, interval, number, seconds
from winipc.cli.output import note, print_json, print_line
from winipc.cli.targets import add_target, open_target
from winipc.recording import changed_ranges

__all__ = ["add"]

#: Bytes of one change that are shown as text; JSON has all.
_SHOWN = 16


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "watch", help="print changes of memory", description=__doc__, allow_abbrev=False
    )
    add_target(parser)
    parser.add_argument(
        "--interval",
        type=interval,
        default=0.05,
        help="seconds between two looks (%(default)s)",
    )
    parser.add_argument("--count", type=number, help="end after so many changes")
    parser.add_argument(
        "--timeout", type=seconds, help="fail when nothing changes for so many seconds"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    with open_target(arguments) as target:
        old = target.read()
        start = last = time.monotonic()
        note(f"watching {len(old)} bytes of {target.label}, Ctrl+C ends")
        left = arguments.count
        while left is None or left > 0:
            time.sleep(arguments.interval)
            new = target.read()
            now = time.monotonic()
            if new == old:
                if arguments.timeout is not None and now - last >= arguments.timeout:
                    raise TimeoutError(f"nothing changed within {arguments.timeout} s")
                continue
            last = now
            for first, stop in changed_ranges(old, new):
                before, after = old[first:stop], new[first:stop]
                address = target.address + first
                if arguments.json:
                    print_json(
                        {
                            "seconds": round(now - start, 6),
                            "address": address,
                            "old": before.hex(),
                            "new": after.hex(),
                        }
                    )
                else:
                    print_line(
                        f"{now - start:10.3f}  {address:08x}  "
                        f"{_hex(before)} -> {_hex(after)}"
                    )
                if left is not None:
                    left -= 1
                    if not left:
                        break
            old = new
    return 0


def _hex(data: bytes) -> str:
    if len(data) <= _SHOWN:
        return data.hex(" ")
    return f"{data[:_SHOWN].hex(' ')} ... ({len(data)} bytes)"
