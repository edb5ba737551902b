"""Every command of docs/command-line.md is run as written, and prints what is there."""

from __future__ import annotations

import re
import shlex
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import DEADLINE, Peer, c_peer_path
from helpers import need_libclang

import winipc
import winipc.cli

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "command-line.md"
STATE = struct.pack("<fi4f16s", 52.1, 3, 1, 1, 1, 1, b"ayrton")
HEADER = "struct state { float speed; int gear; float wheels[4]; char name[16]; };\n"


def commands() -> Iterator[tuple[str, str | None]]:
    """Each command, and what the page shows as its output."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", GUIDE.read_text("utf-8"), re.M | re.S)
    for (kind, text), (next_kind, output) in zip(
        blocks, [*blocks[1:], ("", "")], strict=True
    ):
        if kind == "sh":
            *lines, last = text.splitlines()
            yield from ((line, None) for line in lines)
            yield last, output if next_kind == "text" else None


def pattern(output: str) -> str:
    """For a shown output: ... stands for anything, blanks for any number of them, and
    a time for any other.
    """
    lines = [
        re.sub(r"(\\ )+", r" +", re.escape(line)).replace(r"\.\.\.", ".*")
        for line in output.splitlines()
    ]
    lines = [re.sub(r"\d+\\\.\d+(?= \+s\b)", r"\\d+\\.\\d+", line) for line in lines]
    return r"\s*\n".join(lines) + r"\s*"


@pytest.fixture
def world(
    start_process: Callable[[list[str]], Peer], tmp_path: Path
) -> Iterator[dict[str, str]]:
    """What the page speaks of; and the numbers for which it has examples."""
    (tmp_path / "state.h").write_text(HEADER)
    game = tmp_path / "game.exe"
    shutil.copyfile(c_peer_path("target.exe"), game)
    peer = start_process([str(game)])
    peer.read_line()
    with (
        winipc.SharedMapping.create("my-app.state", 4096) as mapping,
        winipc.CopyDataWindow.create("my-app", messages=["my-app.changed"]),
        winipc.RemoteProcess.open(
            peer.pid, access=winipc.ProcessAccess.WRITE
        ) as process,
        process.alloc(4096) as memory,
    ):
        mapping.write(STATE)
        process.write(memory.address, b"MZ" + struct.pack("<i", 100))
        yield {"1234": str(peer.pid), "0x7ff6a0001000": hex(memory.address)}


def test_commands_run_as_written(
    start_process: Callable[[list[str]], Peer],
    world: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_libclang()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONUTF8", "1")
    ran = 0
    for line, shown in commands():
        for word, real in world.items():
            line = line.replace(word, real)
        name, *words = shlex.split(line)
        assert name == "winipc"
        argv = [sys.executable, "-m", "winipc", *words]
        if _goes_on(words):
            peer = start_process(argv)
            peer.wait_for_stderr("Ctrl+C ends")
            if words[0] == "receive":
                with winipc.Sender("my-app.receiver") as sender:
                    sender.send(b"Hello")
                assert shown is not None
                assert peer.read_line() == shown.strip()
            peer.kill()
        else:
            done = subprocess.run(
                argv, capture_output=True, encoding="utf-8", timeout=DEADLINE * 3
            )
            assert done.returncode == 0, (line, done.stderr)
            if shown is not None:
                assert re.fullmatch(pattern(shown), done.stdout), (line, done.stdout)
        ran += 1
    assert ran >= 35


def _goes_on(words: list[str]) -> bool:
    """Whether it is one that Ctrl+C ends."""
    if words[0] in ("listen", "receive", "serve", "watch") or "--follow" in words:
        return True
    if words[0] == "bridge":
        return "--games" not in words
    return "--loop" in words and "--seconds" not in words


OTHER_PAGES = [ROOT / "README.md", *(p for p in ROOT.glob("docs/*.md") if p != GUIDE)]


@pytest.mark.parametrize("page", OTHER_PAGES, ids=lambda page: page.name)
def test_commands_of_other_pages_are_accepted(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need other machines, or what only their page has; their words are right."""
    need_libclang()
    (tmp_path / "state.h").write_text(HEADER)
    monkeypatch.chdir(tmp_path)
    code = re.findall(
        r"(?ms)^```(?:sh|text)\n(.*?)^```|((?-s:^ {4}.*\n)+)", page.read_text("utf-8")
    )
    for line in "\n".join("".join(block) for block in code).splitlines():
        if command := re.match(r" *(?:python -m )?winipc ([a-z]+\b.*)$", line):
            arguments = winipc.cli._parsed(shlex.split(command[1]))
            assert callable(arguments.run), line
