"""What well-known programs share, and reading it with a header of the user's.

Games, sensor tools and trackers put records into named mappings, each by a protocol of
its own. The catalogue knows for some thirty of them the names, the sizes, the protocol
and where the structures are documented; the structures themselves come from the header
that the program's maker publishes::

    with winipc.telemetry("acc", "SharedFileOut.h", part="physics") as physics:
        while physics.wait_changed(1.0):
            car = physics.read()
            print(car.speedKmh, car.gear)

`known_programs()` has the facts, and says which of them were checked, and how.
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
    """A mapping that a program makes."""

    #: What `telemetry` calls it, such as "physics".
    part: str
    #: The name, which may have a `{pid}` to fill in.
    name: str
    content: str
    #: Of `Snapshot.foreign`, with the names of fields and where they were in the
    #: header that was looked at; None for what is no single record.
    protocol: Mapping[str, Any] | None
    #: How large a mapping has room for it, and for what later versions may add.
    size: int | None = None
    #: The bytes of the structure in the header that was looked at.
    bytes: int | None = None
    #: The structure, in the program's header.
    struct: str | None = None
    #: An event that is set, or pulsed, after each record.
    event: str | None = None


@dataclass(frozen=True, slots=True)
class KnownProgram:
    """A program that shares what it knows."""

    #: What `telemetry` calls it, such as "acc".
    key: str
    program: str
    #: "game", "tracking", "sensors", "overlay", "player" or "tool".
    group: str
    #: Where its structures or messages are documented.
    header: str
    #: Where the facts here come from.
    source: str
    #: Of its text: a codec, where "utf-16" is wchar_t; None without text.
    encoding: str | None = None
    mappings: tuple[KnownMapping, ...] = ()
    #: Of a program that is asked by messages: the class of the window, and which.
    messages: Mapping[str, str] | None = None
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
    """Records of a program that runs; made by `telemetry`.

    `close`, or the end of its `with` block, lets the memory go.
    """

    __slots__ = ("__weakref__", "_beside", "layout", "mapping", "program", "snapshot")

    program: KnownProgram
    mapping: SharedMapping
    snapshot: Snapshot
    #: Of the records; None where they are bytes.
    layout: Layout | None
    _beside: SharedMapping | None

    def read(self, timeout: float | None = 1.0) -> Any:
        """One whole record, as `Snapshot.read` gives it."""
        return self.snapshot.read(timeout)

    def wait_changed(self, timeout: float | None = None) -> bool:
        """Wait for the next record, as `Snapshot.wait_changed` does."""
        return self.snapshot.wait_changed(timeout)

    async def changed(self, timeout: float | None = None) -> bool:
        """`await` the next record, as `Snapshot.changed` does."""
        return await self.snapshot.changed(timeout)

    def close(self) -> None:
        """Close what was opened; twice is harmless.

        Raises BufferError while a call runs in another thread, or an array of the
        mapping is alive.
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
    """Open what a well-known program shares, to read its records whole.

    Args:
        program: Its key in `known_programs()`, such as "acc" or "hwinfo".
        header: The program's header, a path or text, for `Layout.from_c`; without one
            records are bytes, of all that the mapping has.
        part: Which of several mappings, such as "physics"; None for the first.
        struct: The name of the structure, if it is not the one in the catalogue.
        bits: 64 or 32, for a program of that kind; see `Layout.from_c`, also for
            `defines` and `include`.
        layout: A layout in place of the header.
        pid: The id of the process, if the name of the mapping contains it.

    Raises:
        TypeError: Both a header and a layout.
        LookupError: No such program or part, one without a mapping, or a header
            without the structure or the field that the protocol needs.
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
    """Some versions of a program have no event; then changes are looked for."""
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
    """A field of the user's header, or where it was in the one looked at."""
    if layout is not None:
        return str(told["field"])
    if "offset" not in told:
        raise LookupError(
            f"{program.key}/{row.part} needs its header, to find {told['field']}"
        )
    return int(told["offset"])
