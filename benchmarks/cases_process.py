"""The memory of another process, with the real Win32 under it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from ctypes import wintypes

import pymem
import PyMemoryEditor
import win32api
import win32con
import win32process
from harness import OURS, RAW, Case, Goal, group, raw, timed
from world import World

import winipc

_ACCESS = winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE
_WINE = "a system call here (wineserver for all but small writes), much less on Windows"


@group("process")
def process(world: World) -> Iterator[Case]:
    target, limits = world.target, world.raw
    ours = world.enter(winipc.RemoteProcess.open(target.pid, access=_ACCESS))
    handle, address = ours.handle, target.block
    memory = pymem.Pymem()
    memory.open_process_from_id(target.pid)
    world.stack.callback(memory.close_process)
    editor = world.enter(PyMemoryEditor.OpenProcess(pid=target.pid))
    read = ctypes.WinDLL("kernel32", use_last_error=True).ReadProcessMemory
    read.argtypes = (
        *(wintypes.HANDLE, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_size_t, ctypes.c_void_p),
    )
    for size, goal in ((8, 1.10), (4096, 1.10), (65536, 1.10)):
        label = f"{size} B" if size < 1024 else f"{size >> 10} KiB"
        yield Case(
            f"ReadProcessMemory {label}",
            {
                RAW: raw(limits.raw_read, handle, address, size),
                OURS: timed(
                    "read(address, size)", read=ours.read, address=address, size=size
                ),
                "pywin32": timed(
                    "read(handle, address, size)",
                    read=win32process.ReadProcessMemory,
                    handle=handle,
                    address=address,
                    size=size,
                ),
                "ctypes": timed(
                    "buffer = make(size); read(handle, address, buffer, size,"
                    " ref(done)); buffer.raw",
                    make=ctypes.create_string_buffer,
                    read=read,
                    handle=handle,
                    address=address,
                    size=size,
                    done=ctypes.c_size_t(),
                    ref=ctypes.byref,
                ),
                "pymem": timed(
                    "read(address, size)",
                    read=memory.read_bytes,
                    address=address,
                    size=size,
                ),
                "PyMemoryEditor": timed(
                    "read(address, bytes, size)",
                    read=editor.read_process_memory,
                    address=address,
                    size=size,
                ),
            },
            (Goal(goal, "times"),) if size == 8 else (),
            note=_WINE if size == 8 else "",
            size=size,
        )
    for size in (1 << 20, 16 << 20):
        yield Case(
            f"read {size >> 20} MiB",
            {
                RAW: raw(limits.raw_read, handle, address, size),
                OURS: timed(
                    "read(address, buffer)",
                    read=ours.read_into,
                    address=address,
                    buffer=bytearray(size),
                ),
                "winipc bytes": timed(
                    "read(address, size)", read=ours.read, address=address, size=size
                ),
                "pywin32": timed(
                    "read(handle, address, size)",
                    read=win32process.ReadProcessMemory,
                    handle=handle,
                    address=address,
                    size=size,
                ),
                "pymem": timed(
                    "read(address, size)",
                    read=memory.read_bytes,
                    address=address,
                    size=size,
                ),
                "PyMemoryEditor": timed(
                    "read(address, bytes, size)",
                    read=editor.read_process_memory,
                    address=address,
                    size=size,
                ),
            },
            (Goal(1.02, "times"),),
            note="winipc: `read_into` one buffer; whoever returns new bytes pays for "
            "their page faults"
            if size == 1 << 20
            else "",
            size=size,
        )
    data = b"12345678"
    yield Case(
        "WriteProcessMemory 8 B",
        {
            RAW: raw(limits.raw_write, handle, address, 8),
            OURS: timed(
                "write(address, data)", write=ours.write, address=address, data=data
            ),
            "pywin32": timed(
                "write(handle, address, data)",
                write=win32process.WriteProcessMemory,
                handle=handle,
                address=address,
                data=data,
            ),
            "pymem": timed(
                "write(address, data, 8)",
                write=memory.write_bytes,
                address=address,
                data=data,
            ),
            "PyMemoryEditor": timed(
                "write(address, bytes, 8, data)",
                write=editor.write_process_memory,
                address=address,
                data=data,
            ),
        },
        note="wineserver writes small pieces, much less on Windows",
    )
    yield Case(
        "OpenProcess, close",
        {
            RAW: raw(limits.raw_open_process, target.pid),
            OURS: timed(
                "open(pid).close()", open=winipc.RemoteProcess.open, pid=target.pid
            ),
            "pywin32": timed(
                "open(right, False, pid).close()",
                open=win32api.OpenProcess,
                right=win32con.PROCESS_VM_READ,
                pid=target.pid,
            ),
        },
        note="winipc asks as well whether the process still runs",
    )
