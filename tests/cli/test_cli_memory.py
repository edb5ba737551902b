"""`winipc ls`, `dump`, `watch` and `write`."""

from __future__ import annotations

import contextlib
import json
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Peer
from helpers import BITS
from helpers.deadlines import LONG
from helpers.waitables import held_elsewhere
from hypothesis import given
from hypothesis import strategies as st
from test_cli import json_lines, run_winipc

import winipc
from winipc.base.text import columns_of, hex_rows, text_table
from winipc.cli import dump, terminal
from winipc.cli.output import print_json, print_line, print_table

StartPeer = Callable[..., Peer]


def failure(*arguments: str) -> str:
    """The one line that a command fails with."""
    done = run_winipc(*arguments, check=False)
    assert done.returncode == 1
    [line] = done.stderr.decode().splitlines()
    assert line.startswith("winipc: ")
    return line


@pytest.mark.smoke
def test_ls_shows_name_size_and_holders(unique_name: str) -> None:
    """As a table in a pipe, and as JSON."""
    with winipc.SharedMapping.create(unique_name, 5000):
        [row] = json_lines("ls", unique_name, "--json")
        assert (row["kind"], row["name"]) == ("mapping", f"Local\\{unique_name}")
        assert row["size"] >= 5000
        lines = run_winipc("ls", unique_name, "--holders").stdout.decode().splitlines()
        assert len(lines) == 2
        assert str(os.getpid()) in lines[1]
        assert len(json_lines("ls", unique_name, "--kind=mapping", "--json")) == 1
        assert json_lines("ls", unique_name, "--kind=mutex", "--json") == []
    done = run_winipc("ls", unique_name)
    assert (done.stdout, done.stderr.split()[:3]) == (b"", [b"no", b"named", b"object"])


def test_dump_shows_lines_and_values(unique_name: str) -> None:
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        mapping[16:22] = b"hello!"
        text = run_winipc("dump", unique_name, "--size", "0x20").stdout.decode()
        assert text.splitlines() == [
            "00000000 " + " 00" * 8 + " " + " 00" * 8 + "  " + "." * 16,
            "00000010  68 65 6c 6c 6f 21 00 00 " + " 00" * 8 + "  hello!" + "." * 10,
        ]
        arguments = ("dump", unique_name, "--offset", "16", "--struct", "<5sB")
        row = json.loads(run_winipc(*arguments, "--json").stdout)
        assert (row["values"], row["bytes"]) == (["hello", 33], 6)
        assert run_winipc(*arguments).stdout.split() == [b"hello", b"33"]


@given(
    st.lists(st.sampled_from([b"A", b"B", bytes(7)]), min_size=1, max_size=9),
    st.integers(0, 2),
)
def test_a_dump_leaves_out_rows_that_are_equal(parts: list[bytes], times: int) -> None:
    """As a look at each row says; a * stands for them."""
    data = b"".join(parts) * 40**times
    expected: list[str] = []
    rows = list(hex_rows(0, data))
    for row, before in zip(rows, [None, *rows], strict=False):
        if before is None or row is rows[-1] or row.pairs != before.pairs:
            expected.append(row.line())
        elif expected[-1] != "*":
            expected.append("*")
    assert list(dump._hex_lines(0, data)) == expected


def test_dump_names_the_fields_of_a_structure(unique_name: str) -> None:
    """Laid out as in C, or packed; text, arrays, JSON."""
    speed, wheels = struct.pack("<f", 52.1), struct.pack("<2h", 1, -2)
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        mapping.write(b"\x07\0\0\0" + speed + wheels + b"abc\0xyz" + b"\1")
        fields = "gear:b speed:f wheels:2h name:7s on:?"
        arguments = ("dump", unique_name, "--struct", fields)
        text = run_winipc(*arguments).stdout.decode().strip()
        assert text == "gear=7 speed=52.1 wheels=[1 -2] name=abc on=True"
        row = json.loads(run_winipc(*arguments, "--json").stdout)
        assert row["bytes"] == 20
        assert row["values"]["wheels"] == [1, -2]
        assert list(row["values"]) == ["gear", "speed", "wheels", "name", "on"]
        mapping.write(b"\x07" + speed)
        packed = ("dump", unique_name, "--struct", "< gear:b speed:f")
        assert run_winipc(*packed).stdout.decode().strip() == "gear=7 speed=52.1"


