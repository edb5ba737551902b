"""Messages: taken by a window that stands between, and answered by a double."""

from __future__ import annotations

import ctypes
import dataclasses
import math
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, FULL, Peer
from test_cassette_memory import until

import winipc
from winipc import Cassette, MessageEvent, Track
from winipc.cassette import proxy
from winipc.cassette.file import Writer
from winipc.testing import ExpectingWindow

StartPeer = Callable[..., Peer]
NAMED = "winipc-test-cassette.query"
WM_CLOSE = 0x10
LARGE = 1 << (40 if sys.maxsize > 1 << 32 else 30)  # for a wparam


def messages(path: Path) -> list[MessageEvent]:
    return [event for event in Cassette(path) if isinstance(event, MessageEvent)]


@pytest.fixture
def program(unique_name: str) -> Any:
    """A program in this process: answers the id and the size, and counts queries."""

    def answer(message: winipc.Message) -> int:
        if message.is_copydata:
            return message.id * 1000 + len(message)
        return message.wparam + message.lparam

    with winipc.CopyDataWindow.create(
        unique_name, handler=answer, messages=[NAMED, 0x8001]
    ) as window:
        yield window


def talk(title: str) -> list[int]:
    """What a client says to the program, and what it gets."""
    return [
        winipc.send_copydata(title, b"hello", id=1),
        winipc.send_copydata(title, b"", id=2, check=False),
        winipc.send_message(title, NAMED, 3, 4),
        winipc.send_message(title, 0x8001, LARGE, -5),
        winipc.send_copydata(title, b"hello", id=1),
    ]


def record(path: Path, title: str, **options: Any) -> winipc.cassette.recorder.Recorder:
    track = Track("window", title, messages=(NAMED, 0x8001), **options)
    return Cassette.record(path, windows=[track], timeout=DEADLINE)


def test_messages_go_through_and_are_kept(
    program: Any, unique_name: str, tmp_path: Path
) -> None:
    """The client gets what it got without a recorder, and so does the program."""
    expected = talk(unique_name)
    path = tmp_path / "file.wipc"
    with record(path, unique_name):
        found = winipc.find_window(unique_name)
        assert found is not None
        assert found.hwnd != program.hwnd
        assert found.class_name == program.class_name
        assert talk(unique_name) == expected
    found = winipc.find_window(unique_name)
    assert found is not None
    assert found.hwnd == program.hwnd
    kept = messages(path)
    assert [event.answer for event in kept] == expected
    assert [event.number for event in kept] == list(range(5))
    assert [event.message for event in kept] == [74, 74, NAMED, 0x8001, 74]
    assert (kept[0].id, kept[0].data) == (1, b"hello")
    assert (kept[3].wparam, kept[3].lparam) == (LARGE, -5)
    assert not any(event.posted for event in kept)
    (track,) = Cassette(path).tracks
    assert (track.name, track.class_name) == (unique_name, None)  # another in each run
    with Cassette.play(path, names={unique_name: f"{unique_name}.double"}, speed=None):
        pass  # beside the program


def test_the_recorder_stays_above_the_window(
    program: Any, unique_name: str, tmp_path: Path
) -> None:
    """Also when the real one comes to the top, as when a user clicks on it."""
    user32 = ctypes.WinDLL("user32")
    above = [winipc.Window(program.hwnd)]
    assert winipc.find_windows(unique_name) == above
    with record(tmp_path / "file.wipc", unique_name):
        no_move_size_activate = 0x13
        assert user32.SetWindowPos(program.hwnd, 0, 0, 0, 0, 0, no_move_size_activate)
        found = winipc.find_window(unique_name)
        assert found is not None
        assert found not in above


