"""Channel: messages between processes, whole, in order, and with an end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import mmap
import multiprocessing
import os
import pickle
import random
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import interrupted
from hypothesis import given
from hypothesis import strategies as st

from winipc import Channel, EndOfStream, Event, SharedMapping

CAPACITY = 4096
DEADLINE = 60.0


@pytest.fixture
def pair(unique_name: str) -> Iterator[tuple[Channel, Channel]]:
    """The sender's and the receiver's end of one channel."""
    with (
        Channel.create(unique_name, CAPACITY) as receiver,
        Channel.open(unique_name) as sender,
    ):
        yield sender, receiver


# ------------------------------------------------------------- one process


@pytest.mark.smoke
def test_messages_arrive_whole_and_in_order(pair: tuple[Channel, Channel]) -> None:
    """Any bytes, the empty message too."""
    sender, receiver = pair
    messages = [b"", b"a", bytes(range(256)), b"x" * 2000]
    for message in messages:
        sender.send(message)
    assert [receiver.recv(DEADLINE) for _ in messages] == messages


def test_anything_with_the_buffer_protocol_may_be_sent(
    pair: tuple[Channel, Channel],
) -> None:
    """bytearray, memoryview, and integers of an array."""
    sender, receiver = pair
    sender.send(bytearray(b"ab"))
    sender.send(memoryview(b"abcd")[1:3])
    sender.send(struct.pack("<q", -1))
    assert receiver.recv_many() == [b"ab", b"bc", b"\xff" * 8]
    with pytest.raises(TypeError):
        sender.send("text")  # type: ignore[arg-type]
    assert receiver.pending == 0


@given(
    rounds=st.lists(st.lists(st.binary(max_size=900), max_size=12), max_size=12),
    max_record=st.sampled_from([16, 24, 100, 504]),
)
def test_a_channel_behaves_like_a_queue(
    rounds: list[list[bytes]], max_record: int
) -> None:
    """Whatever the sizes, parts and laps: first in, first out."""
    with Channel.create(None, 512, max_record=max_record) as channel:
        for messages in rounds:
            received: list[bytes] = []
            thread = threading.Thread(
                target=lambda n=messages, out=received: out.extend(
                    channel.recv(DEADLINE) for _ in n
                )
            )
            thread.start()
            assert channel.send_many(messages, DEADLINE) == len(messages)
            thread.join(DEADLINE)
            assert received == messages
        assert channel.pending == 0


def test_the_largest_record_is_as_large_as_the_ring(unique_name: str) -> None:
    """capacity - 8 bytes go in one piece, wherever the ring stands."""
    with Channel.create(unique_name, 256) as channel:
        assert channel.max_record == 248
        for size in (248, 8, 248, 100, 248):
            channel.send(bytes(size), timeout=0)
            with channel.peek() as view:
                assert len(view) == size


def test_larger_messages_go_in_parts(pair: tuple[Channel, Channel]) -> None:
    """A message of many times the capacity, through recv and recv_into."""
    sender, receiver = pair
    data = random.Random(1).randbytes(100 * CAPACITY + 3)
    thread = threading.Thread(
        target=lambda: [sender.send(data, DEADLINE) for _ in range(3)]
    )
    thread.start()
    assert receiver.recv(DEADLINE) == data
    buffer = bytearray(len(data) + 1)
    assert receiver.recv_into(buffer, DEADLINE) == len(data)
    assert buffer[:-1] == data
    with receiver.peek(DEADLINE) as view:
        assert view == data
    thread.join(DEADLINE)


def test_a_message_in_parts_survives_time_outs_of_the_receiver(
    pair: tuple[Channel, Channel],
) -> None:
    """What has arrived is kept until the rest is there."""
    sender, receiver = pair
    data = bytes(range(256)) * 64
    with pytest.raises(TimeoutError):
        sender.send(data, timeout=0)  # nobody receives: a part of it is there
    with pytest.raises(TimeoutError):
        receiver.recv(timeout=0)
    sender.send(b"next", timeout=0)  # it cannot be completed any more
    assert receiver.recv(timeout=0) == b"next"


def test_full_is_a_time_out_and_room_comes_back(pair: tuple[Channel, Channel]) -> None:
    """timeout=0 does not wait; nothing is half sent."""
    sender, receiver = pair
    sent = 0
    try:
        while True:
            sender.send(b"%08d" % sent, timeout=0)
            sent += 1
    except TimeoutError as error:
        assert error.winerror == 1460  # noqa: PT017
    assert sent == CAPACITY // 16
    assert receiver.recv() == b"00000000"
    sender.send(b"last", timeout=0)
    assert len(receiver.recv_many()) == sent


def test_refuse_does_not_wait_unless_told(unique_name: str) -> None:
    """The default timeout of overflow="refuse" is 0."""
    with Channel.create(unique_name, 256, overflow="refuse") as channel:
        assert channel.overflow == "refuse"
        channel.send(bytes(248))
        with pytest.raises(TimeoutError):
            channel.send(b"")


def test_drop_oldest_keeps_the_newest(unique_name: str) -> None:
    """And counts what it forgot."""
    with Channel.create(unique_name, 256, overflow="drop_oldest") as channel:
        for number in range(100):
            channel.send(b"%08d" % number)
        received = channel.recv_many()
        assert received == [b"%08d" % n for n in range(100 - len(received), 100)]
        assert len(received) == 16
        assert channel.dropped == 84
        with pytest.raises(ValueError, match="at most 248"):
            channel.send(bytes(249))


def test_drop_oldest_never_takes_what_is_being_read(unique_name: str) -> None:
    """A peeked message stays as it is, whatever is sent meanwhile."""
    with Channel.create(unique_name, 256, overflow="drop_oldest") as channel:
        channel.send(b"a" * 100)
        with channel.peek() as view:
            channel.send(b"b" * 100)
            with pytest.raises(TimeoutError):
                channel.send(b"c" * 100, timeout=0.05)
            assert view == b"a" * 100
        channel.send(b"c" * 100)
        assert channel.recv() == b"b" * 100


def test_recv_into_keeps_what_does_not_fit(pair: tuple[Channel, Channel]) -> None:
    """A too small buffer is an error that loses nothing."""
    sender, receiver = pair
    sender.send(b"12345")
    with pytest.raises(ValueError, match="5 bytes does not fit in a buffer of 4"):
        receiver.recv_into(bytearray(4))
    buffer = bytearray(6)
    assert receiver.recv_into(buffer) == 5
    assert bytes(buffer) == b"12345\0"
    with pytest.raises(BufferError):
        receiver.recv_into(b"read-only")  # type: ignore[arg-type]


def test_recv_many_takes_at_most_limit(pair: tuple[Channel, Channel]) -> None:
    """And waits only for the first."""
    sender, receiver = pair
    assert sender.send_many([b"1", b"2", b"3"]) == 3
    assert receiver.recv_many(2) == [b"1", b"2"]
    assert receiver.recv_many(2, timeout=DEADLINE) == [b"3"]
    with pytest.raises(TimeoutError):
        receiver.recv_many(timeout=0)
    with pytest.raises(ValueError, match="at least 1"):
        receiver.recv_many(0)


def test_send_many_sends_what_it_can(pair: tuple[Channel, Channel]) -> None:
    """A bad item raises; those before it are sent."""
    sender, receiver = pair
    with pytest.raises(TypeError):
        sender.send_many([b"good", None])  # type: ignore[list-item]
    assert receiver.recv_many() == [b"good"]
    assert sender.send_many(b"%d" % n for n in range(3)) == 3
    assert receiver.recv_many() == [b"0", b"1", b"2"]


def test_python_code_of_a_buffer_may_use_the_channel(unique_name: str) -> None:
    """send_many asks for all buffers before it has its turn or the lock."""
    if sys.version_info < (3, 12):
        pytest.skip("a class with __buffer__ needs Python 3.12")
    with (
        Channel.create(unique_name, CAPACITY, producers="many") as channel,
        Channel.open(unique_name) as other,
    ):

        class Nested:
            def __buffer__(self, flags: int) -> memoryview:
                channel.send(b"taken", timeout=0)
                other.send(b"other", timeout=0)
                return memoryview(b"data")

            def __release_buffer__(self, view: memoryview) -> None:
                channel.send(b"released", timeout=0)
                other.send(b"other", timeout=0)

        assert channel.send_many([b"first", Nested(), b"last"], 0) == 3
        assert channel.recv_many() == [
            *(b"taken", b"other"),
            *(b"first", b"data", b"last"),
            *(b"released", b"other"),
        ]


# -------------------------------------------------------------------- peek


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
    """So that it can be tried again; messages in parts too."""
    sender, receiver = pair
    sender.send(b"precious")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), receiver.peek() as view:
            _fail_at(view, b"precious")
    assert receiver.recv() == b"precious"
    thread = threading.Thread(target=sender.send, args=(bytes(3 * CAPACITY),))
    thread.start()
    with pytest.raises(ZeroDivisionError), receiver.peek(DEADLINE) as view:
        _fail_at(view, bytes(3 * CAPACITY))
    assert receiver.recv() == bytes(3 * CAPACITY)
    thread.join(DEADLINE)


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


def test_a_view_in_use_makes_the_block_fail(pair: tuple[Channel, Channel]) -> None:
    """BufferError, as for any memoryview; it counts as received once it is free."""
    sender, receiver = pair
    sender.send_many([b"kept", b"next"])
    peeked = receiver.peek()
    view = peeked.__enter__()
    user = pickle.PickleBuffer(view)
    with pytest.raises(BufferError):
        peeked.__exit__(None, None, None)
    assert bytes(user.raw()) == b"kept"
    user.release()
    view.release()
    assert receiver.recv(0) == b"next"


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


# ----------------------------------------------------- ends, roles, errors


def test_the_end_comes_after_the_last_message(pair: tuple[Channel, Channel]) -> None:
    """EndOfStream is an EOFError; iteration just ends."""
    sender, receiver = pair
    sender.send_many([b"1", b"2"])
    sender.close()
    assert list(receiver) == [b"1", b"2"]
    with pytest.raises(EndOfStream):
        receiver.recv()
    assert issubclass(EndOfStream, EOFError)


def test_before_the_first_sender_there_is_no_end(unique_name: str) -> None:
    """Who receives first, waits."""
    with Channel.create(unique_name, CAPACITY) as receiver:
        with pytest.raises(TimeoutError):
            receiver.recv(0.05)
        with Channel.open(unique_name) as sender:
            sender.send(b"x")
        with Channel.open(unique_name) as sender:
            sender.send(b"y")
            assert receiver.recv_many() == [b"x", b"y"]
        with pytest.raises(EndOfStream):
            receiver.recv(0)


def test_a_closed_receiver_breaks_the_pipe(pair: tuple[Channel, Channel]) -> None:
    """Sending to nobody is BrokenPipeError, at once."""
    sender, receiver = pair
    sender.send(b"x")
    assert receiver.recv() == b"x"
    receiver.close()
    with pytest.raises(BrokenPipeError):
        sender.send(b"y")


def test_close_wakes_who_waits(pair: tuple[Channel, Channel]) -> None:
    """A sleeping receiver sees the end, a sleeping sender the broken pipe."""
    sender, receiver = pair
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            receiver.recv(DEADLINE)
        except EndOfStream as error:
            caught.append(error)

    sender._claim(False)
    thread = threading.Thread(target=wait)
    thread.start()
    while receiver.receiver is None:
        time.sleep(0.001)
    time.sleep(0.01)  # most likely it sleeps by now; right either way
    sender.close()
    thread.join(DEADLINE)
    assert len(caught) == 1


def test_there_is_one_receiver_and_one_sender(unique_name: str) -> None:
    """The second gets a clear error; after a close the role is free."""
    with Channel.create(unique_name, CAPACITY, role="recv") as first:
        with pytest.raises(PermissionError, match="has this end"):
            Channel.open(unique_name, role="recv")
        assert first.receiver == os.getpid()
        with Channel.open(unique_name, role="send") as sender:
            assert first.senders == [os.getpid()]
            with pytest.raises(PermissionError):
                Channel.open(unique_name, role="send")
            sender.send(b"1")
        with Channel.open(unique_name) as sender:
            sender.send(b"2")
        assert first.recv_many() == [b"1", b"2"]


def test_many_producers_share_a_channel(unique_name: str) -> None:
    """The end comes when the last of them has closed."""
    with Channel.create(unique_name, CAPACITY, producers="many") as receiver:
        assert receiver.producers == "many"
        a = Channel.open(unique_name, role="send")
        b = Channel.open(unique_name, role="send")
        a.send(b"a")
        b.send(b"b")
        a.close()
        assert receiver.recv_many() == [b"a", b"b"]
        with pytest.raises(TimeoutError):
            receiver.recv(0)
        b.close()
        with pytest.raises(EndOfStream):
            receiver.recv()


def test_create_is_exclusive_and_open_never_creates(unique_name: str) -> None:
    """exist_ok opens, and `created` tells which."""
    with pytest.raises(FileNotFoundError):
        Channel.open(unique_name)
    with Channel.create(unique_name, CAPACITY) as first:
        assert first.created
        with pytest.raises(FileExistsError) as caught:
            Channel.create(unique_name, CAPACITY)
        assert caught.value.winerror == 183
        with Channel.create(unique_name, 256, exist_ok=True) as second:
            assert not second.created
            assert second.capacity == CAPACITY
    with pytest.raises(FileNotFoundError):
        Channel.open(unique_name)
    with pytest.raises(TimeoutError) as late:
        Channel.wait_for(unique_name, 0.02)
    assert late.value.winerror == 1460
    assert late.value.filename == unique_name


def test_wait_for_refuses_a_name_that_cannot_be(unique_name: str) -> None:
    """Nobody will ever make it: an error at once."""
    with pytest.raises(FileNotFoundError) as caught:
        Channel.wait_for(f"Other\\{unique_name}", 5)
    assert caught.value.winerror == 3


@pytest.mark.parametrize("capacity", [0, 1, 255, 257, 3 << 20, 1 << 31, 2**64 - 1])
def test_a_capacity_that_cannot_be_is_refused(unique_name: str, capacity: int) -> None:
    """Powers of two from 256 bytes to 1 GiB."""
    with pytest.raises(ValueError, match="power of two"):
        Channel.create(unique_name, capacity)
    with pytest.raises(ValueError, match="max_record"):
        Channel.create(unique_name, 256, max_record=249)
    with pytest.raises(OverflowError):
        Channel.create(unique_name, -1)


def test_a_closed_channel_says_so(pair: tuple[Channel, Channel]) -> None:
    """close() is idempotent; everything else is ValueError."""
    sender, _ = pair
    sender.close()
    sender.close()
    assert sender.closed
    for call in (
        lambda: sender.send(b""),
        lambda: sender.send_many([]),
        sender.recv,
        sender.recv_many,
        sender.peek,
        lambda: sender.recv_into(bytearray(1)),
        lambda: sender.capacity,
        lambda: sender.senders,
        lambda: pickle.dumps(sender),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()
    assert "closed" in repr(sender)


def test_a_forgotten_channel_warns(unique_name: str) -> None:
    """ResourceWarning, and the other side sees the end."""
    with Channel.create(unique_name, CAPACITY) as receiver:
        sender = Channel.open(unique_name, role="send")
        with pytest.warns(ResourceWarning, match="unclosed"):
            del sender
        with pytest.raises(EndOfStream):
            receiver.recv(DEADLINE)


def test_bad_arguments_are_errors(pair: tuple[Channel, Channel]) -> None:
    """TypeError and ValueError, and the channel goes on."""
    sender, receiver = pair
    for bad in (
        lambda: sender.send(),  # type: ignore[call-arg]
        lambda: sender.send(b"", 1, 2),  # type: ignore[call-arg]
        lambda: sender.send(b"", wait=1),  # type: ignore[call-arg]
        lambda: sender.send(b"", 1, timeout=1),  # type: ignore[misc]
        lambda: receiver.recv("1"),  # type: ignore[arg-type]
        lambda: Channel.create(unique_name_of(receiver), 256, role="both"),  # type: ignore[arg-type]
    ):
        with pytest.raises((TypeError, ValueError)):
            bad()
    for timeout in (-1, float("nan")):
        with pytest.raises(ValueError, match="timeout"):
            receiver.recv(timeout)
    sender.send(b"ok")
    assert receiver.recv(timeout=1) == b"ok"


def unique_name_of(channel: Channel) -> str:
    return f"{channel.name}-2"


# ------------------------------------------------------------ two processes


@pytest.mark.smoke
def test_echo_between_processes(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """Small and large ones, there and back."""
    with (
        Channel.create(unique_name + ".there", 1 << 16) as there,
        Channel.create(unique_name + ".back", 1 << 16) as back,
    ):
        peer = start_peer("channel_peer.py", "echo", unique_name)
        peer.expect("ready")
        for size in (0, 1, 64, 4000, 70_000, 300_000, *range(200)):
            message = os.urandom(size)
            there.send(message, DEADLINE)
            assert back.recv(DEADLINE) == message
        there.close()
        assert list(back) == []
        assert peer.finish() == 0


def test_a_stream_between_processes(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """100,000 messages in batches, none lost, doubled or changed."""
    with Channel.create(unique_name, 1 << 16) as channel:
        peer = start_peer("channel_peer.py", "sink", unique_name)
        peer.expect("ready")
        digest = hashlib.sha256()
        size = 0
        for batch in range(200):
            messages = [b"%d:%d" % (batch, n) * (n % 7) for n in range(500)]
            channel.send_many(messages, DEADLINE)
            for message in messages:
                digest.update(message)
                size += len(message)
        channel.close()
        peer.expect(f"end 100000 {size} {digest.hexdigest()}")


def test_many_processes_send_to_one(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """Each sender's messages arrive whole and in its order, and then the end."""
    senders, count = 4, 2000
    with Channel.create(unique_name, 1 << 14, producers="many", role="recv") as channel:
        keep = Channel.open(unique_name, role="send")
        peers = [
            start_peer("channel_peer.py", "source", unique_name, count, 40 + 300 * n, n)
            for n in range(senders)
        ]
        for peer in peers:
            peer.expect("ready")
        keep.close()
        last = [-1] * senders
        for message in channel:
            body, crc = message[:-4], message[-4:]
            assert zlib.crc32(body) == int.from_bytes(crc, "little")
            tag, number, _ = body.split(b" ", 2)
            assert int(number) == last[int(tag)] + 1
            last[int(tag)] += 1
        assert last == [count - 1] * senders


