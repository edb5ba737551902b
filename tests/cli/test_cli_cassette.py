"""`winipc cassette`: record a program, look at the file, and be the program."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DEADLINE, Peer, c_peer_path
from test_cli import run_winipc
from test_cli_memory import failure

import winipc
from winipc import Cassette, ChangeEvent, MessageEvent, StateEvent, Track, cli
from winipc.cassette.file import Writer
from winipc.cassette.player import Player

StartPeer = Callable[..., Peer]
WM_CLOSE = 0x10


@pytest.fixture
def player(unique_name: str) -> tuple[str, str, str]:
    """A C program, its window's class, and what it tells."""
    return str(c_peer_path("player_double.exe")), unique_name, f"{unique_name}-told"


def remote(start_peer: StartPeer, player: tuple[str, str, str]) -> list[str]:
    """What a client in C gets from the program."""
    orders = (
        *("open C:\\song.mp3", "ask 104", "command 40045", "ask 104", "ask 105"),
        *("ask 105", "command 40046", "ask 104", "ask 122 30", "open " + 290 * "x"),
    )
    peer = start_peer("player_remote.exe", *player[1:])
    found = []
    for order in orders:
        peer.say(order[:250])
        found.append(peer.read_line())
    peer.kill()
    return found


def test_a_program_is_recorded_shown_and_played(
    start_winipc: StartPeer,
    start_peer: StartPeer,
    player: tuple[str, str, str],
    tmp_path: Path,
) -> None:
    """A media player in C and a remote in C, which gets the same from the double."""
    path = tmp_path / "player.wipc"
    options = ["--window-class", player[1], "--message", "0x400", "--message", "0x111"]
    recorder = start_winipc(
        *("cassette", "record", path, *options, "--broadcast", player[2], "--json"),
        *("--", *player),
    )
    recorder.wait_for_stderr("recording")
    real = remote(start_peer, player)
    assert real == ["1", "0", "told 1", "1", "1000", "2000", "told 3", "3", "30", "1"]
    assert len(winipc.find_windows(class_name=player[1])) == 2
    winipc.post_message((None, player[1]), WM_CLOSE)
    line = next(line for line in iter(recorder.read_line, "") if line[:1] == "{")
    assert json.loads(line)["events"] == 12
    assert recorder.finish() == 0
    shown = run_winipc("cassette", "show", str(path)).stdout.decode().splitlines()
    assert len(shown) == 12
    assert "<- id=0x64 b'C:\\\\song.mp3\\x00' = 1 (" in shown[0]
    assert "<- 0x400 0x1e 0x7a = 30 (" in "".join(shown)
    assert "<- 0x111 0x9c6d 0x0 (posted)" in "".join(shown)
    rows = [
        json.loads(row)
        for row in run_winipc(
            "cassette", "show", str(path), "--json"
        ).stdout.splitlines()
    ]
    assert {row["kind"] for row in rows} == {"window", "broadcast"}
    assert [
        row["answer"] for row in rows if row["message"] == 0x400 and "answer" in row
    ]
    double = start_winipc("cassette", "play", path, "--json")
    double.wait_for_stderr("playing")
    again = start_peer("player_remote.exe", *player[1:])
    for order, answer in (
        ("open C:\\song.mp3", "1"),
        ("ask 104", "0"),
        ("ask 104", "1"),
    ):
        again.say(order)
        assert again.read_line() == answer
    double.kill()


