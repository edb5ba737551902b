"""Searches in bytes, and in the memory of other processes."""

from typing import TYPE_CHECKING

from winipc.scan import candidates, pointers, regex, scan, signature
from winipc.scan.candidates import *
from winipc.scan.pointers import *
from winipc.scan.regex import *
from winipc.scan.scan import *
from winipc.scan.signature import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = candidates.__all__ + pointers.__all__ + regex.__all__
    __all__ += scan.__all__ + signature.__all__
