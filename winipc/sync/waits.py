"""wait_any and wait_all, for any number of objects."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import SupportsIndex, TypeAlias, TypeVar

from winipc import _core
from winipc.base.closing import Closing
from winipc.base.deadline import Deadline, timed_out
from winipc.base.loop_wait import begin_wait
from winipc.sync.event import Event
from winipc.sync.waitable import Waitable

__all__ = ["wait_all", "wait_any"]

_Item: TypeAlias = "_core.Waitable | SupportsIndex"

#: MAXIMUM_WAIT_OBJECTS: the most handles for one call of WaitForMultipleObjects.
_MOST = 64


_T = TypeVar("_T", bound="Waitable | SupportsIndex")


def wait_any(objects: Iterable[_T], timeout: float | None = None) -> _T:
    """Wait until one of the objects can be taken; take it and return it.

    ::

        with winipc.Event.create() as done, winipc.Event.create() as failed:
            failed.set()
            print(winipc.wait_any([done, failed], timeout=5) is failed)  # True

    The objects are any number of `Mutex`, `Event` and `Semaphore`, and of handles (of
    processes, threads, ...) that the caller keeps open. Exactly one is taken: the
    first, if several are ready at the start. If there are more than 64, other threads
    help to wait; at most 63 of the objects may then be mutexes.

    `timeout` is in seconds; None waits forever. Ctrl+C ends the wait.

    Raises:
        TimeoutError: No object was free in time (winerror 1460).
        AbandonedError: A mutex was abandoned; the caller then holds it, as `mutex`.
        ValueError: There is no object, or the same object twice.

    Win32: WaitForMultipleObjects
    """
    several = _several("wait_any", objects)
    wait = _core._wait if len(several) <= _MOST else _any_of_many
    index = wait(several, timeout)
    if index < 0:
        raise timed_out("none of the objects was ready in time")
    return several[index]


def wait_all(
    objects: Iterable[Waitable | SupportsIndex], timeout: float | None = None
) -> None:
    """Wait until all objects can be taken, and take them.

    Up to 64 objects are taken in one step: none is taken before all are ready. More
    objects are taken in lots of 64, so others may see some of them taken; they are
    given back if the rest is not ready in time. At most 64 of the objects may be
    mutexes.

    `timeout` is in seconds; None waits forever. Ctrl+C ends the wait.

    Raises:
        TimeoutError: Not all objects were free in time (winerror 1460).
        AbandonedError: Mutexes were abandoned; the caller then holds all objects.
            Windows does not tell which were abandoned: `abandoned` is set for all.
        ValueError: There is no object, or the same object twice.

    Win32: WaitForMultipleObjects
    """
    several = _several("wait_all", objects)
    if len(several) <= _MOST:
        late = _core._wait(several, timeout, True) < 0
    else:
        late = not _all_of_many(several, timeout)
    if late:
        raise timed_out("not all of the objects were ready in time")


def _several(call: str, objects: Iterable[_T]) -> tuple[_T, ...]:
    """The objects as a tuple. Raises TypeError for one object: some never end."""
    if hasattr(objects, "__iter__") and not isinstance(objects, Closing):
        return tuple(objects)
    raise TypeError(
        f"{call} takes a list of Mutex, Event, Semaphore and handles, such as "
        f"{call}([event]), not {type(objects).__name__}"
    )


def _handles(objects: Sequence[_Item]) -> list[int]:
    """The handles of the objects. Raises ValueError if one is there twice."""
    handles = [
        one.handle if isinstance(one, _core.Waitable) else operator.index(one)
        for one in objects
    ]
    if len(set(handles)) < len(handles):
        raise ValueError("the same object is given twice")
    return handles


def _any_of_many(objects: Sequence[_Item], timeout: float | None) -> int:
    """`_core._wait` for more than 64 objects.

    Other threads wait for the objects that can be given back. The calling thread waits
    for the rest, such as mutexes, and for `done`. What it takes wins; what another
    thread took as well is given back.
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
            # One call, so that a second Ctrl+C cannot come in between.
            taken = _core._end_waits(waits, keep)
    if not keep:
        return own[index]
    return -1 if taken is None else handles.index(taken)


def _all_of_many(objects: Sequence[_Item], timeout: float | None) -> bool:
    """`_core._wait` for all of more than 64 objects: in lots, with all mutexes last."""
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
    except _core.AbandonedError:  # it comes from the last lot: the caller holds all
        taken = len(order)
        raise
    finally:
        if taken < len(order):
            _core._give_back(order[:taken])
    return taken == len(order)
