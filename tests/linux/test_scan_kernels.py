"""The scan kernels, which are plain C, built and tried on this machine.

tests/native/scan_exhaustive.c and tests/fuzz/fuzz_scan.c compare them with a
naive matcher, under sanitizers.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import FULL, ROOT, compiled, run

KERNELS = ROOT / "csrc" / "scan" / "kernels.c"
#: How many inputs to fuzz with.
RUNS = 5_000_000 if FULL else 10_000
FLAGS = ("-std=c11", "-g", "-Wall", "-Wextra", "-Werror")
SANITIZED = ("-O1", "-fno-sanitize-recover=all", "-fsanitize=address,undefined")


def build(compiler: str, flags: tuple[str, ...], source: str, to: Path) -> None:
    """Compile one program together with the kernels; any warning fails it."""
    sources = [ROOT / "tests" / source, KERNELS]
    compiled(compiler, sources, to, *FLAGS, *flags, libraries=["-lm"])


def has_fuzzer(tmp_path: Path) -> bool:
    """Whether clang is here, with libFuzzer."""
    if shutil.which("clang") is None:
        return False
    empty = tmp_path / "empty.c"
    empty.write_text(
        "int LLVMFuzzerTestOneInput(const char *data, unsigned long size);\n"
        "int LLVMFuzzerTestOneInput(const char *data, unsigned long size)\n"
        "{ (void)data; (void)size; return 0; }\n"
    )
    command = ["clang", "-fsanitize=fuzzer", str(empty), "-o", str(tmp_path / "empty")]
    return subprocess.run(command, capture_output=True, timeout=120).returncode == 0


@pytest.mark.parametrize(
    ("compiler", "flags"),
    [
        pytest.param("gcc", ("-O2",), id="gcc"),
        pytest.param("clang", SANITIZED, id="clang-sanitized"),
    ],
)
def test_kernels_find_what_a_naive_matcher_finds(
    compiler: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """All small cases and many larger ones, on every instruction set here."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    program = tmp_path / "scan_exhaustive"
    build(compiler, flags, "native/scan_exhaustive.c", program)
    assert "level 0: good" in run(program, 500, cwd=tmp_path, timeout=600)


def test_kernels_of_which_instructions_are_counted_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program of benchmarks/instructions.py; valgrind counts in it."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import instructions

    program = instructions.build(ROOT, tmp_path)
    for kernel in instructions.KERNELS:
        assert int(run(program, kernel, 2)) == 2 * int(run(program, kernel, 1)) > 0


def test_fuzzing_the_kernels_finds_nothing(tmp_path: Path) -> None:
    """As many inputs as were asked for, and none that is slow."""
    if not has_fuzzer(tmp_path):
        pytest.skip("no clang with libFuzzer")
    program = tmp_path / "fuzz_scan"
    build("clang", (*SANITIZED, "-fsanitize=fuzzer"), "fuzz/fuzz_scan.c", program)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    options = [f"-runs={RUNS}", "-timeout=20", "-max_len=2000"]
    output = run(
        program,
        corpus,
        *options,
        "-print_final_stats=1",
        cwd=tmp_path,
        timeout=3600,
    )
    executed = re.search(r"stat::number_of_executed_units: +(\d+)", output)
    assert executed
    assert int(executed[1]) >= RUNS
