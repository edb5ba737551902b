"""The results of a run, as JSON, tables and plots."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from harness import OURS, RAW, Goal, Result, Samples, label, nanoseconds
from reasons import REASONS

from winipc import _core

#: A ratio that is this near to 1 is noise: pinned on one CPU, and not pinned.
_NOISE = {True: 0.05, False: 0.25}


def system() -> str:
    """The system and the CPU: `Windows 10.0.22631, Intel64 ...` or `Wine 8.0, ...`."""
    wine = _core._wine_version()
    windows = sys.getwindowsversion()
    name = f"Windows {windows.major}.{windows.minor}.{windows.build}"
    return f"{f'Wine {wine}' if wine else name}, {os.environ['PROCESSOR_IDENTIFIER']}"


def save(path: Path, results: list[Result], pinned: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "python": platform.python_version(),
                "machine": platform.machine(),
                "system": system(),
                "pinned": pinned,
                "cases": [_plain(result) for result in results],
            },
            indent=1,
        )
    )


def _plain(result: Result) -> dict[str, Any]:
    return {
        "group": result.group,
        "name": result.name,
        "note": result.note,
        "size": result.size,
        "series": result.series,
        "goals": [_fared(goal, result.samples) for goal in result.goals],
        "ways": {
            who: {
                "median": samples.median,
                "minimum": samples.minimum,
                "spread": samples.spread,
                "batches": len(samples.values),
                "to raw C": _ratio(samples, result.samples.get(RAW)),
                "to winipc": _ratio(samples, result.samples.get(OURS)),
            }
            for who, samples in result.samples.items()
        },
    }


def _fared(goal: Goal, samples: dict[str, Samples]) -> dict[str, Any]:
    value = goal.measured(samples)
    return {
        **dataclasses.asdict(goal),
        "measured": value,
        "reached": value is not None and goal.reached(value),
    }


def _goal(fared: dict[str, Any]) -> Goal:
    return Goal(fared["limit"], fared["unit"], fared["than"], fared["who"])


def _ratio(samples: Samples, other: Samples | None) -> float | None:
    return None if other is None else samples.over(other)


def write(folder: Path) -> int:
    """Write and print the tables of all phases in the folder, and draw the plots."""
    phases = [
        json.loads(path.read_text())
        for name in ("pinned", "spinning")
        if (path := folder / f"{name}.json").exists()
    ]
    texts = {
        "bench": "\n".join(_phase(phase) for phase in phases),
        "missed": _missed(phases),
        "summary": _summary(phases),
    }
    for name, table in (("requests", _requests), ("growth", _growth)):
        if (path := folder / f"{name}.json").exists():
            texts[name] = table(json.loads(path.read_text()))
    for name, text in texts.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    (folder / "bench.json").write_text(json.dumps(phases, indent=1))
    print(texts["bench"])
    _draw(phases, folder)
    print(f"\nThe tables and plots are in {folder}")
    return 0


def is_peer(who: str) -> bool:
    """Whether a way is another package's; winipc must not be slower than that."""
    return not who.startswith((RAW, OURS))


def _missed(phases: list[dict[str, Any]]) -> str:
    """The goals that this run missed, with the known reasons."""
    rows = [
        _miss(case, fared)
        for phase in phases
        for case in phase["cases"]
        for fared in [*case["goals"], *_behind(case, _NOISE[phase["pinned"]])]
        if not fared["reached"]
    ]
    if not rows:
        return "None.\n"
    head = ("operation", "goal", "median", "minimum", "why")
    return _markdown([head, *rows], "llrrl")


def _behind(case: dict[str, Any], noise: float) -> list[dict[str, Any]]:
    """The implicit goals: no other package is faster by more than the noise.

    A package is left out if the case misses an explicit goal about it.
    """
    said = {
        goal["than"]
        for goal in case["goals"]
        if goal["who"] == OURS and not goal["reached"]
    }
    return [
        {
            **dataclasses.asdict(Goal(1 + noise, "times", who)),
            "measured": 1 / way["to winipc"],
            "reached": 1 / way["to winipc"] <= 1 + noise,
        }
        for who, way in case["ways"].items()
        if is_peer(who) and way["to winipc"] and who not in said
    ]


