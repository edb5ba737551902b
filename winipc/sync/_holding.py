"""How a task holds a mutex: by a thread of its own.

A mutex belongs to the thread that takes it, and all tasks of a loop are one
thread. So each `lock_async` has a thread that waits for the mutex and for an event
that ends the wait, holds the mutex for the block, and releases it.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from winipc import _core
from winipc.errors import AbandonedError
from winipc.sync.waitable import Event, Mutex

__all__ = ["hold_mutex"]


class _Holder:
    """A thread that takes a mutex, holds it for a task, and releases it."""

    def __init__(self, mutex: Mutex, timeout: float | None) -> None:
        self.mutex = mutex
        self.timeout = timeout
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[bool] = self.loop.create_future()
        self.stop = Event.create(manual=True)
        self.told = False  # the task knows that it has the mutex
        self.thread = threading.Thread(
            target=self.run, name="winipc-holder", daemon=True
        )

    def run(self) -> None:
        abandoned = False
        error: BaseException | None = None
        try:
            # `stop` is first, so that it wins when both are ready.
            index = _core._wait_any((self.stop, self.mutex), self.timeout, False)
            if index == 0:
                return
            if index < 0:
                error = TimeoutError(
                    0,
                    "the mutex was not free in time",
                    self.mutex.name or "unnamed",
                    1460,
                )
            taken = index == 1
        except AbandonedError as outcome:
            taken = abandoned = True
            error = outcome
        except BaseException as outcome:
            taken = False
            error = outcome
        try:
            self.loop.call_soon_threadsafe(self.deliver, error)
        except RuntimeError:  # the loop is closed
            self.stop.set()
        if taken:
            _core._wait_any((self.stop,), None, False)
            # Where nobody was told, the end of this thread abandons it again.
            if self.told or not abandoned:
                self.mutex.release()

    def deliver(self, error: BaseException | None) -> None:
        """Called by the loop: tell the task."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(True)
        else:
            self.future.set_exception(error)

    def end(self) -> None:
        """Let the thread release the mutex, and wait until it has."""
        self.stop.set()
        self.thread.join()
        self.stop.close()


@asynccontextmanager
async def hold_mutex(
    mutex: Mutex,
    timeout: float | None,
    repair: Callable[[Mutex], object] | None,
) -> AsyncIterator[Mutex]:
    """What `Mutex.lock_async` returns."""
    holder = _Holder(mutex, timeout)
    try:
        holder.thread.start()
    except BaseException:
        holder.stop.close()
        raise
    try:
        try:
            await holder.future
        except AbandonedError:
            holder.told = True
            if repair is None:
                raise
            repair(mutex)
        yield mutex
    finally:
        holder.end()
