"""Paths, messages, locks and all-or-nothing folders, for every step."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
BUILD = ROOT / "build"
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute()
    / "winipc"
)


class Failure(Exception):
    """A step failed; the message, after a tool's output, tells the user enough."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class Stopped(BaseException):
    """A signal asked this run to end."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def say(message: str) -> None:
    """Print a message for the user on standard error, never on standard output."""
    with contextlib.suppress(OSError):
        print(f"dev: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> NoReturn:
    raise Failure(message)


def stop_on_signals() -> None:
    """Turn SIGINT, SIGTERM and SIGHUP into Stopped, so that clean-up runs."""

    def handler(signum: int, _frame: object) -> None:
        raise Stopped(signum)

    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
    # nohup ignores SIGHUP, so that the program lives on.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def die_by(signum: int) -> NoReturn:
    """Die by the signal, so that the caller sees it."""
    with contextlib.suppress(OSError):  # SIGKILL cannot be caught at all
        signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    sys.exit(128 + signum)


# Seconds for a step to remove its temporary files.
CLEAN_UP = 3.0

# Seconds after which a temporary folder counts as left by a killed run.
STALE = 86400.0

# The running tools, so that a signal can end those of other threads.
_running: set["subprocess.Popen[str]"] = set()


def run(
    args: Iterable[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a tool and return its output; if the tool fails, the output is shown.

    The tool reads no input. A signal ends it with all that it started, and it does not
    outlive this process.
    """
    command = [str(arg) for arg in args]
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *command],
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        process_group=0,
    ) as child:
        _running.add(child)
        try:
            text, _ = child.communicate()
        except BaseException:
            _terminate(child)
            raise
        finally:
            _running.discard(child)
    if child.returncode:
        name = Path(command[0]).name
        raise Failure(f"{name} failed with status {child.returncode}", text)
    return text


def _terminate(child: "subprocess.Popen[str]") -> None:
    """End a tool and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)


def together(*steps: Callable[[], object]) -> None:
    """Run steps side by side; the first failure is the failure of all."""
    failures: list[BaseException] = []

    def guarded(step: Callable[[], object]) -> None:
        try:
            step()
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=guarded, args=(step,), daemon=True) for step in steps
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except Stopped:
        for child in list(_running):
            _terminate(child)
        # A thread that waits for a lock has nothing to undo, so do not wait for it.
        for thread in threads:
            thread.join(CLEAN_UP)
        raise
    if failures:
        raise failures[0]


def need_packages(packages: Iterable[str]) -> None:
    """Install missing Debian packages."""
    if missing := list(packages):
        # In the terminal's process group, so that sudo can ask for a password.
        with subprocess.Popen([TOOLS / "apt.sh", *missing]) as child:
            try:
                status = child.wait()
            except BaseException:
                child.terminate()
                raise
        if status:
            fail("packages are missing: " + " ".join(missing))


@contextlib.contextmanager
def locked(path: Path, what: str = "") -> Iterator[None]:
    """Hold a lock file; it is released even if this process is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if what:
                say(f"waiting for {what}, which is being made")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Fill a folder beside `target`, then put it in place as a whole.

    A run that is cut off leaves only the temporary folder, which the next run removes.
    The caller holds the lock of the target.
    """
    temporary = target.with_name(target.name + ".part")
    remove(temporary)
    temporary.mkdir(parents=True)
    yield temporary
    remove(target)
    temporary.rename(target)


@contextlib.contextmanager
def scratch_folder(parent: Path) -> Iterator[Path]:
    """A temporary folder in `parent`; the oldest ones are removed."""
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.glob("scratch-*"):
        if time.time() - old.stat().st_mtime > STALE:
            remove(old)
    with tempfile.TemporaryDirectory(dir=parent, prefix="scratch-") as name:
        yield Path(name)


def remove(path: Path) -> None:
    """Remove a file or a tree, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def key_of(*parts: bytes | str) -> str:
    """A short name for a set of inputs."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:12]


def key_of_tree(root: Path, names: Iterable[str]) -> str:
    """A short name for the contents of some files and folders below `root`."""
    parts: list[bytes | str] = []
    for path in source_files(root, names):
        parts += [str(path.relative_to(root)), path.read_bytes()]
    return key_of(*parts)


def source_files(root: Path, names: Iterable[str]) -> list[Path]:
    """The files below `root` in files and folders; absent names are skipped."""
    found: list[Path] = []
    for name in names:
        path = root / name
        if path.is_file():
            found.append(path)
        for file in sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                found.append(file)
    return found
