"""Why a goal may be missed, by group and case: what is known of it.

The report puts the text beside a goal that a run missed. Where there is none, it says
"load" when the minimum is within the goal.
"""

from __future__ import annotations

_ASKED = "Windows is asked for the size, and whether a file is behind it"

REASONS = {
    "mapping life/open, close 1 MiB": _ASKED,
    "process/read 1 MiB": "whether the pages can be read is asked of Windows first",
    "process/read 16 MiB": "whether the pages can be read is asked of Windows first",
    "sync/two events, round trip with C": "the GIL is given up and taken back around "
    "each wait",
    "scan/unchanged int32 of 256 MiB of a process": "the values from before lie in "
    "memory as well, and are compared: twice as much is read",
    "scan/16-byte pattern in 16 MiB of bytes": "the memory's bandwidth: built alone, "
    "the kernel scans 16 MiB at 9.2 GB/s, as fast as they can be read at all (9.0 to "
    "9.4 GB/s); 256 KiB in the cache at 16.6 GB/s",
}
