"""`winipc demo`: two processes, four transports, and a check of every byte.

This process sends. A second one receives, and prints the SHA-256 digest of each
message.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO, Any

from winipc.cli.child import child_command, child_environ
from winipc.cli.options import Commands, add_command
from winipc.cli.output import print_json, print_line, print_table
from winipc.exchange import Receiver, Sender, Transport

_LARGE = 64 * 1024 * 1024
_SECTION_SIZE = 4096
_TEXTS = (
    "Hello from the other process",
    "Grüße, olá, čau, ño",
    "Привет, Γειά σου, שלום, مرحبا",
    "你好, こんにちは, 안녕하세요, नमस्ते",
    "emoji \N{WAVING HAND SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}",
)
_TIMEOUT = 60.0
#: In a 32-bit process, the process transport carries only text without NUL.
_TEXT_ONLY = sys.maxsize < 1 << 32


def add(commands: Commands) -> None:
    text = "send by all four transports"
    parser = add_command(commands, "demo", run, text, __doc__, "demo")
    parser.add_argument("--receiver", metavar="NAME", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    if arguments.receiver is not None:
        return _receive(arguments.receiver)
    name = f"winipc-demo-{os.getpid()}"
    with subprocess.Popen(
        child_command("demo", "--receiver", name),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | child_environ(),
    ) as receiver:
        assert receiver.stdout is not None
        try:
            if receiver.stdout.readline() != "ready\n":
                raise OSError("the receiver process did not start")
            rows = [_try(name, transport, receiver.stdout) for transport in Transport]
        finally:
            receiver.kill()
    intact = all(row["intact"] == row["messages"] for row in rows)
    if arguments.json:
        for row in rows:
            print_json(row)
    else:
        print_line(f"sender pid {os.getpid()}, receiver pid {receiver.pid}")
        _print_table(rows)
        if _TEXT_ONLY:
            print_line("process: only text, as this is a 32-bit process")
        print_line("all data arrived intact" if intact else "DATA WAS LOST OR CHANGED")
    return 0 if intact else 1


def _receive(name: str) -> int:
    """The second process: print a line for each message, until it is killed."""
    with Receiver(
        name, mapping=name, mapping_size=_LARGE, max_message=_LARGE
    ) as receiver:
        print_line("ready")
        while received := receiver.receive(_TIMEOUT):
            print_line(_told(received.transport, received.data))
    return 1


def _told(transport: Transport, data: bytes) -> str:
    """The line that the receiver prints for a message."""
    return f"{transport} {len(data)} {hashlib.sha256(data).hexdigest()}"


def _payloads(transport: Transport) -> Iterator[bytes]:
    for text in _TEXTS:
        yield text.encode()
    yield b""
    if transport is Transport.PROCESS and _TEXT_ONLY:
        return
    yield random.randbytes(_SECTION_SIZE)
    if transport is not Transport.SECTION:  # the bundled section has 4,096 bytes
        yield random.randbytes(_LARGE)


def _try(name: str, transport: Transport, told: IO[str]) -> dict[str, Any]:
    """Send all payloads by one transport, and check what the receiver prints."""
    seconds, sizes, answers, intact = 0.0, [], [], 0
    with Sender(name, mapping=name, timeout=_TIMEOUT) as sender:
        for data in _payloads(transport):
            start = time.perf_counter()
            answers.append(sender.send(data, via=transport))
            seconds += time.perf_counter() - start
            sizes.append(len(data))
            intact += told.readline() == _told(transport, data) + "\n"
    return {
        "transport": transport.value,
        "messages": len(sizes),
        "bytes": sum(sizes),
        "intact": intact,
        "seconds": seconds,
        "answers": answers,
    }


def _print_table(rows: list[dict[str, Any]]) -> None:
    print_table(
        ("transport", "bytes", "intact", "ms", "answers"),
        [
            (
                row["transport"],
                row["bytes"],
                f"{row['intact']}/{row['messages']}",
                f"{row['seconds'] * 1000:.1f}",
                ", ".join(map(str, sorted(set(row["answers"])))),
            )
            for row in rows
        ],
        right=("bytes", "intact", "ms"),
    )
