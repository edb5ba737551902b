"""Messages between two processes, there and back, and in a stream."""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import echo
import zmq
from harness import OURS, RAW, Case, Goal, Run, group, label, raw, timed
from world import World

import winipc

_CAPACITY = 4 << 20


def _channels(
    world: World, peer: Callable[..., object] | None, *arguments: Any
) -> tuple[winipc.Channel, winipc.Channel]:
    """A channel to a peer and a channel back; the peer is target.exe or a function."""
    names = world.name("to"), world.name("back")
    there, back = (
        world.enter(winipc.Channel.create(name, _CAPACITY)) for name in names
    )
    if peer is None:
        assert world.target.ask(f"echo {names[0]} {names[1]}")
    else:
        world.child(peer, *names, *arguments)
    return there, back


def _raw_channels(world: World, peer: str = "echo") -> None:
    names = world.name("to"), world.name("back")
    assert not world.raw.channels_make(*names, _CAPACITY)
    world.stack.callback(world.raw.channels_close)
    assert world.target.ask(f"{peer} {names[0]} {names[1]}")


def _round_trip(channels: tuple[winipc.Channel, winipc.Channel], data: bytes) -> Run:
    there, back = channels
    there.send(data)  # wait until the peer has started
    back.recv(60)
    return timed("send(data); recv()", send=there.send, recv=back.recv, data=data)


@group("asleep")
def asleep(world: World) -> Iterator[Case]:
    """On one CPU no receiver can spin, so each message wakes its receiver."""
    ping_name, pong_name = world.name("ping"), world.name("pong")
    ping = world.enter(winipc.Event.create(ping_name))
    pong = world.enter(winipc.Event.create(pong_name))
    assert world.target.ask(f"events {ping_name} {pong_name}")
    there, back = _channels(world, None)
    yield Case(
        "64 B round trip, one CPU",
        {
            RAW: raw(world.raw.raw_ping, ping.handle, pong.handle),
            OURS: _round_trip((there, back), b"m" * 64),
        },
        (Goal(0.6, "times"),),
        note="raw C: two events, without data; winipc: a channel, to a peer in C",
    )


@group("channel", pinned=False)
def channel(world: World) -> Iterator[Case]:
    others = _Others(world)
    _raw_channels(world)
    python = _channels(world, echo.channel)
    for size in (64, 4096, 65536):
        data = b"m" * size
        yield Case(
            f"{label(size)} round trip",
            {
                RAW: raw(world.raw.raw_channel, size),
                OURS: _round_trip(python, data),
                **others.ways(data),
            },
            (Goal(100, "faster", "Pipe"),) if size == 64 else (),
            note="raw C: include/winipc.h on both sides; winipc: Python on both sides"
            if size == 64
            else "",
            size=size,
            series="channel",
        )
    yield _large_round_trip(world, others)


class _Others:
    """The round trips of other packages, and of Python itself."""

    def __init__(self, world: World) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        world.child(echo.pipe, theirs)
        world.stack.callback(self._pipe.send_bytes, b"")

        self._requests, self._answers = context.Queue(), context.Queue()
        world.child(echo.queue, self._requests, self._answers)
        world.stack.callback(self._requests.put, None)

        server = world.enter(socket.create_server(("127.0.0.1", 0)))
        world.child(echo.tcp, server.getsockname()[1])
        self._connection = world.enter(server.accept()[0])
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        library = world.enter(zmq.Context())
        self._pair = world.enter(library.socket(zmq.PAIR))
        self._pair.linger = 0
        world.child(echo.zmq, self._pair.bind_to_random_port("tcp://127.0.0.1"), False)
        world.stack.callback(self._pair.send, b"end")

    def ways(self, data: bytes) -> dict[str, Run]:
        calls: dict[str, tuple[Any, Any]] = {
            "Pipe": (self._pipe.send_bytes, self._pipe.recv_bytes),
            "Queue": (self._requests.put, self._answers.get),
            "pyzmq": (self._pair.send, self._pair.recv),
        }
        ways = {
            who: timed("send(data); recv()", send=send, recv=recv, data=data)
            for who, (send, recv) in calls.items()
        }
        if len(data) < 1024:  # one segment; larger data may come in pieces
            ways["TCP"] = timed(
                "send(data); recv(65536)",
                send=self._connection.sendall,
                recv=self._connection.recv,
                data=data,
            )
        return ways


