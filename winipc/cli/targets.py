"""Targets of `dump`, `watch`, `write` and `record`: a mapping, or process memory."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from typing import Any

from winipc.base.closing import Closing
from winipc.cli.options import number, pid_or_name, seconds
from winipc.memory.mapping import HEADER_MAGIC, SharedMapping
from winipc.process.access import ProcessAccess
from winipc.process.process import RemoteProcess
from winipc.system.catalog import named_objects

_DEFAULT_SIZE = 256
_END_OF_ADDRESSES = 1 << 64
_REMOTE = re.compile(r"(?P<process>\d+|[^\\:]+\.exe):(?P<place>.+)", re.IGNORECASE)
#: More likely memory of a process than the name of a mapping.
_NEARLY_REMOTE = re.compile(r"\d+|0x.*|.*(\.exe|:).*", re.IGNORECASE)

#: A number in front of an address, perhaps meant as hexadecimal.
_DECIMAL = re.compile(r"[1-9]\d*(?![\w.])")


class Target(Closing):
    """Bytes of a mapping or of a process."""

    def __init__(
        self, owner: SharedMapping | RemoteProcess, label: str, address: int, size: int
    ) -> None:
        self._owner = owner
        #: The name of the target in messages.
        self.label = label
        #: The address, or offset in the mapping, of the first byte.
        self.address = address
        self.size = size

    def read(self) -> bytes:
        """Read all bytes. Raises OSError if they are gone."""
        if isinstance(self._owner, SharedMapping):
            return self._owner.read(self.size, self.address)
        return self._owner.read(self.address, self.size)

    def read_into(self, buffer: bytearray, /) -> int:
        """Read into a buffer of `size` bytes; return the number of bytes."""
        if isinstance(self._owner, SharedMapping):
            return self._owner.read_into(buffer, self.address)
        return self._owner.read_into(self.address, buffer)

    def write(self, data: bytes) -> None:
        """Replace the first bytes by `data`."""
        if isinstance(self._owner, SharedMapping):
            self._owner.write(data, self.address)
        else:
            self._owner.write(self.address, data)

    def close(self) -> None:
        self._owner.close()


def open_mapping(name: str, raw: bool = False, write: bool = False) -> SharedMapping:
    """Open a mapping; if it has a header and not `raw`, what follows the header."""
    access: Any = "readwrite" if write else "read"
    try:
        mapping = SharedMapping.open(name, access=access)
    except FileNotFoundError as error:
        if _NEARLY_REMOTE.fullmatch(name):
            error.add_note("memory of a process: PID:ADDRESS, or name.exe:ADDRESS")
        raise
    if raw or mapping.read(len(HEADER_MAGIC)) != HEADER_MAGIC:
        return mapping
    mapping.close()
    return SharedMapping.open(name, access=access, header=True)


def _in_mapping(
    name: str, offset: int, size: int | None, raw: bool, write: bool
) -> Target:
    mapping = open_mapping(name, raw, write)
    whole = mapping.size
    if offset > whole or (size is not None and size > whole - offset):
        mapping.close()
        raise ValueError(f"{name!r} has {whole} bytes: the range is not inside")
    return Target(mapping, name, offset, whole - offset if size is None else size)


def _in_process(
    program: str, place: str, offset: int, size: int, write: bool
) -> Target:
    access = ProcessAccess.WRITE if write else ProcessAccess.READ
    process = RemoteProcess.open(pid_or_name(program), access=access)
    try:
        address = process.address(place) + offset
        if address + size > _END_OF_ADDRESSES:
            raise ValueError(f"no address space has {size} bytes there")
        target = Target(process, f"pid {process.pid}, {place}", address, size)
        try:
            target.read()
        except OSError as error:
            if decimal := _DECIMAL.match(place):
                error.add_note(f"{decimal[0]} is decimal: 0x{decimal[0]}?")
            raise
    except BaseException:
        process.close()
        raise
    return target


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which bytes to read or to write."""
    target = parser.add_argument(
        "target",
        metavar="NAME|PID:ADDR",
        type=_target,
        help="name of a mapping; or process id (or name.exe), a colon, and an address "
        "such as 0x7ff6a0001000 or game.exe+0x10f4",
    )
    offer_mappings(target)
    parser.add_argument(
        "--offset", type=number, default=0, help="bytes to skip at the start"
    )


def offer_mappings(argument: argparse.Action) -> None:
    """Let a shell complete the argument by the names of mappings."""
    argument.completer = mapping_names  # type: ignore[attr-defined]


def mapping_names(prefix: str, **_: object) -> list[str]:
    """The names of mappings in this session that begin so."""
    names = [row.name.removeprefix("Local\\") for row in named_objects("mapping")]
    return [name for name in names if name.startswith(prefix)]


def add_size(parser: argparse.ArgumentParser) -> None:
    """Add the option for the number of bytes."""
    parser.add_argument(
        "--size",
        type=number,
        help=f"bytes (all of a mapping; {_DEFAULT_SIZE} of a process)",
    )


def add_raw(parser: argparse.ArgumentParser) -> None:
    """Add the option to include a header; `record` lacks it, and includes headers."""
    parser.add_argument(
        "--raw",
        action="store_true",
        help="include winipc's header, if the mapping has one",
    )


def add_interval(parser: argparse.ArgumentParser) -> None:
    """Add the option for the pause between two looks."""
    parser.add_argument(
        "--interval",
        type=seconds,
        default=0.05,
        help="seconds between two looks (%(default)s)",
    )


def _target(text: str) -> str:
    """Check the process id in the text, for `type=`, and return the text."""
    remote = _REMOTE.fullmatch(text)
    if remote is not None:
        pid_or_name(remote["process"])
    return text


def open_target(arguments: argparse.Namespace, *, write: bool = False) -> Target:
    """Open what the arguments of `add_target` and `add_size` mean."""
    size = arguments.size
    if size == 0:
        arguments.parser.error("--size must be 1 or more")
    # A mapping that is called 12:34 can be given as Local\\12:34.
    remote = _REMOTE.fullmatch(arguments.target)
    if remote is None:
        raw = getattr(arguments, "raw", True)
        return _in_mapping(arguments.target, arguments.offset, size, raw, write)
    if size is None:
        size = _DEFAULT_SIZE
    program, place = remote["process"], remote["place"]
    return _in_process(program, place, arguments.offset, size, write)


def changes(
    target: Target,
    old: bytes,
    arguments: argparse.Namespace,
    timeout: float | None = None,
) -> Iterator[bytes]:
    """Yield all bytes after each change; the first look is compared with `old`.

    It ends after `--seconds`. Raises TimeoutError if nothing changes for `timeout`
    seconds.
    """
    from winipc.base.deadline import Deadline

    last, deadline = time.monotonic(), Deadline(arguments.seconds)
    while deadline.left() != 0:
        time.sleep(deadline.part(arguments.interval))
        new = target.read()
        now = time.monotonic()
        if new != old:
            last, old = now, new
            yield new
        elif timeout is not None and now - last >= timeout:
            raise TimeoutError(f"nothing changed within {timeout:g} s")
