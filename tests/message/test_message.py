"""Registered messages, window look-up and sends."""

from __future__ import annotations

import array
import asyncio
import concurrent.futures
import contextlib
import ctypes
import errno
import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, interrupted
from helpers import BITS
from helpers.replaced_call import address_of, load, replaced

import winipc
from winipc import _core
from winipc.message.send import HWND_BROADCAST, mapping_is_ours

PACKAGE = Path(winipc.__file__).parent
LARGEST = 2 ** (BITS - 1) - 1

Start = Callable[..., Any]


@pytest.fixture
def window(unique_name: str) -> Any:
    with winipc.CopyDataWindow.create(unique_name) as window:
        yield window


@pytest.mark.smoke
def test_registered_message_is_the_same_for_one_name() -> None:
    """Names ignore case, and the number is in the registered range."""
    number = winipc.register_message("winipc test message")
    assert 0xC000 <= number <= 0xFFFF
    assert number == winipc.register_message("WINIPC test MESSAGE")
    assert number != winipc.register_message("winipc test message 2")


@pytest.mark.parametrize("name", ["", "x" * 256], ids=["empty", "256 characters"])
def test_register_message_refuses_bad_names(name: str) -> None:
    """Windows refuses the name, and the error says which call it was."""
    with pytest.raises(OSError, match="RegisterWindowMessageW") as caught:
        winipc.register_message(name)
    assert caught.value.winerror in (87, 123)
    assert caught.value.filename2 == "RegisterWindowMessageW"


def test_register_message_refuses_other_types_and_nul() -> None:
    """A number is not a name, and a NUL would cut one short."""
    with pytest.raises(TypeError):
        winipc.register_message(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="null"):
        winipc.register_message("a\0b")


@pytest.mark.smoke
def test_find_window_by_title_class_and_both(window: winipc.CopyDataWindow) -> None:
    """Each way leads to the same window; what is not there is None."""
    expected = winipc.Window(window.hwnd)
    assert winipc.find_window(window.title) == expected
    assert winipc.find_window(class_name=window.class_name) == expected
    assert winipc.find_window(window.title, window.class_name) == expected
    assert winipc.find_window(window.title.upper()) == expected
    assert winipc.find_window(window.title, "no such class") is None
    assert winipc.find_window(window.title + "x") is None


@pytest.mark.parametrize("title", ["", None])
def test_no_title_and_no_class_finds_no_window(title: Any) -> None:
    """Any window without a title would match."""
    with winipc.CopyDataWindow.create("", message_only=True) as window:
        for find in (
            lambda: winipc.find_window(title),
            lambda: winipc.Window.wait_for(title, 0),
            lambda: winipc.send_copydata((title, None), b""),
            lambda: winipc.post_message((title, None), 0x8001),
            lambda: winipc.call((title, None), b"", timeout=0),
        ):
            with pytest.raises(ValueError, match="by its title or its class"):
                find()
        found = winipc.find_window(title, window.class_name)
        assert found == winipc.Window(window.hwnd)
        assert winipc.send_copydata((title, window.class_name), b"") == 1


def test_find_windows_filters_by_everything(window: winipc.CopyDataWindow) -> None:
    """pid, title, class and visibility are conditions that all must hold."""
    expected = winipc.Window(window.hwnd)
    assert expected in winipc.find_windows(pid=os.getpid())
    assert winipc.find_windows(title=window.title) == [expected]
    assert winipc.find_windows(window.title, window.class_name) == [expected]
    assert winipc.find_windows(title=window.title, visible=False) == [expected]
    assert winipc.find_windows(title=window.title, visible=True) == []
    assert winipc.find_windows(title=window.title, pid=os.getpid() + 1) == []
    assert winipc.find_windows(title=window.title, message_only=True) == []


def test_message_only_windows_are_found_apart(unique_name: str) -> None:
    """They are not among the top-level windows, but have a list of their own."""
    with winipc.CopyDataWindow.create(unique_name, message_only=True) as window:
        expected = winipc.Window(window.hwnd)
        assert winipc.find_window(unique_name) == expected
        assert winipc.find_windows(title=unique_name) == []
        assert winipc.find_windows(title=unique_name, message_only=True) == [expected]


def test_a_window_within_a_message_only_one_is_not_listed(unique_name: str) -> None:
    """Neither among them nor among the top-level ones."""
    set_parent = ctypes.WinDLL("user32").SetParent
    with (
        winipc.CopyDataWindow.create(unique_name, message_only=True) as outer,
        winipc.CopyDataWindow.create(unique_name) as inner,
    ):
        assert set_parent(ctypes.c_void_p(inner.hwnd), ctypes.c_void_p(outer.hwnd))
        expected = [winipc.Window(outer.hwnd)]
        assert winipc.find_windows(unique_name, message_only=True) == expected
        assert winipc.find_windows(unique_name) == []


