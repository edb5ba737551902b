"""A mapping of a Windows program, seen by this native Linux process."""

from __future__ import annotations

import base64
import contextlib
import gzip
import json
import mmap
import os
import signal
import stat
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DEADLINE, Dev

PLAYER = """
import sys, winipc
with winipc.Cassette.play(sys.argv[1], speed=None, bridge=True) as player:
    print("ready", flush=True)
    for line in sys.stdin:
        event = player.step()
        print(event and event.time_ns, flush=True)
"""

WRITER = """
import sys, winipc
with winipc.SharedMapping.open(sys.argv[1]) as mapping:
    assert mapping.read(5, 0) == b"linux", mapping.read(5, 0)
    mapping.write(b"windows", 100)
print("written")
"""


@pytest.fixture
def name() -> Iterator[str]:
    """A name whose file is gone in the end."""
    name = f"winipc-bridge-{uuid.uuid4().hex}"
    yield name
    with contextlib.suppress(FileNotFoundError):
        shm(name).unlink()


def shm(name: str) -> Path:
    return Path("/dev/shm") / name


def wait_until_gone(path: Path) -> bool:
    deadline = time.monotonic() + DEADLINE
    while path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return not path.exists()


def start(dev: Dev, name: str, *args: str) -> subprocess.Popen[str]:
    """A bridge that says that it is there."""
    bridge = dev.start("python", "-m", "winipc", "bridge", name, "--json", *args)
    assert bridge.stdout is not None
    line = bridge.stdout.readline()
    if not line:
        raise AssertionError(bridge.communicate(timeout=DEADLINE)[1])
    assert json.loads(line)["file"] == f"/dev/shm/{name}"
    return bridge


def test_both_sides_see_one_memory(dev: Dev, name: str) -> None:
    """Right size, for this user only, both directions, and gone after Ctrl+C."""
    bridge = start(dev, name, "--size", "5000")
    info = shm(name).stat()
    assert (info.st_size, stat.S_IMODE(info.st_mode)) == (5000, 0o600)
    assert info.st_uid == os.getuid()
    with shm(name).open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[0:5] = b"linux"
        done = dev.run("python", "-c", WRITER, name)
        assert done.stdout.strip() == "written", done.stderr
        assert memory[100:107] == b"windows"
        bridge.send_signal(signal.SIGINT)
        _, error = bridge.communicate(timeout=DEADLINE)
        assert bridge.returncode == 0, error
        assert "Traceback" not in error
        assert not shm(name).exists()
        assert memory[100:107] == b"windows"  # who has it keeps it


def test_file_goes_with_a_killed_bridge(dev: Dev, name: str) -> None:
    """Its maker is gone, and it is removed."""
    bridge = start(dev, name)
    bridge.kill()
    bridge.communicate(timeout=DEADLINE)
    assert wait_until_gone(shm(name))


def test_nothing_is_taken_over(dev: Dev, name: str) -> None:
    """A file or a link that is there already is left alone; a taken name too."""
    shm(name).write_bytes(b"mine")
    done = dev.run("python", "-m", "winipc", "bridge", name)
    assert done.returncode == 1
    assert "there already" in done.stderr
    assert shm(name).read_bytes() == b"mine"
    shm(name).unlink()
    shm(name).symlink_to(f"/dev/shm/{name}-victim")
    done = dev.run("python", "-m", "winipc", "bridge", name)
    assert done.returncode == 1
    assert not shm(f"{name}-victim").exists()
    shm(name).unlink()
    start(dev, name)
    done = dev.run("python", "-m", "winipc", "bridge", name, "--file", f"{name}-other")
    assert (done.returncode, "183" in done.stderr) == (1, True), done.stderr
    assert not shm(f"{name}-other").exists()


def test_prefix_of_a_name_is_not_in_the_file(dev: Dev, name: str) -> None:
    """Local\\x is the file x, and it ends by itself."""
    done = dev.run(
        "python", "-m", "winipc", "bridge", f"Local\\{name}", "--seconds", "0", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["file"] == f"/dev/shm/{name}"
    assert not shm(name).exists()


def test_several_names_each_have_a_file(dev: Dev, name: str) -> None:
    """All of them, until the end; --file is for one."""
    names = [name, f"{name}-2", f"{name}-3"]
    bridge = dev.start("python", "-m", "winipc", "bridge", *names, "--json")
    assert bridge.stdout is not None
    rows = [json.loads(bridge.stdout.readline()) for _ in names]
    assert [row["file"] for row in rows] == [f"/dev/shm/{each}" for each in names]
    for each in names:
        assert shm(each).stat().st_size == 4096
    bridge.send_signal(signal.SIGINT)
    assert bridge.wait(DEADLINE) == 0
    assert not any(shm(each).exists() for each in names)


def test_several_names_are_made_all_or_none(dev: Dev, name: str) -> None:
    """The second file is there already: the first one goes again."""
    taken = f"{name}-2"
    shm(taken).write_bytes(b"mine")
    try:
        done = dev.run("python", "-m", "winipc", "bridge", name, taken)
        assert done.returncode == 1
        assert not shm(name).exists()
        assert shm(taken).read_bytes() == b"mine"
        done = dev.run("python", "-m", "winipc", "bridge", name, taken, "--file=x")
        assert (done.returncode, "one name" in done.stderr) == (2, True)
    finally:
        shm(taken).unlink()


def write_cassette(path: Path, name: str) -> None:
    """As docs/cassettes.md has it, without winipc: three states of a mapping."""
    head = {
        "winipc_cassette": 1,
        "made": "2026-11-29T20:15:00.000+00:00",
        "tracks": [{"kind": "mapping", "name": f"Local\\{name}", "size": 5000}],
    }
    rows = [
        {
            "t": n * 1000,
            "track": 0,
            "changes": [[4990, base64.b64encode(data).decode()]],
        }
        for n, data in enumerate((b"first", b"second", b"third!"))
    ]
    lines = [head, *rows, {"t": 3000, "end": True, "events": 3}]
    path.write_bytes(
        gzip.compress("".join(f"{json.dumps(x)}\n" for x in lines).encode())
    )


def test_a_played_cassette_is_seen_on_linux(
    dev: Dev, name: str, tmp_path: Path
) -> None:
    """Each step is in the memory of the native process when it returns."""
    path = tmp_path / "file.wipc"
    write_cassette(path, name)
    playing = ("python", "-c", PLAYER, f"Z:{path}")
    player = dev.start(*playing, stdin=subprocess.PIPE)
    assert player.stdin is not None
    assert player.stdout is not None
    assert player.stdout.readline() == "ready\n", player.communicate()[1]
    assert shm(name).stat().st_size == 5000
    with (
        shm(name).open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory,
    ):
        seen = [memory[4990:]]
        for _ in range(3):
            player.stdin.write("step\n")
            player.stdin.flush()
            seen.append(player.stdout.readline().encode())
            seen.append(memory[4990:])
    zeros = bytes(4)
    assert seen == [
        *(b"first" + bytes(5), b"1000\n", b"second" + zeros),
        *(b"2000\n", b"third!" + zeros, b"None\n", b"third!" + zeros),
    ]
    again = dev.run("python", "-m", "winipc", "cassette", "play", str(path), "--bridge")
    assert (again.returncode, "there already" in again.stderr) == (1, True)
    _, error = player.communicate(timeout=DEADLINE)
    assert player.returncode == 0, error
    assert not shm(name).exists()
