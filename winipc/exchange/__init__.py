"""The exchange: one call for any of the four transports."""

from winipc.exchange.exchange import (
    Delivery,
    Received,
    Receiver,
    Sender,
    Transport,
)

__all__ = ["Delivery", "Received", "Receiver", "Sender", "Transport"]
