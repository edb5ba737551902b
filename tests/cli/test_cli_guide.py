"""Every command of README.md and docs/ is run as written, and prints what is there.

One that cannot run here is in `NOT_RUN`, with the reason; its words are parsed.
"""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import struct
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import DEADLINE, Peer, c_peer_path
from helpers import need_libclang

import winipc
from winipc import _core, cli

ROOT = Path(__file__).parents[2]
STATE = struct.pack("<fi4f16s", 52.1, 3, 1, 1, 1, 1, b"ayrton")
HEADER = "struct NAME { float speed; int gear; float wheels[4]; char name[16]; };\n"

#: Why a command is only parsed: the command, or its beginning with a blank.
NOT_RUN = {
    "pip install ": "it installs",
    "./dev ": "it is for Linux, and starts Wine: tests/linux/test_dev.py",
    "jupyter lab": "it opens a browser: tests/browser/test_jupyterlab.py",
    "winipc relay ": "it needs a broker: tests/linux/test_relay.py",
    "winipc selftest": "it takes half a minute: tests/cli/test_selftest.py",
    "winipc selftest --json": "the same",
    "winipc cassette play session.wipc --bridge": "its objects are there already",
    "winipc maps --json": "the text means any process",
}


def is_not_run(line: str) -> bool:
    return any(
        line.startswith(one) if one.endswith(" ") else line == one for one in NOT_RUN
    )


class Command(NamedTuple):
    line: str
    #: What the page shows as its output, if it does.
    shown: str | None


_COMMAND = (
    r"(?:(?:python -m )?winipc [a-z]+\b|\./dev |pip install |curl |jupyter )[^`\n]*"
)
#: Blocks of code, and commands within a line, except those with a PLACEHOLDER.
_PLACES = re.compile(
    r"^```(?P<kind>\w*)\n(?P<block>.*?)^```"
    r"|(?P<indented>(?:^ {4}[^\n]*\n)+)"
    rf"|`(?P<inline>{_COMMAND})`",
    re.MULTILINE | re.DOTALL,
)
#: A name of a command, which is no command.
_NAME = re.compile(r"(python -m )?winipc [a-z]+( show| play)?|.*\b[A-Z]{3,}\b.*")


def commands(page: Path) -> Iterator[Command]:
    found = [*_PLACES.finditer(page.read_text("utf-8"))]
    for place, following in itertools.zip_longest(found, found[1:]):
        if place["inline"]:
            if not _NAME.fullmatch(place["inline"]):
                yield Command(place["inline"], None)
        elif place["kind"] in ("sh", "text", "", None):
            text = place["block"] or place["indented"] or ""
            lines = [line.strip() for line in text.splitlines()]
            if place["kind"] != "sh":
                lines = [line for line in lines if re.fullmatch(_COMMAND, line)]
            for line in lines:
                shown = None
                if place["kind"] == "sh" and line == lines[-1] and following:
                    shown = following["block"] if following["kind"] == "text" else None
                yield Command(line, shown)


PAGES = [
    page
    for page in (
        *(ROOT / "README.md", ROOT / "CONTRIBUTING.md"),
        *sorted(ROOT.glob("docs/**/*.md")),
    )
    if any(commands(page))
]


def pattern(output: str) -> str:
    """For a shown output: ... stands for anything, blanks for any number of them, and
    a time for any other.
    """
    lines = [
        re.sub(r"(\\ )+", r" +", re.escape(line)).replace(r"\.\.\.", ".*")
        for line in output.splitlines()
    ]
    lines = [re.sub(r"\d+\\\.\d+(?= \+m?s\b)", r"\\d+\\.\\d+", line) for line in lines]
    return r"\s*\n".join(lines) + r"\s*"


