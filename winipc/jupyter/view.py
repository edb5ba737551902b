"""`View`: what is shown of an object, and what views know about each kind of it."""

from __future__ import annotations

import contextlib
from typing import Any

from winipc.base.text import clean, size_text
from winipc.exchange import Receiver
from winipc.jupyter.markup import framed, head, note
from winipc.memory.mapping import MappingView, SharedMapping
from winipc.memory.pages import PAGE_SIZE
from winipc.memory.snapshot import Snapshot
from winipc.message import CopyDataWindow, Message
from winipc.process.process import RemoteProcess
from winipc.section.section import SharedSection

__all__ = ["View", "gone", "read_bytes", "size_of"]


class View:
    """What is shown of an object; each time it is shown, it looks anew."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def html(self) -> str:
        """The HTML now. Of an object that is closed or gone, it says just that."""
        # The object may close or end between any two looks.
        parts = []
        for part in (self._head, self._body):
            try:
                parts.append(part())
            except (OSError, ValueError, LookupError, BufferError) as error:
                parts.append(note(f"{type(error).__name__}: {error}"))
        return framed(parts)

    def gone(self) -> str | None:
        """Why the view will not change any more, or None."""
        return gone(self.target)

    def _head(self) -> str:
        return _describe(self.target)

    def _body(self) -> str:
        """What is below the first line."""
        return ""

    def _repr_html_(self) -> str:
        return self.html()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {clean(repr(self.target), 200)}>"


def _describe(target: Any) -> str:
    """The first line of the view of an object."""
    kind = type(target).__name__
    if getattr(target, "closed", False) is True:
        name = None
        with contextlib.suppress(ValueError):
            name = getattr(target, "name", None) or getattr(target, "title", None)
        return head(kind, name, "closed")
    if isinstance(target, SharedMapping):
        exact = "" if target.size_is_exact else "up to "
        how = "created here" if target.created else "opened"
        size = exact + size_text(target.size)
        return head(kind, target.name or "(no name)", size, target.access, how)
    if isinstance(target, MappingView):
        where = f"at offset {target.offset:#x}"
        return head(kind, target.name, where, size_text(target.size), target.access)
    if isinstance(target, SharedSection):
        return head(kind, target.symbol, size_text(target.size), target.path)
    if isinstance(target, RemoteProcess):
        return head(kind, _program(target), *_facts_of_process(target))
    if isinstance(target, Snapshot):
        return head(kind, None, target.kind, f"record {target.sequence}")
    if isinstance(target, Message):
        return head(kind, None, repr(target))
    if isinstance(target, CopyDataWindow):
        return head(kind, repr(target.title), *_facts_of_window(target))
    if isinstance(target, Receiver):
        return head(
            kind,
            repr(target.title),
            f"hwnd {target.window.hwnd:#x}",
            f"up to {size_text(target.max_message)} in a message",
            f"{target.refused} refused" if target.refused else None,
        )
    total = size_of(target)
    return head(kind, None, None if total is None else size_text(total))


def _program(process: RemoteProcess) -> str | None:
    try:
        return process.name
    except OSError:
        return None


def _facts_of_process(process: RemoteProcess) -> list[str]:
    facts = [f"pid {process.pid}"]
    with contextlib.suppress(
        OSError
    ):  # it has exited, or this process lacks the right to ask
        facts.append("64 bits" if process.is_64bit else "32 bits")
    if (end := gone(process)) is not None:
        facts.append(end)
    return facts


def _facts_of_window(window: CopyDataWindow) -> list[str]:
    counts = {
        "refused": window.refused,
        "rejected": window.rejected,
        "dropped": window.dropped,
    }
    return [
        f"hwnd {window.hwnd:#x}",
        f"{window.pending} waiting, {size_text(window.pending_bytes)}",
        *(f"{number} {what}" for what, number in counts.items() if number),
    ]


def gone(target: Any) -> str | None:
    """Why this object will not change any more, or None."""
    if getattr(target, "closed", False) is True:
        return "closed"
    if isinstance(target, RemoteProcess):
        try:
            if not target.alive:
                return f"has exited with code {target.exit_code}"
        except ValueError:
            return "closed"
        except OSError:
            return None  # this process lacks the right to ask
    return None


def size_of(target: Any) -> int | None:
    """How many bytes an object has; None where that is not known."""
    if isinstance(target, RemoteProcess):
        return None
    if isinstance(target, Snapshot):
        return target.size
    if isinstance(size := getattr(target, "size", None), int):
        return size
    with memoryview(target) as view:
        return view.nbytes


def read_bytes(
    target: Any, address: int | None, offset: int, size: int, patience: float
) -> tuple[bytes, bytes]:
    """At most `size` bytes of an object, and for each a 1, or 0 if it is not readable.

    `patience` is how many seconds a `Snapshot` may take to give a whole record.
    """
    if isinstance(target, RemoteProcess):
        if address is None:
            raise ValueError("a process needs an address")
        return _read_process(target, address + offset, size)
    if address is not None:
        raise ValueError("address is for processes")
    if isinstance(target, Snapshot):
        data = target.read(patience)[offset : offset + size]
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
