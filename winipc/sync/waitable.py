"""Mutex, Event and Semaphore: the kernel objects that processes wait for.

A name is all that two processes need to share one::

    with Event.create("Local\\\\ready") as ready:    # in one process
        ready.set()

    Event.wait_for("Local\\\\ready", timeout=5).wait(1)    # in another

`create` makes the object and refuses a name that is taken (unless
`exist_ok=True`), `open` never makes one, and `wait_for` waits until somebody
makes it. Without a name an object travels by `duplicate_to`, or by pickle
through multiprocessing.

A mutex whose owner died is *abandoned*: the next one who takes it gets
`AbandonedError`, holds the mutex, and decides what the half-written data is
worth::

    try:
        mutex.acquire()
    except AbandonedError:
        repair()  # this thread holds the mutex
    try:
        ...
    finally:
        mutex.release()

or, where the repair is always the same::

    with mutex.lock(timeout=5, repair=lambda mutex: repair()):
        ...
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    contextmanager,
)
from typing import TYPE_CHECKING, Protocol, SupportsIndex, TypeAlias, TypeVar

from winipc import _core
from winipc._core import AbandonedError
from winipc.base.appearing import wait_until_made
from winipc.base.transfer import travels_by_handle
from winipc.errors import add_hint

__all__ = [
    "Event",
    "Mutex",
    "Semaphore",
    "SyncAccess",
    "Waitable",
    "wait_all",
    "wait_any",
]

_W = TypeVar("_W", bound="Waitable")


class SyncAccess(enum.IntFlag):
    """The rights that a handle of a mutex, an event or a semaphore can have."""

    QUERY_STATE = 0x1
    MODIFY_STATE = 0x2
    SYNCHRONIZE = 0x100000


_FULL = SyncAccess.SYNCHRONIZE | SyncAccess.MODIFY_STATE | SyncAccess.QUERY_STATE
_LEAST = SyncAccess.SYNCHRONIZE | SyncAccess.MODIFY_STATE

_ERROR_PATH_NOT_FOUND = 3
_ERROR_ACCESS_DENIED = 5


class HasPid(Protocol):
    """A process: subprocess.Popen, multiprocessing.Process, RemoteProcess."""

    @property
    def pid(self) -> int | None: ...


ProcessLike: TypeAlias = "int | HasPid"


def _pid_of(process: ProcessLike) -> int:
    pid = process if isinstance(process, int) else process.pid
    if pid is None:
        raise ValueError(f"{process!r} has not been started")
    return pid


def _hint(error: OSError) -> None:
    """Say what to check where Windows is vague about a name."""
    code = error.winerror
    if code == _ERROR_ACCESS_DENIED:
        add_hint(
            error,
            "the object exists, and its security descriptor does not give this "
            "process the rights asked for (another user, or a lower integrity level)",
        )
    elif code == _ERROR_PATH_NOT_FOUND:
        add_hint(
            error,
            "a name has no backslash but that of its prefix Local\\, Global\\ "
            "or Session\\<number>\\",
        )


def _open(cls: type[_W], name: str) -> _W:
    """What a pickle of a named object calls."""
    return cls.open(name)


class Waitable(_core.Waitable):
    """What `Mutex`, `Event` and `Semaphore` share.

    The object owns one handle. `close` is idempotent; it raises `BufferError`
    while a wait is in flight. Objects may be used from any thread.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # each of the three C types has its own

        @classmethod
        def _open(cls: type[_W], name: str, access: SupportsIndex) -> _W: ...

        @classmethod
        def _from_handle(
            cls: type[_W], handle: SupportsIndex, name: str | None = None
        ) -> _W: ...

    @classmethod
    def open(cls: type[_W], name: str, *, access: int | None = None) -> _W:
        """Open the object that has this name.

        `access` is made of `SyncAccess`; by default what the methods need, and
        without QUERY_STATE where the object does not give it.

        Raises FileNotFoundError (winerror 2) when the name is free, OSError
        with winerror 6 when an object of another kind has it, and
        PermissionError (5).

        Win32: OpenMutexW, OpenEventW, OpenSemaphoreW
        """
        try:
            if access is not None:
                return cls._open(name, access)
            try:
                return cls._open(name, _FULL)
            except PermissionError:
                return cls._open(name, _LEAST)
        except OSError as error:
            _hint(error)
            raise

    @classmethod
    def wait_for(
        cls: type[_W],
        name: str,
        timeout: float | None = None,
        *,
        access: int | None = None,
    ) -> _W:
        """Open the object of this name as soon as somebody has made it.

        `timeout` is in seconds, None waits for ever. Windows tells nobody
        about new names, so this looks again up to 50 ms apart.

        Raises TimeoutError (winerror 1460), and what `open` raises; of
        FileNotFoundError only that of a name that cannot be (winerror 3).

        Win32: OpenMutexW, OpenEventW, OpenSemaphoreW
        """
        found = wait_until_made(lambda: cls.open(name, access=access), timeout)
        if found is None:
            raise TimeoutError(
                0, f"no {cls.__name__.lower()} of this name in time", name, 1460
            )
        return found

    @classmethod
    def from_handle(
        cls: type[_W], handle: SupportsIndex, *, name: str | None = None
    ) -> _W:
        """Own a handle of this process, such as one from `duplicate_to`.

        `name` is the object's name, if it has one: `repr` shows it, and pickle
        goes by it. Raises TypeError when the handle is that of another kind of
        object; it is not closed then.

        Win32: NtQueryObject
        """
        adopted = cls._from_handle(handle, name)
        if name is None:
            travels_by_handle(cls)
        return adopted

    @property
    def access(self) -> SyncAccess:
        """The rights that the handle has.

        Win32: NtQueryObject
        """
        return SyncAccess(self._access)

    def duplicate_to(self, process: ProcessLike) -> int:
        """Give another process a handle of its own; the handle's number there.

        `process` is a pid or an object with a `pid`. The process makes an
        object of the number with `from_handle`; until it does, the handle
        stays open there.

        Raises ProcessLookupError (winerror 87) when there is no such process,
        and PermissionError (5).

        Win32: OpenProcess, DuplicateHandle
        """
        return self._duplicate_to(_pid_of(process))

    async def _take_async(self, timeout: float | None) -> bool:
        """Await the handle; `close` refuses meanwhile."""
        from winipc.base.loop_wait import wait_handle

        self._pin()
        try:
            return await wait_handle(self.handle, timeout, name=self.name or "unnamed")
        finally:
            self._unpin()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        """Pickle by name; an unnamed one goes through multiprocessing only."""
        if self.closed:
            raise ValueError(f"a closed {type(self).__name__} cannot be pickled")
        if self.name is None:
            raise TypeError(
                f"an unnamed {type(self).__name__} can be pickled by multiprocessing "
                "only: give it a name, or use duplicate_to()"
            )
        return _open, (type(self), self.name)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<winipc.{type(self).__name__} {self.name!r} {state}>"


