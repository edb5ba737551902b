"""The channel and the lock on the host: every interleaving, and real processors."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import run

NATIVE = Path(__file__).parent.parent / "native"
WARNINGS = ["-Wall", "-Wextra", "-Werror"]


def build(source: str, target: Path, *options: str) -> Path:
    """Compile a program of tests/native with the host's compiler."""
    command = ["gcc", "-O2", "-g", *WARNINGS, *options, "-o", target, NATIVE / source]
    subprocess.run([*command, "-lpthread"], check=True, timeout=120)
    return target


def test_the_protocol_holds_in_all_interleavings(tmp_path: Path) -> None:
    """The functions of include/winipc.h under C11's memory model, with kills."""
    model = build("ring_model.c", tmp_path / "model", "-std=gnu11")
    assert "all scenarios hold" in run(model)


@pytest.mark.parametrize(
    ("mutation", "expected"),
    [
        pytest.param(1, "race", id="tail stored without release"),
        pytest.param(2, "race", id="tail loaded without acquire"),
        pytest.param(3, "nobody will wake", id="wanted and position not SC"),
        pytest.param(4, "race", id="head stored without release"),
        pytest.param(5, "race", id="lock given back without release"),
        pytest.param(6, "race", id="head loaded without acquire"),
        pytest.param(7, "nobody will wake", id="a woken producer wakes nobody"),
        pytest.param(8, "nobody will wake", id="the consumer's sleep not told"),
        pytest.param(9, "FAIL", id="reading does not hold off dropping"),
        pytest.param(10, "still nothing", id="a dead owner keeps the lock"),
    ],
)
def test_the_model_sees_a_broken_protocol(
    tmp_path: Path, mutation: int, expected: str
) -> None:
    """Each weakening is found, so the orders are needed and the checker works."""
    model = build(
        "ring_model.c", tmp_path / "model", "-std=gnu11", f"-DMUTATE={mutation}"
    )
    result = subprocess.run([model], capture_output=True, text=True, timeout=300)
    assert result.returncode == 1, result.stdout
    assert expected in result.stdout


def test_the_ring_bears_meddling(tmp_path: Path) -> None:
    """Head is put back under who drops, and moved under who released."""
    options = ("-std=gnu11", "-fsanitize=address,undefined")
    assert "holds" in run(build("ring_hostile.c", tmp_path / "hostile", *options))


def test_the_lock_holds_in_all_interleavings(tmp_path: Path) -> None:
    """The lock word: exclusion, wake-ups, dead owners; each part is needed."""
    model = build("lock_model.c", tmp_path / "model", "-std=gnu11")
    assert "all scenarios hold" in run(model)
    broken = {
        1: "nobody will wake",  # who has slept wakes nobody
        2: "nobody will wake",  # waiters do not say that they wait
        3: "still nothing",  # a dead owner keeps the lock
        4: "nobody will wake",  # the event is never set
        5: "FAIL",  # living owners are taken for dead
        6: "nobody will wake",  # who gives up tells nobody
        7: "FAIL",  # how often a dead owner had it counts
    }
    for mutation, expected in broken.items():
        result = subprocess.run(
            [model, str(mutation)], capture_output=True, text=True, timeout=300
        )
        assert result.returncode == 1, (mutation, result.stdout)
        assert expected in result.stdout, mutation


@pytest.mark.parametrize("sanitizer", ["none", "address,undefined", "thread"])
def test_the_ring_on_real_processors(tmp_path: Path, sanitizer: str) -> None:
    """Threads hammer it; then its memory is corrupted at random."""
    options = [] if sanitizer == "none" else [f"-fsanitize={sanitizer}"]
    torture = build("ring_torture.c", tmp_path / "torture", "-std=gnu11", *options)
    seconds = os.environ.get("WINIPC_TORTURE_SECONDS", "1")
    assert "survived" in run(torture, seconds)
