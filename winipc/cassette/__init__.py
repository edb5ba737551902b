"""Cassettes: recordings of programs, played back as the programs' doubles.

`Cassette.record` keeps what a live program does: how its mappings change, which
messages it receives and how it answers, when its events are set. `Cassette.play` does
the same without the program. docs/cassettes.md has the file's format.
"""

from typing import TYPE_CHECKING

from winipc.cassette import cassette, events
from winipc.cassette.cassette import *
from winipc.cassette.events import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = cassette.__all__ + events.__all__
