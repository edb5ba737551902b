"""./dev bench: build what the benchmarks need, and run them in phases.

Cases of one process run with everything, also wineserver, on one CPU: that is twice as
fast, and far steadier. Two processes that wait for each other by spinning need two
CPUs. Requests to wineserver are counted from its trace.
"""

import json
import os
import shutil
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import wine
from base import (
    BUILD,
    ROOT,
    fail,
    key_of_tree,
    locked,
    need_packages,
    new_folder,
    run,
    say,
)
from peers import FLAGS, LIBRARIES
from pins import AMD64
from ready import ready
from run_python import python_command, python_environ
from runner import run_windows
from winpython import extra_packages, missing_mingw, selected

PREVIOUS = BUILD / "bench-previous"
DOCS = ROOT / "docs"
PAGE = DOCS / "performance.md"
BOOK = ROOT / "benchmarks" / "README.md"
TABLES = ROOT / "benchmarks" / "results.md"
#: Which page has which table.
PLACES = (
    *((PAGE, "summary"), (PAGE, "requests"), (PAGE, "growth")),
    (BOOK, "missed"),
)


def binaries() -> Path:
    """The folder with raw.dll and target.exe of this checkout."""
    folder = BUILD / f"bench-{key_of_tree(ROOT, ['benchmarks', 'include'])}"
    if not folder.exists():
        need_packages(missing_mingw(AMD64))
        with locked(BUILD / "bench.lock", "the build of the benchmarks"):
            if not folder.exists():
                say("building the benchmarks")
                with new_folder(folder) as part:
                    for name, kind in (("raw.dll", ["-shared"]), ("target.exe", [])):
                        source = ROOT / "benchmarks" / f"{name.split('.')[0]}.c"
                        command = [AMD64.gcc, *FLAGS, *kind, str(source)]
                        command += ["-o", str(part / name), *LIBRARIES]
                        run(command, cwd=ROOT)
    return folder


def main(args: list[str]) -> int:
    """Run the phases."""
    if args == ["--write-docs"]:
        return write_docs()
    version = selected()
    ready([version])
    extra = extra_packages("bench", version)
    script = wine.windows_path(ROOT / "benchmarks" / "run.py")
    out = BUILD / "bench"
    if (out / "bench.json").exists():
        shutil.rmtree(PREVIOUS, ignore_errors=True)
        out.rename(PREVIOUS)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    fixed = [
        *("--binaries", wine.windows_path(binaries())),
        *("--out", wine.windows_path(out)),
    ]
    python = [*python_command(version), script]
    cpu = max(os.sched_getaffinity(0))
    help_only = {"-h", "--help"} & set(args)
    for phase in ("pinned", "growth", "spinning", "report"):
        if phase == "report" and ("--only" not in args or "requests" in args):
            count_requests(out / "requests.json")
        pinned = phase in ("pinned", "growth")
        pin = ["taskset", "--cpu-list", str(cpu)] if pinned else []
        command = [*pin, *python, *fixed, "--phase", phase, *args]
        # A prefix of its own, so that wineserver starts on the CPU of the phase.
        prefixes: AbstractContextManager[Path] = wine.private_prefix()
        with prefixes as prefix:
            env = python_environ(prefix, version, extra)
            # The cases are modules beside the script.
            del env["PYTHONSAFEPATH"]
            env["PYTHONDONTWRITEBYTECODE"] = "1"
            outcome = run_windows(command, env)
        if outcome.status or help_only:
            return outcome.status
    return 0


def count_requests(file: Path) -> None:
    """Count requests to wineserver, in a process that imports this devkit."""
    say("counting requests to wineserver")
    script = ROOT / "benchmarks" / "count_requests.py"
    with file.open("w") as counts:
        subprocess.run([sys.executable, script, "--json"], stdout=counts, check=True)


def write_docs() -> int:
    """Write the latest run into the tables of benchmarks/, and the page for users."""
    out = BUILD / "bench"
    lacking = [name for _, name in PLACES if not (out / f"{name}.md").exists()]
    if lacking:
        fail(f"there are no results of a whole run, ./dev bench makes them: {lacking}")
    tables = "# Results\n\n" + repeated() + (out / "bench.md").read_text("utf-8")
    TABLES.write_text(tables, encoding="utf-8")
    for page, name in PLACES:
        text = page.read_text(encoding="utf-8")
        text = between(text, name, (out / f"{name}.md").read_text("utf-8"))
        page.write_text(text, encoding="utf-8")
    for plot in out.glob("*.svg"):
        lines = plot.read_text("utf-8").splitlines()
        (DOCS / f"performance-{plot.name}").write_text(
            "\n".join(line.rstrip() for line in lines) + "\n"
        )
    say(f"the pages are written from the run in {out}")
    return 0


def between(text: str, name: str, new: str) -> str:
    """Replace what is between the two comments called `name` in `text`."""
    begin, end = f"<!-- bench: {name} -->\n", f"<!-- bench: end of {name} -->\n"
    if text.count(begin) != 1 or text.count(end) != 1:
        fail(f"a page lacks the comments around {name!r}")
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{new.strip()}\n\n{end}{tail}"


def repeated() -> str:
    """A sentence that says how much the ratios of the last two runs differ."""
    runs = []
    for folder in (PREVIOUS, BUILD / "bench"):
        if not (folder / "bench.json").exists():
            return ""
        phases = json.loads((folder / "bench.json").read_text("utf-8"))
        runs.append(
            {
                (case["group"], case["name"], who): way["to winipc"]
                for phase in phases
                for case in phase["cases"]
                for who, way in case["ways"].items()
                if who != "winipc" and way["to winipc"]
            }
        )
    apart = sorted(
        max(one, other) / min(one, other) - 1
        for key, one in runs[0].items()
        if (other := runs[1].get(key)) is not None
    )
    if not apart:
        return ""
    half, most = apart[len(apart) // 2], apart[len(apart) * 9 // 10]
    return (
        f"This is the second of two runs, one after the other. Of {len(apart)} ratios "
        f"to winipc,\nhalf are within {half:.0%} of those of the first run, and nine "
        f"in ten within {most:.0%}.\n\n"
    )
