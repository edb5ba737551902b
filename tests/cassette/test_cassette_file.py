"""The file of a cassette: what is written is read, cut off and damaged ones too."""

from __future__ import annotations

import base64
import errno
import gzip
import json
import random
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from fuzz.fuzz_cassette import mutated
from hypothesis import given
from hypothesis import strategies as st

import winipc
from winipc import Cassette, CassetteError, ChangeEvent, MessageEvent, StateEvent, Track
from winipc.cassette.events import EVENTS, CassetteEvent
from winipc.cassette.file import Reader, Writer

TRACKS = (
    Track("mapping", "memory ä", size=64),
    Track("event", "set", manual=True),
    Track("semaphore", "count", maximum=7),
    Track("window", "title", class_name="Class", messages=("a name", 0x8001)),
    Track("client", "other", replies=None),
)

SMALL = (
    ChangeEvent(0, 0, ((0, b"abc"), (60, b"defg"))),
    StateEvent(0, 1, 1),
    StateEvent(5, 2, 7),
    MessageEvent(9, 3, id=-1, data=b"\0data", wparam=0x10024, answer=-5, took_ns=4),
    MessageEvent(9, 3, message="a name", wparam=1, lparam=2, posted=True, number=1),
    MessageEvent(12, 4, "out", data=b"told", to=1),
    ChangeEvent(13, 0, ((8, b"x"),)),
)


def write(
    path: Path,
    events: tuple[CassetteEvent, ...] = SMALL,
    *,
    member: int = 3,
    end: bool = True,
) -> bytes:
    """A cassette with these events, `member` of them in each member."""
    with Writer(path, TRACKS) as writer:
        for i, event in enumerate(events):
            writer.add(event, stamp=False)
            if i % member == member - 1:
                writer._flush()
        writer._flush()
        if not end:
            writer._file.close()
        writer.close(20)
    return path.read_bytes()


def read(path: Path) -> list[CassetteEvent]:
    """All events, joined where one is in several parts."""
    return list(Cassette(path))


data = st.binary(max_size=80)
number = st.integers(-(1 << 63), (1 << 64) - 1)
messages = st.builds(
    MessageEvent,
    time_ns=st.just(0),
    track=st.just(3),
    way=st.sampled_from(["in", "out"]),
    message=st.integers(1, 0xFFFF) | st.sampled_from(["a name", "ü"]),
    id=number,
    data=data,
    wparam=number,
    lparam=number,
    posted=st.booleans(),
    answer=number,
    number=st.integers(0, 1 << 40),
    to=st.none() | st.integers(0, 9),
    via=st.none() | st.just("mapping"),
)
changes = st.binary(min_size=64, max_size=64).map(
    lambda new: ChangeEvent(
        0,
        0,
        tuple(winipc._core._changes(bytes(64), new, 2)),
    )
)
states = st.integers(0, 7).map(lambda n: StateEvent(0, 2, n))


