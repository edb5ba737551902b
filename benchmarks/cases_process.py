"""The memory of another process, with the real Win32 functions."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import win32api
import win32con
import win32process
from harness import OURS, RAW, Case, Goal, Run, group, label, raw, timed
from others import Opened, kernel32
from world import World

import winipc

_WINE = (
    "accesses that follow each other at once; after a pause, and only under Wine, "
    "winipc asks VirtualQueryEx first, which takes several reads' time"
)


def _theirs(target: Opened, what: str, value: int | bytes) -> dict[str, Run]:
    """The ways of other packages to "read" `value` bytes, or to "write" `value`."""
    size = value if isinstance(value, int) else len(value)
    data = "" if isinstance(value, int) else "value, "
    names: dict[str, Any] = {"address": target.address, "value": value, "size": size}
    return {
        "pywin32": timed(
            "call(handle, address, value)",
            call=getattr(win32process, f"{what.title()}ProcessMemory"),
            handle=target.handle,
            **names,
        ),
        "pymem": timed(
            f"call(address, {data}size)",
            call=getattr(target.memory, f"{what}_bytes"),
            **names,
        ),
        "PyMemoryEditor": timed(
            f"call(address, bytes, size, {data})",
            call=getattr(target.editor, f"{what}_process_memory"),
            **names,
        ),
    }


@group("process")
def process(world: World) -> Iterator[Case]:
    target = Opened(world)
    for size in (8, 4096, 65536):
        yield _small_read(world, target, size)
    for size in (1 << 20, 16 << 20):
        yield _large_read(world, target, size)
    yield _write(world, target)
    yield _large_write(world, target)
    yield _open(world)


def _small_read(world: World, target: Opened, size: int) -> Case:
    others = _theirs(target, "read", size)
    return Case(
        f"read {label(size)}",
        {
            RAW: raw(world.raw.raw_read, target.handle, target.address, size),
            OURS: timed(
                "read(address, size)",
                read=target.ours.read,
                address=target.address,
                size=size,
            ),
            "pywin32": others.pop("pywin32"),
            "ctypes": timed(
                "buffer = make(size); read(handle, address, buffer, size,"
                " ref(done)); buffer.raw",
                make=ctypes.create_string_buffer,
                read=kernel32().ReadProcessMemory,
                handle=target.handle,
                address=target.address,
                size=size,
                done=ctypes.c_size_t(),
                ref=ctypes.byref,
            ),
            **others,
        },
        (Goal(1.03, "times"),),
        steady=True,
        note=_WINE if size == 8 else "",
        size=size,
        series="process",
    )


def _large_read(world: World, target: Opened, size: int) -> Case:
    note = "winipc: `read_into` one buffer; new bytes cost their page faults"
    return Case(
        f"read {label(size)}",
        {
            RAW: raw(world.raw.raw_read, target.handle, target.address, size),
            OURS: timed(
                "read(address, buffer)",
                read=target.ours.read_into,
                address=target.address,
                buffer=bytearray(size),
            ),
            "winipc bytes": timed(
                "read(address, size)",
                read=target.ours.read,
                address=target.address,
                size=size,
            ),
            **_theirs(target, "read", size),
        },
        (Goal(1.02, "times"),),
        steady=True,
        note=note if size == 1 << 20 else "",
        size=size,
        series="process",
    )


def _write(world: World, target: Opened) -> Case:
    data = b"12345678"
    return Case(
        "WriteProcessMemory 8 B",
        {
            RAW: raw(world.raw.raw_write, target.handle, target.address, 8),
            OURS: timed(
                "write(address, data)",
                write=target.ours.write,
                address=target.address,
                data=data,
            ),
            **_theirs(target, "write", data),
        },
        (Goal(1.03, "times"),),
        steady=True,
        note="wineserver writes small pieces, much less on Windows",
    )


def _large_write(world: World, target: Opened) -> Case:
    data = bytes(1 << 20)
    return Case(
        "write 1 MiB",
        {
            RAW: raw(world.raw.raw_write, target.handle, target.address, len(data)),
            OURS: timed(
                "write(address, data)",
                write=target.ours.write,
                address=target.address,
                data=data,
            ),
            **_theirs(target, "write", data),
        },
        (Goal(1.05, "times"),),
        steady=True,
        size=len(data),
    )


def _open(world: World) -> Case:
    pid = world.target.pid
    return Case(
        "OpenProcess, close",
        {
            RAW: raw(world.raw.raw_open_process, pid),
            OURS: timed("open(pid).close()", open=winipc.RemoteProcess.open, pid=pid),
            "pywin32": timed(
                "open(right, False, pid).close()",
                open=win32api.OpenProcess,
                right=win32con.PROCESS_VM_READ,
                pid=pid,
            ),
        },
        (Goal(1.10, "times"),),
    )
