"""What the pytest plugin is made of; usable without pytest, too.

`Peer` is a second process that a test talks to line by line, `ExpectingWindow` a
`CopyDataWindow` that says how a message differs from the expected one, and `LeakCheck`
lists what this process has that it did not have before, and `stable_paths` keeps the
pointer paths that hold each time a program is started.
"""

from winipc.testing.expecting import ExpectingWindow
from winipc.testing.leaks import LeakCheck
from winipc.testing.peer import Peer
from winipc.testing.ready import ReadyNames
from winipc.testing.stable import StablePaths, StableRun, stable_paths

__all__ = [
    "ExpectingWindow",
    "LeakCheck",
    "Peer",
    "ReadyNames",
    "StablePaths",
    "StableRun",
    "stable_paths",
]
