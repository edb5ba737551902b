"""Pointer paths: the map of all pointers, and chains of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from harness import OURS, RAW, Case, Goal, Run, group, raw, timed
from others import editor_of
from world import World

import winipc

_MODULE = "target.exe"


class _Pointers:
    """A block in which one word in 13 is a pointer into the block."""

    def __init__(self, world: World, mebibytes: int) -> None:
        self.mebibytes = mebibytes
        self.size = mebibytes << 20
        self.count = mebibytes * 10_000_000 // 1024
        self.address = world.target.ask(f"pointers {mebibytes} {self.count}")
        self.base = self.address - self.size // 2
        self.process = world.enter(winipc.RemoteProcess.open(world.target.pid))
        module = self.process.module(_MODULE)
        self.regions: list[tuple[int, int]] | None
        self.regions = [(self.base, self.size), (module.base, module.size)]

    def ours(self, depth: int, threads: int | None = None) -> Run:
        return timed(
            "list(paths(address, depth, base=name, regions=regions, threads=threads))",
            paths=self.process.pointer_paths,
            address=self.address,
            depth=depth,
            name=_MODULE,
            regions=self.regions,
            threads=threads,
        )


@group("pointers")
def pointers(world: World) -> Iterator[Case]:
    if not hasattr(winipc, "PointerPaths"):
        return
    yield from _map_and_paths(world)
    yield _peer_case(world)


def _map_and_paths(world: World) -> Iterator[Case]:
    much = _Pointers(world, 128 if world.quick else 1024)
    what = f"{much.count / 1e6:.3g} million pointers in {much.mebibytes} MiB"
    reading = raw(
        *(world.raw.raw_read_range, much.process.handle),
        *(much.base, much.size, 1 << 20),
    )
    yield Case(
        f"map of {what}",
        {RAW: reading, OURS: much.ours(1), "winipc, 2 threads": much.ours(1, 2)},
        (Goal(1.5, "times"),),
        size=much.size,
        most=1,
        note="paths of one pointer are searched in it; raw C only reads, 1 MiB at a "
        "time",
    )
    yield Case(
        f"paths of up to 5 among {what}",
        {RAW: reading, OURS: much.ours(5)},
        (Goal(2.5, "times"),),
        most=1,
        note="the map is in it; max_offset is 0x1000; raw C only reads",
    )


def _peer_case(world: World) -> Case:
    few = _Pointers(world, 16 if world.quick else 64)
    depth = 3
    editor = editor_of(world)
    module = few.process.module(_MODULE)
    few.regions = None  # both search all writable memory
    options: dict[str, Any] = {
        "max_depth": depth,
        "max_offset": 0x1000,
        "static_ranges": [(module.base, module.size)],
    }
    ours = {
        (module.base + path.offset, *path.offsets)
        for path in few.process.pointer_paths(few.address, depth, base=_MODULE)
    }

    def theirs(n: int) -> int:
        began = time.perf_counter_ns()
        for _ in range(n):
            found = list(editor.scan_pointer_paths(few.address, **options))
        took = time.perf_counter_ns() - began
        paths = {(path.base_address, *path.offsets) for path in found}
        assert paths, "nothing to compare"
        assert paths <= ours, "it finds what winipc does not"
        return took

    return Case(
        f"paths of up to {depth} among {few.count} pointers in {few.mebibytes} MiB",
        {OURS: few.ours(depth), "PyMemoryEditor": theirs},
        (Goal(20, "faster", "PyMemoryEditor"),),
        most=1,
        note="all that PyMemoryEditor finds, winipc has found as well",
    )
