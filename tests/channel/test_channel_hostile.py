"""Channel: whatever a peer writes into shared memory is an error, never a crash."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.channels import CAPACITY

from winipc import Channel, Event, Mutex, SharedMapping


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
        *(2, 4096, 256, 248, 0, 64),
        4096 + 256 + 256,
    )
    channel.send(b"hello")
    assert struct.unpack_from("<Q", memory, 128) == (16,)
    assert memory[4096:4112] == struct.pack("<IHH", 5, 3, 0x5749) + b"hello\0\0\0"
    assert channel.recv() == b"hello"
    assert struct.unpack_from("<Q", memory, 256) == (16,)
    word, pid = struct.unpack_from("<QQ", memory, 1024)
    assert word >> 32 & 0xFF == 2
    assert word >> 40 == 1
    assert pid == os.getpid()
    memory[4099:4102] = b"abc"  # the record is free again


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
    """Addresses that are only reserved are not read."""
    with SharedMapping.create(unique_name, 1 << 20, reserve=True):
        with pytest.raises(OSError, match="channel") as caught:
            Channel.open(unique_name)
        assert caught.value.winerror == 13
        with pytest.raises(OSError, match="channel") as caught:
            Channel.create(unique_name, CAPACITY, exist_ok=True)
        assert caught.value.winerror == 13


def test_a_mapping_of_a_file_is_refused(unique_name: str, tmp_path: Path) -> None:
    """A page of it that does not come in would end the process."""
    with Channel.create(unique_name, 256), SharedMapping.open(unique_name) as memory:
        whole = memory.read()
    with (
        SharedMapping.create(unique_name, len(whole), file=tmp_path / "ring") as m,
        Event.create(f"{unique_name}.data"),
        Event.create(f"{unique_name}.space"),
        Event.create(f"{unique_name}.lock"),
    ):
        m.write(whole)
        with pytest.raises(OSError, match="a file is behind it") as caught:
            Channel.open(unique_name)
        assert caught.value.winerror == 13


def test_a_zeroed_mapping_is_no_channel(unique_name: str) -> None:
    """Its creator had a second to finish it: winerror 13, and no time-out."""
    with mmap.mmap(-1, 8192, tagname=unique_name):
        with pytest.raises(OSError, match="not a channel, or its creator") as caught:
            Channel.open(unique_name)
        assert caught.value.winerror == 13
        assert not isinstance(caught.value, TimeoutError)


@pytest.mark.parametrize("suffix", [".data", ".space", ".lock"])
def test_an_event_that_is_there_already_is_refused(
    unique_name: str, suffix: str
) -> None:
    """A process could have made it that plays with it, or keeps others out."""
    with Event.create(unique_name + suffix):
        with pytest.raises(FileExistsError) as caught:
            Channel.create(unique_name, CAPACITY)
        assert caught.value.winerror == 183
        assert caught.value.filename == unique_name + suffix
        assert caught.value.filename2 == "CreateEventW"
    Channel.create(unique_name, CAPACITY).close()


def test_errors_name_the_call_and_the_object(unique_name: str) -> None:
    """Of each step of create and open."""
    with contextlib.closing(Mutex.create(unique_name + ".space")):
        with pytest.raises(OSError, match="CreateEventW") as caught:
            Channel.create(unique_name, CAPACITY)
        assert caught.value.filename == unique_name + ".space"
    with pytest.raises(FileNotFoundError, match="OpenFileMappingW") as missing:
        Channel.open(unique_name)
    assert missing.value.filename == unique_name
    with (
        Channel.create(unique_name, 256),
        mmap.mmap(-1, 4608, tagname=unique_name) as memory,
    ):
        header = memory[:64]
    with mmap.mmap(-1, 4608, tagname=unique_name) as memory:
        memory[:64] = header
        with pytest.raises(FileNotFoundError, match="OpenEventW") as missing:
            Channel.open(unique_name)
        assert missing.value.filename == unique_name + ".data"


def test_garbage_that_closes_the_channel_is_harmless() -> None:
    """An allocation may collect garbage, whose finaliser closes it, in any call."""
    script = """
import gc
from winipc import Channel
class Bomb:
    def __init__(self, channel):
        self.channel, self.me = channel, self
    def __del__(self):
        try:
            self.channel.close()
        except BufferError:
            pass
calls = [
    lambda c: c.senders, lambda c: c.receiver, lambda c: c.pending,
    lambda c: c.capacity, lambda c: c.dropped, repr, lambda c: c.send(b"x", 0),
    lambda c: c.send_many([b"x", bytearray(2)], 0), lambda c: c.recv(0),
    lambda c: c.recv_many(None, 0), lambda c: c.recv_into(bytearray(9), 0),
]
for call in calls:
    for role in (None, "send", "recv"):
        channel = Channel.create(None, 256, role=role)
        if role != "recv":
            channel.send(b"x")
        gc.disable()
        gc.collect()
        Bomb(channel)
        gc.set_threshold(1)
        gc.enable()
        try:
            call(channel)
        except (OSError, EOFError, ValueError):
            pass
        gc.disable()
        gc.collect()
        channel.close()
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
