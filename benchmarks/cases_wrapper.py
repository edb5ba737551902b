"""What the wrappers cost: the Win32 function under them does nothing but succeed."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from ctypes import wintypes

import cffi
import pymem
import pymem.memory
import PyMemoryEditor
import win32con
import win32event
import win32gui
import win32process
from harness import OURS, RAW, Case, Goal, group, raw, timed
from world import World

import winipc

_ACCESS = winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE


@group("stub")
def stubs(world: World) -> Iterator[Case]:
    target, limits = world.target, world.raw
    process = world.enter(winipc.RemoteProcess.open(target.pid, access=_ACCESS))
    handle, address = process.handle, target.block
    memory = pymem.Pymem()
    memory.open_process_from_id(target.pid)
    world.stack.callback(memory.close_process)
    editor = world.enter(PyMemoryEditor.OpenProcess(pid=target.pid))

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    read = kernel.ReadProcessMemory
    read.argtypes = (
        *(wintypes.HANDLE, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_size_t, ctypes.c_void_p),
    )
    write = kernel.WriteProcessMemory
    write.argtypes = read.argtypes
    buffer, done = ctypes.create_string_buffer(8), ctypes.c_size_t()
    ffi = cffi.FFI()
    ffi.cdef(
        """int ReadProcessMemory(void *, void *, void *, size_t, size_t *);
        int SetEvent(void *); int PostMessageW(void *, unsigned, size_t, size_t);"""
    )
    library = ffi.dlopen("kernel32")
    user = ffi.dlopen("user32")
    ffi_read = timed(
        "read(handle, address, buffer, 8, done); bytes(unpack(buffer, 8))",
        read=library.ReadProcessMemory,
        handle=ffi.cast("void *", handle),
        address=ffi.cast("void *", address),
        buffer=ffi.new("char[8]"),
        done=ffi.new("size_t *"),
        unpack=ffi.buffer,
    )
    yield Case(
        "read 8 B",
        {
            RAW: raw(limits.raw_read, handle, address, 8),
            OURS: timed("read(address, 8)", read=process.read, address=address),
            "winipc read_into": timed(
                "read(address, buffer)",
                read=process.read_into,
                address=address,
                buffer=bytearray(8),
            ),
            "pywin32": timed(
                "read(handle, address, 8)",
                read=win32process.ReadProcessMemory,
                handle=handle,
                address=address,
            ),
            "ctypes": timed(
                "buffer = make(8); read(handle, address, buffer, 8, ref(done));"
                " buffer.raw",
                make=ctypes.create_string_buffer,
                read=read,
                handle=handle,
                address=address,
                done=done,
                ref=ctypes.byref,
            ),
            "cffi": ffi_read,
            "pymem": timed("read(address, 8)", read=memory.read_bytes, address=address),
            "PyMemoryEditor": timed(
                "read(address, bytes, 8)",
                read=editor.read_process_memory,
                address=address,
            ),
        },
        (Goal(100),),
        stubs=("ReadProcessMemory",),
    )
    yield Case(
        "write 8 B",
        {
            RAW: raw(limits.raw_write, handle, address, 8),
            OURS: timed(
                "write(address, data)",
                write=process.write,
                address=address,
                data=b"12345678",
            ),
            "pywin32": timed(
                "write(handle, address, data)",
                write=win32process.WriteProcessMemory,
                handle=handle,
                address=address,
                data=b"12345678",
            ),
            "ctypes": timed(
                "write(handle, address, data, 8, ref(done))",
                write=write,
                handle=handle,
                address=address,
                data=b"12345678",
                done=done,
                ref=ctypes.byref,
            ),
            "pymem": timed(
                "write(address, data, 8)",
                write=memory.write_bytes,
                address=address,
                data=b"12345678",
            ),
            "PyMemoryEditor": timed(
                "write(address, bytes, 8, data)",
                write=editor.write_process_memory,
                address=address,
                data=b"12345678",
            ),
        },
        (Goal(120),),
        stubs=("WriteProcessMemory",),
    )
    del buffer

    event = world.enter(winipc.Event.create(None, manual=True))
    set_event = kernel.SetEvent
    set_event.argtypes = (wintypes.HANDLE,)
    yield Case(
        "SetEvent",
        {
            RAW: raw(limits.raw_set_event, event.handle),
            OURS: timed("set()", set=event.set),
            "pywin32": timed(
                "set(handle)", set=win32event.SetEvent, handle=event.handle
            ),
            "ctypes": timed("set(handle)", set=set_event, handle=event.handle),
            "cffi": timed(
                "set(handle)",
                set=library.SetEvent,
                handle=ffi.cast("void *", event.handle),
            ),
        },
        (Goal(55),),
        stubs=("SetEvent",),
    )

    post = ctypes.WinDLL("user32", use_last_error=True).PostMessageW
    post.argtypes = (wintypes.HWND, wintypes.UINT, ctypes.c_size_t, ctypes.c_size_t)
    hwnd = limits.window_make()
    yield Case(
        "PostMessage",
        {
            RAW: raw(limits.raw_post, hwnd),
            OURS: timed("post(hwnd, 0, 1, 2)", post=winipc.post_message, hwnd=hwnd),
            "pywin32": timed(
                "post(hwnd, 0, 1, 2)", post=win32gui.PostMessage, hwnd=hwnd
            ),
            "ctypes": timed("post(hwnd, 0, 1, 2)", post=post, hwnd=hwnd),
            "cffi": timed(
                "post(hwnd, 0, 1, 2)",
                post=user.PostMessageW,
                hwnd=ffi.cast("void *", hwnd),
            ),
        },
        (Goal(100),),
        stubs=("PostMessageW",),
    )
    data = b"d" * 64
    yield Case(
        "WM_COPYDATA 64 B",
        {
            RAW: raw(limits.raw_copydata, hwnd, 64),
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
        stubs=("SendMessageTimeoutW",),
        note="the GIL is given up and taken back for every send",
    )
