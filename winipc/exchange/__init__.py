"""The exchange: bytes from a sender to a receiver, by any of four transports."""

from winipc.exchange.receiver import Delivery, Received, Receiver
from winipc.exchange.sender import Sender
from winipc.exchange.transport import Transport

__all__ = ["Delivery", "Received", "Receiver", "Sender", "Transport"]
