"""`winipc receive`: print what senders deliver, as it comes."""

from __future__ import annotations

import argparse
import json
import sys

from winipc.cli.options import (
    Commands,
    add_address,
    add_json,
    message_size,
    number,
    seconds,
)
from winipc.cli.output import clean
from winipc.exchange.receiver import DEFAULT_MAX_MESSAGE, Received, Receiver
from winipc.exchange.transport import DEFAULT_MAPPING_SIZE

__all__ = ["add"]


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "receive", help="print what is sent", description=__doc__, allow_abbrev=False
    )
    add_address(parser)
    parser.add_argument(
        "--mapping-size",
        type=number,
        default=DEFAULT_MAPPING_SIZE,
        help="bytes of the mapping (%(default)s)",
    )
    parser.add_argument(
        "--max-message",
        type=message_size,
        default=DEFAULT_MAX_MESSAGE,
        help="refuse messages of more bytes (%(default)s)",
    )
    parser.add_argument("--count", type=number, help="end after so many messages")
    parser.add_argument(
        "--timeout", type=seconds, help="fail when nothing comes for so many seconds"
    )
    parser.add_argument(
        "--hex", action="store_true", help="print the bytes in hexadecimal"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    with Receiver(
        arguments.title,
        mapping=arguments.mapping,
        mapping_size=arguments.mapping_size,
        max_message=arguments.max_message,
    ) as receiver:
        # On standard error: standard output has the messages and nothing else.
        print(
            f"listening as {arguments.title!r}, Ctrl+C ends",
            file=sys.stderr,
            flush=True,
        )
        left = arguments.count
        while left is None or left > 0:
            received = receiver.receive(arguments.timeout)
            print(_line(received, arguments), flush=True)
            if left is not None:
                left -= 1
    return 0


def _line(received: Received, arguments: argparse.Namespace) -> str:
    if arguments.json:
        return json.dumps(
            {
                "via": received.transport.value,
                "bytes": len(received.data),
                "pid": received.pid,
                "hex": received.data.hex(),
            }
        )
    if arguments.hex:
        shown = received.data.hex(" ")
    else:
        shown = clean(received.data.decode("utf-8", "backslashreplace"))
    return f"{received.transport} {len(received.data)} bytes: {shown}"
