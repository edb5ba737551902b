"""A mapping with a mutex and change notification, all under one name.

Besides the mapping `N`, there are the mutex `N.lock`, the mapping `N.changes` with a
counter of changes and the slots of waiters, and an event for each waiter.
docs/c-layouts.md has the layout and the protocol, for C programs.

Every waiter has an event of its own: a common event would have to be reset, perhaps
before a waiter has begun to wait for it.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, NamedTuple, NoReturn, Self

from winipc import _core
from winipc.base.appearing import make_or_open
from winipc.base.closing import unless_on_its_way
from winipc.base.deadline import Deadline
from winipc.errors import add_hint
from winipc.memory.mapping import SharedMapping
from winipc.sync.event import Event
from winipc.sync.mutex import Mutex
from winipc.sync.waitable import SyncAccess

__all__ = ["LockedMapping"]


_SIZE = 1024
_COUNTER = 0
_SLOTS = 16
_SLOT_COUNT = (_SIZE - _SLOTS) // 4
_SLOT_FORMAT = struct.Struct(f"<{_SLOT_COUNT}I")


class _Ticket(NamedTuple):
    """A slot of a waiter, and the event that a change sets."""

    slot: int
    number: int
    event: Event


class _Board:
    """The counter of changes, and the slots of waiters. Any thread may use it."""

    def __init__(self, name: str, security: str | None, *, create: bool) -> None:
        self.name = f"{name}.changes"
        self.security = security
        self.section = (
            SharedMapping.create(self.name, _SIZE, security=security)
            if create
            else SharedMapping.open(self.name, size=_SIZE)
        )
        self.counter = self.section.atomic(_COUNTER, "u64")
        self.lock = threading.Lock()  # guards `idle` and `busy`
        self.idle: list[_Ticket] = []
        self.busy = 0
        self.seen = self.count()

    def count(self) -> int:
        return self.counter.load()

    def slots(self) -> list[tuple[int, int]]:
        """The (slot, number) of all taken slots."""
        numbers = _SLOT_FORMAT.unpack(
            self.section.read(size=_SLOT_FORMAT.size, offset=_SLOTS)
        )
        return [(slot, number) for slot, number in enumerate(numbers) if number]

    def exchange(self, slot: int, expected: int, desired: int) -> bool:
        with self.section.atomic(_SLOTS + 4 * slot, "u32") as number:
            return number.compare_exchange(expected, desired) == expected

    def notify(self) -> None:
        self.counter.add(1)
        for slot, number in self.slots():
            self.reach(slot, number, wake=True)

    def reach(self, slot: int, number: int, *, wake: bool) -> None:
        """Set the event of a slot, or free the slot of a waiter that has died."""
        try:
            event = Event._open(f"{self.name}.{number:08x}", SyncAccess.MODIFY_STATE)
        except FileNotFoundError:
            self.exchange(slot, number, 0)
        except OSError:
            pass  # another kind of object, or no right: still wake the other waiters
        else:
            with event:
                if wake:
                    event.set()

    def claim(self) -> _Ticket:
        """Create an event, then take a slot: a slot without an event counts as dead."""
        event = None
        while event is None:
            number = int.from_bytes(os.urandom(4)) or 1
            with suppress(FileExistsError):
                event = Event.create(
                    f"{self.name}.{number:08x}", security=self.security
                )
        try:
            for attempt in range(2):
                taken = {slot for slot, _ in self.slots()}
                for slot in range(_SLOT_COUNT):
                    if slot not in taken and self.exchange(slot, 0, number):
                        return _Ticket(slot, number, event)
                if attempt == 0:
                    for slot, other in self.slots():
                        self.reach(slot, other, wake=False)
            raise OSError(
                0, f"all of the {_SLOT_COUNT} waiters' slots are taken", self.name, 170
            )
        except BaseException:
            event.close()
            raise

    @contextmanager
    def ticket(self) -> Iterator[_Ticket]:
        """A ticket for one wait, which is kept for the next one."""
        with self.lock:
            ticket = self.idle.pop() if self.idle else None
            self.busy += 1
        try:
            if ticket is None:
                ticket = self.claim()
            yield ticket
        finally:
            with self.lock:
                self.busy -= 1
                if ticket is not None:
                    self.idle.append(ticket)

    def close(self) -> None:
        with self.lock:
            idle, self.idle = self.idle, []
        for ticket in idle:
            if not self.section.closed:
                self.exchange(ticket.slot, ticket.number, 0)
            ticket.event.close()
        self.counter.release()
        self.section.close()


class LockedMapping(SharedMapping):
    """A `SharedMapping` with a mutex and change notification under its name.

    ::

        with winipc.LockedMapping.create("my-app.locked", 4096) as state:
            with state.lock:
                state.write(b"new")
            state.notify_change()

            # in another program
            with winipc.LockedMapping.open("my-app.locked") as other:
                with other.lock:
                    print(other.read(3))  # b'new'
                print(other.wait_for_change(timeout=0.1))  # False

    `lock` is a `Mutex`: the first thread that takes it after its holder died gets
    `AbandonedError`. Notification does not depend on the lock: notify with or without
    it.

    Win32: CreateFileMappingW, CreateMutexExW, CreateEventExW
    """

    __slots__ = ("_board", "_lock")

    _lock: Mutex
    _board: _Board

    @classmethod
    def create(
        cls,
        name: str | None,
        size: int | None = None,
        *,
        exist_ok: bool = False,
        security: str | None = None,
        header: Any = False,
        **options: Any,
    ) -> Self:
        """Create the mapping, its mutex and its change counter.

        Arguments and errors are those of `SharedMapping.create`; a `header` may be a
        layout. The name must not be None. All three objects are new or, with
        `exist_ok`, all three existed. If only one or two of them existed, such as a
        plain mapping, that is a FileExistsError (winerror 183).

        Win32: CreateFileMappingW, CreateMutexExW
        """
        if name is None:
            raise ValueError("a LockedMapping has a name: the others are found by it")
        options["header"] = header
        return make_or_open(
            lambda: cls._make(name, size, False, security, options),
            lambda: cls._make(name, size, True, security, options),
            exist_ok,
        )

    @classmethod
    def _make(
        cls,
        name: str,
        size: int | None,
        others_exist: bool,
        security: str | None,
        options: dict[str, Any],
    ) -> Self:
        with ExitStack() as undo:
            # The mapping is last: a process that opens it finds the others.
            lock = (
                Mutex.open(f"{name}.lock")
                if others_exist
                else Mutex.create(f"{name}.lock", security=security)
            )
            undo.callback(lock.close)
            board = _Board(name, security, create=not others_exist)
            undo.callback(board.close)
            if others_exist:  # the mapping must exist, too: it is created last
                _core.SharedMapping._open(name, 1, 0, None, False).close()
            mapping = super().create(
                name, size, exist_ok=others_exist, security=security, **options
            )
            undo.callback(_core.SharedMapping.close, mapping)
            if mapping.created and others_exist:
                raise FileNotFoundError  # the former mapping went away in between
            mapping._lock = lock
            mapping._board = board
            undo.pop_all()
        return mapping

    @property
    def lock(self) -> Mutex:
        """The mutex: hold it to read or write values that belong together."""
        return self._lock

    @classmethod
    def open(cls, name: str, **options: Any) -> Self:
        """Open the mapping, its mutex and its change counter.

        Arguments and errors are those of `SharedMapping.open`. A plain mapping is a
        FileNotFoundError that names the missing object and says so.

        Win32: OpenFileMappingW, OpenMutexW
        """
        mapping = super().open(name, **options)
        with ExitStack() as undo:
            undo.callback(_core.SharedMapping.close, mapping)
            try:
                lock = Mutex.open(f"{name}.lock")
                undo.callback(lock.close)
                mapping._board = _Board(name, None, create=False)
            except FileNotFoundError as error:
                add_hint(
                    error,
                    f"{name!r} is a mapping without a lock: SharedMapping.open() opens "
                    f"it, and {cls.__name__}.create() makes one with a lock",
                )
                raise
            mapping._lock = lock
            undo.pop_all()
        return mapping

    @classmethod
    def wait_for(cls, name: str, timeout: float | None = None, **options: Any) -> Self:
        """Wait until a process creates the name, and open it.

        See `SharedMapping.wait_for`.
        """
        SharedMapping.wait_for(name, timeout, access="read").close()
        return cls.open(name, **options)

    @classmethod
    def from_handle(cls, handle: int, **options: Any) -> NoReturn:
        """Not for this class: its mutex and its counter are found by the name.

        The caller still owns the handle after an error.

        Raises:
            TypeError: The handle is of another kind.

        Win32: none
        """
        raise TypeError(
            f"a {cls.__name__} is found by its name, not by a handle: use open(), or "
            "SharedMapping.from_handle() for the bytes alone"
        )

    @property
    def changes(self) -> int:
        """The number of calls of `notify_change` by all processes."""
        return self._open_board().count()

    def _open_board(self) -> _Board:
        if self.closed:
            raise ValueError(f"{type(self).__name__} is closed")
        return self._board

    def notify_change(self) -> None:
        """Wake all threads and tasks that wait for a change, in all processes.

        This takes a few microseconds for each waiter, and never blocks.

        Win32: OpenEventW, SetEvent
        """
        self._open_board().notify()

    def wait_for_change(
        self, timeout: float | None = None, *, since: int | None = None
    ) -> bool:
        """Wait for a call of `notify_change`; False if `timeout` seconds passed first.

        ::

            with winipc.LockedMapping.create("my-app.locked", 64) as state:
                state.notify_change()  # another process does so
                print(state.wait_for_change(timeout=5))  # True

        A change since this object was made, or since the last successful wait, ends the
        wait at once. So no change is missed, but one wait may stand for several
        changes. `since` is a value of `changes` to compare with instead.

        A `timeout` of None waits forever. Ctrl+C ends the wait.

        Raises:
            OSError: 252 threads of all processes wait already (winerror 170).
            ValueError: The mapping is closed.

        Win32: CreateEventExW, WaitForSingleObject
        """
        board = self._open_board()
        seen = board.seen if since is None else since
        deadline = Deadline(timeout)
        with board.ticket() as ticket:
            while (count := board.count()) == seen:
                if not ticket.event.wait(deadline.left()):
                    return False
        board.seen = count
        return True

    async def wait_for_change_async(
        self, timeout: float | None = None, *, since: int | None = None
    ) -> bool:
        """`wait_for_change` for an asyncio task, without polling.

        Win32: CreateEventExW, WaitForMultipleObjects
        """
        board = self._open_board()
        seen = board.seen if since is None else since
        deadline = Deadline(timeout)
        with board.ticket() as ticket:
            while (count := board.count()) == seen:
                if not await ticket.event.wait_async(deadline.left()):
                    return False
        board.seen = count
        return True

    def close(self) -> None:
        """Close the mapping, its mutex and its change counter.

        Raises:
            BufferError: Memory is exported, a thread holds the mutex through this
                object, or a wait for a change is under way.
        """
        if not self.closed:
            self._check_idle()
            super().close()
            self._close_others()

    def __exit__(self, *exc: Any) -> None:
        with unless_on_its_way(self, exc):
            if not self.closed:
                self._check_idle()
            super().__exit__(*exc)
            self._close_others()

    def _check_idle(self) -> None:
        if self._board.busy:
            raise BufferError(f"{self._board.busy} wait(s) for a change are running")
        if self.lock._held_by_any:
            raise BufferError("the lock is held: release it first")

    def _close_others(self) -> None:
        try:
            self._board.close()
        finally:
            self.lock.close()
