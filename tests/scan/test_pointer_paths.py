"""Pointer paths in tests/scan/peers/chains.c, which tells the truth about its own."""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, FULL, c_peer_path, interrupted

from winipc import (
    MemoryProtection,
    PointerPath,
    PointerPaths,
    PointerScan,
    ProcessAccess,
    RemoteProcess,
)
from winipc.pe import build_section_dll
from winipc.testing import Peer, stable_paths

#: How often the memory is searched while it moves; so many in one test.
CHURN_SCANS = 1000 if FULL else 8
CHURN_ROUND = 100

BITNESS = 64 if sys.maxsize > 1 << 32 else 32


class Chains:
    """The program of one run."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.pid = peer.pid
        self.kill, self.wait, self.reap = peer.kill, peer.wait, peer.reap
        peer.expect("ready")

    def ask(self, line: str) -> str:
        self.peer.say(line)
        return self.peer.read_line()

    def where(self) -> int:
        return int(self.ask("where"), 16)

    def truth(self) -> set[PointerPath]:
        paths = set()
        self.peer.say("truth")
        while (line := self.peer.read_line()) != "end":
            module, *numbers = line.split()
            offset, *offsets = (int(number, 16) for number in numbers)
            paths.add(PointerPath(module, offset, tuple(offsets), BITNESS))
        return paths


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], Chains]]:
    """Start the program with a seed. One at a time: the DLL's variable is shared."""
    dll = tmp_path / "chains.dll"
    build_section_dll(dll, {"before": 0x130, "root": 64})
    peers: list[Peer] = []

    def start(seed: int) -> Chains:
        argv = [str(c_peer_path("chains.exe")), str(seed), str(dll)]
        peers.append(Peer(argv, timeout=DEADLINE))
        return Chains(peers[-1])

    yield start
    for peer in peers:
        peer.reap()


@pytest.fixture
def chains(start: Callable[[int], Chains]) -> Chains:
    return start(1)


@pytest.fixture
def process(chains: Chains) -> Iterator[RemoteProcess]:
    with RemoteProcess.open(chains, access=ProcessAccess.WRITE) as process:
        yield process


def opened(chains: Chains) -> RemoteProcess:
    return RemoteProcess.open(chains)


# -------------------------------------------------------------------- finding


def test_it_finds_the_truth(chains: Chains, process: RemoteProcess) -> None:
    """All three chains; whatever is found leads to the address, short ones first."""
    address, truth = chains.where(), chains.truth()
    scan = process.pointer_paths(address, 3)
    found = PointerPaths(scan)
    assert truth <= set(found)
    assert len(set(found)) == len(found)
    assert found.check(process, address) == found
    assert {process.pointer(path) for path in truth} == {address}
    for path in truth:
        wanted = process.get(address, "i32")
        assert process.get(path, "i32") == process.get(str(path), "i32") == wanted
    order = [(len(path.offsets), path.offsets[-1]) for path in found]
    assert order == sorted(order)
    assert max(max(path.offsets) for path in found) <= 0x1000
    assert scan.closed
    assert not scan.cancelled
    assert scan.pointers > 0


def naive(process: RemoteProcess, address: int, depth: int, far: int) -> set:
    """Chains of addresses, in the most obvious way, from all that can be written."""
    width = process.pointer_size
    regions = list(process.regions())
    readable = [region for region in regions if region.readable]
    pages = {page for r in readable for page in range(r.base >> 12, -(-r.end >> 12))}
    pointers = []
    for region in readable:
        if region.writable:
            data = process.read(region.base, region.size)
            words = struct.iter_unpack("<Q" if width == 8 else "<I", data)
            pointers += [
                (value, region.base + i * width)
                for i, (value,) in enumerate(words)
                if value >> 12 in pages
            ]
    modules = process.modules()
    found = set()

    def back(at: int, offsets: tuple[int, ...], seen: tuple[int, ...]) -> None:
        for value, place in pointers:
            if 0 <= at - value <= far and place not in seen:
                chain = (at - value, *offsets)
                if any(place in module for module in modules):
                    found.add((place, *chain))
                if len(chain) < depth:
                    back(place, chain, (*seen, place))

    back(address, (), ())
    return found


def test_it_finds_what_a_naive_search_finds(
    chains: Chains, process: RemoteProcess
) -> None:
    """In the whole memory of a process that stands still."""
    address = chains.where()
    bases = {module.name: module.base for module in process.modules()}
    scan = process.pointer_paths(address, 3, 0x80)
    found = [(bases[p.module] + p.offset, *p.offsets) for p in scan]
    assert set(found) == naive(process, address, 3, 0x80)
    assert len(set(found)) == len(found)


