"""What the pytest plugin is made of; usable without pytest, too.

`Peer` is a second process that a test talks to line by line, `ExpectingWindow`
a `CopyDataWindow` that says what came in place of what was expected, and
`LeakCheck` tells what this process has now that it had not before.
"""

from winipc.testing.testing import (
    ExpectingWindow,
    LeakCheck,
    Peer,
)

__all__ = ["ExpectingWindow", "LeakCheck", "Peer"]
