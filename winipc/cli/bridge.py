"""`winipc bridge`: share a mapping with native Linux programs, under Wine.

The command creates the mapping before the game does, with a file in /dev/shm behind
it. Both stay until Ctrl+C, or until --seconds have passed.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import time

from winipc._bridge import bridge, game_mappings
from winipc.base.deadline import Deadline
from winipc.base.text import counted
from winipc.cli.options import Commands, add_command, positive, seconds
from winipc.cli.output import print_result, print_rows, until_ctrl_c

_SLICE = 0.2


def add(commands: Commands) -> None:
    parser = add_command(
        commands,
        "bridge",
        run,
        "share mappings with native Linux programs",
        __doc__,
        "bridge my-app.state --size 4096",
        "bridge --games",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="name of a mapping that the game uses"
    )
    parser.add_argument(
        "--size",
        type=positive,
        help="bytes (what --games lists for the name, else 4096)",
    )
    parser.add_argument(
        "--file", help="name of the file in /dev/shm (the mapping's name)"
    )
    parser.add_argument(
        "--seconds", type=seconds, metavar="N", help="end after this many seconds"
    )
    parser.add_argument(
        "--games", action="store_true", help="list the names that common games use"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.games:
        return _list_games(arguments)
    if not arguments.names:
        arguments.parser.error("give the name of a mapping, or --games for some")
    if arguments.file is not None and len(arguments.names) > 1:
        arguments.parser.error("--file is for one name")
    with until_ctrl_c() as say, contextlib.ExitStack() as stack:
        for name in arguments.names:
            made = stack.enter_context(
                bridge(name, arguments.size, file=arguments.file)
            )
            print_result(
                arguments.json,
                {"name": name, "bytes": made.size, "file": made.linux_path},
                f"{name}: {counted(f'{made.size:,}', 'byte')} in {made.linux_path}",
            )
        deadline = Deadline(arguments.seconds)
        say("sharing")
        while deadline.left() != 0:
            time.sleep(_SLICE)
    return 0


def _list_games(arguments: argparse.Namespace) -> int:
    return print_rows(
        arguments.json,
        [dataclasses.asdict(row) for row in game_mappings()],
        {"name": "name", "bytes": "size", "game": "game", "content": "content"},
        right=("bytes",),
        nothing="no game is known",
    )
