"""Recordings of memory that changes: files that `winipc record` and `replay` use.

`RecordingWriter` takes copies of a mapping as they are made, and stores what
changed; `RecordingReader` gives them back, with the time of each. The format is
in docs/recording.md, and simple enough for other programs.
"""

from __future__ import annotations

import errno
import importlib
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from winipc.base.closing import Closing
from winipc.memory.layout import codec_of, layout_of

__all__ = ["Frame", "RecordingReader", "RecordingWriter", "changed_ranges"]

_MAGIC = b"WINIPCR1"
_HEADER = struct.Struct("<8sQQI")  # magic, size, Unix time in ns, bytes of the name
_FRAME = struct.Struct("<QIII")  # ns since the start, flags, bytes, CRC-32
_RUN = struct.Struct("<II")  # bytes to leave as they are, bytes that follow
_DEFLATED = 1
_END = 2

#: No mapping is larger, and a file that says so is no recording.
_MOST_BYTES = 1 << 32
_MOST_NAME = 4096

_PAGE = 4096
_LINE = 16


def changed_ranges(old: bytes, new: bytes, join: int = 4) -> Iterator[tuple[int, int]]:
    """(start, stop) of what differs between two pieces of one size, in order.

    Up to `join` equal bytes between two of them are taken in.
    """
    start = stop = -1
    for page in range(0, len(new), _PAGE):
        if old[page : page + _PAGE] == new[page : page + _PAGE]:
            continue
        for at in range(page, min(page + _PAGE, len(new)), _LINE):
            if old[at : at + _LINE] == new[at : at + _LINE]:
                continue
            for i in range(at, min(at + _LINE, len(new))):
                if old[i] == new[i]:
                    continue
                if start >= 0 and i - stop <= join:
                    stop = i + 1
                    continue
                if start >= 0:
                    yield start, stop
                start, stop = i, i + 1
    if start >= 0:
        yield start, stop


class RecordingWriter(Closing):
    """Writes a recording. Each frame is in the file when `add` returns."""

    def __init__(
        self, path: str | os.PathLike[str], name: str, size: int, time_ns: int
    ) -> None:
        """Start a file at `path`, which may not exist yet.

        Args:
            name: What was recorded.
            size: Bytes of each copy.
            time_ns: Now, in nanoseconds since 1970.

        Raises:
            FileExistsError: There is such a file.
            ValueError: Size or name are too large.
        """
        label = name.encode("utf-8", "backslashreplace")
        if not 1 <= size <= _MOST_BYTES or len(label) > _MOST_NAME:
            raise ValueError(f"cannot record {size} bytes of {name!r}")
        self._file: BinaryIO = open(path, "xb", buffering=0)  # noqa: SIM115
        self._last = bytes(size)
        self._time = 0
        self.frames = 0
        try:
            self._put(_HEADER.pack(_MAGIC, size, time_ns, len(label)) + label)
        except BaseException:
            self._file.close()
            raise

    def add(self, time_ns: int, data: bytes) -> bool:
        """Store a copy, made `time_ns` after the start; False when nothing changed."""
        if len(data) != len(self._last):
            raise ValueError(f"{len(data)} bytes, not {len(self._last)}")
        body = bytearray()
        at = 0
        for start, stop in changed_ranges(self._last, data, _RUN.size):
            body += _RUN.pack(start - at, stop - start)
            body += data[start:stop]
            at = stop
        if not body and self.frames:
            return False
        self._last = data
        self.frames += 1
        self._write(time_ns, 0, bytes(body))
        return True

    def close(self, time_ns: int | None = None) -> None:
        """End the file. `time_ns` is how long it took, if that is known."""
        if self._file.closed:
            return
        try:
            self._write(self._time if time_ns is None else time_ns, _END, b"")
        finally:
            self._file.close()

    def _write(self, time_ns: int, flags: int, body: bytes) -> None:
        self._time = max(self._time, time_ns)
        packed = zlib.compress(body, 6)
        if len(packed) < len(body):
            body, flags = packed, flags | _DEFLATED
        crc = zlib.crc32(body)
        self._put(_FRAME.pack(self._time, flags, len(body), crc) + body)

    def _put(self, data: bytes) -> None:
        """Write all of it. In one go, if the system takes it: a recording that is
        killed ends with a whole frame, or the checksum tells."""
        left = memoryview(data)
        while left:
            # Unbuffered: a full disk or a pipe may take a part, or None for nothing.
            count = self._file.write(left)
            if not count:
                raise OSError(
                    errno.ENOSPC, f"only a part of {len(data)} bytes was written"
                )
            left = left[count:]


