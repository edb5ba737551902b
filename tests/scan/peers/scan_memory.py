"""Scans memory of another process; prints what memory of its own that took.

Arguments: pid, address, size. Prints how many matches three scans had, and by
how many bytes the working set and the commit charge had grown at their peaks.
"""

import ctypes
import sys
from ctypes import wintypes

from winipc import Pattern, RemoteProcess


class Counters(ctypes.Structure):
    _fields_ = (
        ("cb", wintypes.DWORD),
        ("faults", wintypes.DWORD),
        ("peak_working_set", ctypes.c_size_t),
        ("working_set", ctypes.c_size_t),
        ("pools", ctypes.c_size_t * 4),
        ("commit", ctypes.c_size_t),
        ("peak_commit", ctypes.c_size_t),
    )


def counters() -> Counters:
    now = Counters(cb=ctypes.sizeof(Counters))
    function = ctypes.WinDLL("kernel32").K32GetProcessMemoryInfo
    function.argtypes = (wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD)
    assert function(wintypes.HANDLE(-1), ctypes.byref(now), now.cb)
    return now


def main() -> None:
    pid, address, size = map(int, sys.argv[1:])
    many = [b"no%5d" % number for number in range(1008)]
    many += [bytes([number]) * 65536 for number in range(1, 17)]
    with RemoteProcess.open(pid) as process:
        list(process.scan(b"x", regions=[(address, 4096)]))  # all is imported
        before = counters()
        matches = []
        for wanted in (b"no such bytes", many, Pattern.hex("00")):
            scan = process.scan(
                wanted, regions=[(address, size)], aligned=256, threads=2
            )
            matches.append(sum(1 for _ in scan))
            assert scan.scanned == size
        after = counters()
    grown = after.peak_working_set - before.working_set
    print(*matches, grown, after.peak_commit - before.commit, flush=True)


main()
