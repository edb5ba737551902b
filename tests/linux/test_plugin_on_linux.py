"""The pytest plugin where winipc itself cannot be imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import DEADLINE, ROOT


def test_plugin_leaves_pytest_on_linux_alone(tmp_path: Path) -> None:
    """It loads; names work, and what needs Windows says so."""
    (tmp_path / "test_it.py").write_text(
        "def test_plain(): pass\n"
        "def test_name(winipc_name): assert winipc_name\n"
        "def test_window(winipc_window): pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "pytest_winipc", str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "ImportError: winipc needs Windows" in done.stdout
