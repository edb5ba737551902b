"""./dev as a program: its status, its streams, its signals, and two at once."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import runner
import wine
from conftest import DEADLINE, ROOT, Dev

SLEEPS = "import time; print('ready', flush=True); time.sleep(600)"

CATCHES = """
import time
try:
    print('ready', flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print('caught', flush=True)
    raise SystemExit(5)
"""

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])
print('ready', flush=True)
child.wait()
"""


@pytest.mark.parametrize("status", [0, 1, 255])
def test_exit_status_is_passed_on(dev: Dev, status: int) -> None:
    """A script can rely on it."""
    done = dev.run("python", "-c", f"raise SystemExit({status})")
    assert done.returncode == status


def test_works_from_another_folder(dev: Dev, tmp_path: Path) -> None:
    """Relative paths mean what they mean to the user."""
    (tmp_path / "script.py").write_text("import winipc, neighbour; print(neighbour.x)")
    (tmp_path / "neighbour.py").write_text("x = 42")
    for words in (["script.py"], ["-m", "script"], ["-c", "import script"]):
        done = dev.run("python", *words, cwd=tmp_path)
        assert done.stdout.strip() == "42", (words, done.stderr)


def test_works_through_a_link(dev: Dev, tmp_path: Path) -> None:
    """A link to ./dev in some bin folder is as good."""
    (tmp_path / "dev").symlink_to(ROOT / "dev")
    done = subprocess.run(
        [tmp_path / "dev", "python", "-c", "print(1)"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "1"


def test_source_folder_does_not_hide_the_built_package(dev: Dev) -> None:
    """In the root there is a winipc without its _core."""
    done = dev.run("python", "-c", "import winipc._core", cwd=ROOT)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("output", [">out", ">out 2>&1", ">out 2>err", "2>&- >out"])
def test_streams_may_be_files_or_closed(tmp_path: Path, output: str) -> None:
    """Python under Wine starts with none of them."""
    program = "print(len(open(0).read()) >= 0)"
    runs = {}
    for number, source in enumerate(["<&-", "</dev/null", "</etc/hostname"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = f"'{ROOT}/dev' python -c '{program}' {source} {output}"
        runs[source, folder] = subprocess.Popen(command, shell=True, cwd=folder)
    for (source, folder), run in runs.items():
        assert run.wait(DEADLINE) == 0, source
        assert (folder / "out").read_text().strip() == "True", source


def test_output_to_one_file_stays_in_order(dev: Dev, tmp_path: Path) -> None:
    """As with a shell's 2>&1."""
    program = (
        "import sys\n"
        "for i in range(50):\n"
        "    print(i, flush=True, file=(sys.stdout, sys.stderr)[i % 2])\n"
    )
    with (tmp_path / "both").open("w") as file:
        dev.run("python", "-c", program, stdout=file, stderr=subprocess.STDOUT)
    lines = (tmp_path / "both").read_text().split()
    assert [line for line in lines if line.isdigit()] == [str(i) for i in range(50)]


def test_pipe_reaches_the_program(dev: Dev) -> None:
    """echo 'print(1)' | ./dev python -"""
    done = dev.run("python", "-", input="import sys; print(6 * 7); sys.exit(3)")
    assert (done.stdout.strip(), done.returncode) == ("42", 3)


def test_large_output_is_whole(dev: Dev, tmp_path: Path) -> None:
    """Nothing is lost between the program's end and ours."""
    with (tmp_path / "out").open("w") as file:
        dev.run("python", "-c", "print('x' * 5_000_000)", stdout=file)
    assert (tmp_path / "out").stat().st_size in (5_000_001, 5_000_002)


def test_reader_that_stops_early_ends_the_program(dev: Dev) -> None:
    """./dev python ... | head -1"""
    done = subprocess.run(
        f"'{ROOT}/dev' python -c 'while True: print(1)' 2>/dev/null | head -1",
        shell=True,
        env=dev.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.stdout.strip() == "1"
    assert dev.left_behind() == []


def interrupt(dev: Dev, program: str, signum: int) -> subprocess.Popen[str]:
    """Send a signal to ./dev alone once the program is ready."""
    process = dev.start("python", "-c", program)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    process.send_signal(signum)
    return process


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("program", [SLEEPS, PARENT], ids=["alone", "with-child"])
def test_signal_ends_it_and_all_it_started(dev: Dev, program: str, signum: int) -> None:
    """The caller sees that a signal did it, and nothing stays behind."""
    process = interrupt(dev, program, signum)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == -signum
    assert dev.left_behind() == []


def test_interrupt_can_be_caught(dev: Dev) -> None:
    """Ctrl+C is a KeyboardInterrupt, and the program decides."""
    process = interrupt(dev, CATCHES, signal.SIGINT)
    out, _ = process.communicate(timeout=DEADLINE)
    assert (out.strip(), process.returncode) == ("caught", 5)
    assert dev.left_behind() == []


def test_crash_ends_the_program(dev: Dev) -> None:
    """It waits for no debugger."""
    done = dev.run("python", "-c", "import faulthandler; faulthandler._read_null()")
    assert done.returncode != 0
    assert dev.left_behind() == []


def test_program_that_was_killed_ends_it_the_same_way(dev: Dev) -> None:
    """As the system does to one that takes all memory."""
    process = dev.start("python", "-c", SLEEPS)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    programs = [
        pid for pid, command in dev.running().items() if "python.exe -c" in command
    ]
    for pid in programs:
        os.kill(pid, signal.SIGKILL)
    _, complaints = process.communicate(timeout=DEADLINE)
    assert process.returncode == -signal.SIGKILL
    assert "Traceback" not in complaints


def test_kill_takes_the_program_along(dev: Dev) -> None:
    """Even when ./dev itself had no time for anything."""
    interrupt(dev, SLEEPS, signal.SIGKILL)
    assert dev.left_behind() == []


def in_terminal(
    dev: Dev, *args: str, answers: dict[str, bytes], reads: bool = False
) -> tuple[str, int]:
    """Run ./dev in a terminal; type each answer once its question is seen.

    A program that reads gets it once it does: Wine takes Enter for Ctrl+J before.
    """
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(ROOT / "dev", ["dev", *args], dev.env)
    seen = ""
    waiting = list(answers.items())
    deadline = time.monotonic() + DEADLINE
    try:
        while time.monotonic() < deadline:
            if select.select([terminal], [], [], 0.2)[0]:
                try:
                    seen += os.read(terminal, 4096).decode()
                except OSError:
                    break
            canonical = termios.tcgetattr(terminal)[3] & termios.ICANON
            if waiting and waiting[0][0] in seen and not (reads and canonical):
                os.write(terminal, waiting.pop(0)[1])
        else:
            os.kill(pid, signal.SIGKILL)
    finally:
        _, code = os.waitpid(pid, 0)
        os.close(terminal)
    return seen, os.waitstatus_to_exitcode(code)


@pytest.mark.parametrize(
    ("program", "status"), [(SLEEPS, -signal.SIGINT), (CATCHES, 5)]
)
def test_control_c_in_a_terminal(dev: Dev, program: str, status: int) -> None:
    """The terminal signals all of the group; the program gets it once."""
    seen, code = in_terminal(dev, "python", "-c", program, answers={"ready": b"\x03"})
    assert code == status, seen
    assert ("caught" in seen) == (status == 5)
    assert seen.count("KeyboardInterrupt") <= 1
    assert dev.left_behind() == []


def test_prompt_in_a_terminal(dev: Dev) -> None:
    """./dev python alone is interactive."""
    answers = {">>>": b"6 * 7\r", "42": b"raise SystemExit(3)\r"}
    seen, code = in_terminal(dev, "python", answers=answers, reads=True)
    assert code == 3, seen


def test_two_programs_at_once_share_names(dev: Dev) -> None:
    """Two terminals can talk: one waits for an event that the other sets."""
    name = dev.mark.partition("=")[2]
    waits = (
        "import win32event as w, sys\n"
        f"e = w.CreateEvent(None, True, False, '{name}')\n"
        "print('ready', flush=True)\n"
        "sys.exit(w.WaitForSingleObject(e, 60000))\n"
    )
    sets = f"import win32event as w; w.SetEvent(w.OpenEvent(2, False, '{name}'))"
    waiting = dev.start("python", "-c", waits)
    assert waiting.stdout is not None
    assert waiting.stdout.readline().strip() == "ready"
    assert dev.run("python", "-c", sets).returncode == 0
    waiting.communicate(timeout=DEADLINE)
    assert waiting.returncode == 0


def test_two_first_runs_at_once(dev: Dev, tmp_path: Path) -> None:
    """In a fresh clone both build, take turns, and both succeed."""
    clone = copy_of_checkout(tmp_path)
    runs = [
        subprocess.Popen(
            [clone / "dev", "python", "-c", "import winipc._core; print(1)"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for run in runs:
        out, err = run.communicate(timeout=DEADLINE)
        assert out.strip() == "1", err
        assert run.returncode == 0


def test_run_after_one_that_was_cut_off(dev: Dev, tmp_path: Path) -> None:
    """Half a build is never taken for a whole one."""
    clone = copy_of_checkout(tmp_path)
    first = subprocess.Popen(
        [clone / "dev", "wheel"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=dev.env,
    )
    assert first.stderr is not None
    while "building the wheel" not in first.stderr.readline():
        pass
    deadline = time.monotonic() + DEADLINE
    while not list(clone.glob("build/scratch-*/build/**/*.o")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.kill()
    first.communicate()
    second = subprocess.run(
        [clone / "dev", "python", "-c", "import winipc._core; print(1)"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert second.stdout.strip() == "1", second.stderr
    assert second.returncode == 0


def copy_of_checkout(folder: Path) -> Path:
    clone = folder / "a clone"
    ignored = shutil.ignore_patterns("build", "dist", ".git", "__pycache__")
    shutil.copytree(ROOT, clone, ignore=ignored)
    return clone


def test_unknown_python_is_a_clear_error(dev: Dev) -> None:
    """It names what was asked for and what there is."""
    dev.env["WINIPC_PYTHON"] = "3.9"
    done = dev.run("python", "-c", "")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "3.9" in line
    assert "3.11, 3.12, 3.13, 3.14" in line


def test_unknown_command_is_a_clear_error(dev: Dev) -> None:
    """With the status that shells use for misuse."""
    done = dev.run("tset")
    assert done.returncode == 2
    assert done.stderr == "dev: there is no command 'tset'; ./dev help lists them\n"


@pytest.mark.parametrize("words", [["help"], ["shell", "--help"]])
def test_help_lists_every_command(words: list[str]) -> None:
    """And needs nothing but sh."""
    from commands import COMMANDS

    done = subprocess.run(
        ["/bin/sh", ROOT / "dev", *words],
        capture_output=True,
        text=True,
        env={"PATH": "/bin"},
    )
    listed = set(re.findall(r"^  (\w+)", done.stdout, re.MULTILINE))
    assert listed == {*COMMANDS, "help"}


@pytest.fixture
def test_folder() -> Iterator[Path]:
    """A folder for tests without the links beside it that pytest makes for tmp_path:
    on Windows it would follow them from the root of the run, and find each test again.
    """
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def test_test_status_and_total_come_from_the_tests(dev: Dev, test_folder: Path) -> None:
    """One passes, one fails, one cannot start."""
    (test_folder / "test_some.py").write_text(
        "import os\n"
        "def test_good(): assert float(os.environ['WINIPC_TEST_SLOWNESS']) >= 1\n"
        "def test_bad(): assert 0\n"
        "def test_missing(nowhere): pass\n"
    )
    everything = dev.start("test", "-q", "test_some.py", cwd=test_folder)
    good = dev.start("test", "-q", "test_some.py::test_good", cwd=test_folder)
    out, _ = everything.communicate(timeout=DEADLINE)
    assert out.splitlines()[-1] == "1 passed, 2 failed"
    assert everything.returncode == 1
    out, _ = good.communicate(timeout=DEADLINE)
    assert out.splitlines()[-1] == "1 passed, 0 failed"
    assert good.returncode == 0


def test_test_run_that_hangs_is_ended(dev: Dev, test_folder: Path) -> None:
    """With the stacks of its threads, and a failure in the total."""
    (test_folder / "test_hang.py").write_text(
        "import time\ndef test_hang_here():\n    time.sleep(600)\n"
    )
    hanging = ("test", "-o", "faulthandler_timeout=3", "test_hang.py")
    by_test = dev.start(*hanging, cwd=test_folder)
    dev.env["WINIPC_TEST_DEADLINE"] = "4"
    by_run = dev.start("test", "test_hang.py", cwd=test_folder)
    out, complaints = by_test.communicate(timeout=DEADLINE)
    assert "in test_hang_here" in out + complaints
    assert out.splitlines()[-1] == "0 passed, 1 failed"
    assert by_test.returncode == 1
    out, complaints = by_run.communicate(timeout=DEADLINE)
    assert "killed" in complaints
    assert out.splitlines()[-1] == "0 passed, 1 failed"
    assert dev.left_behind() == []


@pytest.mark.parametrize("load", [0.1, 10.0])
def test_a_busy_machine_has_more_time(
    monkeypatch: pytest.MonkeyPatch, load: float
) -> None:
    """Ten that want to run on each processor take ten times as long."""
    now = [100.0]
    monkeypatch.setattr(runner.time, "monotonic", lambda: now[0])
    loads = (load * os.cpu_count(),) * 3
    monkeypatch.setattr(runner.os, "getloadavg", lambda: loads)
    deadline = runner.Work(8)
    seconds = 8 * max(load, 1)
    for _ in range(4):
        now[0] += seconds / 4 - 0.01
        assert not deadline.is_over()
    now[0] += 0.1
    assert deadline.is_over()


def test_a_hang_is_ended_under_any_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """What hangs may be what makes the load."""
    now = [100.0]
    monkeypatch.setattr(runner.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(runner.os, "getloadavg", lambda: (1e6,) * 3)
    deadline = runner.Work(8)
    now[0] += 81
    assert deadline.is_over()


def test_smoke_tests_are_looked_for_where_they_are() -> None:
    """In all files that have the word, but for those of the Linux side."""
    import test

    _, _, _, *options = test._smoke_selection([])
    ignored = {option.removeprefix("--ignore=") for option in options}
    files = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py")]
    assert ignored <= set(map(str, files))
    having = [
        path for path in files if re.search(r"\bsmoke\b", path.read_text("utf-8"))
    ]
    sides = ("linux", "browser")
    having = [path for path in having if path.parts[1] not in sides]
    tests = [path for path in files if path.name.startswith("test_")]
    chosen = [path for path in tests if str(path) not in ignored]
    assert having == [path for path in chosen if path.parts[1] not in sides]
    assert test._smoke_selection(["-x", "tests/cli"]) == ["-m", "smoke", "-q"]


def test_prefixes_of_checkouts_that_are_gone_are_removed(tmp_path: Path) -> None:
    """But for one in which something runs: the checkout may only be out of sight."""
    for name, checkout in (
        ("gone", tmp_path / "nothing"),
        ("busy", tmp_path / "nothing"),
        ("here", ROOT),
    ):
        prefix = tmp_path / f"shared-{name}"
        prefix.mkdir()
        (prefix / wine.CHECKOUT).write_text(str(checkout))
    with (tmp_path / "shared-busy.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        wine._forget_checkouts_that_are_gone(tmp_path)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {
        *("shared-busy", "shared-here"),
    }


@pytest.mark.parametrize(
    ("body", "total"), [("pass", "2 passed, 0 failed"), ("1 / 0", "0 passed, 1 failed")]
)
def test_test_repeats_until_one_fails(
    dev: Dev, test_folder: Path, body: str, total: str
) -> None:
    """The total counts all runs. On the Linux side, which starts sooner."""
    test = test_folder / "test_it.py"
    test.write_text(f"def test_it(): {body}\n")
    done = dev.run("test", "--linux", "-q", test, "--repeat", "2", cwd=test_folder)
    assert done.stdout.splitlines()[-1] == total
    assert done.returncode == (1 if body == "1 / 0" else 0)


@pytest.mark.parametrize("number", [[], ["0"], ["-1"], ["two"]], ids=str)
def test_no_run_is_no_repeat(dev: Dev, number: list[str]) -> None:
    """It would pass without a test."""
    done = dev.run("test", "--repeat", *number)
    assert (done.returncode, done.stdout) == (1, "")
    assert "--repeat takes a number of runs" in done.stderr


def test_shell_has_winpython(dev: Dev) -> None:
    """And takes commands from a pipe."""
    lines = "winpython -c 'print(6 * 7)'\nwinipc --version\nexit 4\n"
    done = dev.run("shell", input=lines)
    answer, version = done.stdout.split()
    assert (answer, version[:1].isdigit(), done.returncode) == ("42", True, 4)


def test_notebook_run_names_what_is_missing(dev: Dev) -> None:
    """nbconvert would print its manual."""
    for words, complaint in (
        (("--allow-errors", "absent.ipynb"), "there is no notebook absent.ipynb"),
        ((), "notebook run takes the file of a notebook"),
    ):
        done = dev.run("notebook", "run", *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1] == f"dev: {complaint}"


def test_bash_completes_as_the_guide_says(dev: Dev) -> None:
    """Although a Windows Python does not get the descriptor that bash opens for it."""
    guide = (ROOT / "docs/command-line.md").read_text(encoding="utf-8")
    [line] = re.findall(r"^.*eval .*argcomplete.*$", guide, re.MULTILINE)
    lines = f"""
        register-python-argcomplete() {{
            winpython -m argcomplete.scripts.register_python_argcomplete "$@" |
                tr -d '\\r'
        }}
        {line}
        COMP_LINE='winipc dump --fo' COMP_POINT=16
        _python_argcomplete winipc
        echo "offered: ${{COMPREPLY[*]}}"
    """
    done = dev.run("shell", input=lines)
    assert done.stdout.split() == ["offered:", "--follow"], done.stderr


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/performance.md", ["summary", "requests", "growth"]),
        ("benchmarks/README.md", ["missed"]),
    ],
)
def test_the_pages_of_figures_can_be_written_anew(page: str, names: list[str]) -> None:
    """./dev bench --write-docs finds its comments, each once and in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    marks = re.findall(r"<!-- bench: (.*) -->\n", text)
    assert marks == [mark for name in names for mark in (name, f"end of {name}")]
