"""Mutex, Event, Semaphore, wait_any and wait_all, alone and between processes."""

from __future__ import annotations

import ctypes
import gc
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from itertools import permutations
from typing import Any

import pytest
from conftest import handle_count, interrupted

import winipc
from winipc import Event, Mutex, Semaphore, SyncAccess, wait_all, wait_any

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
kernel32.GetCurrentProcess.restype = ctypes.c_void_p
kernel32.CloseHandle.argtypes = [ctypes.c_void_p]

#: Seconds that only something broken takes.
LONG = 30.0

KINDS = [Mutex, Event, Semaphore]
each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Closes what a test makes."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def make(stack: ExitStack) -> Callable[..., Any]:
    """`make(Kind, ...)` is `Kind.create(...)`, closed at the end of the test."""

    def make(kind: Any, *args: Any, **kwargs: Any) -> Any:
        made = kind.create(*args, **kwargs)
        stack.callback(made.close)
        return made

    return make


@pytest.fixture
def peer(start_peer: Callable[..., Any]) -> Any:
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


# ------------------------------------------------------------ names and life


@pytest.mark.smoke
@each_kind
def test_create_is_exclusive_and_open_never_creates(
    kind: Any, make: Callable[..., Any], unique_name: str
) -> None:
    """create refuses a taken name, exist_ok opens it, open refuses a free one."""
    with pytest.raises(FileNotFoundError) as missing:
        kind.open(unique_name)
    assert missing.value.winerror == 2
    assert missing.value.filename == unique_name

    first = make(kind, unique_name)
    assert first.created
    assert first.name == unique_name
    with pytest.raises(FileExistsError) as taken:
        kind.create(unique_name)
    assert taken.value.winerror == 183
    second = make(kind, unique_name, exist_ok=True)
    assert not second.created
    with closing(kind.open(unique_name)) as opened:
        assert not opened.created
        assert opened.handle not in (first.handle, second.handle)


@each_kind
def test_name_goes_with_its_last_handle(kind: Any, unique_name: str) -> None:
    """A name is free again once everybody has closed the object."""
    first = kind.create(unique_name)
    second = kind.open(unique_name)
    first.close()
    kind.open(unique_name).close()
    second.close()
    with pytest.raises(FileNotFoundError):
        kind.open(unique_name)


@pytest.mark.parametrize(
    ("kind", "other"), list(permutations(KINDS, 2)), ids=lambda kind: kind.__name__
)
def test_name_of_another_kind_is_its_own_error(
    kind: Any, other: Any, make: Callable[..., Any], unique_name: str
) -> None:
    """The error says that the name belongs to an object of another kind."""
    make(other, unique_name)
    for attempt in (kind.open, kind.create):
        with pytest.raises(OSError, match="object of another kind") as wrong:
            attempt(unique_name)
        assert wrong.value.winerror == 6


@each_kind
def test_prefixes_of_names(
    kind: Any, make: Callable[..., Any], unique_name: str
) -> None:
    """`X` and `Local\\X` are one object, `Global\\X` is another."""
    make(kind, rf"Local\{unique_name}")
    kind.open(unique_name).close()
    with pytest.raises(FileNotFoundError):
        kind.open(rf"Global\{unique_name}")
    try:
        make(kind, rf"Global\{unique_name}")
    except PermissionError:
        pytest.skip("this user may not make global names")
    kind.open(rf"Global\{unique_name}").close()


@each_kind
def test_names_that_windows_refuses(kind: Any, unique_name: str) -> None:
    """A further backslash, an empty name, a NUL and a number are clear errors."""
    with pytest.raises(FileNotFoundError) as backslash:
        kind.create(rf"Local\a\{unique_name}")
    assert backslash.value.winerror == 3
    assert "backslash" in backslash.value.__notes__[0]
    with pytest.raises(ValueError, match="empty"):
        kind.create("")
    with pytest.raises(ValueError, match="null character"):
        kind.open("a\0b")
    with pytest.raises(TypeError):
        kind.open(None)
    with pytest.raises(TypeError):
        kind.create(5)


