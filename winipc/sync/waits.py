"""wait_any and wait_all, for any number of objects."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import SupportsIndex, TypeAlias, TypeVar

from winipc import _core
from winipc.base.deadline import Deadline
from winipc.base.loop_wait import begin_wait
from winipc.base.winerror import ERROR_TIMEOUT
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

    `timeout` is in seconds, None waits forever; Ctrl+C gets in.

    Raises TimeoutError (winerror ERROR_TIMEOUT); AbandonedError, whose `mutex` the
    caller then holds; ValueError for no object, or the same one twice.

    Win32: WaitForMultipleObjects
    """
    several = tuple(objects)
    index = (_core._wait_any if len(several) <= _MOST else _any_of_many)(
        several, timeout
    )
    if index < 0:
        raise TimeoutError(
            0, "none of the objects was ready in time", None, ERROR_TIMEOUT
        )
    return several[index]


def wait_all(
    objects: Iterable[Waitable | SupportsIndex], timeout: float | None = None
) -> None:
    """Wait until all of the objects can be taken, and take them.

    Up to 64 are taken in one step: nothing is taken before all are ready.
    More are taken in lots of 64, so that others see a part of them taken
    meanwhile; what was taken is given back when the rest is not ready in time.
    There may be 64 mutexes among them.

    `timeout` is in seconds, None waits forever; Ctrl+C gets in.

    Raises TimeoutError (winerror ERROR_TIMEOUT); AbandonedError when one or more of the
    mutexes were abandoned (Windows does not tell which: their `abandoned` is
    set), and the caller then holds all the objects; ValueError for no object,
    or the same one twice.

    Win32: WaitForMultipleObjects
    """
    several = tuple(objects)
    wait = _core._wait_all if len(several) <= _MOST else _all_of_many
    if not wait(several, timeout):
        raise TimeoutError(
            0, "not all of the objects were ready in time", None, ERROR_TIMEOUT
        )


@contextmanager
def _pinned(objects: Sequence[_Item]) -> Iterator[list[int]]:
    """Their handles, which nobody closes meanwhile."""
    pinned: list[_core.Waitable] = []
    try:
        handles = []
        for one in objects:
            if isinstance(one, _core.Waitable):
                one._pin()
                pinned.append(one)
                handles.append(one.handle)
            else:
                handles.append(operator.index(one))
        if len(set(handles)) < len(handles):
            raise ValueError("the same object is given twice")
        yield handles
    finally:
        for one in pinned:
            one._unpin()


def _any_of_many(objects: Sequence[_Item], timeout: float | None) -> int:
    """`_core._wait_any` of more than 64: threads wait for those that they can undo.

    The calling thread waits for the others, such as mutexes, and for `done`. What
    it takes wins; what came second is given back.
    """
    deadline = Deadline(timeout)
    with _pinned(objects) as handles:
        for at in range(0, len(objects), _MOST):
            index = _core._wait_any(objects[at : at + _MOST], 0)
            if index >= 0:
                return at + index
        if deadline.left() == 0:
            return -1
        waits: dict[int, _core.LoopWait] = {}
        own: list[int] = []
        late = True
        with Event.create(manual=True) as done:

            def tell() -> None:
                with suppress(ValueError):  # closed: the wait is over
                    done.set()

            try:
                for index, handle in enumerate(handles):
                    if _core._can_give_back(handle):
                        waits[index] = begin_wait(handle, tell)
                    else:
                        own.append(index)
                if len(own) >= _MOST:
                    raise ValueError(
                        f"at most {_MOST - 1} mutexes (and other handles that only "
                        "their waiter can own) fit in a wait for more than "
                        f"{_MOST} objects"
                    )
                mine = [objects[index] for index in own]
                index = _core._wait_any((*mine, done), deadline.left())
                late = not 0 <= index < len(own)
            except BaseException:
                late = False
                raise
            finally:
                for wait in waits.values():
                    wait.leave()
                taken = [at for at, wait in waits.items() if not wait.cancel()]
                for at in taken[1:] if late else taken:
                    waits[at].give_back()
        if not late:
            return own[index]
        if not taken:
            return -1
        waits[taken[0]].check()
        return taken[0]


def _all_of_many(objects: Sequence[_Item], timeout: float | None) -> bool:
    """`_core._wait_all` of more than 64: in lots, the final one of all mutexes."""
    deadline = Deadline(timeout)
    with _pinned(objects) as handles:
        can_undo = [_core._can_give_back(handle) for handle in handles]
        if can_undo.count(False) > _MOST:
            raise ValueError(
                f"at most {_MOST} mutexes (and other handles that only their waiter "
                "can own) fit in one wait"
            )
        order = sorted(range(len(objects)), key=lambda at: not can_undo[at])
        taken = 0
        try:
            while taken < len(order):
                # The first lot is the one that is not full.
                size = (len(order) - taken) % _MOST or _MOST
                lot = [objects[at] for at in order[taken : taken + size]]
                if not _core._wait_all(lot, deadline.left()):
                    break
                taken += size
        except _core.AbandonedError:  # in the final lot: the caller has them all
            taken = len(order)
            raise
        finally:
            if taken < len(order):
                for at in order[:taken]:
                    _core._give_back(handles[at])
        return taken == len(order)