def test_window_tells_what_it_is(window: winipc.CopyDataWindow) -> None:
    """The properties of a live window, and of one that is gone."""
    found = winipc.find_window(window.title)
    assert found is not None
    assert found.exists
    assert not found.is_visible
    assert not found.is_hung
    assert found.title == window.title
    assert found.class_name == window.class_name
    assert found.pid == os.getpid()
    assert found.thread_id == window.thread_id
    assert found.executable.lower().endswith("python.exe")
    window.close()
    assert not found.exists
    assert found.pid == 0
    assert found.title == ""
    with pytest.raises(FileNotFoundError) as caught:
        _ = found.class_name
    assert caught.value.winerror == 1400
    with pytest.raises(ProcessLookupError):
        _ = found.executable


def test_long_titles_come_whole(unique_name: str) -> None:
    """Longer than the first buffer that it is read into."""
    title = unique_name + "é" * 5000
    with winipc.CopyDataWindow.create(title) as window:
        assert winipc.Window(window.hwnd).title == title


def test_wait_for_sees_a_window_that_comes_later(unique_name: str) -> None:
    """It returns when the window is there."""
    made: list[winipc.CopyDataWindow] = []
    timer = threading.Timer(
        0.1, lambda: made.append(winipc.CopyDataWindow.create(unique_name))
    )
    timer.start()
    found = winipc.Window.wait_for(unique_name, 30)
    timer.join()
    with made[0]:
        assert found.hwnd == made[0].hwnd
        with pytest.warns(DeprecationWarning, match="Window.wait_for"):
            assert winipc.wait_window(unique_name, 0) == found


def test_wait_for_a_window_times_out(unique_name: str) -> None:
    """The error has the winerror of a time-out and names what was looked for."""
    with pytest.raises(TimeoutError, match=unique_name) as caught:
        winipc.Window.wait_for(unique_name, 0.05)
    assert caught.value.winerror == 1460


@pytest.mark.parametrize(
    ("wparam", "lparam"),
    [
        (0, 0),
        (2**BITS - 1, -1),
        (2 ** (BITS - 1), -(2 ** (BITS - 1))),
        (0x123456789ABCDEF0 >> 64 - BITS, 0x0FEDCBA987654321 >> 64 - BITS),
    ],
)
def test_messages_carry_numbers_of_full_width(
    window: winipc.CopyDataWindow, wparam: int, lparam: int
) -> None:
    """wParam and lParam keep all bits, posted and sent."""
    window.subscribe(0x8001, "winipc test message")
    winipc.post_message(window, 0x8001, wparam, lparam)
    message = window.receive(10)
    assert (message.message, message.wparam, message.lparam) == (0x8001, wparam, lparam)
    assert winipc.send_message(window, "winipc test message", wparam, lparam) == 1
    message = window.receive(10)
    assert message.message == winipc.register_message("winipc test message")
    assert (message.wparam, message.lparam) == (wparam, lparam)
    assert len(message) == 0
    assert bool(message)
    assert (message.sender, message.pid, message.id) == (0, 0, 0)


@pytest.mark.parametrize("value", [2**BITS, 2**64, -(2 ** (BITS - 1)) - 1, -(2**64)])
def test_numbers_that_do_not_fit_are_refused(
    window: winipc.CopyDataWindow, value: int
) -> None:
    """Nothing wraps silently."""
    with pytest.raises(OverflowError):
        winipc.post_message(window, 0x8001, value)
    with pytest.raises(OverflowError):
        winipc.send_message(window, 0x8001, 0, value)


def test_answers_are_signed_and_of_full_width(unique_name: str) -> None:
    """An LRESULT comes back as it was given."""
    answers = iter([-1, LARGEST, 2**BITS - 1, True, False, None])
    with winipc.CopyDataWindow.create(
        unique_name, handler=lambda message: next(answers), messages=[0x8001]
    ) as window:
        got = [winipc.send_message(window, 0x8001) for _ in range(6)]
    assert got == [-1, LARGEST, -1, 1, 0, 1]


def test_send_to_a_window_that_is_gone_is_file_not_found(unique_name: str) -> None:
    """By title, by pair, by object and by handle; the winerror is 1400."""
    window = winipc.CopyDataWindow.create(unique_name)
    hwnd = window.hwnd
    window.close()
    for target in (unique_name, (None, unique_name), ("nobody", None), hwnd):
        with pytest.raises(FileNotFoundError) as caught:
            winipc.send_copydata(target, b"x")
        assert caught.value.winerror == 1400
    with pytest.raises(FileNotFoundError):
        winipc.post_message(hwnd, 0x8001)
    with pytest.raises(ValueError, match="closed"):
        winipc.send_copydata(window, b"x")


