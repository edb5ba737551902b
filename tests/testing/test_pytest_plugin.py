"""The pytest plugin, by inner runs of pytest with tests that pass and fail."""

from __future__ import annotations

import _thread
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from conftest import DEADLINE, c_peer_path
from helpers.inner_runs import run

import winipc
from winipc.testing import ExpectingWindow, LeakCheck, Peer, leaks
from winipc.testing.peer import _lines

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

# ------------------------------------------------------------------ loading


@pytest.mark.smoke
def test_a_run_without_fixtures_does_not_import_winipc(tmp_path: Path) -> None:
    """The plugin is loaded everywhere, so it has to cost nothing."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_plugin(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.has_plugin('winipc')\n"
        "    assert 'pytest_winipc' in sys.modules\n"
        "    assert 'winipc' not in sys.modules\n"
    )
    done = subprocess.run(
        # The other plugins take most of the time.
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
            *("-p", "no:anyio", "-p", "no:hypothesispytest", str(tmp_path)),
        ],
        capture_output=True,
        encoding="utf-8",
        timeout=DEADLINE,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_fixtures_and_the_marker_are_listed(inner: pytest.Pytester) -> None:
    """`pytest --fixtures` and `--markers` say what there is."""
    listed = inner.runpytest_inprocess("--fixtures")
    listed.stdout.fnmatch_lines(["winipc_name -- *", "winipc_section_dll -- *"])
    inner.runpytest_inprocess("--markers").stdout.fnmatch_lines(
        ["@pytest.mark.winipc_no_leaks*"]
    )


def test_old_names_of_fixtures_still_work(inner: pytest.Pytester) -> None:
    """They say what they are called now."""
    inner.makepyfile("""
import pytest

@pytest.mark.filterwarnings("default::DeprecationWarning")
def test_old(copydata_window, make_copydata_window, section_dll, winipc_window):
    assert copydata_window is winipc_window
    assert make_copydata_window().title != copydata_window.title
    assert section_dll({"counter": 8}).exists()

def test_as_an_error(copydata_window):
    pass
""")
    done = inner.runpytest_inprocess("-W", "error")
    done.assert_outcomes(passed=1, errors=1, warnings=3)
    done.stdout.fnmatch_lines(["*copydata_window is called winipc_window*"])


# -------------------------------------------------------------------- names


def test_names_are_unique(inner: pytest.Pytester) -> None:
    """Two tests have two names, one test has one."""
    run(
        inner,
        """
seen = set()

@pytest.fixture
def other(winipc_name):
    return winipc_name

@pytest.mark.parametrize("turn", range(2))
def test_new(turn, winipc_name, other):
    assert winipc_name == other
    assert winipc_name not in seen
    seen.add(winipc_name)

def test_fails(winipc_name):
    assert winipc_name in seen
""",
        passed=2,
        failed=1,
    )


# -------------------------------------------------------------------- peers

PEER = """
CODE = '''
import sys
print("ready", flush=True)
print("a complaint", file=sys.stderr, flush=True)
for line in sys.stdin:
    print("said", line.strip(), flush=True)
'''
pids = []

@pytest.fixture
def peer(winipc_peer):
    peer = winipc_peer(sys.executable, "-c", CODE)
    pids.append(peer.pid)
    peer.expect("ready")
    return peer
"""


@pytest.mark.smoke
def test_peer_is_spoken_to_and_reaped(inner: pytest.Pytester) -> None:
    """It answers, and is gone after the test although it waits for more."""
    run(
        inner,
        PEER
        + """
def test_talk(peer):
    peer.say("hello")
    assert peer.read_line() == "said hello"
    peer.wait_for_stderr("complaint")
    assert peer.process.poll() is None

def test_gone(peer):
    assert not any(entry.pid == pids[0] for entry in winipc.processes())
    assert peer.finish() == 0
