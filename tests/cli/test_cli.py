"""The command line: in this process, and as a user runs it, in one of its own.

A start takes longer than most commands.
"""

from __future__ import annotations

import argparse
import codecs
import importlib
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, Peer
from helpers import BITS, need_libclang

import winipc
from winipc import cli
from winipc.base.text import counted, size_text
from winipc.cli import lists, messages

StartPeer = Callable[..., Peer]

GUIDE = Path(__file__).parents[2] / "docs" / "command-line.md"
UTF8 = {**os.environ, "PYTHONUTF8": "1"}


def start_and_wait(
    *arguments: str, stdin: bytes = b"", check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m winipc` with arguments to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "winipc", *arguments],
        input=stdin,
        capture_output=True,
        timeout=DEADLINE * 3,
        env=UTF8,
    )
    if check:
        assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done


def run_winipc(
    *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in this process, between pipes: what comes out of them.

    They begin with a code page, as pipes do on Windows.
    """
    pipes = {name: io.BytesIO() for name in ("stdout", "stderr")}
    with pytest.MonkeyPatch.context() as patch:
        for name, pipe in {**pipes, "stdin": io.BytesIO()}.items():
            patch.setattr(sys, name, io.TextIOWrapper(pipe, "cp437"))
        try:
            status: Any = cli.main(arguments)
        except SystemExit as ended:
            status = ended.code
        sys.stdout.flush()
        sys.stderr.flush()
        out, error = (pipe.getvalue() for pipe in pipes.values())
    if check:
        assert status == 0, error.decode(errors="replace")
    return subprocess.CompletedProcess(arguments, status, out, error)


def json_lines(*arguments: str) -> list[dict[str, Any]]:
    """What a command with --json prints: an object on each line."""
    return [json.loads(line) for line in run_winipc(*arguments).stdout.splitlines()]


def misuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The last line of what wrong usage prints; its status is 2."""
    try:
        status: object = cli.main(arguments)
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_works_in_a_checkout(tmp_path: Path) -> None:
    """Its sources come first, the extension and the DLL from what is installed."""
    package = Path(winipc.__file__).parent
    shutil.copytree(
        package,
        tmp_path / "winipc",
        copy_function=shutil.copyfile,  # copy2 needs what Wine 8 lacks
        ignore=shutil.ignore_patterns("*.pyd", "*.dll", "__pycache__"),
    )
    program = (
        "import winipc; winipc.SharedSection.load().close(); print(winipc.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
        env={name: value for name, value in UTF8.items() if name != "PYTHONSAFEPATH"},
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).parents[1] == tmp_path


@pytest.mark.smoke
def test_demo_delivers_over_all_transports() -> None:
    """The main job: four rows, every payload intact, answers of 1."""
    done = start_and_wait("demo", "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["transport"] for row in rows] == [
        "copydata",
        "mapping",
        "section",
        "process",
    ]
    for row in rows:
        assert row["intact"] == row["messages"] >= (7 if BITS == 64 else 6)
        assert set(row["answers"]) == {1}


def test_demo_prints_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("winipc.cli.demo._LARGE", 1 << 16)  # the test above sends it
    lines = run_winipc("demo").stdout.decode().splitlines()
    assert len(lines) == (7 if BITS == 64 else 8)
    assert lines[-1] == "all data arrived intact"


@pytest.mark.parametrize("via", ["copydata", "mapping", "section", "process"])
def test_send_and_receive_by_hand(
    start_winipc: Callable[..., Peer], unique_name: str, via: str
) -> None:
    """Two terminals: one receives, the other sends."""
    address = ("--title", unique_name, "--mapping", unique_name)
    receiver = start_winipc("receive", *address, "--count", "2", "--json")
    receiver.wait_for_stderr("listening")
    sent = json.loads(
        run_winipc("send", *address, "--via", via, "--json", "grüße").stdout
    )
    assert (sent["via"], sent["bytes"], sent["answer"]) == (via, 7, 1)
    # A 32-bit process lends only what has no NUL.
    raw = b"\xff\r\n" if BITS == 32 and via == "process" else b"\x00\xff\r\n"
    start_and_wait("send", *address, "--via", via, "-", stdin=raw)
    for data in ("grüße".encode(), raw):
        row = json.loads(receiver.read_line())
        assert (row["via"], bytes.fromhex(row["hex"])) == (via, data)
    assert receiver.finish() == 0


def test_send_takes_a_file(
    start_winipc: Callable[..., Peer], unique_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(256)))
    receiver = start_winipc("receive", "--title", unique_name, "--hex", "--count", "1")
    receiver.wait_for_stderr("listening")
    run_winipc("send", "--title", unique_name, "--file", str(path))
    assert receiver.read_line() == f"copydata 256 bytes: {bytes(range(256)).hex(' ')}"


def test_failures_are_one_line_and_status_1(unique_name: str) -> None:
    done = start_and_wait("send", "--title", unique_name, "text", check=False)
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("winipc: ")
    assert unique_name in line
    assert line.endswith(" (winipc windows shows which there are) (WinError 1400)")


def test_a_send_without_a_receiver_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, unique_name: str
) -> None:
    """Here the usual title is one that nobody uses."""
    monkeypatch.setattr(messages, "DEFAULT_TITLE", unique_name)
    [line] = run_winipc("send", "x", check=False).stderr.decode().splitlines()
    assert f"'{unique_name}' (winipc receive opens it; --title names another)" in line


def test_receive_times_out_with_status_1(unique_name: str) -> None:
    done = run_winipc(
        "receive",
        "--title",
        unique_name,
        "--mapping",
        unique_name,
        "--timeout",
        "0",
        check=False,
    )
    assert done.returncode == 1
    assert "no message" in done.stderr.decode()


#: Windows PowerShell takes a file without a mark for one in the code page.
ENCODINGS = {"bash": "utf-8", "powershell": "utf-8-sig"}


@pytest.mark.parametrize(
    ("shell", "line", "offered"),
    [
        ("bash", "winipc du", {"dump"}),
        ("bash", "winipc dump --fo", {"--follow"}),
        ("bash", "winipc ls --kind m", {"mapping", "mutex"}),
        ("bash", "winipc dump NAME", {"NAME", "NAME-漢"}),
        ("powershell", "winipc serve NAME", {"NAME", "NAME-漢"}),
    ],
)
def test_shells_complete_words(
    tmp_path: Path, unique_name: str, shell: str, line: str, offered: set[str]
) -> None:
    """By argcomplete, which shells ask in this way; no code page here has all names."""
    answer = tmp_path / "answer"
    typed = line.replace("NAME", unique_name[:-4])
    question = {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_SHELL": shell,
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "COMP_LINE": typed,
        "COMP_POINT": str(len(typed)),
    }
    with (
        winipc.SharedMapping.create(unique_name, 64),
        winipc.SharedMapping.create(f"{unique_name}-漢", 64),
    ):
        subprocess.run(
            [sys.executable, "-m", "winipc"],
            env={**os.environ, **question},
            timeout=DEADLINE,
        )
    assert answer.read_bytes().startswith(codecs.BOM_UTF8) == (shell == "powershell")
    words = {word.strip() for word in answer.read_text(ENCODINGS[shell]).splitlines()}
    assert words == {word.replace("NAME", unique_name) for word in offered}


def test_quotes_are_those_of_every_shell() -> None:
    """cmd.exe takes a ' for a character like others."""
    texts = [command.format_help() for command in parsers()]
    texts += re.findall(r"^winipc .*$", GUIDE.read_text("utf-8"), re.MULTILINE)
    assert [text for text in texts if re.search(r"(?<!\w)'", text)] == []


def test_works_without_output(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has None for a standard output that was closed by the caller."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        patch.setattr(sys, "stderr", None)
        statuses = [cli.main(words) for words in (["ls"], ["dump", "no such name"])]
        sys.stdout.close()
        sys.stderr.close()
    assert statuses == [0, 1]


def test_ctrl_c_while_it_starts_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `cli.main` does not yet see it."""

    def interrupted() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", interrupted)
    assert importlib.import_module("winipc.__main__").main() == 130


@pytest.mark.parametrize("arguments", [["nonsense"], ["send", "--via", "pigeon", "x"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert start_and_wait(*arguments, check=False).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("lss", "no command is called 'lss' (did you mean ls?)"),
        ("DUMP x", "no command is called 'DUMP' (did you mean dump?)"),
        ("list", "(did you mean ls?)"),
        ("hlep", "(did you mean help?)"),
        ("nonsense", "no command is called 'nonsense' (winipc help lists them)"),
        ("dump x --folow", "arguments: --folow (did you mean --follow?)"),
        ("dump x --layout speed:f32", "(did you mean --struct?)"),
        ("replay x.wipc --layout=f32", "(did you mean --struct?)"),
        ("dump x --type i32", "(did you mean --struct?)"),
        ("dump --name x", "arguments: --name (write the name without --name)"),
        ("listen --title x", "(write the title without --title)"),
        ("send x --seconds 1", "--seconds 1 (did you mean --timeout?)"),
        ("maps 1 --seconds 1", "arguments: --seconds 1"),
        ("listen my title", "title (an argument of several words needs quotes)"),
        ("dump x a:f32 b:i32", '(values by name: --struct "a:f32 b:i32")'),
        ("watch x speed", '(values by name and type: --struct "speed:f32"; an arg'),
        ("help send write", "help shows one command at a time, not 'write' as well"),
        ("help section build x", "section build: error: help shows one command"),
        ("help x", "no command is called 'x'"),
        ("cassette plai", "no action is called 'plai' (did you mean play?)"),
        ("section x", "no action is called 'x' (winipc help section lists them)"),
        ("cassette record x.wipc x.exe", "(a program goes after --: -- x.exe)"),
        ("send Hello World", "World (an argument of several words needs quotes; "),
        ("send look-w Hello", '; another window: --title "look-w")'),
        ("dump x --struct a:i32 b:i32", '(values by name: --struct "a:i32 b:i32")'),
        ("write x i32 4", "(a number by its type: --type i32 4)"),
        ("post a-title a-message 1", "(a number in the message: --wparam 1)"),
        ("send --title a title x", "x (an argument of several words needs quotes)"),
        ("receive look-w", 'arguments: look-w (another window: --title "look-w")'),
        ("dump x --struct <Z", "'<Z' is no type"),
        ("dump x --struct 4gear", "no fields: a field is NAME:TYPE, such as speed:f32"),
        ("dump x --struct gear", "'gear' has no type: a field is gear:f32, and codes"),
        ("dump x --struct speed", "'speed' has no type: a field is speed:f32, and"),
        ("watch x --struct id", "'id' has no type: a field is id:f32, and codes of"),
        ("dump x --struct x.h", "--struct: 'x.h': x.h:NAME names a structure"),
        ("dump x --struct speed:x", "speed: no type of numbers 'x'"),
        ("dump x --struct absent.h:state", "No such file or directory"),
        ("dump x --struct <II --size 4", "--size 8 or more"),
        ("dump x --size 0", "1 or more"),
        ("dump x --count 5", "only --follow has a --count and --seconds"),
        ("dump x --seconds 3", "only --follow has a --count and --seconds"),
        ("replay x.wipc --csv", "go together"),
        ("send --file x text", "not both"),
        ("send --via mapping --id 3 text", "only --via copydata"),
        ("scan 1 4", "'4' is no bytes, and a number needs its --type, such as i32"),
        ("scan 1 -4", "'-4' is no bytes, and a number needs its --type, such as i32"),
        ("scan 1 77.25", "no bytes, and a number needs its --type, such as f32"),
        ("scan 1 1..x --type i32", "'x' is no number of type i32"),
        ("scan 1 90-110", "no bytes; numbers of a range: 90..110 --type i32"),
        ("scan 1 1.5..2", "no bytes; numbers of a range: 1.5..2 --type i32"),
        ("scan 1 90-110 --type i32", "is no number; a range is 90..110"),
        ("scan 1 1.. --type i32", "'1..' lacks an end; a range is such as 90..110"),
        ("scan 1 ..1 --type f32", "'..1' lacks an end; a range is such as 90..110"),
        ("scan 1 48 8B", '8B (bytes in one argument: "48 8B"; numbers from A to B: A'),
        ("scan 1 x --type utf16", "utf-8, utf-16-le (did you mean utf-16?)"),
        ("write x 4 --type int32", "(did you mean i32?)"),
        ("scan 1 9..1 --type i32", "low 9 is greater than high 1"),
        ("scan 1 0..300 --type u8", "300 does not fit"),
        ("scan 1 hello", "half a byte; a text needs --type text"),
        ("scan 1 many --type i32", "'many'"),
        ("scan 1 300 --type u8", "fit"),
        ("scan 1 1 --type i32 --protection q", "'q': only r, w and x are known"),
        ("scan 1 1 --type i32 --limit 0", "--limit: 0 is not 1 or more"),
        ("record x x.wipc --rate 0", "--rate: 0 is not 1 or more"),
        ("bridge x --size 0", "--size: 0 is not 1 or more"),
        ("receive --mapping-size 0", "--mapping-size: 0 is not 1 or more"),
        ("serve --port 99999", "--port: 99999 is more than 65535"),
        ("listen x --message=", "--message: a message has a name"),
        ("cassette record x.wipc --mapping=", "--mapping: a name is not empty"),
        ("scan 1 x.y --type any", "'x.y'"),
        ("write x", "data"),
        ("write x 4", "'4' is not hexadecimal, two digits"),
        ("write x hello", "(--type text writes text, --type i32 a number)"),
        ("write x --type u8 300", "fit"),
        ("write x --type any 4", "and their struct codes; and hex, text, utf-16"),
        ("section build x.dll x 8", "NAME=SIZE: 'x' is not NAME=SIZE"),
        ("section build x.dll x=0", "'x=0': the size is 1 or more"),
        ("section build x.dll é=8", "name must be printable ASCII without spaces"),
        ("section build x.dll x=0x7fffffff", "bytes are more than a DLL can hold"),
        ("bridge", "name of a mapping"),
        ("cassette record x.wipc", "nothing to record"),
        ("cassette show x.wipc --struct x=", "'x=' has nothing behind its ="),
        ("cassette play x.wipc --name x=", "'x=' has nothing behind its ="),
    ],
)
def test_wrong_usage_says_what_is_wrong(
    capsys: pytest.CaptureFixture[str], arguments: str, complaint: str
) -> None:
    if "absent.h" in arguments:
        need_libclang()
    line = misuse(capsys, *arguments.split())
    assert line.endswith(complaint) if "--seconds" in arguments else complaint in line


def test_wrong_usage_is_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Not the list of all options."""
    for words, prog in (["dump"], "winipc dump"), (["section", "x"], "winipc section"):
        with pytest.raises(SystemExit):
            cli.main(words)
        first, last = capsys.readouterr().err.splitlines()
        assert first == f"Try '{prog} --help'."
        assert last.startswith(f"{prog}: error: ")


@pytest.mark.parametrize("words", [["ls", "--json"], ["help", "dump"], ["--version"]])
def test_a_reader_that_has_gone_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    unique_name: str,
    words: list[str],
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with (
        winipc.Event.create(unique_name),
        open(writer, "w", encoding="utf-8") as pipe,
        monkeypatch.context() as patch,
    ):
        patch.setattr(sys, "stdout", pipe)
        assert cli.main(words) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (1, "1 byte")])
def test_one_is_singular(number: int, text: str) -> None:
    assert counted(number, "byte") == size_text(number) == text


def test_help_is_there_without_a_command_and_by_help(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for words, shown in (
        ((), "winipc help COMMAND"),
        (("help",), "winipc help COMMAND"),
        (("help", "dump"), "winipc dump my-app.state --size 64 --follow"),
        (("help", "dump"), "\n\nShow a mapping, or memory of a process,"),
        (("help", "section"), "\n\nWrite a DLL with shared variables,"),
        (("help", "section", "build"), "winipc section build shared.dll"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 0
        assert shown in capsys.readouterr().out


def test_examples_of_the_help_are_commands() -> None:
    """Each command has one, but those that need no arguments."""
    for parser in parsers():
        examples = re.findall(r"^  winipc (.*)$", parser.epilog or "", re.MULTILINE)
        assert examples or parser.prog.split()[1] in ("demo", "doctor", "selftest")
        for line in examples:
            if ".h " not in line:  # a header that is not there
                assert cli._parsed(shlex.split(line)).parser.prog == parser.prog


def parsers() -> list[argparse.ArgumentParser]:
    """Those of all commands and their actions that run something."""
    found, left = [], [cli._parser()[0]]
    while left:
        parser = left.pop()
        inner = [
            choice
            for action in parser._actions
            if isinstance(action, argparse._SubParsersAction)
            for choice in action.choices.values()
        ]
        left += inner
        if not inner:
            found.append(parser)
    return found


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("maps 5000000000", "PID: 5000000000 is more than 4294967295"),
        ("scan 99999999999999999999 41", "PID: 9"),
        ("scan 1 41 --limit 99999999999999999999", "--limit: 9"),
        ("dump 5000000000:0x1000", "NAME|PID:ADDR: 5"),
        ("dump x --offset 99999999999999999999", "--offset: 9"),
        ("dump x --follow --interval 1e300", "--interval: 1e300 s are more than"),
        ("watch x --interval 1e300", "--interval: 1e300 s are more than"),
        ("bridge x --size 99999999999999999999", "--size: 9"),
        ("listen x --max-message 4294967296", "--max-message: 4294967296 is more"),
        ("receive --max-message 4294967296", "--max-message: 4294967296 is more"),
        ("receive --mapping-size 99999999999999999999", "--mapping-size: 9"),
        ("windows --pid 5000000000", "--pid: 5"),
    ],
)
def test_numbers_that_are_too_large_are_wrong_usage(
    capsys: pytest.CaptureFixture[str], arguments: str, complaint: str
) -> None:
    """Nothing has begun, and the line says which number, and mostly how much goes."""
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments.split())
    assert ended.value.code == 2
    assert f"error: argument {complaint}" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OverflowError("5 does not fit in 2 bits"), "5 does not fit in 2 bits"),
        (MemoryError(), "there is not enough memory"),
        (MemoryError("of this kind"), "of this kind"),
    ],
    ids=repr,
)
def test_what_is_too_large_only_later_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    text: str,
) -> None:
    def run(_arguments: object) -> int:
        raise error

    monkeypatch.setattr(lists, "_ls", run)
    assert cli.main(["ls"]) == 1
    assert capsys.readouterr().err == f"winipc: {text}\n"