def test_send_copydata_takes_every_target(window: winipc.CopyDataWindow) -> None:
    """A window, a Window, an hwnd, a title and pairs."""
    targets = [
        window,
        winipc.Window(window.hwnd),
        window.hwnd,
        window.title,
        (window.title, window.class_name),
        (window.title, None),
        (None, window.class_name),
    ]
    for number, target in enumerate(targets):
        assert winipc.send_copydata(target, b"", id=number) == 1
    assert [window.receive(10).id for _ in targets] == list(range(len(targets)))


def test_pairs_in_the_old_order_are_deprecated(window: winipc.CopyDataWindow) -> None:
    """(class, title) still finds the window, and says what to write."""
    for old in ((window.class_name, window.title), (window.class_name, None)):
        with pytest.warns(DeprecationWarning, match="title now comes first"):
            assert winipc.send_copydata(old, b"") == 1
    with pytest.raises(FileNotFoundError):
        winipc.send_copydata((window.title + "x", window.class_name), b"")
    for nobody in ((None, window.title), window.class_name):
        with pytest.raises(FileNotFoundError):
            winipc.send_copydata(nobody, b"")


def test_a_class_may_be_an_atom(window: winipc.CopyDataWindow) -> None:
    """As in FindWindow; a number that is none is refused."""
    user32 = ctypes.WinDLL("user32")
    user32.GetClassLongW.argtypes = (ctypes.c_void_p, ctypes.c_int)
    atom = user32.GetClassLongW(window.hwnd, -32) & 0xFFFF
    expected = winipc.Window(window.hwnd)
    assert winipc.find_window(class_name=atom) == expected
    assert winipc.find_windows(class_name=atom) == [expected]
    assert winipc.find_windows("no such title", atom) == []
    assert winipc.send_copydata((window.title, atom), b"") == 1
    with pytest.raises(FileNotFoundError, match=f"class {atom}"):
        winipc.send_copydata(("no such title", atom), b"")
    for bad in (0, 0x10000):
        with pytest.raises(ValueError, match="atom"):
            winipc.find_window(class_name=bad)


@pytest.mark.parametrize(
    ("title", "other"),
    [("ß", "SS"), ("ß", "ẞ"), ("İi", "iI"), ("Σς", "σς"), ("é", "É"), ("k", "\u212a")],
)
def test_titles_are_compared_alike(unique_name: str, title: str, other: str) -> None:
    """`find_windows` finds a window if, and only if, `find_window` does."""
    with winipc.CopyDataWindow.create(f"{unique_name} {title}") as window:
        for wanted in (window.title, f"{unique_name} {other}", unique_name):
            found = winipc.find_window(wanted)
            assert winipc.find_windows(wanted) == ([] if found is None else [found])


def test_listing_while_message_only_windows_die(unique_name: str) -> None:
    """Those that live are in every listing, once."""
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            windows = [
                winipc.CopyDataWindow.create(message_only=True) for _ in range(3)
            ]
            for window in windows:
                window.close()

    with contextlib.ExitStack() as stack:
        kept = {
            stack.enter_context(
                winipc.CopyDataWindow.create(unique_name, message_only=True)
            ).hwnd
            for _ in range(5)
        }
        with concurrent.futures.ThreadPoolExecutor() as pool:
            threads = [pool.submit(churn) for _ in range(2)]
            try:
                for _ in range(300):
                    found = winipc.find_windows(pid=os.getpid(), message_only=True)
                    hwnds = [window.hwnd for window in found]
                    assert kept <= set(hwnds)
                    assert len(set(hwnds)) == len(hwnds)
            finally:
                stop.set()
            for thread in threads:
                thread.result()


def test_refusal_raises_unless_asked_not_to(unique_name: str) -> None:
    """0 is refused; the answer itself is there for those who want it."""
    with winipc.CopyDataWindow.create(unique_name, handler=lambda m: 0) as window:
        with pytest.raises(ConnectionRefusedError, match="refused"):
            winipc.send_copydata(window, b"x")
        assert winipc.send_copydata(window, b"x", check=False) == 0


def test_send_copydata_wants_a_buffer_and_a_message_number(
    window: winipc.CopyDataWindow,
) -> None:
    """Text is no bytes; and WM_COPYDATA is not for two numbers."""
    with pytest.raises(TypeError, match=r"text\.encode\(\)"):
        winipc.send_copydata(window, "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes-like"):
        winipc.send_copydata(window, [1, 2])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="WM_COPYDATA"):
        winipc.send_message(window, 0x4A, 0, 1234)
    with pytest.raises(ValueError, match="not a window handle"):
        winipc.send_copydata(0, b"")
    with pytest.raises(ValueError, match="timeout"):
        winipc.send_copydata(window, b"", timeout=-1)