def _miss(case: dict[str, Any], fared: dict[str, Any]) -> tuple[str, ...]:
    goal = _goal(fared)
    what = f"{case['group']}/{case['name']}"
    value, least, why = "not measured", "", "not known"
    if fared["measured"] is not None:
        value = goal.show(fared["measured"])
        best = case["ways"][goal.who]["minimum"] / case["ways"][goal.than]["minimum"]
        if goal.unit == "faster":
            best = 1 / best
        least = goal.show(best)
        if goal.reached(best):
            why = "load: the minimum is within it"
    key = what if goal.than == RAW else f"{what} / {goal.than}"
    return what, goal.show(), value, least, REASONS.get(key, why)


def _summary(phases: list[dict[str, Any]]) -> str:
    """A row for each operation that another package has, too."""
    rows = []
    for phase in phases:
        for case in phase["cases"]:
            ways = case["ways"]
            peers = sorted(
                (way["to winipc"], who)
                for who, way in ways.items()
                if is_peer(who) and way["to winipc"]
            )
            if not peers or case["group"] == "stub":
                continue
            raw = ways[RAW]["to winipc"] if RAW in ways else None
            rows.append(
                (
                    f"{case['group']}: {case['name']}",
                    nanoseconds(ways[OURS]["median"]),
                    _times(raw),
                    ", ".join(f"{who} {_times(times)}" for times, who in peers),
                )
            )
    return _markdown([("operation", "winipc", "raw C", "others"), *rows], "lrrl")


def _requests(counted: dict[str, dict[str, int]]) -> str:
    """The counts of count_requests.py, without its rows about many objects."""
    rows = [
        (step, str(by_whom.get(RAW, "")), str(by_whom[OURS]))
        for step, by_whom in counted.items()
        if RAW in by_whom or not by_whom[OURS]
    ]
    return _markdown([("operation", RAW, OURS), *rows], "lrr")


def _growth(lines: list[dict[str, Any]]) -> str:
    """The orders that growth.py fitted."""
    rows = []
    for line in lines:
        n, took = line["points"][-1]
        each = nanoseconds(took / n)
        order = f"{line['order']:.2f}"
        rows.append((line["name"], f"{n:,}", nanoseconds(took), each, order))
    head = ("what grows", "n", "time", "for each of n", "order, fitted")
    return _markdown([head, *rows], "lrrrr")


