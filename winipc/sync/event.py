"""Event: a flag that processes set and wait for."""

from __future__ import annotations

from winipc import _core
from winipc.base.closing import Closing
from winipc.sync.waitable import Waitable, made

__all__ = ["Event"]


class Event(Waitable, _core.Event, Closing):
    """A flag that processes set and wait for.

    A manual-reset event stays set until `reset`, and lets all waiters go on. An
    auto-reset event lets one waiter go on, and resets itself.

    `with` closes it.

    Win32: CreateEventExW, SetEvent, ResetEvent, WaitForSingleObject
    """

    __slots__ = ("__weakref__",)

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

        `initial` sets it at once; `security` is as `SharedMapping.create` takes it.

        Raises FileExistsError (winerror 183) when the name is taken by an
        event and not `exist_ok`, ValueError when it is an event of the other
        kind of reset, OSError with winerror 6 when the name is taken by an
        object of another kind, and PermissionError (5).

        Win32: CreateEventExW
        """
        manual = bool(manual)
        event = made(cls, name, exist_ok, security, manual, initial)
        if event.manual is not None and event.manual is not manual:
            event.close()
            kinds = ("an auto-reset", "a manual-reset")
            raise ValueError(
                f"{name!r} is {kinds[not manual]} event, not {kinds[manual]} one"
            )
        return event

    def _state(self) -> str:
        kind = "manual" if self.manual else "auto"
        return f"{'set' if self.is_set() else 'not set'}, {kind} reset"

    async def wait_async(self, timeout: float | None = None) -> bool:
        """`await` until the event is set; False when `timeout` ran out.

        Works on every asyncio loop, without polling. A wait that is cancelled
        consumes nothing. `close` raises `BufferError` while a task waits.

        Raises PermissionError when the event was opened without the rights to
        ask and, for auto reset, to set it: what a cancelled wait took could
        not be given back.

        Win32: WaitForMultipleObjects
        """
        return await self._take_async(timeout)
