"""A target that maps, frees, exits or is killed meanwhile.

Against tests/process/peers/target.c, whose memory is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable

import pytest
from conftest import FULL
from helpers.c_target import Target

import winipc
from winipc import (
    MemoryProtection,
    PartialReadError,
    PartialWriteError,
    ProcessAccess,
    RemoteProcess,
)

PAGE = 4096


def test_a_dead_target_is_a_lookup_error(
    process: RemoteProcess, target: Target
) -> None:
    """Each operation says that it is gone."""
    point = target.where("point")
    target.peer.kill()
    for call in (
        lambda: process.read(point, 8),
        lambda: process.read(point, 8, partial=True),
        lambda: process.read_into(point, bytearray(10 * PAGE)),
        lambda: process.read_cstr(point),
        lambda: process.write(point, b"x"),
        lambda: process.alloc(1),
        lambda: list(process.regions()),
    ):
        with pytest.raises(ProcessLookupError):
            call()


def test_reads_while_the_target_maps_and_frees(
    process: RemoteProcess, target: Target
) -> None:
    """Every region that is listed is read or not; nothing else happens."""
    target.ask("churn on")
    for _ in range(5):
        for region in process.regions():
            if region.readable and region.type == winipc.MemoryType.PRIVATE:
                partial = process.read(
                    region.base, min(region.size, 1 << 20), partial=True
                )
                assert len(partial.data) == min(region.size, 1 << 20)
    target.ask("churn off")


def do_alloc(process: RemoteProcess) -> None:
    with process.alloc(1):
        pass


def do_protect(process: RemoteProcess, address: int) -> None:
    with process.protect(address, 2 * PAGE, MemoryProtection.READONLY):
        pass


def do_cached(process: RemoteProcess, address: int) -> None:
    with process.cached():
        process.read(address, 8)


async def watch_async(process: RemoteProcess, address: int) -> None:
    async for _ in process.watch(address, 8, 0):
        pass


OPERATIONS: dict[str, Callable[[RemoteProcess, int], object]] = {
    "read": lambda process, at: process.read(at, 8),
    "read_into": lambda process, at: process.read_into(at, bytearray(4 * PAGE)),
    "partial": lambda process, at: process.read(at, 16 * PAGE, partial=True),
    "read_many": lambda process, at: process.read_many(
        [(at + i * 64, 8) for i in range(200)]
    ),
    "cached": do_cached,
    "cstr": lambda process, at: process.read_cstr(at + 4 * PAGE - 1),
    "pointer": lambda process, at: process.pointer([at, 0]),
    "walk": lambda process, at: list(process.walk(at)),
    "write": lambda process, at: process.write(at, b"x"),
    "verify": lambda process, at: process.write(at, bytes(2 * PAGE), verify=True),
    "alloc": lambda process, at: do_alloc(process),
    "protect": do_protect,
    "regions": lambda process, at: list(process.regions()),
    "paths": lambda process, at: list(process.regions(paths=True)),
    "names": lambda process, at: list(process.regions(names=True)),
    "map": lambda process, at: process.memory_map(),
    "modules": lambda process, at: process.modules(),
    "exports": lambda process, at: process.exports("target.exe"),
    "threads": lambda process, at: process.threads(),
    "watch": lambda process, at: list(process.watch(at, 8, 0)),
    "watch_async": lambda process, at: asyncio.run(watch_async(process, at)),
    "scan": lambda process, at: list(process.scan(b"no such text", limit=3)),
    "first_scan": lambda process, at: winipc.CandidateSet.scan(
        process, "i32", equals=0x01020304
    ),
}


def test_a_pid_whose_process_has_exited_is_told_at_the_first_use(
    target: Target,
) -> None:
    """Windows opens it while anyone has a handle, as this test has: see `open`."""
    addresses = [
        target.where("list" if name == "walk" else "pages") for name in OPERATIONS
    ]
    target.exit(7)
    with RemoteProcess.open(target.pid, access=ProcessAccess.WRITE) as process:
        assert process.exit_code == 7
        for operation, address in zip(OPERATIONS.values(), addresses, strict=True):
            with pytest.raises(ProcessLookupError, match=f"{target.pid}, which has"):
                operation(process, address)


#: How often the target is killed in the middle of each of them.
KILLS = 20 if FULL else 1


@pytest.mark.parametrize("round_number", range(KILLS))
@pytest.mark.parametrize("operation", [*OPERATIONS, "rescan"])
def test_the_target_dies_in_the_middle(
    process: RemoteProcess, target: Target, operation: str, round_number: int
) -> None:
    """What was read, or ProcessLookupError; never anything else."""
    address = target.where("list" if operation == "walk" else "pages")
    if operation == "cstr":
        process.write(address + 4 * PAGE - 1, b"\0")
    elif operation == "pointer":
        process.write(address, address.to_bytes(8, "little"))
    until = time.monotonic() + 60
    found = winipc.CandidateSet.scan(process, "u8", regions=[(address, 4 * PAGE)])
    killer = threading.Timer(0.05 + 0.007 * round_number, target.peer.process.kill)

    def go_on() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(PartialReadError, PartialWriteError):
                if operation == "rescan":
                    found.rescan("unchanged")
                else:
                    OPERATIONS[operation](process, address)

    with found:
        killer.start()
        with pytest.raises(ProcessLookupError):
            go_on()
        assert len(found) == 4 * PAGE
    killer.join()
    process.wait(60)


def allocate_and_list_for_ever(process: RemoteProcess) -> None:
    while True:
        with process.alloc(1):
            list(process.regions())


def test_no_memory_call_is_stuck_in_a_dead_target(
    start_peer: Callable[..., object],
) -> None:
    """Killed again and again in the middle of calls that work inside the target.

    Wine leaves about one in ten of these calls waiting for ever.
    """
    for round_number in range(24 if FULL else 12):
        target = Target(start_peer("target.exe"))
        with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
            killer = threading.Timer(0.005 * (round_number % 6), target.peer.kill)
            killer.start()
            with pytest.raises(ProcessLookupError):
                allocate_and_list_for_ever(process)
            killer.join()
