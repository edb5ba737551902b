"""WM_COPYDATA: sending and receiving."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator

import echo
import win32con
import win32gui
from harness import OURS, RAW, Case, Goal, Run, group, label, raw, timed
from world import World

import winipc

_HEADER = struct.Struct("=QI4xQ").pack


def pywin32(hwnd: int, data: bytearray) -> Run:
    """SendMessageTimeout by pywin32, with a COPYDATASTRUCT made by struct."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(data))
    return timed(
        "send(hwnd, 0x4A, 0, pack(1, size, address), flags, 5000)",
        send=win32gui.SendMessageTimeout,
        hwnd=hwnd,
        pack=_HEADER,
        size=len(data),
        address=address,
        kept=data,
        flags=win32con.SMTO_ABORTIFHUNG,
    )


def _send(hwnd: int, data: bytearray) -> Run:
    return timed("send(hwnd, data)", send=winipc.send_copydata, hwnd=hwnd, data=data)


@group("messages")
def messages(world: World) -> Iterator[Case]:
    mine = world.raw.window_make()
    yield _send_to_itself(world, mine)
    yield _post(world, mine)
    for size in (64, 4096, 65536, 1 << 20, 15 << 20):
        yield _send_away(world, size)
    yield _receive(world)


def _send_to_itself(world: World, mine: int) -> Case:
    small = bytearray(64)
    return Case(
        "send 64 B, same thread",
        {
            RAW: raw(world.raw.raw_copydata, mine, 64),
            OURS: _send(mine, small),
            "pywin32": pywin32(mine, small),
        },
        (Goal(2.2, "times"),),
        after=world.raw.drain,
        note="no switch of threads and no wineserver in it: what is over raw C is the "
        "wrapper, half of it the GIL",
    )


def _post(world: World, mine: int) -> Case:
    return Case(
        "post, same thread",
        {
            RAW: raw(world.raw.raw_post, mine),
            OURS: timed("post(hwnd, 0)", post=winipc.post_message, hwnd=mine),
            "pywin32": timed(
                "post(hwnd, 0, 0, 0)", post=win32gui.PostMessage, hwnd=mine
            ),
        },
        after=world.raw.drain,
        most=4000,
        note="a wineserver call",
    )


def _send_away(world: World, size: int) -> Case:
    theirs, data = world.target.hwnd, bytearray(size)
    return Case(
        f"send {label(size)}, other process",
        {
            RAW: raw(world.raw.raw_copydata, theirs, size),
            OURS: _send(theirs, data),
            "pywin32": pywin32(theirs, data),
        },
        (Goal(1.05, "times"),) if size == 64 else (),
        size=size,
        series="copydata",
        note="wineserver carries the data; on Windows the kernel copies it"
        if size == 64
        else "",
    )


def _receive(world: World) -> Case:
    limits = world.raw
    native = limits.window_start()
    world.stack.callback(win32gui.PostMessage, native, win32con.WM_CLOSE, 0, 0)
    queued = world.enter(winipc.CopyDataWindow.create(max_count=1 << 20))
    handled = world.enter(winipc.CopyDataWindow.create(handler=lambda message: 1))
    python = echo.Window()
    world.stack.callback(python.close)

    def empty() -> None:
        while queued.receive_nowait() is not None:
            pass

    return Case(
        "receive 64 B, other thread",
        {
            RAW: raw(limits.raw_copydata, native, 64),
            OURS: raw(limits.raw_copydata, queued.hwnd, 64),
            "winipc handler": raw(limits.raw_copydata, handled.hwnd, 64),
            "pywin32": raw(limits.raw_copydata, python.hwnd, 64),
        },
        (Goal(2.7, "times"),),
        after=empty,
        note="sent by raw C, which holds no GIL, to a window on a thread of its own, "
        "as every window of winipc is; two switches of threads are in every figure",
    )
