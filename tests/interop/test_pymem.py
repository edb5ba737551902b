"""pymem, psutil and raw Win32 by ctypes as witnesses of RemoteProcess.

They read and write the memory of a child Python with their own code; winipc
must agree with them in both directions.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

import winipc
from winipc import CandidateSet, PartialReadError, ProcessAccess, RemoteProcess

pymem = pytest.importorskip("pymem")
pymem_process = pytest.importorskip("pymem.process")

CHILD = """
import ctypes, sys
block = ctypes.create_string_buffer(bytes(range(256)) * 256)
print(ctypes.addressof(block), flush=True)
sys.stdin.readline()
"""
SIZE = 65536


class Child:
    """A Python that holds a block of known bytes."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        self.address = int(self.popen.stdout.readline())
        self.pid = self.popen.pid

    def end(self) -> None:
        self.popen.communicate("\n", timeout=60)


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    child = Child()
    yield child
    child.end()


@pytest.fixture
def ours(child: Child) -> Iterator[RemoteProcess]:
    with RemoteProcess.open(child, access=ProcessAccess.WRITE) as process:
        yield process


@pytest.fixture
def theirs(child: Child) -> Iterator[object]:
    other = pymem.Pymem()
    other.open_process_from_id(child.pid)
    yield other
    other.close_process()


def test_reads_agree(ours: RemoteProcess, theirs: object, child: Child) -> None:
    """Bytes, numbers and text from the same addresses."""
    for offset, size in [(0, 1), (1, 8), (100, 5000), (0, SIZE)]:
        at = child.address + offset
        assert ours.read(at, size) == theirs.read_bytes(at, size)
    at = child.address + 17
    assert ours.get(at, "i32") == theirs.read_int(at)
    assert ours.get(at, "u64") == theirs.read_ulonglong(at)
    assert ours.read_struct(at, "<d") == (theirs.read_double(at),)


def test_writes_agree(ours: RemoteProcess, theirs: object, child: Child) -> None:
    """What one writes the other reads."""
    at = child.address + 3000
    ours.write_struct(at, "<iq", -5, 1 << 40)
    assert theirs.read_int(at) == -5
    assert theirs.read_longlong(at + 4) == 1 << 40
    theirs.write_bytes(at, b"from pymem", 10)
    assert ours.read(at, 10) == b"from pymem"
    ours.write(at, bytes(i % 256 for i in range(3000, 3012)))


def test_modules_agree(ours: RemoteProcess, theirs: object) -> None:
    """The same modules at the same places, of the same sizes."""
    wanted = {
        (module.name.casefold(), module.lpBaseOfDll, module.SizeOfImage)
        for module in theirs.list_modules()
    }
    got = {(m.name.casefold(), m.base, m.size) for m in ours.modules()}
    assert got == wanted


def test_allocations_agree(ours: RemoteProcess, theirs: object) -> None:
    """pymem reads and frees what winipc allocates and gives away."""
    with ours.alloc(1000) as block:
        block.write(b"handed over")
        address = block.detach()
    assert theirs.read_bytes(address, 11) == b"handed over"
    theirs.free(address)
    with pytest.raises(PartialReadError):
        ours.read(address, 1)


def test_a_psutil_process_opens(child: Child) -> None:
    """It has a pid, and says itself whether that is still its own."""
    other = psutil.Process(child.pid)
    with RemoteProcess.open(other) as process:
        assert process.pid == other.pid
        assert process.alive == other.is_running()


def test_raw_win32_agrees(ours: RemoteProcess, child: Child) -> None:
    """ReadProcessMemory and VirtualQueryEx called by hand, on our handle."""
    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.ReadProcessMemory.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
    ]
    buffer = ctypes.create_string_buffer(SIZE)
    assert kernel32.ReadProcessMemory(ours.handle, child.address, buffer, SIZE, None)
    assert buffer.raw == ours.read(child.address, SIZE)

    kernel32.VirtualQueryEx.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
    ]
    kernel32.VirtualQueryEx.restype = ctypes.c_size_t
    layout = struct.Struct("PPLNLLL0P")  # MEMORY_BASIC_INFORMATION
    raw = ctypes.create_string_buffer(layout.size)
    checked = 0
    for region in ours.regions():
        if region.type != winipc.MemoryType.IMAGE:
            continue  # the child's heap may move while this looks
        length = kernel32.VirtualQueryEx(ours.handle, region.base, raw, layout.size)
        assert length == layout.size
        base, allocation, allocated, size, state, protect, kind = layout.unpack(raw)
        assert (region.base, region.size, region.state) == (base, size, state)
        assert (region.protection, region.type) == (protect, kind)
        assert region.allocation_base == allocation
        assert region.allocation_protection == allocated
        checked += 1
    assert checked > 20


