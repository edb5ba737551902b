"""Share the state of a machine with a program in C: both read machine.h.

    python machine.py [--name winipc-machine] [--user Zoe] [--program machine.exe]

This program creates or opens the mapping, and writes a user's name there. machine.c is
the machine: with --program, it runs for some cycles. machine.ipynb shows the state in a
notebook. A program whose machine.h has other fields cannot open the mapping.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import winipc

NAME = "winipc-machine"
MACHINE = winipc.Layout.from_c(
    Path(__file__).with_name("machine.h"), "machine", enums=True
)


def share(name: str = NAME) -> winipc.SharedMapping:
    """Create the mapping, or open it."""
    return winipc.SharedMapping.create(name, header=MACHINE, exist_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", default=NAME, help="name of the mapping")
    parser.add_argument("--user", default="Zoe")
    parser.add_argument("--program", help="machine.exe, compiled from machine.c")
    parser.add_argument("--cycles", type=int, default=4)
    arguments = parser.parse_args()
    with share(arguments.name) as mapping:
        machine = mapping.struct_view(MACHINE)
        machine.user = arguments.user
        if arguments.program is not None:
            command = [arguments.program, arguments.name, str(arguments.cycles)]
            subprocess.run(command, check=True)
        record = machine.as_record()
        print(record.mode.name, record.program, "for", record.user, flush=True)
        for name, axis in zip("xyz", record.axes, strict=True):
            print(f"{name}: {axis.position} mm, tool {axis.tool}", flush=True)


if __name__ == "__main__":
    main()
