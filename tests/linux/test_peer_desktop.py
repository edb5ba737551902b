"""Under Wine the first window starts the desktop process, which is for all windows."""

from __future__ import annotations

import os
import subprocess

import wine
from conftest import DEADLINE
from run_python import python_command, python_environ
from winpython import selected

OPENS = """
import sys, winipc
with winipc.CopyDataWindow.create("winipc-test-desktop"):
    print("open", flush=True)
    sys.stdin.read()
"""
TESTS = f"""
import sys
import winipc
from winipc.testing import Peer

def desktops():
    print(sum(entry.name == "explorer.exe" for entry in winipc.processes()))

desktops()
with Peer([sys.executable, "-c", {OPENS!r}], ready="open") as peer:
    desktops()
    with winipc.CopyDataWindow.create("winipc-test-desktop-own"):
        peer.kill()
        desktops()
"""


def test_the_desktop_outlives_the_peer_that_opened_the_first_window() -> None:
    """It is not in the job of the peer."""
    command = [*python_command(selected()), "-c", TESTS]
    pipe = subprocess.PIPE
    streams = {"stdin": subprocess.DEVNULL, "stdout": pipe, "stderr": subprocess.STDOUT}
    with wine.private_prefix() as prefix:
        env = python_environ(prefix, selected())
        with subprocess.Popen(command, env=env, **streams) as program:
            program.wait(DEADLINE)
            assert program.stdout is not None
            # Not to its end: the desktop process has it, too.
            shown = os.read(program.stdout.fileno(), 100)
    assert shown.split() == [b"0", b"1", b"1"]
