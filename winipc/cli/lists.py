"""`winipc ls`, `winipc windows` and `winipc maps`."""

from __future__ import annotations

import argparse
import fnmatch
import re
from typing import TYPE_CHECKING, Any

from winipc import _core
from winipc.cli.options import Commands, add_command, add_process, number32
from winipc.cli.output import print_rows
from winipc.system.catalog import (
    NamedObject,
    ObjectKind,
    _held_objects,
    named_objects,
)

if TYPE_CHECKING:  # each command imports what it needs
    from winipc.memory import MemoryProtection
    from winipc.message import Window
    from winipc.process import RemoteProcess

_LETTERS = (
    ("EXECUTE_WRITECOPY", "rcx"),
    ("EXECUTE_READWRITE", "rwx"),
    ("EXECUTE_READ", "r-x"),
    ("EXECUTE", "--x"),
    ("WRITECOPY", "rc-"),
    ("READWRITE", "rw-"),
    ("READONLY", "r--"),
)


def add(commands: Commands) -> None:
    ls = add_command(
        commands,
        "ls",
        _ls,
        "list named objects",
        "The named mappings, mutexes, events and semaphores of this session.",
        'ls "my-app*"',
        "ls --kind mapping --holders",
    )
    ls.add_argument(
        "pattern",
        nargs="?",
        help='only names like this, such as "my-app*" (quote it for the shell)',
    )
    ls.add_argument(
        "--kind", choices=[kind.value for kind in ObjectKind], help="only this kind"
    )
    ls.add_argument(
        "--holders",
        action="store_true",
        help="also the processes that hold each of them, which takes longer",
    )

    windows = add_command(
        commands,
        "windows",
        _windows,
        "list windows",
        "The windows of this desktop, and their processes.",
        'windows "my-app*"',
        "windows --visible",
        "windows --pid 1234 --json",
    )
    windows.add_argument(
        "pattern",
        nargs="?",
        help='only titles like this, such as "my-app*"; case does not matter',
    )
    windows.add_argument("--title", help="only with this title")
    windows.add_argument("--class-name", help="only of this class")
    windows.add_argument("--pid", type=number32, help="only of this process")
    windows.add_argument(
        "--message-only",
        action="store_true",
        help="message-only windows instead of top-level ones",
    )
    windows.add_argument(
        "--visible", action="store_true", help="only those that are shown"
    )

    maps = add_command(
        commands,
        "maps",
        _maps,
        "show an address space",
        "The address space of a process: what is mapped where, and who may use it how.",
        "maps game.exe",
        "maps 1234 --regions",
    )
    add_process(maps)
    maps.add_argument(
        "--regions",
        action="store_true",
        help="each region; without, those that were allocated at once are one row",
    )


def _ls(arguments: argparse.Namespace) -> int:
    columns: dict[str, Any] = {"kind": "kind", "size": "size", "name": "name"}
    if not arguments.holders:
        found = named_objects(arguments.kind, arguments.pattern)
        rows = [_object(row) for row in found]
    else:
        rows = [
            # No holders if this user may not know them, or if the object is gone.
            _object(row) | {"holders": None if held is None else list(held.pids)}
            for row, held in _held_objects(arguments.kind, arguments.pattern)
        ]
        names = {pid: name for pid, name, *_ in _core._processes()}
        columns["holders"] = lambda row: _who(row["holders"], names)
    return print_rows(
        arguments.json,
        rows,
        columns | {"note": "reason"},
        right=("size",),
        style=lambda row: "dim" if row["reason"] else "",
        nothing=f"no named object is like {arguments.pattern!r}"
        if arguments.pattern
        else "there are no such objects",
    )


def _object(row: NamedObject) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "name": row.name,
        "path": row.path,
        "size": row.size,
        "reason": row.reason,
    }


def _who(pids: list[int] | None, names: dict[int, str]) -> str:
    if pids is None:
        return "?"
    return ", ".join(f"{pid} {names.get(pid, '')}".rstrip() for pid in pids)


def _windows(arguments: argparse.Namespace) -> int:
    from winipc.message import find_windows

    found = find_windows(
        title=arguments.title,
        class_name=arguments.class_name,
        pid=arguments.pid,
        message_only=arguments.message_only,
        visible=True if arguments.visible else None,
    )
    like = re.compile(fnmatch.translate(arguments.pattern or "*"), re.IGNORECASE)
    rows = [
        row
        for window in found
        if (row := window_fields(window)) is not None and like.match(row["title"])
    ]
    return print_rows(
        arguments.json,
        rows,
        {
            "hwnd": lambda row: f"{row['hwnd']:#x}",
            "pid": lambda row: str(row["pid"]),
            "program": lambda row: (row["executable"] or "?").rpartition("\\")[2],
            "class": "class",
            "title": "title",
            "state": _state,
        },
        right=("hwnd", "pid"),
        style=lambda row: {"hung": "red", "hidden": "dim"}.get(_state(row), ""),
        nothing=f"no window has a title like {arguments.pattern!r}"
        if arguments.pattern
        else "no window was found",
    )


def _state(row: dict[str, Any]) -> str:
    return "hung" if row["hung"] else "shown" if row["visible"] else "hidden"


def window_fields(window: Window) -> dict[str, Any] | None:
    """What a command prints about a window; None if the window has just closed."""
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


def _maps(arguments: argparse.Namespace) -> int:
    from winipc.process import RemoteProcess

    with RemoteProcess.open(arguments.pid) as process:
        rows = _regions(process) if arguments.regions else allocations(process)
    return print_rows(
        arguments.json,
        rows,
        {
            "base": lambda row: f"{row['base']:#x}",
            "size": "size",
            "committed": "committed",
            "type": "type",
            "prot": "protection",
            "what": "label",
        },
        right=("base", "size", "committed"),
        style=lambda row: "yellow" if "rwx" in row["protection"] else "",
        nothing="it has no memory any more",
    )


def allocations(process: RemoteProcess) -> list[dict[str, Any]]:
    return [
        {
            "base": row.base,
            "size": row.size,
            "committed": row.committed,
            "type": (row.type.name or "").lower(),
            "protection": " ".join(_letters(each) for each in row.protections),
            "label": row.label,
        }
        for row in process.memory_map(names=True)
    ]


def _regions(process: RemoteProcess) -> list[dict[str, Any]]:
    return [
        {
            "base": row.base,
            "size": row.size,
            "committed": row.size if row.state.name == "COMMIT" else 0,
            "type": (row.type.name or "").lower(),
            "protection": _letters(row.protection),
            "label": row.path or " or ".join(row.sections),
        }
        for row in process.regions(paths=True, names=True)
        if row.state.name != "FREE"
    ]


def _letters(protection: MemoryProtection) -> str:
    """The letters of Linux, with c for copy-on-write and + for a guard page."""
    flags = type(protection)
    text = next((text for name, text in _LETTERS if protection & flags[name]), "---")
    return text + ("+" if protection & flags.GUARD else "")
