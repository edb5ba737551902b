"""A page, or a call, that comes to its end only after another Python thread has run.

A file on a slow disk is not at hand, so a page is taken away and an exception
handler of machine code stands in for the disk: it says that the page was touched,
and waits for an event that a Python thread sets, which needs the GIL. Then winipc
finds the page gone, which is an OSError. A slow call of Windows is made so, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
import threading
from collections.abc import Callable

import winipc
from helpers import BITS
from helpers.replaced_call import (
    PAGE,
    PAGE_READWRITE,
    address_of,
    kernel32,
    load,
    machine_code,
    replaced,
)

__all__ = ["PAGE", "runs_beside", "runs_beside_call"]

#: Seconds after which the other thread is taken for stopped.
DEADLINE = 20
PAGE_NOACCESS = 1


class _Stuck:
    """A call that says that it is there, and waits for another Python thread."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._touched = stack.enter_context(winipc.Event.create(None))
        self._go = stack.enter_context(winipc.Event.create(None))
        self._result = ctypes.c_uint32(0xFFFF)

    def code(self, end: bytes) -> bytes:
        """SignalObjectAndWait(touched, go), its result stored; then `end`, to which
        the first argument and the stack are as they were."""
        touched, go = self._touched.handle, self._go.handle
        call = load(0, address_of("kernel32", "SignalObjectAndWait")) + b"\xff\xd0"
        result = ctypes.addressof(self._result)
        if BITS == 32:
            return b"".join(
                (
                    b"\x6a\x00",  # push 0
                    b"\x68" + struct.pack("<I", DEADLINE * 1000),  # push
                    b"\x68" + struct.pack("<I", go),  # push
                    b"\x68" + struct.pack("<I", touched),  # push
                    call,
                    b"\xa3" + struct.pack("<I", result),  # mov [result], eax
                    end,
                )
            )
        return b"".join(
            (
                b"\x48\x83\xec\x38",  # sub rsp, 56
                b"\x48\x89\x4c\x24\x28",  # mov [rsp+40], rcx
                load(1, touched),
                load(2, go),
                b"\x41\xb8" + struct.pack("<I", DEADLINE * 1000),  # mov r8d
                b"\x45\x31\xc9",  # xor r9d, r9d
                call,
                load(1, result) + b"\x89\x01",  # mov [rcx], eax
                b"\x48\x8b\x4c\x24\x28",  # mov rcx, [rsp+40]
                b"\x48\x83\xc4\x38",  # add rsp, 56
                end,
            )
        )

    def lets_threads_run(self, touch: Callable[[], object]) -> bool:
        """Whether this thread runs while `touch()`, in another one, is stuck."""
        thread = threading.Thread(target=touch)
        thread.start()
        assert self._touched.wait(2 * DEADLINE)
        self._go.set()
        thread.join()
        return self._result.value == 0


def runs_beside(address: int, touch: Callable[[], object]) -> bool:
    """Whether this thread runs while another one is stuck in a page.

    `touch()` has to touch the page at `address`, and raises OSError for it.
    """
    errors = []

    def run() -> None:
        try:
            touch()
        except OSError as error:
            errors.append(error)

    windows = kernel32()
    page = ctypes.c_void_p(address)
    old = ctypes.c_uint32()
    with contextlib.ExitStack() as stack:
        stuck = _Stuck(stack)
        # xor eax, eax: EXCEPTION_CONTINUE_SEARCH; ret
        end = b"\x31\xc0" + (b"\xc2\x04\x00" if BITS == 32 else b"\xc3")
        at = stack.enter_context(machine_code(stuck.code(end)))
        assert windows.VirtualProtect(page, PAGE, PAGE_NOACCESS, ctypes.byref(old))
        added = windows.AddVectoredExceptionHandler(1, ctypes.c_void_p(at))
        try:
            beside = stuck.lets_threads_run(run)
        finally:
            windows.RemoveVectoredExceptionHandler(ctypes.c_void_p(added))
            windows.VirtualProtect(page, PAGE, PAGE_READWRITE, ctypes.byref(old))
    assert len(errors) == 1, "the page was not touched"
    return beside


def runs_beside_call(function: str, touch: Callable[[], object]) -> bool:
    """Whether this thread runs while another one is stuck in this call of kernel32.

    `touch()` has to make winipc call it, once; it has one argument.
    """
    with contextlib.ExitStack() as stack:
        stuck = _Stuck(stack)
        end = load(0, address_of("kernel32", function)) + b"\xff\xe0"  # jmp rax
        stack.enter_context(replaced("kernel32", function, stuck.code(end)))
        return stuck.lets_threads_run(touch)
