"""A shell in which `winpython` is the Windows Python and `winipc` its command line."""

import os
import shutil
import subprocess
from pathlib import Path

import wine
from base import BUILD, ROOT, say
from ready import ready
from run_python import python_environ
from winpython import selected


def main(args: list[str]) -> int:
    """./dev shell [sh arguments]; without arguments bash, which edits lines"""
    version = selected()
    ready([version])
    with wine.shared_prefix() as prefix:
        env = python_environ(prefix, version)
        env["PATH"] = f"{_programs()}:{env.get('PATH', os.defpath)}"
        env["WINIPC_PYTHON"] = version
        env["PS1"] = "winipc$ "
        say(f"winpython is Windows Python {version}, winipc its command line")
        say(f"WINEPREFIX is {prefix}")
        bash = None if args else shutil.which("bash")
        command = ["/bin/sh", *args] if bash is None else [bash, "--norc"]
        return subprocess.run(command, env=env, check=False).returncode


def _programs() -> Path:
    """A folder with the commands `winpython` and `winipc`."""
    folder = BUILD / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name, words in ("winpython", "python"), ("winipc", "python -P -m winipc"):
        part = folder / f"{name}.{os.getpid()}"
        part.write_text(f'#!/bin/sh\nexec "{ROOT}/dev" {words} "$@"\n')
        part.chmod(0o755)
        part.rename(folder / name)
    return folder
