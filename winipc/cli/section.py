"""`winipc section`: write a DLL with shared variables, or list those of one."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from winipc.cli.options import Commands, add_command
from winipc.cli.output import print_json, print_line, print_table
from winipc.pe import MACHINE, build_section_dll, inspect_dll


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "section", help="DLLs with shared variables", description=__doc__
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    build = add_command(actions, "build", _build, "write a DLL, with no compiler")
    build.add_argument("path", type=Path, metavar="FILE.dll")
    build.add_argument(
        "variables", nargs="+", metavar="NAME=SIZE", help="a variable and its bytes"
    )
    build.add_argument("--machine", choices=("amd64", "x86", "arm64"), default=MACHINE)
    build.add_argument(
        "--def",
        dest="definition",
        action="store_true",
        help="also a .def file, of which linkers make an import library",
    )
    show = add_command(actions, "show", _show, "list shared variables")
    show.add_argument("path", type=Path, metavar="FILE.dll")


def _build(arguments: argparse.Namespace) -> int:
    variables: dict[str, int] = {}
    for text in arguments.variables:
        name, _, size = text.rpartition("=")
        try:
            count = int(size, 0)
        except ValueError:
            count = 0
        if not name or count < 1:
            raise ValueError(f"{text!r} is not NAME=SIZE with a size of 1 or more")
        if name in variables:
            raise ValueError(f"two variables are called {name!r}")
        variables[name] = count
    build_section_dll(
        arguments.path,
        variables,
        machine=arguments.machine,
        definition=arguments.definition,
    )
    if arguments.json:
        return _show(arguments)
    size = arguments.path.stat().st_size
    what = "1 variable" if len(variables) == 1 else f"{len(variables)} variables"
    print_line(f"{arguments.path}: {what}, {size:,} bytes")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    image = inspect_dll(arguments.path)
    rows = image.shared_variables
    if arguments.json:
        print_json([dataclasses.asdict(row) for row in rows])
        return 0
    print_table(
        ("name", "section", "offset", "size", "access"),
        [
            (
                row.name,
                row.section,
                row.offset,
                row.size,
                "read" if row.readonly else "read, write",
            )
            for row in rows
        ],
        right=("offset", "size"),
    )
    return 0
