"""How commands start winipc itself as a child, in the same Python."""

from __future__ import annotations

import os
import sys

#: Not a virtual environment's launcher, which is a process of its own with another pid.
_PYTHON = getattr(sys, "_base_executable", sys.executable)


def child_command(*arguments: object) -> list[str]:
    """The command line of `winipc` with these arguments; it needs `child_environ`."""
    return [_PYTHON, "-m", "winipc", *map(str, arguments)]


def child_environ() -> dict[str, str]:
    """Variables that make a child import the same modules as this process.

    Without them, `-m winipc` takes a folder of that name in the current folder.
    """
    return {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
