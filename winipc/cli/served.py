"""What `winipc serve` shows: each thing as JSON, and as the HTML of a view."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeAlias

import winipc
from winipc.cassette.events import CassetteEvent, MessageEvent
from winipc.cassette.proxy import Proxy
from winipc.cli.lists import allocations, window_fields
from winipc.cli.overlay import Overlay
from winipc.cli.targets import open_mapping
from winipc.message import CopyDataWindow, Message, find_windows
from winipc.process.process import RemoteProcess, processes
from winipc.system.catalog import named_objects
from winipc.views.fields import leaves
from winipc.views.hexdump import HexView
from winipc.views.picture import AddressSpace

#: A look gives what there is now, and None where nothing is new. Calls of one look
#: follow each other; calls of several may be at once.
Look: TypeAlias = "Callable[[], Any]"

_DEFAULT_SIZE = 256
_MOST_BYTES = 4096
#: Messages that are kept, and bytes of each.
_MOST_MESSAGES = 200
_MOST_OF_MESSAGE = 4096
#: Seconds for which the page marks a byte that has changed.
_MARKED = 0.7


class Heard:
    """The last messages to windows: own ones, and those that a proxy stands before."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, Any]] = deque(maxlen=_MOST_MESSAGES)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._open = ExitStack()
        self.titles: list[str] = []

    def listen(self, title: str) -> None:
        """Open a window of this title; OSError (winerror 183) if there is one."""

        def take(message: Message) -> int:
            data = bytes(memoryview(message)[:_MOST_OF_MESSAGE])
            fields = {"id": message.id, "sender": message.sender, "pid": message.pid}
            self._add(title, fields | {"bytes": len(message), "answer": 1}, data)
            return 1

        window = CopyDataWindow.create(title, handler=take, exist_ok=False)
        self._open.enter_context(window)
        self.titles.append(title)

    def attach(self, title: str) -> None:
        """Stand before the window of this title, and pass its messages on."""

        def take(event: CassetteEvent) -> None:
            assert isinstance(event, MessageEvent)
            fields = {"id": event.id, "sender": event.wparam, "pid": None}
            fields |= {"bytes": len(event.data), "answer": event.answer}
            self._add(title, fields, event.data[:_MOST_OF_MESSAGE])

        proxy = self._open.enter_context(Proxy.find("window", title, 0))
        proxy.start(0, take, lambda: 0)
        self.titles.append(title)

    def _add(self, title: str, fields: dict[str, Any], data: bytes) -> None:
        try:
            text = data.removesuffix(b"\0").decode()
        except UnicodeDecodeError:
            text = None
        with self._lock:
            number = next(self._numbers)
            row = {"number": number, "time": time.time(), "title": title, **fields}
            self._kept.append(row | {"hex": data.hex(), "text": text})

    def after(self, number: int) -> list[dict[str, Any]]:
        """Those that came after the one of this number, oldest first."""
        with self._lock:
            return [row for row in self._kept if row["number"] > number]

    def close(self) -> None:
        self._open.close()


