"""A whole message from one program to another, by each transport."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from typing import Any

import cases_messages
import echo
import win32con
import win32gui
from harness import OURS, RAW, Case, Goal, group, label, raw, timed
from world import World

import winipc

#: Raw C that delivers as winipc does when the data is large.
_MAPPED = f"{RAW}, by a mapping"

_GOALS = {
    64: (Goal(1.1, "times"), Goal(1.3, "times", OURS, "winipc, a copy kept")),
    1 << 20: (Goal(1.1, "times", _MAPPED),),
    15 << 20: (Goal(8, "faster"),),
}


@group("exchange")
def exchange(world: World) -> Iterator[Case]:
    keeping = _sender(world, "receiver", echo.receiver)
    looking = _sender(world, "handler", echo.handler)
    shared = world.enter(winipc.SharedMapping.create(None, 17 << 20))
    for size in (64, 4096, 65536, 1 << 20, 15 << 20):
        data = bytes(size)
        ways = {
            RAW: raw(world.raw.raw_copydata, world.target.hwnd, size),
            OURS: timed("send(data, via)", send=looking.send, data=data, via="auto"),
            "winipc, a copy kept": timed(
                "send(data, via)", send=keeping.send, data=data, via="auto"
            ),
        }
        if size == 64:
            ways["pywin32"] = cases_messages.pywin32(_pywin32(world), bytearray(size))
        if size >= 65536:
            ways[_MAPPED] = raw(
                world.raw.raw_mapped, world.target.hwnd, shared.address, size
            )
        for via in ("copydata", "mapping", "process"):
            ways[f"winipc, {via}"] = timed(
                "send(data, via)", send=looking.send, data=data, via=via
            )
        yield Case(
            f"deliver {label(size)}",
            ways,
            _GOALS.get(size, ()),
            size=size,
            series="exchange",
            note='winipc: via="auto", to a Receiver in Python whose handler looks at '
            'the data in place, or, "a copy kept", to one that queues copies; '
            "raw C: WM_COPYDATA to a window in C that takes a copy, without Python on "
            "either side; pywin32: to a procedure in Python that takes a copy; by a "
            'mapping, a copy into it and the message "Mapped" to a window in C that '
            "looks in place"
            if size == 64
            else "",
        )
    keeping.send(b"end")
    looking.send(b"end")


@group("exchange by a lane", pinned=False)
def exchange_by_a_lane(world: World) -> Iterator[Case]:
    sender, data = _sender(world, "handler", echo.handler), bytes(64)
    ways = {RAW: raw(world.raw.raw_copydata, world.target.hwnd, 64)}
    for name, via in (
        (OURS, "auto"),
        ("winipc, mapping", "mapping"),
        ("winipc, copydata", "copydata"),
    ):
        ways[name] = timed("send(data, via)", send=sender.send, data=data, via=via)
    yield Case("deliver 64 B", ways, (Goal(20, "faster"),))
    sender.send(b"end")


def _sender(
    world: World, name: str, receiver: Callable[[str, str, int, Any], None]
) -> winipc.Sender:
    """A sender to a receiver in a process of its own, with a mapping of its own."""
    title, mapping = world.name(name), world.name(f"{name}-mapping")
    ready = multiprocessing.get_context("spawn").Event()
    world.child(receiver, title, mapping, 17 << 20, ready)
    assert ready.wait(60)
    return world.enter(winipc.Sender(title, mapping=mapping))


def _pywin32(world: World) -> int:
    """A window of pywin32 in a process of its own."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    world.child(echo.window, theirs)
    assert ours.poll(60)
    hwnd: int = ours.recv()
    world.stack.callback(win32gui.PostMessage, hwnd, win32con.WM_CLOSE, 0, 0)
    return hwnd
