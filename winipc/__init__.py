"""Win32 inter-process communication: shared memory, messages, remote memory.

This package re-exports all public names. Each name is documented where it is defined,
and is imported from there when it is first used.
"""

import sys

if sys.platform != "win32":
    raise ImportError(
        "winipc needs Windows: install it in a Windows Python, "
        "or run it on Linux under Wine with ./dev from its repository"
    )

try:
    from winipc import _core as _core
except ImportError:
    # In a checkout, `python -m winipc` finds these sources first, without an extension
    # beside them. Then take the installed package's extension.
    import pkgutil

    __path__ = pkgutil.extend_path(__path__, __name__)
    from winipc import _core as _core

TYPE_CHECKING = False  # not from `typing`, whose import takes time
if TYPE_CHECKING:
    from winipc._bridge import *
    from winipc._telemetry import *
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

#: The public names of each subject. A subject is imported when one of its names is
#: first used.
_SUBJECTS = {
    "_bridge": "Bridge GameMapping bridge game_mappings",
    "_telemetry": "KnownMapping KnownProgram Telemetry known_programs telemetry",
    "cassette": """
        Cassette CassetteError CassetteEvent ChangeEvent MessageEvent StateEvent
        Track
    """,
    "channel": "Channel EndOfStream PeekedMessage",
    "errors": "AbandonedError PartialReadError PartialWriteError",
    "exchange": "Delivery Received Receiver Sender Transport",
    "memory": """
        Access Atomic Field GlobalMemory Layout LayoutError LockedMapping
        MappingView MemoryKind MemoryProtection MemoryState MemoryType NewestOf
        Record SharedMapping Snapshot StructView Text large_pages_privilege
    """,
    "message": """
        Accept ControlItem CopyDataWindow HWND_BROADCAST Handler Message Overflow
        Target Window broadcast_message call find_window find_windows
        mapping_is_ours post_message register_message send_copydata
        send_copydata_async send_message set_window_text wait_window window_items
        window_text
    """,
    "process": """
        Change Export Freeze MapRow Module PartialRead ProcessAccess ProcessEntry
        Region RemoteBlock RemoteProcess ThreadEntry Watch debug_privilege processes
    """,
    "scan": """
        CandidateSet Pattern PointerPath PointerPaths PointerScan RegexMatch Scan
        ScanMatch Signature SignatureCheck ValueChange ValueType scan_bytes
    """,
    "section": "SectionError SharedSection",
    "sync": "Event Mutex Semaphore SharedLock SyncAccess Waitable wait_all wait_any",
    "system": "Holders NamedObject ObjectKind holders holders_of named_objects",
    "pe": "SectionFlags SectionVariable",
}
_HOMES = {name: home for home, names in _SUBJECTS.items() for name in names.split()}

if not TYPE_CHECKING:  # a checker takes the imports as they are
    __all__ = list(_HOMES)

    def __getattr__(name):
        home = _HOMES.get(name) or (name if name in _SUBJECTS else None)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        __import__(f"{__name__}.{home}")
        module = sys.modules[f"{__name__}.{home}"]
        value = globals()[name] = module if name == home else getattr(module, name)
        return value

    def __dir__():
        return sorted({*globals(), *_HOMES, *_SUBJECTS})


__version__ = "0.1.0"