@pytest.mark.parametrize(
    ("fields", "values", "text"),
    [
        (
            "x:f y:2f z:d",
            {"x": None, "y": [1.5, None], "z": None},
            "x=nan y=[1.5 inf] z=-inf",
        ),
        ("<3f4xd", [None, 1.5, None, None], "nan 1.5 inf -inf"),
    ],
    ids=["named", "plain"],
)
def test_floats_that_json_has_not_are_null(
    unique_name: str, fields: str, values: object, text: str
) -> None:
    """NaN and infinity; as text they are what they are."""
    arguments = ("dump", unique_name, "--struct", fields)
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        mapping.write(struct.pack("<3f4xd", math.nan, 1.5, math.inf, -math.inf))
        line = run_winipc(*arguments, "--json").stdout
        assert json.loads(line, parse_constant=pytest.fail)["values"] == values
        assert run_winipc(*arguments).stdout.decode().strip() == text


def test_json_is_never_printed_with_what_it_has_not() -> None:
    with pytest.raises(ValueError, match="JSON"):
        print_json({"values": [math.nan]})


def test_dump_reads_another_process() -> None:
    with winipc.GlobalMemory.allocate(16) as block:
        block.write(struct.pack("<2d", 1.5, -2.0))
        target = f"{os.getpid()}:{block.address:#x}"
        row = json.loads(run_winipc("dump", target, "--struct", "<2d", "--json").stdout)
        assert row["values"] == [1.5, -2.0]


def test_dump_follow_marks_what_changed(
    start_winipc: StartPeer, unique_name: str
) -> None:
    with winipc.SharedMapping.create(unique_name, 32) as mapping:
        peer = start_winipc("dump", unique_name, "--size=32", "--follow", "--count=1")
        assert peer.read_line().startswith("00000000")
        assert peer.read_line().startswith("00000010")
        mapping[18:20] = b"AB"
        assert peer.read_line().startswith("00000010  00 00*41*42 00")
        assert peer.finish() == 0


def test_watch_prints_changes(start_winipc: StartPeer, unique_name: str) -> None:
    with winipc.SharedMapping.create(unique_name, 4096) as mapping:
        peer = start_winipc("watch", unique_name, "--json", "--count=2")
        peer.wait_for_stderr("watching")
        mapping[100] = 7
        row = json.loads(peer.read_line())
        assert (row["address"], row["old"], row["new"]) == (100, "00", "07")
        mapping[200:202] = b"xy"
        row = json.loads(peer.read_line())
        assert (row["address"], row["new"]) == (200, b"xy".hex())
        assert peer.finish() == 0


