"""The system: kernel objects that have names, and the processes that hold them."""

from typing import TYPE_CHECKING

from winipc.system import catalog
from winipc.system.catalog import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = catalog.__all__
