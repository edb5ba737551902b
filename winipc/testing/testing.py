"""What the pytest plugin is made of; usable without pytest, too.

`Peer` is a second process that a test talks to line by line, `ExpectingWindow`
a `CopyDataWindow` that says what came in place of what was expected, and
`LeakCheck` tells what this process has now that it had not before.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import queue
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from winipc import _core
from winipc.memory.mapping import SharedMapping
from winipc.memory.pages import MemoryType
from winipc.message.lookup import Window, find_windows, register_message
from winipc.message.window import WM_COPYDATA, CopyDataWindow, Message
from winipc.pe import inspect_dll
from winipc.process.process import RemoteProcess
from winipc.process.types import Module

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["ExpectingWindow", "LeakCheck", "Peer"]


# --------------------------------------------------------------------- Peer


class _Output(io.RawIOBase):
    """What a process prints, from a pipe, up to a mark."""

    def __init__(self, descriptor: int, mark: bytes) -> None:
        self._descriptor = descriptor
        self._mark = mark
        self._read = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while (count := self._certain()) == 0 and not self._ended:
            more = os.read(self._descriptor, 65536)
            self._read += more
            self._ended = not more
        count = min(count, len(buffer))
        buffer[:count] = self._read[:count]
        self._read = self._read[count:]
        return count

    def _certain(self) -> int:
        """How many of the bytes that were read are none of the mark."""
        if (at := self._read.find(self._mark)) >= 0:
            self._read = self._read[:at]
            self._ended = True
        if self._ended:
            return len(self._read)
        for length in range(len(self._mark) - 1, 0, -1):
            if self._read.endswith(self._mark[:length]):
                return len(self._read) - length
        return len(self._read)

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


class Peer:
    """A process on the other side, spoken to line by line.

    What it prints is kept, and shown by every failure. Any thread may use it.

    Its output ends when it ends. The pipes may live on: in a process that it started,
    and under Wine in the desktop, which the first window of all starts. So a mark is
    written behind what it printed, and nobody waits for the pipes to be closed.
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
        """
        self.timeout = timeout
        self.encoding = encoding
        self.name = Path(argv[0]).name
        # What may be the beginning of the mark is held back: so it begins with a byte
        # that is in no UTF-8, and at the end of no line.
        mark = b"\xff" + uuid.uuid4().bytes
        pipes = [os.pipe(), os.pipe()]
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=pipes[0][1],
                stderr=pipes[1][1],
                encoding=encoding,
                errors="backslashreplace",
                cwd=cwd,
                # For a peer in Python: its lines come at once.
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
        printed, complained = (
            io.TextIOWrapper(
                io.BufferedReader(_Output(end, mark)), encoding, "backslashreplace"
            )
            for end, _ in pipes
        )
        self._threads = [
            threading.Thread(target=target, args=args, daemon=True)
            for target, args in (
                (self._pump_stdout, (printed,)),
                (self._pump_stderr, (complained,)),
                (self._end_output, ([end for _, end in pipes], mark)),
            )
        ]
        for thread in self._threads:
            thread.start()

    def _pump_stdout(self, stream: io.TextIOWrapper) -> None:
        with stream:
            for line in stream:
                self.stdout.append(line)
                self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)

    def _pump_stderr(self, stream: io.TextIOWrapper) -> None:
        with stream:
            for line in stream:
                with self._stderr_grew:
                    self.stderr.append(line)
                    self._stderr_grew.notify_all()

    def _end_output(self, ends: list[int], mark: bytes) -> None:
        self.process.wait()
        for end in ends:
            os.write(end, mark)
            os.close(end)

    def _wait(self, timeout: float | None) -> float:
        return self.timeout if timeout is None else timeout

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
        assert isinstance(self.process.stdin, io.TextIOWrapper)
        self.process.stdin.buffer.write(line + b"\n")
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


# ---------------------------------------------------------- ExpectingWindow

_SHOWN = 10


@dataclass(frozen=True, slots=True)
class _Expected:
    """The parts of a message that matter to a test; None for any."""

    message: int | None
    id: int | None
    data: bytes | str | None
    wparam: int | None
    lparam: int | None
    pid: int | None

    def differences(self, came: Message) -> list[str]:
        lines = []
        for name in ("message", "id", "wparam", "lparam"):
            wanted, got = getattr(self, name), getattr(came, name)
            if wanted is not None and wanted != got:
                lines.append(f"{name}: expected {wanted:#x}, came {got:#x}")
        if self.pid is not None and self.pid != came.pid:
            lines.append(f"pid: expected {self.pid}, came {came.pid}")
        if isinstance(self.data, str):
            try:
                text = came.text()
            except UnicodeDecodeError:
                lines.append(f"data: expected {self.data!r}, came what is no UTF-8:")
                lines += _dump("came", bytes(came), 0)
            else:
                if text != self.data:
                    lines += [
                        f"data: expected {self.data!r}",
                        f"          came {text!r}",
                    ]
        elif self.data is not None and self.data != bytes(came):
            lines += _data_difference(self.data, bytes(came))
        return lines

    def __str__(self) -> str:
        parts = []
        for name in ("message", "id", "wparam", "lparam"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name}={value:#x}")
        if self.pid is not None:
            parts.append(f"pid={self.pid}")
        if self.data is not None:
            parts.append(f"data={_short(self.data)}")
        return " ".join(parts) or "any message"


class ExpectingWindow(CopyDataWindow):
    """A window with `expect`: what came instead is in the failure."""

    __slots__ = ("_seen",)

    _seen: list[str]

    def expect(
        self,
        *,
        id: int | None = None,
        data: ReadableBuffer | str | None = None,
        message: int | str | None = None,
        wparam: int | None = None,
        lparam: int | None = None,
        pid: int | None = None,
        timeout: float | None = 10.0,
        skip: bool = False,
    ) -> Message:
        """Take the next message, which has to be this one, and return it.

        Args:
            id: Of a WM_COPYDATA.
            data: Its bytes; or a str, for text in UTF-8 up to the first NUL.
            message: Another message, a number or a registered name, that the
                window was asked to take (`subscribe`, or `messages=`). Without
                it, and without wparam and lparam, a WM_COPYDATA is expected.
            pid: The process that has to have sent it; it has to name a window of
                its own as sender.
            timeout: Seconds for all of it.
            skip: Pass over other messages until this one comes.

        Raises `AssertionError` that says what differs, or what came until then.
        """
        __tracebackhide__ = True  # pytest shows the test's line
        number = register_message(message) if isinstance(message, str) else message
        if number is None and wparam is None and lparam is None:
            number = WM_COPYDATA
        expected = _Expected(
            number,
            None if id is None else id % (1 << 64),
            data if data is None or isinstance(data, str) else bytes(data),
            wparam,
            lparam,
            pid,
        )
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                came = self.receive(left)
            except TimeoutError:
                raise AssertionError(
                    f"not within {timeout} s: {expected}\n{self._history()}"
                ) from None
            differences = expected.differences(came)
            if not differences:
                self._note(came, "expected")
                return came
            self._note(came, "not expected")
            if not skip:
                lines = "\n  ".join(differences)
                raise AssertionError(
                    f"another message than expected\n  {lines}\n{self._history()}"
                )

    def expect_nothing(self, timeout: float = 0.2) -> None:
        """Raise `AssertionError` if a message comes in the next `timeout` seconds."""
        __tracebackhide__ = True  # pytest shows the test's line
        try:
            came = self.receive(timeout)
        except TimeoutError:
            return
        self._note(came, "not expected")
        raise AssertionError(f"a message came\n{self._history()}")

    def _note(self, came: Message, what: str) -> None:
        text = repr(came)
        if came.is_copydata:
            text += f" {_short(bytes(came))}"
        self._history_lines().append(f"{text} ({what})")

    def _history_lines(self) -> list[str]:
        try:
            return self._seen
        except AttributeError:
            self._seen = []
            return self._seen

    def _history(self) -> str:
        seen = self._history_lines()
        lines = [f"came to {self.title!r}:"]
        if len(seen) > _SHOWN:
            lines.append(f"({len(seen) - _SHOWN} before)")
        lines += seen[-_SHOWN:] or ["nothing"]
        if self.pending:
            lines.append(f"({self.pending} more waiting)")
        return "\n  ".join(lines)


def _short(data: bytes | str) -> str:
    return repr(data) if len(data) <= 64 else f"{data[:64]!r}... ({len(data)})"


def _dump(label: str, data: bytes, at: int) -> list[str]:
    """A few rows of a hex view around an offset."""
    rows = []
    begin = max(0, at // 16 * 16 - 16)
    for offset in range(begin, min(len(data), begin + 48), 16):
        row = data[offset : offset + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"{label:>10} {offset:06x}  {row.hex(' '):<47}  {text}")
    return rows or [f"{label:>10} (nothing)"]


def _data_difference(expected: bytes, came: bytes) -> list[str]:
    pairs = zip(expected, came, strict=False)
    shorter = min(len(expected), len(came))
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), shorter)
    sizes = f"{len(expected)} bytes expected, {len(came)} came"
    return [
        f"data: {sizes}; they differ from offset {at} on",
        *_dump("expected", expected, at),
        *_dump("came", came, at),
    ]


# ---------------------------------------------------------------- LeakCheck

#: Kinds of handles that Windows itself opens and keeps as it goes along.
_SYSTEM_KINDS = {
    "ALPC Port",
    "Desktop",
    "Directory",
    "EtwConsumer",
    "EtwRegistration",
    "IRTimer",
    "IoCompletion",
    "IoCompletionReserve",
    "Key",
    "KeyedEvent",
    "SchedulerSharedData",
    "TpWorkerFactory",
    "WaitCompletionPacket",
    "WindowStation",
}


@dataclass(slots=True)
class _Inventory:
    """What this process has: by something that tells it apart, in words."""

    windows: dict[int, str] = field(default_factory=dict)
    threads: dict[int, str] = field(default_factory=dict)
    native: dict[int, int] = field(default_factory=dict)
    mappings: dict[tuple[int, int], str] = field(default_factory=dict)
    images: set[int] = field(default_factory=set)
    handles: dict[tuple[int, str, str], str] = field(default_factory=dict)


def _take() -> _Inventory:
    found = _Inventory()
    pid = os.getpid()
    for handle, kind, name in _core._own_handles():
        if kind not in _SYSTEM_KINDS:
            what = f"{kind or 'of a kind without a name'} {name}".rstrip()
            found.handles[handle, kind, name] = f"handle {handle:#x}: {what}"
    for message_only in (False, True):
        for window in find_windows(pid=pid, message_only=message_only):
            found.windows[window.hwnd] = _describe(window)
    python = {thread.native_id: thread for thread in threading.enumerate()}
    sizes: Counter[int] = Counter()
    with RemoteProcess.open(pid) as process:
        for region in process.regions():
            if region.type == MemoryType.MAPPED:
                sizes[region.allocation_base] += region.size
            elif region.type == MemoryType.IMAGE:
                found.images.add(region.allocation_base)
        entries = process.threads()
    for base, size in sizes.items():
        found.mappings[base, size] = f"mapping: {size} bytes at {base:#x}"
    for entry in entries:
        if (thread := python.get(entry.id)) is not None:
            found.threads[entry.id] = f"thread {entry.id}: {thread!r}"
        elif (start := _core._thread_start(entry.id)) is not None:
            found.native[entry.id] = start
    return found


def _describe(window: Window) -> str:
    try:
        what = f"{window.title!r} of class {window.class_name!r}"
    except FileNotFoundError:
        what = "that is closing"
    return f"window {window.hwnd:#x}: {what}"


def _compare(before: _Inventory, after: _Inventory) -> list[str]:
    left = [text for key, text in after.windows.items() if key not in before.windows]
    left += [text for key, text in after.threads.items() if key not in before.threads]
    threads = after.native.keys() - before.native.keys() - before.threads.keys()
    images = after.images - before.images
    if threads or images:
        with RemoteProcess.open(os.getpid()) as process:
            modules = process.modules()
        for thread in sorted(threads):
            start = after.native[thread]
            where = next(
                (m.name for m in modules if m.base <= start < m.end), hex(start)
            )
            # Workers of the thread pool come and go as Windows likes.
            if where.casefold() != "ntdll.dll":
                left.append(f"thread {thread}: not of Python, began in {where}")
        left += [text for m in modules if m.base in images for text in _shared(m)]
    # Where something was replaced by its like, nothing was left.
    if len(after.mappings) > len(before.mappings):
        left += [
            text for key, text in after.mappings.items() if key not in before.mappings
        ]
    kinds = Counter(kind for _, kind, _ in after.handles)
    kinds.subtract(kind for _, kind, _ in before.handles)
    left += [
        text
        for key, text in after.handles.items()
        if key not in before.handles and kinds[key[1]] > 0
    ]
    return left


def _shared(module: Module) -> list[str]:
    """A line if this is a DLL with shared variables: others load as needed."""
    with contextlib.suppress(OSError, ValueError):
        if shared := inspect_dll(module.path).shared_variables:
            names = ", ".join(variable.name for variable in shared)
            return [f"section DLL: {module.path} with {names}"]
    return []


class LeakCheck:
    """Remembers what this process has, and tells later what came to stay.

    Counted are kernel handles (by kind and name), windows, threads, mapped memory
    and loaded DLLs with shared sections. Kinds of handles that Windows opens on
    its own account, and its thread pool, do not count.

    Win32: NtQuerySystemInformation, NtQueryObject, EnumWindows, VirtualQueryEx,
    CreateToolhelp32Snapshot.
    """

    _warm = False

    def __init__(self) -> None:
        if not LeakCheck._warm:
            # What is opened once for the whole process is opened now.
            LeakCheck._warm = True
            with CopyDataWindow.create(""), SharedMapping.create(None, 1):
                thread = threading.Thread(target=_take)
                thread.start()
                thread.join()
        gc.collect()
        self._before = _take()

    def leaks(self, timeout: float = 2.0) -> list[str]:
        """One line for each thing that was not there; waits for what is ending.

        Garbage is collected first. `timeout` is in seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            gc.collect()
            left = _compare(self._before, _take())
            if not left or time.monotonic() >= deadline:
                return left
            time.sleep(0.02)
