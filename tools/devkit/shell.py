"""A shell where `winpython` is the Windows Python with winipc."""

import os
import subprocess
from pathlib import Path

import wine
from base import BUILD, ROOT, say
from ready import ready
from run_python import python_environ
from winpython import selected


def main(args: list[str]) -> int:
    """./dev shell [sh arguments]"""
    version = selected()
    ready([version])
    with wine.shared_prefix() as prefix:
        env = python_environ(prefix, version)
        env["PATH"] = f"{_programs()}:{env.get('PATH', os.defpath)}"
        env["WINIPC_PYTHON"] = version
        env["PS1"] = "winipc$ "
        say(f"winpython is Windows Python {version}; WINEPREFIX is {prefix}")
        return subprocess.run(["/bin/sh", *args], env=env, check=False).returncode


def _programs() -> Path:
    """A folder with the command `winpython`."""
    folder = BUILD / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "winpython"
    part = folder / f"winpython.{os.getpid()}"
    part.write_text(f'#!/bin/sh\nexec "{ROOT}/dev" python "$@"\n')
    part.chmod(0o755)
    part.rename(program)
    return folder
