"""Events and locks."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import win32event
from harness import OURS, RAW, Case, Goal, Run, group, raw, timed
from world import World

import winipc

_WINE = "wineserver calls; far less on Windows"


@group("sync")
def sync(world: World) -> Iterator[Case]:
    mutex = world.enter(winipc.Mutex.create(None))
    yield _set_event(world)
    yield _lock_mutex(world, mutex)
    yield _lock_word(world, mutex)
    yield _ping(world)


def _set_event(world: World) -> Case:
    event = world.enter(winipc.Event.create(None, manual=True))
    return Case(
        "SetEvent",
        {
            RAW: raw(world.raw.raw_set_event, event.handle),
            OURS: timed("set()", set=event.set),
            "pywin32": timed(
                "set(handle)", set=win32event.SetEvent, handle=event.handle
            ),
        },
        (Goal(1.10, "times"),),
        note=_WINE,
    )


def _lock_mutex(world: World, mutex: winipc.Mutex) -> Case:
    lock = multiprocessing.get_context("spawn").Lock()
    return Case(
        "lock, unlock: kernel mutex",
        {
            RAW: raw(world.raw.raw_lock, mutex.handle),
            OURS: _lock_and_unlock(mutex),
            "pywin32": timed(
                "wait(handle, -1); release(handle)",
                wait=win32event.WaitForSingleObject,
                release=win32event.ReleaseMutex,
                handle=mutex.handle,
            ),
            "mp.Lock": _lock_and_unlock(lock),
        },
        note=_WINE,
    )


def _lock_and_unlock(lock: Any) -> Run:
    return timed("acquire(); release()", acquire=lock.acquire, release=lock.release)


def _lock_word(world: World, mutex: winipc.Mutex) -> Case:
    memory = world.enter(winipc.SharedMapping.create(None, 4096))
    shared = winipc.SharedLock(memory)
    world.stack.callback(shared.close)
    return Case(
        "lock, unlock: lock word",
        {
            RAW: raw(world.raw.raw_lock_word, memory.address),
            OURS: _lock_and_unlock(shared),
            "winipc, with": timed("with lock: pass", lock=shared),
            "threading.Lock": _lock_and_unlock(threading.Lock()),
            "kernel mutex in C": raw(world.raw.raw_lock, mutex.handle),
        },
        (
            Goal(1.5, "times", "threading.Lock"),
            Goal(100, "faster", "kernel mutex in C"),
        ),
        note="`SharedLock`, which no other thread wants: two interlocked instructions; "
        "the kernel mutex's time is wineserver's",
    )


def _ping(world: World) -> Case:
    ping_name, pong_name = world.name("ping"), world.name("pong")
    ping = world.enter(winipc.Event.create(ping_name))
    pong = world.enter(winipc.Event.create(pong_name))
    assert world.target.ask(f"events {ping_name} {pong_name}")
    return Case(
        "two events, round trip with C",
        {
            RAW: raw(world.raw.raw_ping, ping.handle, pong.handle),
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
