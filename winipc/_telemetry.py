"""Reading what well-known programs share, by their makers' headers.

Games, sensor tools and trackers put records into named mappings, each with a protocol
of its own. For some thirty programs, the catalogue knows the names, the sizes, the
protocol and where the structures are documented. The structures themselves come from
the header that the program's maker publishes::

    with winipc.telemetry("acc", "SharedFileOut.h", part="physics") as physics:
        while physics.wait_changed(1.0):
            car = physics.read()
            print(car.speedKmh, car.gear)

`known_programs()` lists the facts, their sources, and which of them were checked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from winipc.base.closing import Closing
from winipc.memory.layout import Bits, Layout
from winipc.memory.mapping import SharedMapping
from winipc.memory.snapshot import NewestOf, Snapshot
from winipc.sync.event import Event

__all__ = [
    "KnownMapping",
    "KnownProgram",
    "Telemetry",
    "known_programs",
    "telemetry",
]


@dataclass(frozen=True, slots=True)
class KnownMapping:
    """A mapping that a program creates."""

    #: The `part` for `telemetry`, such as "physics".
    part: str
    #: The name, which may have a `{pid}` to fill in.
    name: str
    #: What the mapping has, in a few words.
    content: str
    #: Arguments of `Snapshot.foreign`; a field has its name, and its offset in the
    #: header that was examined. None if the mapping is not a single record.
    protocol: Mapping[str, Any] | None
    #: A size in bytes with room for the record, also of later versions.
    size: int | None = None
    #: The size of the structure in the header that was examined.
    bytes: int | None = None
    #: The name of the structure in the program's header.
    struct: str | None = None
    #: An event that is set, or pulsed, after each record.
    event: str | None = None


@dataclass(frozen=True, slots=True)
class KnownProgram:
    """A program that shares records or answers messages."""

    #: The `program` for `telemetry`, such as "acc".
    key: str
    #: The full name of the program.
    program: str
    #: "game", "tracking", "sensors", "overlay", "player" or "tool".
    group: str
    #: Where the program's structures or messages are documented.
    header: str
    #: The source of the facts here.
    source: str
    #: The codec of the program's text, where "utf-16" is wchar_t; None without text.
    encoding: str | None = None
    #: The mappings that it creates; () if it only answers messages.
    mappings: tuple[KnownMapping, ...] = ()
    #: For a program that answers messages: the class of its window, and the messages.
    messages: Mapping[str, str] | None = None
    #: What else a reader must know; None if there is nothing.
    note: str | None = None


def known_programs() -> list[KnownProgram]:
    """The catalogue, from `winipc/data/games.json`."""
    import json
    from importlib import resources

    text = resources.files("winipc").joinpath("data", "games.json").read_text("utf-8")
    programs = []
    for row in json.loads(text):
        mappings = tuple(KnownMapping(**each) for each in row.pop("mappings", ()))
        programs.append(KnownProgram(mappings=mappings, **row))
    return programs


class Telemetry(Closing):
    """Records of a running program; `telemetry` makes it.

    `close`, or the end of a `with`, releases the memory.
    """

    __slots__ = ("__weakref__", "_beside", "layout", "mapping", "program", "snapshot")

    #: The program whose records are read.
    program: KnownProgram
    #: The program's mapping, open for reading.
    mapping: SharedMapping
    #: Reads whole records from the mapping.
    snapshot: Snapshot
    #: The layout of the records; None if they are bytes.
    layout: Layout | None
    _beside: SharedMapping | None

    def read(self, timeout: float | None = 1.0) -> Any:
        """Read one whole record; see `Snapshot.read`."""
        return self.snapshot.read(timeout)

    def wait_changed(self, timeout: float | None = None) -> bool:
        """Wait for the next record; see `Snapshot.wait_changed`."""
        return self.snapshot.wait_changed(timeout)

    async def changed(self, timeout: float | None = None) -> bool:
        """Await the next record; see `Snapshot.changed`."""
        return await self.snapshot.changed(timeout)

    def close(self) -> None:
        """Close what was opened; twice is harmless.

        Raises:
            BufferError: Another thread is in a call, or an array of the mapping is
                alive.
        """
        self.snapshot.close()
        self.mapping.close()
        if self._beside is not None:
            self._beside.close()

    def __repr__(self) -> str:
        return f"<Telemetry {self.program.key} {self.snapshot!r}>"


def telemetry(
    program: str,
    header: str | os.PathLike[str] | None = None,
    *,
    part: str | None = None,
    struct: str | None = None,
    bits: Bits = 64,
    defines: Mapping[str, object] | None = None,
    include: Iterable[str | os.PathLike[str]] | os.PathLike[str] = (),
    layout: Layout | None = None,
    pid: int | None = None,
) -> Telemetry:
    """Open what a well-known program shares, to read whole records.

    ::

        layout = winipc.Layout.of("physics", "packetId:i32 gas:f32 brake:f32")
        with winipc.telemetry("acc", layout=layout, part="physics") as physics:
            print(physics.read().gas)  # 0.5

    Args:
        program: The program's key in `known_programs()`, such as "acc" or "hwinfo".
        header: The program's header, a path or text, for `Layout.from_c`. Without it, a
            record is bytes: all that the mapping has.
        part: One of several mappings, such as "physics"; None for the first.
        struct: The name of the structure, if it is not the one in the catalogue.
        bits: 64 or 32, for a program of that kind.
        defines: Macros for `Layout.from_c`.
        include: Folders with headers for `Layout.from_c`.
        layout: A layout instead of the header.
        pid: The id of the process, if the mapping's name contains it.

    Raises:
        TypeError: Both a header and a layout are given.
        LookupError: There is no such program or part, the program has no mapping, or
            the header lacks the structure or a field that the protocol needs.
        FileNotFoundError: The program does not run, or does not share now.
        ValueError: The mapping is smaller than the structure.

    Win32: OpenFileMappingW, MapViewOfFile, OpenMutexW, OpenEventW
    """
    if header is not None and layout is not None:
        raise TypeError("a header or a layout, not both")
    known = _find(program)
    row = _part_of(known, part)
    if row.protocol is None:
        raise LookupError(f"{program}/{row.part} is no single record: {known.note}")
    struct = struct or row.struct
    if header is not None:
        if struct is None:
            which = f"{program}/{row.part} is {row.content}"
            raise LookupError(f"which structure of the header is it? {which}")
        layout = Layout.from_c(
            header,
            struct,
            bits=bits,
            defines=defines,
            include=include,
            encoding=None if known.encoding == "utf-16" else known.encoding,
        )
    if "{pid}" in row.name and pid is None:
        raise LookupError(f"the name {row.name!r} needs a pid")
    told = dict(row.protocol)
    for which in ("sequence", "end", "busy"):
        if isinstance(told.get(which), Mapping):
            told[which] = _place(known, row, told[which], layout)
    if "newest" in told:
        told["newest"] = NewestOf(**told["newest"])
    beside, length = told.pop("beside", None), told.pop("length", None)
    self = Telemetry()
    self.program = known
    with contextlib.ExitStack() as opened:
        self.mapping = _open(row.name.format(pid=pid), opened)
        self._beside = beside and _open(beside, opened)
        size: Any = layout or len(self.mapping) - told.get("data", 0)
        if length is not None and layout is None:
            size = self.mapping.get(length, "u32")
        self.snapshot = Snapshot.foreign(
            self.mapping,
            size,
            beside=self._beside,
            event=row.event if row.event and _exists(row.event) else None,
            **told,
        )
        self.layout = self.snapshot.layout
        opened.pop_all()
    return self


def _open(name: str, opened: contextlib.ExitStack) -> SharedMapping:
    mapping = SharedMapping.open(name, access="read")
    opened.callback(mapping.close)
    return mapping


def _exists(event: str) -> bool:
    """Whether the event exists; without it, the `Snapshot` polls."""
    try:
        Event.open(event).close()
    except FileNotFoundError:
        return False
    return True


def _find(key: str) -> KnownProgram:
    programs = {program.key: program for program in known_programs()}
    if key not in programs:
        raise LookupError(f"no program {key!r}; there are {', '.join(programs)}")
    return programs[key]


def _part_of(program: KnownProgram, part: str | None) -> KnownMapping:
    if not program.mappings:
        how = program.note or f"it is asked by messages: {program.messages}"
        raise LookupError(f"{program.program} has no mapping; {how}")
    rows = {row.part: row for row in program.mappings}
    if part is None:
        return program.mappings[0]
    if part not in rows:
        raise LookupError(f"{program.key} has no part {part!r} but {', '.join(rows)}")
    return rows[part]


def _place(
    program: KnownProgram,
    row: KnownMapping,
    told: Mapping[str, Any],
    layout: Layout | None,
) -> int | str:
    """The field's name in the user's layout, or its offset in the examined header."""
    if layout is not None:
        return str(told["field"])
    if "offset" not in told:
        raise LookupError(
            f"{program.key}/{row.part} needs its header, to find {told['field']}"
        )
    return int(told["offset"])
