"""Semaphore: a count that processes take from."""

from __future__ import annotations

from typing import SupportsIndex

from winipc import _core
from winipc.sync.waitable import Waitable, made

__all__ = ["Semaphore"]


class Semaphore(Waitable, _core.Semaphore):
    """A count that processes take from; they wait while it is 0.

    ::

        seats = winipc.Semaphore.create("my-app.seats", 2)
        with seats:
            print(seats.acquire(timeout=0))  # True
            print(seats.acquire(timeout=0))  # False
            seats.release()
        seats.close()

    `with semaphore:` takes one and gives it back; `contextlib.closing` closes the
    object. A process that dies does not give back what it took.

    Win32: CreateSemaphoreExW, WaitForSingleObject, ReleaseSemaphore
    """

    __slots__ = ("__weakref__",)

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
        """Create a semaphore, with or without a name, with a count of `initial`.

        For `security` see `SharedMapping.create`. With `exist_ok`, an existing
        semaphore keeps its count and its `maximum`.

        Raises:
            FileExistsError: A semaphore has the name, and `exist_ok` is false (winerror
                183).
            OSError: Another kind of object has the name (winerror 6).
            PermissionError: This process may not open it (winerror 5).
            ValueError: Windows does not take such counts.
            OverflowError: A count does not fit in 32 bits.

        Win32: CreateSemaphoreExW
        """
        for count in (initial, maximum):
            if not isinstance(count, SupportsIndex):
                kind = type(count).__name__
                raise TypeError(f"initial and maximum must be ints, not {kind}")
        if not 0 <= initial <= maximum or maximum == 0:
            raise ValueError(
                "a semaphore needs 0 <= initial <= maximum and maximum >= 1, not "
                f"initial {initial} and maximum {maximum}"
            )
        return made(cls, name, exist_ok, security, initial, maximum)

    def _state(self) -> str:
        return f"{self.value} of {self.maximum}"

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """Await the semaphore and take one; False if `timeout` seconds passed first.

        This works on every asyncio loop, without polling. A cancelled wait takes
        nothing. `close` raises `BufferError` while a task waits.

        Raises:
            PermissionError: The semaphore was opened without QUERY_STATE or
                MODIFY_STATE: a cancelled wait could not give back what it took.

        Win32: WaitForMultipleObjects
        """
        return await self._take_async(timeout)

    async def __aenter__(self) -> Semaphore:
        await self.acquire_async()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.release()
