"""Whole records out of shared memory that a peer keeps writing.

A reader that copies a structure while a peer writes it gets half of the old and
half of the new. `Snapshot` never does: a sequence number beside the record tells
when a copy is whole, and the copy is made again when it is not. There is no
lock, so a reader that dies disturbs no other.

Where the memory is our own, `Snapshot.over` lays it out as docs/c-layouts.md says;
where it is not, `Snapshot.foreign` is told where things are.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Literal, Self

from winipc import _core
from winipc.base.closing import Closing
from winipc.base.shown import Shown

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

    __slots__ = ("__weakref__",)

    @staticmethod
    def needed(size: int, kind: Kind = "seqlock") -> int:
        """How many bytes `over` wants for records of `size` bytes."""
        if kind == "seqlock":
            return _HEADER + size
        return _HEADER + _stride(size) + size

    @classmethod
    def over(
        cls, memory: Buffer, size: int, *, offset: int = 0, kind: Kind = "seqlock"
    ) -> Self:
        """Records of `size` bytes, in the layout of this module at `offset`.

        Args:
            memory: A mapping, a view, a section or any other buffer.
            offset: Where the sequence is, a multiple of 8.

        Raises:
            ValueError: It does not fit, or `offset` is not aligned.
        """
        stride = _stride(size) if _is_double(kind) else 0
        return cls._create(memory, size, offset, True, offset + _HEADER, stride)

    @classmethod
    def foreign(
        cls,
        memory: Buffer,
        size: int,
        *,
        sequence: int,
        data: int,
        sequence_size: Literal[4, 8] = 4,
        second: int | None = None,
    ) -> Self:
        """Records in the layout of another program.

        Args:
            memory: A mapping, a view, a section or any other buffer.
            size: Bytes of one record.
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
        return cls._create(memory, size, sequence, sequence_size == 8, data, stride)

    def unpack(self, format: str, timeout: float | None = 1.0) -> tuple[Any, ...]:
        """`struct.unpack` of one whole record; the rest is that of `read`."""
        return struct.unpack(format, self.read(timeout))

    def __repr__(self) -> str:
        state = " closed" if self.closed else f" kind={self.kind!r} size={self.size}"
        return f"<{type(self).__name__}{state}>"


def _stride(size: int) -> int:
    return (size + 7) // 8 * 8


def _is_double(kind: str) -> bool:
    if kind not in ("seqlock", "double"):
        raise ValueError(f"kind must be 'seqlock' or 'double', not {kind!r}")
    return kind == "double"
