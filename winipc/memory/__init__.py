"""Shared memory: mappings, whole records, structures, interlocked operations."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.memory.atomic import *
    from winipc.memory.block import *
    from winipc.memory.layout import *
    from winipc.memory.locked import *
    from winipc.memory.mapping import *
    from winipc.memory.pages import *
    from winipc.memory.record import *
    from winipc.memory.snapshot import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
