"""A process is opened by what names it, says why not, and is closed once.

Against tests/process/peers/target.c, whose memory is known.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from conftest import handle_count
from helpers import BITS
from helpers.c_target import Target

import winipc
from winipc import (
    GlobalMemory,
    ProcessAccess,
    RemoteProcess,
)


@pytest.mark.smoke
def test_it_knows_the_target(process: RemoteProcess, target: Target) -> None:
    """Its pid, file, pointers and life."""
    assert process.pid == target.pid
    assert process.name == "target.exe"
    assert process.path.endswith("\\target.exe")
    assert process.is_64bit == (BITS == 64)
    assert process.pointer_size == BITS // 8
    assert process.alive
    assert process.exit_code is None
    assert process.access == ProcessAccess.WRITE
    assert repr(process) == f"<RemoteProcess 'target.exe' pid={target.pid}>"


def test_a_popen_object_will_do(target: Target) -> None:
    """Anything with a pid can be opened."""
    with RemoteProcess.open(target.peer.process) as process:
        assert process.pid == target.pid


@pytest.mark.parametrize("pid", [0x7FFFFFFC, 4_000_000], ids=hex)
def test_no_such_process(pid: int) -> None:
    """A dead pid is a ProcessLookupError with winerror 87."""
    with pytest.raises(ProcessLookupError) as caught:
        RemoteProcess.open(pid)
    assert caught.value.winerror == 87
    assert f"There is no such process: 'pid {pid}" in str(caught.value)


@pytest.mark.parametrize("pid", [-1, 2**32, 2**80], ids=["negative", "33-bit", "huge"])
def test_a_pid_that_cannot_be(pid: int) -> None:
    """A number that is no DWORD is not cut down to one."""
    with pytest.raises(OverflowError):
        RemoteProcess.open(pid)


def test_a_pid_is_not_rounded(target: Target) -> None:
    """Windows opens 4000 for 4001; that is no process of that number."""
    for pid in range(target.pid + 1, target.pid + 4):
        with pytest.raises(ProcessLookupError) as caught:
            RemoteProcess.open(pid)
        assert caught.value.winerror == 87


def test_exit_is_seen(process: RemoteProcess, target: Target) -> None:
    """The exit code, and wait."""
    running = rf"'pid {target.pid}, which still runs'"
    with pytest.raises(TimeoutError, match=running) as caught:
        process.wait(0.05)
    assert caught.value.winerror == 1460
    target.exit(259)  # the value that Windows uses for "still active"
    assert process.wait(60) == 259
    assert not process.alive
    assert process.exit_code == 259
    assert repr(process).endswith(f"pid={target.pid} exited with code 259>")


def test_close_is_final(target: Target) -> None:
    """A closed process refuses everything; closing twice does nothing."""
    process = RemoteProcess.open(target)
    process.close()
    process.close()
    assert process.closed
    assert repr(process) == f"<RemoteProcess pid={target.pid} closed>"
    for call in (
        lambda: process.read(0, 0),
        lambda: process.read_into(0, bytearray()),
        lambda: process.write(0, b""),
        lambda: process.read_cstr(0),
        lambda: process.wait(0),
        lambda: process.alive,
        lambda: process.handle,
        lambda: list(process.regions()),
        lambda: process.alloc(1),
    ):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_a_forgotten_process_warns() -> None:
    """ResourceWarning names the pid."""
    process = RemoteProcess.open(os.getpid())
    assert process
    with pytest.warns(ResourceWarning, match=f"pid={os.getpid()}"):
        del process


def test_a_handle_that_cannot_be_closed_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No exception can be raised when a process object is forgotten."""
    reported: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: reported.append(it.exc_value))
    process = RemoteProcess.open(os.getpid())
    assert ctypes.WinDLL("kernel32").CloseHandle(ctypes.c_void_p(process.handle))
    with pytest.warns(ResourceWarning, match="unclosed"):
        del process
    assert [error.filename2 for error in reported] == ["CloseHandle"]


def test_an_index_that_closes_the_process_is_refused(target: Target) -> None:
    """An argument whose conversion closes it meets a closed process."""
    process = RemoteProcess.open(target)

    class Closer:
        def __index__(self) -> int:
            process.close()
            return 8

    with pytest.raises(ValueError, match="closed"):
        process.read(0x10000, Closer())


def test_missing_rights_are_named(target: Target) -> None:
    """What was opened for queries says what it lacks when it is read."""
    with RemoteProcess.open(target, access=ProcessAccess.QUERY) as process:
        assert process.name == "target.exe"
        with pytest.raises(PermissionError) as caught:
            process.read(target.where("point"), 4)
    assert caught.value.winerror == 5
    assert "lacks 0x10: open it with access=ProcessAccess.READ" in str(caught.value)
    with (
        RemoteProcess.open(target) as process,
        pytest.raises(PermissionError),
    ):
        process.write(target.where("point"), b"x")


