"""The tests: on Windows Pythons under Wine, and on the Linux side."""

import os
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import wine
from base import BUILD, ROOT, Stopped, remove, say
from commands import python_command, python_environ
from hostenv import host_python
from kernel import kernel_environ
from native import missing_compilers
from peers import c_peers
from pins import WINDOWS_PYTHONS
from ready import ready
from runner import Outcome, run_windows
from wheels import cross_environ
from winpython import selected

LINUX_TESTS = "tests/linux"

# Seconds for one run of pytest; a hang ends it, after pytest has shown the stacks.
DEADLINE = float(os.environ.get("WINIPC_TEST_DEADLINE") or 1800)


@dataclass(frozen=True, slots=True)
class Totals:
    """What one run of pytest reported."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(
            self.passed + other.passed,
            self.failed + other.failed,
            self.skipped + other.skipped,
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed"


def main(args: list[str]) -> int:
    """./dev test"""
    if args[:1] == ["--linux"]:
        totals = linux(args[1:])
    elif args[:1] == ["--smoke"]:
        totals = smoke(list(WINDOWS_PYTHONS), args[1:])
    elif args:
        totals = windows(selected(), [_from_root(arg) for arg in args])
    else:
        totals = everything()
    print(totals, flush=True)
    return 1 if totals.failed else 0


def everything() -> Totals:
    chosen = selected()
    ready(list(WINDOWS_PYTHONS), missing_compilers())
    totals = windows(chosen, [])
    totals += linux([])
    return totals + smoke([v for v in WINDOWS_PYTHONS if v != chosen], [])


def smoke(versions: list[str], args: list[str]) -> Totals:
    ready(versions)
    totals = Totals()
    for version in versions:
        totals += windows(version, ["-m", "smoke", "-q", *args])
    return totals


def windows(version: str, args: list[str]) -> Totals:
    """Run pytest on a Windows Python, in a prefix of its own."""
    say(f"tests on Windows Python {version}")
    ready([version])
    command = python_command(version)
    report = _report(f"windows-{version}")
    pytest = [
        *("-m", "pytest", f"--ignore={LINUX_TESTS}"),
        *("-o", "faulthandler_exit_on_timeout=true"),
        f"--junitxml={wine.windows_path(report)}",
    ]
    with wine.private_prefix() as prefix:
        env = python_environ(prefix, version)
        env["WINIPC_PEERS"] = wine.windows_path(c_peers())
        os.chdir(ROOT)
        outcome = run_windows([*command, *pytest, *args], env, DEADLINE)
    return _totals(report, outcome, f"Windows Python {version}")


def linux(args: list[str]) -> Totals:
    """Run the tests of the packaging and of ./dev itself, on Linux."""
    say("tests on the Linux side")
    ready([selected()], missing_compilers())
    report = _report("linux")
    command = [
        *(str(host_python()), "-m", "pytest", LINUX_TESTS),
        # tests/conftest.py is for Windows.
        *(f"--confcutdir={LINUX_TESTS}", f"--junitxml={report}"),
    ]
    env = cross_environ() | kernel_environ(selected())
    with subprocess.Popen(
        [*command, *args], env=env, cwd=ROOT, stdin=subprocess.DEVNULL
    ) as child:
        try:
            outcome = Outcome(child.wait(DEADLINE))
        except subprocess.TimeoutExpired:
            child.kill()
            outcome = Outcome(1, timed_out=True)
        except Stopped:
            # pytest reaps what its tests started.
            child.terminate()
            raise
    return _totals(report, outcome, "Linux side")


def _report(name: str) -> Path:
    folder = BUILD / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    # Two test runs at once write two reports.
    report = folder / f"{name}-{os.getpid()}.xml"
    remove(report)
    return report


def _totals(report: Path, outcome: Outcome, part: str) -> Totals:
    """Read the report of a run; a run without one counts as a failure."""
    if outcome.signum and not outcome.timed_out:
        raise Stopped(outcome.signum)
    totals = Totals()
    if report.exists():
        for suite in ET.parse(report).getroot().iter("testsuite"):
            count = {name: int(suite.get(name, 0)) for name in _COUNTS}
            failed = count["failures"] + count["errors"]
            passed = count["tests"] - failed - count["skipped"]
            totals += Totals(passed, failed, count["skipped"])
        remove(report)
    else:
        # It ended in the middle of a line.
        print(flush=True)
    if outcome.timed_out:
        say(f"{part}: still running after {DEADLINE:.0f} s, so it was killed")
        totals += Totals(failed=1)
    elif outcome.status and not totals.failed:
        say(f"{part}: pytest ended with status {outcome.status}")
        totals += Totals(failed=1)
    say(f"{part}: {totals}, {totals.skipped} skipped")
    return totals


_COUNTS = ("tests", "failures", "errors", "skipped")


def _from_root(arg: str) -> str:
    """Keep the meaning of a path: pytest runs in the root, the user may not."""
    path, separator, rest = arg.partition("::")
    if path.startswith("-") or not Path(path).exists():
        return arg
    return wine.windows_path(Path(path).resolve()) + separator + rest
