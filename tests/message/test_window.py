"""CopyDataWindow: queue mode, handler mode, and its life."""

from __future__ import annotations

import array
import concurrent.futures
import contextlib
import ctypes
import gc
import hashlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import BITS

import winipc
from winipc import decoders

Start = Callable[..., Any]


@pytest.fixture
def window(unique_name: str) -> Any:
    with winipc.CopyDataWindow.create(unique_name) as window:
        yield window


# ------------------------------------------------------------------ queue mode


@pytest.mark.smoke
def test_message_arrives_whole(window: winipc.CopyDataWindow) -> None:
    """Data, the id of full width, and the time."""
    id = 0xFEDCBA9876543210 >> 64 - BITS
    before = time.time()
    data = bytes(range(256)) * 3
    assert winipc.send_copydata(window, data, id=id) == 1
    message = window.receive(10)
    assert message.is_copydata
    assert message.message == 0x4A
    assert message.id == id
    assert bytes(message) == data
    assert len(message) == len(data)
    assert before - 1 <= message.time <= time.time() + 1
    assert message.sender == 0
    assert message.pid == 0
    assert not message.verified
    assert message.executable is None


@pytest.mark.smoke
def test_messages_from_another_process(
    window: winipc.CopyDataWindow, start_peer: Start
) -> None:
    """What a sender in another process sends is received byte for byte."""
    peer = start_peer("window_sender.py")
    hwnd = int(peer.read_line().split()[1])
    for size in (0, 1, 4096, 1 << 20):
        data = os.urandom(min(size, 4096)) * max(1, size // 4096)
        data = data[:size]
        peer.say(f"{window.hwnd} 77 {data.hex()}")
        peer.expect("1")
        message = window.receive(10)
        assert bytes(message) == data
        assert (message.id, message.sender, message.pid) == (77, hwnd, peer.pid)
        assert message.verified
        assert message.executable == winipc.Window(hwnd).executable


@pytest.mark.smoke
def test_messages_to_another_process(unique_name: str, start_peer: Start) -> None:
    """The other way round."""
    peer = start_peer("window_receiver.py", unique_name)
    assert peer.read_line().startswith("ready")
    for number, data in enumerate([b"", b"\0", "grüße \U0001f600".encode() * 1000]):
        assert winipc.send_copydata(unique_name, data, id=number) == 1
        digest = hashlib.sha256(data).hexdigest()
        peer.expect(f"{number} {len(data)} {digest} 0")
    peer.say("close")
    peer.expect("closed")
    assert peer.finish() == 0


def test_nobody_else_ends_or_renames_the_window(
    window: winipc.CopyDataWindow, unique_name: str
) -> None:
    """A sent WM_NCDESTROY, WM_SETTEXT or WM_CLOSE leaves it as it is."""
    send = ctypes.WinDLL("user32").SendMessageW
    send.argtypes = (ctypes.c_void_p, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p)
    text = ctypes.cast(ctypes.c_wchar_p("renamed"), ctypes.c_void_p)
    assert send(window.hwnd, 0x000C, 0, text) == 0
    for number in (0x0010, 0x0082, 0x0002, 0x0082):
        send(window.hwnd, number, 0, None)
    for number in range(3):
        assert winipc.send_copydata(unique_name, b"x", id=number) == 1
        assert window.receive(10).id == number
    window.close(10)
    assert winipc.find_windows(title=unique_name) == []


@pytest.mark.parametrize("answer", [None, 1, 0], ids=["queue", "taken", "refused"])
def test_a_peer_may_give_a_title_if_the_owner_asks_for_it(
    unique_name: str, answer: int | None
) -> None:
    """WM_SETTEXT comes with its text, and is done when the answer is positive."""
    got: list[winipc.Message] = []

    def handler(message: winipc.Message) -> int:
        got.append(message)
        return answer or 0

    send = ctypes.WinDLL("user32").SendMessageW
    send.argtypes = (ctypes.c_void_p, ctypes.c_uint, ctypes.c_size_t, ctypes.c_void_p)
    with winipc.CopyDataWindow.create(
        unique_name,
        messages=[0x000C],
        handler=handler if answer is not None else None,
    ) as window:
        for text in ("Zoë", ""):
            pointer = ctypes.cast(ctypes.c_wchar_p(text), ctypes.c_void_p)
            send(window.hwnd, 0x000C, 0, pointer)
            message = got.pop() if answer is not None else window.receive(10)
            assert message.text("utf-16-le") == text
            assert (message.message, message.lparam) == (0x000C, 0)
            title = unique_name if answer == 0 else text
            assert winipc.Window(window.hwnd).title == title
        assert window.title == unique_name


@pytest.mark.parametrize("lower", [False, True], ids=["own", "lower integrity"])
def test_a_range_of_messages(unique_name: str, lower: bool) -> None:
    """Both ends are taken, and nothing beyond them."""
    with winipc.CopyDataWindow.create(
        unique_name,
        messages=[0x111, range(0x400, 0x403), range(0xFFF0, 0x10000)],
        allow_lower_integrity=lower,
    ) as window:
        numbers = (0x3FF, 0x400, 0x402, 0x403, 0xFFEF, 0xFFF0, 0xFFFF, 0x110, 0x111)
        for number in numbers:
            winipc.send_message(window, number)
        found = [message.message for message in window.latest()]
        assert found == [0x400, 0x402, 0xFFF0, 0xFFFF, 0x111]
    for wrong in (range(0x10, 0x500), range(0x400, 0x10001), range(0x500, 0x400)):
        with pytest.raises(ValueError, match="no range of messages"):
            winipc.CopyDataWindow.create(unique_name, messages=[wrong])
    with pytest.raises(ValueError, match="no range of messages"):
        winipc.CopyDataWindow.create(unique_name, messages=[range(0x400, 0x500, 2)])


def test_message_is_a_readonly_buffer_that_lives_on(unique_name: str) -> None:
    """A view keeps the data when message and window are gone."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        winipc.send_copydata(window, b"hello")
        view = memoryview(window.receive(10))
    gc.collect()
    assert view.readonly
    assert view == b"hello"
    with pytest.raises(TypeError):
        view[0] = 1


@pytest.mark.parametrize(
    "data",
    [bytearray(b"abcd"), memoryview(b"xabcdx")[1:5], array.array("b", b"abcd")],
    ids=["bytearray", "memoryview", "array"],
)
def test_any_buffer_may_be_sent(window: winipc.CopyDataWindow, data: Any) -> None:
    """Not only bytes; size is in bytes."""
    assert winipc.send_copydata(window, data) == 1
    assert bytes(window.receive(10)) == b"abcd"


def test_receive_times_out(window: winipc.CopyDataWindow) -> None:
    """TimeoutError with the winerror of one; without waiting it is None."""
    with pytest.raises(TimeoutError, match="no message came in time") as caught:
        window.receive(0.05)
    assert caught.value.winerror == 1460
    with pytest.raises(TimeoutError):
        window.receive(timeout=0)
    assert window.receive_nowait() is None


def test_a_short_wait_is_as_short_as_that_for_an_event(
    window: winipc.CopyDataWindow,
) -> None:
    """It does not go on to the system's next tick, up to 16 ms later."""
    took: dict[str, list[float]] = {"event": [], "window": []}
    with winipc.Event.create(None) as event:
        for _ in range(30):
            began = time.perf_counter()
            assert not event.wait(0.001)
            middle = time.perf_counter()
            with pytest.raises(TimeoutError):
                window.receive(0.001)
            took["event"].append(middle - began)
            took["window"].append(time.perf_counter() - middle)
    assert sorted(took["window"])[10] < 4 * sorted(took["event"])[15]


def test_queue_refuses_above_its_count(unique_name: str) -> None:
    """The sender is told, and what was taken stays in order."""
    with winipc.CopyDataWindow.create(unique_name, max_count=2) as window:
        answers = [
            winipc.send_copydata(window, b"x", id=i, check=False) for i in range(4)
        ]
        assert answers == [1, 1, 0, 0]
        assert (window.pending, window.refused, window.dropped) == (2, 2, 0)
        assert [window.receive(10).id for _ in range(2)] == [0, 1]
        assert winipc.send_copydata(window, b"x", id=9) == 1


def test_queue_refuses_above_its_bytes(unique_name: str) -> None:
    """Bytes count, and come back when a message is taken."""
    with winipc.CopyDataWindow.create(unique_name, max_bytes=10) as window:
        sizes = (6, 5, 4, 1, 0)
        answers = [winipc.send_copydata(window, bytes(n), check=False) for n in sizes]
        assert answers == [1, 0, 1, 0, 1]
        assert window.pending_bytes == 10
        assert len(window.receive(10)) == 6
        assert window.pending_bytes == 4
        assert winipc.send_copydata(window, bytes(6)) == 1


def test_messages_may_have_handlers_of_their_own(unique_name: str) -> None:
    """What they do not take, and WM_COPYDATA, goes to the queue."""
    seen: list[int] = []

    def handler(message: winipc.Message) -> object:
        seen.append(message.wparam)
        return NotImplemented if message.wparam == 2 else 7

    with winipc.CopyDataWindow.create(
        unique_name, messages={f"{unique_name}-message": handler}
    ) as window:
        send = [
            winipc.send_message(window, f"{unique_name}-message", n) for n in (1, 2)
        ]
        assert winipc.send_copydata(window, b"data") == 1
        assert (send, seen) == ([7, 1], [1, 2])
        assert window.receive(10).wparam == 2
        assert bytes(window.receive(10)) == b"data"


@pytest.mark.parametrize("overflow", [winipc.Overflow.DROP_OLDEST, "drop_oldest"])
def test_queue_drops_the_oldest_when_told_to(unique_name: str, overflow: Any) -> None:
    """Each new one is taken, and the dropped ones are counted."""
    with winipc.CopyDataWindow.create(
        unique_name, max_count=3, max_bytes=10, overflow=overflow
    ) as window:
        for number in range(5):
            assert winipc.send_copydata(window, b"x", id=number) == 1
        assert (window.dropped, window.refused) == (2, 0)
        assert winipc.send_copydata(window, bytes(9), id=5) == 1
        assert [window.receive(10).id for _ in range(2)] == [4, 5]
        assert winipc.send_copydata(window, bytes(11), check=False) == 0
        assert (window.dropped, window.refused) == (4, 1)


def test_message_above_the_limit_is_refused(unique_name: str) -> None:
    """By the receiver itself, whoever sends."""
    with winipc.CopyDataWindow.create(unique_name, max_message=100) as window:
        assert winipc.send_copydata(window, bytes(100)) == 1
        assert winipc.send_copydata(window, bytes(101), check=False) == 0


def test_iteration_ends_with_the_window_and_loses_nothing(unique_name: str) -> None:
    """What was answered is given still after close(); then it is over."""
    window = winipc.CopyDataWindow.create(unique_name)
    for number in range(3):
        winipc.send_copydata(window, b"x", id=number)
    window.close()
    assert [message.id for message in window] == [0, 1, 2]
    with pytest.raises(ValueError, match="closed"):
        window.receive(1)
    with pytest.raises(ValueError, match="closed"):
        window.receive_nowait()


def test_close_wakes_a_thread_that_receives(unique_name: str) -> None:
    """It does not wait for ever."""
    window = winipc.CopyDataWindow.create(unique_name)
    outcome: list[object] = []

    def receive() -> None:
        try:
            outcome.append(window.receive())
        except ValueError as error:
            outcome.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    window.close()
    thread.join(30)
    assert isinstance(outcome[0], ValueError)


@pytest.mark.parametrize("end", [False, True], ids=["a message", "the end"])
def test_what_wakes_a_sleeping_receive_does_so_at_once(
    unique_name: str, end: bool
) -> None:
    """And not by its next look for Ctrl+C, up to 0.1 s later."""
    delays = []
    for _ in range(5):
        asleep, woken = threading.Barrier(4), [0.0] * 3
        window = winipc.CopyDataWindow.create(unique_name)

        def receive(
            number: int,
            window: winipc.CopyDataWindow = window,
            asleep: threading.Barrier = asleep,
            woken: list[float] = woken,
        ) -> None:
            asleep.wait(30)
            with contextlib.suppress(ValueError):
                window.receive(30)
            woken[number] = time.perf_counter()

        threads = [threading.Thread(target=receive, args=(n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        asleep.wait(30)
        time.sleep(0.01)
        began = time.perf_counter()
        for _ in () if end else threads:
            winipc.send_copydata(window, b"data")
        if end:
            window.close()
        for thread in threads:
            thread.join(30)
        window.close()
        delays.append(max(woken) - began)
    assert min(delays) < 0.05


def test_senders_never_wait_for_a_busy_python(
    unique_name: str, start_peer: Start
) -> None:
    """A thread that holds the GIL for 2 s does not hold up 100 messages."""
    peer = start_peer("window_burst.py")
    with winipc.CopyDataWindow.create(unique_name) as window:
        assert peer.read_line() == "ready"
        peer.say(f"{window.hwnd} 100")
        peer.expect("sending")
        hold_the_gil(2.0)
        assert window.pending == 100
        taken, slowest = peer.read_line().split()
        assert int(taken) == 100
        assert float(slowest) < 1.9, "held up by the GIL"
        assert [window.receive(0).id for _ in range(100)] == list(range(100))


def hold_the_gil(seconds: float) -> None:
    """One long C call that never gives the GIL away (PyDLL keeps it)."""
    ctypes.PyDLL("kernel32.dll").Sleep(int(seconds * 1000))


# ---------------------------------------------------------------- handler mode


@pytest.mark.smoke
def test_a_handler_without_an_id_is_refused(window: winipc.CopyDataWindow) -> None:
    """Or `@window.on` would put its decorator into the handler's place."""
    for id in (lambda message: 1, "x", None):
        with pytest.raises(TypeError, match=r"as in on\(7\)"):
            window.on(id)  # type: ignore[arg-type]


def test_handler_answers_on_the_window_thread(unique_name: str) -> None:
    """Its result is the answer, while the sender waits."""
    threads = []

    def handler(message: winipc.Message) -> int:
        threads.append(threading.get_native_id())
        return len(message) + 40

    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
        assert winipc.send_copydata(window, b"ab") == 42
        assert threads == [window.thread_id]
        assert window.pending == 0


def test_handler_that_raises_answers_0_and_is_reported(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sender is not kept, and the error is not lost."""
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)

    def handler(message: winipc.Message) -> object:
        if message.id:
            return "not a number"
        raise LookupError("oh")

    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
        assert winipc.send_copydata(window, b"x", check=False) == 0
        assert winipc.send_copydata(window, b"x", id=1, check=False) == 0
    assert [report.exc_type for report in reports] == [LookupError, TypeError]
    assert "a handler answers with an int" in str(reports[1].exc_value)
    for id, report in enumerate(reports):
        called, message = report.object
        assert called is handler
        assert f"<Message id={id:#x} " in repr(message)
    reports.clear()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_report_names_the_handler_of_an_id(
    window: winipc.CopyDataWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `decode` as well."""
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)

    @window.on(5)
    def five(message: winipc.Message) -> str:
        return "five"

    @window.on(6, decode=winipc.decoders.utf8)
    def six(message: winipc.Message, text: str) -> str:
        return text

    for id in (5, 6):
        assert winipc.send_copydata(window, b"x", id=id, check=False) == 0
    assert [report.object[0].__name__ for report in reports] == ["five", "six"]
    reports.clear()


def test_a_function_that_would_not_run_is_no_handler(
    window: winipc.CopyDataWindow, unique_name: str
) -> None:
    """A call of a coroutine function or of a generator runs nothing of it."""

    async def later(message: object) -> None: ...

    def generator(message: object) -> Iterator[int]:
        yield 1

    create = winipc.CopyDataWindow.create
    places: list[Callable[[Any], object]] = [
        window.on(5),
        window.on_message(0x8005),
        lambda handler: create(unique_name, handler=handler),
        lambda handler: create(unique_name, messages={0x8005: handler}),
        lambda handler: winipc.Receiver(unique_name, handler=handler),
    ]
    for place in places:
        for handler in (later, generator, "text"):
            with pytest.raises(TypeError, match="a handler is a plain function"):
                place(handler)
    for place in (
        lambda accept: create(unique_name, accept=accept),
        lambda accept: winipc.Receiver(unique_name, accept=accept),
    ):
        with pytest.raises(TypeError, match="a handler is a plain function"):
            place(later)
    with pytest.raises(TypeError, match=r"such as winipc\.decoders\.utf8"):
        window.on(5, decode="utf8")  # type: ignore[arg-type]


def test_handlers_by_id_and_by_message(window: winipc.CopyDataWindow) -> None:
    """They take their own; the rest is refused, and plain messages are ignored."""

    @window.on(5)
    def five(message: winipc.Message) -> int:
        return 55

    @window.on_message("winipc test message")
    def named(message: winipc.Message) -> int:
        return message.wparam - message.lparam

    assert winipc.send_copydata(window, b"", id=5) == 55
    assert winipc.send_copydata(window, b"", id=6, check=False) == 0
    assert winipc.send_message(window, "winipc test message", 40, -2) == 42
    assert winipc.send_message(window, "winipc test message 2", 40, -2) == 0
    assert window.pending == 0


@pytest.mark.parametrize("accept", [None, lambda message: True], ids=["all", "some"])
def test_what_no_handler_takes_is_queued_if_asked_for(
    unique_name: str, accept: Any
) -> None:
    """queue=True asks for it, queue=False refuses it; handlers make the default."""
    answers = {None: [1, 0], True: [1, 1], False: [0, 0]}
    for queue, expected in answers.items():
        with winipc.CopyDataWindow.create(
            unique_name, queue=queue, accept=accept
        ) as window:

            def send(id: int, window: winipc.CopyDataWindow = window) -> int:
                return winipc.send_copydata(
                    window, b"", id=id, sender=window, check=False
                )

            got = [send(6)]
            window.on_message("winipc test message")(lambda message: 9)
            window.on(5)(lambda message: 7)
            got.append(send(6))
            assert send(5) == 7
            assert got == expected
            assert window.pending == sum(expected)


def test_handler_may_leave_a_message_to_the_queue(unique_name: str) -> None:
    """NotImplemented says so."""

    def handler(message: winipc.Message) -> object:
        return 7 if message.id else NotImplemented

    with winipc.CopyDataWindow.create(
        unique_name, handler=handler, max_count=1
    ) as window:
        assert winipc.send_copydata(window, b"a", id=1) == 7
        assert winipc.send_copydata(window, b"b", id=0) == 1
        assert winipc.send_copydata(window, b"c", id=0, check=False) == 0
        assert bytes(window.receive(10)) == b"b"


def test_handler_may_send_back_before_it_answers(unique_name: str) -> None:
    """Nested both ways: A sends to B, whose handler sends to A, ... ."""
    depth = []

    def ping(message: winipc.Message) -> int:
        depth.append(message.id)
        if message.id == 0:
            return 1
        other = b if threading.get_native_id() == a.thread_id else a
        return winipc.send_copydata(other, b"x", id=message.id - 1) + 1

    with (
        winipc.CopyDataWindow.create(unique_name + "a", handler=ping) as a,
        winipc.CopyDataWindow.create(unique_name + "b", handler=ping) as b,
    ):
        assert winipc.send_copydata(a, b"x", id=10) == 11
    assert depth == list(range(10, -1, -1))


def test_some_messages_cannot_be_asked_for(window: winipc.CopyDataWindow) -> None:
    """Those that make and end a window, and numbers out of range."""
    for number in (0, 0x4A, 0x82, 0x10000, -1):
        with pytest.raises(ValueError, match="cannot be asked for"):
            window.subscribe(number)


# ------------------------------------------------------------------------ life


@pytest.mark.smoke
def test_close_leaves_no_window_class_or_thread(unique_name: str) -> None:
    """And may be called twice."""
    window = winipc.CopyDataWindow.create(unique_name, class_name=unique_name)
    found = winipc.Window(window.hwnd)
    window.close()
    window.close()
    assert window.closed
    assert window.hwnd == 0
    assert "closed" in repr(window)
    assert not found.exists
    assert not class_exists(unique_name)


def test_windows_may_share_a_class(unique_name: str) -> None:
    """The last of them takes it away."""
    first = winipc.CopyDataWindow.create("", class_name=unique_name)
    second = winipc.CopyDataWindow.create("", class_name=unique_name)
    first.close()
    assert class_exists(unique_name)
    assert winipc.send_copydata(second, b"x") == 1
    second.close()
    assert not class_exists(unique_name)


def class_exists(name: str) -> bool:
    """Whether winipc's module has a window class of this name registered."""
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetModuleHandleW.restype = ctypes.c_void_p
    module = kernel32.GetModuleHandleW(winipc._core.__file__)
    assert module
    room = ctypes.create_string_buffer(80)
    return bool(
        ctypes.WinDLL("user32").GetClassInfoExW(ctypes.c_void_p(module), name, room)
    )


def test_unclosed_window_warns_and_goes(unique_name: str) -> None:
    """Garbage collection ends the thread too, in a cycle with its handler."""
    windows = [winipc.CopyDataWindow.create(unique_name)]
    keep = weakref.ref(windows[0])
    windows[0].on(1)(lambda message, window=windows[0]: 1)
    found = winipc.Window(windows.pop().hwnd)
    with pytest.warns(ResourceWarning, match=r"unclosed.*CopyDataWindow"):
        gc.collect()
    assert keep() is None
    assert not found.exists


def test_close_from_the_handler(unique_name: str) -> None:
    """The sender gets its answer, and the window goes."""

    def handler(message: winipc.Message) -> int:
        window.close()
        return 9

    window = winipc.CopyDataWindow.create(unique_name, handler=handler)
    found = winipc.Window(window.hwnd)
    assert winipc.send_copydata(window, b"x") == 9
    assert window.closed
    window.close()  # waits for the thread
    assert not found.exists


def test_close_waits_for_the_handler_at_work(unique_name: str) -> None:
    """At most as long as it is told to."""
    started, release = threading.Event(), threading.Event()

    def handler(message: winipc.Message) -> int:
        started.set()
        release.wait(30)
        return 5

    window = winipc.CopyDataWindow.create(unique_name, handler=handler)
    answers: list[int] = []
    sender = threading.Thread(
        target=lambda: answers.append(winipc.send_copydata(window, b"x"))
    )
    sender.start()
    assert started.wait(30)
    with pytest.raises(TimeoutError):
        window.close(0.05)
    release.set()
    window.close()
    sender.join(30)
    assert answers == [5]


def test_two_threads_may_close_at_once(unique_name: str) -> None:
    """Both return when the window is gone."""
    for _ in range(20):
        window = winipc.CopyDataWindow.create(unique_name)
        threads = [threading.Thread(target=window.close) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert window.closed


@pytest.mark.filterwarnings("ignore:unclosed")
def test_a_finaliser_called_by_hand_leaves_what_is_in_use(unique_name: str) -> None:
    """Each of these calls would go on in memory that is gone."""
    window = winipc.CopyDataWindow.create(unique_name)
    process = winipc.RemoteProcess.open(os.getpid())
    scan = winipc.scan_bytes(bytes(256 << 20), b"no such bytes" * 5)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        found = pool.submit(list, scan)
        while not scan.scanned:
            time.sleep(0)
        scan.__del__()  # type: ignore[attr-defined]
        assert found.result() == []
        received = pool.submit(window.receive, 30)
        exit_code = pool.submit(process.wait, 1)
        while not (received.running() and exit_code.running()):
            time.sleep(0)
        time.sleep(0.2)  # from there to the waits
        process.__del__()  # type: ignore[attr-defined]
        assert not process.closed
        window.__del__()  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="closed"):
            received.result()
        with pytest.raises(TimeoutError):
            exit_code.result()
    process.close()


def test_a_window_cannot_be_made_without_create() -> None:
    """No half-made instances."""
    with pytest.raises(TypeError, match="no plain constructor"):
        winipc.CopyDataWindow()
    with pytest.raises(TypeError, match="no plain constructor"):
        winipc.Message()
    routes = (False, True, 0, b"", False, print)
    with pytest.raises(TypeError, match="no kind of Message"):
        winipc.CopyDataWindow._create(
            "", "x", True, 1, 1, 1, 0, routes, object, b"", "", False, 1
        )


def test_a_table_of_routes_has_as_many_ids_as_it_says(
    window: winipc.CopyDataWindow,
) -> None:
    """The thread of the window reads them without Python."""
    for ids in (-1, 3):
        with pytest.raises(ValueError, match="fewer ids"):
            window._set_routes((False, True, ids, bytes(16), False, print))


@pytest.mark.smoke
def test_exit_with_open_windows_is_clean(start_peer: Start) -> None:
    """No hang, no crash, status 0: in queue mode, handler mode and at work."""
    peer = start_peer("window_exit.py")
    hwnd = int(peer.read_line().split()[1])
    assert winipc.send_copydata(hwnd, b"x") == 3
    assert peer.finish() == 0, peer.report()
    assert not winipc.Window(hwnd).exists


# ----------------------------------------------------------------- who may send


def test_accept_lets_in_whom_it_names(unique_name: str, start_peer: Start) -> None:
    """One peer is allowed, another one and the nameless are not."""
    friend, foe = start_peer("window_sender.py"), start_peer("window_sender.py")
    hwnds = [int(peer.read_line().split()[1]) for peer in (friend, foe)]

    def check(accept: Any, others: str = "0", **more: Any) -> int:
        with winipc.CopyDataWindow.create(unique_name, accept=accept, **more) as window:
            friend.say(f"{window.hwnd} 1 61")
            friend.expect("5" if more else "1")
            foe.say(f"{window.hwnd} 2 62")
            foe.expect(others)
            assert winipc.send_copydata(window, b"x", check=False) == 0
            assert winipc.send_copydata(window, b"x", sender=1, check=False) == 0
            if not more:
                message = window.receive(10)
                assert (message.id, message.sender) == (1, hwnds[0])
            return window.rejected

    assert check(friend.pid) == 3
    assert check([friend.pid, r"C:\nobody.exe"]) == 3
    assert check(Path(sys.executable.upper()), others="1") == 2

    def predicate(message: winipc.Message) -> bool:
        return message.pid == friend.pid

    check(predicate)
    check(predicate, handler=lambda message: 5)


def test_accept_compares_files_and_not_spellings(
    unique_name: str, tmp_path: Path
) -> None:
    """Another spelling of this Python, and the launcher of a venv of it."""
    launcher = tmp_path / "Scripts" / Path(sys.executable).name
    launcher.parent.mkdir()
    launcher.touch()
    (tmp_path / "pyvenv.cfg").write_text(
        f"version = 3\nHome = {Path(sys.executable).parent}\n"
    )
    spellings = ("\\\\?\\" + sys.executable, launcher)
    for accept, answer in ((launcher.parent, 0), *((one, 1) for one in spellings)):
        with winipc.CopyDataWindow.create(unique_name, accept=accept) as window:
            got = winipc.send_copydata(window, b"x", sender=window, check=False)
            assert got == answer, accept
            assert window.rejected == 1 - answer


def test_accept_of_nobody_is_an_error() -> None:
    """It would refuse every message."""
    with pytest.raises(ValueError, match="no program"):
        winipc.CopyDataWindow.create("", accept=[])


def test_a_predicate_that_raises_refuses(
    unique_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Doubt is no permission."""
    reports: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", reports.append)

    def predicate(message: winipc.Message) -> bool:
        raise LookupError

    with winipc.CopyDataWindow.create(unique_name, accept=predicate) as window:
        answer = winipc.send_copydata(window, b"x", sender=window, check=False)
    assert answer == 0
    assert len(reports) == 1
    reports.clear()


def test_no_window_of_an_input_method_stands_beside(unique_name: str) -> None:
    """No key arrives here, and a list of windows has ours alone."""

    def windows() -> set[int]:
        return {window.hwnd for window in winipc.find_windows(pid=os.getpid())}

    before = windows()
    with winipc.CopyDataWindow.create(unique_name) as window:
        assert windows() - before == {window.hwnd}


def test_lower_integrity_may_be_let_in(unique_name: str) -> None:
    """The filter is opened for WM_COPYDATA and what is subscribed."""
    with winipc.CopyDataWindow.create(
        unique_name, allow_lower_integrity=True, messages=[unique_name]
    ) as window:
        window.subscribe(0x8001)
        assert winipc.send_copydata(window, b"x") == 1


# ------------------------------------------------------- replies, timers, others


def test_reply_frees_the_sender_early(unique_name: str, start_peer: Start) -> None:
    """The handler goes on after the sender has its answer."""
    peer = start_peer("window_sender.py")
    assert peer.read_line().startswith("ready")
    outcome: list[object] = []

    def handler(message: winipc.Message) -> int:
        outcome.append(window.reply(8))
        outcome.append(peer.read_line())
        outcome.append(window.reply(9))
        outcome.append(bytes(message))
        return 10

    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
        peer.say(f"{window.hwnd} 1 616263")
        # The handler is over when the window is closed.
        while not outcome:
            time.sleep(0.01)
    assert outcome == [True, "8", False, b"abc"]
    with pytest.raises(RuntimeError, match="handlers"):
        window.reply(1)


def test_timers_tick_until_they_are_killed(window: winipc.CopyDataWindow) -> None:
    """As WM_TIMER messages with the timer's id."""
    window.set_timer(7, 0.02)
    for _ in range(2):
        message = window.receive(30)
        assert (message.message, message.wparam) == (0x113, 7)
    assert window.kill_timer(7)
    assert not window.kill_timer(7)
    with pytest.raises(ValueError, match="above 0"):
        window.set_timer(7, 0)


def test_one_tick_of_each_timer_waits(unique_name: str) -> None:
    """Ticks do not crowd data out of the queue, however long none is taken."""
    with winipc.CopyDataWindow.create(unique_name, max_count=4) as window:
        for timer in (1, 2):
            window.set_timer(timer, 0.01)
        for round in range(3):
            deadline = time.monotonic() + 60
            while window.pending < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            # WM_TIMER by a peer counts as one: these come behind many real ones.
            for _ in range(20):
                winipc.send_message(window, 0x0113, 1)
                winipc.send_message(window, 0x0113, 2)
            assert window.pending == 2
            assert winipc.send_copydata(window, b"x", id=round) == 1
            assert winipc.send_copydata(window, b"x", id=round) == 1
            got = [window.receive(10) for _ in range(4)]
            assert sorted(m.wparam for m in got if m.message == 0x0113) == [1, 2]


def test_sender_is_32_bits_wide_as_hwnd_is(window: winipc.CopyDataWindow) -> None:
    """Programs extend the sign of a handle or do not."""
    winipc.send_copydata(window, b"", sender=0xFFFFFFFF80010044 % 2**BITS)
    message = window.receive(10)
    assert message.sender == 0x80010044
    assert message.wparam == 0xFFFFFFFF80010044 % 2**BITS


@pytest.mark.parametrize("message_only", [False, True])
def test_a_title_may_be_for_one_window_only(
    unique_name: str, message_only: bool
) -> None:
    """exist_ok=False: of many that try at once one has it, until it closes."""
    refusals: list[tuple[int, str, str]] = []
    hint = "hint: exist_ok=True makes another one; senders find the newest"

    def create() -> winipc.CopyDataWindow | None:
        try:
            return winipc.CopyDataWindow.create(
                unique_name, exist_ok=False, message_only=message_only
            )
        except FileExistsError as error:
            refusals.append((error.winerror, error.filename, *error.__notes__))
            return None

    for _ in range(2):
        with concurrent.futures.ThreadPoolExecutor() as pool:
            made = [w for w in pool.map(lambda _: create(), range(8)) if w is not None]
        assert len(made) == 1
        with winipc.CopyDataWindow.create(unique_name):
            assert create() is None
        made[0].close()
    assert set(refusals) == {(183, unique_name, hint)}
    assert len(refusals) == 2 * 8


def test_other_programs_cannot_close_it(window: winipc.CopyDataWindow) -> None:
    """WM_CLOSE, WM_QUIT and the private message do not end it; they may be seen."""
    hwnd = window.hwnd
    user32 = ctypes.WinDLL("user32")
    assert user32.PostThreadMessageW(window.thread_id, 0x0012, 0, 0)
    winipc.post_message(hwnd, 0x0010)
    winipc.post_message(hwnd, 0x7FF1, 1, 0)
    # Posted messages come in order, so this one tells that all were there; the
    # one that is sent may overtake them.
    window.subscribe(0x8000)
    winipc.post_message(hwnd, 0x8000)
    assert winipc.send_copydata(window, b"x", id=3) == 1
    assert {window.receive(10).message for _ in range(2)} == {0x4A, 0x8000}
    assert winipc.Window(hwnd).exists
    window.subscribe(0x0010)
    winipc.post_message(hwnd, 0x0010, 1, 2)
    message = window.receive(10)
    assert (message.message, message.wparam, message.lparam) == (0x10, 1, 2)


@pytest.mark.parametrize(
    ("decode", "data", "expected"),
    [
        (decoders.utf8, "grüße".encode() + b"\0\xff", "grüße"),
        (decoders.utf16, "grüße\0rest".encode("utf-16-le"), "grüße"),
        (decoders.ansi, b"abc\0", "abc"),
        (decoders.text("latin-1"), b"\xe9", "é"),
        (decoders.json, b'{"a": [1, 2]}\0', {"a": [1, 2]}),
        (decoders.structure("<iH"), b"\1\0\0\0\2\0more", (1, 2)),
    ],
    ids=["utf8", "utf16", "ansi", "latin-1", "json", "struct"],
)
def test_decoders_make_values(
    window: winipc.CopyDataWindow, decode: Any, data: bytes, expected: object
) -> None:
    """In a handler and by themselves."""
    got: list[object] = []

    @window.on(1, decode=decode)
    def handler(message: winipc.Message, value: object) -> None:
        got.append(value)

    assert winipc.send_copydata(window, data, id=1) == 1
    assert winipc.send_copydata(window, data, id=2, check=False) == 0
    got.append(decode(data))
    assert got == [expected, expected]


def test_decoder_of_a_ctypes_structure(window: winipc.CopyDataWindow) -> None:
    """Too few bytes are an error, not garbage."""

    class Point(ctypes.Structure):
        _fields_ = (("x", ctypes.c_int), ("y", ctypes.c_int))

    decode = decoders.structure(Point)
    winipc.send_copydata(window, Point(3, 4))
    point = decode(window.receive(10))
    assert (point.x, point.y) == (3, 4)
    with pytest.raises(ValueError, match="small"):
        decode(b"1234567")
