"""WM_COPYDATA and other messages between CopyDataWindow and pywin32."""

from __future__ import annotations

import array
import ctypes
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers import BITS

import winipc

win32gui = pytest.importorskip("win32gui")
win32api = pytest.importorskip("win32api")
win32con = pytest.importorskip("win32con")

Start = Callable[..., Any]

COPYDATASTRUCT = struct.Struct("PIP")


class Pywin32Window:
    """A window with a WndProc of pywin32's, on a thread that pumps it."""

    def __init__(self, name: str) -> None:
        self.received: list[tuple[int, int, bytes]] = []
        self.messages: list[tuple[int, int]] = []
        self.hwnd = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(name,))
        self._thread.start()
        assert self._ready.wait(30)

    def _run(self, name: str) -> None:
        kind = win32gui.WNDCLASS()
        kind.lpszClassName = name
        kind.lpfnWndProc = {
            win32con.WM_COPYDATA: self._on_copydata,
            0x8001: self._on_app,
            0x8002: lambda *_: win32gui.PostQuitMessage(0),
        }
        kind.hInstance = win32gui.GetModuleHandle(None)
        atom = win32gui.RegisterClass(kind)
        self.hwnd = win32gui.CreateWindow(
            atom, name, 0, 0, 0, 0, 0, 0, 0, kind.hInstance, None
        )
        self._ready.set()
        win32gui.PumpMessages()
        win32gui.DestroyWindow(self.hwnd)
        win32gui.UnregisterClass(atom, kind.hInstance)

    def _on_copydata(self, hwnd: int, message: int, wparam: int, lparam: int) -> int:
        id, size, address = COPYDATASTRUCT.unpack(
            ctypes.string_at(lparam, COPYDATASTRUCT.size)
        )
        self.received.append((wparam, id, ctypes.string_at(address, size)))
        return size + 1

    def _on_app(self, hwnd: int, message: int, wparam: int, lparam: int) -> int:
        self.messages.append((wparam, lparam))
        return wparam + lparam

    def close(self) -> None:
        if self._thread.is_alive():
            winipc.post_message(self.hwnd, 0x8002)
        self._thread.join(30)


@pytest.fixture
def theirs(unique_name: str) -> Iterator[Pywin32Window]:
    window = Pywin32Window(unique_name)
    yield window
    window.close()


def test_we_send_to_pywin32(theirs: Pywin32Window, unique_name: str) -> None:
    """By title and class; its WndProc's result is the answer."""
    with winipc.CopyDataWindow.create("", message_only=True) as own:
        for size in (0, 1, 5000, 1 << 20):
            data = bytes(range(256)) * (size // 256) + b"z" * (size % 256)
            answer = winipc.send_copydata(
                (unique_name, unique_name), data, id=size, sender=own
            )
            assert answer == size + 1
            assert theirs.received.pop() == (own.hwnd, size, data)
    assert winipc.send_message(unique_name, 0x8001, 40, 2) == 42
    winipc.post_message(unique_name, 0x8001, 3, 4)
    assert winipc.send_message(unique_name, 0x8001, 0, 0) == 0
    theirs.close()  # sent ones overtake posted ones: let it look at all
    assert sorted(theirs.messages) == [(0, 0), (3, 4), (40, 2)]


def copydatastruct(id: int, data: bytes) -> tuple[bytes, array.array[int]]:
    """As recipes for pywin32 build it; the array keeps the data alive."""
    block = array.array("B", data)
    address, size = block.buffer_info()
    return COPYDATASTRUCT.pack(id, size, address), block


def test_pywin32_sends_to_us(theirs: Pywin32Window, unique_name: str) -> None:
    """With win32gui.FindWindow and SendMessage, in queue and handler mode."""
    title = unique_name + "-ours"
    with winipc.CopyDataWindow.create(title, messages=[0x8001]) as window:
        hwnd = win32gui.FindWindow(None, title)
        assert hwnd == window.hwnd
        assert win32gui.GetWindowText(hwnd) == title
        assert win32gui.GetClassName(hwnd) == window.class_name
        found: list[int] = []
        win32gui.EnumWindows(lambda hwnd, _: found.append(hwnd), None)
        assert window.hwnd in found
        for size in (0, 1, 70_000):
            id = 2 ** (BITS - 24) + size
            packed, _block = copydatastruct(id, b"q" * size)
            answer = win32gui.SendMessage(
                hwnd, win32con.WM_COPYDATA, theirs.hwnd, packed
            )
            assert answer == 1
            message = window.receive(10)
            assert bytes(message) == b"q" * size
            assert (message.id, message.sender) == (id, theirs.hwnd)
            assert message.verified
        win32api.PostMessage(hwnd, 0x8001, 5, 6)
        message = window.receive(10)
        assert (message.message, message.wparam, message.lparam) == (0x8001, 5, 6)

        @window.on(1)
        def handler(message: winipc.Message) -> int:
            return 1000 + len(message)

        packed, _block = copydatastruct(1, b"abc")
        assert win32gui.SendMessage(hwnd, win32con.WM_COPYDATA, 0, packed) == 1003
