"""Memory of the target is allocated, protected and described.

Against tests/process/peers/target.c, whose memory is known.
"""

from __future__ import annotations

import collections
import ctypes
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import BITS
from helpers.c_target import Target

import winipc
from winipc import (
    MemoryProtection,
    PartialReadError,
    ProcessAccess,
    RemoteProcess,
)

PAGE = 4096


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests; one that spoils what is known there ends it."""
    return targets()


def test_alloc_is_freed_once(process: RemoteProcess, target: Target) -> None:
    """In the target, and never twice."""
    with process.alloc(10_000) as block:
        address = block.address
        assert block.write(b"block") == 5
        assert target.peek(address, 6) == b"block\0"
        assert block.read(5) == block.read(size=5, offset=0) == b"block"
        assert block.read(3, 2) == b"ock"
        assert len(block.read()) == len(block) == 10_000
        for bad in (lambda: block.read(2, 9_999), lambda: block.write(b"x", -1)):
            with pytest.raises(ValueError, match="outside"):
                bad()
    assert block.closed
    block.close()
    with pytest.raises(ValueError, match="closed"):
        block.read()
    with pytest.raises(PartialReadError):
        process.read(address, 1)


def test_two_threads_free_a_block_once(process: RemoteProcess) -> None:
    """Whoever comes second does nothing."""
    for _ in range(20):
        block = process.alloc(1)
        errors: list[BaseException] = []

        def close(
            block: winipc.RemoteBlock = block, errors: list[BaseException] = errors
        ) -> None:
            try:
                block.close()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert block.closed


def test_a_detached_block_stays(process: RemoteProcess, target: Target) -> None:
    """It is the target's now."""
    with process.alloc(1, MemoryProtection.READWRITE) as block:
        block.write(b"!")
        address = block.detach()
    assert target.peek(address, 1) == b"!"
    assert target.ask(f"free {address:x}") == "ok"


def test_a_block_outlives_the_process_object(target: Target) -> None:
    """It has a handle of its own."""
    with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
        block = process.alloc(1)
    with block:
        block.write(b"?")
        assert target.peek(block.address, 1) == b"?"


def test_a_forgotten_block_warns_and_is_freed(process: RemoteProcess) -> None:
    """ResourceWarning, and the memory is gone."""
    block = process.alloc(1)
    address = block.address
    with pytest.warns(ResourceWarning, match="RemoteBlock"):
        del block
    with pytest.raises(PartialReadError):
        process.read(address, 1)


def test_closing_a_block_of_a_dead_target_is_quiet(
    process: RemoteProcess, target: Target
) -> None:
    """Its memory went with it."""
    block = process.alloc(1)
    target.exit()
    block.close()
    assert block.closed


