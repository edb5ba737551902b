"""GlobalMemory: a block with an address, owned, pinned and bounds-checked."""

from __future__ import annotations

import ctypes
import gc
import math
import struct
import sys
import warnings

import pytest

import winipc
from winipc import GlobalMemory, MemoryKind

KINDS = pytest.mark.parametrize("kind", list(MemoryKind), ids=lambda kind: kind.name)


@KINDS
@pytest.mark.smoke
def test_address_is_where_the_bytes_are(kind: MemoryKind) -> None:
    """ctypes finds at the address what was put into the block."""
    data = b"\xc3\xa9t\xc3\xa9\0tail"
    with GlobalMemory(data, kind=kind) as memory:
        assert memory.kind is kind
        assert ctypes.string_at(memory.address, memory.size) == data
        memory.write(b"X", 1)
        assert ctypes.string_at(memory.address, 3) == b"\xc3Xt"


@KINDS
def test_a_size_gives_zeros(kind: MemoryKind) -> None:
    """A block made from a size is zeroed and writable as a buffer."""
    with GlobalMemory(5000, kind=kind) as memory:
        assert bytes(memory) == bytes(5000)
        with memoryview(memory) as view:
            view[4999] = 7
        assert memory[4999] == 7
        assert len(memory) == memory.size == 5000


@KINDS
def test_an_empty_block_has_an_address(kind: MemoryKind) -> None:
    """Nothing can be handed over too."""
    with GlobalMemory(b"", kind=kind) as memory:
        assert memory.address
        assert memory.size == 0
        assert memory.read() == b""
        with pytest.raises(ValueError, match="fit"):
            memory.write(b"x")


def test_an_error_of_close_names_the_call() -> None:
    """Somebody else has freed the pages: the error says which call found out."""
    memory = GlobalMemory(8, kind=MemoryKind.VIRTUAL)
    free = ctypes.WinDLL("kernel32").VirtualFree
    free.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32)
    assert free(memory.address, 0, 0x8000)  # MEM_RELEASE
    with pytest.raises(OSError, match="VirtualFree"):
        memory.close()
    assert memory.closed


def test_close_refuses_while_a_view_is_alive() -> None:
    """A memoryview keeps the block; close works once it is gone."""
    memory = GlobalMemory(b"abc")
    view = memoryview(memory)
    with pytest.raises(BufferError):
        memory.close()
    with pytest.raises(BufferError):
        memory.detach()
    assert bytes(view) == b"abc"
    view.release()
    memory.close()
    memory.close()
    assert memory.closed
    assert "closed" in repr(memory)


