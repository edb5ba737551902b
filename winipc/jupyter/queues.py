"""Windows and receivers: what they are, and the messages that wait."""

from __future__ import annotations

import datetime
from typing import Any

from winipc.exchange import Receiver
from winipc.jupyter.markup import View, clean, escape, head, size_text, table
from winipc.message.message import Message
from winipc.message.window import CopyDataWindow

__all__ = ["MessageView", "ReceiverView", "messages"]

_PREVIEW = 64  # bytes
_DEFAULT_COUNT = 10


def messages(window: CopyDataWindow, count: int = _DEFAULT_COUNT) -> MessageView:
    """A view of the newest `count` messages that wait in a window's queue.

    They are not taken: `window.receive()` gives them later. At most 256.
    """
    return MessageView(window, count)


class MessageView(View):
    """What `messages` makes."""

    def __init__(self, window: CopyDataWindow, count: int = _DEFAULT_COUNT) -> None:
        if count < 0:
            raise ValueError("count must not be negative")
        self.window = window
        self.count = min(count, 256)

    def gone(self) -> str | None:
        return "closed" if self.window.closed else None

    def _head(self) -> str:
        window = self.window
        facts: list[str] = []
        if window.closed:
            facts.append("closed")
        else:
            facts.append(f"hwnd {window.hwnd:#x}")
        facts.append(f"{window.pending} waiting, {size_text(window.pending_bytes)}")
        facts += [
            f"{number} {what}"
            for number, what in (
                (window.refused, "refused"),
                (window.rejected, "rejected"),
                (window.dropped, "dropped"),
            )
            if number
        ]
        return head(type(window).__name__, clean(repr(window.title)), *facts)

    def _body(self) -> str:
        found = self.window.latest(self.count)
        if not found:
            return "<div class='wi-dim'>no message waits</div>"
        rows = [_row(message) for message in reversed(found)]
        more = self.window.pending - len(found)
        older = f"<div class='wi-dim'>{more} older ones</div>" if more > 0 else ""
        columns = ("time", "message", "from", "size", "data")
        return table(columns, rows, right=(3,)) + older

    def __repr__(self) -> str:
        return f"<MessageView of {clean(repr(self.window))}>"


def _row(message: Message) -> tuple[str, ...]:
    when = datetime.datetime.fromtimestamp(message.time).strftime("%H:%M:%S.%f")[:-3]
    if not message.is_copydata:
        what = f"{message.message:#x}"
        data = f"wparam {message.wparam:#x}, lparam {message.lparam:#x}"
        return (escape(when), what, "", "", escape(data))
    sender = f"pid {message.pid}" if message.pid else "not told"
    mono = f"<span class='wi-mono'>{escape(preview(message))}</span>"
    identity = f"WM_COPYDATA {message.id:#x}"
    return (escape(when), identity, sender, escape(size_text(len(message))), mono)


def preview(data: Any) -> str:
    """The first bytes, as text where they are text."""
    with memoryview(data) as view:
        start = bytes(view.cast("B")[:_PREVIEW])
        more = " …" if view.nbytes > _PREVIEW else ""
    if not start:
        return ""
    for cut in range(min(4, len(start))):
        # The last character may have been cut through.
        if cut and not more:
            break
        try:
            text = start[: len(start) - cut].decode().rstrip("\0")
        except UnicodeDecodeError:
            continue
        if text and sum(map(str.isprintable, text)) >= 0.9 * len(text):
            return text + more
    return start[:16].hex(" ") + (" …" if len(start) > 16 or more else "")


class ReceiverView(View):
    """A receiver of the exchange: where it can be reached."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver

    def gone(self) -> str | None:
        return "closed" if self.receiver.closed else None

    def _head(self) -> str:
        receiver = self.receiver
        facts = ["closed"] if receiver.closed else []
        if not receiver.closed:
            facts.append(f"hwnd {receiver.window.hwnd:#x}")
            facts.append(f"up to {size_text(receiver.max_message)} in a message")
        if receiver.refused:
            facts.append(f"{receiver.refused} refused")
        return head("Receiver", clean(repr(receiver.title)), *facts)

    def _body(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"<ReceiverView of {clean(repr(self.receiver))}>"
