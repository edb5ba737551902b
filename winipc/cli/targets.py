"""Targets of `dump`, `watch`, `write` and `record`: a mapping, or process memory."""

from __future__ import annotations

import argparse
import contextlib
import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from winipc.base.closing import Closing
from winipc.base.text import counted
from winipc.base.winerror import ERROR_FILE_NOT_FOUND, ERROR_INVALID_HANDLE
from winipc.cli.options import converted, field_in, number, pid_or_name, seconds
from winipc.cli.output import note
from winipc.errors import AbandonedError
from winipc.memory.mapping import HEADER_MAGIC, SharedMapping, description_in
from winipc.process.access import ProcessAccess
from winipc.process.process import RemoteProcess
from winipc.system.catalog import named_objects

if TYPE_CHECKING:
    from winipc.memory.layout import Layout
    from winipc.memory.snapshot import Snapshot
    from winipc.process.freeze import Freeze

_DEFAULT_SIZE = 256
#: Seconds to wait for the lock of a LockedMapping.
LOCK_TIMEOUT = 5.0
_END_OF_ADDRESSES = 1 << 64
_REMOTE = re.compile(r"(?P<process>\d+|[^\\:]+\.exe):(?P<place>.+)", re.IGNORECASE)
#: More likely memory of a process than the name of a mapping.
_NEARLY_REMOTE = re.compile(r"\d+|0x.*|.*(\.exe|:).*", re.IGNORECASE)

#: Words of --snapshot for records of other programs, but for "counter": arguments of
#: Snapshot.foreign.
_PROTOCOL = ("sequence", "end", "busy", "mutex")
_OF_A_MAPPING = "--snapshot is for a mapping"

#: A number in front of the address in a label, perhaps meant as hexadecimal.
_DECIMAL = re.compile(r"pid \d+, ([1-9]\d*)(?![\w.])")


class _Reopened:
    """A mapping opened for each read: kept open, it would outlive its last owner."""

    def __init__(
        self,
        open_it: Callable[[], SharedMapping],
        read: Callable[[SharedMapping, int, int], bytes] = SharedMapping.read,
    ) -> None:
        self._open = open_it
        self._read = read

    def read(self, size: int, offset: int) -> bytes:
        try:
            with self._open() as mapping:
                return self._read(mapping, size, offset)
        except FileNotFoundError as error:
            if error.filename2 == "OpenFileMappingW":  # not its mutex
                error.add_note("its last owner has closed it")
            raise

    def close(self) -> None:
        pass


def remark_difference(target: Target, arguments: argparse.Namespace) -> None:
    """Note that the header of a mapping describes other fields than --struct."""
    if arguments.struct is None or arguments.offset:
        return
    if told := target.difference(arguments.struct.layout):
        note(told)


class Target(Closing):
    """Bytes of a mapping or of a process."""

    def __init__(
        self,
        owner: SharedMapping | _Reopened | RemoteProcess,
        name: str,
        address: int,
        size: int,
        place: str = "",
        described: str = "",
    ) -> None:
        self._owner = owner
        self._described = described
        #: The name of the mapping, or "pid" and the process id.
        self.name = name
        #: The name of the target in messages: for a process, with the given address.
        self.label = f"{name}, {place}" if place else name
        #: The address, or offset in the mapping, of the first byte.
        self.address = address
        self.size = size

    def read(self) -> bytes:
        """Read all bytes. Raises OSError if they are gone."""
        if isinstance(self._owner, RemoteProcess):
            with _hinted(self.label):
                return self._owner.read(self.address, self.size)
        return self._owner.read(self.size, self.address)

    def read_into(self, buffer: bytearray, /) -> int:
        """Read into a buffer of `size` bytes, if held; return the number of bytes."""
        assert not isinstance(self._owner, _Reopened)
        if isinstance(self._owner, SharedMapping):
            return self._owner.read_into(buffer, self.address)
        return self._owner.read_into(self.address, buffer)

    def write(self, data: bytes) -> None:
        """Replace the first bytes by `data`, if held."""
        assert not isinstance(self._owner, _Reopened)
        if isinstance(self._owner, SharedMapping):
            self._owner.write(data, self.address)
        else:
            with _hinted(self.label):
                self._owner.write(self.address, data)

    def difference(self, layout: Layout | None) -> str:
        """What the header of a mapping says against a layout of its start, or ""."""
        if layout is None or not self._described:
            return ""
        here, there = (
            set(text.split("\n")[1:]) for text in (layout.description, self._described)
        )
        if here <= there:
            return ""
        told = layout.first_difference(self._described)
        return f"{self.name!r} has another layout: {told}"

    @property
    def is_mapping(self) -> bool:
        return not isinstance(self._owner, RemoteProcess)

    def changing(self, timeout: float) -> contextlib.AbstractContextManager[object]:
        """Keep other programs out during the block, if a mapping has a lock."""
        if isinstance(self._owner, SharedMapping):
            return changing(self._owner, timeout)
        return contextlib.nullcontext()

    def freeze(self, data: bytes) -> Freeze:
        """Write the first bytes now and again and again, if they are a process's."""
        assert isinstance(self._owner, RemoteProcess)
        with _hinted(self.label):
            return self._owner.freeze(self.address, data)

    def close(self) -> None:
        self._owner.close()


