"""`winipc scan` and `doctor`."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable

import pytest
from conftest import Peer
from test_cli import run_winipc
from test_cli_memory import failure

import winipc

StartPeer = Callable[..., Peer]


@pytest.mark.parametrize(
    ("kind", "pattern", "data"),
    [
        ("hex", "f1 e2 d3 ?? b5 a6 97 88 79", bytes.fromhex("f1e2d3c4b5a6978879")),
        ("text", "grüße-an-alle", "grüße-an-alle".encode()),
        ("utf-16", "grüße-an-alle", "grüße-an-alle".encode("utf-16-le")),
        ("f32be", "-7.25", struct.pack(">f", -7.25)),
        ("any", "0x1f2e3d4c5b6a79", struct.pack("<Q", 0x1F2E3D4C5B6A79)),
        ("any", "12345.678", struct.pack("<d", 12345.678)),
        ("<Q", "0x1f2e3d4c5b6a7988", struct.pack("<Q", 0x1F2E3D4C5B6A7988)),
    ],
)
def test_scan_finds_what_is_there(kind: str, pattern: str, data: bytes) -> None:
    with winipc.GlobalMemory.allocate(4096) as block:
        block.write(data, 64)
        done = run_winipc("scan", str(os.getpid()), pattern, "--type", kind, "--json")
        found = [json.loads(line)["address"] for line in done.stdout.splitlines()]
        assert block.address + 64 in found
        assert b"found in" in done.stderr


def test_a_scan_for_any_type_says_which_it_is() -> None:
    with winipc.GlobalMemory.allocate(4096) as block:
        block.set(64, "f64", 12345.678)
        done = run_winipc("scan", str(os.getpid()), "12345.678", "--type", "any")
        lines = [line.split() for line in done.stdout.decode().splitlines()]
        assert ["f64"] in [
            row[1:2] for row in lines if int(row[0], 16) == block.address + 64
        ]


def test_scan_of_a_killed_process_is_said(start_peer: StartPeer) -> None:
    target = start_peer("target.exe")
    target.read_line()
    target.kill()
    assert str(target.pid) in failure("scan", str(target.pid), "41 42")


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
