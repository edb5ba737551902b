"""Channel: messages, whole, in order, and with an end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
import os
import pickle
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import interrupted
from helpers.channels import CAPACITY, DEADLINE
from hypothesis import given
from hypothesis import strategies as st

from winipc import Channel, EndOfStream


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
    rounds=st.lists(st.lists(st.binary(max_size=120), max_size=12), max_size=12),
    max_record=st.sampled_from([120, 200, 504]),
)
def test_a_channel_behaves_like_a_queue(
    rounds: list[list[bytes]], max_record: int
) -> None:
    """Whatever the sizes and laps: first in, first out."""
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


def test_an_empty_name_is_refused() -> None:
    """Its mapping would have no name, and its events would."""
    with pytest.raises(ValueError, match="empty"):
        Channel.create("", CAPACITY)


def test_the_largest_record_is_as_large_as_the_ring(unique_name: str) -> None:
    """capacity - 8 bytes go in one piece, wherever the ring stands."""
    with Channel.create(unique_name, 256) as channel:
        assert channel.max_record == 248
        for size in (248, 8, 248, 100, 248):
            channel.send(bytes(size), timeout=0)
            with channel.peek() as view:
                assert len(view) == size


@pytest.mark.parametrize("overflow", ["block", "refuse", "drop_oldest"])
def test_a_larger_message_is_refused_with_a_way_out(
    unique_name: str, overflow: Any
) -> None:
    """ValueError from every way to send; what was sent before it is there."""
    with Channel.create(
        unique_name, CAPACITY, max_record=100, overflow=overflow
    ) as channel:
        advice = "at most 100 bytes: .* larger capacity, .* SharedMapping"
        for call in (
            lambda: channel.send(bytes(101)),
            lambda: channel.send_many([b"before", bytes(101), b"after"]),
            lambda: asyncio.run(channel.send_async(bytes(101))),
        ):
            with pytest.raises(ValueError, match=advice):
                call()
        channel.send(bytes(100))
        assert channel.recv_many() == [b"before", bytes(100)]


def test_full_is_a_time_out_and_room_comes_back(pair: tuple[Channel, Channel]) -> None:
    """timeout=0 does not wait; nothing is half sent."""
    sender, receiver = pair
    with pytest.raises(TimeoutError, match="no message came in time"):
        receiver.recv(timeout=0)
    sent = 0
    try:
        while True:
            sender.send(b"%08d" % sent, timeout=0)
            sent += 1
    except TimeoutError as error:
        assert error.winerror == 1460  # noqa: PT017
        assert "there was no room in time" in str(error)  # noqa: PT017
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
    """A receiver that comes first waits."""
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
    """A sender gets BrokenPipeError at once."""
    sender, receiver = pair
    sender.send(b"x")
    assert receiver.recv() == b"x"
    receiver.close()
    with pytest.raises(BrokenPipeError):
        sender.send(b"y")


def test_close_wakes_the_peer_that_waits(pair: tuple[Channel, Channel]) -> None:
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


def test_a_message_that_never_fits_takes_no_role(unique_name: str) -> None:
    """Neither does one that is no bytes: another program may be the sender."""
    with Channel.create(unique_name, CAPACITY, max_record=100) as channel:
        for call in (
            lambda: channel.send(bytes(101)),
            lambda: channel.send(bytearray(101)),
            lambda: channel.send_many([bytes(101), b""]),
            lambda: channel.send_many([bytearray(101)]),
            lambda: channel.send_many(["text"]),  # type: ignore[list-item]
            lambda: asyncio.run(channel.send_async(bytes(101))),
        ):
            with pytest.raises((ValueError, TypeError)):
                call()
            assert channel.senders == []


def test_there_is_one_receiver_and_one_sender(unique_name: str) -> None:
    """The second gets a clear error; after a close the role is free."""
    with Channel.create(unique_name, CAPACITY, role="recv") as first:
        pid = os.getpid()
        with pytest.raises(PermissionError, match=rf"{pid} is the receiver already"):
            Channel.open(unique_name, role="recv")
        assert first.receiver == os.getpid()
        with Channel.open(unique_name, role="send") as sender:
            assert first.senders == [os.getpid()]
            more = r"is the sender already: .*producers='many'"
            with pytest.raises(PermissionError, match=more):
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
        assert caught.value.__notes__ == [
            "hint: exist_ok=True opens the one that exists"
        ]
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
    """No process can ever make it: an error at once."""
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


def test_send_many_keeps_to_its_time_while_there_is_room(unique_name: str) -> None:
    """With room for all, and more messages than the time is good for."""
    messages = [bytes(8)] * 4_000_000
    with Channel.create(unique_name, CAPACITY, overflow="drop_oldest") as channel:
        with pytest.raises(TimeoutError):
            channel.send_many(messages, 0.001)
        channel.send_many(messages[:10_000], 0)  # no wait is no limit


def test_send_many_lets_control_c_and_other_threads_in(unique_name: str) -> None:
    """While there is room: a call of seconds ends long before its last message."""
    messages = [bytes(32_000)] * 1_000_000
    with Channel.create(unique_name, 1 << 20, overflow="drop_oldest") as channel:
        interrupted(lambda: channel.send_many(messages))
        assert channel.dropped < len(messages) - 1000


@pytest.mark.parametrize("spec", ["D:(A;;GRGW;;;WD)", "D:(A;;GA;;;WD)"])
def test_who_may_write_may_wait(unique_name: str, spec: str) -> None:
    """The rights that open the mapping open the events as well."""
    win32security = pytest.importorskip("win32security")
    import win32con
    import win32event

    with Channel.create(unique_name, 256, security=spec):
        for suffix in (".data", ".space", ".lock"):
            event = win32event.OpenEvent(
                win32con.READ_CONTROL, False, unique_name + suffix
            )
            acl = win32security.GetSecurityInfo(
                event,
                win32security.SE_KERNEL_OBJECT,
                win32security.DACL_SECURITY_INFORMATION,
            ).GetSecurityDescriptorDacl()
            (mask,) = (acl.GetAce(i)[1] for i in range(acl.GetAceCount()))
            waits = win32con.SYNCHRONIZE | win32con.GENERIC_EXECUTE
            assert mask & (waits | win32con.GENERIC_ALL)
            assert mask & (2 | win32con.GENERIC_WRITE | win32con.GENERIC_ALL)
            event.Close()


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


def test_channels_travel_to_multiprocessing_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """spawn: the argument of a Process, which imports little."""
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("peers")))
    send_numbers = importlib.import_module("channel_mp").send_numbers
    context = multiprocessing.get_context("spawn")
    with Channel.create(None, CAPACITY) as channel:
        process = context.Process(target=send_numbers, args=(channel, 100))
        process.start()
        assert list(channel) == [b"%d" % number for number in range(100)]
        process.join(DEADLINE)
        assert process.exitcode == 0
