"""The program behind ./dev."""

import os
import sys

from base import Failure, Stopped, die_by, say, stop_on_signals
from commands import COMMANDS


def open_standard_streams() -> None:
    """Open /dev/null for each closed stream: a later file would take its number."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # This is the lowest free number, so open() returns it.
            os.open(os.devnull, os.O_RDWR)


def main(argv: list[str]) -> int:
    name, *args = argv
    if (command := COMMANDS.get(name)) is None:
        say(f"there is no command {name!r}; ./dev help lists them")
        return 2
    open_standard_streams()
    stop_on_signals()
    try:
        return command(args)
    except Failure as error:
        sys.stderr.write(error.output)
        say(str(error))
        return 1
    except Stopped as stopped:
        die_by(stopped.signum)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
