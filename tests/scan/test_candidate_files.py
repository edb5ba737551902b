"""Files of candidates: what is written is read, and nothing else is."""

from __future__ import annotations

import json
import math
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Peer
from helpers.c_target import Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from winipc import CandidateSet, RemoteProcess

PAGE = 4096
WINDOW = 65536

StartPeer = Callable[..., Peer]


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests."""
    return targets()


def saved(found: CandidateSet, path: Path) -> tuple[dict[str, Any], bytes]:
    """The head of its file and the unpacked body."""
    found.save(path)
    line, _, body = path.read_bytes().partition(b"\n")
    return json.loads(line), zlib.decompress(body)


def forge(path: Path, head: object, body: bytes) -> Path:
    """A file as docs/scanning.md says."""
    path.write_bytes(json.dumps(head).encode() + b"\n" + zlib.compress(body))
    return path


def block(base: int, rows: list[tuple[int, bytes]], *firsts: bytes) -> bytes:
    """One block: places and values."""
    numbers = [place for place, _ in rows] or [1]
    head = struct.pack("<QIHH", base, len(rows), numbers[0], numbers[-1])
    places = struct.pack(f"<{len(numbers)}H", *numbers)
    if numbers[-1] - numbers[0] + 1 == len(rows):
        places = b""
    return head + places + b"".join(value for _, value in rows) + b"".join(firsts)


def test_a_file_is_what_the_documentation_says(
    process: RemoteProcess, target: Target, tmp_path: Path
) -> None:
    """Each field of the head, and each block."""
    at = target.alloc(2 * WINDOW)
    process.write(at + 8, struct.pack("<i", 7))
    process.write(at + WINDOW + 12, struct.pack("<ii", 7, 8))
    with CandidateSet.scan(
        process, "i32", between=(7, 8), regions=[(at, 2 * WINDOW)]
    ) as found:
        head, body = saved(found, tmp_path / "found")
    assert body == block(at, [(2, struct.pack("<i", 7))]) + block(
        at + WINDOW, [(3, struct.pack("<i", 7)), (4, struct.pack("<i", 8))]
    )
    assert head.pop("modules")[0][:3] == [
        process.modules()[0].name,
        process.modules()[0].base,
        process.modules()[0].size,
    ]
    started = head["process"].pop("started")
    assert 0 < started < 1 << 40
    assert head == {
        "format": "winipc candidates",
        "version": 1,
        "kind": "i32",
        "width": 4,
        "step": 4,
        "first": False,
        "candidates": 3,
        "process": {
            "pid": process.pid,
            "name": "target.exe",
            "bitness": 8 * process.pointer_size,
        },
    }


@pytest.mark.parametrize("kind", ["u8", "i16be", "f64", "utf-16-le", "bytes"])
@pytest.mark.parametrize("keep_first", [False, True], ids=["last", "first"])
def test_what_is_loaded_goes_on(
    process: RemoteProcess, target: Target, tmp_path: Path, kind: str, keep_first: bool
) -> None:
    """With the values of then, and those of the first scan, over several windows."""
    size = 3 * WINDOW
    at = target.alloc(size)
    where = [(at, size)]
    path = tmp_path / "found"
    text = kind in ("utf-16-le", "bytes")
    if text:
        if keep_first:
            return
        process.write(at, b"a\0" * (size // 2))
    what = {"utf-16-le": "aa", "bytes": b"a\0a\0"}.get(kind)
    with CandidateSet.scan(
        process, kind, equals=what, keep_first=keep_first, regions=where
    ) as found:
        process.write(at + PAGE, b"\x40" * (PAGE + 2))
        # All change in half of it, in a window that stays whole.
        process.write(at + WINDOW, b"\x41\x42" * (WINDOW // 2))
        count = found.rescan("unchanged" if text else "decreased", negate=not text)
        expected = dict(found.items())
        found.save(path)
    assert text or path.stat().st_size < size / 32
    with CandidateSet.load(path, process) as found:
        assert str(found.kind) == kind
        assert len(found) == count > WINDOW // 8
        assert dict(found.items()) == expected
        assert found.rescan("unchanged") == count
        if keep_first:
            process.write(at, bytes(size))
            assert found.rescan("unchanged", since="first") == count
            assert found.undo() == count
            assert found.rescan("changed") < count


def test_an_empty_set_has_a_file(
    process: RemoteProcess, target: Target, tmp_path: Path
) -> None:
    """And a closed one has none."""
    at = target.alloc(PAGE)
    with CandidateSet.scan(process, "u8", equals=9, regions=[(at, PAGE)]) as found:
        found.save(tmp_path / "none")
    with CandidateSet.load(tmp_path / "none", process) as again:
        assert len(again) == 0
        assert again.rescan("changed") == 0
    with pytest.raises(ValueError, match="closed"):
        found.save(tmp_path / "closed")
    with pytest.raises(FileNotFoundError):
        CandidateSet.load(tmp_path / "closed", process)


def test_another_run_is_refused_in_words(
    process: RemoteProcess, target: Target, start_peer: StartPeer, tmp_path: Path
) -> None:
    """Its heap is elsewhere; what is in modules moves with them, if asked for."""
    at = target.alloc(PAGE)
    module = process.modules()[0]
    path = tmp_path / "found"
    with CandidateSet.scan(
        process,
        "u32",
        regions=[(at, PAGE), (module.base, PAGE)],
        protection=None,
    ) as found:
        assert len(found) == PAGE // 2
        inside = {a: v for a, v in found.items() if a in module}
        assert len(inside) == PAGE // 4
        head, body = saved(found, path)
    other = Target(start_peer("target.exe"))
    with RemoteProcess.open(other) as process2:
        with pytest.raises(
            ValueError, match=f"another run, target.exe, pid {process.pid}"
        ):
            CandidateSet.load(path, process2)
        with CandidateSet.load(path, process2, another_run=True) as again:
            assert again.lost == PAGE // 4
            delta = process2.modules()[0].base - module.base
            assert dict(again.items()) == {a + delta: v for a, v in inside.items()}
        # As if the module had been 16 windows higher then.
        away = 16 * WINDOW
        for row in head["modules"]:
            row[1] += away
        shifted, position = b"", 0
        while position < len(body):
            base, count = struct.unpack_from("<QI", body, position)
            if base in module:
                base += away
            row_end = position + 16 + 4 * count  # all places are there
            shifted += struct.pack("<QI", base, count) + body[position + 12 : row_end]
            position = row_end
        forge(path, head, shifted)
        with CandidateSet.load(path, process2, another_run=True) as again:
            assert dict(again.items()) == {a + delta: v for a, v in inside.items()}
        # Another build is another module.
        for row in head["modules"]:
            row[3] = "0" + row[3]
        with CandidateSet.load(
            forge(path, head, shifted), process2, another_run=True
        ) as again:
            assert len(again) == 0
            assert again.lost == PAGE // 2
        head["process"]["bitness"] ^= 96
        with pytest.raises(ValueError, match=r"of 32 bits, not 64|of 64 bits, not 32"):
            CandidateSet.load(forge(path, head, body), process2, another_run=True)


def test_modules_in_another_order_are_sorted(
    process: RemoteProcess, target: Target, tmp_path: Path
) -> None:
    """The set is ascending, wherever they are now; what is behind one is not in it."""
    with CandidateSet.scan(process, "u8", equals=1, regions=[]) as found:
        head, _ = saved(found, tmp_path / "found")
    first, second = sorted(head["modules"], key=lambda row: row[1])[:2]
    bases = first[1], second[1]
    first[1:3], second[1] = [1 << 28, WINDOW], 1 << 24
    head["process"]["started"] = 5.0
    head["candidates"] = 3
    body = block(1 << 24, [(5, b"s")]) + block(1 << 28, [(6, b"f")])
    body += block((1 << 28) + WINDOW, [(7, b"x")])
    path = forge(tmp_path / "forged", head, body)
    with CandidateSet.load(path, process, another_run=True) as found:
        assert dict(found.items()) == {bases[0] + 6: ord("f"), bases[1] + 5: ord("s")}
        assert found.lost == 1


HOSTILE_HEADS: list[tuple[str, Any]] = [
    ("format", "winipc pointer paths"),
    ("version", 2),
    ("kind", "i24"),
    ("kind", 5),
    ("kind", "utf-16\0"),
    ("width", 8),
    ("width", 0),
    ("width", -1),
    ("width", 1 << 40),
    ("width", 1.5),
    ("step", 3),
    ("step", 128),
    ("step", 0),
    ("step", "4"),
    ("first", 1),
    ("first", True),
    ("candidates", -1),
    ("candidates", 1 << 62),
    ("candidates", 2),
    ("candidates", 4),
    ("candidates", 3.0),
    ("process", None),
    ("process", {}),
    ("process", []),
]


@pytest.mark.parametrize(("name", "value"), HOSTILE_HEADS)
def test_hostile_heads_are_refused(
    process: RemoteProcess, target: Target, tmp_path: Path, name: str, value: object
) -> None:
    """By a ValueError that names the file."""
    at = target.alloc(PAGE)
    process.write(at, b"\1\0\0\0" * 3)
    path = tmp_path / "found"
    with CandidateSet.scan(process, "i32", equals=1, regions=[(at, PAGE)]) as found:
        assert len(found) == 3
        head, body = saved(found, path)
    CandidateSet.load(forge(path, head, body), process).close()
    del head[name]
    with pytest.raises(ValueError, match="found"):
        CandidateSet.load(forge(path, head, body), process)
    head[name] = value
    with pytest.raises(ValueError, match="found"):
        CandidateSet.load(forge(path, head, body), process)


def test_hostile_bodies_are_refused(
    process: RemoteProcess, target: Target, tmp_path: Path
) -> None:
    """Places that are not ascending or outside, bases that are none, wrong counts."""
    path = tmp_path / "found"
    one, two = b"\1\0\0\0", b"\2\0\0\0"
    at = target.alloc(PAGE)
    with CandidateSet.scan(process, "i32", equals=77, regions=[(at, PAGE)]) as found:
        head, _ = saved(found, path)
    good = block(at, [(1, one), (5, two)])
    last = 2 * sys.maxsize + 2 - WINDOW
    bodies = {
        "descending": block(at, [(5, one), (1, two)]),
        "twice": block(at, [(5, one), (5, two)]),
        "outside": block(at, [(5, one), (16384, two)]),
        "no window": block(at + 4, [(1, one), (5, two)]),
        "too high": block(1 << 63 | at, [(1, one), (5, two)])
        if sys.maxsize < 1 << 32
        else block(last, [(1, one), (16383, two)]),
        "same base": block(at, [(5, one)]) + block(at, [(5, two)]),
        "bases descend": block(at + WINDOW, [(5, one)]) + block(at, [(5, two)]),
        "no candidate": block(at, []) + good,
        "too many": struct.pack("<QIHH", at, 3, 0, 2) + bytes(18),
        "far too many": struct.pack("<QIHH", at, 0xFFFFFFFF, 0, 9) + bytes(100),
        "solid, but outside": struct.pack("<QIHH", at, 2, 16383, 16384) + bytes(8),
        "fewer": block(at, [(5, one)]),
        "more": good + b"\0",
        "cut off": good[:-1],
        "nothing": b"",
    }
    head["candidates"] = 2
    with CandidateSet.load(forge(path, head, good), process) as found:
        assert dict(found.items()) == {at + 4: 1, at + 20: 2}
    for body in bodies.values():
        with pytest.raises(ValueError, match="is no file of candidates"):
            CandidateSet.load(forge(path, head, body), process)
    line = json.dumps(head).encode() + b"\n"
    packed = zlib.compress(good)
    for end in range(len(packed)):
        path.write_bytes(line + packed[:end])
        with pytest.raises(ValueError, match="is no file of candidates"):
            CandidateSet.load(path, process)
    for number in range(2, len(packed)):
        damaged = bytearray(packed)
        damaged[number] ^= 0x55
        path.write_bytes(line + damaged)
        with pytest.raises(ValueError, match="is no file of candidates"):
            CandidateSet.load(path, process)
    for data in (b"", b"\n", line[:-1], b"[" * 100_000 + b"\n", b" " * (2 << 20)):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="is no file of candidates"):
            CandidateSet.load(path, process)
    path.write_bytes(line + packed + b"x")
    with pytest.raises(ValueError, match="behind its end"):
        CandidateSet.load(path, process)


def test_modules_of_a_hostile_head(
    process: RemoteProcess, target: Target, tmp_path: Path
) -> None:
    """What is no module is refused where it is looked for."""
    path = tmp_path / "found"
    at = target.alloc(PAGE)
    with CandidateSet.scan(process, "i32", equals=77, regions=[(at, PAGE)]) as found:
        head, _ = saved(found, path)
    head["process"]["pid"] += 1
    head["candidates"] = 1
    body = block(0, [(1, b"\1\0\0\0")])
    for module in (
        *([5, 0, 1, "v"], ["a", None, 1, "v"], ["a", 0, 1, []], ["a", 0, 1]),
        *("abc", 5, None),
    ):
        head["modules"] = [module]
        with pytest.raises(ValueError, match="is no file of candidates"):
            CandidateSet.load(forge(path, head, body), process, another_run=True)


def test_no_rescan_leads_over_the_end_of_all_memory(
    process: RemoteProcess, target: Target, tmp_path: Path
) -> None:
    """Bytes of any length may be asked for where a file has candidates."""
    longest = 65536
    path = tmp_path / "found"
    at = target.alloc(PAGE)
    with CandidateSet.scan(process, "bytes", equals=b"a", regions=[(at, PAGE)]) as none:
        head, _ = saved(none, path)
    head["candidates"] = 1
    top = 2 * sys.maxsize + 2 - 2 * WINDOW
    with CandidateSet.load(
        forge(path, head, block(top, [(longest - 1, b"a")])), process
    ) as found:
        assert found.rescan("equals", bytes(longest - 1) + b"a") == 0
        assert found.lost == 1
    body = block(top + WINDOW, [(0, b"a")])
    with pytest.raises(ValueError, match="is no file of candidates"):
        CandidateSet.load(forge(path, head, body), process)


def test_a_bomb_takes_no_more_than_max_bytes(
    process: RemoteProcess, target: Target, tmp_path: Path
) -> None:
    """A small file that unpacks to far more is refused on the way."""
    at = target.alloc(PAGE)
    path = tmp_path / "bomb"
    with CandidateSet.scan(process, "u8", equals=77, regions=[(at, PAGE)]) as found:
        head, _ = saved(found, path)
    squeeze = zlib.compressobj(9)
    head["candidates"] = 40 * WINDOW
    data = json.dumps(head).encode() + b"\n"
    for number in range(1, 41):
        data += squeeze.compress(
            struct.pack("<QIHH", number * WINDOW, WINDOW, 0, WINDOW - 1) + bytes(WINDOW)
        )
    path.write_bytes(data + squeeze.flush())
    with pytest.raises(ValueError, match="max_bytes=1000000"):
        CandidateSet.load(path, process, max_bytes=1_000_000)
    most = 40 * WINDOW * 3  # a place and a value for each
    with pytest.raises(ValueError, match="max_bytes"):
        CandidateSet.load(path, process, max_bytes=most - 1)
    with CandidateSet.load(path, process, max_bytes=most) as found:
        assert len(found) == 40 * WINDOW


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.dictionaries(st.integers(0, 4 * WINDOW - 8), st.floats(width=32), max_size=30)
)
def test_any_candidates_survive(
    process: RemoteProcess, tmp_path: Path, values: dict[int, float]
) -> None:
    """Unaligned, over borders, few and many, with NaN among them."""
    path = tmp_path / "any"
    with process.alloc(4 * WINDOW) as memory:
        for at, value in sorted(values.items()):
            memory.write(struct.pack("<f", value), at)
        with CandidateSet.scan(
            process,
            "f32",
            equals=0,
            negate=True,
            aligned=False,
            regions=[(memory.address, 4 * WINDOW)],
        ) as found:
            before = [(a, struct.pack("<f", v)) for a, v in found.items()]
            found.save(path)
        with CandidateSet.load(path, process) as found:
            after = [(a, struct.pack("<f", v)) for a, v in found.items()]
            assert after == before
            assert found.rescan("in_range", -math.inf, math.inf, negate=True) == sum(
                math.isnan(struct.unpack("<f", v)[0]) for _, v in before
            )
