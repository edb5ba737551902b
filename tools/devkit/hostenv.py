"""The host's virtual environments: pinned tools that run on Linux."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from base import (
    CACHE,
    TOOLS,
    key_of,
    locked,
    need_packages,
    run,
    say,
)

REQUIREMENTS = TOOLS / "requirements"


# These variables would mislead another Python, or make each start slow.
DROPPED = {
    "PIP_TARGET",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
}


def clean_environ() -> dict[str, str]:
    """The user's environment without variables that disturb other Pythons."""
    return {name: value for name, value in os.environ.items() if name not in DROPPED}


def host_python(lock: str = "host") -> Path:
    """The Python of the virtual environment made from a lock file."""
    requirements = REQUIREMENTS / f"{lock}.txt"
    version = "{}.{}.{}".format(*sys.version_info)
    key = key_of(requirements.read_bytes(), version, sys.executable)
    folder = CACHE / f"venv-{lock}-{key}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        with locked(CACHE / f"venv-{lock}.lock", "the Linux tools"):
            if not (folder / "complete").exists():
                _create(folder, requirements)
    return python


def missing_venv() -> list[str]:
    """The package to install before virtual environments can be made."""
    # In Debian, python3 has venv, but ensurepip is in a package of its own.
    return [] if find_spec("ensurepip") else ["python3-venv"]


def _create(folder: Path, requirements: Path) -> None:
    need_packages(missing_venv())
    say(f"installing the Linux tools of tools/requirements/{requirements.name}")
    # A virtual environment cannot be moved, so it is made in place, and marked when it
    # is complete.
    run([sys.executable, "-I", "-m", "venv", "--clear", folder], env=clean_environ())
    run(
        [
            *(folder / "bin" / "python", "-m", "pip", "install"),
            *("--no-input", "--no-deps", "--require-hashes", "--only-binary=:all:"),
            *("--progress-bar=off", "-r", requirements),
        ],
        env=clean_environ(),
    )
    (folder / "complete").touch()
