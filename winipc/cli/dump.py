"""`winipc dump`: show a mapping, or memory of a process, in hexadecimal.

--follow shows changes as they come: a terminal is redrawn in place, with the last
change in colour; a pipe gets the changed lines, with a * before each changed byte.
--snapshot shows whole records of a winipc.Snapshot.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
import time
from collections.abc import Iterator
from typing import Any

from winipc.base.text import HEX_WIDTH, counted, hex_rows, row_width
from winipc.cli.options import Commands, add_command, add_seconds, number
from winipc.cli.output import print_json, print_line, until_ctrl_c
from winipc.cli.overlay import (
    Overlay,
    add_fields,
    add_struct,
    take_fields,
    take_size,
)
from winipc.cli.targets import (
    Target,
    add_interval,
    add_raw,
    add_size,
    add_snapshot,
    add_target,
    add_wait,
    changes,
    compared,
    open_target,
    remark_difference,
)
from winipc.cli.terminal import columns, console, is_terminal

#: The most rows that one comparison takes.
_MOST_ROWS = 1 << 12
#: Bold black would be grey on many terminals.
_CHANGED = "black on bright_yellow"


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "dump",
        run,
        "show memory",
        __doc__,
        "dump my-app.state --size 64 --follow",
        'dump my-app.state --struct "speed:f32 gear:i32 wheels:4f32 name:16s"',
        'dump my-app.car --struct "speed:f32 gear:i32" --snapshot seqlock',
        "dump game.exe:game.exe+0x10f4",
    )
    add_target(parser)
    add_wait(parser)
    add_size(parser)
    add_raw(parser)
    add_struct(parser)
    add_fields(parser, "show")
    add_snapshot(parser)
    parser.add_argument(
        "--follow", action="store_true", help="show changes until Ctrl+C"
    )
    add_interval(parser)
    parser.add_argument(
        "--count", type=number, help="with --follow: end after this many changes"
    )
    add_seconds(parser, ", with --follow")


def run(arguments: argparse.Namespace) -> int:
    take_size(arguments)
    take_fields(arguments)
    if not arguments.follow and (arguments.count, arguments.seconds) != (None, None):
        arguments.parser.error("only --follow has a --count and --seconds")
    with open_target(arguments) as target:
        remark_difference(target, arguments)
        if not arguments.follow:
            _show(target, target.read(), arguments)
        else:
            terminal = None if arguments.json else console()
            with until_ctrl_c() as say:
                say(f"following {target.label}")
                if terminal is not None:
                    _follow_live(target, arguments, terminal)
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


def _width(end: int) -> int:
    """Bytes in a row; fewer on a terminal that is too narrow for the usual row."""
    if not is_terminal(sys.stdout):
        return HEX_WIDTH
    return row_width(end, columns())


def _hex_lines(address: int, data: bytes) -> Iterator[str]:
    """All rows; a * stands for rows that are equal to the row before."""
    width, expected = _width(address + len(data)), 0
    for row in hex_rows(address, data, width=width, offsets=_told_rows(data, width)):
        if row.offset != expected:
            yield "*"
        yield row.line()
        expected = row.offset + width


def _told_rows(data: bytes, width: int) -> Iterator[int]:
    """The offsets of rows that differ from the row before, and of the last row."""
    at, last = 0, (len(data) - 1) // width * width
    while at < last:
        yield at
        at = min(_end_of_equal_rows(data, at, width), last)
    yield last


def _end_of_equal_rows(data: bytes, at: int, width: int) -> int:
    """The offset after the rows that equal the row at `at`.

    It compares twice as many rows each time they are equal, then half as many.
    """
    row, rows = data[at : at + width], 1
    at += width
    while data[at : at + rows * width] == row * rows:
        at += rows * width
        rows = min(2 * rows, _MOST_ROWS)
    while rows := rows // 2:
        if data[at : at + rows * width] == row * rows:
            at += rows * width
    return at


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
        if arguments.struct.only:  # and not the bytes of the others
            del row["hex"]
    return row


def _follow_lines(target: Target, arguments: argparse.Namespace) -> None:
    old = target.read()
    _show(target, old, arguments)
    found = changes(target, old, arguments)
    for new in itertools.islice(found, arguments.count):
        if arguments.json or arguments.struct is not None:
            _show(target, new, arguments)
        else:
            changed = {i for i in range(len(new)) if new[i] != old[i]}
            width = _width(target.address + len(new))
            offsets = sorted({i // width * width for i in changed})
            for row in hex_rows(target.address, new, width=width, offsets=offsets):
                print_line(row.line(changed))
        old = new


def _follow_live(target: Target, arguments: argparse.Namespace, terminal: Any) -> None:
    """Draw in place, no more lines than the terminal has."""
    from winipc.base.deadline import Deadline

    live: Any = importlib.import_module("rich.live")
    before = data = target.read()
    left, deadline = arguments.count, Deadline(arguments.seconds)
    part = compared(arguments)
    with live.Live(console=terminal, auto_refresh=False) as screen:
        while left != 0 and deadline.left() != 0:
            if part(new := target.read()) != part(data):
                before, data = data, new
                left = None if left is None else left - 1
            if arguments.struct is not None:
                picture = _values_picture(arguments.struct, data, before)
            else:
                picture = _bytes_picture(target.address, data, before, terminal.size)
            picture.rstrip()  # at column 0, Wine's console would drop rich's "\r"
            screen.update(picture, refresh=True)
            time.sleep(deadline.part(arguments.interval))


def _values_picture(overlay: Overlay, data: bytes, before: bytes) -> Any:
    text: Any = importlib.import_module("rich.text")
    picture = text.Text()
    rows = overlay.rows(data)
    width = max(len(name) for name, _ in rows)
    for (name, value), (_, last) in zip(rows, overlay.rows(before), strict=True):
        picture.append(f"{name:<{width}}  ")
        picture.append(f"{value}\n", _CHANGED if value != last else "")
    return picture


def _bytes_picture(address: int, data: bytes, before: bytes, size: Any) -> Any:
    text: Any = importlib.import_module("rich.text")
    picture = text.Text(no_wrap=True)
    width = row_width(address + len(data), size.width)
    shown = data[: max(size.height - 2, 1) * width]
    for row in hex_rows(address, shown, width=width):
        start = len(picture) + len(row.address)
        picture.append(row.line() + "\n")
        for i in range(len(row.pairs)):
            if data[row.offset + i] != before[row.offset + i]:
                # After the address: 3 columns for each byte, 1 more in the middle.
                column = start + 2 + 3 * i + (i >= row.width // 2)
                picture.stylize(_CHANGED, column, column + 2)
    if len(shown) < len(data):
        picture.append(f"... {counted(len(data) - len(shown), 'more byte')}")
    return picture
