"""Mutex, Event and Semaphore: the kernel objects that processes wait for.

Two processes share an object by its name::

    with winipc.Event.create("my-app.ready") as ready:
        ready.set()

        # in another program
        with winipc.Event.wait_for("my-app.ready", timeout=5) as other:
            print(other.wait(timeout=1))  # True

`create` makes the object and refuses a name that is taken (unless `exist_ok=True`).
`open` never makes one, and `wait_for` waits until another process has made it. An
unnamed object is passed on by `duplicate_to`, or by pickle through multiprocessing.

A mutex is *abandoned* if the thread that held it ended without releasing it. The next
thread that takes the mutex holds it, and gets `AbandonedError`. That thread can repair
data that is half written::

    try:
        mutex.acquire()
    except winipc.AbandonedError:
        mapping[0:8] = bytes(8)  # this thread holds the mutex
    try:
        mapping.write(b"whole")
    finally:
        mutex.release()

or, if the repair is always the same::

    def repair(taken):
        mapping[0:8] = bytes(8)

    with mutex.lock(timeout=5, repair=repair):
        mapping.write(b"whole")
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.sync.event import *
    from winipc.sync.mutex import *
    from winipc.sync.semaphore import *
    from winipc.sync.shared_lock import *
    from winipc.sync.waitable import *
    from winipc.sync.waits import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
