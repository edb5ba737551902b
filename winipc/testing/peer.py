"""`Peer`: a second process that a test talks to line by line."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from winipc import _core
from winipc.base.deadline import SLICE, Deadline, wait_until
from winipc.errors import add_hint
from winipc.message import CopyDataWindow
from winipc.sync import wait_any
from winipc.testing.ready import Ready, conditions

#: For CreateProcess: the first thread does not run yet.
_CREATE_SUSPENDED = 0x4

#: From CreateProcess: the file is not a program.
_BAD_EXE_FORMAT = 193

#: Seconds between two looks at processes that are ending.
_POLL = 0.002


def _lines(pipe: int, mark: bytes, encoding: str) -> Iterator[str]:
    """The lines from a pipe up to a mark; each ends with a newline."""
    line, ended = bytearray(), False
    while not ended:
        more = os.read(pipe, 65536)
        line += more
        # The mark may come in parts. Search only where it may be new.
        end = line.find(mark, max(0, len(line) - len(more) - len(mark)))
        ended = end >= 0 or not more
        if end >= 0:
            del line[end:]
        if b"\n" in more:
            *lines, line = line.split(b"\n")
            for whole in lines:
                yield (
                    whole.removesuffix(b"\r").decode(encoding, "backslashreplace")
                    + "\n"
                )
    if line:
        yield line.decode(encoding, "backslashreplace")
    os.close(pipe)


def _start_in(
    job: _core.Job, argv: Sequence[str], **how: Any
) -> subprocess.Popen[bytes]:
    """Start a process in a job; it joins the job before its first instruction."""
    __tracebackhide__ = True  # pytest shows the test's line
    if _core._wine_version() is not None:
        # Otherwise the peer's first window would start Wine's desktop process, in the
        # job. (Wine 8 also starts it for a search for windows; Wine 10 does not.)
        CopyDataWindow.create("").close()
    try:
        process = subprocess.Popen(argv, creationflags=_CREATE_SUSPENDED, **how)
    except OSError as error:
        cwd = how["cwd"]
        wrong = argv[0] if cwd is None or os.path.isdir(cwd) else os.fspath(cwd)
        text = f"cannot start the peer: {error.strerror}"
        refused = OSError(error.errno, text, wrong, error.winerror)
        if refused.winerror == _BAD_EXE_FORMAT:
            add_hint(refused, "a script needs its Python in front: sys.executable")
        raise refused from None
    try:
        job.start(process.pid)
    except BaseException:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        raise
    return process


class Peer:
    """A second process that a test talks to line by line.

    A program that says "listening" when it is ready::

        import sys
        from winipc.testing import Peer

        with Peer([sys.executable, "server.py"], ready="listening") as server:
            server.say("hello")
            server.expect("hello yourself")

    Each failure shows all that the peer has printed. Any thread may use the object.

    The peer is in a job: the processes that it starts end with it, and all of them end
    with this process. A program that asks for CREATE_BREAKAWAY_FROM_JOB gets error 5.

    The peer's output ends with the peer, although a process that it started may keep
    the pipes open: a mark is written after the output, and the readers stop at the
    mark.

    Args:
        argv: The program and its arguments.
        ready: What to wait for. A str is a line that the peer prints; a compiled
            regular expression is searched for in its lines. The lines up to there count
            as read. A dict has the names of objects that the peer creates: `mapping`,
            `event`, `mutex`, `semaphore`, and `title` and `class_name` of a window. A
            function is called with the peer until it returns a true value; if it raises
            FileNotFoundError, that is a no.
        launcher: The peer starts other processes and ends; they live on until `reap`.
        timeout: Seconds that each wait may last, unless the call says otherwise.
        cwd: The folder in which the peer starts.
        env: Variables in addition to those of this process.
        encoding: The encoding of lines; each line ends with the byte 10.

    Raises:
        OSError: The peer cannot be started; `filename` is the program, or `cwd`.
        LookupError: There is no such encoding.
        AssertionError: The peer ended before it was ready, or was not ready in time.

    Win32: CreateProcessW, CreateJobObjectW, AssignProcessToJobObject.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        ready: Ready | None = None,
        launcher: bool = False,
        timeout: float = 60.0,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        __tracebackhide__ = True  # pytest shows the test's line
        self.timeout = _core._check_timeout(timeout)
        self.encoding = encoding
        "".encode(encoding)  # raises here, not in the threads that read
        self.name = Path(argv[0]).name
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._unread: deque[str] = deque()  # lines of stdout
        self._streams = 2  # the number that have not ended
        self._grew = threading.Condition()  # guards the four above
        self.reaped = False
        self._launcher = launcher
        self._ending = threading.Lock()  # guards the job
        # No text contains it, and it does not end a line.
        mark = b"\xff" + uuid.uuid4().hex.encode()
        pipes = [os.pipe(), os.pipe()]
        self._job = _core.Job._create()
        try:
            self.process = _start_in(
                self._job,
                argv,
                stdin=subprocess.PIPE,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                cwd=cwd,
                # The lines of a peer in Python then come at once, in UTF-8.
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    "PYTHONUTF8": "1",
                    **(env or {}),
                },
            )
        except BaseException:
            self._job.close()
            for end in (*pipes[0], *pipes[1]):
                os.close(end)
            raise
        self.pid = self.process.pid
        self._threads = [
            threading.Thread(target=target, args=args, daemon=True)
            for target, args in (
                (self._pump, (_lines(pipes[0][0], mark, encoding), self.stdout)),
                (self._pump, (_lines(pipes[1][0], mark, encoding), self.stderr)),
                (self._end_output, ([end for _, end in pipes], mark)),
            )
        ]
        for thread in self._threads:
            thread.start()
        if ready is not None:
            try:
                self._wait_until_ready(ready)
            except BaseException:
                self.reap()
                raise

    def _pump(self, lines: Iterator[str], kept: list[str]) -> None:
        for line in lines:
            with self._grew:
                kept.append(line)
                if kept is self.stdout:
                    self._unread.append(line.removesuffix("\n"))
                self._grew.notify_all()
        with self._grew:
            self._streams -= 1
            self._grew.notify_all()

    def _end_output(self, ends: list[int], mark: bytes) -> None:
        self.process.wait()
        if not self._launcher:
            self._end_all()
        for end in ends:
            os.write(end, mark)
            os.close(end)

    def _end_all(self) -> None:
        """Kill all processes of the job, and wait until they are gone."""
        __tracebackhide__ = True  # pytest shows the test's line
        deadline = Deadline(self.timeout)
        with self._ending:
            if self._job.closed:
                return
            self._job.terminate(1)
            while self._job.active and deadline.left() != 0:
                time.sleep(_POLL)

    def _seconds(self, timeout: float | None) -> float | None:
        return self.timeout if timeout is None else _core._check_timeout(timeout)

    def _wait_for_output(
        self, reached: Callable[[], object], seconds: float | None
    ) -> bool:
        """Wait until `reached()` is true; False if time, or the output, ends first."""
        found = False

        def over() -> bool:
            nonlocal found
            found = bool(reached())
            return found or not self._streams

        with self._grew:
            wait_until(self._grew, over, seconds)
        return found

    def _wait_until_ready(self, ready: Ready) -> None:
        __tracebackhide__ = True  # pytest shows the test's line
        deadline = Deadline(self.timeout)
        for what, is_ready in conditions(self, ready):
            while not is_ready(deadline.part(SLICE)):
                ended = not self._launcher and self.process.poll() is not None
                if ended:
                    self._wait_for_output(bool, self.timeout)
                elif deadline.left() != 0:
                    continue
                if is_ready(0):
                    break
                how = (
                    "ended before it was ready"
                    if ended
                    else f"was not ready within {self.timeout} s"
                )
                raise AssertionError(f"{self} {how} ({what})\n{self.report()}")

    def read_line(self, timeout: float | None = None) -> str:
        """Return the next line that the peer prints, without its newline.

        Raises:
            AssertionError: No line came within `timeout` seconds, or the peer ended.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        return self._next_line(timeout, "")

    def _next_line(self, timeout: float | None, wanted: str) -> str:
        __tracebackhide__ = True  # pytest shows the test's line
        timeout = self._seconds(timeout)
        with self._grew:
            if self._wait_for_output(lambda: self._unread, timeout):
                return self._unread.popleft()
            how = f"was silent for {timeout} s" if self._streams else "ended early"
        raise AssertionError(f"{self} {how}{wanted}\n{self.report()}")

    def expect(self, text: str | re.Pattern[str], timeout: float | None = None) -> None:
        """Raise `AssertionError` unless the next line is, or matches, `text`.

        ::

            server.say("hello")
            server.expect("hello yourself", timeout=5)

        A regular expression of `re.compile` is searched in the line, as with `ready`.
        `timeout` is in seconds; by default it is the peer's, which is 60 by default.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        line = self._next_line(timeout, f", and did not say {text!r}")
        if not (line == text if isinstance(text, str) else text.search(line)):
            raise AssertionError(f"{self} said {line!r}, not {text!r}\n{self.report()}")

    def say(self, text: str) -> None:
        """Send one line to the peer's standard input."""
        __tracebackhide__ = True  # pytest shows the test's line
        self.say_bytes(text.encode(self.encoding))

    def say_bytes(self, line: bytes) -> None:
        """Send one line of bytes.

        Raises:
            AssertionError: The peer has ended or closed its input.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise AssertionError(f"{self} reads no more\n{self.report()}") from None

    def wait_for_stderr(self, text: str, timeout: float | None = None) -> None:
        """Wait until the peer has printed a line with `text` on standard error."""
        __tracebackhide__ = True  # pytest shows the test's line

        def seen() -> bool:
            return any(text in line for line in self.stderr)

        if not self._wait_for_output(seen, self._seconds(timeout)):
            raise AssertionError(f"{text!r} not seen of {self}\n{self.report()}")

    def forget_output(self) -> None:
        """Drop all output so far: it is neither read nor reported."""
        with self._grew:
            self.stdout.clear()
            self.stderr.clear()
            self._unread.clear()

    def kill(self) -> None:
        """Kill the peer and the processes that it started, and wait until all are gone.

        `peer.process.kill()` kills only a `launcher` itself.

        Win32: TerminateJobObject.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        self._end_all()
        self.wait(self.timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the peer and of its output; return its exit status."""
        __tracebackhide__ = True  # pytest shows the test's line
        timeout = self._seconds(timeout)
        try:
            # Not `Popen.wait`: Ctrl+C does not interrupt it.
            wait_any([self.process._handle], timeout)  # type: ignore[attr-defined]
        except TimeoutError:
            how = f"did not end within {timeout} s"
            raise AssertionError(f"{self} {how}\n{self.report()}") from None
        if not self._launcher:
            self._end_all()
        self._wait_for_output(bool, self.timeout)
        return self.process.wait()

    def finish(self, timeout: float | None = None) -> int:
        """Close the peer's input, and `wait`; return the exit status."""
        __tracebackhide__ = True  # pytest shows the test's line
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # the peer died with unread input
            self.process.stdin.close()
        return self.wait(timeout)

    def report(self) -> str:
        """All that the peer has printed, and how it ended."""
        status = self.process.poll()
        if status is None:
            state = "still running"
        else:
            state = f"exit status {status:#x}"
            self._wait_for_output(bool, 1)
        parts = [f"--- {state}\n"]
        for name, lines in (("output", self.stdout), ("error", self.stderr)):
            text = "".join(lines) or "(nothing)\n"
            parts += [f"--- standard {name}\n", text]
        return "".join(parts).rstrip("\n")

    def reap(self) -> None:
        """End the peer and all that it started, and clean up; more calls do nothing."""
        self._end_all()
        self.process.wait(self.timeout)
        for thread in self._threads:
            thread.join(self.timeout)
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # the peer died with unread input
            self.process.stdin.close()
        with self._ending:
            self._job.close()
        self.reaped = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.reap()

    def __str__(self) -> str:
        return f"peer {self.name} (pid {self.pid})"

    def __repr__(self) -> str:
        status = self.process.poll()
        state = "running" if status is None else f"exit status {status:#x}"
        return f"<Peer {self.name} pid={self.pid} {state}>"
