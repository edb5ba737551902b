"""What `dump`, `watch` and `record` look at: a mapping, or memory of a process."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator

from winipc.base.closing import Closing
from winipc.cli.options import number, pid_or_name, seconds
from winipc.memory.mapping import SharedMapping
from winipc.process.process import RemoteProcess

__all__ = ["Target", "add_interval", "add_target", "changes", "open_target"]

_DEFAULT_SIZE = 256
_END_OF_ADDRESSES = 1 << 64
_REMOTE = re.compile(r"(?P<process>\d+|[^\\:]+\.exe):(?P<place>.+)", re.IGNORECASE)


class Target(Closing):
    """Some bytes that change."""

    #: What it is called.
    label: str
    #: The address, or offset in the mapping, of the first byte.
    address: int
    size: int

    def read(self) -> bytes:
        """All bytes, now. Raises OSError when they are gone."""
        raise NotImplementedError


class _Mapping(Target):
    def __init__(self, name: str, offset: int, size: int | None) -> None:
        self._mapping = SharedMapping.open(name, access="read")
        self.label = name
        self.address = offset
        whole = self._mapping.size
        if offset > whole or (size is not None and size > whole - offset):
            self._mapping.close()
            raise ValueError(f"{name!r} has {whole} bytes: the range is not inside")
        self.size = whole - offset if size is None else size

    def read(self) -> bytes:
        return self._mapping.read(self.size, self.address)

    def close(self) -> None:
        self._mapping.close()


class _Memory(Target):
    def __init__(self, process: str, place: str, offset: int, size: int) -> None:
        self._process = RemoteProcess.open(pid_or_name(process))
        try:
            self.address = self._process.address(place) + offset
            if self.address + size > _END_OF_ADDRESSES:
                raise ValueError(f"no address space has {size} bytes there")
            self.label = f"pid {self._process.pid}, {place}"
            self.size = size
            self.read()
        except BaseException:
            self._process.close()
            raise

    def read(self) -> bytes:
        return self._process.read(self.address, self.size)

    def close(self) -> None:
        self._process.close()


def add_target(parser: argparse.ArgumentParser) -> None:
    """What to look at."""
    parser.add_argument(
        "target",
        metavar="NAME|PID:ADDR",
        type=_target,
        help="name of a mapping; or process id (or name.exe), a colon, and an address "
        "such as 0x7ff6a0001000 or game.exe+0x10f4",
    )
    parser.add_argument(
        "--offset", type=number, default=0, help="bytes to leave out in front"
    )
    parser.add_argument(
        "--size",
        type=number,
        help=f"bytes (all of a mapping; {_DEFAULT_SIZE} of a process)",
    )


def add_interval(parser: argparse.ArgumentParser) -> None:
    """How often to look."""
    parser.add_argument(
        "--interval",
        type=seconds,
        default=0.05,
        help="seconds between two looks (%(default)s)",
    )


def _target(text: str) -> str:
    """The text itself, for `type=`; an error if its process id is too large."""
    remote = _REMOTE.fullmatch(text)
    if remote is not None:
        pid_or_name(remote["process"])
    return text


def open_target(arguments: argparse.Namespace) -> Target:
    """What the arguments of `add_target` mean."""
    if arguments.size == 0:
        raise ValueError("--size must be 1 or more")
    # A mapping with such a name can be given as Local\\12:34.
    remote = _REMOTE.fullmatch(arguments.target)
    if remote is None:
        return _Mapping(arguments.target, arguments.offset, arguments.size)
    size = _DEFAULT_SIZE if arguments.size is None else arguments.size
    return _Memory(remote["process"], remote["place"], arguments.offset, size)


def changes(
    target: Target, old: bytes, interval: float, timeout: float | None = None
) -> Iterator[bytes]:
    """All bytes after each change; the first look is compared with `old`.

    Raises TimeoutError when nothing changes for `timeout` seconds.
    """
    last = time.monotonic()
    while True:
        time.sleep(interval)
        new = target.read()
        now = time.monotonic()
        if new != old:
            last, old = now, new
            yield new
        elif timeout is not None and now - last >= timeout:
            raise TimeoutError(f"nothing changed within {timeout} s")
