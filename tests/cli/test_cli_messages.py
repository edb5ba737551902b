"""`winipc listen`, `windows`, `maps` and `section`."""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Peer
from test_cli import json_lines, misuse, run_winipc
from test_cli_memory import failure

import winipc
from winipc import cli
from winipc.cli.options import received

StartPeer = Callable[..., Peer]


@pytest.mark.parametrize("form", ["text", "hex", "json"])
def test_listen_prints_messages(
    start_winipc: StartPeer, unique_name: str, form: str
) -> None:
    options = [] if form == "text" else [f"--{form}"]
    peer = start_winipc("listen", unique_name, *options, "--count", "1")
    peer.wait_for_stderr("listening")
    winipc.send_copydata(unique_name, "grüße".encode(), id=7)
    line = peer.read_line()
    if form == "json":
        row = json.loads(line)
        assert (row["id"], row["bytes"], row["text"]) == (7, 7, "grüße")
        assert row["sender"] is row["pid"] is None
    else:
        shown = "grüße" if form == "text" else "grüße".encode().hex(" ")
        assert line.endswith(f"id 0x7, 7 bytes: {shown}")
        assert line.startswith("unknown sender, ")
    assert peer.finish() == 0


@pytest.mark.parametrize("command", ["listen", "receive"])
def test_a_long_message_is_cut(
    start_winipc: StartPeer, unique_name: str, command: str
) -> None:
    """Between characters, with the number of those left out; JSON has all."""
    title = [unique_name] if command == "listen" else ["--title", unique_name]
    if command == "receive":
        title += ["--mapping", f"{unique_name}.mapping"]
    for options in ([], ["--hex"], ["--json"]):
        peer = start_winipc(command, *title, *options, "--count", "2")
        peer.wait_for_stderr("listening")
        for length in (1024, 3000):
            winipc.send_copydata(unique_name, ("ü" * length).encode())
        exact, line = peer.read_line(), peer.read_line()
        if options == ["--json"]:
            assert len(json.loads(line)["hex"]) == 2 * 2 * 3000
        elif options:
            assert line.endswith(f" bytes: {'c3 bc ' * 512}... 4976 more")
            assert exact.endswith("c3 bc ... 1024 more")
        else:
            assert line.endswith(f" bytes: {'ü' * 1024} ... 1976 more")
            assert exact.endswith(f" bytes: {'ü' * 1024}")
        assert peer.finish() == 0


def test_listen_takes_registered_messages(
    start_winipc: StartPeer, unique_name: str
) -> None:
    """Each by its name; a number stays a number."""
    other = f"{unique_name}-other"
    takes = [f"--message={one}" for one in (unique_name, other, "0x8001")]
    number = winipc.register_message(unique_name)
    peer = start_winipc("listen", unique_name, *takes, "--json", "--count", "2")
    peer.wait_for_stderr("listening")
    winipc.send_message(unique_name, number, 1, 2)
    row = json.loads(peer.read_line())
    assert (row["message"], row["wparam"], row["lparam"]) == (number, 1, 2)
    assert row["name"] == unique_name
    winipc.send_message(unique_name, 0x8001)
    assert "name" not in json.loads(peer.read_line())
    assert peer.finish() == 0
    peer = start_winipc("listen", unique_name, *takes, "--count", "3")
    peer.wait_for_stderr("listening")
    for message in (other, unique_name, 0x8001):
        winipc.send_message(unique_name, message, 1, 2)
        what = hex(message) if isinstance(message, int) else message
        assert peer.read_line() == f"message {what} wparam 0x1 lparam 0x2"
    assert peer.finish() == 0


def test_listen_says_that_nothing_came(unique_name: str) -> None:
    done = run_winipc("listen", unique_name, "--timeout", "0", check=False)
    assert done.returncode == 1
    [_, line] = done.stderr.decode().splitlines()  # the first says that it listens
    assert line == f"winipc: no message came to '{unique_name}' within 0 s"


@pytest.mark.parametrize("command", ["listen", "receive --title", "watch", "dump"])
def test_commands_without_an_end_end_after_so_many_seconds(
    unique_name: str, command: str
) -> None:
    """And that is no error."""
    options = ["--seconds", "0.01", *["--follow"] * (command == "dump")]
    if command.startswith("receive"):
        options += ["--mapping", unique_name]
    with winipc.SharedMapping.create(f"{unique_name}-2", 4) as mapping:
        name = mapping.name if command in ("watch", "dump") else unique_name
        run_winipc(*command.split(), str(name), *options)


def test_a_flood_does_not_outlast_the_seconds() -> None:
    arguments = argparse.Namespace(count=None, seconds=0.0, timeout=None)
    assert list(itertools.islice(received(lambda _: 1, arguments), 3)) == []


