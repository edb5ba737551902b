"""Cassettes in small projects of pytest: recorded from a program, played without."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import DEADLINE, c_peer_path
from helpers.inner_runs import HEADER, run

import winipc
from winipc.testing import Peer

pytest_plugins = ["pytester"]

GUIDE = Path(__file__).parents[2] / "docs" / "testing.md"
PY = re.compile(r"^```py\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def notepad(unique_name: str) -> Iterator[Peer]:
    """A program of others, in C; tests kill it to have it gone."""
    path = str(c_peer_path("notepadlike.exe"))
    with Peer([path, unique_name], ready="ready", timeout=DEADLINE) as peer:
        yield peer


def project(inner: pytest.Pytester, title: str, code: str) -> None:
    inner.makepyfile(test_it=HEADER + f"TITLE = {title!r}\nSET_TEXT = 1\n" + code)


def cassettes(inner: pytest.Pytester) -> list[str]:
    files = inner.path.glob("cassettes/**/*.*")
    return sorted(path.relative_to(inner.path).as_posix() for path in files)


def test_the_guide_is_recorded_and_played(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    """Word for word, but for the title; recorded and played by a process of its own."""
    [code] = PY.findall(GUIDE.read_text("utf-8"))
    inner.makepyfile(test_guide=code.replace('"notepad"', repr(unique_name)))
    missing = inner.runpytest_inprocess()
    missing.assert_outcomes(errors=2)
    missing.stdout.fnmatch_lines(
        ["no cassette cassettes?notepad.wipc: record it with --winipc-record=once, *"]
    )
    recorded = inner.runpytest_subprocess("--winipc-record=once")
    recorded.assert_outcomes(passed=2)
    recorded.stdout.fnmatch_lines(["cassettes?notepad.wipc: recorded, * events"])
    assert cassettes(inner) == [
        "cassettes/notepad.wipc",
        "cassettes/test_guide/test_it_refuses_long_text.wipc",
    ]
    notepad.kill()
    for run_it in (inner.runpytest_subprocess, inner.runpytest_inprocess):
        played = run_it("--winipc-record=once")
        played.assert_outcomes(passed=2)
        played.stdout.no_fnmatch_line("*winipc cassettes*")
    gone = inner.runpytest_inprocess("--winipc-record=all")
    gone.assert_outcomes(errors=2)
    gone.stdout.fnmatch_lines([f"*no window with title '{unique_name}'"])
    gone.stdout.no_fnmatch_line("*another exception*")
    inner.runpytest_inprocess().assert_outcomes(passed=2)


SENDS = """
@pytest.mark.winipc_cassette("it.wipc", windows=[TITLE])
def test_it():
    for text in {texts}:
        winipc.send_copydata(TITLE, text, id=SET_TEXT)
