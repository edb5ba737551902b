"""The parts of the pytest plugin; they are usable without pytest, too.

`Peer` is a second process that a test talks to line by line. `ExpectingWindow` is a
`CopyDataWindow` that says how a message differs from the expected one. `LeakCheck`
lists what this process has and did not have before. `stable_paths` keeps the pointer
paths that are right each time a program is started.
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
