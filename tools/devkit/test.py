"""./dev test: on Windows Pythons under Wine, and on the Linux side."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

import builds
import msvc
import wine
from base import BUILD, ROOT, TOOLS, Failure, Stopped, fail, remove, say, together
from chromium import chromium, missing_chromium
from compilers import missing_compilers
from genuine import genuine_python
from hostenv import clean_environ, host_python
from kernel import kernel_environ
from lint import FREE_THREADED, compile_free_threaded
from peers import c_peers
from pins import AMD64, ARM64, GENUINE_PYTHONS, WINDOWS_PYTHONS, X86
from ready import ready
from run_python import python_command, python_environ
from runner import LOOK, Outcome, Work, run_windows, slowness
from wheels import built_wheel, cross_environ, release, site
from winpython import LIBRARY, machine_of, selected, windows_python

LINUX_TESTS = "tests/linux"
BROWSER_TESTS = "tests/browser"

# The folders of two of the parts that run side by side, so that all take about as long.
# The first part also runs the other Pythons, and some tests of the Linux side.
FIRST = ("tests/cassette", "tests/scan")
SECOND = (
    *("tests/cli", "tests/exchange", "tests/interop", "tests/jupyter"),
    *("tests/system", "tests/testing", "tests/tools"),
)
NATIVE = ("tests/linux/test_ring_native.py", "tests/linux/test_scan_kernels.py")

LINUX = "--linux"

# Also the whole suite on the 32-bit Python, for which i386 is added to Debian.
ALL = "--all"

# More rounds of random tests and of tests of races; with any other options.
FULL = "--full"

# Run the tests this many times, to find those that fail now and then.
REPEAT = "--repeat"

SMOKE = ["-m", "smoke", "-q"]
SMOKE_MARK = "pytest.mark.smoke"

# The last line of ./dev test.
TOTAL = re.compile(r"(\d+) passed, (\d+) failed")

# Programs that tests on the Linux side run, and their packages in Debian.
LINUX_PROGRAMS = {
    "tmux": "tmux",
    "mosquitto": "mosquitto",
    "mosquitto_rr": "mosquitto-clients",
    "ip": "iproute2",
}

# With --all: compilers for what `winipc layout --as` writes.
OTHER_COMPILERS = {"mcs": "mono-mcs", "rustc": "rustc"}

# Seconds of work for one test; a longer one counts as a hang: pytest shows all stacks,
# and ends the run.
HANG = 600

# Seconds of work for one run of pytest; then it is killed.
DEADLINE = float(os.environ.get("WINIPC_TEST_DEADLINE") or 1800)


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts that one run of pytest reported."""

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
    """./dev test [--full] [--repeat N]"""
    if FULL in args:
        args = [arg for arg in args if arg != FULL]
        os.environ["WINIPC_TEST_FULL"] = "1"
    times = 1
    if REPEAT in args:
        at = args.index(REPEAT)
        if not re.fullmatch("[1-9][0-9]*", "".join(args[at + 1 : at + 2])):
            fail("--repeat takes a number of runs, at least 1")
        times = int(args[at + 1])
        del args[at : at + 2]
    folder = Path.cwd()
    totals = Totals()
    for number in range(1, times + 1):
        if times > 1:
            say(f"run {number} of {times}")
            os.chdir(folder)
        totals += chosen(args)
        if totals.failed:
            break
    print(totals, flush=True)
    return 1 if totals.failed else 0


def chosen(args: list[str]) -> Totals:
    """Run the tests that the arguments choose."""
    if args[:1] == [LINUX]:
        return linux(args[1:])
    if args[:1] == ["--smoke"]:
        return smoke(_tested(), args[1:])
    if args[:1] == ["--browser"]:
        return browser(args[1:])
    if args == [ALL]:
        with builds.noted():
            return everything(_tested(True), True)
    if args:
        return windows(selected(), [_from_root(arg) for arg in args])
    return everything(_tested())


def _tested(bits32: bool = False) -> list[str]:
    """The Windows Pythons to test on; the 32-bit one if asked for or installed."""
    if bits32 or wine.runs_32bit():
        return list(WINDOWS_PYTHONS)
    return [v for v, jar in WINDOWS_PYTHONS.items() if jar.machine is AMD64]


def everything(versions: list[str], whole: bool = False) -> Totals:
    """Run all parts side by side, each with its own log.

    While one part waits, another one uses the processor.
    """
    compilers = _missing(OTHER_COMPILERS) if whole else []
    ready(versions, [*_missing_on_linux(), *compilers])
    # Build them once, before all parts would.
    together(built_wheel, c_peers)
    say("the tests run in four parts side by side; the logs come one after the other")
    with (
        _other(*SECOND, processor=0) as second,
        _other(*_ignored(FIRST + SECOND), processor=1) as third,
        _other(LINUX, *_ignored(NATIVE)) as linux_side,
    ):
        totals = windows(selected(), list(FIRST))
        rest = linux(list(NATIVE)) + others(versions, whole)
        totals += second() + third()
        builds.note_tests(selected(), "all tests", totals)
        return totals + rest + linux_side()


