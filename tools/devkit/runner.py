"""Run one Windows program: its streams, its signals, its exit status.

Python under Wine 8 dies at its start if a standard stream is a plain file, so it gets a
pipe instead. Terminals, pipes and /dev/null are passed on.
"""

import contextlib
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from base import die_by

WATCHED = {signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP}

# si_code of a signal from the kernel, such as the terminal's for Ctrl+C.
SI_KERNEL = 0x80

# The low byte of STATUS_CONTROL_C_EXIT; Linux sees only that byte.
CONTROL_C_EXIT = 0x3A

# Seconds that a program may take to end after SIGTERM.
GRACE = 5.0

# Seconds between two looks at the time.
LOOK = 1.0

# Other programs may keep the output of a program open after its end. After this many
# seconds of silence, ./dev does not wait for more.
SILENCE = 0.3


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended: its status, or the signal that ended it."""

    status: int
    signum: int = 0
    timed_out: bool = False


# The highest load per processor for which deadlines are extended.
MOST_LOAD = 10.0


def slowness() -> float:
    """The factor by which a program takes longer because of other programs."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return min(max(load, 1.0), MOST_LOAD)


class Work:
    """A deadline in seconds of work, which take longer under load."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds
        self._seen = time.monotonic()

    def is_over(self) -> bool:
        """Whether the deadline is over; to be asked about once a second.

        The time since the last question counts by the present load.
        """
        now = time.monotonic()
        self._left -= (now - self._seen) / slowness()
        self._seen = now
        return self._left <= 0


def finish(outcome: Outcome) -> int:
    """Return the status of a program, or die by its signal."""
    if outcome.signum:
        die_by(outcome.signum)
    return outcome.status


def run_windows(
    command: list[str], env: Mapping[str, str], timeout: float | None = None
) -> Outcome:
    """Run a Windows program to its end, and pass signals on to it."""
    streams = _Streams()
    own_group = not os.isatty(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        # If this process is killed, the program ends, too.
        child = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=dict(env),
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            # In the terminal's group, the program gets Ctrl+C, and may read.
            start_new_session=own_group,
            preexec_fn=_unblock,
        )
        streams.start()
        outcome = _watch(child, own_group, timeout)
        streams.drain()
        return outcome
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)


def _watch(
    child: "subprocess.Popen[bytes]", own_group: bool, timeout: float | None
) -> Outcome:
    """Wait for the program and pass signals on."""
    deadline = None if timeout is None else Work(timeout)
    interrupts = 0
    ended_by = 0
    timed_out = False
    while child.poll() is None:
        info = signal.sigtimedwait(WATCHED, LOOK if deadline else 3600)
        if info is None:
            if deadline is not None and deadline.is_over():
                timed_out = timed_out or not ended_by
                _signal(child, own_group, signal.SIGKILL)
                deadline = None
        elif info.si_signo == signal.SIGINT:
            interrupts += 1
            ended_by = signal.SIGINT
            # The third Ctrl+C kills a program that ignores Ctrl+C.
            signum = signal.SIGINT if interrupts < 3 else signal.SIGKILL
            if own_group or info.si_code != SI_KERNEL or interrupts >= 3:
                _signal(child, own_group, signum)
        elif info.si_signo != signal.SIGCHLD and not _ignored(info.si_signo):
            ended_by = info.si_signo
            _signal(child, own_group, signal.SIGTERM)
            deadline = Work(GRACE)
    status = child.returncode
    # In raw mode, which Wine 10 uses, a terminal sends no signal for Ctrl+C.
    if status == CONTROL_C_EXIT and (ended_by == signal.SIGINT or not own_group):
        return Outcome(128 + signal.SIGINT, signal.SIGINT)
    if status < 0:
        return Outcome(128 - status, ended_by or -status, timed_out)
    return Outcome(status, 0, timed_out)


def _signal(child: "subprocess.Popen[bytes]", own_group: bool, signum: int) -> None:
    """Signal the program or, if it has a process group of its own, the group."""
    with contextlib.suppress(ProcessLookupError):
        if own_group:
            os.killpg(child.pid, signum)
        else:
            child.send_signal(signum)


def _ignored(signum: int) -> bool:
    """Whether nohup or the like ignores a signal; sigtimedwait returns it anyway."""
    return signal.getsignal(signum) is signal.SIG_IGN


class _Streams:
    """The standard streams of the program, with pumps if they are needed."""

    def __init__(self) -> None:
        self._inputs: list[_Pump] = []
        self._outputs: list[_Pump] = []
        self._child_ends: list[int] = []
        self.stdin = self._input()
        self.stdout = self._output(1)
        if _same_file(1, 2):
            self.stderr = self.stdout
        else:
            self.stderr = self._output(2)

    def _input(self) -> int:
        if not _plain(0):
            return 0
        reader, writer = os.pipe()
        self._child_ends.append(reader)
        self._inputs.append(_Pump(0, writer))
        return reader

    def _output(self, fd: int) -> int:
        if not _plain(fd):
            return fd
        reader, writer = os.pipe()
        self._child_ends.append(writer)
        self._outputs.append(_Pump(reader, fd))
        return writer

    def start(self) -> None:
        """Close the child's ends, and start to move the data."""
        for fd in self._child_ends:
            os.close(fd)
        for thread in self._inputs + self._outputs:
            thread.start()

    def drain(self) -> None:
        """Wait for the last of the output."""
        ended = time.monotonic()
        for pump in self._outputs:
            while (
                pump.is_alive() and time.monotonic() - max(ended, pump.moved) < SILENCE
            ):
                pump.join(SILENCE)


class _Pump(threading.Thread):
    """Copies data from one descriptor to another."""

    def __init__(self, source: int, target: int) -> None:
        super().__init__(daemon=True)
        self._source = source
        self._target = target
        self.moved = 0.0

    def run(self) -> None:
        # If the reader is gone, the rest is dropped.
        with contextlib.suppress(OSError):
            while data := os.read(self._source, 65536):
                while data:
                    data = data[os.write(self._target, data) :]
                self.moved = time.monotonic()
        if self._source == 0:
            os.close(self._target)


def _plain(fd: int) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode)


def _same_file(first: int, second: int) -> bool:
    """Whether two streams are the same plain file, as after `>file 2>&1`."""
    return _plain(first) and os.path.sameopenfile(first, second)
