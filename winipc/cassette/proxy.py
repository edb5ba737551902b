"""`Proxy`: a window that stands before another one, and records its messages.

It has the same title and class as the real window, and is above it: programs that look
for the window find the proxy. It passes each message on to the real window, and the
answer back to the sender, who waits as long as the sender wants.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from winipc import _core
from winipc.base.closing import Closing
from winipc.cassette.events import MOST_DATA, CassetteEvent, MessageEvent, Track
from winipc.cassette.messages import (
    Answers,
    TrackWindow,
    heard,
    number_of,
    reply_window,
    with_reply_window,
)
from winipc.exchange.receiver import read_process, read_shared
from winipc.exchange.transport import (
    BARRIER,
    DEFAULT_MAPPING,
    MESSAGE_NAMES,
    PROOF,
    Transport,
    seen,
)
from winipc.memory.mapping import SharedMapping
from winipc.message import (
    Message,
    Window,
    find_windows,
    post_message,
    send_copydata,
)
from winipc.message.target import hwnd_of
from winipc.message.window import is_unique_class
from winipc.section.section import SharedSection

#: Keys, WM_CLOSE, WM_COMMAND, WM_SYSCOMMAND and WM_APPCOMMAND.
_ORDERS = (0x10, *range(0x100, 0x10A), 0x111, 0x112, 0x319)


def _others(track: Track) -> tuple[int | range, ...]:
    """What programs send to a window that they found, besides a track's messages.

    All other messages come from Windows, and are the proxy's own. A broadcast of a
    registered message (from 0xC000 on) also reaches the real window, unless that is
    message-only: it would come twice.
    """
    return *_ORDERS, range(0x400, 0x10000 if track.message_only else 0xC000)


class _Return(TrackWindow):
    """A window that gets the program's answers in place of a client's window."""

    def __init__(self, proxy: Proxy, client: int) -> None:
        self.client = client
        self.number = 0  # the number of the message that is answered
        track = Track("client", message_only=True, messages=proxy.track.messages)
        super().__init__(track, partial(proxy.pass_on, self), _others(track))


class Proxy(Closing):
    """A window before that of a track; for a broadcast, a window that only listens."""

    def __init__(self, track: Track, real: int = 0) -> None:
        self.track = track
        self._real = real
        self._count = 0
        self._returns: dict[int, _Return] = {}
        self._window: TrackWindow | None = None
        self._known: Answers | None = None

    @classmethod
    def find(
        cls,
        kind: str,
        what: str | tuple[str | None, str | None] | Track,
        timeout: float | None,
    ) -> Proxy:
        """Find a live window, and make its proxy; `start` opens the proxy's window."""
        if isinstance(what, Track):
            track, names = what, (what.name or None, what.class_name)
        else:
            track = Track(kind)
            names = (what, None) if isinstance(what, str) else what
        if timeout == 0:
            window = Window(hwnd_of(names))  # raises FileNotFoundError
        else:
            window = Window.wait_for(names[0], timeout, class_name=names[1])
        message_only = window in find_windows(*names, message_only=True)
        track = replace(
            track,
            kind=kind,
            name=window.title,
            class_name=window.class_name,
            message_only=message_only,
        )
        return cls(track, window.hwnd)

    @property
    def kept_track(self) -> Track:
        """The track for the file, without a class name that winipc chose.

        Such a name is new in each run, so nobody looks for it.
        """
        track = self.track
        chosen = track.name and is_unique_class(track.class_name or "")
        return replace(track, class_name=None) if chosen else track

    def start(
        self,
        index: int,
        add: Callable[[CassetteEvent], None],
        now: Callable[[], int],
        known: Answers | None = None,
    ) -> None:
        """Open the window. From now on, it gets the messages."""
        self._index, self._add, self._now, self._known = index, add, now, known
        self._kept = {number_of(message) for message in self.track.messages}
        others = _others(self.track) if self._real else ()
        self._window = TrackWindow(self.track, self._take, others)
        if self._real:
            self._window.to_top()

    @property
    def hwnd(self) -> int:
        """The handle of the real window."""
        return self._real

    def close(self) -> None:
        """Close the window: programs find the real one again.

        The real window gets what was posted before.
        """
        if self._window is not None:
            self._window.close()
        self._keep_unasked()
        for window in self._returns.values():
            window.close()

    def _keep_unasked(self) -> None:
        """Record the messages of the known cassette that nobody sent now."""
        if self._known is None:
            return
        for event in self._known.unplayed():
            all = [event, *self._known.sent_for(event)]
            for one in sorted(all, key=lambda one: one.time_ns):
                number, to = (self._count, None) if one is event else (0, self._count)
                self._add(replace(one, track=self._index, number=number, to=to))
            self._count += 1

    # ------------------------------------------------ on the window's own thread

    def _take(self, message: Message) -> int:
        """Handle a message for the real window, and return the answer."""
        if not self._keeps(message):
            return _pass(message, self._real, 0, _NOTHING)
        came = self._now()
        way = "in" if self.track.kind == "window" else "out"
        event = heard(self.track, self._index, message, way)
        if way == "in":
            event = replace(event, number=self._count)
            self._count += 1
        if not self._real:  # a broadcast came to all windows
            self._add(replace(event, posted=not _core._in_send()))
            return 0
        client = reply_window(self.track, message)
        found = None if self._known is None else self._known.take(event)
        if found is not None:
            return self._repeat(event, found, client)
        sender, data = message.wparam, memoryview(message)
        if client and (hwnd := self._return_for(client, event.number)):
            if self.track.replies == "wparam":
                sender = hwnd
            else:
                data = memoryview(with_reply_window(self.track, bytes(data), hwnd))
        return self._forward(message, event, came, self._real, sender, data)

    def pass_on(self, back: _Return, message: Message) -> int:
        """Pass on what the program sends to a client, with this window as sender."""
        if not self._keeps(message):
            return _pass(message, back.client, 0, _NOTHING)
        came = self._now()
        event = heard(replace(self.track, replies=None), self._index, message, "out")
        event = replace(event, to=back.number, wparam=0)
        ours = 0 if self._window is None else self._window.hwnd
        return self._forward(
            message, event, came, back.client, ours, memoryview(message)
        )

    def _keeps(self, message: Message) -> bool:
        """Whether the message is recorded, and not only passed on."""
        return message.is_copydata or message.message in self._kept

    def _forward(
        self,
        message: Message,
        event: MessageEvent,
        came: int,
        to: int,
        sender: int,
        data: memoryview,
    ) -> int:
        """Pass a message on, record it, and return the answer."""
        answer = _pass(message, to, sender, data)
        took, posted = self._now() - came, not _core._in_send()
        self._add(replace(event, answer=answer, took_ns=took, posted=posted))
        return answer

    def _repeat(self, event: MessageEvent, known: MessageEvent, client: int) -> int:
        """Answer as the known cassette does, and record that, too."""
        assert self._known is not None
        assert self._window is not None
        sent = self._known.sent_for(known) if client else []
        if any(out.time_ns > known.time_ns for out in sent):
            self._window.window.reply(known.answer)
        self._add(replace(event, answer=known.answer))
        for out in sent:
            with suppress(OSError):
                send_copydata(
                    client, out.data, id=out.id, sender=self._window, check=False
                )
            self._add(replace(out, track=self._index, to=event.number, took_ns=0))
        return known.answer

    def _return_for(self, client: int, number: int) -> int:
        """The handle of the window that stands before a client's window.

        It is 0 if no more windows can be opened.
        """
        if client not in self._returns:
            for hwnd in [h for h in self._returns if not Window(h).exists]:
                self._returns.pop(hwnd).close()
            with suppress(OSError):
                self._returns[client] = _Return(self, client)
        if client not in self._returns:
            return 0
        self._returns[client].number = number
        return self._returns[client].hwnd


