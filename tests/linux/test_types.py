"""What a type checker makes of a caller's program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

PROGRAM = """
from typing import assert_type
import winipc
from winipc import *

class Mine(LockedMapping): ...

assert_type(SharedMapping.create("x", 1), SharedMapping)
assert_type(LockedMapping.create("x", 1), LockedMapping)
assert_type(LockedMapping.open("x"), LockedMapping)
assert_type(LockedMapping.wait_for("x", 1), LockedMapping)
assert_type(LockedMapping.create("x", 1).lock, Mutex)
assert_type(Mine.open("x"), Mine)
assert_type(SharedMapping.open("x").get(0, "i32"), int)
assert_type(SharedMapping.open("x").get(0, "f32"), float)
assert_type(RemoteProcess.open(1).get(0, "u64"), int)
assert_type(SharedSection.load().atomic(0, "u32"), Atomic)
assert_type(Window.wait_for("x", 1), Window)
assert_type(Sender.wait_for("x", 1), Sender)
assert_type(RemoteProcess.wait_for("x", 1), RemoteProcess)
for window in find_windows("x")[:2]:
    assert_type(window, Window)
assert_type(named_objects()[0].name, str)
assert_type(processes()[0].pid, int)
rows: list[NamedObject] = named_objects()
assert_type(SharedMapping.create("x", 1), LockedMapping)  # wrong
SharedMapping.create("x", 1).lock  # wrong
"""


def test_what_callers_get_has_its_type(tmp_path: Path) -> None:
    """Classes make objects of their own type, and numbers are int or float."""
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--no-error-summary", str(path)]
    env = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=env, check=False
    )
    wrong = {n for n, line in enumerate(PROGRAM.splitlines(), 1) if "# wrong" in line}
    found = {int(line.split(":")[1]) for line in done.stdout.splitlines()}
    assert found == wrong, done.stdout + done.stderr
