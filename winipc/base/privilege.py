"""Privileges of this process, for as long as they are needed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from winipc import _core


@contextlib.contextmanager
def privilege(name: str) -> Iterator[None]:
    """Enable a privilege of the whole process during a `with`.

    Raises:
        PermissionError: This user does not have the privilege (winerror 1300).

    Win32: AdjustTokenPrivileges
    """
    before = _core._set_privilege(name, True)
    try:
        yield
    finally:
        _core._set_privilege(name, before)
