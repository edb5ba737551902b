"""`MappingSource` and `MappingCopy`: a mapping here, and what it is elsewhere."""

from __future__ import annotations

import secrets
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any

from winipc import _core
from winipc.base.deadline import wait_until
from winipc.memory.mapping import SharedMapping
from winipc.relay.link import Broker, OnEvent, Relay

__all__ = ["MappingCopy", "MappingSource"]

#: In front of each payload: the run of the source, and how many changes it has sent.
HEAD = struct.Struct("<QQ")
#: In front of each range: its offset and its length.
RANGE = struct.Struct("<II")
#: Bytes of a mapping that a message can carry at all.
MOST_MAPPING = 64 << 20

#: Equal bytes between two changes that cost less than a range of their own, and how
#: many ranges of a message they may make.
_JOIN = 8
_MOST_RANGES = 1 << 16
#: Messages that may wait for the network, and their bytes; one may at least.
#: Meanwhile changes come together.
_FLIGHT = 8
_FLIGHT_BYTES = 32 << 20
#: Seconds of quiet after which the source says where it is, the least between two
#: whole states, and between two requests for one.
_BEAT = 1.0
_PAUSE = 0.25
_AGAIN = 2.0


class MappingSource(Relay):
    """Shares a mapping of this machine. It is the only source of that name.

    It waits for the mapping to be made, and looks at it `rate` times a second, at most
    10,000. It keeps it open, so that its memory outlives the program that made it.
    """

    _kind, _role = "mapping", "source"

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        rate: float = 60.0,
        timeout: float | None = 10.0,
        on_event: OnEvent = None,
    ) -> None:
        if not 0 < rate <= 10_000:
            raise ValueError("rate is above 0 and at most 10,000 looks a second")
        self._period = 1 / rate
        self._stopped = threading.Event()
        self._asked = False
        self._stream: _Stream | None = None
        super().__init__(broker, name, {"ask": self._ask}, timeout, on_event)
        self._start(self._run)

    def _ask(self, _: object) -> None:
        self._asked = True

    def _stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        self._tell("waiting for the mapping")
        while not self._ending():
            with suppress(TimeoutError):
                mapping = SharedMapping.wait_for(self.name, _PAUSE, access="read")
                break
        else:
            return
        with mapping:
            if (size := mapping.size) > MOST_MAPPING:
                raise ValueError(
                    f"{self.name!r} has {size} bytes: above {MOST_MAPPING}"
                )
            self._tell(f"sharing {size} bytes")
            while not (self._stopped.wait(self._period) or self._ending()):
                self._look(mapping)
            self._look(mapping, last=True)

    def _ending(self) -> bool:
        return self._stopped.is_set() or self.error is not None

    def _look(self, mapping: SharedMapping, last: bool = False) -> None:
        """Publish what is new since the last look."""
        claim, stream = self.claim, self._stream
        if claim is None:
            return
        if stream is None or stream.claim != claim:
            self._stream = stream = _Stream(claim, mapping.size)
        if stream.waits() and not last:
            return
        mapping.read_into(stream.new)
        now = time.monotonic()
        if stream.state_at is not None:
            if data := stream.changes(now):
                stream.flight.append(self._publish_changes(data))
            elif now - stream.told_at >= _BEAT and not stream.since:
                stream.told_at = now
                self._publish_changes(stream.head())
        asked = self._asked
        if stream.wants_state(now, asked, last):
            self._asked = False
            state = stream.state(now)
            topic, qos = self._topic("state"), 1 if last else 0
            info = self._publish(topic, state, qos=qos, retain=True, wait=last)
            stream.flight.append(info)

    def _publish_changes(self, data: bytes) -> Any:
        return self._publish(self._topic("changes"), data, qos=0)


