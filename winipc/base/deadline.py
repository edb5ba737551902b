"""Time-outs of waits that Python makes of several steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from winipc import _core
from winipc.base.winerror import ERROR_TIMEOUT

#: Longest time in seconds that a wait goes without a look for Ctrl+C.
SLICE = _core.WAIT_SLICE_MS / 1000


class Deadline:
    """When a wait of `timeout` seconds ends; None is never.

    Raises ValueError for NaN and negative numbers, as the waits in C do: the
    converter is theirs.
    """

    __slots__ = ("_end",)

    def __init__(self, timeout: float | None) -> None:
        seconds = _core._check_timeout(timeout)
        self._end = None if seconds is None else time.monotonic() + seconds

    def left(self) -> float | None:
        """Seconds until then, 0 when it is over; None is forever."""
        return None if self._end is None else max(self._end - time.monotonic(), 0.0)

    def part(self, longest: float) -> float:
        """Seconds to sleep before the next look, 0 when it is over."""
        left = self.left()
        return longest if left is None else min(left, longest)


def wait_until(
    changed: threading.Condition, reached: Callable[[], object], timeout: float | None
) -> bool:
    """Wait until `reached`, asked after each notification; False when time is over.

    The caller holds the condition.
    """
    deadline = Deadline(timeout)
    while not reached():
        # A wait for a lock does not see Ctrl+C on Windows: wait in slices.
        left = deadline.part(SLICE)
        if left == 0:
            return False
        changed.wait(left)
    return True


def timed_out(text: str, name: str | None = None) -> TimeoutError:
    """The error of a wait that took too long (ERROR_TIMEOUT, 1460)."""
    return TimeoutError(0, text, name, ERROR_TIMEOUT)
