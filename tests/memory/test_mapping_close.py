"""How a SharedMapping, its views and its memory end."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import sys
import uuid
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import FULL, handle_count

from winipc import (
    Event,
    GlobalMemory,
    MemoryKind,
    MemoryType,
    RemoteProcess,
    SharedMapping,
    SharedSection,
    Snapshot,
    _core,
)
from winipc.base import transfer

# -------------------------------------------------------------------------------- close


@pytest.mark.smoke
def test_close_refuses_while_view_exported(unique_name: str) -> None:
    """A memoryview keeps the mapping open, and the error counts it."""
    m = SharedMapping.create(unique_name, 4096)
    first, second = memoryview(m), memoryview(m)
    with pytest.raises(BufferError, match="2 buffers are exported"):
        m.close()
    first.release()
    with pytest.raises(BufferError, match="1 buffer is exported"):
        m.close()
    second[0] = 9
    assert m[0] == 9
    second.release()
    m.close()
    assert m.closed


def test_close_names_who_holds_the_memory(unique_name: str) -> None:
    """The hint lists views, memoryviews, arrays and snapshots that are found."""
    m = SharedMapping.create(unique_name, 4096)
    view = m.view(16, 100)
    held = memoryview(m)[:10]
    snapshot = Snapshot.over(m, 8)
    with pytest.raises(BufferError) as caught:
        m.close()
    hint = caught.value.__notes__[0]
    assert "MappingView at offset 16 of 100 bytes" in hint
    assert "memoryview of 10 bytes" in hint
    assert "Snapshot" in hint
    snapshot.close()
    view.close()
    held.release()
    structure = m.struct_view(ctypes.c_uint64 * 2)
    with pytest.raises(BufferError) as caught:
        m.close()
    assert "c_ulonglong_Array_2 (ctypes)" in caught.value.__notes__[0]
    del structure
    gc.collect()
    m.close()


def test_close_names_arrays_and_structures(unique_name: str) -> None:
    """A holder is called what its owner knows it as, not the memoryview under it."""
    pytest.importorskip("numpy")

    class Pair(ctypes.Structure):
        _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_int)]

    m = SharedMapping.create(unique_name, 4096)
    a = m.array("<f8", (4, 2))
    rows = {"rows": a[1:]}
    pair = m.struct_view(Pair)
    with pytest.raises(BufferError) as caught:
        m.close()
    (hint,) = caught.value.__notes__
    assert "ndarray of (4, 2) float64" in hint
    assert "ndarray of (3, 2) float64" in hint
    assert "Pair (ctypes)" in hint
    assert "memoryview" not in hint
    del a, rows, pair
    m.close()  # looking for them has kept none


@pytest.mark.smoke
def test_leaving_with_keeps_the_memory_of_an_array(unique_name: str) -> None:
    """The natural use of NumPy: closed at the end, and unmapped with the array."""
    pytest.importorskip("numpy")
    with SharedMapping.create(unique_name, 4096) as m:
        a = m.array("f8")
    assert m.closed
    a[511] = 2.5
    assert a[511] == 2.5
    with SharedMapping.open(unique_name) as other:
        assert other.get(511 * 8, "f64") == 2.5
    del a
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)
    m.close()


def test_leaving_with_hides_no_exception(unique_name: str) -> None:
    """The user's own exception passes, with a note about the memory."""
    m = SharedMapping.create(unique_name, 10)
    held = memoryview(m)
    with pytest.raises(KeyError) as caught, m:
        raise KeyError("mine")
    assert m.closed
    (note,) = caught.value.__notes__
    assert "1 buffer of it" in note
    assert unique_name in note
    held.release()
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)
    with pytest.raises(KeyError) as caught, SharedMapping.create(None, 10):
        raise KeyError("mine")
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("by_view", [False, True])
def test_closed_is_closed_while_the_memory_stays(by_view: bool) -> None:
    """Every method finds it closed, and nothing warns when it goes."""
    m = SharedMapping.create(None, 8192)
    used: Any = m.view(4096, 100) if by_view else m
    with used:
        kept = memoryview(used)
    assert (used.closed, used.size, used.mapped_size) == (True, 0, 0)
    assert "closed" in repr(used)
    uses: list[Callable[[], object]] = [
        lambda: len(used),
        lambda: used[0],
        lambda: used.read(1),
        lambda: used.write(b"x"),
        lambda: used.get(0, "u8"),
        lambda: used.find(b"x"),
        lambda: used.address,
        used.flush,
        used.__enter__,
        lambda: used.array("u1"),
        lambda: Snapshot.over(used, 8),
    ]
    if not by_view:
        uses += [
            m.commit,
            m.view,
            lambda: m.handle,
            lambda: m.duplicate_to(os.getpid()),
        ]
        uses.append(lambda: pickle.dumps(m))
    for use in uses:
        with pytest.raises(ValueError, match="closed"):
            use()
    with pytest.raises((ValueError, BufferError), match="closed"):
        memoryview(used)
    used.close()
    kept[9] = 1
    kept.release()
    m.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: GlobalMemory(100),
        lambda: GlobalMemory(100, kind=MemoryKind.VIRTUAL),
        SharedSection.load,
    ],
    ids=["heap", "pages", "section"],
)
def test_all_memory_ends_in_the_same_way(
    make: Callable[[], GlobalMemory | SharedSection],
) -> None:
    """With a view alive: `with` closes, an exception passes, close() is refused."""
    with make() as memory:
        kept = memoryview(memory)
    assert (memory.closed, memory.size) == (True, 0)
    assert "closed" in repr(memory)
    for use in (memory.read, memory.__enter__, lambda: memory.address):
        with pytest.raises(ValueError, match="closed"):
            use()  # type: ignore[operator]
    kept[9] = 1
    assert kept[9] == 1
    memory.close()
    kept.release()

    memory = make()
    kept = memoryview(memory)
    with pytest.raises(BufferError) as refused:
        memory.close()
    assert "memoryview of" in refused.value.__notes__[0]
    with pytest.raises(KeyError) as caught, memory:
        raise KeyError("mine")
    assert "1 buffer of it" in caught.value.__notes__[0]
    kept.release()


