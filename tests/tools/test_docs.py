"""The examples of the README, the guides and the docstrings are run as they stand.

A comment behind a `print` says what it prints; the example must print just
that, in order. A block that is meant to be read only is fenced as `text`.

An example of a docstring may use what it does not make: GIVEN has the names, and the
names of objects and programs, that are there already.

They are run one after the other in one process: to start one and to import what they
use takes longer than they do. Each is a program of its own all the same: it sees
nothing of the others, nor what they imported of winipc; those of a page share files.
If one ends the process, it alone fails, and the next one gets a new process.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import json
import re
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE
from helpers import need_libclang
from helpers.c_peers import c_peer_path

import pytest_winipc
import winipc
from winipc.testing import Peer

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PRINTED = re.compile(r"print\(.*\)  # (.*)$", re.MULTILINE)
LOOPED = re.compile(r"^ *for .*:\n +print", re.MULTILINE)
#: A block of code in a docstring.
CODE = re.compile(r"::\n\n((?: {4,}.*\n|\n)+)")

#: Runs a program for each line, and prints what it printed and its error.
RUNNER = """
import contextlib, gc, io, json, os, sys, threading, traceback
import winipc

for name in winipc.__all__:
    getattr(winipc, name)  # which imports the module that has it
first = set(sys.modules)
gc.freeze()
home, lines = os.getcwd(), sys.stdin
sys.stdin = open(os.devnull)
for line in lines:
    page, program = json.loads(line)
    os.makedirs(os.path.join(home, page), exist_ok=True)
    os.chdir(os.path.join(home, page))
    printed, error, unraisable = io.StringIO(), "", []
    sys.unraisablehook = lambda what: unraisable.append(repr(what.exc_value))
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(program, "<example>", "exec"), {"__name__": "__main__"})
            for thread in threading.enumerate():
                if thread is not threading.current_thread() and not thread.daemon:
                    thread.join()
    except BaseException:
        error = traceback.format_exc()
    for name in set(sys.modules) - first:
        package, _, last = name.rpartition(".")
        if name.startswith("winipc."):
            del sys.modules[name]
            if package in sys.modules:
                vars(sys.modules[package]).pop(last, None)
    gc.collect()
    print(json.dumps([printed.getvalue(), error + "\\n".join(unraisable)]), flush=True)
"""


#: Examples of docstrings that do not run here, and why. They have to be Python, and
#: what they use of winipc has to be there.
NOT_RUN = {
    "winipc._bridge": "it asks the user",
    "winipc._telemetry": "the header belongs to the maker of a game",
    "RemoteProcess.signature": "the game has no such code there",
}

_GAME = """
shutil.copyfile(TARGET, "game.exe")
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
game = given.enter_context(subprocess.Popen([os.path.abspath("game.exe")], **pipes))
given.callback(game.kill)
game.stdout.readline()
"""
_PROCESS = """
access = winipc.ProcessAccess.WRITE
process = given.enter_context(winipc.RemoteProcess.open(game.pid, access=access))
address = given.enter_context(process.alloc(4096)).address
process.write(address, struct.pack("<if8x8s", 3, 100, b"Player 1"))
"""
_MAPPING = "mapping = given.enter_context(winipc.SharedMapping.create(None, 4096))"

#: What runs before an example that has this name without giving it a value, or that
#: has this text without creating what is called so.
GIVEN: dict[str, tuple[str, ...]] = {
    "game.exe": (_GAME,),
    "process": (_GAME, _PROCESS),
    "address": (_GAME, _PROCESS),
    "mapping": (_MAPPING,),
    "snapshot": (
        _MAPPING,
        """
snapshot = winipc.Snapshot.over(mapping, "speed:f32 gear:i32")
given.enter_context(snapshot).write(speed=1.5, gear=3)
""",
    ),
    "mutex": ("mutex = given.enter_context(closing(winipc.Mutex.create()))",),
    "event": ("event = given.enter_context(winipc.Event.create())",),
    "channel": ("channel = given.enter_context(winipc.Channel.create(None, 4096))",),
    "window": ("window = given.enter_context(winipc.CopyDataWindow.create('my-app'))",),
    "my-app": (
        """
messages = {"my-app.Add": lambda message: message.wparam + message.lparam}
app = winipc.CopyDataWindow.create("my-app", messages=messages, queue=True)
given.enter_context(app).on(3)(
    lambda message: app.answer(message, bytes(message).upper())
)
""",
    ),
    "my-app.inbox": ("given.enter_context(winipc.Receiver('my-app.inbox'))",),
    "my-app.state": (
        """
