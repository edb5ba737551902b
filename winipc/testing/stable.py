"""`stable_paths`: pointer paths that are right each time a program is started."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from winipc import RemoteProcess
from winipc.scan.pointers import PointerPaths

if TYPE_CHECKING:
    from typing import SupportsIndex


@dataclasses.dataclass(frozen=True, slots=True)
class StableRun:
    """One run of the program."""

    pid: int
    """The id of the process."""
    address: int
    """The address that was searched for, which differs from run to run."""
    bases: dict[str, int]
    """The base addresses of the modules in which the remaining paths begin."""
    held: int
    """The number of paths that were right in this run and all runs before."""


@dataclasses.dataclass(frozen=True, slots=True)
class StablePaths:
    """The paths that were right in all runs, and the evidence, from `stable_paths`."""

    paths: PointerPaths
    """The paths that were right in all runs."""
    runs: tuple[StableRun, ...]
    """The runs, in order."""

    @property
    def addresses(self) -> int:
        """The number of different addresses. If it is 1, any path is right."""
        return len({run.address for run in self.runs})

    def bases(self, module: str) -> int:
        """The number of different base addresses of a module."""
        return len({run.bases.get(module) for run in self.runs})

    def __str__(self) -> str:
        held = ", ".join(str(run.held) for run in self.runs)
        names = dict.fromkeys(path.module for path in self.paths)
        places = "".join(f", {name} at {self.bases(name)}" for name in names)
        return (
            f"{len(self.paths)} paths held in {len(self.runs)} runs ({held}): "
            f"{self.addresses} different addresses{places}"
        )


def stable_paths(
    start_program: Callable[[], Any],
    locate: Callable[[RemoteProcess], SupportsIndex],
    runs: int = 5,
    **options: Any,
) -> StablePaths:
    """Start a program `runs` times, and keep the pointer paths that are always right.

    `start_program()` starts the program, and returns a `Peer` or a `subprocess.Popen`,
    which is killed after its run. `locate(process)` finds the address in that run, by a
    scan, or by asking the program. In the first run, paths are searched for with
    `options` (see `RemoteProcess.pointer_paths`); in the other runs, the remaining
    paths are checked.

    The `str` of the result tells the evidence: the number of runs, of different
    addresses, and of different bases of modules. If nothing moved, nothing is proved.
    """
    if runs < 1:
        raise ValueError("runs must be >= 1")
    found: list[StableRun] = []
    paths = PointerPaths()
    for number in range(runs):
        program = start_program()
        try:
            with RemoteProcess.open(program) as process:
                address = process.address(locate(process))
                if number == 0:
                    paths = PointerPaths(process.pointer_paths(address, **options))
                else:
                    paths = paths.check(process, address)
                used = {path.module for path in paths}
                bases = {m.name: m.base for m in process.modules() if m.name in used}
                found.append(StableRun(process.pid, address, bases, len(paths)))
        finally:
            getattr(program, "reap", program.kill)()
            program.wait()
    return StablePaths(paths, tuple(found))