@pytest.mark.parametrize("producers", ["one", "many"])
def test_a_killed_sender_is_noticed(
    unique_name: str, start_peer: Callable[..., Any], producers: str
) -> None:
    """What it had sent is read, then BrokenPipeError; a new sender may come."""
    with Channel.create(unique_name, CAPACITY, producers=producers) as channel:
        peer = start_peer("channel_peer.py", "die", unique_name, 20)
        peer.expect("sent")
        assert channel.recv(DEADLINE) == b"0"
        peer.kill()
        assert [channel.recv(DEADLINE) for _ in range(19)] == [
            b"%d" % n for n in range(1, 20)
        ]
        with pytest.raises(BrokenPipeError) as caught:
            channel.recv(DEADLINE)
        assert caught.value.winerror == 109
        with Channel.open(unique_name, role="send") as sender:
            sender.send(b"new")
            assert channel.recv(0) == b"new"


@pytest.mark.parametrize(
    "call",
    [
        lambda channel: channel.recv(0),
        lambda channel: channel.recv_into(bytearray(8), 0),
        lambda channel: channel.recv_many(2, 0),
        lambda channel: channel.peek(0),
    ],
    ids=["recv", "recv_into", "recv_many", "peek"],
)
def test_a_killed_sender_is_noticed_without_waiting(
    unique_name: str,
    start_peer: Callable[..., Any],
    call: Callable[[Channel], object],
) -> None:
    """Soon, by a receiver that only ever looks whether there is something."""
    with Channel.create(unique_name, CAPACITY) as channel:
        peer = start_peer("channel_peer.py", "hold", unique_name, "send")
        peer.expect("ready")
        with pytest.raises(TimeoutError):
            call(channel)
        peer.kill()
        deadline = time.monotonic() + DEADLINE

        def poll() -> None:
            while time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    call(channel)

        with pytest.raises(BrokenPipeError):
            poll()


