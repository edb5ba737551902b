"""Get everything ready to run Windows programs: the slow steps, side by side."""

from collections.abc import Iterable
from functools import partial

import wine
import winpython
from base import need_packages, together
from hostenv import host_python, missing_venv
from pins import X86
from winpython import machine_of


def ready(versions: list[str], packages: Iterable[str] = ()) -> None:
    """Make what is missing to build winipc and to run it on these Windows Pythons.

    Other missing packages are installed at the same time. Whoever uses the result of a
    step also asks for the step; doing all of them here is only faster.
    """
    machines = {machine_of(version): None for version in versions}
    builders = [machine.build_python for machine in machines]
    jars = [*versions, *builders]
    need_packages(
        [
            *wine.missing(X86 in machines),
            *winpython.missing_mingw(*machines),
            *winpython.missing_maven(jars),
            *missing_venv(),
            *packages,
        ]
    )
    together(wine.template, host_python, partial(winpython.fetch, jars))
    together(
        *(partial(winpython.bare_python, version) for version in builders),
        *(partial(winpython.windows_python, version) for version in versions),
    )
