"""What the files that scans write have in common."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Whatever is wrong with what a file has in it is a ValueError that names it."""
    try:
        yield
    except (
        *(ValueError, TypeError, LookupError, OverflowError),
        *(AttributeError, RecursionError),
    ) as error:
        text = f"{os.fspath(path)!r} is no file of {what}: {error}"
        raise ValueError(text) from error


def check_format(data: Any, form: Mapping[str, object]) -> None:
    """ValueError unless it says that it is what was written as `form`."""
    if {name: data[name] for name in form} != form:
        raise ValueError("it says that it is something else")