def test_a_double_answers_as_the_program_did(
    program: Any, unique_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.wipc"
    with record(path, unique_name):
        expected = talk(unique_name)
    with pytest.raises(FileExistsError) as caught:
        Cassette.play(path)
    assert f"there is a window with title '{unique_name}'" in str(caught.value)
    assert "another player" in caught.value.__notes__[0]
    program.close()
    with Cassette.play(path) as player:
        assert len(player.unplayed()) == 5
        assert talk(unique_name) == expected
        assert player.unplayed() == []
        assert player.played == 5
    assert winipc.find_window(unique_name) is None


def test_an_unexpected_message_is_refused_and_explained(
    program: Any, unique_name: str, tmp_path: Path
) -> None:
    """The end of the `with` has the difference to what was to be expected."""
    path = tmp_path / "file.wipc"
    with record(path, unique_name):
        talk(unique_name)
    program.close()

    def send_others() -> None:
        with Cassette.play(path) as player:
            assert winipc.send_copydata(unique_name, b"hellO", id=1, check=False) == 0
            assert winipc.send_message(unique_name, NAMED, 3, 5) == 0
            assert winipc.send_copydata(unique_name, b"hello", id=1) == 1005
            assert len(player.unplayed()) == 4

    with pytest.raises(AssertionError) as caught:
        send_others()
    text = str(caught.value)
    assert "they differ from offset 4 on" in text
    assert "68 65 6c 6c 4f" in text
    assert "lparam: expected 0x4, came 0x5" in text

    def send_and_fail() -> None:
        with Cassette.play(path):
            winipc.send_copydata(unique_name, b"x", check=False)
            raise KeyError

    with pytest.raises(KeyError):  # the first exception counts
        send_and_fail()


def test_ways_to_match(program: Any, unique_name: str, tmp_path: Path) -> None:
    """By id alone, by a function, and again and again."""
    path = tmp_path / "file.wipc"
    with record(path, unique_name):
        talk(unique_name)
    program.close()
    with Cassette.play(path, match="lenient") as player:
        assert winipc.send_copydata(unique_name, b"other", id=2, check=False) == 2000
        assert winipc.send_copydata(unique_name, b"other", id=9, check=False) == 0
        assert len(player.unexpected) == 1
        player.unexpected.clear()
        assert winipc.send_copydata(unique_name, b"other", id=1) == 1005
        assert winipc.send_message(unique_name, 0x8001, 9, 9) == (LARGE) - 5

    def alike(recorded: MessageEvent, came: MessageEvent) -> bool:
        return recorded.data.lower() == came.data.lower()

    with Cassette.play(path, match=alike):
        assert winipc.send_copydata(unique_name, b"HELLO", id=99) == 1005
    with Cassette.play(path, repeat=True):
        for _ in range(5):
            assert winipc.send_copydata(unique_name, b"hello", id=1) == 1005
    player = Cassette.play(path)
    for _ in range(3):
        winipc.send_copydata(unique_name, b"hello", id=1, check=False)
    player.close()
    with pytest.raises(AssertionError, match="id: expected 0x2"):
        player.check()


def test_posted_messages_are_passed_on_posted(unique_name: str, tmp_path: Path) -> None:
    """There is no answer, the sender does not wait, and they stay in order."""
    path = tmp_path / "file.wipc"
    with (
        ExpectingWindow.create(unique_name, messages=[NAMED]) as program,
        record(path, unique_name),
    ):
        for n in range(20):
            winipc.post_message(unique_name, NAMED, n, 0)
        for n in range(20):
            program.expect(message=NAMED, wparam=n)
    kept = messages(path)
    assert [event.wparam for event in kept] == list(range(20))
    assert all(event.posted and event.answer == 0 for event in kept)
    with Cassette.play(path) as player:
        for n in range(20):
            winipc.post_message(unique_name, NAMED, n, 0)
        until(lambda: not player.unplayed())


def test_what_was_posted_before_the_end_is_passed_on(
    unique_name: str, tmp_path: Path
) -> None:
    """Messages that wait when the recorder, or the double, ends: each is handled."""
    path = tmp_path / "file.wipc"

    def keep(event: Any) -> Any:
        time.sleep(0.01)  # so that most wait
        return event

    track = Track("window", unique_name, messages=(NAMED,))
    with ExpectingWindow.create(unique_name, messages=[NAMED]) as program:
        with Cassette.record(path, windows=[track], before_record=keep):
            for n in range(20):
                winipc.post_message(unique_name, NAMED, n, 0)
        found = winipc.find_window(unique_name)
        assert found is not None
        assert found.hwnd == program.hwnd
        for n in range(20):
            program.expect(message=NAMED, wparam=n)
    assert [event.wparam for event in messages(path)] == list(range(20))

    def match(recorded: MessageEvent, came: MessageEvent) -> bool:
        time.sleep(0.001)
        return False

    player = Cassette.play(path, match=match)
    for n in range(20):
        winipc.post_message(unique_name, NAMED, n, 0)
    player.close()
    assert len(player.unexpected) == 20


@pytest.mark.parametrize("where", ["wparam", 4])
@pytest.mark.parametrize("early", [True, False], ids=["after", "before"])
def test_answers_by_message_come_back(
    unique_name: str, tmp_path: Path, where: Any, early: bool
) -> None:
    """A program that answers by messages of its own, before or after it returns."""

    def answer(message: winipc.Message) -> int:
        data = bytes(message)
        client = (
            message.sender if where == "wparam" else int.from_bytes(data[4:8], "little")
        )
        if early:
            program.reply(5)
        for n in range(2):
            text = data[:4] * (n + 1)
            winipc.send_copydata(client, text, id=message.id + n, sender=program)
        return 5

    def ask(number: int) -> list[tuple[int, bytes]]:
        with winipc.CopyDataWindow.create(message_only=True) as own:
            hwnd = own.hwnd.to_bytes(4, "little") if where == 4 else b"....".lower()
            data = b"q%03d" % number + hwnd
            sender = own if where == "wparam" else None
            assert winipc.send_copydata(unique_name, data, id=7, sender=sender) == 5
            found = [own.receive(DEADLINE) for _ in range(2)]
            shown = winipc.find_window(unique_name)
            assert shown is not None
            assert {message.sender for message in found} <= {shown.hwnd, program.hwnd}
            return [(message.id, bytes(message)) for message in found]

    path = tmp_path / "file.wipc"
    with winipc.CopyDataWindow.create(unique_name, handler=answer) as program:
        plain = [ask(n) for n in range(3)]
        with Cassette.record(
            path, windows=[Track("window", unique_name, replies=where)]
        ) as recorder:
            assert [ask(n) for n in range(3)] == plain
            until(lambda: recorder.events == 9)
    kept = messages(path)
    assert [event.to for event in kept if event.way == "out"] == [0, 0, 1, 1, 2, 2]
    program_hwnd = program.hwnd
    with Cassette.play(path) as player:
        assert [ask(n) for n in (2, 0, 1)] == [plain[n] for n in (2, 0, 1)]
        assert player.wait(DEADLINE)
        assert player.unplayed() == []
    assert program_hwnd == 0


def test_a_program_that_answers_to_its_sender(
    start_peer: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """By a message of its own, as `call` waits for: recorded without any option."""

    def call() -> bytes:
        return winipc.call(unique_name, b"", id=2, reply_id=3, timeout=DEADLINE)

    def ask() -> int:
        """Ask for an answer by another message than WM_COPYDATA."""
        with winipc.CopyDataWindow.create(
            message_only=True,
            messages=[0x8001],
            handler=lambda message: message.wparam + message.lparam,
        ) as own:
            return winipc.send_copydata(unique_name, b"12345678", id=4, sender=own)

    path = tmp_path / "file.wipc"
    peer = start_peer("clock_double.exe", unique_name)
    peer.expect("ready")
    assert (call(), ask()) == (b"tick 1", 7)
    with Cassette.record(path, windows=[unique_name]) as recorder:
        assert [call(), call(), call()] == [b"tick 2", b"tick 3", b"tick 4"]
        assert ask() == 7
        until(lambda: recorder.events == 7)
    winipc.post_message(unique_name, WM_CLOSE)
    assert peer.finish() == 0
    with Cassette.play(path) as player:
        assert [call(), call(), call()] == [b"tick 2", b"tick 3", b"tick 4"]
        assert ask() == 7
        assert player.unplayed() == []


@pytest.mark.parametrize("replies", ["wparam", None])
def test_the_sender_that_the_program_sees(
    unique_name: str, tmp_path: Path, replies: str | None
) -> None:
    """It is the recorder's instead of the client's, unless there is no such window."""
    seen: list[int] = []
    path = tmp_path / "file.wipc"
    track = Track("window", unique_name, replies=replies)
    with (
        winipc.CopyDataWindow.create(
            unique_name, handler=lambda message: seen.append(message.wparam)
        ),
        winipc.CopyDataWindow.create(message_only=True) as client,
    ):
        senders = [0, LARGE + 1, client.hwnd]
        with Cassette.record(path, windows=[track]) as recorder:
            window = winipc.find_window(unique_name)
            assert window is not None
            for sender in senders:
                winipc._core._forward(window.hwnd, 74, sender, 0, 1, b"")
            assert recorder.events == 3
    assert seen[:2] == senders[:2]
    assert (seen[2] == senders[2]) is (replies is None)
    kept = [sender & 0xFFFFFFFF for sender in senders]
    assert [event.wparam for event in messages(path)] == kept
    assert [one.replies for one in Cassette(path).tracks] == [replies]


def test_a_client_without_a_window_before_it_is_heard(
    program: Any, unique_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its message reaches the program also if the recorder can open no more windows."""

    def fail(*args: object) -> None:
        raise OSError(0, "no more windows", None, 8)

    monkeypatch.setattr(proxy, "_Return", fail)
    with (
        record(tmp_path / "file.wipc", unique_name),
        winipc.CopyDataWindow.create(message_only=True) as own,
    ):
        assert winipc.send_copydata(unique_name, b"hello", id=1, sender=own) == 1005


def test_messages_to_a_found_window_reach_the_program(
    start_peer: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """Commands, keys and a program's own: sent or posted, and not recorded."""
    path = tmp_path / "file.wipc"
    peer = start_peer("clock_double.exe", unique_name)
    peer.expect("ready")
    numbers = (0x100, 0x109, 0x111, 0x112, 0x319, 0x400, 0x7FFF, 0x8000, 0xBFFF)
    with Cassette.record(path, windows=[unique_name]) as recorder:
        for number in numbers:
            assert winipc.send_message(unique_name, number, LARGE, -5) == number
            peer.expect(f"{number:#x} {LARGE} -5")
            winipc.post_message(unique_name, number, 1, 2)
            peer.expect(f"{number:#x} 1 2")
        # A broadcast reaches the program's own window, so once.
        winipc.broadcast_message(NAMED, 3, 4)
        number = winipc.register_message(NAMED)
        peer.expect(f"{number:#x} 3 4")
        assert winipc.send_message(unique_name, NAMED, 3, 4) == 0
        winipc.post_message(unique_name, WM_CLOSE)
        assert peer.finish() == 0
        assert recorder.events == 0
    assert peer.stdout[-1] == f"{number:#x} 3 4\n"


def test_registered_messages_reach_a_message_only_window(
    unique_name: str, tmp_path: Path
) -> None:
    """Without being named to the recorder, as there are no broadcasts for it."""
    with (
        ExpectingWindow.create(
            unique_name, message_only=True, messages=[NAMED]
        ) as program,
        Cassette.record(tmp_path / "file.wipc", windows=[unique_name]) as recorder,
    ):
        (window,) = set(winipc.find_windows(unique_name, message_only=True)) - {
            winipc.Window(program.hwnd)
        }
        winipc.send_message(window, NAMED, 1, 2)
        program.expect(message=NAMED, wparam=1, lparam=2)
        assert recorder.events == 0


def test_a_program_that_is_killed_while_it_answers(
    start_peer: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """What was to be passed on meanwhile is lost, and the recording ends."""
    path = tmp_path / "file.wipc"
    peer = start_peer("clock_double.exe", unique_name)
    peer.expect("ready")
    answers: list[int] = []

    def ask() -> None:
        with winipc.CopyDataWindow.create(message_only=True) as own:
            how: Any = {"sender": own, "timeout": DEADLINE, "check": False}
            answers.append(winipc.send_copydata(unique_name, b"", id=5, **how))

    with Cassette.record(path, windows=[unique_name]):
        client = threading.Thread(target=ask)
        client.start()
        peer.expect("busy")
        winipc.post_message(unique_name, 0x400)
        winipc.post_message(unique_name, WM_CLOSE)
        peer.kill()
        client.join()
        assert winipc.send_message(unique_name, 0x400) == 0
    assert answers == [0]
    assert [event.id for event in messages(path)] == [5]


def test_a_program_that_dies_is_no_harm(
    start_peer: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """Its last client gets an answer of 0 in time, and the cassette is whole."""
    path = tmp_path / "file.wipc"
    peer = start_peer("copydata_peer.exe", "hung", "W", unique_name)
    with record(path, unique_name):
        timer = threading.Timer(0.3, peer.kill)
        timer.start()
        answer = winipc.send_copydata(
            unique_name, b"x", id=5, timeout=DEADLINE, check=False
        )
        assert answer == 0
        timer.join()
        assert winipc.send_copydata(unique_name, b"y", id=6, check=False) == 0
    kept = messages(path)
    assert [event.id for event in kept] == [5, 6]
    assert kept[0].took_ns >= 200_000_000


def test_clients_and_broadcasts_are_told(unique_name: str, tmp_path: Path) -> None:
    """What a program says unasked is kept, and said again in its time."""
    path = tmp_path / "file.wipc"
    named = f"{unique_name}.told"
    with ExpectingWindow.create(unique_name, messages=[NAMED, named]) as client:
        track = Track("client", unique_name, messages=(NAMED,))
        with Cassette.record(path, clients=[track], broadcasts=[named]) as recorder:
            assert winipc.send_copydata(unique_name, b"news", id=3) == 1
            winipc.send_message(unique_name, NAMED, 1, 2)
            winipc.broadcast_message(named, 5, 6)
            until(lambda: recorder.events == 3)
        for _ in range(2):
            client.expect(id=3, data=b"news")
            client.expect(message=NAMED, wparam=1, lparam=2)
            client.expect(message=named, wparam=5, lparam=6)
            player = Cassette.play(path, speed=None)
            with player:
                for _ in range(3):
                    event = player.step()
                    assert isinstance(event, MessageEvent)
                    assert event.way == "out"
                assert player.step() is None
    with (
        pytest.raises(AssertionError, match="did not take"),
        Cassette.play(path, speed=None) as player,
    ):
        player.step()


def test_an_exchange_with_other_memory_is_not_recorded_wrongly(
    unique_name: str, tmp_path: Path
) -> None:
    """The recorder would read another mapping than the program: the sender hears it."""
    track = Track("exchange", unique_name, mapping=f"{unique_name}-other")
    with (
        winipc.Receiver(unique_name, mapping=f"{unique_name}-real"),
        winipc.SharedMapping.create(f"{unique_name}-other", 64),
        Cassette.record(tmp_path / "file.wipc", exchanges=[track]),
        winipc.Sender(unique_name, mapping=f"{unique_name}-real") as sender,
    ):
        with pytest.raises(ValueError, match="another mapping"):
            sender.send(b"secret", via="mapping")
        assert sender.send(b"open") == 1
    (event,) = messages(tmp_path / "file.wipc")
    assert event.data == b"open"


@pytest.mark.parametrize("via", ["mapping", "copydata", "process", "section"])
def test_the_exchange_is_recorded_and_played(
    unique_name: str, tmp_path: Path, via: str
) -> None:
    """By each transport: what a receiver took, and what its handler answered."""
    path = tmp_path / "file.wipc"
    name = f"{unique_name}-memory"

    came = []

    def answer(delivery: winipc.Delivery) -> int:
        came.append(delivery.transport)
        return len(delivery.data)

    def send() -> list[int]:
        with winipc.Sender(unique_name, mapping=name, timeout=DEADLINE) as sender:
            return [sender.send(data, via=via) for data in (b"one", b"two!")]

    track = Track("exchange", unique_name, mapping=name)
    with winipc.Receiver(
        unique_name, mapping=name, mapping_size=8192, handler=answer, transports=[via]
    ):
        with pytest.raises(FileExistsError):
            winipc.Receiver(unique_name)
        with Cassette.record(path, exchanges=[track]):
            assert send() == [3, 4]
        kept = messages(path)
        assert came == [via, via]  # not by another way
        assert [(event.data, event.answer, event.via) for event in kept] == [
            (b"one", 3, via),
            (b"two!", 4, via),
        ]
        again = tmp_path / "again.wipc"
        with Cassette.record(again, exchanges=[track], known=Cassette(path)):
            assert send() == [3, 4]
            assert len(came) == 2  # nobody was asked
            assert send() == [3, 4]
        assert len(came) == len(messages(again)) == 4
    with Cassette.play(path) as player:
        assert send() == [3, 4]
        assert player.unplayed() == []
        with (
            winipc.Sender(unique_name, mapping=name, timeout=DEADLINE) as sender,
            pytest.raises(ConnectionRefusedError),
        ):
            sender.send(b"three", via="copydata")
        player.unexpected.clear()


def test_a_slow_answer_takes_as_long(unique_name: str, tmp_path: Path) -> None:
    """At the speed of the player; without a pace it is there at once."""
    path = tmp_path / "file.wipc"
    with Writer(path, [Track("window", unique_name)]) as writer:
        for n in range(3):
            event = MessageEvent(
                (n + 1) * 10**9, 0, id=n, answer=1, took_ns=400_000_000, number=n
            )
            writer.add(event, stamp=False)
    for speed, least, most in ((1.0, 0.4, math.inf), (4.0, 0.1, 0.4), (None, 0, 0.1)):
        took = []
        with Cassette.play(path, speed=speed):
            for n in range(3):
                began = time.perf_counter()
                assert winipc.send_copydata(unique_name, b"", id=n) == 1
                took.append(time.perf_counter() - began)
        # The quickest: this thread may be off the CPU for long.
        assert least <= min(took) < most


def test_what_is_known_is_not_asked_again(
    unique_name: str, tmp_path: Path, program: Any
) -> None:
    """A second recording answers from the first one, and asks for the rest."""
    first, second = tmp_path / "1.wipc", tmp_path / "2.wipc"
    with record(first, unique_name):
        winipc.send_copydata(unique_name, b"hello", id=1)
    changed = [dataclasses.replace(event, answer=77) for event in messages(first)]
    with Writer(tmp_path / "known.wipc", Cassette(first).tracks) as writer:
        for event in changed:
            writer.add(event)
    known = Cassette(tmp_path / "known.wipc")
    with Cassette.record(second, windows=[unique_name], known=known):
        assert winipc.send_copydata(unique_name, b"hello", id=1) == 77
        assert winipc.send_copydata(unique_name, b"hello", id=1) == 1005
        assert winipc.send_copydata(unique_name, b"new", id=2) == 2003
    assert [event.answer for event in messages(second)] == [77, 1005, 2003]


def test_what_is_known_and_not_sent_is_kept(unique_name: str, tmp_path: Path) -> None:
    """Also what the program sent for it, so that tests can share a cassette."""

    def answer(message: winipc.Message) -> int:
        program.reply(len(message))
        winipc.send_copydata(message.sender, b"for " + bytes(message), id=9)
        return 0

    def ask(*texts: bytes) -> list[bytes]:
        found = []
        with winipc.CopyDataWindow.create(message_only=True) as own:
            for text in texts:
                winipc.send_copydata(unique_name, text, id=1, sender=own)
                found.append(bytes(own.receive(DEADLINE)))
        return found

    first, second = tmp_path / "1.wipc", tmp_path / "2.wipc"
    track = Track("window", unique_name, replies="wparam")
    with winipc.CopyDataWindow.create(unique_name, handler=answer) as program:
        with Cassette.record(first, windows=[track]) as recorder:
            ask(b"a", b"bb", b"ccc")
            until(lambda: recorder.events == 6)
        known = Cassette(first)
        with Cassette.record(second, windows=[track], known=known) as recorder:
            ask(b"bb", b"dddd")
            until(lambda: recorder.events == 4)
    with Cassette.play(second) as player:
        texts = [b"a", b"bb", b"ccc", b"dddd"]
        assert ask(*texts) == [b"for " + text for text in texts]
        assert player.unplayed() == []


def test_a_function_that_fails_fails_the_check(
    program: Any, unique_name: str, tmp_path: Path
) -> None:
    """The client gets 0, and the owner the error; also when a test looks at nothing."""
    path = tmp_path / "file.wipc"
    with record(path, unique_name):
        talk(unique_name)
    program.close()

    def fail(recorded: MessageEvent, came: MessageEvent) -> bool:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), Cassette.play(path, match=fail):
        assert winipc.send_copydata(unique_name, b"", id=2, check=False) == 0


def test_a_player_is_closed_by_a_function_of_its_own(
    program: Any, unique_name: str, tmp_path: Path
) -> None:
    """On the thread of its window, which cannot wait for itself."""
    path = tmp_path / "file.wipc"
    with record(path, unique_name):
        talk(unique_name)
    program.close()
    waits: list[object] = []

    def close(recorded: MessageEvent, came: MessageEvent) -> bool:
        window._last.wait = waits.append
        player.close()
        return True

    player = Cassette.play(path, match=close)
    [window] = player._objects.values()
    assert winipc.send_copydata(unique_name, b"hello", id=1) == 1005
    until(lambda: winipc.find_window(unique_name) is None)
    assert waits == []


def test_before_record_cannot_close_its_recorder(
    program: Any, unique_name: str, tmp_path: Path
) -> None:
    """Neither on the thread of a window nor on the one that looks."""
    path = tmp_path / "file.wipc"
    recorders: list[Any] = []
    refused: list[str] = []

    def close(event: winipc.CassetteEvent) -> winipc.CassetteEvent:
        if recorders:
            with pytest.raises(RuntimeError) as caught:
                recorders[0].close()
            refused.append(str(caught.value))
        return event

    title, name = unique_name, f"{unique_name}-m"
    with (
        winipc.SharedMapping.create(name, 4) as mapping,
        Cassette.record(
            path, windows=[title], mappings=[name], before_record=close
        ) as recorder,
    ):
        recorders.append(recorder)
        winipc.send_copydata(title, b"hello", id=1)
        mapping[0] = 1
        until(lambda: recorder.events == 3)
    assert refused == ["before_record cannot close its recorder"] * 2
    assert len(list(Cassette(path))) == 3


def test_a_recorded_window_cannot_close_its_recorder(
    unique_name: str, tmp_path: Path
) -> None:
    """Its recorder waits for the answer. For one that was posted it does not."""
    said: list[object] = []

    def close(message: winipc.Message) -> int:
        if message.is_copydata:
            with pytest.raises(RuntimeError, match="cannot close its recorder"):
                recorder.close()
        else:
            recorder.close()
        said.append(message.id)
        return 42

    path = tmp_path / "file.wipc"
    with winipc.CopyDataWindow.create(unique_name, handler=close, messages=[NAMED]):
        recorder = record(path, unique_name)
        try:
            assert winipc.send_copydata(unique_name, b"x", id=1, timeout=DEADLINE) == 42
            winipc.post_message(unique_name, NAMED, 0, 0)
            until(lambda: len(said) == 2)
        finally:
            recorder.close()
    assert Cassette(path).complete


@pytest.mark.slow
def test_eight_clients_lose_and_double_nothing(
    start_peer: StartPeer, unique_name: str, tmp_path: Path
) -> None:
    """Each client gets its answers, the cassette has each message once, and the double
    says the same."""
    each = 1250 if FULL else 60
    count = 8 * each
    path = tmp_path / "file.wipc"
    peer = start_peer("copydata_peer.exe", "receive", "W", unique_name)

    def soak() -> None:
        failures: list[BaseException] = []

        def client(number: int) -> None:
            source = random.Random(number)
            try:
                with winipc.CopyDataWindow.create(message_only=True) as own:
                    for n in range(each):
                        size = source.randrange(200)
                        data = source.randbytes(size)
                        id = 1000 + number * 10_000 + n
                        answer = winipc.send_copydata(
                            unique_name, data, id=id, sender=own, timeout=DEADLINE
                        )
                        assert answer == size + 1
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=client, args=[n]) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures

    until(lambda: winipc.find_window(unique_name))
    with Cassette.record(path, windows=[unique_name]):
        soak()
    kept = messages(path)
    assert len({event.id for event in kept}) == len(kept) == count
    assert sorted(event.number for event in kept) == list(range(count))
    for number in range(8):
        ids = [event.id for event in kept if (event.id - 1000) // 10_000 == number]
        assert ids == sorted(ids)
    winipc.send_copydata(unique_name, b"", id=99)
    assert peer.finish() == 0
    heard = [int(line.split()[0]) for line in peer.stdout if line[0].isdigit()]
    assert sorted(heard) == [99, *sorted(event.id for event in kept)]
    with Cassette.play(path, speed=math.inf) as player:
        soak()
        assert player.played == count
        assert player.unplayed() == []
