"""Writes records as fast as it can until it is killed: <mapping> <size> <kind>.

Each record is one number of 64 bits, again and again: one that is torn holds two.
"""

import itertools
import sys

from winipc import SharedMapping, Snapshot

name, size, kind = sys.argv[1:]
with (
    SharedMapping.open(name) as mapping,
    Snapshot.over(mapping, int(size), kind=kind) as snapshot,
):
    for number in itertools.count(1):
        snapshot.write(number.to_bytes(8, "little") * (int(size) // 8))
        if number == 1:
            print("ready", flush=True)