state = given.enter_context(winipc.SharedMapping.create("my-app.state", 4096))
state.set(0, "i32", 42)
""",
    ),
    "my-app.turn": (
        "given.enter_context(closing(winipc.Mutex.create('my-app.turn')))",
    ),
    "acc": (
        """
car = winipc.SharedMapping.create(r"Local\\acpmf_physics", 4096, exist_ok=True)
given.enter_context(car).set(4, "f32", 0.5)
""",
    ),
    "Settings": (
        """
host = [CONTROLS_HOST, "Settings"]
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
host = given.enter_context(subprocess.Popen(host, **pipes))
given.callback(host.kill)
host.stdout.readline(), host.stdout.readline()
""",
    ),
    "lives.json": ("winipc.PointerPaths().save('lives.json')",),
    "game.cassette": (
        """
with winipc.SharedMapping.create("my-app.record", 4) as recorded:
    recorded.set(0, "i32", 42)
    with contextlib.suppress(FileNotFoundError):
        os.unlink("game.cassette")
    winipc.Cassette.record("game.cassette", mappings=["my-app.record"]).close()
""",
    ),
    "server.py": (
        """
with open("server.py", "w") as server_file:
    print("print('listening', flush=True)", file=server_file)
    print("print(input() + ' yourself', flush=True)", file=server_file)
""",
    ),
}
GIVEN["winipc_peer"] = (
    *GIVEN["server.py"],
    """
def winipc_peer(*argv, **how):
    return given.enter_context(winipc.testing.Peer(argv, **how))
""",
)
GIVEN["server"] = (
    *GIVEN["server.py"],
    """
server = winipc.testing.Peer([sys.executable, "server.py"], ready="listening")
given.enter_context(server)
""",
)

_PROGRAM = """
import contextlib, os, shutil, struct, subprocess, sys
from contextlib import ExitStack, closing
import winipc.testing
from winipc import *

