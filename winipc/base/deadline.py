"""Time-outs of waits that consist of several steps in Python."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from winipc import _core
from winipc.base.winerror import ERROR_TIMEOUT

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

#: The longest time in seconds that a wait goes without a check for Ctrl+C.
SLICE = _core.WAIT_SLICE_MS / 1000


class Deadline:
    """The end of a wait of `timeout` seconds; None means forever.

    It accepts and refuses the same numbers as the waits in C, whose converter it calls:
    NaN and negative numbers are a ValueError.
    """

    __slots__ = ("_end",)

    def __init__(self, timeout: float | None) -> None:
        seconds = _core._check_timeout(timeout)
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """The seconds that are left, 0 when the time is over; None means forever."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    def part(self, longest: float) -> float:
        """Seconds to sleep before the next look, 0 when the time is over."""
        left = self.left()
        return longest if left is None else min(left, longest)


def wait_until(
    changed: threading.Condition, reached: Callable[[], object], timeout: float | None
) -> bool:
    """Wait until `reached()` is true; False if the time is over first.

    The caller holds the condition, and `reached` is called after each notification.
    """
    deadline = Deadline(timeout)
    while not reached():
        # On Windows, Ctrl+C does not end a wait for a lock: wait in slices.
        left = deadline.part(SLICE)
        if left == 0:
            return False
        changed.wait(left)
    return True


def timed_out(text: str, name: str | None = None) -> TimeoutError:
    """The error for a wait that took too long (ERROR_TIMEOUT, 1460)."""
    return TimeoutError(0, text, name, ERROR_TIMEOUT)
