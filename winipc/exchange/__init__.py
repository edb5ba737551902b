"""The exchange: bytes from a sender to a receiver, by any of four transports."""

from typing import TYPE_CHECKING

from winipc.exchange import receiver, sender, transport
from winipc.exchange.receiver import *
from winipc.exchange.sender import *
from winipc.exchange.transport import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = receiver.__all__ + sender.__all__ + transport.__all__
