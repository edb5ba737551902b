"""The examples of the README and the guides are run as they stand.

A comment behind a `print` says what it prints; the example must print just
that, in order. A block that is meant to be read only is fenced as `text`.

Those of a page are run one after the other in one process: to start one and to import
what they use takes longer than they do. Each is a program of its own all the same: it
sees nothing of the others, nor what they imported of winipc.
"""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE
from helpers import need_libclang

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"print\(.*\)  # (.*)$", re.MULTILINE)
LOOPED = re.compile(r"^ *for .*:\n +print", re.MULTILINE)

#: Runs programs, and prints for each what it printed and its error.
RUNNER = """
import contextlib, io, json, sys, threading, traceback
import winipc

for name in winipc.__all__:
    getattr(winipc, name)  # which imports the module that has it
first = set(sys.modules)
for program in json.load(sys.stdin):
    printed, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(program, "<example>", "exec"), {"__name__": "__main__"})
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join()
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps([printed.getvalue(), error]), flush=True)
    for name in set(sys.modules) - first:
        package, _, last = name.rpartition(".")
        if name.startswith("winipc."):
            del sys.modules[name]
            if package in sys.modules:
                vars(sys.modules[package]).pop(last, None)
"""


def examples() -> list[Any]:
    found = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        blocks = FENCED.findall(path.read_text("utf-8"))
        found += [
            pytest.param(block, path.stem, id=f"{path.stem}-{number}")
            for number, block in enumerate(blocks, 1)
        ]
    return found


@functools.cache
def outcomes(page: str) -> dict[str, tuple[str, str]]:
    """What each example of a page printed, and its error."""
    found = [example.values[0] for example in examples() if example.values[1] == page]
    # Names are made unique: other runs may be under way in this session.
    names = [f"winipc-test-{uuid.uuid4().hex}" for _ in found]
    programs = [
        text.replace("my-app", name) for text, name in zip(found, names, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUNNER],
        input=json.dumps(programs),
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE * 3,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    rows = []
    for name, line in zip(names, done.stdout.splitlines(), strict=False):
        printed, error = json.loads(line)
        rows.append((printed.replace(name, "my-app"), error))
    ended = ("", f"the process ended with status {done.returncode}: {done.stderr}")
    rows += [ended] * (len(found) - len(rows))
    if done.returncode:
        rows[-1] = ended
    return dict(zip(found, rows, strict=True))


@pytest.mark.parametrize(("example", "page"), examples())
def test_example_runs_and_prints_what_it_says(example: str, page: str) -> None:
    if "check_portable" in example:
        need_libclang()
    output, error = outcomes(page)[example]
    assert error == ""
    expected = PRINTED.findall(example)
    printed = output.splitlines()
    if LOOPED.search(example):
        assert set(printed) == set(expected)
    else:
        assert printed == expected


def test_there_are_examples() -> None:
    """The pattern above still finds what it is meant to find."""
    assert len(examples()) >= 5
