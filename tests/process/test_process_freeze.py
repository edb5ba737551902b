"""Values of another process that are written again and again, and its suspension."""

from __future__ import annotations

import contextlib
import gc
import os
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from conftest import DEADLINE
from helpers import BITS
from helpers.c_target import Target

from winipc import (
    Freeze,
    PartialReadError,
    PartialWriteError,
    ProcessAccess,
    RemoteProcess,
)

PAGE = 4096
FAST = 0.001
#: So seldom that a test ends before.
NEVER = 1e5


def until(reached: Callable[[], object]) -> None:
    """Look until it is so; a test that waits forever fails."""
    end = time.monotonic() + DEADLINE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.001)


def writers() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "winipc-freeze"]


def some_writes(frozen: Freeze) -> None:
    """Wait until it has been written twice from now: once from begin to end."""
    before = frozen.writes
    until(lambda: frozen.writes >= before + 2)


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests; one that spoils what is known there ends it."""
    return targets()


# ------------------------------------------------------------------------ freeze


def test_a_value_comes_back(process: RemoteProcess, target: Target) -> None:
    """Whatever the target makes of it; and it is the target's again afterwards."""
    at, other = target.alloc(PAGE), target.alloc(PAGE)
    with process.freeze(at, 1.5, "f32", interval=FAST) as frozen:
        assert target.peek(at, 4) == struct.pack("<f", 1.5)  # written once by now
        for _ in range(3):
            target.ask(f"poke {at:x} 00000000")
            until(lambda: process.get(at, "f32") == 1.5)
        assert frozen.writes >= 4
        assert (frozen.value, frozen.failures, frozen.error) == (1.5, 0, None)
        assert not frozen.closed
    assert frozen.closed
    target.ask(f"poke {at:x} 01020304")
    with process.freeze(other, 1, "u8", interval=FAST) as another:
        some_writes(another)  # the thread goes on
    assert target.peek(at, 4) == b"\1\2\3\4"
    frozen.close()


def test_bytes_and_types(process: RemoteProcess, target: Target) -> None:
    """Bytes need no type, and are copied; numbers need one of all the names."""
    at = target.alloc(PAGE)
    data = bytearray(b"abcdefgh")
    with process.freeze(at, data, interval=FAST) as frozen:
        data[:] = b"overwritten"
        target.ask(f"poke {at:x} {bytes(8).hex()}")
        until(lambda: process.read(at, 8) == b"abcdefgh")
        frozen.value = memoryview(b"xyz")
        assert target.peek(at, 3) == b"xyz"
        assert frozen.value == b"xyz"
    for kind, value in (("<h", -2), ("Q", 1 << 63), ("u8", True)):
        with process.freeze(at, value, kind):
            assert process.get(at, kind) == value
    for value, kind, error, words in (
        (5, None, TypeError, "which type of numbers is 5"),
        (b"abc", "i32", TypeError, "bytes"),
        (300, "u8", OverflowError, "does not fit in u8"),
        (3, "i7", ValueError, "no type of numbers 'i7'"),
    ):
        with pytest.raises(error, match=words):
            process.freeze(at, value, kind)
    for interval in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="interval"):
            process.freeze(at, 1, "i8", interval=interval)
    until(lambda: not writers())


def test_the_value_can_be_changed(process: RemoteProcess, target: Target) -> None:
    """At once; one that does not fit leaves the old one."""
    at = target.alloc(PAGE)
    with process.freeze(at, 1, "u8", interval=NEVER) as frozen:
        frozen.value = 2
        assert target.peek(at, 1) == b"\2"
        with pytest.raises(OverflowError):
            frozen.value = 256
        assert frozen.value == 2
        assert frozen.error is None
    with pytest.raises(ValueError, match="closed"):
        frozen.value = 3
    assert target.peek(at, 1) == b"\2"


def test_one_thread_writes_for_all(process: RemoteProcess, target: Target) -> None:
    """It is there as long as there is a value, each with an interval of its own; one
    that is seldom written holds up neither the others nor the end.
    """
    at = target.alloc(PAGE)
    until(lambda: not writers())  # that of another test
    with process.freeze(at, 1, "i32", interval=NEVER) as seldom:
        with (
            process.freeze(at + 4, 2, "i32", interval=FAST) as often,
            process.freeze(at + 8, 3, "i32", interval=2 * FAST) as less,
        ):
            assert len(writers()) == 1
            some_writes(often)
            some_writes(less)
        (writer,) = writers()
        assert writer.daemon  # the end of the program does not wait for it
        assert seldom.writes == 1
    writer.join(DEADLINE)
    assert not writer.is_alive()
    with process.freeze(at, 1, "i32", interval=FAST) as again:
        some_writes(again)


