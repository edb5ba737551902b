"""`python -m winipc`: the command line."""

import sys

from winipc.cli import main

if __name__ == "__main__":
    sys.exit(main())
