"""`winipc record` and `winipc replay`: a mapping's changes into a file, and back.

`replay` creates the mapping again and repeats its changes, so that you can develop a
program without the game or the device that writes the real one.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from winipc.base.deadline import Deadline
from winipc.cli.options import Commands, add_command, factor, number, seconds
from winipc.cli.output import note, print_result
from winipc.cli.overlay import HELP, Overlay
from winipc.cli.targets import add_target, open_target
from winipc.memory.mapping import SharedMapping
from winipc.recording import Frame, RecordingReader, RecordingWriter

_BILLION = 1_000_000_000
#: The longest sleep, so that Ctrl+C is heard everywhere.
_SLICE = 0.2


def add(commands: Commands) -> None:
    record = add_command(
        commands, "record", _record, "record a mapping to a file", __doc__
    )
    add_target(record)
    record.add_argument("file", type=Path, help="a new file")
    record.add_argument(
        "--rate", type=number, default=60, help="looks for each second (%(default)s)"
    )
    record.add_argument(
        "--seconds", type=seconds, metavar="N", help="end after so many seconds"
    )
    record.add_argument("--frames", type=number, help="end after so many changes")

    replay = add_command(
        commands, "replay", _replay, "create a recorded mapping again", __doc__
    )
    replay.add_argument("file", type=Path)
    replay.add_argument("--name", help="name of the mapping (the recorded one)")
    replay.add_argument(
        "--speed",
        type=factor,
        default=1.0,
        help="2 for twice as fast, 0 for no waiting at all (%(default)s)",
    )
    replay.add_argument("--loop", action="store_true", help="again and again")
    replay.add_argument(
        "--keep",
        action="store_true",
        help="in the end keep the mapping as it is until Ctrl+C",
    )
    replay.add_argument(
        "--csv",
        action="store_true",
        help="print a line for each frame instead, with the values of --struct",
    )
    replay.add_argument("--struct", metavar="FORMAT", help=HELP)
    replay.add_argument(
        "--offset", type=number, default=0, help="where the structure of --struct is"
    )


# ------------------------------------------------------------------ recording


def _record(arguments: argparse.Namespace) -> int:
    if arguments.rate < 1:
        raise ValueError("--rate must be 1 or more")
    with (
        open_target(arguments) as target,
        RecordingWriter(
            arguments.file, arguments.target, target.size, time.time_ns()
        ) as writer,
    ):
        start = time.monotonic_ns()
        note(f"recording {target.size} bytes of {target.label}, Ctrl+C ends")
        step = 1 / arguments.rate
        try:
            deadline = Deadline(arguments.seconds)
            while deadline.left() != 0:
                writer.add(time.monotonic_ns() - start, target.read())
                if arguments.frames is not None and writer.frames >= arguments.frames:
                    break
                time.sleep(step)
        finally:
            # This also ends a recording after Ctrl+C, or when the process is gone.
            passed = time.monotonic_ns() - start
            writer.close(passed)
            _report(arguments, writer.frames, target.size, passed)
    return 0


def _report(arguments: argparse.Namespace, frames: int, size: int, passed: int) -> None:
    length = arguments.file.stat().st_size
    taken = passed / _BILLION
    facts = {
        "file": str(arguments.file),
        "frames": frames,
        "bytes": size,
        "seconds": taken,
        "file_bytes": length,
    }
    text = f"{frames} frames in {taken:.1f} s: {length:,} bytes of file"
    print_result(arguments.json, facts, text)


# ------------------------------------------------------------------ replaying


def _replay(arguments: argparse.Namespace) -> int:
    if arguments.csv != (arguments.struct is not None):
        raise ValueError("--csv and --struct go together")
    with RecordingReader(arguments.file) as reader:
        if arguments.csv:
            _print_csv(reader, Overlay(arguments.struct), arguments.offset)
            return 0
        name = arguments.name or reader.name
        frames = 0
        with SharedMapping.create(name, reader.size) as mapping:
            note(f"replaying {reader.size} bytes as {name!r}, Ctrl+C ends")
            try:
                while True:
                    for _ in _play(mapping, reader, arguments.speed):
                        frames += 1
                    if not arguments.loop or not frames:
                        break
                while arguments.keep:
                    time.sleep(_SLICE)
            finally:
                facts = {"name": name, "frames": frames, "bytes": reader.size}
                print_result(arguments.json, facts, f"{frames} frames replayed")
    if not reader.complete:
        note(f"{arguments.file} ends early; what is whole was replayed")
    return 0


def _print_csv(reader: RecordingReader, overlay: Overlay, offset: int) -> None:
    """A line for each frame: seconds since the start, and all values."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    frames = reader.records(f"{overlay.size}s", offset)
    for index, (time_ns, (data,)) in enumerate(frames):
        cells = overlay.cells(data)
        if index == 0:
            writer.writerow(["seconds", *cells])
        writer.writerow([f"{time_ns / _BILLION:.9f}", *cells.values()])


def _play(
    mapping: SharedMapping, reader: RecordingReader, speed: float
) -> Iterator[None]:
    """Play all of it, one frame for each step of the iterator."""
    start = time.monotonic()
    for index, frame in enumerate(reader):
        if speed:
            _sleep_until(start + frame.time_ns / _BILLION / speed)
        changes = frame.changes
        if index == 0:
            # In one write, so that no reader sees zeros that were written first.
            changes = ((0, _from_zeros(frame, reader.size)),)
        for offset, data in changes:
            mapping.write(data, offset)
        yield
    if speed:
        _sleep_until(start + reader.duration_ns / _BILLION / speed)


def _from_zeros(frame: Frame, size: int) -> bytes:
    """The whole memory after a first frame."""
    memory = bytearray(size)
    for offset, data in frame.changes:
        memory[offset : offset + len(data)] = data
    return bytes(memory)


def _sleep_until(when: float) -> None:
    while (left := when - time.monotonic()) > 0:
        time.sleep(min(left, _SLICE))
