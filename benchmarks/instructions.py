"""Count the instructions of the native kernels: other programs do not disturb that.

    python3 benchmarks/instructions.py [CHECKOUT...]

It needs Linux, gcc, ccache and valgrind. Each kernel runs twice and then four times
under callgrind; the difference counts. The kernels of other checkouts get columns of
their own: `git worktree add --detach ../before REVISION` makes a checkout.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: For each kernel, its title, and the unit for which its instructions are counted.
KERNELS = {
    "pattern": ("16-byte pattern", "KiB"),
    "patterns": ("16 patterns of 16 bytes", "KiB"),
    "value": ("int32 value, aligned", "KiB"),
    "unchanged": ("int32 unchanged", "KiB"),
    "increased": ("int32 increased", "KiB"),
    "pointers": ("map of pointers", "pointer"),
    "ring": ("64 B into the ring and out", "message"),
}


def build(checkout: Path, folder: Path) -> Path:
    """The program with the kernels of a checkout."""
    program = folder / f"instructions-{abs(hash(checkout))}"
    source = (ROOT / "tests/native/instructions.c").read_text("utf-8")
    source = source.replace('#include "../../', f'#include "{checkout}/')
    source = source.replace('#include "ring', f'#include "{checkout}/tests/native/ring')
    copy = program.with_suffix(".c")
    copy.write_text(source, "utf-8")
    scan = checkout / "csrc/scan"
    objects = []
    for source in (copy, scan / "kernels.c", scan / "pointers.c"):
        objects.append(program.with_name(f"{source.stem}.o"))
        command = ["ccache", "gcc", "-std=gnu11", "-O2", "-g", "-c", source]
        subprocess.run([*command, "-o", objects[-1]], check=True)
    subprocess.run(["gcc", *objects, "-o", program, "-lpthread"], check=True)
    return program


def count(program: Path, kernel: str, times: int) -> tuple[int, int]:
    """The number of instructions, and of units of work."""
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    done = subprocess.run(
        [*command, program, kernel, str(times)],
        capture_output=True,
        text=True,
        check=True,
    )
    collected = re.search(r"Collected : (\d+)", done.stderr)
    assert collected is not None, done.stderr
    return int(collected[1]), int(done.stdout)


def each(program: Path, kernel: str) -> float:
    """The instructions for one KiB, pointer or message."""
    few, much = (count(program, kernel, times) for times in (2, 4))
    of = 1024 if KERNELS[kernel][1] == "KiB" else 1
    return (much[0] - few[0]) / (much[1] - few[1]) * of


def main(checkouts: list[str]) -> None:
    roots = [*(Path(one).resolve() for one in checkouts), ROOT]
    with tempfile.TemporaryDirectory() as folder:
        programs = [build(root, Path(folder)) for root in roots]
        heads = [*(root.name for root in roots[:-1]), "instructions"]
        print(f"| kernel | for each | {' | '.join(heads)} |")
        print(f"| --- | --- | {' | '.join('---:' for _ in heads)} |")
        for kernel, (title, unit) in KERNELS.items():
            numbers = " | ".join(f"{each(one, kernel):,.1f}" for one in programs)
            print(f"| {title} | {unit} | {numbers} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
