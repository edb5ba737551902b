"""When a peer is ready, and what is said of one that will not be; missing programs."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, c_peer_path
from helpers.inner_runs import run

import winipc
from winipc.testing import LeakCheck, Peer

pytest_plugins = ["pytester"]

#: Makes one thing when it is told to, and says so afterwards.
MAKES = """
import sys, winipc
name = sys.argv[1]
made = {
    "mapping": lambda: winipc.SharedMapping.create(name, 8),
    "event": lambda: winipc.Event.create(name),
    "mutex": lambda: winipc.Mutex.create(name),
    "semaphore": lambda: winipc.Semaphore.create(name, 1),
    "title": lambda: winipc.CopyDataWindow.create(name),
}[sys.argv[2]]()
print("made", flush=True)
sys.stdin.readline()
"""
NOISY = """
import sys
print("noise", flush=True)
print("port 4711 open", file=sys.{stream}, flush=True)
print("more", flush=True)
sys.stdin.read()
"""


def python(code: str, *args: str, **options: Any) -> Peer:
    options.setdefault("timeout", DEADLINE)
    return Peer([sys.executable, "-c", code, *args], **options)


@pytest.mark.parametrize("kind", ["mapping", "event", "mutex", "semaphore", "title"])
def test_ready_when_its_name_is_there(unique_name: str, kind: str) -> None:
    """A name that exists when the peer is there can only be the peer's."""
    ready: Any = {kind: unique_name}
    with python(MAKES, unique_name, kind, ready=ready) as peer:
        assert peer.process.poll() is None
        if kind == "title":
            assert winipc.find_window(unique_name) is not None
        else:
            cls = getattr(
                winipc, "SharedMapping" if kind == "mapping" else kind.title()
            )
            cls.open(unique_name).close()
        peer.expect(re.compile("^ma.e$"))


def test_ready_when_all_names_are_there(unique_name: str) -> None:
    """One that never comes is the one that the failure names; the other did."""
    path = str(c_peer_path("notepadlike.exe"))
    with Peer([path, unique_name], ready={"title": unique_name}) as peer:
        [window] = winipc.find_windows(title=unique_name, pid=peer.pid)
        both: Any = {"title": unique_name, "class_name": window.class_name}
    with Peer([path, unique_name], ready=both):
        pass
    names: Any = {"title": unique_name, "event": f"{unique_name}-event"}
    with pytest.raises(AssertionError) as caught:
        Peer([path, unique_name], ready=names, timeout=2)
    text = f"was not ready within 2.0 s (event '{unique_name}-event')"
    assert text in str(caught.value)
    wrong: Any = {"title": unique_name, "class_name": "no such class"}
    with pytest.raises(
        AssertionError, match=r"window with title .* and class_name 'no"
    ):
        Peer([path, unique_name], ready=wrong, timeout=2)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_ready_when_it_prints_a_line(stream: str) -> None:
    """The whole line, or what a regular expression finds, on either stream."""
    code = NOISY.format(stream=stream)
    for ready in ("port 4711 open", re.compile(r"port \d+")):
        with python(code, ready=ready) as peer:
            if stream == "stderr":
                peer.expect("noise")
            peer.expect("more")
            assert repr(peer).endswith(f" pid={peer.pid} running>")
    assert re.fullmatch(r"<Peer .*python.* pid=\d+ exit status 0x\w+>", repr(peer))
    with pytest.raises(
        AssertionError, match=r"not ready within 0\.5 s \(line '4711'\)"
    ):
        python(code, ready="4711", timeout=0.5)


def test_ready_when_a_function_says_so(unique_name: str) -> None:
    """What is not there yet is a no, and other errors are errors."""
    calls = []

    def opens(peer: Peer) -> bool:
        calls.append(peer.pid)
        winipc.Event.open(unique_name).close()
        return True

    with python(MAKES, unique_name, "event", ready=opens) as peer:
        assert set(calls) == {peer.pid}
    check = LeakCheck()
    with pytest.raises(ZeroDivisionError):
        python(MAKES, unique_name, "event", ready=lambda peer: 1 / 0)
    with pytest.raises(TypeError, match=r"may have mapping, event, .* not 'evnt'"):
        python(MAKES, unique_name, "event", ready={"evnt": "x"})
    assert check.leaks() == []


