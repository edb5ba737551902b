"""Timing: several ways to do one thing, in turn, in short batches.

A figure of one run says little: clock rates change, and other programs run. So the ways
of a case are timed in shuffled order, in batches of some milliseconds, again and again.
Times that are compared were measured within the same second.
"""

from __future__ import annotations

import contextlib
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

#: A function that does something n times, and returns the nanoseconds.
Run = Callable[[int], int]

RAW = "raw C"
OURS = "winipc"


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio of times of two ways in the same run that a case should reach.

    Nanoseconds are not goals, as they say more about the machine than about winipc.
    """

    limit: float
    #: "times": our time / the other's <= limit; "faster": the other's / ours >= limit
    unit: str = "times"
    than: str = RAW
    who: str = OURS

    def measured(self, samples: dict[str, Samples]) -> float | None:
        ours = samples.get(self.who)
        other = samples.get(self.than)
        if ours is None or other is None:
            return None
        return other.over(ours) if self.unit == "faster" else ours.over(other)

    def reached(self, value: float) -> bool:
        return value >= self.limit if self.unit == "faster" else value <= self.limit

    def show(self, value: float | None = None) -> str:
        number = self.limit if value is None else value
        text = f"{number:.3g}x" if number < 1000 else f"{number:.0f}x"
        if self.unit == "faster":
            text += " faster"
        if value is None and self.than != RAW:
            text += f" than {self.than}" if self.unit == "faster" else f" {self.than}"
        return text


@dataclass(frozen=True, slots=True)
class Case:
    """One operation, and the ways to do it."""

    name: str
    ways: dict[str, Run]
    goals: tuple[Goal, ...] = ()
    #: Win32 functions to replace by functions that only return success
    stubs: tuple[str, ...] = ()
    #: whether an untimed call goes before each batch
    steady: bool = False
    #: a note for readers of the table
    note: str = ""
    #: the number of operations in a call of `Run` with n = 1
    per_call: int = 1
    #: the bytes that one operation moves
    size: int = 0
    #: the plot of times by size in which this is a point
    series: str = ""
    #: a function to call after each batch, untimed
    after: Callable[[], object] | None = None
    #: the most calls in a batch
    most: int = 1 << 30


@dataclass(slots=True)
class Samples:
    """The nanoseconds for one operation, for each batch."""

    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def minimum(self) -> float:
        return min(self.values)

    def over(self, other: Samples) -> float:
        """The ratio of this time to the other.

        It is the median of the ratios of each turn, in which both were timed one soon
        after the other: a slow second of the machine is in both.
        """
        pairs = zip(self.values, other.values, strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a fraction of the median."""
        if len(self.values) < 4:
            return (max(self.values) - self.minimum) / 2 / self.median
        low, _, high = statistics.quantiles(self.values, n=4)
        return (high - low) / 2 / self.median


@dataclass(slots=True)
class Result:
    """The times of one case in all rounds."""

    group: str
    name: str
    goals: tuple[Goal, ...]
    note: str
    size: int
    series: str = ""
    samples: dict[str, Samples] = field(default_factory=dict)


#: A group makes its cases for one round; the world's stack closes what it opens.
Group = Callable[[Any], Iterator[Case]]
GROUPS: dict[str, tuple[Group, bool]] = {}


def group(name: str, *, pinned: bool = True) -> Callable[[Group], Group]:
    """Register a group; not `pinned` if two processes spin and need two CPUs."""

    def register(function: Group) -> Group:
        GROUPS[name] = (function, pinned)
        return function

    return register


def timed(statement: str, setup: str = "pass", /, **names: Any) -> Run:
    """Time a Python statement in a loop of its own.

    `names` should have all that can be looked up before, as a careful user would keep
    it in local variables. The time of the loop itself, some 5 ns, is in all figures.
    """
    arguments = ", ".join(f"{name}={name}" for name in names)
    source = (
        f"def run(n, {arguments}):\n"
        f"    {setup}\n"
        f"    began = clock()\n"
        f"    for _ in repeat(None, n):\n"
        f"        {statement}\n"
        f"    return clock() - began\n"
    )
    import itertools

    scope: dict[str, Any] = {
        "clock": time.perf_counter_ns,
        "repeat": itertools.repeat,
        **names,
    }
    exec(source, scope)
    # pop() avoids a cycle, in which the function would keep itself and what it uses.
    return scope.pop("run")  # type: ignore[no-any-return]


def raw(function: Any, *arguments: Any) -> Run:
    """A function of raw.dll; its first argument is n."""

    def run(n: int) -> int:
        took: int = function(n, *arguments)
        if took < 0:
            raise OSError(f"{function.__name__} failed")
        return took

    return run


@dataclass(frozen=True, slots=True)
class Effort:
    """How much time to spend."""

    rounds: int
    batches: int  # the most batches of each way in a round
    batch_ns: int
    case_ns: int  # for all batches of a case in a round, but at least two of each way

    def turns(self, one: int) -> int:
        """The number of batches, if one batch of each way takes `one` nanoseconds."""
        return max(2, min(self.batches, self.case_ns // max(one, 1)))


QUICK = Effort(rounds=2, batches=5, batch_ns=2_000_000, case_ns=500_000_000)
FULL = Effort(rounds=4, batches=9, batch_ns=5_000_000, case_ns=2_500_000_000)


def measure(
    case: Case,
    result: Result,
    effort: Effort,
    calibrated: dict[tuple[str, str, str], int],
    stubbed: Callable[[tuple[str, ...]], contextlib.AbstractContextManager[object]],
) -> None:
    """One round of a case: calibrate new ways, then time all in shuffled order."""
    order = list(case.ways.items())
    for who in case.ways:
        result.samples.setdefault(who, Samples())
    with stubbed(case.stubs):
        for who, run in order:
            key = (result.group, case.name, who)
            if key not in calibrated:
                calibrated[key] = calibrate(case, run, effort.batch_ns)
            else:
                run(1)
                if case.after is not None:
                    case.after()
        turns, taken = effort.batches, 0
        while taken < turns:
            random.shuffle(order)
            sum_of_turn = 0
            for who, run in order:
                count = calibrated[result.group, case.name, who]
                if case.steady:
                    run(1)
                took = run(count)
                sum_of_turn += took
                if case.after is not None:
                    case.after()
                result.samples[who].values.append(took / count / case.per_call)
            taken += 1
            turns = min(turns, effort.turns(sum_of_turn))


def calibrate(case: Case, run: Run, wanted: int) -> int:
    """The number of calls that take the time of a batch; caches are warm afterwards."""
    count = 1
    while True:
        # The best of some runs, so that other programs do not make a batch too small.
        times = []
        for _ in range(5):
            if case.steady:
                run(1)
            times.append(run(count))
            if case.after is not None:
                case.after()
            if times[-1] * 2 < wanted or times[0] > 10 * wanted:
                break
        took = min(times)
        if took * 2 >= wanted or count >= case.most:
            return max(1, min(case.most, round(count * wanted / max(took, 1))))
        count = min(case.most, count * 4)


def label(size: int) -> str:
    """A size with its unit."""
    for unit, one in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= one:
            return f"{size // one} {unit}"
    return f"{size} B"


def nanoseconds(value: float) -> str:
    """A time with three digits."""
    for unit, size in (("ns", 1.0), ("us", 1e3), ("ms", 1e6), ("s", 1e9)):
        if value < 999.5 * size or unit == "s":
            return f"{value / size:.3g} {unit}"
    raise AssertionError
