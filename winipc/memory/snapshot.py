"""Whole records out of shared memory that a peer keeps writing.

A reader that copies a structure while a peer writes it gets half of the old and
half of the new. `Snapshot` never does: a number beside the record, or in it, tells
whether a copy is whole; if it is not, `Snapshot` copies again. It takes no lock unless
the peer has one, so a reader that dies disturbs no other.

`Snapshot.over` uses the layout that docs/c-layouts.md describes. For memory of other
programs, tell `Snapshot.foreign` where things are and what they mean::

    Snapshot.foreign(m, 512, data=8, sequence=0)          # odd while it is written
    Snapshot.foreign(m, 512, data=8, sequence=0, end=4)   # begin before, end after
    Snapshot.foreign(m, 512, sequence=0, odd=False)       # only changes
    Snapshot.foreign(m, 512, data=4, busy=0)              # 0 when it is whole
    Snapshot.foreign(m, 512, newest=NewestOf(4, ticks=48, places=52, step=16))
    Snapshot.foreign(m, 512, mutex="Global\\\\the mutex")
    Snapshot.foreign(m, 512)                              # nothing tells
"""

from __future__ import annotations

import contextlib
import operator
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self, SupportsIndex, cast

from winipc import _core
from winipc.base.closing import Closing
from winipc.base.deadline import Deadline
from winipc.base.shown import Shown
from winipc.memory.layout import Codec, Layout, codec_of
from winipc.memory.record import Record
from winipc.sync.event import Event
from winipc.sync.mutex import Mutex

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["NewestOf", "Snapshot"]

Kind = Literal["seqlock", "double"]

_HEADER = 16

#: Seconds between two looks at a record that is compared: a copy made in the middle
#: of a record is seen as such when its writer goes on within this time.
_SETTLE = 0.0001

#: Seconds after which a change is looked for even without a signal: another reader
#: may have taken that of an auto-reset event.
_MISSED = 1.0

_NO_BUFFERS = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class NewestOf:
    """Where a writer that goes round several buffers keeps their ticks.

    The writer fills the oldest buffer and sets its tick last. Ticks and places are
    numbers of 32 bits; those of the next buffer are `step` bytes further on.
    """

    #: How many buffers there are at most, 2 or more.
    count: int
    #: The offset of the first buffer's tick.
    ticks: int
    #: The offset of the first buffer's place, which is the offset of its record.
    places: int
    #: Bytes from the tick of a buffer to that of the next.
    step: int
    #: The offset of the number of buffers in use, if the memory says it.
    number: int | None = None


