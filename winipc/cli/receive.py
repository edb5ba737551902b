"""`winipc receive`: print what senders deliver, as it comes."""

from __future__ import annotations

import argparse
from typing import Any

from winipc.base.text import clean
from winipc.cli.options import (
    Commands,
    add_address,
    add_command,
    add_end,
    add_exist_ok,
    counted,
    number,
    number32,
)
from winipc.cli.output import note, print_json, print_line
from winipc.exchange.receiver import DEFAULT_MAX_MESSAGE, Received, Receiver
from winipc.exchange.transport import DEFAULT_MAPPING_SIZE

__all__ = ["add"]


def add(commands: Commands) -> None:
    parser = add_command(commands, "receive", run, "print what is sent", __doc__)
    add_address(parser)
    parser.add_argument(
        "--mapping-size",
        type=number,
        default=DEFAULT_MAPPING_SIZE,
        help="bytes of the mapping (%(default)s)",
    )
    parser.add_argument(
        "--max-message",
        type=number32,
        default=DEFAULT_MAX_MESSAGE,
        help="refuse messages of more bytes (%(default)s)",
    )
    add_exist_ok(parser)
    add_end(parser, "messages", "comes")
    parser.add_argument(
        "--hex", action="store_true", help="print the bytes in hexadecimal"
    )


def run(arguments: argparse.Namespace) -> int:
    with Receiver(
        arguments.title,
        mapping=arguments.mapping,
        mapping_size=arguments.mapping_size,
        max_message=arguments.max_message,
        exist_ok=arguments.exist_ok,
    ) as receiver:
        note(f"listening as {arguments.title!r}, Ctrl+C ends")
        for _ in counted(arguments.count):
            received = receiver.receive(arguments.timeout)
            if arguments.json:
                print_json(_fields(received))
            else:
                print_line(_line(received, arguments.hex))
    return 0


def _fields(received: Received) -> dict[str, Any]:
    return {
        "via": received.transport.value,
        "bytes": len(received.data),
        "pid": received.pid,
        "hex": received.data.hex(),
    }


def _line(received: Received, in_hex: bool) -> str:
    if in_hex:
        shown = received.data.hex(" ")
    else:
        shown = clean(received.data.decode("utf-8", "backslashreplace"))
    return f"{received.transport} {len(received.data)} bytes: {shown}"
