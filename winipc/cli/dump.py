"""`winipc dump`: a mapping, or memory of a process, in hexadecimal.

With --follow it goes on: on a terminal in place, the last change in colour; in
a pipe as the lines that changed, with a * before each changed byte.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from typing import Any

from winipc.base.text import HEX_WIDTH, hex_rows
from winipc.cli.options import Commands, add_command, number
from winipc.cli.output import print_json, print_line, rich_module
from winipc.cli.overlay import HELP, Overlay
from winipc.cli.targets import Target, add_interval, add_target, changes, open_target

_CHANGED = "bold black on yellow"


def add(commands: Commands) -> None:
    parser = add_command(commands, "dump", run, "show memory", __doc__)
    add_target(parser)
    parser.add_argument("--struct", metavar="FORMAT", help=HELP)
    parser.add_argument(
        "--follow", action="store_true", help="show changes until Ctrl+C"
    )
    add_interval(parser)
    parser.add_argument(
        "--count", type=number, help="with --follow: end after so many changes"
    )


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
        print_line("\n".join(_hex_lines(target.address, data)))


def _hex_lines(address: int, data: bytes) -> Iterator[str]:
    """All rows; a * stands for rows that are equal to the one before."""
    last, skipping = None, False
    for row in hex_rows(address, data):
        is_last = row.offset + HEX_WIDTH >= len(data)
        if row.pairs != last or is_last:
            yield row.line()
        elif not skipping:
            yield "*"
        skipping = row.pairs == last
        last = row.pairs


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
    found = changes(target, old, arguments.interval)
    for new in itertools.islice(found, arguments.count):
        if arguments.json or arguments.struct is not None:
            _show(target, new, arguments)
        else:
            for at in range(0, len(new), HEX_WIDTH):
                row, before = new[at : at + HEX_WIDTH], old[at : at + HEX_WIDTH]
                if row != before:
                    changed = {i for i in range(len(row)) if row[i] != before[i]}
                    shown = next(hex_rows(target.address + at, row))
                    print_line(shown.line(changed))
        old = new


def _follow_live(target: Target, arguments: argparse.Namespace) -> None:
    """Draw in place, as many lines as the terminal has."""
    live: Any = rich_module("live")
    before = data = target.read()
    left = arguments.count
    with live.Live(auto_refresh=False, transient=False) as screen:
        while left is None or left > 0:
            if (new := target.read()) != data:
                before, data = data, new
                left = None if left is None else left - 1
            if arguments.struct is not None:
                picture = _values_picture(arguments.struct, data, before)
            else:
                height = max(screen.console.height - 2, 1)
                picture = _bytes_picture(target.address, data, before, height)
            screen.update(picture, refresh=True)
            time.sleep(arguments.interval)


def _values_picture(overlay: Overlay, data: bytes, before: bytes) -> Any:
    text: Any = rich_module("text")
    picture = text.Text(no_wrap=True)
    rows = overlay.rows(data)
    width = max(len(name) for name, _ in rows)
    for (name, value), (_, last) in zip(rows, overlay.rows(before), strict=True):
        picture.append(f"{name:<{width}}  ")
        picture.append(f"{value}\n", _CHANGED if value != last else "")
    return picture


def _bytes_picture(address: int, data: bytes, before: bytes, height: int) -> Any:
    text: Any = rich_module("text")
    picture = text.Text(no_wrap=True)
    shown = data[: height * HEX_WIDTH]
    for row in hex_rows(address, shown):
        start = len(picture) + len(row.address)
        picture.append(row.line() + "\n")
        for i in range(len(row.pairs)):
            if data[row.offset + i] != before[row.offset + i]:
                # After the address: 3 columns for each byte, 1 in the middle.
                column = start + 2 + 3 * i + (i >= HEX_WIDTH // 2)
                picture.stylize(_CHANGED, column, column + 2)
    if len(shown) < len(data):
        picture.append(f"... {len(data) - len(shown)} more bytes")
    return picture
