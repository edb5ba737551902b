"""Waiting for a name: Windows tells nobody that somebody has made an object."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["wait_until_made"]

_T = TypeVar("_T")

_ERROR_PATH_NOT_FOUND = 3

#: Seconds between looks, at first and at last.
_SHORTEST = 0.001
_LONGEST = 0.05


def wait_until_made(open_it: Callable[[], _T], timeout: float | None) -> _T | None:
    """What `open_it` gives as soon as it finds the name; None after the time-out.

    A name that cannot exist (winerror 3) is an error at once, though Python takes
    it for a FileNotFoundError too.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    pause = _SHORTEST
    while True:
        try:
            return open_it()
        except FileNotFoundError as error:
            if error.winerror == _ERROR_PATH_NOT_FOUND:
                raise
        left = pause if deadline is None else deadline - time.monotonic()
        if left <= 0:
            return None
        time.sleep(min(pause, left))
        pause = min(pause * 2, _LONGEST)
