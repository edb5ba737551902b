"""Waits: time-outs, Ctrl+C, wait_any and wait_all."""

from __future__ import annotations

import _thread
import ctypes
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random
from types import FrameType
from typing import Any

import pytest
from conftest import interrupted, keeps_handles
from helpers.waitables import LONG, ask, each_kind, run_thread

import winipc
from winipc import Event, Mutex, Semaphore, wait_all, wait_any


@each_kind
def test_close_during_a_wait_is_refused(kind: Any, make: Callable[..., Any]) -> None:
    """The handle's number could be another object's at once."""
    if kind is Event:
        made = make(Event)
        wait, end = made.wait, made.set
    elif kind is Semaphore:
        made = make(Semaphore, None, 0)
        wait, end = made.acquire, made.release
    else:
        made = make(Mutex, owned=True)
        wait, end = (
            (lambda timeout: made.acquire(timeout) and made.release()),
            made.release,
        )
    thread = threading.Thread(target=wait, args=(LONG,))
    thread.start()
    deadline = time.monotonic() + LONG
    while made._pins == 0:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with pytest.raises(BufferError, match=r"in use by 1 wait\(s\)"):
        made.close()
    end()
    thread.join(LONG)
    assert not thread.is_alive()
    made.close()


def test_more_interrupts_in_the_clean_up_lose_nothing(make: Callable[..., Any]) -> None:
    """Ctrl+C, and again and again while a wait for many ends: all signals are there."""
    semaphores = [make(Semaphore, None, 0) for _ in range(70)]
    rng = Random(5)
    raised = 0

    def raise_in_waits(_number: int, frame: FrameType | None) -> None:
        nonlocal raised
        # Before it has taken one: after that, as in every acquire, it comes too late.
        if frame is not None and frame.f_locals.get("keep") is False:
            raised += 1
            raise KeyboardInterrupt

    def storm() -> None:
        while semaphores[-1]._pins == 0 and not ended.is_set():
            time.sleep(0)
        for _ in range(3):
            _thread.interrupt_main()
        rng.choice(semaphores).release()
        while not ended.is_set():
            _thread.interrupt_main()
            time.sleep(0)

    before = signal.signal(signal.SIGINT, raise_in_waits)
    try:
        for _ in range(30):
            ended = threading.Event()
            thread = threading.Thread(target=storm)
            thread.start()
            taken = None  # or all interrupts came before the wait
            with suppress(KeyboardInterrupt):
                taken = wait_any(semaphores, LONG)
            ended.set()
            thread.join(LONG)
            assert (taken or wait_any(semaphores, LONG)).value == 0
            assert not any(semaphore._pins for semaphore in semaphores)
    finally:
        signal.signal(signal.SIGINT, before)
    assert raised > 30


@pytest.mark.parametrize("bad", [-1, float("nan"), "1"], ids=str)
def test_bad_timeouts(bad: Any, make: Callable[..., Any]) -> None:
    """Negative, NaN and text are errors, not waits."""
    event = make(Event)
    for call in (event.wait, lambda timeout: wait_any([event], timeout)):
        with pytest.raises((ValueError, TypeError)):
            call(bad)
    with pytest.raises(TypeError):
        event.wait(1, 2)
    with pytest.raises(TypeError):
        event.wait(nonsense=1)


def test_float_timeout_that_closes_the_object() -> None:
    """The timeout's conversion runs Python code; the handle is looked at after."""
    event = Event.create()

    class Closing:
        def __float__(self) -> float:
            event.close()
            return 1.0

    with pytest.raises(ValueError, match="is closed"):
        event.wait(Closing())  # type: ignore[arg-type]


def test_timeout_is_kept(make: Callable[..., Any]) -> None:
    """A wait ends no earlier than asked (but for the clock's tick)."""
    event = make(Event)
    for call in (event.wait, lambda timeout: wait_any([event, make(Event)], timeout)):
        begin = time.perf_counter()
        with suppress(TimeoutError):
            assert call(0.25) is False
        assert 0.2 < time.perf_counter() - begin < LONG


@pytest.mark.parametrize(
    "wait", ["event.wait()", "mutex.acquire()", "any", "all", "many"]
)
def test_ctrl_c_interrupts(wait: str, make: Callable[..., Any]) -> None:
    """KeyboardInterrupt ends each kind of wait, and nothing stays in use."""
    event = make(Event)
    mutex = make(Mutex)
    events = [make(Event) for _ in range(100)]
    entered = threading.Event()
    done = threading.Event()

    def hold() -> None:
        mutex.acquire()
        entered.set()
        done.wait(LONG)
        mutex.release()

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(LONG)
    calls: dict[str, Callable[[], object]] = {
        "event.wait()": lambda: event.wait(LONG),
        "mutex.acquire()": lambda: mutex.acquire(LONG),
        "any": lambda: wait_any([event, mutex], LONG),
        "all": lambda: wait_all([event, mutex], LONG),
        "many": lambda: wait_any(events, LONG),
    }
    begin = time.monotonic()
    interrupted(calls[wait])
    assert time.monotonic() - begin < LONG / 2
    done.set()
    holder.join(LONG)
    event.close()
    for one in events:
        one.close()


