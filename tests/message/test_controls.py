"""Windows within windows: found, and asked for what they show."""

from __future__ import annotations

import concurrent.futures
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import c_peer_path

import winipc
from winipc import ControlItem, Window

Start = Callable[..., Any]


class Host(NamedTuple):
    """controls_host.exe and the windows that it has made."""

    peer: Any
    title: str
    window: Window
    panel: Window
    rows: Window
    tree: Window
    field: Window
    list: Window
    combo: Window
    secret: Window

    @property
    def controls(self) -> list[Window]:
        return list(self[3:])


@pytest.fixture
def start_host(start_peer: Start, unique_name: str) -> Callable[..., Host]:
    def start(*args: str) -> Host:
        peer = start_peer("controls_host.exe", unique_name, *args)
        windows = [Window(int(number)) for number in peer.read_line().split()]
        peer.expect("ready")
        return Host(peer, unique_name, *windows)

    return start


@pytest.fixture
def host(start_host: Callable[..., Host]) -> Host:
    return start_host()


# ----------------------------------------------------------------- finding


def test_children_are_all_that_lie_within(host: Host) -> None:
    """Those of children too, each with its parent, number and class."""
    found = host.window.children()
    assert set(host.controls) <= set(found)
    ids = {window: window.id for window in host.controls}
    assert list(ids.values()) == [1, 2, 3, 4, 5, 6, 7]
    assert host.rows.parent == host.tree.parent == host.panel
    assert host.panel.parent == host.field.parent == host.window
    assert (host.window.parent, host.window.id) == (None, 0)


def test_children_are_found_by_class_title_and_id(host: Host) -> None:
    """Letter case of names does not count; all that is given has to match."""
    window = host.window
    assert window.children("syslistview32") == [host.rows]
    assert window.children("Edit") == [host.field, host.secret]
    assert window.children("Edit", id=7) == [host.secret]
    assert window.children(title="PANEL") == [host.panel]
    assert window.children(title=re.compile("^pan")) == [host.panel]
    assert window.children("Edit", title="panel") == []
    assert host.panel.children("Edit") == []
    assert host.field.children() == []
    assert winipc.find_window(class_name="EDIT", parent=window) == host.field
    assert winipc.find_window("panel", parent=host.title) == host.panel
    assert winipc.find_window("no such", parent=window) is None
    assert winipc.find_windows("panel", parent=window, pid=host.peer.pid + 1) == []


def test_a_top_level_window_is_found_by_part_of_its_title(host: Host) -> None:
    """And by the class of a window within."""
    part = re.compile(re.escape(host.title[3:]))
    assert winipc.find_window(part) == host.window
    assert winipc.find_windows(part, child_class="SysTreeView32") == [host.window]
    assert winipc.find_window(part, child_class="Scintilla") is None
    assert winipc.find_window(host.title, child_class="EDIT") == host.window
    assert winipc.find_window(re.compile("no such " + host.title)) is None


def test_a_message_only_window_is_found_by_pattern(unique_name: str) -> None:
    """After the top-level ones, as by a whole title; it has no parent."""
    with winipc.CopyDataWindow.create(unique_name, message_only=True) as window:
        found = winipc.find_window(re.compile(f"^{unique_name}$"))
        assert found == Window(window.hwnd)
        assert (found.parent, found.id) == (None, 0)


def test_children_of_a_window_that_is_gone(host: Host) -> None:
    """An error, and no empty list."""
    host.peer.finish()
    with pytest.raises(FileNotFoundError) as caught:
        host.window.children()
    assert caught.value.winerror == 1400
    assert (host.field.parent, host.field.id) == (None, 0)


# ------------------------------------------------------------- what they show


def test_texts_are_read_and_set(host: Host) -> None:
    """In any script and length; the program sees them."""
    assert winipc.window_text(host.field) == "first"
    assert winipc.window_text(host.panel) == "panel"
    assert winipc.window_text(host.title) == host.title
    winipc.set_window_text(host.field, "Zoë 珍珠 \N{SNAKE}")
    assert winipc.window_text(host.field) == "Zoë 珍珠 \N{SNAKE}"
    host.peer.say("field")
    host.peer.expect("Zoë 珍珠 \N{SNAKE}")
    winipc.set_window_text(host.field, "")
    assert winipc.window_text(host.field) == ""
    long = "x" * 20_000
    winipc.set_window_text(host.field, long)
    assert winipc.window_text(host.field) == long
    with pytest.raises(ValueError, match="NUL"):
        winipc.set_window_text(host.field, "a\0b")


def test_items_of_lists(host: Host) -> None:
    """Also of a class that a toolkit has made of the list box."""
    texts = ("one", "", "珍珠")
    assert winipc.window_items(host.list) == [
        ControlItem(text, text == "珍珠") for text in texts
    ]
    assert winipc.window_items(host.combo) == [
        ControlItem(text, text == "one") for text in texts
    ]


def test_items_of_a_list_view(host: Host) -> None:
    """With all columns, through memory of the other program."""
    assert winipc.window_items(host.rows) == [
        ControlItem("alpha", False, ("alpha", "1")),
        ControlItem("Zoë", True, ("Zoë", "2")),
        ControlItem("珍珠", False, ("珍珠", "")),
    ]


