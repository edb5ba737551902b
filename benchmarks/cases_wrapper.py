"""The cost of wrappers: the Win32 function under them only returns success."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from ctypes import wintypes
from typing import Any

import cffi
import win32con
import win32event
import win32gui
import win32process
from harness import OURS, RAW, Case, Goal, group, raw, timed
from others import Opened, kernel32
from world import World

import winipc


@group("stub")
def stubs(world: World) -> Iterator[Case]:
    target = Opened(world)
    ffi = cffi.FFI()
    ffi.cdef(
        """int ReadProcessMemory(void *, void *, void *, size_t, size_t *);
        int SetEvent(void *); int PostMessageW(void *, unsigned, size_t, size_t);"""
    )
    yield _read(world, target, ffi)
    yield _write(world, target)
    yield _set_event(world, ffi)
    yield _post(world, ffi, world.raw.window_make())
    yield _send_copydata(world, world.target.hwnd)


def _read(world: World, target: Opened, ffi: Any) -> Case:
    ffi_read = timed(
        "read(handle, address, buffer, 8, done); bytes(unpack(buffer, 8))",
        read=ffi.dlopen("kernel32").ReadProcessMemory,
        handle=ffi.cast("void *", target.handle),
        address=ffi.cast("void *", target.address),
        buffer=ffi.new("char[8]"),
        done=ffi.new("size_t *"),
        unpack=ffi.buffer,
    )
    return Case(
        "read 8 B",
        {
            RAW: raw(world.raw.raw_read, target.handle, target.address, 8),
            OURS: timed(
                "read(address, 8)", read=target.ours.read, address=target.address
            ),
            "winipc read_into": timed(
                "read(address, buffer)",
                read=target.ours.read_into,
                address=target.address,
                buffer=bytearray(8),
            ),
            "pywin32": timed(
                "read(handle, address, 8)",
                read=win32process.ReadProcessMemory,
                handle=target.handle,
                address=target.address,
            ),
            "ctypes": timed(
                "buffer = make(8); read(handle, address, buffer, 8, ref(done));"
                " buffer.raw",
                make=ctypes.create_string_buffer,
                read=kernel32().ReadProcessMemory,
                handle=target.handle,
                address=target.address,
                done=ctypes.c_size_t(),
                ref=ctypes.byref,
            ),
            "cffi": ffi_read,
            "pymem": timed(
                "read(address, 8)",
                read=target.memory.read_bytes,
                address=target.address,
            ),
            "PyMemoryEditor": timed(
                "read(address, bytes, 8)",
                read=target.editor.read_process_memory,
                address=target.address,
            ),
        },
        (Goal(0.6, "times", "pywin32"),),
        stubs=("ReadProcessMemory",),
        steady=True,
    )


def _write(world: World, target: Opened) -> Case:
    return Case(
        "write 8 B",
        {
            RAW: raw(world.raw.raw_write, target.handle, target.address, 8),
            OURS: timed(
                "write(address, data)",
                write=target.ours.write,
                address=target.address,
                data=b"12345678",
            ),
            "pywin32": timed(
                "write(handle, address, data)",
                write=win32process.WriteProcessMemory,
                handle=target.handle,
                address=target.address,
                data=b"12345678",
            ),
            "ctypes": timed(
                "write(handle, address, data, 8, ref(done))",
                write=kernel32().WriteProcessMemory,
                handle=target.handle,
                address=target.address,
                data=b"12345678",
                done=ctypes.c_size_t(),
                ref=ctypes.byref,
            ),
            "pymem": timed(
                "write(address, data, 8)",
                write=target.memory.write_bytes,
                address=target.address,
                data=b"12345678",
            ),
            "PyMemoryEditor": timed(
                "write(address, bytes, 8, data)",
                write=target.editor.write_process_memory,
                address=target.address,
                data=b"12345678",
            ),
        },
        (Goal(0.7, "times", "pywin32"),),
        stubs=("WriteProcessMemory", "NtWriteVirtualMemory"),
        steady=True,
    )


def _set_event(world: World, ffi: Any) -> Case:
    event = world.enter(winipc.Event.create(None, manual=True))
    return Case(
        "SetEvent",
        {
            RAW: raw(world.raw.raw_set_event, event.handle),
            OURS: timed("set()", set=event.set),
            "pywin32": timed(
                "set(handle)", set=win32event.SetEvent, handle=event.handle
            ),
            "ctypes": timed(
                "set(handle)", set=kernel32().SetEvent, handle=event.handle
            ),
            "cffi": timed(
                "set(handle)",
                set=ffi.dlopen("kernel32").SetEvent,
                handle=ffi.cast("void *", event.handle),
            ),
        },
        (Goal(0.7, "times", "pywin32"),),
        stubs=("SetEvent",),
    )


def _post(world: World, ffi: Any, hwnd: int) -> Case:
    post = ctypes.WinDLL("user32", use_last_error=True).PostMessageW
    post.argtypes = (wintypes.HWND, wintypes.UINT, ctypes.c_size_t, ctypes.c_size_t)
    return Case(
        "PostMessage",
        {
            RAW: raw(world.raw.raw_post, hwnd),
            OURS: timed("post(hwnd, 0, 1, 2)", post=winipc.post_message, hwnd=hwnd),
            "pywin32": timed(
                "post(hwnd, 0, 1, 2)", post=win32gui.PostMessage, hwnd=hwnd
            ),
            "ctypes": timed("post(hwnd, 0, 1, 2)", post=post, hwnd=hwnd),
            "cffi": timed(
                "post(hwnd, 0, 1, 2)",
                post=ffi.dlopen("user32").PostMessageW,
                hwnd=ffi.cast("void *", hwnd),
            ),
        },
        (Goal(0.4, "times", "pywin32"),),
        stubs=("PostMessageW",),
    )


def _send_copydata(world: World, hwnd: int) -> Case:
    data = b"d" * 64
    return Case(
        "WM_COPYDATA 64 B",
        {
            RAW: raw(world.raw.raw_copydata, hwnd, 64),
            OURS: timed(
                "send(hwnd, data)", send=winipc.send_copydata, hwnd=hwnd, data=data
            ),
            "pywin32 + struct": timed(
                "send(hwnd, kind, 0, pack(1, 64, address), flags, 5000)",
                send=win32gui.SendMessageTimeout,
                hwnd=hwnd,
                kind=win32con.WM_COPYDATA,
                pack=struct.Struct("=QI4xQ").pack,
                address=0,
                flags=win32con.SMTO_ABORTIFHUNG,
            ),
        },
        (Goal(0.4, "times", "pywin32 + struct"),),
        stubs=("SendMessageTimeoutW",),
        note="to a window of another process; the GIL is given up and taken back for "
        "every send",
    )