"""


def recorded(
    inner: pytest.Pytester, notepad: Peer, title: str, code: str, mode: str = "once"
) -> None:
    """A project with its cassette, whose program has gone."""
    project(inner, title, code)
    inner.runpytest_inprocess(f"--winipc-record={mode}").assert_outcomes(passed=1)
    notepad.kill()


def test_what_was_not_recorded_fails_with_the_difference(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    """Also where the test does not look at the answer."""
    recorded(inner, notepad, unique_name, SENDS.format(texts=[b"hello", b"bye"]))
    code = SENDS.format(texts=[b"hello", b"by3"]).replace(", id", ", check=False, id")
    project(inner, unique_name, code)
    result = inner.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert f"an unexpected message came to '{unique_name}'" in text
    assert "they differ from offset 2 on" in text
    assert "1 of 2 messages not sent" in text
    assert "Captured by" not in text
    # And where the test fails first, it is a part of the report.
    project(inner, unique_name, SENDS.format(texts=[b"hello", b"by3"]))
    result = inner.runpytest_inprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*ConnectionRefusedError*",
            "*Captured by cassette *it.wipc call*",
            "an unexpected message came*",
        ]
    )
    # Lenient: by the id.
    project(inner, unique_name, code.replace("windows", "match='lenient', windows"))
    inner.runpytest_inprocess().assert_outcomes(passed=1)


def test_what_was_not_asked_for_is_one_line(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    recorded(inner, notepad, unique_name, SENDS.format(texts=[b"a", b"b", b"c"]))
    project(inner, unique_name, SENDS.format(texts=[b"a"]))
    result = inner.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    line = "cassettes?it.wipc: 2 of 3 messages not sent, first id 0x1"
    result.stdout.fnmatch_lines(["*= winipc cassettes =*", line])


def test_new_asks_the_program_only_for_what_is_new(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    """The program has changed: it refuses now what the cassette still takes."""
    path = inner.path / "cassettes" / "it.wipc"
    recorded(inner, notepad, unique_name, SENDS.format(texts=[b"hello"]), "new")
    before = path.read_bytes()
    project(inner, unique_name, SENDS.format(texts=[b"hello", b"more"]))
    inner.runpytest_inprocess("--winipc-record=once").assert_outcomes(failed=1)
    assert path.read_bytes() == before
    layout = winipc.Layout.of("settings", "max_length:I read_only:I")
    with winipc.SharedMapping.create(f"{unique_name}-settings", 8) as settings:
        settings.write(layout.pack(max_length=4, read_only=0))
        argv = [str(c_peer_path("notepadlike.exe")), unique_name, settings.name]
        with Peer(argv, ready="ready") as changed:
            inner.runpytest_inprocess("--winipc-record=all").assert_outcomes(failed=1)
            inner.runpytest_inprocess("--winipc-record=new").assert_outcomes(passed=1)
            assert changed.stderr == ["refused 5 bytes\n"]
    inner.runpytest_inprocess().assert_outcomes(passed=1)


def test_tests_that_share_a_cassette_add_to_it(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    code = SENDS.format(texts=[b"hello"]) + SENDS.replace("_it(", "_other(").format(
        texts=[b"more"]
    )
    project(inner, unique_name, code)
    once = inner.runpytest_inprocess("--winipc-record=once")
    once.assert_outcomes(passed=1, errors=1)
    hint = "hint: to add a test while the program runs, use --winipc-record=new, or *"
    once.stdout.fnmatch_lines(["*FileExistsError: *", hint])
    inner.runpytest_inprocess("--winipc-record=new").assert_outcomes(passed=2)
    notepad.kill()
    inner.runpytest_inprocess().assert_outcomes(passed=2)


def test_a_recording_of_a_test_that_fails_is_not_kept(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    """Neither a first one nor one in place of another."""
    fails = SENDS.format(texts=[b"hello"]) + "    assert TITLE == 'other'\n"
    project(inner, unique_name, fails)
    result = inner.runpytest_inprocess("--winipc-record=once")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["cassettes?it.wipc: not kept, as the test did not pass"]
    )
    assert cassettes(inner) == []
    project(inner, unique_name, SENDS.format(texts=[b"hello"]))
    inner.runpytest_inprocess("--winipc-record=once").assert_outcomes(passed=1)
    path = inner.path / "cassettes" / "it.wipc"
    before = path.read_bytes()
    project(inner, unique_name, fails)
    inner.runpytest_inprocess("--winipc-record=all").assert_outcomes(failed=1)
    assert path.read_bytes() == before
    assert cassettes(inner) == ["cassettes/it.wipc"]


def test_markers_and_the_config_add_up(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    """Of the project, the module, the class and the test; the closest one wins."""
    inner.makeconftest(
        """
import pytest

def before_record(event):
    with open("kept", "a") as file:
        file.write(".")
    return event

@pytest.fixture(scope="session")
def winipc_cassette_config():
    return {"before_record": before_record, "windows": ["not this one"]}
"""
    )
    code = """
pytestmark = pytest.mark.winipc_cassette(windows=["no such window"])

@pytest.mark.winipc_cassette(windows=[TITLE])
class TestClass:
    @pytest.mark.parametrize("text", ["a/b", "c:d"])
    def test_own(self, text):
        assert winipc.send_copydata(TITLE, text.encode(), id=SET_TEXT) == 1

    @pytest.mark.winipc_cassette("named.wipc")
    def test_named(self, winipc_cassette, request):
        kinds = {"none": "Player", "once": "Recorder"}
        mode = request.config.getoption("winipc_record") or "none"
        assert type(winipc_cassette).__name__ == kinds[mode]
        assert winipc.send_copydata(TITLE, b"e", id=SET_TEXT) == 1
