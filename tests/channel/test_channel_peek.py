"""Channel.peek: messages where they lie."""

from __future__ import annotations

import gc
import pickle
import struct
import sys
from typing import Any

import pytest
from helpers.channels import CAPACITY

from winipc import Channel


def test_peek_is_a_view_of_shared_memory(pair: tuple[Channel, Channel]) -> None:
    """Read-only, without a copy, and received at the end of the block."""
    sender, receiver = pair
    sender.send_many([b"first", b"second"])
    with receiver.peek() as view:
        assert view == b"first"
        assert view.readonly
        before = receiver.pending
    assert receiver.pending < before
    with pytest.raises(ValueError, match="released"):
        view[0]
    assert receiver.recv() == b"second"


def _fail_at(view: memoryview, expected: bytes) -> None:
    assert view == expected
    raise ZeroDivisionError


def test_peek_keeps_the_message_after_an_exception(
    pair: tuple[Channel, Channel],
) -> None:
    """So that it can be tried again."""
    sender, receiver = pair
    sender.send(b"precious")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), receiver.peek() as view:
            _fail_at(view, b"precious")
    assert receiver.recv() == b"precious"


def test_a_view_that_outlives_its_block_keeps_its_memory(
    pair: tuple[Channel, Channel],
) -> None:
    """The room is not reused, and nothing else is received, until it is gone."""
    sender, receiver = pair
    sender.send_many([b"kept", b"next"])
    with receiver.peek() as view:
        kept = memoryview(view)
    assert kept == b"kept"
    for call in (receiver.recv, receiver.close):
        with pytest.raises(BufferError, match="peeked"):
            call()
    assert kept == b"kept"
    kept.release()
    assert receiver.recv(0) == b"next"


def test_a_view_in_use_keeps_its_message(pair: tuple[Channel, Channel]) -> None:
    """The end of the block is none of its errors; received once it is free."""
    sender, receiver = pair
    sender.send_many([b"kept", b"next"])
    with receiver.peek() as view:
        user = pickle.PickleBuffer(view)
    assert bytes(user.raw()) == b"kept"
    with pytest.raises(BufferError, match="peeked"):
        receiver.recv()
    user.release()
    view.release()
    assert receiver.recv(0) == b"next"


def _fail_while_in_use(view: memoryview, kept: list[Any]) -> None:
    kept += [pickle.PickleBuffer(view), view]
    raise ZeroDivisionError


def test_the_exception_on_its_way_passes_a_view_in_use(
    pair: tuple[Channel, Channel],
) -> None:
    """And the message is still there."""
    sender, receiver = pair
    sender.send(b"precious")
    kept: list[Any] = []
    with pytest.raises(ZeroDivisionError), receiver.peek() as view:
        _fail_while_in_use(view, kept)
    for user in kept:
        user.release()
    assert receiver.recv(0) == b"precious"


def _fail_with_a_peek(receiver: Channel, kept: list[Any]) -> None:
    with receiver:
        kept.append(receiver.peek())
        raise ZeroDivisionError


def test_a_channel_in_use_hides_no_exception(pair: tuple[Channel, Channel]) -> None:
    """What refuses to close at the end of a `with` is told to it."""
    sender, receiver = pair
    sender.send(b"kept")
    kept: list[Any] = []
    with pytest.raises(ZeroDivisionError) as raised:
        _fail_with_a_peek(receiver, kept)
    assert "was not closed" in raised.value.__notes__[0]
    assert not receiver.closed
    kept[0].__exit__(None, None, None)


def test_a_peeked_message_is_memory(pair: tuple[Channel, Channel]) -> None:
    """Read in place, without a view."""
    sender, receiver = pair
    sender.send(struct.pack("<II", 7, 8))
    peeked = receiver.peek()
    assert (peeked.get(4, "u32"), peeked[0], peeked.size) == (8, 7, 8)
    with pytest.raises(TypeError, match="read-only"):
        peeked.write(b"x")
    peeked.__exit__(None, None, None)
    assert peeked.closed
    assert receiver.pending == 0


def _cycle(name: str) -> None:
    channel = Channel.create(name, CAPACITY)
    channel.send(b"x")
    peeked = channel.peek()
    cycle: list[object] = [channel, peeked, peeked.__enter__()]
    cycle.append(cycle)
    del channel, peeked, cycle
    gc.collect()


def test_garbage_cycles_with_views_are_safe(unique_name: str) -> None:
    """A channel that is collected together with a view of its memory."""
    for _ in range(3):
        with pytest.warns(ResourceWarning, match="unclosed"):
            _cycle(unique_name)
    Channel.create(unique_name, CAPACITY).close()


def test_a_channel_that_is_gone_keeps_nothing(unique_name: str) -> None:
    """The name is let go, after close, without it, and in a garbage cycle."""
    name = "".join([unique_name, "-", "counted"])
    before = sys.getrefcount(name)
    channel = Channel.create(name, CAPACITY)
    assert sys.getrefcount(name) == before + 1
    channel.close()
    del channel
    assert sys.getrefcount(name) == before
    for forget in (lambda: Channel.create(name, CAPACITY), lambda: _cycle(name)):
        with pytest.warns(ResourceWarning, match="unclosed"):
            forget()
        gc.collect()
        assert sys.getrefcount(name) == before


def test_a_forgotten_peek_lets_go(pair: tuple[Channel, Channel]) -> None:
    """Without `with`, the message is still there."""
    sender, receiver = pair
    sender.send(b"here")
    peeked = receiver.peek()
    assert len(peeked) == 4
    assert bytes(peeked) == b"here"
    del peeked
    assert receiver.recv(0) == b"here"
