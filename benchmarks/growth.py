"""How the time of an operation grows with the amount of work.

    ./dev python benchmarks/growth.py [--quick] [--json FILE] [TEXT...]

Each line does one operation with 10, 31, 100, ... things, and takes the best of some
times. The order is the slope of the time over the number, both as logarithms, by least
squares over the larger numbers: linear is 1, and n log n is between 1.05 and 1.15
there. TEXT selects lines by a part of their name. The exit status is 1 if a line grows
faster than n log n.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from harness import nanoseconds

import winipc
from winipc.cli.output import print_rows

#: From this order on, a line counts as growing faster than n log n. It is above 1.15,
#: as the processor's caches make larger work slower.
TOO_STEEP = 1.3
#: Nanoseconds after which a line tries no larger number.
ENOUGH = 4e9

Once = Callable[[], object]
#: A function that makes `n` things, and yields the operation.
Line = Callable[[int], "contextlib.AbstractContextManager[Once]"]
LINES: dict[str, tuple[Line, int]] = {}


def line(name: str, most: int) -> Callable[[Callable[[int], Iterator[Once]]], Line]:
    """Register a line with up to `most` things."""

    def register(function: Callable[[int], Iterator[Once]]) -> Line:
        LINES[name] = contextmanager(function), most
        return LINES[name][0]

    return register


def unique(what: str) -> str:
    return f"winipc-growth-{os.getpid()}-{what}"


# --------------------------------------------------------------- named objects


@contextmanager
def events(n: int) -> Iterator[list[winipc.Event]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(winipc.Event.create(unique(f"event-{i}")))
            for i in range(n)
        ]


@line("named_objects, of n names", 10_000)
def names(n: int) -> Iterator[Once]:
    with events(n):
        yield lambda: winipc.named_objects("event", unique("*"))


@line("holders_of, of n names", 1000)
def holders(n: int) -> Iterator[Once]:
    with events(n):
        rows = winipc.named_objects("event", unique("*"))
        yield lambda: winipc.holders_of(rows)


# --------------------------------------------------------------------- windows


@line("find_windows, among n windows", 1000)
def windows(n: int) -> Iterator[Once]:
    with ExitStack() as stack:
        for i in range(n):
            stack.enter_context(winipc.CopyDataWindow.create(unique(f"window-{i}")))
        yield lambda: winipc.find_windows(unique("window-1"), pid=os.getpid())


@line("n messages waiting, posted and received", 10_000)
def messages(n: int) -> Iterator[Once]:
    with winipc.CopyDataWindow.create(
        unique("queue"), messages=[0x8001], max_count=n + 1
    ) as window:

        def run() -> None:
            for i in range(n):
                winipc.post_message(window, 0x8001, i)
            for _ in range(n):
                window.receive(10)

        yield run


# ------------------------------------------------------------- another process


@contextmanager
def numbers(n: int) -> Iterator[tuple[winipc.RemoteProcess, int]]:
    """This process, and the address of n int32 in it."""
    with (
        winipc.SharedMapping.create(None, max(4 * n, 8)) as memory,
        winipc.RemoteProcess.open(os.getpid()) as process,
    ):
        memory.write(b"\x07\0\0\0" * n)
        yield process, memory.address


@contextmanager
def candidates_of(n: int) -> Iterator[winipc.CandidateSet]:
    with numbers(n) as (process, address):
        where = [(address, 4 * n)]
        with winipc.CandidateSet.scan(process, "i32", regions=where) as found:
            assert len(found) == n
            yield found


@line("rescan of n candidates", 1_000_000)
def rescan(n: int) -> Iterator[Once]:
    with candidates_of(n) as found:
        yield lambda: found.rescan("unchanged")


@line("n candidates with their values", 1_000_000)
def candidates(n: int) -> Iterator[Once]:
    with candidates_of(n) as found:
        yield lambda: sum(1 for _ in found.items())


@line("scan with n matches", 1_000_000)
def matches(n: int) -> Iterator[Once]:
    with numbers(n) as (process, address):
        pattern = winipc.Pattern.value("i32", 7)
        where = [(address, 4 * n)]
        yield lambda: sum(1 for _ in process.scan(pattern, regions=where))


@line("scan of n regions", 10_000)
def ranges(n: int) -> Iterator[Once]:
    with numbers(4096) as (process, address):
        pattern = winipc.Pattern.value("i32", 8)
        where = [(address + 1000 * (i % 16), 64) for i in range(n)]
        yield lambda: list(process.scan(pattern, regions=where))


@line("regions, of n", 10_000)
def regions(n: int) -> Iterator[Once]:
    # Each is an allocation of its own, as Wine looks at all pages of one in each query.
    access = winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE
    with (
        winipc.RemoteProcess.open(os.getpid(), access=access) as process,
        ExitStack() as stack,
    ):
        for _ in range(n):
            stack.enter_context(process.alloc(4096))
        yield lambda: sum(1 for _ in process.regions())


@line("read_many, n requests", 100_000)
def requests(n: int) -> Iterator[Once]:
    with numbers(n) as (process, address):
        wanted = [(address + 4 * i, 4) for i in range(n)]
        yield lambda: process.read_many(wanted)


@line("pointer_paths, of n pointers", 1_000_000)
def pointers(n: int) -> Iterator[Once]:
    with numbers(2 * n) as (process, address):
        with winipc.RemoteProcess.open(
            os.getpid(), access=winipc.ProcessAccess.READ | winipc.ProcessAccess.WRITE
        ) as writer:
            step = 8
            data = b"".join(
                (address + step * ((i * 7919) % n)).to_bytes(8, "little")
                for i in range(n)
            )
            writer.write(address, data)
        where = [(address, 8 * n)]
        yield lambda: list(
            process.pointer_paths(address, 1, base="python.exe", regions=where)
        )


# --------------------------------------------------------------------- layouts


@contextmanager
def fields_of(n: int) -> Iterator[tuple[str, winipc.Layout]]:
    text = " ".join(f"field{i}:{'ifhq'[i % 4]}" for i in range(n))
    yield text, winipc.Layout.of("many", text)


@line("Layout.of, n fields", 100_000)
def layout(n: int) -> Iterator[Once]:
    with fields_of(n) as (text, _):
        yield lambda: winipc.Layout.of("many", text)


@line("record of n fields, as a dict and packed", 100_000)
def record(n: int) -> Iterator[Once]:
    with fields_of(n) as (_, ours):
        data = bytes(ours.size)
        yield lambda: ours.pack(ours.unpack(data).as_dict())


@line("Layout.check of n fields", 100_000)
def check(n: int) -> Iterator[Once]:
    with fields_of(n) as (text, ours):
        other = winipc.Layout.of("other", text)
        yield lambda: (ours.check(other), ours.first_difference(other.description))


@line("Snapshot, a record of n bytes", 1_000_000)
def snapshot(n: int) -> Iterator[Once]:
    needed = winipc.Snapshot.needed(n)
    with (
        winipc.SharedMapping.create(None, needed) as memory,
        winipc.Snapshot.over(memory, n) as records,
    ):
        data = bytes(n)
        yield lambda: (records.write(data), records.read())


# ----------------------------------------------------------- waits and channels


@line("n tasks, each with an event of its own", 10_000)
def tasks(n: int) -> Iterator[Once]:
    with ExitStack() as stack:
        made = [stack.enter_context(winipc.Event.create()) for _ in range(n)]

        async def run() -> None:
            waits = [asyncio.create_task(event.wait_async(60)) for event in made]
            await asyncio.sleep(0)
            for event in made:
                event.set()
            assert all(await asyncio.gather(*waits))

        yield lambda: asyncio.run(run())


@line("n tasks that await one event", 10_000)
def one_event(n: int) -> Iterator[Once]:
    with winipc.Event.create(manual=True) as event:

        async def run() -> None:
            event.reset()
            waits = [asyncio.create_task(event.wait_async(60)) for _ in range(n)]
            await asyncio.sleep(0)
            event.set()
            assert all(await asyncio.gather(*waits))

        yield lambda: asyncio.run(run())


@line("Waits of n handles, any of them", 1000)
def any_of(n: int) -> Iterator[Once]:
    with ExitStack() as stack:
        made = [stack.enter_context(winipc.Event.create()) for _ in range(n)]

        def run() -> None:
            made[-1].set()
            assert winipc.wait_any(made, 60) is made[-1]

        yield run


@line("Channel, n producers take turns", 60)
def producers(n: int) -> Iterator[Once]:
    name = unique("channel")
    with ExitStack() as stack:
        receiver = stack.enter_context(
            winipc.Channel.create(name, 1 << 16, producers="many", role="recv")
        )
        senders = [
            stack.enter_context(winipc.Channel.open(name, role="send"))
            for _ in range(n)
        ]

        def run() -> None:
            for _ in range(20):
                for sender in senders:
                    sender.send(b"x" * 64)
                receiver.recv_many(n)

        yield run


# ------------------------------------------------------------------------- CLI


@line("a table of n rows", 100_000)
def table(n: int) -> Iterator[Once]:
    rows = [{"kind": "event", "size": i, "name": f"name {i}"} for i in range(n)]

    def run() -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            print_rows(False, rows, {one: one for one in rows[0]}, nothing="")

    yield run


# ------------------------------------------------------------------ measuring


def sizes(most: int) -> list[int]:
    """10, 31, 100, ... up to `most`."""
    steps = [round(10 ** (k / 2)) for k in range(2, 13)]
    return [n for n in steps if n < most] + [most]


def best(once: Once, patience: float) -> float:
    """The nanoseconds of the best run, of at least three runs."""
    times: list[int] = []
    while len(times) < 3 or (len(times) < 9 and sum(times) < patience):
        began = time.perf_counter_ns()
        once()
        times.append(time.perf_counter_ns() - began)
        if times[0] > ENOUGH:
            break
    return float(min(times))


def slope(points: list[tuple[int, float]]) -> float:
    """The slope of the time over the number, both as logarithms, by least squares.

    For small numbers, fixed costs hide the growth, so only the larger half counts.
    """
    upper = points[len(points) // 2 :] if len(points) > 4 else points[-3:]
    number, took = zip(*((math.log(n), math.log(t)) for n, t in upper), strict=True)
    return statistics.linear_regression(number, took).slope


def measured(name: str, quick: bool) -> list[tuple[int, float]]:
    """Time a line for each number of things."""
    make, most = LINES[name]
    points: list[tuple[int, float]] = []
    for n in sizes(min(most, 1000) if quick else most):
        with make(n) as once:
            points.append((n, best(once, 1e8 if quick else 5e8)))
        if points[-1][1] > ENOUGH:
            break
    return points


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 1000 things")
    parser.add_argument("--json", help="write the numbers to this file as well")
    parser.add_argument("text", nargs="*", help="lines with this in their names")
    options = parser.parse_args(arguments)
    rows = []
    for name in LINES:
        if options.text and not any(text in name for text in options.text):
            continue
        points = measured(name, options.quick)
        order = slope(points)
        rows.append({"name": name, "points": points, "order": order})
        n, took = points[-1]
        print(f"{name}: {nanoseconds(took)} for {n:,}, order {order:.2f}", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)
    return int(any(row["order"] > TOO_STEEP for row in rows))


if __name__ == "__main__":
    sys.exit(main())
