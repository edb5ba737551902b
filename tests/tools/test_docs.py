"""The examples of the README and the guides are run as they stand.

A comment behind a `print` says what it prints; the example must print just
that, in order. A block that is meant to be read only is fenced as `text`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DEADLINE
from helpers import need_libclang

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"print\(.*\)  # (.*)$", re.MULTILINE)
LOOPED = re.compile(r"^ *for .*:\n +print", re.MULTILINE)


def examples() -> list[object]:
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        blocks = FENCED.findall(path.read_text("utf-8"))
        found += [
            pytest.param(block, id=f"{path.stem}-{number}")
            for number, block in enumerate(blocks, 1)
        ]
    return found


@pytest.mark.parametrize("example", examples())
def test_example_runs_and_prints_what_it_says(example: str, unique_name: str) -> None:
    """Names are made unique: other runs may be under way in this session."""
    if "check_portable" in example:
        need_libclang()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example.replace("my-app", unique_name)],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    expected = PRINTED.findall(example)
    printed = done.stdout.splitlines()
    if LOOPED.search(example):
        assert set(printed) == set(expected)
    else:
        assert printed == expected


def test_there_are_examples() -> None:
    """The pattern above still finds what it is meant to find."""
    assert len(examples()) >= 5
