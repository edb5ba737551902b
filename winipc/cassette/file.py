"""The file of a cassette: lines of JSON in gzip members, one after the other.

A member consists of whole lines, and is written at once: if the recorder is killed, the
file ends with a whole member. The first line is the head; the last line says that the
recording is complete. docs/cassettes.md has the format.
"""

from __future__ import annotations

import errno
import os
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, BinaryIO

from winipc.base.closing import Closing
from winipc.cassette.events import (
    EVENTS,
    MOST_DATA,
    CassetteError,
    CassetteEvent,
    ChangeEvent,
    Changes,
    MessageEvent,
    Track,
    base64_of,
    whole,
)

VERSION = 1

#: A member is written after this many seconds, or this many bytes of lines.
_PAUSE = 0.5
_MEMBER = 256 << 10
#: The most bytes of a line, and of the data in a line before base64.
_MOST_LINE = 1 << 20
_PIECE = 256 << 10
_SAMPLE = 4096
#: Bytes to read and to decompress at once.
_CHUNK = 64 << 10
_MOST_TRACKS = 256
_GZIP = 16 + zlib.MAX_WBITS
_GZIP_MAGIC = b"\x1f\x8b"


class Writer(Closing):
    """Writes a cassette. Any thread may add events; `add` sets their times."""

    def __init__(self, path: str | os.PathLike[str], tracks: Sequence[Track]) -> None:
        """Create a file at `path`. The clock starts now.

        Raises:
            FileExistsError: The file exists.
            CassetteError: A track is not valid.
        """
        self.tracks = tuple(tracks)
        head = {
            "winipc_cassette": VERSION,
            "made": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "tracks": [track.line() for track in self.tracks],
        }
        _read_head(head)
        self.events = 0
        self._lock = threading.Lock()
        self._lines = bytearray()
        self._file: BinaryIO = open(path, "xb", buffering=0)  # noqa: SIM115
        self._start = self._written = time.perf_counter_ns()
        self._last = 0
        try:
            self._lines += _line(head)
            self._flush()
        except BaseException:
            self._file.close()
            raise

    def now(self) -> int:
        """Nanoseconds since the start."""
        return time.perf_counter_ns() - self._start

    def add(self, event: CassetteEvent, *, stamp: bool = True) -> None:
        """Append an event. Its time is now or, if `stamp` is false, its own.

        Lines that have waited long enough are written. A closed writer ignores events.
        """
        with self._lock:
            if self._file.closed:
                return
            self._last = max(self._last, self.now() if stamp else event.time_ns)
            self.events += not (isinstance(event, ChangeEvent) and event.more)
            for line in _lines(event, self._last):
                self._lines += line
            self._flush_if_due()

    def flush_if_due(self) -> None:
        """Write the waiting lines, if they have waited long enough."""
        with self._lock:
            self._flush_if_due()

    def close(self, time_ns: int | None = None) -> None:
        """End the file; `time_ns` is the recording's length (default: until now)."""
        with self._lock:
            if self._file.closed:
                return
            try:
                end = max(self._last, self.now() if time_ns is None else time_ns)
                self._lines += _line({"t": end, "end": True, "events": self.events})
                self._flush()
            finally:
                self._file.close()

    def _flush_if_due(self) -> None:
        waited = time.perf_counter_ns() - self._written
        if self._lines and (len(self._lines) >= _MEMBER or waited >= _PAUSE * 1e9):
            self._flush()

    def _flush(self) -> None:
        # Searching for repetitions takes most of the time, and finds none in random
        # data.
        start = self._lines[:_SAMPLE]
        random = len(zlib.compress(start, 1)) > 0.7 * len(start)
        strategy = zlib.Z_RLE if random else zlib.Z_DEFAULT_STRATEGY
        packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP, zlib.DEF_MEM_LEVEL, strategy)
        left = memoryview(packer.compress(self._lines) + packer.flush())
        while left:
            # Unbuffered: a full disk or a pipe may take a part, or nothing (None).
            count = self._file.write(left)
            if not count:
                raise OSError(
                    errno.ENOSPC, "only a part was written", str(self._file.name)
                )
            left = left[count:]
        self._lines.clear()
        self._written = time.perf_counter_ns()


def _line(row: dict[str, Any]) -> bytes:
    import json  # few programs need it

    return json.dumps(row, separators=(",", ":")).encode("ascii") + b"\n"


def _lines(event: CassetteEvent, time_ns: int) -> Iterator[bytes]:
    """The lines of an event; several if it is too much for one."""
    head = {"t": time_ns, "track": event.track}
    if isinstance(event, ChangeEvent):
        parts = list(_parts(event.changes))
        for part in parts:
            more = event.more or part is not parts[-1]
            # The same as by `as_json`, at a third of the cost, as there are many
            # changes.
            rows = [b'[%d,"%b"]' % (at, base64_of(data)) for at, data in part]
            yield b'{"t":%d,"track":%d,"changes":[%b]%b}\n' % (
                *(time_ns, event.track, b",".join(rows)),
                b',"more":true' if more else b"",
            )
    elif isinstance(event, MessageEvent) and len(event.data) > _PIECE:
        last = (len(event.data) - 1) // _PIECE * _PIECE
        for at in range(0, last, _PIECE):
            part_of_data = MessageEvent(0, 0, data=event.data[at : at + _PIECE])
            yield _line({**head, **part_of_data.as_json(), "more": True})
        rest = MessageEvent(0, 0, data=event.data[last:])
        yield _line({**head, **event.as_json(), **rest.as_json()})
    else:
        yield _line({**head, **event.as_json()})


