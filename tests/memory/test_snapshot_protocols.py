"""Snapshot.foreign: the protocols of other programs, whose writer is one in C.

tests/memory/peers/record_writer.c says what it writes and where.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import DEADLINE, FULL, Peer, interrupted

import winipc.memory.snapshot
from winipc import (
    AbandonedError,
    Event,
    Layout,
    Mutex,
    NewestOf,
    SharedMapping,
    Snapshot,
)

#: Reads of each protocol that meet the writer.
READS = 1_000_000 if FULL else 25_000

AT = 65536
SIZE = 400
NEWEST = NewestOf(4, ticks=16, places=20, step=16, number=0)

#: What each protocol is told by.
TOLD: dict[str, dict[str, Any]] = {
    "seqlock": {"sequence": 0},
    "inside": {"sequence": AT + 16},
    "begin-end": {"sequence": 0, "end": 4},
    "double": {"sequence": 0, "second": AT + SIZE},
    "newest": {"newest": NEWEST},
    "counter": {"sequence": 0, "odd": False},
    "busy": {"busy": 0},
    "mutex": {},  # its name is that of the mapping
    "none": {},
}
protocols = pytest.mark.parametrize("protocol", TOLD)

#: Those that a writer which stops in the middle of a record deceives.
GUESSED = ("counter", "none")


@pytest.fixture
def mapping(unique_name: str) -> Iterator[SharedMapping]:
    with SharedMapping.create(unique_name, AT + 4 * SIZE) as mapping:
        yield mapping


def foreign(mapping: SharedMapping, protocol: str, **more: Any) -> Snapshot:
    told = TOLD[protocol] | more
    if protocol == "mutex":
        told["mutex"] = f"{mapping.name}.mutex"
    return Snapshot.foreign(mapping, SIZE, data=AT, **told)


def numbers_of(record: bytes, protocol: str) -> bytes:
    """The record without its sequence."""
    return record[:16] + record[20:] if protocol == "inside" else record


def is_whole(numbers: bytes) -> bool:
    return numbers == numbers[:4] * (len(numbers) // 4)


def slow_records(mapping: SharedMapping) -> set[int]:
    """Numbers of the records that took the writer longer than a reader waits.

    The last one is that which it was killed in.
    """
    count = mapping.get(128, "u32") + 1
    return set(struct.unpack(f"<{count}I", mapping.read(4 * count, 132)))


@protocols
def test_no_torn_record_is_ever_seen(
    mapping: SharedMapping, start_peer: Callable[..., Peer], protocol: str
) -> None:
    """A C writer hammers; every copy that is kept is whole.

    Where nothing tells the middle of a record, the writer rests between two, and
    notes which ones took it longer than the reader waits: it was interrupted there.
    """
    guessed = protocol in GUESSED
    reads = READS // 10 if guessed or protocol == "mutex" else READS
    settle = 0.0001
    peer = ["record_writer.exe", mapping.name, protocol, SIZE, "forever"]
    writer = start_peer(*peer, *([300, settle * 1e6] if guessed else []))
    writer.expect("ready")
    torn: list[set[int]] = []
    distinct = done = 0
    last = b""
    with foreign(mapping, protocol, settle=settle) as snapshot:
        while distinct < 100:
            for _ in range(reads):
                record = numbers_of(snapshot.read(60), protocol)
                if not is_whole(record):
                    torn.append(set(struct.unpack(f"<{SIZE // 4}I", record)))
                distinct += record != last
                last = record
            done += reads
        writer.kill()
    slow = slow_records(mapping)
    known = [numbers for numbers in torn if numbers & slow]
    print(
        f"{protocol}: {done:,} reads of {distinct:,} records; {len(torn)} torn, "
        f"{len(known)} by the {len(slow)} times that the writer was interrupted"
    )
    assert torn == known
    assert guessed or not torn


@protocols
def test_a_writer_at_rest_gives_its_last_record(
    mapping: SharedMapping, start_peer: Callable[..., Peer], protocol: str
) -> None:
    """However many there were; no time-out is needed for it."""
    writer = start_peer("record_writer.exe", mapping.name, protocol, SIZE, 1001)
    writer.expect("ready")
    writer.expect("rest")
    with foreign(mapping, protocol) as snapshot:
        for number in range(1001, 1010):
            record = numbers_of(snapshot.read(0.5), protocol)
            assert record == struct.pack("<I", number) * (len(record) // 4)
            writer.say("more")
            writer.expect("wrote")


@pytest.mark.parametrize("protocol", ["seqlock", "inside", "begin-end", "busy"])
def test_a_writer_that_died_in_the_middle_is_a_timeout(
    mapping: SharedMapping, start_peer: Callable[..., Peer], protocol: str
) -> None:
    """Never half a record, and never a hang."""
    writer = start_peer("record_writer.exe", mapping.name, protocol, SIZE, "middle")
    writer.expect("ready")
    writer.expect("middle")
    with foreign(mapping, protocol) as snapshot:
        for alive in (True, False):
            with pytest.raises(TimeoutError, match="middle of the record") as caught:
                snapshot.read(0.05)
            assert caught.value.winerror == 1460
            if alive:
                writer.kill()


@pytest.mark.parametrize("protocol", ["newest", "double"])
def test_a_dead_writer_of_buffers_leaves_the_record_before(
    mapping: SharedMapping, start_peer: Callable[..., Peer], protocol: str
) -> None:
    """It died in the oldest buffer, which is not the newest."""
    writer = start_peer("record_writer.exe", mapping.name, protocol, SIZE, "middle")
    writer.expect("ready")
    writer.expect("middle")
    writer.kill()
    with foreign(mapping, protocol) as snapshot:
        assert snapshot.read() == struct.pack("<I", 3) * (SIZE // 4)
        assert snapshot.sequence == 3


def test_a_dead_owner_of_the_mutex_is_told_once(
    mapping: SharedMapping, start_peer: Callable[..., Peer]
) -> None:
    """Held, then abandoned, then free: the mutex is not kept by the reader."""
    writer = start_peer("record_writer.exe", mapping.name, "mutex", SIZE, "middle")
    writer.expect("ready")
    writer.expect("middle")
    with foreign(mapping, "mutex") as snapshot:
        with pytest.raises(TimeoutError, match="mutex of the record"):
            snapshot.read(0.05)
        # It outlives the writer.
        with contextlib.closing(Mutex.open(f"{mapping.name}.mutex")) as mutex:
            writer.kill()
            with pytest.raises(AbandonedError):
                snapshot.read(60)
            assert not is_whole(snapshot.read())  # the half record, as announced
            assert not mutex.held


def test_a_mutex_lets_ctrl_c_in(unique_name: str) -> None:
    """Held by another thread, for ever."""
    with (
        contextlib.closing(Mutex.create(unique_name)) as mutex,
        Snapshot.foreign(bytearray(8), 8, mutex=mutex) as snapshot,
    ):
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with mutex:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        try:
            interrupted(lambda: snapshot.read(None))
        finally:
            done.set()
            thread.join()
        assert snapshot.read() == bytes(8)


# ------------------------------------------------------------------- changes


@protocols
def test_changes_are_waited_for(
    mapping: SharedMapping, start_peer: Callable[..., Peer], protocol: str
) -> None:
    """In a thread and in a task: each record once, and none twice."""
    writer = start_peer("record_writer.exe", mapping.name, protocol, SIZE, 3)
    writer.expect("ready")
    writer.expect("rest")
    more = {"event": f"{mapping.name}.event"} if protocol == "newest" else {}
    with foreign(mapping, protocol, **more) as snapshot:

        async def by_task() -> None:
            assert not await snapshot.changed(0.02)
            waiting = asyncio.create_task(snapshot.changed(60))
            await asyncio.sleep(0)
            writer.say("more")
            assert await waiting

        assert snapshot.wait_changed(0)  # nothing was read yet
        assert snapshot.read()[:4] == struct.pack("<I", 3)
        assert not snapshot.wait_changed(0)
        assert not snapshot.wait_changed(0.02)
        writer.say("more")
        assert snapshot.wait_changed(60)
        writer.expect("wrote")
        assert snapshot.read()[:4] == struct.pack("<I", 4)
        asyncio.run(by_task())
        writer.expect("wrote")
        assert snapshot.read()[:4] == struct.pack("<I", 5)


def test_an_event_that_stays_set_is_no_news() -> None:
    """A manual-reset event that its writer never resets: it is looked at, no more."""

    class Counted(Snapshot):
        looks = 0

        def _is_new(self) -> bool:
            self.looks += 1
            return super()._is_new()

    with (
        Event.create(manual=True, initial=True) as event,
        Counted.foreign(bytearray(12), 8, sequence=8, event=event) as snapshot,
    ):
        snapshot.read()
        assert not snapshot.wait_changed(0.05, interval=60)
        assert not asyncio.run(snapshot.changed(0.05, interval=60))
        assert snapshot.looks <= 8
        snapshot.write(b"12345678")
        assert snapshot.wait_changed(0)
        snapshot.close()
        assert event.is_set()  # it is its maker's


def test_write_sets_the_event(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alone wakes a reader that does not look by itself.

    Each round may leave the signal of its record: the reader saw the record first.
    """
    monkeypatch.setattr(winipc.memory.snapshot, "_MISSED", 600)
    never: Any = None  # an error as soon as the reader sleeps by it
    with (
        SharedMapping.create(None, 4096) as mapping,
        Event.create(unique_name) as event,
        Snapshot.over(mapping, "i64", event=event) as writer,
        Snapshot.over(mapping, "i64", event=unique_name) as reader,
    ):
        reader.read()
        thread = threading.Thread(target=writer.write, args=(b"12345678",))
        thread.start()
        assert reader.wait_changed(DEADLINE, interval=never)
        thread.join()
        reader.read()
        event.set()

        async def by_task() -> None:
            waiting = asyncio.create_task(reader.changed(DEADLINE, interval=never))
            while event.is_set():  # until it took the old signal
                await asyncio.sleep(0)
            writer.write(b"87654321")
            assert await waiting

        asyncio.run(by_task())


