"""Cassettes: recordings of programs, played back as the programs' doubles.

`Cassette.record` keeps what a live program does: how its mappings change, which
messages it receives and how it answers, when its events are set. `Cassette.play` does
the same without the program. docs/cassettes.md has the file's format.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.cassette.cassette import *
    from winipc.cassette.events import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