def _parts(changes: Changes) -> Iterator[Changes]:
    """Cut changes into lots that fit in a line."""
    # A range takes more room than its bytes.
    if sum([len(data) + 32 for _, data in changes]) <= _PIECE:
        yield changes
        return
    part: list[tuple[int, bytes]] = []
    size = 0
    for offset, data in changes:
        for at in range(0, len(data), _PIECE):
            piece = data[at : at + _PIECE]
            if part and size + len(piece) + 32 > _PIECE:
                yield tuple(part)
                part, size = [], 0
            part.append((offset + at, piece))
            size += len(piece) + 32
    yield tuple(part)


def _read_head(row: Any) -> tuple[datetime, tuple[Track, ...]]:
    """The time when the recording began, and the tracks."""
    if not isinstance(row, dict) or "winipc_cassette" not in row:
        raise CassetteError("this is no cassette: its first line is no head of one")
    version = whole(row["winipc_cassette"], "version", 1)
    if version != VERSION:
        raise CassetteError(f"this is a cassette of version {version}: update winipc")
    try:
        made = datetime.fromisoformat(row.get("made"))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise CassetteError("the head does not say when it was made") from None
    tracks = row.get("tracks")
    if not isinstance(tracks, list) or len(tracks) > _MOST_TRACKS:
        raise CassetteError("the head has no tracks, or too many")
    return made, tuple(map(Track.from_json, tracks))


class Reader(Closing):
    """Reads a cassette from its start, an event at a time.

    The file may be hostile: reading it takes not much more memory than one line and one
    message, and what no writer would write is a CassetteError. From a file that was cut
    off, the whole lines are read, and `complete` is False.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file and read its head.

        Raises:
            CassetteError: It is no cassette.
            FileNotFoundError: There is no such file.
        """
        self.complete = False
        self._cut_off = False  # whether the file ends within a member
        #: The time of the last event that was read, or of the end.
        self.time_ns = 0
        self._file = open(path, "rb")  # noqa: SIM115
        self._lines = self._unpacked_lines()
        try:
            if not self._file.peek(2).startswith(_GZIP_MAGIC):
                raise CassetteError("this is no cassette: it is not packed by gzip")
            try:
                row = self._next_row()
            except CassetteError as error:
                raise CassetteError(f"this is no cassette: {error}") from None
            self.made, self.tracks = _read_head(row)
        except CassetteError as error:
            self.close()
            raise CassetteError(f"{os.fspath(path)!r}: {error}") from None
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Iterator[CassetteEvent]:
        count = 0
        parts = bytearray()  # the data of a message that has several lines
        before: CassetteEvent | None = None  # the event that this line continues
        while (row := self._next_row()) is not None:
            self.time_ns = whole(row.get("t"), "time", self.time_ns)
            if "end" in row:
                if before is not None or row.get("events") != count:
                    raise CassetteError("there are events missing before the end")
                if self._next_row() is not None:
                    raise CassetteError("there is something behind the end")
                self.complete = not self._cut_off
                return
            index = whole(row.get("track"), "track", 0, len(self.tracks) - 1)
            track = self.tracks[index]
            event = EVENTS[track.kind].from_json(self.time_ns, index, track, row)
            if before is not None and (
                before.track != index or before.time_ns != event.time_ns
            ):
                raise CassetteError("a line that goes on does not")
            more = row.get("more") is True
            before = event if more else None
            if isinstance(event, MessageEvent):
                if len(parts) + len(event.data) > MOST_DATA:
                    raise CassetteError("a message has too much data")
                if more or parts:
                    parts += event.data
                if more:
                    continue
                if parts:
                    event = replace(event, data=bytes(parts))
                    parts = bytearray()
            count += not more
            yield event

    def close(self) -> None:
        self._file.close()

    def _next_row(self) -> dict[str, Any] | None:
        import json

        line = next(self._lines, None)
        if line is None:
            return None
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise CassetteError("a line is no JSON") from None
        if not isinstance(row, dict):
            raise CassetteError("a line is no object of JSON")
        return row

    def _unpacked_lines(self) -> Iterator[bytes]:
        """Lines without their newlines; a line without a newline is left out."""
        line = bytearray()
        for data in self._unpacked():
            line += data
            if b"\n" in data:
                *lines, rest = line.split(b"\n")
                yield from map(bytes, lines)
                line = bytearray(rest)
            if len(line) > _MOST_LINE:
                raise CassetteError("a line is too long")

    def _unpacked(self) -> Iterator[bytes]:
        """The contents of the members, a chunk at a time."""
        member = None
        packed = b""
        while packed or (packed := self._file.read(_CHUNK)):
            if member is None:
                member = zlib.decompressobj(_GZIP)
            try:
                data = member.decompress(packed, _CHUNK)
            except zlib.error:
                raise CassetteError("the file is damaged") from None
            packed = member.unconsumed_tail
            if member.eof:
                packed = member.unused_data
                member = None
            if data:
                yield data
        self._cut_off = member is not None
