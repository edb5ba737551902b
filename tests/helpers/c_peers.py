"""Build the C programs of tests/*/peers with the compiler that built winipc.

`./dev` builds them by mingw and names the folder in WINIPC_PEERS. Elsewhere
they are built on first use: who could `pip install .` has a compiler.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIBRARIES = ["user32", "gdi32", "advapi32", "ntdll"]


def build(program: str, folder: Path) -> Path:
    """Build tests/*/peers/<program>.c into `folder`; the path of the .exe."""
    from setuptools._distutils.ccompiler import new_compiler

    compiler = new_compiler()
    if compiler.compiler_type == "unix":  # only for the tests of this very function
        gcc = "x86_64-w64-mingw32-gcc"
        compiler.set_executables(compiler=gcc, compiler_so=gcc, linker_exe=gcc)
    (source,) = ROOT.glob(f"tests/*/peers/{program}.c")
    objects = compiler.compile(
        [str(source)],
        output_dir=str(folder),
        include_dirs=[str(ROOT / "include"), str(source.parent)],
        extra_postargs=["/std:c11"] if compiler.compiler_type == "msvc" else [],
    )
    target = folder / f"{program}.exe"
    compiler.link_executable(
        objects,
        program if compiler.exe_extension else target.name,
        output_dir=str(folder),
        libraries=LIBRARIES,
    )
    return target


def c_peer_path(name: str) -> Path:
    """A built C peer: from the folder WINIPC_PEERS, else built here, once."""
    folder = os.environ.get("WINIPC_PEERS")
    if folder is not None:
        path = Path(folder) / name
        assert path.exists(), f"C peer {path} is not built"
        return path
    path = ROOT / "build" / "peers" / name
    if not path.exists():
        build(path.stem, path.parent)
    return path


if __name__ == "__main__":
    print(build(sys.argv[1], Path(sys.argv[2])))
