"""How asyncio tasks wait for kernel objects: on every loop, and with no polling.

Few threads wait for all tasks: each sleeps in WaitForMultipleObjects over up to
62 objects and an event of its own that wakes it when the set changes. When an
object is signalled its first task is told through `call_soon_threadsafe`.

The thread's wait *takes* what it waits for (an auto-reset event is reset, a
semaphore counted down), and the task may be cancelled in the same instant. So
each wait is in one of two states, changed under one lock: while it is PENDING a
cancellation wins, and what the thread takes for it after that is given back;
once it is TAKEN the task has it, and gives it back itself if it is cancelled.

A mutex belongs to the thread that takes it, so each `lock_async` has a thread
of its own that takes, holds and releases it.
"""

from __future__ import annotations

import asyncio
import atexit
import enum
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeAlias

from winipc import _core
from winipc.errors import AbandonedError
from winipc.sync.waitable import Event, Mutex, Semaphore, SyncAccess

__all__ = ["hold_mutex", "wait_async"]

_Object: TypeAlias = Event | Semaphore

#: Objects in one thread's wait, beside its own event. MAXIMUM_WAIT_OBJECTS is 64.
_ROOM = 62

#: Seconds that a thread with nothing to wait for stays, for the next one to come.
_LINGER = 5.0


class _State(enum.Enum):
    PENDING = enum.auto()
    TAKEN = enum.auto()
    GONE = enum.auto()


class _Wait:
    """One task's wait for one object."""

    __slots__ = ("error", "future", "loop", "object", "state", "waiter")

    def __init__(self, waited: _Object, loop: asyncio.AbstractEventLoop) -> None:
        self.object = waited
        self.loop = loop
        self.future: asyncio.Future[None] = loop.create_future()
        self.state = _State.PENDING
        self.error: BaseException | None = None
        self.waiter: _Waiter | None = None

    def deliver(self) -> None:
        """Called by the loop: let the task go on."""
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(None)


#: Guards the waiters, their queues and the state of all waits. Never held in a wait.
_changed = threading.Condition()
_waiters: list[_Waiter] = []


class _Waiter:
    """A thread that waits for the objects of many tasks."""

    def __init__(self) -> None:
        self.wake = Event.create()
        self.queues: dict[_Object, deque[_Wait]] = {}
        self.turn = 0  # counts the returns from the wait
        self.stopping = False
        self.thread = threading.Thread(
            target=self.run, name="winipc-awaiting", daemon=True
        )

    def run(self) -> None:
        expired = False
        while True:
            with _changed:
                self.turn += 1
                _changed.notify_all()
                objects = tuple(self.queues)
                if self.stopping or (expired and not objects):
                    self.leave()
                    break
            # `wake` is last: every return from the wait looks at the queues
            # again, and a flood of new waits is not to starve the old ones.
            try:
                index = _core._wait_any(
                    (*objects, self.wake), None if objects else _LINGER, False
                )
            except Exception as error:
                self.fail(error)
                continue
            expired = index < 0
            if 0 <= index < len(objects):
                self.take(objects[index])
        self.wake.close()

    def leave(self) -> None:
        """Take no more waits, and end those that there are. Called locked."""
        _waiters.remove(self)
        for queue in self.queues.values():
            for wait in queue:
                wait.state = _State.GONE
        self.queues.clear()

    def take(self, waited: _Object) -> None:
        """Hand what the wait took to the first task that waits for it."""
        with _changed:
            queue = self.queues.get(waited)
            wait = queue.popleft() if queue else None
            if queue is not None and not queue:
                del self.queues[waited]
            if wait is not None:
                wait.state = _State.TAKEN
        if wait is None:
            _give_back(waited)
            return
        try:
            wait.loop.call_soon_threadsafe(wait.deliver)
        except RuntimeError:  # its loop is closed
            with _changed:
                wait.state = _State.GONE
            _give_back(waited)

    def fail(self, error: Exception) -> None:
        """The wait itself failed: every task of this thread is told."""
        with _changed:
            waits = [wait for queue in self.queues.values() for wait in queue]
            self.queues.clear()
            for wait in waits:
                wait.state = _State.GONE
                wait.error = error
        for wait in waits:
            with suppress(RuntimeError):  # its loop is closed
                wait.loop.call_soon_threadsafe(wait.deliver)


def _give_back(taken: _Object) -> None:
    if isinstance(taken, Semaphore):
        taken.release()
    elif not taken.manual:
        taken.set()


def _add(wait: _Wait) -> None:
    """Give the wait to a thread; one that waits for the same object, if any."""
    with _changed:
        waiter = next((one for one in _waiters if wait.object in one.queues), None)
        if waiter is None:
            waiter = next((one for one in _waiters if len(one.queues) < _ROOM), None)
        if waiter is None:
            waiter = _Waiter()
            try:
                waiter.thread.start()
            except BaseException:  # no thread closes it
                waiter.wake.close()
                raise
            _waiters.append(waiter)
        queue = waiter.queues.setdefault(wait.object, deque())
        queue.append(wait)
        wait.waiter = waiter
        if len(queue) == 1:
            waiter.wake.set()


def _discard(wait: _Wait) -> bool:
    """End a wait; False when it has taken the object already."""
    with _changed:
        if wait.state is not _State.PENDING:
            return wait.state is _State.GONE
        waiter = wait.waiter
        assert waiter is not None
        wait.state = _State.GONE
        queue = waiter.queues[wait.object]
        queue.remove(wait)
        if not queue:
            del waiter.queues[wait.object]
            # Until the thread is out of its wait it may take the object, and
            # keeps it from being closed.
            turn = waiter.turn
            waiter.wake.set()
            _changed.wait_for(lambda: waiter.turn != turn)
    return True


@atexit.register
def _stop() -> None:
    """Let the threads end before the interpreter does."""
    with _changed:
        waiters = tuple(_waiters)
        for waiter in waiters:
            waiter.stopping = True
            waiter.wake.set()
    for waiter in waiters:
        waiter.thread.join(5.0)


def _check_rights(waited: _Object) -> None:
    """Whether what a cancelled wait took can be given back."""
    manual = isinstance(waited, Event) and waited.manual
    if manual is None or (not manual and SyncAccess.MODIFY_STATE not in waited.access):
        error = PermissionError(
            0,
            "an awaited object needs QUERY_STATE and MODIFY_STATE",
            waited.name or "unnamed",
            5,
        )
        raise error


async def wait_async(waited: _Object, timeout: float | None) -> bool:
    """Await an event or a semaphore; False when the timeout ran out."""
    if timeout is not None and not timeout >= 0:
        raise ValueError("timeout must be a number of seconds >= 0, or None")
    if waited.acquire(0) if isinstance(waited, Semaphore) else waited.wait(0):
        return True
    _check_rights(waited)
    if timeout == 0:
        return False
    wait = _Wait(waited, asyncio.get_running_loop())
    waited._pin()
    try:
        _add(wait)
        try:
            async with asyncio.timeout(timeout):
                await wait.future
        except TimeoutError:
            return not _discard(wait)
        except BaseException:
            if not _discard(wait):
                _give_back(waited)
            raise
        return True
    finally:
        waited._unpin()


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
