"""The messages that wait in the queue of a window or of a receiver."""

from __future__ import annotations

import codecs
import datetime
from typing import Any

from winipc.base.text import size_text
from winipc.exchange import Received, Receiver
from winipc.message import CopyDataWindow, Message
from winipc.views.markup import dim, escape, mono, table
from winipc.views.view import View

_PREVIEW = 64  # bytes
_DEFAULT_COUNT = 10


class MessageView(View):
    """A view of the newest `count` waiting messages, at most 256.

    The messages stay in the queue; `receive()` still takes them.
    """

    def __init__(
        self, window: CopyDataWindow | Receiver, count: int = _DEFAULT_COUNT
    ) -> None:
        if count < 0:
            raise ValueError("count must not be negative")
        super().__init__(window)
        self.count = min(count, 256)

    def _body(self) -> str:
        found = self.target.latest(self.count)
        if not found:
            return dim("no message waits")
        rows = [_row(message) for message in reversed(found)]
        more = self.target.pending - len(found)
        older = dim(f"{more} older ones") if more > 0 else ""
        columns = ["time", "message", "from", "size", "data"]
        if isinstance(self.target, Receiver):  # it does not record times
            columns, rows = columns[1:], [row[1:] for row in rows]
        return table(columns, rows, [len(columns) - 2]) + older


messages = MessageView


def _row(message: Message | Received) -> tuple[str, ...]:
    if isinstance(message, Received):
        size = escape(size_text(len(message.data)))
        what, data = f"by {message.transport}", mono(preview(message.data))
        return ("", escape(what), _sender(message.pid), size, data)
    moment = datetime.datetime.fromtimestamp(message.time)
    when = moment.time().isoformat("milliseconds")
    if not message.is_copydata:
        what = f"{message.message:#x}"
        data = f"wparam {message.wparam:#x}, lparam {message.lparam:#x}"
        return (escape(when), what, "", "", escape(data))
    what = f"WM_COPYDATA {message.id:#x}"
    size = escape(size_text(len(message)))
    data = mono(preview(message))
    return (escape(when), what, _sender(message.pid), size, data)


def _sender(pid: int | None) -> str:
    return f"pid {pid}" if pid else "not told"


def preview(data: Any) -> str:
    """The first bytes, as text if they are text, else in hexadecimal."""
    with memoryview(data) as view:
        start = bytes(view.cast("B")[:_PREVIEW])
        more = " …" if view.nbytes > _PREVIEW else ""
    if not start:
        return ""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        # The cut may be inside the last character.
        text = decoder.decode(start, final=not more).rstrip("\0")
    except UnicodeDecodeError:
        text = ""
    if text and sum(map(str.isprintable, text)) >= 0.9 * len(text):
        return text + more
    return start[:16].hex(" ") + (" …" if len(start) > 16 or more else "")
