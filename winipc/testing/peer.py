"""`Peer`: a second process that a test talks to line by line."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from winipc import _core


def _lines(pipe: int, mark: bytes, encoding: str) -> Iterator[str]:
    """What comes out of a pipe up to a mark, in lines that end with a newline."""
    line, ended = bytearray(), False
    while not ended:
        more = os.read(pipe, 65536)
        line += more
        # The mark may come in parts. What was looked at before is not looked at again.
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


class Peer:
    """A process on the other side, spoken to line by line.

    Each failure shows all that it has printed. Any thread may use it.

    Its output ends with it. The pipes may stay open longer: in a process that it
    started, and under Wine in the desktop process, which the first window starts. So a
    mark is written after its output, and the readers stop at the mark.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        timeout: float = 60.0,
        cwd: str | os.PathLike[str] | None = None,
        env: Mapping[str, str] | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """Start `argv`.

        Args:
            timeout: Seconds that each wait may last unless it says otherwise.
            env: Variables on top of those of this process.
            encoding: Of its lines, each of which ends with the byte 10.
        """
        self.timeout = _core._check_timeout(timeout)
        self.encoding = encoding
        self.name = Path(argv[0]).name
        # In no text, and not at the end of a line.
        mark = b"\xff" + uuid.uuid4().hex.encode()
        pipes = [os.pipe(), os.pipe()]
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                cwd=cwd,
                # So that the lines of a peer in Python come at once.
                env={
                    **os.environ,
                    "PYTHONUNBUFFERED": "1",
                    "PYTHONUTF8": "1",
                    **(env or {}),
                },
            )
        except BaseException:
            for end in (*pipes[0], *pipes[1]):
                os.close(end)
            raise
        self.pid = self.process.pid
        self.stdout: list[str] = []
        self.stderr: list[str] = []
        self._stderr_grew = threading.Condition()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=target, args=args, daemon=True)
            for target, args in (
                (self._pump_stdout, (_lines(pipes[0][0], mark, encoding),)),
                (self._pump_stderr, (_lines(pipes[1][0], mark, encoding),)),
                (self._end_output, ([end for _, end in pipes], mark)),
            )
        ]
        for thread in self._threads:
            thread.start()

    def _pump_stdout(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.stdout.append(line)
            self._lines.put(line.removesuffix("\n"))
        self._lines.put(None)

    def _pump_stderr(self, lines: Iterator[str]) -> None:
        for line in lines:
            with self._stderr_grew:
                self.stderr.append(line)
                self._stderr_grew.notify_all()

    def _end_output(self, ends: list[int], mark: bytes) -> None:
        self.process.wait()
        for end in ends:
            os.write(end, mark)
            os.close(end)

    def _wait(self, timeout: float | None) -> float | None:
        return self.timeout if timeout is None else _core._check_timeout(timeout)

    def read_line(self, timeout: float | None = None) -> str:
        """The next line that the peer prints, without its end.

        Raises `AssertionError` when none came in `timeout` seconds, and when
        the peer ended.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        timeout = self._wait(timeout)
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(
                f"{self} was silent for {timeout} s\n{self.report()}"
            ) from None
        if line is None:
            self._lines.put(None)  # for the next call
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(1)
            self._threads[1].join(1)
            raise AssertionError(f"{self} ended early\n{self.report()}")
        return line

    def expect(self, text: str, timeout: float | None = None) -> None:
        """Raise `AssertionError` unless the next line is `text`."""
        __tracebackhide__ = True  # pytest shows the test's line
        line = self.read_line(timeout)
        if line != text:
            raise AssertionError(f"{self} said {line!r}, not {text!r}\n{self.report()}")

    def say(self, text: str) -> None:
        """Send one line to the peer's standard input."""
        self.say_bytes(text.encode(self.encoding))

    def say_bytes(self, line: bytes) -> None:
        """Send one line that need not be text."""
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def wait_for_stderr(self, text: str, timeout: float | None = None) -> None:
        """Wait until a line with `text` is on its standard error."""
        with self._stderr_grew:
            if not self._stderr_grew.wait_for(
                lambda: any(text in line for line in self.stderr), self._wait(timeout)
            ):
                raise AssertionError(f"{text!r} not seen of {self}\n{self.report()}")

    def kill(self) -> None:
        """TerminateProcess, and wait until it is gone."""
        self.process.kill()
        self.process.wait(self.timeout)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return its exit status."""
        try:
            return self.process.wait(self._wait(timeout))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self} did not end\n{self.report()}") from None

    def finish(self, timeout: float | None = None) -> int:
        """Close its input, wait for its end and return its exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(self._wait(timeout))

    def report(self) -> str:
        """What it has printed so far, and how it ended."""
        status = self.process.poll()
        state = "still running" if status is None else f"exit status {status:#x}"
        parts = [f"--- {state}\n"]
        for name, lines in (("output", self.stdout), ("error", self.stderr)):
            text = "".join(lines) or "(nothing)\n"
            parts += [f"--- standard {name}\n", text]
        return "".join(parts).rstrip("\n")

    def reap(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(self.timeout)
        for thread in self._threads:
            thread.join(self.timeout)
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # died with unread input
            self.process.stdin.close()

    def __str__(self) -> str:
        return f"peer {self.name} (pid {self.pid})"
