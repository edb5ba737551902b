"""Sender and Receiver over all four transports, and the article's C programs."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Peer
from helpers import BITS
from helpers.linux_file import LinuxFile

import winipc
from winipc import (
    Delivery,
    Receiver,
    Sender,
    SharedMapping,
    SharedSection,
    Transport,
)
from winipc.exchange.transport import Lane

TRANSPORTS = list(Transport)
LIBRARY = str(Path(winipc.__file__).with_name("shared_section.dll"))

StartPeer = Callable[..., Peer]

#: Text that the ANSI programs can hold: the exchange moves bytes, not letters.
TEXTS = {
    "ascii": b"Hello from the article",
    "utf-8": "Grüße, 你好, שלום".encode(),
    "latin-1": "Grüße".encode("latin-1"),
    "empty": b"",
}

PAYLOADS = {
    **TEXTS,
    "one-nul": b"\0",
    "nul-inside": b"before\0after",
    "nul-last": b"text\0",
    "all-bytes": bytes(range(256)),
    "full-4096": random.Random(1).randbytes(4096),
    "full-4095": random.Random(2).randbytes(4095),
}


def carried(via: Transport) -> list[bytes]:
    """The payloads for a transport: a 32-bit process has no room to tell a length."""
    text_only = via is Transport.PROCESS and BITS == 32
    return [data for data in PAYLOADS.values() if not (text_only and b"\0" in data)]


via_each = pytest.mark.parametrize("via", TRANSPORTS, ids=str)


@pytest.fixture
def receiver(unique_name: str) -> Iterator[Receiver]:
    with Receiver(unique_name, mapping=unique_name) as receiver:
        yield receiver


@pytest.fixture
def sender(receiver: Receiver) -> Iterator[Sender]:
    with Sender(receiver.title, mapping=receiver.title) as sender:
        yield sender


# ------------------------------------------------------- Python to Python


@via_each
@pytest.mark.smoke
def test_sender_delivers_every_byte_to_a_second_process(
    start_peer: StartPeer, unique_name: str, via: Transport
) -> None:
    """What the other process printed is what was sent, to the byte."""
    peer = start_peer("exchange_receiver.py", unique_name, unique_name, 4096)
    peer.expect("ready")
    with Sender(unique_name, mapping=unique_name) as sender:
        for data in carried(via):
            assert sender.send(data, via=via) == 1
            peer.expect(f"{via} {data.hex()}")
        if BITS == 32:
            with pytest.raises(ValueError, match="only text without NUL"):
                sender.send(b"before\0after", via="process")
    assert peer.finish() == 0


@via_each
def test_receiver_gets_every_byte_from_a_second_process(
    start_peer: StartPeer, receiver: Receiver, via: Transport
) -> None:
    """The other direction: the test receives, the peer sends."""
    peer = start_peer("exchange_sender.py", receiver.title, receiver.title)
    peer.expect("ready")
    for data in carried(via):
        peer.say(f"{via} {data.hex()}")
        received = receiver.receive(60)
        assert (received.transport, received.data) == (via, data)
        # Only a transport that needs the sender's process tells which it is.
        assert received.pid == (peer.pid if via is Transport.PROCESS else None)
        peer.expect("1")


@pytest.mark.parametrize(
    "via", [Transport.COPYDATA, Transport.MAPPING, Transport.PROCESS], ids=str
)
def test_large_data_arrives_intact(
    start_peer: StartPeer, unique_name: str, via: Transport
) -> None:
    """16 MiB by each transport that is not bound to the section's 4,096 bytes."""
    size = 16 * 1024 * 1024
    # A 32-bit process lends only text without NUL.
    data = random.Random(3).randbytes(size).replace(b"\0", b"\1")
    peer = start_peer("exchange_receiver.py", unique_name, unique_name, size)
    peer.expect("ready")
    with Sender(unique_name, mapping=unique_name, timeout=60) as sender:
        assert sender.send(data, via=via) == 1
    peer.expect(f"{via} {hashlib.sha256(data).hexdigest()}")


@via_each
def test_messages_keep_their_order(
    receiver: Receiver, sender: Sender, via: Transport
) -> None:
    """A hundred messages come out in the order in which they were sent."""
    for number in range(100):
        sender.send(str(number).encode(), via=via)
    assert [receiver.receive(60).data for _ in range(100)] == [
        str(number).encode() for number in range(100)
    ]