def test_a_program_that_answers_to_its_sender_is_recorded_and_closed(
    start_winipc: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """Without an option; the end of the program ends the recording."""
    program, path = str(c_peer_path("clock_double.exe")), tmp_path / "clock.wipc"
    words = ("cassette", "record", path, "--window", unique_name)
    recorder = start_winipc(*words, "--", program, unique_name)
    recorder.wait_for_stderr("recording")
    assert winipc.call(unique_name, b"", id=2, reply_id=3) == b"tick 1"
    run_winipc("post", unique_name, f"{WM_CLOSE:#x}")
    assert recorder.finish() == 0
    with Cassette.play(path):
        assert winipc.call(unique_name, b"", id=2, reply_id=3) == b"tick 1"
    words = ("cassette", "record", tmp_path / "2.wipc", "--window", unique_name)
    recorder = start_winipc(*words, "--replies", "none", "--", program, unique_name)
    recorder.wait_for_stderr("recording")
    with pytest.raises(TimeoutError):
        winipc.call(unique_name, b"", id=2, reply_id=3, timeout=0.1)
    run_winipc("post", unique_name, f"{WM_CLOSE:#x}")
    assert recorder.finish() == 0
    assert len(list(Cassette(tmp_path / "2.wipc"))) == 1
    assert not any("nothing came" in line for line in recorder.stderr)


def test_a_recording_of_nothing_says_so(
    start_winipc: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """A client found the window before the recorder stood before it."""
    program = str(c_peer_path("clock_double.exe"))
    words = ("cassette", "record", tmp_path / "file.wipc", "--window", unique_name)
    recorder = start_winipc(*words, "--", program, unique_name)
    recorder.wait_for_stderr("recording")
    windows = winipc.find_windows(unique_name)
    [real] = [window for window in windows if window.pid != recorder.pid]
    assert winipc.call(real.hwnd, b"", id=2, reply_id=3) == b"tick 1"
    winipc.post_message(real.hwnd, WM_CLOSE)
    assert recorder.finish() == 0
    assert "nothing came; who found the window before" in recorder.stderr[-1]


def test_show_has_values_and_says_what_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    tracks = [
        Track("mapping", "memory", size=64),
        Track("event", "s\x1b[2Jet", manual=True),
        Track("semaphore", "count", maximum=9),
        Track("window", "window"),
    ]
    with Writer(path, tracks) as writer:
        writer.add(ChangeEvent(0, 0), stamp=False)
        change = ChangeEvent(
            10**9, 0, ((0, b"\0\0\x80\x3f"), (4, b"\7"), (20, b"x" * 20))
        )
        writer.add(change, stamp=False)
        writer.add(StateEvent(2 * 10**9, 1, 1), stamp=False)
        writer.add(StateEvent(2 * 10**9, 2, 5), stamp=False)
        for data in (b"\1\0\0\0", b"\1"):
            writer.add(MessageEvent(3 * 10**9, 3, id=9, data=data), stamp=False)
        writer._flush()
        writer._file.close()
    done = run_winipc("cassette", "show", str(path))
    assert b"ends early" in done.stderr
    lines = [line[14:] for line in done.stdout.decode().splitlines()]
    assert lines == [
        "memory  all zeros",
        "memory  0x0: 00 00 80 3f, 2 more",
        r"s\x1b[2Jet  is set",
        "count  counts 5",
        "window  <- id=0x9 b'\\x01\\x00\\x00\\x00' = 0 (0.0 ms)",
        "window  <- id=0x9 b'\\x01' = 0 (0.0 ms)",
    ]
    structs = ("--struct", "memory=speed:f gear:i", "--struct", "window=<I")
    text = run_winipc("cassette", "show", str(path), *structs).stdout.decode()
    assert "memory  speed=1 gear=7" in text
    assert "window  <- id=0x9 1 = 0" in text
    assert "window  <- id=0x9 b'\\x01' = 0" in text
    inside = ("--struct", "memory=gear:i32", "--offset")
    text = run_winipc("cassette", "show", str(path), *inside, "4").stdout.decode()
    assert "memory  gear=7" in text
    text = run_winipc("cassette", "show", str(path), *inside, "22").stdout.decode()
    assert f"memory  gear={0x78787878}" in text
    assert "do not fit in the 64" in failure(
        "cassette", "show", str(path), *inside, "61"
    )
    rows = run_winipc("cassette", "show", str(path), *structs, "--json").stdout
    values = [json.loads(row).get("value") for row in rows.splitlines()]
    assert values[1] == {"speed": 1.0, "gear": 7}
    assert values[4:] == [[1], None]
    for words, text in (
        (
            ("cassette", "show", str(path), "--struct", "speed:f"),
            "such as --struct memory=...: the tracks are ['memory', 'window']",
        ),
        (
            ("cassette", "show", str(path), "--struct", "x=<I"),
            "no track is called 'x': the tracks are ['memory', 'window']",
        ),
        (
            ("cassette", "play", str(path), "--name", "typo=x"),
            "nothing called ['typo']; there is ",
        ),
        (
            ("cassette", "play", str(path), "--name", "other"),
            "such as --name memory=...: the tracks are ['memory', ",
        ),
        (
            ("replay", str(path), "--name", "other"),
            "such as winipc cassette play --name memory=...: the tracks are ['memory'",
        ),
        (("replay", str(path), "--offset", "4"), "only --csv has --offset and --raw"),
    ):
        done = run_winipc(*words, check=False)
        assert done.returncode == 2
        assert text in done.stderr.decode()


def test_csv_is_for_one_mapping(tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    with Writer(path, [Track("mapping", name, size=4) for name in "ab"]):
        pass
    done = run_winipc("replay", str(path), "--csv", "--struct", "i32", check=False)
    assert done.returncode == 2
    assert "of one mapping, not of ['a', 'b']: winipc cassette" in done.stderr.decode()


def test_the_only_track_needs_no_name(unique_name: str, tmp_path: Path) -> None:
    """The only one that has values; and the only one of all that gets another name."""
    path = str(tmp_path / "file.wipc")
    for tracks in (
        [Track("mapping", "memory", size=4)],
        [Track("mapping", "memory", size=4), Track("event", "set")],
    ):
        with Writer(Path(path), tracks) as writer:
            writer.add(ChangeEvent(0, 0, ((0, b"\7"),)), stamp=False)
        shown = run_winipc("cassette", "show", path, "--struct", "gear:i32").stdout
        assert shown.split()[1:] == [b"memory", b"gear=7"]
        if len(tracks) == 1:
            options = ("--name", unique_name, "--speed=0", "--json")
            played = run_winipc("cassette", "play", path, *options).stdout
            assert json.loads(played)["events"] == 1
        Path(path).unlink()


def test_bad_words_are_said(unique_name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "file.wipc")
    error = failure("cassette", "record", path, "--mapping", unique_name, "--timeout=0")
    assert unique_name in error
    waits = ("record", path, "--event", unique_name, "--timeout=0.1")
    lines = run_winipc("cassette", *waits, check=False).stderr.decode().splitlines()
    assert lines[0] == f"waiting up to 0.1 s for '{unique_name}'"
    assert len(lines) == 2
    assert lines[1].endswith("(not there within 0.1 s) (OpenEventW, WinError 2)")
    program = ("--", sys.executable, "-c", "input()")
    lines = run_winipc("cassette", *waits, *program, check=False).stderr.decode()
    assert lines.startswith(f"waiting up to 0.1 s for '{unique_name}'")
    assert "(not there within 0.1 s) (" in lines
    error = failure("cassette", "record", path, "--event=x", "--", "no such program")
    assert "no such program" in error
    folder = str(tmp_path / "none" / "file.wipc")
    with winipc.Event.create(unique_name, manual=True):
        assert "none" in failure("cassette", "record", folder, "--event", unique_name)
    with winipc.CopyDataWindow.create(unique_name):
        window = ("--window", unique_name, "--replies=foo")
        assert "foo" in failure("cassette", "record", path, *window)
    done = run_winipc("cassette", "record", path, "--no-such", "x", check=False)
    assert done.returncode == 2
    assert b"unrecognized arguments: --no-such" in done.stderr
    done = run_winipc("ls", "--", "--x", "y", check=False)
    assert done.returncode == 2
    assert not Path(path).exists()


def test_a_program_that_ends_too_early_is_said(
    unique_name: str, tmp_path: Path
) -> None:
    """At once, and not when the time for it is over."""
    path = str(tmp_path / "file.wipc")
    words = ("cassette", "record", path, "--window", unique_name, "--timeout", "3600")
    done = run_winipc(*words, "--", sys.executable, "-c", "", check=False)
    assert done.returncode == 1
    waits, error = done.stderr.decode().splitlines()
    window = f"window with title '{unique_name}'"
    assert waits == f"waiting up to 3600 s for a {window}"
    assert f"no {window}" in error
    assert "the program has ended" in error
    assert not Path(path).exists()


def test_a_program_that_fails_is_said(
    start_winipc: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "file.wipc")
    script = (
        "import sys, winipc\n"
        f"with winipc.SharedMapping.create({unique_name!r}, 4):\n"
        "    sys.stdin.read()\n"
        "sys.exit(7)\n"
    )
    words = ("cassette", "record", path, "--mapping", unique_name)
    recorder = start_winipc(*words, "--", sys.executable, "-c", script)
    recorder.wait_for_stderr("recording")
    assert recorder.finish() == 0  # and so does the program's input
    recorder.wait_for_stderr("ended with status 0x7")
    assert Cassette(path).complete
    # A file that is there already is said before the program starts.
    done = run_winipc(
        *words, "--", sys.executable, "-c", "print('started')", check=False
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"there is such a file" in done.stderr
    assert b"(name another file, or delete it first)" in done.stderr


def test_a_program_lives_longer_than_its_recording(
    player: tuple[str, str, str], tmp_path: Path
) -> None:
    words = ("--window-class", player[1], "--seconds", "0.1", "--", *player)
    record = ("-m", "winipc", "cassette", "record", str(tmp_path / "file.wipc"))
    with Peer([sys.executable, *record, *words], launcher=True) as recorder:
        assert recorder.wait(DEADLINE) == 0
        assert len(winipc.find_windows(class_name=player[1])) == 1


@pytest.mark.parametrize("kind", ["window", "exchange"])
def test_a_double_with_a_window_answers_until_ctrl_c(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    unique_name: str,
    tmp_path: Path,
) -> None:
    """It goes on after the end of the recording."""
    path = tmp_path / "file.wipc"
    other, via = f"{unique_name}-other", None
    track = Track(kind, unique_name)
    if kind == "exchange":
        track, via = replace(track, mapping=f"{unique_name}-memory"), "copydata"
    with Writer(path, [track]) as writer:
        event = MessageEvent(0, 0, data=b"hello", answer=7, via=via)
        writer.add(event, stamp=False)

    def idle(player: Player, timeout: float) -> None:
        assert player.finished
        assert winipc.send_copydata(other, b"hello") == 7
        assert winipc.send_copydata(other, b"jello", check=False) == 0
        raise KeyboardInterrupt

    monkeypatch.setattr(Player, "idle", idle)
    words = ["cassette", "play", str(path), "--name", f"{unique_name}={other}"]
    assert cli.main(words) == 1
    out, error = capsys.readouterr()
    assert out == "0 events played, 1 message answered, 0 not asked for\n"
    assert f"an unexpected message came to '{other}'" in error
    assert "all recorded ones were played" in error
