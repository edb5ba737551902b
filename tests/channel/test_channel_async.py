"""Channel in asyncio tasks."""

from __future__ import annotations

import asyncio
import gc
import mmap
import random
import struct
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from helpers.channels import CAPACITY, DEADLINE

from winipc import Channel

LOOPS = [asyncio.ProactorEventLoop, asyncio.SelectorEventLoop]


def run(main: Callable[[], Coroutine[Any, Any, None]], kind: Any = None) -> None:
    """On a loop of this kind."""
    with asyncio.Runner(loop_factory=kind) as runner:
        runner.run(main())


@pytest.mark.parametrize("kind", LOOPS)
def test_async_forms(unique_name: str, kind: Any) -> None:
    """recv_async, recv_many_async, send_async and async for, in one loop."""

    async def main() -> None:
        with Channel.create(unique_name, 256) as channel:
            channel._claim(True)
            with pytest.raises(TimeoutError):
                await channel.recv_async(timeout=0.05)

            async def produce() -> None:
                with Channel.open(unique_name) as sender:
                    for number in range(500):
                        await sender.send_async(b"%d" % number)
                    await sender.send_async(bytes(248))
                    await sender.send_async(b"last")

            task = asyncio.create_task(produce())
            assert await channel.recv_async() == b"0"
            messages = [message async for message in channel]
            await task
            assert messages == [
                *(b"%d" % number for number in range(1, 500)),
                bytes(248),
                b"last",
            ]

    run(main, kind)


def test_a_task_waits_for_a_thread_at_the_same_end(
    pair: tuple[Channel, Channel],
) -> None:
    """recv_async while a thread is in recv: after it, or a TimeoutError."""
    sender, receiver = pair
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(receiver.recv(DEADLINE)))
    thread.start()
    while receiver.receiver is None:
        time.sleep(0.001)  # the thread is there

    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await receiver.recv_async(timeout=0.1)
        assert time.monotonic() - began >= 0.09
        task = asyncio.create_task(receiver.recv_async(DEADLINE))
        await asyncio.sleep(0.05)
        assert not task.done()
        sender.send(b"for the thread")
        await asyncio.to_thread(thread.join, DEADLINE)
        sender.send(b"for the task")
        assert await task == b"for the task"

    asyncio.run(main())
    assert received == [b"for the thread"]


def test_cancelling_a_task_loses_nothing(pair: tuple[Channel, Channel]) -> None:
    """A cancelled recv_async has taken no message."""
    sender, receiver = pair

    async def main() -> None:
        for number in range(20):
            task = asyncio.create_task(receiver.recv_async())
            await asyncio.sleep(0.001 * (number % 3))
            task.cancel()
            sender.send(b"%d" % number)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await receiver.recv_async(DEADLINE) == b"%d" % number

    asyncio.run(main())


