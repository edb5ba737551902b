"""What every test may use: unique names, and peers on the other side.

A peer is a second process. It prints a line when it is ready, so that no test
sleeps; every wait has a deadline; every peer is reaped; and a failing test
shows what its peers wrote to standard error.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import c_peers
import pytest
from hypothesis import HealthCheck, settings

from winipc.testing import Peer

PEERS = Path(__file__).parent / "peers"

#: Seconds after which a peer that says nothing is taken for broken. Generous:
#: only a broken peer ever waits this long.
DEADLINE = 60.0

settings.register_profile(
    "default", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "thorough", parent=settings.get_profile("default"), max_examples=2000
)
settings.load_profile(os.environ.get("WINIPC_HYPOTHESIS", "default"))


@pytest.fixture
def unique_name() -> str:
    """A name that no other test, run or program uses."""
    return f"winipc-test-{uuid.uuid4().hex}"


@pytest.fixture
def start_process() -> Iterator[Callable[[list[str]], Peer]]:
    """Start a process with these arguments; it is reaped at the end."""
    peers: list[Peer] = []

    def start(argv: list[str]) -> Peer:
        peers.append(Peer(argv, timeout=DEADLINE))
        return peers[-1]

    yield start
    for peer in peers:
        peer.reap()
        if peer.stderr:
            print(f"{peer}\n{peer.report()}")


@pytest.fixture
def start_peer(start_process: Callable[[list[str]], Peer]) -> Callable[..., Peer]:
    """Start `tests/peers/<script>` (Python) or a C peer (`*.exe`) with arguments."""

    def start(script: str, *args: object) -> Peer:
        if script.endswith(".exe"):
            argv = [str(c_peer_path(script))]
        else:
            argv = [sys.executable, str(PEERS / script)]
        return start_process([*argv, *(str(arg) for arg in args)])

    return start


@pytest.fixture
def start_winipc(start_process: Callable[[list[str]], Peer]) -> Callable[..., Peer]:
    """Start `python -m winipc` with arguments."""

    def start(*args: object) -> Peer:
        return start_process(
            [sys.executable, "-m", "winipc", *(str(arg) for arg in args)]
        )

    return start


def c_peer_path(name: str) -> Path:
    """A built C peer: from the folder WINIPC_PEERS, else built here, once."""
    folder = os.environ.get("WINIPC_PEERS")
    if folder is not None:
        path = Path(folder) / name
        assert path.exists(), f"C peer {path} is not built"
        return path
    path = Path(__file__).parents[1] / "build" / "peers" / name
    if not path.exists():
        c_peers.build(path.stem, path.parent)
    return path
