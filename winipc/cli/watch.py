"""`winipc watch`: print what changes in a mapping or in memory of a process."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator
from typing import Any

from winipc import _core
from winipc.base.text import counted
from winipc.cli.options import Commands, add_command, add_end
from winipc.cli.output import print_result, until_ctrl_c
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
    open_target,
    remark_difference,
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
        'watch my-app.state --struct "speed:f32 gear:i32 wheels:4f32 name:16s"',
        'watch my-app.state --struct "speed:f32 gear:i32" --field gear',
    )
    add_target(parser)
    add_wait(parser)
    add_size(parser)
    add_raw(parser)
    add_struct(parser)
    add_snapshot(parser)
    add_fields(parser, "print changes of")
    add_interval(parser)
    add_end(parser, "changes", "changes")


def run(arguments: argparse.Namespace) -> int:
    take_size(arguments)
    take_fields(arguments)
    with open_target(arguments) as target:
        remark_difference(target, arguments)
        old = target.read()
        with until_ctrl_c() as say:
            say(f"watching {counted(len(old), 'byte')} of {target.label}")
            rows = _rows(target, old, arguments)
            for seconds, fields, text in itertools.islice(rows, arguments.count):
                fields = {"seconds": round(seconds, 6), **fields}
                print_result(arguments.json, fields, f"{seconds:10.3f}  {text}")
    return 0


def _rows(
    target: Target, old: bytes, arguments: argparse.Namespace
) -> Iterator[tuple[float, dict[str, Any], str]]:
    """For each change: seconds since the start, what it is for JSON, and as text."""
    start = time.monotonic()
    overlay: Overlay | None = arguments.struct
    for new in changes(target, old, arguments, arguments.timeout):
        seconds = time.monotonic() - start
        found = (
            _of_bytes(target.address, old, new)
            if overlay is None
            else _of_values(overlay, old, new)
        )
        for fields, text in found:
            yield seconds, fields, text
        old = new


def _of_bytes(
    start: int, old: bytes, new: bytes
) -> Iterator[tuple[dict[str, Any], str]]:
    for at, after in _core._changes(old, new, _JOIN):
        before, address = old[at : at + len(after)], start + at
        fields = {"address": address, "old": before.hex(), "new": after.hex()}
        yield fields, f"{address:08x}  {_hex(before)} -> {_hex(after)}"


def _of_values(
    overlay: Overlay, old: bytes, new: bytes
) -> Iterator[tuple[dict[str, Any], str]]:
    for name, values, texts in overlay.changes(old, new):
        fields = {"field": name, "old": values[0], "new": values[1]}
        yield fields, f"{name}  {texts[0]} -> {texts[1]}"


def _hex(data: bytes) -> str:
    if len(data) <= _SHOWN:
        return data.hex(" ")
    return f"{data[:_SHOWN].hex(' ')} ... ({len(data)} bytes)"
