"""Finding what keeps memory in use, for the BufferError of a `close()`."""

from __future__ import annotations

import gc
import sys
from typing import Any, Self

from winipc.errors import add_hint

#: inspect.CO_OPTIMIZED: code whose local variables are not in a dictionary.
_CO_OPTIMIZED = 1


class Held:
    """The first base of memory objects that memoryviews and arrays may hold."""

    __slots__ = ()

    def close(self) -> None:
        """Release the memory and all else that the object owns; twice is harmless.

        Raises:
            BufferError: The memory is in use by a memoryview, an array, a view, a
                snapshot, or a call in another thread. The message counts them, and
                a note names those that can be found. (The end of a `with` does not
                raise it: the memory then goes with its last user.)

        Win32: UnmapViewOfFile, CloseHandle, GlobalFree, VirtualFree, FreeLibrary.
        """
        try:
            super().close()  # type: ignore[misc]
        except BufferError as error:
            _name_holders(error, self)
            raise

    def __enter__(self) -> Self:
        memory: Any = self
        if memory.closed:
            raise ValueError(f"{type(self).__name__} is closed")
        return self

    def __exit__(self, *exc: Any) -> None:
        """Close, or leave the memory to its users; add a note to an exception."""
        memory: Any = self
        pins = memory._leave()
        if pins == 0:
            try:
                return self.close()
            except BufferError:
                pins = memory._leave()  # another thread pinned it in between
                if pins == 0:
                    raise
        if len(exc) > 1 and exc[1] is not None:
            buffers, are = ("buffer", "is") if pins == 1 else ("buffers", "are")
            add_hint(
                exc[1],
                f"the memory of {self!r} stays until {pins} {buffers} of it "
                f"(memoryview, NumPy array, running call, ...) {are} gone",
            )


def _name_holders(error: BufferError, memory: Any) -> None:
    """Add a hint that names the users of `memory` that can be found.

    It looks at every object of the process, so it is for errors only.
    """
    found = [_mapped(holder) for holder in gc.get_referrers(memory)]
    views = [view for view in gc.get_objects() if _is_view_of(view, memory)]
    arrays = _arrays()
    for view in views:
        users = [_shown(array) for array in arrays if _base(array) is view]
        users += [f"{type(user).__name__} (ctypes)" for user in _structures(view)]
        found += users or [f"memoryview of {view.nbytes} bytes"]
    texts = sorted(filter(None, found))
    if texts:
        add_hint(error, f"in use by {'; '.join(texts)}")


def _is_view_of(view: object, memory: object) -> bool:
    try:
        return type(view) is memoryview and view.obj is memory
    except ValueError:  # released
        return False


def _mapped(holder: Any) -> str:
    """Describe an open MappingView or Snapshot; "" for anything else."""
    from winipc import _core

    if not isinstance(holder, (_core.MappingView, _core.Snapshot)) or holder.closed:
        return ""
    if isinstance(holder, _core.Snapshot):
        return repr(holder)
    where = f"at offset {holder.offset} of {holder.size} bytes"
    return f"{type(holder).__name__} {where}"


def _structures(view: memoryview) -> list[Any]:
    """The ctypes instances that lie in a memoryview: each refers to it by a dict."""
    ctypes = sys.modules.get("ctypes")
    if ctypes is None:
        return []
    kind = ctypes.Structure.__base__
    owners = gc.get_referrers(*gc.get_referrers(view))
    return [owner for owner in owners if isinstance(owner, kind)]


def _arrays() -> list[Any]:
    """The NumPy arrays of this process.

    The garbage collector does not track arrays. So look at what the objects that it
    tracks refer to, and at the variables of all threads.
    """
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return []
    variables = _variables()
    # One star in each call: a list for both would be found by get_objects(), a cycle.
    held = gc.get_referents(*gc.get_objects()) + gc.get_referents(*variables)
    held += variables
    arrays = {id(value): value for value in held if isinstance(value, numpy.ndarray)}
    return list(arrays.values())


def _variables() -> list[object]:
    """The values of all variables of running functions, except this module's."""
    values: list[object] = []
    frames = list(sys._current_frames().values())
    while frames:
        frame = frames.pop()
        if frame.f_back is not None:
            frames.append(frame.f_back)
        if frame.f_globals is globals():
            continue
        variables = frame.f_locals
        values += variables.values()
        # Before 3.13, f_locals is a copy that the frame keeps, with all values in it.
        # Clear the copy, unless anyone else refers to it: only the frame, `variables`
        # and the argument of getrefcount may.
        copied = frame.f_code.co_flags & _CO_OPTIMIZED and type(variables) is dict
        if copied and sys.getrefcount(variables) <= 3:
            variables.clear()
    del frame  # it may be this call's own frame: a cycle
    return values


def _base(array: Any) -> Any:
    """The object to which an array's memory belongs."""
    while type(array) is not memoryview and hasattr(array, "base"):
        array = array.base
    return array


def _shown(array: Any) -> str:
    return f"{type(array).__name__} of {array.shape} {array.dtype}"
