"""Cases in which a better algorithm beats a faster call."""

from __future__ import annotations

import ctypes
import itertools
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import OURS, RAW, Case, Goal, Run, group, raw, timed
from others import editor_of, pymem_of
from world import World

import winipc

#: A scan must read all memory, so reading is the limit: a scan has 95 % of its speed.
_READING = Goal(1 / 0.95, "times")
_COMPARED = "raw C, compared"
_COUNT = 1000
_HOPS = 10_000


def _each(world: World, handle: int, addresses: list[int]) -> Run:
    array = (ctypes.c_void_p * len(addresses))(*addresses)
    return raw(world.raw.raw_read_each, handle, array, len(addresses))


@group("reads")
def reads(world: World) -> Iterator[Case]:
    target = world.target
    process = world.enter(winipc.RemoteProcess.open(target.pid))
    memory = pymem_of(world)
    for label, span, goal in (
        ("64 KiB", 1 << 16, Goal(60, "faster")),
        ("1 MiB", 1 << 20, Goal(12, "faster")),
        ("16 MiB", 16 << 20, Goal(1.1, "times")),
    ):
        step = span // _COUNT
        addresses = [target.block + i * step for i in range(_COUNT)]
        yield Case(
            f"read_many, 1000 x 8 B in {label}",
            {
                RAW: _each(world, process.handle, addresses),
                OURS: timed(
                    "read(requests)",
                    read=process.read_many,
                    requests=[(address, 8) for address in addresses],
                ),
                "winipc, one by one": timed(
                    "for address in addresses: read(address, 8)",
                    read=process.read,
                    addresses=addresses,
                ),
                "pymem, one by one": timed(
                    "for address in addresses: read(address, 8)",
                    read=memory.read_bytes,
                    addresses=addresses,
                ),
            },
            (goal,),
        )

    def chain(read: Callable[[int], int]) -> None:
        node = target.list
        for _ in itertools.repeat(None, _HOPS):
            node = read(node)
            if not node:
                break

    def cached() -> None:
        with process.cached():
            chain(process.read_pointer)

    yield Case(
        "linked list, 10,000 hops in 1 MiB",
        {
            RAW: raw(world.raw.raw_follow, process.handle, target.list, _HOPS),
            OURS: timed("len(list(walk(head)))", walk=process.walk, head=target.list),
            "winipc, cached() and read_pointer": timed("run()", run=cached),
            "pymem": timed("run(read)", run=chain, read=memory.read_ulonglong),
        },
        (Goal(50, "faster"),),
        most=20,
        note="raw C: one ReadProcessMemory for each hop; winipc: `walk`, and the same "
        "hops in Python within `cached()`",
    )


