"""Waiting for names to appear: Windows does not notify of new objects, so poll."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from winipc.base.deadline import Deadline, timed_out
from winipc.base.winerror import ERROR_PATH_NOT_FOUND
from winipc.errors import hint_taken, unhint_taken

_T = TypeVar("_T")

#: Seconds between two looks: the shortest (first) and the longest pause.
_SHORTEST = 0.001
_LONGEST = 0.05

#: Seconds for an object that exists to be initialised, or to go away.
_PATIENCE = 1.0


def wait_until_made(
    open_it: Callable[[], _T],
    name: str,
    timeout: float | None,
    late: str = "it did not appear in time",
) -> _T:
    """Call `open_it` until it finds the name, and return its result.

    Raises TimeoutError after `timeout` seconds. An invalid name (ERROR_PATH_NOT_FOUND,
    3) is an error at once, although it is a FileNotFoundError, too.
    """
    deadline = Deadline(timeout)
    pause = _SHORTEST
    while True:
        try:
            return open_it()
        except (FileNotFoundError, ProcessLookupError) as error:
            if error.winerror == ERROR_PATH_NOT_FOUND:
                raise
        left = deadline.part(pause)
        if left == 0:
            raise timed_out(late, name)
        time.sleep(left)
        pause = min(pause * 2, _LONGEST)


def make_or_open(
    make: Callable[[], _T], open_it: Callable[[], _T], exist_ok: bool
) -> _T:
    """Call `make`; if the name is taken and `exist_ok`, call `open_it` instead."""
    deadline = Deadline(_PATIENCE)
    while True:
        try:
            return make()
        except FileExistsError as error:
            if not exist_ok:
                hint_taken(error)
                raise
            taken = error
        with contextlib.suppress(FileNotFoundError):
            return open_it()
        # The object went away in between, or it is not initialised yet.
        if deadline.left() == 0:
            unhint_taken(taken)
            raise taken
        time.sleep(_SHORTEST)
