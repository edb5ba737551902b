"""The surroundings of cases: raw.dll, and a new other process in each round."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator
from ctypes import wintypes
from pathlib import Path
from typing import Any, TypeVar

_I64 = ctypes.c_int64
_POINTER = ctypes.c_void_p
_SIZE = ctypes.c_size_t

_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "raw_read": (_I64, [_I64, _POINTER, _POINTER, _SIZE]),
    "raw_write": (_I64, [_I64, _POINTER, _POINTER, _SIZE]),
    "raw_read_each": (_I64, [_I64, _POINTER, _POINTER, _SIZE]),
    "raw_follow": (_I64, [_I64, _POINTER, _POINTER, _SIZE]),
    "raw_read_range": (_I64, [_I64, _POINTER, _POINTER, _SIZE, _SIZE]),
    "raw_compare_range": (
        _I64,
        [_I64, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER],
    ),
    "raw_open_process": (_I64, [_I64, wintypes.DWORD]),
    "raw_create": (_I64, [_I64, wintypes.LPCWSTR, wintypes.DWORD]),
    "raw_open": (_I64, [_I64, wintypes.LPCWSTR, ctypes.c_int]),
    "raw_copy": (_I64, [_I64, _POINTER, _POINTER, _SIZE]),
    "raw_add": (_I64, [_I64, _POINTER]),
    "raw_set_event": (_I64, [_I64, _POINTER]),
    "raw_lock": (_I64, [_I64, _POINTER]),
    "raw_lock_word": (_I64, [_I64, _POINTER]),
    "raw_ping": (_I64, [_I64, _POINTER, _POINTER]),
    "window_make": (_POINTER, []),
    "window_start": (_POINTER, []),
    "raw_copydata": (_I64, [_I64, _POINTER, wintypes.DWORD]),
    "raw_mapped": (_I64, [_I64, _POINTER, _POINTER, wintypes.DWORD]),
    "raw_post": (_I64, [_I64, _POINTER]),
    "drain": (None, []),
    "channels_make": (
        ctypes.c_int,
        [wintypes.LPCWSTR, wintypes.LPCWSTR, ctypes.c_uint64],
    ),
    "channels_close": (None, []),
    "raw_channel": (_I64, [_I64, ctypes.c_uint64]),
    "raw_producers": (
        _I64,
        [_I64, wintypes.LPCWSTR, ctypes.c_uint64, ctypes.c_uint, *[ctypes.c_int] * 2],
    ),
    "raw_stream": (_I64, [_I64, ctypes.c_uint64]),
    "stub_install": (ctypes.c_int, [ctypes.c_char_p]),
    "stub_remove": (ctypes.c_int, [ctypes.c_char_p]),
}


#: The error of CreateProcess if Wine loses a process before its first instruction: one
#: start in some thousands.
_ERROR_INTERNAL_ERROR = 1359

_T = TypeVar("_T")


def patiently(start: Callable[[], _T]) -> _T:
    """Start a process; start it again if Wine lost it, as a run takes minutes."""
    for _ in range(3):
        try:
            return start()
        except OSError as error:
            if error.winerror != _ERROR_INTERNAL_ERROR:
                raise
    return start()


class Target:
    """target.exe: the other process, in C."""

    def __init__(self, folder: Path) -> None:
        self._process = patiently(
            lambda: subprocess.Popen(
                [str(folder / "target.exe")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                bufsize=1,
            )
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        numbers = [int(word) for word in self._process.stdout.readline().split()]
        self.hwnd, self.block, self.list = numbers

    def ask(self, line: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._process.stdout.close()


class World:
    """One round: `target` is new, and `stack` closes what the cases opened."""

    def __init__(self, folder: Path, raw: Any, *, quick: bool = False) -> None:
        self.raw = raw
        self.quick = quick
        self.stack = contextlib.ExitStack()
        self.target = Target(folder)
        self.stack.callback(self.target.close)
        self._names = 0

    def name(self, what: str) -> str:
        """A name that no other object has."""
        self._names += 1
        return f"winipc-bench-{os.getpid()}-{id(self):x}-{what}-{self._names}"

    def enter(self, manager: Any) -> Any:
        return self.stack.enter_context(manager)

    def child(self, function: Callable[..., object], *arguments: Any) -> None:
        """Run a function in another Python process, which ends with the round."""
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=function, args=arguments, daemon=True)
        patiently(process.start)

        def end() -> None:
            process.join(3)
            if process.is_alive():
                process.terminate()
                process.join(10)

        self.stack.callback(end)


def load_raw(folder: Path) -> Any:
    raw = ctypes.CDLL(str(folder / "raw.dll"))
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(raw, name)
        function.restype, function.argtypes = result, arguments
    return raw


@contextlib.contextmanager
def stubbed(raw: Any, names: tuple[str, ...]) -> Iterator[None]:
    """During a `with`, these Win32 functions only return success."""
    with contextlib.ExitStack() as stack:
        for name in names:
            if raw.stub_install(name.encode()):
                raise OSError(f"cannot replace {name}")
            stack.callback(raw.stub_remove, name.encode())
        yield
