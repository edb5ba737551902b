"""`winipc record` and `winipc replay`: record a mapping's changes, and repeat them."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from winipc.cassette import Cassette, CassetteEvent
from winipc.cli.cassette import add_playing, need_new, play, record_until
from winipc.cli.options import Commands, add_command, add_seconds, number, positive
from winipc.cli.overlay import add_offset, add_struct
from winipc.cli.targets import (
    Target,
    add_raw,
    add_size,
    add_target,
    mapping_names,
    open_target,
)


def add(commands: Commands) -> None:
    record = add_command(
        commands,
        "record",
        _record,
        "record a mapping to a file",
        "Record the changes of a mapping, and winipc's header if it has one. The file "
        "is a cassette with one track; winipc cassette does more.",
        "record my-app.state session.wipc --seconds 60",
    )
    add_target(record)
    add_size(record)
    add_raw(record, "--offset and --size begin at winipc's header, not behind it")
    record.add_argument("file", type=Path, help="a new file")
    record.add_argument(
        "--rate", type=positive, default=60, help="looks per second (%(default)s)"
    )
    add_seconds(record)
    record.add_argument("--frames", type=number, help="end after this many changes")

    replay = add_command(
        commands,
        "replay",
        _replay,
        "create a recorded mapping again",
        "Create a recorded mapping again and repeat its changes, so that you can "
        "develop a program without the game or the device that writes the real one. Or "
        "print its values, which begin behind winipc's header: --csv --struct FORMAT.",
        "replay session.wipc --loop --speed 2",
        'replay session.wipc --csv --struct "speed:f32 gear:i32"',
    )
    replay.add_argument("file", type=Path, help="a recording")
    replay.add_argument("--name", help="name of the mapping (the recorded one)")
    add_playing(replay)
    replay.add_argument(
        "--csv",
        action="store_true",
        help="only print a line for each frame, with the values of --struct",
    )
    add_struct(replay, "the values of --csv")
    add_offset(replay)
    add_raw(replay)


def _record(arguments: argparse.Namespace) -> int:
    frames = 0

    def count(event: CassetteEvent) -> CassetteEvent | None:
        nonlocal frames
        frames += 1
        most = arguments.frames
        return event if most is None or frames <= most else None

    with _target(arguments) as target:
        need_new(arguments.file)
        record_until(
            arguments,
            lambda: arguments.frames is not None and frames >= arguments.frames,
            mappings=[(arguments.target, target)],
            before_record=count,
        )
    return 0


def _target(arguments: argparse.Namespace) -> Target:
    """Open what is recorded; a hint tells of arguments in the wrong order."""
    target, file = arguments.target, str(arguments.file)
    if not arguments.offset and arguments.size is None:
        arguments.raw = True  # the double has the header, too
    try:
        return open_target(arguments, hold=True)
    except FileNotFoundError as error:
        if target.endswith(".wipc") or file in mapping_names(file):
            error.add_note(f"the name comes before the file: record {file} {target}")
        raise


def _replay(arguments: argparse.Namespace) -> int:
    if arguments.csv != (arguments.struct is not None):
        arguments.parser.error(
            "--csv and --struct go together: replay FILE --csv --struct FORMAT"
        )
    if arguments.csv:
        _print_csv(arguments)
        return 0
    if arguments.offset or arguments.raw:
        arguments.parser.error("only --csv has --offset and --raw")
    names = [] if arguments.name is None else [("", arguments.name)]
    return play(arguments, "winipc cassette play --name", names)


def _print_csv(arguments: argparse.Namespace) -> None:
    """Print a line for each frame: seconds since the start, and all values."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    overlay, cassette = arguments.struct, Cassette(arguments.file)
    mappings = [track.name for track in cassette.tracks if track.kind == "mapping"]
    if len(mappings) != 1:
        arguments.parser.error(
            f"--csv is for a cassette of one mapping, not of {mappings}: "
            "winipc cassette show --struct TRACK=FORMAT shows the values of any"
        )
    form, offset = f"{overlay.size}s", arguments.offset
    frames = cassette.records(form, offset, raw=arguments.raw)
    for index, (time_ns, (data,)) in enumerate(frames):
        cells = overlay.cells(data)
        if index == 0:
            writer.writerow(["seconds", *cells])
        writer.writerow([f"{time_ns / 1e9:.9f}", *cells.values()])
