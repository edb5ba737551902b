"""What every test may use: unique names, and peers on the other side.

A peer is a second process. It prints a line when it is ready, so that no test
sleeps; every wait has a deadline; every peer is reaped; and a failing test
shows what its peers wrote to standard error.
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import c_peers
import pytest
from hypothesis import HealthCheck, settings

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


class Peer:
    """A process on the other side, spoken to line by line."""

    def __init__(self, argv: list[str]) -> None:
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="backslashreplace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"},
        )
        self.pid = self.process.pid
        self.stderr: list[str] = []
        self._stderr_grew = threading.Condition()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._pump_stdout, daemon=True),
            threading.Thread(target=self._pump_stderr, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _pump_stdout(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)

    def _pump_stderr(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._stderr_grew:
                self.stderr.append(line)
                self._stderr_grew.notify_all()

    def read_line(self, timeout: float = DEADLINE) -> str:
        """The next line that the peer prints."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(
                f"peer silent for {timeout} s:\n{self.report()}"
            ) from None
        if line is None:
            raise AssertionError(f"peer ended early:\n{self.report()}")
        return line

    def expect(self, text: str, timeout: float = DEADLINE) -> None:
        """Fail unless the next line is `text`."""
        line = self.read_line(timeout)
        assert line == text, f"peer said {line!r}, not {text!r}\n{self.report()}"

    def say(self, text: str) -> None:
        """Send one line to the peer's standard input."""
        self.say_bytes(text.encode())

    def say_bytes(self, line: bytes) -> None:
        """Send one line that need not be UTF-8."""
        assert self.process.stdin is not None
        self.process.stdin.buffer.write(line + b"\n")
        self.process.stdin.flush()

    def wait_for_stderr(self, text: str, timeout: float = DEADLINE) -> None:
        """Wait until the peer has written a line with `text` to standard error."""
        with self._stderr_grew:
            if not self._stderr_grew.wait_for(
                lambda: any(text in line for line in self.stderr), timeout
            ):
                raise AssertionError(f"{text!r} not seen:\n{self.report()}")

    def kill(self) -> None:
        """TerminateProcess, and wait until it is gone."""
        self.process.kill()
        self.process.wait(DEADLINE)

    def finish(self, timeout: float = DEADLINE) -> int:
        """Close its input, wait for its end and return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(timeout)

    def report(self) -> str:
        """What the peer wrote to standard error."""
        return "".join(self.stderr) or "(nothing on standard error)"

    def reap(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)
        for thread in self._threads:
            thread.join(DEADLINE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):  # died with unread input
                    stream.close()


@pytest.fixture
def unique_name() -> str:
    """A name that no other test, run or program uses."""
    return f"winipc-test-{uuid.uuid4().hex}"


@pytest.fixture
def start_process() -> Iterator[Callable[[list[str]], Peer]]:
    """Start a process with these arguments; it is reaped at the end."""
    peers: list[Peer] = []

    def start(argv: list[str]) -> Peer:
        peers.append(Peer(argv))
        return peers[-1]

    yield start
    for peer in peers:
        peer.reap()
        if peer.stderr:
            print(f"--- standard error of peer {peer.pid}\n{peer.report()}")


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