class Served:
    """What there is to look at. Nothing is held open between two looks."""

    def __init__(
        self, mappings: Mapping[str, Overlay | None], heard: Heard, writable: bool
    ) -> None:
        self.mappings = mappings
        self.heard = heard
        self.writable = writable

    def look(self, what: str, options: Mapping[str, str], html: bool) -> Look:
        """What looks at this, such as "objects"; LookupError if there is no such thing.

        `html` adds the view that notebooks have, where there is one.
        """
        if what == "mapping":
            return _MappingLook(*self.place(options), html)
        if what == "process":
            pid = int(_given(options, "pid"))
            return lambda: _process(pid, html)
        if what == "messages":
            return self._messages(int(options.get("after", 0)))
        looks: dict[str, Look] = {
            "session": self._session,
            "objects": lambda: [dataclasses.asdict(row) for row in named_objects()],
            "windows": _windows,
            "processes": lambda: [dataclasses.asdict(row) for row in processes()],
        }
        if what not in looks:
            raise LookupError(f"there is no {what!r} to look at")
        return looks[what]

    def _session(self) -> dict[str, Any]:
        return {
            "version": winipc.__version__,
            "mappings": list(self.mappings),
            "messages": self.heard.titles,
            "writable": self.writable,
        }

    def _messages(self, after: int) -> Look:
        def look() -> list[dict[str, Any]] | None:
            nonlocal after
            found = self.heard.after(after)
            after = found[-1]["number"] if found else after
            return found or None

        return look

    def place(self, options: Mapping[str, str]) -> tuple[str, Overlay | None, int, int]:
        """Which bytes of which mapping are meant."""
        name = _given(options, "name")
        overlay = self.mappings.get(name)
        offset = int(options.get("offset", "0"), 0)
        size = int(options.get("size", "0"), 0)
        size = size or (overlay.size if overlay else _DEFAULT_SIZE)
        if offset < 0 or not 0 < size <= _MOST_BYTES:
            raise ValueError(f"offset is 0 or more, size from 1 to {_MOST_BYTES}")
        return name, overlay, offset, size

    def write(self, options: Mapping[str, str], change: Mapping[str, Any]) -> None:
        """Write {"hex": ...} at the offset, or {"values": {field: value}}.

        Raises PermissionError if the server is for reading.
        """
        if not self.writable:
            raise PermissionError("for reading only: winipc serve --allow-write writes")
        name, overlay, offset, _ = self.place(options)
        with open_mapping(name, write=True) as mapping:
            if "hex" in change:
                mapping.write(bytes.fromhex(change["hex"]), offset)
                return
            if not isinstance(change.get("values"), dict):
                raise ValueError('a change is {"hex": ...} or {"values": {...}}')
            layout = overlay.layout if overlay else None
            if layout is None:
                raise ValueError(f"no --struct with names was given for {name!r}")
            known = {leaf.name: leaf for leaf in leaves(layout)}
            if unknown := change["values"].keys() - known:
                raise ValueError(f"there is no field {min(unknown)!r}")
            for write in (False, True):  # only if all values fit
                for field, value in change["values"].items():
                    leaf = known[field]
                    at = offset + leaf.offset
                    data = leaf.field.pack(value, mapping.read(leaf.field.size, at))
                    if write:
                        mapping.write(data, at)


def _given(options: Mapping[str, str], name: str) -> str:
    if name not in options:
        raise ValueError(f"{name}= is missing")
    return options[name]


class _MappingLook:
    """Opens a mapping for each look: held open, it would outlive its last owner."""

    def __init__(
        self, name: str, overlay: Overlay | None, offset: int, size: int, html: bool
    ) -> None:
        self._name, self._overlay = name, overlay
        self._offset, self._size = offset, size
        self._view: HexView | None = None
        if html:
            layout = overlay.layout if overlay else None
            self._view = HexView(b"", layout, offset=offset, size=size)
            self._view.marked = _MARKED

    def __call__(self) -> dict[str, Any]:
        with open_mapping(self._name) as mapping:
            offset = min(self._offset, mapping.size)
            data = mapping.read(min(self._size, mapping.size - offset), offset)
            overlay = self._overlay
            found = {
                "name": self._name,
                "size": mapping.size,
                "offset": offset,
                "hex": data.hex(),
                "values": overlay.as_json(data)
                if overlay is not None and len(data) >= overlay.size
                else None,
            }
            if self._view is not None:
                self._view.target = mapping
                found["html"] = self._view.html(style=False)
            return found


def _process(pid: int, html: bool) -> dict[str, Any]:
    with RemoteProcess.open(pid) as process:
        found: dict[str, Any] = {"pid": pid, "name": process.name}
        if html:
            return found | {"html": AddressSpace(process).html(style=False)}
        return found | {"regions": allocations(process)}


def _windows() -> list[dict[str, Any]]:
    return [
        row for window in find_windows() if (row := window_fields(window)) is not None
    ]
