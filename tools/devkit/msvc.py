"""The code for MSVC, compiled by clang with Wine's headers.

clang has MSVC's options and its ABI, and lld has the options of its linker. ./dev lint
checks this code; ./dev test --all runs it.
"""

import shutil
import zipfile
from pathlib import Path

from base import (
    BUILD,
    ROOT,
    key_of,
    locked,
    need_packages,
    new_folder,
    remove,
    run,
    say,
)
from compilers import missing_clang
from pins import AMD64
from wheels import built_wheel
from winpython import bare_python

HEADERS = Path("/usr/include/wine/wine")
FLAGS = (
    *("clang", "--driver-mode=cl", "/W4", "/WX"),
    *(f"-imsvc{HEADERS}/msvcrt", f"-imsvc{HEADERS}/windows"),
    *(f"-FI{ROOT}/tools/msvc/lacking.h", f"/I{ROOT}/include"),
    # Py_UNUSED has effect only for GCC; clang knows no shared sections.
    *("-Wno-unused-parameter", "-Wno-ignored-pragmas"),
)
TARGETS = {"x86_64": ("-mavx2",), "i686": ("-mavx2",), "aarch64": ()}
# As in setup.py.
EXTENSION = (
    *("/std:c11", "/DUNICODE", "/D_UNICODE", "/DWIN32_LEAN_AND_MEAN"),
    *("/D_WIN32_WINNT=0x0a00", "/DPy_LIMITED_API=0x030B0000", f"/I{ROOT}/csrc"),
)
LIBRARIES = ("kernel32", "user32", "advapi32", "imm32", "ntdll", "ucrt")
SECTION = ROOT / "csrc/section/shared_section.c"


def missing() -> list[str]:
    """The packages to install before clang can compile for MSVC's ABI."""
    return missing_clang() + ([] if HEADERS.exists() else ["libwine-dev"])


def compiler(target: str = "x86_64", *, itself: bool = False) -> list[str]:
    """The command of clang as MSVC or, with `itself`, as clang-cl."""
    flags = [*FLAGS, f"--target={target}-pc-windows-msvc"]
    return flags if itself else [*flags, "-U__clang__", *TARGETS[target]]


def extension_flags() -> list[str]:
    """The further flags for the files of the extension."""
    return [*EXTENSION, f"-imsvc{bare_python(AMD64.build_python)}/include"]


def site() -> Path:
    """A folder with the installed wheel, but with binaries of MSVC's ABI."""
    wheel = built_wheel()
    recipe = (Path(__file__).read_bytes(), *map(_read, ("lacking.h", "start.c")))
    folder = BUILD / f"site-msvc-{key_of(wheel.read_bytes(), *recipe)}"
    if not folder.exists():
        need_packages([*missing(), *([] if shutil.which("lld-link") else ["lld"])])
        with locked(BUILD / "site-msvc.lock", "the build for MSVC's ABI"):
            if not folder.exists():
                say("building for MSVC's ABI, by clang and lld")
                for old in BUILD.glob("site-msvc-*"):
                    remove(old)
                with new_folder(folder) as part:
                    with zipfile.ZipFile(wheel) as archive:
                        archive.extractall(part)
                    _build(part / "winipc")
    return folder


def _read(name: str) -> bytes:
    return (ROOT / "tools/msvc" / name).read_bytes()


def _build(package: Path) -> None:
    objects = package.with_name("objects")
    objects.mkdir()
    compile_ = [*compiler(), *extension_flags(), "/c", "/O2", "/GS-", "--"]
    sources = sorted(set(ROOT.glob("csrc/*/*.c")) - {SECTION})
    run([*compile_, *sources, ROOT / "tools/msvc/start.c"], cwd=objects)
    link = ["lld-link", "/dll", "/nodefaultlib", "/opt:ref"]
    mingw = Path(run([AMD64.gcc, "-print-file-name=libkernel32.a"]).strip()).parent
    run(
        [
            *(*link, "/noentry", "/export:PyInit__core"),
            # GCC's function has another name, and does the same.
            "/alternatename:__chkstk=___chkstk_ms",
            f"/out:{package / '_core.pyd'}",
            *sorted(objects.glob("*.obj")),
            bare_python(AMD64.build_python) / "libs/python3.lib",
            *(mingw / f"lib{name}.a" for name in LIBRARIES),
            run([AMD64.gcc, "-print-libgcc-file-name"]).strip(),
        ]
    )
    run([*compile_, SECTION], cwd=objects)
    run(
        [
            *(*link, "/entry:DllMain", f"/def:{SECTION.with_suffix('.def')}"),
            f"/out:{package / 'shared_section.dll'}",
            objects / "shared_section.obj",
        ]
    )
    remove(objects)
    for library in package.glob("*.lib"):
        library.unlink()