@pytest.mark.parametrize("via", [Transport.MAPPING, Transport.SECTION], ids=str)
def test_two_senders_take_turns_on_shared_memory(
    start_peer: StartPeer, receiver: Receiver, via: Transport
) -> None:
    """Two processes write to one memory at once, and no message is mixed up."""
    rounds = 50
    peers = [
        start_peer("exchange_sender.py", receiver.title, receiver.title)
        for _ in range(2)
    ]
    texts = [bytes([65 + index]) * 3000 for index in range(2)]
    for peer in peers:
        peer.expect("ready")
    for _ in range(rounds):
        for peer, text in zip(peers, texts, strict=True):
            peer.say(f"{via} {text.hex()}")
    got = [receiver.receive(60).data for _ in range(rounds * 2)]
    assert [got.count(text) for text in texts] == [rounds, rounds]


@via_each
def test_bytes_that_do_not_lie_together_are_sent_in_order(
    receiver: Receiver, sender: Sender, via: Transport
) -> None:
    """A slice with a step, as an array's column is, and items of several bytes."""
    data = bytes(range(1, 65))
    sender.send(memoryview(data)[::2], via=via)
    assert receiver.receive(60).data == data[::2]
    sender.send(memoryview(data).cast("I")[::-1], via=via)
    assert receiver.receive(60).data == b"".join(
        data[at : at + 4] for at in reversed(range(0, 64, 4))
    )


@via_each
@pytest.mark.parametrize("step", [1, 2])
def test_pages_that_are_lost_are_an_error(
    receiver: Receiver,
    sender: Sender,
    linux_file: LinuxFile,
    via: Transport,
    step: int,
) -> None:
    """Those of a mapped file that the sender gives; and the next message arrives."""
    with SharedMapping.create(None, 4096, file=linux_file.path) as pages:
        pages.write(bytes(4096))
        linux_file.cut(0)
        with memoryview(pages) as view, pytest.raises(OSError, match="touching a page"):
            sender.send(view[:100:step], via=via)
    sender.send(b"next", via=via)
    assert receiver.receive(60).data == b"next"


def test_text_is_told_to_be_encoded(sender: Sender) -> None:
    with pytest.raises(TypeError, match=r"text\.encode\(\)"):
        sender.send("text")  # type: ignore[arg-type]


# ----------------------------------------------------- the article's programs


@via_each
def test_python_sends_to_the_articles_receiver(
    start_peer: StartPeer, unique_name: str, via: Transport
) -> None:
    """A plain C program that knows no lengths gets the text."""
    peer = start_peer("article_receiver.exe", unique_name, unique_name, LIBRARY)
    peer.expect("ready")
    with Sender(unique_name, mapping=unique_name) as sender:
        for data in TEXTS.values():
            assert sender.send(data, via=via) == 1
            peer.expect(f"{via} {data.hex()}")
    assert peer.finish() == 0


@via_each
def test_receiver_takes_text_from_the_articles_sender(
    start_peer: StartPeer, receiver: Receiver, via: Transport
) -> None:
    """A plain C program that sends a length of 0 is understood."""
    peer = start_peer("article_sender.exe", receiver.title, receiver.title, LIBRARY)
    for data in TEXTS.values():
        peer.say_bytes(via.encode() + b" " + data)
        received = receiver.receive(60)
        # WM_COPYDATA carries its length: the article counts the NUL as data.
        expected = data + b"\0" if via is Transport.COPYDATA else data
        assert (received.transport, received.data) == (via, expected)
        peer.expect("1")
    assert peer.finish() == 0


def test_the_articles_programs_understand_each_other(
    start_peer: StartPeer, unique_name: str
) -> None:
    """The C pair works without us: what we are compatible with is real."""
    receiver = start_peer("article_receiver.exe", unique_name, unique_name, LIBRARY)
    receiver.expect("ready")
    sender = start_peer("article_sender.exe", unique_name, unique_name, LIBRARY)
    for via in TRANSPORTS:
        sender.say(f"{via} C to C")
        receiver.expect(f"{via} {b'C to C'.hex()}")
        sender.expect("1")


