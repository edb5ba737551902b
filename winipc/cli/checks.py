"""The checks of `winipc selftest`, in the order in which they run.

A check returns its outcome as text. All checks share one peer: a process that calls the
functions that it is sent. ctypes is a witness here: it asks Windows without winipc.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import random
import signal
import struct
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import winipc
from winipc.base.deadline import Deadline
from winipc.base.privilege import privilege
from winipc.cli.child import child_command, child_environ
from winipc.memory.pages import PAGE_SIZE, MemoryProtection
from winipc.pe import build_section_dll
from winipc.process._denied import process_facts

#: Seconds; `selftest` kills a check that takes so long.
_WAIT = 60.0
_COUNT = 500
_NOACCESS = MemoryProtection.NOACCESS
_GUARD = MemoryProtection.GUARD | MemoryProtection.READWRITE
_WRITE = winipc.ProcessAccess.WRITE


class NotPossible(Exception):
    """This system or session cannot run the check; the text says why."""


@dataclass(frozen=True)
class Check:
    run: Callable[[], str]
    #: The outcome, or several possible ones with " | " between them.
    expected: str
    #: For a check of Windows itself: what another outcome means. It is no failure.
    otherwise: str


CHECKS: dict[str, Check] = {}
_Function = TypeVar("_Function", bound=Callable[..., str])


def _check(
    name: str, expected: str, otherwise: str = "", *arguments: object
) -> Callable[[_Function], _Function]:
    def add(function: _Function) -> _Function:
        CHECKS[name] = Check(partial(function, *arguments), expected, otherwise)
        return function

    return add


class Process:
    """A process that runs `target(connection, ...)`."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=target, args=(theirs, *arguments))
        self.process.start()
        theirs.close()

    def receive(self, timeout: float | None) -> Any:
        """What the process sends next. Raises TimeoutError, or EOFError if it ended."""
        # A process that dies before it takes its end of the pipe leaves it open here.
        ends = wait((self.connection, self.process.sentinel), timeout)
        if not ends:
            raise TimeoutError("the other process was silent")
        if self.connection not in ends:
            raise EOFError("the other process ended")
        return self.connection.recv()

    def kill(self) -> None:
        """Kill the process and its children."""
        pid = self.process.pid
        children = [row.pid for row in winipc.processes() if row.parent == pid]
        self.process.kill()
        self.process.join()
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGTERM)  # TerminateProcess


#: The peer, once it has been started.
_peers: list[Process] = []


