"""CopyDataWindow against peers that die, hang and come in crowds."""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import gc
import hashlib
import struct
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import psutil
import pytest
from conftest import DEADLINE, FULL, handle_count, interrupted
from helpers import BITS

import winipc

Start = Callable[..., Any]


# ------------------------------------------------------------------ dying peers


def test_killed_sender_leaves_the_receiver_whole(
    unique_name: str, start_peer: Start
) -> None:
    """All that came is whole and in order, and the next sender is served."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        peer = start_peer("window_burst.py")
        peer.expect("ready")
        peer.say(f"{window.hwnd} 1000000")
        peer.expect("sending")
        first = window.receive(30)
        peer.kill()
        ids = [first.id]
        ids.extend(message.id for message in iter(window.receive_nowait, None))
        assert ids == list(range(len(ids)))
        assert winipc.send_copydata(window, b"x") == 1


@pytest.mark.parametrize("timeout", [4, 30, None], ids=["direct", "worker", "forever"])
def test_receiver_killed_during_a_send(
    unique_name: str, start_peer: Start, timeout: float | None
) -> None:
    """The sender is told at once, and that it was during the send."""
    peer = start_peer("window_handler.py", unique_name)
    hwnd = int(peer.read_line().split()[1])
    outcome: list[BaseException] = []

    def send() -> None:
        try:
            winipc.send_copydata(hwnd, b"x", id=2, timeout=timeout)
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    peer.expect("working")
    peer.kill()
    thread.join(30)
    assert not thread.is_alive()
    assert isinstance(outcome[0], ConnectionResetError)
    assert outcome[0].winerror == 1400
    assert "ended before it answered" in str(outcome[0])
    with pytest.raises(FileNotFoundError):
        winipc.send_copydata(hwnd, b"x")


def test_close_while_senders_send(unique_name: str, start_peer: Start) -> None:
    """Each send is answered or says that the window is gone; none hangs."""
    peer = start_peer("window_sender.py")
    assert peer.read_line().startswith("ready")
    for _ in range(10 if FULL else 4):
        window = winipc.CopyDataWindow.create(unique_name)
        hwnd = window.hwnd
        peer.say("\n".join([f"{hwnd} 1 61"] * 50))
        first = window.receive(30)
        window.close()
        received = [first, *window]
        answers = [peer.read_line(30) for _ in range(50)]
        assert answers.count("1") == len(received)
        # What a send leaves as error when its receiver goes differs.
        kinds = {answer.split()[0] for answer in answers}
        assert kinds <= {"1", "0", "FileNotFoundError", "ConnectionResetError"}


# ------------------------------------------------------------------------ exit


def test_exit_does_not_wait_for_a_stuck_handler(
    unique_name: str, start_peer: Start
) -> None:
    """After 5 s the process ends all the same, with status 0."""
    peer = start_peer("window_handler.py", unique_name)
    hwnd = int(peer.read_line().split()[1])
    assert winipc.send_copydata(hwnd, b"x", id=3) == 33
    peer.expect("working")
    start = time.monotonic()
    assert peer.finish() == 0, peer.report()
    assert time.monotonic() - start < 30
    assert not winipc.Window(hwnd).exists


def test_exit_waits_for_all_stuck_handlers_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not for one after another: 5 s in all, and each is asked to close first."""
    now, calls = [100.0], []

    class Stuck:
        def close(self, timeout: float) -> None:
            calls.append(timeout)
            now[0] += timeout
            raise TimeoutError

    module = winipc.message.window
    monkeypatch.setattr(module, "_open_windows", [Stuck(), Stuck(), Stuck()])
    monkeypatch.setattr(winipc.base.deadline.time, "monotonic", lambda: now[0])
    module._close_at_exit()
    assert calls == [0, 0, 0, 5, 0, 0]


# ---------------------------------------------------------------------- nesting


def test_nested_sends_between_processes(unique_name: str, start_peer: Start) -> None:
    """A sends to B, whose handler sends to A, and so on, eight deep."""
    peer = start_peer("window_handler.py", unique_name)
    assert peer.read_line().startswith("ready")

    def handler(message: winipc.Message) -> int:
        depth = bytes(message)[0]
        if depth == 0:
            return 100
        return 1 + winipc.send_copydata(
            message.sender, bytes([depth - 1]), id=1, sender=own
        )

    with winipc.CopyDataWindow.create("", handler=handler) as own:
        for timeout in (5.0, 30.0, None):
            answer = winipc.send_copydata(
                unique_name, b"\x08", id=1, sender=own, timeout=timeout
            )
            assert answer == 108