# ------------------------------------------------- memory that is not shared


def test_another_copy_of_the_dll_is_no_silent_zeros(
    unique_name: str, tmp_path: Path
) -> None:
    """As of two installations: refused in words, until both load one file."""
    copy = tmp_path / "copy.dll"
    copy.write_bytes(Path(LIBRARY).read_bytes())
    with (
        SharedSection.load(copy) as section,
        Receiver(unique_name, mapping=unique_name, section=section) as receiver,
    ):
        with Sender(unique_name) as sender:
            for _ in range(2):
                with pytest.raises(ValueError, match="another section"):
                    sender.send(b"lost", via="section")
        with pytest.raises(TimeoutError):
            receiver.receive(0)
        with Sender(unique_name, section=section) as sender:
            sender.send(b"shared", via="section")
        assert receiver.receive(60).data == b"shared"


def test_another_mapping_is_no_silent_zeros(unique_name: str) -> None:
    """Of another name: refused in words, and "auto" goes another way."""
    other = unique_name + ".other"
    with (
        SharedMapping.create(other, 1 << 18),
        Receiver(unique_name, mapping=unique_name, mapping_size=1 << 18) as receiver,
        Sender(unique_name, mapping=other) as sender,
    ):
        with pytest.raises(ValueError, match="another mapping"):
            sender.send(b"lost", via="mapping")
        sender.send(bytes(1 << 17), via="auto")
        assert receiver.receive(60).transport is Transport.COPYDATA
        with pytest.raises(TimeoutError):
            receiver.receive(0)


