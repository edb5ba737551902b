"""Sections of DLLs that processes share."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from winipc.section.section import *
else:
    from winipc import _late

    __all__, __getattr__, __dir__ = _late(__name__)
