"""`winipc record` and `replay`, and the files between them."""

from __future__ import annotations

import errno
import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Peer
from hypothesis import given
from hypothesis import strategies as st
from test_cli import run_winipc
from test_cli_memory import failure

import winipc
from winipc import cli
from winipc.cli import record
from winipc.recording import RecordingReader, RecordingWriter, changed_ranges

StartPeer = Callable[..., Peer]


def play(reader: RecordingReader) -> list[bytes]:
    """The memory after each frame."""
    memory = bytearray(reader.size)
    found = []
    for frame in reader:
        for offset, data in frame.changes:
            memory[offset : offset + len(data)] = data
        found.append(bytes(memory))
    return found


@given(
    st.lists(
        st.binary(min_size=100, max_size=100)
        | st.integers(0, 99).map(lambda i: bytes(i) + b"\1" + bytes(99 - i)),
        min_size=1,
        max_size=6,
    )
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, copies: list[bytes]
) -> None:
    """Every copy that differs comes back whole, with its time."""
    path = tmp_path_factory.mktemp("recording") / "file"
    with RecordingWriter(path, "näme", 100, 5) as writer:
        added = [
            (i, copy) for i, copy in enumerate(copies) if writer.add(i * 1000, copy)
        ]
        writer.close(99_000)
    with RecordingReader(path) as reader:
        assert (reader.name, reader.size, reader.time_ns) == ("näme", 100, 5)
        assert play(reader) == [copy for _, copy in added]
        assert [frame.time_ns for frame in reader] == [i * 1000 for i, _ in added]
        assert (reader.complete, reader.duration_ns) == (True, 99_000)


@given(st.binary(min_size=64, max_size=64), st.binary(min_size=64, max_size=64))
def test_changed_ranges_cover_all_that_differs(old: bytes, new: bytes) -> None:
    inside = {i for start, stop in changed_ranges(old, new) for i in range(start, stop)}
    assert {i for i in range(64) if old[i] != new[i]} <= inside


@given(cut=st.integers(0, 400), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_damaged_files_give_whole_frames_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, at: int, byte: int
) -> None:
    """Nothing leaves the memory, whatever the file says."""
    path = tmp_path_factory.mktemp("recording") / "file"
    copies = [struct.pack("<Q", i * 0x0101_0101_0101) * 8 for i in range(1, 6)]
    with RecordingWriter(path, "x", 64, 0) as writer:
        for i, copy in enumerate(copies):
            writer.add(i, copy)
    data = bytearray(path.read_bytes())
    if at < len(data):
        data[at] = byte
    path.write_bytes(data[: len(data) - cut] if cut < len(data) else b"")
    try:
        reader = RecordingReader(path)
    except ValueError:
        return
    with reader:
        for frame in reader:
            for offset, changed in frame.changes:
                assert offset + len(changed) <= reader.size


class Slow:
    """A file that takes a few bytes at a time, and then none."""

    def __init__(self, room: int) -> None:
        self.data = bytearray()
        self.room = room

    def write(self, data: memoryview) -> int:
        part = bytes(data[: min(7, self.room - len(self.data))])
        self.data += part
        return len(part)


def test_short_writes_are_finished_or_an_error(tmp_path: Path) -> None:
    """A disk that takes a part gets the rest; one that is full is told."""
    writer = RecordingWriter(tmp_path / "whole", "x", 100, 1)
    real, slow = writer._file, Slow(1000)
    writer._file = slow  # type: ignore[assignment]
    writer.add(5, bytes(range(100)))
    slow.room = len(slow.data) + 20
    with pytest.raises(OSError, match="part of") as caught:
        writer.add(6, bytes(range(100, 200)))
    assert caught.value.errno == errno.ENOSPC
    writer._file = real
    real.write(slow.data[:-20])
    real.close()
    with RecordingReader(tmp_path / "whole") as reader:
        assert play(reader) == [bytes(range(100))]


