"""Snapshot: whole records while a peer writes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import itertools
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from conftest import FULL, Peer
from helpers.linux_file import LinuxFile
from hypothesis import given
from hypothesis import strategies as st

from winipc import Layout, SharedMapping, Snapshot

KINDS: list[Literal["seqlock", "double"]] = ["seqlock", "double"]
kinds = pytest.mark.parametrize("kind", KINDS)

#: Reads of a short record that meet a writer in another process.
READS = 2_000_000 if FULL else 50_000


def read_and_count(snapshot: Snapshot, reads: int) -> tuple[int, int]:
    """(torn records, records that differed from the one before) of so many reads.

    A record of the writers here is one number of 64 bits, again and again.
    """
    torn = distinct = 0
    last = b""
    for _ in range(reads):
        record = snapshot.read(60)
        torn += record != record[:8] * (len(record) // 8)
        distinct += record != last
        last = record
    return torn, distinct


def write_until(snapshot: Snapshot, stop: threading.Event) -> None:
    """Such records, as fast as it goes."""
    for number in itertools.count(1):
        if stop.is_set():
            break
        snapshot.write(number.to_bytes(8, "little") * (snapshot.size // 8))


@pytest.mark.smoke
@kinds
def test_a_record_is_read_as_it_was_written(kind: Literal["seqlock", "double"]) -> None:
    """What write() put, read() gets, and the sequence moves on."""
    with SharedMapping.create(None, 4096) as m, Snapshot.over(m, 24, kind=kind) as s:
        assert (s.size, s.kind, s.sequence) == (24, kind, 0)
        assert s.read() == bytes(24)
        seen = {s.sequence}
        for i in range(5):
            record = struct.pack("<3Q", i, i * 2, i * 3)
            s.write(record)
            assert s.read() == record
            assert s.unpack("<3Q") == (i, i * 2, i * 3)
            with pytest.raises(TypeError, match="number of seconds") as caught:
                s.read("<3Q")  # type: ignore[arg-type]
            assert "unpack(layout)" in caught.value.__notes__[0]
            seen.add(s.sequence)
        assert len(seen) == 6


def test_the_layout_is_as_documented() -> None:
    """The sequence, 8 bytes of nothing, and the record or two."""
    memory = bytearray(80)
    with Snapshot.over(memory, 12, kind="seqlock") as s:
        s.write(b"first record")
    assert bytes(memory[:28]) == struct.pack("<QQ12s", 2, 0, b"first record")
    memory = bytearray(80)
    with Snapshot.over(memory, 12, offset=8, kind="double") as s:
        s.write(b"first record")
        s.write(b"other record")
    assert bytes(memory[8:24]) == struct.pack("<QQ", 2, 0)
    assert bytes(memory[24:36]) == b"other record"
    assert bytes(memory[40:52]) == b"first record"
    for kind in KINDS:
        assert Snapshot.over(bytearray(Snapshot.needed(12, kind)), 12, kind=kind).size
        with pytest.raises(ValueError, match="no room"):
            Snapshot.over(bytearray(Snapshot.needed(12, kind) - 1), 12, kind=kind)


@kinds
@pytest.mark.parametrize("size", [64, 4096 + 8])
def test_no_torn_record_is_ever_seen(
    unique_name: str,
    start_peer: Callable[..., Peer],
    kind: Literal["seqlock", "double"],
    size: int,
) -> None:
    """A writer hammers in another process; every copy that is kept is whole."""
    reads = READS if size == 64 else READS // 20
    with (
        SharedMapping.create(unique_name, Snapshot.needed(size, kind)) as m,
        Snapshot.over(m, size, kind=kind) as s,
    ):
        writer = start_peer("snapshot_writer.py", unique_name, size, kind)
        writer.expect("ready")
        met = 0
        while met < 100:
            torn, distinct = read_and_count(s, reads)
            assert torn == 0
            met += distinct
        writer.kill()


def test_reads_without_the_protocol_are_torn(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """The same hammer, read with a sequence that never moves: this is what is
    prevented, and the counting above sees it."""
    size = 1 << 16
    with SharedMapping.create(unique_name, Snapshot.needed(size) + 8) as m:
        still = Snapshot.foreign(m, size, sequence=m.size - 8, data=16)
        writer = start_peer("snapshot_writer.py", unique_name, size, "seqlock")
        writer.expect("ready")
        torn = 0
        for _ in range(200):
            torn, _ = read_and_count(still, 1000)
            if torn:
                break
        writer.kill()
        still.close()
        assert torn > 0


def test_threads_see_whole_records_too() -> None:
    """Reader and writer in one process: both run without the GIL."""
    size = 8192
    memory = bytearray(Snapshot.needed(size, "double"))
    with (
        Snapshot.over(memory, size, kind="double") as writer,
        Snapshot.over(memory, size, kind="double") as reader,
    ):
        stop = threading.Event()
        thread = threading.Thread(target=write_until, args=(writer, stop))
        thread.start()
        try:
            torn, _ = read_and_count(reader, 2000)
        finally:
            stop.set()
            thread.join()
    assert torn == 0


# ------------------------------------------------------------- time and pages


def test_time_outs_hold_for_large_records() -> None:
    """Also where each copy takes milliseconds, and the writer never pauses."""
    size = 32 << 20
    with (
        SharedMapping.create(None, Snapshot.needed(size)) as m,
        Snapshot.over(m, size) as writer,
        Snapshot.over(m, size) as reader,
    ):
        stop = threading.Event()
        thread = threading.Thread(target=write_until, args=(writer, stop))
        thread.start()
        start = time.monotonic()
        try:
            with contextlib.suppress(TimeoutError):
                reader.read(0.2)
            assert time.monotonic() - start < 20
        finally:
            stop.set()
            thread.join()


def test_page_that_does_not_come_in_is_an_error(
    linux_file: LinuxFile,
) -> None:
    """Of the mapping itself and of a view of it."""
    with SharedMapping.create(None, 0x20000, file=linux_file.path) as m:
        m.write(bytes(0x20000))
        linux_file.cut(100)
        for memory in (m, memoryview(m)):
            with (
                Snapshot.over(memory, 0x10000) as s,
                pytest.raises(OSError, match="touching a page"),
            ):
                s.read()
        memory.release()


def test_page_of_a_flag_that_does_not_come_in_is_an_error(
    linux_file: LinuxFile,
) -> None:
    """Of a number that lies in other memory than the record."""
    with SharedMapping.create(None, 0x20000, file=linux_file.path) as flags:
        flags.write(bytes(0x20000))
        linux_file.cut(100)
        with (
            Snapshot.foreign(bytearray(8), 8, busy=0x10000, beside=flags) as s,
            pytest.raises(OSError, match="touching a page"),
        ):
            s.read()


def test_a_record_is_written_by_its_fields() -> None:
    """As Layout.pack takes them: a dict, a record, keywords; bytes remain bytes."""
    memory = bytearray(64)
    with Snapshot.over(memory, "gear:i32 speed:f32") as s:
        s.write({"gear": 3, "speed": 0.5})
        record = s.read()
        assert (record.gear, record.speed) == (3, 0.5)
        s.write(record, gear=4)
        assert s.read().as_dict() == {"gear": 4, "speed": 0.5}
        s.write(record)
        assert s.read() == record
        s.write(gear=5)
        assert s.read().as_dict() == {"gear": 5, "speed": 0}
        sequence = s.sequence
        for wrong, error in (
            ({"wheel": 1}, LookupError),
            ({"speed": None}, TypeError),
            ({"gear": 1 << 40}, ValueError),
        ):
            with pytest.raises(error, match=next(iter(wrong))):
                s.write(wrong)
        assert s.sequence == sequence
        s.write(bytes(8))
        assert s.read().gear == 0
    with Snapshot.over(memory, 8) as s, pytest.raises(TypeError, match="Layout"):
        s.write(gear=1)


# --------------------------------------------------------------- dead writers


def test_writer_that_died_in_the_middle_is_a_timeout() -> None:
    """A seqlock left odd: readers say so in time, and the next writer repairs it."""
    memory = bytearray(Snapshot.needed(8))
    with Snapshot.over(memory, 8) as s:
        s.write(b"12345678")
        struct.pack_into("<Q", memory, 0, 3)
        with pytest.raises(TimeoutError, match="died") as caught:
            s.read(0.05)
        assert caught.value.winerror == 1460
        s.write(b"87654321")
        assert (s.read(), s.sequence) == (b"87654321", 4)


def test_a_finaliser_called_by_hand_leaves_a_read_at_work() -> None:
    """It would go on in memory that is given back."""
    memory = bytearray(Snapshot.needed(8))
    results: list[bytes] = []
    with Snapshot.over(memory, 8) as s:
        s.write(b"12345678")
        struct.pack_into("<Q", memory, 0, 3)  # a writer is at work
        reader = threading.Thread(target=lambda: results.append(s.read(60)))
        reader.start()
        time.sleep(0.2)  # from there to the wait
        s.__del__()  # type: ignore[attr-defined]
        assert not s.closed
        struct.pack_into("<Q", memory, 0, 4)
        reader.join()
        assert results == [b"12345678"]


def test_killed_writer_leaves_the_last_whole_record(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """With two records a reader always finds a whole one, whenever the writer dies."""
    size = 1 << 20
    for _ in range(3):
        with (
            SharedMapping.create(unique_name, Snapshot.needed(size, "double")) as m,
            Snapshot.over(m, size, kind="double") as s,
        ):
            writer = start_peer("snapshot_writer.py", unique_name, size, "double")
            writer.expect("ready")
            read_and_count(s, 20)
            writer.kill()
            assert read_and_count(s, 1) == (0, 1)


# ------------------------------------------------------------- foreign layouts


@pytest.mark.parametrize("width", [4, 8])
def test_foreign_layouts(width: Literal[4, 8]) -> None:
    """A sequence after the record, of either width, and no header of ours."""
    memory = bytearray(64)
    with Snapshot.foreign(
        memory, 20, sequence=32, data=4, sequence_size=width
    ) as reader:
        memory[4:24] = b"a record of 20 bytes"
        struct.pack_into("<I", memory, 32, 10)
        assert reader.read() == b"a record of 20 bytes"
        assert reader.sequence == 10
        struct.pack_into("<I", memory, 32, 11)
        with pytest.raises(TimeoutError):
            reader.read(0)


def test_32_bit_sequence_wraps_around() -> None:
    """The last number is followed by 0."""
    memory = bytearray(16)
    struct.pack_into("<I", memory, 0, 2**32 - 2)
    with Snapshot.foreign(memory, 8, sequence=0, data=8) as s:
        s.write(b"12345678")
        assert (s.sequence, s.read()) == (0, b"12345678")
    struct.pack_into("<I", memory, 0, 2**32 - 1)
    memory = bytearray(memory) + bytearray(16)
    with Snapshot.foreign(memory, 8, sequence=0, data=8, second=24) as s:
        s.write(b"87654321")
        assert (s.sequence, s.read()) == (0, b"87654321")


@given(
    length=st.integers(0, 64),
    size=st.integers(-2, 70),
    sequence=st.integers(-9, 70),
    data=st.integers(-9, 70),
    second=st.none() | st.integers(-9, 70),
    width=st.sampled_from([4, 8]),
)
def test_any_layout_is_refused_or_stays_inside(
    length: int,
    size: int,
    sequence: int,
    data: int,
    second: int | None,
    width: Literal[4, 8],
) -> None:
    """Numbers from anywhere: an error, or a record inside that reads and writes."""
    guard = b"\xa5" * 16
    memory = bytearray(guard + bytes(length) + guard)
    with memoryview(memory) as view, view[16 : 16 + length] as part:
        try:
            s = Snapshot.foreign(
                part,
                size,
                sequence=sequence,
                data=data,
                second=second,
                sequence_size=width,
            )
        except ValueError:
            return
        with s:
            record = bytearray(range(1, size + 1))
            s.write(record)
            if 0 <= sequence - data < size:
                at = sequence - data  # it lies in the record, as a field
                record[at : at + width] = (2).to_bytes(width, "little")
            assert s.read() == record
    assert memory[:16] == guard
    assert memory[-16:] == guard


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence": 2, "data": 8}, "aligned"),
        ({"sequence": 0, "data": 2}, "lies in a record"),
        ({"sequence": 0, "data": 60}, "record leaves .* 64 bytes: .* 8 bytes .* 60"),
        ({"sequence": 64, "data": 8}, "sequence leaves .* 64 bytes: .* 4 bytes .* 64"),
        ({"sequence": 0, "data": 8, "second": 12}, "overlaps"),
        ({"sequence": 0, "data": 8, "second": 60}, "second record .* 64 .* 8 .* 52 "),
        ({"sequence": 0, "data": 8, "second": 4}, "after the first"),
        ({"sequence": 0, "data": 8, "sequence_size": 2}, "4 or 8"),
    ],
)
def test_impossible_layouts_say_why(options: dict[str, int], message: str) -> None:
    """Each reason has its own words."""
    with pytest.raises(ValueError, match=message):
        Snapshot.foreign(bytearray(64), 8, **options)  # type: ignore[arg-type]


# ----------------------------------------------------------------- as an object


def test_snapshot_keeps_its_mapping_open() -> None:
    """The memory cannot go while a snapshot looks at it."""
    m = SharedMapping.create(None, 4096)
    s = Snapshot.over(m, 8)
    with pytest.raises(BufferError, match="1 buffer"):
        m.close()
    s.close()
    s.close()
    assert s.closed
    m.close()
    for use in (s.read, lambda: s.write(b""), lambda: s.sequence):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_forgotten_snapshot_lets_go() -> None:
    """It owns a buffer and nothing else."""
    with SharedMapping.create(None, 4096) as m:
        Snapshot.over(m, 8)
        gc.collect()
        m.close()


def test_readers_need_no_write_access(unique_name: str) -> None:
    """A read-only mapping will do, and write() says what is wrong."""
    with (
        SharedMapping.create(unique_name, 4096) as m,
        Snapshot.over(m, 8) as writer,
        SharedMapping.open(unique_name, access="read") as r,
        Snapshot.over(r, 8) as reader,
    ):
        writer.write(b"12345678")
        assert reader.read() == b"12345678"
        with pytest.raises(
            TypeError, match=r"Snapshot is read-only.*access='readwrite'"
        ):
            reader.write(b"12345678")


def test_a_read_only_array_can_be_read() -> None:
    """NumPy refuses a writable buffer by a ValueError, where bytes have BufferError."""
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(8, dtype="u1")
    array.flags.writeable = False
    with Snapshot.foreign(array, 8, settle=0.0) as s:
        assert s.read() == bytes(range(8))
        with pytest.raises(TypeError):
            s.write(bytes(8))


def test_record_of_the_wrong_size_is_refused() -> None:
    """A record is all or nothing."""
    with Snapshot.over(bytearray(64), 8) as s:
        for data in (b"", b"1234567", b"123456789"):
            with pytest.raises(ValueError, match="a record has 8 bytes"):
                s.write(data)
        assert s.sequence == 0
    with pytest.raises(ValueError, match="size must"):
        Snapshot.over(bytearray(64), 0)
    with pytest.raises(ValueError, match="kind must"):
        Snapshot.over(bytearray(64), 8, kind="triple")  # type: ignore[arg-type]


def test_snapshot_of_a_file(tmp_path: Path) -> None:
    """A file behind the memory makes no difference, but for its faults."""
    with (
        SharedMapping.create(None, 100_000, file=tmp_path / "f") as m,
        Snapshot.over(m, 50_000) as s,
    ):
        s.write(b"z" * 50_000)
        assert s.read() == b"z" * 50_000
        assert s.sequence == 2


def test_a_signal_handler_cannot_close_it_under_a_read() -> None:
    """close() is refused while read() waits, also in the thread that reads."""
    seen = []
    with SharedMapping.create(None, 4096) as m, Snapshot.over(m, 8) as s:
        m.set(0, "u32", 1)  # a writer that died in the middle

        def handler(number: int, frame: object) -> None:
            try:
                s.close()
            except BufferError as error:
                seen.append(error)

        before = signal.signal(signal.SIGINT, handler)
        timer = threading.Timer(0.1, signal.raise_signal, [signal.SIGINT])
        timer.start()
        try:
            with pytest.raises(TimeoutError):
                s.read(timeout=1)
        finally:
            timer.join()
            signal.signal(signal.SIGINT, before)
        assert len(seen) == 1
        assert not s.closed


def test_records_by_a_layout() -> None:
    """Records, instances or tuples: whatever the layout makes of the bytes."""
    layout = Layout.of("s", "n:I name:4s")
    with SharedMapping.create(None, 4096) as m, Snapshot.over(m, layout) as snapshot:
        assert (snapshot.size, snapshot.layout) == (8, layout)
        assert Snapshot.needed(layout) == 24
        snapshot.write(layout.pack(n=7, name="ab"))
        assert snapshot.read().as_dict() == {"n": 7, "name": "ab"}
        assert snapshot.unpack("<I4s") == (7, b"ab\0\0")
        for other in ("n:I name:4s", "<I4s", ctypes.c_uint64):
            with Snapshot.foreign(m, other, sequence=0, data=16) as twin:
                value = twin.read()
                assert type(value) is type(snapshot.unpack(other))
        assert value.value == 0x6261_0000_0007
    with pytest.raises(TypeError, match="a layout is"):
        Snapshot.over(bytes(100), None)