def test_a_view_and_a_snapshot_outlive_the_with_block(unique_name: str) -> None:
    """Both keep the memory; the last one to be closed lets it go."""
    with SharedMapping.create(unique_name, 4096) as m:
        view = m.view(16, 100)
        snapshot = Snapshot.over(view, 8)
    assert m.closed
    view[0] = 7
    view.flush()
    with view:
        pass
    assert view.closed
    snapshot.write(b"12345678")
    assert SharedMapping.open(unique_name).close() is None  # type: ignore[func-returns-value]
    snapshot.close()
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)


def test_close_twice_and_use_after(unique_name: str) -> None:
    """close() is idempotent; everything else says that it is closed."""
    m = SharedMapping.create(unique_name, 4096)
    m.close()
    m.close()
    assert repr(m) == f"<SharedMapping {unique_name!r} closed>"
    uses: list[Callable[[], object]] = [
        m.read,
        lambda: m.write(b""),
        lambda: m[0],
        lambda: m[0:1],
        lambda: len(m),
        lambda: memoryview(m),
        lambda: m.address,
        lambda: m.handle,
        lambda: m.find(b"x"),
        lambda: m.get(0, "i32"),
        lambda: m.set(0, "i32", 0),
        m.flush,
        m.__enter__,
        m.commit,
    ]
    for use in uses:
        with pytest.raises(ValueError, match="closed"):
            use()
    with SharedMapping.create(unique_name, 4096) as again:
        assert again.created


def test_forgotten_mapping_warns(unique_name: str) -> None:
    """An unclosed mapping is reported by name, and its handle is freed."""
    m = SharedMapping.create(unique_name, 4096)
    alive = weakref.ref(m)
    mappings = [m]
    del m
    with pytest.warns(ResourceWarning, match=unique_name):
        mappings.clear()
    gc.collect()
    assert alive() is None
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)


