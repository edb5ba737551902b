"""What a Receiver promises its owner: its title, its bounds, what it makes, its end."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import pytest
from conftest import DEADLINE, Peer
from helpers import BITS

import winipc
from winipc import Delivery, Receiver, Sender, Transport
from winipc.exchange.transport import BARRIER, BUSY, SECTION_LOCK

StartPeer = Callable[..., Peer]


# ------------------------------------------------------------------ its title


def test_a_second_receiver_of_a_title_is_refused(unique_name: str) -> None:
    """Senders would find either; the first one goes on undisturbed."""
    with Receiver(unique_name, mapping=unique_name) as first:
        with pytest.raises(FileExistsError, match="window with this title") as caught:
            Receiver(unique_name.upper(), mapping=unique_name)
        assert caught.value.winerror == 183
        assert "exist_ok=True makes another one" in caught.value.__notes__[0]
        with Sender(unique_name, mapping=unique_name) as sender:
            sender.send(b"data", via="mapping")
        assert first.receive(DEADLINE).data == b"data"


def test_a_title_of_another_process_is_taken(
    start_peer: StartPeer, unique_name: str
) -> None:
    peer = start_peer("exchange_receiver.py", unique_name, unique_name, 4096)
    peer.expect("ready")
    with pytest.raises(FileExistsError, match="window with this title"):
        Receiver(unique_name, mapping=unique_name)
    peer.kill()
    Receiver(unique_name, mapping=unique_name).close()


def test_a_second_receiver_can_be_asked_for(unique_name: str) -> None:
    with (
        Receiver(unique_name, mapping=unique_name),
        Receiver(unique_name, mapping=unique_name, exist_ok=True) as newest,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        sender.send(b"data")
        assert newest.receive(DEADLINE).data == b"data"


# ----------------------------------------------------------------- its bounds


@pytest.mark.parametrize("via", list(Transport), ids=str)
def test_bytes_that_wait_are_bounded(unique_name: str, via: Transport) -> None:
    """The sender is told; what was taken makes room."""
    with (
        Receiver(unique_name, mapping=unique_name, max_message=100, max_bytes=250) as r,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        for _ in range(2):
            sender.send(b"x" * 100, via=via)
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"x" * 51, via=via)
        sender.send(b"x" * 50, via=via)
        assert r.receive(DEADLINE).data == b"x" * 100
        sender.send(b"x" * 100, via=via)
        assert [len(r.receive(DEADLINE).data) for _ in range(3)] == [100, 50, 100]
        sender.send(b"x" * 100, via=via)
        assert r.receive(DEADLINE).data == b"x" * 100


def test_a_largest_message_always_has_room(unique_name: str) -> None:
    """A smaller max_bytes would refuse for good what max_message allows."""
    with (
        Receiver(unique_name, mapping=unique_name, max_message=100, max_bytes=1) as r,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        sender.send(bytes(100))
        assert r.receive(DEADLINE).data == bytes(100)


@pytest.mark.parametrize("via", list(Transport), ids=str)
def test_messages_that_wait_are_counted(unique_name: str, via: Transport) -> None:
    """Whatever brought them, they wait in one queue, and a full one is told."""
    with (
        Receiver(unique_name, mapping=unique_name, max_messages=2) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        sender.send(b"first", via=via)
        sender.send(b"second")
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"third", via=via)
        assert receiver.refused == 1
        assert [receiver.receive(DEADLINE).data for _ in "ab"] == [b"first", b"second"]
        sender.send(b"fourth", via=via)
        assert receiver.receive(DEADLINE).data == b"fourth"


def test_messages_come_in_the_order_of_their_sends(unique_name: str) -> None:
    order = [*Transport, *reversed(Transport), *Transport]
    with (
        Receiver(unique_name, mapping=unique_name) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        for number, via in enumerate(order):
            sender.send(b"%d" % number, via=via)
        receiver.close()
        came = [(received.data, received.transport) for received in receiver]
    assert came == [(b"%d" % number, via) for number, via in enumerate(order)]


def test_a_message_may_come_before_the_receiver_is_made(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its window is there a moment earlier."""
    create, answers = winipc.CopyDataWindow.create, []

    def announce() -> None:
        answers.append(winipc.send_message(unique_name, "Mapped", 4, timeout=DEADLINE))

    sending = threading.Thread(target=announce)

    def slowly(*args: object, **how: object) -> winipc.CopyDataWindow:
        window = create(*args, **how)  # type: ignore[arg-type]
        sending.start()
        sending.join(0.2)  # it waits, unless it has failed
        return window

    monkeypatch.setattr(winipc.CopyDataWindow, "create", slowly)
    with Receiver(unique_name, mapping=unique_name) as receiver:
        sending.join(DEADLINE)
        assert answers == [1]
        assert receiver.receive(DEADLINE).data == bytes(4)


