"""What the tests of Mutex, Event and Semaphore share."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from helpers.deadlines import LONG
from winipc import Event, Mutex, Semaphore, wait_any

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.GetCurrentProcess.restype = ctypes.c_void_p
kernel32.CloseHandle.argtypes = [ctypes.c_void_p]

KINDS = [Mutex, Event, Semaphore]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def make() -> Iterator[Callable[..., Any]]:
    """`make(Kind, ...)` is `Kind.create(...)`, closed at the end of the test."""
    with ExitStack() as stack:

        def make(kind: Any, *args: Any, **kwargs: Any) -> Any:
            made = kind.create(*args, **kwargs)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def sync_peer(start_peer: Callable[..., Any]) -> Any:
    """A second process with winipc imported, waiting for lines."""
    peer = start_peer("sync_peer.py")
    peer.expect("ready")
    return peer


def ask(peer: Any, line: str) -> str:
    """Let the peer run one line; its answer."""
    peer.say(line)
    return str(peer.read_line())


def run_thread(function: Callable[[], object]) -> None:
    """Run function in a thread of its own to the end of that thread.

    A thread that has ended but not quite left the kernel still holds its
    mutexes; a join of Python waits only for its Python part.
    """
    ended: list[int] = []

    def main() -> None:
        kernel32.GetCurrentThread.restype = ctypes.c_void_p
        handle = ctypes.c_void_p()
        kernel32.DuplicateHandle(
            ctypes.c_void_p(kernel32.GetCurrentProcess()),
            ctypes.c_void_p(kernel32.GetCurrentThread()),
            ctypes.c_void_p(kernel32.GetCurrentProcess()),
            ctypes.byref(handle),
            0,
            0,
            2,
        )
        ended.append(handle.value or 0)
        function()

    thread = threading.Thread(target=main)
    thread.start()
    thread.join(LONG)
    wait_any(ended, LONG)
    kernel32.CloseHandle(ended[0])


@contextmanager
def held_elsewhere(lock: Any) -> Iterator[None]:
    """Another thread holds the lock in the block, and then ends without a release."""
    held, end = threading.Event(), threading.Event()

    def hold() -> None:
        lock.acquire()
        held.set()
        end.wait()

    holder = threading.Thread(target=run_thread, args=(hold,))
    holder.start()
    held.wait()
    try:
        yield
    finally:
        end.set()
        holder.join()