def test_hand_over_by_address(start_peer: Callable[..., object]) -> None:
    """The article's way: this process keeps a block, another one reads it.

    Only the pid, the address and the length travel (here by a pipe; in the
    exchange by a message), and the answer says that the block may go.
    """
    code = (
        "import sys, winipc\n"
        "pid, address, size = map(int, sys.stdin.readline().split())\n"
        "with winipc.RemoteProcess.open(pid) as sender:\n"
        "    sys.stdout.write(sender.read(address, size).decode())\n"
    )
    with GlobalMemory("fünf".encode()) as memory:
        where = f"{os.getpid()} {memory.address} {memory.size}\n"
        answer = subprocess.run(
            [sys.executable, "-X", "utf8", "-c", code],
            input=where,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
    assert answer.stdout == "fünf", answer.stderr


def test_no_handles_leak(target: Target) -> None:
    """Hundreds of opens, reads and failures leave no handle behind."""

    def once() -> None:
        with RemoteProcess.open(target, access=ProcessAccess.WRITE) as process:
            process.read(point, 1)
            with process.alloc(1):
                pass
        with pytest.raises(ProcessLookupError):
            RemoteProcess.open(0x7FFFFFFC)

    point = target.where("point")
    once()
    before = handle_count()
    for _ in range(100):
        once()
    assert handle_count() <= before + 2


def test_a_name_opens_the_one_that_has_it(
    target: Target, start_peer: Callable[..., object]
) -> None:
    """With or without .exe, in any case; two of a name are an error."""
    for name in ("target.exe", "TARGET"):
        with RemoteProcess.open(name) as process:
            assert process.pid == target.pid
    second = Target(start_peer("target.exe"))
    with pytest.raises(ValueError, match="2 processes") as several:
        RemoteProcess.open("target.exe")
    for pid in target.pid, second.pid:
        assert re.search(rf"\b{pid} \(started \d+-[-:\d ]+\)", str(several.value))
    with pytest.raises(ProcessLookupError) as caught:
        RemoteProcess.open("no-such-program.exe")
    assert caught.value.filename == "no-such-program.exe"


def test_a_name_does_not_mean_this_process_too(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Python program looks for the other one that runs; alone it finds itself."""
    rows = {row.pid: row for row in winipc.processes()}
    own = rows[os.getpid()]
    other = dataclasses.replace(rows[target.pid], name=own.name)
    for found, pid in (
        ([own, other], other.pid),
        ([other, own], other.pid),
        ([own], own.pid),
    ):
        monkeypatch.setattr("winipc.process.process.processes", lambda f=found: f)
        with RemoteProcess.open(own.name) as process:
            assert process.pid == pid


def test_a_name_is_waited_for(start_peer: Callable[..., object]) -> None:
    """Until a process has it; the time-out names it."""
    with pytest.raises(TimeoutError, match=r"in time: 'target\.exe'") as caught:
        RemoteProcess.wait_for("target.exe", 0.01)
    assert caught.value.winerror == 1460
    started: list[Target] = []
    timer = threading.Timer(
        0.1, lambda: started.append(Target(start_peer("target.exe")))
    )
    timer.start()
    with RemoteProcess.wait_for("target.exe", 60, access=ProcessAccess.QUERY) as found:
        timer.join()
        assert (found.pid, found.access) == (started[0].pid, ProcessAccess.QUERY)


def test_a_window_opens_its_process() -> None:
    """By handle, or by an object that has one.

    The window is this process's own: the first window under Wine starts a
    program for the desktop, which would keep the pipes of a peer open.
    """
    user32 = ctypes.WinDLL("user32")
    user32.CreateWindowExW.restype = ctypes.c_void_p
    user32.CreateWindowExW.argtypes = [
        ctypes.c_uint32,
        ctypes.c_wchar_p,
        ctypes.c_wchar_p,
        ctypes.c_uint32,
        *([ctypes.c_int] * 4),
        *([ctypes.c_void_p] * 4),
    ]
    user32.DestroyWindow.argtypes = [ctypes.c_void_p]
    message_only = ctypes.c_void_p(-3)
    hwnd = user32.CreateWindowExW(
        0, "STATIC", None, 0, 0, 0, 0, 0, message_only, None, None, None
    )
    assert hwnd

    class Window:
        def __init__(self, hwnd: int) -> None:
            self.hwnd = hwnd

    # One of ours counts as an int as well, which is no pid.
    for window in (Window(hwnd), winipc.Window(hwnd)):
        with RemoteProcess.open(window) as process:
            assert process.pid == os.getpid()
    user32.DestroyWindow(hwnd)
    with pytest.raises(FileNotFoundError, match="window") as caught:
        RemoteProcess.open(winipc.Window(hwnd))
    assert caught.value.winerror == 1400


A_MODULE = winipc.Module("game.exe", "C:\\game.exe", os.getpid(), 4096, 0)


@pytest.mark.parametrize(
    "target",
    [None, 1.5, object(), b"x", A_MODULE],
    ids=["None", "float", "object", "bytes", "address"],
)
def test_what_is_no_process(target: object) -> None:
    """A clear TypeError."""
    with pytest.raises(TypeError):
        RemoteProcess.open(target)


def test_an_exited_process_has_only_its_exit_code(target: Target) -> None:
    """Its memory is gone, though another process's handle keeps the pid."""
    target.exit(7)
    with pytest.raises(ProcessLookupError):
        RemoteProcess.open(target.peer.process)
    with RemoteProcess.open(target, access=ProcessAccess.QUERY) as process:
        assert process.exit_code == 7


def test_a_stale_psutil_process_is_refused() -> None:
    """Its pid may be another process's by now: psutil can tell."""

    class Stale:
        pid = os.getpid()

        def is_running(self) -> bool:
            return False

    with pytest.raises(ProcessLookupError):
        RemoteProcess.open(Stale())


FACTS = {"exit_code": None, "session": 1, "user": "S-1-5-21-1", "integrity": 0x2000}


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"protected": True}, "protected process"),
        ({"user": "S-1-5-18"}, "another user"),
        ({"integrity": 0x4000}, "level is system, that of this process medium"),
        ({"session": 0}, "session 0"),
        ({"user": None, "session": None, "integrity": None}, "not even tell"),
        ({}, "security descriptor"),
    ],
    ids=["protected", "user", "integrity", "session", "unknown", "acl"],
)
def test_a_denied_process_says_why(theirs: dict[str, object], said: str) -> None:
    """Whatever can be known of the two is compared."""
    from winipc.process._denied import ProcessFacts, compare

    mine = ProcessFacts(**FACTS, protected=False)
    other = ProcessFacts(**{**FACTS, "protected": False, **theirs})
    assert any(said in hint for hint in compare(8, mine, other))