def test_threads_find_what_one_finds(chains: Chains, process: RemoteProcess) -> None:
    """The same paths in the same order, and as many pointers.

    Not in the stacks, which change even in a process that stands still.
    """
    assert chains.ask("big 24") == "ok"
    address = chains.where()
    heap = next(r for r in process.regions() if r.base <= address < r.end)
    where: list[Any] = [
        region
        for region in process.regions()
        if region.allocation_base == heap.allocation_base or region.size >= 24 << 20
    ]
    where += [process.module("chains.exe"), process.module("chains.dll")]
    scans = [
        process.pointer_paths(address, 4, 0x100, regions=where, threads=n)
        for n in (1, 2, 5)
    ]
    one, *others = [list(scan) for scan in scans]
    assert chains.truth() <= set(one)
    assert others == [one, one]
    assert len({(scan.scanned, scan.skipped, scan.pointers) for scan in scans}) == 1
    assert scans[0].pointers > 1 << 20


def test_depth_and_offset_are_limits(chains: Chains, process: RemoteProcess) -> None:
    """The chain of three needs 3 and 0x40; of depth 1 only one is left."""
    address = chains.where()
    (long,) = (path for path in chains.truth() if len(path.offsets) == 3)
    assert long in set(process.pointer_paths(address, 3, 0x40))
    assert long not in set(process.pointer_paths(address, 2, 0x40))
    assert long not in set(process.pointer_paths(address, 3, 0x3F))
    assert {len(p.offsets) for p in process.pointer_paths(address, 1)} == {1}
    everywhere = set(process.pointer_paths(address, 1, (1 << 64) - 1))
    assert {path for path in chains.truth() if len(path.offsets) == 1} <= everywhere
    for depth in (0, 17):
        with pytest.raises(ValueError, match="depth"):
            process.pointer_paths(address, depth)


def test_bases_are_chosen_by_name(chains: Chains, process: RemoteProcess) -> None:
    """A name, a module, or several; one that is not there is an error."""
    address = chains.where()
    for base in ("chains.dll", process.module("chains.dll"), ["CHAINS.DLL"]):
        found = process.pointer_paths(address, 3, base=base)
        assert {path.module for path in found} == {"chains.dll"}
    both = set(process.pointer_paths(address, 3, base=["chains.dll", "chains.exe"]))
    assert chains.truth() <= both
    with pytest.raises(LookupError, match=r"no\.dll"):
        process.pointer_paths(address, base="no.dll")


def test_pointers_are_looked_for_where_it_says(
    chains: Chains, process: RemoteProcess
) -> None:
    """In some regions, or in those with a protection."""
    address = chains.where()
    module = process.module("chains.dll")
    only = process.pointer_paths(address, 1, 1 << 20, regions=[module])
    assert {path.module for path in only} <= {"chains.dll"}
    # Code of 32 bits has addresses in it, but not those of the chain.
    assert not set(chains.truth()) & set(process.pointer_paths(address, protection="x"))
    place = module + next(p for p in chains.truth() if p.module == module.name).offset
    with process.protect(place, 8, MemoryProtection.READONLY):
        page = (place, place + process.pointer_size)
        usual = process.pointer_paths(address, 2, base=module)
        assert not list(usual)
        every = process.pointer_paths(address, 2, base=module, protection=None)
        found = set(every)
    assert any(module + path.offset == page[0] for path in found)


# ---------------------------------------------------------------------- paths


def test_paths_hold_in_another_run(start: Callable[[int], Chains]) -> None:
    """Modules and heap are elsewhere; what is checked and what is common both hold."""
    first = start(1)
    with opened(first) as process:
        addresses = [first.where()]
        bases = [process.module("chains.dll").base]
        paths = PointerPaths(process.pointer_paths(addresses[0], 3))
    first.reap()
    second = start(4)
    with opened(second) as process:
        truth = second.truth()
        addresses.append(second.where())
        bases.append(process.module("chains.dll").base)
        checked = paths.check(process, addresses[1])
        again = PointerPaths(process.pointer_paths(addresses[1], 3))
        assert chains_moved(addresses, bases)
        assert truth <= set(checked)
        assert set(checked) < set(paths)
        assert set(paths & again) == set(checked)
        assert set(checked) <= set(paths.check(process))
        assert {process.pointer(p) for p in truth} == {addresses[1]}


