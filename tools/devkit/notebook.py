"""JupyterLab on Linux with the Windows Python as its kernel."""

import os

from base import say
from hostenv import clean_environ, host_python
from kernel import NAME, kernel_environ
from ready import ready
from wheels import site
from winpython import selected


def main(args: list[str]) -> int:
    """./dev notebook [jupyter lab arguments]"""
    version = selected()
    ready([version])
    # Now, so that a kernel starts without building first.
    site(version)
    python = str(host_python("notebook"))
    env = clean_environ() | kernel_environ(version)
    command = [python, "-I", "-m", "jupyterlab"]
    if os.geteuid() == 0:
        command.append("--allow-root")
    # The Python of the tools has no winipc, so it is no kernel to offer.
    command.append(f"--KernelSpecManager.allowed_kernelspecs={NAME}")
    command.append(f"--MultiKernelManager.default_kernel_name={NAME}")
    say(f"JupyterLab with the kernel of Windows Python {version}")
    os.execve(python, [*command, *args], env)