def test_watch_prints_fields_that_change(
    start_winipc: StartPeer, unique_name: str
) -> None:
    """By name, as text and as JSON; NaN that stays is no change, and bytes behind."""
    described = "speed:f32 gear:i32 wheels:2f32 name:8s"
    car = winipc.Layout.of("car", described)
    with winipc.SharedMapping.create(unique_name, 4096) as mapping:
        view = mapping.struct_view(car)
        view.wheels = (1.5, math.nan)
        lines = start_winipc("watch", unique_name, "--struct", described, "--count=3")
        rows = start_winipc(
            *("watch", unique_name, "--struct", described, "--json", "--count=3")
        )
        for peer in (lines, rows):
            peer.wait_for_stderr(f"watching {car.size} bytes")
        mapping[car.size] = 1
        view.gear = 3
        assert lines.read_line().split(maxsplit=1)[1] == "gear  0 -> 3"
        row = json.loads(rows.read_line())
        assert row.pop("seconds") > 0
        assert row == {"field": "gear", "old": 0, "new": 3}
        view.wheels = (math.nan, math.nan)
        view.name = "ayrton"
        assert lines.read_line().split(maxsplit=1)[1] == "wheels[0]  1.5 -> nan"
        assert lines.read_line().split(maxsplit=1)[1] == "name   -> ayrton"
        row = json.loads(rows.read_line())
        assert (row["field"], row["old"], row["new"]) == ("wheels[0]", 1.5, None)
        assert json.loads(rows.read_line())["new"] == "ayrton"
        assert lines.finish() == rows.finish() == 0
        chosen = ("--field=wheels", "--field", "gear", "--count=2")
        some = start_winipc("watch", unique_name, "--struct", described, *chosen)
        some.wait_for_stderr("watching")
        view.speed = 2.0
        view["wheels[1]"], view.gear = 2.0, 4
        found = {some.read_line().split(maxsplit=1)[1] for _ in range(2)}
        assert found == {"wheels[1]  nan -> 2", "gear  3 -> 4"}
        assert some.finish() == 0
        chosen = ("--struct", described, "--field=gear", "--timeout=0.5")
        late = start_winipc("watch", unique_name, *chosen)
        late.wait_for_stderr("watching")
        while late.process.poll() is None:  # another field changes all the time
            view.speed += 1
        late.wait_for_stderr("nothing changed within 0.5 s")
        for command in ("watch", "dump"):
            named = (command, unique_name, "--struct", described, "--field", "gaer")
            done = run_winipc(*named, check=False)
            told = b"has no field 'gaer' (did you mean gear?)"
            assert (done.returncode, told in done.stderr) == (2, True)
    done = run_winipc("watch", "x", "--struct=<fi", "--field=0", check=False)
    assert (done.returncode, b"--struct with names" in done.stderr) == (2, True)
    arguments = ("watch", unique_name, "--struct", described, "--size=8")
    done = run_winipc(*arguments, check=False)
    assert done.returncode == 2
    assert f"needs --size {car.size} or more".encode() in done.stderr


@pytest.mark.parametrize("kind", ["seqlock", "double"])
@pytest.mark.parametrize("header", [False, True])
def test_records_of_a_snapshot_are_whole(
    start_winipc: StartPeer, unique_name: str, kind: Any, header: bool
) -> None:
    """The newest one, behind a header too; never what a writer has half written."""
    car = "speed:f32 gear:i32"
    end = ("--struct", car, "--snapshot", kind, "--offset")
    with (
        winipc.SharedMapping.create(unique_name, 4096, header=header) as mapping,
        winipc.Snapshot.over(mapping, car, offset=8, kind=kind) as writer,
    ):
        for gear in (3, 4):
            writer.write(speed=1.5, gear=gear)
            shown = run_winipc("dump", unique_name, *end, "8").stdout.split()
            assert shown == [b"speed=1.5", b"gear=%d" % gear]
        peer = start_winipc("watch", unique_name, "--count=1", *end, "8")
        peer.wait_for_stderr("watching 8 bytes")
        writer.write(speed=1.5, gear=5)
        assert peer.read_line().split(maxsplit=1)[1] == "gear  4 -> 5"
        assert peer.finish() == 0
        if kind == "seqlock":
            mapping.set(8, "u64", 1)  # a writer died in the middle
            told = failure("dump", unique_name, *end, "8")
            assert "died there), or the memory is no Snapshot of this kind" in told
            assert f"'{unique_name}' (Snapshot.read, WinError 1460)" in told
        assert "no room" in failure("dump", unique_name, *end, "4080")
    assert "last owner" not in failure("dump", unique_name, *end, "8")
    for words in (("dump", "no-such"), ("watch", "4:0x1000", "--size=8")):
        done = run_winipc(*words, "--snapshot", kind, check=False)
        assert (done.returncode, b"--snapshot" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("kind", "fields", "broken"),
    [
        ("sequence=seq", "seq:u32 gear:i32", (0, 1)),
        ("sequence=0", "gear:i32", (0, 1)),
        ("sequence=seq,end=last", "seq:u32 gear:i32 last:u32", (0, 7)),
        ("busy=seq", "seq:u32 gear:i32", (0, 1)),
    ],
)
def test_records_of_other_programs_are_whole(
    unique_name: str, kind: str, fields: str, broken: tuple[int, int]
) -> None:
    """What a writer has half written is an error; see `Snapshot.foreign`."""
    words = ("dump", unique_name, "--struct", fields, "--snapshot", kind)
    offset = "--offset=4" if kind == "sequence=0" else "--offset=0"
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        mapping.set(4, "i32", 3)
        assert b"gear=3" in run_winipc(*words, offset).stdout
        mapping.set(broken[0], "u32", broken[1])
        assert unique_name in failure(*words, offset)
        assert "Snapshot.read, WinError 1460" in failure(*words, offset)