def _code() -> bytes:
    name = f"python{sys.version_info.major}{sys.version_info.minor}.dll"
    dll = Path(sys.base_prefix, name).read_bytes()
    return (dll * ((16 << 20) // len(dll) + 1))[: 16 << 20]


class _Big:
    """A big block in the target, and the objects that search it."""

    def __init__(self, world: World) -> None:
        self.mebibytes = 64 if world.quick else 256
        self.size = self.mebibytes << 20
        self.base = world.target.ask(f"big {self.mebibytes}")
        self.region = [(self.base, self.size)]
        self.process = world.enter(winipc.RemoteProcess.open(world.target.pid))
        self.memory = pymem_of(world)
        self.editor = editor_of(world)
        regions = self.editor.snapshot_memory_regions()
        self.its_region = [one for one in regions if one.address == self.base]
        assert self.its_region[0].size >= self.size
        self.reading = raw(
            *(world.raw.raw_read_range, self.process.handle),
            *(self.base, self.size, 1 << 20),
        )

    def copy(self) -> bytes:
        """Read the block as pymem reads one region, without a walk over all regions."""
        data: bytes = self.memory.read_bytes(self.base, self.size)
        return data

    def ours(self, what: object, threads: int | None = None) -> Run:
        return timed(
            "assert list(scan(what, regions=region, threads=threads))",
            scan=self.process.scan,
            what=what,
            region=self.region,
            threads=threads,
        )

    def near_the_end(self, back: int, size: int = 16) -> bytes:
        data: bytes = self.process.read(self.base + self.size - back, size)
        return data


@group("scan")
def scan(world: World) -> Iterator[Case]:
    if not hasattr(winipc, "Pattern"):
        return
    big = _Big(world)
    yield _pattern_case(big)
    yield _value_case(big)
    yield _rescan_case(world, big)
    yield _bytes_case(big.process.read(big.base, 16 << 20))
    yield _code_case()


def _pattern_case(big: _Big) -> Case:
    pattern = big.near_the_end(64)
    patterns = [big.near_the_end(64 * k) for k in range(1, 17)]

    def theirs(n: int) -> int:
        began = time.perf_counter_ns()
        expression = re.compile(re.escape(pattern), re.DOTALL)
        for _ in itertools.repeat(None, n):
            data = big.copy()
            assert [match.start() for match in expression.finditer(data)]
        return time.perf_counter_ns() - began

    return Case(
        f"16-byte pattern in {big.mebibytes} MiB of a process",
        {
            RAW: big.reading,
            OURS: big.ours(winipc.Pattern.exact(pattern)),
            "winipc, 16 patterns": big.ours(
                [winipc.Pattern.exact(item) for item in patterns]
            ),
            "read and re, as pymem": theirs,
            "PyMemoryEditor": timed(
                "assert list(scan(what, memory_regions=region))",
                scan=big.editor.search_by_pattern,
                what=pattern.hex(" "),
                region=big.its_region,
            ),
        },
        (
            _READING,
            Goal(3.5, "faster", "read and re, as pymem"),
            Goal(3.5, "faster", "PyMemoryEditor"),
            Goal(1.1, "times", OURS, "winipc, 16 patterns"),
        ),
        size=big.size,
        most=2,
        note="raw C only reads, 1 MiB at a time",
    )


def _value_case(big: _Big) -> Case:
    number = struct.unpack("<i", big.near_the_end(64, 4))[0]

    def with_numpy(n: int) -> int:
        import numpy

        began = time.perf_counter_ns()
        for _ in itertools.repeat(None, n):
            data = numpy.frombuffer(big.copy(), numpy.int32)
            assert len(numpy.flatnonzero(data == number))
        return time.perf_counter_ns() - began

    return Case(
        f"int32 value in {big.mebibytes} MiB of a process",
        {
            RAW: big.reading,
            OURS: big.ours(winipc.Pattern.value("i32", number)),
            "winipc, 2 threads": big.ours(winipc.Pattern.value("i32", number), 2),
            "pymem and NumPy": with_numpy,
            "PyMemoryEditor": timed(
                "assert list(scan(int, 4, number, memory_regions=region))",
                scan=big.editor.search_by_value,
                number=number,
                region=big.its_region,
            ),
        },
        (_READING, Goal(3.5, "faster", "pymem and NumPy")),
        size=big.size,
        most=2,
    )


def _rescan_case(world: World, big: _Big) -> Case:
    numbers = world.enter(
        winipc.CandidateSet.scan(big.process, "i32", regions=big.region)
    )

    before = world.enter(winipc.SharedMapping.create(None, big.size))
    with memoryview(before) as view:
        big.process.read_into(big.base, view)
    comparing = raw(
        *(world.raw.raw_compare_range, big.process.handle),
        *(big.base, big.size, 1 << 20, before.address),
    )

    def changed(n: int) -> int:
        """pymem with NumPy: read all again, and compare with the bytes before."""
        import numpy

        before = numpy.frombuffer(big.copy(), numpy.int32)
        began = time.perf_counter_ns()
        for _ in itertools.repeat(None, n):
            data = numpy.frombuffer(big.copy(), numpy.int32)
            assert len(numpy.flatnonzero(data == before)) == len(before)
            before = data
        return time.perf_counter_ns() - began

    return Case(
        f"unchanged int32 of {big.mebibytes} MiB of a process",
        {
            RAW: big.reading,
            _COMPARED: comparing,
            OURS: timed("assert rescan('unchanged')", rescan=numbers.rescan),
            "pymem and NumPy": changed,
        },
        (
            Goal(1 / 0.95, "times", _COMPARED),
            Goal(3.5, "faster", "pymem and NumPy"),
        ),
        size=big.size,
        most=2,
        note="a `CandidateSet` in which every place is a candidate; raw C only reads, "
        "or compares with what was there before as well, which is as much memory",
    )


def _bytes_case(local: bytes) -> Case:
    needle = local[-64:-48]
    return Case(
        "16-byte pattern in 16 MiB of bytes",
        {
            OURS: timed(
                "assert list(scan(data, what))",
                scan=winipc.scan_bytes,
                data=local,
                what=winipc.Pattern.exact(needle),
            ),
            "re": timed(
                "assert list(search(data))",
                search=re.compile(re.escape(needle), re.DOTALL).finditer,
                data=local,
            ),
            "bytes.find": timed("assert find(needle)", find=local.find, needle=needle),
        },
        (Goal(12, "faster", "re"),),
        size=16 << 20,
        most=8,
    )


def _code_case() -> Case:
    code = _code()
    found = code.index(b"\x48\x8b\x05", len(code) // 2)  # mov rax, [rip + ????]
    rest = code[found + 7 : found + 14]
    return Case(
        "signature of code in 16 MiB of code",
        {
            OURS: timed(
                "assert list(scan(data, what))",
                scan=winipc.scan_bytes,
                data=code,
                what=winipc.Pattern.hex("48 8B 05 ?? ?? ?? ?? " + rest.hex(" ")),
            ),
            "re": timed(
                "assert list(search(data))",
                search=re.compile(
                    re.escape(b"\x48\x8b\x05") + b"...." + re.escape(rest), re.DOTALL
                ).finditer,
                data=code,
            ),
        },
        size=16 << 20,
        most=8,
        note="Python's own DLL, in which bytes are not as even as random ones",
    )
