"""Other processes and their memory."""

from typing import TYPE_CHECKING

from winipc.process import freeze, memory, process, types
from winipc.process.freeze import *
from winipc.process.memory import *
from winipc.process.process import *
from winipc.process.types import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = freeze.__all__ + memory.__all__ + process.__all__ + types.__all__