def test_items_of_a_tree_view(host: Host) -> None:
    """In the order in which they are seen, with their level."""
    with winipc.RemoteProcess.open(host.window) as process:
        width = process.pointer_size
    if width > struct.calcsize("P"):
        with pytest.raises(ValueError, match="64 bits"):
            winipc.window_items(host.tree)
        return
    assert winipc.window_items(host.tree) == [
        ControlItem("disk", level=0),
        ControlItem("Größe", True, level=1),
        ControlItem("珍珠", level=2),
        ControlItem("last", level=1),
        ControlItem("net", level=0),
    ]


def test_a_window_without_items_is_refused(host: Host) -> None:
    """By its class, and a kind that does not exist by name."""
    with pytest.raises(ValueError, match="class 'Edit' is none of"):
        winipc.window_items(host.field)
    kind: Any = "grid"
    with pytest.raises(ValueError, match="kind 'grid'"):
        winipc.window_items(host.list, kind)
    # Said to be a list, it has nothing to answer.
    assert winipc.window_items(host.field, "listbox") == []


@pytest.mark.parametrize(
    "ask",
    [
        lambda host: winipc.window_text(host.field, timeout=0.2),
        lambda host: winipc.set_window_text(host.field, "x", timeout=0.2),
        lambda host: winipc.window_items(host.list, timeout=0.2),
        lambda host: winipc.window_items(host.rows, timeout=0.2),
        lambda host: winipc.window_items(host.tree, timeout=0.2),
    ],
    ids=["text", "set", "list", "rows", "tree"],
)
def test_a_hung_window_is_a_time_out(host: Host, ask: Callable[[Host], Any]) -> None:
    """In time, and it lives on when it comes to the late message."""
    host.peer.say("hang")
    host.peer.expect("hung")
    with pytest.raises(TimeoutError):
        ask(host)
    host.peer.say("go")
    assert winipc.window_items(host.list)[0].text == "one"
    assert len(winipc.window_items(host.rows)) == 3
    assert host.peer.finish() == 0


AT_EXIT = """
import sys, winipc

try:
    winipc.set_window_text(int(sys.argv[1]), "x", timeout=0.2)
except TimeoutError as error:
    print(getattr(error, "__notes__", []))
"""


def test_memory_that_a_hung_window_may_use_goes_without_a_word(
    host: Host, start_process: Start
) -> None:
    """No warning at the end of the program, and no note about it in the error."""
    host.peer.say("hang")
    host.peer.expect("hung")
    argv = [sys.executable, "-W", "error", "-c", AT_EXIT, str(host.field.hwnd)]
    asking = start_process(argv)
    asking.expect("[]")
    assert (asking.finish(), asking.stderr) == (0, [])


def test_a_program_that_dies_while_it_is_asked(host: Host) -> None:
    """The wait ends with it."""
    host.peer.say("hang")
    host.peer.expect("hung")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asked = pool.submit(winipc.window_items, host.rows, timeout=60.0)
        host.peer.kill()
        with pytest.raises(OSError):
            asked.result()


# ----------------------------------------------------------------- readiness


def test_ready_waits_for_an_answer(start_host: Callable[..., Host]) -> None:
    """A window that is there counts when its thread takes messages."""
    host = start_host("late")
    assert winipc.Window.wait_for(host.title, 10) == host.window
    with pytest.raises(TimeoutError, match=r"is not ready within 0\.3 s"):
        winipc.Window.wait_for(host.title, 0.3, ready=True)
    host.peer.say("go")
    assert winipc.Window.wait_for(host.title, 30, ready=True) == host.window


def test_ready_takes_windows_of_this_process_and_of_consoles(unique_name: str) -> None:
    """Which have no state of being idle."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        found = winipc.Window.wait_for(unique_name, 30, ready=True)
        assert found.hwnd == window.hwnd


def test_wait_input_idle(
    start_process: Start, tmp_path: Path, unique_name: str
) -> None:
    """A program with windows at its start: busy, idle, and ended."""
    program = bytearray(c_peer_path("controls_host.exe").read_bytes())
    (header,) = struct.unpack_from("<I", program, 0x3C)
    program[header + 92] = 2  # IMAGE_SUBSYSTEM_WINDOWS_GUI
    path = tmp_path / "with_windows.exe"
    path.write_bytes(program)
    peer = start_process([str(path), unique_name, "late"])
    peer.read_line()
    with winipc.RemoteProcess.open(peer.pid) as process:
        with pytest.raises(TimeoutError):
            process.wait_input_idle(0.2)
        peer.expect("ready")
        peer.say("go")
        process.wait_input_idle(30)
        assert winipc.Window.wait_for(unique_name, 30, ready=True)
        peer.finish()
        with pytest.raises(ProcessLookupError):
            process.wait_input_idle(30)
    with pytest.raises(ValueError, match="closed"):
        process.wait_input_idle(0)


def test_a_program_of_the_console_is_never_idle(host: Host) -> None:
    """ERROR_NOT_GUI_PROCESS (1471), whatever windows it has; bad time-outs as ever."""
    with winipc.RemoteProcess.open(host.peer.pid) as process:
        with pytest.raises(OSError) as caught:
            process.wait_input_idle(30)
        assert caught.value.winerror == 1471
        with pytest.raises(ValueError):
            process.wait_input_idle(-1)
    few = winipc.ProcessAccess.SYNCHRONIZE
    with (
        winipc.RemoteProcess.open(host.peer.pid, access=few) as process,
        pytest.raises(PermissionError, match="lacks 0x400"),
    ):
        process.wait_input_idle(0)
