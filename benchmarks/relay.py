"""What `winipc relay` costs, beside plain MQTT through the same broker.

    mosquitto -c FILE  # of: listener 18830 127.0.0.1, allow_anonymous true,
                       # set_tcp_nodelay true
    ./dev python benchmarks/relay.py 127.0.0.1:18830 [seconds]

This process is both machines and, for plain MQTT, both clients: what is on the far side
has another name here. The median and the slowest of 20 are of single round trips. Under
load 1 % of 1 MiB changes 60 times a second, at one place.
"""

from __future__ import annotations

import queue
import random
import secrets
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import winipc
from winipc.relay import Broker, MappingCopy, MappingSource, WindowProxy, WindowTarget

SIZE = 1 << 20
NAME = f"winipc-relay-{secrets.token_hex(4)}"
FAR = f"{NAME}-far"
PART = SIZE // 100


def times(label: str, once: Callable[[int], None], seconds: float) -> None:
    """How long one takes, again and again."""
    for number in range(20):
        once(number)
    taken, end = [], time.perf_counter() + seconds
    number = 20
    while (begin := time.perf_counter()) < end:
        once(number)
        taken.append(time.perf_counter() - begin)
        number += 1
    median = statistics.median(taken)
    slow = statistics.quantiles(taken, n=20)[-1]
    print(f"{label:44} {median * 1e3:7.2f} ms, {slow * 1e3:7.2f} ms")


def connected(broker: Broker, topic: str, take: Callable[[Any, Any], None]) -> Any:
    """A plain client that has subscribed."""
    ready: queue.Queue[None] = queue.Queue()
    client = broker.client(f"{NAME}-{topic}")
    client.on_message = lambda client, _, message: take(client, message)
    client.on_connect = lambda client, *_: client.subscribe(topic, 1)
    client.on_subscribe = lambda *_: ready.put(None)
    client.connect(broker.host, broker.port)
    client.loop_start()
    ready.get(timeout=10)
    return client


def plain(broker: Broker, seconds: float) -> None:
    came: queue.Queue[bytes] = queue.Queue()
    there = f"{NAME}/there"
    back = f"{NAME}/back"

    def echo(client: Any, message: Any) -> None:
        if message.qos:
            client.publish(back, message.payload, 1)
        else:
            came.put(message.payload)

    far = connected(broker, there, echo)
    near = connected(broker, back, lambda _, message: came.put(message.payload))

    def send(data: bytes, qos: int) -> None:
        near.publish(there, data, qos)
        assert came.get(timeout=10) == data

    times("plain MQTT, 64 bytes there", lambda n: send(b"x" * 64, 0), seconds)
    label = "plain MQTT, 64 bytes there and back, QoS 1"
    times(label, lambda n: send(b"x" * 64, 1), seconds)
    load("plain MQTT, 1 % of 1 MiB", lambda data, at: send(data, 0), seconds)
    for client in (near, far):
        client.disconnect()
        client.loop_stop()


def messages(broker: Broker, seconds: float) -> None:
    with (
        winipc.CopyDataWindow.create(FAR, handler=lambda message: message.id),
        WindowTarget(broker, NAME) as target,
        WindowProxy(broker, NAME) as proxy,
    ):
        target.name = FAR
        while not any(role == "target" for role, _ in proxy.sides):
            time.sleep(0.01)

        def send(number: int) -> None:
            assert winipc.send_copydata(NAME, b"x" * 64, id=number + 1) == number + 1

        times("relay, WM_COPYDATA of 64 bytes, answered", send, seconds)


def mapping(broker: Broker, rate: float, seconds: float) -> None:
    name = f"{NAME}-{rate:.0f}"  # whose last state the broker does not have
    with (
        winipc.SharedMapping.create(name, SIZE) as here,
        MappingCopy(broker, name) as copy,
    ):
        copy.name = f"{name}-far"
        with MappingSource(broker, name, rate=rate):
            there = copy.wait_copied(10)

            def change(data: bytes, at: int) -> None:
                here.write(data, at)
                while there.read(len(data), at) != data:
                    time.sleep(0.0005)  # the others need this Python, too

            if rate > 60:
                label = f"relay, 8 bytes in the copy, {rate:.0f} looks a second"
                times(label, lambda n: change(n.to_bytes(8, "big"), 0), seconds)
            load(f"relay, 1 % of 1 MiB, {rate:.0f} looks", change, seconds)


def load(label: str, change: Callable[[bytes, int], None], seconds: float) -> None:
    """60 changes a second, or as many as are possible, and what they cost."""
    source = random.Random(1)
    before, begin, count = time.process_time(), time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        change(source.randbytes(PART), source.randrange(SIZE - PART))
        count += 1
        time.sleep(max(begin + count / 60 - time.perf_counter(), 0))
    took, used = time.perf_counter() - begin, time.process_time() - before
    print(
        f"{label:44} {count / took:7.1f} a second, {100 * used / took:5.1f} % of a CPU"
    )


def main() -> None:
    host, _, port = sys.argv[1].partition(":")
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 5.0
    broker = Broker(host, int(port or 1883))
    plain(broker, seconds)
    messages(broker, seconds)
    for rate in (60, 500):
        mapping(broker, rate, seconds)


if __name__ == "__main__":
    main()
