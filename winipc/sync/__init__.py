"""Mutex, Event and Semaphore: the kernel objects that processes wait for.

A name is all that two processes need to share one::

    with Event.create("Local\\\\ready") as ready:    # in one process
        ready.set()

    Event.wait_for("Local\\\\ready", timeout=5).wait(1)    # in another

`create` makes the object and refuses a name that is taken (unless
`exist_ok=True`), `open` never makes one, and `wait_for` waits until somebody
makes it. Without a name an object travels by `duplicate_to`, or by pickle
through multiprocessing.

A mutex is *abandoned* when the thread that held it ended without releasing it:
the next thread to take it gets `AbandonedError`, holds the mutex, and decides what
the half-written data is worth::

    try:
        mutex.acquire()
    except AbandonedError:
        repair()  # this thread holds the mutex
    try:
        ...
    finally:
        mutex.release()

or, where the repair is always the same::

    with mutex.lock(timeout=5, repair=lambda mutex: repair()):
        ...
"""

from winipc.sync.event import Event
from winipc.sync.mutex import Mutex
from winipc.sync.semaphore import Semaphore
from winipc.sync.shared_lock import SharedLock
from winipc.sync.waitable import SyncAccess, Waitable
from winipc.sync.waits import wait_all, wait_any

__all__ = [
    "Event",
    "Mutex",
    "Semaphore",
    "SharedLock",
    "SyncAccess",
    "Waitable",
    "wait_all",
    "wait_any",
]
