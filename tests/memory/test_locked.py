"""LockedMapping: mapping, mutex and changes under one name."""

from __future__ import annotations

import asyncio
import os
import pydoc
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from conftest import FULL
from helpers.deadlines import LONG

import winipc
from winipc import Layout, LayoutError, LockedMapping, SharedMapping, named_objects


@pytest.fixture
def mapping(unique_name: str) -> Iterator[LockedMapping]:
    """A locked mapping of 4096 bytes."""
    with LockedMapping.create(unique_name, 4096) as mapping:
        yield mapping


@pytest.fixture
def peer(start_peer: Callable[..., Any]) -> Any:
    """A second process with winipc imported."""
    peer = start_peer("sync_peer.py")
    peer.expect("ready")
    return peer


@pytest.mark.smoke
def test_lock_and_change_between_processes(
    mapping: LockedMapping, peer: Any, unique_name: str
) -> None:
    """The peer waits for a change, and finds what was written under the lock."""
    peer.say(f"m = winipc.LockedMapping.open({unique_name!r})")
    peer.expect("ok")
    peer.say("m.wait_for_change(0)")
    peer.expect("False")
    with mapping.lock:
        mapping.write(b"hello")
        peer.say("m.lock.acquire(0)")
        peer.expect("False")
    mapping.notify_change()
    peer.say("m.wait_for_change(30) and m.read(offset=0, size=5)")
    peer.expect("b'hello'")
    peer.say("m.wait_for_change(0)")
    peer.expect("False")
    peer.say("m.notify_change()")
    peer.expect("None")
    assert mapping.wait_for_change(LONG)  # its own
    assert not mapping.wait_for_change(0)
    assert mapping.changes == 2
    peer.say("m.close()")
    peer.expect("None")


def test_create_with_lock_makes_one(unique_name: str) -> None:
    """All three at once; plain mappings have no companions."""
    with LockedMapping.create(unique_name, 100) as made:
        assert made.created
        kinds = {
            row.name.removeprefix("Local\\"): row.kind
            for row in named_objects(pattern=f"{unique_name}*")
        }
        assert kinds == {
            unique_name: "mapping",
            f"{unique_name}.lock": "mutex",
            f"{unique_name}.changes": "mapping",
        }
        with pytest.raises(FileExistsError) as taken:
            LockedMapping.create(unique_name, 100)
        assert taken.value.__notes__ == [
            "hint: exist_ok=True opens the one that exists"
        ]
        with LockedMapping.create(unique_name, 100, exist_ok=True) as second:
            assert not second.created
        assert "hold it to read or write" in pydoc.render_doc(LockedMapping)
    assert named_objects(pattern=f"{unique_name}*") == []
    with SharedMapping.create(unique_name, 100) as plain:
        assert type(plain) is SharedMapping
        with pytest.raises(FileNotFoundError, match="lock"):
            LockedMapping.open(unique_name)
    with pytest.raises(ValueError, match="has a name"):
        LockedMapping.create(None, 100)


@pytest.mark.parametrize("exist_ok", [False, True])
@pytest.mark.parametrize("squatted", ["lock", "changes"])
def test_objects_of_a_squatter_are_refused(
    unique_name: str, squatted: str, exist_ok: bool
) -> None:
    """A mapping that is made here never has a lock or a board of somebody else's."""
    name = f"{unique_name}.{squatted}"
    squatter = (
        closing(winipc.Mutex.create(name))
        if squatted == "lock"
        else SharedMapping.create(name, 1024)
    )
    with squatter, pytest.raises(FileExistsError) as caught:
        LockedMapping.create(unique_name, 100, exist_ok=exist_ok)
    assert (caught.value.winerror, caught.value.filename) == (183, name)
    assert bool(caught.value.__notes__) is not exist_ok  # it would not help
    assert named_objects(pattern=f"{unique_name}*") == []
    with LockedMapping.create(unique_name, 100):
        pass


def test_processes_that_start_at_once_share_one(unique_name: str, peer: Any) -> None:
    """Whoever is first: with exist_ok both have the same mapping, lock and board."""
    for i in range(30):
        name = f"{unique_name}-{i}"
        peer.say(f"m = winipc.LockedMapping.create({name!r}, 64, exist_ok=True)")
        with LockedMapping.create(name, 64, exist_ok=True) as mine:
            peer.expect("ok")
            peer.say("m.lock.acquire(0), m.notify_change(), m.created")
            peer.expect(f"(True, None, {not mine.created})")
            assert not mine.lock.acquire(0)
            assert mine.wait_for_change(LONG)
            peer.say("m.lock.release(), m.close()")
            peer.expect("(None, None)")


def test_a_handle_alone_is_refused(mapping: LockedMapping) -> None:
    """The companions are found by the name: a TypeError that says what to do."""
    handle = mapping.duplicate_to(os.getpid())
    with pytest.raises(TypeError, match=r"use open\(\)"):
        LockedMapping.from_handle(handle)
    with SharedMapping.from_handle(handle) as bytes_alone:  # it is still ours
        mapping.write(b"seen")
        assert bytes_alone.read(4) == b"seen"