@each_kind
def test_close_is_idempotent_and_ends_all_use(kind: Any, unique_name: str) -> None:
    """A second close does nothing; everything else says that it is closed."""
    closed = kind.create(unique_name)
    closed.close()
    closed.close()
    assert closed.closed
    assert "closed" in repr(closed)
    uses: list[Callable[[], object]] = [
        lambda: closed.handle,
        lambda: wait_any([closed], 0),
        lambda: wait_all([closed], 0),
        lambda: closed.duplicate_to(1),
    ]
    if kind is Event:
        uses += [closed.set, closed.reset, closed.is_set, closed.wait]
    else:
        uses += [closed.acquire, closed.release, closed.__enter__]
    for use in uses:
        with pytest.raises(ValueError, match="is closed"):
            use()


@each_kind
def test_no_plain_constructor(kind: Any) -> None:
    """Objects come from create, open and from_handle only."""
    with pytest.raises(TypeError, match="class methods"):
        kind()


@each_kind
def test_forgotten_object_warns_and_is_closed(kind: Any) -> None:
    """Garbage collection closes the handle and says so."""
    before = handle_count()
    made = kind.create()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del made
    assert handle_count() <= before


@each_kind
def test_ten_thousand_rounds_leave_no_handle(kind: Any) -> None:
    """Handle count stays where it was."""
    name = f"winipc-test-{uuid.uuid4().hex}"
    kind.create(name).close()
    before = handle_count()
    for _ in range(10_000):
        kind.create(name).close()
    assert handle_count() <= before


