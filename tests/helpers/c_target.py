"""tests/process/peers/target.c, a process whose memory is known, spoken to by name.

The fixtures `target`, `process`, which is opened, and `me`, this very process, are
for every test.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from helpers.c_peers import c_peer_path
from winipc import ProcessAccess, RemoteProcess


class Target:
    """The program, which answers each line with a line."""

    def __init__(self, peer: object) -> None:
        self.peer = peer
        self.pid = peer.pid
        peer.expect("ready")

    def ask(self, line: str) -> str:
        self.peer.say(line)
        return self.peer.read_line()

    def where(self, name: str) -> int:
        return int(self.ask(f"where {name}"), 16)

    def peek(self, address: int, size: int) -> bytes:
        return bytes.fromhex(self.ask(f"peek {address:x} {size}"))

    def alloc(self, size: int) -> int:
        return int(self.ask(f"alloc {size}"), 16)

    def free(self, address: int) -> None:
        assert self.ask(f"free {address:x}") == "ok"

    def protect(self, address: int, size: int, protection: int) -> None:
        assert self.ask(f"protect {address:x} {size} {protection:x}") == "ok"

    def exit(self, code: int = 0) -> None:
        self.peer.say(f"exit {code}")
        self.peer.process.wait(60)


@pytest.fixture
def target(start_peer: Callable[..., object]) -> Target:
    """A fresh target process."""
    return Target(start_peer("target.exe"))


@pytest.fixture(scope="module")
def targets(winipc_peer_factory: Callable[..., Any]) -> Iterator[Callable[[], Target]]:
    """Gives the target of the test before, unless that has ended it.

    For a module whose tests look at what they allocate and at what is known; a test
    that changes what is known ends the target.
    """
    path = str(c_peer_path("target.exe"))
    with contextlib.ExitStack() as peers:
        kept: list[Target] = []

        def give() -> Target:
            if not kept or kept[-1].peer.process.poll() is not None:
                peer = winipc_peer_factory(path)
                kept.append(Target(peers.enter_context(peer)))
            return kept[-1]

        yield give


@pytest.fixture
def process(target: Target) -> Iterator[RemoteProcess]:
    """The target, opened for reading and writing."""
    with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
        yield process


@pytest.fixture
def me() -> Iterator[RemoteProcess]:
    """This very process."""
    with RemoteProcess.open(os.getpid(), access=ProcessAccess.WRITE) as process:
        yield process
