"""The operations that count_requests.py counts, each by raw C and by winipc.

They run in the Windows Python under Wine, between marks in the trace of wineserver.
Each yield of a generator sets a mark: `yield "open it"` begins the step of that name,
for the calling thread or for the thread whose id comes with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import queue
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from ctypes import wintypes
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from world import Target

import winipc
from winipc.system.catalog import _held_objects

Steps: TypeAlias = "Iterator[str | tuple[str, int]]"
#: A function that makes steps; equal names of "raw C" and "winipc" are compared.
Way: TypeAlias = Callable[[], Steps]

TURNS = 7
REST = "rest"
EVENT_RIGHT = 0x100000
HANG, WAIT_MS = 2, 5000
MIB = 1 << 20
EXCHANGE = "winipc-requests"
#: Seconds after which an answer of VirtualQueryEx expires: WINE_GAP in csrc/process.
PAUSE = 0.005
FEW, MANY = 10, 20

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
user32 = ctypes.WinDLL("user32", use_last_error=True)
ntdll = ctypes.WinDLL("ntdll")
for function in (
    *(kernel32.CreateFileMappingW, kernel32.OpenFileMappingW, kernel32.MapViewOfFile),
    *(kernel32.CreateEventW, kernel32.CreateMutexW, kernel32.OpenEventW),
    *(kernel32.OpenProcess, user32.FindWindowExW),
):
    function.restype = ctypes.c_void_p


def handle(value: int | None) -> ctypes.c_void_p:
    assert value, ctypes.get_last_error()
    return ctypes.c_void_p(value)


def good(value: int) -> None:
    assert value, ctypes.get_last_error()


def mark(text: str, thread: int) -> None:
    """Set a mark in the trace: a request for an event that does not exist."""
    assert not kernel32.OpenEventW(EVENT_RIGHT, False, f"winipc|{thread:04x}|{text}|")


def count(who: str, way: Way) -> None:
    for turn in range(1 + TURNS):  # the first turn warms up, and is not counted
        for step in way():
            text, thread = step if isinstance(step, tuple) else (step, None)
            rest = turn == 0 or text == REST
            label = REST if rest else f"{who}|{text}"
            mark(label, thread or kernel32.GetCurrentThreadId())
        mark(REST, 0)


# ------------------------------------------------------------------- mapping


def unique(what: str) -> str:
    return f"winipc-requests-{what}-{uuid.uuid4().hex}"


def raw_mapping() -> Steps:
    name, invalid = unique("mapping"), ctypes.c_void_p(-1)
    yield "create a mapping of 4 KiB"
    made = handle(kernel32.CreateFileMappingW(invalid, None, 4, 0, 4096, name))
    view = handle(kernel32.MapViewOfFile(made, 2, 0, 0, 0))
    yield "open it"
    other = handle(kernel32.OpenFileMappingW(1 | 2, False, name))
    second = handle(kernel32.MapViewOfFile(other, 2, 0, 0, 0))
    # The size, and whether a file is behind it, whose pages may fail.
    known, size = ctypes.create_string_buffer(24), ctypes.c_size_t(24)
    assert ntdll.NtQuerySection(other, 0, known, size, None) == 0
    yield "close it"
    kernel32.UnmapViewOfFile(second)
    kernel32.CloseHandle(other)
    yield REST
    kernel32.UnmapViewOfFile(view)
    kernel32.CloseHandle(made)


def our_mapping() -> Steps:
    name = unique("mapping")
    yield "create a mapping of 4 KiB"
    made = winipc.SharedMapping.create(name, 4096)
    yield "open it"
    other = winipc.SharedMapping.open(name)
    yield "close it"
    other.close()
    yield "write and read it"
    made.write(b"data")
    made.read(4)
    yield REST
    made.close()


# ---------------------------------------------------------------------- sync


def raw_sync() -> Steps:
    name = unique("event")
    yield "create an Event"
    event = handle(kernel32.CreateEventW(None, True, False, name))
    yield "Event.set"
    good(kernel32.SetEvent(event))
    yield "Event.wait"
    assert kernel32.WaitForSingleObject(event, 0) == 0
    yield REST
    kernel32.CloseHandle(event)
    name = unique("mutex")
    yield "create a Mutex"
    mutex = handle(kernel32.CreateMutexW(None, False, name))
    yield "Mutex.acquire"
    assert kernel32.WaitForSingleObject(mutex, -1) == 0
    yield "Mutex.release"
    good(kernel32.ReleaseMutex(mutex))
    yield REST
    kernel32.CloseHandle(mutex)


def our_sync() -> Steps:
    name = unique("event")
    yield "create an Event"
    event = winipc.Event.create(name, manual=True)
    yield "Event.set"
    event.set()
    yield "Event.wait"
    assert event.wait(0)
    yield REST
    event.close()
    name = unique("mutex")
    yield "create a Mutex"
    mutex = winipc.Mutex.create(name)
    yield "Mutex.acquire"
    mutex.acquire()
    yield "Mutex.release"
    mutex.release()
    yield REST
    mutex.close()


def our_own() -> Steps:
    """Operations without a way in raw C: only memory while both ends are awake."""
    with winipc.Channel.create(unique("channel"), 4096) as channel:
        other = winipc.Channel.open(channel.name)
        channel.send(b"data")  # the first send makes objects
        other.recv()
        yield "Channel.send and recv"
        channel.send(b"data")
        other.recv()
        yield REST
        other.close()
    with winipc.SharedMapping.create(None, 4096) as mapping:
        lock = winipc.SharedLock(mapping, 0)
        yield "SharedLock.acquire and release"
        lock.acquire()
        lock.release()
        yield REST
        lock.close()
    with winipc.CopyDataWindow.create(unique("window")) as window:
        came: queue.SimpleQueue[int] = queue.SimpleQueue()

        def receive() -> None:
            came.put(threading.get_native_id())
            for message in window:
                came.put(len(message))

        receiver = threading.Thread(target=receive)
        receiver.start()
        yield "CopyDataWindow.receive, asleep before", came.get()
        for _ in range(2):
            winipc.send_copydata(window, b"data")
            assert came.get() == 4
        yield REST
    receiver.join()


# ------------------------------------------------------------------- process


def raw_process(target: Target) -> Steps:
    access, done = 0x10 | 0x20 | 0x8 | 0x1000, ctypes.c_size_t()
    address, buffer = ctypes.c_void_p(target.block), ctypes.create_string_buffer(MIB)
    yield "RemoteProcess.open"
    process = handle(kernel32.OpenProcess(access, False, target.pid))
    for what, call in (
        ("read", kernel32.ReadProcessMemory),
        ("write", kernel32.WriteProcessMemory),
    ):
        for size, text in ((8, "8 B"), (MIB, "1 MiB")):
            yield f"RemoteProcess.{what} {text}"
            good(
                call(
                    process, address, buffer, ctypes.c_size_t(size), ctypes.byref(done)
                )
            )
    yield "close a RemoteProcess"
    kernel32.CloseHandle(process)


def our_process(target: Target) -> Steps:
    access = winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE
    data = bytes(MIB)
    yield "RemoteProcess.open"
    process = winipc.RemoteProcess.open(target.pid, access=access)
    # A pause before each: else the machine's speed decides whether winipc asks first.
    for size, text in ((8, "8 B"), (MIB, "1 MiB")):
        yield REST
        time.sleep(PAUSE)
        yield f"RemoteProcess.read {text}"
        process.read(target.block, size)
    for size, text in ((8, "8 B"), (MIB, "1 MiB")):
        yield REST
        time.sleep(PAUSE)
        yield f"RemoteProcess.write {text}"
        process.write(target.block, data[:size])
    yield "close a RemoteProcess"
    process.close()


# ------------------------------------------------------------------ messages


class CopyData(ctypes.Structure):
    _fields_ = (
        ("id", ctypes.c_size_t),
        ("size", wintypes.DWORD),
        ("data", ctypes.c_char_p),
    )


def raw_send(hwnd: int, message: int, wparam: int, lparam: Any) -> None:
    answer = ctypes.c_size_t()
    good(
        user32.SendMessageTimeoutW(
            ctypes.c_void_p(hwnd),
            message,
            ctypes.c_size_t(wparam),
            lparam,
            HANG,
            WAIT_MS,
            ctypes.byref(answer),
        )
    )
    assert answer.value, "refused"


def raw_messages(target: Target, there: dict[str, int]) -> Steps:
    data = CopyData(1, 64, b"d" * 64)
    yield "find_window"
    handle(user32.FindWindowExW(None, None, None, EXCHANGE))
    yield "send_copydata 64 B"
    raw_send(target.hwnd, 0x4A, 0, ctypes.byref(data))
    yield "post_message"
    good(user32.PostMessageW(ctypes.c_void_p(target.hwnd), 0, None, None))
    yield REST
    raw_send(target.hwnd, 0x4A, 0, ctypes.byref(data))
    yield "Receiver takes a WM_COPYDATA", there["raw thread"]
    raw_send(target.hwnd, 0x4A, 0, ctypes.byref(data))


def our_messages(target: Target, there: dict[str, int]) -> Steps:
    data = CopyData(1, 64, b"d" * 64)
    yield "find_window"
    assert winipc.find_window(EXCHANGE)
    yield "send_copydata 64 B"
    winipc.send_copydata(target.hwnd, b"d" * 64)
    yield "post_message"
    winipc.post_message(target.hwnd, 0)
    yield REST
    winipc.send_copydata(target.hwnd, b"d" * 64)  # now the posted message is taken
    yield "Receiver takes a WM_COPYDATA", there["thread"]
    raw_send(there["hwnd"], 0x4A, 0, ctypes.byref(data))


def raw_exchange(there: dict[str, int]) -> Steps:
    """As a plain C sender: it takes no lock, and frees its memory after a send."""
    mapping = winipc.SharedMapping.open(EXCHANGE)
    section = winipc.SharedSection.load()
    data = CopyData(1, 64, b"d" * 64)
    mapped, shared, by_handle = map(
        winipc.register_message, ("Mapped", "Shared", "Handle")
    )
    memory = winipc.GlobalMemory(b"d" * 64)
    sender = winipc.Sender(EXCHANGE, mapping=EXCHANGE)
    for way in winipc.Transport:  # what a first send finds out
        sender.send(b"d" * 64, way)
    yield "Sender.send by copydata"
    raw_send(there["hwnd"], 0x4A, 0, ctypes.byref(data))
    yield "Sender.send by mapping"
    mapping.write(b"d" * 64)
    raw_send(there["hwnd"], mapped, 64, None)
    yield "Sender.send by section"
    section.write(b"d" * 64)
    raw_send(there["hwnd"], shared, 64, None)
    yield "Sender.send by process"
    raw_send(
        there["hwnd"],
        by_handle,
        os.getpid() | 64 << 32,
        ctypes.c_void_p(memory.address),
    )
    yield REST
    for opened in (sender, memory, section, mapping):
        opened.close()


def our_exchange() -> Steps:
    sender = winipc.Sender(EXCHANGE, mapping=EXCHANGE)
    for way in winipc.Transport:  # what a first send finds out
        sender.send(b"d" * 64, way)
    for way in winipc.Transport:
        yield f"Sender.send by {way}"
        sender.send(b"d" * 64, way)
    yield REST
    sender.close()


# ------------------------------------------------------------------- catalog


def our_catalog() -> Steps:
    """The catalogue; the other process holds all objects: see `other`."""
    for count in FEW, MANY:
        pattern = f"{EXCHANGE}-held-{count}-*"
        yield f"named_objects, {count} of them"
        found = winipc.named_objects(pattern=pattern)
        assert len(found) == count
        yield f"holders_of {count} objects"
        held = winipc.holders_of(found)
        assert all(one is not None and len(one.pids) == 1 for one in held)
        yield f"winipc ls --holders, {count} of them"
        assert len(_held_objects(None, pattern)) == count
        yield REST


def other(connection: Connection) -> None:
    """The other process: a receiver that keeps nothing, and named objects."""
    with (
        contextlib.ExitStack() as stack,
        winipc.Receiver(EXCHANGE, mapping=EXCHANGE, handler=lambda delivery: 1),
    ):
        for count in FEW, MANY:
            for number in range(count):
                name = f"{EXCHANGE}-held-{count}-{number}"
                stack.enter_context(winipc.Event.create(name))
        window = winipc.find_window(EXCHANGE)
        assert window is not None
        connection.send({"hwnd": window.hwnd, "thread": window.thread_id})
        connection.recv()


def main(binaries: Path) -> int:
    target = Target(binaries)
    context = multiprocessing.get_context("spawn")
    here, connection = context.Pipe()
    child = context.Process(target=other, args=(connection,), daemon=True)
    child.start()
    connection.close()  # the child has its own handle
    there = here.recv() | {"raw thread": winipc.Window(target.hwnd).thread_id}
    ways: list[tuple[str, Way]] = [
        ("raw C", raw_mapping),
        ("winipc", our_mapping),
        ("raw C", raw_sync),
        ("winipc", our_sync),
        ("winipc", our_own),
        ("raw C", lambda: raw_process(target)),
        ("winipc", lambda: our_process(target)),
        ("raw C", lambda: raw_messages(target, there)),
        ("winipc", lambda: our_messages(target, there)),
        ("raw C", lambda: raw_exchange(there)),
        ("winipc", our_exchange),
        ("winipc", our_catalog),
    ]
    for who, way in ways:
        count(who, way)
    here.send(None)
    child.join(30)
    target.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
