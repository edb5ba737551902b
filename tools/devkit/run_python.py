"""The command and the environment to run winipc on a Windows Python."""

from pathlib import Path

import wine
from wheels import site
from winpython import windows_python


def python_command(version: str) -> list[str]:
    return [wine.loader(), str(windows_python(version) / "python.exe")]


def python_environ(
    prefix: Path, version: str, *extra: Path, winipc: Path | None = None
) -> dict[str, str]:
    """The environment of the Windows Python, with winipc to import."""
    folders = [winipc or site(version), *extra]
    return wine.environ(prefix) | {
        "PYTHONPATH": ";".join(wine.windows_path(folder) for folder in folders),
        # In the root of the checkout, -c and -m would import its sources, which have no
        # _core. But with it, a script's own folder is not on the path.
        "PYTHONSAFEPATH": "1",
        # The prompt of Python 3.13 reads no keys under Wine 8.
        "PYTHON_BASIC_REPL": "1",
    }
