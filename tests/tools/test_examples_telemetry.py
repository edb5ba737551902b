"""The examples telemetry_writer.py and telemetry_reader.py, as programs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE

import winipc

EXAMPLES = Path(__file__).parents[2] / "examples"

Start = Callable[[list[str]], Any]


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


@pytest.fixture
def writer(start_process: Start, unique_name: str) -> Any:
    """A writer that writes faster than anybody reads, until it is reaped."""
    script = str(EXAMPLES / "telemetry_writer.py")
    peer = start_process([sys.executable, script, "--name", unique_name, "--hz", "500"])
    assert "500 times a second" in peer.read_line()
    return peer


def run(script: str, *args: str) -> subprocess.CompletedProcess[str]:
    # As a user starts it: with its own folder to import from.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, str(EXAMPLES / script), *args],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        env=environ,
    )


@pytest.mark.smoke
def test_reader_shows_what_the_writer_writes(writer: Any, unique_name: str) -> None:
    """Line by line, and no record is torn."""
    done = run(
        "telemetry_reader.py", "--name", unique_name, "--seconds", "0.5", "--hz", "100"
    )
    assert done.returncode == 0, done.stderr
    *lines, total = done.stdout.splitlines()
    assert "km/h" in lines[0]
    assert "Ada Lovelace" in lines[0]
    assert total == f"{len(lines)} records read, 0 torn"


def test_writer_that_is_killed_leaves_a_whole_record(
    writer: Any, unique_name: str, examples: None
) -> None:
    from telemetry_writer import KIND, SIZE, Telemetry, is_whole

    with (
        winipc.SharedMapping.open(unique_name) as mapping,
        winipc.Snapshot.over(mapping, SIZE, kind=KIND) as snapshot,
    ):
        writer.reap()
        record = snapshot.read()
        assert is_whole(record)
        assert Telemetry.from_buffer_copy(record).frame >= 1
        torn = bytearray(record)
        torn[4] ^= 1
        assert not is_whole(torn)


def test_reader_counts_what_is_torn(
    examples: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And shows metres per second as kilometres per hour."""
    import telemetry_reader
    from telemetry_writer import Car, Telemetry

    whole = Car("Test").drive(1.0)
    torn = bytearray(whole)
    torn[4] ^= 1
    given = [whole, bytes(torn), whole]
    monkeypatch.setattr(telemetry_reader, "records", lambda *args: given)
    telemetry_reader.read("any", 1000.0, 0.0, None)
    *lines, total = capsys.readouterr().out.splitlines()
    assert total == "3 records read, 1 torn"
    speed = Telemetry.from_buffer_copy(whole).speed
    assert speed > 10
    assert f" {speed * 3.6:.0f} km/h" in lines[0]


def test_reader_goes_on_while_there_are_new_records(
    unique_name: str, examples: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes in all; by a clock of its own."""
    import telemetry_reader
    from telemetry_writer import KIND, SIZE, Car

    now = 0.0
    clock = types.SimpleNamespace(monotonic=lambda: now, sleep=time.sleep)
    monkeypatch.setattr(telemetry_reader, "time", clock)
    car = Car("Test")
    with (
        winipc.SharedMapping.create(
            unique_name, winipc.Snapshot.needed(SIZE, KIND)
        ) as mapping,
        winipc.Snapshot.over(mapping, SIZE, kind=KIND) as snapshot,
    ):
        reader = telemetry_reader.records(unique_name, DEADLINE, patience=10.0)
        for _ in range(5):
            record = car.drive(0.1)
            snapshot.write(record)
            assert next(reader) == record
            now += 9
        now += 9
        assert next(reader, None) is None


def test_reader_gives_a_record_once_that_comes_while_it_reads(
    unique_name: str, examples: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its look at the sequence and the reading."""
    from telemetry_reader import records
    from telemetry_writer import KIND, SIZE, Car

    car = Car("Test")
    first, second = car.drive(0.1), car.drive(0.1)
    read = winipc.Snapshot.read
    late = [second]
    with (
        winipc.SharedMapping.create(
            unique_name, winipc.Snapshot.needed(SIZE, KIND)
        ) as mapping,
        winipc.Snapshot.over(mapping, SIZE, kind=KIND) as snapshot,
    ):

        def read_late(reader: winipc.Snapshot) -> bytes:
            while late:
                snapshot.write(late.pop())
            return read(reader)

        monkeypatch.setattr(winipc.Snapshot, "read", read_late)
        snapshot.write(first)
        assert list(records(unique_name, DEADLINE, patience=0.2)) == [second]


def test_reader_ends_with_its_writer(
    writer: Any, unique_name: str, examples: None
) -> None:
    """And gives no record twice."""
    from telemetry_reader import records
    from telemetry_writer import Telemetry

    reader = records(unique_name, DEADLINE, patience=DEADLINE)
    frames = [Telemetry.from_buffer_copy(next(reader)).frame for _ in range(20)]
    assert frames == sorted(set(frames))
    with winipc.SharedMapping.open(unique_name):  # or it would go with the writer
        reader.close()
        writer.reap()
        [last] = records(unique_name, DEADLINE, patience=0.2)
    assert Telemetry.from_buffer_copy(last).frame >= frames[-1]


def test_second_writer_and_missing_writer_are_told(
    writer: Any, unique_name: str
) -> None:
    second = run("telemetry_writer.py", "--name", unique_name)
    assert second.returncode == 1
    assert "already" in second.stderr
    alone = run("telemetry_reader.py", "--name", f"{unique_name}-x", "--wait", "0.1")
    assert alone.returncode == 1
    assert "no program writes" in alone.stderr


def test_writer_ends_by_itself(unique_name: str) -> None:
    done = run("telemetry_writer.py", "--name", unique_name, "--seconds", "0.2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "13 records written"


def test_car_drives_as_a_car_does(examples: None) -> None:
    """A minute of it: it laps, shifts, brakes, and stays within its limits."""
    from telemetry_writer import Car, Telemetry, is_whole

    car = Car("Test")
    seen = []
    for _ in range(60 * 60):
        data = car.drive(1 / 60)
        assert is_whole(data)
        seen.append(Telemetry.from_buffer_copy(data))
    assert max(record.lap for record in seen) >= 2
    assert {record.gear for record in seen} >= {1, 2, 3, 4, 5}
    assert any(record.brake > 0 for record in seen)
    assert all(0 <= record.speed < 70 for record in seen)
    assert all(0 <= record.throttle <= 1 for record in seen)