"""
    project(inner, unique_name, code)
    inner.runpytest_inprocess("--winipc-record=once").assert_outcomes(passed=3)
    assert cassettes(inner) == [
        "cassettes/named.wipc",
        "cassettes/test_it/TestClass.test_own[a_b].wipc",
        "cassettes/test_it/TestClass.test_own[c_d].wipc",
    ]
    assert (inner.path / "kept").read_text() == "..."
    notepad.kill()
    inner.runpytest_inprocess().assert_outcomes(passed=3)


def test_memory_is_played_step_by_step(
    inner: pytest.Pytester, unique_name: str
) -> None:
    """A mapping that the test looks at, recorded while its program wrote."""
    writer = f"""
import sys, winipc
with winipc.SharedMapping.create({unique_name!r}, 16) as mapping:
    print("ready", flush=True)
    for line in sys.stdin:
        mapping.write(line.strip().encode())
        print("written", flush=True)
"""
    folder = inner.path / "cassettes"
    folder.mkdir()
    with (
        Peer([sys.executable, "-c", writer], ready="ready") as peer,
        winipc.Cassette.record(folder / "it.wipc", mappings=[unique_name]) as recorder,
    ):
        for text in ("one", "two"):
            events = recorder.events
            peer.say(text)
            peer.expect("written")
            while recorder.events == events:
                time.sleep(0.01)
    run(
        inner,
        f"""
@pytest.mark.winipc_no_leaks
@pytest.mark.winipc_cassette("it.wipc", speed=None)
def test_steps(winipc_cassette):
    with winipc.SharedMapping.open({unique_name!r}) as mapping:
        seen = [mapping.read(3)]
        while winipc_cassette.step():
            seen.append(mapping.read(3))
    assert seen[-2:] == [b"one", b"two"]

def test_gone():
    with pytest.raises(FileNotFoundError):
        winipc.SharedMapping.open({unique_name!r})
""",
        passed=2,
    )


def test_a_recording_of_a_test_that_is_skipped_is_not_kept(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    code = SENDS.format(texts=[b"hello"]) + "    pytest.skip('enough')\n"
    project(inner, unique_name, code)
    inner.runpytest_inprocess("--winipc-record=all").assert_outcomes(skipped=1)
    assert cassettes(inner) == []


def test_a_program_that_runs_is_not_doubled(
    inner: pytest.Pytester, notepad: Peer, unique_name: str
) -> None:
    """Nor recorded when it does not run: each is told without a traceback."""
    project(inner, unique_name, SENDS.format(texts=[b"hello"]))
    inner.runpytest_inprocess("--winipc-record=once").assert_outcomes(passed=1)
    result = inner.runpytest_inprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "cassette cassettes?it.wipc: FileExistsError: *",
            "hint: the program itself, *",
        ]
    )
    notepad.kill()
    result = inner.runpytest_inprocess("--winipc-record=all")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["cassette cassettes?it.wipc: FileNotFoundError: *"])


def test_wrong_use_is_told(inner: pytest.Pytester) -> None:
    """A word that is no mode, and an option that cassettes do not have."""
    result = inner.runpytest_inprocess("--winipc-record=sometimes")
    result.stderr.fnmatch_lines(["*invalid choice: 'sometimes'*"])
    code = """
@pytest.mark.winipc_cassette("it.wipc", window=["x"])
def test_it():
    pass
"""
    for options in ([], ["--winipc-record=all"]):
        result = run(inner, code, *options, errors=1)
        result.stdout.fnmatch_lines(["*TypeError: a cassette has no 'window', but *"])
    with (inner.path / "tox.ini").open("a") as file:
        file.write("\nwinipc_record = sometimes\n")
    result = inner.runpytest_inprocess()
    result.stderr.fnmatch_lines(["*winipc_record is 'sometimes', which is none of *"])
