"""Shared memory: mappings, whole records, structures, interlocked operations."""

from typing import TYPE_CHECKING

from winipc.memory import atomic, block, layout, locked, mapping, pages, snapshot
from winipc.memory.atomic import *
from winipc.memory.block import *
from winipc.memory.layout import *
from winipc.memory.locked import *
from winipc.memory.mapping import *
from winipc.memory.pages import *
from winipc.memory.snapshot import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = (
        atomic.__all__
        + block.__all__
        + layout.__all__
        + locked.__all__
        + mapping.__all__
        + pages.__all__
        + snapshot.__all__
    )