""",
        passed=2,
    )


def test_output_ends_with_the_peer_though_others_hold_its_pipes(
    unique_name: str,
) -> None:
    """A process that it started goes on, with the same streams, until the reap."""
    waits = "import sys, winipc; winipc.Event.open(sys.argv[1]).wait(100)"
    code = f"""
import subprocess, sys
command = [sys.executable, "-c", {waits!r}, {unique_name!r}]
child = subprocess.Popen(command, stdout=sys.stdout, stderr=sys.stderr)
print(child.pid)
print("no end of line", end="")
print("nor here", end="", file=sys.stderr)
sys.stdout.flush()
child.returncode = 0  # it is not waited for
"""
    argv = [sys.executable, "-c", code]
    with (
        winipc.Event.create(unique_name, manual=True),
        Peer(argv, launcher=True, timeout=DEADLINE) as peer,
        winipc.RemoteProcess.open(int(peer.read_line())) as child,
    ):
        assert peer.wait() == 0
        assert peer.read_line() == "no end of line"
        with pytest.raises(AssertionError, match="ended early"):
            peer.read_line(10)
        for thread in peer._threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        assert peer.stderr == ["nor here"]
        assert child.alive
        peer.reap()
        assert not child.alive


@pytest.mark.parametrize("random", [b"\n", b"\xff", b"a"])
def test_no_line_waits_for_the_next_one(
    monkeypatch: pytest.MonkeyPatch, random: bytes
) -> None:
    """Whatever the mark is that ends the output: it might begin like a line's end."""
    mark = uuid.UUID(bytes=random * 16)
    monkeypatch.setattr("winipc.testing.peer.uuid.uuid4", lambda: mark)
    code = "for line in open(0): print('got ' + line, end='', flush=True)"
    peer = Peer([sys.executable, "-c", code], timeout=10)
    try:
        for text in ("a", "", "aaa", "\xff\xff", "end"):
            peer.say(text)
            assert peer.read_line() == f"got {text}"
        assert peer.finish() == 0
    finally:
        peer.kill()
        peer.reap()


