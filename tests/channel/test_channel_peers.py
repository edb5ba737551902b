"""Channel between processes, in Python and C, which may die."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from conftest import FULL
from helpers.channels import CAPACITY, DEADLINE

from winipc import Channel, EndOfStream, RemoteProcess, named_objects

BROKEN = 5  # what include/winipc.h calls it


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
        for size in (0, 1, 64, 4000, (1 << 16) - 8, *range(200)):
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
    senders, count = 4, 2000 if FULL else 800
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
        died = rf"the sender \(pid {peer.pid}\) died"
        with pytest.raises(BrokenPipeError, match=died) as caught:
            channel.recv(DEADLINE)
        assert caught.value.winerror == 109
        with Channel.open(unique_name, role="send") as sender:
            sender.send(b"new")
            assert channel.recv(0) == b"new"


@pytest.mark.parametrize("producers", ["one", "many"])
def test_a_receiver_waits_for_the_next_sender(
    unique_name: str, start_peer: Callable[..., Any], producers: str
) -> None:
    """After a death; it is there, or has come, sent and left meanwhile."""
    with Channel.create(unique_name, CAPACITY, producers=producers) as channel:
        with pytest.raises(TimeoutError, match="no sender came") as caught:
            channel.wait_for_sender(0)
        assert (caught.value.filename, caught.value.winerror) == (unique_name, 1460)
        peer = start_peer("channel_peer.py", "die", unique_name, 1)
        channel.wait_for_sender(DEADLINE)
        peer.expect("sent")
        peer.kill()
        assert channel.recv(DEADLINE) == b"0"
        with pytest.raises(BrokenPipeError):
            channel.recv(DEADLINE)
        with pytest.raises(TimeoutError):
            channel.wait_for_sender(0.1)
        with Channel.open(unique_name) as sender:
            sender.send(b"new")
        channel.wait_for_sender(0)
        assert list(channel) == [b"new"]
        with Channel.open(unique_name, role="send"):
            channel.wait_for_sender(0)
    with pytest.raises(ValueError, match="closed"):
        channel.wait_for_sender(0)


@pytest.mark.parametrize("producers", ["one", "many"])
def test_a_sender_waits_for_the_next_receiver(
    unique_name: str, start_peer: Callable[..., Any], producers: str
) -> None:
    """After a death; the next one takes what the dead one has left."""
    with Channel.create(unique_name, CAPACITY, producers=producers) as channel:
        with pytest.raises(TimeoutError, match="no receiver came") as caught:
            channel.wait_for_receiver(0)
        assert (caught.value.filename, caught.value.winerror) == (unique_name, 1460)
        peer = start_peer("channel_peer.py", "hold", unique_name, "recv")
        channel.wait_for_receiver(DEADLINE)
        peer.expect("ready")
        channel.send(b"left")
        peer.kill()
        with pytest.raises(BrokenPipeError):
            channel.send_many(itertools.repeat(b"left", CAPACITY), DEADLINE)
        with pytest.raises(TimeoutError):
            channel.wait_for_receiver(0.1)
        with Channel.open(unique_name, role="recv") as receiver:
            channel.wait_for_receiver(0)
            assert set(receiver.recv_many(CAPACITY, 0)) == {b"left"}
            channel.send(b"new", 0)
            assert receiver.recv(0) == b"new"
    with pytest.raises(ValueError, match="closed"):
        channel.wait_for_receiver(0)


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
                time.sleep(0.001)

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
        died = rf"the receiver \(pid {peer.pid}\) died"
        with pytest.raises(BrokenPipeError, match=died):
            channel.send(bytes(248), DEADLINE)
        with Channel.open(unique_name, role="recv") as again:
            assert again.recv(0) == bytes(248)


@pytest.mark.parametrize("producers", ["one", "many"])
def test_a_sender_that_may_not_be_opened_is_noticed(
    unique_name: str, start_peer: Callable[..., Any], producers: Any
) -> None:
    """A sender whose process denies all access, as a service's may, is killed."""
    with Channel.create(unique_name, CAPACITY, producers=producers) as channel:
        peer = start_peer("channel_peer.py", "hold_shut", unique_name, "send")
        peer.expect("ready")
        with pytest.raises(PermissionError):
            RemoteProcess.open(peer.pid)
        with pytest.raises(TimeoutError):
            channel.recv(0.3)  # it lives, though longer than a slice
        peer.kill()
        with pytest.raises(BrokenPipeError):
            channel.recv(DEADLINE)


