"""How asyncio tasks wait for kernel objects: on every loop, without polling.

Most callers need only `await wait_handle(event, timeout)`. A few threads wait for all
tasks in WaitForMultipleObjects, 63 handles each; no thread wakes while nothing happens.
csrc/sync/loop_wait.c says why the thread pool is not used, and who wins when a signal
and a cancellation meet.
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

#: Seconds that a thread without waits stays for the next wait.
_LINGER = 5.0

#: Seconds of the timer of a wait without a time-out: thirty years.
_EVER = 1e9

#: Guards the dictionaries. It is never held during a wait.
_lock = threading.Lock()
_sets: dict[_core.WaitSet, threading.Thread] = {}
#: For each handle, the set of its last wait; and for each set, its handles in `_homes`.
_homes: dict[int, _core.WaitSet] = {}
_guests: dict[_core.WaitSet, set[int]] = {}


def _serve(waits: _core.WaitSet) -> None:
    """The thread of a set: notify the owner of each wait that took its handle."""
    while True:
        taken = waits.take(_LINGER)
        if taken is not None:
            wait, notify = taken
            try:
                notify()
            except BaseException:  # RuntimeError: its loop is closed
                _core._end_waits([wait], False)
            del taken, wait, notify  # else they and a loop live until the next wait
        elif waits.stop(True):
            break
    with _lock:
        _sets.pop(waits, None)
        for handle in _guests.pop(waits, ()):
            if _homes.get(handle) is waits:
                del _homes[handle]


@atexit.register
def _stop() -> None:
    """End the threads before the interpreter ends, as sub-interpreters require."""
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
    """Wait in the background, and call `notify()` once the object or handle is taken.

    The wait is appended to `waits`. The caller ends it by `_core._end_waits`, before or
    after the call of `notify`. Until then, an object cannot be closed, and the caller
    must keep a handle open. `notify` is called once, by a thread that waits for many
    handles, so it must be short. If it raises, what was taken is given back.

    Raises PermissionError (winerror 5) if a wait cannot be undone: for a mutex, a
    timer, and an auto-reset event or a semaphore without one of the rights QUERY_STATE
    and MODIFY_STATE.

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
    """Make a set with this wait, and start its thread."""
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
    """Await the signal of an object or handle; False if `timeout` seconds passed first.

    True means that this task took the signal, as with WaitForSingleObject: an
    auto-reset event is reset, a semaphore is counted down. Tasks that await the same
    handle get it in the order in which they came. A cancelled task gets CancelledError
    and takes nothing: what was taken for it in the same instant is given back. During
    the wait, an object refuses to be closed, and the caller must keep a handle open.
    Errors call the object `name`.

    This works on every asyncio loop. If the loop is closed during the wait, what is
    taken later is given back, and `abandoned` is called. Raises the errors of
    `begin_wait`, and OSError if the wait itself fails.

    Win32: WaitForMultipleObjects
    """
    import asyncio  # only here: not every user of winipc needs it

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
    # The loop holds the future by its timer. The waiting thread does not hold it, so
    # that a loop that was closed and dropped can be collected, with its tasks.
    seconds = _EVER if timeout is None else timeout
    timer = loop.call_later(seconds, _finish, future)
    waiting = weakref.ref(future)

    def notify() -> None:
        future = waiting()
        try:
            if future is None:
                raise RuntimeError("the loop was dropped")
            future.get_loop().call_soon_threadsafe(_finish, future)
        except RuntimeError:  # the loop was dropped or closed
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
