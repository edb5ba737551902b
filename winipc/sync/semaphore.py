"""Semaphore: a count that processes take from."""

from __future__ import annotations

from winipc import _core
from winipc.sync.waitable import Waitable, made

__all__ = ["Semaphore"]


class Semaphore(Waitable, _core.Semaphore):
    """A count that processes take from, and wait for while it is 0.

    `with semaphore:` takes one and gives it back; `contextlib.closing` closes it. A
    process that dies does not give back what it took.

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
        """Make a semaphore, named or not, with a count of `initial`.

        `security` is as `SharedMapping.create` takes it. The maximum of one that
        exists is in `maximum`, which `exist_ok` does not compare.

        Raises FileExistsError (winerror 183) when the name is taken by a
        semaphore and not `exist_ok`, OSError with winerror 6 when it is taken
        by an object of another kind, PermissionError (5), ValueError and
        OverflowError for counts that Windows does not take.

        Win32: CreateSemaphoreExW
        """
        if not 0 <= initial <= maximum or maximum == 0:
            raise ValueError(
                "a semaphore needs 0 <= initial <= maximum and maximum >= 1, not "
                f"initial {initial} and maximum {maximum}"
            )
        return made(cls, name, exist_ok, security, initial, maximum)

    def _state(self) -> str:
        return f"{self.value} of {self.maximum}"

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """`await` one of the count; False when `timeout` ran out.

        Works on every asyncio loop, without polling. A wait that is cancelled
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