# ------------------------------------------------------------- sub-interpreters


def test_handlers_are_for_the_main_interpreter() -> None:
    """Another one may have a queue only, and is told so."""
    interpreters = pytest.importorskip("_interpreters")
    code = """if True:
        import winipc
        errors = []
        def expect(call):
            try:
                call()
            except RuntimeError as error:
                errors.append(str(error))
        create = winipc.CopyDataWindow.create
        expect(lambda: create("", handler=print))
        expect(lambda: create("", accept=callable))
        with create("") as window:
            expect(lambda: window.on(1)(print))
            expect(lambda: window.on_message(0x8001)(print))
            winipc.send_copydata(window, b"x")
            assert bytes(window.receive(10)) == b"x"
        assert len(errors) == 4, errors
        assert all("main interpreter" in error for error in errors), errors
    """
    number = interpreters.create("legacy")
    try:
        assert interpreters.exec(number, code) is None
    finally:
        interpreters.destroy(number)


# ---------------------------------------------------------------- interruptions


def test_ctrl_c_interrupts_a_long_send(unique_name: str) -> None:
    """And the data stays pinned for as long as the receiver may read it."""
    started, release = threading.Event(), threading.Event()

    def handler(message: winipc.Message) -> int:
        started.set()
        release.wait(30)
        return 1

    def interrupt() -> None:
        started.wait(30)
        _thread.interrupt_main()

    data = bytearray(b"data")
    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            winipc.send_copydata(window, data, timeout=None)
        thread.join()
        with pytest.raises(BufferError):
            data.clear()
        release.set()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            # The next long send lets go of what is over.
            winipc.send_copydata(window, b"", timeout=None)
            try:
                data.clear()
                break
            except BufferError:
                continue
    assert not data


def test_ctrl_c_interrupts_receive(unique_name: str) -> None:
    """Within a slice of the wait."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        interrupted(lambda: window.receive(30))


def test_ctrl_c_interrupts_set_timer(unique_name: str) -> None:
    """While a handler keeps the window's thread; the timer comes after it."""
    started, release = threading.Event(), threading.Event()

    def handler(message: winipc.Message) -> int:
        if message.is_copydata:
            started.set()
            release.wait(30)
        return 1

    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
        sender = threading.Thread(
            target=winipc.send_copydata, args=(window, b"x"), kwargs={"timeout": 30}
        )
        sender.start()
        assert started.wait(30)
        interrupted(lambda: window.set_timer(7, 60))
        release.set()
        sender.join(30)
        assert window.kill_timer(7)
        assert not window.kill_timer(7)


def test_timer_of_a_window_that_closes_meanwhile(unique_name: str) -> None:
    """The wait ends with the window's thread."""
    started, release = threading.Event(), threading.Event()

    def handler(message: winipc.Message) -> int:
        started.set()
        release.wait(30)
        return 1

    window = winipc.CopyDataWindow.create(unique_name, handler=handler)
    sender = threading.Thread(
        target=winipc.send_copydata, args=(window, b"x"), kwargs={"timeout": 30}
    )
    sender.start()
    assert started.wait(30)

    def close() -> None:
        with pytest.raises(TimeoutError):
            window.close(0.0)
        release.set()

    timer = threading.Timer(0.1, close)
    timer.start()
    with contextlib.suppress(ValueError):  # set just before the end
        window.set_timer(7, 60)
    timer.join()
    window.close(30)
    sender.join(30)
    with pytest.raises(ValueError, match="closed"):
        window.set_timer(7, 60)


# ------------------------------------------------------------------------ large


