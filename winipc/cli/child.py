"""Processes that commands start: this same winipc, in this same Python."""

from __future__ import annotations

import os
import sys

#: The launcher of a virtual environment is a process of its own, with another pid.
_PYTHON = getattr(sys, "_base_executable", sys.executable)


def child_command(*arguments: object) -> list[str]:
    """What starts `winipc` with these arguments, in the environment `child_environ`."""
    return [_PYTHON, "-m", "winipc", *map(str, arguments)]


def child_environ() -> dict[str, str]:
    """Variables with which a child imports what this process does.

    Without them, `-m winipc` takes a folder of that name in the current one.
    """
    return {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"}
