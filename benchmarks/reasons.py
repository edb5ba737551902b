"""Why a goal may be missed, by group and case: what is known of it.

The report puts the text beside a goal that a run missed. Where there is none, it says
"load" when the minimum is within the goal.
"""

from __future__ import annotations

_ASKED = "Windows is asked for the size, and whether a file is behind it"

REASONS = {
    "mapping/get one i64": "a call of a built-in method: by timeit it takes 48 ns, and "
    "`int.bit_length` 46 ns; the loop of this harness adds the rest to each row",
    "mapping/fetch_add": "a call of a built-in method with an argument and a new int, "
    "as above",
    "mapping life/create, close 1 MiB": "wineserver is asked what raw C asks, call by "
    "call; where the rest goes is not known",
    "messages/send 64 B, same thread": "the GIL is given up around the send, and taken "
    "in the window's procedure; pywin32 takes as long",
    "reads/linked list, 10,000 hops in 1 MiB": "not known: 0.4 us a hop, not profiled",
    "stream 64 KiB/64 KiB stream, per message": "two copies of each message, into the "
    "ring and out of it; the minimum is 8 % off",
    "mapping life/open, close 1 MiB": _ASKED,
    "process/read 1 MiB": "whether the pages can be read is asked of Windows first",
    "process/read 16 MiB": "whether the pages can be read is asked of Windows first",
    "sync/two events, round trip with C": "the GIL is given up and taken back around "
    "each wait",
    "scan/unchanged int32 of 256 MiB of a process": "the values from before lie in "
    "memory as well, and are compared: twice as much is read",
    "scan/16-byte pattern in 16 MiB of bytes": "9 GB/s, the other half of the goal, is "
    "reached; `re` is quicker here than 12 times less",
}
