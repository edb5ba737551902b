"""The map of pointers and its walks, plain C, against a search in Python.

tests/native/pointers.c is built with sanitizers, and hypothesis makes its cases:
little memory with many pointers, at the edges of pages, windows and bases.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import FULL, ROOT, compiled
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

PAGE, WINDOW = 4096, 1 << 18
END = 1 << 47
PLENTY = 1 << 30
SANITIZED = ("-g", "-O1", "-fno-sanitize-recover=all", "-fsanitize=address,undefined")

Ranges = list[tuple[int, int]]


class Kernel:
    """The program, which answers a case with what it found."""

    def __init__(self, program: Path) -> None:
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(
        self,
        width: int,
        numbers: tuple[int, ...],
        targets: Ranges,
        bases: Ranges,
        pieces: dict[int, list[int]],
    ) -> list[tuple[int, ...]] | None:
        """The count of pointers, alone, and the paths; None: no memory."""
        words = [width, *numbers]
        for ranges in (targets, bases):
            words += [len(ranges), *(edge for pair in ranges for edge in pair)]
        words.append(len(pieces))
        for address, values in pieces.items():
            words += [address, len(values), *values]
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        lines = []
        while (line := self.process.stdout.readline().strip()) != "":
            lines.append(line)
        assert lines, f"it ended with {self.process.wait(60)}"
        if lines == ["full"]:
            return None
        return [tuple(map(int, line.split())) for line in lines]


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    program = tmp_path_factory.mktemp("pointers") / "pointers"
    sources = [ROOT / "tests/native/pointers.c"]
    sources += [ROOT / "csrc/scan" / name for name in ("pointers.c", "kernels.c")]
    flags = ("-std=c11", "-Wall", "-Wextra", "-Werror", *SANITIZED)
    compiled("gcc", sources, program, *flags, libraries=["-lm"])
    kernel = Kernel(program)
    with kernel.process:  # closes its input, and waits
        yield kernel
    assert kernel.process.returncode == 0, "the sanitizers have found something"


def within(ranges: Ranges, address: int) -> bool:
    return any(start <= address < end for start, end in ranges)


def naive(
    width: int,
    address: int,
    depth: int,
    far: int,
    targets: Ranges,
    bases: Ranges,
    pieces: dict[int, list[int]],
) -> tuple[int, list[tuple[int, ...]]]:
    """Every chain, in the most obvious way, and how many pointers there are."""
    pages = [(s // PAGE * PAGE, -(-min(e, END) // PAGE) * PAGE) for s, e in targets]
    pointers = {
        start + i * width: value
        for start, values in pieces.items()
        for i, value in enumerate(values)
        if within(pages, value) and start + i * width < END
    }
    found: list[tuple[int, ...]] = []

    def back(at: int, offsets: tuple[int, ...], seen: tuple[int, ...]) -> None:
        for place, value in pointers.items():
            if place not in seen and 0 <= at - value <= far:
                longer = (at - value, *offsets)
                if within(bases, place):
                    found.append((place, *longer))
                if len(longer) < depth:
                    back(place, longer, (*seen, place))

    back(address, (), ())
    return len(pointers), found


@st.composite
def cases(draw: st.DrawFn) -> tuple:
    """A few places at edges, and words that are near them or anything."""
    width = draw(st.sampled_from([4, 8]))
    tops = [0x10000, WINDOW, 5 * WINDOW, 0x7FFE0000]
    if width == 8:
        tops += [1 << 32, 0x7FF8_0000_0000, END - WINDOW]
    starts = sorted(draw(st.sets(st.sampled_from(tops), min_size=1, max_size=3)))
    pieces: dict[int, list[int]] = {}
    targets: Ranges = []
    bases: Ranges = []
    edges: list[int] = []
    for top in starts:
        start = top - draw(st.sampled_from([0, PAGE, 2 * PAGE]))
        pages = draw(st.integers(1, 4))
        targets.append((start, start + pages * PAGE))
        edge = start + draw(st.sampled_from([0, PAGE, pages * PAGE])) - 4 * width
        edge = max(edge, start)
        edges += [edge, edge + 4 * width, start, start + pages * PAGE]
        pieces[edge] = []
        if draw(st.booleans()):
            first = edge + width * draw(st.integers(0, 4))
            bases.append((first, first + width * draw(st.integers(1, 6))))
    mask = (1 << 8 * width) - 1
    near = st.builds(
        lambda edge, off: (edge + off) & mask,
        st.sampled_from(edges),
        st.sampled_from([0, width, -width, 1, -1, 8, 16, 24, -PAGE]),
    )
    words = st.one_of(near, near, near, st.just(0), st.integers(0, mask))
    for edge in pieces:
        pieces[edge] = draw(st.lists(words, min_size=1, max_size=8))
    bases = [b for i, b in enumerate(bases) if i == 0 or b[0] > bases[i - 1][1]]
    address = draw(near)
    depth = draw(st.integers(1, 5))
    far = draw(st.sampled_from([0, width, 4 * width, PAGE, 3 * WINDOW, 1 << 40]))
    steps = draw(st.sampled_from([1, 2, 1000]))
    threads = draw(st.integers(2, 4))
    return width, address, depth, far, steps, threads, targets, bases, pieces


@settings(
    max_examples=400 if FULL else 100,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=cases())
@example(  # a pointer to itself, and one from and to a base
    case=(8, 0x10010, 4, 8, 1, 2, [(0x10000, 0x11000)], [(0x10008, 0x10010)],
          {0x10000: [0x10000, 0x10000, 0x10010]}),
)  # fmt: skip
def test_it_finds_what_a_naive_search_finds(kernel: Kernel, case: tuple) -> None:
    """The same paths, each once; short ones first, then by their last offset.

    Several threads find them in the same order.
    """
    width, address, depth, far, steps, threads, *memory = case
    count, expected = naive(width, address, depth, far, *memory)
    numbers = (address, depth, far, PLENTY, steps)
    answer = kernel.ask(width, (*numbers, 1), *memory)
    assert answer is not None
    assert answer == kernel.ask(width, (*numbers, threads), *memory)
    assert answer[0] == (count,)
    paths = answer[1:]
    assert sorted(paths) == sorted(expected)
    order = [(len(path), path[-1]) for path in paths]
    assert order == sorted(order)


def test_it_keeps_within_its_memory(kernel: Kernel) -> None:
    """Too little for any of its parts is an answer."""
    target, base, count = 1 << 32, 1 << 30, 20_000
    values = [target + i * 7919 % (1 << 24) for i in range(count)]
    memory = ([(base, base + 8 * count), (target, target + (1 << 24))], [])
    numbers = (target + 64, 3, 64)
    outcomes = [
        kernel.ask(8, (*numbers, most, 1000, 1), *memory, {base: values}) is None
        for most in range(100_000, 3_000_000, 20_000)
    ]
    assert outcomes == sorted(outcomes, reverse=True)
    assert outcomes[0]
    assert not outcomes[-1]


def test_dead_ends_cost_little(kernel: Kernel) -> None:
    """A thousand pointers to each other, and no base: without marks it took years."""
    start = 1 << 32
    values = [start + 8 * (i * 37 % 1000) for i in range(1000)]
    memory = ([(start, start + 8000)], [], {start: values})
    answer = kernel.ask(8, (start + 7992, 16, PAGE, PLENTY, 1000, 1), *memory)
    assert answer == [(1000,)]
