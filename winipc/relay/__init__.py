"""Mappings and windows of other machines, through an MQTT 5 broker.

Each class is one side. `MappingSource` shares a mapping, and `MappingCopy` keeps a copy
of it on another machine. `WindowTarget` lets others send WM_COPYDATA to a window, and
`WindowProxy` is a window on another machine whose messages go there.

docs/relay.md has every topic and payload. The package needs paho-mqtt:
``pip install winipc[relay]``.
"""

from typing import TYPE_CHECKING

from winipc.relay import link, mapping, window
from winipc.relay.link import *
from winipc.relay.mapping import *
from winipc.relay.window import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = link.__all__ + mapping.__all__ + window.__all__
