"""`WindowTarget` gives messages to a window; `WindowProxy` stands for it elsewhere."""

from __future__ import annotations

import json
import math
import queue
import re
import sys
import time
import uuid
from dataclasses import dataclass
from typing import Any

from winipc.base.deadline import wait_until
from winipc.errors import unhint_taken
from winipc.message import CopyDataWindow, Message, send_copydata
from winipc.message.message import ID_LIMIT
from winipc.relay.link import Broker, OnEvent, Relay, properties

__all__ = ["WindowProxy", "WindowTarget"]

MOST_MESSAGE = 1 << 20
#: Seconds: below the 5 after which Windows takes a window that waits for hung.
TIMEOUT = 4.0

#: Requests that may wait for the window, and answers that are kept to be repeated.
_MOST_WAITING = 64
_MOST_KEPT = 4096
#: Bytes of a request's id.
_MOST_ID = 64
#: The last level of a topic for answers.
_REPLY_TO = re.compile(r"[\w.-]{1,64}")
#: Seconds: the longest patience of a sender, and how long the broker keeps an answer.
_LONGEST = 60

#: Where the answer goes, and the request's id.
_Key = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class _Request:
    key: _Key
    id: int
    data: bytes
    #: When the window's time is over, on the clock `time.monotonic`.
    due: float


class WindowTarget(Relay):
    """Lets others send WM_COPYDATA to a window of this machine. A title has one target.

    The window gets one message at a time, and each message once: a request that comes
    again gets the first answer again. If the window is missing or hangs, or if the
    message is too long, the answer is a refusal, and the target goes on.

    Args:
        broker: Where the broker is.
        title: The window's title.
        max_message: Bytes of the longest message that the window gets.
        timeout: Seconds to wait for the broker's answer; None for no limit.
        on_event: Is called with a sentence about each event, on a thread of the side.

    The errors are those of `Relay`.
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
        #: The answers of the last requests; None while a request waits. paho's thread
        #: adds and removes requests, and each is answered once.
        self._answers: dict[_Key, bytes | None] = {}
        self._waiting: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        super().__init__(broker, title, {"request": self._request}, timeout, on_event)
        self._start(self._serve)

    def _stop(self) -> None:
        self.claim = None  # requests that wait are refused
        self._waiting.put(None)

    def _serve(self) -> None:
        while (request := self._waiting.get()) is not None:
            self._answer(request.key, self._sent(request))

    def _sent(self, request: _Request) -> dict[str, object]:
        """Send a message to the window; what is answered."""
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
        elif not 0 < len(key[1]) <= _MOST_ID:
            self._reply(key, b'{"error": "correlation data is 1 to 64 bytes"}')
        elif key not in self._answers:
            self._answers[key] = None
            _forget(self._answers, _MOST_KEPT)
            self._take(key, message.payload, told)
        elif answer := self._answers[key]:
            self._reply(key, answer)

    def _take(self, key: _Key, data: bytes, told: Any) -> None:
        given = dict(getattr(told, "UserProperty", ()))
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
            due = time.monotonic() + _time_of_window(told)
            self._waiting.put(_Request(key, id, data, due))


def _forget(answers: dict[_Key, bytes | None], most: int) -> None:
    """Drop the oldest answers above so many, but no request that waits."""
    while len(answers) > most:
        del answers[next(key for key, answer in answers.items() if answer)]


def _time_of_window(told: Any) -> float:
    """Seconds in which the window has to answer, by the properties of a request.

    They are fewer than the sender's, so that it hears of the window's time-out.
    """
    return 0.75 * min(getattr(told, "MessageExpiryInterval", TIMEOUT), _LONGEST)


class WindowProxy(Relay):
    """A window of this machine whose messages go to the window of another machine.

    A sender waits until the far window has answered, and gets its answer. It gets 0 if
    there is no target, if the far window is missing or hangs, if the message is too
    long, and if no answer comes in time.

    Args:
        broker: Where the broker is.
        title: The title of the window here and of the far one.
        max_message: Bytes of the longest message that the window here takes.
        patience: Seconds to wait for an answer, above 0 and at most 60.
        timeout: Seconds to wait for the broker's answer; None for no limit.
        on_event: Is called with a sentence about each event, on a thread of the side.

    Raises:
        ValueError: `patience` is out of its range.
        FileExistsError: This machine has a window of this title.

    The other errors are those of `Relay`.
    """

    _kind, _role, _session = "window", "proxy", True
    _most_sent = 0  # paho counts a message that was dropped for good

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
        #: The request that waits for its answer: its id and its target.
        self._expected: tuple[bytes, tuple[str, str]] | None = None
        self._told: dict[str, object] | None = None
        self._window: CopyDataWindow | None = None
        super().__init__(broker, title, {"answer/": self._answered}, timeout, on_event)
        try:
            self._window = CopyDataWindow.create(
                title, handler=self._take, max_message=max_message, exist_ok=False
            )
        except BaseException as error:
            self._leave()
            unhint_taken(error)
            raise

    def _stop(self) -> None:
        if self._window is not None:
            self._window.close()

    def _take(self, message: Message) -> int:
        """The answer to a message, whose sender waits. On the window's thread."""
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
            reached = lambda: self._told or self._ended.is_set()  # noqa: E731
            wait_until(self._changed, reached, self._patience)
            told, self._expected = self._told, None
        if told is None:
            # paho would deliver it when the connection comes again.
            self._client.drop_out_messages()
            ends = self._ended.is_set()
            return {"error": "the proxy ends" if ends else "no answer in time"}
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
