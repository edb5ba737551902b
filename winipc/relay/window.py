"""`WindowTarget` and `WindowProxy`: a window here, and one that stands for it there."""

from __future__ import annotations

import json
import math
import queue
import re
import sys
import threading
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from winipc.base.deadline import wait_until
from winipc.message import CopyDataWindow, Message, send_copydata
from winipc.message.message import ID_LIMIT
from winipc.relay.link import Broker, OnEvent, Relay, properties

__all__ = ["WindowProxy", "WindowTarget"]

MOST_MESSAGE = 1 << 20
#: Seconds: less than the 5 after which Windows takes a window that waits for hung.
TIMEOUT = 4.0

#: Requests that may wait for the window, and answers that are kept to be repeated.
_MOST_WAITING = 64
_MOST_KEPT = 4096
#: Bytes of a request's id, and what a topic for its answer ends with.
_MOST_ID = 64
_REPLY_TO = re.compile(r"[\w.-]{1,64}")
#: Seconds for which the broker keeps an answer, and the longest patience.
_LONGEST = 60

_Key = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class _Request:
    key: _Key
    id: int
    data: bytes
    #: When its sender has to hear of a time-out, so that it has not given up.
    due: float


class WindowTarget(Relay):
    """Lets others send WM_COPYDATA to the window of this title, on this machine.

    Messages are sent one after another, each once: one that comes again is answered
    with the first answer. A window that is missing or hung is an answer, too, and so is
    a message of more than `max_message` bytes.
    """

    _kind, _role, _session = "window", "target", True

    def __init__(
        self,
        broker: Broker,
        title: str,
        *,
        max_message: int = MOST_MESSAGE,
        timeout: float | None = 10.0,
        on_event: OnEvent = None,
    ) -> None:
        self._most = max_message
        self._answers: OrderedDict[_Key, bytes | None] = OrderedDict()
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        super().__init__(broker, title, {"request": self._request}, timeout, on_event)
        self._start(self._run)

    def _stop(self) -> None:
        self.claim = None  # what waits is refused
        self._waiting.put(None)

    def _run(self) -> None:
        while (request := self._waiting.get()) is not None:
            self._answer(request.key, self._sent(request))

    def _sent(self, request: _Request) -> dict[str, object]:
        """Give it to the window: what came of it."""
        if self.claim is None:
            return {"error": "the target has no connection"}
        if (left := request.due - time.monotonic()) <= 0:
            return {"error": "it came too late"}
        try:
            data, id = request.data, request.id
            answer = send_copydata(self.name, data, id=id, timeout=left, check=False)
        except (OSError, ValueError, OverflowError) as error:
            return {"error": str(error)}
        return {"answer": answer}

    def _answer(self, key: _Key, told: dict[str, object]) -> None:
        data = json.dumps(told).encode()
        with self._lock:
            self._answers[key] = data
        if "error" in told:
            self._tell(f"refused: {told['error']}")
        self._reply(key, data)

    def _reply(self, key: _Key, data: bytes) -> None:
        told = properties(
            "PUBLISH", CorrelationData=key[1], MessageExpiryInterval=_LONGEST
        )
        self._publish(key[0], data, told=told)

    # ------------------------------------------------- on the thread of paho-mqtt

    def _request(self, message: Any) -> None:
        told = message.properties
        key = getattr(told, "ResponseTopic", ""), getattr(told, "CorrelationData", b"")
        mine = self._topic("answer", "")
        if not (key[0].startswith(mine) and _REPLY_TO.fullmatch(key[0], len(mine))):
            self._tell(f"ignored: a request without a response topic below {mine}")
            return
        if not 0 < len(key[1]) <= _MOST_ID:
            self._reply(key, b'{"error": "correlation data is 1 to 64 bytes"}')
            return
        with self._lock:
            again, known = key in self._answers, self._answers.get(key)
            if not again:
                self._answers[key] = None
                self._forget()
        if not again:
            self._take(key, message.payload, told)
        elif known is not None:
            self._reply(key, known)

    def _forget(self) -> None:
        """Drop the oldest answers, but none that is still to come."""
        while len(self._answers) > _MOST_KEPT:
            del self._answers[next(k for k, v in self._answers.items() if v)]

    def _take(self, key: _Key, data: bytes, told: Any) -> None:
        given = dict(getattr(told, "UserProperty", ()))
        patience = min(getattr(told, "MessageExpiryInterval", TIMEOUT), _LONGEST)
        try:
            id = int(given.get("id", "0"), 0)
            if given.get("target", self.client_id) != self.client_id:
                raise ValueError("it is for a target that is gone")
            if self.claim is None:
                raise ValueError("it is not the target, or not yet")
            if not 0 <= id < ID_LIMIT:
                raise ValueError(f"id {id} has more bits than this program")
            if len(data) > self._most:
                raise ValueError(f"{len(data)} bytes are more than {self._most}")
            if self._waiting.qsize() >= _MOST_WAITING:
                raise ValueError("too many messages wait")
        except ValueError as error:
            self._answer(key, {"error": str(error)})
        else:
            due = time.monotonic() + patience * 0.75
            self._waiting.put(_Request(key, id, data, due))