def test_a_path_is_followed_at_each_write(
    process: RemoteProcess, target: Target
) -> None:
    """Where the pointers lead to now; a pointer that is NULL for a while is told."""
    chain = target.where("chain")
    path = [chain + 0x10, 0x18, 0x20]
    first, second = process.pointer(path), target.alloc(PAGE)
    with process.freeze(path, 77, "i32", interval=FAST) as frozen:
        assert process.get(first, "i32") == 77
        holder = process.read_pointer(chain + 0x10) + 0x18
        process.set(holder, f"u{BITS}", second)
        until(lambda: process.get(second + 0x20, "i32") == 77)
        process.set(holder, f"u{BITS}", 0)
        until(lambda: frozen.failures > 1)
        assert isinstance(frozen.error, PartialWriteError)
        assert not frozen.closed
        process.set(holder, f"u{BITS}", first - 0x20)
        until(lambda: frozen.error is None)
    assert frozen.error is None
    target.peer.kill()


def test_the_last_error_is_raised_at_the_end(
    process: RemoteProcess, target: Target
) -> None:
    """It is not lost, and hides no other one."""
    at = target.alloc(PAGE)

    def lose(frozen: Freeze) -> None:
        target.free(at)
        until(lambda: frozen.failures)

    with pytest.raises(PartialWriteError) as caught:  # noqa: SIM117
        with process.freeze(at, 5, "i32", interval=FAST) as frozen:
            lose(frozen)
    assert caught.value is frozen.error
    at = target.alloc(PAGE)
    with pytest.raises(KeyError) as other:  # noqa: PT012, SIM117
        with process.freeze(at, 5, "i32", interval=FAST) as frozen:
            lose(frozen)
            raise KeyError
    assert any("Freeze of 5" in note for note in other.value.__notes__)
    at = target.alloc(PAGE)
    frozen = process.freeze(at, 5, "i32", interval=FAST)
    lose(frozen)
    frozen.close()
    assert isinstance(frozen.error, PartialWriteError)


def test_what_cannot_be_written_at_first(
    process: RemoteProcess, target: Target
) -> None:
    """It is an error at once, and no thread is left."""
    with pytest.raises(PartialWriteError):
        process.freeze(0x10, 1, "i32")
    with pytest.raises(PartialReadError):
        process.freeze([0x10, 0], 1, "i32")
    with (
        RemoteProcess.open(target) as reader,
        pytest.raises(PermissionError, match=r"ProcessAccess\.WRITE"),
    ):
        reader.freeze(target.where("point"), 1, "u8")
    with pytest.raises(LookupError):
        process.freeze('"other.exe"+4', 1, "u8")
    until(lambda: not writers())


def test_the_death_of_the_target_ends_it(
    process: RemoteProcess,
    target: Target,
    me: RemoteProcess,
    start_peer: Callable[..., object],
) -> None:
    """The outcome is there to see, and the others go on."""
    other = Target(start_peer("target.exe"))
    at, there = target.alloc(PAGE), other.alloc(PAGE)
    with (
        RemoteProcess.open(other, access=ProcessAccess.WRITE) as second,
        second.freeze(there, 2, "i32", interval=FAST) as lives,
    ):
        with pytest.raises(ProcessLookupError) as caught:  # noqa: PT012, SIM117
            with process.freeze(at, 1, "i32", interval=FAST) as frozen:
                target.peer.kill()
                until(lambda: frozen.closed)
                with pytest.raises(ValueError, match="closed"):
                    frozen.value = 3
        assert caught.value is frozen.error
        assert "ended" in repr(frozen)
        some_writes(lives)
    assert lives.error is None


def test_it_outlives_the_process_object(target: Target) -> None:
    """It has a handle of its own."""
    at = target.alloc(PAGE)
    with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
        frozen = process.freeze(at, 9, "u8", interval=FAST)
    with frozen:
        some_writes(frozen)
    assert target.peek(at, 1) == b"\x09"


@pytest.mark.parametrize("fails", [False, True])
def test_a_forgotten_one_ends(
    process: RemoteProcess, target: Target, fails: bool
) -> None:
    """Nothing is written that nobody can end, and a warning says so."""
    at, other = target.alloc(PAGE), target.alloc(PAGE)
    with process.freeze(other, 1, "i32", interval=FAST) as kept:
        with pytest.warns(  # noqa: PT031
            ResourceWarning, match="unclosed <Freeze of 5"
        ) as warned:
            forgotten = [process.freeze(at, 5, "i32", interval=FAST)]
            if fails:
                target.free(at)
                until(lambda: forgotten[0].failures)
            forgotten.clear()
            until(lambda: gc.collect() + 1 and len(warned))
        if not fails:
            target.ask(f"poke {at:x} 00000000")
            some_writes(kept)
            assert target.peek(at, 4) == bytes(4)
    until(lambda: not writers())


