"""Ctrl+C and a closed pipe end the commands quietly; the bar is for the terminal."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import pty
import signal
import subprocess
import threading
import urllib.request
import uuid
from pathlib import Path

import pytest
from conftest import DEADLINE, ROOT, Dev

SCANS = """
import os
from winipc import GlobalMemory, Pattern, RemoteProcess

said = []


def progress(done, total):
    if done and not said:
        said.append(print("scanning", flush=True))


kinds = [Pattern.range("i32", n, n, aligned=False) for n in range(2**30, 2**30 + 999)]
with GlobalMemory(64 << 20) as memory, RemoteProcess.open(os.getpid()) as process:
    ranges = [(memory.address, memory.size)]
    scan = process.scan(kinds, regions=ranges, progress=progress)
    try:
        list(scan)
    except KeyboardInterrupt:
        print(0 < scan.scanned < memory.size)
"""


def test_ctrl_c_ends_a_scan(dev: Dev) -> None:
    """A real one, in the middle of it."""
    process = dev.start("python", "-c", SCANS)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "scanning"
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=DEADLINE)
    assert out.strip() == "True", error


@pytest.mark.parametrize("command", ["listen", "receive"])
def test_ctrl_c_that_was_asked_for_is_status_0(dev: Dev, command: str) -> None:
    name = f"winipc-test-{uuid.uuid4().hex}"
    words = {
        "listen": ["listen", name],
        "receive": ["receive", "--title", name, "--mapping", name],
    }
    process = dev.start("python", "-m", "winipc", *words[command])
    assert process.stderr is not None
    while "listening" not in (line := process.stderr.readline()):
        assert line, "it ended"
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, ""), error
    assert "Traceback" not in error


def test_ctrl_c_ends_a_server_and_its_streams(dev: Dev) -> None:
    """The status is 0; who reads a stream sees its end, and is told nothing else."""
    process = dev.start("python", "-m", "winipc", "serve", "--json")
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    url = f"http://127.0.0.1:{told['port']}/api/events?token={told['token']}"
    streams = [urllib.request.urlopen(f"{url}&watch=objects") for _ in range(3)]
    for stream in streams:
        assert stream.readline().startswith(b"data: ")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, error) == (0, "", "")
    for stream in streams:
        assert b"error" not in stream.read()
        stream.close()
    assert dev.left_behind() == []


WAITS = """
import sys, threading
from winipc.testing import Peer
SILENT = '''
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("up", flush=True)
time.sleep(600)
'''
with Peer([sys.executable, "-c", SILENT], ready="up", timeout=100) as peer:
    for wait in (
        {waits}
    ):
        threading.Timer(0.5, print, ("waiting",), dict(flush=True)).start()
        try:
            wait()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
"""


@pytest.mark.parametrize(
    "waits",
    [
        "peer.read_line, peer.wait",
        "lambda: peer.wait_for_stderr('x'), "
        "lambda: Peer([sys.executable, '-c', SILENT], ready='never', timeout=100)",
    ],
    ids=["line and end", "stderr and ready"],
)
def test_ctrl_c_ends_the_waits_for_a_peer(dev: Dev, waits: str) -> None:
    """For one that neither prints nor ends, nor gets ready; it is reaped then."""
    process = dev.start("python", "-c", WAITS.format(waits=waits))
    assert process.stdout is not None
    for _ in range(2):  # ./dev kills at the third
        assert process.stdout.readline().strip() == "waiting"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline().strip() == "interrupted"
    out, error = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, error) == (0, "", "")
    assert dev.left_behind() == []


def test_ctrl_c_ends_a_self_test_and_its_processes(dev: Dev) -> None:
    process = dev.start("python", "-m", "winipc", "selftest", "hung-window")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("winipc ")
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (130, ""), error
    assert "Traceback" not in error
    assert dev.left_behind() == []


def test_ctrl_c_while_following_and_recording(dev: Dev, tmp_path: Path) -> None:
    """The recording is whole, and says what it has."""
    name = f"winipc-test-{uuid.uuid4().hex}"
    holder = dev.start("python", "-m", "winipc", "bridge", name)
    assert holder.stdout is not None
    assert holder.stdout.readline()
    path = tmp_path / "file.wipc"
    windows_path = "Z:" + str(path).replace("/", "\\")
    for words in (["record", name, windows_path], ["watch", name]):
        process = dev.start("python", "-m", "winipc", *words)
        assert process.stderr is not None
        while "Ctrl+C" not in (line := process.stderr.readline()):
            assert line, "it ended"
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, error
        assert "Traceback" not in error
    assert b'"end":true' in gzip.decompress(path.read_bytes()).splitlines()[-1]
    holder.send_signal(signal.SIGINT)
    holder.communicate(timeout=DEADLINE)


def test_a_closed_pipe_is_quiet(dev: Dev) -> None:
    """Much more than a pipe holds, for a reader that has gone."""
    name = f"winipc-test-{uuid.uuid4().hex}"
    holder = dev.start("python", "-m", "winipc", "bridge", name, "--size", "4000000")
    assert holder.stdout is not None
    assert holder.stdout.readline()
    script = '{ "$1" python -m winipc dump "$2" --json; echo $? >&2; } | head -c 1'
    done = subprocess.run(
        ["sh", "-c", script, "sh", str(ROOT / "dev"), name],
        env=dev.env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert (done.stdout, done.stderr) == ("{", "141\n")
    holder.send_signal(signal.SIGINT)
    holder.communicate(timeout=DEADLINE)


SCANS_ITSELF = """
import os, sys
from winipc.cli import main
sys.exit(main(["scan", str(os.getpid()), "4d 5a", "--limit", "1"]))
"""


def test_results_of_a_scan_are_no_part_of_its_bar(dev: Dev) -> None:
    """`winipc scan ... >file`: the bar is on the terminal, the results in the file."""
    terminal, its_end = pty.openpty()
    shown: list[bytes] = []

    def watch() -> None:
        with contextlib.suppress(OSError):  # the other end is closed by now
            while data := os.read(terminal, 4096):
                shown.append(data)

    process = dev.start("python", "-c", SCANS_ITSELF, stderr=its_end)
    os.close(its_end)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    out, _ = process.communicate(timeout=DEADLINE)
    watcher.join(DEADLINE)
    os.close(terminal)
    text = b"".join(shown).decode(errors="replace")
    assert process.returncode == 0, text
    assert "scanning" in text
    assert out.startswith("0x"), text
    assert out.count("\n") == 1
