"""`winipc selftest`: what it reports, also when a check goes wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE

import winipc
from winipc import _core, cli
from winipc.cli.checks import CHECKS

#: On a busy machine every process may take seconds to start.
PATIENT = ("--json", "--timeout", "100", "--total", "600")
VERDICTS = {"ok", "failed", "differs", "not possible here"}


def report(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    """Its status and what it reports, made in this process."""
    status = cli.main(["selftest", *words])
    [line] = capsys.readouterr().out.splitlines()
    return status, json.loads(line)


def test_all_is_well_here(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each check; under Wine those about Windows are marked as Wine's."""
    status, told = report(capsys, *PATIENT)
    rows = {row["check"]: row for row in told["checks"]}
    assert list(rows) == list(CHECKS)
    assert {"winipc", "python", "bits", "session", "elevated"} < set(told)
    assert "user" not in told
    wine = _core._wine_version()
    for name, row in rows.items():
        assert row["verdict"] in VERDICTS - {"failed"}, row
        expected = row["came"] in row["expected"].split(" | ")
        assert (row["verdict"] == "ok") == expected, row
        answer = f"Wine {wine}" if wine else "Windows"
        assert row["answer"] == (answer if CHECKS[name].otherwise else "winipc")
        if row["verdict"] != "ok":
            assert CHECKS[name].otherwise, row
            assert row["why"], row
    assert status == 0


@pytest.mark.smoke
def test_a_part_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["section", "channel", "missing-page", "death"]
    assert cli.main(["selftest", *PATIENT[1:], *names]) == 0
    heading, *lines, total = capsys.readouterr().out.splitlines()
    assert heading.startswith(f"winipc {winipc.__version__}, python ")
    assert [line.partition(":")[0].split() for line in lines] == [
        ["ok", name] for name in names
    ]
    assert total.startswith("4 ok; ")


def test_a_process_that_dies_costs_one_check(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The test kills the process that makes the checks, as a crash would end it."""

    def kill_it() -> None:
        deadline = time.monotonic() + DEADLINE
        while not (workers := multiprocessing.active_children()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        workers[0].terminate()

    killer = threading.Thread(target=kill_it)
    killer.start()
    status, told = report(capsys, *PATIENT, "hung-window", "locks")
    killer.join()
    first, second = told["checks"]
    assert (first["check"], first["verdict"]) == ("hung-window", "failed")
    assert first["came"].startswith("its process ended with status ")
    assert (second["check"], second["verdict"]) == ("locks", "ok"), second
    assert status == 1


def test_a_check_that_hangs_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """A window is hung after 5 s, so this check cannot be made in one."""
    words = ("--json", "--timeout", "1", "--total", "600", "hung-window")
    status, told = report(capsys, *words)
    [row] = told["checks"]
    assert (row["verdict"], row["came"]) == ("failed", "no answer within 1 s")
    assert row["seconds"] < DEADLINE
    assert status == 1


def test_no_check_begins_when_the_time_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, told = report(capsys, "--json", "--total", "0", "scan", "locks")
    verdicts = [row["verdict"] for row in told["checks"]]
    assert (status, verdicts) == (0, ["not possible here"] * 2)


def test_a_missing_dll_fails_its_checks(tmp_path: Path) -> None:
    """A copy of winipc without its DLL, as a virus scanner might leave it."""
    shutil.copytree(
        Path(_core.__file__).parent,
        tmp_path / "winipc",
        copy_function=shutil.copyfile,  # copy2 needs what Wine 8 lacks
        ignore=shutil.ignore_patterns("shared_section.dll", "__pycache__"),
    )
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from winipc.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "selftest", *PATIENT, "section", "scan"],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE * 3,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    section, scan = json.loads(done.stdout)["checks"]
    assert section["verdict"] == "failed"
    assert "shared_section.dll" in section["came"]
    assert (scan["verdict"], done.returncode) == ("ok", 1)


def test_a_check_that_does_not_exist_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["selftest", "nonsense"])
    assert ended.value.code == 2
    assert "no check 'nonsense'; there are copydata, " in capsys.readouterr().err


def test_a_folder_of_the_same_name_is_no_danger(tmp_path: Path) -> None:
    """The processes that a command starts import what it did, wherever it runs."""
    package = tmp_path / "winipc"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('a stranger')\n")
    environ = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
    environ.pop("PYTHONSAFEPATH", None)
    folder = str(Path(winipc.__file__).parents[1])
    program = (
        f"import sys; sys.path[0] = {folder!r}\n"
        "from winipc.cli import demo, main\n"
        "demo._LARGE = 1 << 16\n"  # 64 MiB take most of its time
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "demo", "--json"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE * 3,
        env=environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
