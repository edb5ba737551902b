"""`winipc send`: deliver text, a file or standard input to a receiver."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from winipc.cli.options import Commands, add_address, add_command, seconds
from winipc.cli.output import print_result
from winipc.exchange.sender import DEFAULT_TIMEOUT, Sender
from winipc.exchange.transport import Transport


def add(commands: Commands) -> None:
    parser = add_command(commands, "send", run, "send to a receiver", __doc__)
    parser.add_argument(
        "text", nargs="?", help="text to send as UTF-8; - or none: standard input"
    )
    parser.add_argument("--file", type=Path, help="send the bytes of this file instead")
    parser.add_argument(
        "--via",
        choices=[transport.value for transport in Transport],
        default=Transport.COPYDATA.value,
        help="transport (%(default)s)",
    )
    parser.add_argument(
        "--timeout", type=seconds, default=DEFAULT_TIMEOUT, help="seconds (%(default)s)"
    )
    add_address(parser)


def run(arguments: argparse.Namespace) -> int:
    data = _data(arguments)
    with Sender(
        arguments.title, mapping=arguments.mapping, timeout=arguments.timeout
    ) as sender:
        start = time.perf_counter()
        answer = sender.send(data, via=arguments.via)
        taken = time.perf_counter() - start
    fields = {
        "via": arguments.via,
        "bytes": len(data),
        "answer": answer,
        "seconds": taken,
    }
    print_result(
        arguments.json,
        fields,
        f"{len(data)} bytes sent via {arguments.via} "
        f"in {taken * 1000:.1f} ms, answer {answer}",
    )
    return 0


def _data(arguments: argparse.Namespace) -> bytes:
    if arguments.file is not None:
        if arguments.text is not None:
            raise ValueError("give a text or a file, not both")
        data: bytes = arguments.file.read_bytes()
        return data
    if arguments.text in (None, "-"):
        return sys.stdin.buffer.read()
    text: str = arguments.text
    return text.encode()