@contextlib.contextmanager
def _hinted(label: str) -> Iterator[None]:
    """Add what the user may have meant by the address to an error of the block."""
    try:
        yield
    except OSError as error:
        if decimal := _DECIMAL.match(label):
            error.add_note(f"{decimal[1]} is decimal: 0x{decimal[1]}?")
        raise


def open_mapping(name: str, raw: bool = False, write: bool = False) -> SharedMapping:
    """Open a mapping; if it has a header and not `raw`, what follows the header.

    To `write`, a LockedMapping is opened as such.
    """
    access: Any = "readwrite" if write else "read"
    open_it = _open_to_write if write else SharedMapping.open
    try:
        mapping = open_it(name, access=access)
    except FileNotFoundError as error:
        if _NEARLY_REMOTE.fullmatch(name):
            told = "PID:ADDRESS, or name.exe:ADDRESS"
            if of := re.match(r"[^!+]+\.exe(?=[!+])", name, re.IGNORECASE):
                told = f"{of[0]}:{name}"
            error.add_note(f"memory of a process: {told}")
        raise
    if raw or mapping.read(len(HEADER_MAGIC)) != HEADER_MAGIC:
        return mapping
    mapping.close()
    return open_it(name, access=access, header=True)


def _open_to_write(name: str, **options: Any) -> SharedMapping:
    from winipc.memory.locked import LockedMapping  # who only reads needs no lock

    try:
        return LockedMapping.open(name, **options)
    except OSError as error:  # what has its names is missing, or of another kind
        if error.winerror not in (ERROR_FILE_NOT_FOUND, ERROR_INVALID_HANDLE):
            raise
    return SharedMapping.open(name, **options)