def test_a_counter_and_a_mutex_tell_of_records(unique_name: str) -> None:
    words = ("dump", unique_name, "--struct", "seq:u32 gear:i32", "--snapshot")
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        mapping.set(0, "u32", 7)
        assert b"seq=7 gear=0" in run_winipc(*words, "counter=seq").stdout
        told = failure(*words, f"mutex={unique_name}.turn")
        assert f"{unique_name}.turn" in told
        assert "last owner" not in told
        with contextlib.closing(winipc.Mutex.create(f"{unique_name}.turn")):
            assert b"seq=7" in run_winipc(*words, f"mutex={unique_name}.turn").stdout
        done = run_winipc(*words, "busy=gaer", check=False)
        told = b"has no field 'gaer' (did you mean gear?)"
        assert (done.returncode, told in done.stderr) == (2, True)
        for kind in ("sequence", "sequence=", "odd=seq", "kind=seqlock", "end=-1", ""):
            assert run_winipc(*words, kind, check=False).returncode in (1, 2)
        size = ("dump", unique_name, "--size=8", "--snapshot")
        assert run_winipc(*size, "busy=4").stdout.startswith(b"00000000  07 00")
        done = run_winipc(*size, "busy=seq", check=False)
        assert (done.returncode, b"one of --struct" in done.stderr) == (2, True)


@pytest.mark.parametrize("command", [("watch",), ("dump", "--follow")])
def test_following_ends_with_the_process(
    start_winipc: StartPeer, start_peer: StartPeer, command: tuple[str, ...]
) -> None:
    """A killed target is one line on standard error and status 1."""
    target = start_peer("target.exe")
    target.read_line()
    with winipc.RemoteProcess.open(target.pid) as process:
        base = process.modules()[0].base
    name, *options = command
    peer = start_winipc(name, f"{target.pid}:{base:#x}", *options)
    if name == "watch":
        peer.wait_for_stderr("watching")
    else:
        peer.read_line()
    target.kill()
    peer.wait_for_stderr("winipc: ")
    assert peer.process.wait(60) == 1
    assert "Traceback" not in peer.report()


@pytest.mark.parametrize("command", [("watch",), ("dump", "--follow")])
@pytest.mark.parametrize("header", [False, True])
def test_following_keeps_no_mapping_alive(
    start_winipc: StartPeer, unique_name: str, command: tuple[str, ...], header: bool
) -> None:
    """When its last owner closes it, the command ends, and the name is free."""
    name, *options = command
    with winipc.SharedMapping.create(unique_name, 64, header=header) as mapping:
        peer = start_winipc(name, unique_name, *options, "--json")
        if name == "watch":
            peer.wait_for_stderr("watching")
        else:
            peer.read_line()
        mapping[3] = 1
        peer.read_line()
    peer.wait_for_stderr("(its last owner has closed it)")
    assert peer.process.wait(60) == 1
    winipc.SharedMapping.create(unique_name, 64).close()


@pytest.mark.parametrize("command", ["dump", "watch"])
def test_what_is_not_there_yet_is_waited_for(
    start_winipc: StartPeer, unique_name: str, command: str
) -> None:
    peer = start_winipc(command, unique_name, "--wait", "--json")
    peer.wait_for_stderr(f"waiting for '{unique_name}'")
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        if command == "watch":
            peer.wait_for_stderr("watching")
            mapping[3] = 1
        assert json.loads(peer.read_line())["address"] in (0, 3)
    for name in (unique_name, f"{unique_name}.exe:0x1000"):
        done = run_winipc("watch", name, "--wait", "--timeout=0", check=False)
        assert (done.returncode, b"not appear in time" in done.stderr) == (1, True)


