"""What `winipc serve` shows, as JSON and as the HTML of a view."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlencode

import winipc
from winipc.base.rows import Rows
from winipc.cassette.events import CassetteEvent, MessageEvent
from winipc.cassette.proxy import Proxy
from winipc.cli.lists import allocations, window_fields
from winipc.cli.overlay import Overlay
from winipc.cli.targets import changing, open_mapping, snapshot_over
from winipc.message import CopyDataWindow, Message, Window, find_windows
from winipc.process import ProcessEntry, RemoteProcess, processes
from winipc.system.catalog import NamedObject, named_objects
from winipc.views.hexdump import HexView
from winipc.views.markup import escape
from winipc.views.picture import AddressSpace
from winipc.views.tables import TableView
from winipc.views.view import read_bytes

#: A look returns what there is now, or None if nothing is new. One look is never called
#: by two threads at once; two looks may be.
Look: TypeAlias = "Callable[[], Any]"

_DEFAULT_SIZE = 256
_MOST_BYTES = 4096
#: Messages that are kept, and bytes of each.
_MOST_MESSAGES = 200
_MOST_OF_MESSAGE = 4096
#: Seconds within which a record of a Snapshot is whole, or its writer is stuck.
_PATIENCE = 1.0
#: Seconds for which the page marks a byte that has changed.
_MARKED = 0.7


class _Row(dict[str, Any]):
    """A message, as JSON and as a row of a table."""

    def _cells(self) -> dict[str, Any]:
        moment = datetime.datetime.fromtimestamp(self["time"])
        sender = f"{self['sender']:#x}" if self["sender"] else ""
        return {
            "time": moment.time().isoformat("milliseconds"),
            "to": self["title"],
            "from": f"pid {self['pid']}" if self["pid"] else sender,
            "id": f"{self['id']:#x}",
            "bytes": self["bytes"],
            "answer": self["answer"],
            "data": bytes.fromhex(self["hex"][:64]).hex(" ")
            if self["text"] is None
            else self["text"],
        }


class _Table(TableView):
    """A whole list; a cell that a card can show is a button that opens the card."""

    def __init__(self, rows: Rows[Any]) -> None:
        super().__init__(rows)
        self.count = len(rows)

    def _cell(self, column: str, text: str, item: Any) -> str:
        opens = text and _opens(column, item)  # no text: the window is gone
        if not opens:
            return escape(text)
        return f"<button data-opens='{escape(urlencode(opens), 9999)}'>" + (
            f"{escape(text)}</button>"
        )


def _opens(column: str, item: Any) -> dict[str, object] | None:
    """What a click on this cell opens."""
    match column, item:
        case "name", NamedObject(kind="mapping", reason=None):
            return {"what": "mapping", "name": _bare(item.name)}
        case ("name", ProcessEntry(pid=pid)) | ("program", Window(pid=pid)):
            return {"what": "process", "pid": pid}
        case "from", {"pid": int(pid)}:
            return {"what": "process", "pid": pid}
    return None


_LISTS: dict[str, Callable[[], Rows[Any]]] = {
    "objects": named_objects,
    "windows": find_windows,
    "processes": processes,
}


class Heard:
    """The last messages to the windows opened here, and to those behind a proxy."""

    def __init__(self) -> None:
        self._kept: deque[_Row] = deque(maxlen=_MOST_MESSAGES)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._open = ExitStack()
        self.titles: list[str] = []

    def listen(self, title: str) -> None:
        """Open a window with this title. Raises FileExistsError if it is taken."""

        def take(message: Message) -> int:
            data = bytes(memoryview(message)[:_MOST_OF_MESSAGE])
            sender, pid = message.sender or None, message.pid or None
            fields = {"id": message.id, "sender": sender, "pid": pid}
            self._add(title, fields | {"bytes": len(message), "answer": 1}, data)
            return 1

        window = CopyDataWindow.create(title, handler=take, exist_ok=False)
        self._open.enter_context(window)
        self.titles.append(title)

    def attach(self, title: str) -> None:
        """Put a proxy before the window with this title; it passes the messages on."""

        def take(event: CassetteEvent) -> None:
            assert isinstance(event, MessageEvent)
            fields = {"id": event.id, "sender": event.wparam or None, "pid": None}
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
            self._kept.append(_Row(row, hex=data.hex(), text=text))

    def after(self, number: int) -> list[_Row]:
        """The messages that came after the one with this number, oldest first."""
        with self._lock:
            return [row for row in self._kept if row["number"] > number]

    def close(self) -> None:
        self._open.close()


class Named(NamedTuple):
    """What the command line says of a mapping."""

    overlay: Overlay | None = None
    #: How its records are whole, as arguments of a Snapshot.
    how: dict[str, Any] | None = None


class Served:
    """What a client may look at. No mapping stays open between two looks."""

    def __init__(
        self, mappings: Mapping[str, Named], heard: Heard, writable: bool
    ) -> None:
        self.mappings = {_bare(name): mappings[name] for name in mappings}
        self.heard = heard
        self.writable = writable

    def look(self, what: str, options: Mapping[str, str], html: bool) -> Look:
        """Return the look at a subject such as "objects", or raise LookupError.

        `html` adds the view that notebooks show, if the subject has one.
        """
        if what == "mapping":
            return _MappingLook(*self.place(options), html)
        if what == "process":
            _given(options, "pid")
            pid = _number(options, "pid")
            return lambda: _process(pid, html)
        if what == "messages":
            return self._messages(_number(options, "after"), html)
        if what == "session":
            return self._session
        if what not in _LISTS:
            raise LookupError(f"there is no {what!r} to look at")
        return functools.partial(_list, _LISTS[what], html)

    def _session(self) -> dict[str, Any]:
        return {
            "version": winipc.__version__,
            "mappings": list(self.mappings),
            "messages": self.heard.titles,
            "writable": self.writable,
        }

    def _messages(self, after: int, html: bool) -> Look:
        def look() -> Any:
            nonlocal after
            found = self.heard.after(after)
            if not found:
                return None
            after = found[-1]["number"]
            return _shown(Rows(self.heard.after(0)[::-1])) if html else found

        return look

    def place(self, options: Mapping[str, str]) -> tuple[str, Named, int, int]:
        """The name, what is known of it, offset and size that the options mean."""
        name = _given(options, "name")
        named = self.mappings.get(_bare(name), Named())
        overlay = named.overlay
        offset, size = _number(options, "offset"), _number(options, "size")
        size = size or (overlay.size if overlay else _DEFAULT_SIZE)
        if offset < 0 or not 0 < size <= _MOST_BYTES:
            raise ValueError(f"offset is 0 or more, size from 1 to {_MOST_BYTES}")
        return name, named, offset, size

    def write(self, options: Mapping[str, str], change: Mapping[str, Any]) -> None:
        """Write {"hex": ...} at the offset, or {"values": {field: value}}.

        Raises PermissionError if the server only reads.
        """
        if not self.writable:
            raise PermissionError("for reading only: winipc serve --allow-write writes")
        name, (overlay, how), offset, _ = self.place(options)
        if how is not None:
            raise PermissionError("a record of --snapshot is for reading only")
        with open_mapping(name, write=True) as mapping, changing(mapping):
            if "hex" in change:
                mapping.write(bytes.fromhex(change["hex"]), offset)
                return
            if not isinstance(change.get("values"), dict):
                raise ValueError('a change is {"hex": ...} or {"values": {...}}')
            layout = overlay.layout if overlay else None
            if layout is None:
                raise ValueError(f"no --struct with names was given for {name!r}")
            try:
                for write in (False, True):  # pack all values before writing one
                    for path, value in change["values"].items():
                        field = layout[path]
                        at = offset + field.offset
                        data = field.pack(value, mapping.read(field.size, at))
                        if write:
                            mapping.write(data, at)
            except LookupError as error:  # of the body, not of the address
                raise ValueError(str(error)) from None


def _bare(name: str) -> str:
    """The name without the prefix of names in this session, which says nothing."""
    return name.removeprefix("Local\\")


def _given(options: Mapping[str, str], name: str) -> str:
    if name not in options:
        raise ValueError(f"{name}= is missing")
    return options[name]


def _number(options: Mapping[str, str], name: str) -> int:
    text = options.get(name, "0")
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{name}={text} is not a whole number") from None


class _MappingLook:
    """Opens a mapping for each look, as `winipc.cli.targets._Reopened`."""

    def __init__(
        self, name: str, named: Named, offset: int, size: int, html: bool
    ) -> None:
        self._name, (overlay, self._how) = name, named
        self._overlay = overlay
        self._offset, self._size = offset, size
        self._view: HexView | None = None
        if html:
            layout = overlay.layout if overlay else None
            self._view = HexView(b"", layout, offset=offset, size=size)
            self._view.marked = _MARKED

    def __call__(self) -> dict[str, Any]:
        with ExitStack() as held:
            memory: Any = held.enter_context(open_mapping(self._name))
            overlay, offset, size = self._overlay, self._offset, memory.size
            if overlay is not None and self._how is not None:
                record = overlay.layout or overlay.size
                memory = held.enter_context(snapshot_over(memory, record, 0, self._how))
                size = overlay.size
            if offset >= size:
                raise ValueError(f"offset={offset} is not inside {size} bytes")
            data, _ = read_bytes(memory, None, offset, self._size, _PATIENCE)
            found = {
                "name": self._name,
                "size": size,
                "offset": offset,
                "hex": data.hex(),
                "values": overlay.as_json(data)
                if overlay is not None and len(data) >= overlay.size
                else None,
            }
            if self._view is not None:
                self._view.target = memory
                found["html"] = self._view.html(style=False)
            return found


def _process(pid: int, html: bool) -> dict[str, Any]:
    with RemoteProcess.open(pid) as process:
        found: dict[str, Any] = {"pid": pid, "name": process.name}
        if html:
            return found | {"html": AddressSpace(process).html(style=False)}
        return found | {"regions": allocations(process)}


def _list(find: Callable[[], Rows[Any]], html: bool) -> Any:
    if html:
        return _shown(find())
    fields = (
        window_fields(row) if isinstance(row, Window) else dataclasses.asdict(row)
        for row in find()
    )
    return [row for row in fields if row is not None]


def _shown(rows: Rows[Any]) -> dict[str, Any]:
    return {"count": len(rows), "html": _Table(rows).html(style=False)}
