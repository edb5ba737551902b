"""A cassette in a notebook: lanes over the time."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from test_jupyter import HOSTILE, Page, page

import winipc.jupyter as wj
from winipc import Cassette, ChangeEvent, Layout, MessageEvent, StateEvent, Track
from winipc.cassette.file import Writer
from winipc.views import cassettes

STATE = Layout.of("state", "speed:f gear:i")


@pytest.fixture
def cassette(tmp_path: Path) -> Cassette:
    path = tmp_path / "file.wipc"
    tracks = [
        Track("mapping", "memory", size=64),
        Track("event", "changed", manual=True),
        Track("window", HOSTILE[:-1]),
    ]
    with Writer(path, tracks) as writer:
        for n in range(5):
            change = ChangeEvent(n * 10**8, 0, ((0, STATE.pack(speed=n, gear=2)),))
            writer.add(change, stamp=False)
            writer.add(StateEvent(n * 10**8, 1, n % 2), stamp=False)
            event = MessageEvent(n * 10**8, 2, id=n, data=b"<b>hello", answer=n)
            writer.add(event, stamp=False)
        writer.add(MessageEvent(10**9, 2, "out", data=b"bye"), stamp=False)
        writer.close(2 * 10**9)
    return Cassette(path)


def test_a_cassette_shows_lanes_with_its_events(cassette: Cassette) -> None:
    """Words and bytes of each, the kinds in a legend, and nothing of it is HTML."""
    shown = page(cassette)
    assert "2.000 s, 16 events" in shown.text
    assert "mapping memory" in shown.text
    assert "3c 62 3e 68 65 6c 6c 6f" in shown.text
    assert "is set" in shown.text
    assert "a message from it" in shown.text
    assert shown.tags.count("details") == 16
    assert "script" not in shown.tags
    assert "b" in shown.tags
    assert any("id=0x3" in title for title in shown.titles)


def test_layouts_name_the_values(cassette: Cassette) -> None:
    text = Page(wj.lanes(cassette, {"memory": STATE}).html()).text
    assert "speed" in text
    assert "gear" in text
    assert "f32" in text
    assert "gear=2" in text
    of_gear = Layout.of("gear", "gear:i32")
    text = Page(wj.lanes(cassette, {"memory": of_gear}, offset=4).html()).text
    assert "gear(gear=2)" in text
    assert isinstance(wj.view_of(cassette, width=500), wj.Lanes)
    with pytest.raises(ValueError, match="width"):
        wj.lanes(cassette, width=5)


def test_values_begin_behind_a_header(tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    head = struct.pack("<4sHHQ48x", b"WPIM", 1, 64, 16)
    memory = head + STATE.pack(speed=3, gear=2)
    with Writer(path, [Track("mapping", "memory", size=4096)]) as writer:
        writer.add(ChangeEvent(0, 0, ((0, memory),)), stamp=False)
    shown = Page(wj.lanes(Cassette(path), {"memory": STATE}).html()).text
    assert "speed=3.0, gear=2" in shown
    assert "WPIM" not in shown
    options = {"offset": 64, "raw": True}
    raw = Page(wj.lanes(Cassette(path), {"memory": STATE}, **options).html()).text
    assert "speed=3.0, gear=2" in raw
    assert "WPIM" in raw


def test_many_events_are_few_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture is bounded, however much is in the file."""
    monkeypatch.setattr(cassettes, "_MOST_DATA", 1 << 20)
    path = tmp_path / "file.wipc"
    with Writer(path, [Track("mapping", "memory", size=4096)]) as writer:
        for n in range(2000):
            change = ChangeEvent(n, 0, ((0, n.to_bytes(4, "little") * 150),))
            writer.add(change, stamp=False)
        writer.close(2000)
    html = wj.lanes(Cassette(path)).html()
    assert len(html) < 3_000_000
    assert 100 < html.count("<details") <= 400
    assert "only the first events are shown" in html


def test_a_damaged_cassette_says_so(cassette: Cassette) -> None:
    path = Path(cassette.path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert "ends early" in page(cassette).text
    path.write_bytes(whole + b"x" * 40)
    assert "CassetteError" in page(Cassette(path)).text
    path.unlink()
    assert "FileNotFoundError" in page(cassette).text