def test_a_plain_mapping_is_told_to_have_no_lock(unique_name: str) -> None:
    with (
        SharedMapping.create(unique_name, 100),
        pytest.raises(FileNotFoundError) as caught,
    ):
        LockedMapping.open(unique_name)
    [note] = caught.value.__notes__
    assert f"'{unique_name}' is a mapping without a lock: SharedMapping.open()" in note


def test_a_plain_mapping_is_not_given_a_lock(unique_name: str) -> None:
    for exist_ok in (False, True):
        with (
            SharedMapping.create(unique_name, 100),
            pytest.raises(FileExistsError) as caught,
        ):
            LockedMapping.create(unique_name, 100, exist_ok=exist_ok)
        assert any("exist_ok" in one for one in caught.value.__notes__) != exist_ok
        assert named_objects(pattern=f"{unique_name}*") == []


def test_a_header_describes_the_structure(unique_name: str) -> None:
    """Another structure is refused, and a wrong one creates nothing."""
    car, other = Layout.of("car", "gear:i32"), Layout.of("car", "gear:f32")
    with (
        LockedMapping.create(unique_name, header=car) as one,
        LockedMapping.open(unique_name, header=car) as two,
        LockedMapping.create(unique_name, header=car, exist_ok=True) as three,
    ):
        with one.lock:
            one.struct_view(car).gear = 3
        one.notify_change()
        assert (two.size, two.changes, three.struct_view(car).gear) == (4, 1, 3)
        with pytest.raises(LayoutError, match="gear:f32 at offset 0 here and gear:i32"):
            LockedMapping.open(unique_name, header=other)
        with pytest.raises(LayoutError):
            LockedMapping.create(unique_name, header=other, exist_ok=True)
        assert two.lock.acquire(0)
        two.lock.release()
    with pytest.raises(ValueError, match="'no' is not a field"):
        LockedMapping.create(unique_name, 100, header="no layout")
    assert named_objects(pattern=f"{unique_name}*") == []


def test_wait_for_the_name(unique_name: str) -> None:
    """wait() finds all of it."""
    with pytest.raises(TimeoutError):
        LockedMapping.wait_for(unique_name, 0.02)
    with ExitStack() as stack:
        timer = threading.Timer(
            0.05,
            lambda: stack.enter_context(LockedMapping.create(unique_name, 10)),
        )
        timer.start()
        with LockedMapping.wait_for(unique_name, LONG) as found:
            assert not found.wait_for_change(0)
        timer.join(LONG)


def test_no_change_is_lost(mapping: LockedMapping, peer: Any, unique_name: str) -> None:
    """Ping-pong: each side waits only for the other's change, hundreds of times.

    One wake-up lost and both wait for ever.
    """
    rounds = 2000 if FULL else 800
    peer.say(f"m = winipc.LockedMapping.open({unique_name!r})")
    peer.expect("ok")
    peer.say(
        f"exec('for i in range(0, {2 * rounds}, 2):\\n"
        "    while m.changes <= i: assert m.wait_for_change(30)\\n"
        "    m.notify_change()')"
    )
    for i in range(1, 2 * rounds, 2):
        mapping.notify_change()
        begin = time.monotonic()
        while mapping.changes <= i:
            assert mapping.wait_for_change(LONG), i
        assert time.monotonic() - begin < LONG / 2, "woken by the timeout only"
    peer.expect("None", LONG)
    assert mapping.changes == 2 * rounds


def test_every_waiter_wakes(mapping: LockedMapping) -> None:
    """Threads of one object and of others, all by one change; twenty times."""
    with LockedMapping.open(str(mapping.name)) as other:
        for _ in range(20):
            start = mapping.changes
            woken: list[bool] = []

            def wait(
                which: LockedMapping, start: int = start, woken: list[bool] = woken
            ) -> None:
                woken.append(which.wait_for_change(LONG, since=start))

            threads = [
                threading.Thread(target=wait, args=(which,))
                for which in (mapping, other)
                for _ in range(5)
            ]
            for thread in threads:
                thread.start()
            deadline = time.monotonic() + LONG
            while mapping._board.busy + other._board.busy < 10:
                assert time.monotonic() < deadline
                time.sleep(0.001)
            begin = time.monotonic()
            mapping.notify_change()
            for thread in threads:
                thread.join(LONG)
            assert woken == [True] * 10
            assert time.monotonic() - begin < LONG / 2, "woken by the timeout only"


def test_killed_waiter_frees_its_slot(
    mapping: LockedMapping, peer: Any, unique_name: str
) -> None:
    """The next notification finds that its event is gone."""
    peer.say(f"m = winipc.LockedMapping.open({unique_name!r})")
    peer.expect("ok")
    peer.say("m.wait_for_change(0)")
    peer.expect("False")
    with SharedMapping.open(f"{unique_name}.changes", access="read") as changes:
        assert any(changes.read(offset=16, size=1008))
        peer.kill()
        mapping.notify_change()
        assert not any(changes.read(offset=16, size=1008))
    assert mapping.wait_for_change(0)


