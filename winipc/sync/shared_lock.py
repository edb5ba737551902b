"""SharedLock: a lock of 32 bytes in shared memory.

A `Mutex` calls the kernel each time. A `SharedLock` does not while no other thread
wants it: one interlocked instruction takes it, and one releases it. Only a thread that
has to wait creates a kernel object, and sleeps::

    with winipc.SharedMapping.create("my-app.locked", 4096) as mapping:
        with winipc.SharedLock(mapping, 0) as lock:  # bytes 0 to 31
            mapping.set(32, "i64", mapping.get(32, "i64") + 1)
        lock.close()

Zeroed memory is a free lock: nothing has to be created, and every process that maps the
same bytes has the same lock. It behaves like a `Mutex`: it belongs to the thread that
took it, which may take it again. If that thread ends without releasing the lock, the
next thread that takes it holds it, and gets `AbandonedError`. The layout is in
`include/winipc.h`; with its functions, a C program is a full peer.
"""

from __future__ import annotations

from typing import Any

from winipc import _core
from winipc.base.shown import Shown
from winipc.sync.mutex import Lockable

__all__ = ["SharedLock"]


class SharedLock(_core.SharedLock, Lockable, Shown):
    """A lock in the 32 bytes at `offset` of a mapping, a section or a buffer.

    The address at `offset` must be a multiple of 8; a multiple of 64 gives the lock a
    cache line of its own. The bytes must have been zero when the memory was made, and
    nothing else may use them. `buffer` cannot be closed before the lock is.

    `with lock:` takes and releases the lock, and does not close the object. If it
    raises `AbandonedError`, the lock is released. Any thread may use the object. One
    thread in all processes holds the lock. Only that thread can release it, as often as
    it took it. Waiting threads get the lock in no particular order.

    If a thread ends without releasing the lock, waiting threads notice it within 0.1 s.
    One of them, or the next thread that wants the lock, gets `AbandonedError`. This
    needs no right to the owner's process, which may be a service or another user's.

    `security` (see `SharedMapping.create`) is for the event that waiting threads
    create. A waiting thread that may not open another's event looks every 10 ms
    instead.

    Raises:
        ValueError: 32 bytes do not fit at `offset`, or the address is not a multiple of
            8.
        BufferError: The memory cannot be written, or is not in one piece.
        TypeError: `buffer` has no buffer protocol.

    Win32: none; to wait, CreateEventExW, OpenEventW, WaitForSingleObject
    """

    __slots__ = ("__weakref__",)

    #: The size of a lock in bytes.
    SIZE = _core.LOCK_SIZE

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the memory and the offset."""
        if self.closed:
            raise ValueError("a closed SharedLock cannot be pickled")
        return type(self), (self.buffer, self.offset)

    def __repr__(self) -> str:
        if self.closed:
            return "<SharedLock closed>"
        owner = self.owner
        state = "free" if owner is None else f"held by thread {owner}"
        return f"<SharedLock {state}, at offset {self.offset} of {self.buffer!r}>"
