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

TYPE_CHECKING = False  # not from `typing`, whose import takes time

#: The public names of each module, which is imported when one of them is first used.
_NAMES = {
    "_bridge": "Bridge GameMapping bridge game_mappings",
    "_telemetry": "KnownMapping KnownProgram Telemetry known_programs telemetry",
    "cassette.cassette": "Cassette",
    "cassette.events": """
        CassetteError CassetteEvent ChangeEvent MessageEvent StateEvent Track
    """,
    "channel": "Channel EndOfStream PeekedMessage",
    "decoders": "",
    "errors": "AbandonedError PartialReadError PartialWriteError",
    "exchange.receiver": "Delivery Received Receiver",
    "exchange.sender": "Sender",
    "exchange.transport": "Transport",
    "memory.atomic": "Atomic",
    "memory.block": "GlobalMemory MemoryKind",
    "memory.layout": "Field Layout LayoutError",
    "memory.locked": "LockedMapping",
    "memory.mapping": "Access MappingView SharedMapping large_pages_privilege",
    "memory.pages": "MemoryProtection MemoryState MemoryType",
    "memory.record": "Record StructView Text",
    "memory.snapshot": "NewestOf Snapshot",
    "message.controls": "ControlItem set_window_text window_items window_text",
    "message.lookup": "Window find_window find_windows wait_window",
    "message.message": "Message",
    "message.send": """
        HWND_BROADCAST broadcast_message mapping_is_ours post_message register_message
        send_copydata send_copydata_async send_message
    """,
    "message.target": "Target",
    "message.window": "Accept CopyDataWindow Handler Overflow call",
    "pe": "SectionFlags SectionVariable",
    "process.access": "ProcessAccess",
    "process.freeze": "Freeze",
    "process.memory": "RemoteBlock Watch",
    "process.process": "RemoteProcess debug_privilege processes",
    "process.types": """
        Address Change Export MapRow Module PartialRead ProcessEntry Region ThreadEntry
    """,
    "scan.candidates": "CandidateSet ValueChange",
    "scan.pointers": "PointerPath PointerPaths PointerScan",
    "scan.regex": "RegexMatch",
    "scan.scan": "Pattern Scan ScanMatch ValueType scan_bytes",
    "scan.signature": "Signature SignatureCheck",
    "section.section": "SectionError SharedSection",
    "sync.event": "Event",
    "sync.mutex": "Mutex",
    "sync.semaphore": "Semaphore",
    "sync.shared_lock": "SharedLock",
    "sync.waitable": "SyncAccess Waitable",
    "sync.waits": "wait_all wait_any",
    "system.catalog": "Holders NamedObject ObjectKind holders holders_of named_objects",
}

if not TYPE_CHECKING:  # a checker takes the imports as they are

    def _late(package):
        """The `__all__`, `__getattr__` and `__dir__` of a package of winipc.

        A name of `_NAMES` comes from the module that defines it, and a module of the
        package is its attribute, as if the package had imported all of them.
        """
        homes, modules = {}, set()
        for module, names in _NAMES.items():
            path = f"{__name__}.{module}"
            if path.startswith(f"{package}."):
                homes |= dict.fromkeys(names.split(), path)
                modules.add(path.removeprefix(f"{package}.").partition(".")[0])

        def __getattr__(name):
            if name not in homes and name not in modules:
                raise AttributeError(f"module {package!r} has no attribute {name!r}")
            home = homes.get(name, f"{package}.{name}")
            __import__(home)
            module = sys.modules[home]
            value = getattr(module, name) if name in homes else module
            setattr(sys.modules[package], name, value)
            return value

        def __dir__():
            return sorted({*vars(sys.modules[package]), *homes, *modules})

        return list(homes), __getattr__, __dir__

    __all__, __getattr__, __dir__ = _late(__name__)

try:
    from winipc import _core as _core
except ImportError:
    # In a checkout, `python -m winipc` finds these sources first, without an extension
    # beside them. Then take the installed package's extension.
    import pkgutil

    __path__ = pkgutil.extend_path(__path__, __name__)
    from winipc import _core as _core

if TYPE_CHECKING:
    from winipc import decoders as decoders
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

__version__ = "0.1.0"