def test_text_of_others_is_one_line_without_control_characters(
    start_winipc: StartPeer, unique_name: str
) -> None:
    """It can neither look like another message nor order the terminal about."""
    evil = "grüße\n\x1b[31mpid 1 \u202eid"
    shown = r"grüße\n\x1b[31mpid 1 \u202eid"
    peer = start_winipc("listen", unique_name, "--count", "1")
    peer.wait_for_stderr("listening")
    winipc.send_copydata(unique_name, evil.encode())
    assert peer.read_line().endswith(f": {shown}")
    assert peer.finish() == 0
    arguments = ("--title", unique_name, "--mapping", unique_name, "--count", "1")
    peer = start_winipc("receive", *arguments)
    peer.wait_for_stderr("listening")
    with winipc.Sender(unique_name, mapping=unique_name) as sender:
        sender.send(evil.encode())
    assert peer.read_line().endswith(f": {shown}")
    assert peer.finish() == 0
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        mapping.write(evil.encode())
        done = run_winipc("dump", unique_name, "--struct", "name:40s")
        assert done.stdout.decode().splitlines() == [f"name={shown}"]


@pytest.mark.parametrize("command", ["listen", "receive"])
def test_a_title_that_is_taken_is_refused_unless_asked_for(
    unique_name: str, command: str
) -> None:
    """Senders find either window, so one of the two would wait in silence."""
    title = [unique_name] if command == "listen" else ["--title", unique_name]
    if command == "receive":
        title += ["--mapping", unique_name]
    with winipc.CopyDataWindow.create(unique_name):
        line = failure(command, *title, "--count", "0")
        assert "there is a window with this title" in line
        assert line.endswith("' (--exist-ok opens another) (WinError 183)")
        assert run_winipc(command, *title, "--count", "0", "--exist-ok").stdout == b""
    assert run_winipc(command, *title, "--count", "0").stdout == b""


