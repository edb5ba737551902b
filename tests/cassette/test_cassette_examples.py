"""Three programs in C, recorded once, and played for clients that cannot tell."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import DEADLINE, Peer
from test_cassette_memory import until

import winipc
from winipc import Cassette, StateEvent, Track

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import everything

StartPeer = Callable[..., Peer]
TAPES = Path(__file__).parent / "tapes"
WM_CLOSE = 0x10


def test_a_search_tool(start_peer: StartPeer, unique_name: str, tmp_path: Path) -> None:
    """Queries that name the window to answer to in their data, by C and by Python."""

    def converse() -> list[object]:
        found: list[object] = []
        for id in (2, 3, 2):
            found.append(
                start_peer("asking.exe", "search", unique_name, id).read_line()
            )
        for text, most in (("file", 100), ("fi", 2), ("nothing", 5)):
            found.append(everything.search(text, most=most, window_class=unique_name))
        return found

    path = tmp_path / "search.wipc"
    peer = start_peer("search_double.exe", unique_name)
    peer.expect("ready")
    real = converse()
    assert real[:3] == ["1 7", "0", "1 7"]
    assert [
        item.name for item in everything.search("file", window_class=unique_name)
    ] == [
        "file a",
        "file b",
        "file c",
    ]
    track = Track("window", class_name=unique_name, replies=0)
    with Cassette.record(path, windows=[track]) as recorder:
        assert converse() == real
        until(lambda: recorder.events == 11)
    window = winipc.find_window(class_name=unique_name)
    assert window is not None
    winipc.post_message(window, WM_CLOSE)
    assert peer.finish() == 0
    for _ in range(2):
        with Cassette.play(path) as player:
            assert converse() == real
            assert player.wait(DEADLINE)
            assert player.unplayed() == []


def test_a_media_player(
    start_peer: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """A remote that sends and posts, and waits for what the player tells everybody."""
    told = f"{unique_name}-told"
    orders = (
        *("ask 104", "open C:\\a song.mp3", "command 40045", "ask 104", "ask 105"),
        *("ask 105", "command 40046", "ask 104", "ask 122 30", "command 40047"),
    )

    def converse() -> list[str]:
        remote = start_peer("player_remote.exe", unique_name, told)
        found = []
        for order in orders:
            remote.say(order)
            found.append(remote.read_line())
        return found

    def answers(player: winipc.cassette.player.Player) -> list[str]:
        """What it tells unasked comes in steps, in answer to what is posted."""
        remote = start_peer("player_remote.exe", unique_name, told)
        found = []
        for order in orders:
            before = player.played
            remote.say(order)
            if order.startswith("command"):
                until(lambda before=before: player.played > before)
                player.step()
            found.append(remote.read_line())
        return found

    path = tmp_path / "player.wipc"
    peer = start_peer("player_double.exe", unique_name, told)
    peer.expect("ready")
    track = Track("window", class_name=unique_name, messages=(0x400, 0x111))
    with Cassette.record(path, windows=[track], broadcasts=[told]) as recorder:
        real = converse()
        # The remote may hear of the last command before the recorder does.
        until(lambda: recorder.events == len(orders) + 3)
    assert real == [
        "0",
        "1",
        "told 1",
        "1",
        "1000",
        "2000",
        "told 3",
        "3",
        "30",
        "told 0",
    ]
    window = winipc.find_window(class_name=unique_name)
    assert window is not None
    winipc.post_message(window, WM_CLOSE)
    assert peer.finish() == 0
    with Cassette.play(path, speed=None) as player:
        assert answers(player) == real
        assert player.unplayed() == []


def test_telemetry(start_peer: StartPeer, unique_name: str, tmp_path: Path) -> None:
    """The same records, each with its event, at the pace at which they were written."""
    count = 30
    path = tmp_path / "telemetry.wipc"
    reader = "telemetry_double.exe", "read", unique_name, count
    writer = start_peer("telemetry_double.exe", "write", unique_name)
    writer.expect("ready")
    live = start_peer(*reader)
    live.expect("ready")
    real = []
    names = {"mappings": [unique_name], "on": f"{unique_name}-set"}
    with Cassette.record(path, **names) as recorder:
        for number in range(count):
            events = recorder.events
            writer.say("set")
            real.append(live.read_line().rpartition(" ")[0])
            until(lambda n=events + 2: recorder.events == n)
            time.sleep(0.03)
            if number + 1 < count:  # the last one stays: a reader may be late
                writer.say("reset")
                until(lambda n=events + 3: recorder.events == n)
                time.sleep(0.03)
    assert writer.finish() == live.finish() == 0
    assert real[:2] == ["1 1.5 1", "2 3.0 2"]
    cassette = Cassette(path)
    layout = "sequence:I speed:f gear:i track:20s"
    records = list(cassette.records(layout))
    assert [record.sequence for _, record in records] == list(range(count + 1))
    assert records[-1][1].track == "Monza"
    sets = [e.time_ns / 1e6 for e in cassette if isinstance(e, StateEvent) and e.state]
    off = []
    for _ in range(10):  # a reader that does not run in time misses records
        with Cassette.play(cassette) as player:
            player.freeze()
            player.seek(0)
            playing = start_peer(*reader)
            playing.expect("ready")
            player.resume()
            assert playing.finish() == 0
        rows = [row.strip().rpartition(" ") for row in playing.stdout[1:]]
        assert {row[0] for row in rows} <= set(real)
        assert rows[-1][0] == real[-1]
        if len(rows) == count:
            times = zip((float(row[2]) for row in rows), sets, strict=True)
            apart = sorted(abs(at - (was - sets[0])) for at, was in times)
            off.append(apart[count * 8 // 10])
            if off[-1] < 20:
                break
    assert min(off) < 20


@pytest.mark.parametrize("version", [1])
def test_a_cassette_of_each_version_is_read(version: int, unique_name: str) -> None:
    """One that was recorded when the version was new: it stays readable."""
    cassette = Cassette(TAPES / f"version{version}.wipc")
    assert cassette.complete
    assert [track.kind for track in cassette.tracks] == ["window"]
    (track,) = cassette.tracks
    names = {track.class_name or "": unique_name}
    with Cassette.play(cassette, names=names) as player:
        found = everything.search("file", most=100, window_class=unique_name)
        assert [item.name for item in found] == ["file a", "file b", "file c"]
        assert player.unplayed() == []