class World:
    """What the pages speak of, and how their commands are run in it."""

    def __init__(
        self,
        start: Callable[[list[str]], Peer],
        capsys: pytest.CaptureFixture[str],
        words: dict[str, str],
    ) -> None:
        self._start, self._capsys, self._words = start, capsys, words
        self._receivers: list[Peer] = []

    def run(self, line: str, shown: str | None) -> None:
        for word, real in self._words.items():
            line = line.replace(word, real)
        words = shlex.split(line, comments=True)
        if words[:2] == ["python", "-m"]:
            del words[:2]
        if words[0] == "curl":
            self._fetch(words[-1])
        elif _goes_on(words[1:]):
            self._begin(words[1:], shown)
        else:
            assert words[0] == "winipc", line
            self._capsys.readouterr()
            assert cli.main(words[1:]) == 0, (line, self._capsys.readouterr().err)
            printed = self._capsys.readouterr().out
            if shown is not None:
                assert re.fullmatch(pattern(shown), printed), (line, printed)

    def _begin(self, words: list[str], shown: str | None) -> None:
        """Start one that Ctrl+C ends, until it says so."""
        peer = self._start([sys.executable, "-m", "winipc", *words])
        peer.wait_for_stderr("Ctrl+C ends")
        if words[0] != "receive":
            peer.kill()
        elif shown is None:  # the next command sends to it
            self._receivers.append(peer)
        else:
            with winipc.Sender(words[-1]) as sender:
                sender.send(b"Hello")
            assert peer.read_line() == shown.strip()
            peer.kill()

    def _fetch(self, address: str) -> None:
        """What curl would get of `winipc serve`."""
        server = self._start([sys.executable, "-m", "winipc", "serve", "--json"])
        told = re.findall(r'"(?:port|token)": "?([\w-]+)', server.read_line())
        for name, value in zip(("$PORT", "$TOKEN"), told, strict=True):
            address = address.replace(name, value)
        with urllib.request.urlopen(address, timeout=DEADLINE) as answer:
            kinds = {answer.readline()[:20] for _ in range(3)}
        assert kinds == {b'data: {"watch": "obj', b'data: {"watch": "map', b"\n"}
        server.kill()

    def end(self) -> None:
        for peer in self._receivers:
            line = peer.read_line()
            assert f"`{line}`" in (ROOT / "README.md").read_text("utf-8"), line
            peer.kill()


@pytest.fixture
def world(
    start_process: Callable[[list[str]], Peer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[World]:
    need_libclang()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONUTF8", "1")
    for name in ("state", "a", "b"):
        Path(f"{name}.h").write_text(HEADER.replace("NAME", name))
    for name in ("game.exe", "my-app.exe"):
        shutil.copyfile(c_peer_path("target.exe"), name)
    peer = start_process([str(tmp_path / "game.exe")])
    peer.read_line()
    with (
        winipc.SharedMapping.create("my-app.state", 4096) as mapping,
        winipc.SharedMapping.create("car", 4096) as car,
        winipc.Snapshot.over(car, "speed:f32 gear:i32 name:16s") as writer,
        winipc.CopyDataWindow.create("my-app", messages=["my-app.changed"]),
        winipc.CopyDataWindow.create("My App"),
        winipc.RemoteProcess.open(
            peer.pid, access=winipc.ProcessAccess.WRITE
        ) as process,
        process.alloc(4096) as memory,
    ):
        mapping.write(STATE)
        writer.write(speed=12.5, gear=3, name="coupe")
        process.write(memory.address, b"MZ" + struct.pack("<i", 100))
        real = {"1234": str(peer.pid), "0x7ff6a0001000": hex(memory.address)}
        real["my-app.car"] = "car"  # `winipc ls "my-app*"` shows one mapping
        world = World(start_process, capsys, real)
        yield world
        world.end()


def _goes_on(words: list[str]) -> bool:
    """Whether it is one that Ctrl+C ends."""
    if words[0] in ("listen", "receive", "serve", "watch"):
        return True
    if "--follow" in words or "--freeze" in words:
        return True
    if words[0] == "bridge":
        return "--games" not in words
    return "--loop" in words and "--seconds" not in words


def check_words(line: str) -> None:
    """Whether there are such commands and options."""
    program, *words = shlex.split(line, comments=True)
    if program == "./dev":
        assert f"\n  {words[0]} " in (ROOT / "dev").read_text("utf-8"), line
    elif program == "pip":
        project = (ROOT / "pyproject.toml").read_text("utf-8")
        for extra in re.findall(r"\.\[(\w+)\]", line):
            assert f"\n{extra} = [" in project, line
    elif program == "winipc" and words != ["maps", "--json"]:
        assert callable(cli._parsed(words).run)


_ran: set[str] = set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_run_as_written(page: Path, request: pytest.FixtureRequest) -> None:
    world = None
    for line, shown in commands(page):
        if line in _ran and shown is None:
            continue  # on another page
        _ran.add(line)
        if is_not_run(line):
            check_words(line)
        elif line.startswith('winipc bridge "Local') and not _core._wine_version():
            continue  # Windows has no /dev/shm
        else:
            world = world or request.getfixturevalue("world")
            world.run(line, shown)


def test_the_lists_are_complete() -> None:
    """Commands are found, and each reason is that of a command."""
    found = {page.name: [line for line, _ in commands(page)] for page in PAGES}
    assert len(found["command-line.md"]) >= 35
    assert sum(map(len, found.values())) >= 70
    lines = "\n".join(line for each in found.values() for line in each)
    for one in NOT_RUN:
        assert f"\n{one}" in f"\n{lines}\n", one
