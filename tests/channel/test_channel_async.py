"""Channel in asyncio tasks."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from helpers.channels import CAPACITY, DEADLINE

from winipc import Channel


def test_async_forms(unique_name: str) -> None:
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

    asyncio.run(main())


def test_a_task_waits_for_a_thread_at_the_same_end(
    pair: tuple[Channel, Channel],
) -> None:
    """recv_async while a thread is in recv: after it, or a TimeoutError."""
    sender, receiver = pair
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(receiver.recv(DEADLINE)))
    thread.start()
    while True:
        try:
            receiver._arm(-1, False)
        except TimeoutError:
            break  # the thread is there
        time.sleep(0.001)

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
