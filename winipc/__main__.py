"""`python -m winipc`: the command line."""

import sys


def main() -> int:
    """Run one command; Ctrl+C ends it quietly, also during imports."""
    try:
        from winipc.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