# ---------------------------------------------------------------- what it makes


def test_copydata_alone_makes_no_mapping_and_loads_no_dll(unique_name: str) -> None:
    """So it neither fails for a name that is taken, nor needs the DLL."""
    with (
        winipc.Event.create(unique_name),  # the mapping's name is of another kind
        Receiver(unique_name, mapping=unique_name, transports=["copydata"]) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        names = {row.name.partition("\\")[2] for row in winipc.named_objects()}
        locks = {f"{name}.winipc-exchange" for name in (unique_name, SECTION_LOCK)}
        assert not names & locks
        sender.send(bytes(1 << 17), via="auto")
        assert receiver.receive(DEADLINE).transport is Transport.COPYDATA
        with pytest.raises(ConnectionRefusedError):
            sender.send(b"data", via="section")


def test_a_receiver_that_cannot_be_made_leaves_nothing(unique_name: str) -> None:
    """Another kind of object has the name of the lock."""
    with contextlib.closing(winipc.Event.create(f"{unique_name}.winipc-exchange")):
        with pytest.raises(OSError, match="winipc-exchange") as caught:
            Receiver(unique_name, mapping=unique_name)
        assert caught.value.winerror == 6
        with pytest.raises(FileNotFoundError):
            winipc.SharedMapping.open(unique_name)


# ------------------------------------------------- handlers that send themselves


class NestingReceiver:
    """A receiver whose handler sends on, and so lets the next message in."""

    def __init__(self, name: str) -> None:
        self.seen: list[tuple[bytes, bytes]] = []
        self.asked, self.go_on = threading.Event(), threading.Event()
        self.other = winipc.CopyDataWindow.create(f"{name}-other", handler=self.answer)
        self.receiver = Receiver(name, mapping=name, handler=self.handle)

    def answer(self, _message: winipc.Message) -> int:
        self.asked.set()
        assert self.go_on.wait(DEADLINE)
        return 1

    def handle(self, delivery: Delivery) -> int:
        before = bytes(delivery.data)
        winipc.send_copydata(self.other, b"ask", timeout=DEADLINE)
        self.seen.append((before, bytes(delivery.data)))
        return 1

    def close(self) -> None:
        self.go_on.set()
        self.receiver.close()
        self.other.close()


@pytest.fixture
def nesting(unique_name: str) -> Iterator[NestingReceiver]:
    receiver = NestingReceiver(unique_name)
    yield receiver
    receiver.close()


@pytest.mark.parametrize("via", [Transport.MAPPING, Transport.SECTION], ids=str)
def test_a_handler_that_sends_keeps_its_data(
    nesting: NestingReceiver, unique_name: str, via: Transport
) -> None:
    """Its sender gave up; the next one may not write before the handler returns."""
    with (
        Sender(unique_name, mapping=unique_name, timeout=0.3) as first,
        Sender(unique_name, mapping=unique_name, timeout=0.3) as second,
    ):
        with pytest.raises(TimeoutError):
            first.send(b"AAAAAAAA", via=via)
        assert nesting.asked.wait(DEADLINE)
        with pytest.raises(TimeoutError, match="an earlier delivery"):
            second.send(b"BBBBBBBB", via=via)
        nesting.go_on.set()
        second.timeout = DEADLINE
        assert second.send(b"CCCCCCCC", via=via) == 1
    assert nesting.seen == [(text * 8, text * 8) for text in (b"A", b"C")]


def test_the_barrier_is_answered_when_no_delivery_is_at_work(
    nesting: NestingReceiver, unique_name: str
) -> None:
    """A C program may ask as well; what does not know the message answers 0."""

    def ask(title: str) -> int:
        return winipc.send_message(title, BARRIER, timeout=DEADLINE)

    assert ask(unique_name) == 1
    with Sender(unique_name, mapping=unique_name, timeout=0.3) as sender:
        with pytest.raises(TimeoutError):
            sender.send(b"data")
        assert nesting.asked.wait(DEADLINE)
        assert ask(unique_name) == BUSY
        nesting.go_on.set()
        sender.timeout = DEADLINE
        sender.send(b"data")
    # The second delivery may have come within the first, which then returns later.
    while (answer := ask(unique_name)) == BUSY:
        pass
    assert answer == 1
    with winipc.CopyDataWindow.create(f"{unique_name}-queue"):
        assert ask(f"{unique_name}-queue") == 0


# ------------------------------------------------------- whose memory it reads


def test_accept_is_asked_about_the_process_that_is_read(
    start_peer: StartPeer, unique_name: str
) -> None:
    """Not about the sender: any program may name an address in another process."""
    other = start_peer("exchange_block.py")
    address = int(other.read_line())
    assert other.pid != os.getpid()
    with Receiver(
        unique_name, mapping=unique_name, accept=lambda pid: pid == other.pid
    ) as receiver:
        length = 5 if BITS == 64 else 0  # up to the NUL
        answer = winipc.send_message(
            unique_name, "Handle", other.pid | length << 32, address, timeout=DEADLINE
        )
        assert answer == 1
        received = receiver.receive(DEADLINE)
        assert (received.pid, received.data) == (other.pid, b"block")


# --------------------------------------------------------------------- its end


def test_close_waits_no_longer_than_asked_for_a_handler(unique_name: str) -> None:
    """A later close, or the handler's return, lets go of the rest."""
    entered, go_on = threading.Event(), threading.Event()

    def handler(_delivery: Delivery) -> int:
        entered.set()
        assert go_on.wait(DEADLINE)
        return 1

    receiver = Receiver(unique_name, mapping=unique_name, handler=handler)

    def send() -> None:
        with Sender(unique_name, mapping=unique_name, timeout=DEADLINE) as sender:
            sender.send(b"data", via="copydata")

    thread = threading.Thread(target=send)
    thread.start()
    assert entered.wait(DEADLINE)
    with pytest.raises(TimeoutError):
        receiver.close(0.05)
    assert receiver.closed
    go_on.set()
    thread.join(DEADLINE)
    assert not thread.is_alive()
    receiver.close(DEADLINE)
    with pytest.raises(FileNotFoundError):
        winipc.SharedMapping.open(unique_name)


@pytest.mark.parametrize("timeout", [float("nan"), -1, -0.001])
def test_times_that_are_none_are_refused(unique_name: str, timeout: float) -> None:
    """NaN would never be over."""
    with Receiver(unique_name, mapping=unique_name) as receiver:
        with pytest.raises(ValueError, match="timeout"):
            receiver.receive(timeout)
        with pytest.raises(ValueError, match="timeout"):
            receiver.close(timeout)
        for via in Transport:
            with (
                Sender(unique_name, mapping=unique_name, timeout=timeout) as sender,
                pytest.raises(ValueError, match="timeout"),
            ):
                sender.send(b"data", via=via)
        with pytest.raises(TimeoutError):
            receiver.receive(0)


def test_several_receives_that_wait_all_end_with_the_receiver(unique_name: str) -> None:
    receiver = Receiver(unique_name, mapping=unique_name)
    ends: list[list[object]] = []
    threads = [
        threading.Thread(target=lambda: ends.append(list(receiver))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    receiver.close()
    for thread in threads:
        thread.join(DEADLINE)
    assert ends == [[], [], []]
