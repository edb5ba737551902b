"""docs/builds.md: each build, where it ran, and the outcome.

`./dev test --all` and the processes that it starts note each outcome. At its end it
writes the page.
"""

import contextlib
import json
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import msvc
import wine
from arm64 import zig
from base import BUILD, ROOT, remove, run, say
from pins import AMD64, ARM64, GENUINE_PYTHONS, WINDOWS_PYTHONS, Machine
from winpython import machine_of

PAGE = ROOT / "docs" / "builds.md"
NOTES = "WINIPC_BUILDS"

TEXT = """\
# Builds

`./dev test --all` writes this page: each build of winipc, where it ran, and how many
tests passed. A run replaces the rows of its own system. A system with few rows was
tested by `./dev test` alone.

| processor | Python | compiler | on | what | outcome |
| --- | --- | --- | --- | --- | --- |
"""


@contextlib.contextmanager
def noted() -> Iterator[None]:
    """Collect notes during a `with`, and write the page at its end."""
    notes = BUILD / "reports" / f"builds-{os.getpid()}.jsonl"
    notes.parent.mkdir(parents=True, exist_ok=True)
    notes.touch()
    os.environ[NOTES] = str(notes)
    try:
        yield
        _write([json.loads(line) for line in notes.read_text().splitlines()])
    finally:
        del os.environ[NOTES]
        remove(notes)


def note(machine: Machine, python: str, compiler: str, what: str, done: object) -> None:
    """Note the outcome of one build, if a page is to be written."""
    if NOTES in os.environ:
        bits = "32 bits" if machine.platform == "win32" else "64 bits"
        row = [f"{machine.name}, {bits}", python, compiler, _system(), what, str(done)]
        with Path(os.environ[NOTES]).open("a") as notes:
            notes.write(json.dumps(row) + "\n")


def note_tests(version: str, what: str, done: object, *, as_msvc: bool = False) -> None:
    """Note the outcome of tests on a Windows Python, or on a genuine one."""
    if NOTES not in os.environ:
        return
    if version in GENUINE_PYTHONS:
        machine, python = AMD64, f"{version}, genuine"
    else:
        machine = machine_of(version)
        python = WINDOWS_PYTHONS[version].version.partition("-")[0]
    compiler = f"GCC {run([machine.gcc, '-dumpversion']).strip()}, MinGW-w64"
    if as_msvc:
        compiler = f"clang {_number(msvc.compiler()[0])} and lld, as MSVC"
    note(machine, python, compiler, what, done)


def note_arm64(done: object) -> None:
    compiler = f"clang of zig {run([*zig(), 'version']).strip()}"
    note(ARM64, "3.11, limited API", compiler, "built and checked, not run", done)


def _number(program: str) -> str:
    found = re.search(r"\d+\.\d+\.\d+", run([program, "--version"]))
    return found[0] if found else "?"


def _system() -> str:
    release = platform.freedesktop_os_release()
    name = f"{release['NAME'].partition(' ')[0]} {release.get('VERSION_ID', 'sid')}"
    found = re.search(r"wine-([\d.]+)", run([wine.loader(), "--version"]))
    return f"{name}, Wine {found[1] if found else '?'}"


def _write(rows: list[list[str]]) -> None:
    """Write the page, and keep the rows of other systems."""
    old = PAGE.read_text().splitlines() if PAGE.exists() else []
    cells = [line.strip("| ").split(" | ") for line in old if line.startswith("| ")]
    system = _system()
    kept = [row for row in cells[2:] if len(row) > 3 and row[3] != system]
    lines = [f"| {' | '.join(row)} |\n" for row in sorted(kept + rows)]
    PAGE.write_text(TEXT + "".join(lines))
    say(f"wrote {PAGE.relative_to(ROOT)}")
