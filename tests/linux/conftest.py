"""What the Linux-side tests share: ./dev as a program, and what it built.

They run on the host's Python, by `./dev test --linux`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

#: `./dev test --full`: all the rounds of what is random or a matter of time.
FULL = bool(os.environ.get("WINIPC_TEST_FULL"))

sys.path.insert(0, str(ROOT / "tools" / "devkit"))

import runner  # noqa: E402

#: How many times as long programs take, as others run, too.
SLOWNESS = runner.slowness()

#: Seconds after which a program that does not end is taken to hang.
DEADLINE = 120.0 * SLOWNESS


def run(*command: object, timeout: float = 300, **options: Any) -> str:
    """Run a program to its end and return its output, which is shown if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout * SLOWNESS,
        **options,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def compiled(
    compiler: str,
    sources: Iterable[Path],
    target: Path,
    *flags: str,
    libraries: Iterable[str] = (),
    **options: Any,
) -> Path:
    """Build a program; what was compiled before is taken from the cache."""
    objects = []
    for number, source in enumerate(sources):
        objects.append(target.with_name(f"{target.name}-{number}.o"))
        run("ccache", compiler, *flags, "-c", source, "-o", objects[-1], **options)
    run(compiler, *flags, *objects, "-o", target, *libraries, **options)
    return target


class Dev:
    """./dev of this checkout; all that it starts can be told by a mark."""

    def __init__(self) -> None:
        self.mark = f"WINIPC_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self.mark.partition("=")
        self.env = {**os.environ, name: value}
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *args: str | Path, **options: object) -> subprocess.Popen[str]:
        settings: dict[str, object] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "env": self.env,
            "text": True,
            "errors": "backslashreplace",
            # ./dev keeps to it, should this run be under nohup.
            "preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        }
        command = [str(ROOT / "dev"), *map(str, args)]
        process = subprocess.Popen(command, **(settings | options))  # type: ignore[call-overload]
        self._started.append(process)
        return process

    def run(
        self, *args: str | Path, input: str | None = None, **options: object
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end; again, if Wine lost it before its first instruction.

        That is one start in some hundred on a busy machine: it ends at once, with
        status 1 and without a word. Nothing of it ran, so nothing is hidden.
        """
        if input is not None:
            options["stdin"] = subprocess.PIPE
        for _ in range(3):
            process = self.start(*args, **options)
            out, err = process.communicate(input, timeout=DEADLINE)
            if args[0] != "python" or (process.returncode, out, err) != (1, "", ""):
                break
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def left_behind(self) -> list[str]:
        """The command lines of what still runs, after a moment to end."""
        deadline = time.monotonic() + 60
        while (found := self.running()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return list(found.values())

    def running(self) -> dict[int, str]:
        """What of it runs: process ids and command lines."""
        found: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if self.mark.encode() in environ and command:
                found[int(folder.name)] = command.replace(b"\0", b" ").decode()
        return found

    def reap(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
        for pid in self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # They may have held its output open.
        for process in self._started:
            process.communicate()


#: Opens a window, so that the desktop process is its own, and stays.
HOLDER = """
import sys, winipc
winipc.CopyDataWindow.create("").close()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def prefix() -> Iterator[None]:
    """Wine runs on where ./dev python meets: else each run would start and end it."""
    with subprocess.Popen(
        [ROOT / "dev", "python", "-c", HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"ready"
        yield


@pytest.fixture
def dev(prefix: None) -> Iterator[Dev]:
    dev = Dev()
    yield dev
    dev.reap()


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel that ./dev wheel leaves, having checked it."""
    done = subprocess.run(
        [ROOT / "dev", "wheel"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())
