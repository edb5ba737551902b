"""The target, opened by other packages, and kernel32 by ctypes."""

from __future__ import annotations

import ctypes
from ctypes import wintypes
from typing import Any

import pymem
import PyMemoryEditor
from world import World

import winipc


def pymem_of(world: World) -> pymem.Pymem:
    memory = pymem.Pymem()
    memory.open_process_from_id(world.target.pid)
    world.stack.callback(memory.close_process)
    return memory


def editor_of(world: World) -> Any:
    return world.enter(PyMemoryEditor.OpenProcess(pid=world.target.pid))


class Opened:
    """The target, opened by winipc and by each other package."""

    def __init__(self, world: World) -> None:
        access = winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE
        self.ours = world.enter(
            winipc.RemoteProcess.open(world.target.pid, access=access)
        )
        self.handle, self.address = self.ours.handle, world.target.block
        self.memory = pymem_of(world)
        self.editor = editor_of(world)


def kernel32() -> Any:
    """kernel32 by ctypes, with the argument types of the functions that cases call."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    copying = (
        *(wintypes.HANDLE, ctypes.c_void_p, ctypes.c_void_p),
        *(ctypes.c_size_t, ctypes.c_void_p),
    )
    kernel.ReadProcessMemory.argtypes = copying
    kernel.WriteProcessMemory.argtypes = copying
    kernel.SetEvent.argtypes = (wintypes.HANDLE,)
    return kernel