def read_raw(ours: RemoteProcess, address: int, size: int) -> bytes | None:
    """By ReadProcessMemory and nothing else; None where it fails."""
    function = ctypes.WinDLL("kernel32").ReadProcessMemory
    function.argtypes = [*[ctypes.c_void_p] * 3, ctypes.c_size_t, ctypes.c_void_p]
    buffer = ctypes.create_string_buffer(size)
    return buffer.raw if function(ours.handle, address, buffer, size, None) else None


def test_scans_agree(ours: RemoteProcess, theirs: object, child: Child) -> None:
    """Bytes in all of its memory, and wildcards in its code."""
    needle = os.urandom(12)
    places = [child.address + offset for offset in (8, 4090, 65000)]
    for at in places:
        ours.write(at, needle)
    assert list(ours.scan(needle)) == places
    wanted = re.escape(needle)
    assert theirs.pattern_scan_all(wanted, return_multiple=True) == places

    module = ours.module("kernel32.dll")
    text, pattern = "8? ?? 24", rb"(?=[\x80-\x8f].\x24)"
    found = list(ours.scan(text, regions=[(module.base, module.size)]))
    assert len(found) > 20
    expected = []
    for region in ours.regions(module.base, module.end):
        # One byte string for all that lies side by side.
        data = read_raw(ours, region.base, region.size) if region.readable else None
        if data is not None:
            expected += [
                region.base + match.start()
                for match in re.finditer(pattern, data, re.DOTALL)
            ]
    assert set(expected) <= set(found)
    borders = {region.base for region in ours.regions(module.base, module.end)}
    for place in set(found) - set(expected):
        assert borders & {place + 1, place + 2, place + 3}
    their_module = pymem_process.module_from_name(theirs.process_handle, "kernel32.dll")
    # It leaves out pages that are copied when they are written.
    others = theirs.pattern_scan_module(pattern, their_module, return_multiple=True)
    assert len(others) > 20
    assert set(others) <= set(expected)


@pytest.mark.skipif(
    not importlib.util.find_spec("iced_x86"), reason="iced-x86 is not installed"
)
def test_a_signature_is_found_by_pymem(ours: RemoteProcess, theirs: object) -> None:
    """As the regular expression that it takes, at the same place and nowhere else."""
    python = "python{}{}.dll".format(*sys.version_info)
    module = ours.module(python)
    theirs_module = pymem_process.module_from_name(theirs.process_handle, python)
    exports = {row.name: row.address for row in ours.exports(module)}
    for name in ("Py_GetPlatform", "PyObject_Repr", "PyList_New"):
        made = ours.signature(exports[name])
        expression = b"".join(
            b"." if word == "??" else re.escape(bytes.fromhex(word))
            for word in str(made).split()
        )
        places = theirs.pattern_scan_module(
            expression, theirs_module, return_multiple=True
        )
        assert places == [exports[name]] == [made.find(ours)]


def test_numbers_are_found_where_pymem_writes_them(
    ours: RemoteProcess, theirs: object, child: Child
) -> None:
    """A first scan and a rescan, with a value that pymem changes in between."""
    where = [(child.address, SIZE)]
    at = child.address + 4000 - child.address % 8
    theirs.write_int(at, 0x5A17C0DE)
    with CandidateSet.scan(ours, "i32", equals=0x5A17C0DE, regions=where) as found:
        assert list(found) == [at]
        theirs.write_int(at, 0x5A17C0DF)
        assert found.rescan("increased") == 1
        assert dict(found.items()) == {at: theirs.read_int(at)}


def test_pymem_reads_global_memory() -> None:
    """The block that is handed over is a plain address to everyone."""
    other = pymem.Pymem()
    other.open_process_from_id(os.getpid())
    try:
        with winipc.GlobalMemory(b"for anyone\0") as memory:
            assert other.read_string(memory.address) == "for anyone"
            other.write_bytes(memory.address, b"FOR", 3)
            assert bytes(memory)[:10] == b"FOR anyone"
    finally:
        other.close_process()