@pytest.mark.parametrize("command", ["dump", "watch"])
def test_what_is_absent_or_wrong_is_said(command: str, unique_name: str) -> None:
    line = failure(command, unique_name)
    assert unique_name in line
    assert " (winipc ls shows which names there are) (OpenFileMapping" in line
    with winipc.SharedMapping.create(f"{unique_name}-A", 64):
        for name in (f"{unique_name}-a", f"{unique_name}A"):
            assert f" (did you mean {unique_name}-A?) (" in failure(command, name)
        assert "did you mean" not in failure(command, f"{unique_name[::-1]}-a")
    for memory in ("python.exe", "python:0x10", "0x10", "10"):
        assert "(memory of a process: PID:ADDRESS, or" in failure(command, memory)
    for memory in ("Game.exe!state", "game.exe+0x10"):
        told = f"(memory of a process: {memory[:8]}:{memory})"
        assert told in failure(command, memory)
    assert "nonsense.dll" in failure(command, f"{os.getpid()}:nonsense.dll+1")
    line = failure(command, f"{os.getpid()}:1000+0x10")
    assert " (1000 is decimal: 0x1000?) (" in line
    assert "decimal" not in failure(command, f"{os.getpid()}:0x1000")
    line = failure("write", f"{os.getpid()}:16", "00")
    assert "ReadProcessMemory" not in line
    assert " (16 is decimal: 0x16?) (" in line
    with winipc.SharedMapping.create(unique_name, 4096):
        assert "not inside" in failure(command, unique_name, "--offset", "1000000")
        ends = ["--seconds=0"] if command == "watch" else []
        end = failure(command, unique_name, "--offset", "4096", "--json", *ends)
        assert end == (
            f"winipc: {unique_name!r} has 4096 bytes: offset 4096 is not inside"
        )


def test_bad_options_are_said(unique_name: str) -> None:
    done = run_winipc("dump", unique_name, "--size", "-4", check=False)
    assert done.returncode == 2


def test_more_bytes_than_there_are_is_said() -> None:
    """More than the memory of this process, or than that of any has."""
    target = f"{os.getpid()}:0x1000"
    size = "0x7fffffffffff" if BITS == 64 else "0x7fff0000"
    line = failure("dump", target, "--size", size)
    assert line == "winipc: there is not enough memory"
    assert "address space" in failure("watch", f"{os.getpid()}:0xfffffffffffffff0")


