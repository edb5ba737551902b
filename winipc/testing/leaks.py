"""`LeakCheck`: what this process has now that it did not have before."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from winipc import _core
from winipc.base.deadline import Deadline
from winipc.memory.mapping import SharedMapping
from winipc.memory.pages import MemoryType
from winipc.message import CopyDataWindow, Window, find_windows
from winipc.pe import inspect_dll
from winipc.process.process import RemoteProcess
from winipc.process.types import Module

__all__ = ["LeakCheck"]

#: Kinds of handles that Windows opens, and keeps, for its own purposes.
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


@dataclass(slots=True)
class _Inventory:
    """What this process has: a key that tells each thing apart, and a text."""

    windows: dict[int, str] = field(default_factory=dict)
    threads: dict[int, str] = field(default_factory=dict)
    native: dict[int, int] = field(default_factory=dict)
    mappings: dict[tuple[int, int], str] = field(default_factory=dict)
    images: set[int] = field(default_factory=set)
    handles: dict[tuple[int, str, str], str] = field(default_factory=dict)


def _take() -> _Inventory:
    found = _Inventory()
    pid = os.getpid()
    for handle, kind, name in _core._own_handles():
        if kind not in _SYSTEM_KINDS:
            what = f"{kind or 'of a kind without a name'} {name}".rstrip()
            found.handles[handle, kind, name] = f"handle {handle:#x}: {what}"
    for message_only in (False, True):
        for window in find_windows(pid=pid, message_only=message_only):
            found.windows[window.hwnd] = _describe(window)
    python = {thread.native_id: thread for thread in threading.enumerate()}
    sizes: Counter[int] = Counter()
    with RemoteProcess.open(pid) as process:
        for region in process.regions():
            if region.type == MemoryType.MAPPED:
                sizes[region.allocation_base] += region.size
            elif region.type == MemoryType.IMAGE:
                found.images.add(region.allocation_base)
        entries = process.threads()
    for base, size in sizes.items():
        found.mappings[base, size] = f"mapping: {size} bytes at {base:#x}"
    for entry in entries:
        if (thread := python.get(entry.id)) is not None:
            found.threads[entry.id] = f"thread {entry.id}: {thread!r}"
        elif (start := _core._thread_start(entry.id)) is not None:
            found.native[entry.id] = start
    return found


def _describe(window: Window) -> str:
    try:
        what = f"{window.title!r} of class {window.class_name!r}"
    except FileNotFoundError:
        what = "that is closing"
    return f"window {window.hwnd:#x}: {what}"


def _compare(before: _Inventory, after: _Inventory) -> list[str]:
    left = [text for key, text in after.windows.items() if key not in before.windows]
    left += [text for key, text in after.threads.items() if key not in before.threads]
    threads = after.native.keys() - before.native.keys() - before.threads.keys()
    images = after.images - before.images
    if threads or images:
        with RemoteProcess.open(os.getpid()) as process:
            modules = process.modules()
        for thread in sorted(threads):
            start = after.native[thread]
            where = next(
                (m.name for m in modules if m.base <= start < m.end), hex(start)
            )
            # Windows starts and ends the threads of its pool at any time.
            if where.casefold() != "ntdll.dll":
                left.append(f"thread {thread}: not of Python, began in {where}")
        left += [text for m in modules if m.base in images for text in _shared(m)]
    # A mapping that replaces another one is no leak.
    if len(after.mappings) > len(before.mappings):
        left += [
            text for key, text in after.mappings.items() if key not in before.mappings
        ]
    kinds = Counter(kind for _, kind, _ in after.handles)
    kinds.subtract(kind for _, kind, _ in before.handles)
    left += [
        text
        for key, text in after.handles.items()
        if key not in before.handles and kinds[key[1]] > 0
    ]
    return left


def _shared(module: Module) -> list[str]:
    """A line if this is a DLL with shared variables: other DLLs load as needed."""
    with contextlib.suppress(OSError, ValueError):
        if shared := inspect_dll(module.path).shared_variables:
            names = ", ".join(variable.name for variable in shared)
            return [f"section DLL: {module.path} with {names}"]
    return []


class LeakCheck:
    """Remembers what this process has, and lists later what it has besides.

    It counts kernel handles (by kind and name), windows, threads, mapped memory
    and loaded DLLs with shared sections. Handles that Windows opens for its own
    purposes, and its thread pool, do not count.

    Win32: NtQuerySystemInformation, NtQueryObject, EnumWindows, VirtualQueryEx,
    CreateToolhelp32Snapshot.
    """

    _warm = False

    def __init__(self) -> None:
        if not LeakCheck._warm:
            # Have the process open now what it opens only once.
            LeakCheck._warm = True
            with CopyDataWindow.create(""), SharedMapping.create(None, 1):
                thread = threading.Thread(target=_take)
                thread.start()
                thread.join()
        gc.collect()
        self._before = _take()

    def leaks(self, timeout: float = 2.0) -> list[str]:
        """One line for each thing that was not there; waits for what is ending.

        Garbage is collected first. `timeout` is in seconds.
        """
        deadline = Deadline(timeout)
        while True:
            gc.collect()
            left = _compare(self._before, _take())
            if not left or deadline.left() == 0:
                return left
            time.sleep(0.02)
