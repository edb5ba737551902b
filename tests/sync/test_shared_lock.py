"""SharedLock: threads, processes and C programs that share 32 bytes."""

from __future__ import annotations

import _thread
import gc
import operator
import pickle
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from helpers.deadlines import LONG
from helpers.linux_file import LinuxFile
from helpers.waitables import run_thread
from hypothesis import given
from hypothesis import strategies as st

import winipc
from winipc import (
    AbandonedError,
    Event,
    MappingView,
    Mutex,
    Semaphore,
    SharedLock,
    SharedMapping,
)

ABANDONED, TIMEOUT = 10, 3  # what include/winipc.h calls them


@pytest.fixture
def memory(unique_name: str) -> Iterator[SharedMapping]:
    with SharedMapping.create(unique_name, 4096) as mapping:
        yield mapping


@pytest.fixture
def lock(memory: SharedMapping) -> Iterator[SharedLock]:
    """A lock at offset 0; closed before its mapping is."""
    shared = SharedLock(memory)
    yield shared
    if not shared.closed:
        while shared.held:
            shared.release()
        shared.close()


def elsewhere(work: Callable[[], Any]) -> Any:
    """What `work` returns on a thread of its own."""
    results: list[Any] = []
    run_thread(lambda: results.append(work()))
    return results[0]


def open_in(peer: Any, name: str) -> None:
    """Have a `sync_peer.py` open the lock, as `l`."""
    peer.expect("ready")
    for line in (
        f"m = winipc.SharedMapping.open({name!r})",
        "l = winipc.SharedLock(m)",
    ):
        peer.say(line)
        peer.expect("ok")


@pytest.mark.smoke
def test_zeroed_memory_is_a_free_lock(lock: SharedLock, memory: SharedMapping) -> None:
    """Taking and releasing changes the word and nothing else that stays."""
    assert lock.owner is None
    assert not lock.held
    with lock as same:
        assert same is lock
        assert lock.held
        assert lock.owner == threading.get_native_id()
        assert memory.get(0, "u32") == threading.get_native_id()
    assert lock.owner is None
    assert not lock.abandoned
    assert memory.read(size=4096) == bytes(4096)


def test_uncontended_use_makes_no_kernel_object(lock: SharedLock) -> None:
    """No event is made, nor anything else: the key stays 0."""
    for _ in range(100):
        assert lock.acquire()
        lock.release()
    assert lock.buffer.get(8, "u64") == 0


@pytest.mark.smoke
def test_another_thread_is_kept_out(lock: SharedLock) -> None:
    """It neither gets the lock in time nor may it release it."""
    with lock:
        assert elsewhere(lambda: lock.acquire(0)) is False
        assert elsewhere(lambda: lock.acquire(timeout=0.01)) is False
        assert elsewhere(lambda: lock.held) is False

        def release() -> int:
            with pytest.raises(OSError, match="does not hold the lock") as caught:
                lock.release()
            return caught.value.winerror

        assert elsewhere(release) == 288
        assert lock.held


def test_the_owner_may_take_it_again(lock: SharedLock, memory: SharedMapping) -> None:
    """As often as it likes, through any object, and releases it as often."""
    other = SharedLock(memory, 0)
    with lock, other, lock:
        assert lock.acquire(0)
        lock.release()
        assert elsewhere(lambda: lock.acquire(0)) is False
    assert lock.owner is None
    other.close()
    with pytest.raises(OSError, match="does not hold") as caught:
        lock.release()
    assert caught.value.winerror == 288


def test_threads_count_without_loss(lock: SharedLock, memory: SharedMapping) -> None:
    """Threads of one process exclude each other, through one object."""
    rounds, threads = 300, 4

    def work() -> None:
        for _ in range(rounds):
            with lock:
                memory.set(64, "i64", memory.get(64, "i64") + 1)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(LONG)
    assert memory.get(64, "i64") == rounds * threads