def test_a_killed_receiver_is_noticed(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """A sender that waits for room gets BrokenPipeError soon, not never."""
    with Channel.create(unique_name, 256) as channel:
        peer = start_peer("channel_peer.py", "hold", unique_name, "recv")
        peer.expect("ready")
        channel.send(bytes(248))
        peer.kill()
        with pytest.raises(BrokenPipeError):
            channel.send(bytes(248), DEADLINE)
        with Channel.open(unique_name, role="recv") as again:
            assert again.recv(0) == bytes(248)


def test_a_process_cannot_take_the_role_of_another(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """PermissionError while it lives; its place is free once it is dead."""
    with Channel.create(unique_name, CAPACITY) as channel:
        peer = start_peer("channel_peer.py", "hold", unique_name, "recv")
        peer.expect("ready")
        assert channel.receiver == peer.pid
        with pytest.raises(PermissionError):
            channel.recv(0)
        channel.send(b"for the next")
        peer.kill()
        assert channel.recv(DEADLINE) == b"for the next"


# --------------------------------------------------------------- C programs


def test_a_killed_sender_is_noticed_by_c_without_waiting(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """The C side's calls that do not wait look as well."""
    with Channel.create(unique_name, CAPACITY):
        receiver = start_peer("channel_peer.exe", "take", unique_name, 0)
        receiver.expect("ready")
        sender = start_peer("channel_peer.py", "hold", unique_name, "send")
        sender.expect("ready")
        receiver.say("")
        receiver.expect("timeout 0")
        sender.kill()
        deadline = time.monotonic() + DEADLINE
        answer = "timeout 0"
        while answer == "timeout 0" and time.monotonic() < deadline:
            receiver.say("")
            answer = receiver.read_line()
        assert answer == "broken 0"


@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
def test_batches_of_one_and_more_while_others_send(
    unique_name: str, start_peer: Callable[..., Any], overflow: str
) -> None:
    """What a batch gave back is the senders' at once, who then drop from there on."""
    with Channel.create(
        unique_name, 256, overflow=overflow, producers="many", role="recv"
    ) as channel:
        peers = [
            start_peer("channel_peer.exe", "source", unique_name, 10**8, 16)
            for _ in range(2)
        ]
        for peer in peers:
            peer.expect("ready")
        received = 0
        while received < 100_000:
            for limit in (1, 1, 1, 2, 5):
                batch = channel.recv_many(limit, DEADLINE)
                assert 1 <= len(batch) <= limit
                received += len(batch)
                for message in batch:
                    assert len(message) == 16
                    assert len(set(message[4:])) == 1


def test_a_c_program_is_a_full_peer(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """An echo in C that knows only include/winipc.h: sizes, parts, the end."""
    with (
        Channel.create(unique_name + ".there", 4096, max_record=1000) as there,
        Channel.create(unique_name + ".back", 4096) as back,
    ):
        peer = start_peer("channel_peer.exe", "echo", unique_name)
        peer.expect("ready")
        for size in (0, 1, 7, 8, 64, 999, 1000, 1001, 4096, 100_000):
            message = os.urandom(size)
            there.send(message, DEADLINE)
            assert back.recv(DEADLINE) == message
        there.close()
        with pytest.raises(EndOfStream):
            back.recv(DEADLINE)
        assert peer.finish() == 0


def test_a_c_program_may_make_the_channels(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """And Python opens them."""
    peer = start_peer("channel_peer.exe", "serve", unique_name, 8192)
    peer.expect("ready")
    with (
        Channel.open(unique_name + ".there", role="send") as there,
        Channel.open(unique_name + ".back", role="recv") as back,
    ):
        assert there.capacity == 8192
        there.send_many([b"a", b"", b"b" * 8184])
        assert [back.recv(DEADLINE) for _ in range(3)] == [b"a", b"", b"b" * 8184]
        peer.kill()
        with pytest.raises(BrokenPipeError):
            back.recv(DEADLINE)


@pytest.mark.parametrize("producers", ["one", "many"])
def test_c_and_python_stream_to_each_other(
    unique_name: str, start_peer: Callable[..., Any], producers: Any
) -> None:
    """C sources into Python, and Python into a C sink."""
    count = 3000
    with Channel.create(unique_name, 4096, producers=producers, role="recv") as channel:
        sources = [
            start_peer("channel_peer.exe", "source", unique_name, count, 40)
            for _ in range(1 if producers == "one" else 3)
        ]
        for source in sources:
            source.expect("ready")
        total = 0
        for _ in range(count * len(sources)):
            message = channel.recv(DEADLINE)
            assert len(message) == 40
            total += int.from_bytes(message[:4], "little")
        assert total == len(sources) * count * (count - 1) // 2
        with pytest.raises(EndOfStream):
            channel.recv(DEADLINE)
    with Channel.create(unique_name + "2", 4096) as channel:
        sink = start_peer("channel_peer.exe", "sink", unique_name + "2")
        sink.expect("ready")
        channel.send_many([bytes([1, 2, 3])] * count, DEADLINE)
        channel.close()
        sink.expect(f"end {count} {3 * count} {6 * count}")


# ------------------------------------------------------------ hostile peers


@pytest.fixture
def raw(unique_name: str) -> Iterator[tuple[Channel, mmap.mmap]]:
    """A channel, and its memory through another module."""
    with Channel.create(unique_name, 256) as channel:
        memory = mmap.mmap(-1, 4096 + 512, tagname=unique_name)
        yield channel, memory
        memory.close()


def test_the_layout_is_the_documented_one(raw: tuple[Channel, mmap.mmap]) -> None:
    """Byte by byte, as docs/channel.md has it."""
    channel, memory = raw
    assert memory[:8] == b"WIPCHAN1"
    assert struct.unpack_from("<IIQQIIQ", memory, 8) == (
        *(1, 4096, 256, 248, 0, 64),
        4096 + 256 + 256,
    )
    channel.send(b"hello")
    assert struct.unpack_from("<Q", memory, 128) == (16,)
    assert memory[4096:4112] == struct.pack("<IHH", 5, 3, 0x5749) + b"hello\0\0\0"
    assert channel.recv() == b"hello"
    assert struct.unpack_from("<Q", memory, 256) == (16,)
    word, start = struct.unpack_from("<QQ", memory, 1024)
    assert word & 0xFFFFFFFF == os.getpid()
    assert word >> 32 & 0xFF == 2
    assert start > 0
    memory[4099:4102] = b"abc"  # the record is free again: nobody minds


@pytest.mark.parametrize("offset", range(0, 48, 4))
def test_a_header_that_cannot_be_is_refused(
    unique_name: str, raw: tuple[Channel, mmap.mmap], offset: int
) -> None:
    """Whatever stands in a constant: opened as it was, or refused."""
    channel, memory = raw
    (good,) = struct.unpack_from("<I", memory, offset)
    for value in (0, 1, 3, 7, 255, 257, 512, 1 << 20, 1 << 31, 0xFFFFFFFF):
        struct.pack_into("<I", memory, offset, value)
        try:
            with Channel.open(unique_name) as other:
                assert other.capacity + other.max_record <= 4096
        except OSError as error:
            assert error.winerror == 13  # noqa: PT017
        except TimeoutError:
            assert offset < 8
    struct.pack_into("<I", memory, offset, good)
    channel.send(b"still works")
    assert channel.recv() == b"still works"


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        pytest.param(128, 8192, id="tail beyond capacity"),
        pytest.param(128, 24 + 3, id="tail not aligned"),
        pytest.param(128, 2**64 - 8, id="tail before head"),
        pytest.param(4096, 0xFFFFFFFF, id="length of 4 GiB"),
        pytest.param(4096, 249, id="length over max_record"),
        pytest.param(4096, 17 | 0x57490003 << 32, id="record beyond tail"),
        pytest.param(4096, 0, id="no record"),
    ],
)
def test_corruption_is_an_error_for_the_receiver(
    raw: tuple[Channel, mmap.mmap], offset: int, value: int
) -> None:
    """OSError with winerror 13 from every way to receive."""
    channel, memory = raw
    channel.send(b"0123456789abcdef")
    struct.pack_into("<Q", memory, offset, value)
    for call in (
        channel.recv,
        channel.recv_many,
        channel.peek,
        lambda: channel.recv_into(bytearray(1000)),
    ):
        with pytest.raises(OSError, match="WinError 13") as caught:
            call()
        assert caught.value.winerror == 13


def test_corruption_is_an_error_for_the_sender(raw: tuple[Channel, mmap.mmap]) -> None:
    """A head that cannot be, when the ring looks full."""
    channel, memory = raw
    channel.send(bytes(240))
    for head in (3, 10_000, 2**64 - 512):
        struct.pack_into("<Q", memory, 256, head)
        with pytest.raises(OSError, match="head") as caught:
            channel.send(bytes(240), timeout=0)
        assert caught.value.winerror == 13


def test_a_first_part_that_promises_too_much_is_refused(
    raw: tuple[Channel, mmap.mmap],
) -> None:
    """A length of many GiB is not allocated, and the channel goes on."""
    channel, memory = raw
    channel.max_message = 1 << 20
    for total in (2**62, 2**64 - 1, (1 << 20) + 1):
        (tail,) = struct.unpack_from("<Q", memory, 128)
        channel.send(struct.pack("<Q", total))
        struct.pack_into("<I", memory, 4096 + tail % 256 + 4, 0x57490001)
        with pytest.raises(ValueError, match="max_message"):
            channel.recv()
    channel.send(b"next")
    assert channel.recv() == b"next"


def test_random_corruption_never_crashes(unique_name: str) -> None:
    """20,000 rounds of nonsense, in a process that must live to say so."""
    script = f"""
import mmap, random, struct
from winipc import Channel
rng = random.Random(5)
for round in range(40):
    flags = dict(producers=rng.choice(["one", "many"]),
                 overflow=rng.choice(["block", "drop_oldest"]))
    with Channel.create({unique_name!r}, 256, **flags) as channel:
        memory = mmap.mmap(-1, 4608, tagname={unique_name!r})
        for _ in range(500):
            at = rng.choice([rng.randrange(576) * 8, 128, 256, 384, 392, 512, 520,
                             1024, 1056, 4096 + rng.randrange(32) * 8])
            value = rng.choice([0, 1, 8, 2**64 - 1, rng.getrandbits(64),
                                rng.getrandbits(8), rng.randrange(64) * 8])
            struct.pack_into("<Q", memory, at, value)
            for call in (lambda: channel.send(bytes(rng.randrange(300)), 0),
                         lambda: channel.recv(0), lambda: channel.recv_many(5, 0),
                         lambda: channel.recv_into(bytearray(64), 0),
                         lambda: channel._members()):
                try:
                    call()
                except (OSError, EOFError, ValueError):
                    pass
        memory.close()
print("alive")
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.stdout.strip() == "alive", result.stderr


def test_a_mapping_that_is_no_channel_is_refused(unique_name: str) -> None:
    """winerror 13; an object of another kind is 6."""
    with mmap.mmap(-1, 8192, tagname=unique_name) as memory:
        memory[:8] = b"not this"
        with pytest.raises(OSError, match="not a channel") as caught:
            Channel.open(unique_name)
        assert caught.value.winerror == 13
    with Event.create(unique_name), pytest.raises(OSError, match="6") as caught:
        Channel.open(unique_name)
    assert caught.value.winerror == 6


def test_a_channel_without_events_is_not_opened(unique_name: str) -> None:
    """exist_ok does not try for ever."""
    with (
        Channel.create(unique_name, 256),
        mmap.mmap(-1, 4608, tagname=unique_name) as memory,
    ):
        header = memory[:64]
    with mmap.mmap(-1, 4608, tagname=unique_name) as memory:
        memory[:64] = header
        with pytest.raises(FileExistsError) as caught:
            Channel.create(unique_name, 256, exist_ok=True)
        assert caught.value.winerror == 183


def test_a_mapping_without_memory_is_refused(unique_name: str) -> None:
    """Addresses that are only reserved: nobody reads them."""
    with SharedMapping.create(unique_name, 1 << 20, reserve=True):
        with pytest.raises(OSError, match="channel") as caught:
            Channel.open(unique_name)
        assert caught.value.winerror == 13
        with pytest.raises(OSError, match="channel") as caught:
            Channel.create(unique_name, CAPACITY, exist_ok=True)
        assert caught.value.winerror == 13


def _fill_with_empty_parts(memory: mmap.mmap, capacity: int) -> None:
    """A message of 2**20 bytes that begins, and parts of it with nothing in them."""
    first = struct.pack("<IHHQ", 8, 1, 0x5749, 1 << 20)
    part = struct.pack("<IHH", 0, 0, 0x5749)
    memory[4096 : 4096 + capacity] = first + part * ((capacity - 16) // 8)
    struct.pack_into("<Q", memory, 128, capacity)


@pytest.mark.parametrize("into", [False, True])
def test_receiving_parts_without_waiting_ends(unique_name: str, into: bool) -> None:
    """timeout=0 takes a bounded number of parts, and the next call goes on."""
    capacity = 1 << 16
    with Channel.create(unique_name, capacity) as channel:
        with mmap.mmap(-1, 4096 + 2 * capacity, tagname=unique_name) as memory:
            _fill_with_empty_parts(memory, capacity)
        for call in range(1, 3):
            buffer = bytearray(1 << 20)
            with pytest.raises(TimeoutError):
                channel.recv_into(buffer, 0) if into else channel.recv(0)
            left = capacity - (call * 4096 + 1) * 8
            assert channel.pending == max(left, 0)


def test_a_stream_of_empty_parts_ends_with_the_time(unique_name: str) -> None:
    """A process that writes them for ever; other threads run meanwhile."""
    script = f"""
import mmap
memory = mmap.mmap(-1, 4096 + 2 * 65536, tagname={unique_name!r})
words = memoryview(memory).cast("Q")  # struct would write it byte by byte
print("ready", flush=True)
while words[0]:
    words[128 // 8] = words[256 // 8] + 65536
"""
    with (
        Channel.create(unique_name, 1 << 16) as channel,
        mmap.mmap(-1, 4096 + (2 << 16), tagname=unique_name) as memory,
    ):
        _fill_with_empty_parts(memory, 1 << 16)
        with pytest.raises(TimeoutError):
            channel.recv(0)  # the message has begun
        memory[4096:4112] = struct.pack("<IHH", 0, 0, 0x5749) * 2
        with subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.DEVNULL, stdout=-1
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().strip() == b"ready"
                # Without an end of its own the test ends it, so that it fails.
                rescue = threading.Timer(10, process.kill)
                rescue.start()
                for timeout in (0, 0.2):
                    began = time.monotonic()
                    with pytest.raises(TimeoutError):
                        channel.recv(timeout)
                    assert time.monotonic() - began < 5
                rescue.cancel()
            finally:
                process.kill()


#: Writes empty parts for ever, as quick as they are read.
_STREAM = """
import mmap, sys
memory = mmap.mmap(-1, 4096 + 2 * 65536, tagname=sys.argv[1])
words = memoryview(memory).cast("Q")  # struct would write byte by byte
print("ready", flush=True)
while words[0]:
    words[16] = words[32] + 65536
"""


@pytest.mark.parametrize("timeout", [0, 200])
def test_a_stream_of_empty_parts_ends_for_c_as_well(
    unique_name: str,
    start_peer: Callable[..., Any],
    start_process: Callable[[list[str]], Any],
    timeout: int,
) -> None:
    """A call without waiting is bounded; one with a time-out keeps to it."""
    with (
        Channel.create(unique_name, 1 << 16) as channel,
        mmap.mmap(-1, 4096 + (2 << 16), tagname=unique_name) as memory,
    ):
        _fill_with_empty_parts(memory, 1 << 16)
        peer = start_peer("channel_peer.exe", "take", unique_name, timeout)
        assert peer.read_line() == "ready"
        peer.say("")
        assert peer.read_line() == "timeout 1048576"  # the message has begun
        memory[4096:4112] = struct.pack("<IHH", 0, 0, 0x5749) * 2
        stream = start_process([sys.executable, "-c", _STREAM, unique_name])
        assert stream.read_line() == "ready"
        for _ in range(2):
            peer.say("")
            assert peer.read_line() == "timeout 0"
        stream.kill()
        assert not channel.closed


def test_an_honest_message_in_many_parts_survives_short_waits(
    unique_name: str,
) -> None:
    """What arrived is kept, however often the receiver's time is over."""
    data = random.Random(2).randbytes(300_000)
    with Channel.create(unique_name, 1 << 16, max_record=16) as channel:
        thread = threading.Thread(
            target=lambda: [channel.send(data, DEADLINE) for _ in range(2)]
        )
        thread.start()
        end = time.monotonic() + DEADLINE
        received = []
        while len(received) < 2 and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                received.append(channel.recv(0 if received else 0.001))
        thread.join(DEADLINE)
        assert received == [data, data]


# ------------------------------------------------------------ waiting, async


def test_ctrl_c_interrupts_a_wait(pair: tuple[Channel, Channel]) -> None:
    """recv, and send into a full ring."""
    sender, receiver = pair
    receiver._claim(True)
    more = [bytes(4000)] * 2
    for call in (lambda: receiver.recv(DEADLINE), lambda: sender.send_many(more)):
        interrupted(call)
    assert len(receiver.recv_many()) == 1


def test_an_idle_channel_uses_no_cpu(pair: tuple[Channel, Channel]) -> None:
    """A second of waiting costs next to nothing."""
    _, receiver = pair
    before = time.process_time()
    with pytest.raises(TimeoutError):
        receiver.recv(1.0)
    assert time.process_time() - before < 0.5


def test_threads_share_an_object(unique_name: str) -> None:
    """Four send and four receive on one object, and every message comes once."""
    count = 2000
    with Channel.create(unique_name, 1024) as channel:
        received: list[bytes] = []

        def receive() -> None:
            with contextlib.suppress(EndOfStream):
                while (message := channel.recv(DEADLINE)) != b"end":
                    received.append(message)

        def send(tag: int) -> None:
            for number in range(count):
                channel.send(b"%d %d" % (tag, number), DEADLINE)

        receivers = [threading.Thread(target=receive) for _ in range(4)]
        senders = [threading.Thread(target=send, args=(tag,)) for tag in range(4)]
        for thread in receivers + senders:
            thread.start()
        for thread in senders:
            thread.join(DEADLINE)
        for _ in receivers:
            channel.send(b"end", DEADLINE)
        for thread in receivers:
            thread.join(DEADLINE)
        assert sorted(received) == sorted(
            b"%d %d" % (tag, number) for tag in range(4) for number in range(count)
        )


def test_close_refuses_while_a_thread_waits(pair: tuple[Channel, Channel]) -> None:
    """BufferError, and the wait goes on."""
    sender, receiver = pair
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(receiver.recv(DEADLINE)))
    thread.start()
    while receiver.receiver is None:
        time.sleep(0.001)
    with pytest.raises(BufferError, match="another thread"):
        receiver.close()
    sender.send(b"done")
    thread.join(DEADLINE)
    assert received == [b"done"]


def test_channels_travel_by_pickle(unique_name: str) -> None:
    """By name; the copy is a second end of the same channel."""
    with Channel.create(None, CAPACITY) as channel:
        with pickle.loads(pickle.dumps(channel)) as other:
            assert other.name == channel.name
            other.send(b"hello")
        assert channel.recv() == b"hello"


def _child(channel: Channel, count: int) -> None:
    with channel:
        for number in range(count):
            channel.send(b"%d" % number)


def test_channels_travel_to_multiprocessing_children() -> None:
    """spawn: the argument of a Process."""
    context = multiprocessing.get_context("spawn")
    with Channel.create(None, CAPACITY) as channel:
        process = context.Process(target=_child, args=(channel, 100))
        process.start()
        assert list(channel) == [b"%d" % number for number in range(100)]
        process.join(DEADLINE)
        assert process.exitcode == 0


def test_async_forms(unique_name: str) -> None:
    """recv_async, recv_many_async, send_async and async for, in one loop."""

    async def main() -> None:
        with Channel.create(unique_name, 256) as channel:
            channel._claim(True)
            with pytest.raises(TimeoutError):
                await channel.recv_async(timeout=0.05)

            async def produce() -> None:
                with Channel.open(unique_name) as sender:
                    for number in range(500):
                        await sender.send_async(b"%d" % number)
                    await sender.send_async(bytes(1000))
                    await sender.send_async(b"last")

            task = asyncio.create_task(produce())
            assert await channel.recv_async() == b"0"
            messages = [message async for message in channel]
            await task
            assert messages == [
                *(b"%d" % number for number in range(1, 500)),
                bytes(1000),
                b"last",
            ]

    asyncio.run(main())


def test_a_task_waits_for_a_thread_at_the_same_end(
    pair: tuple[Channel, Channel],
) -> None:
    """recv_async while a thread is in recv: after it, or a TimeoutError."""
    sender, receiver = pair
    received: list[bytes] = []
    thread = threading.Thread(target=lambda: received.append(receiver.recv(DEADLINE)))
    thread.start()
    while True:
        try:
            receiver._arm(-1, False)
        except TimeoutError:
            break  # the thread is there
        time.sleep(0.001)

    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await receiver.recv_async(timeout=0.1)
        assert time.monotonic() - began >= 0.09
        task = asyncio.create_task(receiver.recv_async(DEADLINE))
        await asyncio.sleep(0.05)
        assert not task.done()
        sender.send(b"for the thread")
        await asyncio.to_thread(thread.join, DEADLINE)
        sender.send(b"for the task")
        assert await task == b"for the task"

    asyncio.run(main())
    assert received == [b"for the thread"]


def test_cancelling_a_task_loses_nothing(pair: tuple[Channel, Channel]) -> None:
    """A cancelled recv_async has taken no message."""
    sender, receiver = pair

    async def main() -> None:
        for number in range(20):
            task = asyncio.create_task(receiver.recv_async())
            await asyncio.sleep(0.001 * (number % 3))
            task.cancel()
            sender.send(b"%d" % number)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await receiver.recv_async(DEADLINE) == b"%d" % number

    asyncio.run(main())


def test_a_task_notices_a_killed_sender(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """BrokenPipeError in a sleeping task."""
    with Channel.create(unique_name, CAPACITY, role="recv") as channel:
        peer = start_peer("channel_peer.py", "die", unique_name, 1)
        peer.expect("sent")

        async def main() -> None:
            assert await channel.recv_async(DEADLINE) == b"0"
            asyncio.get_running_loop().call_later(0.05, peer.kill)
            with pytest.raises(BrokenPipeError):
                await channel.recv_async(DEADLINE)

        asyncio.run(main())


def test_the_lock_of_a_dead_sender_is_taken_over_without_waiting(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """By a sender that never waits, and while another one lives."""
    with Channel.create(unique_name, 2048, producers="many", role="recv") as channel:
        with Channel.open(unique_name, role="send") as keep:
            keep.send(b"first")
            peer = start_peer("channel_peer.py", "hold", unique_name, "send")
            peer.expect("ready")
            memory = mmap.mmap(-1, 4096, tagname=unique_name)
            (word,) = struct.unpack_from("<Q", memory, 1024 + 2 * 32)
            assert word & 0xFFFFFFFF == peer.pid
            struct.pack_into("<Q", memory, 512, 2 | word >> 40 << 8)
            with pytest.raises(TimeoutError):
                keep.send(b"it lives", 0)
            peer.kill()
            keep.send(b"second", 0)
            memory.close()
        assert [channel.recv(0), channel.recv(0)] == [b"first", b"second"]


def test_a_killed_owner_of_the_lock_wedges_nobody(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """Senders that are killed at any moment: the others go on."""
    with Channel.create(unique_name, 2048, producers="many", role="recv") as channel:
        keep = Channel.open(unique_name, role="send")
        for _ in range(4):
            peers = [
                start_peer("channel_peer.exe", "source", unique_name, 10**8, 1500)
                for _ in range(2)
            ]
            for peer in peers:
                peer.expect("ready")
            for _ in range(50):
                message = channel.recv(DEADLINE)
                assert len(message) == 1500
                assert len(set(message[4:])) == 1
            for peer in peers:
                peer.kill()
            # the ring is full of what they sent: make room, then send
            while True:
                try:
                    assert len(channel.recv(0)) == 1500
                except TimeoutError:
                    break
            keep.send(b"alive", DEADLINE)
            assert channel.recv(DEADLINE) == b"alive"
        keep.close()
        with pytest.raises(BrokenPipeError):
            channel.recv(DEADLINE)
