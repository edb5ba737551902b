"""Searches in memory: this process's and others'."""

from typing import TYPE_CHECKING

from winipc.scan import candidates, pointers, scan
from winipc.scan.candidates import *
from winipc.scan.pointers import *
from winipc.scan.scan import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = candidates.__all__ + pointers.__all__ + scan.__all__