def test_a_closed_block_refuses_everything() -> None:
    """No method touches the memory after close."""
    memory = GlobalMemory(b"abc")
    memory.close()
    for call in (
        lambda: memory.address,
        lambda: memory.read(),
        lambda: memory.write(b""),
        lambda: memoryview(memory),
        lambda: memory.__enter__(),
        lambda: memory.detach(),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_an_index_that_closes_the_block_is_refused() -> None:
    """An argument whose conversion closes the block meets a closed block."""
    memory = GlobalMemory(b"abc")

    class Closer:
        def __index__(self) -> int:
            memory.close()
            return 1

    with pytest.raises(ValueError, match="closed"):
        memory.read(Closer())


@pytest.mark.parametrize(
    ("size", "error"),
    [(-1, ValueError), (2**63, OverflowError), (sys.maxsize, OSError)],
    ids=["negative", "too-wide", "too-much"],
)
def test_impossible_sizes_are_errors(size: int, error: type[Exception]) -> None:
    """A size that cannot be had raises, and nothing is left behind."""
    with pytest.raises(error):
        GlobalMemory(size)


def test_other_buffers_are_copied_byte_by_byte() -> None:
    """Any buffer will do, in its own element size, contiguous or not."""
    import array

    with GlobalMemory(array.array("i", [1, 2])) as memory:
        assert bytes(memory) == b"\1\0\0\0\2\0\0\0"
    with GlobalMemory(memoryview(b"abcdef")[::2]) as memory:
        assert bytes(memory) == b"ace"
    with pytest.raises(TypeError):
        GlobalMemory("text")  # type: ignore[arg-type]


def test_detach_hands_the_block_over() -> None:
    """The receiver of the address frees it; the object is closed."""
    memory = GlobalMemory(b"abc")
    address = memory.detach()
    assert memory.closed
    assert ctypes.string_at(address, 3) == b"abc"
    free = ctypes.WinDLL("kernel32").GlobalFree
    free.argtypes, free.restype = [ctypes.c_void_p], ctypes.c_void_p
    assert free(address) is None


def test_a_forgotten_block_warns_and_is_freed() -> None:
    """ResourceWarning names the block."""
    memory = GlobalMemory(10, kind=MemoryKind.VIRTUAL)
    address = memory.address
    with pytest.warns(ResourceWarning, match="GlobalMemory"):
        del memory
    with (
        winipc.RemoteProcess.open(winipc_pid()) as process,
        pytest.raises(winipc.PartialReadError),
    ):
        process.read(address, 1)


def test_no_address_space_leaks_in_a_loop() -> None:
    """Thousands of blocks of 1 MiB come and go."""

    def taken() -> int:
        with winipc.RemoteProcess.open(winipc_pid()) as process:
            return sum(
                region.size
                for region in process.regions()
                if region.type == winipc.MemoryType.PRIVATE
            )

    before = taken()
    for _ in range(3000):
        with GlobalMemory(1 << 20, kind=MemoryKind.VIRTUAL):
            pass
    assert taken() - before < 1000 << 20
    for _ in range(300):
        with GlobalMemory(b"x" * (1 << 20)):
            pass
    assert taken() - before < 200 << 20


def winipc_pid() -> int:
    import os

    return os.getpid()


def test_a_buffer_in_the_same_garbage_keeps_the_block() -> None:
    """A cycle with a memoryview: finalisers still read it, and then it is freed."""
    seen = []

    class Reader:
        """Reads what it holds when it goes."""

        def __init__(self, memory: GlobalMemory) -> None:
            self.cycle, self.view = self, memoryview(memory)

        def __del__(self) -> None:
            seen.append(bytes(self.view[:5]))

    memory = GlobalMemory(b"block" * 1000, kind=MemoryKind.VIRTUAL)
    address = memory.address
    reader = Reader(memory)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del memory, reader
        gc.collect()
    assert seen == [b"block"]
    query = ctypes.WinDLL("kernel32").VirtualQuery
    query.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    info = (ctypes.c_size_t * 7)()
    assert query(address, info, ctypes.sizeof(info))
    state = ctypes.c_uint32.from_buffer(info, 4 * ctypes.sizeof(ctypes.c_size_t))
    assert state.value == 0x10000  # MEM_FREE


def test_the_end_of_with_leaves_the_block_to_the_last_view() -> None:
    """It raises nothing, every method finds it closed, and the view still works."""
    with GlobalMemory(b"data") as block:
        view = memoryview(block)
    assert block.closed
    assert block.size == 0
    assert "closed" in repr(block)
    with pytest.raises(ValueError, match="closed"):
        block.read()
    assert bytes(view) == b"data"
    view.release()
    block.close()


# ---------------------------------------------------------------- numbers

NUMBERS = {
    "i8": ("b", -(2**7), 2**7 - 1),
    "u8": ("B", 0, 2**8 - 1),
    "i16": ("h", -(2**15), 2**15 - 1),
    "u16": ("H", 0, 2**16 - 1),
    "i32": ("i", -(2**31), 2**31 - 1),
    "u32": ("I", 0, 2**32 - 1),
    "i64": ("q", -(2**63), 2**63 - 1),
    "u64": ("Q", 0, 2**64 - 1),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_integers_by_each_spelling(name: str) -> None:
    """get() and set() by name and by struct code."""
    code, low, high = NUMBERS[name]
    size = struct.calcsize(f"<{code}")
    with GlobalMemory(32) as m:
        for offset in (8, 3):  # aligned and not
            for value in (low, -1 if low else 1, high):
                for spelling in (name, code, f"<{code}", f"={code}", f"@{code}"):
                    m.set(offset, spelling, value)
                    assert m.get(offset, spelling) == value
                    assert m.read(size, offset) == struct.pack(f"<{code}", value)
                m.write(bytes(size), offset)
        for value in (low - 1, high + 1, 1 << 80, -(1 << 80)):
            with pytest.raises(OverflowError, match=f"does not fit in {name}"):
                m.set(8, name, value)
        for offset in (32, 33 - size, -1):
            with pytest.raises(ValueError, match=name):
                m.get(offset, name)
        assert m.read() == bytes(32)
        with pytest.raises(TypeError):
            m.set(0, name, 1.5)


@pytest.mark.parametrize(("name", "code"), [("f32", "f"), ("f64", "d")])
def test_floats_by_each_spelling(name: str, code: str) -> None:
    """Infinities are numbers too, but a finite number does not become one."""
    with GlobalMemory(16) as m:
        for value in (0.5, -2.0, math.inf, -math.inf):
            for spelling in (name, code, f"<{code}", f"={code}", f"@{code}"):
                m.set(4, spelling, value)
                assert m.get(4, spelling) == value
            assert m[4 : 4 + struct.calcsize(code)] == struct.pack(f"<{code}", value)
        m.set(0, name, math.nan)
        assert math.isnan(m.get(0, name))
        if name == "f32":
            with pytest.raises(OverflowError, match="f32"):
                m.set(0, "f32", 1e300)


def test_types_that_are_none_are_refused() -> None:
    """The error lists those that there are."""
    with GlobalMemory(16) as m:
        for name in (
            "",
            "x",
            "i24",
            "I32",
            "u8\0",
            "<",
            ">i",
            "<i32",
            "\ud800",
            "int32",
        ):
            with pytest.raises(ValueError, match="there are i8 i16"):
                m.get(0, name)
        for wrong in (
            lambda: m.get(0),
            lambda: m.get(0, 4),
            lambda: m.set(0, "i8"),
        ):
            with pytest.raises(TypeError):
                wrong()  # type: ignore[no-untyped-call]
