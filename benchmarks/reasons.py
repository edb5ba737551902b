"""Known reasons for which a goal is missed, or another package is faster.

The report shows the reason of a goal that a run missed. Without a reason, it says
"load" if the minimum is within the goal.
"""

from __future__ import annotations

_WINE_READS = (
    "two reads of the clock, only under Wine: whether an answer of VirtualQueryEx "
    "still holds; without, as on Windows, it is 0.45x for a read and 0.6x for a write"
)
_RESULT = "`write()` returns the size, a number that Python makes anew each time"

REASONS = {
    "stub/read 8 B / pywin32": _WINE_READS,
    "stub/write 8 B / pywin32": _WINE_READS,
    "mapping/write 4 KiB / mmap": _RESULT,
    "mapping life/create, close 1 MiB": (
        "wineserver is asked what raw C asks, call by call; the rest is the Python of "
        "`create()`, and the GIL, given up twice"
    ),
    "mapping life/create, close 1 MiB / mmap": (
        "mmap keeps the GIL; the Python of `create()` takes 2.4 us"
    ),
    "mapping life/open, close 1 MiB / mmap": (
        "one call of wineserver more, NtQuerySection: mmap trusts the size it is told, "
        "and a page of a file that fails ends its process, where winipc raises OSError"
    ),
    "messages/send 64 B, same thread": "the GIL is given up around the send",
    "layout/record of 30 fields, all values by name / struct": "within the noise",
    "scan/int32 value in 256 MiB of a process": "within the noise",
    "scan/16-byte pattern in 16 MiB of bytes / re": (
        "25 GB/s is about what the memory of this machine gives; on another it was 16x"
    ),
    "pointers/map of 10 million pointers in 1024 MiB": (
        "on the one CPU of this phase; two threads on two CPUs took 0.99x"
    ),
    "pointers/paths of up to 3 among 625000 pointers in 64 MiB / PyMemoryEditor": (
        "half of the time is merely reading the target, with 1 GiB of the rows above"
    ),
    "exchange/deliver 64 B": (
        "1 us of Python in the sender, and 2 us in the receiver, whose handler is "
        "called: measured alone, when the caches have it"
    ),
    "exchange by a lane/deliver 64 B": (
        "a processor was lost now and then, with a spread of 678 %: a side that sleeps "
        "is woken by a message; 24x in the run before"
    ),
    "exchange/deliver 1 MiB / raw C, by a mapping": (
        "Python on both sides, 5 us when the caches have it; probably more, as the "
        "copy has taken its place there"
    ),
    "producers/64 B from 8 producers, per message / raw C, one producer": (
        "a producer that is woken in vain wakes the next one, or all the others would "
        "sleep on for 0.1 s"
    ),
    "producers/8 producers at once, per message / raw C, SRWLOCK, from the first done "
    "to the last": (
        "the event of the channel wakes a producer of any process; under Wine it is "
        "wineserver's, and a lock of Windows within one process wakes by a futex"
    ),
}
