"""What Mutex, Event and Semaphore share: names, life, travelling by handle."""

from __future__ import annotations

import gc
import pickle
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from itertools import permutations
from typing import Any

import pytest
from conftest import FULL, handle_count, keeps_handles
from helpers.waitables import KINDS, LONG, ask, each_kind

from winipc import Event, Mutex, Semaphore, SyncAccess, wait_all, wait_any


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
    assert taken.value.__notes__ == ["hint: exist_ok=True opens the one that exists"]
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


def test_reprs_tell_the_state(unique_name: str) -> None:
    """As Windows has it now; without the right to ask they say that it is open."""
    with Event.create(f"{unique_name}-e", manual=True) as event:
        assert repr(event) == f"<Event '{unique_name}-e' not set, manual reset>"
        event.set()
        assert "-e' set, manual reset>" in repr(event)
        with Event.open(f"{unique_name}-e", access=SyncAccess.MODIFY_STATE) as blind:
            assert "-e' open>" in repr(blind)
    with Mutex.create(unique_name) as mutex:
        assert mutex.held
        assert repr(mutex).endswith("' held>")
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.extend([mutex.held, repr(mutex)]))
        thread.start()
        thread.join(LONG)
        assert seen == [False, f"<Mutex '{unique_name}' held elsewhere>"]
        with closing(Mutex.open(unique_name)) as other:
            assert (other.held, repr(other)) == (False, seen[1])
            other.release()  # the mutex is free, whoever released it
        assert not mutex.held
        assert repr(mutex).endswith("' free>")
        mutex.acquire()
    mutex.close()
    with Semaphore.create(initial=2, maximum=5) as semaphore:
        assert repr(semaphore) == "<Semaphore None 1 of 5>"
    semaphore.close()


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

    def once() -> None:
        made = kind.create()
        with pytest.warns(ResourceWarning, match="unclosed"):
            del made

    assert not keeps_handles(once)


@each_kind
def test_thousands_of_rounds_leave_no_handle(kind: Any) -> None:
    """Handle count stays where it was."""
    name = f"winipc-test-{uuid.uuid4().hex}"
    kind.create(name).close()
    before = handle_count()
    for _ in range(10_000 if FULL else 2000):
        kind.create(name).close()
    assert handle_count() <= before + 2


@each_kind
def test_two_threads_closing_at_once(kind: Any) -> None:
    """The handle is closed once, whoever comes first."""
    before = handle_count()
    for _ in range(100 if FULL else 40):
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
    # Before Python 3.13 their locks have handles.
    del barrier, close, thread, threads
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


@each_kind
def test_duplicate_to_a_process(
    kind: Any, make: Callable[..., Any], sync_peer: Any
) -> None:
    """The peer adopts the number; it lives on after the first one closes."""
    made = make(kind, None)

    def once() -> None:
        for target in (sync_peer.pid, sync_peer.process):
            number = made.duplicate_to(target)
            adopt = f"winipc.{kind.__name__}.from_handle({number}, name='theirs')"
            assert ask(sync_peer, f"x = {adopt}") == "ok"
            assert ask(sync_peer, "x.handle, x.name") == repr((number, "theirs"))

    assert not keeps_handles(once)
    if kind is Event:
        assert ask(sync_peer, "x.set()") == "None"
        assert made.wait(0)
    elif kind is Semaphore:
        assert ask(sync_peer, "x.release()") == "1"
        assert made.value == 2
    else:
        assert ask(sync_peer, "x.acquire()") == "True"
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
    object_type = "Mutant" if kind is Mutex else kind.__name__
    assert dead.value.filename2 == f"NtQuery{object_type}"
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


@pytest.mark.parametrize("kind", [Mutex, Semaphore], ids=lambda kind: kind.__name__)
def test_closing_form(kind: Any) -> None:
    """`with` acquires; contextlib.closing closes."""
    with closing(kind.create()) as made:
        with made as entered:
            assert entered is made
        assert not made.closed
    assert made.closed


def test_a_finaliser_called_by_hand_leaves_a_wait_at_work(
    make: Callable[..., Any],
) -> None:
    """It would go on with a handle that is closed."""
    event = make(Event)
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(event.wait(LONG)))
    waiter.start()
    while not event._pins:
        time.sleep(0)
    event.__del__()
    assert not event.closed
    event.set()
    waiter.join()
    assert results == [True]


def test_object_that_grants_only_synchronize(
    make: Callable[..., Any], unique_name: str
) -> None:
    """The error names the way out, and that way works."""
    event = make(Event, unique_name, manual=True, security="D:(A;;0x100000;;;WD)")
    with pytest.raises(PermissionError) as refused:
        Event.open(unique_name)
    assert "access=SyncAccess.SYNCHRONIZE" in str(refused.value.__notes__)
    with closing(Event.open(unique_name, access=SyncAccess.SYNCHRONIZE)) as waiter:
        event.set()
        assert waiter.wait(LONG)