def _large_round_trip(world: World, others: _Others) -> Case:
    size = 1 << 20
    big = bytes(size)
    there, back = _channels(world, echo.channel_into, size)
    there.send(big)
    buffer = bytearray(size)
    back.recv_into(buffer, timeout=60)
    return Case(
        f"{label(size)} round trip",
        {
            RAW: raw(world.raw.raw_channel, size),
            OURS: timed(
                "send(data); recv(buffer)",
                send=there.send,
                recv=back.recv_into,
                data=big,
                buffer=buffer,
            ),
            **others.ways(big),
        },
        (Goal(2, "times"),),
        size=size,
        series="channel",
        note="2 MiB moved; winipc: `recv_into` on both sides",
    )


def _stream(
    channels: tuple[winipc.Channel, winipc.Channel], send: Callable[[int], object]
) -> Run:
    there, back = channels
    there.send(b"")
    back.recv(60)

    def run(n: int) -> int:
        began = time.perf_counter_ns()
        send(n)
        there.send(b"")
        back.recv(60)
        return time.perf_counter_ns() - began

    return run


def _pipe_stream(world: World, data: bytes, batch: int = 1) -> Run:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    world.child(echo.pipe_sink, theirs)
    world.stack.callback(ours.close)

    return _to_sink(ours.send_bytes, ours.recv_bytes, data, batch)


def _to_sink(
    send: Callable[[bytes], object], recv: Callable[[], object], data: bytes, batch: int
) -> Run:
    """Send messages one by one, then an empty one, and wait for its answer."""

    def run(n: int) -> int:
        began = time.perf_counter_ns()
        for _ in itertools.repeat(None, n * batch):
            send(data)
        send(b"")
        recv()
        return time.perf_counter_ns() - began

    return run


@group("stream", pinned=False)
def stream(world: World) -> Iterator[Case]:
    small, batch = b"m" * 64, 256
    messages = [small] * batch
    _raw_channels(world, "sink")
    channels = _channels(world, echo.channel_sink, 0)

    def send_many(n: int) -> None:
        many = channels[0].send_many
        for _ in itertools.repeat(None, n):
            many(messages)

    library = world.enter(zmq.Context())
    pair = world.enter(library.socket(zmq.PAIR))
    pair.linger = 0
    world.child(echo.zmq, pair.bind_to_random_port("tcp://127.0.0.1"), True)
    world.stack.callback(pair.send, b"end")

    raw_stream = raw(world.raw.raw_stream, len(small))

    yield Case(
        "64 B stream, per message",
        {
            RAW: lambda n: raw_stream(n * batch),
            OURS: _stream(channels, send_many),
            "Pipe": _pipe_stream(world, small, batch),
            "pyzmq": _to_sink(pair.send, pair.recv, small, batch),
        },
        (Goal(100, "faster", "pyzmq"),),
        per_call=batch,
        note="until the last has come; raw C: include/winipc.h on both sides, one by "
        "one; winipc: `send_many` of 256 and `recv_many`",
    )


@group("stream 64 KiB", pinned=False)
def stream_large(world: World) -> Iterator[Case]:
    large = bytes(65536)
    _raw_channels(world, "sink")
    channels = _channels(world, echo.channel_sink, 65536)

    def send(n: int) -> None:
        one = channels[0].send
        for _ in itertools.repeat(None, n):
            one(large)

    yield Case(
        "64 KiB stream, per message",
        {
            RAW: raw(world.raw.raw_stream, 65536),
            OURS: _stream(channels, send),
            "Pipe": _pipe_stream(world, large),
        },
        (Goal(2, "times"),),
        size=65536,
        note="raw C: include/winipc.h on both sides; winipc: `send` and `recv_into`",
    )


_PRODUCERS = 8
_SPREAD = ", from the first done to the last"


def _raw_producers(
    world: World,
    count: int,
    messages: int,
    *,
    guarded: bool = False,
    spread: bool = False,
) -> Run:
    """`messages` messages from `count` threads in C.

    With `guarded`, an SRWLOCK gives their turns. With `spread`, the time is that from
    when the first thread has sent all until the last has.
    """

    def run(n: int) -> int:
        name = world.name("producers")
        each = n * messages // count
        return raw(world.raw.raw_producers, name, 64, count, guarded, spread)(each)

    return run


