"""Remote control of a media player by WM_COPYDATA, and a small player in its place.

Media Player Classic (MPC-HC, MPC-BE), started with `/slave HWND`, tells that window
what it does, and takes orders from it. Each message is text in UTF-16 that ends with a
NUL. A | separates values; a | in a value is written as \\|.

    python media_remote.py PLAYER.EXE FILE   play a file for five seconds
    python media_remote.py /slave HWND       be a player without picture and sound
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import time
from enum import IntEnum
from types import TracebackType

import winipc
from winipc import decoders


class Told(IntEnum):
    """Messages from the player."""

    CONNECT = 0x50000000  # its window
    STATE = 0x50000001  # 0 nothing open, 1 loading, 2 loaded, 3 closing
    PLAYMODE = 0x50000002  # 0 plays, 1 paused, 2 stopped
    NOWPLAYING = 0x50000003  # title|author|description|file|seconds
    POSITION = 0x50000007  # seconds
    SEEK = 0x50000008  # seconds
    DISCONNECT = 0x5000000B


class Order(IntEnum):
    """Orders to the player."""

    OPENFILE = 0xA0000000
    STOP = 0xA0000001
    PLAY = 0xA0000004
    PAUSE = 0xA0000005
    SETPOSITION = 0xA0002000
    GETPOSITION = 0xA0003004
    CLOSEAPP = 0xA0004006


MODES = ("plays", "paused", "stopped")


def encode(*values: str) -> bytes:
    """Encode values as the data of a message."""
    text = "|".join(value.replace("|", r"\|") for value in values)
    return text.encode("utf-16-le") + b"\0\0"


def decode(message: winipc.Message) -> list[str]:
    """Decode the values in a message. Raises ValueError if it is not UTF-16."""
    values = re.split(r"(?<!\\)\|", decoders.utf16(message))
    return [value.replace(r"\|", "|") for value in values]


class Remote:
    """Starts and controls a player. One thread at a time may use it."""

    def __init__(self, command: list[str], timeout: float = 30.0) -> None:
        self.timeout = timeout
        self.mode = "stopped"
        self.file = ""
        self.window = winipc.CopyDataWindow.create("media remote")
        with contextlib.ExitStack() as undo:
            undo.callback(self.window.close)
            slave = ["/slave", str(self.window.hwnd)]
            self.process = subprocess.Popen([*command, *slave])
            undo.callback(self._kill)
            self.player = winipc.Window(int(self.wait_for(Told.CONNECT)[0]))
            undo.pop_all()

    def order(self, order: Order, *values: str) -> None:
        """Tell the player what to do."""
        winipc.send_copydata(
            self.player,
            encode(*values),
            id=order,
            sender=self.window,
            timeout=self.timeout,
            check=False,  # a player's answer has no meaning
        )

    def wait_for(self, told: Told, value: str | None = None) -> list[str]:
        """Take messages until this one comes, and return its values."""
        deadline = time.monotonic() + self.timeout
        while True:
            message = self.window.receive(max(0.0, deadline - time.monotonic()))
            values = decode(message)
            if message.id == Told.PLAYMODE and values[0] in ("0", "1", "2"):
                self.mode = MODES[int(values[0])]
            elif message.id == Told.NOWPLAYING and len(values) == 5:
                self.file = values[3]
            if message.id == told and value in (None, values[0]):
                return values

    def open(self, file: str) -> float:
        """Open a file, and return its length in seconds."""
        self.order(Order.OPENFILE, file)
        return float(self.wait_for(Told.NOWPLAYING)[-1])

    def play(self) -> None:
        self.order(Order.PLAY)
        self.wait_for(Told.PLAYMODE, "0")

    def pause(self) -> None:
        self.order(Order.PAUSE)
        self.wait_for(Told.PLAYMODE, "1")

    def seek(self, seconds: float) -> None:
        self.order(Order.SETPOSITION, str(seconds))
        self.wait_for(Told.SEEK)

    @property
    def position(self) -> float:
        """The position in the file, in seconds."""
        self.order(Order.GETPOSITION)
        return float(self.wait_for(Told.POSITION)[0])

    def close(self) -> None:
        """End the player."""
        try:
            if self.process.poll() is None:
                self.order(Order.CLOSEAPP)
                self.process.wait(self.timeout)
        except (OSError, subprocess.TimeoutExpired):
            self._kill()
        finally:
            self.window.close()

    def _kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Remote:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def be_player(host: int, length: float = 100.0) -> None:
    """Play silence for the window `host` until it sends CLOSEAPP."""
    position = 0.0
    started: float | None = None  # when the player began to play from `position`

    def now() -> float:
        running = 0.0 if started is None else time.monotonic() - started
        return min(position + running, length)

    with winipc.CopyDataWindow.create("a player of silence") as window:

        def tell(told: Told, *values: str) -> None:
            data = encode(*values)
            winipc.send_copydata(host, data, id=told, sender=window, check=False)

        tell(Told.CONNECT, str(window.hwnd))
        for message in window:
            values = decode(message)
            if message.id == Order.OPENFILE:
                position, started = 0.0, None
                tell(Told.STATE, "2")
                name = re.split(r"[\\/]", values[0])[-1]
                tell(Told.NOWPLAYING, name, "", "", values[0], str(length))
            elif message.id == Order.PLAY:
                position, started = now(), time.monotonic()
                tell(Told.PLAYMODE, "0")
            elif message.id in (Order.PAUSE, Order.STOP):
                stop = message.id == Order.STOP
                position, started = 0.0 if stop else now(), None
                tell(Told.PLAYMODE, "2" if stop else "1")
            elif message.id == Order.SETPOSITION:
                position = min(max(float(values[0]), 0.0), length)
                started = None if started is None else time.monotonic()
                tell(Told.SEEK, str(now()))
            elif message.id == Order.GETPOSITION:
                tell(Told.POSITION, str(now()))
            elif message.id == Order.CLOSEAPP:
                tell(Told.DISCONNECT)
                return


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    if sys.argv[1] == "/slave":
        be_player(int(sys.argv[2]))
        return
    with Remote([sys.argv[1]]) as remote:
        print(f"{remote.open(sys.argv[2]):.0f} s")
        remote.play()
        for _ in range(5):
            time.sleep(1)
            print(f"{remote.mode} at {remote.position:.1f} s")


if __name__ == "__main__":
    main()