def test_a_forgotten_object_without_a_repr_warns() -> None:
    """At the end of Python, what a repr needs may be gone."""

    class Forgotten(SharedMapping):
        def __repr__(self) -> str:
            raise AttributeError("gone")

    m = Forgotten.create(None, 10)
    with pytest.warns(ResourceWarning, match="unclosed Forgotten"):
        del m


def test_what_cannot_be_closed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """No exception can be raised when a mapping is forgotten, or its last view is."""
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: reported.append(it.exc_value))
    close_handle = ctypes.WinDLL("kernel32").CloseHandle
    m = SharedMapping.create(None, 4096)
    assert close_handle(ctypes.c_void_p(m.handle))
    with pytest.warns(ResourceWarning, match="unclosed"):
        del m
    with SharedMapping.create(None, 4096) as kept:
        assert close_handle(ctypes.c_void_p(kept.handle))
        view = memoryview(kept)
    view.release()
    assert [error.filename2 for error in reported] == ["CloseHandle"] * 2


def test_forgotten_view_lets_its_mapping_close() -> None:
    """A dropped view gives its hold on the mapping back."""
    with SharedMapping.create(None, 4096) as m:
        with pytest.warns(ResourceWarning, match="MappingView"):
            m.view(0, 10)
        m.close()


def test_index_that_closes_the_mapping() -> None:
    """An __index__ that closes the object is found out before memory is touched."""

    class Closes:
        def __init__(self, mapping: SharedMapping) -> None:
            self.mapping = mapping

        def __index__(self) -> int:
            self.mapping.close()
            return 1

    uses: list[Callable[[SharedMapping, Closes], object]] = [
        lambda m, i: m.read(1, i),  # type: ignore[arg-type]
        lambda m, i: m.read(i),  # type: ignore[arg-type]
        lambda m, i: m.write(b"x", i),  # type: ignore[arg-type]
        lambda m, i: m[i],
        lambda m, i: m[i:],
        lambda m, i: m.__setitem__(0, i),
        lambda m, i: m.__setitem__(i, 0),
        lambda m, i: m.__setitem__(slice(i, None), b"x"),
        lambda m, i: m.find(b"x", i),  # type: ignore[arg-type]
        lambda m, i: m.get(i, "u8"),
        lambda m, i: m.set(i, "u8", 0),
        lambda m, i: m.set(0, "u8", i),
        lambda m, i: m.flush(i),  # type: ignore[arg-type]
        lambda m, i: m.view(i),  # type: ignore[arg-type]
        lambda m, i: m.read_into(bytearray(1), i),  # type: ignore[arg-type]
    ]
    for use in uses:
        m = SharedMapping.create(None, 10)
        with pytest.raises(ValueError, match="closed"):
            use(m, Closes(m))


def test_subclass_may_add_state(unique_name: str) -> None:
    """A subclass is made by the same class methods."""

    class Mine(SharedMapping):
        note: str

    with Mine.create(unique_name, 16) as m:
        m.note = "kept"
        assert isinstance(m, Mine)
        assert m.note == "kept"


# -------------------------------------------------------------------------------- leaks