def test_one_that_dies_before_says_what_it_printed() -> None:
    """At once, whatever it was waited for."""
    code = "import sys; print('so far'); sys.exit('out of memory')"
    for ready in ("ready", {"event": "never"}, lambda peer: False):
        begin = time.monotonic()
        with pytest.raises(AssertionError) as caught:
            python(code, ready=ready, timeout=1000)
        assert time.monotonic() - begin < DEADLINE
        assert re.search(
            r"^peer python\.exe \(pid \d+\) ended before it was ready \(.*\)\n"
            r"--- exit status 0x1\n"
            r"--- standard output\nso far\n"
            r"--- standard error\nout of memory$",
            str(caught.value),
        )


def test_a_last_word_may_be_the_ready_one() -> None:
    """What came with its end is looked at once more."""
    looks = []

    def ends(peer: Peer) -> bool:
        looks.append(peer.wait())
        return len(looks) > 1

    with python("print('ready')", ready="ready") as peer:
        assert peer.wait() == 0
    with python("pass", ready=ends):
        assert looks == [0, 0]


def test_an_encoding_that_is_none_starts_nothing() -> None:
    with pytest.raises(LookupError, match="no-such"):
        python("print(1)", encoding="no-such")


def test_a_launcher_may_end_before_it_is_ready(unique_name: str) -> None:
    """What it started makes the name, and lives until the reap."""
    makes = f"""
import time, winipc
time.sleep(0.5)
event = winipc.Event.create({unique_name!r})
time.sleep(600)
"""
    code = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {makes!r}])
child.returncode = 0  # it is not waited for
"""
    with python(code, ready={"event": unique_name}, launcher=True) as peer:
        assert peer.wait() == 0
        winipc.Event.open(unique_name).close()
    with pytest.raises(FileNotFoundError):
        winipc.Event.open(unique_name)


def test_a_missing_program_is_one_line(inner: pytest.Pytester, tmp_path: Path) -> None:
    """With its name, below the test's; so is a folder, and a file that is none."""
    (tmp_path / "text.exe").write_text("no program")
    result = run(
        inner,
        f"""
def test_program(winipc_peer):
    winipc_peer("nothere.exe", "argument")

def test_folder(winipc_peer):
    winipc_peer(sys.executable, cwd="no folder")

def test_kind(winipc_peer):
    winipc_peer({str(tmp_path / "text.exe")!r})

@pytest.fixture(scope="module")
def shared(winipc_peer_factory):
    return winipc_peer_factory("nothere.exe")

def test_shared(shared):
    pass
""",
        failed=3,
        errors=1,
    )
    result.stdout.fnmatch_lines(
        [
            "E   *FileNotFoundError: [[]WinError 2] cannot start *: 'nothere.exe'",
            "E   *Error: [[]WinError *] cannot start *: 'no folder'",
            "E   *OSError: [[]WinError 193] cannot start *: '*text.exe'",
            "E   *hint: a script needs its Python in front: sys.executable",
        ]
    )
    only_the_test(result)


def only_the_test(result: pytest.RunResult) -> None:
    """Every frame of every traceback is one of the test file."""
    frames = re.findall(r"^(\S+\.py):\d+: ", result.stdout.str(), re.MULTILINE)
    assert frames
    assert {Path(frame).name[:5] for frame in frames} == {"test_"}


def test_helpers_are_not_in_tracebacks(inner: pytest.Pytester) -> None:
    """Whatever fails in a helper is shown at the line of the test."""
    result = run(
        inner,
        """
CODE = "print('so far', flush=True); input()"

@pytest.fixture
def peer(winipc_peer):
    return winipc_peer(sys.executable, "-c", CODE, timeout=0.5)

def test_expect(peer):
    peer.expect("x")

def test_read_line(peer):
    peer.read_line()
    peer.read_line()

def test_wait(peer):
    peer.wait()

def test_finish(winipc_peer):
    winipc_peer(sys.executable, "-c", "import time; time.sleep(600)").finish(0.5)

def test_stderr(peer):
    peer.wait_for_stderr("x")

def test_say(peer):
    peer.kill()
    peer.say("x")

def test_ready(winipc_peer):
    winipc_peer(sys.executable, "-c", "pass", ready="ready")

def test_ready_by_function(winipc_peer):
    winipc_peer(sys.executable, "-c", CODE, ready=lambda peer: {}["x"])

def test_ready_by_a_wrong_name(winipc_peer):
    winipc_peer(sys.executable, "-c", CODE, ready={"windw": "x"})

def test_mapping(winipc_mapping):
    winipc_mapping(b"hello", size=4)

def test_window(winipc_window):
    winipc_window.expect(id=1, timeout=0.1)

def test_no_message(winipc_window):
    winipc.send_copydata(winipc_window, b"")
    winipc_window.expect_nothing()
""",
        failed=12,
    )
    only_the_test(result)
    assert "reads no more" in result.stdout.str()
