"""Everything at hand to run Windows programs: the slow steps, side by side."""

from collections.abc import Iterable
from functools import partial

import wine
import winpython
from base import need_packages, together
from hostenv import host_python, missing_venv
from pins import X86
from winpython import machine_of


def ready(versions: list[str], packages: Iterable[str] = ()) -> None:
    """Make what is missing to build winipc and run it on these Windows Pythons.

    Other missing packages are installed in the same go. Each step is also asked
    for where its result is used; this is for speed.
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