def chains_moved(addresses: list[int], bases: list[int]) -> bool:
    return len(set(addresses)) == len(addresses) and len(set(bases)) == len(bases)


def test_paths_of_other_processes_do_not_hold(process: RemoteProcess) -> None:
    """Of the other bitness, of modules that are not there, through no memory."""
    other = 96 - BITNESS
    wrong = PointerPaths(
        [
            PointerPath("chains.exe", 0, (0,), other),
            PointerPath("no.dll", 0, (0,), BITNESS),
            PointerPath("chains.exe", 0, (0, 0), BITNESS),  # "MZ" leads nowhere
            PointerPath("chains.exe", 0, (1 << 64, 0), BITNESS),
        ]
    )
    assert wrong.check(process) == ()


def test_check_says_that_the_target_is_gone(
    chains: Chains, process: RemoteProcess
) -> None:
    """And not that no path holds."""
    paths = PointerPaths(process.pointer_paths(chains.where(), 2))
    chains.kill()
    with pytest.raises(ProcessLookupError):
        paths.check(process)


def test_files_keep_paths(
    chains: Chains, process: RemoteProcess, tmp_path: Path
) -> None:
    """As JSON, one to a line, with the version of the module."""
    paths = PointerPaths(process.pointer_paths(chains.where(), 3))
    file = tmp_path / "paths.json"
    paths.save(file)
    loaded = PointerPaths.load(file)
    assert type(loaded) is PointerPaths
    assert loaded == paths
    assert [path.version for path in loaded] == [path.version for path in paths]
    data = json.loads(file.read_text(encoding="utf-8"))
    assert data["format"] == "winipc pointer paths"
    assert data["version"] == 1
    assert len(file.read_text(encoding="utf-8").splitlines()) == len(paths) + 2
    assert data["paths"][0]["module"] == paths[0].module


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{}",
        '{"format": "winipc pointer paths", "version": 2, "paths": []}',
        '{"format": "winipc pointer paths", "version": 1, "paths": [{}]}',
        '{"format": "winipc pointer paths", "version": 1, "paths": [{"module": "a",'
        ' "offset": -1, "offsets": [], "bitness": 64}]}',
        '{"format": "winipc pointer paths", "version": 1, "paths": [{"module": "a",'
        ' "offset": 1, "offsets": [true], "bitness": 64}]}',
        '{"format": "winipc pointer paths", "version": 1, "paths": [{"module": "a",'
        ' "offset": 1, "offsets": [1], "bitness": 16}]}',
        '{"format": "winipc pointer paths", "version": 1, "paths": [{"module": "a",'
        ' "offset": 1, "offsets": [1], "bitness": 64.0}]}',
        '{"format": "winipc pointer paths", "version": 1, "paths": [{"module": ["a"],'
        ' "offset": 1, "offsets": [1], "bitness": 64}]}',
        '{"format": "winipc pointer paths", "version": 1, "paths": [{"module": "a",'
        ' "offset": 1, "offsets": {}, "bitness": 64}]}',
        "nothing",
        "[" * 100_000,
        "9" * 5000,
    ],
    ids=range(13),
)
def test_files_of_others_are_refused(tmp_path: Path, text: str) -> None:
    """Whatever stands in them, by an error that names the file."""
    file = tmp_path / "paths.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"paths\.json.* no file of pointer paths"):
        PointerPaths.load(file)


def test_offsets_that_lead_nowhere_do_not_hold(process: RemoteProcess) -> None:
    """Out of all addresses: at the beginning, on the way, and at the end."""
    root = "chains.exe"
    far = 1 << BITNESS
    paths = PointerPaths(
        PointerPath(root, *where, BITNESS)
        for where in (
            (far - 1, (0,)),
            (far - 1, ()),
            (0, (far - 1, 0)),
            (0, (far - 1,)),
        )
    )
    assert paths.check(process) == ()
    assert paths.check(process, 0x10000) == ()


def test_the_text_is_that_of_cheat_engine() -> None:
    path = PointerPath("game.exe", 0x10F4F4, (0x18, 0), 64, "5F3A1C2D1a000")
    assert str(path) == '[["game.exe"+0x10f4f4]+0x18]+0x0'
    assert list(path) == ['"game.exe"+0x10f4f4', 0x18, 0]
    assert path == PointerPath("game.exe", 0x10F4F4, (0x18, 0), 64)


