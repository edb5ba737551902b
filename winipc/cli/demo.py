"""`winipc demo`: two processes, four transports, and a check of every byte.

This process sends; a second one, started here, receives and answers with the
SHA-256 digest of what it got.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

from winipc.cli.options import Commands, add_command
from winipc.cli.output import print_json, print_line, print_table
from winipc.exchange import Receiver, Sender, Transport

__all__ = ["add"]

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


@dataclasses.dataclass(slots=True)
class Result:
    """What happened on one transport."""

    transport: str
    messages: int = 0
    bytes: int = 0
    intact: int = 0
    seconds: float = 0.0
    answers: list[int] = dataclasses.field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.intact == self.messages


def add(commands: Commands) -> None:
    parser = add_command(commands, "demo", run, "send by all four transports", __doc__)
    parser.add_argument("--receiver", metavar="NAME", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    if arguments.receiver is not None:
        return _receive(arguments.receiver)
    name = f"winipc-demo-{os.getpid()}"
    with _receiver_process(name) as receiver:
        results = [_try(name, transport, receiver) for transport in Transport]
    if arguments.json:
        print_json([dataclasses.asdict(result) for result in results])
    else:
        _print_results(results, receiver.pid)
    return 0 if all(result.passed for result in results) else 1


def _facts(transport: Transport, data: bytes) -> dict[str, object]:
    """What the receiver tells about a message."""
    digest = hashlib.sha256(data).hexdigest()
    return {"via": transport.value, "bytes": len(data), "sha256": digest}


# ------------------------------------------------------------------ receiving


def _receive(name: str) -> int:
    """The second process: a line with the digest of each message."""
    with Receiver(
        name, mapping=name, mapping_size=_LARGE, max_message=_LARGE
    ) as receiver:
        print_line("ready")
        while received := receiver.receive(_TIMEOUT):
            if received.data == b"end of demo":
                return 0
            print_json(_facts(received.transport, received.data))
    return 1


@contextlib.contextmanager
def _receiver_process(name: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "winipc", "demo", "--receiver", name],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        if _read_line(process) != "ready":
            raise OSError("the receiver process did not start")
        yield process
        with Sender(name, mapping=name) as sender:
            sender.send(b"end of demo")
        process.wait(_TIMEOUT)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _read_line(process: subprocess.Popen[str]) -> str:
    stdout: IO[str] | None = process.stdout
    assert stdout is not None
    return stdout.readline().rstrip("\n")


# -------------------------------------------------------------------- sending


def _payloads(transport: Transport) -> Iterator[bytes]:
    for text in _TEXTS:
        yield text.encode()
    yield b""
    yield random.randbytes(_SECTION_SIZE)
    if transport is not Transport.SECTION:  # the bundled section has 4,096 bytes
        yield random.randbytes(_LARGE)


def _try(name: str, transport: Transport, receiver: subprocess.Popen[str]) -> Result:
    result = Result(transport.value)
    with Sender(name, mapping=name, timeout=_TIMEOUT) as sender:
        for data in _payloads(transport):
            start = time.perf_counter()
            answer = sender.send(data, via=transport)
            result.seconds += time.perf_counter() - start
            result.messages += 1
            result.bytes += len(data)
            result.answers.append(answer)
            told = json.loads(_read_line(receiver) or "null")
            result.intact += told == _facts(transport, data)
    return result


def _print_results(results: list[Result], receiver_pid: int) -> None:
    print_line(f"sender pid {os.getpid()}, receiver pid {receiver_pid}")
    print_table(
        ("transport", "bytes", "intact", "ms", "answers"),
        [
            (
                result.transport,
                result.bytes,
                f"{result.intact}/{result.messages}",
                f"{result.seconds * 1000:.1f}",
                ", ".join(str(answer) for answer in sorted(set(result.answers))),
            )
            for result in results
        ],
        right=("bytes", "intact", "ms"),
    )
    passed = all(result.passed for result in results)
    print_line("all data arrived intact" if passed else "DATA WAS LOST OR CHANGED")
