"""`View`: an object as HTML, and what views know about each kind of object."""

from __future__ import annotations

import contextlib
from typing import Any

from winipc import _core
from winipc.base.text import clean
from winipc.channel import Channel
from winipc.exchange import Receiver
from winipc.memory.pages import PAGE_SIZE
from winipc.memory.snapshot import Snapshot
from winipc.message import CopyDataWindow, Window
from winipc.process.process import RemoteProcess
from winipc.views.markup import framed, head, note

#: What the first line of a view adds to the repr, unless it is 0, None or empty.
_FACTS: dict[type, dict[str, str]] = {
    RemoteProcess: {"name": "{}"},
    Snapshot: {"sequence": "record {}"},
    CopyDataWindow: {
        "refused": "{} refused",
        "rejected": "{} rejected",
        "dropped": "{} dropped",
    },
    Receiver: {"refused": "{} refused"},
    Channel: {
        "dropped": "{} dropped",
        "receiver": "receiver: pid {}",
        "senders": "senders: {}",
    },
    Window: {"_state": "{}", "executable": "{}"},
}


class View:
    """An object as HTML; each time it is shown, it reads the object again."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def html(self, style: bool = True) -> str:
        """The object as HTML; a closed or ended object is shown as such.

        Without `style`, the page needs `winipc.views.markup.STYLE`.
        """
        # The object may be closed, or end, at any time.
        parts = []
        for part in (self._head, self._body):
            try:
                parts.append(part())
            except (OSError, ValueError, LookupError, BufferError) as error:
                parts.append(note(f"{type(error).__name__}: {error}"))
        return framed(parts, style)

    def gone(self) -> str | None:
        """Why the view will not change any more, or None."""
        if getattr(self.target, "closed", False) is True:
            return "closed"
        if isinstance(self.target, RemoteProcess):
            try:
                if not self.target.alive:
                    target = self.target
                    return f"pid {target.pid} has exited with code {target.exit_code}"
            except ValueError:
                return "closed"
            except OSError:
                pass  # this process lacks the right to ask
        return None

    def _head(self) -> str:
        if not type(self.target).__module__.startswith("winipc"):
            return head(f"{type(self.target).__name__} of {size_of(self.target)} bytes")
        facts = []
        for kind, texts in _FACTS.items():
            for name, text in texts.items() if isinstance(self.target, kind) else ():
                # The process or window is gone, or this process may not ask.
                with contextlib.suppress(OSError, ValueError):
                    if value := getattr(self.target, name):
                        facts.append(text.format(value))
        return head(repr(self.target), *facts)

    def _body(self) -> str:
        """The HTML below the first line."""
        return ""

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {clean(repr(self.target), 200)}>"


def size_of(target: Any) -> int | None:
    """The number of bytes of an object; None for a process."""
    if isinstance(target, RemoteProcess):
        return None
    if isinstance(size := getattr(target, "size", None), int):
        return size
    with memoryview(target) as view:
        return view.nbytes


def read_bytes(
    target: Any, address: int | None, offset: int, size: int, patience: float
) -> tuple[bytes, bytes]:
    """Return up to `size` bytes of an object, and for each byte 1, or 0 if unreadable.

    `patience` is the time in seconds that a `Snapshot` may take to give a whole record.
    """
    if isinstance(target, RemoteProcess):
        if address is None:
            raise ValueError("a process needs an address")
        return _read_process(target, address + offset, size)
    if address is not None:
        raise ValueError("address is for processes")
    if isinstance(target, Snapshot):
        data = _core.Snapshot.read(target, patience)[offset : offset + size]
    elif hasattr(target, "read"):
        total = size_of(target) or 0
        data = target.read(size=max(0, min(size, total - offset)), offset=offset)
    else:
        with memoryview(target) as view:
            data = bytes(view.cast("B")[offset : offset + size])
    return data, b"\1" * len(data)


def _read_process(process: RemoteProcess, at: int, size: int) -> tuple[bytes, bytes]:
    if not size:
        return b"", b""
    part = process.read(at, size, True)
    first = at % PAGE_SIZE
    pages = b"".join(bytes([known]) * PAGE_SIZE for known in part.mask)
    return bytes(part.data), pages[first : first + size]
