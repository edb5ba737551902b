"""Time raw C, winipc and its peers, side by side.

    ./dev bench                 on Linux
    python benchmarks/run.py    on Windows, in a checkout, with winipc, windows.in and
                                bench.in of tools/requirements installed, and a C
                                compiler: that of setuptools (MSVC), or gcc on PATH

See docs/performance.md and benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import growth
import report
from harness import FULL, GROUPS, QUICK, Effort, Result, measure
from programs import ROOT, binaries
from world import World, load_raw, stubbed

MODULES = (
    "cases_wrapper",
    "cases_process",
    "cases_mapping",
    "cases_messages",
    "cases_sync",
    "cases_algorithms",
    "cases_pointers",
    "cases_exchange",
    "cases_channel",
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="./dev bench or python benchmarks/run.py",
        description=__doc__.splitlines()[0],
    )
    parser.add_argument("--quick", action="store_true", help="under two minutes")
    parser.add_argument(
        "--only",
        action="append",
        metavar="TEXT",
        default=[],
        help="groups, or group/case, by a part of the name; growth, or requests",
    )
    parser.add_argument("--rounds", type=int, help="instead of 4, or 2 if quick")
    parser.add_argument("--binaries", type=Path, help=argparse.SUPPRESS)
    out = ROOT / "build" / "bench"
    parser.add_argument("--out", type=Path, default=out, help=argparse.SUPPRESS)
    parser.add_argument(
        "--phase",
        choices=("pinned", "growth", "spinning", "report"),
        help=argparse.SUPPRESS,
    )
    options = parser.parse_args(arguments)
    if options.phase == "report":
        return report.write(options.out)
    if options.phase == "growth":
        return grow(options)
    for module in MODULES:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            print(f"bench: without {module}.py: {error}", file=sys.stderr)
    if options.phase:
        return phase(options, options.phase)
    # On Windows, build the programs and pin this process here.
    options.binaries = options.binaries or binaries()
    options.out.mkdir(parents=True, exist_ok=True)
    processors = min(os.cpu_count() or 1, 64)
    with_affinity(1 << (processors - 1))
    phase(options, "pinned")
    grow(options)
    with_affinity((1 << processors) - 1)
    phase(options, "spinning")
    return report.write(options.out)


def with_affinity(mask: int) -> None:
    """Run this process, and programs that it starts, on these processors."""
    kernel32 = ctypes.WinDLL("kernel32")
    mine = ctypes.c_void_p(-1)
    kernel32.SetProcessAffinityMask(mine, ctypes.c_size_t(mask))


def grow(options: argparse.Namespace) -> int:
    """Measure how times grow: one processor is enough for these."""
    if not options.only or "growth" in options.only:
        print("bench: growth", file=sys.stderr, flush=True)
        arguments = ["--quick"] if options.quick else []
        growth.main([*arguments, "--json", str(options.out / "growth.json")])
    return 0


def phase(options: argparse.Namespace, name: str) -> int:
    """Measure the groups that need one processor, or those that need two."""
    pinned = name == "pinned"
    effort = QUICK if options.quick else FULL
    results = run(
        [name for name, (_, pins) in GROUPS.items() if pins == pinned],
        replace(effort, rounds=options.rounds or effort.rounds),
        options.quick,
        options.only,
        options.binaries,
    )
    report.save(options.out / f"{name}.json", results, pinned)
    return 0


def run(
    groups: list[str], effort: Effort, quick: bool, only: list[str], binaries: Path
) -> list[Result]:
    """Run all rounds of some groups."""
    raw = load_raw(binaries)
    results: dict[tuple[str, str], Result] = {}
    calibrated: dict[tuple[str, str, str], int] = {}
    for number in range(effort.rounds):
        for name in groups:
            if only and not any(text.split("/")[0] in name for text in only):
                continue
            began = time.perf_counter()
            world = World(binaries, raw, quick=quick)
            with world.stack:
                one_round(name, world, effort, only, results, calibrated)
            took = time.perf_counter() - began
            print(
                f"bench: round {number + 1} of {effort.rounds}: {name}, {took:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    return list(results.values())


def one_round(
    name: str,
    world: World,
    effort: Effort,
    only: list[str],
    results: dict[tuple[str, str], Result],
    calibrated: dict[tuple[str, str, str], int],
) -> None:
    """Run the cases of a group in a new world, which closes what they opened."""
    for case in GROUPS[name][0](world):
        label = f"{name}/{case.name}"
        if only and not any(text in label for text in only):
            continue
        result = results.setdefault(
            (name, case.name),
            Result(name, case.name, case.goals, case.note, case.size, case.series),
        )
        try:
            measure(
                case,
                result,
                effort,
                calibrated,
                lambda names: stubbed(world.raw, names),
            )
        except Exception as error:
            error.add_note(f"in {label}")
            raise


if __name__ == "__main__":
    sys.exit(main())
