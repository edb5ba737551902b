"""How asyncio tasks wait for kernel objects: on every loop, and with no polling.

`await wait_handle(event, timeout)` is all that most callers need. A few threads
sleep for all tasks, 63 handles each, in WaitForMultipleObjects; nothing wakes
while nothing happens. csrc/sync/loop_wait.c says why it is not the thread pool,
and who wins when a signal and a cancellation meet.
"""

from __future__ import annotations

import atexit
import operator
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, SupportsIndex

from winipc import _core
from winipc.base.winerror import ERROR_ACCESS_DENIED

if TYPE_CHECKING:
    import asyncio

#: Seconds that a thread with nothing to wait for stays, for the next wait to come.
_LINGER = 5.0

#: Seconds that a timer of a wait without a timeout has: thirty years.
_EVER = 1e9

#: Guards the dictionaries. Never held in a wait.
_lock = threading.Lock()
_sets: dict[_core.WaitSet, threading.Thread] = {}
#: The set in which the last wait for a handle was, and perhaps still is; and, for the
#: end of a set, for which handles that is said of it.
_homes: dict[int, _core.WaitSet] = {}
_guests: dict[_core.WaitSet, set[int]] = {}


def _serve(waits: _core.WaitSet) -> None:
    """The thread of a set: tell the owner of each wait that it has the handle."""
    while True:
        taken = waits.take(_LINGER)
        if taken is not None:
            wait, notify = taken
            try:
                notify()
            except BaseException:  # RuntimeError: its loop is closed
                _core._end_waits([wait], False)
            del taken, wait, notify  # or they live, with a loop, until the next one
        elif waits.stop(True):
            break
    with _lock:
        _sets.pop(waits, None)
        for handle in _guests.pop(waits, ()):
            if _homes.get(handle) is waits:
                del _homes[handle]


@atexit.register
def _stop() -> None:
    """Let the threads end before the interpreter does: a sub-interpreter insists."""
    with _lock:
        serving = dict(_sets)
    for waits, thread in serving.items():
        waits.stop()
        thread.join(_LINGER)


def begin_wait(
    target: _core.Waitable | SupportsIndex,
    notify: Callable[[], object],
    waits: list[_core.LoopWait],
) -> None:
    """Wait in the background: `notify()` when the object or handle has been taken.

    The wait is appended to `waits`, and the caller ends it by `_core._end_waits`,
    after the call of `notify` or before; until then an object cannot be closed, and
    the caller keeps a handle open. A thread that waits for many calls `notify`,
    once, so it has to be short. If it raises, what was taken is given back.

    Raises PermissionError (winerror 5) for what a wait cannot be undone for: a
    mutex, a timer, and an auto-reset event or a semaphore without QUERY_STATE and
    MODIFY_STATE.

    Win32: WaitForMultipleObjects
    """
    handle = (
        target.handle if isinstance(target, _core.Waitable) else operator.index(target)
    )
    with _lock:
        # All waits for a handle are in one set, which serves them in their order.
        home = _homes.get(handle)
        if home is not None and home.add(target, notify, waits, True):
            return
        for one in reversed(_sets):
            if one.add(target, notify, waits, False):
                break
        else:
            one = _new_set(target, notify, waits)
        _homes[handle] = one
        _guests[one].add(handle)


def _new_set(
    target: _core.Waitable | SupportsIndex,
    notify: Callable[[], object],
    waits: list[_core.LoopWait],
) -> _core.WaitSet:
    """A set with this wait, and its thread."""
    one = _core.WaitSet()
    one.add(target, notify, waits, False)
    thread = threading.Thread(
        target=_serve, args=(one,), name="winipc-waits", daemon=True
    )
    thread.start()
    _sets[one], _guests[one] = thread, set()
    return one


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def wait_handle(
    target: _core.Waitable | int,
    timeout: float | None = None,
    *,
    name: str | None = None,
    abandoned: Callable[[], object] | None = None,
) -> bool:
    """Await an object or a handle's signal; False when `timeout` (seconds) ran out.

    True means that this task took the signal, as WaitForSingleObject does: an
    auto-reset event is reset, a semaphore counted down. Tasks that await the same
    handle go in the order they came. A cancelled task gets CancelledError and takes
    nothing: what had been taken for it in the same instant is given back. The
    caller keeps a handle open until this returns or raises, and not longer; an
    object refuses to be closed. `name` is what errors call it.

    Works on every asyncio loop, and on one that is closed in the middle: what is
    taken for it later is given back, and `abandoned` is called. The errors are
    those of `begin_wait`, and OSError when the wait itself fails.

    Win32: WaitForMultipleObjects
    """
    import asyncio  # not at import, which would load it for everybody

    timeout = _core._check_timeout(timeout)
    if not _core._can_give_back(target):
        raise PermissionError(
            0,
            "a wait that can be cancelled needs QUERY_STATE and MODIFY_STATE, and is "
            "not for a mutex",
            name,
            ERROR_ACCESS_DENIED,
            "WaitForMultipleObjects",
        )
    if _core._wait((target,), 0) == 0:
        return True
    if timeout == 0:
        return False
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    # The loop holds the future by its timer, and the thread that waits does not: a
    # loop that was closed in the middle and dropped can be collected, with its tasks.
    seconds = _EVER if timeout is None else timeout
    timer = loop.call_later(seconds, _finish, future)
    waiting = weakref.ref(future)

    def notify() -> None:
        future = waiting()
        try:
            if future is None:
                raise RuntimeError("the loop was dropped")
            future.get_loop().call_soon_threadsafe(_finish, future)
        except RuntimeError:  # or it is closed
            _core._end_waits(waits, False)
            if abandoned is not None:
                abandoned()

    waits: list[_core.LoopWait] = []
    try:
        begin_wait(target, notify, waits)
        await future
    except BaseException:
        _core._end_waits(waits, False)
        raise
    finally:
        timer.cancel()
    return _core._end_waits(waits, True) is not None
