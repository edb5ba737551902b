"""What was measured, as JSON, tables and a plot."""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path
from typing import Any

from harness import OURS, RAW, Goal, Result, Samples, nanoseconds
from reasons import REASONS

_NOISE = {True: "5 %", False: "25 %"}


def save(path: Path, results: list[Result], pinned: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "python": platform.python_version(),
                "machine": platform.machine(),
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
    """Print what the phases left in the folder, and draw it."""
    phases = [
        json.loads(path.read_text())
        for name in ("pinned", "spinning")
        if (path := folder / f"{name}.json").exists()
    ]
    text = "\n".join(_phase(phase) for phase in phases)
    print(text)
    (folder / "bench.md").write_text(text, encoding="utf-8")
    (folder / "bench.json").write_text(json.dumps(phases, indent=1))
    (folder / "missed.md").write_text(_missed(phases), encoding="utf-8")
    _draw(phases, folder)
    print(f"\nbench.md, bench.json, bench.svg and bench.png are in {folder}")
    return 0


def _missed(phases: list[dict[str, Any]]) -> str:
    """The goals that this run missed, and why as far as it is known."""
    rows = [("operation", "goal", "median", "minimum", "why")]
    rows += [
        _miss(case, fared)
        for phase in phases
        for case in phase["cases"]
        for fared in case["goals"]
        if not fared["reached"]
    ]
    if len(rows) == 1:
        return "None.\n"
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- | --- | ---: | ---: | --- |")
    return "\n".join(lines) + "\n"


def _miss(case: dict[str, Any], fared: dict[str, Any]) -> tuple[str, ...]:
    goal = _goal(fared)
    label = f"{case['group']}/{case['name']}"
    value, least, why = "not measured", "", "not known"
    if fared["measured"] is not None:
        value = goal.show(fared["measured"])
        best = case["ways"][goal.who]["minimum"]
        if goal.unit != "ns":
            best /= case["ways"][goal.than]["minimum"]
            best = 1 / best if goal.unit == "faster" else best
        least = goal.show(best)
        if goal.reached(best):
            why = "load: the minimum is within it"
        elif goal.unit == "ns" and RAW in case["ways"]:
            limit = case["ways"][RAW]["median"]
            if not goal.reached(limit):
                why = f"raw C, which takes {nanoseconds(limit)}, misses it as well"
    key = label if goal.than == RAW else f"{label} / {goal.than}"
    return label, goal.show(), value, least, REASONS.get(key, why)


def _phase(phase: dict[str, Any]) -> str:
    pinned = phase["pinned"]
    where = (
        "pinned on one CPU, wineserver too"
        if pinned
        else "two processes on two CPUs, not pinned"
    )
    lines = [
        f"CPython {phase['python']}, {where}; "
        f"less than {_NOISE[pinned]} apart is noise.",
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for case in phase["cases"]:
        groups.setdefault(case["group"], []).append(case)
    for name, cases in groups.items():
        lines += ["", f"### {name}", ""]
        lines += _table(cases)
        lines += [""] + [
            f"- {case['name']}: {case['note']}" for case in cases if case["note"]
        ]
    return "\n".join(lines) + "\n"


def _table(cases: list[dict[str, Any]]) -> list[str]:
    rows = [
        (
            "operation",
            "way",
            "median",
            "minimum",
            "spread",
            "/ raw C",
            "/ winipc",
            "goal",
        )
    ]
    for case in cases:
        label = case["name"]
        for who, way in case["ways"].items():
            rows.append(
                (
                    label,
                    who,
                    nanoseconds(way["median"]) + _rate(case["size"], way["median"]),
                    nanoseconds(way["minimum"]),
                    f"{way['spread'] * 100:.0f} %",
                    _times(way["to raw C"]),
                    _times(way["to winipc"]) if who != OURS else "",
                    _verdict(case["goals"], who),
                )
            )
            label = ""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| "
        + " | ".join(
            cell.ljust(width) if i < 2 or i == 7 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        + " |"
        for row in rows
    ]
    rule = [
        "-" * width if i < 2 or i == 7 else "-" * (width - 1) + ":"
        for i, width in enumerate(widths)
    ]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return lines


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
    """Each peer beside winipc: how many times longer it takes."""
    try:
        import matplotlib

        matplotlib.use("Agg")
    except ImportError as error:
        print(f"no plot: {error}")
        return
    # Text stays text and nothing depends on the day, so the file is small.
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "winipc"
    bars = [
        (f"{case['group']}: {case['name']}", who, way["to winipc"])
        for phase in phases
        for case in phase["cases"]
        for who, way in case["ways"].items()
        if who != OURS and way["to winipc"]
    ]
    _plot(bars, folder, ("bench.svg", "bench.png"))
    # For the README: other packages only, where there are any.
    peers = [bar for bar in bars if bar[1] != RAW and not bar[1].startswith(OURS)]
    labels = {label for label, _, _ in peers}
    _plot(
        [bar for bar in bars if bar[0] in labels and not bar[1].startswith(OURS)],
        folder,
        ("peers.svg",),
    )


def _plot(
    bars: list[tuple[str, str, float]], folder: Path, names: tuple[str, ...]
) -> None:
    from matplotlib import pyplot

    if not bars:
        return
    labels = list(dict.fromkeys(label for label, _, _ in bars))
    kinds = list(dict.fromkeys(who for _, who, _ in bars))
    colors = pyplot.get_cmap("tab20")
    figure, axes = pyplot.subplots(figsize=(9, 0.28 * len(labels) + 1.5))
    figure.patch.set_facecolor("white")
    for index, kind in enumerate(kinds):
        points = [(x, labels.index(label)) for label, who, x in bars if who == kind]
        axes.scatter(
            [x for x, _ in points],
            [y for _, y in points],
            label=kind,
            color=colors(index % 20),
            marker="|" if kind == RAW else "o",
            s=80 if kind == RAW else 24,
            zorder=3,
        )
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.invert_yaxis()
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("time, as a multiple of winipc's (logarithmic)")
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    for name in names:
        metadata = {"Date": None} if name.endswith("svg") else None
        figure.savefig(folder / name, bbox_inches="tight", dpi=120, metadata=metadata)
    pyplot.close(figure)
