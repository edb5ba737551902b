"""The examples media_remote.py and trainer.py, each with a program to control."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from conftest import DEADLINE, Peer
from test_examples_messages import EXAMPLES, load

import winipc

media_remote = load("media_remote")
trainer = load("trainer")

HEALTH = (0x8, 0x14)
AMMO = (0x8, 0x20, 0x4)


def test_remote_controls_a_player() -> None:
    """Open, play, seek, pause, and an end that the player takes itself."""
    command = [sys.executable, str(EXAMPLES / "media_remote.py")]
    with media_remote.Remote(command, DEADLINE) as remote:
        assert remote.open(r"C:\music\a|b é.ogg") == 100
        assert remote.file == r"C:\music\a|b é.ogg"
        assert remote.position == 0
        remote.play()
        assert remote.mode == "plays"
        remote.seek(42)
        assert 42 <= remote.position <= 100
        remote.pause()
        assert remote.mode == "paused"
        assert remote.position == remote.position
    assert remote.process.returncode == 0


def test_player_that_does_not_connect_is_not_left_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody else could end it: it was never seen."""
    started = []

    def start(command: list[str]) -> subprocess.Popen[bytes]:
        started.append(popen(command))
        return started[-1]

    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(TimeoutError):
        media_remote.Remote(command, 0.1)
    [player] = started
    assert player.returncode is not None


@pytest.mark.parametrize("values", [[""], ["a"], ["a|b", "c"], ["|", "", "é"]])
def test_values_of_messages_come_back(values: list[str], unique_name: str) -> None:
    with winipc.CopyDataWindow.create(unique_name) as window:
        winipc.send_copydata(unique_name, media_remote.encode(*values))
        assert media_remote.decode(window.receive(DEADLINE)) == values


def ask(game: Peer, order: str) -> tuple[int, int]:
    """The health and the ammunition that the game shows."""
    game.say(order)
    _, health, _, ammo = game.read_line().split()
    return int(health), int(ammo)


def test_trainer_finds_sets_and_freezes(start_peer: Callable[..., Peer]) -> None:
    """By what the player sees alone; where it really is, the game then says."""
    game = start_peer("toy_game.exe")
    assert game.read_line() == "ready"
    with trainer.Trainer(game.pid) as train:
        assert trainer.obey(train, f"= {ask(game, 'show')[0]}").endswith("places")
        for order, change in (("hit 45", "-"), ("heal 7", "+"), ("show", ".")):
            ask(game, order)
            trainer.obey(train, change)
        train.is_now(ask(game, "hit 1000")[0])
        game.say("where")
        world = int(game.read_line(), 16)
        address = train.process.pointer([world, *HEALTH])
        assert address in train.addresses
        assert len(train.addresses) < 10

        # What printf left on the stack may have followed all that; the game's own
        # number is the one that stays when it is written.
        trainer.obey(train, f"only {address:#x}")
        train.set(777)
        assert ask(game, "show") == (777, 30)
        train.freeze(999)
        deadline = time.monotonic() + DEADLINE
        ask(game, "hit 500")
        while ask(game, "show")[0] != 999:
            assert time.monotonic() < deadline
        train.thaw()
        health = ask(game, "show")[0]
        assert ask(game, "hit 1")[0] == health - 1
        ammo = train.process.pointer([world, *AMMO])
        train.process.write(ammo, (99).to_bytes(4, "little"))
        assert ask(game, "shoot")[1] == 98
    assert game.finish() == 0


def test_trainer_keeps_frozen_what_a_search_drops(
    start_peer: Callable[..., Peer],
) -> None:
    """The search says what it may be from now on, the freeze what it was."""
    game = start_peer("toy_game.exe")
    assert game.read_line() == "ready"
    with trainer.Trainer(game.pid) as train:
        game.say("where")
        address = train.process.pointer([int(game.read_line(), 16), *HEALTH])
        train.found = winipc.CandidateSet.scan(
            train.process, "i32", start=address, end=address + 4
        )
        train.freeze(999)
        assert trainer.obey(train, "= 123456") == "0 places"
        ask(game, "hit 500")
        deadline = time.monotonic() + DEADLINE
        while ask(game, "show")[0] != 999:
            assert time.monotonic() < deadline
        train.thaw()


def test_trainer_goes_on_after_wrong_numbers(
    start_peer: Callable[..., Peer], start_process: Callable[[list[str]], Peer]
) -> None:
    """One line says what is wrong, and nothing has changed."""
    game = start_peer("toy_game.exe")
    assert game.read_line() == "ready"
    health = ask(game, "show")[0]
    session = start_process(
        [sys.executable, str(EXAMPLES / "trainer.py"), str(game.pid)]
    )
    while "quit" not in session.read_line():
        pass
    game.say("where")
    with winipc.RemoteProcess.open(game.pid) as process:
        address = process.pointer([int(game.read_line(), 16), *HEALTH])
    session.say(f"only {address:#x}")
    session.read_line()
    for order, complaint in (
        ("= 3000000000", "3000000000 does not fit in i32"),
        ("set 3000000000", "3000000000 does not fit in i32"),
        ("freeze 3000000000", "3000000000 does not fit in i32"),
        ("only 0x1FFFFFFFFFFFFFFFF", "which is no address"),
        ("only 0x10", f"pid {game.pid}"),
        ("only nothing.dll+4", "nothing.dll"),
    ):
        session.say(order)
        assert complaint in session.read_line()
    assert ask(game, "show")[0] == health
    session.say("set 321")
    assert session.read_line() == "written"
    assert ask(game, "show")[0] == 321
    session.say("quit")
    assert session.finish() == 0


def test_trainer_says_what_it_cannot(start_peer: Callable[..., Peer]) -> None:
    game = start_peer("toy_game.exe")
    assert game.read_line() == "ready"
    with trainer.Trainer(game.pid) as train:
        assert trainer.obey(train, "list") == "nowhere"
        assert "freeze" in trainer.obey(train, "what")
        with pytest.raises(ValueError, match="invalid literal"):
            trainer.obey(train, "= x")
    with pytest.raises(ProcessLookupError):
        trainer.Trainer(0xFFFFFFF0)
