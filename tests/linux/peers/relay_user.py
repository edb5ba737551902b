"""relay_user.py NAME TITLE SIZE HOST PORT: what uses the copy and the proxy.

Each line of input is [function, *arguments] in JSON, and each answer is its result. It
also runs sides of its own, and plain clients of the broker.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import winipc
from winipc import relay
from winipc.relay import link, window
from winipc.relay.link import properties

NAME, TITLE, SIZE = sys.argv[1], sys.argv[2], int(sys.argv[3])
BROKER = relay.Broker(sys.argv[4], int(sys.argv[5]))
acknowledged: list[str] = []
kept: list[object] = []
sending, number = threading.Event(), 0


class Client:
    """A plain client, which hears of a topic by now."""

    def __init__(self, topic: str, client_id: str = "") -> None:
        self._heard: queue.Queue[Any] = queue.Queue()
        self._client = client = BROKER.client(client_id)
        client.on_message = lambda *told: self._heard.put(told[2])
        client.on_connect = lambda *_: client.subscribe(topic, 1)
        client.on_subscribe = lambda *_: self._heard.put(None)
        client.connect(BROKER.host, BROKER.port)
        client.loop_start()
        self.next()

    def next(self) -> Any:
        return self._heard.get(timeout=600)

    def publish(
        self, topic: str, data: object, retain: bool = False, **told: Any
    ) -> None:
        given = properties("PUBLISH", **told)
        payload = data if isinstance(data, bytes) else json.dumps(data).encode()
        self._client.publish(topic, payload, 1, retain, given)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Events(queue.Queue[str]):
    """What a side tells."""

    def __call__(self, text: str) -> None:
        self.put(text)

    def until(self, *starts: str) -> list[str]:
        """All, up to one that starts so."""
        told: list[str] = []
        while not told or not told[-1].startswith(starts):
            told.append(self.get(timeout=600))
        return told


def send(id: int, title: str = TITLE) -> object:
    """Send a message; what came of it."""
    try:
        data = str(id).encode()
        answer = winipc.send_copydata(title, data, id=id, timeout=600, check=False)
    except OSError as error:
        return repr(error)
    if answer == id + 1000:
        acknowledged.append(str(id))
    return answer


def keep_sending() -> None:
    global number
    while True:
        sending.wait()
        number += 1
        if not send(number):
            time.sleep(0.05)


def start_sending(count: int) -> None:
    """Send on until told to stop; return when so many more are acknowledged."""
    goal = len(acknowledged) + count
    sending.set()
    while len(acknowledged) < goal:
        time.sleep(0.005)


def stop_sending() -> list[str]:
    """What was acknowledged, after the last message has its answer."""
    sending.clear()
    before = -1
    while before != number:
        before = number
        send(10**6 + before)
    return acknowledged


def equal(digest: str) -> int:
    """Wait until the copy is so; its size."""
    with winipc.SharedMapping.wait_for(NAME, 600) as mapping:
        while hashlib.md5(mapping.read(SIZE)).hexdigest() != digest:
            time.sleep(0.005)
        return mapping.size


def create(name: str, size: int) -> None:
    kept.append(winipc.SharedMapping.create(name, size))


def make_proxy(title: str, patience: float) -> None:
    """A proxy that knows its target; it stays."""
    told = Events()
    proxy = relay.WindowProxy(BROKER, title, patience=patience, on_event=told)
    told.until("target:")
    kept.extend((proxy, told))


def told(start: str) -> str:
    """The next that the proxy tells that starts so."""
    [events] = (each for each in kept if isinstance(each, Events))
    return events.until(start)[-1]


def ended(kind: str, name: str, ends: bool, more: dict[str, Any]) -> Any:
    """What a side ends by, and what it told before."""
    events: list[str] = []
    broker = relay.Broker(**{"host": BROKER.host, "port": BROKER.port, **more})
    try:
        side = getattr(relay, kind)(broker, name, timeout=None, on_event=events.append)
        try:
            side.wait(600 if ends else 0)
        finally:
            side.close()
    except (OSError, ValueError) as error:
        return str(error), events
    return "", events


def ended_by_event() -> str:
    """What a side ends by whose `on_event` raises."""

    def fail(text: str) -> None:
        raise LookupError(text)

    try:
        with relay.MappingCopy(BROKER, "event", on_event=fail) as side:
            side.wait(600)
    except LookupError as error:
        return str(error)
    return ""


def closed_by_event(kind: str, event: str) -> str:
    """Close a side on its own thread, at this event, and by three others at once."""
    sides: queue.Queue[relay.Relay] = queue.Queue()
    closed: queue.Queue[str] = queue.Queue()

    def close(text: str) -> None:
        if text == event:
            side = sides.get(timeout=600)
            side.close()
            closed.put(text)

    side = getattr(relay, kind)(BROKER, kind, on_event=close)
    sides.put(side)
    side.wait(600)
    threads = [threading.Thread(target=side.close) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return closed.get(timeout=600)


def late(name: str) -> list[str]:
    """What a source tells whose mapping is made when it waits."""
    told = Events()
    with relay.MappingSource(BROKER, f"Local\\{name}", on_event=told):
        before = told.until("waiting")
        with winipc.SharedMapping.create(name, 10) as mapping:
            mapping.write(b"late")
            return before + told.until("sharing")


def overhear() -> Any:
    """The user properties of a request."""
    with contextlib.closing(Client(f"winipc/window/{TITLE}/request")) as client:
        send(7)
        return client.next().properties.UserProperty


def flood(count: int) -> None:
    """Send so many requests."""
    base = f"winipc/window/{TITLE}"
    kept.append(client := Client(f"{base}/answer/flood"))
    told: dict[str, Any] = {"ResponseTopic": f"{base}/answer/flood"}
    told["MessageExpiryInterval"] = 60
    for id in range(count):
        told["CorrelationData"] = id.to_bytes(2, "big")
        client.publish(f"{base}/request", b"flood", **told)


def flooded(count: int) -> dict[str, int]:
    """The next answers to `flood`."""
    client: Any = kept[-1]
    return Counter(client.next().payload.decode() for _ in range(count))


@contextlib.contextmanager
def limited(module: object, name: str, most: int) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, most)
    yield
    setattr(module, name, before)


def too_many_sides(most: int) -> list[str]:
    """What a source tells of one copy more than it can know."""
    told, base = Events(), "winipc/mapping/sides"
    with (
        limited(link, "_MOST_SIDES", most),
        contextlib.closing(Client("nothing")) as client,
        relay.MappingSource(BROKER, "sides", on_event=told),
    ):
        told.until("waiting")
        for id in range(most + 1):
            client.publish(f"{base}/copy/{id}", {"host": f"pc {id}", "pid": 1})
        client.publish(f"{base}/copy/0", b"")
        return told.until("copy is gone")


def too_many_answers(most: int) -> list[str]:
    """Send one request more than a target remembers: the last and the first again.

    All name a target that is gone at first, and none when they come again.
    """
    base = "winipc/window/answers"
    topic = f"{base}/answer/me"
    with (
        limited(window, "_MOST_KEPT", most),
        contextlib.closing(Client(topic)) as client,
        relay.WindowTarget(BROKER, "answers"),
    ):

        def request(id: int, **more: Any) -> str:
            told = {"ResponseTopic": topic, "CorrelationData": bytes([id]), **more}
            client.publish(f"{base}/request", b"", **told)
            return client.next().payload.decode()

        for id in range(most + 1):
            request(id, UserProperty=("target", "another"))
        return [request(most), request(0)]


@contextlib.contextmanager
def proxied(title: str, patience: float) -> Iterator[tuple[Client, Any, Events]]:
    """A client as the target of a proxy, the proxy, and what it tells from now on."""
    told, base = Events(), f"winipc/window/{title}"
    with (
        contextlib.closing(Client(f"{base}/request")) as client,
        relay.WindowProxy(BROKER, title, patience=patience, on_event=told) as proxy,
    ):
        client.publish(f"{base}/target/me", b"me", retain=True)
        told.until("target")
        yield client, proxy, told
        client.publish(f"{base}/target/me", b"", retain=True)


def wrong_answers(payloads: list[str]) -> list[str]:
    """What a proxy tells of these answers of its target, each a refusal."""
    with proxied("wrong", 60) as (client, _, told):
        results: list[object] = []
        for payload in payloads:
            sender = threading.Thread(target=lambda: results.append(send(1, "wrong")))
            sender.start()
            given = client.next().properties
            topic, key = given.ResponseTopic, given.CorrelationData
            client.publish(topic, {"answer": 1}, CorrelationData=b"of another")
            client.publish(topic, payload.encode(), CorrelationData=key)
            sender.join()
        told.put("end")
        assert results == [0] * len(payloads), results
        return told.until("end")[:-1]


def unacknowledged(count: int) -> bool:
    """Whether a proxy goes on after so many messages that are not acknowledged."""
    with proxied("unacknowledged", 0.05) as (client, proxy, _):
        proxy._client._handle_pubackcomp = lambda _: 0
        for _ in range(count):
            send(1, "unacknowledged")
            client.next()
        del proxy._client._handle_pubackcomp

        def target() -> None:
            while (given := client.next()) is not None:
                key = given.properties.CorrelationData
                topic = given.properties.ResponseTopic
                client.publish(topic, {"answer": 1}, CorrelationData=key)

        threading.Thread(target=target, daemon=True).start()
        return any(send(1, "unacknowledged") for _ in range(100))


def given_up() -> list[str]:
    """What a target gets: a message, and after a loss of the connection another one.

    The first is not acknowledged, and its sender does not wait any more.
    """
    with proxied("given-up", 0.05) as (client, proxy, told):
        proxy._client._handle_pubackcomp = lambda _: 0
        send(1, "given-up")
        Client("nothing", proxy.client_id).close()  # the broker drops the proxy
        told.until("connected")
        send(2, "given-up")
        return [client.next().payload.decode() for _ in range(2)]


threading.Thread(target=keep_sending, daemon=True).start()
print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    function, *args = json.loads(line)
    print(json.dumps(globals()[function](*args)), flush=True)
