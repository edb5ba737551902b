"""Other processes and their memory."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.process.access import *
    from winipc.process.freeze import *
    from winipc.process.memory import *
    from winipc.process.process import *
    from winipc.process.types import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
