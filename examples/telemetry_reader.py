"""Show in a terminal what telemetry_writer.py writes.

    python telemetry_reader.py [--name winipc-telemetry] [--hz 10] [--seconds 0]

It waits for the writer. It ends at Ctrl+C, when the time is over, or when the writer
has written nothing for some seconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from telemetry_writer import KIND, NAME, SIZE, Telemetry, is_whole

import winipc

#: Seconds without a new record after which the writer counts as gone.
PATIENCE = 5.0


def records(
    name: str, timeout: float | None, patience: float = PATIENCE
) -> Iterator[bytes]:
    """Yield the newest record when the caller asks; no record twice."""
    with (
        winipc.SharedMapping.wait_for(name, timeout, access="read") as mapping,
        winipc.Snapshot.over(mapping, SIZE, kind=KIND) as snapshot,
    ):
        last = 0
        news = time.monotonic()
        while time.monotonic() - news < patience:
            sequence = snapshot.sequence
            if sequence == last:
                time.sleep(0.002)
                continue
            data = snapshot.read()
            if snapshot.sequence == sequence:  # else data may be a newer record
                last = sequence
                news = time.monotonic()
                yield data


def line(record: Telemetry) -> str:
    """A record as a line of text."""
    bar = "#" * round(record.throttle * 10) + "-" * round(record.brake * 10)
    return (
        f"{record.time:7.2f} s  lap {record.lap}  {record.speed * 3.6:5.0f} km/h  "
        f"gear {record.gear}  {record.rpm:5.0f} rpm  [{bar[:10]:10}]  "
        f"{record.driver.decode(errors='replace')}"
    )


def read(name: str, hz: float, seconds: float, timeout: float | None) -> None:
    """Print records `hz` times a second, and at the end how many were torn."""
    count = torn = 0
    end = None
    for data in records(name, timeout):
        now = time.monotonic()
        end = end or (now + seconds if seconds else float("inf"))
        count += 1
        torn += not is_whole(data)
        print(line(Telemetry.from_buffer_copy(data)), flush=True)
        if now >= end:
            break
        time.sleep(1 / hz)
    print(f"{count} records read, {torn} torn")


def main() -> None:
    parser = argparse.ArgumentParser(description="Show a car's telemetry.")
    parser.add_argument("--name", default=NAME, help="name of the mapping")
    parser.add_argument("--hz", type=float, default=10.0, help="lines per second")
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until Ctrl+C")
    parser.add_argument("--wait", type=float, help="seconds to wait for the writer")
    given = parser.parse_args()
    try:
        read(given.name, given.hz, given.seconds, given.wait)
    except TimeoutError:
        parser.exit(1, f"no program writes to {given.name!r}\n")
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
