"""`winipc maps`: the address space of a process."""

from __future__ import annotations

import argparse
from typing import Any

from winipc.cli.options import Commands, add_command, add_process
from winipc.cli.output import print_json, print_table
from winipc.memory.pages import MemoryProtection, MemoryState
from winipc.process.process import RemoteProcess

_LETTERS = (
    (MemoryProtection.EXECUTE_WRITECOPY, "rcx"),
    (MemoryProtection.EXECUTE_READWRITE, "rwx"),
    (MemoryProtection.EXECUTE_READ, "r-x"),
    (MemoryProtection.EXECUTE, "--x"),
    (MemoryProtection.WRITECOPY, "rc-"),
    (MemoryProtection.READWRITE, "rw-"),
    (MemoryProtection.READONLY, "r--"),
)


def add(commands: Commands) -> None:
    parser = add_command(commands, "maps", run, "show an address space", __doc__)
    add_process(parser)
    parser.add_argument(
        "--regions",
        action="store_true",
        help="each region; without, those that were allocated at once are one row",
    )


def run(arguments: argparse.Namespace) -> int:
    with RemoteProcess.open(arguments.pid) as process:
        rows = _regions(process) if arguments.regions else _allocations(process)
    if arguments.json:
        print_json(rows)
        return 0
    print_table(
        ("base", "size", "committed", "type", "prot", "what"),
        [
            (
                f"{row['base']:#x}",
                row["size"],
                row["committed"],
                row["type"],
                row["protection"],
                row["label"],
            )
            for row in rows
        ],
        right=("base", "size", "committed"),
        style=lambda cells: "yellow" if "rwx" in str(cells[4]) else "",
    )
    return 0


def _allocations(process: RemoteProcess) -> list[dict[str, Any]]:
    return [
        {
            "base": row.base,
            "size": row.size,
            "committed": row.committed,
            "type": (row.type.name or "").lower(),
            "protection": " ".join(_letters(each) for each in row.protections),
            "label": row.label,
        }
        for row in process.memory_map()
    ]


def _regions(process: RemoteProcess) -> list[dict[str, Any]]:
    return [
        {
            "base": row.base,
            "size": row.size,
            "committed": row.size if row.state == MemoryState.COMMIT else 0,
            "type": (row.type.name or "").lower(),
            "protection": _letters(row.protection),
            "label": row.path or "",
        }
        for row in process.regions(paths=True)
        if row.state != MemoryState.FREE
    ]


def _letters(protection: MemoryProtection) -> str:
    """As Linux writes them; c is copy on write, + a guard page."""
    text = next((text for flag, text in _LETTERS if protection & flag), "---")
    return text + ("+" if protection & MemoryProtection.GUARD else "")
