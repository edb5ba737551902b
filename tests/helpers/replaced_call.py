"""A function of Windows, as winipc calls it, that is machine code of the test's.

For what Windows does not do when a test wants it: to be slow, or to fail. Only the
calls of `winipc._core` change: the place in its import table is written over.
"""

from __future__ import annotations

import contextlib
import ctypes
import platform
import struct
from collections.abc import Iterator

import pytest

from helpers import BITS
from winipc import _core

PAGE = 4096
PAGE_READWRITE, PAGE_EXECUTE_READWRITE = 4, 0x40
MEM_COMMIT_RESERVE, MEM_RELEASE = 0x3000, 0x8000


def kernel32() -> ctypes.CDLL:
    """A copy of its own of ctypes' kernel32, with the types that are used here."""
    library = ctypes.WinDLL("kernel32")
    library.VirtualAlloc.restype = ctypes.c_void_p
    library.AddVectoredExceptionHandler.restype = ctypes.c_void_p
    library.GetModuleHandleW.restype = ctypes.c_void_p
    return library


def address_of(dll: str, function: str) -> int:
    """Where a function is."""
    found = getattr(ctypes.WinDLL(dll), function)
    return ctypes.cast(found, ctypes.c_void_p).value or 0


def load(register: int, number: int) -> bytes:
    """`mov register, number`: 0 is rax or eax, 1 is rcx, 2 is rdx."""
    wide = b"\x48" if BITS == 64 else b""
    return wide + bytes([0xB8 + register]) + _packed(number)


def _packed(number: int) -> bytes:
    return struct.pack("P", number)


@contextlib.contextmanager
def machine_code(code: bytes) -> Iterator[int]:
    """The address of this code, which is for x64 or x86."""
    # A 32-bit Python on x64 answers AMD64 too.
    if platform.machine() not in ("AMD64", "x86"):
        pytest.skip("the machine code is for x64 and x86")
    at = kernel32().VirtualAlloc(None, PAGE, MEM_COMMIT_RESERVE, PAGE_EXECUTE_READWRITE)
    try:
        ctypes.memmove(at, code, len(code))
        yield at
    finally:
        kernel32().VirtualFree(ctypes.c_void_p(at), 0, MEM_RELEASE)


def _places(address: int) -> list[int]:
    """Where the import table of _core has this address."""
    base = kernel32().GetModuleHandleW(_core.__file__)
    header = base + ctypes.c_uint32.from_address(base + 0x3C).value
    size = ctypes.c_uint32.from_address(header + 0x50).value
    image = ctypes.string_at(base, size)
    wanted = _packed(address)
    width = len(wanted)
    return [
        base + at
        for at in range(0, size - width + 1, width)
        if image[at : at + width] == wanted
    ]


@contextlib.contextmanager
def replaced(dll: str, function: str, code: bytes) -> Iterator[None]:
    """Within this context _core calls `code`. It must have called the function before,
    if that is of a DLL that is loaded when first needed."""
    real = address_of(dll, function)
    places = _places(real)
    assert places, f"_core does not call {function}"
    with machine_code(code) as at:
        try:
            for place in places:
                _write(place, at)
            yield
        finally:
            for place in places:
                _write(place, real)


@contextlib.contextmanager
def counted(dll: str, function: str) -> Iterator[ctypes.c_uint32]:
    """How often _core calls the function within this context."""
    calls = ctypes.c_uint32()
    code = b"".join(
        (
            load(0, ctypes.addressof(calls)) + b"\xf0\xff\x00",  # lock inc [rax]
            load(0, address_of(dll, function)) + b"\xff\xe0",  # jmp rax
        )
    )
    with replaced(dll, function, code):
        yield calls


def _write(place: int, number: int) -> None:
    old = ctypes.c_uint32()
    protect = kernel32().VirtualProtect
    address = ctypes.c_void_p(place)
    assert protect(address, 1, PAGE_READWRITE, ctypes.byref(old))
    ctypes.c_size_t.from_address(place).value = number
    assert protect(address, 1, old.value, ctypes.byref(old))