@pytest.mark.parametrize("size", [1, 2, 16, 33, 65536])
def test_lines_are_whole_in_whatever_parts_they_come(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """The mark too may come in parts, and what comes after it is not theirs."""
    mark = b"\xff" + bytes(range(64, 96))
    text = b"one\r\n\n\xff" + mark[:20] + b"\n" + mark[1:] + b"\nend" + mark
    read = os.read
    monkeypatch.setattr("winipc.testing.peer.os.read", lambda pipe, _: read(pipe, size))
    reader, writer = os.pipe()
    try:
        os.write(writer, text + b"\nof another process")
        lines = list(_lines(reader, mark, "latin-1"))
    finally:
        os.close(writer)
    first, *last = (
        text.decode("latin-1").removesuffix(mark.decode("latin-1")).split("\n")
    )
    assert lines == [f"{line}\n" for line in (first[:-1], *last[:-1])] + ["end"]


def test_report_of_a_failure_has_what_peers_printed(inner: pytest.Pytester) -> None:
    """Both streams and the status, whatever made the test fail."""
    result = run(
        inner,
        PEER
        + """
def test_fails(peer):
    peer.say("hello")
    peer.read_line()
    peer.wait_for_stderr("complaint")
    peer.kill()
    assert 1 == 2
""",
        failed=1,
    )
    result.stdout.re_match_lines(
        [
            r"-+ Captured by peer python\.exe \(pid \d+\) call -+",
            r"--- exit status 0x1",
            r"--- standard output",
            r"ready",
            r"said hello",
            r"--- standard error",
            r"a complaint",
        ]
    )


def test_peer_that_fails_expectations_is_quoted(inner: pytest.Pytester) -> None:
    """Another line, silence and an early end are three messages."""
    result = run(
        inner,
        PEER
        + """
def test_other(peer):
    peer.say("x")
    peer.expect("said y")

def test_silent(peer):
    peer.read_line(0.2)

def test_ended(peer):
    peer.finish()
    peer.expect("more")

def test_still_running(peer):
    peer.wait(0.2)
""",
        failed=4,
    )
    text = result.stdout.str()
    assert "said 'said x', not 'said y'" in text
    assert "was silent for 0.2 s" in text
    assert "ended early, and did not say 'more'" in text
    assert "did not end within 0.2 s" in text
    assert text.count("--- standard output") == 4
    assert "Captured by peer" not in text  # once is enough


# ----------------------------------------------------------------- messages


@pytest.mark.smoke
def test_window_expects_messages(inner: pytest.Pytester) -> None:
    """By id, data, text, number and name; in order, or passing over others."""
    run(
        inner,
        """
@pytest.fixture
def send(winipc_window):
    def send(data, id=0):
        return winipc.send_copydata(winipc_window, data, id=id)
    return send

def test_copydata(winipc_window, send):
    send(b"a\\0b", 7)
    send("tëxt\\0".encode(), -1)
    message = winipc_window.expect(id=7, data=b"a\\0b")
    assert bytes(message) == b"a\\0b"
    winipc_window.expect(id=-1, data="tëxt")
    winipc_window.expect_nothing(0.01)

def test_skip(winipc_window, send):
    for id in range(5):
        send(b"", id)
    winipc_window.expect(id=3, skip=True)
    winipc_window.expect(id=4)

def test_plain(winipc_window_factory, winipc_name):
    window = winipc_window_factory(messages=[0x8001, winipc_name])
    winipc.post_message(window, 0x8001, 5, 6)
    winipc.post_message(window, winipc_name, 7)
    window.expect(message=0x8001, wparam=5, lparam=6)
    window.expect(message=winipc_name, wparam=7)

def test_two(winipc_window_factory, winipc_window):
    other = winipc_window_factory()
    assert other.title != winipc_window.title
    winipc.send_copydata(other.title, b"", sender=winipc_window)
    other.expect(pid=os.getpid())

def test_closed():
    titles = [w.title for w in winipc.find_windows(pid=os.getpid())]
    assert not [t for t in titles if t.startswith("winipc-test-")]
""",
        passed=5,
    )


def test_window_says_what_came_instead(inner: pytest.Pytester) -> None:
    """What differs, where the data differs, and what came before."""
    result = run(
        inner,
        """
def test_data(winipc_window):
    winipc.send_copydata(winipc_window, bytes(40) + b"hello", id=3)
    winipc.send_copydata(winipc_window, bytes(40) + b"hellO!", id=4)
    winipc.send_copydata(winipc_window, b"", id=5)
    winipc_window.expect(id=3)
    winipc_window.expect(id=3, data=bytes(40) + b"hello")

def test_text(winipc_window):
    winipc.send_copydata(winipc_window, b"hallo")
    winipc_window.expect(data="hello", pid=1)

def test_no_text(winipc_window):
    winipc.send_copydata(winipc_window, b"\\xff")
    winipc_window.expect(data="hello")

def test_plain(winipc_window_factory):
    window = winipc_window_factory(messages=[0x8001])
    winipc.post_message(window, 0x8001, 5)
    window.expect(id=1)

def test_nothing(winipc_window):
    winipc.send_copydata(winipc_window, b"xy", id=9)
    winipc_window.expect(id=1, skip=True, timeout=0.1)

def test_something(winipc_window):
    winipc.send_copydata(winipc_window, b"noise")
    winipc_window.expect_nothing()
""",
        failed=6,
    )
    result.stdout.fnmatch_lines(
        [
            "*another message than expected",
            "*  id: expected 0x3, came 0x4",
            "*  data: 45 bytes expected, 46 came; they differ from offset 44 on",
            "*expected 00000020  00 * 68 65 6c 6c 6f * ........hello",
            "*came 00000020  00 * 68 65 6c 6c 4f 21 * ........hellO!",
            "*<Message id=0x3 size=45 * (expected)",
            "*<Message id=0x4 size=46 * (not expected)",
            "*(1 more waiting)",
            "*  pid: expected 1, came 0",
            "*  data: expected 'hello'",
            "*came 'hallo'",
            "*expected 'hello', but this is not UTF-8:",
            "*  message: expected 0x4a (WM_COPYDATA), came 0x8001",
            "*not within 0.1 s: message=0x4a (WM_COPYDATA) id=0x1",
            "*id=0x9 size=2 * b'xy' (not expected)",
            "*a message came",
        ]
    )


def test_window_expects_records(unique_name: str) -> None:
    """Field by field, whatever is in the padding."""
    layout = winipc.Layout.of("ship", "id:b name:6s x:d")
    wanted = layout.unpack(layout.pack(id=1, name="alpha", x=1.5))
    with ExpectingWindow.create(unique_name) as window:
        data = bytes(wanted)
        winipc.send_copydata(unique_name, data[:7] + b"!" + data[8:])
        window.expect(data=wanted)
        winipc.send_copydata(unique_name, layout.pack(wanted, name="beta", x=2))
        with pytest.raises(AssertionError) as caught:
            window.expect(data=wanted)
        assert "data: name: expected 'alpha', came 'beta'" in str(caught.value)
        assert "data: x: expected 1.5, came 2.0" in str(caught.value)
        for wrong in (7, {"id": 1}, layout, [1]):
            with pytest.raises(TypeError, match=r"^data is bytes, text or a record"):
                window.expect(data=wrong, timeout=0)  # type: ignore[arg-type]
        winipc.send_copydata(unique_name, b"short")
        with pytest.raises(AssertionError, match="16 bytes of ship expected, 5 came"):
            window.expect(data=wanted)


# ----------------------------------------------------------------- mappings


@pytest.mark.smoke
def test_mapping_is_filled(inner: pytest.Pytester) -> None:
    """From bytes, a ctypes structure, and a layout with fields."""
    run(
        inner,
        """
class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int32), ("y", ctypes.c_int32)]

LAYOUT = winipc.Layout.of("point", {"x": "i", "y": "i"})
names = []

def test_bytes(winipc_mapping):
    mapping = winipc_mapping(b"hello", size=100)
    names.append(mapping.name)
    with winipc.SharedMapping.open(mapping.name) as other:
        assert other.read(6) == b"hello\\0"
    assert mapping.size == 100
    assert winipc_mapping(b"").name != mapping.name

def test_ctypes(winipc_mapping):
    mapping = winipc_mapping(Point(3, -4))
    assert mapping.struct_view(LAYOUT).as_dict() == {"x": 3, "y": -4}

def test_layout(winipc_mapping, winipc_name):
    mapping = winipc_mapping(LAYOUT, {"y": 9}, name=winipc_name)
    assert mapping.name == winipc_name
    assert (mapping.size, mapping.read(8)) == (8, bytes([0, 0, 0, 0, 9, 0, 0, 0]))

def test_gone():
    with pytest.raises(FileNotFoundError):
        winipc.SharedMapping.open(names[0])

def test_arguments(winipc_mapping):
    with pytest.raises(ValueError, match="5 bytes of content"):
        winipc_mapping(b"hello", size=4)
    with pytest.raises(TypeError, match="Layout"):
        winipc_mapping(b"hello", {"x": 1})
    with pytest.raises(TypeError, match="its length is size="):
        winipc_mapping(100)
    with pytest.raises(LookupError, match="z") as caught:
        winipc_mapping(LAYOUT, {"z": 1})
    assert [entry.name for entry in caught.traceback] == ["test_arguments", "make"]
""",
        passed=5,
    )


def test_mapping_that_is_still_used_is_told(inner: pytest.Pytester) -> None:
    """An error where the test passed, and no second one where it failed."""
    result = run(
        inner,
        """
kept = []

def test_kept(winipc_mapping):
    kept.append(memoryview(winipc_mapping(b"hello")))

def test_fails(winipc_mapping):
    view = memoryview(winipc_mapping(b"hello"))
    assert bytes(view) == b"other"
""",
        passed=1,
        failed=1,
        errors=1,
    )
    result.stdout.fnmatch_lines(["*BufferError*"])


# ----------------------------------------------------------------- sections


def test_section_dll_is_built(inner: pytest.Pytester) -> None:
    """Each call makes a DLL of its own; a wrong claim about it fails."""
    run(
        inner,
        """
def test_variables(winipc_section_dll):
    path = winipc_section_dll({"counter": 8, "text": b"hello"})
    with winipc.SharedSection.load(path, "text") as text:
        assert text.read(5) == b"hello"
        assert set(text.variables) == {"counter", "text"}
    assert winipc_section_dll({"counter": 8}) != path
    assert winipc_section_dll({"counter": 8}, name="own.dll").name == "own.dll"

def test_fails(winipc_section_dll):
    winipc.SharedSection.load(winipc_section_dll({"counter": 8}), "text")
""",
        passed=1,
        failed=1,
    )


# -------------------------------------------------------------------- leaks

LEAKS = """
kept = []

@pytest.fixture(scope="module")
def whole_module():
    kept.append(winipc.Event.create(None))

@pytest.mark.winipc_no_leaks
def test_clean(
    whole_module,
    winipc_window,
    winipc_mapping,
    winipc_name,
    winipc_peer,
    winipc_section_dll,
):
    winipc_mapping(b"x")
    winipc_peer(sys.executable, "-c", "pass").finish()
    winipc.SharedSection.load(winipc_section_dll({"counter": 8}), "counter").close()
    with winipc.Mutex.create(winipc_name):
        pass

def test_event(winipc_no_leaks, winipc_name):
    kept.append(winipc.Event.create(winipc_name))

@pytest.mark.winipc_no_leaks
def test_window(winipc_name):
    kept.append(winipc.CopyDataWindow.create(winipc_name))

@pytest.mark.winipc_no_leaks
def test_mapping():
    kept.append(winipc.SharedMapping.create(None, 12345))

@pytest.mark.winipc_no_leaks
def test_thread():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="the-lost-one", daemon=True)
    thread.start()
    thread.close = lambda: (stop.set(), thread.join())
    kept.append(thread)

@pytest.mark.winipc_no_leaks
def test_section(winipc_section_dll):
    path = winipc_section_dll({"counter": 8}, name="forgotten.dll")
    kept.append(winipc.SharedSection.load(path, "counter"))

@pytest.mark.winipc_no_leaks
def test_fails(winipc_name):
    kept.append(winipc.Event.create(winipc_name))
    assert kept[-1].closed

def test_not_asked():
    kept.append(winipc.Event.create(None))

def test_end():
    gc.collect()
    for thing in kept:
        thing.close()
"""


@pytest.fixture
def few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests whose leaks stay: a look at all handles and memory takes longest."""
    monkeypatch.setattr(leaks, "_SHORTEST", 1.0)
    monkeypatch.setattr(leaks, "_LONGEST", 1.0)


@pytest.mark.usefixtures("few_looks")
def test_leaks_are_named(inner: pytest.Pytester) -> None:
    """Each kind; not those of fixtures, of failures, or without the check."""
    result = run(
        inner,
        LEAKS,
        "-W",
        "ignore::ResourceWarning",
        passed=8,
        failed=1,
        errors=5,
    )
    text = result.stdout.str()
    assert "ERROR at teardown of test_clean" not in text
    parts = dict(
        re.findall(
            r"ERROR at teardown of (\w+) _+\n(.*?)(?=\n_____|\n====)", text, re.DOTALL
        )
    )
    assert set(parts) == {
        "test_event",
        "test_window",
        "test_mapping",
        "test_thread",
        "test_section",
    }
    assert re.search(r"handle 0x\w+: Event \S+winipc-test-", parts["test_event"])
    assert re.search(r"window 0x\w+: 'winipc-test-", parts["test_window"])
    assert "not of Python, began in _core.pyd" in parts["test_window"]
    assert re.search(r"mapping: 16384 bytes at 0x", parts["test_mapping"])
    assert re.search(r"handle 0x\w+: Section", parts["test_mapping"])
    assert "the-lost-one" in parts["test_thread"]
    assert re.search(
        r"section DLL: .*forgotten\.dll with counter", parts["test_section"]
    )


@pytest.mark.usefixtures("few_looks")
def test_ini_option_checks_every_test_but_the_exempt(inner: pytest.Pytester) -> None:
    """The marker with False is the exception."""
    inner.makeini("[pytest]\nwinipc_no_leaks = true\n")
    run(
        inner,
        """
kept = []

def test_clean():
    pass

def test_leaky():
    kept.append(winipc.Event.create(None))

@pytest.mark.winipc_no_leaks(False)
def test_exempt():
    kept.append(winipc.Event.create(None))

@pytest.mark.winipc_no_leaks(False)
def test_end():
    for event in kept:
        event.close()
""",
        passed=4,
        errors=1,
    )


def test_leak_check_without_pytest(unique_name: str) -> None:
    """`LeakCheck` sees a handle come and go, and waits for what is ending."""
    check = LeakCheck()
    event = winipc.Event.create(unique_name)
    [line] = check.leaks(0)
    assert unique_name in line

    def close_soon() -> None:
        time.sleep(0.2)
        event.close()

    # A Thread has locks; before Python 3.13 their handles would be found, too.
    _thread.start_new_thread(close_soon, ())
    assert check.leaks(DEADLINE) == []


def test_a_leak_is_looked_for_soon_and_then_less_often(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look takes longer than a pause; and none is after the time-out."""
    check = LeakCheck()
    now, pauses = [100.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += seconds

    with winipc.Event.create(unique_name), monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: now[0])
        patch.setattr(time, "sleep", sleep)
        [line] = check.leaks(2)
    assert unique_name in line
    assert sum(pauses) == pytest.approx(2)
    assert pauses[0] < 0.05
    assert len(pauses) < 12


# -------------------------------------------------------------------- guide

FENCED = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def guide(inner: pytest.Pytester) -> str:
    shutil.copy(c_peer_path("notepadlike.exe"), inner.path)
    text = (ROOT / "docs" / "testing.md").read_text("utf-8")
    return "\n\n".join(FENCED.findall(text))


def test_guide_tests_the_program(inner: pytest.Pytester) -> None:
    """docs/testing.md as it stands, on the program that it is about."""
    inner.makepyfile(guide(inner))
    inner.runpytest_inprocess().assert_outcomes(passed=7)


def test_guide_finds_bugs_in_the_program(inner: pytest.Pytester) -> None:
    """Where program and tests disagree, the tests fail."""
    code = guide(inner)
    wrong = code.replace('data="HELLO"', 'data="HELLo"').replace("== 0\n", "== 1\n")
    inner.makepyfile(wrong)
    result = inner.runpytest_inprocess()
    result.assert_outcomes(passed=5, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*data: expected 'HELLo'",
            "*came 'HELLO'",
            "*Captured by peer notepadlike.exe*",
        ]
    )


def test_peers_do_not_depend_on_the_shell_folder(inner: pytest.Pytester) -> None:
    """`cwd` and `env` reach the program."""
    run(
        inner,
        """
def test_environment(winipc_peer, tmp_path):
    code = "import os; print(os.environ['WINIPC_X'], os.getcwd())"
    peer = winipc_peer(sys.executable, "-c", code, cwd=tmp_path, env={"WINIPC_X": "1"})
    assert peer.read_line().casefold() == f"1 {tmp_path}".casefold()
""",
        passed=1,
    )
    assert "WINIPC_X" not in os.environ
