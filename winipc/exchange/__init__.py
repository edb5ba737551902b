"""The exchange: bytes from a sender to a receiver, by any of four transports."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.exchange.receiver import *
    from winipc.exchange.sender import *
    from winipc.exchange.transport import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
