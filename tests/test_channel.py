"""Channel: messages between processes, whole, in order, and with an end."""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import random
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winipc import Channel, EndOfStream

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
    with pytest.raises(TimeoutError):
        Channel.wait_for(unique_name, 0.02)


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
    unique_name: str, start_peer: Callable[..., object]
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
    unique_name: str, start_peer: Callable[..., object]
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
    unique_name: str, start_peer: Callable[..., object]
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
    unique_name: str, start_peer: Callable[..., object], producers: str
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


def test_a_killed_receiver_is_noticed(
    unique_name: str, start_peer: Callable[..., object]
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
    unique_name: str, start_peer: Callable[..., object]
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
