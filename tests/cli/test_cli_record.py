"""`winipc record` and `replay`, and the files between them."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Peer
from test_cli import run_winipc
from test_cli_memory import failure

import winipc
from winipc import Cassette, ChangeEvent, Track, cli
from winipc.cassette.file import Writer
from winipc.cassette.player import Player

StartPeer = Callable[..., Peer]


def write(
    path: Path, name: str, *states: bytes, times_ms: tuple[int, ...] = ()
) -> None:
    """A recording of these states of a mapping, the last time being that of the end."""
    times = times_ms or tuple(range(len(states) + 1))
    with Writer(path, [Track("mapping", name, size=len(states[0]))]) as writer:
        for at, state in zip(times, states, strict=False):
            event = ChangeEvent(at * 1_000_000, 0, ((0, state),))
            writer.add(event, stamp=False)
        writer.close(times[-1] * 1_000_000)


def test_record_and_replay(
    start_winipc: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """The replayed mapping goes through the states of the recorded one."""
    path = tmp_path / "file.wipc"
    with winipc.SharedMapping.create(unique_name, 4096) as mapping:
        mapping[0] = 1
        peer = start_winipc(
            "record", unique_name, path, "--frames=2", "--json", "--rate=100"
        )
        peer.wait_for_stderr("recording")
        mapping[4000:4005] = b"hello"
        row = json.loads(peer.read_line())
        assert row["events"] == 2
        assert peer.finish() == 0
        assert row["file_bytes"] == path.stat().st_size < 500
        line = failure("replay", str(path))  # the name is in use
        assert "183" in line
        assert " (winipc ls --holders shows who has it) (" in line
        assert "another player" in line
        assert "play under other names (--name)" in line
    (_, first), (_, second) = Cassette(path).frames()
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
    path = tmp_path / "file.wipc"
    write(path, unique_name, bytes(16), b"x" * 16)
    row = json.loads(run_winipc("replay", str(path), "--json").stdout)
    assert row == {"events": 2, "answers": 0, "unplayed": 0, "unexpected": []}


def test_record_of_a_killed_process_is_whole(
    start_winipc: StartPeer, start_peer: StartPeer, tmp_path: Path
) -> None:
    target = start_peer("target.exe")
    target.read_line()
    with winipc.RemoteProcess.open(target.pid) as process:
        base = process.modules()[0].base
    path = tmp_path / "file.wipc"
    peer = start_winipc("record", f"{target.pid}:{base:#x}", path)
    peer.wait_for_stderr("recording")
    target.kill()
    peer.wait_for_stderr("winipc: ")
    assert peer.process.wait(60) == 1
    cassette = Cassette(path)
    assert all(frame.startswith(b"MZ") for _, frame in cassette.frames())
    assert cassette.complete


def test_bad_files_and_names_are_said(unique_name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    assert unique_name in failure("record", unique_name, str(path))
    assert not path.exists()
    assert "file.wipc" in failure("replay", str(path))
    path.write_text("something else")
    with winipc.SharedMapping.create(unique_name, 64):
        line = failure("record", unique_name, str(path))
    assert "(name another file, or delete it first) (" in line
    assert path.read_text() == "something else"
    assert failure("replay", str(path)) == (
        f"winipc: {str(path)!r}: this is no cassette: it is not packed by gzip"
    )
    done = run_winipc("replay", str(path), "--speed", "-1", check=False)
    assert done.returncode == 2
    assert b"--speed: '-1' is not a number of 0 or more" in done.stderr
    with winipc.SharedMapping.create(unique_name, 16):
        assert "file.wipc" in failure("record", unique_name, str(path))
        order = "(the name comes before the file: record {1} {0}) (winipc ls"
        for words in (("x.wipc", "absent"), ("file", unique_name)):
            assert order.format(*words) in failure("record", *words)
        assert "comes before" not in failure("record", "absent", "x")
    assert path.read_text() == "something else"


def test_replay_keeps_the_pace(unique_name: str, tmp_path: Path) -> None:
    """Never before its time: a frame of 1 s comes after 1 s, at --speed 2 after 0.5."""
    path = tmp_path / "file.wipc"
    write(path, unique_name, b"begi", b"then", times_ms=(0, 1000, 1200))
    for speed in ("1", "2"):
        began = time.monotonic()
        done = run_winipc("replay", str(path), "--speed", speed, "--json")
        assert time.monotonic() - began >= 1.2 / float(speed)
        assert json.loads(done.stdout)["events"] == 2


def test_replay_loops_until_interrupted(
    start_winipc: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """Each round puts back what a reader finds changed."""
    path = tmp_path / "file.wipc"
    write(path, unique_name, b"A" * 16, b"B" * 16, times_ms=(0, 50, 100))
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


@pytest.mark.parametrize(
    "copies",
    [(b"\1\0\0\0", b"\1\0\7\7"), (b"\0\0\0\0", b"\1\0\0\0"), (b"\1\2\3\4", bytes(4))],
    ids=["some-from-zero", "all-from-zero", "back-to-zero"],
)
def test_every_round_of_a_loop_is_the_same(
    unique_name: str, tmp_path: Path, copies: tuple[bytes, bytes]
) -> None:
    """What was zero in the beginning is zero again."""
    path = tmp_path / "file.wipc"
    write(path, unique_name, *copies)
    with (
        Cassette.play(path, speed=None, loop=True) as player,
        winipc.SharedMapping.open(unique_name, access="read") as mapping,
    ):
        states = [mapping.read(4)]
        for _ in range(3):
            player.step()
            states.append(mapping.read(4))
            player.seek(0)
            states.append(mapping.read(4))
    first, second = copies
    assert states == [first] + [second, first] * 3


def test_replay_that_is_stopped_says_what_it_played(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    unique_name: str,
    tmp_path: Path,
) -> None:
    path = tmp_path / "file.wipc"
    write(path, unique_name, b"A" * 4, b"B" * 4, times_ms=(0, 1, 3_600_000))
    waits = iter([False, False])

    def wait(player: Player, timeout: float) -> bool:
        while player.events < 2:
            time.sleep(0.001)
        if next(waits, None) is None:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(Player, "wait", wait)
    assert cli.main(["replay", str(path)]) == 0
    out = capsys.readouterr().out
    assert out == "2 events played, 0 messages answered, 0 not asked for\n"


def test_replay_ends_after_so_many_seconds(unique_name: str, tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    write(path, unique_name, b"A" * 4, b"B" * 4, times_ms=(0, 1, 3_600_000))
    row = json.loads(run_winipc("replay", str(path), "--seconds=0", "--json").stdout)
    assert row["events"] <= 2
    options = ("--loop", "--keep", "--seconds", "0.2", "--json")
    assert json.loads(run_winipc("replay", str(path), *options).stdout)


def test_values_begin_behind_a_header(unique_name: str, tmp_path: Path) -> None:
    """As those of dump; the double is the mapping to the last byte."""
    path, part = str(tmp_path / "file.wipc"), str(tmp_path / "part.wipc")
    layout = winipc.Layout.of("state", "speed:f32 gear:i32")
    form = ("--struct", "speed:f32 gear:i32")
    for header, begin in ((True, 64), (layout, None)):
        with winipc.SharedMapping.create(unique_name, 32, header=header) as mapping:
            mapping.write(layout.pack(speed=1.5, gear=7))
            for file, options in ((path, ()), (part, ("--size", "8"))):
                run_winipc("record", unique_name, file, *options, "--seconds=0")
            with winipc.SharedMapping.open(unique_name, access="read") as raw:
                whole = raw.read()
                begin = begin or int.from_bytes(raw.read(2, 6), "little")
        cassette = Cassette(path)
        assert [frame for _, frame in cassette.frames()] == [whole]
        with (
            Cassette.play(path, speed=None),
            winipc.SharedMapping.open(unique_name, access="read") as double,
        ):
            assert double.read() == whole
            assert run_winipc("dump", unique_name, *form).stdout.split() == [
                b"speed=1.5",
                b"gear=7",
            ]
        for file in (path, part):
            csv = run_winipc("replay", file, "--csv", *form).stdout.decode()
            assert [row.partition(",")[2] for row in csv.splitlines()] == [
                "speed,gear",
                "1.5,7",
            ]
            shown = run_winipc("cassette", "show", file, *form).stdout.decode()
            assert shown.rstrip().endswith(f"{unique_name}  speed=1.5 gear=7")
        raw_words = ("--raw", "--offset", str(begin + 4), "--struct", "gear:i32")
        for command in (("replay", path, "--csv"), ("cassette", "show", path)):
            assert "7" in run_winipc(*command, *raw_words).stdout.decode().split()[-1]
        [(_, record)] = cassette.records(layout)
        assert record.gear == 7
        [(_, record)] = cassette.records("gear:i32", begin + 4, raw=True)
        assert record.gear == 7
        assert len(list(cassette.records("24s", 8))) == 1
        with pytest.raises(ValueError, match="in the 32"):
            cassette.records("i32", 29)
        for file in (path, part):
            Path(file).unlink()


def test_changes_are_shown_where_dump_shows_them(tmp_path: Path) -> None:
    """A change of the header, or behind the end, is shown with --raw alone."""
    path = tmp_path / "file.wipc"
    head = struct.pack("<4sHHQ", b"WPIM", 1, 64, 16)
    with Writer(path, [Track("mapping", "m", size=4096)]) as writer:
        for changes in (
            (),
            ((0, head),),
            ((62, b"\1\2\3\4"), (79, b"\5\6")),
            ((20, b"\1"), (80, b"\1")),
            ((66, b"\7"),),
        ):
            writer.add(ChangeEvent(0, 0, changes), stamp=False)
    for options, texts in (
        ((), ["all zeros", "all zeros", "0x0: 03 04, 1 more", "0x2: 07"]),
        (
            ("--raw",),
            [
                "all zeros",
                f"0x0: {head.hex(' ')}",
                "0x3e: 01 02 03 04, 1 more",
                "0x14: 01, 1 more",
                "0x42: 07",
            ],
        ),
    ):
        shown = run_winipc("cassette", "show", str(path), *options).stdout.decode()
        assert [line.rpartition("  ")[2] for line in shown.splitlines()] == texts
    rows = run_winipc("cassette", "show", str(path), "--json").stdout.splitlines()
    assert json.loads(rows[2])["changes"] == [[0, "AwQ="], [15, "BQ=="]]


@pytest.mark.parametrize(
    "head",
    [
        struct.pack("<4sHHQ", b"WPIM", 2, 64, 16),
        struct.pack("<4sHHQ", b"WPIM", 1, 63, 16),
        struct.pack("<4sHHQ", b"WPIM", 1, 128, 16),
        struct.pack("<4sHHQ", b"wpim", 1, 64, 16),
        b"WPIM",
    ],
)
def test_what_only_looks_like_a_header_is_data(
    unique_name: str, tmp_path: Path, head: bytes
) -> None:
    path = tmp_path / "file.wipc"
    write(path, unique_name, head.ljust(128, b"\7"))
    [(_, (first,))] = Cassette(path).records("4s")
    assert first == head[:4]
    write(tmp_path / "short.wipc", unique_name, head[:8])
    assert len(list(Cassette(tmp_path / "short.wipc").records("4s"))) == 1