def _serve(orders: Connection) -> None:
    """Be the peer until the process that asks has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, OSError):
        while True:
            function, arguments = orders.recv()
            try:
                answer = function(*arguments)
            except Exception as error:
                answer = error
            orders.send(answer)
    os._exit(0)


def _tell(function: Callable[..., object], *arguments: object) -> None:
    if not _peers:
        _peers.append(Process(_serve))
    _peers[0].connection.send((function, arguments))


def _answer() -> Any:
    answer = _peers[0].receive(_WAIT)
    if isinstance(answer, Exception):
        raise answer
    return answer


def _ask(function: Callable[..., object], *arguments: object) -> Any:
    _tell(function, *arguments)
    return _answer()


def settle(well: bool) -> None:
    """After a check: let the peer close all, or kill it if the check failed."""
    if well:
        _ask(_close)
    elif _peers:
        _peers.pop().kill()


#: In the peer: what it has open, and what later requests use.
_kept = contextlib.ExitStack()
_here: dict[str, Any] = {}


def _close() -> None:
    _kept.close()


def _name() -> str:
    return f"winipc-selftest-{uuid.uuid4().hex}"


def _outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as error:
        return f"{type(error).__name__} {error.winerror or ''}".rstrip()
    return "done"


def _dll(name: str) -> ctypes.WinDLL:
    return ctypes.WinDLL(name, use_last_error=True)


def _error(done: object) -> str:
    return "no error" if done else f"error {ctypes.get_last_error()}"


# --------------------------------------------------------- what winipc promises


@_check("process", "all bytes, answered 1", "", winipc.Transport.PROCESS)
@_check("section", "all bytes, answered 1", "", winipc.Transport.SECTION)
@_check("mapping", "all bytes, answered 1", "", winipc.Transport.MAPPING)
@_check("copydata", "all bytes, answered 1", "", winipc.Transport.COPYDATA)
def _transport(via: winipc.Transport) -> str:
    name = _name()
    _ask(_receive, name)
    largest = 4096 if via is winipc.Transport.SECTION else 1 << 20
    with winipc.Sender(name, mapping=name, timeout=_WAIT) as sender:
        for size in (0, 1, largest):
            # A 32-bit process can lend only text, which has no NUL.
            data = random.randbytes(size).replace(b"\0", b"\1")
            if (answer := sender.send(data, via=via)) != 1:
                return f"the answer {answer} to {size} bytes"
            if _ask(_received) != data:
                return f"other bytes, of {size}"
    return "all bytes, answered 1"


def _receive(name: str) -> None:
    receiver = winipc.Receiver(name, mapping=name, mapping_size=1 << 21)
    _here["receiver"] = _kept.enter_context(receiver)


def _received() -> bytes:
    data: bytes = _here["receiver"].receive(_WAIT).data
    return data


def _objects(name: str) -> SimpleNamespace:
    """One object of each kind, for both sides; they are closed with the process."""
    create = partial(winipc.SharedMapping.create, name, PAGE_SIZE)
    memory = create(exist_ok=True)
    return SimpleNamespace(
        memory=memory,
        lock=winipc.SharedLock(memory),
        mutex=winipc.Mutex.create(f"{name}-m", exist_ok=True),
        event=winipc.Event.create(f"{name}-e", exist_ok=True),
        semaphore=winipc.Semaphore.create(f"{name}-s", 0, exist_ok=True),
        channel=winipc.Channel.create(f"{name}-c", 1 << 14, exist_ok=True),
    )


def _hold(name: str) -> bool:
    ours = _here["objects"] = _objects(name)
    ours.channel.send(b"begin")
    return bool(ours.mutex.acquire(_WAIT) and ours.lock.acquire(_WAIT))


def _let_go() -> None:
    ours = _here["objects"]
    ours.mutex.release()
    ours.lock.release()
    ours.event.set()
    ours.semaphore.release()
    _count(ours)


def _count(ours: SimpleNamespace) -> None:
    for _ in range(_COUNT):
        with ours.lock:
            ours.memory.set(64, "i64", ours.memory.get(64, "i64") + 1)


@_check("locks", "3 of 3 let go, count 2.0")
def _locks() -> str:
    name = _name()
    ours = _objects(name)
    if not _ask(_hold, name) or ours.mutex.acquire(0) or ours.lock.acquire(0):
        return "not held by one side at a time"
    _tell(_let_go)
    takes = (ours.mutex.acquire, ours.event.wait, ours.semaphore.acquire)
    taken = sum(take(_WAIT) for take in takes)
    _count(ours)
    _answer()
    return f"{taken} of 3 let go, count {ours.memory.get(64, 'i64') / _COUNT}"


@_check("channel", "200 messages there and back")
def _channel() -> str:
    name = _name()
    with (
        winipc.Channel.create(f"{name}-there", 1 << 14) as there,
        winipc.Channel.create(f"{name}-back", 1 << 14) as back,
    ):
        _tell(_echo, name)
        for size in range(1, 8000, 40):
            data = random.randbytes(size)
            there.send(data, _WAIT)
            if back.recv(_WAIT) != data:
                return f"other bytes, of {size}"
        there.send(b"", _WAIT)
        return f"{_answer()} messages there and back"


def _echo(name: str) -> int:
    there = _kept.enter_context(winipc.Channel.open(f"{name}-there"))
    back = _kept.enter_context(winipc.Channel.open(f"{name}-back"))
    count = 0
    while message := there.recv(_WAIT):
        back.send(message, _WAIT)
        count += 1
    return count


@_check("scan", "found")
def _scan() -> str:
    needle = random.randbytes(24)
    address = _ask(_put, needle)
    with winipc.RemoteProcess.open(_ask(os.getpid)) as process:
        return "found" if address in process.scan(needle) else "not found"


def _put(needle: bytes) -> int:
    memory = _kept.enter_context(winipc.GlobalMemory.allocate(1 << 20))
    memory.write(needle, 54321)
    return memory.address + 54321


def _stuck_window() -> winipc.Window:
    """A window of the peer whose thread is busy and takes no messages."""
    name = _name()
    _ask(_stick, name)
    with winipc.Event.open(name) as at_work:
        window = winipc.Window.wait_for(name, timeout=_WAIT)
        winipc.post_message(window, name)
        at_work.wait(_WAIT)
    return window


def _stick(name: str) -> None:
    at_work = _kept.enter_context(winipc.Event.create(name))
    free = _kept.enter_context(winipc.Event.create())

    def work(_message: object) -> None:
        at_work.set()
        free.wait()

    window = winipc.CopyDataWindow.create(name, messages=[name], handler=work)
    _kept.enter_context(window)
    _kept.callback(free.set)


@_check("time-out", "TimeoutError 1460")
def _time_out() -> str:
    window = _stuck_window()
    return _outcome(lambda: winipc.send_copydata(window, b"x", timeout=0.3))


def _whole_read(process: winipc.RemoteProcess, address: int) -> str:
    return _outcome(lambda: process.read(address, 2 * PAGE_SIZE))


def _partial_read(process: winipc.RemoteProcess, address: int) -> str:
    return f"{process.read(address, 2 * PAGE_SIZE, partial=True).readable} bytes"


def _raw_read(process: winipc.RemoteProcess, address: int) -> str:
    buffer = ctypes.create_string_buffer(2 * PAGE_SIZE)
    numbers = (process.handle, address, len(buffer))
    handle, where, size = map(ctypes.c_void_p, numbers)
    call = _dll("kernel32").ReadProcessMemory
    return _error(call(handle, where, buffer, size, None))


_Read = Callable[[winipc.RemoteProcess, int], str]


@_check("guard-page", "4096 bytes, protection kept", "", _GUARD, _partial_read)
@_check(
    "partial-read",
    "PartialReadError 299, protection kept",
    "",
    _NOACCESS,
    _whole_read,
)
@_check(
    "raw-guard-page",
    "error 299, protection gone",
    "partial reads need not leave out guard pages",
    _GUARD,
    _raw_read,
)
@_check(
    "raw-read",
    "error 299, protection kept",
    "winipc asks VirtualQueryEx before it reads, if it knows of this",
    _NOACCESS,
    _raw_read,
)
def _pages(protection: MemoryProtection, read: _Read) -> str:
    """Read two pages of the peer; the second one is protected."""
    with (
        winipc.RemoteProcess.open(_ask(os.getpid), access=_WRITE) as process,
        process.alloc(2 * PAGE_SIZE) as block,
        process.protect(block.address + PAGE_SIZE, PAGE_SIZE, protection),
    ):
        came = read(process, block.address)
        [region] = process.regions(block.address + PAGE_SIZE, block.address + 8192)
        kept = "kept" if region.protection == protection else "gone"
        return f"{came}, protection {kept}"


@_check("missing-page", "OSError 998")
def _missing_page() -> str:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return str(_ask(_touch, str(Path(folder, "file"))))


def _touch(path: str) -> str:
    """Read from a mapped file whose page cannot be read any more."""
    with (
        winipc.SharedMapping.create(None, PAGE_SIZE, file=path) as mapping,
        winipc.RemoteProcess.open(os.getpid(), access=_WRITE) as me,
        me.protect(mapping.address, PAGE_SIZE, _NOACCESS),
    ):
        return _outcome(lambda: mapping.read(8))


@_check("built-dlls", "4 loaded and shared", "an error says which was not")
def _built_dlls() -> str:
    text: dict[str, Any] = {"MySharedData": b"text"}
    dlls = {
        "one byte": ({"MySharedData": b"t"}, 1),
        "500 variables": ({**{f"variable{i}": 8 for i in range(499)}, **text}, 16),
        "whole pages": ({"first": 1, "MySharedData": (5000, b"text")}, PAGE_SIZE),
        "16 MiB of zeros": ({**text, "zeros": 16 << 20}, 16),
    }
    with tempfile.TemporaryDirectory("-grün", ignore_cleanup_errors=True) as folder:
        for what, (variables, alignment) in dlls.items():
            path = Path(folder, f"{what}.dll")
            build_section_dll(path, variables, alignment=alignment)
            with winipc.SharedSection.load(path) as section:
                came = section.read(1)
                _ask(_load, path)
                came += section.read(1)
            if came != b"t!":
                raise RuntimeError(f"{came!r} in that of {what}")
    return f"{len(dlls)} loaded and shared"


def _load(path: Path) -> None:
    with winipc.SharedSection.load(path) as section:
        section.write(b"!")


@_check(
    "death",
    "mutex AbandonedError 735, lock AbandonedError 735, "
    "channel BrokenPipeError 109, read ProcessLookupError 87",
)
def _death() -> str:
    """The peer dies during a send; then this process waits for its other objects."""
    name = _name()
    ours = _objects(name)
    _ask(_hold, name)
    ours.channel.recv(_WAIT)
    with winipc.RemoteProcess.open(_ask(os.getpid)) as process:
        window = _stuck_window()
        threading.Timer(0.3, settle, [False]).start()
        send = _outcome(lambda: winipc.send_copydata(window, b"x", timeout=_WAIT))
        waits = {
            "mutex": lambda: ours.mutex.acquire(_WAIT),
            "lock": lambda: ours.lock.acquire(_WAIT),
            "channel": lambda: ours.channel.recv(_WAIT),
            "read": lambda: process.read(PAGE_SIZE, 1),
        }
        came = [f"{what} {_outcome(act)}" for what, act in waits.items()]
    return "a send that timed out" if "Timeout" in send else ", ".join(came)


# ---------------------------------------------------------- what Windows answers


def _raw_send(window: winipc.Window, flags: int, milliseconds: int) -> str:
    send = _dll("user32").SendMessageTimeoutW
    hwnd, result = ctypes.c_void_p(window.hwnd), ctypes.byref(ctypes.c_size_t())
    ctypes.set_last_error(0)
    return _error(send(hwnd, 0, None, None, flags, milliseconds, result))


@_check(
    "time-out-code",
    "error 1460",
    "winipc takes 0 for a time-out as well, and no other code",
)
def _time_out_code() -> str:
    return _raw_send(_stuck_window(), 0, 300)


@_check(
    "hung-window",
    "hung within 8 s, then error 1460 at once",
    "a send to a hung window may take its whole time-out",
)
def _hung_window() -> str:
    window = _stuck_window()
    deadline = Deadline(8)
    while not window.is_hung:
        if deadline.left() == 0:
            return "not hung within 8 s"
        time.sleep(0.05)
    start = time.monotonic()
    came = _raw_send(window, 2, 5000)  # SMTO_ABORTIFHUNG
    when = "at once" if time.monotonic() - start < 2 else "late"
    return f"hung within 8 s, then {came} {when}"


@_check(
    "debugger",
    "OSError 998, seen by the debugger",
    "a debugged process may end where winipc should raise",
)
def _debugger() -> str:
    """`_missing_page` while this process debugs the peer."""
    kernel32 = _dll("kernel32")
    pid = _ask(os.getpid)
    event = ctypes.create_string_buffer(256)
    seen = set()
    deadline = Deadline(_WAIT)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        if not kernel32.DebugActiveProcess(pid):
            raise NotPossible(f"DebugActiveProcess: {_error(False)}")
        _tell(_touch, str(Path(folder, "file")))
        while not _peers[0].connection.poll(0) and deadline.left():
            if not kernel32.WaitForDebugEvent(event, 50):
                continue
            kind, process, thread = struct.unpack_from("<3I", event)
            (code,) = struct.unpack_from("<I", event, 8 + struct.calcsize("P"))
            how = 0x00010002  # DBG_CONTINUE
            if kind == 1:  # EXCEPTION_DEBUG_EVENT
                seen.add(code)
                if code not in (0x80000003, 0x4000001F):  # breakpoints
                    how = 0x80010001  # DBG_EXCEPTION_NOT_HANDLED
            kernel32.ContinueDebugEvent(process, thread, ctypes.c_uint32(how))
        kernel32.DebugActiveProcessStop(pid)
        came = _answer()
    return f"{came}, {'' if 0xC0000005 in seen else 'not '}seen by the debugger"


@_check(
    "integrity",
    "window PermissionError 5, open window done, memory PermissionError 5",
    "what docs/security.md says of integrity levels is not so here",
)
def _integrity() -> str:
    name = _name()
    with (
        winipc.CopyDataWindow.create(name),
        winipc.CopyDataWindow.create(f"{name}-open", allow_lower_integrity=True),
    ):
        came = str(_ask(_lower, name, os.getpid()))
    settle(False)  # a process cannot raise its integrity level again
    return came


class _Label(ctypes.Structure):
    """TOKEN_MANDATORY_LABEL."""

    _fields_ = (("sid", ctypes.c_void_p), ("attributes", ctypes.c_uint32))


def _lower(name: str, pid: int) -> str:
    """Lower the integrity level of this process, and run `from_below` in a child."""
    advapi32 = _dll("advapi32")
    token, label = ctypes.c_void_p(), _Label(None, 0x20)  # SE_GROUP_INTEGRITY
    advapi32.OpenProcessToken(ctypes.c_void_p(-1), 0x88, ctypes.byref(token))
    advapi32.ConvertStringSidToSidW("S-1-16-4096", ctypes.byref(label))
    if not advapi32.SetTokenInformation(
        token, 25, ctypes.byref(label), ctypes.sizeof(label) + 12
    ):
        return f"SetTokenInformation {_error(False)}"
    return subprocess.run(
        child_command("selftest", "--low", name, pid),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=os.environ | child_environ(),
        timeout=_WAIT,
        check=True,
        encoding="utf-8",
    ).stdout.strip()


def from_below(name: str, pid: str) -> str:
    """What a process of low integrity may do to another process."""
    window = _outcome(lambda: winipc.send_copydata(name, b"x"))
    allows = _outcome(lambda: winipc.send_copydata(f"{name}-open", b"x"))
    memory = _outcome(lambda: winipc.RemoteProcess.open(int(pid)).close())
    return f"window {window}, open window {allows}, memory {memory}"


@_check("protected-process", "PermissionError 5", "a protected process can be opened")
def _protected_process() -> str:
    pids = [row.pid for row in winipc.processes() if row.name.lower() == "csrss.exe"]
    if not pids:
        raise NotPossible("there is no csrss.exe")
    return _outcome(lambda: winipc.RemoteProcess.open(pids[0]).close())


def _privileged(name: str, act: Callable[[], Any]) -> str:
    with contextlib.ExitStack() as stack:
        held = "privilege held"
        try:
            stack.enter_context(privilege(name))
        except PermissionError:
            held = "privilege not held"
        return f"{_outcome(lambda: act().close())}, {held}"


@_check(
    "global-name",
    "done, privilege held | PermissionError 5, privilege not held",
    "what docs/security.md says of Global\\ is not so here",
)
def _global_name() -> str:
    make = partial(winipc.SharedMapping.create, f"Global\\{_name()}", 1)
    return _privileged("SeCreateGlobalPrivilege", make)


@_check(
    "large-pages",
    "done, privilege held | OSError 1314, privilege not held",
    "there may be no whole large pages left (1450)",
)
def _large_pages() -> str:
    make = partial(winipc.SharedMapping.create, None, 1 << 21, large_pages=True)
    return _privileged("SeLockMemoryPrivilege", make)


@_check("other-session", "done", "services may have no event that this user may open")
def _other_session() -> str:
    if process_facts(os.getpid()).session == 0:
        raise NotPossible("this is session 0, which has no names of its own")
    came = "no event with a name for all sessions"
    access = winipc.SyncAccess.SYNCHRONIZE
    for row in winipc.named_objects("event", "Global\\*"):
        came = _outcome(partial(winipc.Event.open, row.name, access=access))
        if came == "done":
            break
    return came