class _Lock(Protocol):
    """A `Mutex` or a `SharedLock`."""

    def acquire(self, timeout: float | None = None) -> bool: ...
    def release(self) -> None: ...


_L = TypeVar("_L", bound=_Lock)


@contextmanager
def hold(
    lock: _L,
    timeout: float | None,
    repair: Callable[[_L], object] | None,
    what: str,
    name: str,
) -> Iterator[_L]:
    """What `Mutex.lock` and `SharedLock.lock` share."""
    try:
        taken = lock.acquire(timeout)
    except AbandonedError:
        try:
            if repair is None:
                raise
            repair(lock)
        except BaseException:
            lock.release()
            raise
    else:
        if not taken:
            raise TimeoutError(0, f"{what} was not free in time", name, 1460)
    try:
        yield lock
    finally:
        lock.release()


class Mutex(Waitable, _core.Mutex):
    """A lock that one thread of one process holds at a time.

    `with mutex:` takes and releases it (and does not close it). It belongs to
    the thread that took it, which may take it again and has to release it as
    often; no other thread can release it.

    `acquire` and `with` raise `AbandonedError` when the last holder ended
    without releasing it; the caller holds the mutex then.

    Win32: CreateMutexExW, WaitForSingleObject, ReleaseMutex
    """

    __slots__ = ()

    @classmethod
    def create(
        cls,
        name: str | None = None,
        *,
        owned: bool = False,
        exist_ok: bool = False,
        security: str | None = None,
    ) -> Mutex:
        """Make a mutex, named or not; with `owned` the calling thread holds it.

        `security` is an SDDL string or "owner".

        Raises FileExistsError (winerror 183) when the name is taken by a
        mutex and not `exist_ok`, OSError with winerror 6 when it is taken by
        an object of another kind, PermissionError (5), and ValueError for
        `owned` with `exist_ok`, where the holder may be somebody else.

        Win32: CreateMutexExW
        """
        if owned and exist_ok:
            raise ValueError("owned=True is for a new mutex only: use acquire()")
        try:
            made = cls._create(name, owned, exist_ok, security)
        except OSError as error:
            _hint(error)
            raise
        if name is None:
            travels_by_handle(cls)
        return made

    def lock(
        self,
        timeout: float | None = None,
        *,
        repair: Callable[[Mutex], object] | None = None,
    ) -> AbstractContextManager[Mutex]:
        """Hold the mutex for a block, with a timeout and a repair path.

        When the mutex was abandoned, `repair(mutex)` is called before the
        block, while this thread holds the mutex. Without `repair`, or when it
        raises, the mutex is released and the block does not run.

        Raises TimeoutError (winerror 1460), AbandonedError, and what `repair`
        raises.

        Win32: WaitForSingleObject, ReleaseMutex
        """
        return hold(self, timeout, repair, "the mutex", self.name or "unnamed")

    def lock_async(
        self,
        timeout: float | None = None,
        *,
        repair: Callable[[Mutex], object] | None = None,
    ) -> AbstractAsyncContextManager[Mutex]:
        """`async with mutex.lock_async():` holds the mutex for a task.

        Windows lends a mutex to a thread, and all tasks of a loop are one
        thread: each `lock_async` has a thread of its own that holds the mutex
        for the block. So `held` is False in the block, `release` is not to be
        called, and two tasks exclude each other; a task that asks for the
        mutex twice waits for itself.

        `timeout` and `repair` are those of `lock`, and so are the errors.
        Where a cancelled task would have been told of an abandoned mutex, it
        stays abandoned.

        Win32: WaitForMultipleObjects, ReleaseMutex
        """
        from winipc.sync._holding import hold_mutex

        return hold_mutex(self, timeout, repair)


