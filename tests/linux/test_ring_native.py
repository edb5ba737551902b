"""The channel and the lock on the host: every interleaving, and real processors."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import FULL, ROOT, compiled, run

NATIVE = Path(__file__).parent.parent / "native"
FLAGS = ("-O2", "-g", "-Wall", "-Wextra", "-Werror")


def build(
    source: str, target: Path, *options: str, objects: tuple[str, ...] = ()
) -> Path:
    """Compile a program of tests/native with the host's compiler."""
    libraries = [*objects, "-lpthread"]
    options = (*FLAGS, *options)
    return compiled("gcc", [NATIVE / source], target, *options, libraries=libraries)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is broken in it is an argument."""
    target = tmp_path_factory.mktemp("model") / "model"
    return build("ring_model.c", target, "-std=gnu11")


def test_the_protocol_holds_in_all_interleavings(model: Path) -> None:
    """The functions of include/winipc.h under C11's memory model, with kills."""
    assert "all scenarios hold" in run(model)


@pytest.mark.parametrize(
    ("mutation", "expected", "scenario"),
    [
        pytest.param(1, "race", "", id="tail stored without release"),
        pytest.param(2, "race", "", id="tail loaded without acquire"),
        pytest.param(3, "nobody will wake", "", id="wanted and position not SC"),
        pytest.param(4, "race", "", id="head stored without release"),
        pytest.param(5, "race", "three threads", id="lock given back without release"),
        pytest.param(6, "race", "", id="head loaded without acquire"),
        pytest.param(
            7, "nobody will wake", "three threads", id="a woken producer wakes no other"
        ),
        pytest.param(8, "nobody will wake", "", id="the consumer's sleep not told"),
        pytest.param(9, "FAIL", "drop oldest", id="reading does not hold off dropping"),
        pytest.param(
            10, "still nothing", "one killed, then", id="a dead owner keeps the lock"
        ),
    ],
)
def test_the_model_sees_a_broken_protocol(
    model: Path, mutation: int, expected: str, scenario: str
) -> None:
    """Each weakening is found, so the orders are needed and the checker works."""
    command = [model, scenario, str(mutation)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
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
        1: "nobody will wake",  # a thread that has slept wakes no other
        2: "nobody will wake",  # waiters do not say that they wait
        3: "still nothing",  # a dead owner keeps the lock
        4: "nobody will wake",  # the event is never set
        5: "FAIL",  # living owners are taken for dead
        6: "nobody will wake",  # a thread that gives up tells no other
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
    assert "survived" in run(torture, 20 if FULL else 0.3)


TSAN = ("-std=gnu11", "-fsanitize=thread", "-I", str(NATIVE / "shim"))
HALTING = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The scan kernels for ThreadSanitizer, which take longest to compile."""
    target = tmp_path_factory.mktemp("kernels") / "kernels.o"
    source = ROOT / "csrc" / "scan" / "kernels.c"
    run("ccache", "gcc", *FLAGS, *TSAN, "-c", source, "-o", target)
    return str(target)


@pytest.fixture(scope="module")
def threads(kernels: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the threads do is an argument."""
    target = tmp_path_factory.mktemp("threads") / "threads"
    return build("threads.c", target, *TSAN, objects=(kernels,))


def raced(program: Path, *arguments: str) -> bool:
    """Whether ThreadSanitizer saw a race in it."""
    done = subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env=HALTING,
    )
    assert ("survived" in done.stdout) == (done.returncode == 0), done.stdout
    return "WARNING: ThreadSanitizer: data race" in done.stderr


@pytest.mark.parametrize("part", ["lock", "queue", "scan", "crew"])
def test_threads_without_a_gil_do_not_race(threads: Path, part: str) -> None:
    """The lock, a window's queue, one set of patterns for several threads, a crew."""
    # A race is another status.
    assert "survived" in run(threads, part, env=HALTING)


@pytest.mark.parametrize(
    ("source", "part", "mutation"),
    [
        pytest.param("ring_torture.c", "0.2", "-include relaxed.h", id="ring"),
        pytest.param("threads.c", "lock", "-include relaxed.h", id="lock"),
        pytest.param("threads.c", "queue", "-DMUTATE=1", id="lock of the queue"),
        pytest.param("threads.c", "queue", "-DMUTATE=2", id="count of references"),
        pytest.param("threads.c", "scan", "-DMUTATE=3", id="hits of a scan"),
        pytest.param("threads.c", "crew", "-DMUTATE=1", id="lock of a crew"),
    ],
)
def test_the_sanitizer_sees_a_missing_order(
    kernels: str, tmp_path: Path, source: str, part: str, mutation: str
) -> None:
    """Else the test above would say nothing."""
    options = (*TSAN, "-I", str(NATIVE), *mutation.split())
    program = build(source, tmp_path / "broken", *options, objects=(kernels,))
    assert raced(program, part)
