"""The cost of waiting tasks while nothing happens.

    ./dev python benchmarks/idle_waits.py [seconds [tasks]]

Each task awaits an event of its own. The lateness is that of a timer of 10 ms in the
same loop. Loops with and without such tasks take turns of 5 s, as the machine is not
always equally quiet, until each has run for `seconds` (60). The last line says how much
later the timer was with tasks. It also compares the worst times, but a single other
program can cause those.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import threading
import time
from collections.abc import Coroutine

from winipc import Event
from winipc.base import loop_wait

TURN = 5.0


async def lateness(seconds: float) -> list[float]:
    """How late a timer of 10 ms came each time, in milliseconds."""
    late = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        await asyncio.sleep(0.01)
        late.append((time.perf_counter() - begin - 0.01) * 1000)
    return late


def turns() -> int:
    """How often the waiting threads woke up."""
    return sum(waits.turns for waits in loop_wait._sets)


async def beside(
    tasks: list[Coroutine[None, None, bool]], seconds: float
) -> list[float]:
    """The lateness while these tasks wait."""
    before = threading.active_count()
    waiting = [asyncio.create_task(task) for task in tasks]
    await asyncio.sleep(1)
    idle = turns()
    late = await lateness(seconds)
    if tasks:
        threads, wakes = threading.active_count() - before, turns() - idle
        if threads > 0:
            print(f"threads: {threads} for {len(tasks)} tasks")
        print(f"wake-ups of the threads in {seconds:g} s: {wakes}")
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    return late


def told(name: str, late: list[float]) -> tuple[float, float]:
    """Print a row; return the worst time and the 99.9th percentile."""
    worst, most = max(late), statistics.quantiles(late, n=1000)[-1]
    print(
        f"{name:8} worst {worst:6.2f} ms, 99.9 % within {most:6.2f} ms, "
        f"mean {statistics.fmean(late):5.2f} ms, {len(late)} times"
    )
    return worst, most


async def main(seconds: float, tasks: int) -> None:
    events = [Event.create() for _ in range(tasks)]
    empty: list[float] = []
    waiting: list[float] = []
    left = seconds
    while left > 0:
        turn = min(left, TURN)
        empty += await beside([], turn)
        waiting += await beside([event.wait_async() for event in events], turn)
        left -= turn
    for event in events:
        event.close()
    worst, most = told("empty", empty)
    with_worst, with_most = told("waiting", waiting)
    print(
        f"later with {tasks} tasks than in an empty loop: "
        f"worst {with_worst - worst:+.2f} ms, 99.9 % {with_most - most:+.2f} ms"
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    asyncio.run(
        main(
            float(given[0]) if given else 60.0,
            int(given[1]) if len(given) > 1 else 1000,
        )
    )