def test_the_version_is_that_of_the_headers(
    chains: Chains, process: RemoteProcess
) -> None:
    """Time stamp and size of the image, by another reader of headers."""
    import pefile

    found = {p.module: p for p in process.pointer_paths(chains.where(), 3)}
    with pefile.PE(str(c_peer_path("chains.exe"))) as image:
        stamp = image.FILE_HEADER.TimeDateStamp
        size = image.OPTIONAL_HEADER.SizeOfImage
    assert found["chains.exe"].version == f"{stamp:08X}{size:x}"


def test_a_path_is_a_live_handle(chains: Chains, process: RemoteProcess) -> None:
    """Which is right after the program has moved its objects; case does not matter."""
    truth = PointerPaths(chains.truth())
    upper = [dataclasses.replace(path, module=path.module.upper()) for path in truth]
    assert len(PointerPaths(upper).check(process, chains.where())) == len(truth)
    for path in (*truth, *upper):
        handle = process.at(path, "value:i")
        assert handle.value == 1001
        before = chains.where()
        assert chains.ask("move") == "ok"
        assert chains.where() != before
        assert handle.value == 1001
        handle.value = 7
        assert chains.ask("peek") == "7"
        handle.value = 1001


# ---------------------------------------------------------------- stable paths


def test_stable_paths_are_those_that_held(start: Callable[[int], Chains]) -> None:
    """And the evidence says that everything was elsewhere each time."""
    runs: list[Chains] = []
    truths: list[set[PointerPath]] = []

    def start_program() -> Chains:
        runs.append(start(len(runs)))
        truths.append(runs[-1].truth())
        return runs[-1]

    stable = stable_paths(start_program, lambda _: runs[-1].where(), 3, depth=3)
    assert len(runs) == 3
    assert all(run.peer.process.poll() is not None for run in runs)
    assert [run.pid for run in stable.runs] == [run.pid for run in runs]
    assert stable.addresses == 3
    assert stable.bases("chains.dll") == 3
    held = [run.held for run in stable.runs]
    assert held == sorted(held, reverse=True)
    assert held[-1] == len(stable.paths)
    assert set(truths[0]) <= set(stable.paths)
    assert f"{len(stable.paths)} paths held in 3 runs" in str(stable)
    assert "3 different addresses" in str(stable)


def test_a_program_is_ended_when_its_value_is_not_found(
    start: Callable[[int], Chains],
) -> None:
    """The error of locate comes through."""
    runs: list[Chains] = []

    def start_program() -> Chains:
        runs.append(start(1))
        return runs[-1]

    def locate(process: RemoteProcess) -> int:
        raise LookupError("not there")

    with pytest.raises(LookupError, match="not there"):
        stable_paths(start_program, locate)
    assert runs[0].peer.process.poll() is not None


# --------------------------------------------------------- a target that moves


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("done", range(0, CHURN_SCANS, CHURN_ROUND))
def test_searching_a_target_that_moves(
    chains: Chains, process: RemoteProcess, done: int, threads: int
) -> None:
    """It frees and makes what is read, and no search fails."""
    truth = chains.truth()
    sizes = set()
    assert chains.ask("churn on") == "ok"
    for _ in range(min(CHURN_ROUND, CHURN_SCANS - done)):
        scan = process.pointer_paths(
            chains.where(), 3, base="chains.exe", threads=threads
        )
        assert drain(scan) < 100_000
        sizes.add(scan.scanned)
    assert chains.ask("churn off") == "ok"
    assert len(sizes) > 1
    assert truth <= set(process.pointer_paths(chains.where(), 3))


def test_a_killed_target_is_an_error(chains: Chains, process: RemoteProcess) -> None:
    """While it is read; nothing hangs, and the scan is over."""
    assert chains.ask("big 64") == "ok"
    calls = []

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 1:
            chains.kill()

    scan = process.pointer_paths(chains.where(), progress=progress)
    with pytest.raises(ProcessLookupError):
        list(scan)
    assert scan.closed
    assert list(scan) == []
    assert 0 < calls[0][0] < calls[0][1]


def test_what_was_read_is_searched_when_the_target_is_gone(
    chains: Chains, process: RemoteProcess
) -> None:
    """The paths come from the copy of its pointers."""
    address = chains.where()
    scan = process.pointer_paths(address, 3)
    first = next(scan)
    chains.kill()
    assert first in {first, *scan}


