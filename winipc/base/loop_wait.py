"""How asyncio tasks wait for kernel objects: on every loop, and with no polling.

`await wait_handle(handle, timeout)` is all that most callers need. A few threads
sleep for all tasks, 63 handles each, in WaitForMultipleObjects; nothing wakes
while nothing happens. csrc/sync/loop_wait.c says why it is not the thread pool,
and who wins when a signal and a cancellation meet.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable

from winipc import _core

__all__ = ["begin_wait", "wait_handle"]

#: Seconds that a thread with nothing to wait for stays, for the next wait to come.
_LINGER = 5.0

#: Guards the list. Never held in a wait.
_lock = threading.Lock()
_sets: list[_core.WaitSet] = []
_threads: set[threading.Thread] = set()


def _serve(waits: _core.WaitSet) -> None:
    """The thread of a set: tell the owner of each wait that it has the handle."""
    while True:
        wait = waits.take(_LINGER)
        if wait is not None:
            try:
                wait.notify()
            except BaseException:  # RuntimeError: its loop is closed
                wait.give_back()
            wait = None  # or it lives, with its loop, until the next one
        elif waits.stop(True):
            break
    with _lock:
        if waits in _sets:
            _sets.remove(waits)
        _threads.discard(threading.current_thread())


@atexit.register
def _stop() -> None:
    """Let the threads end before the interpreter does: a sub-interpreter insists."""
    with _lock:
        while _sets:
            _sets.pop().stop()
        serving = list(_threads)
    for thread in serving:  # which take the lock
        thread.join(_LINGER)


def begin_wait(
    handle: int, notify: Callable[[], object], *, name: str | None = None
) -> _core.LoopWait:
    """Wait for a handle in the background: `notify()` when it has been taken.

    A thread that waits for many calls `notify`, once, so it has to be short. If it
    raises, what was taken is given back. The caller keeps the handle open until it
    has `notify`'s call or has called `cancel()` on the result; `cancel()` is False
    when the handle was taken, and then `give_back()` undoes that. `name` is what
    errors call the object.

    Raises PermissionError (winerror 5) for a handle whose wait cannot be undone: a
    mutex, a timer, and an auto-reset event or a semaphore without QUERY_STATE and
    MODIFY_STATE.

    Win32: WaitForMultipleObjects
    """
    shown = name or f"handle {handle}"
    with _lock:
        # All waits for a handle are in one set, which serves them in their order.
        holder = next((one for one in _sets if one.holds(handle)), None)
        for waits in [holder] if holder is not None else _sets:
            wait = waits.add(handle, shown, notify)
            if wait is not None:
                return wait
        waits = _core.WaitSet()
        wait = waits.add(handle, shown, notify)
        assert wait is not None
        thread = threading.Thread(
            target=_serve, args=(waits,), name="winipc-waits", daemon=True
        )
        try:
            thread.start()
        except BaseException:
            wait.cancel()
            raise
        _threads.add(thread)
        _sets.append(waits)
        return wait


async def wait_handle(
    handle: int,
    timeout: float | None = None,
    *,
    name: str | None = None,
    abandoned: Callable[[], object] | None = None,
) -> bool:
    """Await a handle's signal; False when `timeout` (seconds) ran out.

    True means that this task took the signal, as WaitForSingleObject does: an
    auto-reset event is reset, a semaphore counted down. Tasks that await the same
    handle go in the order they came. A cancelled task gets CancelledError and takes
    nothing: what had been taken for it in the same instant is given back. The
    caller keeps the handle open until this returns or raises, and not longer.

    Works on every asyncio loop, and on one that is closed in the middle: what is
    taken for it later is given back, and `abandoned` is called. The errors are
    those of `begin_wait`, and OSError when the wait itself fails.

    Win32: WaitForMultipleObjects
    """
    import asyncio  # not at import, which would load it for everybody

    timeout = _core._check_timeout(timeout)
    # A mutex would belong to the loop's thread: begin_wait refuses it.
    if _core._can_give_back(handle) and _core._wait_any((handle,), 0) == 0:
        return True
    if timeout == 0:
        return False
    loop = asyncio.get_running_loop()
    future: asyncio.Future[bool] = loop.create_future()

    def finish(taken: bool) -> None:
        if not future.done():
            future.set_result(taken)

    def expire() -> None:
        # Where it has been taken, `finish(True)` is on its way.
        if wait.cancel():
            finish(False)

    def notify() -> None:
        try:
            loop.call_soon_threadsafe(finish, True)
        except RuntimeError:  # it is closed
            held.pop().give_back()
            if abandoned is not None:
                abandoned()

    wait = begin_wait(handle, notify, name=name)
    held = [wait]  # empty in the end, as notify and it refer to each other
    timer = None if timeout is None else loop.call_later(timeout, expire)
    try:
        taken = await future
        wait.check()
        return taken
    except BaseException:
        if not wait.cancel():
            wait.give_back()
        raise
    finally:
        if timer is not None:
            timer.cancel()
        held.clear()
