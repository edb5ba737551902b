"""`winipc.telemetry`: what well-known programs share, with a header of the user's.

The headers here are in words of our own; that of the program has more fields.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
from importlib import resources
from pathlib import Path

import pytest

import winipc
from winipc import (
    Event,
    KnownMapping,
    KnownProgram,
    Layout,
    Mutex,
    SharedMapping,
    known_programs,
    telemetry,
)

CAR = "struct Car { int packetId; float speed; wchar_t name[4]; };"


@pytest.fixture
def made(unique_name: str, monkeypatch: pytest.MonkeyPatch) -> list[KnownProgram]:
    """A catalogue of this test's own: names of real programs belong to them."""
    programs: list[KnownProgram] = []
    module = sys.modules["winipc._telemetry"]
    monkeypatch.setattr(module, "known_programs", lambda: programs)
    return programs


def know(made: list[KnownProgram], name: str, protocol: object, **more: object) -> None:
    """A program "it" with a part "car"."""
    event, encoding = more.pop("event", None), more.pop("encoding", "utf-8")
    row = KnownMapping("car", name, "a car", protocol, event=event, **more)  # type: ignore[arg-type]
    made.append(
        KnownProgram(
            "it", "It", "game", "its header", "this test", str(encoding), (row,)
        )
    )


# ------------------------------------------------------------------ the catalogue


def test_the_catalogue_is_whole() -> None:
    """Each program has a documented header, a source, and mappings or messages."""
    programs = known_programs()
    assert len(programs) >= 30
    assert len({program.key for program in programs}) == len(programs)
    for program in programs:
        assert all((program.header, program.source, program.group))
        assert program.mappings or program.messages or program.note
        parts = [row.part for row in program.mappings]
        assert len(set(parts)) == len(parts)
        if program.encoding is not None:
            "".encode(program.encoding)
        for row in program.mappings:
            assert row.size is None or row.size >= (row.bytes or 1)


@pytest.mark.parametrize(
    ("program", "row"),
    [
        pytest.param(program, row, id=f"{program.key}-{row.part}")
        for program in known_programs()
        for row in program.mappings
        if row.protocol is not None
    ],
)
def test_each_protocol_opens(
    program: KnownProgram, row: KnownMapping, unique_name: str, made: list[KnownProgram]
) -> None:
    """By what the catalogue says, and names of the test's own."""
    protocol = dict(row.protocol or {})
    size = max(row.bytes or 0, row.size or 0, 65536)
    with contextlib.ExitStack() as stack:
        stack.enter_context(SharedMapping.create(unique_name, size))
        if "mutex" in protocol:
            protocol["mutex"] = unique_name + ".mutex"
            stack.enter_context(contextlib.closing(Mutex.create(protocol["mutex"])))
        if "beside" in protocol:
            protocol["beside"] = unique_name + ".beside"
            stack.enter_context(SharedMapping.create(protocol["beside"], 4096))
        if isinstance(protocol.get("sequence"), dict):
            protocol["sequence"].setdefault("offset", 8)
        know(made, unique_name, protocol)
        with SharedMapping.open(unique_name) as m:
            if "length" in protocol:  # as iRacing has it: two buffers, one of them full
                m.set(protocol["length"], "u32", 100)
                m.write(struct.pack("<I", 2), protocol["newest"]["number"])
                m.write(
                    struct.pack("<iIII", 1, 4096, 0, 0), protocol["newest"]["ticks"]
                )
        with telemetry("it") as opened:
            assert set(opened.read()) <= {0}
            assert opened.program.key == "it"


def test_numbers_lie_where_the_header_has_them() -> None:
    """Each offset in the catalogue is aligned, and inside the structure."""
    text = resources.files("winipc").joinpath("data", "games.json").read_text("utf-8")
    for program in json.loads(text):
        for row in program.get("mappings", ()):
            for told in (row["protocol"] or {}).values():
                if isinstance(told, dict) and "offset" in told:
                    assert told["offset"] % 4 == 0
                    assert told["offset"] + 4 <= row.get("bytes", 2**32)


# ----------------------------------------------------------------------- opening


