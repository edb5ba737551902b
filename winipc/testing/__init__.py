"""What the pytest plugin is made of; usable without pytest, too.

`Peer` is a second process that a test talks to line by line, `ExpectingWindow`
a `CopyDataWindow` that says what came in place of what was expected, and
`LeakCheck` tells what this process has now that it did not have before.
"""

from winipc.testing.expecting import ExpectingWindow
from winipc.testing.leaks import LeakCheck
from winipc.testing.peer import Peer

__all__ = ["ExpectingWindow", "LeakCheck", "Peer"]
