"""What ./dev runs."""

import sys

from base import Failure, Stopped, die_by, say, stop_on_signals
from commands import COMMANDS


def main(argv: list[str]) -> int:
    name, *args = argv
    if (command := COMMANDS.get(name)) is None:
        say(f"there is no command {name!r}; ./dev help lists them")
        return 2
    stop_on_signals()
    try:
        return command(args)
    except Failure as error:
        say(str(error))
        return 1
    except Stopped as stopped:
        die_by(stopped.signum)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
