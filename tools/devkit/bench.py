"""./dev bench: build what the benchmarks need, and run them in two phases.

What one process does is timed with everything on one CPU, wineserver too: that is
twice as fast, and far steadier. Two processes that wait for each other by spinning
need two.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import wine
from base import BUILD, ROOT, key_of_tree, locked, need_packages, new_folder, run, say
from peers import FLAGS, LIBRARIES
from ready import ready
from runner import run_windows
from winpython import MINGW, extra_packages, missing_mingw, selected, windows_python

Environ = Callable[..., dict[str, str]]


def binaries() -> Path:
    """The folder with raw.dll and target.exe of the checkout as it is now."""
    folder = BUILD / f"bench-{key_of_tree(ROOT, ['benchmarks', 'include'])}"
    if not folder.exists():
        need_packages(missing_mingw())
        with locked(BUILD / "bench.lock", "the build of the benchmarks"):
            if not folder.exists():
                say("building the benchmarks")
                with new_folder(folder) as part:
                    for name, kind in (("raw.dll", ["-shared"]), ("target.exe", [])):
                        source = ROOT / "benchmarks" / f"{name.split('.')[0]}.c"
                        command = [MINGW + "gcc", *FLAGS, *kind, str(source)]
                        command += ["-o", str(part / name), *LIBRARIES]
                        run(command, cwd=ROOT)
    return folder


def main(args: list[str], environ: Environ) -> int:
    """Run the phases; `environ` makes the environment of the Windows Python."""
    version = selected()
    ready([version])
    extra = extra_packages("bench", version)
    script = wine.windows_path(ROOT / "benchmarks" / "run.py")
    out = BUILD / "bench"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    fixed = [
        *("--binaries", wine.windows_path(binaries())),
        *("--out", wine.windows_path(out)),
    ]
    python = [wine.loader(), str(windows_python(version) / "python.exe"), script]
    cpu = max(os.sched_getaffinity(0))
    help_only = {"-h", "--help"} & set(args)
    for phase in ("pinned", "spinning", "report"):
        pin = ["taskset", "--cpu-list", str(cpu)] if phase == "pinned" else []
        command = [*pin, *python, *fixed, "--phase", phase, *args]
        # A prefix of its own, so that wineserver starts where the phase does.
        prefixes: AbstractContextManager[Path] = wine.private_prefix()
        with prefixes as prefix:
            env = environ(prefix, version, extra)
            # The cases are modules beside the script.
            del env["PYTHONSAFEPATH"]
            env["PYTHONDONTWRITEBYTECODE"] = "1"
            outcome = run_windows(command, env)
        if outcome.status or help_only:
            return outcome.status
    return 0