def test_regions_follow_each_other(process: RemoteProcess, target: Target) -> None:
    """They are in order, without overlap, and show the protections."""
    regions = list(process.regions())
    for before, after in itertools.pairwise(regions):
        assert before.end <= after.base
    pages = target.where("pages")
    rows = [r for r in process.regions(pages, pages + 16 * PAGE)]
    assert [(r.end - pages) // PAGE for r in rows] == [4, 5, 7, 8, 9, 10, 13, 14, 16]
    assert [r.readable for r in rows] == [1, 0, 1, 0, 0, 1, 1, 1, 1]
    assert rows[4].protection == MemoryProtection.READWRITE | MemoryProtection.GUARD
    assert [r.executable for r in rows].index(True) == 7
    assert pages in rows[0]
    assert {r.allocation_base for r in rows} == {pages}


def test_the_end_of_the_address_space_may_be_named(process: RemoteProcess) -> None:
    """Whatever the size of an address is here: what lies beyond is nothing."""
    everything = len(list(process.regions()))
    for end in (2**64 - 1, 2**64, 2**80):
        assert abs(len(list(process.regions(0, end))) - everything) < 10
        assert list(process.regions(end, end + 1)) == []
    assert list(process.regions(2**80)) == []


def test_protection_is_restored_region_by_region(
    process: RemoteProcess, target: Target
) -> None:
    """Each gets its own one back, also after an error."""
    pages = target.where("pages") + 9 * PAGE  # READONLY, then three READWRITE

    def fail_within() -> None:
        with process.protect(pages, 5 * PAGE) as before:
            assert [r.protection for r in before] == [2, 4, 0x20]
            assert process.write(pages, b"now writable") == 12
            assert int(target.ask(f"query {pages:x}"), 16) == 4
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_within()
    after = [int(target.ask(f"query {pages + i * PAGE:x}"), 16) for i in range(5)]
    assert after == [2, 4, 4, 4, 0x20]
    assert target.peek(pages, 12) == b"now writable"
    with pytest.raises(OSError, match="VirtualProtectEx"), process.protect(0, 1):
        pass


@pytest.mark.parametrize("own", [False, True], ids=["quiet", "raising"])
def test_a_region_that_went_leaves_the_others_restored(
    process: RemoteProcess, target: Target, own: bool
) -> None:
    """And an error of the body is the one that is seen."""
    pages = target.where("pages") + 9 * PAGE  # READONLY, READWRITE, EXECUTE_READ

    def decommit_within() -> None:
        with process.protect(pages, 5 * PAGE):
            process._change("free", pages + PAGE, 3 * PAGE, 0x4000, 0)
            if own:
                raise RuntimeError("of the body")

    with pytest.raises(RuntimeError if own else OSError) as caught:
        decommit_within()
    if own:
        assert "restored" in caught.value.__notes__[0]
    else:
        assert "VirtualProtectEx" in str(caught.value)
    assert int(target.ask(f"query {pages:x}"), 16) == 2
    assert int(target.ask(f"query {pages + 4 * PAGE:x}"), 16) == 0x20
    target.peer.kill()


def test_protection_of_a_target_that_exits(
    process: RemoteProcess, target: Target
) -> None:
    """There is nothing to restore, and that is no error."""
    with process.protect(target.where("pages"), PAGE, MemoryProtection.READONLY):
        target.peer.kill()


def test_alloc_refuses_nonsense(process: RemoteProcess) -> None:
    """Sizes and protections that cannot be; no handle is left."""
    with pytest.raises(ValueError, match="size"):
        process.alloc(0)
    with pytest.raises(OSError, match="VirtualAllocEx"):
        process.alloc(1, 0x12345)
    with pytest.raises(OSError, match="VirtualAllocEx"):
        process.alloc(2 ** (BITS - 1) - PAGE)
    with RemoteProcess.open(process.pid) as reader:
        with pytest.raises(PermissionError) as caught:
            reader.alloc(1)
        assert "open it with access=ProcessAccess.WRITE" in str(caught.value)


def test_the_map_has_what_is_there(process: RemoteProcess, target: Target) -> None:
    """Modules by name, private memory, and a mapped section."""
    rows = {row.base: row for row in process.memory_map()}
    assert rows[process.module("target.exe").base].label == "target.exe"
    pages = rows[target.where("pages")]
    assert pages.label == "private"
    assert pages.size == 16 * PAGE
    assert pages.committed == 15 * PAGE
    assert pages.regions == 9
    assert MemoryProtection.NOACCESS in pages.protections
    cow = rows[target.where("cow")]
    assert cow.type == winipc.MemoryType.MAPPED


def test_mapped_files_are_named(me: RemoteProcess, tmp_path: Path) -> None:
    """With a drive, as people know it."""
    import mmap

    path = tmp_path / "mapped.bin"
    path.write_bytes(bytes(PAGE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), PAGE) as mapped:
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        (region,) = me.regions(address, address + 1, paths=True)
        assert region.path is not None
        assert region.path.casefold().endswith("mapped.bin")


def test_paths_of_any_length(me: RemoteProcess, tmp_path: Path) -> None:
    """Of a mapped file and of a module: neither cut nor lost."""
    folder = Path("\\\\?\\" + str(tmp_path.resolve()))
    while len(str(folder)) < 2400:
        folder /= "long" * 50
    folder.mkdir(parents=True)
    file = folder / "data.bin"
    file.write_bytes(bytes(PAGE))
    with winipc.SharedMapping.create(None, file=str(file)) as mapping:
        (region,) = me.regions(mapping.address, mapping.address + 1, paths=True)
        assert region.path is not None
        assert region.path.casefold().endswith(str(file)[-2300:].casefold())
    library = folder / "shared.dll"
    winipc.pe.build_section_dll(str(library), {"x": 16})
    with winipc.SharedSection.load(str(library), symbol="x"):
        assert any(
            module.path.casefold().endswith(str(library)[-2300:].casefold())
            for module in me.modules()
        )


def sections_at(process: RemoteProcess, address: int) -> tuple[str, ...]:
    (region,) = process.regions(address, address + 1, names=True)
    assert region.path is None
    return region.sections


def test_named_sections_are_found_by_their_handle(
    process: RemoteProcess, target: Target, unique_name: str
) -> None:
    """The target's own, by what nothing speaks against, however it is mapped."""
    first, second = f"{unique_name}-1", f"{unique_name}-2"
    one = int(target.ask(f"share {first} {3 * PAGE} 1"), 16)
    two = int(target.ask(f"share {second} {3 * PAGE} 1"), 16)
    # Nothing is in either, so that either may be at both places.
    either = (f"Local\\{first}", f"Local\\{second}")
    assert sections_at(process, one) == sections_at(process, two) == either
    target.ask(f"poke {one + 2 * PAGE:x} 01")
    assert sections_at(process, one) == (either[0],)
    assert sections_at(process, two) == (either[1],)
    part = int(target.ask(f"share {first} {PAGE} 1"), 16)
    assert either[0] in sections_at(process, part)
    assert sections_at(process, target.where("cow")) == ()
    labels = {row.base: row.label for row in process.memory_map(names=True)}
    assert labels[one] == f"mapping, perhaps {either[0]}"
    assert labels[target.where("cow")] == "mapping"
    regions = process.regions(one, one + 1)
    assert [region.sections for region in regions] == [()]


def test_named_sections_are_found_by_their_bytes(
    process: RemoteProcess, target: Target, unique_name: str
) -> None:
    """Where the target has closed its handle, and where it writes all the time."""
    with winipc.SharedMapping.create(unique_name, 20 * PAGE) as mapping:
        name = f"Local\\{unique_name}"
        view = int(target.ask(f"share {unique_name} {20 * PAGE} 0"), 16)
        assert sections_at(process, view) == ()  # all zero, like many
        mapping[17 * PAGE] = 1
        assert sections_at(process, view) == (name,)
        with winipc.SharedMapping.create(f"{unique_name}-2", 40 * PAGE) as other:
            other[16 * PAGE : 36 * PAGE] = bytes(20 * PAGE)
            assert sections_at(process, view) == (name,)
            other[33 * PAGE] = 1  # the same bytes, further on
            assert sections_at(process, view) == (name, f"{name}-2")
        target.ask(f"scribble {view + 5 * PAGE:x}")
        assert sections_at(process, view) == (name,)
    target.peer.kill()


def test_a_large_section_costs_few_reads(
    process: RemoteProcess,
    target: Target,
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has 1023 other places for the view."""
    calls = []
    read_many = RemoteProcess.read_many

    def counted(self: RemoteProcess, requests: Any) -> list[bytes | None]:
        calls.append(requests)
        return read_many(self, requests)

    view = int(target.ask(f"share {unique_name} {3 * PAGE} 1"), 16)
    target.ask(f"poke {view + 2 * PAGE:x} 01")
    with winipc.SharedMapping.create(f"{unique_name}-2", 64 << 20) as large:
        monkeypatch.setattr(RemoteProcess, "read_many", counted)
        assert sections_at(process, view) == (f"Local\\{unique_name}",)
        assert len(calls) < 500
        large[(50 << 20) + 2 * PAGE] = 1
        assert f"Local\\{unique_name}-2" in sections_at(process, view)


def test_each_named_section_is_opened_once_for_all_views(
    process: RemoteProcess,
    target: Target,
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or twice, as a view is like none of them; and each is closed again."""
    opened: list[winipc.SharedMapping] = []
    reads = []
    open_section = winipc.SharedMapping.open
    read_many = RemoteProcess.read_many

    def counted_open(name: str, **options: Any) -> winipc.SharedMapping:
        opened.append(open_section(name, **options))
        return opened[-1]

    def counted_read(self: RemoteProcess, requests: Any) -> list[bytes | None]:
        reads.append(requests)
        return read_many(self, requests)

    names = [f"{unique_name}-{i}" for i in range(1, 7)]
    views = {}
    for i, name in enumerate(names * 3):
        view = int(target.ask(f"share {name} {PAGE} 1"), 16)
        target.ask(f"poke {view:x} {i % 6 + 1:02x}")
        views[view] = (f"Local\\{name}",)
    monkeypatch.setattr(winipc.SharedMapping, "open", counted_open)
    monkeypatch.setattr(RemoteProcess, "read_many", counted_read)
    rows = list(process.regions(names=True))
    times = collections.Counter(section.name for section in opened)
    assert set(times) >= {name for (name,) in views.values()}
    assert max(times.values()) <= 2
    assert all(section.closed for section in opened)
    found = {row.base: row.sections for row in rows}
    assert {view: found[view] for view in views} == views
    mapped = [row for row in rows if row.type == winipc.MemoryType.MAPPED]
    assert len(reads) < 10 * (len(mapped) + len(times))
    target.peer.kill()


def test_a_view_that_changes_before_each_comparison_is_found(
    process: RemoteProcess,
    target: Target,
    unique_name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page that was read too early does not rule its section out."""
    with winipc.SharedMapping.create(unique_name, PAGE) as mapping:
        mapping[0] = 1
        view = int(target.ask(f"share {unique_name} {PAGE} 0"), 16)
        open_section = winipc.SharedMapping.open

        def late(name: str, **options: Any) -> winipc.SharedMapping:
            mapping[0] = mapping[0] % 255 + 1
            return open_section(name, **options)

        monkeypatch.setattr(winipc.SharedMapping, "open", late)
        assert sections_at(process, view) == (f"Local\\{unique_name}",)


def test_sections_of_a_dead_target(process: RemoteProcess, target: Target) -> None:
    """As with any other question."""
    target.peer.kill()
    with pytest.raises(ProcessLookupError):
        list(process.regions(names=True))


@pytest.mark.parametrize(
    ("kernel", "known"),
    [
        ("\\??\\C:\\x.dll", "C:\\x.dll"),
        ("\\Device\\HarddiskVolume3\\x.dll", "C:\\x.dll"),
        ("\\Device\\HarddiskVolume30\\x.dll", "\\Device\\HarddiskVolume30\\x.dll"),
        ("\\Device\\Mup\\server\\share\\x", "\\\\server\\share\\x"),
    ],
)
def test_kernel_paths(kernel: str, known: str) -> None:
    """They become the paths that people know."""
    from winipc.process.process import _dos_path

    assert _dos_path(kernel, [("C:", "\\Device\\HarddiskVolume3")]) == known


def test_copy_on_write_pages(process: RemoteProcess, target: Target) -> None:
    """The shared one and the private one both read as the target sees them."""
    cow = target.where("cow")
    assert process.read(cow, 10) == b"COW-SHARED"
    assert process.read(cow + PAGE, 11) == b"COW-PRIVATE"
    assert process.write(cow, b"mine") == 4
    assert process.read(cow, 10) == b"mineSHARED"
    assert target.peek(cow, 10) == b"mineSHARED"
    target.peer.kill()
