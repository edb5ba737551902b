"""The compiler for Windows on ARM64, from the package index, and its import library."""

import shutil
from pathlib import Path

from base import CACHE, key_of, locked, new_folder, run
from hostenv import REQUIREMENTS, host_python
from pins import AMD64, WINDOWS_PYTHONS
from winpython import bare_python, symbols

TARGET = "aarch64-windows-gnu"


def environ() -> dict[str, str]:
    """The variables that make setup.py build for ARM64."""
    cache = str(CACHE / "zig")
    return {
        "WINIPC_CROSS_PYTHON": str(_development()),
        "CC": " ".join([*zig(), "cc", "-target", TARGET]),
        "ZIG_GLOBAL_CACHE_DIR": cache,
        "ZIG_LOCAL_CACHE_DIR": cache,
    }


def zig() -> list[str]:
    """The command of the compiler."""
    return [str(host_python("cross")), "-I", "-m", "ziglang"]


def _development() -> Path:
    """The headers of Python, and the import library of its python3.dll.

    There is no Python for ARM64 where ./dev gets the other Pythons. The limited API has
    the same names on each processor.
    """
    version = AMD64.build_python
    lock = REQUIREMENTS / "cross.txt"
    key = key_of(WINDOWS_PYTHONS[version].sha256, lock.read_bytes())
    folder = CACHE / f"development-arm64-{key}"
    if not folder.exists():
        python = bare_python(version)
        with locked(CACHE / "development-arm64.lock"):
            if not folder.exists():
                with new_folder(folder) as part:
                    shutil.copytree(python / "include", part / "include")
                    names = sorted(symbols(python / "libs/python3.lib", AMD64))
                    _import_library(names, part / "libs")
    return folder


def _import_library(names: list[str], folder: Path) -> None:
    folder.mkdir()
    definitions = folder / "python3.def"
    definitions.write_text("\n".join(["LIBRARY python3.dll", "EXPORTS", *names]))
    library = folder / "libpython3.a"
    run([*zig(), "dlltool", "-m", "arm64", "-d", definitions, "-l", library])