class Event(Waitable, _core.Event):
    """A flag that processes set and wait for.

    A manual-reset event stays set until `reset`, and lets everybody go; an
    auto-reset event lets one waiter go and resets itself. There is no pulse:
    PulseEvent loses wake-ups.

    `with` closes it.

    Win32: CreateEventExW, SetEvent, ResetEvent, WaitForSingleObject
    """

    __slots__ = ()

    @classmethod
    def create(
        cls,
        name: str | None = None,
        *,
        manual: bool = False,
        initial: bool = False,
        exist_ok: bool = False,
        security: str | None = None,
    ) -> Event:
        """Make an event, named or not, of manual or auto reset.

        `initial` sets it at once; `security` is an SDDL string or "owner".

        Raises FileExistsError (winerror 183) when the name is taken by an
        event and not `exist_ok`, ValueError when it is an event of the other
        kind of reset, OSError with winerror 6 when the name is taken by an
        object of another kind, and PermissionError (5).

        Win32: CreateEventExW
        """
        try:
            event = cls._create(name, manual, initial, exist_ok, security)
        except OSError as error:
            _hint(error)
            raise
        if name is None:
            travels_by_handle(cls)
        if event.manual is not None and event.manual is not manual:
            event.close()
            kinds = ("an auto-reset", "a manual-reset")
            raise ValueError(
                f"{name!r} is {kinds[not manual]} event, not {kinds[manual]} one"
            )
        return event

    async def wait_async(self, timeout: float | None = None) -> bool:
        """`await` until the event is set; False when `timeout` ran out.

        Works on every asyncio loop, and nobody polls. A wait that is cancelled
        consumes nothing. `close` raises `BufferError` while a task waits.

        Raises PermissionError when the event was opened without the rights to
        ask and, for auto reset, to set it: what a cancelled wait took could
        not be given back.

        Win32: WaitForMultipleObjects
        """
        return await self._take_async(timeout)

    def __enter__(self: _W) -> _W:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class Semaphore(Waitable, _core.Semaphore):
    """A count that processes take from, and wait for while it is 0.

    `with semaphore:` takes one and gives it back (and does not close it). A
    process that dies does not give back what it took.

    Win32: CreateSemaphoreExW, WaitForSingleObject, ReleaseSemaphore
    """

    __slots__ = ()

    @classmethod
    def create(
        cls,
        name: str | None = None,
        initial: int = 1,
        maximum: int = 0x7FFFFFFF,
        *,
        exist_ok: bool = False,
        security: str | None = None,
    ) -> Semaphore:
        """Make a semaphore, named or not, with a count of `initial`.

        `security` is an SDDL string or "owner". The maximum of one that
        exists is in `maximum`, which `exist_ok` does not compare.

        Raises FileExistsError (winerror 183) when the name is taken by a
        semaphore and not `exist_ok`, OSError with winerror 6 when it is taken
        by an object of another kind, PermissionError (5), ValueError and
        OverflowError for counts that Windows does not take.

        Win32: CreateSemaphoreExW
        """
        try:
            made = cls._create(name, initial, maximum, exist_ok, security)
        except OSError as error:
            _hint(error)
            raise
        if name is None:
            travels_by_handle(cls)
        return made

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """`await` one of the count; False when `timeout` ran out.

        Works on every asyncio loop, and nobody polls. A wait that is cancelled
        takes nothing. `close` raises `BufferError` while a task waits.

        Raises PermissionError when the semaphore was opened without
        MODIFY_STATE: what a cancelled wait took could not be given back.

        Win32: WaitForMultipleObjects
        """
        return await self._take_async(timeout)

    async def __aenter__(self) -> Semaphore:
        await self.acquire_async()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.release()


