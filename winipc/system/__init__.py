"""The system: kernel objects that have names, and the processes that hold them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.system.catalog import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