# ------------------------------------------------- by the number of the window
#
# A target that is a plain int never asks Python. What a caller sees must not tell
# the difference.


def test_post_by_number_takes_every_form(window: winipc.CopyDataWindow) -> None:
    """Positions, names, and a message by its own name."""
    window.subscribe(0x8001, "winipc test message")
    hwnd = window.hwnd
    winipc.post_message(hwnd, 0x8001)
    winipc.post_message(hwnd, 0x8001, 1)
    winipc.post_message(hwnd, 0x8001, 2, -2)
    winipc.post_message(hwnd, 0x8001, wparam=3, lparam=-3)
    winipc.post_message(hwnd, 0x8001, 4, lparam=-4)
    winipc.post_message(hwnd, message="winipc test message", wparam=5)
    got = [window.receive(10) for _ in range(6)]
    assert [(message.wparam, message.lparam) for message in got] == [
        *((0, 0), (1, 0), (2, -2), (3, -3), (4, -4), (5, 0))
    ]
    with pytest.raises(TypeError):
        winipc.post_message(hwnd)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        winipc.post_message(hwnd, 0x8001, 1, 2, 3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="WM_COPYDATA"):
        winipc.post_message(hwnd, 0x4A)


@pytest.mark.parametrize("size", [0, 1, 0x10001, 1 << 20, (1 << 20) + 1])
def test_send_by_number_delivers_every_byte(
    window: winipc.CopyDataWindow, size: int
) -> None:
    """Of bytes, and of other buffers with the same in them."""
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    own = bytearray(data)
    with memoryview(b"<" + data + b">") as around, around[1:-1] as inner:
        for form in (data, own, array.array("B", data), inner):
            assert winipc.send_copydata(window.hwnd, form) == 1
            message = window.receive(10)
            assert bytes(message) == data
            assert (message.id, message.sender) == (0, 0)
    own.clear()  # no export is left behind


