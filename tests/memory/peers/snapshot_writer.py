"""Writes records as fast as it can: <mapping> <size> <kind> <seconds>."""

import sys

from winipc import SharedMapping, Snapshot

name, size, kind, seconds = sys.argv[1:]
with (
    SharedMapping.open(name) as mapping,
    Snapshot.over(mapping, int(size), kind=kind) as snapshot,
):
    snapshot.exercise(1)
    print("ready", flush=True)
    print(snapshot.exercise(2**62, float(seconds)), flush=True)
