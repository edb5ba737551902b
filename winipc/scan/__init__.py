"""Searches in bytes, and in the memory of other processes."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.scan.candidates import *
    from winipc.scan.pointers import *
    from winipc.scan.regex import *
    from winipc.scan.scan import *
    from winipc.scan.signature import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