def test_send_by_number_carries_an_id(window: winipc.CopyDataWindow) -> None:
    """As wide as dwData, and whatever else goes with it."""
    hwnd, data = window.hwnd, bytearray(b"data")
    for number in (0, 7, 1 << BITS - 1, (1 << BITS) - 1, -1):
        assert winipc.send_copydata(hwnd, data, id=number) == 1
        assert window.receive(10).id == number % (1 << BITS)
    assert winipc.send_copydata(hwnd, data, id=8, sender=hwnd) == 1
    message = window.receive(10)
    assert (message.id, message.sender, bytes(message)) == (8, hwnd, b"data")
    for other in ("abort_if_hung", "check", "timeout"):  # numbers, but no ids
        assert winipc.send_copydata(hwnd, data, **{other: 1}) == 1
        assert window.receive(10).id == 0
    for bad in (-(1 << BITS - 1) - 1, 1 << BITS, 1 << 64):
        with pytest.raises(OverflowError):
            winipc.send_copydata(hwnd, data, id=bad)
    with pytest.raises(TypeError):
        winipc.send_copydata(hwnd, data, id="text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        winipc.send_copydata(hwnd, data, ident=1)  # type: ignore[call-arg]
    with memoryview(data) as view:
        assert winipc.send_copydata(hwnd, view[::-2]) == 1
    assert bytes(window.receive(10)) == b"aa"
    with pytest.raises(ValueError, match="not a window handle"):
        winipc.send_copydata(0, data)
    data.clear()  # no export is left behind
    assert window.pending == 0


def test_the_error_names_a_small_limit(unique_name: str) -> None:
    """The receiver answers 0 to such data: the sender asks why."""
    with winipc.CopyDataWindow.create(unique_name, max_message=100) as window:
        assert winipc.send_copydata(window, bytes(100)) == 1
        told = "at most 100 bytes, not 101"
        with pytest.raises(ConnectionRefusedError, match=told) as caught:
            winipc.send_copydata(window, bytes(101))
        assert caught.value.errno == errno.EMSGSIZE
        assert winipc.send_copydata(window, bytes(101), check=False) == 0


@pytest.mark.smoke
@pytest.mark.parametrize("by", ["window", "number"])
def test_errors_of_a_send_are_the_same_by_number(unique_name: str, by: str) -> None:
    """Refused by the receiver, above its limit, gone."""
    answers = iter([0, 0, 0, -1, LARGEST, 0])
    with winipc.CopyDataWindow.create(
        unique_name, handler=lambda message: next(answers), max_message=3 << 20
    ) as window:
        hwnd = window.hwnd
        target = window if by == "window" else hwnd
        with pytest.raises(ConnectionRefusedError) as caught:
            winipc.send_copydata(target, b"abc")
        assert caught.value.errno == errno.ECONNREFUSED
        assert caught.value.strerror == (
            f"window {hwnd:#x} refused a message of 3 bytes with id 0x0"
        )
        with pytest.raises(ConnectionRefusedError, match=r"4 bytes with id 0xabcdef$"):
            winipc.send_copydata(target, bytearray(4), id=0xABCDEF)
        assert winipc.send_copydata(target, b"abc", check=False) == 0
        assert winipc.send_copydata(target, b"abc") == -1
        assert winipc.send_copydata(target, b"abc") == LARGEST
        with pytest.raises(ConnectionRefusedError, match="at most 3145728 bytes"):
            winipc.send_copydata(target, bytes(3 * 2**20 + 1))
        with pytest.raises(ConnectionRefusedError) as caught:
            winipc.send_copydata(unique_name, b"abc")
        assert caught.value.strerror == (
            f"window {hwnd:#x} (found by {unique_name!r}) "
            "refused a message of 3 bytes with id 0x0"
        )
    with pytest.raises(FileNotFoundError) as gone:
        winipc.send_copydata(hwnd, b"abc")
    assert gone.value.winerror == 1400


def test_calls_by_number_keep_nothing(unique_name: str) -> None:
    """Neither what they were given nor an error that they raised."""
    with winipc.CopyDataWindow.create(
        unique_name, handler=lambda message: len(message) == 100, messages=[0x8001]
    ) as window:
        hwnd, lparam = window.hwnd, 10**9 + os.getpid()
        taken, refused = os.urandom(100), os.urandom(101)

        def use() -> None:
            winipc.send_copydata(hwnd, taken)
            winipc.send_copydata(hwnd, taken, id=1)
            with pytest.raises(ConnectionRefusedError):
                winipc.send_copydata(hwnd, refused)
            with pytest.raises(ConnectionRefusedError):
                winipc.send_copydata(hwnd, refused, timeout=10)
            winipc.post_message(hwnd, 0x8001, 0, lparam)
            winipc.post_message(hwnd, 0x8001, lparam=lparam)

        def kept() -> list[int]:
            gc.collect()
            errors = [
                thing
                for thing in gc.get_objects()
                if type(thing) is ConnectionRefusedError
                and f"{hwnd:#x}" in thing.strerror
            ]
            given = (taken, refused, lparam)
            return [len(errors), *(sys.getrefcount(thing) for thing in given)]

        before = kept()
        for _ in range(5):
            use()
        assert kept() == before


def test_send_gives_up_after_five_seconds(unique_name: str) -> None:
    """And at once, if that is asked for, when it is known to be hung by then."""
    release = threading.Event()

    def handler(message: winipc.Message) -> int:
        release.wait(60)
        return 1

    with winipc.CopyDataWindow.create(unique_name, handler=handler):
        try:
            start = time.monotonic()
            for _ in range(4):
                with pytest.raises(TimeoutError) as caught:
                    winipc.send_copydata(unique_name, b"x", abort_if_hung=True)
                assert caught.value.winerror == 1460
                assert f"(found by {unique_name!r})" in caught.value.filename
            # Were each of the last three to wait for 5 s, it would be 20.
            assert time.monotonic() - start < 15
        finally:
            release.set()


def wait_until_hung(hwnd: int) -> None:
    """Until its thread has not looked for messages for 5 s."""
    deadline = time.monotonic() + 60
    while not winipc.Window(hwnd).is_hung:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_window_of_the_same_thread_is_called_without_a_time_out(
    unique_name: str,
) -> None:
    """A handler sends to its own window; Windows documents that it ignores the time."""

    def handler(message: winipc.Message) -> int:
        if message.id == 0:
            time.sleep(0.2)
            return 1
        return 1 + winipc.send_copydata(window, b"", id=message.id - 1, timeout=0.05)

    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
        assert winipc.send_copydata(window, b"", id=3) == 4


def test_receiver_that_wakes_up_is_not_hung(unique_name: str) -> None:
    """After 5 s without a look at its messages it counts as hung until its next one.

    So does an idle window while a message of another sender wakes it, which comes to
    light on a busy machine only; here the window's thread is kept for as long.
    """
    release = threading.Event()

    def handler(message: winipc.Message) -> int:
        if message.id == 1:
            release.wait(60)
        return 7

    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
        hwnd = window.hwnd
        with concurrent.futures.ThreadPoolExecutor() as pool:
            first = pool.submit(winipc.send_copydata, hwnd, b"", id=1, timeout=60)
            wait_until_hung(hwnd)
            # Longer than the retries for a window of another program.
            timer = threading.Timer(1.5, release.set)
            timer.start()
            others = [
                pool.submit(winipc.send_copydata, hwnd, b""),
                pool.submit(winipc.send_copydata, hwnd, b"", timeout=4),
                pool.submit(winipc.send_copydata, hwnd, b"", timeout=30),
                pool.submit(winipc.send_message, hwnd, 0x8001),
            ]
            assert [send.result() for send in [first, *others[:3]]] == [7] * 4
            assert others[3].result() == 0
            timer.join()


@pytest.mark.skipif(BITS == 32, reason="the machine code is for x64")
def test_a_time_out_without_an_error_number_is_one(
    window: winipc.CopyDataWindow,
) -> None:
    """Windows may leave 0 as last error: a receiver that looks hung is tried again."""
    tries = ctypes.c_uint32()
    code = b"".join(
        (
            b"\x48\x83\xec\x28",  # sub rsp, 40
            load(1, ctypes.addressof(tries)) + b"\xf0\xff\x01",  # lock inc [rcx]
            b"\x31\xc9",  # xor ecx, ecx
            load(0, address_of("kernel32", "SetLastError")) + b"\xff\xd0",  # call rax
            b"\x31\xc0\x48\x83\xc4\x28\xc3",  # xor eax, eax; add rsp, 40; ret
        )
    )
    assert winipc.send_message(window.hwnd, 0x8001) == 0
    with (
        replaced("user32", "SendMessageTimeoutW", code),
        pytest.raises(TimeoutError) as caught,
    ):
        winipc.send_message(window.hwnd, 0x8001, abort_if_hung=True)
    assert caught.value.winerror == 1460
    assert "It hangs, or did not answer" in str(caught.value)
    assert tries.value > 1


def test_window_that_goes_while_it_looks_hung(
    unique_name: str, start_peer: Start
) -> None:
    """It was there when the send began, so the connection is broken.

    Or it is hung, where it takes longer to end it than a sender looks for.
    """
    peer = start_peer("window_handler.py", unique_name)
    hwnd = int(peer.read_line().split()[1])
    with pytest.raises(TimeoutError):
        winipc.send_copydata(hwnd, b"x", id=2, timeout=0.1)
    wait_until_hung(hwnd)
    timer = threading.Timer(0.25, peer.kill)  # the sender looks for 0.5 s
    timer.start()
    with pytest.raises((ConnectionResetError, TimeoutError)):
        winipc.send_copydata(hwnd, b"x", timeout=30)
    timer.join()


def test_window_that_dies_during_a_send_by_number(
    unique_name: str, start_peer: Start
) -> None:
    """The sender hears of it before its time is over, as of a broken connection."""
    peer = start_peer("window_handler.py", unique_name)
    hwnd = int(peer.read_line().split()[1])

    def kill() -> None:
        peer.expect("working")
        peer.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ConnectionResetError):
        winipc.send_copydata(hwnd, b"x")
    killer.join(60)


