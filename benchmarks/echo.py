"""The other Python process: functions that send back what comes, until they end."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection
from typing import Any


def pipe(connection: Connection) -> None:
    try:
        while message := connection.recv_bytes():
            connection.send_bytes(message)
    except EOFError:
        pass


def pipe_sink(connection: Connection) -> None:
    """Answer each empty message, so that the sender knows that all has come."""
    try:
        while True:
            if not connection.recv_bytes():
                connection.send_bytes(b"")
    except EOFError:
        pass


def queue(incoming: Any, outgoing: Any) -> None:
    while (message := incoming.get()) is not None:
        outgoing.put(message)


def zmq(port: int, sink: bool) -> None:
    import zmq as library

    with library.Context() as context, context.socket(library.PAIR) as socket:
        socket.linger = 0
        socket.connect(f"tcp://127.0.0.1:{port}")
        while True:
            message = socket.recv()
            if message == b"end":
                return
            if not sink or not message:
                socket.send(message)


def tcp(port: int) -> None:
    import socket

    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while message := connection.recv(65536):
            connection.sendall(message)


def channel(incoming: str, outgoing: str) -> None:
    from winipc import Channel, EndOfStream

    with Channel.open(incoming) as source, Channel.open(outgoing) as target:
        receive, send = source.recv, target.send
        try:
            while True:
                send(receive())
        except (EndOfStream, BrokenPipeError):
            pass


def channel_into(incoming: str, outgoing: str, size: int) -> None:
    """`channel` with one buffer for all messages."""
    from winipc import Channel, EndOfStream

    buffer = memoryview(bytearray(size))
    with Channel.open(incoming) as source, Channel.open(outgoing) as target:
        receive, send = source.recv_into, target.send
        try:
            while True:
                send(buffer[: receive(buffer)])
        except (EndOfStream, BrokenPipeError):
            pass


def channel_sink(incoming: str, outgoing: str, size: int) -> None:
    from winipc import Channel, EndOfStream

    with Channel.open(incoming) as source, Channel.open(outgoing) as target:
        try:
            if size:
                buffer = bytearray(size)
                while True:
                    if not source.recv_into(buffer):
                        target.send(b"")
            while True:
                if not source.recv_many()[-1]:
                    target.send(b"")
        except (EndOfStream, BrokenPipeError):
            pass


def producer(orders: str, name: str) -> None:
    """One of many producers: send as many messages as each order says."""
    from winipc import Channel, EndOfStream

    with Channel.open(orders) as source, Channel.open(name) as target:
        send, data = target.send, b"m" * 64
        send(b"ready")
        try:
            while True:
                for _ in range(int(source.recv())):
                    send(data)
        except (EndOfStream, BrokenPipeError):
            pass


def receiver(title: str, mapping: str, size: int, ready: Any) -> None:
    """A winipc Receiver that drops its messages."""
    from winipc import Receiver

    with Receiver(
        title, mapping=mapping, mapping_size=size, max_message=size
    ) as target:
        ready.set()
        while target.receive().data != b"end":
            pass


def handler(title: str, mapping: str, size: int, ready: Any) -> None:
    """A winipc Receiver whose handler looks at the data without a copy."""
    from winipc import Delivery, Receiver

    ended = threading.Event()

    def look(delivery: Delivery) -> None:
        if delivery.data == b"end":
            ended.set()

    with Receiver(
        title, mapping=mapping, mapping_size=size, max_message=size, handler=look
    ):
        ready.set()
        ended.wait()


def window(connection: Connection) -> None:
    """A window by pywin32, until WM_CLOSE; its handle is sent at first."""
    import win32gui

    connection.send(make_window())
    win32gui.PumpMessages()


class Window:
    """A window by pywin32 on a thread of its own; it keeps a copy of the data."""

    def __init__(self) -> None:
        self.hwnd = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._ready.wait(10)

    def _run(self) -> None:
        import win32gui

        self.hwnd = make_window()
        self._ready.set()
        win32gui.PumpMessages()

    def close(self) -> None:
        import win32con
        import win32gui

        win32gui.PostMessage(self.hwnd, win32con.WM_CLOSE, 0, 0)
        self._thread.join(10)


def make_window() -> int:
    """Make a window of this thread by pywin32, with a window procedure in Python."""
    import ctypes

    import win32con
    import win32gui

    class CopyData(ctypes.Structure):
        _fields_ = (
            ("id", ctypes.c_void_p),
            ("size", ctypes.c_uint32),
            ("data", ctypes.c_void_p),
        )

    kept: list[bytes] = [b""]

    def procedure(hwnd: int, message: int, wparam: int, lparam: int) -> int:
        if message == win32con.WM_COPYDATA:
            data = CopyData.from_address(lparam)
            kept[0] = ctypes.string_at(data.data, data.size)
            return 1
        if message == win32con.WM_CLOSE:
            win32gui.DestroyWindow(hwnd)
            win32gui.PostQuitMessage(0)
            return 0
        return int(win32gui.DefWindowProc(hwnd, message, wparam, lparam))

    window = win32gui.WNDCLASS()
    window.lpfnWndProc = procedure
    window.lpszClassName = f"winipc.benchmark.{threading.get_ident()}"
    atom = win32gui.RegisterClass(window)
    return int(win32gui.CreateWindow(atom, "", 0, 0, 0, 0, 0, 0, 0, 0, None))
