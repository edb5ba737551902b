"""wait_any and wait_all, for any number of objects."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex, TypeAlias, TypeVar

from winipc import _core
from winipc.base.deadline import Deadline, timed_out
from winipc.base.loop_wait import begin_wait
from winipc.sync.event import Event
from winipc.sync.waitable import Waitable

__all__ = ["wait_all", "wait_any"]

_Item: TypeAlias = "_core.Waitable | SupportsIndex"

#: MAXIMUM_WAIT_OBJECTS: what one call of WaitForMultipleObjects takes.
_MOST = 64


_T = TypeVar("_T", bound="Waitable | SupportsIndex")


def wait_any(objects: Iterable[_T], timeout: float | None = None) -> _T:
    """Wait until one of the objects can be taken, take it and return it.

    The objects are any number of `Mutex`, `Event` and `Semaphore`, and numbers
    of handles (of processes, threads, ...) that the caller keeps open. Where
    several are ready at the start, the first of them is taken; exactly one is
    ever taken. More than 64 are shared out to threads, except mutexes, of
    which there may be 63 then.

    `timeout` is in seconds, None waits forever; Ctrl+C ends it.

    Raises TimeoutError (winerror ERROR_TIMEOUT); AbandonedError, whose `mutex` the
    caller then holds; ValueError for no object, or the same one twice.

    Win32: WaitForMultipleObjects
    """
    several = tuple(objects)
    wait = _core._wait if len(several) <= _MOST else _any_of_many
    index = wait(several, timeout)
    if index < 0:
        raise timed_out("none of the objects was ready in time")
    return several[index]


def wait_all(
    objects: Iterable[Waitable | SupportsIndex], timeout: float | None = None
) -> None:
    """Wait until all of the objects can be taken, and take them.

    Up to 64 are taken in one step: nothing is taken before all are ready.
    More are taken in lots of 64, so that others see a part of them taken
    meanwhile; what was taken is given back when the rest is not ready in time.
    There may be 64 mutexes among them.

    `timeout` is in seconds, None waits forever; Ctrl+C ends it.

    Raises TimeoutError (winerror ERROR_TIMEOUT); AbandonedError when one or more of the
    mutexes were abandoned (Windows does not tell which: their `abandoned` is
    set), and the caller then holds all the objects; ValueError for no object,
    or the same one twice.

    Win32: WaitForMultipleObjects
    """
    several = tuple(objects)
    if len(several) <= _MOST:
        late = _core._wait(several, timeout, True) < 0
    else:
        late = not _all_of_many(several, timeout)
    if late:
        raise timed_out("not all of the objects were ready in time")


def _handles(objects: Sequence[_Item]) -> list[int]:
    """Their handles, each of which is there once."""
    handles = [
        one.handle if isinstance(one, _core.Waitable) else operator.index(one)
        for one in objects
    ]
    if len(set(handles)) < len(handles):
        raise ValueError("the same object is given twice")
    return handles


def _any_of_many(objects: Sequence[_Item], timeout: float | None) -> int:
    """`_core._wait` of more than 64: threads wait for those that they can undo.

    The calling thread waits for the others, such as mutexes, and for `done`. What
    it takes wins; what came second is given back.
    """
    deadline = Deadline(timeout)
    handles = _handles(objects)
    for at in range(0, len(objects), _MOST):
        index = _core._wait(objects[at : at + _MOST], 0)
        if index >= 0:
            return at + index
    if deadline.left() == 0:
        return -1
    own = [at for at, one in enumerate(objects) if not _core._can_give_back(one)]
    if len(own) >= _MOST:
        raise ValueError(
            f"at most {_MOST - 1} mutexes (and other handles that only their waiter "
            f"can own) fit in a wait for more than {_MOST} objects"
        )
    waits: list[_core.LoopWait] = []
    keep = False
    with Event.create(manual=True) as done:
        try:
            for at in set(range(len(objects))).difference(own):
                begin_wait(objects[at], done.set, waits)
            mine = [*(objects[at] for at in own), done]
            index = _core._wait(mine, deadline.left())
            keep = not 0 <= index < len(own)
        finally:
            # One call, which no second Ctrl+C divides.
            taken = _core._end_waits(waits, keep)
    if not keep:
        return own[index]
    return -1 if taken is None else handles.index(taken)


def _all_of_many(objects: Sequence[_Item], timeout: float | None) -> bool:
    """`_core._wait` for all of more than 64: in lots, the final one of all mutexes."""
    deadline = Deadline(timeout)
    _handles(objects)
    order = sorted(objects, key=lambda one: not _core._can_give_back(one))
    if sum(not _core._can_give_back(one) for one in objects) > _MOST:
        raise ValueError(
            f"at most {_MOST} mutexes (and other handles that only their waiter can "
            "own) fit in one wait"
        )
    taken = 0
    try:
        while taken < len(order):
            # The first lot is the one that is not full.
            size = (len(order) - taken) % _MOST or _MOST
            lot = order[taken : taken + size]
            if _core._wait(lot, deadline.left(), True) < 0:
                break
            taken += size
    except _core.AbandonedError:  # in the final lot: the caller has them all
        taken = len(order)
        raise
    finally:
        if taken < len(order):
            _core._give_back(order[:taken])
    return taken == len(order)
