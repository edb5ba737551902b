"""Win32 inter-process communication: shared memory, messages, remote memory.

Everything that is public is re-exported here; each name is documented where
it is defined.
"""

import pkgutil
import sys
from typing import TYPE_CHECKING

if sys.platform != "win32":
    raise ImportError(
        "winipc needs Windows: install it in a Windows Python, "
        "or run it on Linux under Wine with ./dev from its repository"
    )

# `python -m winipc` in a checkout finds these sources first, which have no
# extension beside them: that of the installed package is then taken.
__path__ = pkgutil.extend_path(__path__, __name__)

from winipc.bridge import *
from winipc.cassette import *
from winipc.channel import *
from winipc.errors import *
from winipc.exchange import *
from winipc.memory import *
from winipc.message import *
from winipc.pe import SectionFlags as SectionFlags
from winipc.pe import SectionVariable as SectionVariable
from winipc.process import *
from winipc.scan import *
from winipc.section import *
from winipc.sync import *
from winipc.system import *
from winipc.telemetry import *

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = ["SectionFlags", "SectionVariable"]
    for _name in ("bridge", "cassette", "channel", "errors", "exchange", "memory"):
        __all__ += sys.modules[f"{__name__}.{_name}"].__all__
    for _name in ("message", "process", "scan", "section", "sync", "system"):
        __all__ += sys.modules[f"{__name__}.{_name}"].__all__
    __all__ += sys.modules[f"{__name__}.telemetry"].__all__

__version__ = "0.1.0"