def test_a_signal_that_another_reader_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is noticed late; from then on the reader looks by itself."""
    monkeypatch.setattr(winipc.memory.snapshot, "_MISSED", 0.03)
    waits: list[float] = []

    class Taken(Event):
        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0)
            writer.write(len(waits).to_bytes(8, "little"))
            return False

    memory = bytearray(32)
    with (
        Snapshot.over(memory, 8) as writer,
        contextlib.closing(Taken.create()) as event,
        Snapshot.over(memory, 8, event=event) as reader,
    ):
        for _ in range(3):
            reader.read()
            assert reader.wait_changed(DEADLINE, interval=0.001)
    assert waits == [0.03, 0.001, 0.001]


def test_an_event_by_name_is_closed_with_it(unique_name: str) -> None:
    with Event.create(unique_name):
        snapshot = Snapshot.foreign(bytearray(8), 8, event=unique_name)
        snapshot.close()
        snapshot.close()
    with pytest.raises(FileNotFoundError):
        Event.open(unique_name)
    with pytest.raises(FileNotFoundError):
        Snapshot.foreign(bytearray(8), 8, event=unique_name)
    with pytest.raises(FileNotFoundError):
        Snapshot.foreign(bytearray(8), 8, mutex=unique_name)


# -------------------------------------------------------------------- facts


def test_begin_and_end_that_differ_are_the_middle() -> None:
    """Whatever their parity, and wherever they lie; write() keeps to it."""
    memory = bytearray(16)
    with Snapshot.foreign(memory, 16, sequence=0, end=4) as snapshot:
        struct.pack_into("<II8s", memory, 0, 7, 7, b"12345678")
        assert snapshot.read() == bytes(memory)
        struct.pack_into("<I", memory, 0, 8)
        with pytest.raises(TimeoutError, match="middle of the record"):
            snapshot.read(0)
        snapshot.write(b"xxxxyyyyabcdefgh")
        assert bytes(memory) == struct.pack("<II8s", 8, 8, b"abcdefgh")
        struct.pack_into("<II", memory, 0, 2**32 - 1, 2**32 - 1)
        snapshot.write(bytes(16))
        assert (snapshot.sequence, snapshot.kind) == (0, "begin-end")


@pytest.mark.parametrize("told", [{}, {"sequence": 8, "odd": False}])
def test_a_record_that_keeps_changing_is_a_timeout(told: dict[str, Any]) -> None:
    """Whatever the number beside it says: two copies have to be equal."""
    memory, stop = bytearray(12), threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.001):
            number += 1
            memory[:4] = struct.pack("<I", number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        with Snapshot.foreign(memory, 8, settle=0.1, **told) as snapshot:
            with pytest.raises(TimeoutError):
                snapshot.read(0.5)
            stop.set()
            thread.join()
            assert snapshot.read() == memory[:8]
    finally:
        stop.set()
        thread.join()


def test_a_counter_is_left_alone_in_a_record() -> None:
    """write() counts up the field that is the sequence, and copies the others."""
    memory = bytearray(b"1234\5\0\0\0abcd")
    with Snapshot.foreign(memory, 12, sequence=4, odd=False) as snapshot:
        snapshot.write(b"5678xxxxefgh")
        assert snapshot.read() == b"5678\6\0\0\0efgh"
        assert snapshot.kind == "counter"


def test_a_flag_may_lie_in_other_memory() -> None:
    memory, lock = bytearray(8), bytearray(8)
    with Snapshot.foreign(memory, 8, busy=4, beside=lock) as snapshot:
        assert snapshot.read() == bytes(8)
        lock[7] = 1
        with pytest.raises(TimeoutError, match="middle of the record"):
            snapshot.read(0)
        with pytest.raises(BufferError):
            lock.append(0)
        assert snapshot.sequence is None
        with pytest.raises(TypeError, match="kind 'busy' is for readers"):
            snapshot.write(bytes(8))
    lock.append(0)
    with pytest.raises(ValueError, match="sequence leaves"):
        Snapshot.foreign(memory, 8, busy=8, beside=lock)


def test_a_field_of_the_layout_is_named() -> None:
    layout = Layout.of("Reading", {"value": "d", "inner": Layout.of("In", "a:I b:I")})
    memory = bytearray(24)
    with Snapshot.foreign(memory, layout, data=8, sequence="inner.b") as snapshot:
        snapshot.write(layout.pack(value=2.5, inner={"a": 1, "b": 99}))
        record = snapshot.read()
        assert (record.value, record.inner.a, record.inner.b) == (2.5, 1, 2)
        assert struct.unpack_from("<I", memory, 20) == (2,)
    with pytest.raises(LookupError, match="no field 'c'"):
        Snapshot.foreign(memory, layout, sequence="c")
    with pytest.raises(TypeError, match="needs a layout"):
        Snapshot.foreign(memory, 8, sequence="b")


def test_a_field_has_its_size() -> None:
    """A sequence of 8 bytes is counted in 8; a float or an array is none."""
    layout = Layout.of("Reading", "a:I b:Q c:f d:2H e:H f:Q")
    memory = bytearray(layout.size)
    memory[:] = layout.pack(b=2**32 - 2, f=2**32 - 2)
    with Snapshot.foreign(memory, layout, sequence="b") as snapshot:
        snapshot.write(layout.pack(a=1))
        assert snapshot.read().b == 2**32
    with Snapshot.foreign(memory, layout, sequence="b", end="f") as snapshot:
        assert snapshot.kind == "begin-end"
    for name in ("c", "d", "e"):
        with pytest.raises(ValueError, match=f"{name} is no integer of 4 or 8 bytes"):
            Snapshot.foreign(memory, layout, busy=name)
    with pytest.raises(LookupError, match=r"Reading\.a is no structure"):
        Snapshot.foreign(memory, layout, sequence="a.b")
    with pytest.raises(ValueError, match="sequence and end have different sizes"):
        Snapshot.foreign(memory, layout, sequence="b", end="a")


def buffers(ticks: list[int], places: list[int] | None = None) -> bytearray:
    """As TOLD["newest"] has them, at the start of 256 bytes."""
    memory = bytearray(256)
    struct.pack_into("<I", memory, 0, len(ticks))
    for i, tick in enumerate(ticks):
        place = 128 + 8 * i if places is None else places[i]
        struct.pack_into("<iI", memory, 16 + 16 * i, tick, place)
        memory[128 + 8 * i : 136 + 8 * i] = bytes([i]) * 8
    return memory


@pytest.mark.parametrize(
    ("ticks", "newest"),
    [
        ([5, 6, 4], 1),
        ([9, 6, 7, 8], 0),
        ([1, 0, 0, 0], 0),
        ([2**31 - 1, -(2**31), 2**31 - 2], 1),
        ([-1, 0], 1),
    ],
)
def test_the_newest_tick_wins(ticks: list[int], newest: int) -> None:
    """Also where ticks pass the largest number."""
    with Snapshot.foreign(buffers(ticks), 8, newest=NEWEST) as snapshot:
        assert snapshot.read() == bytes([newest]) * 8
        assert snapshot.sequence == ticks[newest] % 2**32


def test_equal_ticks_are_no_record_yet() -> None:
    with (
        Snapshot.foreign(buffers([0, 0, 0]), 8, newest=NEWEST) as snapshot,
        pytest.raises(TimeoutError),
    ):
        snapshot.read(0)


@pytest.mark.parametrize("place", [249, 256, 2**31, 2**32 - 1])
def test_places_outside_are_refused(place: int) -> None:
    """At once, and without a look at them; as are numbers of buffers."""
    memory = buffers([1, 2], [128, place])
    with Snapshot.foreign(memory, 8, newest=NEWEST) as snapshot:
        with pytest.raises(ValueError, match="leaves it"):
            snapshot.read(None)
        struct.pack_into("<I", memory, 36, 248)
        assert snapshot.read() == bytes(8)
        for count in (0, 1, 5, 2**32 - 1):
            struct.pack_into("<I", memory, 0, count)
            with pytest.raises(ValueError, match="leaves it"):
                snapshot.read(None)
            with pytest.raises(ValueError, match="leaves it"):
                _ = snapshot.sequence
            assert not snapshot.wait_changed(0)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"sequence": 0, "busy": 4}, "two protocols"),
        ({"newest": NEWEST, "mutex": "x"}, "two protocols"),
        ({"sequence": 0, "end": 4, "second": 32}, "two protocols"),
        ({"end": 4}, "belong to a sequence"),
        ({"busy": 4, "odd": False}, "belong to a sequence"),
        ({"sequence": 0, "end": 62}, "sequence leaves"),
        ({"sequence": 0, "end": 5}, "aligned"),
        ({"busy": 64}, "sequence leaves"),
        ({"sequence": 12, "data": 14}, "lies in a record"),
        ({"settle": -1}, "settle"),
        ({"settle": float("nan")}, "settle"),
        ({"newest": NewestOf(1, 0, 4, 8)}, "2 buffers"),
        ({"newest": NewestOf(2**30, 0, 4, 8)}, "2 buffers"),
        ({"newest": NewestOf(2, 0, 4, 6)}, "steps of 4"),
        ({"newest": NewestOf(2, 0, 4, 2**30)}, "2 buffers"),
        ({"newest": NewestOf(2, 60, 0, 8)}, "last buffer"),
        ({"newest": NewestOf(2, 0, 60, 8)}, "last buffer"),
        ({"newest": NewestOf(2, 2, 4, 8)}, "a tick must be aligned"),
        ({"newest": NewestOf(2, 0, -4, 8)}, "a place leaves"),
        ({"newest": NewestOf(2, 0, 4, 8, number=64)}, "number of buffers leaves"),
    ],
)
def test_impossible_protocols_say_why(told: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Snapshot.foreign(bytearray(64), 8, **told)
