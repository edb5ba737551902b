"""Senders that ask a receiver in the lane, and send no message."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Peer
from helpers.deadlines import DEADLINE, SLOWNESS

import winipc
from winipc import Delivery, Receiver, Sender, Transport
from winipc.exchange import sender as sender_module
from winipc.exchange import transport
from winipc.exchange.transport import NOT_TAKEN, Lane

StartPeer = Callable[..., Peer]

#: So long a look lasts here, that it does not depend on who gets a processor.
LONG = 60_000_000

#: So long a sender looks where no answer comes.
SHORT = 1000


@pytest.fixture(autouse=True)
def long_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LOOK_US", LONG)
    monkeypatch.setattr(sender_module, "_OFTEN", 1)


@pytest.fixture
def until_taken(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on senders ask until it is taken, and look no longer for an answer.

    What was not taken is withdrawn, so they may ask again.
    """
    ask = Lane.ask

    def ask_until_taken(lane: Lane, hwnd: int, length: int) -> int:
        deadline = time.monotonic() + DEADLINE
        while (answer := ask(lane, hwnd, length)) == NOT_TAKEN:
            assert time.monotonic() < deadline
        return answer

    def begin() -> None:
        monkeypatch.setattr(transport, "LOOK_US", SHORT)
        monkeypatch.setattr(Lane, "ask", ask_until_taken)

    return begin


def until_looked_at(sender: Sender, data: bytes = b"1") -> int:
    """Send by messages until the receiver looks in the lane; how often it was."""
    deadline = time.monotonic() + DEADLINE
    sent = 0
    lane = sender._lane(sender._mapping_name)
    while not lane.is_looked_at(sender._hwnd):
        assert time.monotonic() < deadline
        if sent < 3:
            sender.send(data, via="mapping")
            sent += 1
    return sent


def no_message(*args: object, **kwargs: object) -> int:
    raise AssertionError("a message was sent")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on no sender sends a message."""

    def silence() -> None:
        for name in ("send_message", "send_copydata"):
            monkeypatch.setattr(sender_module, name, no_message)

    return silence


def answer_of(delivery: Delivery) -> int | None:
    if delivery.data == b"raise":
        raise OSError("of the handler")
    return {b"refuse": 0, b"seven": 7}.get(bytes(delivery.data))


def keeping(name: str, got: list[bytes]) -> Receiver:
    """A receiver whose handler keeps the data."""
    return Receiver(
        name,
        mapping=name,
        handler=lambda delivery: got.append(bytes(delivery.data)),
    )


Pair = tuple[Receiver, Sender]


@pytest.fixture
def pair(unique_name: str) -> Iterator[Pair]:
    """A receiver with a handler, which looks in the lane of the sender."""
    with (
        Receiver(unique_name, mapping=unique_name, handler=answer_of) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        until_looked_at(sender)
        yield receiver, sender


Apart = tuple[Peer, Sender]


@pytest.fixture
def apart(start_peer: StartPeer, unique_name: str) -> Iterator[Apart]:
    """The same with the receiver in a process of its own."""
    peer = start_peer("lane_receiver.py", unique_name, LONG)
    peer.expect("ready")
    with Sender(unique_name, mapping=unique_name, timeout=DEADLINE) as sender:
        for _ in range(until_looked_at(sender)):
            peer.expect("mapping 1")
        yield peer, sender


# ------------------------------------------------------------------ contract


@pytest.mark.parametrize("via", ["mapping", "auto"])
def test_answers_come_without_a_message(
    pair: Pair,
    via: str,
    silent: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same ones as by a message: a number, a refusal, a handler's error."""
    receiver, sender = pair
    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    silent()
    assert sender.send(b"data", via=via) == 1
    assert sender.send(b"seven", via=via) == 7
    for refused, data in enumerate((b"refuse", b"raise"), 1):
        with pytest.raises(ConnectionRefusedError, match="via mapping"):
            sender.send(data, via=via)
        assert receiver.refused == refused
    assert len(reported) == 1
    assert sender.send(b"more", via=via) == 1


