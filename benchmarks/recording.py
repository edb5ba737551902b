"""The cost of recording a mapping: 1 MiB of which 1 % changes, 60 times a second.

    ./dev python benchmarks/recording.py [seconds]

Another process writes random bytes, which cannot be compressed, to one block or to 100
places. The CPU time is that of this process, which records. For the last row, it copies
all memory as often, and writes it uncompressed.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import winipc

SIZE = 1 << 20
RATE = 60
NAME = f"winipc-recording-{os.getpid()}"


def change(name: str, places: int) -> None:
    """The other process: change 1 % of the memory 60 times a second."""
    source = random.Random(1)
    length = SIZE // 100 // places
    with winipc.SharedMapping.create(name, SIZE) as mapping:
        mapping.write(source.randbytes(SIZE))
        print("ready", flush=True)
        count, due = 0, time.perf_counter()
        while count < int(sys.argv[4]) * RATE:
            for _ in range(places):
                at = source.randrange(SIZE - length)
                mapping.write(source.randbytes(length), at)
            count, due = count + 1, due + 1 / RATE
            time.sleep(max(due - time.perf_counter(), 0))


def record(path: Path, seconds: float) -> None:
    with winipc.Cassette.record(path, mappings=[NAME], rate=RATE):
        time.sleep(seconds)


def copy(path: Path, seconds: float) -> None:
    """Record without looking for changes."""
    end = time.perf_counter() + seconds
    with (
        winipc.SharedMapping.open(NAME, access="read") as mapping,
        open(path, "wb") as file,
    ):
        while (now := time.perf_counter()) < end:
            file.write(mapping.read())
            time.sleep(max(now + 1 / RATE - time.perf_counter(), 0))


def measure(
    label: str, do: Callable[[Path, float], None], places: int, seconds: int
) -> None:
    command = [
        sys.executable,
        __file__,
        "--change",
        NAME,
        str(places),
        str(seconds + 2),
    ]
    path = Path(tempfile.mkdtemp()) / "file"
    with subprocess.Popen(command, stdout=subprocess.PIPE) as peer:
        assert peer.stdout is not None
        peer.stdout.readline()
        before, began = time.process_time(), time.perf_counter()
        do(path, seconds)
        used, took = time.process_time() - before, time.perf_counter() - began
    size = path.stat().st_size
    changed = SIZE / 100 * RATE * took
    print(
        f"{label:24} {100 * used / took:5.1f} % of a CPU, "
        f"{size / took / 1e6:6.2f} MB/s of file, "
        f"{(size - SIZE) / changed:5.2f} bytes for each that changed"
    )
    path.unlink()


def main() -> None:
    if sys.argv[1:2] == ["--change"]:
        change(sys.argv[2], int(sys.argv[3]))
        return
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(f"1 MiB, {RATE} looks a second, for {seconds} s each")
    measure("recorded, one block", record, 1, seconds)
    measure("recorded, 100 places", record, 100, seconds)
    measure("copied whole", copy, 1, seconds)


if __name__ == "__main__":
    main()