class _Stream:
    """What was published through one connection."""

    def __init__(self, claim: str, size: int) -> None:
        self.claim = claim
        self.old, self.new = bytearray(size), bytearray(size)
        most = min(_FLIGHT, max(_FLIGHT_BYTES // size, 1))
        self.flight: deque[Any] = deque(maxlen=most)
        self._run = secrets.randbits(64)
        self._sequence = 0
        #: Bytes of changes after the last whole state.
        self.since = 0
        self.state_at: float | None = None
        self.told_at = 0.0

    def head(self) -> bytes:
        return HEAD.pack(self._run, self._sequence)

    def waits(self) -> bool:
        """Whether the network still has the first of the last messages."""
        with suppress(RuntimeError):  # lost with its connection
            full = len(self.flight) == self.flight.maxlen
            return full and not self.flight[0].is_published()
        return False

    def changes(self, now: float) -> bytes:
        """A message of what has changed, if something has."""
        join = max(_JOIN, len(self.old) // _MOST_RANGES)
        ranges = _core._changes(self.old, self.new, join)
        if not ranges:
            return b""
        self.old, self.new = self.new, self.old
        self._sequence += 1
        parts = (RANGE.pack(at, len(data)) + data for at, data in ranges)
        message = self.head() + b"".join(parts)
        self.since += len(message)
        self.told_at = now
        return message

    def wants_state(self, now: float, asked: bool, last: bool) -> bool:
        """Whether a whole state is due: at first, after changes, or as one is asked."""
        if self.state_at is None:
            return True
        if now - self.state_at < _PAUSE and not last:
            return False
        quiet = now - self.told_at >= _BEAT
        many = self.since >= len(self.old)
        return asked or many or (self.since > 0 and (quiet or last))

    def state(self, now: float) -> bytes:
        if self.state_at is None:
            self.old, self.new = self.new, self.old
        self.since, self.state_at, self.told_at = 0, now, now
        return self.head() + self.old


class MappingCopy(Relay):
    """Keeps a copy of a mapping that another machine shares.

    It makes the mapping when the first state comes, or takes the one there is, if that
    has as many pages. What others write to the copy goes nowhere.
    """

    _kind, _role, _most = "mapping", "copy", MOST_MAPPING

    def __init__(
        self,
        broker: Broker,
        name: str,
        *,
        timeout: float | None = 10.0,
        on_event: OnEvent = None,
    ) -> None:
        self._mapping: SharedMapping | None = None
        self._run = self._sequence = 0
        self._asked_at = -_AGAIN
        heard = {"state": self._state, "changes": self._changes}
        super().__init__(broker, name, heard, timeout, on_event)

    @property
    def mapping(self) -> SharedMapping | None:
        """The copy, or None as long as no state has come."""
        return self._mapping

    def wait_copied(self, timeout: float | None = None) -> SharedMapping:
        """The copy, as soon as there is one. TimeoutError after so many seconds."""
        with self._changed:
            wait_until(self._changed, lambda: self._mapping or self.error, timeout)
        if self._mapping is None:
            raise self.error or TimeoutError(f"no state of {self.name!r} has come")
        return self._mapping

    def close(self) -> None:
        try:
            super().close()
        finally:
            mapping, self._mapping = self._mapping, None
            if mapping is not None:
                mapping.__exit__()  # the memory stays with who uses it

    # ------------------------------------------------- on the thread of paho-mqtt

    def _state(self, message: Any) -> None:
        data = memoryview(message.payload)
        size = len(data) - HEAD.size
        if not 0 < size <= MOST_MAPPING:
            self._tell(f"ignored: a state of {len(data)} bytes")
            return
        run, sequence = HEAD.unpack_from(data)
        if (
            self._mapping is not None
            and run == self._run
            and sequence <= self._sequence
        ):
            return
        self._place(size).write(data[HEAD.size :])
        self._run, self._sequence, self._asked_at = run, sequence, -_AGAIN

    def _place(self, size: int) -> SharedMapping:
        """The mapping here, which has to be as large as the one there."""
        mapping = self._mapping
        if mapping is None:
            try:
                mapping = SharedMapping.open(self.name)
            except FileNotFoundError:
                mapping = SharedMapping.create(self.name, size)
            with self._changed:
                self._mapping = mapping
                self._changed.notify_all()
            self._tell(f"copying {size} bytes")
        if mapping.size != size:
            raise ValueError(
                f"{self.name!r} has {mapping.size} bytes here and {size} there"
            )
        return mapping

    def _changes(self, message: Any) -> None:
        """Changes that follow what is here; a gap is a reason to ask for a state."""
        data, mapping = memoryview(message.payload), self._mapping
        if len(data) < HEAD.size:
            self._tell(f"ignored: changes of {len(data)} bytes")
            return
        run, sequence = HEAD.unpack_from(data)
        known = run == self._run and mapping is not None
        if known and sequence <= self._sequence:
            return
        follows = known and sequence == self._sequence + 1 and len(data) > HEAD.size
        if mapping is None or not follows:
            self._ask()
            return
        try:
            deque(_ranges(data, mapping.size), 0)  # all of them, before one is written
        except ValueError as error:
            self._tell(f"ignored: {error}")
            self._ask()
            return
        for at, part in _ranges(data, mapping.size):
            mapping.write(part, at)
        self._sequence = sequence

    def _ask(self) -> None:
        now = time.monotonic()
        if now - self._asked_at >= _AGAIN:
            self._asked_at = now
            self._publish(self._topic("ask"), b"", qos=0)


def _ranges(data: memoryview, size: int) -> Any:
    """Each (offset, bytes) of a message, checked against the size of the mapping."""
    at = HEAD.size
    while at < len(data):
        if len(data) - at < RANGE.size:
            raise ValueError("changes that end in the middle of a range")
        offset, length = RANGE.unpack_from(data, at)
        at += RANGE.size
        if length > len(data) - at or offset > size or length > size - offset:
            raise ValueError(f"a change of {length} bytes at {offset}, out of {size}")
        yield offset, data[at : at + length]
        at += length
