"""How unnamed objects travel through multiprocessing: as duplicated handles.

A process that is being spawned gets a handle of its own at once, so this one
may close its object, or end, before the child looks. What goes through a queue
or a pool is a handle that stays here until the receiver takes it away; until
then this process has to live.

Only multiprocessing's own pickler does this: a pickle on disk would be a number
that means nothing later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from winipc import _core


class Travels:
    """A named object is pickled by its name; it has `open` and `_how()`."""

    __slots__ = ()

    def __reduce__(self: Any) -> tuple[Any, ...]:
        """Pickle by name; an unnamed one goes through multiprocessing only."""
        if self.closed:
            raise ValueError(f"a closed {type(self).__name__} cannot be pickled")
        if self.name is None:
            raise TypeError(
                f"an unnamed {type(self).__name__} can be pickled by multiprocessing "
                "only: give it a name, or use duplicate_to()"
            )
        return _open, (type(self), self.name, self._how())

    def _how(self: Any) -> dict[str, Any]:
        """The arguments that `open` and `from_handle` need to give the same."""
        return {}


def _open(cls: type[Any], name: str, how: dict[str, Any]) -> Any:
    """What a pickle of a named object calls."""
    return cls.open(name, **how)


def travels_by_handle(cls: type[Travels]) -> None:
    """Let multiprocessing pickle the unnamed objects of this class.

    Called when the first one is made, and not at import, which would load
    multiprocessing for every user.
    """
    from multiprocessing.reduction import ForkingPickler

    ForkingPickler.register(cls, _reduce)


def _reduce(owner: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What multiprocessing's pickler writes for an object."""
    if owner.closed or owner.name is not None:
        return owner.__reduce__()  # type: ignore[no-any-return]
    from multiprocessing.context import get_spawning_popen
    from multiprocessing.reduction import DupHandle

    popen = get_spawning_popen()
    if popen is not None:
        handle = popen.duplicate_for_child(owner.handle)
        return _adopt, (type(owner), handle, owner._how())
    duplicate = DupHandle(owner.handle, owner._access)
    return _claim, (type(owner), duplicate, owner._how())


def _adopt(cls: type[Any], handle: int, how: dict[str, Any]) -> Any:
    """In the child: the handle is already there."""
    try:
        return cls.from_handle(handle, **how)
    except BaseException:
        _core._close_handle(handle)  # no other code knows it
        raise


def _claim(cls: type[Any], duplicate: Any, how: dict[str, Any]) -> Any:
    """In the receiver: take the handle out of the sender."""
    return _adopt(cls, duplicate.detach(), how)