@contextlib.contextmanager
def changing(mapping: SharedMapping, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the lock of a LockedMapping during the block, then wake those who wait."""
    from winipc.memory.locked import LockedMapping

    if not isinstance(mapping, LockedMapping):
        yield
        return
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(mapping.lock.lock(timeout))
        except AbandonedError as error:
            error.add_note("nothing is written; the lock is free now: write again")
            raise
        except TimeoutError as error:
            error.add_note("nothing is written: another program holds it")
            raise
        yield
    mapping.notify_change()


def _in_mapping(
    name: str, offset: int, size: int | None, raw: bool, write: bool, hold: bool
) -> Target:
    mapping = open_mapping(name, raw, write)
    whole, described = mapping.size, description_in(mapping)
    if offset >= whole or (size is not None and size > whole - offset):
        mapping.close()
        what = f"{counted(size, 'byte')} at offset" if size else "offset"
        verb = "is" if size in (None, 1) else "are"
        has = counted(whole, "byte")
        raise ValueError(f"{name!r} has {has}: {what} {offset} {verb} not inside")
    size = whole - offset if size is None else size
    if hold:
        return Target(mapping, name, offset, size, described=described)
    mapping.close()
    owner = _Reopened(lambda: open_mapping(name, raw))
    return Target(owner, name, offset, size, described=described)


@contextlib.contextmanager
def snapshot_over(
    mapping: SharedMapping, record: Layout | int, offset: int, how: dict[str, Any]
) -> Iterator[Snapshot]:
    """The Snapshot of records with a layout, or a size, as `protocol` understood."""
    from winipc.memory.snapshot import Snapshot  # most targets have none

    with (
        Snapshot.over(mapping, record, offset=offset, **how)
        if "kind" in how
        else Snapshot.foreign(mapping, record, data=offset, **how)
    ) as snapshot:
        try:
            yield snapshot
        except OSError as error:
            if error.filename is mapping:  # which is closed when it is shown
                error.filename = mapping.name
            raise


@contextlib.contextmanager
def record_to_write(arguments: argparse.Namespace) -> Iterator[Snapshot]:
    """The Snapshot of --struct and --snapshot; see `changing`."""
    if _REMOTE.fullmatch(arguments.target):
        arguments.parser.error(_OF_A_MAPPING)
    layout, how = arguments.struct.layout, arguments.snapshot
    with (
        open_mapping(arguments.target, arguments.raw, write=True) as mapping,
        changing(mapping, arguments.timeout),
        snapshot_over(mapping, layout, arguments.offset, how) as snapshot,
    ):
        yield snapshot


def check_fields(
    parser: argparse.ArgumentParser, layout: Layout | None, how: dict[str, Any]
) -> None:
    """End with an error if a protocol needs a field that the layout has not."""
    for place in (how.get(word) for word in ("sequence", "end", "busy")):
        if isinstance(place, str):
            if layout is None:
                parser.error("a FIELD of --snapshot is one of --struct NAME:TYPE")
            field_in(parser, layout, place)


def _in_snapshot(
    arguments: argparse.Namespace, size: int, how: dict[str, Any]
) -> Target:
    from winipc.memory.snapshot import HEADER

    name, offset, raw = arguments.target, arguments.offset, arguments.raw
    layout = getattr(arguments.struct, "layout", None)
    check_fields(arguments.parser, layout, how)
    size = size if layout is None else layout.size
    start = offset + HEADER if "kind" in how else offset

    def read(mapping: SharedMapping, size: int, at: int) -> bytes:
        with snapshot_over(mapping, layout or size, offset, how) as snapshot:
            return bytes(snapshot.read())

    open_mapping(name, raw).close()  # so that the error is that of a name
    reopened = _Reopened(lambda: open_mapping(name, raw), read)
    return Target(reopened, name, start, size)


def _in_process(
    program: str, place: str, offset: int, size: int, write: bool
) -> Target:
    access = ProcessAccess.WRITE if write else ProcessAccess.READ
    process = RemoteProcess.open(pid_or_name(program), access=access)
    try:
        address = process.address(place) + offset
        if address + size > _END_OF_ADDRESSES:
            what = counted(size, "byte")
            raise ValueError(f"no address space has {what} at {address:#x}")
        target = Target(process, f"pid {process.pid}", address, size, place)
        if not write:
            target.read()
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


def add_raw(
    parser: argparse.ArgumentParser,
    what: str = "include winipc's header, if the mapping has one",
) -> None:
    """Add the option to begin at a header, and not behind it."""
    parser.add_argument("--raw", action="store_true", help=what)


def add_snapshot(parser: argparse.ArgumentParser) -> None:
    """Add the option for whole records."""
    parser.add_argument(
        "--snapshot",
        metavar="KIND",
        type=converted(protocol),
        help="whole copies of a record: seqlock or double is the kind of a "
        "winipc.Snapshot, whose sequence is at --offset. For other programs: "
        "sequence=FIELD, odd during a write; sequence=FIELD,end=FIELD, counted up "
        "before and after it; counter=FIELD, which only changes; busy=FIELD, not 0 "
        "during a write; or mutex=NAME. FIELD is one of --struct, or an offset in the "
        "mapping",
    )


def add_interval(parser: argparse.ArgumentParser) -> None:
    """Add the option for the pause between two looks."""
    parser.add_argument(
        "--interval",
        type=seconds,
        default=0.05,
        help="seconds between two looks (%(default)s)",
    )


def add_wait(parser: argparse.ArgumentParser) -> None:
    """Add the option to wait for what `open_target` would not find."""
    parser.add_argument(
        "--wait",
        action="store_true",
        help="first wait until there is such a mapping or process",
    )


def protocol(text: str) -> dict[str, Any]:
    """What --snapshot means, as arguments of a Snapshot."""
    if text in ("seqlock", "double"):
        return {"kind": text}
    how: dict[str, Any] = {}
    for part in text.split(","):
        word, _, place = part.partition("=")
        if word == "counter":
            word, how["odd"] = "sequence", False
        if word not in _PROTOCOL or not place:
            raise ValueError(
                f"{text!r} is not seqlock, double or such as sequence=FIELD"
            )
        is_number = place[0].isdigit() and word != "mutex"
        how[word] = number(place) if is_number else place
    return how


def _target(text: str) -> str:
    """Check the process id in the text, for `type=`, and return the text."""
    remote = _REMOTE.fullmatch(text)
    if remote is not None:
        pid_or_name(remote["process"])
    return text


def open_target(
    arguments: argparse.Namespace, *, write: bool = False, hold: bool = False
) -> Target:
    """Open what the arguments of `add_target` and `add_size` mean.

    A mapping stays open until the target is closed if it is to `write` or to `hold`.
    With --wait, raises TimeoutError if it is missing for `--timeout` seconds.
    """
    try:
        return _open_target(arguments, write, hold)
    except (FileNotFoundError, ProcessLookupError):
        if not getattr(arguments, "wait", False):
            raise
    from winipc.base.appearing import wait_until_made

    name, timeout = arguments.target, getattr(arguments, "timeout", None)
    note(f"waiting for {name!r}")
    return wait_until_made(lambda: _open_target(arguments, write, hold), name, timeout)


def _open_target(arguments: argparse.Namespace, write: bool, hold: bool) -> Target:
    size = arguments.size
    if size == 0:
        arguments.parser.error("--size must be 1 or more")
    how = getattr(arguments, "snapshot", None)
    if how is not None and size is None:
        arguments.parser.error("--snapshot needs --struct, or the --size of a record")
    # A mapping that is called 12:34 can be given as Local\\12:34.
    remote = _REMOTE.fullmatch(arguments.target)
    if how is not None:
        if remote is not None:
            arguments.parser.error(_OF_A_MAPPING)
        return _in_snapshot(arguments, size, how)
    if remote is None:
        raw, hold = arguments.raw, hold or write
        return _in_mapping(arguments.target, arguments.offset, size, raw, write, hold)
    if size is None:
        size = _DEFAULT_SIZE
    program, place = remote["process"], remote["place"]
    return _in_process(program, place, arguments.offset, size, write)


def compared(arguments: argparse.Namespace) -> Callable[[bytes], object]:
    """What two looks are compared by: all bytes, or the values of each --field."""
    overlay = arguments.struct
    return overlay.rows if overlay is not None and overlay.only else bytes


def changes(
    target: Target,
    old: bytes,
    arguments: argparse.Namespace,
    timeout: float | None = None,
) -> Iterator[bytes]:
    """Yield all bytes after each change; the first look is compared with `old`.

    With --field, only changes of these fields count. It ends after `--seconds`. Raises
    TimeoutError if nothing changes for `timeout` seconds.
    """
    from winipc.base.deadline import Deadline

    part = compared(arguments)
    last, deadline = time.monotonic(), Deadline(arguments.seconds)
    while deadline.left() != 0:
        time.sleep(deadline.part(arguments.interval))
        new = target.read()
        now = time.monotonic()
        if part(new) != part(old):
            last, old = now, new
            yield new
        elif timeout is not None and now - last >= timeout:
            raise TimeoutError(f"nothing changed within {timeout:g} s")
