"""Win32 inter-process communication: shared memory, messages, remote memory.

Everything that is public is re-exported here; each name is documented where
it is defined.
"""

import sys

if sys.platform != "win32":
    raise ImportError(
        "winipc needs Windows: install it in a Windows Python, "
        "or run it on Linux under Wine with ./dev from its repository"
    )

from winipc.errors import AbandonedError, PartialReadError, PartialWriteError

__all__ = [
    "AbandonedError",
    "PartialReadError",
    "PartialWriteError",
]

__version__ = "0.1.0"
