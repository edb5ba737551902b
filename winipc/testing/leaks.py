"""`LeakCheck`: what this process has now and did not have before."""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import threading
import time
from collections import Counter

from winipc import _core
from winipc.base.deadline import Deadline
from winipc.memory.mapping import SharedMapping
from winipc.memory.pages import MemoryType
from winipc.message import CopyDataWindow, Window, find_windows
from winipc.pe import inspect_dll
from winipc.process.process import RemoteProcess
from winipc.process.types import Module

#: Kinds of handles that Windows opens and keeps for its own purposes.
_SYSTEM_KINDS = {
    "ALPC Port",
    "Desktop",
    "Directory",
    "EtwConsumer",
    "EtwRegistration",
    "IRTimer",
    "IoCompletion",
    "IoCompletionReserve",
    "Key",
    "KeyedEvent",
    "SchedulerSharedData",
    "TpWorkerFactory",
    "WaitCompletionPacket",
    "WindowStation",
}


#: Seconds between two looks at what is ending: the first and the longest pause.
_SHORTEST = 0.02
_LONGEST = 0.5

#: What this process has: for each thing a unique key, the group in which it may replace
#: another one, and a text.
_Inventory = dict[tuple[object, ...], tuple[str, str]]


def _take() -> _Inventory:
    found: _Inventory = {}
    pid = os.getpid()
    for handle, kind, name in _core._own_handles():
        if kind not in _SYSTEM_KINDS:
            what = f"{kind or 'of a kind without a name'} {name}".rstrip()
            text = f"handle {handle:#x}: {what}"
            found["handle", handle, kind, name] = (f"handle {kind}", text)
    for message_only in (False, True):
        for window in find_windows(pid=pid, message_only=message_only):
            found["window", window.hwnd] = ("", _describe(window))
    sizes: Counter[int] = Counter()
    images: set[int] = set()
    with RemoteProcess.open(pid) as process:
        for region in process.regions():
            if region.type == MemoryType.MAPPED:
                sizes[region.allocation_base] += region.size
            elif region.type == MemoryType.IMAGE:
                images.add(region.allocation_base)
        entries = process.threads()
    modules = _modules(frozenset(images))
    for base, size in sizes.items():
        text = f"mapping: {size} bytes at {base:#x}"
        found["mapping", base, size] = ("mapping", text)
    for module in modules:
        found["image", module.base] = ("", module.path)
    python = {thread.native_id: thread for thread in threading.enumerate()}
    for entry in entries:
        if (thread := python.get(entry.id)) is not None:
            found["thread", entry.id] = ("", f"thread {entry.id}: {thread!r}")
        elif text := _native_thread(entry.id, modules):
            found["thread", entry.id] = ("", text)
    return found


@functools.lru_cache(1)
def _modules(images: frozenset[int]) -> list[Module]:
    """This process's, listed anew when there are other images: it takes long."""
    with RemoteProcess.open(os.getpid()) as process:
        return process.modules()


def _native_thread(thread: int, modules: list[Module]) -> str:
    start = _core._thread_start(thread)
    if start is None:
        return ""
    where = next((m.name for m in modules if m.base <= start < m.end), hex(start))
    # Windows starts and ends the threads of its thread pool at any time.
    if where.casefold() == "ntdll.dll":
        return ""
    return f"thread {thread}: not of Python, began in {where}"


def _describe(window: Window) -> str:
    try:
        what = f"{window.title!r} of class {window.class_name!r}"
    except FileNotFoundError:
        what = "that is closing"
    return f"window {window.hwnd:#x}: {what}"


def _compare(before: _Inventory, after: _Inventory) -> list[str]:
    more = Counter(group for group, _ in after.values())
    more.subtract(group for group, _ in before.values())
    left = []
    for key, (group, text) in after.items():
        if key in before or (group and more[group] <= 0):
            continue
        if key[0] == "image":
            text = _shared(text)
        if text:
            left.append(text)
    return left


def _shared(path: str) -> str:
    """A text for a DLL with shared variables; "" for others, which load as needed."""
    with contextlib.suppress(OSError, ValueError):
        if shared := inspect_dll(path).shared_variables:
            names = ", ".join(variable.name for variable in shared)
            return f"section DLL: {path} with {names}"
    return ""


class LeakCheck:
    """Remembers what this process has, and lists later what is new.

    It compares kernel handles (by kind and name), windows, threads, mapped memory and
    loaded DLLs with shared sections. Handles that Windows opens for its own purposes,
    and its thread pool, do not count.

    Win32: NtQuerySystemInformation, NtQueryObject, EnumWindows, VirtualQueryEx,
    CreateToolhelp32Snapshot.
    """

    _warm = False

    def __init__(self) -> None:
        if not LeakCheck._warm:
            # Let the process open now what it opens only once.
            LeakCheck._warm = True
            with CopyDataWindow.create(""), SharedMapping.create(None, 1):
                thread = threading.Thread(target=_take)
                thread.start()
                thread.join()
        gc.collect()
        self._before = _take()

    def leaks(self, timeout: float = 2.0) -> list[str]:
        """Return a line for each thing that is new.

        It collects garbage first, and waits up to `timeout` seconds for what is ending.
        """
        deadline, pause = Deadline(timeout), _SHORTEST
        while True:
            gc.collect()
            left = _compare(self._before, _take())
            if not left or deadline.left() == 0:
                return left
            time.sleep(deadline.part(pause))
            pause = min(2 * pause, _LONGEST)