@dataclass(frozen=True, slots=True)
class Frame:
    """What changed at one moment; in the first frame, all that is not zero."""

    #: Nanoseconds since the start.
    time_ns: int
    #: Offset and new bytes of each piece, in order.
    changes: tuple[tuple[int, bytes], ...]


class RecordingReader(Closing):
    """Reads a recording; iterate over it for its frames.

    A recording that was cut off gives the frames that are whole; `complete` then
    is False. The file may be hostile: everything in it is checked.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file at `path`.

        Raises:
            ValueError: It is no recording.
        """
        self._file: BinaryIO = open(path, "rb")  # noqa: SIM115
        try:
            head = self._file.read(_HEADER.size)
            if len(head) < _HEADER.size or not head.startswith(_MAGIC):
                raise ValueError(f"{os.fspath(path)!r} is no recording")
            _, self.size, self.time_ns, length = _HEADER.unpack(head)
            if not 1 <= self.size <= _MOST_BYTES or length > _MOST_NAME:
                raise ValueError(f"{os.fspath(path)!r} is damaged")
            self.name = self._file.read(length).decode("utf-8", "replace")
        except BaseException:
            self._file.close()
            raise
        self._first = _HEADER.size + length
        # Between two runs lie at least as many equal bytes as a run's head has.
        self._most = self.size + _RUN.size
        #: Whether the end was seen, and how long the recording took.
        self.complete = False
        self.duration_ns = 0

    def __iter__(self) -> Iterator[Frame]:
        self._file.seek(self._first)
        self.complete = False
        last = 0
        while len(head := self._file.read(_FRAME.size)) == _FRAME.size:
            time_ns, flags, length, crc = _FRAME.unpack(head)
            if time_ns < last or length > self._most:
                return
            body = self._file.read(length)
            if len(body) < length or zlib.crc32(body) != crc:
                return
            self.duration_ns = last = time_ns
            if flags & _END:
                self.complete = True
                return
            changes = self._changes(body, flags)
            if changes is None:
                return
            yield Frame(time_ns, changes)

    def records(self, layout: Any, offset: int = 0) -> Iterator[tuple[int, Any]]:
        """For each frame its time in ns, and what a layout makes of the memory there.

        `layout` is a `winipc.Layout` or its short text form for records, a ctypes type,
        or a format of the module `struct`.

        Raises:
            ValueError: It leaves the memory.
        """
        codec = codec_of(layout)
        parts = self._parts(codec.size, offset)
        return ((time_ns, codec.unpack(data)) for time_ns, data in parts)

    def array(self, layout: Any, offset: int = 0) -> Any:
        """All frames as a NumPy array with the fields `time_ns` and `record`.

        `layout` is a `winipc.Layout`, its short text form or a ctypes Structure:
        `array["record"]["speed"]` is one field over the time.

        Raises:
            ValueError: It leaves the memory.
        """
        layout = layout_of(layout)
        numpy = importlib.import_module("numpy")
        rows = bytearray()
        for time_ns, data in self._parts(layout.size, offset):
            rows += time_ns.to_bytes(8, "little") + data
        kind = [("time_ns", "<u8"), ("record", layout.dtype)]
        return numpy.frombuffer(rows, numpy.dtype(kind))

    def _parts(self, size: int, offset: int) -> Iterator[tuple[int, bytes]]:
        """For each frame its time, and `size` bytes of the memory."""
        if not 0 <= offset <= self.size - size:
            raise ValueError(
                f"{size} bytes at offset {offset} leave the {self.size} bytes"
            )

        def parts() -> Iterator[tuple[int, bytes]]:
            memory = bytearray(self.size)
            for frame in self:
                for at, data in frame.changes:
                    memory[at : at + len(data)] = data
                yield frame.time_ns, bytes(memory[offset : offset + size])

        return parts()

    def _changes(self, body: bytes, flags: int) -> tuple[tuple[int, bytes], ...] | None:
        """None for what no writer writes."""
        if flags & _DEFLATED:
            inflater = zlib.decompressobj()
            try:
                body = inflater.decompress(body, self._most)
            except zlib.error:
                return None
            if not inflater.eof:
                return None
        changes = []
        at = place = 0
        while at < len(body):
            if len(body) - at < _RUN.size:
                return None
            skip, length = _RUN.unpack_from(body, at)
            at += _RUN.size
            place += skip
            if length > len(body) - at or place > self.size - length:
                return None
            changes.append((place, body[at : at + length]))
            at += length
            place += length
        return tuple(changes)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
