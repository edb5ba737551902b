"""A target that was stopped by Linux: under Wine some calls wait for it."""

from __future__ import annotations

import os
import signal
import subprocess
import threading

import pytest
from conftest import DEADLINE, Dev

#: Reads or writes a few bytes of a process of its own while a thread prints.
READER = """
import subprocess, sys, threading
import winipc

OPEN = winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE

TARGET = '''
import sys, winipc
with winipc.GlobalMemory.allocate(64) as block:
    block.write(b"hi")
    print(block.address, flush=True)
    sys.stdin.read()
'''
command = [sys.executable, "-c", TARGET, "the-" + "target"]
pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
with subprocess.Popen(command, **pipes) as target:
    address = int(target.stdout.readline())
    with winipc.RemoteProcess.open(target.pid, access=OPEN) as process:
        print("ready", flush=True)
        sys.stdin.readline()
        begin = threading.Event()

        def work():
            begin.wait()
            for _ in range(100):
                print("tick", flush=True)
            print("others run", flush=True)

        threading.Thread(target=work).start()
        begin.set()
        print(process.CALL, flush=True)
    target.stdin.close()
"""


def lines_until(program: subprocess.Popen[str], last: str) -> list[str]:
    """What it prints up to this line; a program that hangs is killed."""
    assert program.stdout is not None
    lines: list[str] = []
    watchdog = threading.Timer(DEADLINE, program.kill)
    watchdog.start()
    while last not in lines:
        line = program.stdout.readline()
        assert line, "it ended, or was killed as it hung"
        lines.append(line.rstrip())
    watchdog.cancel()
    return lines


@pytest.mark.parametrize(
    ("call", "result"),
    [("read(address, 2)", "b'hi'"), ("write(address, b'ho')", "2")],
    ids=["read", "write"],
)
def test_threads_go_on_while_a_target_is_stopped(
    dev: Dev, call: str, result: str
) -> None:
    """The call waits until it goes on; other threads do not wait."""
    reader = dev.start(
        "python", "-c", READER.replace("CALL", call), stdin=subprocess.PIPE
    )
    assert reader.stdin is not None
    assert lines_until(reader, "ready") == ["ready"]
    (target,) = (pid for pid, name in dev.running().items() if "the-target" in name)
    os.kill(target, signal.SIGSTOP)
    try:
        reader.stdin.write("\n")
        reader.stdin.flush()
        lines = lines_until(reader, "others run")
        assert result not in lines
    finally:
        os.kill(target, signal.SIGCONT)
    out, err = reader.communicate(timeout=DEADLINE)
    assert out.splitlines()[-1:] == [result], err
