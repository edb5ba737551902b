"""Why a goal may be missed, by group and case: what is known of it.

The report puts the text beside a goal that a run missed. Where there is none, it says
"load" when the minimum is within the goal.
"""

from __future__ import annotations

REASONS = {
    "process/read 1 MiB": (
        "only under Wine, which reads pages without access: VirtualQueryEx is asked "
        "first, once in some milliseconds"
    ),
    "process/read 16 MiB": (
        "only under Wine, which reads pages without access: VirtualQueryEx is asked "
        "first, once in some milliseconds"
    ),
    "mapping/get one i64": (
        "a call of a built-in method: by timeit it takes 48 ns, and `int.bit_length` "
        "46 ns; the loop of this harness adds the rest to each row"
    ),
    "mapping/fetch_add": (
        "a call of a built-in method with an argument and a new int, as above"
    ),
    "mapping life/create, close 1 MiB": (
        "wineserver is asked what raw C asks, call by call; of what is over mmap, 2.4 "
        "us are the Python of `create()`, and some 3 us C and the GIL, given up twice"
    ),
    "mapping life/open, close 1 MiB": (
        "one call of wineserver more, NtQuerySection: for the exact size, and as a "
        "page of a file may fail, which is an OSError then and not the end of the "
        "process"
    ),
    "messages/send 64 B, same thread": "the GIL is given up around the send",
    "sync/two events, round trip with C": (
        "the GIL is given up and taken back around each wait; pywin32 takes as long"
    ),
    "reads/linked list, 10,000 hops in 1 MiB": (
        "0.8 ms are the hops and Python's ints, 0.8 ms 16 reads of 64 KiB, and the "
        "rest reads of a page, from which it sees that more is worth while"
    ),
    "scan/16-byte pattern in 256 MiB of a process / read and re, as pymem": (
        "only reading, in C, does not reach it here either"
    ),
    "scan/16-byte pattern in 256 MiB of a process / PyMemoryEditor": "as the row above",
    "scan/int32 value in 256 MiB of a process / pymem and NumPy": (
        "only reading, in C, does not reach it here either"
    ),
    "scan/unchanged int32 of 256 MiB of a process": (
        "the values from before, 256 MiB of this process, are read as well"
    ),
    "scan/16-byte pattern in 16 MiB of bytes / re": (
        "9 GB/s, the other goal, is reached; in random bytes `re` has it easier than "
        "in code, the row below"
    ),
    "exchange/deliver 1 MiB": (
        "beside the copy, a message, a mutex and an event are calls of wineserver: "
        "`winipc, mapping` takes most of it for 64 B already"
    ),
    "stream 64 KiB/64 KiB stream, per message": (
        "two copies of each message, into the ring and out of it: raw C by the same "
        "ring does not reach it either"
    ),
}
