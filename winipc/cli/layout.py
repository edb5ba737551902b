"""`winipc layout`: show where the fields of a C structure are.

--as writes a declaration for a language instead. It asserts sizes and offsets, if the
language can.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from winipc.base.text import counted
from winipc.cli.options import Commands, add_command
from winipc.cli.output import print_json, print_line, print_table
from winipc.memory.layout import Field, Layout, word_of


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
    parser.add_argument("name", metavar="NAME", help="structure, union, class, typedef")
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
        print_table(columns, _rows(layout, 0, ""), right=("offset", "size"))
        size = counted(layout.size, "byte")
        print_line(f"{layout.name}: {size}, aligned to {layout.alignment}")
    return 0


def _rows(layout: Layout, at: int, prefix: str) -> Iterator[tuple[object, ...]]:
    for field in layout:
        name, offset = prefix + field.name, at + field.offset
        yield offset, field.size, _type(field), name
        if isinstance(field.kind, Layout):
            first = "[0]" * len(field.shape)
            yield from _rows(field.kind, offset, f"{name}{first}.")


def _type(field: Field) -> str:
    kind = field.kind
    if isinstance(kind, Layout):
        text = kind.name
    elif field.is_pointer:
        text = "pointer"
    else:
        text = f"{word_of(kind)} {field.enum.__name__}" if field.enum else word_of(kind)
    if field.bits is not None:
        return f"{text}, {field.bits[1]} bits from bit {field.bits[0]}"
    return text + "".join(f"[{length or ''}]" for length in field.shape)


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
        "type": _type(field),
        "shape": field.shape,
    }
    if field.bits is not None:
        row["bits"] = field.bits
    if field.enum is not None:
        row["enum"] = {member.name: member.value for member in field.enum}
    if isinstance(field.kind, Layout):
        row |= {"fields": _as_json(field.kind)["fields"]}
    return row
