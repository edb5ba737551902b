"""Events and locks."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator

import win32event
from harness import OURS, RAW, Case, Goal, group, raw, timed
from world import World

import winipc

_WINE = "wineserver calls; far less on Windows"


@group("sync")
def sync(world: World) -> Iterator[Case]:
    limits = world.raw
    event = world.enter(winipc.Event.create(None, manual=True))
    yield Case(
        "SetEvent",
        {
            RAW: raw(limits.raw_set_event, event.handle),
            OURS: timed("set()", set=event.set),
            "pywin32": timed(
                "set(handle)", set=win32event.SetEvent, handle=event.handle
            ),
        },
        (Goal(1.10, "times"),),
        note=_WINE,
    )
    mutex = world.enter(winipc.Mutex.create(None))
    lock = multiprocessing.get_context("spawn").Lock()
    yield Case(
        "lock, unlock: kernel mutex",
        {
            RAW: raw(limits.raw_lock, mutex.handle),
            OURS: timed(
                "acquire(); release()", acquire=mutex.acquire, release=mutex.release
            ),
            "pywin32": timed(
                "wait(handle, -1); release(handle)",
                wait=win32event.WaitForSingleObject,
                release=win32event.ReleaseMutex,
                handle=mutex.handle,
            ),
            "mp.Lock": timed(
                "acquire(); release()", acquire=lock.acquire, release=lock.release
            ),
        },
        note=_WINE,
    )
    memory = world.enter(winipc.SharedMapping.create(None, 4096))
    shared = winipc.SharedLock(memory)
    world.stack.callback(shared.close)
    yield Case(
        "lock, unlock: lock word",
        {
            RAW: raw(limits.raw_lock_word, memory.address),
            OURS: timed(
                "acquire(); release()", acquire=shared.acquire, release=shared.release
            ),
            "winipc, with": timed("with lock: pass", lock=shared),
            "kernel mutex in C": raw(limits.raw_lock, mutex.handle),
        },
        (Goal(100), Goal(100, "faster", "kernel mutex in C")),
        note="`SharedLock`, which nobody else wants: two interlocked instructions; "
        "the kernel mutex's time is wineserver's",
    )
    ping_name, pong_name = world.name("ping"), world.name("pong")
    ping = world.enter(winipc.Event.create(ping_name))
    pong = world.enter(winipc.Event.create(pong_name))
    assert world.target.ask(f"events {ping_name} {pong_name}")
    yield Case(
        "two events, round trip with C",
        {
            RAW: raw(limits.raw_ping, ping.handle, pong.handle),
            OURS: timed("set(); wait(10)", set=ping.set, wait=pong.wait),
            "pywin32": timed(
                "set(ping); wait(pong, 10000)",
                set=win32event.SetEvent,
                wait=win32event.WaitForSingleObject,
                ping=ping.handle,
                pong=pong.handle,
            ),
        },
        (Goal(1.10, "times"),),
        note=_WINE,
    )
