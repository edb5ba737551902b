"""`winipc section`: write a DLL with shared variables, or list a DLL's variables."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from winipc.base.text import counted
from winipc.cli.options import Commands, Formatter, add_command, number
from winipc.cli.output import print_line, print_rows
from winipc.pe import MACHINE, build_section_dll, inspect_dll


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "section",
        help="DLLs with shared variables",
        description=__doc__,
        formatter_class=Formatter,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    build = add_command(
        actions,
        "build",
        _build,
        "write a DLL, with no compiler",
        None,
        "section build shared.dll MySharedData=4096",
    )
    build.add_argument("path", type=Path, metavar="FILE.dll")
    build.add_argument(
        "variables",
        nargs="+",
        type=_variable,
        metavar="NAME=SIZE",
        help="a variable and its size in bytes",
    )
    build.add_argument("--machine", choices=("amd64", "x86", "arm64"), default=MACHINE)
    build.add_argument(
        "--def",
        dest="definition",
        action="store_true",
        help="also write a .def file, from which linkers make an import library",
    )
    show = add_command(
        actions,
        "show",
        _show,
        "list shared variables",
        None,
        "section show shared.dll",
    )
    show.add_argument("path", type=Path, metavar="FILE.dll")


def _variable(text: str) -> tuple[str, int]:
    name, _, size = text.rpartition("=")
    if not name or not size:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SIZE")
    count = number(size)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: the size is 1 or more")
    return name, count


def _build(arguments: argparse.Namespace) -> int:
    variables = dict(arguments.variables)
    if len(variables) < len(arguments.variables):
        arguments.parser.error("two variables have the same name")
    try:
        build_section_dll(
            arguments.path,
            variables,
            machine=arguments.machine,
            definition=arguments.definition,
        )
    except ValueError as error:
        arguments.parser.error(str(error))
    if arguments.json:
        return _show(arguments)
    size = arguments.path.stat().st_size
    what = counted(len(variables), "variable")
    print_line(f"{arguments.path}: {what}, {size:,} bytes")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    image = inspect_dll(arguments.path)
    return print_rows(
        arguments.json,
        [dataclasses.asdict(row) for row in image.shared_variables],
        {
            "name": "name",
            "section": "section",
            "offset": "offset",
            "size": "size",
            "access": lambda row: "read" if row["readonly"] else "read, write",
        },
        right=("offset", "size"),
        nothing="it has no shared variables",
    )
