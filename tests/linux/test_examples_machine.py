"""examples/machine.h: the program in C and the one in Python share what it declares."""

from __future__ import annotations

import uuid
from pathlib import Path

from conftest import ROOT, Dev, run
from peers import FLAGS
from pins import AMD64

EXAMPLES = ROOT / "examples"


def test_c_and_python_share_a_machine(dev: Dev, tmp_path: Path) -> None:
    """The C program sees the user's name, Python what the machine did."""
    program = tmp_path / "machine.exe"
    run(AMD64.gcc, *FLAGS, EXAMPLES / "machine.c", "-o", program, cwd=ROOT)
    name = f"winipc-test-{uuid.uuid4().hex}"
    script = EXAMPLES / "machine.py"
    options = ("--name", name, "--program", program, "--user", "Ada")
    done = dev.run("python", script, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "4 cycles for Ada",
        "MACHINE_RUNNING bracket.nc for Ada",
        "x: 2.0 mm, tool 10",
        "y: 4.0 mm, tool 11",
        "z: 6.0 mm, tool 12",
    ]
