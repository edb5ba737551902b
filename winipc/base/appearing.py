"""Names that come and go: Windows does not notify of new objects, so poll."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from winipc.base.deadline import Deadline, timed_out
from winipc.base.winerror import ERROR_PATH_NOT_FOUND

_T = TypeVar("_T")

#: Seconds between looks, at first and at last.
_SHORTEST = 0.001
_LONGEST = 0.05

#: Seconds in which an object that is there can become whole, or go away.
_PATIENCE = 1.0


def wait_until_made(open_it: Callable[[], _T], name: str, timeout: float | None) -> _T:
    """What `open_it` gives as soon as it finds the name, or TimeoutError.

    A name that is not valid (ERROR_PATH_NOT_FOUND, 3) is an error at once, though
    Python takes it for a FileNotFoundError too.
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
            raise timed_out("it did not appear in time", name)
        time.sleep(left)
        pause = min(pause * 2, _LONGEST)


def make_or_open(
    make: Callable[[], _T], open_it: Callable[[], _T], exist_ok: bool
) -> _T:
    """What `make` gives; with `exist_ok` also what `open_it` gives of a taken name."""
    deadline = Deadline(_PATIENCE)
    while True:
        try:
            return make()
        except FileExistsError as error:
            if not exist_ok:
                raise
            taken = error
        with contextlib.suppress(FileNotFoundError):
            return open_it()
        # It went away in between, or is not whole yet; or never will be.
        if deadline.left() == 0:
            raise taken
        time.sleep(_SHORTEST)
