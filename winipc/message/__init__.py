"""Windows and the messages that they receive and send."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.message.controls import *
    from winipc.message.lookup import *
    from winipc.message.message import *
    from winipc.message.send import *
    from winipc.message.target import *
    from winipc.message.window import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
