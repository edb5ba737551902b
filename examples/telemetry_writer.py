"""A racing car that writes its telemetry into shared memory, 60 times a second.

    python telemetry_writer.py [--name winipc-telemetry] [--hz 60] [--seconds 0]

Games and simulators do the same: they write one structure in a named mapping again for
each picture. A reader must not see half of one record and half of the next, so the
writer uses `winipc.Snapshot`. telemetry_reader.py is a reader in a terminal,
telemetry.ipynb a reader in a notebook.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import math
import time
import zlib

import winipc

NAME = "winipc-telemetry"

TRACK = 1200.0  # metres of a lap
GEARS = (0.0, 14.0, 24.0, 34.0, 44.0, 55.0)  # metres per second to shift up at


class Telemetry(ctypes.Structure):
    """One record. A C program with the same declaration reads the same bytes."""

    _fields_ = (
        ("frame", ctypes.c_uint32),
        ("gear", ctypes.c_int32),
        ("time", ctypes.c_double),  # seconds since the start
        ("speed", ctypes.c_float),  # metres per second
        ("rpm", ctypes.c_float),
        ("throttle", ctypes.c_float),  # 0 to 1
        ("brake", ctypes.c_float),  # 0 to 1
        ("position", ctypes.c_float * 3),  # metres
        ("lap", ctypes.c_uint32),
        ("driver", ctypes.c_char * 24),
        # The checksum of all bytes before it. No game has one: it is here to prove that
        # no record is torn.
        ("checksum", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32),
    )


SIZE = ctypes.sizeof(Telemetry)
KIND = "double"  # a writer that is killed leaves a whole record behind
_SUMMED = Telemetry.checksum.offset


def checksum(record: bytes) -> int:
    """The value of `checksum` in a whole record."""
    return zlib.crc32(record[:_SUMMED])


def is_whole(record: bytes) -> bool:
    """Whether all bytes of a record are of one frame."""
    return Telemetry.from_buffer_copy(record).checksum == checksum(record)


class Car:
    """A car on a track with two straights and two bends."""

    def __init__(self, driver: str) -> None:
        self.record = Telemetry(driver=driver.encode(), gear=1)
        self.distance = 0.0

    def drive(self, seconds: float) -> bytes:
        """Drive for some time, and return the record after it."""
        now = self.record
        lap, place = divmod(self.distance, TRACK)
        part = place / TRACK
        # The car brakes before the bends, at a quarter and at three quarters.
        wanted = 38 + 22 * math.cos(4 * math.pi * part)
        slower = now.speed > wanted
        now.throttle = 0.0 if slower else min(1.0, (wanted - now.speed) / 4 + 0.1)
        now.brake = min(1.0, (now.speed - wanted) / 6) if slower else 0.0
        now.speed += (12 * now.throttle - 18 * now.brake - 0.2) * seconds
        now.speed = max(now.speed, 0.0)
        self.distance += now.speed * seconds
        now.gear = sum(now.speed >= limit for limit in GEARS)
        low = GEARS[now.gear - 1]
        high = GEARS[now.gear] if now.gear < len(GEARS) else 70.0
        now.rpm = 2500 + 5000 * (now.speed - low) / (high - low)
        angle = 2 * math.pi * part
        now.position = (190 * math.cos(angle), 190 * math.sin(angle), 0.0)
        now.lap = int(lap) + 1
        now.frame += 1
        now.time += seconds
        now.checksum = checksum(bytes(now))
        return bytes(now)


def write(name: str, hz: float, seconds: float, driver: str) -> int:
    """Write until the time is over (0: forever); return the number of records."""
    car = Car(driver)
    size = winipc.Snapshot.needed(SIZE, KIND)
    with (
        winipc.SharedMapping.create(name, size) as mapping,
        winipc.Snapshot.over(mapping, SIZE, kind=KIND) as snapshot,
    ):
        snapshot.write(car.drive(0.0))
        print(f"writing {SIZE} bytes {hz:g} times a second to {name!r}", flush=True)
        start = time.perf_counter()
        for frame in itertools.count(1):
            due = frame / hz
            if seconds and due > seconds:
                break
            time.sleep(max(0.0, start + due - time.perf_counter()))
            snapshot.write(car.drive(1 / hz))
        return car.record.frame


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a car's telemetry.")
    parser.add_argument("--name", default=NAME, help="name of the mapping")
    parser.add_argument("--hz", type=float, default=60.0, help="records per second")
    parser.add_argument("--seconds", type=float, default=0.0, help="0: until Ctrl+C")
    parser.add_argument("--driver", default="Ada Lovelace")
    given = parser.parse_args()
    try:
        frames = write(given.name, given.hz, given.seconds, given.driver)
    except FileExistsError:
        parser.exit(1, f"another program writes to {given.name!r} already\n")
    except KeyboardInterrupt:
        return
    print(f"{frames} records written")


if __name__ == "__main__":
    main()
