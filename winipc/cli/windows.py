"""`winipc windows`: the windows of this desktop, and their processes."""

from __future__ import annotations

import argparse
from typing import Any

from winipc.cli.options import Commands, add_command, number32
from winipc.cli.output import print_json, print_table
from winipc.message import Window, find_windows


def add(commands: Commands) -> None:
    parser = add_command(commands, "windows", run, "list windows", __doc__)
    parser.add_argument("--title", help="only with this title")
    parser.add_argument("--class-name", help="only of this class")
    parser.add_argument("--pid", type=number32, help="only of this process")
    parser.add_argument(
        "--message-only",
        action="store_true",
        help="message-only windows instead of top-level ones",
    )
    parser.add_argument(
        "--visible", action="store_true", help="only those that are shown"
    )


def run(arguments: argparse.Namespace) -> int:
    found = find_windows(
        title=arguments.title,
        class_name=arguments.class_name,
        pid=arguments.pid,
        message_only=arguments.message_only,
        visible=True if arguments.visible else None,
    )
    rows = [row for window in found if (row := _fields(window)) is not None]
    if arguments.json:
        print_json(rows)
        return 0
    print_table(
        ("hwnd", "pid", "program", "class", "title", "state"),
        [
            (
                f"{row['hwnd']:#x}",
                str(row["pid"]),
                (row["executable"] or "?").rpartition("\\")[2],
                row["class"],
                row["title"],
                "hung" if row["hung"] else "shown" if row["visible"] else "hidden",
            )
            for row in rows
        ],
        right=("hwnd", "pid"),
        style=lambda cells: "red" if cells[-1] == "hung" else "",
    )
    return 0


def _fields(window: Window) -> dict[str, Any] | None:
    """None when the window has just closed."""
    try:
        fields: dict[str, Any] = {
            "hwnd": window.hwnd,
            "pid": window.pid,
            "thread": window.thread_id,
            "class": window.class_name,
            "title": window.title,
            "visible": window.is_visible,
            "hung": window.is_hung,
        }
    except FileNotFoundError:
        return None
    try:
        fields["executable"] = window.executable
    except OSError:
        fields["executable"] = None
    return fields
