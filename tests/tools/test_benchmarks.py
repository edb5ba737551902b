"""Speed that must not be lost, by ratios with wide margins, and the harness itself.

Figures are in docs/performance.md; here is only what a mistake would undo.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import winipc

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import harness

    return harness


def best_ratio(harness: ModuleType, ours: object, theirs: object, count: int) -> float:
    """Ours over theirs, both at their best of several turns."""
    times: list[tuple[int, int]] = []
    for _ in range(15):
        times.append((ours(count), theirs(count)))  # type: ignore[operator]
    return min(a for a, _ in times) / min(b for _, b in times)


@pytest.mark.smoke
def test_access_to_a_mapping_is_no_slower_than_mmap(harness: ModuleType) -> None:
    """Half to two thirds of the time of mmap; a detour through Python is 3 times."""
    data = b"x" * 64
    with (
        winipc.SharedMapping.create(None, 4096) as ours,
        mmap.mmap(-1, 4096) as theirs,
    ):
        get = struct.Struct("q").unpack_from
        pairs = {
            "write": (
                harness.timed("write(data)", write=ours.write, data=data),
                harness.timed("m[0:64] = data", m=theirs, data=data),
            ),
            "read": (
                harness.timed("read(64)", read=ours.read),
                harness.timed("m[0:64]", m=theirs),
            ),
            "get": (
                harness.timed("get(0, 'i64')", get=ours.get),
                harness.timed("get(m, 0)[0]", get=get, m=theirs),
            ),
        }
        ratios = {
            what: best_ratio(harness, mine, other, 2000)
            for what, (mine, other) in pairs.items()
        }
        del pairs
    assert all(ratio < 1.5 for ratio in ratios.values()), ratios


def test_many_small_reads_are_few_calls(harness: ModuleType) -> None:
    """Over 60 times faster than one by one; at least 8 times."""
    with (
        winipc.SharedMapping.create(None, 1 << 16) as memory,
        winipc.RemoteProcess.open(os.getpid()) as process,
    ):
        addresses = [memory.address + 64 * i for i in range(1000)]
        ratio = best_ratio(
            harness,
            harness.timed(
                "read(requests)",
                read=process.read_many,
                requests=[(address, 8) for address in addresses],
            ),
            harness.timed(
                "for address in addresses: read(address, 8)",
                read=process.read,
                addresses=addresses,
            ),
            1,
        )
    assert ratio < 1 / 8


def test_reading_into_a_buffer_makes_no_bytes(harness: ModuleType) -> None:
    """New bytes cost page faults, twice to thrice the copy."""
    size = 8 << 20
    source = bytearray(b"y") * size
    with winipc.SharedMapping.create(None, size) as memory:
        memory.write(source)
        ratio = best_ratio(
            harness,
            harness.timed("read(buffer)", read=memory.read_into, buffer=source),
            harness.timed("read(size)", read=memory.read, size=size),
            1,
        )
    assert ratio < 1.2


def test_ratios_are_of_figures_taken_together(harness: ModuleType) -> None:
    """A slow second of the machine is in both, and does not change the ratio."""
    ours = harness.Samples([10.0, 1000.0, 10.0])
    theirs = harness.Samples([20.0, 2000.0, 2000.0])
    assert ours.over(theirs) == 0.5
    assert theirs.median / ours.median == 200


def test_a_goal_says_whether_it_was_reached(harness: ModuleType) -> None:
    samples = {"winipc": harness.Samples([50.0]), "raw C": harness.Samples([100.0])}
    assert harness.Goal(2, "faster").reached(
        harness.Goal(2, "faster").measured(samples)
    )
    times = harness.Goal(0.4)
    assert not times.reached(times.measured(samples))
    assert harness.Goal(1, "times", "nobody").measured(samples) is None


def test_a_batch_takes_about_the_time_asked_for(harness: ModuleType) -> None:
    case = harness.Case("sleep", {})
    assert harness.calibrate(case, lambda n: n * 1000, 5_000_000) == 5000
    assert harness.calibrate(case, lambda n: n * 10**9, 5_000_000) == 1
    slow = iter([20_000_000, 30_000_000])  # another program had the processor
    found = harness.calibrate(case, lambda n: next(slow, n * 1000), 5_000_000)
    assert found == 5000


def test_tables_say_how_goals_fared(
    harness: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import report

    goals = (
        *(harness.Goal(2), harness.Goal(9, "faster", "pymem")),
        *(harness.Goal(0.6, "times", "pywin32"), harness.Goal(2.5, "times", "mmap")),
    )
    result = harness.Result("group", "case", goals, "a note", 64, "series")
    result.samples["raw C"] = harness.Samples([50.0, 60.0])
    result.samples["winipc"] = harness.Samples([150.0, 130.0])
    result.samples["pymem"] = harness.Samples([300.0, 260.0])
    result.samples["mmap"] = harness.Samples([75.0, 65.0])
    result.samples["pywin32"] = harness.Samples([75.0, 65.0])
    report.save(tmp_path / "pinned.json", [result], True)
    counted = {
        "open it": {"raw C": 4, "winipc": 5},
        "write and read it": {"winipc": 0},
        "named_objects, 10 of them": {"winipc": 124},
    }
    (tmp_path / "requests.json").write_text(json.dumps(counted))
    line = {"name": "windows", "points": [(10, 50.0), (1000, 2e6)], "order": 1.066}
    (tmp_path / "growth.json").write_text(json.dumps([line]))
    sys.modules.setdefault("matplotlib", None)  # type: ignore[arg-type]
    try:
        assert report.write(tmp_path) == 0
    finally:
        if sys.modules["matplotlib"] is None:
            del sys.modules["matplotlib"]
    text = capsys.readouterr().out
    assert "2x: no, 2.58x; 9x faster than pymem: no, 2x faster" in text
    assert "- case: a note" in text
    assert f" on {report.system()}, all on one CPU" in text
    assert report.system().startswith(("Windows 1", "Wine "))
    missed = cells((tmp_path / "missed.md").read_text("utf-8"))
    assert ["group/case", "2x", "2.58x", "2.6x", "not known"] in missed
    faster = ["9x faster than pymem", "2x faster", "2x faster", "not known"]
    assert ["group/case", *faster] in missed
    # A goal that was missed says it; one that was not says nothing of the noise.
    behind = [[goal, *rest] for _, goal, *rest in missed if "pywin32" in goal]
    assert behind == [["0.6x pywin32", "2x", "2x", "not known"]]
    assert ["group/case", "1.05x mmap", "2x", "2x", "not known"] in missed
    summary = cells((tmp_path / "summary.md").read_text("utf-8"))
    others = "mmap 0.50, pywin32 0.50, pymem 2.00"
    assert ["group: case", "140 ns", "0.40", others] in summary
    requests = cells((tmp_path / "requests.md").read_text("utf-8"))
    assert requests[2:] == [["open it", "4", "5"], ["write and read it", "", "0"]]
    growth = cells((tmp_path / "growth.md").read_text("utf-8"))
    assert growth[2:] == [["windows", "1,000", "2 ms", "2 us", "1.07"]]


def cells(table: str) -> list[list[str]]:
    """The rows of a Markdown table, without what only aligns them."""
    return [
        [cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()
    ]


def test_a_miss_within_the_minimum_is_load(harness: ModuleType) -> None:
    import report

    result = harness.Result("group", "case", (harness.Goal(2),), "", 0)
    result.samples["raw C"] = harness.Samples([50.0] * 3)
    result.samples["winipc"] = harness.Samples([150.0, 90.0, 150.0])
    plain = report._plain(result)
    why = report._miss(plain, plain["goals"][0])[-1]
    assert why == "load: the minimum is within it"


@pytest.fixture
def growth(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import growth

    return growth


@pytest.mark.parametrize(
    ("order", "cost"),
    [
        pytest.param(1, lambda n: 500 + 3 * n, id="linear"),
        pytest.param(2, lambda n: 500 + n * n, id="square"),
        pytest.param(1.1, lambda n: 500 + n * len(bin(n)), id="n log n"),
    ],
)
def test_the_order_of_growth_is_fitted(
    growth: ModuleType, order: float, cost: Callable[[int], int]
) -> None:
    """From the greater numbers; the fixed cost is in the others."""
    points = [(n, cost(n)) for n in growth.sizes(1_000_000)]
    assert [n for n, _ in points[:3]] == [10, 32, 100]
    assert growth.slope(points) == pytest.approx(order, abs=0.03)


def test_every_line_of_growth_runs(growth: ModuleType) -> None:
    for make, _ in growth.LINES.values():
        with make(10) as once:
            once()
            once()


def page(name: str) -> list[list[str]]:
    """The rows of a table of docs/performance.md that ./dev bench writes."""
    text = (BENCHMARKS.parent / "docs" / "performance.md").read_text("utf-8")
    _, _, rest = text.partition(f"<!-- bench: {name} -->\n\n")
    return cells(rest.partition("\n\n")[0])[2:]


def test_nothing_on_the_page_grows_faster_than_n_log_n(growth: ModuleType) -> None:
    """As the text under its table says, which has every line of growth.py."""
    orders = {name: float(order) for name, *_, order in page("growth")}
    assert list(orders) == list(growth.LINES)
    assert {name for name in orders if orders[name] > growth.TOO_STEEP} == set()


def test_the_page_has_what_is_asked_by_both() -> None:
    """And what is done in memory: in each of its lines."""
    rows = page("requests")
    assert len(rows) > 25
    assert all(ours == "0" or int(raw) <= int(ours) for _, raw, ours in rows)


def test_no_package_is_faster_than_winipc(harness: ModuleType) -> None:
    """In the tables of the latest full run, by more than the noise that they name.

    Where one is, reasons.py says why it has to be so.
    """
    import report
    from reasons import REASONS

    behind, noise, group, operation, rows = [], 1.0, "", "", 0
    for line in (BENCHMARKS / "results.md").read_text("utf-8").splitlines():
        if found := re.search(r"less than (\d+) ?% apart is noise", line):
            noise = int(found[1]) / 100
        elif line.startswith("### "):
            group = line[4:]
        elif re.match(r"\| (?!-|operation)", line):
            name, who, *_, ratio, _goal = cells(line)[0]
            operation = name or operation
            rows += 1
            if ratio and report.is_peer(who) and float(ratio) < 1 / (1 + noise) - 0.005:
                behind.append(f"{group}/{operation} / {who}")
    assert rows > 150
    assert [row for row in behind if row not in REASONS] == []
