"""What a peer started ends with it, however it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DEADLINE
from helpers.inner_runs import run

import winipc
from winipc.testing import Peer

pytest_plugins = ["pytester"]

#: Starts a process that would outlive it, says its number, and waits.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
sys.stdin.read()
child.returncode = 0  # it is not waited for
"""
ARGV = [sys.executable, "-c", PARENT]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda peer: peer.kill(), id="killed"),
        pytest.param(lambda peer: peer.finish(), id="finished"),
        pytest.param(
            lambda peer: (peer.process.kill(), peer.wait()), id="killed by another"
        ),
        pytest.param(lambda peer: peer.reap(), id="reaped"),
    ],
)
def test_a_peer_that_ends_takes_its_children_along(
    end: Callable[[Peer], object],
) -> None:
    with (
        Peer(ARGV, timeout=DEADLINE) as peer,
        winipc.RemoteProcess.open(int(peer.read_line())) as child,
    ):
        end(peer)
        assert not child.alive


def test_a_peer_that_the_test_does_not_wait_for_takes_them_along() -> None:
    with (
        Peer(ARGV, timeout=DEADLINE) as peer,
        winipc.RemoteProcess.open(int(peer.read_line())) as child,
    ):
        peer.process.kill()
        child.wait(DEADLINE)


def test_children_of_a_launcher_live_until_the_reap() -> None:
    """Also when it is killed alone; `kill` ends all."""
    for kill in (False, True):
        with Peer(ARGV, launcher=True, timeout=DEADLINE) as peer:
            child = winipc.RemoteProcess.open(int(peer.read_line()))
            if kill:
                peer.process.kill()
                peer.wait()
            else:
                assert peer.finish() == 0
            assert child.alive
        assert not child.alive
        child.close()
    with (
        Peer(ARGV, launcher=True, timeout=DEADLINE) as peer,
        winipc.RemoteProcess.open(int(peer.read_line())) as child,
    ):
        peer.kill()
        assert not child.alive


def test_children_of_children_end_with_a_test_that_fails(
    inner: pytest.Pytester,
) -> None:
    """Also within a job of the peer's own."""
    grandparent = f"""
import sys
from winipc.testing import Peer
with Peer([sys.executable, "-c", {PARENT!r}]) as peer:
    print(peer.pid, peer.read_line(), flush=True)
    sys.stdin.read()
"""
    run(
        inner,
        f"""
alive = []

def test_fails(winipc_peer):
    peer = winipc_peer(sys.executable, "-c", {grandparent!r})
    pids = [peer.pid, *map(int, peer.read_line().split())]
    alive.extend(map(winipc.RemoteProcess.open, pids))
    assert alive == []

def test_gone():
    for process in alive:
        with process:
            assert not process.alive
    assert len(alive) == 3
""",
        passed=1,
        failed=1,
    )


def test_peers_end_with_a_pytest_that_is_killed(tmp_path: Path) -> None:
    """With no chance to clean up."""
    (tmp_path / "test_it.py").write_text(
        f"""
import sys

def test_it(winipc_peer, capsys):
    peer = winipc_peer(sys.executable, "-c", {PARENT!r})
    with capsys.disabled():
        print("\\npids", peer.pid, peer.read_line(), flush=True)
    peer.wait()
"""
    )
    # Not a Peer, whose job would be what ends the tree.
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as pytest_process:
        assert pytest_process.stdout is not None
        for line in pytest_process.stdout:
            if line.startswith("pids "):
                break
        pids = [int(pid) for pid in line.removeprefix("pids ").split()]
        processes = [winipc.RemoteProcess.open(pid) for pid in pids]
        assert len(processes) == 2
        pytest_process.kill()
        for process in processes:
            with process:
                process.wait(DEADLINE)


def test_all_that_a_peer_printed_is_there_when_it_has_ended() -> None:
    with (
        Peer([sys.executable, "-c", "print('last')"], timeout=DEADLINE) as peer,
        peer._grew,  # its readers cannot go on until `finish` waits for them
    ):
        assert peer.finish() == 0
        assert peer.stdout == ["last\n"]
