"""`Broker`: where an MQTT 5 broker is. `Relay`: one side, with its own connection.

paho-mqtt does the network. Its thread connects again after a loss, and sends again what
the broker has not acknowledged. Each side is a client of its own, because a client has
one last will.
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
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import quote

from winipc.base.closing import Closing
from winipc.base.deadline import timed_out, wait_until
from winipc.base.text import clean
from winipc.base.winerror import ERROR_ALREADY_EXISTS
from winipc.errors import add_hint

__all__ = ["Broker", "Relay"]

OnEvent: TypeAlias = Callable[[str], None] | None

#: The two roles of each kind. A name has one side of the first role, and any number of
#: the second.
_ROLES = {"mapping": ("source", "copy"), "window": ("target", "proxy")}

#: Reasons of a CONNACK after which a client may try again.
_LATER = {0x88, 0x89, 0x97, 0x9F}  # unavailable, busy, quota, rate

#: Bytes beside the payload, at most: of a packet that comes, and of one that goes
#: (without its topics).
_HEAD = 1 << 16
_OWN_HEAD = 512
#: Characters of a name in a topic. MQTT has 65535 bytes, and a side adds to the name.
_MOST_TOPIC = 65000
#: Seconds for which the broker keeps the session of a side whose connection is lost.
_SESSION = 60
#: Sides of one role that are known at a time, and characters that are shown of each.
_MOST_SIDES = 1000
_MOST_TEXT = 100


@dataclass(frozen=True, slots=True)
class Broker:
    """Where an MQTT 5 broker is, and what it asks for.

    Args:
        host: Its name or address.
        port: Its TCP port; None for 1883, or 8883 with `tls`.
        user: The user name that the broker knows; None for no user.
        password: The user's password. No repr shows it.
        tls: Encrypt, and check the broker's certificate and host name.
        ca_file: PEM file of the authorities to trust; None for those of Windows.
        cert_file: PEM file of a certificate that the broker checks.
        key_file: PEM file of that certificate's key.
        keepalive: Seconds of silence, 1 to 65535, after which a side asks whether the
            broker is there. A link that is cut is noticed within twice that.
        prefix: The first levels of all topics.

    Raises:
        ValueError: `keepalive` is out of its range, or `prefix` has a ``+`` or ``#``.
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
        """A new `paho.mqtt.client.Client` for this broker, not connected yet.

        Raises:
            ValueError: paho-mqtt is missing.
            OSError: A file cannot be read.
        """
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
    """One side of a mapping or a window: what its four classes have in common.

    A side works on threads of its own until `close`, or until an error ends it. `wait`
    tells whether that has happened, and `close` raises the error. A side connects again
    by itself when its connection is lost. Any thread may use it. An exception that
    `on_event` raises ends the side.

    The four classes raise these errors when a side is made.

    Raises:
        FileExistsError: Another side is the source or the target already.
        PermissionError: The broker refuses this side.
        TimeoutError: The broker did not answer in time.
        OSError: The broker is not reached.
        ValueError: paho-mqtt is missing, or cannot carry the name.
    """

    _kind = _role = ""
    #: Bytes of the largest payload that this side takes.
    _most = 0
    #: Whether the broker keeps messages for this side while its connection is lost.
    _session = False
    #: Messages that paho sends before the broker has acknowledged the first; 0 for all.
    _most_sent = 20

    def __init__(
        self,
        broker: Broker,
        name: str,
        heard: Mapping[str, Callable[[Any], None]],
        timeout: float | None,
        on_event: OnEvent,
    ) -> None:
        """See `MappingSource` and the other three, which users make."""
        #: The name of the mapping, or the title of the window.
        self.name = name
        self.client_id = f"winipc-{uuid.uuid4().hex[:16]}"
        #: The sides that are known: (role, client id) and who each is, for people.
        self.sides: dict[tuple[str, str], str] = {}
        #: What has ended this side, until `close` raises it.
        self.error: BaseException | None = None
        #: Names the connection in which this side has its role; else None.
        self.claim: str | None = None
        self._claiming = ""
        self._on_event = on_event
        self._base = base = f"{broker.prefix}/{self._kind}/{topic_name(name)}"
        if len(base) > _MOST_TOPIC:
            raise ValueError(f"a name of {len(name)} characters is too long for MQTT")
        one, many = self._roles = _ROLES[self._kind]
        # All hear of the one; only the one hears of all.
        others = "+" if self._role == one else self.client_id
        # A topic that ends with a slash is for this client alone.
        self._heard = {
            f"{base}/{topic}{self.client_id if topic.endswith('/') else ''}": take
            for topic, take in heard.items()
        } | {f"{base}/{one}/+": self._side, f"{base}/{many}/{others}": self._side}
        #: Bytes of the largest packet that the broker takes; 0 before it has answered.
        self._room = 0
        #: Set when this side ends. Ctrl+C may leave `_changed` locked, but not this.
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._client = client = broker.client(self.client_id)
        client.max_inflight_messages_set(self._most_sent)
        client.will_set(self._own_topic, b"", 1, True)
        client.on_connect = partial(self._guard, self._connect)
        client.on_disconnect = partial(self._guard, self._disconnect)
        client.on_subscribe = partial(self._guard, self._subscribed)
        client.on_publish = partial(self._guard, self._published)
        for topic, take in self._heard.items():
            client.message_callback_add(topic, partial(self._guard, take))
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
                if not wait_until(
                    self._changed, lambda: self.claim or self.error, timeout
                ):
                    self.error = timed_out("the broker did not answer in time", name)
            if self.error is not None:
                raise self.error
        except BaseException as error:
            self._leave()
            add_hint(error, f"the broker is {broker.host}, port {port}")
            raise

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until `close` or an error ends this side; False after a time-out.

        `timeout` is in seconds; None is forever. The error is in `error`.
        """
        with self._changed:
            return wait_until(self._changed, self._ended.is_set, timeout)

    def close(self) -> None:
        """Leave the broker, which tells the other sides. May be called twice.

        It raises the error that has ended this side before.

        Raises:
            FileExistsError: Another side has the role; the error names it.
            PermissionError: The broker refused this side.
            OSError: The mapping or the window here cannot be used.
            ValueError: The mapping or the window here cannot be used.
        """
        self._end()
        self._stop()
        if self._thread not in (None, threading.current_thread()):
            self._thread.join()
        self._leave()
        error, self.error = self.error, None
        if error is not None:
            raise error

    def _end(self) -> None:
        """Tell all who wait for this side that it ends."""
        with self._changed:
            self._ended.set()
            self._changed.notify_all()

    def _stop(self) -> None:
        """End what does not look at `_ended`: a thread that waits, a window."""

    def _leave(self) -> None:
        self._on_event = None
        self.claim = None
        self._go()
        # While the link is cut, paho's thread would wait until these are acknowledged.
        self._client.drop_out_messages()
        with contextlib.suppress(AttributeError):  # paho's thread ended just now
            self._client.loop_stop()
        self._go()  # a thread that was connecting has left a connection

    # ------------------------------------------------------------- for the sides

    def _topic(self, *parts: str) -> str:
        return "/".join((self._base, *parts))

    @property
    def _own_topic(self) -> str:
        return self._topic(self._role, self.client_id)

    def _start(self, run: Callable[[], None]) -> None:
        """Run this on a thread that `close` waits for.

        The end of Python does not wait: Ctrl+C may come before a caller has the side.
        """
        guarded = partial(self._guard, run)
        self._thread = threading.Thread(
            target=guarded, name="winipc relay", daemon=True
        )
        self._thread.start()

    def _guard(self, run: Callable[..., None], *told: Any) -> None:
        """Run this on a thread that has no caller: an error ends the side.

        paho's callbacks get the client and its user data first, which none needs.
        """
        try:
            if not self._ended.is_set():
                run(*told[2:])
        except BaseException as error:
            self._fail(error)

    def _publish(
        self,
        topic: str,
        data: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        told: Any = None,
    ) -> Any:
        """Hand a message over to paho; ValueError if it is too large for the broker."""
        if len(data) + 2 * len(self._base) + _OWN_HEAD > self._room:
            raise ValueError(f"{len(data)} bytes are more than the broker takes")
        return self._client.publish(topic, data, qos, retain, told)

    def _tell(self, text: str) -> None:
        """Call `on_event`; an exception of it ends the side."""
        try:
            if (on_event := self._on_event) is not None:
                on_event(clean(text, 500))
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """End this side by an error. The first error counts."""
        with self._changed:
            self.error = self.error or error
            self.claim = None
        self._end()
        self._go()

    def _gone(self, side: tuple[str, str]) -> None:
        """A side has left, or died."""

    # ------------------------------------------------- on the thread of paho-mqtt

    def _connect(self, _flags: Any, reason: Any, given: Any) -> None:
        if reason.is_failure:
            if self._room and reason.value in _LATER:
                return
            raise PermissionError(f"the broker refuses {self.name!r}: {reason}")
        self._room = getattr(given, "MaximumPacketSize", 1 << 28)
        self._claiming, self.sides = uuid.uuid4().hex, {}
        self._client.subscribe([(topic, 1) for topic in self._heard])
        who = {"host": socket.gethostname(), "pid": os.getpid()}
        told = json.dumps(who | {"claim": self._claiming}).encode()
        self._publish(self._own_topic, told, retain=True)

    def _disconnect(self, _flags: Any, reason: Any, _: object) -> None:
        lost, self.claim, self._claiming = self.claim, None, ""
        if lost is not None:
            self._tell(f"connection lost: {reason}")

    def _subscribed(self, _mid: int, reasons: list[Any], _: object) -> None:
        for reason in reasons:
            self._check("subscribe", reason)

    def _published(self, _mid: int, reason: Any, _: object) -> None:
        self._check("publish", reason)

    def _check(self, what: str, reason: Any) -> None:
        if reason.is_failure:
            text = f"the broker does not let {self.name!r} {what}: {reason}"
            raise PermissionError(text)

    def _go(self) -> None:
        """Disconnect in such a way that the broker publishes the last will."""
        from paho.mqtt import packettypes, reasoncodes

        kind = packettypes.PacketTypes.DISCONNECT
        reason = reasoncodes.ReasonCode(kind, "Disconnect with will message")
        self._client.disconnect(reason)

    def _side(self, message: Any) -> None:
        """Another side, or this one, has come or gone."""
        data = message.payload
        role, client_id = side = tuple(message.topic.split("/")[-2:])
        who, claim = _who(data)
        if client_id == self.client_id:
            if claim == self._claiming and self.claim is None:
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
        """Take the role: this side's claim came back, after all earlier ones.

        So of two sides that want a role, the one whom the broker heard first has it.
        """
        for side, who in self.sides.items():
            if side[0] == self._role == self._roles[0]:
                text = f"{who} is the {self._role} already"
                error = FileExistsError(0, text, self.name, ERROR_ALREADY_EXISTS)
                add_hint(error, f"its claim is the topic {self._topic(*side)}")
                raise error
        with self._changed:
            self.claim = self._claiming
            self._changed.notify_all()
        self._tell("connected")


def _send_at_once(_c: object, _u: object, connection: socket.socket) -> None:
    """Without this a small packet waits 40 ms for others (Nagle's algorithm)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _who(data: bytes) -> tuple[str, object]:
    """Who a side says that it is, for people, and the claim of its connection."""
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
    """`paho.mqtt.properties.Properties` for a kind of packet."""
    from paho.mqtt import packettypes, properties

    made = properties.Properties(getattr(packettypes.PacketTypes, packet))
    for name, value in given.items():
        setattr(made, name, value)
    return made
