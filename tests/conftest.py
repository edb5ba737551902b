"""What every test may use: unique names, and peers on the other side.

A peer is a second process. It prints a line when it is ready, so that no test
sleeps; every wait has a deadline; every peer is reaped; and a failing test
shows what its peers wrote to standard error.
"""

from __future__ import annotations

import _thread
import _winapi
import ctypes
import faulthandler
import gc
import itertools
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.c_peers import c_peer_path
from helpers.c_target import me, process, target, targets  # noqa: F401 - fixtures
from helpers.channels import pair  # noqa: F401 - a fixture
from helpers.deadlines import DEADLINE
from helpers.inner_runs import inner  # noqa: F401 - a fixture
from helpers.linux_file import linux_file  # noqa: F401 - a fixture
from helpers.waitables import make, sync_peer  # noqa: F401 - fixtures
from hypothesis import HealthCheck, settings

import winipc
from winipc import _core
from winipc.testing import Peer

#: For Linux, where ./dev test --linux and --browser run them.
collect_ignore = ["browser", "linux"]

#: What CreateProcess fails with when Wine loses a process before its first
#: instruction: one start in some thousand on a busy machine, whatever is started.
ERROR_INTERNAL_ERROR = 1359

#: The command lines of processes that were started again.
lost_starts: list[str] = []

#: Seconds that Python may take to end after the last test.
EXIT_DEADLINE = DEADLINE

#: `./dev test --full`: all the rounds of what is random or a matter of time.
FULL = bool(os.environ.get("WINIPC_TEST_FULL"))

settings.register_profile(
    "default",
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "thorough", parent=settings.get_profile("default"), max_examples=2000
)
settings.load_profile("thorough" if FULL else "default")


def pytest_sessionstart() -> None:
    """Have a desktop before a test starts a program that needs one.

    Under Wine the first such program starts the desktop's explorer.exe, which keeps the
    program's standard output open: who reads that to its end would wait forever.
    """
    winipc.find_window("winipc: no window has this title")


def pytest_collection_finish() -> None:
    """Leave what lives to the end out of collections, which take 0.1 s each with it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def patient_process_starts() -> Iterator[None]:
    """Start a process again that Wine lost; nothing of it ran, so nothing is hidden.

    subprocess and multiprocessing both look the function up where it is replaced.
    """
    if _core._wine_version() is None:
        yield
        return
    create = _winapi.CreateProcess

    def create_process(*args: Any) -> Any:
        for _ in range(3):
            try:
                return create(*args)
            except OSError as error:
                if error.winerror != ERROR_INTERNAL_ERROR:
                    raise
                lost_starts.append(str(args[1]))
        return create(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_winapi, "CreateProcess", create_process)
        yield


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for command in lost_starts:
        terminalreporter.write_line(f"Wine lost a process, started again: {command}")


def pytest_unconfigure() -> None:
    """End a run that is over, with the stacks, when a failed test left a thread."""
    faulthandler.dump_traceback_later(EXIT_DEADLINE, exit=True, file=sys.__stderr__)


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
    """Start `tests/*/peers/<script>` (Python) or a C peer (`*.exe`) with arguments."""

    def start(script: str, *args: object) -> Peer:
        if script.endswith(".exe"):
            argv = [str(c_peer_path(script))]
        else:
            # Without site-packages, which no peer needs: it starts much sooner.
            argv = [sys.executable, "-S", str(peer_script(script))]
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


def handle_count() -> int:
    """How many handles this process has.

    From the list of all handles: GetProcessHandleCount says 0 under Wine, always.
    """
    ntdll = ctypes.WinDLL("ntdll")
    room = 1 << 20
    while True:
        buffer = (ctypes.c_size_t * (room // ctypes.sizeof(ctypes.c_size_t)))()
        status = ntdll.NtQuerySystemInformation(
            64, buffer, ctypes.c_ulong(room), None
        )  # SystemExtendedHandleInformation
        if status & 0xFFFFFFFF != 0xC0000004:  # STATUS_INFO_LENGTH_MISMATCH
            break
        room *= 2
    assert status == 0, hex(status & 0xFFFFFFFF)
    # A head of two words; then the object, the process, the handle and 16 bytes, each.
    words = 3 + 16 // ctypes.sizeof(ctypes.c_size_t)
    owners = buffer[3 : 2 + words * buffer[0] : words]
    count = owners.count(os.getpid())
    assert count > 0
    return count


def keeps_handles(call: Callable[[], object]) -> bool:
    """Whether each of three calls leaves this process with more handles.

    Other threads have handles for a moment, as one that waits for a peer's line has.
    """
    counts = [handle_count()]
    for _ in range(3):
        call()
        counts.append(handle_count())
    return all(less < more for less, more in itertools.pairwise(counts))


def interrupted(call: Callable[[], object]) -> None:
    """Ctrl+C ends the call.

    The timer starts within pytest.raises: on a busy machine it may fire at once.
    """
    timer = threading.Timer(0.2, _thread.interrupt_main)

    def start_and_call() -> None:
        timer.start()
        call()

    with pytest.raises(KeyboardInterrupt):
        start_and_call()
    timer.join()


def peer_script(name: str) -> Path:
    """A peer in Python, in the folder of its subject."""
    (path,) = Path(__file__).parent.glob(f"*/peers/{name}")
    return path
