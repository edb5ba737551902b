"""Holding a value of another process, or suspending all its threads, for a while."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from winipc.base.closing import Closing
from winipc.errors import add_hint
from winipc.process.access import ProcessAccess

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess

__all__ = ["Freeze"]


class Freeze(Closing):
    """A value that is written to another process again and again.

    `RemoteProcess.freeze` makes it. `close`, or the end of the `with`, ends it: nothing
    is written after that. Garbage collection ends a forgotten one, with a
    ResourceWarning. One thread of this process writes for all freezes. Any thread may
    use the object.
    """

    __slots__ = (
        *("__weakref__", "_chain", "_error", "_failures", "_interval", "_kind"),
        *("_lock", "_process", "_value", "_writes"),
    )

    def __init__(
        self,
        process: RemoteProcess,
        chain: list[Any],
        value: Any,
        kind: str | None,
        interval: float,
    ) -> None:
        if not 0 < interval < threading.TIMEOUT_MAX:
            raise ValueError("interval must be a number of seconds > 0")
        if kind is None:
            if isinstance(value, (int, float)):
                raise TypeError(f"which type of numbers is {value!r}, such as 'i32'?")
            value = bytes(memoryview(value))
        self._chain, self._kind, self._interval = chain, kind, interval
        self._error: Exception | None = None
        self._failures = self._writes = 0
        self._lock = threading.Lock()  # held during a write
        # A handle of its own, as the process object may be closed first.
        self._process = process._duplicate()
        try:
            self._write(value)
            _writer.add(self)
        except BaseException:
            self._process.close()
            raise

    def _write(self, value: Any) -> None:
        place = self._process.pointer(self._chain)
        if self._kind is None:
            self._process.write(place, value)
        else:
            self._process.set(place, self._kind, value)
        self._value = value
        self._writes += 1

    def _write_again(self) -> None:
        """Write the value in the writer's thread; errors go to `error`."""
        with self._lock:
            if self._process.closed:
                return
            try:
                self._write(self._value)
                self._error = None
            except ProcessLookupError as error:
                self._error = error
                self._process.close()
            except Exception as error:
                self._error = error
                self._failures += 1

    @property
    def value(self) -> Any:
        """The value that is written. Setting it writes the new value at once.

        Setting raises what `RemoteProcess.freeze` raises, and ValueError if the freeze
        has ended; the old value then stays.
        """
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        if self._kind is None:
            value = bytes(memoryview(value))
        with self._lock:
            self._write(value)
            self._error = None

    @property
    def writes(self) -> int:
        """The number of writes."""
        return self._writes

    @property
    def failures(self) -> int:
        """The number of failed writes; `error` says why the last one failed."""
        return self._failures

    @property
    def error(self) -> Exception | None:
        """Why the last write failed; None if it did not.

        ProcessLookupError means that the target has exited: the freeze has ended.
        """
        return self._error

    @property
    def closed(self) -> bool:
        """Whether the freeze has ended, by `close` or by the exit of the target."""
        return self._process.closed

    def close(self) -> None:
        """End the freeze, after a running write; more calls do nothing."""
        with self._lock:
            self._process.close()
        _writer.remove(self)

    def __exit__(self, *exc: object) -> None:
        self.close()
        if self._error is None:
            return
        if not isinstance(exc[1], BaseException):
            raise self._error
        add_hint(exc[1], f"{self!r}: {self._error}")

    def __repr__(self) -> str:
        state = "ended" if self.closed else "on"
        return (
            f"<Freeze of {self._value!r} in pid {self._process.pid}, {state}, "
            f"{self._writes} writes, {self._failures} failures>"
        )

    def __del__(self) -> None:
        process = getattr(self, "_process", None)
        if process is not None and not process.closed:
            warnings.warn(
                f"unclosed {self!r}", ResourceWarning, stacklevel=1, source=self
            )
            process.close()


class _Writer:
    """The thread that writes all frozen values; it runs while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        #: A heap of times, unique numbers (so that no two entries are equal) and
        #: freezes.
        self._next: list[tuple[float, int, weakref.ref[Freeze]]] = []
        self._numbers = itertools.count()
        self._runs = False

    def add(self, freeze: Freeze) -> None:
        with self._changed:
            if not self._runs:
                threading.Thread(
                    target=self._run, name="winipc-freeze", daemon=True
                ).start()
                self._runs = True
            self._push(freeze)
            self._changed.notify()

    def remove(self, freeze: Freeze) -> None:
        with self._changed:
            self._next = [entry for entry in self._next if entry[2]() is not freeze]
            heapq.heapify(self._next)
            self._changed.notify()

    def _push(self, freeze: Freeze) -> None:
        when = time.monotonic() + freeze._interval
        entry = when, next(self._numbers), weakref.ref(freeze)
        heapq.heappush(self._next, entry)

    def _run(self) -> None:
        while (freeze := self._wait()) is not None:
            freeze._write_again()
            with self._changed:
                if not freeze.closed:
                    self._push(freeze)
            del freeze  # so that a forgotten one can be collected during the next wait

    def _wait(self) -> Freeze | None:
        """Wait for the next freeze that is due, and return it; None if none is left."""
        with self._changed:
            while self._next:
                left = self._next[0][0] - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                elif (freeze := heapq.heappop(self._next)[2]()) is not None:
                    return freeze
            self._runs = False
            return None


_writer = _Writer()


@contextlib.contextmanager
def suspended(process: RemoteProcess) -> Iterator[None]:
    """See `RemoteProcess.suspended`."""
    if process.pid == os.getpid():
        raise ValueError("this process cannot suspend itself: nothing would resume it")
    process.handle  # noqa: B018 - raises if closed; an open handle keeps the pid valid
    access = ProcessAccess.SUSPEND_RESUME | ProcessAccess.QUERY
    with type(process).open(process.pid, access=access) as target:
        try:
            target._suspend(True)
            yield
        except BaseException as error:
            if failure := _resume(target):
                add_hint(error, f"the target could not be resumed: {failure}")
            raise
        if failure := _resume(target):
            raise failure


def _resume(target: RemoteProcess) -> OSError | None:
    """Undo the suspends that `target` counted; return an error if the target lives."""
    try:
        while target._suspends:
            target._suspend(False)
    except ProcessLookupError:
        pass  # there is nothing to resume
    except OSError as error:
        return error
    return None
