"""Reading the files that scans save."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any


@contextlib.contextmanager
def reading(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn errors in the contents of a file into a ValueError that names the file."""
    try:
        yield
    except (
        *(ValueError, TypeError, LookupError, OverflowError),
        *(AttributeError, RecursionError),
    ) as error:
        text = f"{os.fspath(path)!r} is no file of {what}: {error}"
        raise ValueError(text) from error


def check_format(data: Any, form: Mapping[str, object]) -> None:
    """Raise ValueError unless the data has the format and version in `form`."""
    if {name: data[name] for name in form} != form:
        raise ValueError("it says that it is something else")
