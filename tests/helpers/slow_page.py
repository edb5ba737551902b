"""A page that comes in only after another Python thread has run.

A file on a slow disk is not at hand, so a page is taken away and an exception
handler of machine code stands in for the disk: it says that the page was touched,
and waits for an event that a Python thread sets, which needs the GIL. Then winipc
finds the page gone, which is an OSError.
"""

from __future__ import annotations

import ctypes
import platform
import struct
import threading
from collections.abc import Callable

import pytest

import winipc
from helpers import BITS

#: Seconds after which the other thread is taken for stopped.
DEADLINE = 20
PAGE_NOACCESS, PAGE_READWRITE, PAGE_EXECUTE_READWRITE = 1, 4, 0x40
MEM_COMMIT_RESERVE, MEM_RELEASE = 0x3000, 0x8000
PAGE = 4096


def _kernel32() -> ctypes.CDLL:
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.VirtualAlloc.restype = ctypes.c_void_p
    kernel32.AddVectoredExceptionHandler.restype = ctypes.c_void_p
    return kernel32


def _handler(touched: int, go: int, result: int) -> bytes:
    """SignalObjectAndWait(touched, go), its result stored; then search on."""
    call = ctypes.cast(_kernel32().SignalObjectAndWait, ctypes.c_void_p).value or 0
    if BITS == 32:
        return b"".join(
            (
                b"\x6a\x00",  # push 0
                b"\x68" + struct.pack("<I", DEADLINE * 1000),  # push
                b"\x68" + struct.pack("<I", go),  # push
                b"\x68" + struct.pack("<I", touched),  # push
                b"\xb8" + struct.pack("<I", call) + b"\xff\xd0",  # call
                b"\xa3" + struct.pack("<I", result),  # mov [result], eax
                b"\x31\xc0",  # xor eax, eax: EXCEPTION_CONTINUE_SEARCH
                b"\xc2\x04\x00",  # ret 4
            )
        )
    return b"".join(
        (
            b"\x48\x83\xec\x28",  # sub rsp, 40
            b"\x48\xb9" + struct.pack("<Q", touched),  # mov rcx
            b"\x48\xba" + struct.pack("<Q", go),  # mov rdx
            b"\x41\xb8" + struct.pack("<I", DEADLINE * 1000),  # mov r8d
            b"\x45\x31\xc9",  # xor r9d, r9d
            b"\x48\xb8" + struct.pack("<Q", call) + b"\xff\xd0",  # call
            b"\x48\xb9" + struct.pack("<Q", result) + b"\x89\x01",  # mov [rcx], eax
            b"\x31\xc0",  # xor eax, eax: EXCEPTION_CONTINUE_SEARCH
            b"\x48\x83\xc4\x28\xc3",  # add rsp, 40; ret
        )
    )


def runs_beside(address: int, touch: Callable[[], object]) -> bool:
    """Whether this thread runs while another one is stuck in a page.

    `touch()` has to touch the page at `address`, and raises OSError for it.
    """
    # A 32-bit Python on x64 answers AMD64 too.
    if platform.machine() not in ("AMD64", "x86"):
        pytest.skip("the handler is written for x64 and x86")
    kernel32 = _kernel32()
    result = ctypes.c_uint32(0xFFFF)
    errors = []

    def run() -> None:
        try:
            touch()
        except OSError as error:
            errors.append(error)

    with winipc.Event.create(None) as touched, winipc.Event.create(None) as go:
        code = _handler(touched.handle, go.handle, ctypes.addressof(result))
        at = kernel32.VirtualAlloc(
            None, PAGE, MEM_COMMIT_RESERVE, PAGE_EXECUTE_READWRITE
        )
        ctypes.memmove(at, code, len(code))
        page = ctypes.c_void_p(address)
        old = ctypes.c_uint32()
        assert kernel32.VirtualProtect(page, PAGE, PAGE_NOACCESS, ctypes.byref(old))
        added = kernel32.AddVectoredExceptionHandler(1, ctypes.c_void_p(at))
        thread = threading.Thread(target=run)
        try:
            thread.start()
            assert touched.wait(2 * DEADLINE)
            go.set()
            thread.join()
        finally:
            kernel32.RemoveVectoredExceptionHandler(ctypes.c_void_p(added))
            kernel32.VirtualProtect(page, PAGE, PAGE_READWRITE, ctypes.byref(old))
            kernel32.VirtualFree(ctypes.c_void_p(at), 0, MEM_RELEASE)
    assert len(errors) == 1, "the page was not touched"
    return result.value == 0