def test_a_task_notices_a_killed_sender(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """BrokenPipeError in a sleeping task."""
    with Channel.create(unique_name, CAPACITY, role="recv") as channel:
        peer = start_peer("channel_peer.py", "die", unique_name, 1)
        peer.expect("sent")

        async def main() -> None:
            assert await channel.recv_async(DEADLINE) == b"0"
            asyncio.get_running_loop().call_later(0.05, peer.kill)
            with pytest.raises(BrokenPipeError):
                await channel.recv_async(DEADLINE)

        asyncio.run(main())


@pytest.mark.parametrize("producers", ["one", "many"])
@pytest.mark.parametrize("kind", LOOPS)
def test_a_cancelled_send_gives_its_turn_back(
    unique_name: str, producers: Any, kind: Any
) -> None:
    """The loop ends, the message never comes, and other senders go on."""
    with Channel.create(unique_name, 256, producers=producers) as channel:
        channel.send(b"x" * 200)

        async def main() -> None:
            with pytest.raises(TimeoutError):
                await channel.send_async(b"timed out" * 20, 0.05)
            task = asyncio.create_task(channel.send_async(b"cancelled" * 20))
            await asyncio.sleep(0.05)
            assert not task.done()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        run(main, kind)
        if producers == "many":
            with Channel.open(unique_name, role="send") as other:
                other.send(b"other", 0)  # there is room for it
        else:
            channel.send(b"other", 0)
        assert channel.recv_many() == [b"x" * 200, b"other"]


def test_a_task_sends_when_there_is_room(unique_name: str) -> None:
    """With many producers, of which one waits for its turn and one for room."""

    async def main() -> None:
        with (
            Channel.create(unique_name, 256, producers="many") as channel,
            Channel.open(unique_name) as other,
        ):
            channel.send(b"x" * 200)
            first = asyncio.create_task(channel.send_async(b"first" * 20))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(other.send_async(b"second" * 20))
            await asyncio.sleep(0.05)
            assert not first.done()
            assert not second.done()
            received = [await channel.recv_async() for _ in range(3)]
            await asyncio.gather(first, second)
            assert received == [b"x" * 200, b"first" * 20, b"second" * 20]

    asyncio.run(main())


def test_idle_tasks_try_nothing(unique_name: str) -> None:
    """However many wait: no thread for each, and no try while nothing happens."""
    tries = 0

    class Counted(Channel):
        __slots__ = ()

        def recv(self, *arguments: Any, **options: Any) -> Any:
            nonlocal tries
            tries += 1
            return super().recv(*arguments, **options)

    async def main() -> None:
        nonlocal tries
        channels = [Counted.create(None, 256) for _ in range(100)]
        before = threading.active_count()
        tasks = [asyncio.create_task(channel.recv_async()) for channel in channels]
        await asyncio.sleep(0.5)
        tries = 0
        await asyncio.sleep(1.5)
        assert tries == 0
        assert threading.active_count() - before <= 2
        for number, channel in enumerate(channels):
            channel.send(b"%d" % number)
        assert await asyncio.gather(*tasks) == [b"%d" % n for n in range(100)]
        for channel in channels:
            channel.close()

    asyncio.run(main())


@pytest.mark.parametrize("producers", ["one", "many"])
def test_random_cancellations_lose_and_double_nothing(
    unique_name: str, producers: Any
) -> None:
    """Sends and receives that are cancelled at any moment, in a small ring."""
    rng = random.Random(11)

    async def main() -> None:
        sent: list[bytes] = []
        received: list[bytes] = []
        with Channel.create(unique_name, 256, producers=producers) as channel:
            for number in range(1000):
                message = b"%d" % number * rng.randrange(1, 30)
                send = asyncio.create_task(channel.send_async(message))
                recv = asyncio.create_task(channel.recv_async())
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                for task in (send, recv):
                    if rng.random() < 0.5:
                        task.cancel()
                await asyncio.wait([send], timeout=0.001)
                if not send.done():
                    send.cancel()
                recv.cancel()
                await asyncio.wait([send, recv])
                if not send.cancelled():
                    send.result()
                    sent.append(message)
                if not recv.cancelled():
                    received.append(recv.result())
            received += channel.recv_many(None, 0) if channel.pending else []
        assert received == sent

    asyncio.run(main())


def test_close_refuses_while_a_task_waits(pair: tuple[Channel, Channel]) -> None:
    """BufferError, until it is cancelled."""
    _, receiver = pair

    async def main() -> None:
        task = asyncio.create_task(receiver.recv_async())
        await asyncio.sleep(0.05)
        with pytest.raises(BufferError, match="task"):
            receiver.close()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        receiver.close()

    asyncio.run(main())


def _leave_in_a_send(channel: Channel) -> asyncio.Task[None]:
    """The task of a loop that was closed while the ring was full."""
    channel.send(b"x" * 200)
    loop = asyncio.new_event_loop()
    task = loop.create_task(channel.send_async(b"y" * 200))
    loop.run_until_complete(asyncio.sleep(0.05))
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    return task


def test_a_loop_that_is_closed_in_the_middle_leaves_nothing(
    unique_name: str,
) -> None:
    """Once there is room, its task can be collected, and gives its turn back."""
    with Channel.create(unique_name, 256, producers="many") as channel:
        task = _leave_in_a_send(channel)
        del task
        assert channel.recv(0) == b"x" * 200
        deadline = time.monotonic() + DEADLINE
        with Channel.open(unique_name) as other:
            while True:
                gc.collect()
                try:
                    other.send(b"z", 0)
                    break
                except TimeoutError:
                    assert time.monotonic() < deadline
        assert channel.recv_many() == [b"z"]


def test_a_closed_loop_does_not_keep_the_turn(unique_name: str) -> None:
    """Nor while its task is referred to: others send what there is room for."""
    with Channel.create(unique_name, 256, producers="many") as channel:
        task = _leave_in_a_send(channel)
        with Channel.open(unique_name) as other:
            other.send(b"z", DEADLINE)
        channel.send(b"same end", DEADLINE)
        del task
        gc.collect()  # it gives nothing back twice
        channel.send(b"later", 0)
        assert channel.recv_many() == [b"x" * 200, b"z", b"same end", b"later"]


def test_a_sleeping_task_notices_a_killed_receiver(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """Which may not be opened either."""
    with Channel.create(unique_name, 256) as channel:
        peer = start_peer("channel_peer.py", "hold_shut", unique_name, "recv")
        peer.expect("ready")
        channel.send(bytes(248))

        async def main() -> None:
            task = asyncio.create_task(channel.send_async(bytes(248)))
            await asyncio.sleep(0.05)
            assert not task.done()
            peer.kill()
            with pytest.raises(BrokenPipeError):
                await asyncio.wait_for(task, DEADLINE)

        asyncio.run(main())


def test_a_sleeping_task_gets_the_turn_of_a_killed_sender(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """The lock's owner dies while the task waits for it."""
    with Channel.create(unique_name, 2048, producers="many", role="recv") as channel:
        with Channel.open(unique_name, role="send") as sender:
            peer = start_peer("channel_peer.py", "hold_shut", unique_name, "send")
            peer.expect("ready")
            with mmap.mmap(-1, 4096, tagname=unique_name) as memory:
                word, pid = struct.unpack_from("<QQ", memory, 1024 + 2 * 32)
                assert pid == peer.pid
                struct.pack_into("<Q", memory, 512, 2 | word >> 40 << 8)

            async def main() -> None:
                task = asyncio.create_task(sender.send_async(b"mine"))
                await asyncio.sleep(0.05)
                assert not task.done()
                peer.kill()
                await asyncio.wait_for(task, DEADLINE)

            asyncio.run(main())
        assert channel.recv(0) == b"mine"


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_times_that_cannot_be_are_refused(
    pair: tuple[Channel, Channel], timeout: float
) -> None:
    """Also where there is no need to wait."""
    sender, receiver = pair
    sender.send(b"here")
    for call in (
        lambda: receiver.recv_async(timeout),
        lambda: receiver.recv_many_async(1, timeout),
        lambda: sender.send_async(b"x", timeout),
    ):
        with pytest.raises(ValueError, match="timeout"):
            asyncio.run(call())
