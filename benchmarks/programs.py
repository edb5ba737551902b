"""raw.dll and target.exe for a run on Windows; ./dev bench builds them on Linux."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = ("user32", "gdi32", "advapi32", "ntdll")


def binaries() -> Path:
    """The folder with both; they are built unless they are newer than the sources."""
    sources = [*ROOT.glob("benchmarks/*.c"), ROOT / "include" / "winipc.h"]
    changed = max(source.stat().st_mtime for source in sources)
    for built in ROOT.glob("build/bench-*/target.exe"):
        dll = built.with_name("raw.dll")
        if dll.exists() and min(dll.stat().st_mtime, built.stat().st_mtime) > changed:
            print(f"bench: with the programs in {built.parent}", file=sys.stderr)
            return built.parent
    folder = ROOT / "build" / "bench-windows"
    folder.mkdir(parents=True, exist_ok=True)
    if shutil.which("gcc"):
        print("bench: building with gcc", file=sys.stderr)
        _with_gcc(folder)
    else:
        print("bench: building with the compiler of setuptools", file=sys.stderr)
        _with_setuptools(folder)
    return folder


def _with_gcc(folder: Path) -> None:
    options = ["-std=c11", "-O2", "-static-libgcc", f"-I{ROOT / 'include'}"]
    libraries = [f"-l{name}" for name in LIBRARIES]
    for name, kind in (("raw.dll", ["-shared"]), ("target.exe", [])):
        source = ROOT / "benchmarks" / Path(name).with_suffix(".c")
        subprocess.run(
            ["gcc", *options, *kind, source, "-o", folder / name, *libraries],
            check=True,
        )


def _with_setuptools(folder: Path) -> None:
    """Build with MSVC, which setuptools finds. Raises SystemExit if there is none."""
    try:
        from setuptools._distutils.ccompiler import new_compiler
        from setuptools._distutils.errors import CCompilerError, DistutilsError
    except ImportError as error:
        raise SystemExit(f"bench: {error}; pip install setuptools, or gcc") from None
    compiler = new_compiler()
    try:
        for name in ("raw", "target"):
            objects = compiler.compile(
                [str(ROOT / "benchmarks" / f"{name}.c")],
                output_dir=str(folder),
                include_dirs=[str(ROOT / "include")],
                extra_preargs=["/O2", "/std:c11"],
            )
            if name == "raw":
                link, target = compiler.link_shared_object, "raw.dll"
            else:
                link, target = compiler.link_executable, "target"
            link(objects, str(folder / target), libraries=list(LIBRARIES))
    except (CCompilerError, DistutilsError) as error:
        raise SystemExit(
            f"bench: {error}\nbench: raw C and the other process of the benchmarks are "
            "C programs: install the build tools of Visual Studio, or put gcc on PATH"
        ) from None
