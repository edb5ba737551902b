"""What waiting tasks cost while nothing happens.

    ./dev python benchmarks/idle_waits.py [seconds [tasks]]

Each task awaits an event of its own. The lateness is that of a timer of 10 ms in the
same loop, beside that of a loop with no such tasks, measured in turns.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time

from winipc import Event
from winipc.base import loop_wait


async def lateness(seconds: float) -> tuple[float, float]:
    """Milliseconds that a timer of 10 ms came late: the most, and the mean."""
    late = []
    end = time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        await asyncio.sleep(0.01)
        late.append((time.perf_counter() - begin - 0.01) * 1000)
    return max(late), sum(late) / len(late)


def turns() -> int:
    """How often the threads came out of their sleep."""
    return sum(waits.turns for waits in loop_wait._sets)


async def main(seconds: float, tasks: int) -> None:
    print("empty loop: %.2f ms at most, %.2f ms mean" % await lateness(seconds))
    events = [Event.create() for _ in range(tasks)]
    before = threading.active_count()
    waiting = [asyncio.create_task(event.wait_async()) for event in events]
    await asyncio.sleep(2)
    idle = turns()
    print("waiting:    %.2f ms at most, %.2f ms mean" % await lateness(seconds))
    print(f"threads: {threading.active_count() - before} for {tasks} tasks")
    print(f"wake-ups of the threads: {turns() - idle} in {seconds:g} s")
    for event in events:
        event.set()
    assert all(await asyncio.gather(*waiting))
    for event in events:
        event.close()


if __name__ == "__main__":
    given = sys.argv[1:]
    seconds = float(given[0]) if given else 60.0
    asyncio.run(main(seconds, int(given[1]) if len(given) > 1 else 1000))
