"""Under Wine the first window starts the desktop process, which is for all windows."""

from __future__ import annotations

import pytest
from conftest import Dev

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


def test_the_desktop_outlives_the_peer_that_opened_the_first_window(dev: Dev) -> None:
    """It is not in the job of the peer."""
    done = dev.run("python", "-c", TESTS)
    if done.stdout.startswith("1"):
        pytest.skip("another ./dev run has started the desktop")
    assert done.stdout.split() == ["0", "1", "1"], done.stderr