def _markdown(rows: list[tuple[str, ...]], sides: str) -> str:
    """A table; the first row is its head, and `sides` has l or r for each column."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(sides))]
    left = [side == "l" for side in sides]
    lines = [
        " | ".join(
            cell.ljust(width) if on_left else cell.rjust(width)
            for cell, width, on_left in zip(row, widths, left, strict=True)
        )
        for row in rows
    ]
    lines.insert(
        1,
        " | ".join(
            "-" * width if on_left else "-" * (width - 1) + ":"
            for width, on_left in zip(widths, left, strict=True)
        ),
    )
    return "".join(f"| {line} |\n" for line in lines)


def _phase(phase: dict[str, Any]) -> str:
    pinned = phase["pinned"]
    where = (
        "all on one CPU"
        if pinned
        else "two processes on two CPUs that nothing else uses, not pinned"
    )
    lines = [
        f"CPython {phase['python']} on {phase['system']}, {where}; "
        f"less than {_NOISE[pinned]:.0%} apart is noise.",
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for case in phase["cases"]:
        groups.setdefault(case["group"], []).append(case)
    for name, cases in groups.items():
        lines += ["", f"### {name}", ""]
        lines += [_table(cases)]
        lines += [f"- {case['name']}: {case['note']}" for case in cases if case["note"]]
    return "\n".join(lines) + "\n"


def _table(cases: list[dict[str, Any]]) -> str:
    head = ("operation", "way", "median", "minimum", "spread")
    rows = [(*head, "/ raw C", "/ winipc", "goal")]
    for case in cases:
        name = case["name"]
        for who, way in case["ways"].items():
            rows.append(
                (
                    name,
                    who,
                    nanoseconds(way["median"]) + _rate(case["size"], way["median"]),
                    nanoseconds(way["minimum"]),
                    f"{way['spread'] * 100:.0f} %",
                    _times(way["to raw C"]),
                    _times(way["to winipc"]) if who != OURS else "",
                    _verdict(case["goals"], who),
                )
            )
            name = ""
    return _markdown(rows, "llrrrrrl")


def _rate(size: int, median: float) -> str:
    return f" ({size / median:.2g} GB/s)" if size >= 1 << 16 else ""


def _times(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _verdict(goals: list[dict[str, Any]], who: str) -> str:
    return "; ".join(_one_verdict(fared) for fared in goals if fared["who"] == who)


def _one_verdict(fared: dict[str, Any]) -> str:
    goal = _goal(fared)
    if fared["measured"] is None:
        return f"{goal.show()}: not measured"
    if fared["reached"]:
        return f"{goal.show()}: yes"
    return f"{goal.show()}: no, {goal.show(fared['measured'])}"


def _draw(phases: list[dict[str, Any]], folder: Path) -> None:
    """Draw an overview of all packages, and for each series the time over the size."""
    try:
        import matplotlib

        matplotlib.use("Agg")
    except ImportError as error:
        print(f"no plots: {error}")
        return
    # Text stays text, so that files are small, and nothing depends on the day.
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "winipc"
    matplotlib.rcParams["font.family"] = ["sans-serif"]
    cases = [case for phase in phases for case in phase["cases"]]
    _draw_peers(cases, folder / "peers.svg")
    series: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        if case["series"]:
            series.setdefault(case["series"], []).append(case)
    for name, points in series.items():
        _draw_series(name, points, folder / f"{name}.svg")


def _draw_peers(cases: list[dict[str, Any]], path: Path) -> None:
    """Draw how many times longer each other package takes than winipc."""
    from matplotlib import pyplot

    bars = [
        (f"{case['group']}: {case['name']}", who, way["to winipc"])
        for case in cases
        for who, way in case["ways"].items()
        if is_peer(who) and way["to winipc"]
    ]
    if not bars:
        return
    names = list(dict.fromkeys(name for name, _, _ in bars))
    kinds = list(dict.fromkeys(who for _, who, _ in bars))
    colors = pyplot.get_cmap("tab20")
    figure, axes = pyplot.subplots(figsize=(9, 0.28 * len(names) + 1.5))
    for index, kind in enumerate(kinds):
        points = [(x, names.index(name)) for name, who, x in bars if who == kind]
        axes.scatter(
            [x for x, _ in points],
            [y for _, y in points],
            label=kind,
            color=colors(index % 20),
            s=24,
            zorder=3,
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("time, as a multiple of winipc's (logarithmic)")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    _save(figure, path)


def _draw_series(name: str, cases: list[dict[str, Any]], path: Path) -> None:
    """Draw time over size: winipc in blue, raw C dashed, other packages in grey."""
    from matplotlib import pyplot

    lines: dict[str, list[tuple[int, float]]] = {}
    for case in cases:
        for who, way in case["ways"].items():
            lines.setdefault(who, []).append((case["size"], way["median"]))
    figure, axes = pyplot.subplots(figsize=(6.4, 4))
    lines = {who: points for who, points in lines.items() if len(points) > 1}
    markers = itertools.cycle("sD^vP*X<>")
    for who, points in lines.items():
        ours, raw = who.startswith(OURS), who == RAW
        axes.plot(
            *zip(*sorted(points), strict=True),
            label=who,
            color="tab:blue" if ours else "black" if raw else "0.6",
            linestyle="-" if who == OURS or not (ours or raw) else "--",
            marker="o" if who == OURS else "" if raw else next(markers),
            markersize=4,
            linewidth=2 if who == OURS else 1,
            zorder=3 if ours else 2,
        )
    axes.legend(fontsize=8, frameon=False)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ticks = sorted({case["size"] for case in cases})
    axes.set_xticks(ticks, [label(size) for size in ticks])
    axes.yaxis.set_major_formatter(lambda value, _: nanoseconds(value))
    axes.grid(alpha=0.3)
    axes.set_title(name, fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    figure.patch.set_facecolor("white")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    pyplot.close(figure)
