"""Awaiting events, semaphores and mutexes in asyncio, on both of its loops."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import itertools
import queue
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from random import Random
from typing import Any

import pytest
from conftest import FULL, handle_count, keeps_handles
from helpers.waitables import LONG, kernel32, run_thread

import winipc
from winipc import Event, Mutex, Semaphore, SyncAccess, _core
from winipc.base import loop_wait

CANCELLATIONS = 5000 if FULL else 500
SHORT_TIMEOUTS = 500 if FULL else 40
#: How long a signal comes after a wait began, against each of ten cancellations.
PAUSES = range(30) if FULL else range(0, 30, 3)


@pytest.fixture(params=["Proactor", "Selector"])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine on a loop of this kind, with a deadline."""
    factory = getattr(asyncio, f"{request.param}EventLoop")

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async def limited() -> Any:
            return await asyncio.wait_for(coroutine, LONG)

        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(limited())

    return run


async def started(task: asyncio.Task[Any]) -> None:
    """Let a task run up to its wait."""
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()


@pytest.mark.smoke
def test_event_from_another_process(
    run: Callable[..., Any],
    make: Callable[..., Any],
    start_peer: Callable[..., Any],
    unique_name: str,
) -> None:
    """The task goes on when the peer sets the event; the loop runs meanwhile."""
    event = make(Event, unique_name)
    peer = start_peer("sync_peer.py")
    peer.expect("ready")

    async def main() -> int:
        ticks = 0
        task = asyncio.create_task(event.wait_async())
        await started(task)
        peer.say(f"winipc.Event.open({unique_name!r}).set()")
        while not task.done():
            ticks += 1
            await asyncio.sleep(0.001)
        assert task.result() is True
        return ticks

    assert run(main()) > 0
    assert not event.is_set()
    peer.expect("None")


def test_ready_at_once(run: Callable[..., Any], make: Callable[..., Any]) -> None:
    """What is free is taken without a thread, once."""
    event = make(Event, initial=True)
    semaphore = make(Semaphore, None, 1)

    async def main() -> list[bool]:
        return [
            await event.wait_async(0),
            await event.wait_async(0),
            await semaphore.acquire_async(LONG),
            await semaphore.acquire_async(0),
        ]

    assert run(main()) == [True, False, True, False]


def test_timeout_is_false(run: Callable[..., Any], make: Callable[..., Any]) -> None:
    """And the object may be closed at once."""
    event = make(Event)

    async def main() -> None:
        assert await event.wait_async(0.05) is False
        event.close()
        with pytest.raises(ValueError, match="is closed"):
            await event.wait_async()

    run(main())


@pytest.mark.parametrize("bad", [-1, float("nan")], ids=str)
def test_bad_timeout(bad: float, make: Callable[..., Any]) -> None:
    """As in the waits that block."""
    event = make(Event)
    with pytest.raises(ValueError, match="timeout"):
        asyncio.run(event.wait_async(bad))


