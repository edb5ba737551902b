"""`winipc scan` and `doctor`."""

from __future__ import annotations

import io
import json
import re
import struct
import uuid
from collections.abc import Callable

import pytest
from conftest import Peer
from helpers.c_target import Target
from test_cli import run_winipc
from test_cli_memory import failure

import winipc
from winipc.cli import scan

StartPeer = Callable[..., Peer]


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests: it has far less memory than this process."""
    return targets()


@pytest.mark.parametrize(
    ("kind", "pattern", "data"),
    [
        ("hex", "f1 e2 d3 ?? b5 a6 97 88 79", bytes.fromhex("f1e2d3c4b5a6978879")),
        ("text", "grüße-an-alle", "grüße-an-alle".encode()),
        ("utf-16", "grüße-an-alle", "grüße-an-alle".encode("utf-16-le")),
        ("utf-8", "grüße-an-jeden", "grüße-an-jeden".encode()),
        ("f32be", "-7.25", struct.pack(">f", -7.25)),
        ("f64", "7.25..7.375", struct.pack("<d", 7.3125)),
        ("i64", "-7654321012..-7654321010", struct.pack("<q", -7654321011)),
        (
            "u64",
            "0x1f2e3d4c5b6a80 .. 0x1f2e3d4c5b6a80",
            struct.pack("<Q", 0x1F2E3D4C5B6A80),
        ),
        ("any", "0x1f2e3d4c5b6a79", struct.pack("<Q", 0x1F2E3D4C5B6A79)),
        ("any", "12345.678", struct.pack("<d", 12345.678)),
        ("<Q", "0x1f2e3d4c5b6a7988", struct.pack("<Q", 0x1F2E3D4C5B6A7988)),
    ],
)
def test_scan_finds_what_is_there(
    process: winipc.RemoteProcess, kind: str, pattern: str, data: bytes
) -> None:
    with process.alloc(4096) as block:
        block.write(data, 64)
        done = run_winipc("scan", str(process.pid), pattern, "--type", kind, "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        [found] = [row for row in rows if row["address"] == block.address + 64]
        assert b"found in" in done.stderr
        if ".." in pattern:
            number = process.get(block.address + 64, kind)
            assert found["value"] == number
            done = run_winipc("scan", str(process.pid), pattern, "--type", kind)
            line = f"{block.address + 64:#018x}  {number}"
            assert line in done.stdout.decode().splitlines()
        else:
            assert "value" not in found


def test_a_scan_says_how_many_it_found(process: winipc.RemoteProcess) -> None:
    with process.alloc(1500 * 8) as block:
        block.write(bytes.fromhex("f1e2d3c4b5a69779") * 1500)
        done = run_winipc("scan", str(process.pid), "f1 e2 d3 c4 b5 a6 97 79")
        assert re.match(rb"\d,\d{3} found in ", done.stderr)


def test_ctrl_c_does_not_repeat_the_last_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It comes when rich has written a result, and not yet forgotten it."""
    consoles = pytest.importorskip("rich.console")

    class Interrupted(io.StringIO):
        def write(self, text: str) -> int:
            super().write(text)
            if "0x1234" in text and self.getvalue().count("0x1234") == 1:
                raise KeyboardInterrupt
            return len(text)

    stream = Interrupted()
    shown = consoles.Console(file=stream, force_terminal=True, legacy_windows=False)
    monkeypatch.setattr(scan, "console", lambda _: shown)
    monkeypatch.setattr(scan, "is_terminal", lambda _: True)
    with pytest.raises(KeyboardInterrupt), scan._progress(True):
        print("0x1234")
    assert stream.getvalue().count("0x1234") == 1


def test_a_scan_for_any_type_says_which_it_is(process: winipc.RemoteProcess) -> None:
    with process.alloc(4096) as block:
        block.write(struct.pack("<d", 12345.678), 64)
        done = run_winipc("scan", str(process.pid), "12345.678", "--type", "any")
        lines = [line.split() for line in done.stdout.decode().splitlines()]
        assert ["f64"] in [
            row[1:2] for row in lines if int(row[0], 16) == block.address + 64
        ]


def test_scan_of_a_killed_process_is_said(start_peer: StartPeer) -> None:
    killed = start_peer("target.exe")
    killed.read_line()
    killed.kill()
    assert str(killed.pid) in failure("scan", str(killed.pid), "41 42")


def test_a_scan_says_that_its_limit_ended_it(target: Target) -> None:
    scan = ("scan", str(target.pid), "00", "--limit")
    assert b"1 found in" in (told := run_winipc(*scan, "1").stderr)
    assert told.strip().endswith(b"; --limit ended the scan")
    rare = ("scan", str(target.pid), uuid.uuid4().hex, "--limit", "1")
    assert b"limit" not in run_winipc(*rare).stderr


@pytest.mark.parametrize("options", [(), ("--type", "hex")])
def test_a_pattern_that_may_be_a_number_is_told_that_it_is_bytes(
    target: Target, options: tuple[str, ...]
) -> None:
    done = run_winipc("scan", str(target.pid), "1000", "--limit", "1", *options)
    told = b"bytes in hexadecimal, and a number needs its --type, such as i32"
    assert (told in done.stderr) is (not options)
    assert told not in done.stdout


@pytest.mark.smoke
def test_doctor_finds_nothing_broken() -> None:
    """Facts that other ways confirm, and each check ok or with a reason."""
    facts = json.loads(run_winipc("doctor", "--json").stdout)
    assert facts["bits"] == struct.calcsize("P") * 8
    assert facts["winipc"] == winipc.__version__
    assert {check["result"] for check in facts["checks"]} <= {"ok", "no"}
    for check in facts["checks"]:
        assert bool(check["why"]) == (check["result"] == "no")


def test_doctor_prints_a_table() -> None:
    text = run_winipc("doctor").stdout.decode()
    assert "integrity" in text
    assert "a named mapping" in text