# ---------------------------------------------------------- ending it, progress


@pytest.fixture
def endless(chains: Chains, process: RemoteProcess) -> Callable[..., PointerScan]:
    """A search that would take years: pointers to each other, of depth 16."""
    assert chains.ask("big 2") == "ok"
    address = chains.where()

    def search(**options: object) -> PointerScan:
        return process.pointer_paths(address, 16, 1 << 20, **options)

    return search


def drain(scan: PointerScan) -> int:
    """Read it to the end, which has to come."""
    return sum(1 for _ in scan)


def test_another_thread_cancels_it(endless: Callable[..., PointerScan]) -> None:
    scan = endless()
    assert next(scan)
    timer = threading.Timer(0.05, scan.cancel)
    timer.start()
    drain(scan)
    assert scan.cancelled
    assert scan.closed
    timer.join()


def test_ctrl_c_gets_in(endless: Callable[..., PointerScan]) -> None:
    with endless() as scan:
        interrupted(lambda: drain(scan))


def test_a_timeout_ends_it(endless: Callable[..., PointerScan]) -> None:
    began = time.monotonic()
    scan = endless(timeout=0.2)
    drain(scan)
    assert scan.cancelled
    assert 0.1 < time.monotonic() - began < DEADLINE


def test_progress_says_how_far_it_is_and_ends_it(
    endless: Callable[..., PointerScan],
) -> None:
    """All is read first; during the search it is called on."""
    calls: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> bool:
        calls.append((done, total))
        return calls[-20:].count((total, total)) < 5

    scan = endless(progress=progress)
    drain(scan)
    assert scan.cancelled
    assert calls == sorted(calls)
    assert calls[-1][0] == calls[-1][1] >= 2 << 20


def test_progress_may_close_it_or_raise(endless: Callable[..., PointerScan]) -> None:
    """Whatever it does, nothing breaks."""
    scans: list[PointerScan] = []

    def close(done: int, total: int) -> None:
        scans[0].close()

    scans.append(endless(progress=close))
    assert list(scans[0]) == []

    def close_when_all_is_read(done: int, total: int) -> None:
        if done == total:
            scans[0].close()

    scans[0] = endless(progress=close_when_all_is_read)
    assert list(scans[0]) == []
    assert scans[0].scanned > 2 << 20

    def fail(done: int, total: int) -> None:
        raise RuntimeError("no")

    with endless(progress=fail) as scan, pytest.raises(RuntimeError, match="no"):
        next(scan)

    def go_on(done: int, total: int) -> None:
        if len(scans) == 1 and done == total:
            scans.append(scan)
            next(scan)

    scan = endless(progress=go_on)
    assert next(scan)
    assert len(scans) == 2
    scan.close()


def test_one_thread_at_a_time(chains: Chains, process: RemoteProcess) -> None:
    """While one reads, another gets an error, and so does who closes it."""
    assert chains.ask("big 256") == "ok"
    reading = threading.Event()
    scan = process.pointer_paths(
        chains.where(), progress=lambda done, total: reading.set()
    )
    thread = threading.Thread(target=drain, args=(scan,))
    thread.start()
    assert reading.wait(DEADLINE)
    with pytest.raises(ValueError, match="another thread"):
        next(scan)
    with pytest.raises(BufferError, match="another thread"):
        scan.close()
    scan.cancel()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    assert scan.closed


def test_too_many_pointers_are_an_error(chains: Chains, process: RemoteProcess) -> None:
    """Of all threads together."""
    assert chains.ask("big 16") == "ok"
    address = chains.where()
    for threads in (1, 3):
        with pytest.raises(MemoryError, match="fewer regions"):
            list(process.pointer_paths(address, max_bytes=8 << 20, threads=threads))
    scan = process.pointer_paths(address, max_bytes=32 << 20)
    next(scan)
    assert 8 * scan.pointers < scan.nbytes < 32 << 20
    scan.close()
    assert scan.nbytes == 0


def test_what_cannot_be_read_is_an_error(chains: Chains) -> None:
    """A closed process, and one that was opened to be looked at only."""
    with opened(chains) as process:
        scan = process.pointer_paths(chains.where())
    with pytest.raises(ValueError, match="closed"):
        next(scan)
    with (
        RemoteProcess.open(chains, access=ProcessAccess.QUERY) as process,
        pytest.raises(PermissionError),
    ):
        list(process.pointer_paths(0x10000))