def test_full_and_hostile_slots(mapping: LockedMapping, unique_name: str) -> None:
    """Slots of the dead are taken over; those of others wake no one and stop no one."""
    with SharedMapping.open(f"{unique_name}.changes") as changes:
        changes.write(struct.pack("<252I", *range(1, 253)), 16)
        assert not mapping.wait_for_change(0)
        mapping.notify_change()
        assert mapping.wait_for_change(LONG)
    with winipc.Mutex.create(f"{unique_name}.changes.000000ff") as wrong:
        try:
            with SharedMapping.open(f"{unique_name}.changes") as changes:
                changes.write(struct.pack("<252I", *[0xFF] * 252), 16)
                mapping.notify_change()
                with (
                    LockedMapping.open(unique_name) as late,
                    pytest.raises(OSError, match="slots are taken"),
                ):
                    late.wait_for_change(0.01)
        finally:
            pass
    wrong.close()


def test_leaving_with_hides_nothing_and_closes_all(unique_name: str) -> None:
    """An exception passes; an array keeps the memory, and no mutex or event."""
    with LockedMapping.create(unique_name, 100) as locked:
        kept = memoryview(locked)
    assert locked.closed
    with pytest.raises(FileNotFoundError):
        winipc.Mutex.open(f"{unique_name}.lock")
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(f"{unique_name}.changes")
    kept[0] = 1
    kept.release()

    locked = LockedMapping.create(unique_name, 100)
    locked.lock.acquire()
    with pytest.raises(KeyError) as caught, locked:
        raise KeyError("mine")
    assert "lock is held" in caught.value.__notes__[0]
    locked.lock.release()
    locked.close()


def test_close_refuses_while_in_use(mapping: LockedMapping) -> None:
    """While the lock is held, by whom ever, and while somebody waits."""
    entered = threading.Event()
    leave = threading.Event()

    def hold() -> None:
        with mapping.lock:
            entered.set()
            leave.wait(LONG)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(LONG)
    with pytest.raises(BufferError, match="lock is held"):
        mapping.close()
    leave.set()
    thread.join(LONG)

    waiter = threading.Thread(target=mapping.wait_for_change, args=(LONG,))
    waiter.start()
    deadline = time.monotonic() + LONG
    while not mapping._board.busy:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    with pytest.raises(BufferError, match="wait"):
        mapping.close()
    mapping.notify_change()
    waiter.join(LONG)

    view = memoryview(mapping)
    with pytest.raises(BufferError):
        mapping.close()
    view.release()
    mapping.write(b"still open")
    with mapping.lock:
        pass
    mapping.close()
    mapping.close()
    for use in (mapping.notify_change, mapping.wait_for_change):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_killed_owner_of_the_lock(
    mapping: LockedMapping, peer: Any, unique_name: str
) -> None:
    """The survivor is told, and holds the lock."""
    peer.say(f"m = winipc.LockedMapping.open({unique_name!r}); m.lock.acquire()")
    peer.expect("ok")
    peer.kill()
    with pytest.raises(winipc.AbandonedError):
        mapping.lock.acquire(LONG)
    mapping.lock.release()


@pytest.mark.parametrize("loop", ["Proactor", "Selector"])
def test_change_in_asyncio(loop: str, mapping: LockedMapping) -> None:
    """A task waits while the loop runs; a cancelled one leaves nothing in use."""

    async def main() -> None:
        task = asyncio.create_task(mapping.wait_for_change_async(LONG))
        await asyncio.sleep(0)
        mapping.notify_change()
        assert await task is True
        assert await mapping.wait_for_change_async(0.01) is False
        task = asyncio.create_task(mapping.wait_for_change_async())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        mapping.close()

    with asyncio.Runner(loop_factory=getattr(asyncio, f"{loop}EventLoop")) as runner:
        runner.run(main())


def test_bad_timeouts(mapping: LockedMapping) -> None:
    """Negative and NaN are errors."""
    for bad in (-1, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            mapping.wait_for_change(bad)


def test_rounds_leave_nothing(unique_name: str) -> None:
    """Many create, wait, close; the names are gone each time."""
    for _ in range(200):
        with LockedMapping.create(unique_name, 64) as mapping:
            assert not mapping.wait_for_change(0)
            mapping.notify_change()
            assert mapping.wait_for_change(0)
    assert named_objects(pattern=f"{unique_name}*") == []


def test_close_that_fails_halfway_closes_the_mutex(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the change counter leaves no mutex open."""
    mapping = LockedMapping.create(unique_name, 64)
    board = mapping._board
    closes = board.close

    def fail() -> None:
        closes()
        raise OSError("no")

    monkeypatch.setattr(type(board), "close", lambda self: fail())
    with pytest.raises(OSError, match="no"):
        mapping.close()
    assert mapping.closed
    assert mapping.lock.closed
