"""Regular expressions in another process's memory, against re on all of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from helpers.c_target import Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from winipc import ProcessAccess, RegexMatch, RemoteProcess
from winipc.scan import regex as module

PAGE = 4096
PIECE = 1 << 20


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests."""
    return targets()


@pytest.mark.smoke
def test_names_are_found(process: RemoteProcess, target: Target) -> None:
    """With their address, their bytes and their groups."""
    at = target.alloc(PAGE)
    process.write(at + 100, b"name=Ann;age=7;name=Bo;")
    found = list(process.scan_regex(rb"name=(\w+);(age)?", regions=[(at, PAGE)]))
    assert found == [
        (at + 100, b"name=Ann;age", (b"Ann", b"age")),
        (at + 115, b"name=Bo;", (b"Bo", None)),
    ]
    assert isinstance(found[0], RegexMatch)
    assert repr(found[1]) == (
        f"RegexMatch(address={at + 115:#x}, data=b'name=Bo;', groups=(b'Bo', None))"
    )
    every = process.scan_regex(re.compile(rb"NAME=ann", re.IGNORECASE), limit=1)
    assert [match.address for match in every] == [at + 100]


EXPRESSIONS = [
    rb"a+",
    rb"a+?b",
    rb"(?<=b)a",
    rb"^a",
    rb"(?m)^a",
    rb"a$",
    rb"a*",
    rb"\bab\b",
    rb"(a|b)\1",
    rb"ab(?=a)",
    rb"(?s)a.{2,5}b",
    rb"a(?!b)",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(
    st.sampled_from(EXPRESSIONS),
    st.text(alphabet="ab \n", max_size=8),
    st.lists(st.text(alphabet="ab \n", max_size=7), max_size=12),
    st.integers(8, 20),
    st.integers(1, 40),
)
def test_pieces_find_what_one_search_does(
    me: RemoteProcess,
    monkeypatch: pytest.MonkeyPatch,
    expression: bytes,
    first: str,
    parts: list[str],
    overlap: int,
    piece: int,
) -> None:
    """No duplicate, none missed, in order, for matches up to the overlap."""
    # Runs of one letter are shorter than the overlap.
    data = (first + "".join(part + " " for part in parts)).encode()
    data = re.sub(rb"(.)\1{6,}", rb"\1 ", data)
    expected = [
        (m.start(), m.group(), m.groups())
        for m in re.finditer(expression, data)
        if m.group()
    ]
    monkeypatch.setattr(module, "_PIECE", piece)
    with me.alloc(PAGE) as block:
        block.write(data, PAGE - len(data))
        at = block.address + PAGE - len(data)
        found = me.scan_regex(expression, overlap=overlap, regions=[(at, len(data))])
        assert [(m[0] - at, m[1], m[2]) for m in found] == expected


def test_matches_at_the_ends_of_pieces(process: RemoteProcess, target: Target) -> None:
    """Real pieces, and every place around their border."""
    size = 2 * PIECE + PAGE
    at = target.alloc(size)
    for shift in (-4096, -300, -11, -10, -9, -5, -1, 0, 1, 5):
        place = at + PIECE + shift
        process.write(place, b"<needle-12>")
        found = [
            m.address
            for m in process.scan_regex(rb"<needle-\d+>", regions=[(at, size)])
        ]
        assert found == [place]
        process.write(place, bytes(11))


def test_a_match_longer_than_the_overlap_is_cut(
    process: RemoteProcess, target: Target
) -> None:
    """As is documented: in pieces that together are all of it, none twice."""
    size = 2 * PIECE
    at = target.alloc(size)
    process.write(at + PIECE - 1000, b"x" * 2000)
    where = [(at, size)]
    whole = list(process.scan_regex(rb"x+", overlap=4096, regions=where))
    assert [(m.address, len(m.data)) for m in whole] == [(at + PIECE - 1000, 2000)]
    cut = list(process.scan_regex(rb"x+", overlap=100, regions=where))
    assert [(m.address, len(m.data)) for m in cut] == [
        (at + PIECE - 1000, 1000),
        (at + PIECE, 1000),
    ]


def test_what_cannot_be_read_is_between(process: RemoteProcess, target: Target) -> None:
    """No match over a hole, and no guard page is touched."""
    at = target.alloc(4 * PAGE)
    process.write(at, b"ab" * (2 * PAGE))
    target.protect(at + PAGE, PAGE, 0x104)
    found = list(
        process.scan_regex(rb"(?s)b.+", regions=[(at, 4 * PAGE)], overlap=PAGE)
    )
    assert [(m.address - at, len(m.data)) for m in found] == [
        (1, PAGE - 1),
        (2 * PAGE + 1, 2 * PAGE - 1),
    ]
    assert int(target.ask(f"query {at + PAGE:x}"), 16) == 0x104
    target.protect(at + 2 * PAGE, PAGE, 0x02)
    found = list(
        process.scan_regex(rb"(?s)^a.+", regions=[(at, 4 * PAGE)], protection="w")
    )
    assert [m.address - at for m in found] == [0, 3 * PAGE]


def test_progress_and_limit_end_it(process: RemoteProcess, target: Target) -> None:
    """After so many matches, or when it says False."""
    size = 3 * PIECE
    at = target.alloc(size)
    for number in range(3):
        process.write(at + number * PIECE, b"needle")
    where = [(at, size)]
    assert len(list(process.scan_regex(b"needle", regions=where, limit=2))) == 2
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> bool:
        told.append((done, total))
        return done < 2 * PIECE

    assert (
        len(list(process.scan_regex(b"needle", regions=where, progress=progress))) == 2
    )
    assert told == [(PIECE, size), (2 * PIECE, size)]


def test_a_target_that_exits_ends_it(process: RemoteProcess, target: Target) -> None:
    """After what had been found before."""
    size = 3 * PIECE
    at = target.alloc(size)
    process.write(at, b"needle")
    scan = process.scan_regex(b"needle", regions=[(at, size)])
    assert next(scan).address == at
    target.peer.kill()
    with pytest.raises(ProcessLookupError):
        next(scan)
    with pytest.raises(ProcessLookupError):
        list(process.scan_regex(b"needle"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param({"regex": "text"}, TypeError, id="a str"),
        pytest.param(
            {
                "regex": rb"(",
            },
            re.error,
            id="no expression",
        ),
        pytest.param({"regex": rb"x", "overlap": 0}, ValueError, id="no overlap"),
        pytest.param({"regex": rb"x", "overlap": 1 << 27}, ValueError, id="large"),
        pytest.param({"regex": rb"x", "limit": 0}, ValueError, id="no limit"),
        pytest.param({"regex": rb"x", "protection": "z"}, ValueError, id="protection"),
    ],
)
def test_malformed_calls_are_refused_at_once(
    me: RemoteProcess, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """By the call, not by the first result."""
    with pytest.raises(error):
        me.scan_regex(**arguments)


def test_only_reading_is_needed(target: Target) -> None:
    """The least rights."""
    with RemoteProcess.open(target, access=ProcessAccess.READ) as process:
        assert next(process.scan_regex(rb"This program cannot")).data