def test_values_are_frozen_from_several_threads(
    process: RemoteProcess, target: Target
) -> None:
    """They begin and end at any time, and at last there is no thread."""
    at = target.alloc(PAGE)
    failed = []

    def freeze(number: int) -> None:
        try:
            for _ in range(20):
                with process.freeze(at + number, number, "u8", interval=FAST) as one:
                    some_writes(one)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=freeze, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert not failed
    assert target.peek(at, 4) == bytes(range(4))
    until(lambda: not writers())


# --------------------------------------------------------------------- suspended


def runs(process: RemoteProcess, at: int) -> bool:
    """Whether a thread of the target writes there all the time."""
    seen = {process.read(at, 64) for _ in range(300)}
    return len(seen) > 1


@pytest.fixture
def scribbled(target: Target) -> Iterator[int]:
    """What a thread of the target changes all the time."""
    at = target.alloc(PAGE)
    assert target.ask(f"scribble {at:x}") == "ok"
    yield at
    target.peer.kill()


def test_a_suspended_target_stands(
    process: RemoteProcess, target: Target, scribbled: int
) -> None:
    """No thread of it runs, its memory is read and written, and it goes on."""
    until(lambda: runs(process, scribbled))
    other = target.alloc(PAGE)
    with process.suspended():
        assert not runs(process, scribbled)
        process.set(other, "i32", 5)
        assert process.get(other, "i32") == 5
        assert list(process.regions())
        with process.freeze(other, 6, "i32", interval=FAST) as frozen:
            some_writes(frozen)
    until(lambda: runs(process, scribbled))
    assert target.peek(other, 4) == b"\6\0\0\0"


def test_suspensions_nest(
    process: RemoteProcess, target: Target, scribbled: int
) -> None:
    """Of one object and of several; only the last end resumes."""
    with RemoteProcess.open(target) as reader, reader.suspended():
        with process.suspended():
            with process.suspended():
                pass
            assert not runs(process, scribbled)
        assert not runs(process, scribbled)
    until(lambda: runs(process, scribbled))


def test_every_way_out_resumes(process: RemoteProcess, scribbled: int) -> None:
    """An exception, Ctrl+C, the end of a generator, and an object that is closed."""
    for error in (KeyError, KeyboardInterrupt, SystemExit):
        with pytest.raises(error), process.suspended():  # noqa: PT012
            assert not runs(process, scribbled)
            raise error
        until(lambda: runs(process, scribbled))

    def generate() -> object:
        with process.suspended():
            yield

    stopped = generate()
    next(stopped)
    assert not runs(process, scribbled)
    stopped.close()
    until(lambda: runs(process, scribbled))


def test_it_resumes_though_the_object_was_closed(
    target: Target, process: RemoteProcess, scribbled: int
) -> None:
    other = RemoteProcess.open(target)
    with other.suspended():
        other.close()
        assert not runs(process, scribbled)
    until(lambda: runs(process, scribbled))
    with pytest.raises(ValueError, match="closed"), other.suspended():
        pass


def test_this_process_does_not_suspend_itself(me: RemoteProcess) -> None:
    """Nothing would resume it."""
    with pytest.raises(ValueError, match="itself"), me.suspended():
        pass
    assert me.pid == os.getpid()


def test_a_suspended_target_is_killed(process: RemoteProcess, target: Target) -> None:
    """The end of the with is silent, since there is nothing to resume; what was to be
    done with it says so.
    """
    point = target.where("point")
    with process.suspended():
        target.peer.kill()
    with pytest.raises(ProcessLookupError), process.suspended():
        pass
    with pytest.raises(ProcessLookupError):
        process.read(point, 1)


def test_too_many_suspensions(process: RemoteProcess, scribbled: int) -> None:
    """A thread counts to 127. Wine refuses more, with an error; all are undone."""

    def suspend_often() -> None:
        for _ in range(130):
            stack.enter_context(process.suspended())

    with ExitStack() as stack:
        with contextlib.suppress(OSError):
            suspend_often()
        assert not runs(process, scribbled)
    until(lambda: runs(process, scribbled))


SUSPENDER = """
import sys
import winipc

with winipc.RemoteProcess.open(int(sys.argv[1])) as process, process.suspended():
    print("suspended", flush=True)
    sys.stdin.read()
"""


def test_the_death_of_who_suspended_leaves_it_so(
    process: RemoteProcess,
    target: Target,
    scribbled: int,
    start_process: Callable[[list[str]], object],
) -> None:
    """Windows resumes nothing; psutil does, as the documentation says."""
    psutil = pytest.importorskip("psutil")
    peer = start_process([sys.executable, "-c", SUSPENDER, str(target.pid)])
    peer.expect("suspended")
    assert not runs(process, scribbled)
    peer.kill()
    assert not runs(process, scribbled)
    psutil.Process(target.pid).resume()
    until(lambda: runs(process, scribbled))
