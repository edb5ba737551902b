"""`winipc dump`: a mapping, or memory of a process, in hexadecimal.

With --follow it goes on: on a terminal in place, with changed bytes in colour; in
a pipe as the lines that changed, with a * before each changed byte.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from winipc.cli import hexview
from winipc.cli.options import Commands, add_json, interval, number
from winipc.cli.output import print_json, print_line, rich_module
from winipc.cli.overlay import HELP, Overlay
from winipc.cli.targets import Target, add_target, open_target
from winipc.recording import changed_ranges

__all__ = ["add"]

#: How long a changed byte stays in colour on a terminal.
_GLOW = 0.6
_CHANGED = "bold black on yellow"


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "dump", help="show memory", description=__doc__, allow_abbrev=False
    )
    add_target(parser)
    parser.add_argument(
        "--struct",
        metavar="FORMAT",
        help=HELP,
    )
    parser.add_argument(
        "--follow", action="store_true", help="show changes until Ctrl+C"
    )
    parser.add_argument(
        "--interval",
        type=interval,
        default=0.05,
        help="seconds between two looks (%(default)s)",
    )
    parser.add_argument(
        "--count", type=number, help="with --follow: end after so many changes"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.struct is not None:
        arguments.struct = overlay = Overlay(arguments.struct)
        if arguments.size is None:
            arguments.size = overlay.size
        elif arguments.size < overlay.size:
            raise ValueError(
                f"--struct has {overlay.size} bytes, --size {arguments.size}"
            )
    with open_target(arguments) as target:
        if not arguments.follow:
            _show(target, target.read(), arguments)
        elif rich_module("live") is not None and not arguments.json:
            _follow_live(target, arguments)
        else:
            _follow_lines(target, arguments)
    return 0


def _show(target: Target, data: bytes, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json(_as_json(target, data, arguments))
    elif arguments.struct is not None:
        print_line(arguments.struct.line(data))
    else:
        print_line("\n".join(hexview.lines(target.address, data)))


def _as_json(
    target: Target, data: bytes, arguments: argparse.Namespace
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "target": target.label,
        "address": target.address,
        "bytes": len(data),
        "hex": data.hex(),
    }
    if arguments.struct is not None:
        row["values"] = arguments.struct.as_json(data)
    return row


def _follow_lines(target: Target, arguments: argparse.Namespace) -> None:
    old = target.read()
    _show(target, old, arguments)
    left = arguments.count
    digits = hexview.digits_of(target.address + len(old))
    while left is None or left > 0:
        time.sleep(arguments.interval)
        new = target.read()
        if new == old:
            continue
        if arguments.json or arguments.struct is not None:
            _show(target, new, arguments)
        else:
            width = hexview.WIDTH
            for at in range(0, len(new), width):
                row, before = new[at : at + width], old[at : at + width]
                if row != before:
                    marks = [i for i in range(len(row)) if row[i] != before[i]]
                    print_line(hexview.line(target.address + at, row, digits, marks))
        old = new
        left = None if left is None else left - 1


def _follow_live(target: Target, arguments: argparse.Namespace) -> None:
    """Draw in place, as many lines as the terminal has."""
    live: Any = rich_module("live")
    text: Any = rich_module("text")
    old = target.read()
    changed_at: dict[int, float] = {}
    left = arguments.count

    values_shown: dict[str, str] = {}
    glows: dict[str, float] = {}

    def draw(data: bytes, height: int) -> Any:
        picture = text.Text(no_wrap=True)
        now = time.monotonic()
        if arguments.struct is not None:
            rows = arguments.struct.rows(data)
            width = max(len(name) for name, _ in rows)
            for name, value in rows:
                if values_shown.get(name, value) != value:
                    glows[name] = now
                glow = now - glows.get(name, -_GLOW) < _GLOW
                picture.append(f"{name:<{width}}  ")
                picture.append(f"{value}\n", _CHANGED if glow else "")
                values_shown[name] = value
            return picture
        shown = data[: max(height - 2, 1) * hexview.WIDTH]
        digits = hexview.digits_of(target.address + len(data))
        for at in range(0, len(shown), hexview.WIDTH):
            row = shown[at : at + hexview.WIDTH]
            start = len(picture)
            picture.append(hexview.line(target.address + at, row, digits) + "\n")
            for i in range(len(row)):
                if now - changed_at.get(at + i, -_GLOW) < _GLOW:
                    # After the address: 3 columns for each byte, 1 in the middle.
                    column = start + digits + 2 + 3 * i + (i >= hexview.WIDTH // 2)
                    picture.stylize(_CHANGED, column, column + 2)
        if len(shown) < len(data):
            picture.append(f"... {len(data) - len(shown)} more bytes")
        return picture

    with live.Live(auto_refresh=False, transient=False) as screen:
        height = screen.console.height
        while left is None or left > 0:
            new = target.read()
            now = time.monotonic()
            for start, stop in changed_ranges(old, new, join=1):
                changed_at.update(
                    (i, now) for i in range(start, stop) if old[i] != new[i]
                )
            if new != old and left is not None:
                left -= 1
            old = new
            screen.update(draw(new, height), refresh=True)
            time.sleep(arguments.interval)
