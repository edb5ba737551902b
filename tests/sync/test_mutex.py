"""Mutex, alone and between processes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import pytest
from helpers.waitables import LONG, ask, run_thread

import winipc
from winipc import Mutex, SyncAccess


@pytest.mark.smoke
def test_mutex_excludes_another_process(
    make: Callable[..., Any], sync_peer: Any, unique_name: str
) -> None:
    """While one process holds it the other waits in vain; then it gets it."""
    mutex = make(Mutex, unique_name)
    assert ask(sync_peer, f"m = winipc.Mutex.open({unique_name!r})") == "ok"
    with mutex:
        assert mutex.held
        assert ask(sync_peer, "m.acquire(0.05)") == "False"
    assert not mutex.held
    assert ask(sync_peer, "m.acquire(5)") == "True"
    assert mutex.acquire(0.05) is False
    assert ask(sync_peer, "m.release()") == "None"
    assert mutex.acquire(LONG) is True
    mutex.release()


def test_killed_owner_leaves_the_mutex_abandoned(
    make: Callable[..., Any], sync_peer: Any, unique_name: str
) -> None:
    """The next owner is told, holds the mutex, and the one after is not told."""
    mutex = make(Mutex, unique_name)
    assert (
        ask(sync_peer, f"m = winipc.Mutex.open({unique_name!r}); m.acquire()") == "ok"
    )
    sync_peer.kill()
    with pytest.raises(winipc.AbandonedError, match="process or thread") as abandoned:
        mutex.acquire(LONG)
    assert abandoned.value.mutex is mutex
    assert abandoned.value.filename == unique_name
    assert abandoned.value.winerror == 735
    assert mutex.held
    assert mutex.abandoned
    mutex.release()
    assert not mutex.abandoned
    with mutex:
        assert not mutex.abandoned


def test_abandonment_can_be_accepted(make: Callable[..., Any]) -> None:
    """abandoned="accept" answers True, and the attribute tells until release."""
    mutex = make(Mutex)
    run_thread(mutex.acquire)
    assert mutex.acquire(0, abandoned="accept") is True
    assert mutex.abandoned
    mutex.release()
    assert not mutex.abandoned
    with pytest.raises(ValueError, match="'raise' or 'accept'"):
        mutex.acquire(abandoned="ignore")


def test_with_raises_on_an_abandoned_mutex_and_releases_it(
    make: Callable[..., Any],
) -> None:
    """No block follows that would release it, so it is free again, for any thread."""
    mutex = make(Mutex)
    run_thread(mutex.acquire)
    with pytest.raises(winipc.AbandonedError) as abandoned, mutex:
        pytest.fail("the block ran")
    assert abandoned.value.mutex is mutex
    assert abandoned.value.__notes__ == ["hint: lock(repair=...) mends it"]
    assert not mutex.held
    assert not mutex.abandoned
    taken: list[bool] = []
    run_thread(lambda: taken.append(mutex.acquire(0)))
    assert taken == [True]
    with pytest.raises(winipc.AbandonedError):
        mutex.acquire()
    assert mutex.held
    mutex.release()


def test_lock_repairs(make: Callable[..., Any]) -> None:
    """lock() calls repair while it holds the mutex, then runs the block."""
    mutex = make(Mutex)
    calls = []
    run_thread(mutex.acquire)
    with mutex.lock(LONG, repair=lambda held: calls.append(held.held)) as locked:
        assert locked is mutex
        assert mutex.held
    assert calls == [True]
    assert not mutex.held

    for repair in (None, lambda held: 1 // 0):
        run_thread(mutex.acquire)
        with (
            pytest.raises((winipc.AbandonedError, ZeroDivisionError)),
            mutex.lock(LONG, repair=repair),
        ):
            pytest.fail("the block ran")
        assert not mutex.held


def test_a_stack_holds_a_lock(make: Callable[..., Any]) -> None:
    """An ExitStack looks for methods in the class."""
    mutex = make(Mutex)
    with ExitStack() as stack:
        assert stack.enter_context(mutex.lock(LONG)) is mutex
        assert mutex.held
    assert not mutex.held


def test_lock_times_out(make: Callable[..., Any]) -> None:
    """lock() raises where acquire() answers False."""
    mutex = make(Mutex, owned=True)

    def attempt() -> None:
        with pytest.raises(TimeoutError) as late, mutex.lock(0.01):
            pytest.fail("the block ran")
        assert late.value.winerror == 1460

    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            attempt()
        except BaseException as error:
            failures.append(error)

    run_thread(guarded)
    assert not failures
    mutex.release()


class _Interrupted(Mutex):
    """Ctrl+C comes when `acquire` has taken the mutex, and once before that."""

    __slots__ = ()

    def acquire(self, timeout: float | None = None, abandoned: Any = "raise") -> bool:
        if self.held or super().acquire(timeout, abandoned):
            raise KeyboardInterrupt
        return False


def test_ctrl_c_leaves_no_mutex_held(unique_name: str) -> None:
    """Whether it comes before lock() has the mutex, after that, or at the end."""

    def interrupt(*_: object) -> None:
        sys.settrace(None)
        raise KeyboardInterrupt

    with closing(_Interrupted.create(unique_name)) as mutex:
        with pytest.raises(KeyboardInterrupt), mutex.lock(LONG):
            pass
        assert not mutex.held
        Mutex.acquire(mutex)
        with pytest.raises(KeyboardInterrupt), mutex.lock(LONG):
            pass
        assert mutex.held
        mutex.release()
        assert not mutex.held
    tracer = sys.gettrace()
    with closing(Mutex.create(unique_name)) as mutex:
        try:
            with mutex.lock(LONG):
                sys.settrace(interrupt)
        finally:
            sys.settrace(tracer)
        assert not mutex.held


def test_mutex_is_recursive(make: Callable[..., Any]) -> None:
    """Taken twice, it is free after the second release."""
    mutex = make(Mutex)
    answers: list[bool] = []
    with mutex:
        with mutex:
            pass
        run_thread(lambda: answers.append(mutex.acquire(0)))
    assert answers == [False]
    assert not mutex.held


def test_release_by_a_stranger_is_an_error(make: Callable[..., Any]) -> None:
    """Only the holder releases; others get 288, and it stays held."""
    mutex = make(Mutex)
    with pytest.raises(OSError, match="does not hold") as free:
        mutex.release()
    assert free.value.winerror == 288
    codes: list[int] = []

    def stranger() -> None:
        try:
            mutex.release()
        except OSError as error:
            codes.append(error.winerror)

    with mutex:
        run_thread(stranger)
    assert codes == [288]


def test_close_refuses_while_held(make: Callable[..., Any], unique_name: str) -> None:
    """A held mutex could never be released any more."""
    mutex = make(Mutex, unique_name, owned=True)
    with pytest.raises(BufferError, match="release it first"):
        mutex.close()
    errors: list[BaseException] = []

    def closer() -> None:
        try:
            mutex.close()
        except BufferError as error:
            errors.append(error)

    run_thread(closer)
    assert len(errors) == 1
    mutex.release()
    mutex.close()

    # Released through another object, or left by a dead thread: it may close.
    mutex = Mutex.create(unique_name, owned=True)
    with closing(Mutex.open(unique_name)) as other:
        other.release()
    mutex.close()
    mutex = Mutex.create()
    run_thread(mutex.acquire)
    mutex.close()


def test_close_refuses_while_held_without_the_right_to_ask(
    make: Callable[..., Any], unique_name: str
) -> None:
    """Where the kernel does not tell, it counts whether the thread lives."""
    make(Mutex, unique_name)
    access = SyncAccess.SYNCHRONIZE | SyncAccess.MODIFY_STATE
    mutex = Mutex.open(unique_name, access=access)
    taken, go = threading.Event(), threading.Event()

    def hold() -> None:
        with mutex:
            taken.set()
            go.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        taken.wait()
        with pytest.raises(BufferError, match="release it first"):
            mutex.close()
    finally:
        go.set()
        thread.join()
    run_thread(mutex.acquire)  # and leaves it
    mutex.close()


def test_forgotten_held_mutex_is_released(unique_name: str) -> None:
    """Otherwise it would be taken for as long as this thread lives."""
    with closing(Mutex.create(unique_name)) as mutex:
        held = Mutex.open(unique_name)
        held.acquire()
        held.acquire()
        with pytest.warns(ResourceWarning):
            del held
        answers: list[bool] = []
        run_thread(lambda: answers.append(mutex.acquire(0)) or mutex.release())
        assert answers == [True]


def test_owned_is_for_new_mutexes() -> None:
    """owned with exist_ok would not tell who holds it."""
    with pytest.raises(ValueError, match="owned=True"):
        Mutex.create("x", owned=True, exist_ok=True)