@given(st.lists(messages | changes | states, max_size=8), st.integers(1, 4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, events: list[CassetteEvent], member: int
) -> None:
    """Every field of every event, and the tracks."""
    path = tmp_path_factory.mktemp("cassette") / "file.wipc"
    write(path, tuple(events), member=member)
    cassette = Cassette(path)
    assert cassette.tracks == TRACKS
    assert list(cassette) == events
    assert (cassette.complete, cassette.duration_ns) == (True, 20)


def test_a_file_is_read_without_winipc(tmp_path: Path) -> None:
    """As docs/cassettes.md says: gzip, lines of JSON, base64."""
    path = tmp_path / "file.wipc"
    write(path)
    head, *rows = map(json.loads, gzip.decompress(path.read_bytes()).splitlines())
    assert head["winipc_cassette"] == 1
    assert head["tracks"][0] == {"kind": "mapping", "name": "memory ä", "size": 64}
    assert [row["t"] for row in rows] == [0, 0, 5, 9, 9, 12, 13, 20]
    offset, text = rows[0]["changes"][1]
    assert (offset, base64.b64decode(text)) == (60, b"defg")
    assert rows[-1] == {"t": 20, "end": True, "events": 7}


def test_a_file_cut_off_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    """At every byte: the first events, never another or a half; complete only whole."""
    path = tmp_path / "file.wipc"
    whole = write(path, member=2)
    counts = set()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        try:
            cassette = Cassette(path)
        except CassetteError:
            assert not counts, "the head was whole before"
            continue
        found = list(cassette)
        assert found == list(SMALL[: len(found)])
        assert cassette.complete == (length == len(whole))
        counts.add(len(found))
    assert counts == set(range(len(SMALL) + 1))


def test_a_killed_recorder_leaves_whole_members(tmp_path: Path) -> None:
    """TerminateProcess between two members loses what was not due, and nothing else."""
    path = tmp_path / "file.wipc"
    script = (
        "import os, sys, time\n"
        "from winipc.cassette import ChangeEvent, Track\n"
        "from winipc.cassette.file import Writer\n"
        "writer = Writer(sys.argv[1], [Track('mapping', 'm', size=8)])\n"
        "for n in range(10):\n"
        "    writer.add(ChangeEvent(0, 0, ((0, bytes([n])),)))\n"
        "time.sleep(0.6)\n"
        "writer.add(ChangeEvent(0, 0, ((0, b'x'),)))\n"
        "writer.add(ChangeEvent(0, 0, ((0, b'y'),)))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, path], check=False, timeout=60)
    assert done.returncode != 0
    events = read(path)
    assert [event.changes[0][1] for event in events if isinstance(event, ChangeEvent)][
        :11
    ] == [*(bytes([n]) for n in range(10)), b"x"]
    assert not Cassette(path).complete


def lines(*rows: object, head: dict[str, Any] | None = None) -> bytes:
    """A file of these lines."""
    first = {
        "winipc_cassette": 1,
        "made": "2026-01-01T00:00:00+00:00",
        "tracks": [track.line() for track in TRACKS],
        **(head or {}),
    }
    texts = [row if isinstance(row, str) else json.dumps(row) for row in (first, *rows)]
    return gzip.compress("".join(text + "\n" for text in texts).encode())


ODD = [None, True, -1, 1.5, 1 << 70, "text", "a\0b", [], {}, [[]], "é", "=", "out"]

EVENTS_OF_FILE: list[dict[str, Any]] = [
    {"t": 1, "track": 0, "changes": [[0, "YWJj"]], "more": False},
    {"t": 1, "track": 1, "state": 1},
    {
        **{"t": 9, "track": 3, "way": "in", "message": 74, "id": 1, "data": "YWJj"},
        **{"wparam": 1, "lparam": 1, "posted": False, "answer": 1, "took": 1},
        **{"number": 0, "to": 0, "via": "x"},
    },
]


@pytest.mark.parametrize("row", EVENTS_OF_FILE, ids=["change", "state", "message"])
def test_every_field_that_is_odd_is_an_error_or_harmless(
    tmp_path: Path, row: dict[str, Any]
) -> None:
    path = tmp_path / "file.wipc"
    path.write_bytes(lines(row))
    assert len(read(path)) == 1
    refused = 0
    for name in row:
        for odd in (
            *ODD,
            *([[0, odd]] for odd in ODD),
            *([[odd, "YQ=="]] for odd in ODD),
        ):
            path.write_bytes(lines({**row, name: odd}))
            try:
                for event in read(path):
                    check_types(event)
            except CassetteError:
                refused += 1
    assert refused > 20 * len(row)


def check_types(event: CassetteEvent) -> None:
    """What players rely on."""
    assert type(event.time_ns) is int
    track = TRACKS[event.track]
    assert type(event) is EVENTS[track.kind]
    if isinstance(event, ChangeEvent):
        for offset, changed in event.changes:
            assert 0 <= offset <= track.size - len(changed)
    elif isinstance(event, StateEvent):
        assert 0 <= event.state <= 7
    else:
        assert type(event.data) is bytes
        assert event.took_ns >= 0


@pytest.mark.parametrize(
    "head",
    [
        {"winipc_cassette": 2},
        {"winipc_cassette": "1"},
        {"made": 5},
        {"made": "yesterday"},
        {"tracks": None},
        {"tracks": [TRACKS[0].line()] * 300},
        *(
            {"tracks": [{"kind": "mapping", "name": "m", **odd}]}
            for odd in (
                {},
                {"size": 0},
                {"size": -1},
                {"size": 1 << 60},
                {"size": 1.5},
                {"size": 5, "name": "a\0b"},
                {"size": 5, "name": 5},
                {"size": 5, "kind": "file"},
                {"size": 5, "kind": []},
                {"size": 5, "messages": "abc"},
                {"size": 5, "messages": [0]},
                {"size": 5, "messages": [1] * 2000},
                {"size": 5, "replies": -4},
                {"size": 5, "replies": "lparam"},
                {"size": 5, "replies": "none"},
                {"kind": "semaphore"},
            )
        ),
    ],
    ids=lambda head: json.dumps(head)[:60],
)
def test_a_head_that_is_odd_is_an_error(tmp_path: Path, head: dict[str, Any]) -> None:
    path = tmp_path / "file.wipc"
    path.write_bytes(lines(head=head))
    with pytest.raises(CassetteError, match=r"file\.wipc"):
        Cassette(path)


@pytest.mark.parametrize(
    "rows",
    [
        [{"t": 5, "track": 1, "state": 1}, {"t": 4, "track": 1, "state": 0}],
        [{"t": 5, "track": 9, "state": 1}],
        [{"t": 5, "track": 0, "changes": [[62, "YWJj"]]}],
        [{"t": 5, "track": 0, "changes": [[9, "YQ=="], [8, "YQ=="]]}],
        [{"t": 5, "track": 2, "state": 8}],
        [{"t": 5, "end": True, "events": 1}],
        [{"t": 5, "end": True, "events": 0}, {"t": 5, "track": 1, "state": 1}],
        [{"t": 5, "track": 3, "more": True}, {"t": 5, "track": 1, "state": 1}],
        [{"t": 5, "track": 3, "more": True}, {"t": 5, "end": True, "events": 0}],
        ["[" * 100_000],
        ["5"],
        ["{"],
        ['{"t": ' + "9" * 5000 + "}"],
        ['"' + "x" * (2 << 20) + '"'],
    ],
    ids=lambda rows: str(rows)[:70],
)
def test_what_no_recorder_writes_is_an_error(tmp_path: Path, rows: list[Any]) -> None:
    path = tmp_path / "file.wipc"
    path.write_bytes(lines(*rows))
    with pytest.raises(CassetteError):
        read(path)


def test_a_file_of_something_else_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    unpacked, head = "it is not packed by gzip", "its first line is no head of one"
    packed = gzip.compress(b"hello\n")
    for content, what in (
        *((one, unpacked) for one in (b"", b"hello\n", b"WINIPCR1", b"PK\3\4")),
        *((one, head) for one in (b"\x1f\x8b", *map(gzip.compress, (b"", b"{}\n")))),
        (packed, "a line is no JSON"),
        (packed[:-8] + bytes(8), "the file is damaged"),
        (gzip.compress(b"[]\n"), "a line is no object of JSON"),
    ):
        path.write_bytes(content)
        with pytest.raises(CassetteError) as caught:
            Cassette(path)
        assert str(caught.value) == f"{str(path)!r}: this is no cassette: {what}"
    with pytest.raises(FileNotFoundError):
        Cassette(tmp_path / "nothing")


def test_a_bomb_takes_little_memory(tmp_path: Path) -> None:
    """A line without end, and data of a message without end: both stop early."""
    import tracemalloc

    def packed(piece: bytes, count: int) -> bytes:
        """So many pieces; what is packed after a full flush may be repeated."""
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        first, other = (
            packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2)
        )
        return first + other * (count - 1)

    piece = json.dumps({"t": 1, "track": 3, "data": "A" * 400_000, "more": True}) + "\n"
    path = tmp_path / "file.wipc"
    for content, most in (
        (packed(b"x" * (1 << 20), 200), 8 << 20),
        (packed(piece.encode(), 1000), 200 << 20),  # the 64 MiB that a message may have
    ):
        path.write_bytes(lines() + content)
        assert path.stat().st_size < 2 << 20
        tracemalloc.start()
        try:
            with pytest.raises(CassetteError):
                read(path)
            assert tracemalloc.get_traced_memory()[1] < most
        finally:
            tracemalloc.stop()


def test_large_events_are_in_several_lines(tmp_path: Path) -> None:
    """None is longer than readers take, and they are joined again."""
    path = tmp_path / "file.wipc"
    tracks = (Track("mapping", "m", size=4 << 20), Track("window", "w"))
    content = random.Random(5).randbytes(3 << 20)
    with Writer(path, tracks) as writer:
        writer.add(ChangeEvent(0, 0, ((9, content), (4 << 20, b""))))
        writer.add(MessageEvent(0, 1, data=content, answer=7))
    assert max(map(len, gzip.decompress(path.read_bytes()).split(b"\n"))) < 500_000
    cassette = Cassette(path)
    ((_, frame),) = cassette.frames()
    assert frame[9 : 9 + len(content)] == content
    *_, message = cassette
    assert isinstance(message, MessageEvent)
    assert (message.data, message.answer) == (content, 7)
    assert cassette.complete
    again = tmp_path / "again.wipc"
    with Writer(again, tracks) as writer:
        for event in cassette:
            writer.add(event, stamp=False)
    assert list(Cassette(again)) == list(cassette)
    assert Cassette(again).complete


class Slow:
    """A file that takes a few bytes at a time, and then none."""

    closed = False
    name = "slow"

    def __init__(self, room: int) -> None:
        self.data = bytearray()
        self.room = room

    def write(self, data: memoryview) -> int:
        part = bytes(data[: min(7, self.room - len(self.data))])
        self.data += part
        return len(part)


def test_short_writes_are_finished_or_an_error(tmp_path: Path) -> None:
    """A disk that takes a part gets the rest; one that is full is told."""
    path = tmp_path / "file.wipc"
    writer = Writer(path, TRACKS)
    real, slow = writer._file, Slow(1000)
    writer._file = slow  # type: ignore[assignment]
    writer.add(SMALL[0], stamp=False)
    writer._flush()
    writer.add(SMALL[1], stamp=False)
    slow.room = len(slow.data) + 20
    with pytest.raises(OSError, match="part was written") as caught:
        writer._flush()
    assert caught.value.errno == errno.ENOSPC
    real.write(slow.data[:-20])
    real.close()
    assert read(path) == [SMALL[0]]


def test_lines_wait_no_longer_than_half_a_second(tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    with Writer(path, TRACKS) as writer:
        writer.add(SMALL[1])
        assert read(path) == []
        deadline = time.monotonic() + 60
        while not read(path):
            assert time.monotonic() < deadline
            writer.flush_if_due()
        writer.add(MessageEvent(0, 3, data=bytes(300_000)))  # more than a member holds
        assert len(read(path)) == 2


def test_a_path_that_exists_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "file.wipc"
    path.write_text("something else")
    with pytest.raises(FileExistsError):
        Writer(path, TRACKS)
    assert path.read_text() == "something else"
    with pytest.raises(CassetteError):
        Writer(tmp_path / "other", [Track("mapping", "no size")])
    assert not (tmp_path / "other").exists()


@given(st.integers(0, 1 << 32))
def test_damaged_files_are_errors(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """Whatever the file says: events that keep their promises, or a CassetteError."""
    path = tmp_path_factory.mktemp("cassette") / "file.wipc"
    path.write_bytes(mutated(write(path), random.Random(seed)))
    try:
        with Reader(path) as reader:
            for event in reader:
                assert event.track < len(reader.tracks)
                if isinstance(event, ChangeEvent):
                    size = reader.tracks[event.track].size
                    assert all(at + len(part) <= size for at, part in event.changes)
    except CassetteError:
        pass