def test_killed_waiter_takes_nothing(
    make: Callable[..., Any], sync_peer: Any, unique_name: str
) -> None:
    """A signal goes to the living: a waiter that was killed is out of the queue."""
    event = make(Event, unique_name)
    entering = make(Event, unique_name + "-entering")
    ask(sync_peer, f"e = winipc.Event.open({unique_name!r})")
    ask(sync_peer, f"n = winipc.Event.open({unique_name + '-entering'!r})")
    sync_peer.say("n.set(); e.wait()")
    assert entering.wait(LONG)
    sync_peer.kill()
    event.set()
    assert event.wait(0)


COUNTS = [1, 2, 63, 64, 65, 100, 200]


@pytest.mark.smoke
@pytest.mark.parametrize("count", COUNTS)
def test_wait_any_takes_exactly_one(count: int, make: Callable[..., Any]) -> None:
    """It returns the first that is set, and leaves the others as they are."""
    events = [make(Event) for _ in range(count)]
    with pytest.raises(TimeoutError) as late:
        wait_any(events, 0.02)
    assert late.value.winerror == 1460
    for at in {0, count // 2, count - 1}:
        events[at].set()
        assert wait_any(events, 0) is events[at]
    chosen = {count - 1, count // 2}
    for at in chosen:
        events[at].set()
    assert wait_any(events, LONG) is events[min(chosen)]
    assert sum(event.is_set() for event in events) == len(chosen) - 1


@pytest.mark.parametrize("count", COUNTS)
def test_wait_any_sees_a_later_signal(count: int, make: Callable[..., Any]) -> None:
    """Whichever of the threads waits for it."""
    events = [make(Event) for _ in range(count)]
    for at in {0, count // 2, count - 1}:
        timer = threading.Timer(0.02, events[at].set)
        timer.start()
        assert wait_any(events, LONG) is events[at]
        timer.join(LONG)
        assert not events[at].is_set()


def test_wait_any_gives_back_what_came_second(make: Callable[..., Any]) -> None:
    """Signals that arrive together are lost neither from events nor semaphores."""
    events = [make(Event) for _ in range(150)]
    semaphores = [make(Semaphore, None, 0) for _ in range(150)]
    objects: list[Any] = [*events, *semaphores]
    signalled = [*events[::10], *semaphores[::10]]
    for _ in range(20):
        start = threading.Barrier(3)

        def signal(part: list[Any], start: threading.Barrier = start) -> None:
            start.wait(LONG)
            for one in part:
                one.set() if isinstance(one, Event) else one.release()

        threads = [
            threading.Thread(target=signal, args=(signalled[half::2],))
            for half in (0, 1)
        ]
        for thread in threads:
            thread.start()
        start.wait(LONG)
        taken = [wait_any(objects, LONG)]
        for thread in threads:
            thread.join(LONG)
        for _ in signalled[1:]:
            taken.append(wait_any(objects, 0))
        assert {id(one) for one in taken} == {id(one) for one in signalled}
        with pytest.raises(TimeoutError):
            wait_any(objects, 0)


def test_wait_any_leaves_no_thread_and_no_handle(make: Callable[..., Any]) -> None:
    """Its helpers are gone when it returns."""
    events = [make(Event) for _ in range(200)]
    with pytest.raises(TimeoutError):
        wait_any(events, 0.01)

    def rounds() -> None:
        for _ in range(20):
            with pytest.raises(TimeoutError):
                wait_any(events, 0.001)

    assert not keeps_handles(rounds)


@pytest.mark.parametrize("count", [3, 64, 100])
def test_wait_any_takes_a_mutex_for_its_caller(
    count: int, make: Callable[..., Any]
) -> None:
    """However many objects there are, the calling thread is the owner."""
    objects: list[Any] = [make(Event) for _ in range(count - 1)]
    mutex = make(Mutex)
    objects.append(mutex)
    entered = threading.Event()
    leave = threading.Event()

    def hold() -> None:
        with mutex:
            entered.set()
            leave.wait(LONG)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(LONG)
    timer = threading.Timer(0.05, leave.set)
    timer.start()
    assert wait_any(objects, LONG) is mutex
    assert mutex.held
    mutex.release()
    thread.join(LONG)
    timer.join(LONG)


@pytest.mark.parametrize("count", [3, 64, 100])
def test_waits_tell_of_an_abandoned_mutex(count: int, make: Callable[..., Any]) -> None:
    """wait_any and wait_all raise, and the caller holds it."""
    events = [make(Event) for _ in range(count - 1)]
    mutex = make(Mutex)
    run_thread(mutex.acquire)
    with pytest.raises(winipc.AbandonedError) as abandoned:
        wait_any([*events, mutex], LONG)
    assert abandoned.value.mutex is mutex
    assert mutex.held
    mutex.release()
    run_thread(mutex.acquire)
    for event in events:
        event.set()
    with pytest.raises(winipc.AbandonedError):
        wait_all([mutex, *events], LONG)
    assert mutex.held
    assert mutex.abandoned
    assert not any(event.is_set() for event in events)
    mutex.release()


def test_wait_all_keeps_count_of_a_mutex_that_is_held(make: Callable[..., Any]) -> None:
    """Another one was abandoned; ours is held once more and not marked."""
    ours, other = make(Mutex), make(Mutex)
    ours.acquire()
    ours.acquire()
    run_thread(other.acquire)
    with pytest.raises(winipc.AbandonedError) as abandoned:
        wait_all([ours, other], LONG)
    assert abandoned.value.mutex is other
    assert other.abandoned
    assert not ours.abandoned
    other.release()
    for _ in range(3):
        assert ours.held
        ours.release()
    assert not ours.held


@pytest.mark.parametrize("wait", [wait_any, wait_all])
def test_waits_tell_of_an_abandoned_handle_number(
    wait: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """A mutex by number has no object, but its state is as doubtful."""
    mutex = make(Mutex)
    run_thread(mutex.acquire)
    number = mutex.handle
    with pytest.raises(winipc.AbandonedError, match="handle") as abandoned:
        wait([number], LONG)
    assert abandoned.value.winerror == 735
    assert abandoned.value.mutex in (number, None)
    kernel32 = ctypes.WinDLL("kernel32")
    assert kernel32.ReleaseMutex(ctypes.c_void_p(number))


@pytest.mark.parametrize("count", COUNTS)
def test_wait_all_takes_all_or_nothing(count: int, make: Callable[..., Any]) -> None:
    """With one missing nothing is consumed; with all of them everything is."""
    events = [make(Event, initial=True) for _ in range(count)]
    for at in {0, count // 2, count - 1}:
        events[at].reset()
        with pytest.raises(TimeoutError) as late:
            wait_all(events, 0.02)
        assert late.value.winerror == 1460
        assert sum(event.is_set() for event in events) == count - 1
        events[at].set()
    events[-1].reset()
    timer = threading.Timer(0.02, events[-1].set)
    timer.start()
    wait_all(events, LONG)
    timer.join(LONG)
    assert not any(event.is_set() for event in events)


def test_wait_all_of_many_kinds(make: Callable[..., Any]) -> None:
    """Mutexes are held, semaphores counted down, events reset; or none of it."""
    mutexes = [make(Mutex) for _ in range(50)]
    semaphores = [make(Semaphore, None, 3) for _ in range(50)]
    events = [make(Event, initial=True) for _ in range(50)]
    manual = make(Event, manual=True, initial=True)
    objects = [*mutexes, *semaphores, *events, manual]
    events[7].reset()
    with pytest.raises(TimeoutError):
        wait_all(objects, 0.02)
    assert not any(mutex.held for mutex in mutexes)
    assert {semaphore.value for semaphore in semaphores} == {3}
    assert sum(event.is_set() for event in events) == 49
    events[7].set()
    wait_all(objects, LONG)
    assert all(mutex.held for mutex in mutexes)
    assert {semaphore.value for semaphore in semaphores} == {2}
    assert not any(event.is_set() for event in events)
    assert manual.is_set()
    for mutex in mutexes:
        mutex.release()


def test_waits_refuse_what_makes_no_sense(make: Callable[..., Any]) -> None:
    """Nothing, the same twice, foreign objects, too many mutexes."""
    event = make(Event)
    for wait in (wait_any, wait_all):
        with pytest.raises(ValueError, match="no object to wait for"):
            wait([], 0)
        with pytest.raises(ValueError, match="twice"):
            wait([event, event], 0)
        with pytest.raises(TypeError):
            wait([event, "x"], 0)
        with pytest.raises(ValueError, match="not a handle"):
            wait([0], 0)
        with pytest.raises(OSError, match=r"handle") as dead:
            wait([0x7FFFFFF0], 0)
        assert dead.value.winerror == 6
    mutexes = [make(Mutex) for _ in range(100)]
    with pytest.raises(ValueError, match="at most 64 mutexes"):
        wait_all(mutexes, 0)
    for mutex in mutexes:
        mutex.acquire()
    failures: list[str] = []

    def other() -> None:
        try:
            wait_any(mutexes, 0.01)
        except ValueError as error:
            failures.append(str(error))

    run_thread(other)
    assert "at most 63 mutexes" in failures[0]
    for mutex in mutexes:
        mutex.release()
        mutex.close()
    event.close()


def test_wait_any_of_an_event_and_a_process(
    make: Callable[..., Any], sync_peer: Any
) -> None:
    """A handle's number goes too: the end of a peer ends the wait."""
    event = make(Event)
    process = int(sync_peer.process._handle)
    with pytest.raises(TimeoutError):
        wait_any([event, process], 0.02)
    sync_peer.kill()
    assert wait_any([event, process], LONG) == process