def test_two_processes_in_both_directions(
    apart: Apart, silent: Callable[[], None]
) -> None:
    peer, sender = apart
    silent()
    for number in range(2, 300):
        assert sender.send(b"%d" % number, via="mapping") == number
        peer.expect(f"mapping {number}")
    assert peer.finish() == 0


def test_the_order_is_kept_when_the_way_changes(unique_name: str) -> None:
    """Messages get in between."""
    ways = ["mapping", "auto", "copydata", "section", "process"]
    got: list[bytes] = []
    with (
        keeping(unique_name, got),
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        until_looked_at(sender)
        got.clear()
        for number in range(200):
            way = ways[(number + number // 5) % 5]
            assert sender.send(b"%d" % (number + 1), via=way) == 1
    assert got == [b"%d" % (number + 1) for number in range(200)]


def test_two_senders_lose_and_double_nothing(
    start_peer: StartPeer, unique_name: str
) -> None:
    rounds = 100
    got: list[bytes] = []
    with keeping(unique_name, got):
        peers = [start_peer("lane_sender.py", unique_name) for _ in range(2)]
        for peer in peers:
            peer.expect("ready")
        for number in range(rounds):
            for index, peer in enumerate(peers):
                peer.say(f"{('mapping', 'auto')[number % 2]} {index} {number}")
        for peer in peers:
            for _ in range(rounds):
                peer.expect("1")
    assert len(got) == 2 * rounds
    for index in range(2):
        mine = [data for data in got if data.startswith(b"%d " % index)]
        assert mine == [b"%d %d" % (index, number) for number in range(rounds)]


def test_what_is_too_large_is_refused(pair: Pair, silent: Callable[[], None]) -> None:
    _, sender = pair
    silent()
    with pytest.raises(ValueError, match="4097 bytes do not fit"):
        sender.send(bytes(4097), via="mapping")


def test_above_the_receivers_limit_is_refused(unique_name: str) -> None:
    with (
        Receiver(
            unique_name, mapping=unique_name, max_message=100, handler=answer_of
        ) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        until_looked_at(sender)
        for via in ("mapping", "auto", "mapping"):
            with pytest.raises(ConnectionRefusedError, match="via mapping"):
                sender.send(bytes(101), via=via)
        assert receiver.refused == 3


def test_auto_takes_another_way_for_what_does_not_fit(unique_name: str) -> None:
    seen: list[Transport] = []
    with (
        Receiver(
            unique_name,
            mapping=unique_name,
            mapping_size=64,
            handler=lambda delivery: seen.append(delivery.transport),
        ),
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        until_looked_at(sender)
        seen.clear()
        for size in (64, 65, 64):
            sender.send(bytes(size), via="auto")
    assert seen == [Transport.MAPPING, Transport.COPYDATA, Transport.MAPPING]


# --------------------------------------------------------------------- auto


def test_auto_goes_by_the_lane_when_it_sends_often(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only small bytes without an id, and only when it is its turn at once."""
    monkeypatch.setattr(sender_module, "_OFTEN", 16)
    seen: list[Transport] = []
    with (
        Receiver(
            unique_name,
            mapping=unique_name,
            handler=lambda delivery: seen.append(delivery.transport),
        ),
        Sender(unique_name, mapping=unique_name, timeout=None) as sender,
    ):
        for _ in range(15):
            sender.send(b"few", via="auto")
        assert sender._mapping is None
        sender.send(b"often", via="auto")
        assert seen == [Transport.COPYDATA] * 16
        until_looked_at(sender)
        seen.clear()
        sender.send(b"data", via="auto")
        sender.send(b"data", via="auto", id=7)
        lane = sender._lane(unique_name)
        done, taken = threading.Event(), threading.Event()

        def another_sender() -> None:
            with lane.turn(DEADLINE):
                taken.set()
                done.wait(5 * SLOWNESS)

        thread = threading.Thread(target=another_sender)
        thread.start()
        assert taken.wait(DEADLINE)
        sender.send(b"data", via="auto")
        done.set()
        thread.join()
        sender.send(b"data", via="auto")
    assert seen == [
        Transport.MAPPING,
        Transport.COPYDATA,
        Transport.COPYDATA,
        Transport.MAPPING,
    ]


def test_auto_needs_the_receivers_mapping(unique_name: str) -> None:
    """Without one, or with another one, small data goes by WM_COPYDATA."""
    other = unique_name + ".other"
    with Receiver(unique_name, mapping=unique_name) as receiver:
        with (
            winipc.SharedMapping.create(other, 4096),
            Sender(unique_name, mapping=other) as sender,
        ):
            for _ in range(20):
                sender.send(b"data", via="auto")
        with Sender(unique_name, mapping=unique_name + ".none") as sender:
            for _ in range(20):
                sender.send(b"data", via="auto")
        for _ in range(40):
            assert receiver.receive(DEADLINE).transport is Transport.COPYDATA


def test_a_handler_may_send_on_while_its_sender_waits(unique_name: str) -> None:
    """To its own receiver, too: it waits for no turn, which its sender has."""
    seen: list[tuple[Transport, bytes]] = []

    def handle(delivery: Delivery) -> None:
        data = bytes(delivery.data)
        if data.isdigit():
            onwards.send(b"on " + data, via="auto")
        seen.append((delivery.transport, data))

    with (
        Receiver(unique_name, mapping=unique_name, handler=handle),
        Sender(unique_name, mapping=unique_name, timeout=5 * SLOWNESS) as sender,
        Sender(unique_name, mapping=unique_name, timeout=None) as onwards,
    ):
        until_looked_at(sender, b"first")
        onwards.send(b"first", via="auto")
        seen.clear()
        for number in range(3):
            assert sender.send(b"%d" % number, via="auto") == 1
    assert seen == [
        (transport, text % number)
        for number in range(3)
        for transport, text in (
            (Transport.COPYDATA, b"on %d"),
            (Transport.MAPPING, b"%d"),
        )
    ]


def test_a_thread_has_one_turn_at_a_time(unique_name: str) -> None:
    """A handler that sends by the memory in use does not write over it."""
    with Lane(unique_name) as lane, Lane(unique_name) as again:
        with lane.turn(0), pytest.raises(TimeoutError), again.turn(0):
            pass
        with again.turn(0):
            pass


# --------------------------------------------------------------------- trust


def test_a_lane_of_another_program_is_not_looked_at(unique_name: str) -> None:
    """Its maker decides who may write to it, and so who may ask."""
    with (
        Lane(unique_name) as lane,
        Receiver(unique_name, mapping=unique_name, handler=answer_of),
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        for _ in range(20):
            sender.send(b"data", via="mapping")
            assert not lane.is_looked_at(sender._hwnd)


def test_a_receiver_that_queues_does_not_look(unique_name: str) -> None:
    """What waits in a lane waits for Python. WM_COPYDATA does not."""
    with (
        Receiver(unique_name, mapping=unique_name) as receiver,
        Sender(unique_name, mapping=unique_name) as sender,
    ):
        for via in ("mapping", "auto") * 10:
            sender.send(b"data", via=via)
            assert not sender._lane(unique_name).is_looked_at(sender._hwnd)
        assert [receiver.receive(DEADLINE).transport for _ in range(20)] == [
            Transport.MAPPING,
            Transport.COPYDATA,
        ] * 10


HOSTILE = {"looking": 128, "wanted": 136, "state": 192, "length": 200, "answer": 208}


@pytest.mark.parametrize("at", HOSTILE.values(), ids=HOSTILE)
def test_hostile_words_stop_nobody(pair: Pair, at: int) -> None:
    """A delivery may then go by a message."""
    _, sender = pair
    lane = sender._lane(sender._mapping_name)
    for value in (1, 2, 3, 1 << 31, (1 << 64) - 1):
        lane._memory.set(at, "u64", value)
        if at == HOSTILE["length"]:
            lane._memory.set(HOSTILE["state"], "u64", 1)  # LANE_ASKED
        assert sender.send(b"seven", via="mapping") == 7


# --------------------------------------------------------------------- death


@pytest.mark.parametrize("via", ["mapping", "auto"])
@pytest.mark.parametrize("stage", ["looking", "at work"])
def test_killed_receiver_is_an_error(
    apart: Apart, via: str, stage: str, until_taken: Callable[[], None]
) -> None:
    peer, sender = apart
    if stage == "looking":
        transport.LOOK_US = SHORT  # it will not be taken
        peer.kill()
        with pytest.raises(OSError):
            sender.send(b"after", via=via)
    else:
        until_taken()

        def kill() -> None:
            peer.expect("hangs")
            peer.kill()

        thread = threading.Thread(target=kill)
        thread.start()
        # Not FileNotFoundError: the handler may have done its work.
        with pytest.raises(ConnectionResetError):
            sender.send(b"hang", via=via)
        thread.join()
    with pytest.raises(OSError):
        sender.send(b"again", via=via)


@pytest.mark.parametrize("via", ["mapping", "auto"])
def test_hung_handler_is_a_timeout(
    apart: Apart, via: str, until_taken: Callable[[], None]
) -> None:
    """Its data stays as it is until it returns, and then comes the next one."""
    peer, sender = apart
    until_taken()
    sender.timeout = 0.3
    with pytest.raises(TimeoutError):
        sender.send(b"hang", via=via)
    peer.expect("hangs")
    with pytest.raises(TimeoutError):
        sender.send(b"next", via=via)
    sender.timeout = DEADLINE
    peer.say("go on")
    assert sender.send(b"12", via=via) == 12
    peer.expect("mapping hang")
    peer.expect("mapping 12")
    transport.LOOK_US = LONG
    until_looked_at(sender, b"5")


def test_a_slow_handler_is_waited_for(
    apart: Apart, monkeypatch: pytest.MonkeyPatch, until_taken: Callable[[], None]
) -> None:
    """Longer than the sender looks: it sleeps then."""
    peer, sender = apart
    until_taken()
    barrier = sender._barrier

    def barrier_of_one_that_hangs(**how: Any) -> bool:
        monkeypatch.setattr(sender, "_barrier", barrier)
        peer.expect("hangs")
        peer.say("go on")
        return barrier(**how)

    monkeypatch.setattr(sender, "_barrier", barrier_of_one_that_hangs)
    assert sender.send(b"hang", via="mapping") == 3
    peer.expect("mapping hang")
    assert sender.send(b"4", via="mapping") == 4
    peer.expect("mapping 4")
    assert peer.finish() == 0


def test_sender_killed_before_it_is_taken(
    start_peer: StartPeer, unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it asked is withdrawn, so that nobody takes the next one's data for it."""
    served: list[Callable[[], None]] = []
    serve = Lane.serve

    def serve_later(*arguments: Any) -> None:
        served.append(lambda: serve(*arguments))

    monkeypatch.setattr(Lane, "serve", serve_later)
    got: list[bytes] = []
    with keeping(unique_name, got):
        peer = start_peer("lane_sender.py", unique_name)
        peer.expect("ready")
        peer.say("dies last words")
        peer.expect("asked")
        peer.kill()
        assert got == [b"before"]
        served[0]()
        got.clear()
        with Sender(unique_name, mapping=unique_name) as sender:
            for number in range(20):
                sender.send(b"%d" % number, via="mapping")
    assert got == [b"%d" % number for number in range(20)]


def test_sender_killed_while_its_delivery_is_handled(
    start_peer: StartPeer, unique_name: str
) -> None:
    """The next sender does not write over it, and waits."""
    entered, go_on = threading.Event(), threading.Event()
    seen: list[bytes] = []

    def handle(delivery: Delivery) -> None:
        if delivery.data == b"slow":
            entered.set()
            assert go_on.wait(DEADLINE)
        seen.append(bytes(delivery.data))

    with Receiver(unique_name, mapping=unique_name, handler=handle):
        peer = start_peer("lane_sender.py", unique_name)
        peer.expect("ready")
        with Sender(unique_name, mapping=unique_name, timeout=DEADLINE) as sender:
            until_looked_at(sender)
            seen.clear()
            peer.say("mapping slow")
            assert entered.wait(DEADLINE)
            peer.kill()
            thread = threading.Thread(
                target=sender.send, args=(b"next",), kwargs={"via": "mapping"}
            )
            thread.start()
            thread.join(0.3)  # long enough to do harm
            go_on.set()
            thread.join(DEADLINE)
    assert seen == [b"slow", b"next"]


def test_handler_may_reply_early(unique_name: str) -> None:
    """The sender goes on, once; what the handler returns is ignored."""
    go_on, done = threading.Event(), threading.Event()
    replied: list[bool] = []

    def handle(delivery: Delivery) -> int:
        if delivery.data == b"early":
            replied.append(receiver.window.reply(8))
            assert go_on.wait(DEADLINE)
            replied.append(receiver.window.reply(9))
            done.set()
        return 1

    with (
        Receiver(unique_name, mapping=unique_name, handler=handle) as receiver,
        Sender(unique_name, mapping=unique_name, timeout=DEADLINE) as sender,
    ):
        until_looked_at(sender)
        assert sender.send(b"early", via="mapping") == 8
        go_on.set()
        assert done.wait(DEADLINE)
        assert replied == [True, False]
        assert sender.send(b"late", via="mapping") == 1


@pytest.mark.parametrize("via", ["mapping", "auto"])
def test_handler_may_close_its_receiver(unique_name: str, via: str) -> None:
    def handle(delivery: Delivery) -> int:
        if delivery.data == b"close":
            receiver.close()
        return len(delivery.data)

    receiver = Receiver(unique_name, mapping=unique_name, handler=handle)
    with Sender(unique_name, mapping=unique_name) as sender:
        until_looked_at(sender)
        assert sender.send(b"close", via=via) == 5
        transport.LOOK_US = SHORT  # nobody will take it
        with pytest.raises(OSError):
            sender.send(b"more", via=via)
    with pytest.raises(FileNotFoundError):
        winipc.SharedMapping.open(unique_name)


def test_answer_of_a_handler_that_closes_and_sends(
    unique_name: str, monkeypatch: pytest.MonkeyPatch, until_taken: Callable[[], None]
) -> None:
    """Its window takes a barrier while it sends, and does not know it any more."""
    asked = threading.Event()
    send_message = sender_module.send_message

    def send_message_and_tell(*args: Any, **kwargs: Any) -> int:
        answer = send_message(*args, **kwargs)
        asked.set()
        return answer

    def handle(delivery: Delivery) -> int:
        if delivery.data == b"close":
            receiver.close()
            onwards.send(b"wait", via="copydata")
        return 5

    other = unique_name + ".other"
    with (
        Receiver(
            other,
            mapping=other,
            handler=lambda delivery: int(asked.wait(DEADLINE)),
        ),
        Sender(other, mapping=other, timeout=DEADLINE) as onwards,
        Receiver(unique_name, mapping=unique_name, handler=handle) as receiver,
        Sender(unique_name, mapping=unique_name, timeout=DEADLINE) as sender,
    ):
        until_looked_at(sender)
        until_taken()
        monkeypatch.setattr(sender_module, "send_message", send_message_and_tell)
        assert sender.send(b"close", via="mapping") == 5


def test_auto_of_a_closed_sender_goes_by_a_message(pair: Pair) -> None:
    """As it did before it had a lane."""
    _, sender = pair
    assert sender.send(b"seven", via="auto") == 7
    assert sender._kept is not None
    sender.close()
    for _ in range(3):
        assert sender.send(b"seven", via="auto") == 7


def test_close_does_not_wait_for_the_end_of_a_look(pair: Pair) -> None:
    receiver, _ = pair
    receiver.close(timeout=DEADLINE)
    assert receiver.closed
