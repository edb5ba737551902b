"""Where a better algorithm beats the faster call."""

from __future__ import annotations

import ctypes
import itertools
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pymem
import pymem.pattern
import PyMemoryEditor
from harness import OURS, RAW, Case, Goal, Run, group, raw, timed
from world import World

import winipc

_COUNT = 1000
_HOPS = 10_000


def _each(world: World, handle: int, addresses: list[int]) -> Run:
    array = (ctypes.c_void_p * len(addresses))(*addresses)
    return raw(world.raw.raw_read_each, handle, array, len(addresses))


@group("reads")
def reads(world: World) -> Iterator[Case]:
    target = world.target
    process = world.enter(winipc.RemoteProcess.open(target.pid))
    memory = pymem.Pymem()
    memory.open_process_from_id(target.pid)
    world.stack.callback(memory.close_process)
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


@group("scan")
def scan(world: World) -> Iterator[Case]:
    if not hasattr(winipc, "Pattern"):
        return
    mebibytes = 64 if world.quick else 256
    size = mebibytes << 20
    base = world.target.ask(f"big {mebibytes}")
    process = world.enter(winipc.RemoteProcess.open(world.target.pid))
    memory = pymem.Pymem()
    memory.open_process_from_id(world.target.pid)
    world.stack.callback(memory.close_process)
    pattern = process.read(base + size - 64, 16)
    patterns = [process.read(base + size - 64 * k, 16) for k in range(1, 17)]
    region = [(base, size)]
    editor = world.enter(PyMemoryEditor.OpenProcess(pid=world.target.pid))
    its_region = [
        one for one in editor.snapshot_memory_regions() if one.address == base
    ]
    assert its_region[0].size >= size

    def ours(what: object) -> Run:
        return timed(
            "assert list(scan(what, regions=region))",
            scan=process.scan,
            what=what,
            region=region,
        )

    def theirs(n: int) -> int:
        """What pymem does for one region, without its walk over all of them."""
        began = time.perf_counter_ns()
        expression = re.compile(re.escape(pattern), re.DOTALL)
        for _ in itertools.repeat(None, n):
            data = memory.read_bytes(base, size)
            assert [match.start() for match in expression.finditer(data)]
        return time.perf_counter_ns() - began

    reading = raw(world.raw.raw_read_range, process.handle, base, size, 1 << 20)
    yield Case(
        f"16-byte pattern in {mebibytes} MiB of a process",
        {
            RAW: reading,
            OURS: ours(winipc.Pattern.exact(pattern)),
            "winipc, 16 patterns": ours(
                [winipc.Pattern.exact(item) for item in patterns]
            ),
            "read and re, as pymem": theirs,
            "PyMemoryEditor": timed(
                "assert list(scan(what, memory_regions=region))",
                scan=editor.search_by_pattern,
                what=pattern.hex(" "),
                region=its_region,
            ),
        },
        (
            Goal(1.25, "times"),
            Goal(5.5, "faster", "read and re, as pymem"),
            Goal(5.5, "faster", "PyMemoryEditor"),
            Goal(1.5, "times", OURS, "winipc, 16 patterns"),
        ),
        size=size,
        most=2,
        note="raw C only reads, 1 MiB at a time",
    )
    number = struct.unpack("<i", process.read(base + size - 64, 4))[0]

    def with_numpy(n: int) -> int:
        import numpy

        began = time.perf_counter_ns()
        for _ in itertools.repeat(None, n):
            data = numpy.frombuffer(memory.read_bytes(base, size), numpy.int32)
            assert len(numpy.flatnonzero(data == number))
        return time.perf_counter_ns() - began

    yield Case(
        f"int32 value in {mebibytes} MiB of a process",
        {
            RAW: reading,
            OURS: ours(winipc.Pattern.value("int32", number)),
            "pymem and NumPy": with_numpy,
            "PyMemoryEditor": timed(
                "assert list(scan(int, 4, number, memory_regions=region))",
                scan=editor.search_by_value,
                number=number,
                region=its_region,
            ),
        },
        (Goal(1.1, "times"), Goal(4.5, "faster", "pymem and NumPy")),
        size=size,
        most=2,
    )
    numbers = world.enter(winipc.CandidateSet.scan(process, "int32", regions=region))

    def changed(n: int) -> int:
        """pymem with NumPy: all read again and compared with what was before."""
        import numpy

        before = numpy.frombuffer(memory.read_bytes(base, size), numpy.int32)
        began = time.perf_counter_ns()
        for _ in itertools.repeat(None, n):
            data = numpy.frombuffer(memory.read_bytes(base, size), numpy.int32)
            assert len(numpy.flatnonzero(data == before)) == len(before)
            before = data
        return time.perf_counter_ns() - began

    yield Case(
        f"unchanged int32 of {mebibytes} MiB of a process",
        {
            RAW: reading,
            OURS: timed("assert rescan('unchanged')", rescan=numbers.rescan),
            "pymem and NumPy": changed,
        },
        (Goal(1.1, "times"), Goal(4.5, "faster", "pymem and NumPy")),
        size=size,
        most=2,
        note="a `CandidateSet` in which every place is a candidate; raw C only reads",
    )
    local = process.read(base, 16 << 20)
    needle = local[-64:-48]
    yield Case(
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
        (Goal((16 << 20) / 9), Goal(12, "faster", "re")),
        size=16 << 20,
        most=8,
    )
    code = _code()
    found = code.index(b"\x48\x8b\x05", len(code) // 2)  # mov rax, [rip + ????]
    rest = code[found + 7 : found + 14]
    yield Case(
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
