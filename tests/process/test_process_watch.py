"""A watch yields each change, and ends.

Against tests/process/peers/target.c, whose memory is known.
"""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest
from helpers.c_target import Target

from winipc import (
    PartialReadError,
    RemoteProcess,
    Watch,
)

PAGE = 4096


def test_watch_yields_changes_and_ends(process: RemoteProcess, target: Target) -> None:
    """Each change once, then the end when the target exits."""
    point = target.where("point")
    watch = process.watch(point, 1, 0.01)
    assert watch.value == target.peek(point, 1)
    assert f"of 1 bytes at {point:#x} in pid {process.pid}>" in repr(watch)
    target.ask(f"poke {point:x} 01")
    change = next(watch)
    assert (change.address, change.new) == (point, b"\1")
    assert repr(change).startswith(f"Change(address={point:#x}, old=b'")
    seen = threading.Event()

    def later() -> None:
        target.ask(f"poke {point:x} 03")
        seen.wait(60)
        target.exit()

    thread = threading.Thread(target=later)
    thread.start()
    changes = []
    for change in watch:
        changes.append(change)
        seen.set()
    thread.join(60)
    assert [(c.old, c.new) for c in changes] == [(b"\1", b"\3")]
    assert list(watch) == []
    assert repr(watch).endswith(", ended>")


def test_watch_is_asynchronous_too(process: RemoteProcess, target: Target) -> None:
    """`async for`, beside other tasks."""
    point = target.where("point")

    async def main() -> list[bytes]:
        got = []
        async for change in process.watch(point, 1, 0.01):
            got.append(change.new)
            if len(got) < 3:
                await asyncio.to_thread(target.ask, f"poke {point:x} {len(got):02x}")
            else:
                await asyncio.to_thread(target.exit)
        return got

    watch_from = target.peek(point, 1)
    assert watch_from == b"\x11"

    async def both() -> list[bytes]:
        task = asyncio.create_task(main())
        await asyncio.sleep(0)
        await asyncio.to_thread(target.ask, f"poke {point:x} ff")
        return await asyncio.wait_for(task, 60)

    assert asyncio.run(both()) == [b"\xff", b"\1", b"\2"]


def test_watch_ends_when_its_process_object_is_closed(
    process: RemoteProcess, target: Target
) -> None:
    """In the body of the loop, as at the end of a `with`: an end, no ValueError."""
    point = target.where("point")
    got = []
    watch = process.watch(point, 1, 0.01)
    target.ask(f"poke {point:x} 01")
    for change in watch:
        got.append(change.new)
        process.close()
    assert got == [b"\1"]
    assert list(watch) == []


def test_watch_ends_when_it_is_closed_between_look_and_wait(
    process: RemoteProcess, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look found nothing new, and there is nothing to wait for any more."""
    watch = process.watch(target.where("point"), 1, 0.01)
    look = watch._look

    def look_and_close(watch: Watch) -> None:
        assert look() is None
        process.close()

    monkeypatch.setattr(Watch, "_look", look_and_close)
    assert list(watch) == []


@pytest.mark.parametrize("interval", [0.001, 3600])
def test_a_watch_is_ended_by_closing_its_process_object(
    process: RemoteProcess,
    target: Target,
    interval: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By another thread, while it waits: it is not refused, and the loop ends."""
    watch = process.watch(target.where("point"), 1, interval)
    ended = threading.Event()
    waits = threading.Event()
    wait = RemoteProcess.wait

    def told(self: RemoteProcess, timeout: float | None = None) -> int:
        waits.set()
        return wait(self, timeout)

    monkeypatch.setattr(RemoteProcess, "wait", told, raising=False)

    def loop() -> None:
        assert list(watch) == []
        ended.set()

    thread = threading.Thread(target=loop)
    thread.start()
    assert waits.wait(60)
    process.close()
    assert ended.wait(60)
    thread.join(60)
    assert watch._reader.closed


def test_a_forgotten_watch_keeps_no_handle(
    process: RemoteProcess, target: Target
) -> None:
    """Whether it was used up or not."""
    watch = process.watch(target.where("point"), 1)
    reader = watch._reader
    del watch
    gc.collect()
    assert reader.closed


def test_asynchronous_watch_ends_when_its_process_object_is_closed(
    process: RemoteProcess, target: Target
) -> None:
    """Closed in the loop's body, or by another task while this one sleeps."""
    point = target.where("point")

    async def first_then_close() -> list[bytes]:
        got = []
        watch = process.watch(point, 1, 0.01)
        await asyncio.to_thread(target.ask, f"poke {point:x} 01")
        async for change in watch:
            got.append(change.new)
            process.close()
        return got

    async def closed_by_another() -> list[bytes]:
        with RemoteProcess.open(target) as other:
            watch = other.watch(point, 1, 0.01)
            task = asyncio.create_task(anext(watch, None))
            await asyncio.sleep(0)  # it has looked, and sleeps
        return await asyncio.wait_for(task, 60)

    assert asyncio.run(first_then_close()) == [b"\1"]
    assert asyncio.run(closed_by_another()) is None


def test_watch_says_when_memory_goes(process: RemoteProcess, target: Target) -> None:
    """Freed memory is an error, not the end."""
    block = process.alloc(PAGE)
    watch = process.watch(block.address, 4, 0.001)
    block.close()
    with pytest.raises(PartialReadError):
        next(watch)
    with pytest.raises(ValueError, match="interval"):
        process.watch(target.where("point"), 1, -1)
