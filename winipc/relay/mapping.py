"""`MappingSource` shares a mapping of this machine; `MappingCopy` keeps a copy."""

from __future__ import annotations

import secrets
import struct
import time
from collections import deque
from collections.abc import Iterator
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
#: Bytes of the largest mapping that can be shared.
MOST_MAPPING = 64 << 20

#: Ranges with at most so many equal bytes between them become one, which is shorter.
_JOIN = 8
#: Ranges of one message, at most.
_MOST_RANGES = 1 << 16
#: Messages that may wait for the network, and their bytes; one may wait in any case.
#: While they wait, the source does not look, so changes come together.
_FLIGHT = 8
_FLIGHT_BYTES = 32 << 20
#: Seconds without changes after which the source publishes its sequence.
_BEAT = 1.0
#: Seconds between two states, at least; and between two looks for the mapping.
_PAUSE = 0.25
#: Seconds between two requests of a copy for a state, at least.
_AGAIN = 2.0
#: Seconds to wait until the last state is acknowledged.
_FAREWELL = 2.0


class MappingSource(Relay):
    """Shares a mapping of this machine. A name has one source.

    It waits until the mapping is made, and then looks for changes `rate` times a
    second. It keeps the mapping open, so the memory outlives the program that made it.

    Args:
        broker: Where the broker is.
        name: The mapping's name; ``Local\\`` in front makes no difference.
        rate: Looks a second, above 0 and at most 10,000.
        timeout: Seconds to wait for the broker's answer; None for no limit.
        on_event: Is called with a sentence about each event, on a thread of the side.

    Raises:
        ValueError: `rate` is out of its range. `close` raises it if the mapping has
            more than 64 MiB, or more bytes than the broker takes.

    The other errors are those of `Relay`.
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
        self._asked = False
        self._stream: _Stream | None = None
        super().__init__(broker, name, {"ask": self._ask}, timeout, on_event)
        self._start(self._share)

    def _ask(self, _: object) -> None:
        self._asked = True

    def _share(self) -> None:
        self._tell("waiting for the mapping")
        while not self._ended.is_set():
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
            while not self._ended.wait(self._period):
                self._look(mapping)
            self._look(mapping, last=True)

    def _look(self, mapping: SharedMapping, last: bool = False) -> None:
        """Publish what is new since the last look."""
        claim, stream = self.claim, self._stream
        if claim is None:
            return
        if stream is None or stream.claim != claim:
            self._stream = stream = _Stream(claim, mapping.size)
        if stream.waits() and not last:
            return
        mapping.read_into(stream.next)
        now = time.monotonic()
        if data := stream.changes(now):
            info = self._publish(self._topic("changes"), data, qos=0)
            stream.flight.append(info)
        if stream.wants_state(now, self._asked, last):
            self._asked = False
            topic, data = self._topic("state"), stream.state(now)
            info = self._publish(topic, data, qos=1 if last else 0, retain=True)
            stream.flight.append(info)
            if last:
                with suppress(RuntimeError):  # the connection is lost
                    info.wait_for_publish(_FAREWELL)


class _Stream:
    """What a source has published through one connection.

    Each look reads the mapping into `next`, and calls `changes` and `wants_state`.
    """

    def __init__(self, claim: str, size: int) -> None:
        self.claim = claim
        self.next = bytearray(size)
        #: Messages that were given to paho, the last few.
        most = min(_FLIGHT, max(_FLIGHT_BYTES // size, 1))
        self.flight: deque[Any] = deque(maxlen=most)
        #: What the last look has found.
        self._seen = bytearray(size)
        self._run = secrets.randbits(64)
        self._sequence = 0
        #: Bytes of changes after the last state.
        self._since = 0
        #: When the last state was published, and the last message of any kind.
        self._state_at: float | None = None
        self._told_at = 0.0

    def waits(self) -> bool:
        """Whether as many messages as may wait for the network do."""
        if len(self.flight) < (self.flight.maxlen or 0):
            return False
        with suppress(RuntimeError):  # it was lost with its connection
            return not self.flight[0].is_published()
        return False

    def changes(self, now: float) -> bytes:
        """A message of what has changed since the last look; empty if none is due."""
        before, self._seen, self.next = self._seen, self.next, self._seen
        if self._state_at is None:
            return b""
        join = max(_JOIN, len(before) // _MOST_RANGES)
        ranges = _core._changes(before, self._seen, join)
        if ranges:
            self._sequence += 1
        elif self._since or now - self._told_at < _BEAT:
            return b""
        parts = (RANGE.pack(at, len(data)) + data for at, data in ranges)
        message = self._head() + b"".join(parts)
        self._since += len(message) if ranges else 0
        self._told_at = now
        return message

    def wants_state(self, now: float, asked: bool, last: bool) -> bool:
        """Whether a state is due."""
        if self._state_at is None:
            return True
        if now - self._state_at < _PAUSE and not last:
            return False
        quiet = now - self._told_at >= _BEAT
        many = self._since >= len(self._seen)
        return asked or many or (self._since > 0 and (quiet or last))

    def state(self, now: float) -> bytes:
        """A message of all that the last look has found."""
        self._since, self._state_at, self._told_at = 0, now, now
        return self._head() + self._seen

    def _head(self) -> bytes:
        return HEAD.pack(self._run, self._sequence)


class MappingCopy(Relay):
    """Keeps a copy of a mapping that another machine shares.

    When the first state comes, it opens the mapping of this name, or makes it. What a
    program writes to the copy does not reach the source.

    Args:
        broker: Where the broker is.
        name: The name of the mapping and of its copy.
        timeout: Seconds to wait for the broker's answer; None for no limit.
        on_event: Is called with a sentence about each event, on a thread of the side.

    The errors are those of `Relay`. `close` raises ValueError if the mapping that was
    opened has another number of pages than the source's, and OSError if it cannot be
    opened.
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
        #: What the copy has: the run of the source, and how many of its changes.
        self._run: int | None = None
        self._sequence = 0
        self._asked_at = -_AGAIN
        heard = {"state": self._state, "changes": self._changes}
        super().__init__(broker, name, heard, timeout, on_event)

    @property
    def mapping(self) -> SharedMapping | None:
        """The copy, which `close` closes; None until the first state has come."""
        return self._mapping

    def wait_copied(self, timeout: float | None = None) -> SharedMapping:
        """Wait for the first state, and return the copy, which `close` closes.

        `timeout` is in seconds; None is forever. An error that has ended this side is
        raised, too.

        Raises:
            TimeoutError: No state came in time.
        """
        with self._changed:
            wait_until(
                self._changed, lambda: self._mapping or self._ended.is_set(), timeout
            )
        if self._mapping is None:
            raise self.error or TimeoutError(f"no state of {self.name!r} has come")
        return self._mapping

    def close(self) -> None:
        try:
            super().close()
        finally:
            mapping, self._mapping = self._mapping, None
            if mapping is not None:
                mapping.__exit__()  # memory that is in use stays

    # ------------------------------------------------- on the thread of paho-mqtt

    def _state(self, message: Any) -> None:
        data = memoryview(message.payload)
        size = len(data) - HEAD.size
        if not 0 < size <= MOST_MAPPING:
            self._tell(f"ignored: a state of {len(data)} bytes")
            return
        run, sequence = HEAD.unpack_from(data)
        if run == self._run and sequence <= self._sequence:
            return
        self._place(size).write(data[HEAD.size :])
        self._run, self._sequence, self._asked_at = run, sequence, -_AGAIN

    def _place(self, size: int) -> SharedMapping:
        """The mapping here; ValueError if it is not as large as the source's."""
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
        """Write changes that follow what is here; else ask for a state."""
        data, mapping = memoryview(message.payload), self._mapping
        if len(data) < HEAD.size:
            self._tell(f"ignored: changes of {len(data)} bytes")
            return
        run, sequence = HEAD.unpack_from(data)
        known = run == self._run
        if known and sequence <= self._sequence:
            return
        # A message without ranges tells of changes that have not come.
        follows = known and sequence == self._sequence + 1 and len(data) > HEAD.size
        if mapping is None or not follows:
            self._ask()
            return
        try:
            # Check all before one is written. A list of them could be large.
            deque(_ranges(data, mapping.size), 0)
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


def _ranges(data: memoryview, size: int) -> Iterator[tuple[int, memoryview]]:
    """Each range of a message of changes: its offset and its bytes.

    Raises ValueError for a range that is not inside a mapping of `size` bytes.
    """
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
