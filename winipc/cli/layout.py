"""`winipc layout`: show where the fields of a C structure are.

--as writes a declaration for a language instead. It asserts sizes and offsets, if the
language can.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from winipc.base.text import counted
from winipc.cli.options import Commands, add_command
from winipc.cli.output import print_json, print_line, print_table
from winipc.memory.layout import Field, Layout


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "layout",
        run,
        "show where a header's fields are",
        __doc__,
        "layout state.h state --bits 32",
        "layout state.h state --as rust",
    )
    parser.add_argument("header", metavar="HEADER", help="a C or C++ header")
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        default="",
        help="structure, union, class, typedef; without it, the names are told",
    )
    parser.add_argument(
        "--bits", type=int, choices=(32, 64), default=64, help="bits of a pointer (64)"
    )
    parser.add_argument(
        "--define",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a macro, as for a compiler; may be repeated",
    )
    parser.add_argument(
        "--include",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder with headers; may be repeated",
    )
    parser.add_argument(
        "--as",
        dest="language",
        choices=("c", "ctypes", "numpy", "csharp", "rust"),
        help="write the declaration for this language",
    )


def run(arguments: argparse.Namespace) -> int:
    defines = dict(d.split("=", 1) if "=" in d else (d, 1) for d in arguments.define)
    layout = Layout.from_c(
        *(arguments.header, arguments.name),
        bits=arguments.bits,
        defines=defines,
        include=arguments.include,
        enums=True,
    )
    if arguments.language is not None:
        from winipc.memory._declare import declaration

        print_line(declaration(layout, arguments.language).rstrip())
    elif arguments.json:
        print_json({"bits": arguments.bits, **_as_json(layout)})
    else:
        columns = ("offset", "size", "type", "name")
        print_table(columns, layout.table(), right=("offset", "size"))
        size = counted(layout.size, "byte")
        print_line(f"{layout.name}: {size}, aligned to {layout.alignment}")
    return 0


def _as_json(layout: Layout) -> dict[str, Any]:
    return {
        "name": layout.name,
        "size": layout.size,
        "alignment": layout.alignment,
        "fields": [_field_as_json(field) for field in layout],
    }


def _field_as_json(field: Field) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": field.name,
        "offset": field.offset,
        "size": field.size,
        "type": dataclasses.replace(field, enum=None).type,
        "shape": field.shape,
    }
    if field.bits is not None:
        row["bits"] = field.bits
    if field.enum is not None:
        row["enum"] = {member.name: member.value for member in field.enum}
    if isinstance(field.kind, Layout):
        row |= {"fields": _as_json(field.kind)["fields"]}
    return row
