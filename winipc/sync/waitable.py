"""What `Mutex`, `Event` and `Semaphore` share: names, handles, rights, pickling."""

from __future__ import annotations

import enum
from typing import Any, Protocol, SupportsIndex, TypeAlias, TypeVar

from winipc import _core
from winipc.base.shown import Shown
from winipc.base.transfer import Travels, travels_by_handle
from winipc.base.winerror import (
    ERROR_ACCESS_DENIED,
    ERROR_PATH_NOT_FOUND,
)
from winipc.errors import add_hint, hint_taken

__all__ = ["SyncAccess", "Waitable"]

_W = TypeVar("_W", bound="Waitable")


class SyncAccess(enum.IntFlag):
    """The rights that a handle of a mutex, an event or a semaphore can have."""

    #: To ask for the state without waiting.
    QUERY_STATE = 0x1
    #: To set or reset an event, and to release a semaphore.
    MODIFY_STATE = 0x2
    #: To wait for the object; a wait also takes a mutex or a semaphore.
    SYNCHRONIZE = 0x100000


_FULL = SyncAccess.SYNCHRONIZE | SyncAccess.MODIFY_STATE | SyncAccess.QUERY_STATE
_LEAST = SyncAccess.SYNCHRONIZE | SyncAccess.MODIFY_STATE


class HasPid(Protocol):
    """A process, such as a subprocess.Popen or a RemoteProcess."""

    @property
    def pid(self) -> int | None: ...


ProcessLike: TypeAlias = "int | HasPid"


def hint(error: OSError) -> None:
    """Add a hint to an error of Windows that is vague about a name."""
    if error.winerror == ERROR_ACCESS_DENIED:
        add_hint(
            error,
            "the object exists, and its security descriptor does not give this "
            "process the rights asked for (another user, or a lower integrity "
            "level); one that grants only SYNCHRONIZE opens with "
            "access=SyncAccess.SYNCHRONIZE, to wait for it",
        )
    elif error.winerror == ERROR_PATH_NOT_FOUND:
        add_hint(
            error,
            "a name has no backslash except after its prefix Local\\, Global\\ "
            "or Session\\<number>\\",
        )


def made(cls: type[_W], name: str | None, *how: Any) -> _W:
    """The common part of `Mutex.create`, `Event.create` and `Semaphore.create`."""
    try:
        new = cls._create(name, *how)
    except OSError as error:
        hint(error)
        hint_taken(error)
        raise
    if name is None:
        travels_by_handle(cls)
    return new


class Waitable(_core.Waitable, Shown, Travels):
    """The base of `Mutex`, `Event` and `Semaphore`.

    The object owns one handle. `close` may be called twice; it raises `BufferError`
    during a wait. Any thread may use the object.
    """

    __slots__ = ()

    @classmethod
    def open(cls: type[_W], name: str, *, access: int | None = None) -> _W:
        """Open the object with this name.

        `access` is a combination of `SyncAccess`. By default, it is what the methods
        need; without QUERY_STATE if the object does not grant that.

        Raises:
            FileNotFoundError: There is no such name (winerror 2).
            OSError: Another kind of object has the name (winerror 6).
            PermissionError: This process may not open it (winerror 5).

        Win32: OpenMutexW, OpenEventW, OpenSemaphoreW
        """
        if access is not None and not hasattr(access, "__index__"):
            raise TypeError(f"access is such as SyncAccess.SYNCHRONIZE, not {access!r}")
        try:
            if access is not None:
                return cls._open(name, access)
            try:
                return cls._open(name, _FULL)
            except PermissionError:
                return cls._open(name, _LEAST)
        except OSError as error:
            hint(error)
            raise

    @classmethod
    def wait_for(
        cls: type[_W],
        name: str,
        timeout: float | None = None,
        *,
        access: int | None = None,
    ) -> _W:
        """Open the object with this name as soon as it exists.

        `timeout` is in seconds; None waits forever. Windows does not notify of new
        objects, so `wait_for` polls, with pauses of up to 50 ms.

        Raises:
            TimeoutError: No object appeared in time (winerror 1460).
            FileNotFoundError: The name is not valid (winerror 3).

        The other errors are those of `open`.

        Win32: OpenMutexW, OpenEventW, OpenSemaphoreW
        """
        from winipc.base.appearing import wait_until_made

        return wait_until_made(lambda: cls.open(name, access=access), name, timeout)

    @classmethod
    def from_handle(
        cls: type[_W], handle: SupportsIndex, *, name: str | None = None
    ) -> _W:
        """Take ownership of a handle of this process, such as one from `duplicate_to`.

        `name` is the object's name, if it has one; `repr` and pickle use it.

        Raises:
            TypeError: The handle is of another kind of object; it stays open.

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
        """Give another process a handle of its own; return its number there.

        `process` is a pid or an object with a `pid`. That process passes the number to
        `from_handle`; until then, the handle stays open there.

        Raises:
            ProcessLookupError: There is no such process (winerror 87).
            PermissionError: This process may not open it (winerror 5).

        Win32: OpenProcess, DuplicateHandle
        """
        pid = process if isinstance(process, int) else process.pid
        if pid is None:
            raise ValueError(f"{process!r} has not been started")
        return self._duplicate_to(pid)

    async def _take_async(self, timeout: float | None) -> bool:
        """Await the handle; `close` raises BufferError meanwhile."""
        from winipc.base.loop_wait import wait_handle

        try:
            return await wait_handle(self, timeout, name=self.name or "unnamed")
        except PermissionError as error:
            add_hint(error, "wait in a thread, by asyncio.to_thread, not cancelled")
            raise

    def __repr__(self) -> str:
        try:
            state = "closed" if self.closed else self._state()
        except (OSError, ValueError):  # the handle lacks the right, or was closed
            state = "open"
        return f"<{type(self).__name__} {self.name!r} {state}>"

    def _state(self) -> str:
        """The state of an open object, for its repr."""
        raise NotImplementedError