def test_a_receiver_that_may_not_be_opened_is_noticed(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """A sender that waits for room is told; the role is free again."""
    with Channel.create(unique_name, 256) as channel:
        peer = start_peer("channel_peer.py", "hold_shut", unique_name, "recv")
        peer.expect("ready")
        channel.send(bytes(248))
        with pytest.raises(PermissionError, match=f"{peer.pid} is the receiver"):
            Channel.open(unique_name, role="recv")
        with pytest.raises(TimeoutError):
            channel.send(bytes(248), 0.3)
        peer.kill()
        with pytest.raises(BrokenPipeError):
            channel.send(bytes(248), DEADLINE)
        with Channel.open(unique_name, role="recv") as again:
            assert again.recv(0) == bytes(248)


@pytest.mark.parametrize("role", ["send", "recv"])
def test_c_notices_a_peer_that_may_not_be_opened(
    unique_name: str, start_peer: Callable[..., Any], role: str
) -> None:
    """A C program that can open no process at all is told of the death."""
    with Channel.create(unique_name, CAPACITY):
        peer = start_peer("channel_peer.py", "hold", unique_name, role)
        peer.expect("ready")
        mine = "recv" if role == "send" else "send"
        survivor = start_peer("denied_peer.exe", mine, unique_name, 30_000)
        survivor.expect("ready")
        peer.kill()
        survivor.expect(f"result {BROKEN}")


def members(name: str) -> list[str]:
    """The names of the events that show which members live."""
    found = (named.name.removeprefix("Local\\") for named in named_objects())
    return [other for other in found if other.startswith(f"{name}.member.")]


def test_a_member_is_an_event_of_its_own(unique_name: str) -> None:
    """Named as docs/channel.md says; it goes when the role is given back."""
    with Channel.create(unique_name, CAPACITY, role="recv") as channel:
        with mmap.mmap(-1, 4096, tagname=unique_name) as memory:
            word, pid = struct.unpack_from("<QQ", memory, 1024)
        assert pid == os.getpid() == channel.receiver
        assert word >> 32 == 0x102  # taken once, active
        name = f"{unique_name}.member.000001{0:02x}{word & 0xFFFFFFFF:08x}"
        assert members(unique_name) == [name]
    assert members(unique_name) == []


def test_the_names_of_members_are_not_used_again(unique_name: str) -> None:
    """Each member has a new one, whoever had the slot before."""
    names = set()
    with Channel.create(unique_name, CAPACITY) as channel:
        for _ in range(10):
            with Channel.open(unique_name, role="send"):
                names.update(members(unique_name))
        assert channel.senders == []
    assert len(names) == 10


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


def test_the_lock_of_a_dead_sender_is_taken_over_without_waiting(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """By a sender that never waits, and while another one lives."""
    with Channel.create(unique_name, 2048, producers="many", role="recv") as channel:
        with Channel.open(unique_name, role="send") as keep:
            keep.send(b"first")
            peer = start_peer("channel_peer.py", "hold_shut", unique_name, "send")
            peer.expect("ready")
            memory = mmap.mmap(-1, 4096, tagname=unique_name)
            word, pid = struct.unpack_from("<QQ", memory, 1024 + 2 * 32)
            assert pid == peer.pid
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
        while received < (100_000 if FULL else 10_000):
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
    """An echo in C that knows only include/winipc.h: sizes, and the end."""
    with (
        Channel.create(unique_name + ".there", 4096, max_record=1000) as there,
        Channel.create(unique_name + ".back", 4096) as back,
    ):
        peer = start_peer("channel_peer.exe", "echo", unique_name)
        peer.expect("ready")
        for size in (0, 1, 7, 8, 64, 999, 1000):
            message = os.urandom(size)
            there.send(message, DEADLINE)
            assert back.recv(DEADLINE) == message
        there.close()
        with pytest.raises(EndOfStream):
            back.recv(DEADLINE)
        assert peer.finish() == 0


def test_a_c_program_is_told_that_a_message_is_too_large(
    unique_name: str, start_peer: Callable[..., Any]
) -> None:
    """An error code, before anything is sent."""
    with Channel.create(unique_name, 4096) as channel:
        peer = start_peer("channel_peer.exe", "source", unique_name, 1, 4089)
        peer.expect("ready")
        peer.expect("too large, at most 4088")
        with pytest.raises(TimeoutError):
            channel.recv(0)


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
