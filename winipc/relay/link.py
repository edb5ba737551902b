"""`Broker`: where an MQTT 5 broker is. `Relay`: one side, with its own connection.

paho-mqtt does the network: its thread connects again, and sends again what is not
acknowledged. Each relay is a client of its own, because a client has one last will.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote

from winipc.base.closing import Closing
from winipc.base.deadline import timed_out, wait_until
from winipc.base.text import clean
from winipc.base.winerror import ERROR_ALREADY_EXISTS
from winipc.errors import add_hint

__all__ = ["Broker", "Relay"]

OnEvent: TypeAlias = Callable[[str], None] | None

#: Which roles there are; of the first there is one at a time.
_ROLES = {"mapping": ("source", "copy"), "window": ("target", "proxy")}

#: What a CONNACK tells to a client that may try again later.
_LATER = {0x88, 0x89, 0x97, 0x9F}  # unavailable, busy, quota, rate

#: Bytes that a packet that comes has beside its payload, generously; and one that
#: goes, beside its topics.
_HEAD = 1 << 16
_OWN_HEAD = 512
#: Characters of a topic: MQTT has 65535 bytes, and a side adds to it.
_MOST_TOPIC = 65000
#: Seconds: the broker keeps the session of a link that is cut, and the longest wait
#: for its acknowledgement at the end.
_SESSION = 60
_FAREWELL = 2.0
#: Sides of one role that are told apart, and characters of each.
_MOST_SIDES = 1000
_MOST_TEXT = 100


@dataclass(frozen=True, slots=True)
class Broker:
    """An MQTT 5 broker, and what it asks for.

    Args:
        host: Its name or address.
        port: None for 1883, or with `tls` 8883.
        user: As the broker knows it.
        password: No repr shows it.
        tls: Encrypt, and check the broker's certificate and name.
        ca_file: PEM file of the authorities to trust; None for those of Windows.
        cert_file: PEM file of a certificate for the broker to check.
        key_file: PEM file of its key.
        keepalive: Seconds of silence after which a side asks whether the other end
            is there; a link that is cut is noticed within twice that.
        prefix: What all topics begin with.
    """

    host: str
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    keepalive: int = 15
    prefix: str = "winipc"

    def __post_init__(self) -> None:
        if not 0 < self.keepalive <= 0xFFFF:
            raise ValueError("keepalive is 1 to 65535 seconds")
        if not set("+#\0").isdisjoint(self.prefix):
            raise ValueError("a prefix has no + and no #")

    def client(self, client_id: str) -> Any:
        """A client of paho-mqtt that is not connected yet."""
        try:
            from paho.mqtt import client as mqtt
        except ImportError:
            raise ValueError(
                "a relay needs paho-mqtt: pip install winipc[relay]"
            ) from None
        version = mqtt.CallbackAPIVersion.VERSION2
        client = mqtt.Client(version, client_id, protocol=mqtt.MQTTv5)
        if self.user is not None or self.password is not None:
            client.username_pw_set(self.user, self.password)
        if self.tls:
            client.tls_set(self.ca_file, self.cert_file, self.key_file)
        client.reconnect_delay_set(1, 8)
        client.on_socket_open = _send_at_once
        return client


class Relay(Closing):
    """One side of a mapping or a window. Any thread may use it.

    It lasts until `close`, or until something ends it: `wait` tells, and `close` raises
    what it was. A connection that is lost comes again by itself.

    All sides take `timeout`, seconds to reach the broker (None for no limit), and
    `on_event`, which is called with what happens, in words, on another thread; if it
    raises, the side ends by that.

    They raise FileExistsError if another machine is the source or the target already,
    PermissionError if the broker refuses, OSError if it is not reached.
    """

    _kind = _role = ""
    #: Bytes of the largest payload that comes.
    _most = 0
    #: Whether the broker keeps messages while the connection is lost.
    _session = False

    def __init__(
        self,
        broker: Broker,
        name: str,
        heard: Mapping[str, Callable[[Any], None]],
        timeout: float | None,
        on_event: OnEvent,
    ) -> None:
        self.name = name
        self.client_id = f"winipc-{uuid.uuid4().hex[:16]}"
        #: What is at the other end: (role, client id) and who that is.
        self.sides: dict[tuple[str, str], str] = {}
        self.error: BaseException | None = None
        self._roles = _ROLES[self._kind]
        self._on_event = on_event
        self._base = base = f"{broker.prefix}/{self._kind}/{topic_name(name)}"
        if len(base) > _MOST_TOPIC:
            raise ValueError(f"a name of {len(name)} characters is too long here")
        # One that ends with a slash is for this client alone.
        self._heard = {
            f"{base}/{topic}{self.client_id if topic.endswith('/') else ''}": take
            for topic, take in heard.items()
        }
        #: Names this connection; None while there is none, or it has no role yet.
        self.claim: str | None = None
        self._claiming = ""
        self._connected_once = self._left = False
        #: Bytes of the largest packet that the broker takes.
        self._room = 0
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._client = client = broker.client(self.client_id)
        client.will_set(self._own_topic, b"", 1, True)
        client.on_connect, client.on_disconnect = self._connect, self._disconnect
        client.on_subscribe = lambda *told: self._allowed("subscribe", told[3])
        client.on_publish = lambda *told: self._allowed("publish", [told[3]])
        client.on_message = self._message
        port = broker.port or (8883 if broker.tls else 1883)
        try:
            client.connect(
                broker.host,
                port,
                broker.keepalive,
                clean_start=3 if self._session else True,  # 3: at the first time only
                properties=properties(
                    "CONNECT",
                    SessionExpiryInterval=_SESSION if self._session else 0,
                    MaximumPacketSize=self._most + _HEAD,
                ),
            )
            client.loop_start()
            with self._changed:
                if not wait_until(self._changed, self._settled, timeout):
                    self.error = timed_out("the broker did not answer in time", name)
            if self.error is not None:
                raise self.error
        except BaseException as error:
            self._leave()
            add_hint(error, f"the broker is {broker.host}, port {port}")
            raise

    def _settled(self) -> bool:
        return self.claim is not None or self.error is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until something has ended it, at most so many seconds; True if so."""
        with self._changed:
            return wait_until(self._changed, lambda: self.error, timeout)

    def close(self) -> None:
        """Tell the other sides, and leave. May be called twice.

        Raises what ended it early: FileExistsError if another side has the role, whom
        it names; PermissionError if the broker refuses; OSError or ValueError if the
        mapping or the window here cannot be used.
        """
        self._stop()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join()
        self._leave()
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _stop(self) -> None:
        """Let the thread of this side end."""

    def _leave(self) -> None:
        self._on_event = None
        self._left = True
        self.claim = None
        self._go()
        # It would wait for them, as long as the link is cut.
        self._client.drop_out_messages()
        with contextlib.suppress(AttributeError):  # its thread ended just now
            self._client.loop_stop()
        self._go()  # if it was connecting, it has a connection now

    # ------------------------------------------------------------- for the sides

    def _topic(self, *parts: str) -> str:
        return "/".join((self._base, *parts))

    @property
    def _own_topic(self) -> str:
        return self._topic(self._role, self.client_id)

    def _start(self, run: Callable[[], None]) -> None:
        """Run this on a thread that `close` waits for."""

        def guarded() -> None:
            try:
                run()
            except BaseException as error:
                self._fail(error)

        self._thread = threading.Thread(target=guarded, name="winipc relay")
        self._thread.start()

    def _publish(
        self,
        topic: str,
        data: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        wait: bool = False,
        told: Any = None,
    ) -> Any:
        if len(data) + 2 * len(self._base) + _OWN_HEAD > self._room:
            raise ValueError(f"{len(data)} bytes are more than the broker takes")
        info = self._client.publish(topic, data, qos, retain, told)
        if wait:
            with contextlib.suppress(RuntimeError):  # the connection is lost
                info.wait_for_publish(_FAREWELL)
        return info

    def _tell(self, text: str) -> None:
        """Say what has happened to whoever wants to know; who fails at it ends it."""
        try:
            if (on_event := self._on_event) is not None:
                on_event(clean(text, 500))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End by this error; the first one counts."""
        with self._changed:
            if not self._left:
                self.error = self.error or error
            self.claim = None
            self._changed.notify_all()
        self._go()

    def _gone(self, side: tuple[str, str]) -> None:
        """A side has left, or died."""

    # ------------------------------------------------- on the thread of paho-mqtt

    def _connect(
        self, client: Any, _: object, _flags: Any, reason: Any, given: Any
    ) -> None:
        if reason.is_failure:
            if not (self._connected_once and reason.value in _LATER):
                text = f"the broker refuses {self.name!r}: {reason}"
                self._fail(PermissionError(text))
            return
        self._connected_once = True
        self._room = getattr(given, "MaximumPacketSize", 1 << 28)
        self._claiming, self.sides = uuid.uuid4().hex, {}
        one, many = self._roles
        # All hear of the one; only the one hears of all.
        others = "+" if self._role == one else self.client_id
        topics = [*self._heard, self._topic(one, "+"), self._topic(many, others)]
        client.subscribe([(topic, 1) for topic in topics])
        who = {"host": socket.gethostname(), "pid": os.getpid()}
        told = json.dumps(who | {"claim": self._claiming}).encode()
        try:
            self._publish(self._own_topic, told, retain=True)
        except ValueError as error:  # too large for the broker
            self._fail(error)

    def _disconnect(self, *told: Any) -> None:
        lost, self.claim, self._claiming = self.claim, None, ""
        if lost is not None:
            self._tell(f"connection lost: {told[3]}")

    def _allowed(self, what: str, reasons: list[Any]) -> None:
        for reason in reasons:
            if reason.is_failure:
                text = f"the broker does not let {self.name!r} {what}: {reason}"
                self._fail(PermissionError(text))

    def _go(self) -> None:
        """Disconnect in such a way that the broker publishes the last will."""
        from paho.mqtt import packettypes, reasoncodes

        kind = packettypes.PacketTypes.DISCONNECT
        self._client.disconnect(reasoncodes.ReasonCode(kind, identifier=4))

    def _message(self, _c: Any, _u: Any, message: Any) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        try:
            if topic in self._heard:
                self._heard[topic](message)
            else:
                role, _, client_id = topic[len(self._base) + 1 :].partition("/")
                self._side(role, client_id, message.payload)
        except BaseException as error:
            self._fail(error)

    def _side(self, role: str, client_id: str, data: bytes) -> None:
        """Another side, or this one, has come or gone."""
        side = role, client_id
        who, claim = _who(data)
        if client_id == self.client_id:
            if claim == self._claiming and self.claim is None and self.error is None:
                self._own()
        elif data and side not in self.sides:
            if sum(other == role for other, _ in self.sides) < _MOST_SIDES:
                self.sides = self.sides | {side: who}
                self._tell(f"{role}: {who}")
        elif not data and side in self.sides:
            who = self.sides[side]
            self.sides = {s: w for s, w in self.sides.items() if s != side}
            self._tell(f"{role} is gone: {who}")
            self._gone(side)

    def _own(self) -> None:
        """What this side said of itself came back: all that came before is known.

        So of two that want a role at once, the one whom the broker heard first has it.
        """
        for side, who in self.sides.items():
            if side[0] == self._role == self._roles[0]:
                text = f"{who} is the {self._role} already"
                error = FileExistsError(0, text, self.name, ERROR_ALREADY_EXISTS)
                topic = self._topic(*side)
                add_hint(error, f"its claim is the topic {topic}")
                self._fail(error)
                return
        with self._changed:
            self.claim = self._claiming
            self._changed.notify_all()
        self._tell("connected")


def _send_at_once(_c: object, _u: object, connection: socket.socket) -> None:
    """Without this a small packet waits 40 ms for others (Nagle's algorithm)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _who(data: bytes) -> tuple[str, object]:
    """Who a side says that it is, for people, and its connection."""
    try:
        told = json.loads(data)
        who = f"{told['host']}, process {told['pid']}"
        return clean(who, _MOST_TEXT), told.get("claim")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "somebody", None


def topic_name(name: str) -> str:
    """A name as a level of a topic: percent-encoded, without ``Local\\``."""
    return quote(name.removeprefix("Local\\"), safe=" ()',;=@!$&*~")


def properties(packet: str, **given: object) -> Any:
    """Properties of MQTT 5 for a kind of packet."""
    from paho.mqtt import packettypes, properties

    made = properties.Properties(getattr(packettypes.PacketTypes, packet))
    for name, value in given.items():
        setattr(made, name, value)
    return made
