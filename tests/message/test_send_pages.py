"""Data whose pages fail to come in: an error for the sender, whoever receives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers.linux_file import LinuxFile

import winipc

Start = Callable[..., Any]
PAGE = 4096

WAYS: dict[str, Callable[[Any, Any], object]] = {
    "by number": lambda to, data: winipc.send_copydata(to.hwnd, data),
    "direct": lambda to, data: winipc.send_copydata(to, data, timeout=4),
    "worker": lambda to, data: winipc.send_copydata(to, data, timeout=None),
    "async": lambda to, data: asyncio.run(winipc.send_copydata_async(to, data)),
    "strides": lambda to, data: winipc.send_copydata(to, data[::2]),
    "answer": lambda to, data: winipc.call(to, data),
}


@pytest.fixture
def lost(linux_file: LinuxFile) -> Iterator[memoryview]:
    """A view of a mapped file of which nothing is left."""
    with winipc.SharedMapping.create(None, 4 * PAGE, file=linux_file.path) as m:
        m.write(bytes(4 * PAGE))
        linux_file.cut(0)
        with memoryview(m) as view:
            yield view


@pytest.mark.parametrize("way", WAYS)
def test_lost_pages_for_a_window_of_this_process(
    unique_name: str, lost: memoryview, way: str
) -> None:
    """No kernel stands between the two: the receiver gets a copy."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        with pytest.raises(OSError, match="touching a page"):
            WAYS[way](window, lost)
        assert window.pending == 0


@pytest.mark.parametrize("way", ["by number", "worker"])
def test_lost_pages_for_a_window_of_another_process(
    unique_name: str, start_peer: Start, lost: memoryview, way: str
) -> None:
    """There Windows copies the data, and says so."""
    peer = start_peer("window_receiver.py", unique_name)
    assert peer.read_line().startswith("ready")
    window = winipc.find_window(unique_name)
    with pytest.raises(OSError) as caught:
        WAYS[way](window, lost)
    assert caught.value.winerror == 998
    assert winipc.send_copydata(window, b"x") == 1