def test_what_32_bits_cannot_have_is_not_sent(
    receiver: Receiver, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a section nothing, and of this process' memory nothing from 64 bits."""
    monkeypatch.setitem(sender.__dict__, "_width", 12 - BITS // 8)
    with pytest.raises(ValueError, match="not shared between 32 bits and 64"):
        sender.send(b"lost", via="section")
    if BITS == 64:
        with pytest.raises(ValueError, match="from 64 bits to 32"):
            sender.send(b"lost", via="process")
    sender.send(b"carried", via="mapping")
    assert receiver.receive(60).data == b"carried"


# ------------------------------------------------------------ refusals, faults


def test_no_receiver_is_file_not_found(unique_name: str) -> None:
    with pytest.raises(FileNotFoundError, match="no window with title"):
        Sender(unique_name)


def test_a_sender_waits_for_its_receiver(unique_name: str) -> None:
    """Until a window has the title; the time-out names it."""
    with pytest.raises(TimeoutError, match=unique_name) as caught:
        Sender.wait_for(unique_name, 0.01)
    assert caught.value.winerror == 1460
    made: list[Receiver] = []
    timer = threading.Timer(
        0.1, lambda: made.append(Receiver(unique_name, mapping=unique_name))
    )
    timer.start()
    with Sender.wait_for(unique_name, 30, mapping=unique_name) as sender:
        timer.join()
        with made[0] as receiver:
            sender.send(b"here", "mapping")
            assert receiver.receive(0).data == b"here"


@pytest.mark.parametrize("via", [Transport.MAPPING, Transport.SECTION], ids=str)
def test_data_that_does_not_fit_is_refused_before_the_send(
    receiver: Receiver, sender: Sender, via: Transport
) -> None:
    with pytest.raises(ValueError, match="4097 bytes do not fit"):
        sender.send(bytes(4097), via=via)
    with pytest.raises(TimeoutError):
        receiver.receive(0)


@via_each
def test_a_transport_that_is_switched_off_is_refused(
    unique_name: str, via: Transport
) -> None:
    """The receiver answers 0, the sender says so, and nothing is queued."""
    others = [transport for transport in TRANSPORTS if transport is not via]
    with (
        Receiver(unique_name, mapping=unique_name, transports=others) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"data", via=via)
        with pytest.raises(TimeoutError):
            receiver.receive(0)


@via_each
def test_one_transport_is_enough_for_a_handler(
    unique_name: str, via: Transport
) -> None:
    seen: list[bytes] = []
    with (
        Receiver(
            unique_name,
            mapping=unique_name,
            transports=[via],
            handler=lambda delivery: seen.append(bytes(delivery.data)),
        ),
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        assert sender.send(b"data", via=via) == 1
    assert seen == [b"data"]


@via_each
def test_a_full_queue_is_refused_and_recovers(unique_name: str, via: Transport) -> None:
    with (
        Receiver(unique_name, mapping=unique_name, max_messages=1) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        sender.send(b"first", via=via)
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"second", via=via)
        assert receiver.receive(60).data == b"first"
        sender.send(b"third", via=via)
        assert receiver.receive(60).data == b"third"


@pytest.mark.parametrize(
    "via", [Transport.COPYDATA, Transport.PROCESS, Transport.MAPPING], ids=str
)
def test_a_message_above_the_limit_is_refused(unique_name: str, via: Transport) -> None:
    with (
        Receiver(unique_name, mapping=unique_name, max_message=100) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        sender.send(b"x" * 100, via=via)
        with pytest.raises(OSError):
            sender.send(b"x" * 101, via=via)
        assert receiver.receive(60).data == b"x" * 100


@pytest.mark.parametrize("via", ["mapping", "section", "process"])
def test_text_above_the_limit_is_refused_whole(
    start_peer: StartPeer, unique_name: str, via: str
) -> None:
    """Where a plain C program tells no length, nothing is cut off in silence."""
    with Receiver(unique_name, mapping=unique_name, max_message=5) as receiver:
        peer = start_peer("article_sender.exe", unique_name, unique_name, LIBRARY)
        for data, answer in ((b"12345", "1"), (b"123456", "0")):
            peer.say_bytes(via.encode() + b" " + data)
            peer.expect(answer)
        assert receiver.receive(0).data == b"12345"
        with pytest.raises(TimeoutError):
            receiver.receive(0)


def test_accept_decides_whose_memory_is_read(unique_name: str) -> None:
    asked = []

    def accept(pid: int) -> bool:
        asked.append(pid)
        return False

    with (
        Receiver(unique_name, mapping=unique_name, accept=accept),
        Sender(unique_name, mapping=unique_name) as sender,
        pytest.raises(ConnectionRefusedError),
    ):
        sender.send(b"data", via="process")
    assert asked == [os.getpid()]


# ------------------------------------------------------------ with a handler

Handled = tuple[Receiver, Sender, list[tuple[Transport, bytes, bool]]]


@pytest.fixture
def handled(
    unique_name: str,
) -> Iterator[Handled]:
    """A receiver with a handler, a sender, and what the handler saw."""
    seen: list[tuple[Transport, bytes, bool]] = []

    def handler(delivery: Delivery) -> int | None:
        data = delivery.data
        lent = not isinstance(data.obj, bytes)
        seen.append((delivery.transport, bytes(data), lent))
        with pytest.raises(TypeError):
            data[:1] = b"x"
        if data == b"raise":
            raise OSError("of the handler")
        answers = {b"refuse": 0, b"seven": 7, b"wrong": -1, b"large": 1 << 31}
        return answers.get(bytes(data))

    with (
        Receiver(
            unique_name, mapping=unique_name, mapping_size=1 << 20, handler=handler
        ) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        yield receiver, sender, seen


@via_each
@pytest.mark.smoke
def test_handler_sees_every_byte_in_place(handled: Handled, via: Transport) -> None:
    """Only what another process has to itself is copied."""
    _, sender, seen = handled
    for data in carried(via):
        assert sender.send(data, via=via) == 1
    assert [data for _, data, _ in seen] == carried(via)
    assert {transport for transport, _, _ in seen} == {via}
    lent = [lent for _, data, lent in seen if data]
    assert lent == [via is not Transport.PROCESS] * len(lent)


@via_each
def test_handler_decides_the_answer(handled: Handled, via: Transport) -> None:
    receiver, sender, _ = handled
    assert sender.send(b"seven", via=via) == 7
    with pytest.raises(ConnectionRefusedError):
        sender.send(b"refuse", via=via)
    assert receiver.refused == 1
    with pytest.raises(ValueError, match="handler"):
        receiver.receive(0)
    with pytest.raises(ValueError, match="handler"):
        next(iter(receiver))


@via_each
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("data", [b"raise", b"wrong", b"large"], ids=bytes.decode)
def test_handler_that_fails_refuses(
    handled: Handled, via: Transport, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is reported, and the next message is as good as ever."""
    receiver, sender, _ = handled
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: reported.append(info))
    with pytest.raises(ConnectionRefusedError):
        sender.send(data, via=via)
    assert len(reported) == 1
    assert receiver.refused == 1
    assert sender.send(b"more", via=via) == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_report_of_an_answer_names_the_handler(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer of the wrong type refuses the message, as others do."""

    def greet(delivery: Delivery) -> str:
        return "hello"

    reported: list[sys.UnraisableHookArgs] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    with (
        Receiver(unique_name, handler=greet) as receiver,
        Sender(unique_name) as sender,
        pytest.raises(ConnectionRefusedError),
    ):
        sender.send(b"hello")
    assert receiver.refused == 1
    assert re.search("not 'hello': .*greet", str(reported[0].exc_value))


def test_view_ends_with_the_handler(unique_name: str) -> None:
    """What the handler keeps cannot be looked at later."""
    kept: list[memoryview] = []
    with (
        Receiver(
            unique_name,
            mapping=unique_name,
            handler=lambda delivery: kept.append(delivery.data),
        ),
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        for via in TRANSPORTS:
            assert sender.send(b"data", via=via) == 1
    for view in kept:
        with pytest.raises(ValueError, match="released"):
            bytes(view)


@via_each
def test_handler_may_close_its_receiver(unique_name: str, via: Transport) -> None:
    """Its message is answered, and the memory goes when the handler returns."""
    raised: list[BaseException] = []

    def handler(delivery: Delivery) -> int:
        try:
            receiver.close()
        except BufferError as error:
            raised.append(error)
        return len(delivery.data)

    receiver = Receiver(unique_name, mapping=unique_name, handler=handler)
    with Sender(unique_name, mapping=unique_name) as sender:
        assert sender.send(b"data", via=via) == 4
        with pytest.raises(OSError):
            sender.send(b"more", via=via)
    assert raised == []
    assert receiver.closed
    with pytest.raises(FileNotFoundError):
        SharedMapping.open(unique_name)
    receiver.close()


def test_handler_cannot_change_its_delivery(unique_name: str) -> None:
    """The receiver releases the view that it gave, so the delivery keeps that one."""

    def handler(delivery: Delivery) -> int:
        before = hash(delivery)
        with pytest.raises(AttributeError):
            delivery.data = memoryview(b"")  # type: ignore[misc]
        assert hash(delivery) == before
        return len(delivery.data)

    with (
        Receiver(unique_name, mapping=unique_name, handler=handler),
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        assert sender.send(b"data", via=Transport.MAPPING) == 4


@pytest.mark.parametrize("via", [Transport.MAPPING, Transport.SECTION], ids=str)
def test_memory_that_a_handler_kept_goes_by_a_second_close(
    unique_name: str, via: Transport
) -> None:
    """What it made of the data is neither an error of its own, nor taken from it."""
    # As an array does, it keeps the view itself from being released.
    kept: list[pickle.PickleBuffer] = []
    receiver = Receiver(
        unique_name,
        mapping=unique_name,
        handler=lambda delivery: kept.append(pickle.PickleBuffer(delivery.data)),
    )
    kind = winipc.SharedSection if via is Transport.SECTION else SharedMapping
    with next(owned for owned in receiver._owned if isinstance(owned, kind)) as memory:
        with Sender(unique_name, mapping=unique_name) as sender:
            assert sender.send(b"data", via=via) == 1
        with pytest.raises(BufferError):
            receiver.close()
        assert receiver.closed
        assert bytes(kept[0]) == b"data"
        kept.pop().release()
        receiver.close()
        assert memory.closed


def test_text_of_a_c_program_reaches_the_handler(
    start_peer: StartPeer, unique_name: str
) -> None:
    """A length of 0 says that it ends with a NUL, in shared memory as well."""
    seen: list[bytes] = []
    with Receiver(
        unique_name,
        mapping=unique_name,
        handler=lambda delivery: seen.append(bytes(delivery.data)),
    ):
        peer = start_peer("article_sender.exe", unique_name, unique_name, LIBRARY)
        for via in (Transport.MAPPING, Transport.SECTION, Transport.PROCESS):
            for data in TEXTS.values():
                peer.say_bytes(via.encode() + b" " + data)
                peer.expect("1")
                assert seen.pop() == data
        assert peer.finish() == 0


def test_mapping_of_another_program_is_copied_for_the_handler(unique_name: str) -> None:
    """It may have a file behind it, whose pages may fail to come in."""
    seen: list[object] = []
    with (
        SharedMapping.create(unique_name, 4096),
        Receiver(
            unique_name,
            mapping=unique_name,
            handler=lambda delivery: seen.append(type(delivery.data.obj)),
        ),
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        sender.send(b"data", via="mapping")
    assert seen == [bytes]


HOSTILE = {
    "mapping-too-long": ("Mapped", 4097, 0),
    "mapping-huge": ("Mapped", 1 << BITS - 1, 0),
    "section-too-long": ("Shared", 4097, 0),
    "process-bad-address": ("Handle", os.getpid() | 16 << 32, 1),
    "process-huge-length": ("Handle", os.getpid() | 0xFFFF_FFFF << 32, 1),
    "process-no-such-pid": ("Handle", 0xFFFF_FFF0 | 16 << 32, 0x10000),
    "process-text-bad-address": ("Handle", os.getpid(), 1),
    "process-negative-address": ("Handle", os.getpid() | 16 << 32, -1),
}


@pytest.mark.parametrize(
    ("name", "wparam", "lparam"), HOSTILE.values(), ids=HOSTILE.keys()
)
def test_hostile_notifications_are_refused(
    receiver: Receiver, sender: Sender, name: str, wparam: int, lparam: int
) -> None:
    """Lengths, pids and addresses of a stranger's choice: 0, and life goes on."""
    message = winipc.register_message(name)
    wparam %= 1 << BITS
    assert (
        winipc.send_message(receiver.window.hwnd, message, wparam, lparam, timeout=60)
        == 0
    )
    assert receiver.refused == 1
    sender.send(b"still here", via="mapping")
    assert receiver.receive(60).data == b"still here"


def test_killed_receiver_is_an_error_not_a_hang(
    start_peer: StartPeer, unique_name: str
) -> None:
    peer = start_peer("exchange_receiver.py", unique_name, unique_name, 4096)
    peer.expect("ready")
    with Sender(unique_name, mapping=unique_name) as sender:
        sender.send(b"before", via="mapping")
        peer.kill()
        for via in TRANSPORTS:
            with pytest.raises(OSError):
                sender.send(b"after", via=via)


@via_each
def test_killed_sender_leaves_the_receiver_working(
    start_peer: StartPeer, receiver: Receiver, via: Transport
) -> None:
    """A sender dies after a message, maybe with the lock; the receiver goes on."""
    peer = start_peer("exchange_sender.py", receiver.title, receiver.title)
    peer.expect("ready")
    peer.say(f"{via} {b'last words'.hex()}")
    peer.expect("1")
    peer.kill()
    assert receiver.receive(60).data == b"last words"
    with Sender(receiver.title, mapping=receiver.title) as sender:
        sender.send(b"next", via=via)
    assert receiver.receive(60).data == b"next"


class SlowReceiver:
    """A receiver that takes its time over the first "Mapped" message."""

    def __init__(self, name: str) -> None:
        self.seen: list[bytes] = []
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.mapping = winipc.SharedMapping.create(name, 4096)
        # As a Receiver does, so that the death of a sender in its turn is told.
        self.lane = Lane(name)
        self.window = winipc.CopyDataWindow.create(
            name, handler=self.handle, messages=["Mapped"]
        )

    def handle(self, message: winipc.Message) -> int:
        self.entered.set()
        assert self.go_on.wait(60)
        self.seen.append(self.mapping.read(message.wparam))
        return 1

    def close(self) -> None:
        self.go_on.set()
        self.window.close()
        self.lane.close()
        self.mapping.close()


@pytest.fixture
def slow_receiver(unique_name: str) -> Iterator[SlowReceiver]:
    receiver = SlowReceiver(unique_name)
    yield receiver
    receiver.close()


def first_times_out(receiver: SlowReceiver, start_peer: StartPeer, name: str) -> None:
    with Sender(name, mapping=name, timeout=0.3) as sender:
        with pytest.raises(TimeoutError):
            sender.send(b"first", via="mapping")
        second_has_to_wait(receiver, name)


def first_is_killed(receiver: SlowReceiver, start_peer: StartPeer, name: str) -> None:
    peer = start_peer("exchange_sender.py", name, name)
    peer.expect("ready")
    peer.say(f"mapping {b'first'.hex()}")
    assert receiver.entered.wait(60)
    peer.kill()
    second_has_to_wait(receiver, name)


def second_has_to_wait(receiver: SlowReceiver, name: str) -> None:
    def send() -> None:
        with Sender(name, mapping=name, timeout=60) as sender:
            sender.send(b"second", via="mapping")

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(0.5)  # long enough to do harm
    assert receiver.mapping.read(5) == b"first"
    receiver.go_on.set()
    thread.join(60)
    assert not thread.is_alive()


@pytest.mark.parametrize("fate", [first_times_out, first_is_killed])
def test_what_a_receiver_still_reads_is_not_overwritten(
    slow_receiver: SlowReceiver,
    start_peer: StartPeer,
    unique_name: str,
    fate: Callable[[SlowReceiver, StartPeer, str], None],
) -> None:
    """A sender gave up or died; the next one waits until its message is done."""
    fate(slow_receiver, start_peer, unique_name)
    assert slow_receiver.seen == [b"first", b"second"]


# ----------------------------------------------------------------------- life


def test_closed_receiver_gives_what_it_took_and_then_ends(unique_name: str) -> None:
    with Receiver(unique_name, mapping=unique_name) as receiver:
        with Sender(unique_name, mapping=unique_name) as sender:
            sender.send(b"taken")
        receiver.close()
        receiver.close()
        assert receiver.receive(0).data == b"taken"
        for _ in range(2):
            with pytest.raises(ValueError, match="closed"):
                receiver.receive(0)
    assert list(receiver) == []


def test_close_ends_a_receive_that_waits(unique_name: str) -> None:
    receiver = Receiver(unique_name, mapping=unique_name)
    outcome: list[object] = []

    def wait() -> None:
        try:
            outcome.append(receiver.receive(60))
        except ValueError as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    receiver.close()
    thread.join(60)
    assert len(outcome) == 1
    assert isinstance(outcome[0], ValueError)


def test_receiver_can_be_made_again_at_once(unique_name: str) -> None:
    for _ in range(3):
        with (
            Receiver(unique_name, mapping=unique_name) as receiver,
            Sender(unique_name, mapping=unique_name) as sender,
        ):
            sender.send(b"again", via="mapping")
            assert receiver.receive(60).data == b"again"


def test_auto_takes_the_mapping_for_what_is_large_and_fits(unique_name: str) -> None:
    """WM_COPYDATA carries the rest, also where there is no mapping at all."""
    with Receiver(
        unique_name, mapping=unique_name + ".map", mapping_size=1 << 20
    ) as receiver:
        with Sender(unique_name, mapping=unique_name + ".map") as sender:
            for size, transport in (
                (64, Transport.COPYDATA),
                (1 << 12, Transport.COPYDATA),
                ((1 << 12) + 1, Transport.MAPPING),
                (1 << 20, Transport.MAPPING),
                ((1 << 20) + 1, Transport.COPYDATA),
            ):
                data = os.urandom(size)
                sender.send(data, via="auto")
                received = receiver.receive(timeout=10)
                assert received.data == data
                assert received.transport is transport
        with Sender(unique_name, mapping=unique_name + ".none") as sender:
            sender.send(bytes(1 << 17), via="auto")
            assert receiver.receive(timeout=10).transport is Transport.COPYDATA


def test_auto_leaves_out_a_mapping_without_turns(unique_name: str) -> None:
    """Another kind of object has the name of the lock."""
    with (
        contextlib.closing(winipc.Event.create(f"{unique_name}.winipc-exchange")),
        winipc.SharedMapping.create(unique_name, 1 << 20),
        Receiver(unique_name, transports=["copydata"]) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        sender.send(bytes(1 << 17), via="auto")
        assert receiver.receive(timeout=10).transport is Transport.COPYDATA
        with pytest.raises(OSError, match="winipc-exchange"):
            sender.send(b"data", via="mapping")
