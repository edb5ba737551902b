"""What `import winipc` does not do."""

from __future__ import annotations

import subprocess
import sys

import winipc

CODE = "import winipc; print('ready', flush=True); input()"


def test_import_loads_no_library_of_windows() -> None:
    """Windows does not tell a program with user32 of CTRL_LOGOFF and CTRL_SHUTDOWN."""
    with subprocess.Popen(
        [sys.executable, "-c", CODE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        with winipc.RemoteProcess.open(child.pid) as process:
            names = {module.name.lower() for module in process.modules()}
        child.communicate("\n", timeout=60)
    assert "kernel32.dll" in names
    assert not {"user32.dll", "imm32.dll"} & names