@pytest.mark.parametrize("peer_name", ["sync_peer.py", "lock_peer.exe"])
def test_processes_count_without_loss(
    lock: SharedLock,
    memory: SharedMapping,
    unique_name: str,
    start_peer: Callable[..., Any],
    peer_name: str,
) -> None:
    """A number that each reads, adds to and writes is right in the end."""
    rounds = 2000
    if peer_name.endswith(".exe"):
        peer = start_peer(peer_name, "count", unique_name, rounds)
        peer.expect("ready 0")
    else:
        peer = start_peer(peer_name)
        open_in(peer, unique_name)
        peer.say(
            f"[(l.acquire(), m.set(64, 'i64', m.get(64, 'i64') + 1), l.release()) "
            f"for i in range({rounds})] and None"
        )
    for _ in range(rounds):
        with lock:
            memory.set(64, "i64", memory.get(64, "i64") + 1)
    peer.expect("result 0" if peer_name.endswith(".exe") else "None")
    assert memory.get(64, "i64") == 2 * rounds


def test_who_waits_is_woken(
    lock: SharedLock, unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """A process that sleeps for the lock gets it when it is released."""
    with Event.create(f"{unique_name}.asking") as asking:
        peer = start_peer("sync_peer.py")
        open_in(peer, unique_name)
        peer.say(f"e = winipc.Event.open({asking.name!r})")
        peer.expect("ok")
        for _ in range(5):
            lock.acquire()
            peer.say("e.set(); l.acquire(); l.release()")
            assert asking.wait(LONG)
            deadline = time.monotonic() + LONG
            while not lock.buffer.get(0, "u64") >> 63:  # it says that it waits
                assert time.monotonic() < deadline
            lock.release()
            peer.expect("ok")
    assert lock.buffer.get(8, "u64") != 0
    assert lock.owner is None


def test_a_hung_owner_means_a_timeout(
    lock: SharedLock, unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """Alive is not dead, however long it takes; then it releases after all."""
    peer = start_peer("lock_peer.exe", "hold", unique_name)
    assert peer.read_line().startswith("holding")
    assert lock.acquire(0) is False
    assert lock.acquire(0.25) is False  # more than one slice
    with pytest.raises(TimeoutError) as caught, lock.lock(timeout=0.01):
        pytest.fail("the block ran")
    assert caught.value.winerror == 1460
    peer.say("")
    peer.expect("result 0")
    assert lock.acquire(LONG)


def test_ctrl_c_leaves_no_lock_held(memory: SharedMapping) -> None:
    """lock() gives the lock back when Ctrl+C comes as it has just been taken."""

    class Interrupted(SharedLock):
        def acquire(
            self, timeout: float | None = None, abandoned: Any = "raise"
        ) -> bool:
            super().acquire(timeout, abandoned)
            raise KeyboardInterrupt

    with closing(Interrupted(memory)) as lock:
        with pytest.raises(KeyboardInterrupt), lock.lock(LONG):
            pass
        assert not lock.held


@pytest.mark.parametrize("kind", [Mutex, Semaphore, SharedLock])
def test_ctrl_c_as_with_begins_leaves_nothing_taken(
    memory: SharedMapping, kind: type[Mutex | Semaphore | SharedLock]
) -> None:
    """Python 3.14 would let it in between `__enter__` and the block."""
    made = {Mutex: Mutex.create, Semaphore: lambda: Semaphore.create(initial=1)}
    with closing(made.get(kind, lambda: SharedLock(memory))()) as lock:
        # In C, so that the signal is still waiting when __enter__ is called.
        begin = map(operator.call, (_thread.interrupt_main, lock.__enter__))
        with pytest.raises(KeyboardInterrupt):
            list(begin)
        assert lock.value if isinstance(lock, Semaphore) else not lock.held


@pytest.mark.parametrize("peer_name", ["sync_peer.py", "lock_peer.exe"])
@pytest.mark.parametrize("when", ["before", "while waiting"])
def test_a_killed_owner_is_abandoned(
    lock: SharedLock,
    unique_name: str,
    start_peer: Callable[..., Any],
    peer_name: str,
    when: str,
) -> None:
    """One waiter gets the lock and is told; after it all is as before."""
    if peer_name.endswith(".exe"):
        peer = start_peer(peer_name, "hold", unique_name)
        assert peer.read_line().startswith("holding")
    else:
        peer = start_peer(peer_name)
        open_in(peer, unique_name)
        peer.say("l.acquire() and l.acquire()")
        peer.expect("True")
    caught: list[object] = []

    def wait() -> None:
        try:
            lock.acquire(LONG)
        except AbandonedError as error:
            caught.extend([error.winerror, error.mutex, lock.held, lock.abandoned])
            lock.release()

    waiter = threading.Thread(target=wait)
    if when == "while waiting":
        waiter.start()
        while not lock.buffer.get(0, "u64") >> 63:
            assert waiter.is_alive()
    peer.kill()
    if when == "before":
        waiter.start()
    waiter.join(LONG)
    assert caught == [735, lock, True, True]
    assert not lock.abandoned
    with lock:
        assert not lock.abandoned


def test_an_owner_that_may_not_be_opened_is_noticed(
    lock: SharedLock, unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """Its process denies all access, as a service's may, and is killed."""
    peer = start_peer("sync_peer.py")
    open_in(peer, unique_name)
    for line in (
        "import ctypes; nobody = ctypes.create_string_buffer(8)",
        "api = ctypes.WinDLL('advapi32'); api.InitializeAcl(nobody, 8, 2)",
        "api.SetSecurityInfo(ctypes.c_void_p(-1), 6, 4, None, None, nobody, None)",
    ):
        peer.say(line)
        assert peer.read_line() in ("ok", "0")
    peer.say("l.acquire()")
    peer.expect("True")
    with pytest.raises(PermissionError):
        winipc.RemoteProcess.open(peer.pid)
    assert lock.acquire(0.3) is False
    peer.kill()
    assert lock.acquire(LONG, abandoned="accept")
    assert lock.abandoned


def test_c_notices_an_owner_that_may_not_be_opened(
    lock: SharedLock, unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """A C program that can open no thread at all gets the lock."""
    peer = start_peer("lock_peer.exe", "hold", unique_name)
    assert peer.read_line().startswith("holding")
    survivor = start_peer("denied_peer.exe", "lock", unique_name, 30_000)
    survivor.expect("ready")
    peer.kill()
    survivor.expect(f"result {ABANDONED}")


def exists(name: str) -> bool:
    """Whether a named object of this name is there."""
    return name in {found.name for found in winipc.named_objects()}


def test_an_ended_thread_leaves_no_object(lock: SharedLock) -> None:
    """The event that shows its life goes with it, not with the process."""

    def work() -> str:
        with lock:
            name = f"Global\\winipc.thread.{lock.buffer.get(0, 'u64'):016x}"
            assert exists(name)
        return name

    name = elsewhere(work)
    deadline = time.monotonic() + LONG
    while exists(name):  # a join may return a moment before the thread has ended
        assert time.monotonic() < deadline


def test_with_releases_an_abandoned_lock(lock: SharedLock) -> None:
    """As lock() does: a second `with` is like any other. acquire() keeps it."""
    assert elsewhere(lock.acquire)
    with pytest.raises(AbandonedError) as caught, lock:
        pytest.fail("the block ran")
    assert caught.value.mutex is lock
    assert not lock.held
    assert lock.owner is None
    with lock:
        assert not lock.abandoned


def test_a_thread_that_ends_with_it_abandons_it(lock: SharedLock) -> None:
    """In the same process too; accept, and the repair path."""
    assert elsewhere(lock.acquire)
    assert lock.acquire(LONG, abandoned="accept")
    assert lock.abandoned
    lock.release()
    assert elsewhere(lock.acquire)
    repaired = []
    with lock.lock(LONG, repair=repaired.append):
        assert lock.held
    assert repaired == [lock]
    assert elsewhere(lock.acquire)
    with pytest.raises(AbandonedError), lock.lock(LONG):
        pytest.fail("the block ran")
    assert lock.owner is None
    with pytest.raises(ValueError, match="'raise' or 'accept'"):
        lock.acquire(abandoned="neither")  # type: ignore[arg-type]


def test_a_c_program_is_told_of_a_dead_owner(
    lock: SharedLock, unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """And of a living one, by a timeout."""
    lock.acquire()
    peer = start_peer("lock_peer.exe", "look", unique_name, 20)
    peer.expect(f"result {TIMEOUT}")
    lock.release()
    assert elsewhere(lock.acquire)
    peer = start_peer("lock_peer.exe", "look", unique_name, 20000)
    peer.expect(f"result {ABANDONED}")


@given(word=st.integers(1, 2**64 - 1), depth=st.integers(0, 2**64 - 1))
def test_hostile_words_are_errors(word: int, depth: int) -> None:
    """Whatever stands there, asking ends: taken, refused, or an error."""
    with SharedMapping.create(None, 4096) as memory:
        lock = SharedLock(memory)
        memory.set(0, "u64", word)
        memory.set(16, "u64", depth)
        outcome = 0
        try:
            lock.acquire(0)
        except OSError as error:
            outcome = error.winerror
        assert outcome in (0, 13, 735)
        if lock.held:
            lock.release()
        memory.set(0, "u64", 0)
        with lock:
            assert lock.held
        lock.close()


def test_memory_that_is_no_lock_says_so(lock: SharedLock) -> None:
    """A bit that no lock has, and a depth that no owner reaches."""
    memory = lock.buffer
    for word in (1 << 62 | 1 << 32 | 5, 1 << 63, 7):
        memory.set(0, "u64", word)
        with pytest.raises(OSError, match="no lock") as caught:
            lock.acquire()
        assert caught.value.winerror == 13
    memory.set(0, "u64", 0)
    with lock:
        memory.set(16, "u64", 1 << 40)
        with pytest.raises(OSError, match="no lock"):
            lock.acquire()
        memory.set(16, "u64", 0)


def test_a_forged_key_delays_and_does_no_harm(lock: SharedLock) -> None:
    """A waiter whose event is never set looks again after its slice."""
    assert elsewhere(lambda: lock.acquire(0) and lock.release()) is None
    lock.acquire()
    memory = lock.buffer
    other = SharedLock(memory)
    results: list[bool] = []
    waiter = threading.Thread(target=lambda: results.append(other.acquire(LONG)))
    waiter.start()
    while not memory.get(0, "u64") >> 63:
        assert waiter.is_alive()
    memory.set(8, "u64", 12345)
    lock.release()
    waiter.join(LONG)
    assert results == [True]
    assert lock.acquire(LONG, abandoned="accept")  # the thread has ended with it
    lock.release()
    other.close()


def test_a_wait_lets_control_c_in(
    lock: SharedLock, unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """A waiting main thread is interrupted, and leaves nothing behind."""
    peer = start_peer("lock_peer.exe", "hold", unique_name)
    assert peer.read_line().startswith("holding")

    def interrupt() -> None:
        deadline = time.monotonic() + LONG
        while not lock.buffer.get(0, "u64") >> 63 and time.monotonic() < deadline:
            time.sleep(0.001)
        _thread.interrupt_main()

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        lock.acquire(2 * LONG)
    interrupter.join(LONG)
    lock.close()


def test_memory_is_pinned_until_the_lock_is_closed(memory: SharedMapping) -> None:
    """And the lock cannot be closed while it is held or waited for."""
    lock = SharedLock(memory, 64)
    assert (lock.offset, lock.buffer) == (64, memory)
    with pytest.raises(BufferError):
        memory.close()
    with lock, pytest.raises(BufferError, match="held"):
        lock.close()
    lock.acquire()
    waiter = threading.Thread(target=lambda: lock.acquire(LONG) and lock.release())
    waiter.start()
    while not memory.get(64, "u64") >> 63:
        assert waiter.is_alive()
    with pytest.raises(BufferError, match="in use by 1 wait"):
        lock.close()
    lock.release()
    waiter.join(LONG)
    lock.close()
    lock.close()
    assert lock.closed
    for call in (lock.acquire, lock.release, lambda: lock.owner):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert not lock.held
    assert repr(lock) == "<SharedLock closed>"


def test_a_finaliser_called_by_hand_leaves_a_wait_at_work(
    memory: SharedMapping, lock: SharedLock
) -> None:
    """It would go on in memory that is given back."""

    def take() -> None:
        with lock:
            taken.append(True)

    taken: list[bool] = []
    waiter = threading.Thread(target=take)
    lock.acquire()
    held = memory.read(8)
    waiter.start()
    while memory.read(8) == held:  # until its word says that another thread waits
        time.sleep(0)
    lock.__del__()  # type: ignore[attr-defined]
    assert not lock.closed
    lock.release()
    waiter.join()
    assert taken == [True]


def test_one_whose_lock_another_has_by_now_can_be_closed(lock: SharedLock) -> None:
    """It was given back through another object, and a living thread took it."""
    other = SharedLock(lock.buffer)
    lock.acquire()
    other.release()
    taken, done = threading.Event(), threading.Event()

    def hold() -> None:
        with other:
            taken.set()
            done.wait(LONG)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert taken.wait(LONG)
        lock.close()
    finally:
        done.set()
        holder.join(LONG)
        other.close()


def event_name(memory: SharedMapping) -> str:
    """Of the event of the lock at offset 0, as include/winipc.h has it."""
    return f"Global\\winipc.lock.{memory.get(8, 'u64'):016x}"


def test_release_sets_the_event_for_who_waits(lock: SharedLock) -> None:
    """A waiter would otherwise sleep to the end of its slice; without one, no event."""
    memory = lock.buffer
    with lock:
        assert elsewhere(lambda: lock.acquire(0.01)) is False
    with Event.open(event_name(memory)) as event:
        assert event.wait(0)
        lock.acquire()
        lock.release()
        assert not event.wait(0)


def test_the_event_goes_with_the_locks(memory: SharedMapping) -> None:
    """Whoever made or opened it; closing leaves no handle."""
    locks = [SharedLock(memory) for _ in range(2)]
    for lock in locks:
        with lock:
            assert elsewhere(lambda lock=lock: lock.acquire(0.01)) is False
    for lock in locks:
        Event.open(event_name(memory)).close()
        lock.close()
    with pytest.raises(FileNotFoundError):
        Event.open(event_name(memory))


def test_a_later_thread_of_the_same_id_is_not_the_owner(lock: SharedLock) -> None:
    """A living thread has the id, but not the stamp: the owner is dead."""
    memory = lock.buffer
    with lock:
        word = memory.get(0, "u64")
    memory.set(0, "u64", word ^ 1 << 40)
    assert lock.acquire(LONG, abandoned="accept")
    assert lock.abandoned


def test_one_that_its_dead_thread_holds_can_be_closed(lock: SharedLock) -> None:
    """Nobody could release it any more."""
    assert elsewhere(lock.acquire)
    lock.close()


def test_a_forgotten_one_is_released(memory: SharedMapping) -> None:
    """With a warning, if this thread held it; silently otherwise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SharedLock(memory)
        gc.collect()
    lock = SharedLock(memory)
    lock.acquire()
    lock.acquire()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del lock
        gc.collect()
    assert any("unclosed" in str(warning.message) for warning in caught)
    assert memory.get(0, "u64") == 0


@pytest.mark.parametrize(
    ("offset", "error"),
    [(4065, ValueError), (4, ValueError), (-1, ValueError), (1 << 70, OverflowError)],
)
def test_places_that_cannot_be(
    memory: SharedMapping, offset: int, error: type[Exception]
) -> None:
    """Outside, or not at a multiple of 8."""
    with pytest.raises(error):
        SharedLock(memory, offset)
    memory.close()  # and nothing is left of it


def test_read_only_memory_is_refused(memory: SharedMapping, unique_name: str) -> None:
    """A lock is written to."""
    with (
        SharedMapping.open(unique_name, access="read") as readonly,
        pytest.raises((BufferError, TypeError)),
    ):
        SharedLock(readonly)
    SharedLock(memory, 4064).close()  # the last place there is


@pytest.mark.parametrize("through", ["mapping", "memoryview", "view"])
def test_a_lock_in_a_file(tmp_path: Path, through: str) -> None:
    """Memory with a file behind it, which is touched under a guard."""
    with SharedMapping.create(None, 4096, file=tmp_path / "locked.bin") as memory:
        source: SharedMapping | memoryview | MappingView = memory
        if through == "memoryview":
            source = memoryview(memory)[64:]
        elif through == "view":
            source = memory.view(64, 256)
        lock = SharedLock(source)
        with lock:
            assert lock.acquire(0)
            assert elsewhere(lambda: lock.acquire(0.01)) is False
            lock.release()
        assert elsewhere(lock.acquire)
        with pytest.raises(AbandonedError):
            lock.acquire(LONG)
        lock.release()
        lock.close()
        if isinstance(source, memoryview):
            source.release()
        elif source is not memory:
            source.close()


@pytest.mark.parametrize("state", ["free", "held", "waited for"])
def test_a_page_that_does_not_come_in_is_an_error(
    linux_file: LinuxFile,
    state: str,
) -> None:
    """The file is cut short under the lock: OSError for who uses it or waits."""
    with SharedMapping.create(None, 0x3000, file=linux_file.path) as memory:
        lose_the_page_of_a_lock(memory, linux_file, state)
        gc.collect()  # of a lock that could not be closed nothing is left


def lose_the_page_of_a_lock(memory: SharedMapping, file: LinuxFile, state: str) -> None:
    lock = SharedLock(memory, 0x2000)
    codes: list[int] = []

    def fails(use: Callable[[], object]) -> None:
        with pytest.raises(OSError, match="touching a page") as caught:
            use()
        codes.append(caught.value.winerror)

    waiter = threading.Thread(target=lambda: fails(lambda: lock.acquire(LONG)))
    if state != "free":
        lock.acquire()
    if state == "waited for":
        waiter.start()
        while not memory.get(0x2000, "u64") >> 63:
            assert waiter.is_alive()
    file.cut(0x1000)
    if state == "waited for":
        waiter.join(LONG)
    else:
        fails(lock.acquire)
    for use in (lock.release, lock.__enter__, lambda: lock.owner):
        fails(use)
    assert len(codes) == 4
    assert set(codes) <= {998, 999}
    if state == "free":
        lock.close()
    else:
        fails(lock.close)  # it cannot know whether it still holds it


@pytest.mark.parametrize("by_sddl", [False, True], ids=["owner", "SDDL"])
def test_security_is_that_of_the_event(memory: SharedMapping, by_sddl: bool) -> None:
    """Who waits makes the event, and has the say who may open it."""
    win32security = pytest.importorskip("win32security")
    import win32api
    import win32con
    import win32event

    token = win32security.OpenProcessToken(
        win32api.GetCurrentProcess(), win32con.TOKEN_QUERY
    )
    me, _ = win32security.GetTokenInformation(token, win32security.TokenUser)
    sid = win32security.ConvertSidToStringSid(me)
    spec = f"O:{sid}G:{sid}D:P(A;;GA;;;{sid})" if by_sddl else "owner"
    owner = SharedLock(memory)
    waiter = SharedLock(memory, security=spec)
    with owner:
        assert elsewhere(lambda: waiter.acquire(0.01)) is False
    event = win32event.OpenEvent(win32con.READ_CONTROL, False, event_name(memory))
    found = win32security.GetSecurityInfo(
        event,
        win32security.SE_KERNEL_OBJECT,
        win32security.OWNER_SECURITY_INFORMATION
        | win32security.DACL_SECURITY_INFORMATION,
    )
    assert found.GetSecurityDescriptorOwner() == me
    if by_sddl:
        acl = found.GetSecurityDescriptorDacl()
        assert [acl.GetAce(i)[2] for i in range(acl.GetAceCount())] == [me]
    event.Close()
    waiter.close()
    owner.close()


def test_bad_security_is_refused(memory: SharedMapping) -> None:
    """And nothing is left of it."""
    with pytest.raises(ValueError, match="nonsense"):
        SharedLock(memory, security="nonsense")
    with pytest.raises(TypeError, match="SDDL"):
        SharedLock(memory, security=5)  # type: ignore[arg-type]
    memory.close()


def test_it_travels_with_its_memory(memory: SharedMapping) -> None:
    """A pickle has the mapping and the offset."""
    lock = SharedLock(memory, 64)
    copy = pickle.loads(pickle.dumps(lock))
    assert copy.offset == 64
    with lock:
        assert copy.owner == threading.get_native_id()
        assert elsewhere(lambda: copy.acquire(0)) is False
    lock.close()
    mapping = copy.buffer
    copy.close()
    with pytest.raises(ValueError, match="closed"):
        pickle.dumps(copy)
    mapping.close()


def test_the_constants_are_those_of_the_header() -> None:
    """As many bytes as winipc_lock_word has."""
    assert SharedLock.SIZE == 32
    assert winipc.SharedLock is SharedLock