@pytest.mark.slow
def test_thousands_of_rounds_keep_nothing(unique_name: str, tmp_path: Path) -> None:
    """Handles, views, memory and type references are where they were."""
    path = tmp_path / "f"
    path.write_bytes(bytes(5000))

    def rounds(count: int) -> None:
        for _ in range(count):
            with SharedMapping.create(unique_name, 70_000, header=True) as m:
                m.write(b"x", 69_999)
                with SharedMapping.open(unique_name, header=True) as o:
                    assert o[69_999] == 120
                with m.view(66_000) as view, memoryview(view) as buffer:
                    assert buffer[3999] == 120
                with pytest.raises(FileExistsError):
                    SharedMapping.create(unique_name, 70_000)
        with pytest.raises(FileNotFoundError):
            SharedMapping.open(unique_name)
        with SharedMapping.create(None, file=path) as m:
            m.flush()

    rounds(50)
    gc.collect()
    before = handle_count(), sys.getrefcount(SharedMapping), mapped_bytes()
    for _ in range(20 if FULL else 2):
        rounds(500)
    gc.collect()
    after = handle_count(), sys.getrefcount(SharedMapping), mapped_bytes()
    assert after[0] - before[0] <= 3
    assert after[1] - before[1] <= 3
    assert after[2] - before[2] < 32 << 20  # one leaked view each would be 64 MiB


def test_failed_calls_leave_nothing(unique_name: str, tmp_path: Path) -> None:
    """Every way to fail half way gives back what it had taken."""
    path = tmp_path / "f"
    path.write_bytes(bytes(100))
    with (
        SharedMapping.create(unique_name, 4096) as m,
        SharedMapping.create(f"{unique_name}f", file=path),
        Event.create(f"{unique_name}e"),
    ):
        failing: list[Callable[[], object]] = [
            lambda: SharedMapping.create(unique_name, 10),
            lambda: SharedMapping.create(unique_name, 10_000, exist_ok=True),
            lambda: SharedMapping.create(f"{unique_name}e", 10),
            lambda: SharedMapping.create(None, 200, file=path, access="read"),
            lambda: SharedMapping.create(None, 10, security="nonsense"),
            lambda: SharedMapping.create(unique_name, file=path),
            lambda: SharedMapping.open(unique_name, size=10_000),
            lambda: SharedMapping.open(unique_name, header=True),
            lambda: SharedMapping.open(f"{unique_name}f", size=101),
            lambda: m.view(5000),
            lambda: m.duplicate_to(0x7FFFFFF0),
        ]
        m.write(b"ABCD")  # no header, and no waiting for one

        def fail(count: int) -> None:
            for _ in range(count):
                for attempt in failing:
                    with pytest.raises((OSError, ValueError)):
                        attempt()

        fail(3)
        gc.collect()
        before = handle_count(), mapped_bytes()
        fail(100)
        gc.collect()
        assert handle_count() - before[0] <= 3
        assert mapped_bytes() - before[1] < 100 * 4096  # one view each
    path.unlink()  # nobody holds it


def mapped_bytes() -> int:
    """How much address space of this process is taken by views of sections."""
    with RemoteProcess.open(os.getpid()) as process:
        return sum(
            region.size
            for region in process.regions()
            if region.type == MemoryType.MAPPED
        )


@pytest.mark.parametrize("by_view", [False, True])
def test_a_buffer_in_the_same_garbage_keeps_the_mapping(by_view: bool) -> None:
    """A cycle with a memoryview: finalisers still read it, and then all is closed."""
    seen = []

    class Reader:
        """Reads what it holds when it goes."""

        def __init__(self, memory: SharedMapping) -> None:
            self.cycle = self
            self.view = memoryview(memory.view(0, 4096) if by_view else memory)

        def __del__(self) -> None:
            seen.append(bytes(self.view[:3]))

    name = f"winipc-test-{uuid.uuid4()}"
    memory = SharedMapping.create(name, 4096)
    memory.write(b"abc")
    held = sys.getrefcount(name)
    reader = Reader(memory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del memory, reader
        gc.collect()
    assert seen == [b"abc"]
    assert sys.getrefcount(name) == held - 1
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(name)


def test_a_handle_that_cannot_be_used_is_closed() -> None:
    """What arrives in a pickle and maps nothing does not leak."""
    with SharedMapping.create(None, 4096) as m:
        handle = m.duplicate_to(os.getpid())
        with pytest.raises(ValueError, match="do not fit"):
            transfer._adopt(SharedMapping, handle, {"size": 1 << 30})
        with pytest.raises(OSError):
            _core._close_handle(handle)