def test_a_denied_open_carries_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hints are notes of the PermissionError, or it is a dead process."""
    facts = [None, 0, True]

    class Denied(RemoteProcess):
        @classmethod
        def _open(cls, pid: int, access: int) -> RemoteProcess:
            raise PermissionError(0, "denied", f"pid {pid}", 5, "OpenProcess")

    monkeypatch.setattr(
        winipc._core,
        "_process_facts",
        lambda pid: tuple(facts) if pid == 4 else (None, 1, None),
    )
    monkeypatch.setattr(
        winipc._core,
        "_process_token",
        lambda pid: (False, 0x2000, "S-1-5-18" if pid == 4 else "S-1-5-21"),
    )
    with pytest.raises(PermissionError) as caught:
        Denied.open(4)
    notes = " ".join(caught.value.__notes__)
    assert "protected" in notes
    assert "another user" in notes
    assert "granted" not in notes
    facts[0] = 5
    with pytest.raises(ProcessLookupError, match="exited with code 5"):
        Denied.open(4)


def test_a_denied_open_says_which_access_is_granted() -> None:
    """The most that can be had of what was asked for."""
    from winipc.process import _denied

    for most in (ProcessAccess.READ, ProcessAccess.QUERY):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                _denied, "_grants", lambda pid, access, most=most: not access & ~most
            )
            hints = _denied.explain_denied(os.getpid(), ProcessAccess.WRITE)
        assert hints[-1] == f"access=ProcessAccess.{most.name} is granted"
    assert _denied._grants(os.getpid(), ProcessAccess.READ)
    assert not _denied._grants(0x7FFFFFFC, ProcessAccess.QUERY)


def test_the_facts_of_this_process() -> None:
    """What everyone may know of it, and nothing of one that is not."""
    from winipc.process._denied import process_facts

    facts = process_facts(os.getpid())
    assert facts.exit_code is None
    assert facts.user is not None
    assert facts.user.startswith("S-1-")
    assert facts.integrity is not None
    assert process_facts(0x7FFFFFFC).user is None


def test_debug_privilege_is_given_back() -> None:
    """It is on only within the context."""
    switch = winipc._core._set_privilege
    try:
        before = switch("SeDebugPrivilege", False)
    except PermissionError:
        pytest.skip("this user does not have the privilege")
    with winipc.debug_privilege():
        with winipc.debug_privilege():
            pass
        assert switch("SeDebugPrivilege", True)
    assert not switch("SeDebugPrivilege", before)
    with pytest.raises(OSError, match="SeNoSuch") as caught:
        winipc._core._set_privilege("SeNoSuchPrivilege", True)
    assert caught.value.winerror == 1313


def test_wait_lets_other_threads_run_and_refuses_close(target: Target) -> None:
    """The object is pinned while a thread waits on it."""
    process = RemoteProcess.open(target)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(process.wait(60)))
    thread.start()
    refused = False
    while not refused:
        with contextlib.suppress(TimeoutError):
            process.wait(0.01)
        try:
            process.close()
            break
        except BufferError:
            refused = True
    target.exit(3)
    thread.join(60)
    assert refused
    assert codes == [3]
    process.close()
