"""Whole records out of shared memory that a peer keeps writing.

A reader that copies a structure while a peer writes it gets half of the old and
half of the new. `Snapshot` never does: a sequence number beside the record tells
when a copy is whole, and the copy is made again when it is not. There is no
lock, so a reader that dies disturbs no other.

Where the memory is our own, `Snapshot.over` lays it out as docs/c-layouts.md says;
where it is not, `Snapshot.foreign` is told where things are.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsIndex

from winipc import _core
from winipc.base.closing import Closing
from winipc.base.shown import Shown
from winipc.memory.layout import Codec, Layout, codec_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Snapshot"]

Kind = Literal["seqlock", "double"]

_HEADER = 16


class Snapshot(_core.Snapshot, Shown, Closing):
    """Read (and, being the only writer, write) a record as a whole.

    `kind` is the protocol. With "seqlock" the sequence is odd while the writer is at
    work, and even and two higher when the record is whole: a writer that dies in the
    middle leaves readers with TimeoutError, until another one writes. With "double"
    there are two records, and the lowest bit of the sequence tells which one is
    whole: a dead writer leaves the last whole one.

    Any number of readers in any thread and process; one writer at a time. It keeps
    the memory in use: close it (or leave its `with` block) before the mapping.

    Win32: none beyond the mapping's.
    """

    __slots__ = ("__weakref__", "_codec", "layout")

    #: That of its records, if `over` or `foreign` was given one.
    layout: Layout | None
    _codec: Codec | None

    @staticmethod
    def needed(size: Any, kind: Kind = "seqlock") -> int:
        """How many bytes `over` wants for records of `size` bytes, or of a layout."""
        length, _ = _record(size)
        if kind == "seqlock":
            return _HEADER + length
        return _HEADER + _stride(length) + length

    @classmethod
    def over(
        cls, memory: Buffer, size: Any, *, offset: int = 0, kind: Kind = "seqlock"
    ) -> Self:
        """Records of `size` bytes, in the protocol of this module at `offset`.

        Args:
            memory: A mapping, a view, a section or any other buffer.
            size: Bytes of one record; or its layout, and `read` gives what that makes
                of them: a record for a `winipc.Layout` or "speed:f gear:i", an
                instance for a ctypes type, a tuple for a format of `struct`.
            offset: Where the sequence is, a multiple of 8.

        Raises:
            ValueError: It does not fit, or `offset` is not aligned.
        """
        length, codec = _record(size)
        stride = _stride(length) if _is_double(kind) else 0
        self = cls._create(memory, length, offset, True, offset + _HEADER, stride)
        return self._with(codec)

    @classmethod
    def foreign(
        cls,
        memory: Buffer,
        size: Any,
        *,
        sequence: int,
        data: int,
        sequence_size: Literal[4, 8] = 4,
        second: int | None = None,
    ) -> Self:
        """Records in the protocol of another program.

        Args:
            memory: A mapping, a view, a section or any other buffer.
            size: Bytes of one record, or its layout, as `over` takes it.
            sequence: The offset of the sequence number, aligned to its size.
            data: The offset of the record.
            sequence_size: 4 or 8 bytes.
            second: For a double buffer, the offset of the second record, which is
                the whole one while the sequence is odd; None for a seqlock.

        Raises:
            ValueError: Something leaves the memory, overlaps or is not aligned.
        """
        if sequence_size not in (4, 8):
            raise ValueError(f"sequence_size must be 4 or 8, not {sequence_size!r}")
        if second is not None and second <= data:
            raise ValueError("the second record must come after the first")
        stride = 0 if second is None else second - data
        length, codec = _record(size)
        self = cls._create(memory, length, sequence, sequence_size == 8, data, stride)
        return self._with(codec)

    def _with(self, codec: Codec | None) -> Self:
        self._codec = codec
        self.layout = codec if isinstance(codec, Layout) else None
        return self

    def read(self, timeout: float | None = 1.0) -> Any:
        """The record as the writer left it, never half of two: a copy.

        It is bytes, or what the layout makes of them. `timeout` is in seconds, None for
        forever. Any thread; waits without the GIL.

        Raises:
            TimeoutError: The writer is at work all that time, or died in the middle
                (winerror 1460).
        """
        data = super().read(timeout)
        return data if self._codec is None else self._codec.unpack(data)

    def unpack(self, layout: Any, timeout: float | None = 1.0) -> Any:
        """What another layout makes of one whole record; the rest is that of `read`."""
        return codec_of(layout).unpack(super().read(timeout))

    def __repr__(self) -> str:
        state = " closed" if self.closed else f" kind={self.kind!r} size={self.size}"
        return f"<{type(self).__name__}{state}>"


def _record(size: Any) -> tuple[int, Codec | None]:
    """The bytes of a record, and what makes more of them."""
    if isinstance(size, SupportsIndex):
        return operator.index(size), None
    codec = codec_of(size)
    return codec.size, codec


def _stride(size: int) -> int:
    return (size + 7) // 8 * 8


def _is_double(kind: str) -> bool:
    if kind not in ("seqlock", "double"):
        raise ValueError(f"kind must be 'seqlock' or 'double', not {kind!r}")
    return kind == "double"
