"""`winipc ls`: the named mappings, mutexes, events and semaphores of this session."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from winipc.cli.options import Commands, add_command
from winipc.cli.output import print_json, print_table
from winipc.process.process import processes
from winipc.system.catalog import NamedObject, ObjectKind, holders_of, named_objects


def add(commands: Commands) -> None:
    parser = add_command(commands, "ls", run, "list named objects", __doc__)
    parser.add_argument(
        "pattern",
        nargs="?",
        help='only names like this, such as "my-app*" (quote it for the shell)',
    )
    parser.add_argument(
        "--kind", choices=[kind.value for kind in ObjectKind], help="only this kind"
    )
    parser.add_argument(
        "--holders",
        action="store_true",
        help="also the processes that hold each of them, which takes longer",
    )


def run(arguments: argparse.Namespace) -> int:
    rows = named_objects(arguments.kind, arguments.pattern)
    held = _held(rows) if arguments.holders else None
    if arguments.json:
        found: list[dict[str, Any]] = []
        for row in rows:
            fields = dataclasses.asdict(row)
            if held is not None:
                fields["holders"] = held[row.path]
            found.append(fields)
        print_json(found)
        return 0
    columns = ["kind", "size", "name"]
    if held is not None:
        columns.append("holders")
    columns.append("note")
    names = {row.pid: row.name for row in processes()} if held is not None else {}
    print_table(
        columns,
        [
            (
                row.kind,
                row.size,
                row.name,
                *([_who(held[row.path], names)] if held is not None else []),
                row.reason,
            )
            for row in rows
        ],
        right=["size"],
        style=lambda cells: "dim" if cells[-1] else "",
    )
    return 0


def _held(rows: list[NamedObject]) -> dict[str, list[int] | None]:
    """The holders of each path; None where they may not be known, or it is gone."""
    return {
        row.path: None if found is None else list(found.pids)
        for row, found in zip(rows, holders_of(rows), strict=True)
    }


def _who(pids: list[int] | None, names: dict[int, str]) -> str:
    if pids is None:
        return "?"
    return ", ".join(f"{pid} {names.get(pid, '')}".rstrip() for pid in pids)