def _ignored(paths: tuple[str, ...]) -> list[str]:
    return [f"--ignore={path}" for path in paths]


@contextlib.contextmanager
def _other(
    *options: str, processor: int | None = None
) -> Iterator[Callable[[], Totals]]:
    """Run another ./dev test; yield a function that shows its output, and its total.

    On one processor, programs and wineserver answer each other sooner. But races need
    two, so `--full` leaves them all.
    """
    pinned = []
    if processor is not None and "WINIPC_TEST_FULL" not in os.environ:
        allowed = sorted(os.sched_getaffinity(0))
        number = allowed[processor % len(allowed)]
        pinned = ["taskset", "--cpu-list", str(number)]
    with (
        tempfile.TemporaryFile("w+") as output,
        subprocess.Popen(
            [*pinned, sys.executable, "-I", str(TOOLS / "devkit"), "test", *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            process_group=0,
        ) as program,
    ):

        def total() -> Totals:
            _show_until_end(program, output)
            output.seek(0)
            return _total_in(output.read())

        try:
            yield total
        except BaseException:
            program.terminate()
            raise


def others(versions: list[str], whole: bool) -> Totals:
    """Test the other Windows Pythons; with `whole`, run all tests on 32 bits."""
    unlike = [version for version in versions if version != selected()]
    narrow = X86.build_python
    if not whole or narrow not in unlike:
        return smoke(unlike, [])
    unlike.remove(narrow)
    totals = smoke(unlike, [])
    done = windows(narrow, [])
    builds.note_tests(narrow, "all tests", done)
    return totals + done + rare()


def rare() -> Totals:
    """Test builds of other compilers, and Pythons on which pytest does not run."""
    totals = windows(selected(), _smoke_selection([]), as_msvc=True)
    builds.note_tests(selected(), "smoke tests", totals, as_msvc=True)
    for version in GENUINE_PYTHONS:
        done = _tried(f"Python {version}", partial(_demo, genuine_python(version)))
        builds.note_tests(version, "demo", done)
        totals += done
    done = _tried("ARM64", partial(release, ARM64))
    builds.note_arm64(done)
    totals += done
    done = _tried("free-threaded", compile_free_threaded)
    builds.note(AMD64, f"{FREE_THREADED}, free-threaded", "GCC", "compiled only", done)
    return totals + done


def _tried(name: str, step: Callable[[], object]) -> Totals:
    """Run one step, and count it as one test."""
    say(f"trying {name}")
    try:
        step()
    except Failure as error:
        print(f"{error.output}\n{name}: {error}", flush=True)
        return Totals(failed=1)
    return Totals(passed=1)


def _demo(python: Path) -> None:
    """Run the demo on a Python: all transports, between two processes."""
    with wine.private_prefix() as prefix:
        env = python_environ(prefix, AMD64.build_python)
        command = [wine.loader(), str(python / "python.exe"), "-m", "winipc", "demo"]
        outcome = run_windows(command, env, DEADLINE)
    if outcome.status or outcome.timed_out:
        fail("the demo failed")


def _show_until_end(program: "subprocess.Popen[bytes]", output: TextIO) -> None:
    """Print what a program writes to a file until it ends, except its total."""
    position = 0
    ended = False
    while not ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(1)
            ended = True
        size = os.fstat(output.fileno()).st_size
        text = os.pread(output.fileno(), size - position, position)
        whole = text[: text.rfind(b"\n") + 1]
        position += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if not TOTAL.fullmatch(line):
                print(line, flush=True)


def _total_in(log: str) -> Totals:
    """The total at the end of another ./dev test; without one, it failed."""
    lines = log.splitlines()
    if lines and (total := TOTAL.fullmatch(lines[-1])):
        return Totals(int(total[1]), int(total[2]))
    return Totals(failed=1)


def smoke(versions: list[str], args: list[str]) -> Totals:
    ready(versions)
    totals = Totals()
    for version in versions:
        done = windows(version, [*_smoke_selection(args), *args])
        builds.note_tests(version, "smoke tests", done)
        totals += done
    return totals


def _smoke_selection(args: list[str]) -> list[str]:
    """Select the marked tests, and only their files: importing all takes longer.

    The others are ignored: pytest compares each file that it is given with all that lie
    beside it, by two requests for each pair.
    """
    if any(map(_is_path, args)):
        return SMOKE
    files = sorted(ROOT.glob("tests/*/test_*.py"))
    others = [path for path in files if SMOKE_MARK not in path.read_text("utf-8")]
    return [*SMOKE, *(f"--ignore={path.relative_to(ROOT)}" for path in others)]


def windows(version: str, args: list[str], *, as_msvc: bool = False) -> Totals:
    """Run pytest on a Windows Python, in a prefix of its own."""
    kind = ", winipc of MSVC's ABI" if as_msvc else ""
    say(f"tests on Windows Python {version}{kind}")
    ready([version])
    command = python_command(version)
    report = _report(f"windows-{version}")
    slow = slowness()
    pytest = [
        *("-m", "pytest", f"--ignore={LINUX_TESTS}", f"--ignore={BROWSER_TESTS}"),
        *("-o", f"faulthandler_timeout={HANG * slow}"),
        *("-o", "faulthandler_exit_on_timeout=true"),
        f"--junitxml={wine.windows_path(report)}",
    ]
    with wine.private_prefix() as prefix:
        env = python_environ(prefix, version, winipc=msvc.site() if as_msvc else None)
        # Python looks for each module in all folders before, by a dozen requests each.
        library = wine.windows_path(windows_python(version) / LIBRARY)
        env["PYTHONPATH"] = f"{library};{env['PYTHONPATH']}"
        env["WINIPC_PEERS"] = wine.windows_path(c_peers(machine_of(version)))
        env["WINIPC_TEST_SLOWNESS"] = str(slow)
        os.chdir(ROOT)
        outcome = run_windows([*command, *pytest, *args], env, DEADLINE)
    totals = _totals(report, outcome, f"Windows Python {version}{kind}")
    return totals


def _missing_on_linux() -> list[str]:
    """The missing packages for the Linux side: compilers, a terminal, a broker."""
    return [*missing_compilers(), *_missing(LINUX_PROGRAMS)]


def _missing(programs: dict[str, str]) -> list[str]:
    """The packages of those programs that are not there."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    return [programs[name] for name in programs if not shutil.which(name, path=path)]


def linux(args: list[str]) -> Totals:
    """Run the tests of the packaging and of ./dev itself, on Linux."""
    say("tests on the Linux side")
    ready([selected()], _missing_on_linux())
    env = cross_environ() | kernel_environ(selected())
    return _on_linux("Linux side", host_python(), LINUX_TESTS, env, args)


def browser(args: list[str]) -> Totals:
    """Test pages in Chromium; only if asked for, as it takes 0.4 GB."""
    say("tests in the browser")
    ready([selected()], missing_chromium())
    env = clean_environ() | kernel_environ(selected())
    env["WINIPC_CHROMIUM"] = chromium()
    env["WINIPC_PEERS"] = wine.windows_path(c_peers())
    # Build it now, so that a kernel starts at once.
    site(selected())
    return _on_linux("browser", host_python("browser"), BROWSER_TESTS, env, args)


def _on_linux(
    part: str, python: Path, folder: str, env: dict[str, str], args: list[str]
) -> Totals:
    """Run pytest on a Linux Python."""
    report = _report(part.partition(" ")[0].lower())
    chosen = any(_is_path(arg) for arg in args)
    command = [
        *(str(python), "-m", "pytest", *([] if chosen else [folder])),
        # tests/conftest.py is for Windows.
        *(f"--confcutdir={folder}", f"--junitxml={report}"),
    ]
    # Tests run ./dev test, too; those builds are not for the page.
    env.pop(builds.NOTES, None)
    with subprocess.Popen(
        [*command, *args],
        env=env,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        process_group=0,
    ) as child:
        deadline = Work(DEADLINE)
        outcome = None
        try:
            while outcome is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    outcome = Outcome(child.wait(LOOK))
                if outcome is None and deadline.is_over():
                    _end(child)
                    outcome = Outcome(1, timed_out=True)
        except Stopped:
            _end(child)
            raise
    return _totals(report, outcome, part)


def _end(pytest: "subprocess.Popen[bytes]") -> None:
    """Interrupt pytest and the ./dev that its tests run, so that they clean up."""
    for signum in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(pytest.pid, signum)
            pytest.wait(10)


def _report(name: str) -> Path:
    folder = BUILD / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    # Two test runs at the same time write two reports.
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
        # pytest ended in the middle of a line.
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


def _is_path(arg: str) -> bool:
    """Whether an argument of pytest is a file, a folder or a test in one."""
    path = arg.partition("::")[0]
    return not path.startswith("-") and Path(path).exists()


def _from_root(arg: str) -> str:
    """Make a path absolute, as pytest runs in the root and the user may not."""
    if not _is_path(arg):
        return arg
    path, separator, rest = arg.partition("::")
    return wine.windows_path(Path(path).resolve()) + separator + rest