def test_columns_are_straight_where_characters_are_wide(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Chinese and emoji take two columns, a combining accent none."""
    names = ("漢字", "\N{GRINNING FACE}", "e\N{COMBINING ACUTE ACCENT}a", "plain")
    print_table(("name", "size"), [(name, 7) for name in names], right=("size",))
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "NAME   SIZE"
    blanks = (6, 8, 8, 5)
    assert lines == [
        f"{name}{' ' * count}7" for name, count in zip(names, blanks, strict=True)
    ]


def test_rows_that_are_too_wide_go_on_below() -> None:
    """The widest texts give way, at blanks if there are any; a number never does."""
    columns, right = ("size", "kind", "name"), ("size",)
    rows = [("123,456,789", "event", "a name with blanks"), ("7", "no", "漢字漢字漢")]
    table = list(text_table(columns, rows, right))
    assert table == list(text_table(columns, rows, right, 38))
    assert list(text_table(columns, rows, right, 29)) == [
        "       SIZE  KIND   NAME",
        "123,456,789  event  a name\n                    with\n"
        "                    blanks",
        "          7  no     漢字漢字\n                    漢",
    ]
    assert list(text_table(columns, rows, right, 26)) == [
        "       SIZE  KIND\n    NAME",
        "123,456,789  event\n    a name with blanks",
        "          7  no\n    漢字漢字漢",
    ]
    for room in range(28, 40):
        lines = "\n".join(text_table(columns, rows, right, room)).split("\n")
        assert max(map(columns_of, lines)) <= room
        names = "".join(line[19:] for line in lines)
        assert "anamewithblanks" in names.replace(" ", "")
    assert list(text_table(("a",), [("漢字",)], (), 1)) == ["A", "漢字"]
    assert list(text_table((), [], (), 80)) == [""]


def test_lines_of_a_terminal_break_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a pipe they are one line, and JSON always is."""
    data = bytes(range(100)).hex(" ")
    monkeypatch.setenv("COLUMNS", "64")
    print_line(data)
    assert capsys.readouterr().out == f"{data}\n"
    monkeypatch.setattr(terminal, "is_terminal", lambda stream: True)
    print_line(data)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 63
    assert " ".join(lines) == data
    print_json(data)
    assert capsys.readouterr().out == f'"{data}"\n'


def test_nul_is_no_terminal() -> None:
    """For Windows it is one, as each device for characters is."""
    with open(os.devnull, "w", encoding="ascii") as nul:
        assert nul.isatty()
        assert not terminal.is_terminal(nul)


def test_a_path_breaks_behind_a_folder_and_protections_give_way_first() -> None:
    """No word breaks while there is another way; a word too wide breaks anywhere."""
    rows = [
        ("7", "r-- r-x", r"C:\a-lib\kernelbase.dll"),
        ("8", "rw-", "VCRUNTIME140.dll"),
    ]
    table = "\n".join(text_table(("base", "prot", "what"), rows, ("base",), 24))
    assert table.split("\n") == [
        "BASE  PROT  WHAT",
        "   7  r--   C:\\a-lib\\",
        "      r-x   kernelbase.",
        "            dll",
        "   8  rw-   VCRUNTIME140",
        "            .dll",
    ]


def test_a_header_is_left_out_unless_asked_for(unique_name: str) -> None:
    """What a mapping with one is for lies behind it, to be dumped and written."""
    with winipc.SharedMapping.create(unique_name, 32, header=True) as mapping:
        mapping.write(b"hello")
        [row] = json_lines("dump", unique_name, "--json")
        assert bytes.fromhex(row["hex"]) == mapping.read()
        [row] = json_lines("dump", unique_name, "--raw", "--json")
        raw = bytes.fromhex(row["hex"])
        assert raw[:4] == b"WPIM"
        assert raw[64:69] == b"hello"
        run_winipc("write", unique_name, "4a")
        run_winipc("write", unique_name, "--raw", "--offset", "65", "45")
        assert mapping.read(5) == b"JEllo"


def test_a_mapping_that_only_looks_like_one_with_a_header(unique_name: str) -> None:
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        mapping.write(b"WPIM no header")
        assert unique_name in failure("dump", unique_name)
        assert b"WPIM" in run_winipc("dump", unique_name, "--raw").stdout


@pytest.mark.parametrize(
    ("options", "data"),
    [
        (("0102 ff",), b"\1\2\xff"),
        (("grüße", "--type", "text"), "grüße".encode()),
        (("ab", "--type", "utf-16"), b"a\0b\0"),
        (("ab", "--type", "utf-16-le"), b"a\0b\0"),
        (("-2", "--type=i16"), b"\xfe\xff"),
        (("1.5", "--type", "f32be"), b"\x3f\xc0\0\0"),
        (("nan", "--type", "f32"), b"\0\0\xc0\x7f"),
    ],
)
def test_write_changes_a_mapping_and_a_process(
    unique_name: str, options: tuple[str, ...], data: bytes
) -> None:
    value, *rest = options
    words = [*rest, "--", value]
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        run_winipc("write", unique_name, "--offset", "8", *words)
        assert mapping.read(56, 8) == data.ljust(56, b"\0")
    with winipc.GlobalMemory.allocate(64) as block:
        block.write(bytes(64))
        run_winipc("write", f"{os.getpid()}:{block.address:#x}", *words)
        assert block.read(64) == data.ljust(64, b"\0")


def test_write_keeps_a_frozen_value(
    start_winipc: StartPeer, start_peer: StartPeer, unique_name: str
) -> None:
    """Until the process ends, or for some seconds."""
    words = ("--type=i32", "100", "--freeze")
    with winipc.GlobalMemory.allocate(64) as block:
        place = f"{os.getpid()}:{block.address:#x}"
        run_winipc("write", place, *words, "--seconds=0")
        assert block.get(0, "i32") == 100
        peer = start_winipc("write", place, *words)
        peer.wait_for_stderr("written again and again, Ctrl+C ends")
        block.set(0, "i32", 1)
        while block.get(0, "i32") != 100:
            pass
        peer.kill()
    target = start_peer("target.exe")
    target.read_line()
    write = winipc.ProcessAccess.WRITE
    with winipc.RemoteProcess.open(target.pid, access=write) as process:
        address = process.alloc(64).detach()
        peer = start_winipc("write", f"{target.pid}:{address:#x}", *words)
        peer.wait_for_stderr("written again")
        target.kill()
        peer.wait_for_stderr("winipc: There is no such process")
        assert peer.process.wait(60) == 1
    done = run_winipc("write", place, "00", "--seconds=1", check=False)
    assert (done.returncode, b"only --freeze has --seconds" in done.stderr) == (2, True)


def test_write_keeps_a_field_of_a_mapping(
    start_winipc: StartPeer, unique_name: str
) -> None:
    """Other bytes stay; each write wakes; it ends with the mapping."""
    words = ("--struct", "x:u32 y:u32", "--field", "y", "5", "--freeze")
    with winipc.LockedMapping.create(unique_name, 64) as mapping:
        run_winipc("write", unique_name, *words, "--seconds=0")
        assert mapping.wait_for_change(0)
        peer = start_winipc("write", unique_name, *words)
        peer.wait_for_stderr("written again and again, Ctrl+C ends")
        assert mapping.wait_for_change(LONG)
        for x in (1, 2):
            with mapping.lock:
                mapping.write(struct.pack("<II", x, 1))
            assert mapping.wait_for_change(LONG)
            assert struct.unpack("<II", mapping.read(8)) == (x, 5)
        assert mapping.changes == 4
    peer.wait_for_stderr("winipc ls shows which")
    assert peer.process.wait(60) == 1


@pytest.mark.parametrize("options", [(), ("--raw",), ("--field=x", "--struct=x:u8")])
def test_write_locks_and_wakes(unique_name: str, options: tuple[str, ...]) -> None:
    """It says that the lock is held, or that its holder died; then nothing changes."""
    write = ("write", unique_name, "42", *options, "--timeout=0")
    with winipc.LockedMapping.create(unique_name, 64, header=True) as mapping:
        with held_elsewhere(mapping.lock):
            line = failure(*write)
        assert f"'{unique_name}.lock' (nothing is written: another program" in line
        assert "half written: '" in (line := failure(*write))
        assert "(nothing is written; the lock is free now: write again)" in line
        assert "repair" not in line  # an argument in Python
        assert (mapping.read(), mapping.wait_for_change(0)) == (bytes(64), False)
        run_winipc(*write)
        assert mapping.wait_for_change(0)
        assert mapping.changes == 1


def test_a_header_that_describes_other_fields(unique_name: str) -> None:
    """Reading goes on with a remark, writing does not; some of the fields are right."""
    job = winipc.Layout.of("job", "count:i32 a:i32 who:16s")
    wrong = "--struct=cnt:i16 aa:i16"
    write = "write", unique_name, "3", "--field"
    with winipc.LockedMapping.create(unique_name, header=job) as mapping:
        for command in ("dump", "watch"):
            seconds = ["--seconds=0"] if command == "watch" else []
            done = run_winipc(command, unique_name, wrong, *seconds)
            assert (
                "it has cnt:i16 at offset 0 here and count:i32" in done.stderr.decode()
            )
        line = failure(*write, "aa", wrong)
        assert f"nothing is written: '{unique_name}' has another layout" in line
        assert mapping.read() == bytes(24)
        run_winipc(*write, "a", "--struct=count:i32 a:i32")
        run_winipc(*write, "n", "--struct=n:i32", "--offset", "8")
        assert mapping.read(12) == struct.pack("<3i", 0, 3, 3)
        done = run_winipc("dump", unique_name, "--struct=count:i32")
        assert (done.stdout, done.stderr) == (b"count=0\r\n", b"")
    with winipc.SharedMapping.create(unique_name, 8, header=True):
        assert run_winipc("dump", unique_name, wrong).stderr == b""


def test_a_mapping_that_only_looks_like_one_with_a_lock(unique_name: str) -> None:
    """A mutex, or another object, has the name of the lock."""
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        for kind in (winipc.Mutex, winipc.Event):
            with contextlib.closing(kind.create(f"{unique_name}.lock")):
                run_winipc("write", unique_name, "4a")
                assert mapping.read(1) == b"J"
                mapping.write(b"\0")


@pytest.mark.parametrize("kind", ["seqlock", "double"])
def test_write_keeps_a_snapshot_whole(unique_name: str, kind: Any) -> None:
    """It writes one field; the others, and what is before the record, stay."""
    car = "speed:f32 gear:i32"
    words = ("write", unique_name, "--offset=8", "--struct", car, "--snapshot", kind)
    with (
        winipc.LockedMapping.create(unique_name, 64, header=True) as mapping,
        winipc.Snapshot.over(mapping, car, offset=8, kind=kind) as writer,
    ):
        writer.write(speed=1.5, gear=3)
        [row] = json_lines(*words, "--field=speed", "2.5", "--json")
        assert row == {"target": unique_name, "address": 24, "bytes": 8}
        done = run_winipc(*words, "--field", "gear", "4")
        told = f"a record of 8 bytes written to {unique_name}"
        assert done.stdout.decode().rstrip() == told
        assert str(writer.read()) == "struct(speed=2.5, gear=4)"
        assert (mapping.changes, mapping.read(8)) == (2, bytes(8))
        before = mapping.read()
        for more, told in (
            (("--field=gaer", "4"), "no field 'gaer' (did you mean gear?)"),
            (("--field=gear", "x"), "gear: i32 is a whole number, not 'x'"),
            (("--field=gear", "4", "--freeze"), "do not go together"),
            (("--field=gear", "4", "--seconds=1"), "only --freeze has --seconds"),
            (("04",), "--snapshot needs --struct and --field"),
            (("--field=gear", "4", "--snapshot=sequence=0"), "is for reading only"),
            (("--field=gear", "4", "--snapshot=mutex=m"), "is for reading only"),
        ):
            done = run_winipc(*words, *more, check=False)
            assert done.returncode == 2
            assert done.stderr.decode().rstrip().endswith(told)
        done = run_winipc(
            "write", "4:0x1000", *words[2:], "--field=gear", "4", check=False
        )
        assert (done.returncode, b"is for a mapping" in done.stderr) == (2, True)
        if kind == "seqlock":
            mapping.set(8, "u64", 7)  # a writer died in the middle
            told = failure(*words, "--field=gear", "5")
            assert f"'{unique_name}' (Snapshot.read, WinError 1460)" in told
            mapping.set(8, "u64", 6)
        assert mapping.read() == before


def test_write_takes_a_file(unique_name: str, tmp_path: Path) -> None:
    path = tmp_path / "data.bin"
    path.write_bytes(bytes(range(200)))
    with winipc.SharedMapping.create(unique_name, 200) as mapping:
        [row] = json_lines("write", unique_name, "--file", str(path), "--json")
        assert row["bytes"] == 200
        assert mapping.read(200) == bytes(range(200))
        path.write_bytes(bytes(5000))
        assert "not inside" in failure("write", unique_name, "--file", str(path))
        assert failure("write", unique_name, "--offset", "4095", "0102") == (
            f"winipc: {unique_name!r} has 4096 bytes: 2 bytes at offset 4095 are not "
            "inside"
        )


def test_write_says_once_where(unique_name: str) -> None:
    with winipc.SharedMapping.create(unique_name, 16):
        done = run_winipc("write", unique_name, "--offset", "4", "0102")
    assert done.stdout.decode().rstrip() == f"2 bytes written to {unique_name} at 0x4"
    with winipc.GlobalMemory.allocate(64) as block:
        target = f"{os.getpid()}:{block.address:#x}"
        for offset in (0, 4):
            text = run_winipc("write", target, "--offset", str(offset), "01").stdout
            at = hex(block.address + offset)
            expected = f"1 byte written to pid {os.getpid()} at {at}"
            assert text.decode().rstrip() == expected
    end = failure("write", f"{os.getpid()}:0xfffffffffffffffe", "01020304")
    assert end == "winipc: no address space has 4 bytes at 0xfffffffffffffffe"
