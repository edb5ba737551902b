"""`Cassette`: a recording, and the functions to record and to play."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from winipc.base.shown import Shown
from winipc.cassette.events import (
    CassetteError,
    CassetteEvent,
    ChangeEvent,
    behind_header,
    within,
)
from winipc.cassette.file import Reader
from winipc.memory.layout import codec_of, layout_of

if TYPE_CHECKING:
    from winipc.cassette.events import Track
    from winipc.cassette.messages import Match
    from winipc.cassette.player import Player
    from winipc.cassette.recorder import Filter, Memory, Recorder, Windows

__all__ = ["Cassette"]


class Cassette(Shown):
    """A recording of a program. Iterate over it for its events.

    ::

        cassette = winipc.Cassette("game.cassette")
        for _, record in cassette.records("lives:i32"):
            print(record.lives)  # 42

    It keeps no file open: each iteration reads the file again, an event at a time. Any
    thread may iterate. The file may be hostile: what no recorder would write raises
    CassetteError. From a file that was cut off, the whole events are read.

    Args:
        path: The file. Only its head is read at once.

    Raises:
        CassetteError: The file is no cassette; it is a ValueError.
        FileNotFoundError: There is no such file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        with Reader(self.path) as reader:
            #: The time when the recording began.
            self.made = reader.made
            self.tracks = reader.tracks
        self._end: tuple[int, bool] | None = None

    def __iter__(self) -> Iterator[CassetteEvent]:
        with Reader(self.path) as reader:
            if reader.tracks != self.tracks:
                raise CassetteError(f"{self.path!r} is another cassette now")
            yield from reader
            self._end = reader.time_ns, reader.complete

    def _read_to_end(self) -> tuple[int, bool]:
        if self._end is None:
            for _ in self:
                pass
        assert self._end is not None
        return self._end

    @property
    def duration_ns(self) -> int:
        """The length of the recording in nanoseconds. The first use reads the file."""
        return self._read_to_end()[0]

    @property
    def complete(self) -> bool:
        """Whether the recorder closed the file. The first use reads the file."""
        return self._read_to_end()[1]

    # --------------------------------------------------------- recording, playing

    @staticmethod
    def record(
        path: str | os.PathLike[str],
        *,
        mappings: Iterable[str | tuple[str, Memory]] = (),
        windows: Windows = (),
        clients: Windows = (),
        broadcasts: Iterable[int | str] = (),
        exchanges: Iterable[str | Track] = (),
        events: Iterable[str] = (),
        mutexes: Iterable[str] = (),
        semaphores: Iterable[str] = (),
        rate: float | None = 60.0,
        on: str | None = None,
        before_record: Filter | None = None,
        known: Cassette | None = None,
        timeout: float | None = 0.0,
    ) -> Recorder:
        """Record a live program until the recorder is closed, in a `with`.

        ::

            with winipc.Cassette.record("new.cassette", mappings=["my-app.state"]):
                ...  # use the program meanwhile

        Args:
            path: A new file.
            mappings: Names; or pairs of a name and an object with `size`,
                `read_into(buffer)` and `close()`, which stays the caller's.
            windows: Windows of the program: titles, pairs (title, class) of which one
                may be None, or `Track("window", title, messages=..., replies=...)`.
                Messages to them go through the recorder.
            clients: Windows that the program sends to without a request, as `windows`.
            broadcasts: Registered messages that the program sends to all windows.
            exchanges: Titles of `winipc.Receiver` windows, and of C programs like them;
                or `Track("exchange", title, mapping=...)` for another mapping.
            events, mutexes, semaphores: Names.
            rate: How often per second the recorder reads memory and states. It also
                reads when a manual-reset event is set.
            on: A manual-reset event: read memory only when it is set.
            before_record: A function that gets each event, and returns the event to
                keep, or None.
            known: A cassette that answers the messages that it has; all others go to
                the program. Both are recorded. Its messages that nobody sends are kept.
            timeout: Seconds to wait until all of these exist; None waits forever.

        Raises:
            FileExistsError: The file exists.
            FileNotFoundError: There is no object with a name.
            TimeoutError: An object did not appear in time.
            OSError: An object cannot be created.
            ValueError: An object is given twice.

        Win32: MapViewOfFile, NtQueryEvent, CreateWindowEx, SendMessageTimeout
        """
        from winipc.cassette.recorder import Recorder

        return Recorder(
            path,
            mappings=mappings,
            windows=windows,
            clients=clients,
            broadcasts=broadcasts,
            exchanges=exchanges,
            events=events,
            mutexes=mutexes,
            semaphores=semaphores,
            rate=rate,
            on=on,
            before_record=before_record,
            known=known,
            timeout=timeout,
        )

    @staticmethod
    def play(
        path: str | os.PathLike[str] | Cassette,
        *,
        speed: float | None = 1.0,
        match: Match = "strict",
        repeat: bool = False,
        loop: bool = False,
        names: Mapping[str, str] | None = None,
        bridge: bool = False,
    ) -> Player:
        """Stand in for the recorded program until the player is closed, in a `with`.

        ::

            with winipc.Cassette.play("game.cassette"):
                with winipc.SharedMapping.open("my-app.record") as double:
                    print(double.get(0, "i32"))  # 42

        The player creates the recorded mappings, events, mutexes, semaphores and
        windows, with their first contents. Each recorded answer serves one live message
        that matches. A message without a match is answered 0, and the end of the `with`
        raises AssertionError, which shows the difference.

        Args:
            path: The file, or a `Cassette`.
            speed: 2 for twice as fast, `math.inf` for no pauses; None for steps: only
                `Player.step` and `Player.seek` change anything.
            match: With "strict", a message matches if its id and data are equal (a
                message other than WM_COPYDATA: its parameters). With "lenient", the id
                (or the message) must be equal. Or a function of the recorded
                `MessageEvent` and the live one.
            repeat: Use a recorded answer any number of times.
            loop: Begin again after the end. Messages that were answered stay answered.
            names: Other names for objects, titles and classes.
            bridge: Under Wine, put a file in /dev/shm behind each mapping, for Linux
                programs; see `winipc.bridge`.

        Raises:
            CassetteError: The file is no cassette.
            ValueError: The cassette lacks a name in `names`.
            FileNotFoundError: There is no such file.
            FileExistsError: A name is taken.
            OSError: A bridge needs Wine (ENOTSUP).

        Win32: CreateFileMapping, CreateEventEx, CreateWindowEx, SendMessageTimeout
        """
        from winipc.cassette.player import Player

        return Player(
            path,
            speed=speed,
            match=match,
            repeat=repeat,
            loop=loop,
            names=names,
            bridge=bridge,
        )

    # ----------------------------------------------------------------- mappings

    def _mapping(self, track: int | str | None) -> int:
        """The number of a mapping's track; `track` is None if there is only one."""
        found = [
            i
            for i, one in enumerate(self.tracks)
            if one.kind == "mapping" and track in (None, i, one.name)
        ]
        if len(found) != 1:
            names = [one.name for one in self.tracks if one.kind == "mapping"]
            raise ValueError(f"track= has to be one of the mappings: {names}")
        return found[0]

    def frames(self, track: int | str | None = None) -> Iterator[tuple[int, bytes]]:
        """Iterate over the changes of a mapping: the time in ns, and all memory then.

        If the mapping has a header of winipc, the memory begins with it. `track` is the
        number or the name of the mapping; it may be None if there is only one.

        Raises:
            ValueError: There is no such track.
        """
        index = self._mapping(track)
        return self._parts(index, 0, self.tracks[index].size, raw=True)

    def _behind_header(self, index: int) -> tuple[int, int]:
        """Where the users' bytes of a mapping begin, and how many there are."""
        for event in self:
            if (
                event.track == index
                and isinstance(event, ChangeEvent)
                and event.changes
            ):
                return behind_header(event.changes, self.tracks[index].size)
        return 0, self.tracks[index].size

    def _parts(
        self, index: int, offset: int, size: int, raw: bool
    ) -> Iterator[tuple[int, bytes]]:
        start, whole = 0, self.tracks[index].size
        if not raw:
            start, whole = self._behind_header(index)
        if not 0 <= offset <= whole - size:
            raise ValueError(
                f"{size} bytes at offset {offset} do not fit in the {whole}"
            )

        def parts() -> Iterator[tuple[int, bytes]]:
            memory = bytearray(size)
            for event in self:
                if event.track == index and isinstance(event, ChangeEvent):
                    for at, part in within(event.changes, start + offset, size):
                        memory[at : at + len(part)] = part
                    if not event.more:
                        yield event.time_ns, bytes(memory)

        return parts()

    def records(
        self,
        layout: Any,
        offset: int = 0,
        track: int | str | None = None,
        *,
        raw: bool = False,
    ) -> Iterator[tuple[int, Any]]:
        """Iterate over the changes of a mapping: the time in ns, and a value.

        `layout` decides the value: a `winipc.Layout`, or its short text form, gives
        records; a ctypes type, instances; a format of the module `struct`, tuples. For
        `track` see `frames`. If the mapping has a header of winipc, offset 0 is behind
        it; with `raw`, it is the very first byte.

        Raises:
            ValueError: The layout at `offset` leaves the memory.
        """
        codec = codec_of(layout)
        parts = self._parts(self._mapping(track), offset, codec.size, raw)
        return ((time_ns, codec.unpack(data)) for time_ns, data in parts)

    def array(
        self,
        layout: Any,
        offset: int = 0,
        track: int | str | None = None,
        *,
        raw: bool = False,
    ) -> Any:
        """All frames as a NumPy array with the fields "time_ns" and "record".

        `layout` is a `winipc.Layout`, its short text form or a ctypes Structure:
        `array["record"]["speed"]` is one field over time. For `track` and `raw` see
        `records`.

        Raises:
            ValueError: The layout at `offset` leaves the memory.
        """
        layout = layout_of(layout)
        numpy = importlib.import_module("numpy")
        rows = bytearray()
        index = self._mapping(track)
        for time_ns, data in self._parts(index, offset, layout.size, raw):
            rows += time_ns.to_bytes(8, "little") + data
        kind = [("time_ns", "<u8"), ("record", layout.dtype)]
        return numpy.frombuffer(rows, numpy.dtype(kind))

    def __repr__(self) -> str:
        names = ", ".join(f"{track.kind} {track.name!r}" for track in self.tracks)
        return f"<Cassette {self.path!r}: {names}>"
