"""What views know about each kind of object: its name, its bytes, its end."""

from __future__ import annotations

import contextlib
from typing import Any

from winipc.jupyter.markup import clean, head, size_text
from winipc.memory.mapping import MappingView, SharedMapping
from winipc.memory.pages import PAGE_SIZE
from winipc.memory.snapshot import Snapshot
from winipc.message.message import Message
from winipc.process.process import RemoteProcess
from winipc.section.section import SharedSection

__all__ = ["describe", "gone", "read_bytes", "size_of"]


def describe(target: Any) -> str:
    """The first line of a view of this object."""
    kind = type(target).__name__
    if getattr(target, "closed", False) is True:
        name = None
        with contextlib.suppress(ValueError):
            name = getattr(target, "name", None)
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
        return head(kind, _program(target), *_facts(target))
    if isinstance(target, Snapshot):
        return head(kind, None, target.kind, f"record {target.sequence}")
    if isinstance(target, Message):
        return head(kind, None, clean(repr(target)))
    total = size_of(target)
    return head(kind, None, None if total is None else size_text(total))


def _program(process: RemoteProcess) -> str | None:
    try:
        return process.name
    except OSError:
        return None


def _facts(process: RemoteProcess) -> list[str]:
    facts = [f"pid {process.pid}"]
    with contextlib.suppress(OSError):  # it has exited, or may not be asked
        facts.append("64 bits" if process.is_64bit else "32 bits")
    if (end := gone(process)) is not None:
        facts.append(end)
    return facts


def gone(target: Any) -> str | None:
    """Why nothing new will come from this object, or None."""
    if getattr(target, "closed", False) is True:
        return "closed"
    if isinstance(target, RemoteProcess):
        try:
            if not target.alive:
                return f"has exited with code {target.exit_code}"
        except ValueError:
            return "closed"
        except OSError:
            return None  # without the right to ask
    return None


def size_of(target: Any) -> int | None:
    """How many bytes there are to show; None where that is not known."""
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
    """At most `size` bytes of an object, and for each a 1 where it is real.

    `patience` is for how many seconds a record is waited for to be whole.
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
