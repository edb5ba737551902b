"""`winipc receive`: print what senders deliver, as it comes."""

from __future__ import annotations

import argparse

from winipc.cli.options import (
    Commands,
    add_address,
    add_command,
    add_end,
    add_exist_ok,
    add_hex,
    counted,
    number,
    number32,
    shown,
)
from winipc.cli.output import note, print_json, print_line
from winipc.exchange.receiver import DEFAULT_MAX_MESSAGE, Receiver
from winipc.exchange.transport import DEFAULT_MAPPING_SIZE


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
    add_hex(parser)


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
            via, data = received.transport.value, received.data
            if arguments.json:
                fields = {"via": via, "bytes": len(data), "pid": received.pid}
                print_json(fields | {"hex": data.hex()})
            else:
                print_line(f"{via} {len(data)} bytes: {shown(data, arguments.hex)}")
    return 0
