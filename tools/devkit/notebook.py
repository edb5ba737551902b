"""JupyterLab on Linux with the Windows Python as its kernel; or a run without it."""

import os
from glob import glob
from typing import NoReturn

from base import fail, say
from hostenv import clean_environ, host_python
from kernel import NAME, kernel_environ
from ready import ready
from wheels import site
from winpython import selected

FIRST = "which takes minutes the first time: it compiles its packages"


def main(args: list[str]) -> int:
    """./dev notebook [run NOTEBOOK | jupyter lab arguments]"""
    if args[:1] == ["run"]:
        _check(args[1:])
    version = selected()
    ready([version])
    # Build it now, so that a kernel starts at once.
    site(version)
    python = str(host_python("notebook"))
    env = clean_environ() | kernel_environ(version)
    if args[:1] == ["run"]:
        _run(python, args[1:], env)
    command = [python, "-I", "-m", "jupyterlab"]
    if os.geteuid() == 0:
        command.append("--allow-root")
    # Do not offer the Python of the tools as a kernel: it has no winipc.
    command.append(f"--KernelSpecManager.allowed_kernelspecs={NAME}")
    command.append(f"--MultiKernelManager.default_kernel_name={NAME}")
    say(f"starting JupyterLab; its kernel is Windows Python {version}, {FIRST}")
    os.execve(python, [*command, *args], env)


def _check(args: list[str]) -> None:
    """Fail for a notebook that is not there; nbconvert would print its manual."""
    files = [arg for arg in args if not arg.startswith("-")]
    if not files:
        fail("notebook run takes the file of a notebook")
    for file in files:
        if not glob(file):
            fail(f"there is no notebook {file}")


def _run(python: str, args: list[str], env: dict[str, str]) -> NoReturn:
    """Run the cells, and write the results into the notebook."""
    say(f"running the cells, {FIRST}")
    kernel = f"--ExecutePreprocessor.kernel_name={NAME}"
    command = [python, "-I", "-m", "nbconvert", "--to=notebook", "--execute", kernel]
    os.execve(python, [*command, "--inplace", *args], env)