@pytest.mark.slow
def test_a_message_of_256_mib(unique_name: str, start_peer: Start) -> None:
    """In one piece, between two processes."""
    size = 256 << 20
    peer = start_peer("window_receiver.py", unique_name, f"max_message={size}")
    assert peer.read_line().startswith("ready")
    block = bytes(range(256)) * 4096
    data = bytearray(block) * (size // len(block))
    data[-3:] = b"end"
    assert winipc.send_copydata(unique_name, data, id=5, timeout=60) == 1
    peer.expect(f"5 {size} {hashlib.sha256(data).hexdigest()} 0")
    peer.say("close")
    peer.expect("closed")


@pytest.mark.skipif(BITS == 32, reason="no object of a 32-bit process has 4 GiB")
def test_4_gib_are_refused_before_the_call(unique_name: str) -> None:
    """The size does not fit in a COPYDATASTRUCT."""
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.VirtualAlloc.restype = ctypes.c_void_p
    kernel32.VirtualAlloc.argtypes = (
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_ulong,
        ctypes.c_ulong,
    )
    kernel32.VirtualFree.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_ulong)
    address = kernel32.VirtualAlloc(None, 1 << 32, 0x2000, 1)  # reserved only
    assert address
    try:
        view = (ctypes.c_char * (1 << 32)).from_address(address)
        with winipc.CopyDataWindow.create(unique_name) as window:
            with pytest.raises(OverflowError, match="4294967295"):
                winipc.send_copydata(window.hwnd, view, check=False)
            assert window.pending == 0
    finally:
        kernel32.VirtualFree(address, 0, 0x8000)


# ------------------------------------------------------------------------ leaks


def counts() -> tuple[int, int, int]:
    """Handles, threads and windows of this process."""
    gc.collect()
    process = psutil.Process()
    windows = winipc.find_windows(pid=process.pid)
    windows += winipc.find_windows(pid=process.pid, message_only=True)
    return handle_count(), process.num_threads(), len(windows)


def assert_no_more(after: tuple[int, int, int], before: tuple[int, int, int]) -> None:
    """Fewer there may be: idle threads of the system's pool end when they like."""
    assert after[0] <= before[0] + 5
    assert after[1] <= before[1]
    assert after[2] == before[2]


def rounds(count: int, class_name: str) -> None:
    for number in range(count):
        handler = None if number % 2 else lambda message: 1
        with winipc.CopyDataWindow.create(
            "", handler=handler, class_name=class_name, message_only=number % 4 < 2
        ) as window:
            winipc.send_copydata(window, b"x")
            if number % 4 == 1:
                window.receive(10)


def test_open_and_close_leave_nothing(unique_name: str) -> None:
    """Handles, threads and windows are as many as before."""
    rounds(20, unique_name)
    before = counts()
    rounds(200, unique_name)
    after = counts()
    assert_no_more(after, before)


@pytest.mark.slow
def test_thousands_of_rounds_leave_nothing(unique_name: str) -> None:
    """The same for longer, with memory."""
    count = 4000 if FULL else 500
    rounds(200, unique_name)
    before, memory = counts(), psutil.Process().memory_info().rss
    rounds(count, unique_name)
    after, grown = counts(), psutil.Process().memory_info().rss - memory
    assert_no_more(after, before)
    assert grown < count * 4096


@pytest.mark.parametrize("handled", [False, True])
def test_messages_that_are_gone_keep_no_memory(unique_name: str, handled: bool) -> None:
    """Neither those that were received nor those that a handler saw."""
    data = bytes(1 << 20)
    handler = (lambda message: 1) if handled else None
    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:

        def use(count: int) -> int:
            for _ in range(count):
                winipc.send_copydata(window, data)
                if not handled:
                    window.receive(10)
            gc.collect()
            return psutil.Process().memory_info().rss

        before = use(5)
        assert use(200) - before < 100 << 20  # of the 200 MiB that went through


def test_closed_windows_keep_no_handles(unique_name: str) -> None:
    """Not even while they are referred to; what they took is still theirs."""
    rounds(20, unique_name)
    # Each has one, which before Python 3.13 has a handle.
    locks = [threading.Lock() for _ in range(20)]
    before = counts()
    del locks
    # 20 stacks for the largest message by default may not fit in 32 bits.
    windows = [winipc.CopyDataWindow.create("", max_message=1 << 20) for _ in range(20)]
    for window in windows:
        winipc.send_copydata(window, b"x")
        window.close()
    after = counts()
    assert after[0] <= before[0] + 5
    for window in windows:
        assert [bytes(message) for message in window] == [b"x"]
        window.close()
        with pytest.raises(ValueError, match="closed"):
            window.receive(0)


