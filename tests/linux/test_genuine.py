"""A Python as its makers publish it: for the others here ./dev makes python3.dll."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pefile
from genuine import genuine_python
from pins import GENUINE_PYTHONS


def test_the_real_python3_dll_has_all_that_is_imported(wheel: Path) -> None:
    """That of the oldest Python, whose limited API is the smallest."""
    folder = genuine_python(min(GENUINE_PYTHONS))
    with pefile.PE(str(folder / "python3.dll")) as image:
        offered = {symbol.name for symbol in image.DIRECTORY_ENTRY_EXPORT.symbols}
    with zipfile.ZipFile(wheel) as archive:
        core = archive.read("winipc/_core.pyd")
    with pefile.PE(data=core) as image:
        entries = {e.dll.lower(): e.imports for e in image.DIRECTORY_ENTRY_IMPORT}
    wanted = {symbol.name for symbol in entries[b"python3.dll"]}
    assert len(wanted) > 100
    assert wanted <= offered