def test_slow_receiver_is_a_timeout(unique_name: str) -> None:
    """The sender goes on when its time is over, whatever the handler does."""
    release = threading.Event()

    def handler(message: winipc.Message) -> int:
        release.wait(30)
        return 1

    with winipc.CopyDataWindow.create(unique_name, handler=handler) as window:
        try:
            with pytest.raises(TimeoutError) as caught:
                winipc.send_copydata(window, b"x", timeout=0.2)
            assert caught.value.winerror == 1460
        finally:
            release.set()


@pytest.mark.parametrize("timeout", [30, None])
def test_long_sends_run_on_a_worker(unique_name: str, timeout: float | None) -> None:
    """Same result, data and errors as direct ones."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        data = bytearray(b"0123456789")
        assert winipc.send_copydata(window, data, id=7, timeout=timeout) == 1
        assert bytes(window.receive(10)) == data
        data.clear()  # no export is left behind
        hwnd = window.hwnd
    with pytest.raises(FileNotFoundError):
        winipc.send_copydata(hwnd, b"x", timeout=timeout)


@pytest.mark.parametrize(
    "send",
    [
        lambda window: winipc.send_copydata(window.hwnd, b""),
        lambda window: winipc.send_copydata(window, b"", timeout=4),
        lambda window: winipc.send_copydata(window, b"", timeout=None),
        lambda window: winipc.send_message(window, "winipc.test"),
    ],
    ids=["by number", "direct", "worker", "message"],
)
def test_interrupted_send_keeps_its_data_until_it_is_through(
    unique_name: str, send: Callable[[winipc.CopyDataWindow], object]
) -> None:
    """The receiver may still be reading; whatever is sent later lets go of it then."""
    data = bytearray(b"still there")
    release = threading.Event()
    seen: list[bytes] = []

    def handler(message: winipc.Message) -> None:
        release.wait(60)
        seen.append(bytes(message))

    with (
        winipc.CopyDataWindow.create(unique_name, handler=handler) as window,
        winipc.CopyDataWindow.create("", handler=lambda message: 1) as other,
    ):
        try:
            interrupted(lambda: winipc.send_copydata(window, data, timeout=None))
            send(other)
            with pytest.raises(BufferError):
                data.clear()
        finally:
            release.set()
        deadline = time.monotonic() + 60
        while data:
            assert time.monotonic() < deadline
            send(other)
            with contextlib.suppress(BufferError):
                data.clear()
    assert seen == [b"still there"]


def test_ctrl_c_interrupts_a_broadcast(unique_name: str) -> None:
    """Its time-out is for each window, so it may take longer than any."""
    release = threading.Event()

    def handler(message: winipc.Message) -> int:
        release.wait(60)
        return 1

    with winipc.CopyDataWindow.create(
        unique_name, handler=handler, messages=[unique_name]
    ):
        start = time.monotonic()
        try:
            interrupted(lambda: winipc.send_message(HWND_BROADCAST, unique_name))
            assert time.monotonic() - start < 4
        finally:
            release.set()


def test_broadcast_reaches_top_level_windows(unique_name: str) -> None:
    """And is for registered messages only."""
    with winipc.CopyDataWindow.create(unique_name, messages=[unique_name]) as window:
        winipc.broadcast_message(unique_name, 3, -4)
        message = window.receive(10)
        assert (message.wparam, message.lparam) == (3, -4)
    with pytest.raises(ValueError, match="registered"):
        winipc.broadcast_message(0x8001)
    assert HWND_BROADCAST == 0xFFFF


def test_data_above_the_limit_of_a_receiver_is_not_sent(unique_name: str) -> None:
    """The error says how much it takes."""
    with winipc.CopyDataWindow.create(unique_name, max_message=3 << 20) as window:
        with pytest.raises(ConnectionRefusedError, match="at most 3145728 bytes"):
            winipc.send_copydata(window, bytes(3 * 2**20 + 1))
        assert winipc.send_copydata(window, bytes(3 * 2**20)) == 1
        assert len(window.receive(10)) == 3 << 20


# ------------------------------------------------------------ request and reply


@pytest.mark.smoke
def test_call_returns_what_the_peer_answers(unique_name: str) -> None:
    """The answer may come before the request has returned, or later."""
    with winipc.CopyDataWindow.create(unique_name, queue=True) as server:

        @server.on(1)
        def at_once(message: winipc.Message) -> None:
            server.answer(message, bytes(message)[::-1])

        assert winipc.call(server, b"abc", id=1) == b"cba"

        def later() -> None:
            for message in server:
                server.answer(message, bytes(message).upper())

        thread = threading.Thread(target=later)
        thread.start()
        assert winipc.call(server, b"abc", id=2) == b"ABC"
        assert winipc.call(server, b"def", id=3, timeout=None) == b"DEF"
        server.close()
        thread.join(30)


def test_call_gives_its_window_to_the_request(unique_name: str) -> None:
    """For peers that want it in the data; and other ids are no answer."""
    with winipc.CopyDataWindow.create(unique_name, queue=True) as server:

        @server.on(1)
        def answer(message: winipc.Message) -> None:
            hwnd = int.from_bytes(message, "little")
            for id in (5, 6, 7):
                winipc.send_copydata(hwnd, bytes([id]), id=id, sender=server)

        def request(hwnd: int) -> bytes:
            return hwnd.to_bytes(8, "little")

        assert winipc.call(server, request, id=1, reply_id=6) == b"\6"
        with pytest.raises(TimeoutError, match="sent no answer") as caught:
            winipc.call(unique_name, request, id=1, reply_id=9, timeout=0.2)
        assert (caught.value.filename, caught.value.winerror) == (unique_name, 1460)


def test_call_names_the_target_that_cannot_take_the_request(unique_name: str) -> None:
    """Here one that takes shorter messages only."""
    with (
        winipc.CopyDataWindow.create(unique_name, max_message=2),
        pytest.raises(OSError, match="max_message") as caught,
    ):
        winipc.call(unique_name, b"abc")
    assert caught.value.filename == unique_name


@pytest.mark.parametrize("end", ["close", "kill"])
def test_call_ends_with_the_one_that_should_answer(
    unique_name: str, start_peer: Start, end: str
) -> None:
    """It took the request; then its window is closed, or its process dies."""
    peer = start_peer("window_receiver.py", unique_name)
    assert peer.read_line().startswith("ready")

    def after_the_request() -> None:
        assert peer.read_line().startswith("0 3 ")
        peer.kill() if end == "kill" else peer.say("close")

    thread = threading.Thread(target=after_the_request)
    thread.start()
    with pytest.raises(
        ConnectionResetError, match="ended before it answered"
    ) as caught:
        winipc.call(unique_name, b"abc", timeout=DEADLINE)
    thread.join()
    assert (caught.value.filename, caught.value.winerror) == (unique_name, 1400)


def test_call_takes_answers_of_the_target_only(
    unique_name: str, start_peer: Start
) -> None:
    """Not of another process, and not of a sender that does not show itself."""
    peer = start_peer("window_sender.py")
    assert peer.read_line().startswith("ready")
    with winipc.CopyDataWindow.create(unique_name, queue=True) as server:

        @server.on(1)
        def answer(message: winipc.Message) -> None:
            peer.say(f"{message.sender} 1 {b'false'.hex()}")
            peer.expect("0")
            winipc.send_copydata(message.sender, b"nobody", check=False)
            server.answer(message, b"true")

        assert winipc.call(server, b"", id=1, timeout=30) == b"true"

        @server.on(2)
        def anonymous(message: winipc.Message) -> None:
            winipc.send_copydata(message.sender, b"nobody")

        assert winipc.call(server, b"", id=2, verify=False) == b"nobody"


def test_call_to_nobody_and_to_one_that_refuses(unique_name: str) -> None:
    """The errors of a send."""
    with pytest.raises(FileNotFoundError):
        winipc.call(unique_name, b"")
    with winipc.CopyDataWindow.create(unique_name, handler=lambda m: 0) as server:
        with pytest.raises(ConnectionRefusedError):
            winipc.call(server, b"")
        hwnd = server.hwnd
    with pytest.raises(FileNotFoundError):
        winipc.call(hwnd, b"")


def test_answer_needs_a_window_to_answer_to(unique_name: str) -> None:
    """A sender that named none gets none."""
    with winipc.CopyDataWindow.create(unique_name) as server:
        winipc.send_copydata(server, b"x")
        with pytest.raises(ValueError, match="no window"):
            server.answer(server.receive(10), b"y")


def owner_of_new_objects() -> str:
    """The SID that is the default owner of this process's token."""
    advapi32 = ctypes.WinDLL("advapi32")
    kernel32 = ctypes.WinDLL("kernel32")
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    token, size = ctypes.c_void_p(), ctypes.c_ulong()
    owner = (ctypes.c_void_p * 32)()
    text = ctypes.c_wchar_p()
    assert advapi32.OpenProcessToken(
        ctypes.c_void_p(kernel32.GetCurrentProcess()), 8, ctypes.byref(token)
    )
    assert advapi32.GetTokenInformation(
        token, 4, owner, ctypes.sizeof(owner), ctypes.byref(size)
    )
    assert advapi32.ConvertSidToStringSidW(
        ctypes.c_void_p(owner[0]), ctypes.byref(text)
    )
    kernel32.CloseHandle(token)
    assert text.value
    return text.value


