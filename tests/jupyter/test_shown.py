"""What shows itself: lists as tables, and the state of locks, channels and windows."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import winipc
from winipc import (
    Channel,
    CopyDataWindow,
    Event,
    Mutex,
    Receiver,
    Semaphore,
    Sender,
    SharedLock,
    SharedMapping,
    Window,
)
from winipc.base.rows import Rows
from winipc.jupyter import view_of

HOSTILE = "<script>alert('x')</script>\n\u202e&"


@pytest.mark.parametrize("listed", ["named_objects", "processes", "find_windows"])
def test_a_list_is_a_table(listed: str, unique_name: str) -> None:
    """It is a list for programs, and a table for people, also in part."""
    with Event.create(unique_name), CopyDataWindow.create(unique_name):
        rows = getattr(winipc, listed)()
        first = rows[0]
        assert isinstance(rows, list)
        assert type(rows[:2]) is Rows
        assert list(rows[:1]) == [first]
        lines = repr(rows[:2]).splitlines()
        assert len(lines) == len(rows[:2]) + 1
        assert lines[0].split() == [name.upper() for name in first._cells()]
        assert "<table" in rows[:2]._repr_html_()
        again = pickle.loads(pickle.dumps(rows))
        assert again == rows
        assert type(again) is type(copy.copy(rows)) is Rows


def test_tables_say_what_there_is(unique_name: str) -> None:
    """A mapping with its size, a window with its title, this process by its name."""
    with (
        SharedMapping.create(unique_name, 12345),
        CopyDataWindow.create(unique_name) as window,
    ):
        found = repr(winipc.named_objects("mapping", unique_name))
        assert f"mapping  16,384  Local\\{unique_name}" in found
        windows = winipc.find_windows(unique_name)
        assert unique_name in repr(windows)
        assert f"{window.hwnd:#x}" in windows._repr_html_()
    assert repr(windows).endswith("gone")
    assert "hidden" not in windows[0]._repr_html_()
    assert "python" in repr(winipc.processes()).casefold()


def test_long_and_empty_tables() -> None:
    """A repr has sixty rows, and a list without rows is one."""
    row = winipc.processes()[0]
    long = Rows([row] * 2000)
    assert repr(long).splitlines()[60:] == [
        repr(long[:1]).splitlines()[1],
        "... and 1940 more",
    ]
    assert "1000 more" in long._repr_html_()
    assert view_of(long, count=3).html().count("<tr>") == 4
    assert repr(long[:0]) == "[]"
    assert "0 rows" in long[:0]._repr_html_()
    with pytest.raises(ValueError, match="negative"):
        view_of(long, count=-1)


def test_a_list_with_something_else_in_it_is_no_table() -> None:
    """It is the caller's list: its repr never raises."""
    rows = winipc.processes()[:1]
    rows.append("x")  # type: ignore[arg-type]
    assert repr(rows) == f"[{rows[0]!r}, 'x']"
    assert "rows of one kind" in rows._repr_html_()


def test_hostile_names_stay_text(unique_name: str) -> None:
    """No tag, no new line, no turned text, in a table or in the view of a window."""
    title = unique_name + HOSTILE
    with CopyDataWindow.create(title) as window, Event.create(title) as event:
        windows = winipc.find_windows(title)
        assert len(repr(windows).splitlines()) == 2
        objects = winipc.named_objects("event", f"*{unique_name}*")
        assert len(repr(objects).splitlines()) == 2
        for shown in (windows, windows[0], objects, event, window):
            html = shown._repr_html_()
            assert "&lt;script&gt;" in html
            assert "<script" not in html
            assert "\u202e" not in html


def _channel(name: str) -> Any:
    return Channel.create(name, 4096)


@pytest.mark.parametrize(
    ("make", "change", "before", "after"),
    [
        (Event.create, lambda e: e.set(), "not set, auto reset", "set, auto reset"),
        (Mutex.create, lambda m: m.acquire(0), "free", "held"),
        (Semaphore.create, lambda s: s.acquire(0), "1 of", "0 of"),
        (_channel, lambda c: c.send(b"x" * 8), "0 of 4096 bytes", "16 of 4096 bytes"),
    ],
    ids=["event", "mutex", "semaphore", "channel"],
)
def test_state_is_shown(
    make: Callable[[str], Any],
    change: Callable[[Any], object],
    before: str,
    after: str,
    unique_name: str,
) -> None:
    """A repr and a view tell the state of now."""
    one = make(unique_name)
    assert f"{unique_name}'" in repr(one)
    assert before in repr(one)
    assert before in one._repr_html_()
    change(one)
    assert after in repr(one)
    assert before not in repr(one)
    assert after in one._repr_html_()
    if isinstance(one, Mutex):
        one.release()
    one.close()
    assert "closed" in repr(one)
    assert "closed" in one._repr_html_()


def test_a_shared_lock_names_its_owner() -> None:
    with SharedMapping.create(None, 64) as mapping:
        lock = SharedLock(mapping, 0)
        assert "SharedLock free," in lock._repr_html_()
        with lock:
            assert f"held by thread {lock.owner}" in repr(lock)
        lock.close()


def test_a_receiver_shows_its_queue(unique_name: str) -> None:
    """What waits, the newest first, and it still waits then."""
    with Receiver(unique_name, mapping=unique_name) as receiver:
        assert "no message waits" in receiver._repr_html_()
        with Sender(unique_name, mapping=unique_name) as sender:
            for text in (b"one", b"<two>"):
                sender.send(text, "mapping" if text == b"one" else "copydata")
        assert receiver.pending == 2
        assert "2 waiting" in repr(receiver)
        html = receiver._repr_html_()
        assert html.index("&lt;two&gt;") < html.index(">one<")
        assert "by mapping" in html
        assert [each.data for each in receiver.latest(1)] == [b"<two>"]
        assert receiver.latest(0) == []
        assert "1 older ones" in view_of(receiver, count=1).html()
        assert receiver.receive(0).data == b"one"


def test_a_window_shows_what_it_is(unique_name: str) -> None:
    with CopyDataWindow.create(unique_name) as own:
        window = Window(own.hwnd)
        assert repr(window).startswith(f"<Window {own.hwnd:#x} '{unique_name}'")
        assert "hidden" in window._repr_html_()
    assert repr(window) == f"<Window {window.hwnd:#x} gone>"
    assert "gone" in window._repr_html_()
