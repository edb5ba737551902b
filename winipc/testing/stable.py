"""`stable_paths`: pointer paths that held each time a program was started."""

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
    """One run of the program: what was where, and how many paths held."""

    pid: int
    address: int
    bases: dict[str, int]
    """Where the modules were in which the paths begin that held."""
    held: int


@dataclasses.dataclass(frozen=True, slots=True)
class StablePaths:
    """What `stable_paths` gives: the paths that held in all runs, and the evidence."""

    paths: PointerPaths
    runs: tuple[StableRun, ...]

    @property
    def addresses(self) -> int:
        """How many different addresses there were. Of one, any path holds."""
        return len({run.address for run in self.runs})

    def bases(self, module: str) -> int:
        """At how many different places the module was."""
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
    """Start a program `runs` times, and keep the pointer paths that held each time.

    `start_program()` starts it and returns a `Peer` or a `subprocess.Popen`, which is
    killed after its run. `locate(process)` finds the address in that run, by a scan,
    or by asking the program. In the first run paths are searched with `options` (see
    `RemoteProcess.pointer_paths`), in the others those that are left are checked.

    The text of what it returns says the evidence: in how many runs, with how many
    different addresses, and at how many places the modules were. Where nothing moved,
    nothing is proved.
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