@pytest.mark.parametrize("sid", ["user", "default owner", "other"])
def test_a_mapping_is_ours_if_this_process_could_own_it(
    unique_name: str, sid: str
) -> None:
    """An elevated client that gives no owner makes the administrators the owner."""
    security = {
        "user": "owner",
        "default owner": f"O:{owner_of_new_objects()}D:(A;;GA;;;WD)",
        "other": "O:LSD:(A;;GA;;;WD)",
    }[sid]
    if sid == "other" and _core._wine_version() is None:
        pytest.skip("Windows lets no process give its objects to another user")
    with winipc.SharedMapping.create(unique_name, 64, security=security):
        assert mapping_is_ours(unique_name) == (sid != "other")


def test_nobody_owns_a_mapping_that_is_not_there(unique_name: str) -> None:
    """FileNotFoundError."""
    with pytest.raises(FileNotFoundError):
        mapping_is_ours(unique_name)


@pytest.mark.parametrize(
    "fails",
    [
        lambda title: winipc.call(title, b""),
        lambda title: winipc.Window.wait_for(title, timeout=0),
        lambda title: winipc.window_text(title),
        lambda title: winipc.set_window_text(title, ""),
        lambda title: winipc.window_items(title),
        lambda title: asyncio.run(winipc.send_copydata_async(title, b"")),
    ],
    ids=["call", "wait_for", "text", "set_text", "items", "async"],
)
def test_pytest_shows_the_line_of_the_test(
    fails: Callable[[str], object], unique_name: str
) -> None:
    """And no code of winipc."""
    with pytest.raises(OSError, match=unique_name) as caught:
        fails(unique_name)
    shown = [Path(entry.path) for entry in caught.traceback.filter(caught)]
    assert Path(__file__) in shown
    assert not [path for path in shown if path.is_relative_to(PACKAGE)]
