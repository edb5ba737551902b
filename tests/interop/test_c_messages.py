"""WM_COPYDATA between CopyDataWindow and plain C programs, A and W."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from helpers import BITS

import winipc

Start = Callable[..., Any]

SIZES = (0, 1, 255, 4096, 100_000, 1 << 20)


def pattern(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


@pytest.mark.parametrize("functions", ["A", "W"])
def test_c_program_sends_to_us(
    unique_name: str, start_peer: Start, functions: str
) -> None:
    """It finds the window by its title; data, id and sender arrive."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        peer = start_peer("copydata_peer.exe", "send", functions, unique_name)
        hwnd, bits = map(int, peer.read_line().split()[1:])
        for size in SIZES:
            # A program of the other width may send to us, too.
            id = 2 ** min(bits, BITS) - 1 - size
            peer.say(f"{id} {size}")
            peer.expect("1")
            message = window.receive(10)
            assert bytes(message) == pattern(size)
            assert message.id == id
            assert (message.sender, message.pid) == (hwnd, peer.pid)
        assert peer.finish() == 0


@pytest.mark.parametrize("functions", ["A", "W"])
def test_we_send_to_a_c_program(
    unique_name: str, start_peer: Start, functions: str
) -> None:
    """Its answer comes back."""
    peer = start_peer("copydata_peer.exe", "receive", functions, unique_name)
    assert peer.read_line().startswith("ready")
    with winipc.CopyDataWindow.create("", message_only=True) as own:
        for size in SIZES:
            data = pattern(size)
            answer = winipc.send_copydata(unique_name, data, id=size, sender=own)
            assert answer == size + 1
            peer.expect(f"{size} {size} {sum(data)} {own.hwnd}")
    winipc.send_copydata((unique_name, "copydata_peer"), b"", id=99)
    assert peer.read_line().startswith("99 0 0")
    assert peer.finish() == 0


@pytest.mark.parametrize("functions", ["A", "W"])
def test_other_programs_see_the_window(
    unique_name: str, start_peer: Start, functions: str
) -> None:
    """EnumWindows and GetWindowText of another program; not message-only ones."""
    with (
        winipc.CopyDataWindow.create(unique_name),
        winipc.CopyDataWindow.create(unique_name, message_only=True),
    ):
        peer = start_peer("copydata_peer.exe", "list", functions, unique_name)
        peer.expect("1")
        assert peer.finish() == 0


def test_hung_program_is_a_timeout(unique_name: str, start_peer: Start) -> None:
    """A window whose thread never looks holds a sender up no longer than asked."""
    peer = start_peer("copydata_peer.exe", "hung", "W", unique_name)
    assert peer.read_line().startswith("ready")
    with pytest.raises(TimeoutError) as caught:
        winipc.send_copydata(unique_name, b"x", timeout=0.3)
    assert caught.value.winerror == 1460
    with pytest.raises(TimeoutError):
        winipc.call(unique_name, b"x", timeout=0.3)
    with pytest.raises(TimeoutError):
        winipc.send_message(unique_name, 0x8001, timeout=0.3)
    winipc.post_message(unique_name, 0x8001)  # the window does not wait for that
    window = winipc.find_window(unique_name)
    assert window is not None
    assert window.title == unique_name
    assert peer.finish() == 0


def test_send_to_a_hung_program_ends_when_it_dies(
    unique_name: str, start_peer: Start
) -> None:
    """A send that would wait for long is over when the receiver is."""
    peer = start_peer("copydata_peer.exe", "hung", "W", unique_name)
    hwnd = int(peer.read_line().split()[1])
    killer = threading.Timer(0.5, peer.process.kill)
    killer.start()
    with pytest.raises(ConnectionResetError, match="WinError 1400"):
        winipc.send_copydata(hwnd, b"x", timeout=None)
    killer.join()
