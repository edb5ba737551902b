"""Whole records from shared memory that a peer keeps writing.

A reader that copies a structure while a peer writes it may get half of the old and half
of the new record. A `Snapshot` checks a number beside the record, or in it, which tells
whether a copy is whole; if it is not, it copies again. It takes no lock unless the peer
uses one, so a reader that dies disturbs nobody.

`Snapshot.over` uses the layout in docs/c-layouts.md. For memory of other programs, tell
`Snapshot.foreign` the offsets and their meaning::

    Snapshot.foreign(mapping, 512, data=8, sequence=0)  # odd during a write
    Snapshot.foreign(mapping, 512, data=8, sequence=0, end=4)  # before and after
    Snapshot.foreign(mapping, 512, sequence=0, odd=False)  # only changes
    Snapshot.foreign(mapping, 512, data=4, busy=0)  # 0 if the record is whole
    Snapshot.foreign(mapping, 512, newest=NewestOf(4, ticks=48, places=52, step=16))
    Snapshot.foreign(mapping, 512, mutex="my-app.turn")
    Snapshot.foreign(mapping, 512)  # nothing tells
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
from winipc.errors import add_hint
from winipc.memory.layout import Codec, Layout, codec_of
from winipc.memory.record import Record
from winipc.sync.event import Event
from winipc.sync.mutex import Mutex

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["NewestOf", "Snapshot"]

Kind = Literal["seqlock", "double"]

#: Bytes from the sequence to the record.
HEADER = 16

#: Seconds between two copies of a record that are compared: a copy made during a write
#: is noticed if the writer goes on within this time.
_SETTLE = 0.0001

#: Seconds after which a reader looks for a change even without a signal: another reader
#: may have consumed the signal of an auto-reset event. If so, it looks more often.
_MISSED = 0.1

_NO_BUFFERS = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class NewestOf:
    """Where a writer that cycles through several buffers keeps their ticks.

    The writer fills the oldest buffer and sets its tick last. Ticks and places are
    numbers of 32 bits; those of the next buffer are `step` bytes further on.
    """

    #: The most buffers, 2 or more.
    count: int
    #: The offset of the first buffer's tick.
    ticks: int
    #: The offset of the first buffer's place, which is the offset of its record.
    places: int
    #: Bytes from the tick of a buffer to that of the next.
    step: int
    #: The offset of the number of buffers in use, if the memory has that number.
    number: int | None = None


class Snapshot(_core.Snapshot, Shown, Closing):
    """Read whole records, or be their one writer.

    ::

        with winipc.Snapshot.over(mapping, "speed:f32 gear:i32") as car:
            car.write(speed=1.5, gear=3)  # in one program
            print(car.read().gear)  # 3

    `kind` is the protocol. With "seqlock", the sequence is odd during a write, and even
    if the record is whole. If the writer dies during a write, readers get a
    TimeoutError until another process writes. With "double", there are two records, and
    the lowest bit of the sequence tells which one is whole; if the writer dies, readers
    get the last whole record. `foreign` knows more kinds.

    There may be any number of readers, in any thread and process, and one writer at a
    time. Close the snapshot, or leave its `with`, before you close the mapping.

    Win32: none, except with a mutex or an event.
    """

    __slots__ = {
        "layout": "The layout of the records, if `over` or `foreign` got one.",
        **dict.fromkeys(("__weakref__", "_codec", "_event", "_owned")),
        **dict.fromkeys(("_shared", "_stays_set")),
    }

    layout: Layout | None
    _codec: Codec | None
    _event: Event | None
    _owned: contextlib.ExitStack
    _shared: bool
    _stays_set: bool

    @staticmethod
    def needed(size: Any, kind: Kind = "seqlock") -> int:
        """The bytes that `over` needs for records of `size` bytes, or of a layout."""
        length, _ = _record(size)
        if kind == "seqlock":
            return HEADER + length
        return HEADER + _stride(length) + length

    @classmethod
    def over(
        cls,
        memory: Buffer,
        size: Any,
        *,
        offset: int = 0,
        kind: Kind = "seqlock",
        event: Event | str | None = None,
    ) -> Self:
        """Records of `size` bytes, with winipc's own protocol.

        ::

            layout = winipc.Layout.of("car", "speed:f32 gear:i32")
            with winipc.Snapshot.over(mapping, layout, kind="double") as snapshot:
                snapshot.write(speed=1.5, gear=3)
                print(snapshot.read())  # car(speed=1.5, gear=3)

        Args:
            memory: A mapping, a view, a section or any other buffer.
            size: The size of a record in bytes, or its layout. With a layout, `read`
                returns a record for a `winipc.Layout` or "speed:f32 gear:i32", an
                instance for a ctypes type, and a tuple for a format of `struct`.
            offset: The offset of the sequence, a multiple of 8.
            kind: "seqlock" or "double". All sides pass the same; nothing in the memory
                tells it.
            event: An auto-reset event, or its name. `write` sets it, and it wakes a
                reader in `wait_changed` or `changed`.

        Raises:
            ValueError: The records do not fit, `offset` is not aligned, or the sequence
                would be in the header of a mapping that was opened without `header`.
            FileNotFoundError: No event has the name.
        """
        if kind not in ("seqlock", "double"):
            raise ValueError(f"kind must be 'seqlock' or 'double', not {kind!r}")
        needed = cls.needed(size, kind)
        _check_memory(memory)
        from winipc.memory.mapping import check_no_header  # sections do without it

        check_no_header(memory, offset)
        with memoryview(memory) as view:
            if offset + needed > view.nbytes:
                raise ValueError(
                    f"Snapshot.needed(size, kind={kind!r}) is {needed} bytes; the "
                    f"memory of {view.nbytes} bytes has no room for them at offset "
                    f"{offset}"
                )
        data = offset + HEADER
        second = data + _stride(_record(size)[0]) if kind == "double" else None
        return cls.foreign(
            memory,
            size,
            sequence=offset,
            sequence_size=8,
            data=data,
            second=second,
            event=event,
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
        """Records with the protocol of another program.

        One of `sequence`, `busy`, `newest` and `mutex` tells whether a record is whole.
        Without any of these, and for a sequence that only changes, a record counts as
        whole if two copies are equal. `kind` is then

        - "seqlock" for `sequence`, which is odd during a write,
        - "begin-end" for `sequence` and `end`: the writer adds one to the first number
          before it writes, and to the second one after,
        - "double" for `sequence` and `second`,
        - "counter" for `sequence` and `odd=False`: it changes once for each record,
        - "busy" for `busy`, a number that is not 0 during a write,
        - "newest" for `newest`, "mutex" for `mutex`, and "none".

        A sequence may be a field of the record. With "counter" and "none", a writer
        that pauses during a write for longer than `settle` is not noticed: nothing in
        the memory tells. All other kinds always return whole records. `write` works
        with "counter", "begin-end", "seqlock" and "double".

        Args:
            memory: A mapping, a view, a section or any other buffer.
            size: The size of a record in bytes, or its layout; see `over`.
            data: The offset of the record; not used with `newest`.
            sequence: The offset of the sequence number, aligned to its size; or, as
                for `end` and `busy`, the name of a field of the layout.
            sequence_size: The size of each such number, 4 or 8 bytes; a field has its
                own size.
            odd: Whether an odd sequence means that a write is going on.
            end: The offset of the number that the writer increments after a record.
            second: For a double buffer, the offset of the second record, which is
                whole while the sequence is odd.
            busy: The offset of the flag.
            beside: The memory of `sequence`, `end` or `busy`, if it is not that of the
                record.
            newest: Where the ticks of several buffers are.
            mutex: The mutex, or its name, that the program's writer holds during a
                write; `read` takes it. An AbandonedError says that its owner died: the
                record may be half written, and the next `read` returns it as it is.
            event: The event, or its name, that the writer sets after each record;
                `write` sets it.
            settle: Seconds between two copies of a record that are compared.

        Raises:
            ValueError: Something leaves the memory, overlaps or is not aligned; or
                the arguments describe two protocols.
            LookupError: The layout has no field of this name.
            FileNotFoundError: No mutex or event has the name.

        Win32: OpenMutexW, OpenEventW
        """
        _check_memory(memory)
        if sequence_size not in (4, 8):
            raise ValueError(f"sequence_size must be 4 or 8, not {sequence_size!r}")
        if second is not None and second <= data:
            raise ValueError("the second record must come after the first")
        if not 0 <= settle <= 10:
            raise ValueError(f"settle must be 0 to 10 seconds, not {settle!r}")
        length, codec = _record(size)
        kind = _kind_of(sequence, odd, end, second, busy, newest, mutex)
        # A writer increments `end` last, so a reader looks at it first.
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
        self._event, self._shared, self._stays_set = event, False, False
        self._codec = codec
        self.layout = codec if isinstance(codec, Layout) else None
        return self

    def read(self, timeout: float | None = 1.0) -> Any:
        """Return a whole copy of the record, as bytes or as a value of the layout.

        ::

            car = snapshot.read(timeout=0.5)
            print(car.speed, car.gear)  # 1.5 3

        `timeout` is in seconds; None waits forever. Any thread may call it; it waits
        without the GIL.

        Raises:
            TimeoutError: The writer wrote all that time, or died during a write
                (winerror 1460).
        """
        try:
            data = super().read(timeout)
        except TypeError as error:
            add_hint(error, "unpack(layout) reads with another layout")
            raise
        return data if self._codec is None else self._codec.unpack(data)

    def unpack(self, layout: Any, timeout: float | None = 1.0) -> Any:
        """Read a whole record as a value of another layout; see `read`."""
        return codec_of(layout).unpack(super().read(timeout))

    def write(
        self, data: Buffer | Record | dict[str, Any] | None = None, /, **fields: Any
    ) -> None:
        """Write a whole record. There may be one writer at a time.

        `data` is bytes. With a `winipc.Layout`, it may also be a dict or a record, and
        `fields` are set in it; fields that neither has are 0 (see `Layout.pack`). A
        sequence in the record is kept, whatever `data` has there.

        Raises:
            ValueError: `data` does not have exactly `size` bytes, or a value does not
                fit.
            TypeError: The memory is read-only, the kind only reads, or there are fields
                without a layout.
            LookupError: There is no such field.
        """
        if fields or isinstance(data, (dict, Record)):
            if self.layout is None:
                raise TypeError("fields are for a snapshot with a winipc.Layout")
            data = self.layout.pack(cast("Any", data), **fields)
        super().write(cast("Buffer", data))
        if self._event is not None:
            self._event.set()

    def wait_changed(
        self, timeout: float | None = None, *, interval: float = 0.005
    ) -> bool:
        """Wait for another record than the last one that `read` returned.

        ::

            while snapshot.wait_changed(timeout=0.1):
                print(snapshot.read().gear)  # 3

        Returns True if there is one, or if nothing was read yet; False after `timeout`
        seconds (None waits forever). The writer's `event` wakes it; without an event,
        it looks every `interval` seconds. An auto-reset event wakes one reader for each
        record: the others notice that, and look every `interval` seconds, too.

        Win32: WaitForSingleObject
        """
        deadline = Deadline(timeout)
        while not self._is_new():
            if deadline.left() == 0:
                return False
            event = self._event
            pause = interval if self._shared else _MISSED
            if event is None or self._woken_in_vain(event.wait(deadline.part(pause))):
                time.sleep(deadline.part(interval))
        return True

    def _woken_in_vain(self, signalled: bool) -> bool:
        """Whether the event stays set, as a manual-reset event does after a record."""
        new = self._is_new()
        # Another reader has the signal of this record.
        self._shared = self._shared or (new and not signalled)
        # An auto-reset event may have kept the signal of an earlier record, but one.
        before, self._stays_set = self._stays_set, signalled and not new
        return before and self._stays_set

    async def changed(
        self, timeout: float | None = None, *, interval: float = 0.005
    ) -> bool:
        """`wait_changed` for an asyncio task.

        Win32: WaitForMultipleObjects
        """
        import asyncio  # only here: not every user of winipc needs it

        deadline = Deadline(timeout)
        event = self._event
        if event is not None and not _core._can_give_back(event):
            event = None  # a cancelled wait would lose the signal
        while not self._is_new():
            if deadline.left() == 0:
                return False
            pause = interval if self._shared else _MISSED
            if event is None or self._woken_in_vain(
                await event.wait_async(deadline.part(pause))
            ):
                await asyncio.sleep(deadline.part(interval))
        return True

    def close(self) -> None:
        """Release the memory, the mutex and the event; twice is harmless.

        Raises:
            BufferError: Another thread is in a call, or a task waits.

        Win32: CloseHandle
        """
        self._owned.close()
        super().close()

    def __repr__(self) -> str:
        state = " closed" if self.closed else f" kind={self.kind!r} size={self.size}"
        return f"<{type(self).__name__}{state}>"


def _record(size: Any) -> tuple[int, Codec | None]:
    """The size of a record in bytes, and its codec."""
    if isinstance(size, SupportsIndex):
        return operator.index(size), None
    codec = codec_of(size)
    return codec.size, codec


def _place(
    place: int | str | None, codec: Codec | None, data: int, width: int
) -> tuple[int, int]:
    """The offset of a number or a field (-1 for None), and its size."""
    if not isinstance(place, str):
        return -1 if place is None else place, width
    if not isinstance(codec, Layout):
        raise TypeError(f"{place!r} needs a layout to be a field of")
    field = codec[place]
    data, kind = data + field.offset, field.kind
    is_one = not field.shape and field.bits is None and kind not in ("f", "d")
    if not is_one or field.size not in (4, 8) or isinstance(kind, Layout):
        raise ValueError(f"{place} is no integer of 4 or 8 bytes")
    return data, field.size


def _stride(size: int) -> int:
    return (size + 7) // 8 * 8


def _check_memory(memory: object) -> None:
    if isinstance(memory, str):
        raise TypeError(
            f"the memory is a mapping or a buffer: SharedMapping.open({memory!r})"
        )


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
        if end is not None or second is not None or not odd:
            raise ValueError("odd, end and second belong to a sequence")
        return named[0] if named else "none"
    if end is not None and second is not None:
        raise ValueError("end and second are two protocols")
    if end is not None:
        return "begin-end"
    if second is not None:
        return "double"
    return "seqlock" if odd else "counter"
