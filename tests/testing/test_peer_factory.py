"""Peers that several tests share, each of which sees its own part of the output."""

from __future__ import annotations

import re

import pytest
from helpers.inner_runs import run

import winipc

pytest_plugins = ["pytester"]

ECHO = """
CODE = '''
import sys
print("ready", flush=True)
for line in sys.stdin:
    print("said", line.strip(), flush=True)
    print("heard", line.strip(), file=sys.stderr, flush=True)
'''
"""


def test_each_test_sees_its_own_output(inner: pytest.Pytester) -> None:
    """In its report, in the text of a failure, and by what it reads."""
    result = run(
        inner,
        ECHO
        + """
@pytest.fixture(scope="session")
def echo(winipc_peer_factory):
    return winipc_peer_factory(sys.executable, "-c", CODE, ready="ready")

def test_one(echo):
    echo.say("one")
    echo.wait_for_stderr("heard one")

def test_two(echo):
    echo.say("two")
    echo.wait_for_stderr("heard two")
    echo.expect("said 2")

def test_three(echo):
    echo.say("three")
    echo.expect("said three")
    echo.wait_for_stderr("heard three")
    assert [*map(str.strip, echo.stdout)] == ["said three"]

def test_silent(echo):
    assert 1 == 2

def test_dead(echo):
    echo.process.kill()
    echo.read_line()

def test_dead_before(echo):
    assert 3 == 4
""",
        passed=2,
        failed=4,
    )
    text = result.stdout.str()
    parts = dict(re.findall(r"^_+ (test_\w+) _+\n(.*?)(?=^[_=]{5})", text, re.M | re.S))
    assert "said 'said two', not 'said 2'" in parts["test_two"]
    assert "heard two" in parts["test_two"]
    assert not re.search("^(said|heard) (one|three)|^ready", text, re.M)
    assert "Captured by peer" not in parts["test_silent"]
    assert "ended early" in parts["test_dead"]
    assert "--- exit status 0x1" in parts["test_dead_before"]


def test_no_output_is_reported_twice(inner: pytest.Pytester) -> None:
    """Where a fixture fails after the test, it has no section of its own."""
    result = run(
        inner,
        ECHO
        + """
@pytest.fixture
def echo(winipc_peer_factory):
    yield winipc_peer_factory(sys.executable, "-c", CODE, ready="ready")
    assert 1 == 2

def test_it(echo):
    echo.say("one")
    echo.expect("said one")
    assert 3 == 4
""",
        failed=1,
        errors=1,
    )
    # pytest shows the section of the test in both reports.
    assert result.outlines.count("said one") == 2


def test_a_peer_ends_where_its_fixture_does(inner: pytest.Pytester) -> None:
    """With the class or module by `with`, and with the session otherwise."""
    run(
        inner,
        ECHO
        + """
pids = {}

def alive(pid):
    return any(entry.pid == pid for entry in winipc.processes())

@pytest.fixture(scope="class")
def of_class(winipc_peer_factory):
    with winipc_peer_factory(sys.executable, "-c", CODE, ready="ready") as peer:
        yield peer

@pytest.fixture(scope="session")
def of_session(winipc_peer_factory):
    return winipc_peer_factory(sys.executable, "-c", CODE, ready="ready")

class TestClass:
    def test_first(self, of_class, of_session):
        pids["class"], pids["session"] = of_class.pid, of_session.pid

    def test_same(self, of_class, of_session):
        assert pids == {"class": of_class.pid, "session": of_session.pid}

@pytest.mark.winipc_no_leaks
def test_after(of_session):
    assert not alive(pids["class"])
    of_session.say("x")
    of_session.expect("said x")
""",
        passed=3,
    )


def test_a_session_leaves_no_peer(inner: pytest.Pytester) -> None:
    """One that the last test still used."""
    inner.makeconftest(
        "import pytest, sys\n"
        "@pytest.fixture(scope='session', autouse=True)\n"
        "def peer(winipc_peer_factory):\n"
        "    return winipc_peer_factory(sys.executable, '-c', 'input()')\n"
    )
    inner.makepyfile(
        "def test_pid(peer):\n"
        "    with open('pid', 'w') as file:\n"
        "        file.write(str(peer.pid))\n"
    )
    inner.runpytest_inprocess().assert_outcomes(passed=1)
    pid = int((inner.path / "pid").read_text())
    assert not any(entry.pid == pid for entry in winipc.processes())
