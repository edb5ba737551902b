"""`Target`: where a message goes.

It is a `CopyDataWindow`, a `Window`, an hwnd, a title, or a pair (title, class), where
one of the two may be None. A class is a name or an atom.
"""

from __future__ import annotations

from typing import Protocol, SupportsIndex, TypeAlias

from winipc import _core

__all__ = ["Target"]


class _HasHwnd(Protocol):
    @property
    def hwnd(self) -> int: ...


#: What a message may be sent to: an object with an `hwnd`, such as a `CopyDataWindow`
#: or a `Window`; an hwnd; a title; or a pair (title, class) of which one may be None.
Target: TypeAlias = _HasHwnd | SupportsIndex | str | tuple[str | None, str | int | None]


def find_hwnd(title: str | None, class_name: str | int | None) -> int:
    """The handle of the window that `find_window` finds; 0 if there is none."""
    if not title and class_name is None:
        raise ValueError(
            f"a window is found by its title or its class; the title is {title!r}"
        )
    top_level = _core._find_window(title, class_name, False)
    return top_level or _core._find_window(title, class_name, True)


def _find_old_pair(class_name: str | None, title: str | int | None) -> int:
    """The window of a pair (class, title), the order of earlier versions."""
    if class_name is None or isinstance(title, int):
        return 0
    hwnd = find_hwnd(title, class_name)
    if hwnd:
        import warnings

        warnings.warn(
            f"the title now comes first in a target: {(title, class_name)!r}",
            DeprecationWarning,
            stacklevel=3,
        )
    return hwnd


def hwnd_of(target: Target) -> int:
    """The window handle of a target; raises as `send_copydata` does."""
    __tracebackhide__ = True  # pytest shows the test's line
    if isinstance(target, str | tuple):
        title, class_name = (target, None) if isinstance(target, str) else target
        found = find_hwnd(title, class_name)
        if not found and isinstance(target, tuple):
            found = _find_old_pair(title, class_name)
        if not found:
            from winipc.message.lookup import no_window

            raise no_window(title, class_name)
        return found
    hwnd = getattr(target, "hwnd", None)
    if hwnd is None:
        if not isinstance(target, SupportsIndex):
            raise TypeError(
                "a target is a window, its handle, its title or a pair of title and "
                f"class, not {target!r}"
            )
        return target.__index__()
    if not hwnd:
        raise ValueError(f"{target!r} is closed")
    return int(hwnd)
