"""CopyDataWindow in asyncio, on both kinds of event loop."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from conftest import handle_count

import winipc
from winipc import _core

Run = Callable[[Coroutine[Any, Any, Any]], Any]

LIMIT = 60.0


@pytest.fixture(params=["proactor", "selector"])
def run(request: pytest.FixtureRequest) -> Run:
    """asyncio.run on each kind of loop, with a deadline."""
    factory = {
        "proactor": asyncio.ProactorEventLoop,
        "selector": asyncio.SelectorEventLoop,
    }[request.param]

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(main, LIMIT))

    return run


@pytest.fixture
def window(unique_name: str) -> Any:
    with winipc.CopyDataWindow.create(unique_name) as window:
        yield window


async def send_soon(window: winipc.CopyDataWindow, *ids: int) -> None:
    """From another thread, after the loop has gone to sleep."""

    def send() -> None:
        for id in ids:
            winipc.send_copydata(window, b"data", id=id)

    await asyncio.sleep(0.02)
    await asyncio.to_thread(send)


@pytest.mark.smoke
def test_receive_async_waits_and_takes(run: Run, window: winipc.CopyDataWindow) -> None:
    """A message that is there, and one that comes later."""

    async def main() -> list[int]:
        winipc.send_copydata(window, b"x", id=1)
        first = await window.receive_async()
        sender = asyncio.create_task(send_soon(window, 2))
        second = await window.receive_async()
        await sender
        return [first.id, second.id]

    assert run(main()) == [1, 2]


def test_async_for_ends_when_the_window_closes(
    run: Run, window: winipc.CopyDataWindow
) -> None:
    """With all that was taken, in order."""

    async def close_later() -> None:
        await send_soon(window, *range(100))
        await asyncio.to_thread(window.close)

    async def main() -> list[int]:
        task = asyncio.create_task(close_later())
        ids = [message.id async for message in window]
        await task
        return ids

    assert run(main()) == list(range(100))


def test_cancelled_receivers_lose_no_message(
    run: Run, window: winipc.CopyDataWindow
) -> None:
    """However the cancellation and the message meet."""
    count = 200

    async def main() -> list[int]:
        got: list[int] = []
        sending = threading.Event()

        def send() -> None:
            sending.set()
            for id in range(count):
                winipc.send_copydata(window, b"x", id=id)

        sender = asyncio.create_task(asyncio.to_thread(send))
        await asyncio.to_thread(sending.wait)
        while len(got) < count:
            task = asyncio.create_task(window.receive_async())
            for _ in range(len(got) % 4):
                await asyncio.sleep(0)
            task.cancel()
            try:
                got.append((await task).id)
            except asyncio.CancelledError:
                got.extend(m.id for m in iter(window.receive_nowait, None))
        await sender
        return got

    assert run(main()) == list(range(count))


def test_several_coroutines_share_the_messages(
    run: Run, window: winipc.CopyDataWindow
) -> None:
    """Each message goes to one of them, and one that is cancelled to none."""

    async def take(got: list[int]) -> None:
        async for message in window:
            got.append(message.id)

    async def main() -> list[int]:
        got: list[int] = []
        tasks = [asyncio.create_task(take(got)) for _ in range(4)]
        await send_soon(window, *range(50))
        tasks[0].cancel()
        await send_soon(window, *range(50, 100))
        await asyncio.to_thread(window.close)
        await asyncio.gather(*tasks, return_exceptions=True)
        return sorted(got)

    assert run(main()) == list(range(100))


def test_closed_window_raises(run: Run, window: winipc.CopyDataWindow) -> None:
    """Also in a coroutine that waits already."""

    async def main() -> None:
        task = asyncio.create_task(window.receive_async())
        await asyncio.sleep(0.02)
        await asyncio.to_thread(window.close)
        with pytest.raises(ValueError, match="closed"):
            await task
        with pytest.raises(ValueError, match="closed"):
            await window.receive_async()

    run(main())


def test_a_wait_may_have_a_limit(run: Run, window: winipc.CopyDataWindow) -> None:
    """As that of receive(); a message that is there is taken at once."""

    async def main() -> int:
        for timeout in (0, 0.01):
            with pytest.raises(TimeoutError, match="no message came") as caught:
                await window.receive_async(timeout)
            assert caught.value.winerror == 1460
        with pytest.raises(ValueError, match="timeout"):
            await window.receive_async(-1)
        await asyncio.to_thread(winipc.send_copydata, window, b"x", id=5)
        return (await window.receive_async(0)).id

    assert run(main()) == 5


def test_a_message_before_the_close_is_received(run: Run, unique_name: str) -> None:
    """Both come between the look for a message and the wait for one."""

    class Closed(winipc.CopyDataWindow):
        def _begin_wait(self) -> int:
            winipc.send_copydata(self, b"data")
            self.close()
            return super()._begin_wait()

    with Closed.create(unique_name) as window:
        assert bytes(run(window.receive_async())) == b"data"


def test_loops_may_follow_one_another(run: Run, window: winipc.CopyDataWindow) -> None:
    """Each waits anew, and nothing is left open."""

    async def main(id: int) -> int:
        sender = asyncio.create_task(send_soon(window, id))
        message = await window.receive_async()
        await sender
        return message.id

    for id in range(3):
        assert run(main(id)) == id
    gc.collect()  # ResourceWarning is an error here


def test_a_window_whose_loop_is_dropped_goes_with_it(unique_name: str) -> None:
    """Though the task that waits for it is collected after it, and its thread ends."""

    def drop() -> weakref.ref[winipc.CopyDataWindow]:
        window = winipc.CopyDataWindow.create(unique_name)
        loop = asyncio.new_event_loop()
        task = loop.create_task(window.receive_async())
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        return weakref.ref(window)

    def rounds(count: int) -> int:
        for _ in range(count):
            window = drop()
            gc.collect()
            assert window() is None
            assert winipc.find_window(unique_name) is None
        return handle_count()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        before = rounds(3)
        assert rounds(20) <= before + 3


def test_two_loops_at_once(window: winipc.CopyDataWindow) -> None:
    """In two threads; each message goes to one of them."""
    got: list[list[int]] = [[], []]

    def work(ids: list[int]) -> None:
        async def main() -> None:
            async for message in window:
                ids.append(message.id)

        asyncio.run(main())

    threads = [threading.Thread(target=work, args=(ids,)) for ids in got]
    for thread in threads:
        thread.start()
    for id in range(200):
        winipc.send_copydata(window, b"x", id=id)
    window.close()
    for thread in threads:
        thread.join(LIMIT)
    assert sorted(got[0] + got[1]) == list(range(200))
    assert got[0] == sorted(got[0])
    assert got[1] == sorted(got[1])


def test_an_idle_wait_uses_no_processor(
    run: Run, window: winipc.CopyDataWindow
) -> None:
    """No polling: the loop does not turn while nothing comes."""

    async def main() -> int:
        loop = asyncio.get_running_loop()
        turns = 0
        select = loop._selector.select  # type: ignore[attr-defined]

        def counted(timeout: float | None = None) -> Any:
            nonlocal turns
            turns += 1
            return select(timeout)

        loop._selector.select = counted  # type: ignore[attr-defined]
        task = asyncio.create_task(window.receive_async())
        await asyncio.sleep(1.0)
        task.cancel()
        return turns

    assert run(main()) < 10


# ------------------------------------------------------------------------ sends


def test_send_async_lets_other_tasks_run(run: Run, unique_name: str) -> None:
    """The handler answers only after another task has run."""
    release = threading.Event()

    def handler(message: winipc.Message) -> int:
        release.wait(LIMIT)
        return message.id + len(message)

    async def main() -> list[int]:
        with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
            sends = [
                asyncio.create_task(
                    winipc.send_copydata_async(window, b"abc", id=id, timeout=LIMIT)
                )
                for id in range(20)
            ]
            await asyncio.sleep(0)
            release.set()
            return await asyncio.gather(*sends)

    assert run(main()) == [id + 3 for id in range(20)]


def test_answer_async_lets_other_tasks_run(run: Run, unique_name: str) -> None:
    """The client takes the answer only after another task has run."""
    release = threading.Event()
    taken: list[tuple[int, bytes]] = []

    def handler(message: winipc.Message) -> int:
        release.wait(LIMIT)
        taken.append((message.id, bytes(message)))
        return 5

    async def main() -> None:
        with (
            winipc.CopyDataWindow.create(unique_name) as server,
            winipc.CopyDataWindow.create("", handler=handler) as client,
        ):
            winipc.send_copydata(server, b"ask", id=3, sender=client)
            winipc.send_copydata(server, b"ask")
            message, nameless = server.receive(0), server.receive(0)
            answers = [
                asyncio.create_task(
                    server.answer_async(message, b"told", id=id, timeout=LIMIT)
                )
                for id in (None, 7)
            ]
            await asyncio.sleep(0)
            release.set()
            assert await asyncio.gather(*answers) == [5, 5]
            assert sorted(taken) == [(3, b"told"), (7, b"told")]
            with pytest.raises(ValueError, match="names no window"):
                await server.answer_async(nameless, b"")

    run(main())


def test_send_async_raises_as_send_copydata_does(run: Run, unique_name: str) -> None:
    """Refused, too large, gone, no bytes; check=False gives the 0."""

    async def main() -> None:
        send = winipc.send_copydata_async
        with winipc.CopyDataWindow.create(
            unique_name, handler=lambda message: 0, max_message=2 << 20
        ) as window:
            hwnd = window.hwnd
            with pytest.raises(ConnectionRefusedError, match="3 bytes with id 0x7"):
                await send(unique_name, b"abc", id=7)
            assert await send(hwnd, b"abc", check=False) == 0
            with pytest.raises(ConnectionRefusedError, match="at most 2097152 bytes"):
                await send(hwnd, bytes((2 << 20) + 1))
            with pytest.raises(TypeError, match="encode"):
                await send(hwnd, "text")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="timeout"):
                await send(hwnd, b"", timeout=float("nan"))
        with pytest.raises(FileNotFoundError):
            await send(hwnd, b"abc")
        with pytest.raises(FileNotFoundError):
            await send(unique_name, b"abc")

    run(main())


def test_cancelled_send_keeps_its_data_until_it_is_through(
    run: Run, unique_name: str
) -> None:
    """The receiver gets all of it; then the buffer may be resized again."""
    entered, release = threading.Event(), threading.Event()
    got: list[bytes] = []

    def handler(message: winipc.Message) -> int:
        entered.set()
        release.wait(LIMIT)
        got.append(bytes(message))
        return 1

    data = bytearray(b"data" * 100)

    async def main() -> None:
        with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
            send = asyncio.create_task(
                winipc.send_copydata_async(window, data, timeout=LIMIT)
            )
            await asyncio.to_thread(entered.wait, LIMIT)
            send.cancel()
            with pytest.raises(asyncio.CancelledError):
                await send
            del send
            with pytest.raises(BufferError):
                data.append(1)
            release.set()
            # The next send comes when that one is through, and frees its buffer.
            assert winipc.send_copydata(window, b"", timeout=LIMIT) == 1

    run(main())
    deadline = time.monotonic() + LIMIT
    with winipc.CopyDataWindow.create(unique_name) as other:
        while True:
            # A send frees the buffers of those that are through.
            assert winipc.send_copydata(other, b"") == 1
            try:
                data.append(1)
                break
            except BufferError:
                assert time.monotonic() < deadline
    assert got[0] == b"data" * 100


def test_the_event_is_right_from_the_first_look(unique_name: str) -> None:
    """It says nothing while nobody looks at it."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        for _ in range(2):
            winipc.send_copydata(window, b"data")
            ready = window._begin_wait()
            assert _core._wait((ready,), 0) == 0
            window.receive(10)
            assert _core._wait((ready,), 0) != 0
            winipc.send_copydata(window, b"data")
            assert _core._wait((ready,), 0) == 0
            window._end_wait()
            window.receive(10)
            ready = window._begin_wait()
            assert _core._wait((ready,), 0) != 0
            window._end_wait()