def test_record_and_replay(
    start_winipc: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """The replayed mapping goes through the states of the recorded one."""
    path = tmp_path / "file.rec"
    with winipc.SharedMapping.create(unique_name, 4096) as mapping:
        mapping[0] = 1
        peer = start_winipc(
            "record", unique_name, path, "--frames=2", "--json", "--rate=100"
        )
        peer.wait_for_stderr("recording")
        deadline = 2000
        while path.stat().st_size < 70 and deadline:  # until the first frame is there
            deadline -= 1
            time.sleep(0.01)
        mapping[4000:4005] = b"hello"
        row = json.loads(peer.read_line())
        assert (row["frames"], row["bytes"]) == (2, 4096)
        assert peer.finish() == 0
        assert row["file_bytes"] == path.stat().st_size < 400
        line = failure("replay", str(path))  # the name is in use
        assert "183" in line
        assert line.endswith(" (winipc ls --holders shows who has it)")
    with RecordingReader(path) as reader:
        first, second = play(reader)
    assert first[0] == 1
    assert b"hello" not in first
    assert second[4000:4005] == b"hello"
    other = f"{unique_name}-again"
    peer = start_winipc("replay", path, "--name", other, "--speed=0", "--keep")
    with winipc.SharedMapping.wait_for(other, 60) as mapping:
        while mapping.read(5, 4000) != b"hello":
            time.sleep(0.01)
        assert mapping.read(4096, 0) == second
    peer.kill()


def test_replay_reports(unique_name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.rec"
    with RecordingWriter(path, unique_name, 16, 0) as writer:
        writer.add(0, bytes(16))
        writer.add(1000, b"x" * 16)
    row = json.loads(run_winipc("replay", str(path), "--json").stdout)
    assert row == {"name": unique_name, "frames": 2, "bytes": 16}


def test_record_of_a_killed_process_is_whole(
    start_winipc: StartPeer, start_peer: StartPeer, tmp_path: Path
) -> None:
    target = start_peer("target.exe")
    target.read_line()
    with winipc.RemoteProcess.open(target.pid) as process:
        base = process.modules()[0].base
    path = tmp_path / "file.rec"
    peer = start_winipc("record", f"{target.pid}:{base:#x}", path)
    peer.wait_for_stderr("recording")
    target.kill()
    peer.wait_for_stderr("winipc: ")
    assert peer.process.wait(60) == 1
    with RecordingReader(path) as reader:
        frames = play(reader)
        assert reader.complete
    assert all(frame.startswith(b"MZ") for frame in frames)


def test_bad_files_and_names_are_said(unique_name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.rec"
    assert unique_name in failure("record", unique_name, str(path))
    assert not path.exists()
    assert "file.rec" in failure("replay", str(path))
    path.write_text("something else")
    assert "no recording" in failure("replay", str(path))
    done = run_winipc("replay", str(path), "--speed", "-1", check=False)
    assert done.returncode == 2
    assert b"--speed: '-1' is not a number of 0 or more" in done.stderr
    with winipc.SharedMapping.create(unique_name, 16):
        assert "file.rec" in failure("record", unique_name, str(path))
    assert path.read_text() == "something else"


def test_replay_keeps_the_pace(unique_name: str, tmp_path: Path) -> None:
    """Never before its time: a frame of 1 s comes after 1 s, at --speed 2 after 0.5."""
    path = tmp_path / "file.rec"
    with RecordingWriter(path, unique_name, 4, 0) as writer:
        writer.add(0, b"begi")
        writer.add(1_000_000_000, b"then")
        writer.close(1_200_000_000)
    for speed in ("1", "2"):
        began = time.monotonic()
        done = run_winipc("replay", str(path), "--speed", speed, "--json")
        assert time.monotonic() - began >= 1.2 / float(speed)
        assert json.loads(done.stdout)["frames"] == 2


def test_replay_loops_until_interrupted(
    start_winipc: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """Each round puts back what a reader finds changed."""
    path = tmp_path / "file.rec"
    with RecordingWriter(path, unique_name, 16, 0) as writer:
        writer.add(0, b"A" * 16)
        writer.add(50_000_000, b"B" * 16)
        writer.close(100_000_000)
    peer = start_winipc("replay", path, "--loop")
    with winipc.SharedMapping.wait_for(unique_name, 60) as mapping:
        deadline = time.monotonic() + 60
        for _ in range(3):
            for wanted in (b"A", b"B"):
                while mapping.read(1, 0) != wanted:
                    assert time.monotonic() < deadline
                    time.sleep(0.001)
        assert peer.process.poll() is None
    peer.kill()


@pytest.fixture
def stepped(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bytes]]:
    """Replay in this process: what the mapping has at each wait, up to Ctrl+C."""

    def replay(path: Path, name: str, *options: str, waits: int) -> list[bytes]:
        states: list[bytes] = []

        def wait(_when: float) -> None:
            with winipc.SharedMapping.open(name, access="read") as mapping:
                states.append(mapping.read(4))
            if len(states) == waits:
                raise KeyboardInterrupt

        monkeypatch.setattr(record, "_sleep_until", wait)
        assert cli.main(["replay", str(path), *options]) == 130
        return states

    return replay


@pytest.mark.parametrize(
    "copies",
    [(b"\1\0\0\0", b"\1\0\7\7"), (b"\0\0\0\0", b"\1\0\0\0"), (b"\1\2\3\4", bytes(4))],
    ids=["some-from-zero", "all-from-zero", "back-to-zero"],
)
def test_every_round_of_a_loop_is_the_same(
    stepped: Callable[..., list[bytes]],
    unique_name: str,
    tmp_path: Path,
    copies: tuple[bytes, bytes],
) -> None:
    """What was zero in the beginning is zero again."""
    path = tmp_path / "file.rec"
    with RecordingWriter(path, unique_name, 4, 0) as writer:
        for i, copy in enumerate(copies):
            writer.add(i, copy)
    # A round waits before each frame and for its end.
    states = stepped(path, unique_name, "--loop", waits=9)
    first, second = copies
    assert states == [bytes(4), first, second] + [second, first, second] * 2


@pytest.mark.parametrize(
    ("options", "waits", "frames"), [((), 2, 1), (("--loop",), 5, 3)]
)
def test_replay_that_is_stopped_says_what_it_played(
    stepped: Callable[..., list[bytes]],
    capsys: pytest.CaptureFixture[str],
    unique_name: str,
    tmp_path: Path,
    options: tuple[str, ...],
    waits: int,
    frames: int,
) -> None:
    path = tmp_path / "file.rec"
    with RecordingWriter(path, unique_name, 4, 0) as writer:
        writer.add(0, b"A" * 4)
        writer.add(1, b"B" * 4)
    stepped(path, unique_name, *options, waits=waits)
    assert capsys.readouterr().out == f"{frames} frames replayed\n"