@pytest.mark.parametrize("text", ["nan", "-1", "inf", "soon"])
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("send", "--title", "none", "--timeout"), id="send"),
        pytest.param(("receive", "--timeout"), id="receive"),
        pytest.param(("listen", "none", "--timeout"), id="listen"),
        pytest.param(("watch", "none", "--timeout"), id="watch"),
        pytest.param(("watch", "none", "--interval"), id="interval"),
        pytest.param(("record", "none", "none", "--seconds"), id="record"),
        pytest.param(("bridge", "none", "--seconds"), id="bridge"),
        pytest.param(("replay", "none", "--speed"), id="speed"),
    ],
)
def test_times_that_are_none_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...], text: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([*command[:-1], f"{command[-1]}={text}"])
    assert caught.value.code == 2
    assert repr(text) in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("send", "text", "--title="), id="send"),
        pytest.param(("receive", "--title=", "--count=0"), id="receive"),
        pytest.param(("post", "", "0x8001"), id="post"),
        pytest.param(("listen", "", "--count=0"), id="listen"),
        pytest.param(("serve", "--listen=", "--struct=I"), id="serve-listen"),
        pytest.param(("serve", "--attach=", "--struct=I"), id="serve-attach"),
    ],
)
def test_an_empty_title_is_wrong_usage(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(list(command))
    assert caught.value.code == 2
    assert "the title of a window is not empty" in capsys.readouterr().err


def test_windows_lists_whose_they_are(unique_name: str) -> None:
    with winipc.CopyDataWindow.create(unique_name) as window:
        rows = json_lines("windows", "--pid", str(os.getpid()), "--json")
        [row] = [row for row in rows if row["title"] == unique_name]
        assert (row["hwnd"], row["hung"]) == (window.hwnd, False)
        assert unique_name in run_winipc("windows").stdout.decode()
        for pattern in (unique_name, f"{unique_name[:-1].upper()}?"):
            own = ("--pid", str(os.getpid()), "--json")
            for words in ((pattern, *own), (*own, pattern)):
                [row] = json_lines("windows", *words)
                assert row["hwnd"] == window.hwnd
        assert json_lines("windows", unique_name[1:], "--json") == []
    assert json_lines("windows", "--title", unique_name, "--json") == []
    done = run_winipc("windows", f"{unique_name}*")
    assert done.stderr.decode().startswith("no window has a title like ")
    done = run_winipc("windows", "--title", unique_name)
    assert done.stderr.decode().splitlines() == ["no window was found"]


def test_windows_are_gone_with_a_killed_process(
    start_winipc: StartPeer, unique_name: str
) -> None:
    peer = start_winipc("listen", unique_name)
    peer.wait_for_stderr("listening")
    assert unique_name in run_winipc("windows", "--title", unique_name).stdout.decode()
    peer.kill()
    assert json_lines("windows", "--title", unique_name, "--json") == []


@pytest.mark.parametrize("options", [(), ("--regions",)])
def test_maps_show_modules_and_protection(options: tuple[str, ...]) -> None:
    rows = json_lines("maps", str(os.getpid()), "--json", *options)
    with winipc.RemoteProcess.open(os.getpid()) as process:
        base = process.module("kernel32.dll").base
    [row] = [row for row in rows if row["base"] == base]
    assert "kernel32" in row["label"]
    assert row["protection"].startswith("r")


def test_maps_of_no_process_is_said(start_peer: StartPeer) -> None:
    target = start_peer("target.exe")
    target.read_line()
    target.kill()
    for named, told in (
        (str(target.pid), f"'pid {target.pid}, which has exited'"),
        ("nothing-like-it.exe", "'nothing-like-it.exe'"),
        ("PYTHN.exe", "'PYTHN.exe' (did you mean python.exe?)"),
        ("pythn", "'pythn' (did you mean python?)"),
    ):
        assert failure("maps", named) == f"winipc: There is no such process: {told}"


def test_section_build_makes_a_dll_that_is_shared(tmp_path: Path) -> None:
    dll = tmp_path / "made.dll"
    variables = ("counter=8", "data=0x1000")
    rows = {
        row["name"]: row
        for row in json_lines("section", "build", str(dll), *variables, "--json")
    }
    assert set(rows) == {"counter", "data"}
    with winipc.SharedSection.load(dll, "data", size=0x1000) as section:
        section.write(b"hello")
        assert section.read(5) == b"hello"
    assert b"counter" in run_winipc("section", "show", str(dll)).stdout
    done = run_winipc(
        "section", "build", str(tmp_path / "one.dll"), "counter=8", "--def"
    )
    assert b"one.dll: 1 variable, " in done.stdout
    assert (tmp_path / "one.def").exists()


@pytest.mark.parametrize(
    "variable", ["counter", "counter=", "=8", "counter=0", "a b=8"]
)
def test_section_build_refuses_what_is_no_variable(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, variable: str
) -> None:
    words = ("section", "build", str(tmp_path / "made.dll"))
    told = "printable ASCII" if variable == "a b=8" else "NAME=SIZE"
    assert told in misuse(capsys, *words, variable)
    assert not (tmp_path / "made.dll").exists()


def test_section_show_refuses_what_is_no_dll(tmp_path: Path) -> None:
    (tmp_path / "text.dll").write_text("nothing")
    failure("section", "show", str(tmp_path / "text.dll"))
    failure("section", "show", str(tmp_path / "absent.dll"))


def test_maps_name_the_mapping_behind_a_view(unique_name: str) -> None:
    with winipc.SharedMapping.create(unique_name, 4096) as mapping:
        mapping.write(os.urandom(64))
        rows = json_lines("maps", str(os.getpid()), "--json")
        [row] = [row for row in rows if row["base"] == mapping.address]
    assert unique_name in row["label"]


def test_send_gives_an_id_and_post_two_numbers(
    start_winipc: StartPeer, unique_name: str
) -> None:
    peer = start_winipc(
        *("listen", unique_name, "--message", unique_name, "--json", "--count", "3")
    )
    peer.wait_for_stderr("listening")
    run_winipc("send", "--title", unique_name, "--id", "0x12", "text")
    row = json.loads(peer.read_line())
    assert (row["id"], row["text"]) == (0x12, "text")
    done = run_winipc("post", unique_name, "WM_CLOSE")
    assert b"0x10 for WM_CLOSE" in done.stderr
    run_winipc("post", unique_name, unique_name, "--wparam", "3", "--lparam", "0x10")
    row = json.loads(peer.read_line())
    assert (row["wparam"], row["lparam"]) == (3, 16)
    [row] = json_lines(
        "post", unique_name, "--wparam=4", "--wait", unique_name, "--json"
    )
    assert row["answer"] == 1
    assert json.loads(peer.read_line())["wparam"] == 4
    assert peer.finish() == 0
    assert unique_name in failure("post", unique_name, unique_name)


def test_a_window_that_takes_only_copydata_is_said_to(
    start_winipc: StartPeer, unique_name: str
) -> None:
    """It looks like a receiver that refused the data."""
    peer = start_winipc("listen", unique_name)
    peer.wait_for_stderr("listening")
    address = ("--title", unique_name, "--mapping", unique_name)
    line = failure("send", *address, "--via", "mapping", "text")
    assert "only WM_COPYDATA" in line
    assert "Errno" not in line
    peer.kill()