def test_each_signal_wakes_one_task(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """Tasks that wait for the same auto-reset event go in the order they came."""
    event = make(Event)
    order: list[int] = []

    async def waiter(number: int) -> None:
        assert await event.wait_async()
        order.append(number)

    async def main() -> None:
        tasks = []
        for number in range(5):
            tasks.append(asyncio.create_task(waiter(number)))
            await asyncio.sleep(0)
        for number in range(5):
            event.set()
            while len(order) <= number:
                await asyncio.sleep(0.001)
            assert order == list(range(number + 1))
        await asyncio.gather(*tasks)

    run(main())
    assert not event.is_set()


def test_manual_event_wakes_all(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """Every task that waits goes on."""
    event = make(Event, manual=True)

    async def main() -> list[bool]:
        tasks = [asyncio.create_task(event.wait_async()) for _ in range(10)]
        await started(tasks[-1])
        event.set()
        return await asyncio.gather(*tasks)

    assert run(main()) == [True] * 10
    assert event.is_set()


def test_two_hundred_objects(run: Callable[..., Any], make: Callable[..., Any]) -> None:
    """More than one thread can wait for; each task gets its own."""
    events = [make(Event) for _ in range(200)]

    async def main() -> None:
        tasks = [asyncio.create_task(event.wait_async()) for event in events]
        await started(tasks[-1])
        for at in range(0, 200, 7):
            events[at].set()
            assert await asyncio.wait_for(tasks[at], LONG)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for event in events:
            event.close()

    run(main())


def test_close_is_refused_while_a_task_waits(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """And works as soon as the task has been cancelled."""
    event = make(Event)

    async def main() -> None:
        task = asyncio.create_task(event.wait_async())
        await started(task)
        with pytest.raises(BufferError, match="in use"):
            event.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        event.close()

    run(main())


def test_nothing_is_left_when_no_thread_can_start(
    run: Callable[..., Any],
    make: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The handles are closed, and the objects are free."""
    event, mutex = make(Event), make(Mutex)

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def once() -> None:
        with pytest.raises(RuntimeError, match="start"):
            await event.wait_async()
        with pytest.raises(RuntimeError, match="start"):
            async with mutex.lock_async():
                pass
        gc.collect()

    with monkeypatch.context() as patch:
        patch.setattr(loop_wait, "_sets", [])
        patch.setattr(threading.Thread, "start", fail)
        assert not keeps_handles(lambda: run(once()))
    event.close()
    mutex.close()


@pytest.mark.parametrize("kind", ["event", "semaphore"])
def test_cancellation_loses_no_signal(
    kind: str, run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """However close signal and cancellation are, the signal is still there after.

    A thread signals while the loop cancels, at moments that move against each
    other: before the wait, while the thread has it, when the task is already to
    be resumed.
    """
    if kind == "event":
        made = make(Event)
        signal, wait = made.set, made.wait_async
        take = lambda: made.wait(0)  # noqa: E731
    else:
        made = make(Semaphore, None, 0)
        signal, wait = made.release, made.acquire_async
        take = lambda: made.acquire(0)  # noqa: E731
    outcomes = {True: 0, False: 0}

    async def main() -> None:
        for turns, pause in itertools.product(range(10), PAUSES):
            task = asyncio.create_task(wait())
            await asyncio.sleep(0)
            begin = threading.Event()

            def later(begin: threading.Event = begin, pause: int = pause) -> None:
                begin.wait(LONG)
                for _ in range(pause * 40):
                    pass
                signal()

            thread = threading.Thread(target=later)
            thread.start()
            begin.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            try:
                got = await task
            except asyncio.CancelledError:
                got = False
            thread.join(LONG)
            outcomes[got] += 1
            assert take() is not got, f"{turns} turns, pause {pause}"
            assert not take()

    run(main())
    assert outcomes[False] > 0


def test_cancelled_after_it_was_taken(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """The thread has taken it and told the loop; the task is cancelled all the same."""
    event = make(Event)

    async def main() -> None:
        task = asyncio.create_task(event.wait_async())
        await started(task)
        event.set()
        deadline = time.monotonic() + LONG
        while event.is_set():  # blocks the loop: it cannot resume the task
            assert time.monotonic() < deadline
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert event.wait(0)

    run(main())


def test_cancellation_that_cannot_give_back(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """A binary semaphore was posted again after it was taken for the task.

    The cancelled task gets CancelledError, and the next waits go on.
    """
    semaphore, event = make(Semaphore, None, 0, 1), make(Event)

    async def main() -> None:
        for _ in range(20):
            task = asyncio.create_task(semaphore.acquire_async())
            await started(task)
            semaphore.release()
            deadline = time.monotonic() + LONG
            while semaphore.value:  # blocks the loop: it cannot resume the task
                assert time.monotonic() < deadline
            semaphore.release()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert task.cancelled()
            assert semaphore.value == 1
            assert semaphore.acquire(0)
        task = asyncio.create_task(event.wait_async())
        await started(task)
        event.set()
        assert await task

    run(main())


def test_full_semaphore_and_short_timeouts(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """A producer keeps a binary semaphore full; tasks that give up end no thread."""
    semaphore, event, stop = make(Semaphore, None, 0, 1), make(Event), threading.Event()

    def produce() -> None:
        while not stop.is_set():
            with suppress(OSError):  # full
                semaphore.release()

    producer = threading.Thread(target=produce)

    async def main() -> None:
        producer.start()
        try:
            for round_number in range(SHORT_TIMEOUTS):
                while semaphore.acquire(0):
                    pass
                await semaphore.acquire_async(round_number % 5 / 2000)
        finally:
            stop.set()
            producer.join()
        task = asyncio.create_task(event.wait_async())
        await started(task)
        event.set()
        assert await task

    run(main())


@pytest.mark.parametrize("loop", ["Proactor", "Selector"])
def test_random_cancellations(loop: str, make: Callable[..., Any]) -> None:
    """Cancellations against signals: nothing is taken twice, nothing lost.

    What was posted is what tasks took and what is left, for each semaphore; and
    a cancelled task ends with CancelledError and nothing else.
    """
    random = Random(loop)
    semaphores = [make(Semaphore, None, 0) for _ in range(8)]
    posted, taken = [0] * 8, [0] * 8
    outcomes = {"taken": 0, "cancelled": 0}
    posts: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def post() -> None:
        while (at := posts.get()) is not None:
            semaphores[at].release()

    async def main() -> None:
        for _ in range(CANCELLATIONS):
            at = random.randrange(8)
            task = asyncio.create_task(semaphores[at].acquire_async())
            for _ in range(random.randrange(3)):
                await asyncio.sleep(0)
            if random.random() < 0.5:
                posted[at] += 1
                posts.put(at)
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            task.cancel()
            try:
                assert await task is True
            except asyncio.CancelledError:
                outcomes["cancelled"] += 1
            else:
                taken[at] += 1
                outcomes["taken"] += 1

    poster = threading.Thread(target=post)
    poster.start()
    try:
        factory = getattr(asyncio, f"{loop}EventLoop")
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
    finally:
        posts.put(None)
        poster.join()
    left = [semaphore.value for semaphore in semaphores]
    assert [a + b for a, b in zip(taken, left, strict=True)] == posted
    assert min(outcomes.values()) > CANCELLATIONS // 50, outcomes


@pytest.mark.parametrize("loop", ["Proactor", "Selector"])
def test_loops_closed_in_the_middle(loop: str, make: Callable[..., Any]) -> None:
    """What is taken for tasks of a closed loop is given back, also a full one."""
    semaphores = [make(Semaphore, None, 0, 1) for _ in range(20)]
    closed = getattr(asyncio, f"{loop}EventLoop")()
    tasks = [
        closed.create_task(semaphore.acquire_async())
        for semaphore in semaphores
        for _ in range(3)
    ]
    closed.run_until_complete(asyncio.sleep(0))
    closed.close()
    for semaphore in semaphores:
        semaphore.release()

    async def take(semaphore: Semaphore) -> bool:
        return await semaphore.acquire_async(LONG)

    async def main() -> list[bool]:
        return await asyncio.gather(*map(take, semaphores))

    assert asyncio.run(main()) == [True] * 20
    for task in tasks:
        task._log_destroy_pending = False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            task.get_coro().close()
    assert [semaphore.value for semaphore in semaphores] == [0] * 20
    assert not any(semaphore._pins for semaphore in semaphores)


@pytest.mark.parametrize("loop", ["Proactor", "Selector"])
def test_a_loop_that_is_dropped_in_the_middle_goes(
    loop: str, make: Callable[..., Any]
) -> None:
    """And its tasks with it, which end their waits; nothing else holds them."""
    event = make(Event)
    closed = getattr(asyncio, f"{loop}EventLoop")()
    task = closed.create_task(event.wait_async())
    closed.run_until_complete(asyncio.sleep(0))
    assert event._pins
    closed.close()
    gone = weakref.ref(closed)
    task._log_destroy_pending = False
    del task, closed
    gc.collect()
    assert gone() is None
    assert not event._pins


def test_handle_that_is_closed_under_a_wait(make: Callable[..., Any]) -> None:
    """The waits for it fail; the other waits of the same thread go on."""
    create = ctypes.WinDLL("kernel32").CreateEventW
    create.restype = ctypes.c_void_p
    handle = create(None, False, False, None)
    event, later = make(Event), make(Event)

    async def main() -> None:
        good = asyncio.create_task(event.wait_async())
        bad = asyncio.create_task(loop_wait.wait_handle(handle))
        await started(bad)
        await settled()
        _core._close_handle(handle)
        # The thread looks at its handles again when another comes.
        other = asyncio.create_task(later.wait_async())
        with pytest.raises(OSError, match=f"handle {handle}") as dead:
            await bad
        assert dead.value.winerror == 6
        event.set()
        later.set()
        assert await asyncio.gather(good, other) == [True, True]

    asyncio.run(main())


def test_notification_that_raises(make: Callable[..., Any]) -> None:
    """What was taken goes back, and the thread goes on."""
    event, other = make(Event), make(Event)
    waits: list[_core.LoopWait] = []
    loop_wait.begin_wait(event, lambda: 1 / 0, waits)
    event.set()
    assert event.wait(LONG)
    assert _core._end_waits(waits, True) is None
    assert asyncio.run(ready_later(other))


def test_a_thread_keeps_nothing_of_a_wait_that_is_over(
    make: Callable[..., Any],
) -> None:
    """Though it goes on, and nothing else happens: it could keep a loop alive."""
    event, other = make(Event), make(Event)
    called = threading.Event()
    waits: list[_core.LoopWait] = []
    rest: list[_core.LoopWait] = []

    def notify() -> None:
        called.set()

    loop_wait.begin_wait(other, lambda: None, rest)  # so that the thread stays
    loop_wait.begin_wait(event, notify, waits)
    event.set()
    assert called.wait(LONG)
    assert _core._end_waits(waits, True) is not None
    waits.clear()
    gone = weakref.ref(notify)
    del notify
    deadline = time.monotonic() + LONG
    while gone() is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    _core._end_waits(rest, False)


def test_a_set_that_stops_takes_no_more(make: Callable[..., Any]) -> None:
    """And nothing of what it refused stays in it."""
    event, waits = make(Event), _core.WaitSet()
    assert waits.stop()
    ended: list[_core.LoopWait] = []
    assert not waits.add(event, print, ended, False)
    assert not waits.add(event, print, ended, True)
    assert waits.take(0) is None
    assert ended == []
    event.close()


async def ready_later(event: Event) -> bool:
    """Await an event that is set after the wait began."""
    task = asyncio.create_task(event.wait_async(LONG))
    await started(task)
    event.set()
    return await task


def test_handles_that_can_be_awaited(make: Callable[..., Any], sync_peer: Any) -> None:
    """A process, with no right but to wait for it; no mutex."""
    handle = ctypes.c_void_p()
    kernel32.DuplicateHandle(
        ctypes.c_void_p(kernel32.GetCurrentProcess()),
        ctypes.c_void_p(int(sync_peer.process._handle)),
        ctypes.c_void_p(kernel32.GetCurrentProcess()),
        ctypes.byref(handle),
        SyncAccess.SYNCHRONIZE,
        0,
        0,
    )
    mutex = make(Mutex, owned=True)

    def with_mutex() -> None:
        with pytest.raises(PermissionError, match="not for a mutex"):
            asyncio.run(loop_wait.wait_handle(mutex.handle, LONG))

    async def main() -> None:
        task = asyncio.create_task(loop_wait.wait_handle(handle.value or 0))
        await started(task)
        sync_peer.kill()
        assert await asyncio.wait_for(task, LONG)

    asyncio.run(main())
    kernel32.CloseHandle(handle.value)
    run_thread(with_mutex)
    mutex.release()


def test_loop_closed_under_a_wait(make: Callable[..., Any]) -> None:
    """A task that is never resumed does not swallow the signal."""
    event = make(Event)
    loop = asyncio.new_event_loop()
    task = loop.create_task(event.wait_async())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    event.set()
    deadline = time.monotonic() + LONG
    while not event.wait(0.05):
        assert time.monotonic() < deadline
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        task.get_coro().close()
        del task
        gc.collect()
    event.close()


def turns() -> int:
    """How often the threads have come out of their sleep."""
    return sum(waits.turns for waits in loop_wait._sets)


async def settled() -> int:
    """The turns, as soon as the threads sleep on all that was begun."""
    before = -1
    while before != (before := turns()):
        await asyncio.sleep(0.1)
    return before


def test_a_thousand_waits_cost_nothing(
    run: Callable[..., Any],
    make: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No thread per task; while nothing happens no thread wakes, nor the loop."""
    events = [make(Event) for _ in range(1000)]

    async def main() -> None:
        before = threading.active_count()
        tasks = [asyncio.create_task(event.wait_async()) for event in events]
        await started(tasks[-1])
        assert threading.active_count() - before <= 16
        # Threads of earlier tests may end meanwhile, one turn for each.
        idle = await settled()
        loop = asyncio.get_running_loop()
        calls: list[object] = []
        monkeypatch.setattr(loop, "call_soon_threadsafe", calls.append)
        await asyncio.sleep(1)
        assert turns() <= idle
        assert not calls
        monkeypatch.undo()
        for event in events:
            event.set()
        assert await asyncio.gather(*tasks) == [True] * 1000

    run(main())


def test_a_wait_asks_few_sets(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many waits there are: each set is asked for room once in 63 waits."""
    asked: list[bool] = []

    class Counted:
        def __init__(self) -> None:
            self.waits = WaitSet()

        def add(self, target: Event, notify: object, waits: Any, known: bool) -> bool:
            asked.append(known)
            return self.waits.add(target, lambda: None, waits, known)

        def take(self, idle: float) -> Any:
            return self.waits.take(idle)

        def stop(self, only_idle: bool) -> bool:
            return self.waits.stop(only_idle)

    WaitSet = _core.WaitSet
    monkeypatch.setattr(_core, "WaitSet", Counted)
    monkeypatch.setattr(loop_wait, "_sets", {})
    monkeypatch.setattr(loop_wait, "_homes", {})
    monkeypatch.setattr(loop_wait, "_guests", {})
    monkeypatch.setattr(loop_wait, "_LINGER", 0.05)
    events = [make(Event) for _ in range(630)]
    waits: list[_core.LoopWait] = []
    for event in events:
        loop_wait.begin_wait(event, lambda: None, waits)
    # Each once; and once in 63, when the newest set is full, all the others.
    assert len(asked) == 630 + sum(range(10))
    del asked[:]
    for event in events:
        loop_wait.begin_wait(event, lambda: None, waits)
    assert asked == [True] * 630
    _core._end_waits(waits, False)
    deadline = time.monotonic() + LONG
    while loop_wait._sets:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not loop_wait._homes
    assert not loop_wait._guests


def test_threads_end_when_idle(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread with nothing to wait for ends and closes what it has."""
    monkeypatch.setattr(loop_wait, "_LINGER", 0.05)
    event = make(Event)
    assert asyncio.run(event.wait_async(0.01)) is False
    deadline = time.monotonic() + LONG
    # One that began to linger before this test does so for its old time.
    while loop_wait._sets:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    threading.Timer(0.05, event.set).start()
    assert asyncio.run(event.wait_async(LONG)) is True


def test_a_sub_interpreter_ends_with_a_wait_pending() -> None:
    """Its thread ends first, or Python would end the whole process."""
    pytest.importorskip("_interpreters")
    code = """if True:
        import winipc
        from winipc.base.loop_wait import begin_wait
        event = winipc.Event.create()
        begin_wait(event, print, [])
    """
    program = f"""if True:
        import _interpreters
        number = _interpreters.create("legacy")
        assert _interpreters.exec(number, {code!r}) is None
        _interpreters.destroy(number)
        print("alive")
    """
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=LONG
    )
    assert (done.returncode, done.stdout.strip()) == (0, "alive"), done.stderr


def test_a_mutex_is_refused_whether_it_is_free_or_not(
    make: Callable[..., Any],
) -> None:
    """A task cannot own one: the loop's thread would."""
    mutex = make(Mutex)

    async def main() -> None:
        with pytest.raises(PermissionError):
            await loop_wait.wait_handle(mutex.handle)

    asyncio.run(main())
    assert not mutex.held


def test_rights_that_a_cancellation_needs(
    make: Callable[..., Any], unique_name: str
) -> None:
    """Without them a signal could be lost, so it is refused."""
    make(Event, unique_name)
    with (
        closing(Event.open(unique_name, access=SyncAccess.SYNCHRONIZE)) as event,
        pytest.raises(PermissionError, match="MODIFY_STATE") as refused,
    ):
        asyncio.run(event.wait_async(1))
    assert refused.value.filename == unique_name
    assert "asyncio.to_thread" in refused.value.__notes__[0]


def test_semaphore_as_async_context(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """`async with semaphore` takes one and gives it back."""
    semaphore = make(Semaphore, None, 1)
    inside = 0

    async def worker() -> None:
        nonlocal inside
        async with semaphore:
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.01)
            inside -= 1

    async def main() -> None:
        await asyncio.gather(*(worker() for _ in range(5)))

    run(main())
    assert semaphore.value == 1


# -------------------------------------------------------------------- Mutex


def test_mutex_excludes_tasks_and_processes(
    run: Callable[..., Any],
    make: Callable[..., Any],
    start_peer: Callable[..., Any],
    unique_name: str,
) -> None:
    """In the block nobody else has it: no other task, no other process."""
    mutex = make(Mutex, unique_name)
    peer = start_peer("sync_peer.py")
    peer.expect("ready")
    peer.say(f"m = winipc.Mutex.open({unique_name!r})")
    peer.expect("ok")
    inside = 0

    async def worker() -> None:
        nonlocal inside
        async with mutex.lock_async() as held:
            assert held is mutex
            assert not mutex.held
            assert repr(mutex).endswith("held elsewhere>")
            inside += 1
            assert inside == 1
            peer.say("m.acquire(0)")
            assert await asyncio.to_thread(peer.read_line) == "False"
            inside -= 1

    async def main() -> None:
        await asyncio.gather(*(worker() for _ in range(3)))

    run(main())
    peer.say("m.acquire(5) and m.release()")
    peer.expect("None")


def test_mutex_timeout_and_cancellation(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """Neither leaves the mutex taken."""
    mutex = make(Mutex, owned=True)

    async def attempt(timeout: float | None) -> None:
        async with mutex.lock_async(timeout):
            pytest.fail("the block ran")

    async def main() -> None:
        with pytest.raises(TimeoutError) as late:
            await attempt(0.05)
        assert late.value.winerror == 1460
        task = asyncio.create_task(attempt(None))
        await started(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    mutex.release()
    mutex.close()


def abandon(mutex: Mutex) -> None:
    """Let a thread end while it holds the mutex."""
    thread = threading.Thread(target=mutex.acquire)
    thread.start()
    thread.join(LONG)


def test_abandoned_mutex_in_a_task(
    run: Callable[..., Any], make: Callable[..., Any]
) -> None:
    """AbandonedError without `repair`, and the block with it."""
    mutex = make(Mutex)
    repaired = []

    async def main() -> None:
        abandon(mutex)
        with pytest.raises(winipc.AbandonedError):
            async with mutex.lock_async():
                pytest.fail("the block ran")
        abandon(mutex)
        async with mutex.lock_async(LONG, repair=repaired.append):
            assert repaired == [mutex]

    run(main())
    with mutex:
        assert not mutex.abandoned


def test_cancelled_task_passes_abandonment_on(make: Callable[..., Any]) -> None:
    """The news that a cancelled task did not get goes to the next one."""
    mutex = make(Mutex)
    taken = threading.Event()
    leave = threading.Event()

    def owner() -> None:
        mutex.acquire()
        taken.set()
        leave.wait(LONG)

    thread = threading.Thread(target=owner)
    thread.start()
    taken.wait(LONG)

    async def main() -> None:
        async def attempt() -> None:
            async with mutex.lock_async():
                pytest.fail("the block ran")

        task = asyncio.create_task(attempt())
        await started(task)
        leave.set()
        thread.join(LONG)
        deadline = time.monotonic() + LONG
        while not mutex.abandoned:  # blocks the loop: it cannot tell the task
            assert time.monotonic() < deadline
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    with pytest.raises(winipc.AbandonedError):
        mutex.acquire(LONG)
    mutex.release()


def test_handles_are_flat(make: Callable[..., Any]) -> None:
    """Hundreds of awaits and locks leave none behind."""
    event = make(Event)
    mutex = make(Mutex)

    async def main(rounds: int) -> int:
        for _ in range(rounds):
            task = asyncio.create_task(event.wait_async())
            await asyncio.sleep(0)
            event.set()
            assert await task
            assert not await event.wait_async(0.0001)
            async with mutex.lock_async():
                pass
        gc.collect()
        return handle_count()

    async def both() -> tuple[int, int]:
        return await main(10), await main(100)

    before, after = asyncio.run(both())
    assert after <= before + 3
