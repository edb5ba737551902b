"""What the tests of Channel share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from helpers.deadlines import DEADLINE  # noqa: F401 - what its tests wait for
from winipc import Channel

CAPACITY = 4096


@pytest.fixture
def pair(unique_name: str) -> Iterator[tuple[Channel, Channel]]:
    """The sender's and the receiver's end of one channel."""
    with (
        Channel.create(unique_name, CAPACITY) as receiver,
        Channel.open(unique_name) as sender,
    ):
        yield sender, receiver