def test_failed_creation_leaves_nothing(unique_name: str) -> None:
    """A class that another program registered is refused, and the thread is gone."""
    user32, kernel32 = ctypes.WinDLL("user32"), ctypes.WinDLL("kernel32")
    kernel32.GetModuleHandleW.restype = ctypes.c_void_p
    module = kernel32.GetModuleHandleW(winipc._core.__file__)
    procedure = ctypes.cast(user32.DefWindowProcW, ctypes.c_void_p)
    name = ctypes.create_unicode_buffer(unique_name)
    # WNDCLASSEXW: style, procedure, extra bytes, instance, ..., name, icon
    layout = struct.Struct("IIPiiPPPPPPP")
    foreign = layout.pack(
        *(layout.size, 0, procedure.value, 0, 0, module, 0, 0, 0, 0),
        *(ctypes.addressof(name), 0),
    )
    assert user32.RegisterClassExW(foreign)
    try:
        counts()
        before = counts()
        for _ in range(20):
            with pytest.raises(OSError, match="RegisterClassExW") as caught:
                winipc.CopyDataWindow.create("", class_name=unique_name)
            assert caught.value.winerror == 1410
        after = counts()
    finally:
        assert user32.UnregisterClassW(unique_name, ctypes.c_void_p(module))
    assert_no_more(after, before)


@pytest.mark.parametrize("name", ["", "x" * 256], ids=["empty", "256 characters"])
def test_class_names_have_a_limit(name: str) -> None:
    """That of Windows, seen before it is too late."""
    with pytest.raises(ValueError, match="255"):
        winipc.CopyDataWindow.create("", class_name=name)


# ------------------------------------------------------------------------- soak


@pytest.mark.slow
@pytest.mark.parametrize("policy", list(winipc.Overflow), ids=lambda p: p.name.lower())
def test_soak(unique_name: str, start_peer: Start, policy: winipc.Overflow) -> None:
    """Many messages of several processes, with kills and overflows.

    What was answered 1 was received exactly once, intact, and in order per
    sender; with drop-oldest, no more is missing than was counted as dropped.
    """
    senders, each = (8, 10_000) if FULL else (4, 200)
    received: dict[int, list[int]] = {seed: [] for seed in range(senders + 2)}
    problems: list[str] = []

    def drain(window: winipc.CopyDataWindow) -> None:
        for count, message in enumerate(window):
            with memoryview(message) as view:
                seed, number = struct.unpack_from("<QQ", view)
                digest = zlib.crc32(view[20:], zlib.crc32(view[:16]))
                if view[16:20] != struct.pack("<I", digest) or seed != message.id:
                    problems.append(f"damaged: {seed} {number}")
            received[seed].append(number)
            if count % 100 == 0:  # until the queue runs over, unless nobody sends
                lost, until = window.refused + window.dropped, time.monotonic() + 0.2
                while window.refused + window.dropped == lost:
                    if time.monotonic() > until:
                        break
                    time.sleep(0.001)

    before = counts()
    ended = start_peer("window_soak.py")
    ended.expect("ready")
    ended.reap()
    # The handle of its process and, before Python 3.13, those of Python's locks.
    kept = counts()[0] - before[0]
    taken = 0
    answered: dict[int, list[int]] = {}
    with winipc.CopyDataWindow.create(
        unique_name, max_count=20, max_bytes=4 << 20, overflow=policy
    ) as window:
        reader = threading.Thread(target=drain, args=(window,))
        reader.start()
        peers = [start_peer("window_soak.py") for _ in range(senders + 2)]
        for seed, peer in enumerate(peers):
            peer.expect("ready")
            peer.say(f"{window.hwnd} {seed} {each if seed < senders else 10**9}")
        for seed in (senders, senders + 1):  # these two are killed at work
            deadline = time.monotonic() + DEADLINE
            while len(received[seed]) < 10:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            peers[seed].kill()
        for seed, peer in enumerate(peers[:senders]):
            bits = int(peer.read_line(600), 16)
            answered[seed] = [n for n in range(each) if bits >> n & 1]
            taken += len(answered[seed])
            assert peer.finish() == 0
    reader.join(60)
    assert not problems
    for numbers in received.values():
        assert numbers == sorted(set(numbers))
    if policy is winipc.Overflow.REFUSE:
        assert window.dropped == 0 < window.refused
        assert {seed: received[seed] for seed in answered} == answered
    else:
        assert window.refused == 0
        missing = 0
        for seed, numbers in answered.items():
            assert set(received[seed]) <= set(numbers)
            missing += len(set(numbers) - set(received[seed]))
        assert missing <= window.dropped > 0
    print(f"{taken} taken, {window.refused} refused, {window.dropped} dropped")
    for peer in peers:
        peer.reap()
    handles, *others = before
    assert_no_more(counts(), (handles + kept * (1 + len(peers)), *others))