class WindowProxy(Relay):
    """A window of this title, whose messages go to the window of another machine.

    A sender waits until the far window has answered, and gets its answer; 0 if it has
    not: there is no target, the window is missing or hung, or `patience`, in seconds,
    is over. It raises FileExistsError if there is a window of this title here.
    """

    _kind, _role, _session = "window", "proxy", True

    def __init__(
        self,
        broker: Broker,
        title: str,
        *,
        max_message: int = MOST_MESSAGE,
        patience: float = TIMEOUT,
        timeout: float | None = 10.0,
        on_event: OnEvent = None,
    ) -> None:
        if not 0 < patience <= _LONGEST:
            raise ValueError(f"patience is above 0 and at most {_LONGEST} s")
        self._patience = patience
        self._expected: tuple[bytes, tuple[str, str]] | None = None
        self._told: dict[str, object] | None = None
        self._window: CopyDataWindow | None = None
        super().__init__(broker, title, {"answer/": self._answered}, timeout, on_event)
        try:
            self._window = CopyDataWindow.create(
                title, handler=self._take, max_message=max_message, exist_ok=False
            )
        except BaseException:
            self._leave()
            raise

    def _stop(self) -> None:
        if self._window is not None:
            self._window.close()

    def _take(self, message: Message) -> int:
        """On the window's thread: a message, whose sender waits."""
        try:
            told = self._asked(message.id, bytes(message))
        except ValueError as error:  # more than the broker takes
            told = {"error": str(error)}
        answer = told.get("answer")
        if isinstance(answer, int) and abs(answer) <= sys.maxsize:
            return answer
        self._tell(f"refused: {told.get('error', 'a wrong answer')}")
        return 0

    def _asked(self, id: int, data: bytes) -> dict[str, object]:
        """What the target tells of a message."""
        side = next((side for side in self.sides if side[0] == "target"), None)
        if self.claim is None or side is None:
            return {"error": "there is no target" if self.claim else "no connection"}
        key = uuid.uuid4().bytes
        with self._changed:
            self._told, self._expected = None, (key, side)
        given = properties(
            "PUBLISH",
            ResponseTopic=self._topic("answer", self.client_id),
            CorrelationData=key,
            MessageExpiryInterval=math.ceil(self._patience),
            UserProperty=[("id", str(id)), ("target", side[1])],
        )
        self._publish(self._topic("request"), data, told=given)
        with self._changed:
            reached = lambda: self._told or self.error  # noqa: E731
            wait_until(self._changed, reached, self._patience)
            told, self._expected = self._told, None
        if told is None:
            # Not to be delivered later, when the connection comes again.
            self._client.drop_out_messages()
            return {"error": "no answer in time"}
        return told

    # ------------------------------------------------- on the thread of paho-mqtt

    def _answered(self, message: Any) -> None:
        try:
            told = json.loads(message.payload)
        except (ValueError, RecursionError):
            told = None
        key = getattr(message.properties, "CorrelationData", b"")
        with self._changed:
            if self._expected is not None and self._expected[0] == key:
                self._told = told if isinstance(told, dict) and told else {"error": ""}
                self._changed.notify_all()

    def _gone(self, side: tuple[str, str]) -> None:
        with self._changed:
            if self._expected is not None and self._expected[1] == side:
                self._told = {"error": "the target is gone"}
                self._changed.notify_all()