class Snapshot(_core.Snapshot, Shown, Closing):
    """Read a record as a whole, or be its one writer.

    `kind` is the protocol. With "seqlock" the sequence is odd while the writer writes,
    and even when the record is whole. If the writer dies in between, readers get a
    TimeoutError, until another process writes. With "double" there are two records, and
    the lowest bit of the sequence tells which one is whole; if the writer dies, readers
    get the last whole record. `foreign` knows more kinds.

    Any number of readers, in any thread and process; one writer at a time. Close it, or
    leave its `with`, before you close the mapping.

    Win32: none beyond the mapping's, but for a mutex and an event.
    """

    __slots__ = ("__weakref__", "_codec", "_event", "_owned", "layout")

    #: That of its records, if `over` or `foreign` was given one.
    layout: Layout | None
    _codec: Codec | None
    _event: Event | None
    _owned: contextlib.ExitStack

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
                of them: a record for a `winipc.Layout` or "speed:f32 gear:i32", an
                instance for a ctypes type, a tuple for a format of `struct`.
            offset: Where the sequence is, a multiple of 8.

        Raises:
            ValueError: It does not fit, or `offset` is not aligned.
        """
        if kind not in ("seqlock", "double"):
            raise ValueError(f"kind must be 'seqlock' or 'double', not {kind!r}")
        data = offset + _HEADER
        second = data + _stride(_record(size)[0]) if kind == "double" else None
        return cls.foreign(
            memory, size, sequence=offset, sequence_size=8, data=data, second=second
        )

    @classmethod
    def foreign(
        cls,
        memory: Buffer,
        size: Any,
        *,
        data: int = 0,
        sequence: int | str | None = None,
        sequence_size: Literal[4, 8] = 4,
        odd: bool = True,
        end: int | str | None = None,
        second: int | None = None,
        busy: int | str | None = None,
        beside: Buffer | None = None,
        newest: NewestOf | None = None,
        mutex: Mutex | str | None = None,
        event: Event | str | None = None,
        settle: float = _SETTLE,
    ) -> Self:
        """Records in the protocol of another program.

        One of `sequence`, `busy`, `newest` and `mutex` tells when a record is whole;
        without any, and for a sequence that only changes, two copies that are equal
        have to do. `kind` is then

        - "seqlock" for `sequence`, which is odd while the writer is at work,
        - "begin-end" for `sequence` and `end`: the writer adds one to the first before
          it writes and to the second after,
        - "double" for `sequence` and `second`,
        - "counter" for `sequence` and `odd=False`: it changes once for each record,
        - "busy" for `busy`, a number that is not 0 while the writer is at work,
        - "newest" for `newest`, "mutex" for `mutex`, and "none".

        A sequence may lie in the record, as a field of it. With "counter" and "none"
        a writer that stops in the middle of a record for longer than `settle` is not
        seen: nothing in the memory tells it. All others give whole records always.
        "counter", "begin-end", "seqlock" and "double" can `write`.

        Args:
            memory: A mapping, a view, a section or any other buffer.
            size: Bytes of one record, or its layout, as `over` takes it.
            data: The offset of the record; of no meaning with `newest`.
            sequence: The offset of the sequence number, aligned to its size; or, as
                for `end` and `busy`, the name of a field of the layout.
            sequence_size: 4 or 8 bytes, of each such number; a field has its own.
            odd: Whether an odd sequence means that the writer is at work.
            end: The offset of the number that the writer counts up after a record.
            second: For a double buffer, the offset of the second record, which is
                the whole one while the sequence is odd.
            busy: The offset of the flag.
            beside: The memory that `sequence`, `end` or `busy` are in, if it is
                another one than that of the record.
            newest: Where the ticks of several buffers are.
            mutex: Held by this program's writer while it writes, and by `read`. An
                AbandonedError says that its owner died: the record may be half
                written, and the next `read` returns it as it is.
            event: Set by the writer after each record, for `changed`.
            settle: Seconds between two looks at a record that is compared.

        Raises:
            ValueError: Something leaves the memory, overlaps or is not aligned; or
                the arguments describe two protocols.
            LookupError: The layout has no field of this name.
            FileNotFoundError: No mutex or event has the name.

        Win32: OpenMutexW, OpenEventW
        """
        if sequence_size not in (4, 8):
            raise ValueError(f"sequence_size must be 4 or 8, not {sequence_size!r}")
        if second is not None and second <= data:
            raise ValueError("the second record must come after the first")
        if not 0 <= settle <= 10:
            raise ValueError(f"settle must be 0 to 10 seconds, not {settle!r}")
        length, codec = _record(size)
        kind = _kind_of(sequence, odd, end, second, busy, newest, mutex)
        # A writer counts `end` up last, so that is what is looked at first.
        numbers = sequence if busy is None else busy, end
        (after, width), (before, end_width) = (
            _place(place, codec, data, sequence_size) for place in numbers
        )
        if end is None:
            before = after
        elif end_width != width:
            raise ValueError("sequence and end have different sizes")
        buffers = _NO_BUFFERS
        if newest is not None:
            number = -1 if newest.number is None else newest.number
            buffers = (newest.count, newest.ticks, newest.places, newest.step, number)
        with contextlib.ExitStack() as opened:
            owned = opened.enter_context(contextlib.ExitStack())
            if isinstance(mutex, str):
                mutex = opened.enter_context(contextlib.closing(Mutex.open(mutex)))
            if isinstance(event, str):
                event = owned.enter_context(Event.open(event))
            self = cls._create(
                kind,
                memory,
                beside,
                length,
                before,
                after,
                width == 8,
                data,
                0 if second is None else second - data,
                settle if kind in ("counter", "none") else 0.0,
                buffers,
                0 if mutex is None else mutex.handle,
            )
            self._owned = owned.pop_all()
        self._event = event
        self._codec = codec
        self.layout = codec if isinstance(codec, Layout) else None
        return self

    def read(self, timeout: float | None = 1.0) -> Any:
        """A copy of the record: always a whole one.

        It is bytes, or a value of the layout. `timeout` is in seconds; None waits
        forever. Any thread may call it; it waits without the GIL.

        Raises:
            TimeoutError: The writer wrote all that time, or died in the middle
                (winerror 1460).
        """
        data = super().read(timeout)
        return data if self._codec is None else self._codec.unpack(data)

    def unpack(self, layout: Any, timeout: float | None = 1.0) -> Any:
        """What another layout makes of one whole record; the rest is that of `read`."""
        return codec_of(layout).unpack(super().read(timeout))

    def write(
        self, data: Buffer | Record | dict[str, Any] | None = None, /, **fields: Any
    ) -> None:
        """Put a whole record, by the protocol. One writer at a time.

        `data` is bytes. With a `winipc.Layout` it may be a dict or a record too, and
        `fields` are set in it, as `Layout.pack` does; fields that neither has are 0. A
        sequence that lies in the record is kept, whatever `data` has there.

        Raises:
            ValueError: `data` has not exactly `size` bytes, or a value does not fit.
            TypeError: The memory is read-only, the kind is for readers, or there are
                fields without a layout.
            LookupError: There is no such field.
        """
        if fields or isinstance(data, (dict, Record)):
            if self.layout is None:
                raise TypeError("fields are for a snapshot with a winipc.Layout")
            data = self.layout.pack(cast("Any", data), **fields)
        super().write(cast("Buffer", data))

    def wait_changed(
        self, timeout: float | None = None, *, interval: float = 0.005
    ) -> bool:
        """Wait for another record than the one that `read` returned last.

        True if there is one, also if nothing was read yet; False after `timeout`
        seconds (None waits forever). The writer's `event` wakes it; without an event it
        looks every `interval` seconds.

        Win32: WaitForSingleObject
        """
        deadline = Deadline(timeout)
        while not self._is_new():
            if deadline.left() == 0:
                return False
            event = self._event
            # The signal of a manual-reset event stays: it alone is no news.
            if event is None or (
                event.wait(deadline.part(_MISSED)) and not self._is_new()
            ):
                time.sleep(deadline.part(interval))
        return True

    async def changed(
        self, timeout: float | None = None, *, interval: float = 0.005
    ) -> bool:
        """`await` what `wait_changed` waits for.

        Win32: WaitForMultipleObjects
        """
        import asyncio  # not at import, which would load it for everybody

        deadline = Deadline(timeout)
        event = self._event
        if event is not None and not _core._can_give_back(event):
            event = None  # what a cancelled wait took would be lost
        while not self._is_new():
            if deadline.left() == 0:
                return False
            if event is None or (
                await event.wait_async(deadline.part(_MISSED)) and not self._is_new()
            ):
                await asyncio.sleep(deadline.part(interval))
        return True

    def close(self) -> None:
        """Let go of the memory, the mutex and the event; twice is harmless.

        Raises BufferError while a call runs in another thread, or a task waits.

        Win32: CloseHandle
        """
        self._owned.close()
        super().close()

    def __repr__(self) -> str:
        state = " closed" if self.closed else f" kind={self.kind!r} size={self.size}"
        return f"<{type(self).__name__}{state}>"


def _record(size: Any) -> tuple[int, Codec | None]:
    """The bytes of a record, and what makes more of them."""
    if isinstance(size, SupportsIndex):
        return operator.index(size), None
    codec = codec_of(size)
    return codec.size, codec


def _place(
    place: int | str | None, codec: Codec | None, data: int, width: int
) -> tuple[int, int]:
    """The offset of a number or a field, -1 for None, and its bytes."""
    if not isinstance(place, str):
        return -1 if place is None else place, width
    if not isinstance(codec, Layout):
        raise TypeError(f"{place!r} needs a layout to be a field of")
    kind: str | Layout = codec
    for name in place.split("."):
        if not isinstance(kind, Layout):
            raise LookupError(f"{codec.name} has no field {place!r}")
        field = kind[name]
        data, kind = data + field.offset, field.kind
    is_one = not field.shape and field.bits is None and kind not in ("f", "d")
    if not is_one or field.size not in (4, 8) or isinstance(kind, Layout):
        raise ValueError(f"{place} is no integer of 4 or 8 bytes")
    return data, field.size


def _stride(size: int) -> int:
    return (size + 7) // 8 * 8


def _kind_of(
    sequence: int | str | None,
    odd: bool,
    end: int | str | None,
    second: int | None,
    busy: int | str | None,
    newest: NewestOf | None,
    mutex: object,
) -> str:
    """The protocol that these arguments of `foreign` describe."""
    told = {"sequence": sequence, "busy": busy, "newest": newest, "mutex": mutex}
    named = [name for name, value in told.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"{named[0]} and {named[1]} are two protocols")
    if named != ["sequence"]:
        if end is not None or second is not None:
            raise ValueError("end and second belong to a sequence")
        return named[0] if named else "none"
    if end is not None and second is not None:
        raise ValueError("end and second are two protocols")
    if end is not None:
        return "begin-end"
    if second is not None:
        return "double"
    return "seqlock" if odd else "counter"
