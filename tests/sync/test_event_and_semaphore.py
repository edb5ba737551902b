"""Event and Semaphore, alone and between processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from helpers.waitables import LONG, ask

from winipc import Event, Semaphore


@pytest.mark.smoke
def test_event_wakes_another_process(
    make: Callable[..., Any], sync_peer: Any, unique_name: str
) -> None:
    """Both directions: the peer waits for us, and we for the peer."""
    there = make(Event, unique_name)
    back = make(Event, unique_name + "-back")
    ask(sync_peer, f"there = winipc.Event.open({unique_name!r})")
    ask(sync_peer, f"back = winipc.Event.open({unique_name + '-back'!r})")
    sync_peer.say("there.wait(30) and back.set()")
    there.set()
    assert back.wait(LONG)
    sync_peer.expect("None")
    assert not there.is_set()
    assert not back.is_set()


def test_auto_event_lets_one_go_manual_all(make: Callable[..., Any]) -> None:
    """An auto-reset event is consumed by a wait, a manual-reset one is not."""
    auto = make(Event)
    manual = make(Event, manual=True)
    assert auto.manual is False
    assert manual.manual is True
    auto.set()
    auto.set()
    assert auto.is_set()
    assert auto.wait(0)
    assert not auto.wait(0)
    manual.set()
    assert manual.wait(0)
    assert manual.wait(timeout=0)
    assert manual.is_set()
    manual.reset()
    assert not manual.wait(0)
    assert make(Event, initial=True).wait(0)
    assert make(Event, manual=1).manual is True


def test_event_of_the_other_reset_is_refused(
    make: Callable[..., Any], unique_name: str
) -> None:
    """exist_ok does not paper over a different kind of event."""
    make(Event, unique_name, manual=True)
    with pytest.raises(ValueError, match="is a manual-reset event"):
        Event.create(unique_name, exist_ok=True)
    with closing(Event.open(unique_name)) as opened:
        assert opened.manual is True


def test_with_closes_an_event() -> None:
    """An event has nothing to take, so `with` closes it."""
    with Event.create() as event:
        assert not event.closed
    assert event.closed


@pytest.mark.smoke
def test_semaphore_counts_between_processes(
    make: Callable[..., Any], sync_peer: Any, unique_name: str
) -> None:
    """What the peer takes is gone here; what we give it gets."""
    semaphore = make(Semaphore, unique_name, 2, 3)
    assert ask(sync_peer, f"s = winipc.Semaphore.open({unique_name!r})") == "ok"
    assert ask(sync_peer, "s.acquire(0), s.value, s.maximum") == "(True, 1, 3)"
    with semaphore:
        assert semaphore.value == 0
        assert ask(sync_peer, "s.acquire(0.01)") == "False"
    assert ask(sync_peer, "s.acquire(5)") == "True"
    assert semaphore.acquire(0.01) is False
    assert semaphore.release(2) == 0
    assert semaphore.value == 2


def test_semaphore_keeps_its_maximum(make: Callable[..., Any]) -> None:
    """Too large a release adds nothing."""
    semaphore = make(Semaphore, None, 1, 2)
    with pytest.raises(OSError, match="maximum") as over:
        semaphore.release(2)
    assert over.value.winerror == 298
    assert semaphore.value == 1
    for bad in (0, -1, 2**31):
        with pytest.raises((ValueError, OverflowError)):
            semaphore.release(bad)
    for initial, maximum in ((3, 2), (0, 0), (-1, 5), (1, 2**31)):
        with pytest.raises((ValueError, OverflowError)):
            Semaphore.create(None, initial, maximum)


def test_dead_taker_gives_nothing_back(
    make: Callable[..., Any], sync_peer: Any, unique_name: str
) -> None:
    """Unlike a mutex, a semaphore belongs to nobody; the count stays taken."""
    semaphore = make(Semaphore, unique_name, 1)
    assert (
        ask(sync_peer, f"winipc.Semaphore.open({unique_name!r}).acquire(0)") == "True"
    )
    sync_peer.kill()
    assert semaphore.acquire(0.01) is False
