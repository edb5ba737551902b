"""How unnamed objects travel through multiprocessing: as duplicated handles.

A process that is being spawned gets a handle of its own at once, so the parent may
close its object, or end, before the child uses it. Through a queue or a pool, a handle
waits in the sender until the receiver takes it; until then, the sender must live.

Only multiprocessing's own pickler does this: in a pickle on disk, a handle would be a
number without a meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from winipc import _core


class Travels:
    """A base for classes with `open`: named objects are pickled by their names."""

    __slots__ = ()

    def __reduce__(self: Any) -> tuple[Any, ...]:
        """Pickle by name; only multiprocessing can pickle an unnamed object."""
        if self.closed:
            raise ValueError(f"a closed {type(self).__name__} cannot be pickled")
        if self.name is None:
            raise TypeError(
                f"an unnamed {type(self).__name__} can be pickled by multiprocessing "
                "only: give it a name, or use duplicate_to()"
            )
        return _open, (type(self), self.name, self._how())

    def _how(self: Any) -> dict[str, Any]:
        """The arguments with which `open` and `from_handle` make an equal object."""
        return {}


def _open(cls: type[Any], name: str, how: dict[str, Any]) -> Any:
    """Unpickle a named object."""
    return cls.open(name, **how)


def travels_by_handle(cls: type[Travels]) -> None:
    """Let multiprocessing pickle the unnamed objects of this class.

    It is called when the first such object is made: at import, it would load
    multiprocessing for every user.
    """
    from multiprocessing.reduction import ForkingPickler

    ForkingPickler.register(cls, _reduce)


def _reduce(owner: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Tell multiprocessing's pickler what to write for an object."""
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
    """Unpickle in a spawned child, which has the handle already."""
    try:
        return cls.from_handle(handle, **how)
    except BaseException:
        _core._close_handle(handle)  # no other code knows it
        raise


def _claim(cls: type[Any], duplicate: Any, how: dict[str, Any]) -> Any:
    """Unpickle in another process: take the handle from the sender."""
    return _adopt(cls, duplicate.detach(), how)
