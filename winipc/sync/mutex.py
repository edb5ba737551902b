"""Mutex: a lock that one thread of one process holds at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from operator import attrgetter
from typing import Any, Protocol, TypeVar

from winipc import _core
from winipc._core import AbandonedError
from winipc.base.deadline import timed_out
from winipc.sync.waitable import Waitable, made

__all__ = ["Mutex"]


class _Lock(Protocol):
    """A `Mutex` or a `SharedLock`."""

    @property
    def _depth(self) -> int: ...
    def acquire(self, timeout: float | None = None) -> bool: ...
    def release(self) -> None: ...


_L = TypeVar("_L", bound=_Lock)


class _Exit(property):
    """The lock's own method; an ExitStack calls what the class has."""

    def __call__(self, held: _Held[_Lock], *details: Any) -> None:
        self.__get__(held)(*details)


class _Held(AbstractContextManager[_L, None]):
    """What `lock` gives: `contextmanager` would take ten times as long as the lock."""

    __slots__ = ("_lock", "_repair", "_timeout")

    def __init__(
        self, lock: _L, timeout: float | None, repair: Callable[[_L], object] | None
    ) -> None:
        self._lock = lock
        self._timeout = timeout
        self._repair = repair

    def __enter__(self) -> _L:
        lock = self._lock
        depth = lock._depth
        try:
            taken = lock.acquire(self._timeout)
        except AbandonedError:
            try:
                if self._repair is None:
                    raise
                self._repair(lock)
            except BaseException:
                lock.release()
                raise
        except BaseException:
            # Ctrl+C may come when `acquire` has just taken the lock.
            if lock._depth > depth:
                lock.release()
            raise
        else:
            if not taken:
                name = getattr(lock, "name", None) or repr(lock)
                raise timed_out("it was not free in time", name)
        return lock

    #: In C: a function in Python could be interrupted before it releases the lock.
    __exit__ = _Exit(attrgetter("_lock.__exit__"))


class Lockable:
    """The `lock` of `Mutex` and `SharedLock`."""

    __slots__ = ()

    def lock(
        self: _L,
        timeout: float | None = None,
        *,
        repair: Callable[[_L], object] | None = None,
    ) -> AbstractContextManager[_L, None]:
        """Hold the lock during a `with`, with a time-out and a repair.

        ::

            with mutex.lock(timeout=5):
                mapping.write(b"only one process at a time")

        If the lock was abandoned, this thread takes it, and calls `repair(self)` before
        the block. Without `repair`, or if `repair` raises, the lock is released and the
        block does not run.

        Raises:
            TimeoutError: The lock was not free within `timeout` seconds (winerror
                1460).
            AbandonedError: The thread that held it ended without releasing it.

        An error of `repair` is raised, too.

        Win32: those of `acquire` and `release`
        """
        return _Held(self, timeout, repair)


class Mutex(Waitable, _core.Mutex, Lockable):
    """A lock that one thread of one process holds at a time.

    ::

        mutex = winipc.Mutex.create("my-app.turn", exist_ok=True)
        with mutex:
            print(mutex.held)  # True
        mutex.close()

    `with mutex:` takes and releases the mutex; `contextlib.closing(mutex)` closes the
    object. The mutex belongs to the thread that took it. That thread may take it again,
    and must release it as often; no other thread can release it.

    `acquire` and `with` raise `AbandonedError` if the thread that held the mutex ended
    without releasing it. After `acquire`, the caller then holds the mutex. `with` and
    `lock` release it, and the block does not run.

    Win32: CreateMutexExW, WaitForSingleObject, ReleaseMutex
    """

    __slots__ = ("__weakref__",)

    @classmethod
    def create(
        cls,
        name: str | None = None,
        *,
        owned: bool = False,
        exist_ok: bool = False,
        security: str | None = None,
    ) -> Mutex:
        """Create a mutex, with or without a name.

        With `owned`, the calling thread holds it at once. For `security` see
        `SharedMapping.create`.

        Raises:
            FileExistsError: A mutex has the name, and `exist_ok` is false (winerror
                183).
            OSError: Another kind of object has the name (winerror 6).
            PermissionError: This process may not open it (winerror 5).
            ValueError: `owned` is given with `exist_ok`; another thread may hold an
                existing mutex.

        Win32: CreateMutexExW
        """
        if owned and exist_ok:
            raise ValueError("owned=True is for a new mutex only: use acquire()")
        return made(cls, name, exist_ok, security, owned, False)

    def _state(self) -> str:
        if self.held:
            return "held"
        return "held elsewhere" if self._taken else "free"

    @asynccontextmanager
    async def lock_async(
        self,
        timeout: float | None = None,
        *,
        repair: Callable[[Mutex], object] | None = None,
    ) -> AsyncIterator[Mutex]:
        """Hold the mutex for a task, during an `async with`.

        A mutex belongs to a thread, and all tasks of a loop run in one thread. So each
        `lock_async` has a thread of its own, which holds the mutex for the block. Two
        tasks exclude each other; a task that takes the mutex twice waits forever. In
        the block, `held` is False; do not call `release`.

        `timeout`, `repair` and the errors are those of `lock`. If a cancelled task
        would have got an abandoned mutex, the mutex stays abandoned.

        Win32: WaitForMultipleObjects, ReleaseMutex
        """
        import asyncio  # only here: not every user of winipc needs it
        import threading

        from winipc.sync.event import Event

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        # A thread takes the mutex, holds it for the task, and releases it. `stop` ends
        # the thread's wait, so that a cancelled task leaves no thread behind.
        stop = Event.create(manual=True)
        told = False  # whether the task knows that the mutex was abandoned

        def hold_it() -> None:
            error: BaseException | None = None
            try:
                # `stop` is first, so that it wins when both are ready.
                index = _core._wait((stop, self), timeout, False, False)
                if index == 0:
                    return
                if index < 0:
                    error = timed_out(
                        "the mutex was not free in time", self.name or "unnamed"
                    )
            except BaseException as outcome:
                error = outcome
            try:
                loop.call_soon_threadsafe(deliver, error)
            except RuntimeError:  # the loop is closed
                stop.set()
            if error is None or isinstance(error, AbandonedError):
                _core._wait((stop,), None, False, False)
                # If the task was not told, the end of this thread abandons it again.
                if error is None or told:
                    self.release()

        def deliver(error: BaseException | None) -> None:
            if error is not None and not future.done():
                future.set_exception(error)
            elif not future.done():
                future.set_result(None)

        thread = threading.Thread(target=hold_it, name="winipc-holder", daemon=True)
        try:
            thread.start()
        except BaseException:
            stop.close()
            raise
        try:
            try:
                await future
            except AbandonedError:
                told = True
                if repair is None:
                    raise
                repair(self)
            yield self
        finally:
            stop.set()
            thread.join()
            stop.close()