def _producers(world: World, count: int, messages: int) -> Run:
    """`messages` messages from `count` processes in Python."""
    name = world.name("producers")
    channel = world.enter(
        winipc.Channel.create(name, 1 << 20, producers="many", role="recv")
    )
    orders = []
    for _ in range(count):
        order = world.name("order")
        orders.append(world.enter(winipc.Channel.create(order, 256, role="send")))
        world.child(echo.producer, order, name)
    for _ in orders:
        assert channel.recv(60) == b"ready"

    def run(n: int) -> int:
        each = n * messages // count
        began = time.perf_counter_ns()
        for order in orders:
            order.send(b"%d" % each)
        left = each * count
        while left:
            left -= len(channel.recv_many(timeout=60))
        return time.perf_counter_ns() - began

    return run


@group("producers", pinned=False)
def producers(world: World) -> Iterator[Case]:
    each = 1000
    yield Case(
        "64 B from 8 producers, per message",
        {
            RAW: _raw_producers(world, _PRODUCERS, _PRODUCERS * each),
            "raw C, one producer": _raw_producers(world, 1, _PRODUCERS * each),
            OURS: _producers(world, _PRODUCERS, _PRODUCERS * each),
            "winipc, one producer": _producers(world, 1, _PRODUCERS * each),
        },
        (
            Goal(3, "times", "raw C, one producer", RAW),
            Goal(4, "times", "winipc, one producer"),
        ),
        per_call=_PRODUCERS * each,
        note="a channel with many producers; raw C: threads with include/winipc.h; "
        "winipc: processes, one `send` for each message, and `recv_many`",
    )
    each = 50_000
    yield Case(
        "8 producers at once, per message",
        {
            f"{RAW}, {turns}{what}": _raw_producers(
                world,
                _PRODUCERS,
                _PRODUCERS * each,
                guarded=turns == "SRWLOCK",
                spread=bool(what),
            )
            for turns in ("the channel", "SRWLOCK")
            for what in ("", _SPREAD)
        },
        (
            Goal(
                2,
                "times",
                f"{RAW}, SRWLOCK{_SPREAD}",
                f"{RAW}, the channel{_SPREAD}",
            ),
        ),
        per_call=_PRODUCERS * each,
        note="each sends 50,000 messages. How fair the turns are shows the time from "
        "when the first has sent all until the last has; SRWLOCK: a ring of a single "
        "producer, whose turns this lock of Windows gives",
    )


def _ordered(world: World, take: Callable[[winipc.Channel, int], object]) -> Run:
    """Order messages from another process, and take them with a function."""
    order_name, name = world.name("order"), world.name("ordered")
    channel = world.enter(winipc.Channel.create(name, 1 << 20, role="recv"))
    order = world.enter(winipc.Channel.create(order_name, 256, role="send"))
    world.child(echo.producer, order_name, name)
    assert channel.recv(60) == b"ready"

    def run(n: int) -> int:
        began = time.perf_counter_ns()
        order.send(b"%d" % n)
        take(channel, n)
        return time.perf_counter_ns() - began

    return run


@group("asyncio", pinned=False)
def in_a_loop(world: World) -> Iterator[Case]:
    loop = asyncio.new_event_loop()
    world.stack.callback(loop.close)

    def recv(channel: winipc.Channel, n: int) -> None:
        for _ in itertools.repeat(None, n):
            channel.recv()

    async def recv_async(channel: winipc.Channel, n: int) -> None:
        for _ in itertools.repeat(None, n):
            await channel.recv_async()

    async def recv_many_async(channel: winipc.Channel, n: int) -> None:
        while n:
            n -= len(await channel.recv_many_async())

    async def turns(n: int) -> int:
        began = time.perf_counter_ns()
        for _ in itertools.repeat(None, n):
            await asyncio.sleep(0)
        return time.perf_counter_ns() - began

    run = loop.run_until_complete
    yield Case(
        "64 B to an asyncio task, per message",
        {
            OURS: _ordered(world, lambda channel, n: run(recv_async(channel, n))),
            "winipc, recv_many_async": _ordered(
                world, lambda channel, n: run(recv_many_async(channel, n))
            ),
            "winipc, recv": _ordered(world, recv),
            "a turn of the loop": lambda n: run(turns(n)),
        },
        (
            Goal(1, "times", "a turn of the loop"),
            Goal(50, "times", "winipc, recv"),
        ),
        note="a channel from another process, which sends one by one; a turn of the "
        "loop: `asyncio.sleep(0)`",
    )
