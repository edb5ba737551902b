"""How long tests wait for what comes unless something is broken.

On a busy machine all takes longer: ./dev test tells how many times as long.
"""

from __future__ import annotations

import os

SLOWNESS = float(os.environ.get("WINIPC_TEST_SLOWNESS") or 1)

#: Seconds after which a peer that says nothing is taken for broken. Generous:
#: only a broken peer ever waits this long.
DEADLINE = 60.0 * SLOWNESS

#: Seconds that only something broken takes.
LONG = 30.0 * SLOWNESS