def test_records_come_by_the_users_header(
    unique_name: str, made: list[KnownProgram], tmp_path: Path
) -> None:
    """Name, protocol and structure are the catalogue's, fields the header's."""
    pytest.importorskip("clang", reason="no libclang")
    know(
        made,
        unique_name,
        {"sequence": {"field": "packetId", "offset": 400}, "odd": False},
        struct="Car",
        encoding="utf-16",
    )
    (tmp_path / "car.h").write_text(CAR)
    with SharedMapping.create(unique_name, 100) as m:
        m.write(struct.pack("<if", 5, 2.5) + "Kim".encode("utf-16-le"))
        for header in (tmp_path / "car.h", CAR):
            m.set(0, "u32", 5)
            with telemetry("it", header, part="car") as car:
                record = car.read()
                assert (record.packetId, record.speed, record.name) == (5, 2.5, "Kim")
                assert car.snapshot.kind == "counter"
                assert not car.wait_changed(0)
                assert not asyncio.run(car.changed(0))
                m.set(0, "u32", 6)
                assert car.wait_changed(0)
        with pytest.raises(LookupError, match="no struct Car"):
            telemetry("it", "struct Truck { int a; };")
        with pytest.raises(LookupError, match="no field 'packetId'"):
            telemetry("it", "struct Truck { int a; };", struct="Truck")
        layout = Layout.of("Car", "packetId:I rest:4s")
        with telemetry("it", layout=layout) as car:
            assert car.read().packetId == 6
        with pytest.raises(TypeError, match="a header or a layout, not both"):
            telemetry("it", CAR, layout=layout)


def test_without_a_header_records_are_bytes(
    unique_name: str, made: list[KnownProgram]
) -> None:
    know(made, unique_name, {"data": 8, "sequence": 0, "end": 4})
    with SharedMapping.create(unique_name, 4096) as m:
        m.write(struct.pack("<II4s", 3, 3, b"data"))
        with telemetry("it") as car:
            assert car.read() == b"data" + bytes(4096 - 12)
            assert (car.layout, car.snapshot.kind) == (None, "begin-end")
            assert repr(car).startswith("<Telemetry it <Snapshot kind='begin-end'")


def test_its_event_wakes(unique_name: str, made: list[KnownProgram]) -> None:
    """Where the program has made one; else changes are looked for."""
    know(made, unique_name, {"sequence": 0}, event=unique_name + ".event")
    with SharedMapping.create(unique_name, 64) as m:
        with telemetry("it") as car:
            assert car.snapshot._event is None
        with Event.create(unique_name + ".event") as event, telemetry("it") as car:
            assert car.snapshot._event is not None
            car.read()

            async def wait() -> bool:
                waiting = asyncio.create_task(car.changed(60))
                await asyncio.sleep(0)
                m.set(0, "u32", 2)
                event.set()
                return await waiting

            assert asyncio.run(wait())


def test_a_name_with_a_process_id(unique_name: str, made: list[KnownProgram]) -> None:
    know(made, unique_name + "{pid}", {})
    with SharedMapping.create(unique_name + "77", 64):
        with pytest.raises(LookupError, match="needs a pid"):
            telemetry("it")
        telemetry("it", pid=77).close()


def test_close_waits_for_arrays(unique_name: str, made: list[KnownProgram]) -> None:
    """And can be called again."""
    know(made, unique_name, {})
    with SharedMapping.create(unique_name, 64):
        car = telemetry("it")
        with memoryview(car.mapping), pytest.raises(BufferError):
            car.close()
        car.close()
        car.close()
        assert car.mapping.closed


@pytest.mark.parametrize(
    ("program", "part", "message"),
    [
        ("solitaire", None, "no program 'solitaire'; there are mumble, "),
        ("acc", "engine", "no part 'engine' but physics, graphics, static"),
        ("winamp", None, "asked by messages"),
        ("vjoy", None, "vJoyInterface.dll"),
        ("obs-camera", None, "no single record"),
        ("pcars2", None, "needs its header, to find mSequenceNumber"),
    ],
)
def test_what_cannot_be_opened_says_why(
    program: str, part: str | None, message: str
) -> None:
    with pytest.raises(LookupError, match=message):
        telemetry(program, part=part)


def test_a_header_without_the_structure_that_is_meant() -> None:
    """Some programs share several, which the user has to choose from."""
    with pytest.raises(LookupError, match=r"which .* hwinfo/sensors is HWiN"):
        telemetry("hwinfo", CAR)


def test_a_program_that_does_not_run_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        winipc.telemetry("rtss")


def test_what_cannot_be_made_leaves_nothing_open(
    unique_name: str, made: list[KnownProgram]
) -> None:
    """No mutex, or a structure that is larger than the memory."""
    know(made, unique_name, {"mutex": unique_name + ".mutex"})
    with SharedMapping.create(unique_name, 64):
        with pytest.raises(FileNotFoundError):
            telemetry("it")
        with (
            Event.create(unique_name + ".event"),
            contextlib.closing(Mutex.create(unique_name + ".mutex")),
            pytest.raises(ValueError, match="record leaves"),
        ):
            telemetry("it", layout=Layout.of("Large", {"a": ("B", 5000)}))
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)