with ExitStack() as given:
"""


def parts(module: Any) -> Iterator[tuple[str, Any]]:
    """A module, what it exports, and the members of classes, with their names."""
    yield module.__name__, module
    for name in module.__all__:
        item = getattr(module, name)
        yield name, item
        for member in dir(item) if isinstance(item, type) else ():
            if not member.startswith("_"):
                yield f"{name}.{member}", getattr(item, member)


def documented() -> Iterator[tuple[str, str, Any]]:
    """What the reference describes: the page, the name and the object."""
    for path in sorted((ROOT / "docs" / "reference").glob("*.md")):
        for asked in re.findall(r"{winipc-api} (\w.*)", path.read_text("utf-8")):
            for name in asked.split() if path.stem != "jupyter" else ():
                for part, item in parts(importlib.import_module(f"winipc.{name}")):
                    yield f"reference-{path.stem}", part, item
    for part, item in (*parts(winipc), *parts(winipc.sync), *parts(pytest_winipc)):
        yield "reference-others", part, item


def in_guides() -> Iterator[tuple[str, str, str]]:
    """The page, the name and the text of each example of the guides."""
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for number, text in enumerate(FENCED.findall(path.read_text("utf-8")), 1):
            yield path.stem, f"{path.stem}-{number}", text


@functools.cache
def in_docstrings() -> list[tuple[str, str, str]]:
    """The page, the name and the text of each example of a docstring."""
    found: dict[str, tuple[str, str, str]] = {}
    for page, name, item in documented():
        if isinstance(item, (str, int, tuple)):
            continue  # the docstring is that of its type
        for code in CODE.findall(f"{inspect.getdoc(item) or ''}\n"):
            text = textwrap.dedent(code).strip("\n") + "\n"
            found.setdefault(text, (page, name, text))
    return list(found.values())


def examples() -> list[Any]:
    found = []
    for page, name, text in (*in_guides(), *in_docstrings()):
        reason = NOT_RUN.get(name) if page.startswith("reference") else None
        marks = [pytest.mark.xfail(reason=reason)] if reason else []
        found.append(pytest.param(text, page, id=name, marks=marks))
    return found


def unknown_names(text: str) -> set[str]:
    """The names to which an example gives no value."""
    tree = list(ast.walk(ast.parse(text + calls_of(text))))
    names = [node for node in tree if isinstance(node, ast.Name)]
    known = {node.id for node in names if not isinstance(node.ctx, ast.Load)}
    for node in tree:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            known.add(node.name)
            if not node.name.startswith("test_"):
                known.update(each.arg for each in node.args.args)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            known.update(alias.asname or alias.name for alias in node.names)
    return {node.id for node in names} - known


def calls_of(text: str) -> str:
    """Calls of the test functions in an example, with the fixtures that they name."""
    found = re.findall(r"^def (test_\w+\(.*\)):$", text, re.MULTILINE)
    return "".join(f"{call}\n" for call in found)


def given(text: str) -> list[str]:
    """What runs before an example."""
    texts = {
        node.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    texts = {one for one in texts if f'create("{one}"' not in text}
    texts = {one for one in texts if f'Receiver("{one}"' not in text}
    needed = sorted(unknown_names(text) & set(GIVEN)) + sorted(texts & set(GIVEN))
    return list(dict.fromkeys(code for name in needed for code in GIVEN[name]))


def program_of(page: str, text: str) -> str:
    """A program that runs an example."""
    if not page.startswith("reference"):
        return text
    paths = [f"{name} = {str(c_peer_path(exe))!r}" for name, exe in PROGRAMS.items()]
    lines = [*paths, *given(text), text, calls_of(text)]
    return _PROGRAM + textwrap.indent("\n".join(lines), "    ")


#: Programs of the tests that GIVEN starts.
PROGRAMS = {"TARGET": "target.exe", "CONTROLS_HOST": "controls_host.exe"}


class Runner:
    """The process in which the examples run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._peer: Peer | None = None

    def run(self, page: str, text: str) -> tuple[str, str]:
        """What an example printed, and its error."""
        # Names are made unique: other runs may be under way in this session.
        unique = f"winipc-test-{uuid.uuid4().hex}"
        names = {"game.exe": f"{unique}.exe", "Settings": f"{unique}s"}
        if not page.startswith("reference"):
            names = {}
        names["my-app"] = unique
        program = program_of(page, text)
        for name, other in names.items():
            program = program.replace(name, other)
        if self._peer is None:
            argv = [sys.executable, "-W", "error", "-c", RUNNER]
            self._peer = Peer(argv, cwd=self._folder, timeout=DEADLINE)
        try:
            self._peer.say(json.dumps([page, program]))
            printed, error = json.loads(self._peer.read_line())
        except BaseException:
            self._peer.reap()
            self._peer = None
            raise
        for name, other in names.items():
            printed = printed.replace(other, name)
        return printed, error

    def end(self) -> None:
        if self._peer is not None:
            with self._peer as peer:
                assert peer.finish() == 0, peer.report()


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    runner = Runner(tmp_path_factory.mktemp("examples"))
    yield runner
    runner.end()


@pytest.mark.parametrize(("example", "page"), examples())
def test_example_runs_and_prints_what_it_says(
    example: str, page: str, runner: Runner
) -> None:
    if "check_portable" in example or "from_c" in example:
        need_libclang()
    if ".array(" in example:
        pytest.importorskip("numpy")
    output, error = runner.run(page, example)
    assert error == ""
    expected = PRINTED.findall(example)
    printed = output.splitlines()
    if LOOPED.search(example):
        assert set(printed) == set(expected)
    else:
        assert printed == expected


def test_docstrings_use_what_is_there() -> None:
    """Each name is the example's own, Python's, winipc's, or given to it."""
    known = {*vars(builtins), *winipc.__all__, *GIVEN, "winipc"}
    for _, name, text in in_docstrings():
        assert unknown_names(text) <= known, name
        for path in re.findall(r"\bwinipc((?:\.[A-Z_]\w*|\.[a-z]\w*(?=\())+)", text):
            item: Any = winipc
            for part in path[1:].split("."):
                assert hasattr(item, part), (name, f"winipc{path}")
                item = getattr(item, part)


def test_there_are_examples() -> None:
    """The patterns above find what they are meant to find, and no list is too long."""
    assert len(list(in_guides())) >= 5
    names = {name for _, name, _ in in_docstrings()}
    assert {"SharedMapping", "Event.wait", "send_copydata", "winipc._bridge"} <= names
    assert set(NOT_RUN) <= names
    texts = [text for _, _, text in in_docstrings()]
    used = {code for text in texts for code in given(text)}
    assert [name for name, codes in GIVEN.items() if codes[-1] not in used] == []