class ExchangeProxy(Proxy):
    """A proxy before a `winipc.Receiver`, or a similar program.

    A transport's memory stays as it is until the answer. So the proxy reads it, and the
    real window does, too.
    """

    def __init__(self, track: Track, real: int) -> None:
        size, name = 0, track.mapping or DEFAULT_MAPPING
        # Some programs create the mapping only when data is announced.
        with suppress(FileNotFoundError), SharedMapping.open(name) as mapping:
            size = mapping.size
        messages = (*MESSAGE_NAMES.values(), BARRIER, PROOF)
        track = replace(track, class_name=None, messages=messages)
        super().__init__(replace(track, mapping=name, size=size), real)
        self._memory: dict[Transport, SharedMapping | SharedSection] = {}
        self._transports = {number_of(MESSAGE_NAMES[t]): t for t in MESSAGE_NAMES}

    def _shared(self, transport: Transport) -> SharedMapping | SharedSection:
        if transport not in self._memory:
            self._memory[transport] = (
                SharedSection.load()
                if transport is Transport.SECTION
                else SharedMapping.open(self.track.mapping or "", access="read")
            )
        return self._memory[transport]

    def _data(self, message: Message, via: Transport) -> bytes:
        """The data that a message announces; b"" if it cannot be read."""
        length = message.wparam
        with suppress(OSError, ValueError, OverflowError, MemoryError):
            if via is Transport.COPYDATA:
                return bytes(message)
            if via is Transport.PROCESS:
                if length >> 32 <= MOST_DATA:
                    return read_process(length, message.lparam, MOST_DATA)
            elif length <= MOST_DATA:
                return read_shared(self._shared(via), length, MOST_DATA)
        return b""

    def _take(self, message: Message) -> int:
        came, real, sender = self._now(), self._real, message.sender
        via = Transport.COPYDATA
        if not message.is_copydata:
            if message.message not in self._transports:
                return self._proved(message, _pass(message, real, sender, _NOTHING))
            via = self._transports[message.message]
        data = self._data(message, via)
        event = MessageEvent(0, self._index, data=data, via=via, number=self._count)
        self._count += 1
        found = None if self._known is None else self._known.take(event)
        if found is not None:
            return self._repeat(event, found, 0)
        return self._forward(message, event, came, real, sender, memoryview(message))

    def _proved(self, message: Message, answer: int) -> int:
        """The real window's answer; a wrong one if its memory is not this proxy's."""
        via = self._transports.get(message.wparam)
        if message.message == number_of(PROOF) and via and answer:
            with suppress(OSError, ValueError):
                return answer if answer == seen(self._shared(via)) else -1
        return answer

    def close(self) -> None:
        super().close()
        for memory in self._memory.values():
            memory.close()


_NOTHING = memoryview(b"")


def _pass(message: Message, to: int, sender: int, data: memoryview) -> int:
    """Send or post a message to a window, as it came; return the answer, or 0."""
    number, lparam = message.message, message.lparam
    wparam = sender if message.is_copydata else message.wparam
    # A window that has gone, or that refuses this process, gives no answer.
    with suppress(OSError):
        if _core._in_send():
            return _core._forward(to, number, wparam, lparam, message.id, data)
        post_message(to, number, wparam, lparam)
    return 0