@each_kind
def test_two_threads_closing_at_once(kind: Any) -> None:
    """The handle is closed once, whoever comes first."""
    before = handle_count()
    for _ in range(100):
        made = kind.create()
        barrier = threading.Barrier(2)

        def close(made: Any = made, barrier: threading.Barrier = barrier) -> None:
            barrier.wait(LONG)
            made.close()

        threads = [threading.Thread(target=close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
        assert made.closed
    gc.collect()
    assert handle_count() <= before + 2


def test_wait_for_a_name(make: Callable[..., Any], unique_name: str) -> None:
    """wait_for opens the object as soon as it is there, or says that it is not."""
    with pytest.raises(TimeoutError) as late:
        Event.wait_for(unique_name, 0.05)
    assert late.value.winerror == 1460
    assert late.value.filename == unique_name
    timer = threading.Timer(0.05, lambda: make(Event, unique_name))
    timer.start()
    Event.wait_for(unique_name, LONG).close()
    timer.join(LONG)


def test_least_rights(make: Callable[..., Any], unique_name: str) -> None:
    """A handle that may only wait can neither set nor ask."""
    event = make(Event, unique_name, manual=True)
    with closing(Event.open(unique_name, access=SyncAccess.SYNCHRONIZE)) as waiter:
        assert not waiter.wait(0)
        with pytest.raises(PermissionError):
            waiter.set()
        with pytest.raises(PermissionError):
            waiter.is_set()
        assert waiter.manual is None
        event.set()
        assert waiter.wait(LONG)


# -------------------------------------------------------------------- Mutex


@pytest.mark.smoke
def test_mutex_excludes_another_process(
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """While one process holds it the other waits in vain; then it gets it."""
    mutex = make(Mutex, unique_name)
    assert ask(peer, f"m = winipc.Mutex.open({unique_name!r})") == "ok"
    with mutex:
        assert mutex.held
        assert ask(peer, "m.acquire(0.05)") == "False"
    assert not mutex.held
    assert ask(peer, "m.acquire(5)") == "True"
    assert mutex.acquire(0.05) is False
    assert ask(peer, "m.release()") == "None"
    assert mutex.acquire(LONG) is True
    mutex.release()


def test_killed_owner_leaves_the_mutex_abandoned(
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """The next owner is told, holds the mutex, and the one after is not told."""
    mutex = make(Mutex, unique_name)
    assert ask(peer, f"m = winipc.Mutex.open({unique_name!r}); m.acquire()") == "ok"
    peer.kill()
    with pytest.raises(winipc.AbandonedError) as abandoned:
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


# -------------------------------------------------------------------- Event


@pytest.mark.smoke
def test_event_wakes_another_process(
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """Both directions: the peer waits for us, and we for the peer."""
    there = make(Event, unique_name)
    back = make(Event, unique_name + "-back")
    ask(peer, f"there = winipc.Event.open({unique_name!r})")
    ask(peer, f"back = winipc.Event.open({unique_name + '-back'!r})")
    peer.say("there.wait(30) and back.set()")
    there.set()
    assert back.wait(LONG)
    peer.expect("None")
    assert not there.is_set()
    assert not back.is_set()


def test_auto_event_lets_one_go_manual_all(make: Callable[..., Any]) -> None:
    """An auto-reset event is consumed by a wait, a manual-reset one is not."""
    auto = make(Event)
    manual = make(Event, manual=True)
    assert auto.manual is False
    assert manual.manual is True
    auto.set()
    auto.set()
    assert auto.is_set()
    assert auto.wait(0)
    assert not auto.wait(0)
    manual.set()
    assert manual.wait(0)
    assert manual.wait(timeout=0)
    assert manual.is_set()
    manual.reset()
    assert not manual.wait(0)
    assert make(Event, initial=True).wait(0)


def test_event_of_the_other_reset_is_refused(
    make: Callable[..., Any], unique_name: str
) -> None:
    """exist_ok does not paper over a different kind of event."""
    make(Event, unique_name, manual=True)
    with pytest.raises(ValueError, match="is a manual-reset event"):
        Event.create(unique_name, exist_ok=True)
    with closing(Event.open(unique_name)) as opened:
        assert opened.manual is True


def test_with_closes_an_event() -> None:
    """An event has nothing to take, so `with` closes it."""
    with Event.create() as event:
        assert not event.closed
    assert event.closed


# ---------------------------------------------------------------- Semaphore


@pytest.mark.smoke
def test_semaphore_counts_between_processes(
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """What the peer takes is gone here; what we give it gets."""
    semaphore = make(Semaphore, unique_name, 2, 3)
    assert ask(peer, f"s = winipc.Semaphore.open({unique_name!r})") == "ok"
    assert ask(peer, "s.acquire(0), s.value, s.maximum") == "(True, 1, 3)"
    with semaphore:
        assert semaphore.value == 0
        assert ask(peer, "s.acquire(0.01)") == "False"
    assert ask(peer, "s.acquire(5)") == "True"
    assert semaphore.acquire(0.01) is False
    assert semaphore.release(2) == 0
    assert semaphore.value == 2


def test_semaphore_keeps_its_maximum(make: Callable[..., Any]) -> None:
    """Too large a release adds nothing."""
    semaphore = make(Semaphore, None, 1, 2)
    with pytest.raises(OSError, match="maximum") as over:
        semaphore.release(2)
    assert over.value.winerror == 298
    assert semaphore.value == 1
    for bad in (0, -1, 2**31):
        with pytest.raises((ValueError, OverflowError)):
            semaphore.release(bad)
    for initial, maximum in ((3, 2), (0, 0), (-1, 5), (1, 2**31)):
        with pytest.raises((ValueError, OverflowError)):
            Semaphore.create(None, initial, maximum)


def test_dead_taker_gives_nothing_back(
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """Unlike a mutex, a semaphore belongs to nobody; the count stays taken."""
    semaphore = make(Semaphore, unique_name, 1)
    assert ask(peer, f"winipc.Semaphore.open({unique_name!r}).acquire(0)") == "True"
    peer.kill()
    assert semaphore.acquire(0.01) is False


# ------------------------------------------------------------------ waiting


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
    make: Callable[..., Any], peer: Any, unique_name: str
) -> None:
    """A signal goes to the living: a waiter that was killed is out of the queue."""
    event = make(Event, unique_name)
    entering = make(Event, unique_name + "-entering")
    ask(peer, f"e = winipc.Event.open({unique_name!r})")
    ask(peer, f"n = winipc.Event.open({unique_name + '-entering'!r})")
    peer.say("n.set(); e.wait()")
    assert entering.wait(LONG)
    peer.kill()
    event.set()
    assert event.wait(0)


# ------------------------------------------------------- wait_any, wait_all

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
    before = handle_count()
    for _ in range(50):
        with pytest.raises(TimeoutError):
            wait_any(events, 0.001)
    assert handle_count() <= before


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
        with pytest.raises(ValueError, match="1 to"):
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
    make: Callable[..., Any], peer: Any
) -> None:
    """A handle's number goes too: the end of a peer ends the wait."""
    event = make(Event)
    process = int(peer.process._handle)
    with pytest.raises(TimeoutError):
        wait_any([event, process], 0.02)
    peer.kill()
    assert wait_any([event, process], LONG) == process


# ---------------------------------------------------- travelling by handle


@each_kind
def test_duplicate_to_a_process(kind: Any, make: Callable[..., Any], peer: Any) -> None:
    """The peer adopts the number; it lives on after the first one closes."""
    made = make(kind, None)
    before = handle_count()
    for target in (peer.pid, peer.process):
        number = made.duplicate_to(target)
        name = f"winipc.{kind.__name__}"
        assert ask(peer, f"x = {name}.from_handle({number}, name='theirs')") == "ok"
        assert ask(peer, "x.handle, x.name") == repr((number, "theirs"))
    assert handle_count() <= before
    if kind is Event:
        assert ask(peer, "x.set()") == "None"
        assert made.wait(0)
    elif kind is Semaphore:
        assert ask(peer, "x.release()") == "1"
        assert made.value == 2
    else:
        assert ask(peer, "x.acquire()") == "True"
        assert made.acquire(0) is False


@each_kind
def test_from_handle_refuses_another_kind(kind: Any, make: Callable[..., Any]) -> None:
    """The kernel is asked; a refused handle stays the caller's."""
    for other in KINDS:
        if other is kind:
            continue
        made = make(other)
        with pytest.raises(TypeError, match=f"not that of a {kind.__name__.lower()}"):
            kind.from_handle(made.handle)
        assert made.handle  # still open
    with pytest.raises(OSError, match=r"handle") as dead:
        kind.from_handle(0x7FFFFFF0)
    assert dead.value.winerror == 6
    for bad in (0, -1, 2**64):
        with pytest.raises((ValueError, OverflowError)):
            kind.from_handle(bad)


def test_duplicate_to_nobody(make: Callable[..., Any]) -> None:
    """No such process is ProcessLookupError."""
    event = make(Event)
    with pytest.raises(ProcessLookupError) as nobody:
        event.duplicate_to(0x7FFFFFF0)
    assert nobody.value.winerror == 87


def test_pickle_by_name(make: Callable[..., Any], unique_name: str) -> None:
    """A named object is opened by its name; others need multiprocessing."""
    for kind in KINDS:
        made = make(kind, f"{unique_name}-{kind.__name__}")
        with closing(pickle.loads(pickle.dumps(made))) as copy:
            assert type(copy) is kind
            assert copy.name == made.name
            assert not copy.created
        with pytest.raises(TypeError, match="unnamed"):
            pickle.dumps(make(kind))
        made.close()
        with pytest.raises(ValueError, match="closed"):
            pickle.dumps(made)


def test_multiprocessing(start_peer: Callable[..., Any], unique_name: str) -> None:
    """Unnamed objects reach spawned processes, pool workers and executors."""
    peer = start_peer("sync_mp.py", unique_name)
    peer.expect("ok", timeout=120)
    assert peer.finish() == 0
