"""Time-outs: one converter for every wait, whether C or Python loops."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

import winipc
from winipc import Channel, Event, LockedMapping, Mutex, Receiver, SharedMapping
from winipc.base.deadline import Deadline
from winipc.cli.options import seconds
from winipc.testing import Peer

WAITS: dict[str, Callable[[str, float], Any]] = {
    "Event.wait_for": Event.wait_for,
    "SharedMapping.wait_for": SharedMapping.wait_for,
    "Channel.wait_for": Channel.wait_for,
    "Window.wait_for": winipc.Window.wait_for,
    "Sender.wait_for": winipc.Sender.wait_for,
    "RemoteProcess.wait_for": winipc.RemoteProcess.wait_for,
    "wait_any of many": lambda name, timeout: winipc.wait_any([4] * 65, timeout),
    "wait_all of many": lambda name, timeout: winipc.wait_all([4] * 65, timeout),
    "Deadline": lambda name, timeout: Deadline(timeout),
}


@pytest.mark.parametrize("timeout", [-1.0, -0.001, float("nan")], ids=str)
@pytest.mark.parametrize("wait", WAITS)
def test_bad_timeout(wait: str, timeout: float, unique_name: str) -> None:
    """NaN would wait forever, and a negative number is a mistake."""
    with pytest.raises(ValueError, match="number of seconds >= 0"):
        WAITS[wait](unique_name, timeout)


@pytest.mark.parametrize("timeout", [-1.0, float("nan")], ids=str)
def test_bad_timeout_of_an_object(
    timeout: float, make: Callable[..., Any], unique_name: str
) -> None:
    """The same for the waits of objects."""
    mutex, event = make(Mutex), make(Event)
    with (
        LockedMapping.create(unique_name, 64) as locked,
        Receiver(unique_name, mapping=unique_name + "-r") as receiver,
        winipc.CopyDataWindow.create(unique_name + "-w") as window,
    ):
        waits: list[Callable[[], Any]] = [
            lambda: event.wait(timeout),
            lambda: mutex.acquire(timeout),
            lambda: mutex.lock(timeout).__enter__(),
            lambda: asyncio.run(event.wait_async(timeout)),
            lambda: locked.wait_for_change(timeout),
            lambda: receiver.receive(timeout),
            lambda: window.receive(timeout),
        ]
        for wait in waits:
            with pytest.raises(ValueError, match="number of seconds >= 0"):
                wait()
    assert not mutex.held


@pytest.mark.parametrize("timeout", [-1.0, float("nan")], ids=str)
def test_bad_timeout_of_a_test_peer(timeout: float) -> None:
    """Also of the peers in the tests of users."""
    argv = [sys.executable, "-c", "input()"]
    with pytest.raises(ValueError, match="number of seconds >= 0"):
        Peer(argv, timeout=timeout)
    peer = Peer(argv)
    try:
        for wait in (
            peer.read_line,
            peer.wait,
            lambda timeout: peer.wait_for_stderr("words", timeout),
        ):
            with pytest.raises(ValueError, match="number of seconds >= 0"):
                wait(timeout)
    finally:
        peer.reap()


def test_seconds_of_the_command_line() -> None:
    """They are those of every wait."""
    assert seconds("1.5") == 1.5
    for text in ("nan", "-1", "inf", "soon"):
        with pytest.raises(argparse.ArgumentTypeError, match="not a number of seconds"):
            seconds(text)


def test_deadline() -> None:
    """It counts down to 0, and None never ends."""
    assert Deadline(None).left() is None
    assert Deadline(None).part(0.5) == 0.5
    assert Deadline(1e300).left() is None
    over = Deadline(0)
    assert over.left() == over.part(0.5) == 0
    later = Deadline(1000)
    assert 0 < (later.left() or 0) < 1000.001  # a sum of floats is rounded
    assert later.part(0.5) == 0.5
