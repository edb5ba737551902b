"""Event: a flag that processes set and wait for."""

from __future__ import annotations

from winipc import _core
from winipc.base.closing import Closing
from winipc.sync.waitable import Waitable, made

__all__ = ["Event"]


class Event(Waitable, _core.Event, Closing):
    """A flag that processes set and wait for.

    ::

        with winipc.Event.create("my-app.ready", manual=True) as ready:
            ready.set()
            print(ready.wait(timeout=5), ready.is_set())  # True True

    A manual-reset event stays set until `reset`, and all waiters go on. When an
    auto-reset event is set, one waiter goes on, and the event is reset.

    The end of a `with` closes the object.

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
        """Create an event, with or without a name, and with manual or automatic reset.

        With `initial`, it is set at once. For `security` see `SharedMapping.create`.

        Raises:
            FileExistsError: An event has the name, and `exist_ok` is false (winerror
                183).
            ValueError: The event with this name has the other kind of reset.
            OSError: Another kind of object has the name (winerror 6).
            PermissionError: This process may not open it (winerror 5).

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
        """Await the event; False if `timeout` seconds passed first.

        This works on every asyncio loop, without polling. A cancelled wait consumes
        nothing. `close` raises `BufferError` while a task waits.

        Raises:
            PermissionError: The event was opened without QUERY_STATE or, for automatic
                reset, without MODIFY_STATE: a cancelled wait could not give back what
                it took.

        Win32: WaitForMultipleObjects
        """
        return await self._take_async(timeout)
