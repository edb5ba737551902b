"""Windows and the messages that they receive and send."""

from typing import TYPE_CHECKING

from winipc.message import controls, lookup, message, send, window
from winipc.message.controls import *
from winipc.message.lookup import *
from winipc.message.message import *
from winipc.message.send import *
from winipc.message.window import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = controls.__all__ + lookup.__all__ + message.__all__ + send.__all__
    __all__ += window.__all__
