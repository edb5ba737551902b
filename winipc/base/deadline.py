"""Time-outs of waits that Python makes of several steps."""

from __future__ import annotations

import time

from winipc import _core

__all__ = ["Deadline"]


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