_T = TypeVar("_T", bound="Waitable | SupportsIndex")


def wait_any(objects: Iterable[_T], timeout: float | None = None) -> _T:
    """Wait until one of the objects can be taken, take it and return it.

    The objects are any number of `Mutex`, `Event` and `Semaphore`, and numbers
    of handles (of processes, threads, ...) that the caller keeps open. Where
    several are ready at the start, the first of them is taken; exactly one is
    ever taken. More than 64 are shared out to threads, except mutexes, of
    which there may be 63 then.

    `timeout` is in seconds, None waits for ever; Ctrl+C gets in.

    Raises TimeoutError (winerror 1460); AbandonedError, whose `mutex` the
    caller then holds; ValueError for no object, or the same one twice.

    Win32: WaitForMultipleObjects
    """
    several = tuple(objects)
    index = _core._wait_any(several, timeout)
    if index < 0:
        raise TimeoutError(0, "none of the objects was ready in time", None, 1460)
    return several[index]


def wait_all(
    objects: Iterable[Waitable | SupportsIndex], timeout: float | None = None
) -> None:
    """Wait until all of the objects can be taken, and take them.

    Up to 64 are taken in one step: nothing is taken before all are ready.
    More are taken in lots of 64, so that others see a part of them taken
    meanwhile; what was taken is given back when the rest is not ready in time.
    There may be 64 mutexes among them.

    `timeout` is in seconds, None waits for ever; Ctrl+C gets in.

    Raises TimeoutError (winerror 1460); AbandonedError when one or more of the
    mutexes were abandoned (Windows does not tell which: their `abandoned` is
    set), and the caller then holds all the objects; ValueError for no object,
    or the same one twice.

    Win32: WaitForMultipleObjects
    """
    if not _core._wait_all(tuple(objects), timeout):
        raise TimeoutError(0, "not all of the objects were ready in time", None, 1460)
