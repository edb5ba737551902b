"""`winipc write`: write bytes, text or a number to a mapping or to process memory."""

from __future__ import annotations

import argparse
import struct
from pathlib import Path

from winipc.base.text import counted
from winipc.cli.options import Commands, add_command
from winipc.cli.output import print_result
from winipc.cli.scan import WORDS, number_of, value_type
from winipc.cli.targets import add_raw, add_target, open_target
from winipc.scan.scan import ValueType


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "write",
        run,
        "write memory",
        "Write bytes, text or a number to a mapping or to memory of a process. Other "
        "programs may see half of the change.",
        'write my-app.state "01 00 00 00"',
        "write my-app.state --offset 4 --type f32 52.5",
        "write 1234:0x7ff6a0001000 --type i32 100",
    )
    add_target(parser)
    parser.add_argument("data", help="bytes in hexadecimal, or as --type or --file say")
    parser.add_argument(
        "--type",
        default="hex",
        type=value_type("hex", "text", "utf-16"),
        metavar="TYPE",
        help=f"what DATA is: {WORDS}, or {' '.join(map(str, ValueType))}; no NUL is "
        "added to a text",
    )
    parser.add_argument(
        "--file", action="store_true", help="DATA is a file: write its bytes"
    )
    add_raw(parser)


def run(arguments: argparse.Namespace) -> int:
    if arguments.file:
        data = Path(arguments.data).read_bytes()
    else:
        try:
            data = _data(arguments.type, arguments.data)
        except (ValueError, OverflowError) as error:
            arguments.parser.error(str(error))
    if not data:
        arguments.parser.error("there is nothing to write")
    arguments.size = len(data)
    with open_target(arguments, write=True) as target:
        target.write(data)
    print_result(
        arguments.json,
        {"target": target.label, "address": target.address, "bytes": len(data)},
        f"{counted(len(data), 'byte')} written to {target.name} at {target.address:#x}",
    )
    return 0


def _data(kind: str | ValueType, text: str) -> bytes:
    if isinstance(kind, ValueType):
        number = number_of(text, kind, kind.is_float)
        return struct.pack(kind.format, number if kind.is_float else kind.check(number))
    if kind == "hex":
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise ValueError(
                f"{text!r} is not hexadecimal, two digits for each byte "
                "(--type text writes text, --type i32 a number)"
            ) from None
    return text.encode("utf-8" if kind == "text" else "utf-16-le")
