"""The C extension, the shared-section DLL and the abi3 switch; the rest of the
packaging is in pyproject.toml.

Windows builds with MSVC or mingw-w64. Linux builds for Windows with mingw-w64 when
WINIPC_CROSS_PYTHON names the folder of a Windows CPython, and WINIPC_CROSS_PLATFORM
the tag of its wheels if that is not win_amd64; `./dev wheel` sets both.
"""

import os
import re
import struct
import sys
import sysconfig
from glob import glob
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CROSS_PYTHON = os.environ.get("WINIPC_CROSS_PYTHON")
PLATFORM = os.environ.get("WINIPC_CROSS_PLATFORM", "win_amd64")
BITS = (32 if PLATFORM == "win32" else 64) if CROSS_PYTHON else 8 * struct.calcsize("P")
ARM64 = "arm64" in (PLATFORM if CROSS_PYTHON else sysconfig.get_platform())

# These commands work anywhere; those that need a compiler need Windows.
ANYWHERE = {"sdist", "egg_info", "clean"}

IMAGE_SCN_MEM_SHARED = 0x10000000
IMAGE_SCN_MEM_WRITE = 0x80000000

DLL = "winipc.shared_section"
DLL_SOURCE = "csrc/section/shared_section.c"
DLL_EXPORTS = "csrc/section/shared_section.def"

if os.name != "nt" and not CROSS_PYTHON and not ANYWHERE & set(sys.argv[1:]):
    sys.exit(
        "winipc is for Windows: install it there, "
        "or on Linux run ./dev in its checkout, which uses Wine."
    )

# An abi3 module works on every Python with the GIL. A free-threaded Python has no
# limited API, and its headers on Windows do not define Py_GIL_DISABLED.
ABI3 = not sysconfig.get_config_var("Py_GIL_DISABLED")


class BuildExt(build_ext):
    """build_ext that cross-compiles, links python3, and makes a plain DLL."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if CROSS_PYTHON:
            self.include_dirs = [f"{CROSS_PYTHON}/include"]
            self.library_dirs = [f"{CROSS_PYTHON}/libs"]

    def build_extensions(self) -> None:
        if CROSS_PYTHON:
            gcc = os.environ.get("CC", "x86_64-w64-mingw32-gcc").split()
            self.compiler.set_executables(
                compiler=gcc, compiler_so=gcc, linker_so=[*gcc, "-shared"]
            )
        super().build_extensions()

    def build_extension(self, ext: Extension) -> None:
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args += MSVC_COMPILE
            ext.extra_link_args += MSVC_LINK_DLL if ext.name == DLL else MSVC_DELAY
        else:
            ext.extra_compile_args += MINGW_COMPILE
            ext.extra_link_args += MINGW_LINK
            if ext.name == DLL:
                ext.extra_link_args += MINGW_LINK_DLL
            elif not ARM64:  # clang's linker for ARM64 lacks the delay loader
                self.delay_windows(ext)
        super().build_extension(ext)
        path = Path(self.get_ext_fullpath(ext.name))
        if ext.name == DLL:
            check_shared(path)
        elif self.compiler.compiler_type != "msvc":
            let_write_imports(path)
        if self.compiler.compiler_type != "msvc":
            for library in path.parent.glob("*.lib"):
                library.unlink()  # clang's linker leaves them beside its output

    def delay_windows(self, ext: Extension) -> None:
        """Make mingw's import libraries that load a DLL at its first use."""
        folder = Path(self.build_temp)
        folder.mkdir(parents=True, exist_ok=True)
        for dll in DELAYED:
            text = Path(f"csrc/message/{dll}.def").read_text()
            if BITS == 32:
                # ld drops the loader of a function whose address only is used.
                names = re.findall(r"\w+@\d+", text)
                ext.extra_link_args += [f"-Wl,--undefined=_{name}" for name in names]
            else:
                text = re.sub(r"@\d+", "", text)
            definition = folder / f"{dll}.def"
            definition.write_text(text)
            library = folder / f"lib{dll}_delayed.a"
            self.spawn([DLLTOOL, "-k", "-d", str(definition), "-y", str(library)])
            ext.extra_objects.append(str(library))
        ext.libraries = [n for n in ext.libraries if n not in DELAYED] + ["delayimp"]

    def get_libraries(self, ext: Extension) -> list[str]:
        """Link python3 for abi3 instead of python3XY, which setuptools links."""
        if ext.name == DLL:
            return []
        if self.compiler.compiler_type == "msvc":
            # For MSVC, Python's headers name the library.
            return super().get_libraries(ext)
        if ABI3:
            return [*ext.libraries, "python3"]
        return super().get_libraries(ext)

    def get_ext_filename(self, fullname: str) -> str:
        # setuptools passes the name with and without the package.
        if fullname.rpartition(".")[2] == DLL.rpartition(".")[2]:
            return os.path.join(*fullname.split(".")) + ".dll"
        if CROSS_PYTHON:
            return os.path.join(*fullname.split(".")) + ".pyd"
        return super().get_ext_filename(fullname)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return [] if ext.name == DLL else super().get_export_symbols(ext)


def section_flags(image: bytes) -> dict[bytes, int]:
    """The offsets of the flags of each section of a PE image, by its name."""
    (pe,) = struct.unpack_from("<I", image, 0x3C)
    (sections,) = struct.unpack_from("<H", image, pe + 6)
    (optional,) = struct.unpack_from("<H", image, pe + 20)
    headers = [pe + 24 + optional + 40 * index for index in range(sections)]
    return {image[at : at + 8].rstrip(b"\0"): at + 36 for at in headers}


def check_shared(path: Path) -> None:
    """Stop the build unless .MYSEC has the shared flag.

    Several toolchains drop the flag silently; then nothing is shared.
    """
    image = path.read_bytes()
    at = section_flags(image).get(b".MYSEC")
    if at is None or not struct.unpack_from("<I", image, at)[0] & IMAGE_SCN_MEM_SHARED:
        why = "this compiler dropped the flag"
        sys.exit(f"{path}: section .MYSEC is not shared; {why}")


def let_write_imports(path: Path) -> None:
    """Make the import table writable: it gets the addresses of DELAYED functions.

    Since binutils 2.44, ld makes it read-only. The delay loader of mingw-w64 writes to
    it, and would end the process.
    """
    image = path.read_bytes()
    if (at := section_flags(image).get(b".idata")) is not None:
        (flags,) = struct.unpack_from("<I", image, at)
        flags |= IMAGE_SCN_MEM_WRITE
        path.write_bytes(image[:at] + struct.pack("<I", flags) + image[at + 4 :])


# These warnings do not help: functions in void * slots (4152), Py_UNUSED of 3.11
# (4100), addresses of Python's functions (4232), and initialisers of C99 (4204, 4221).
MSVC_COMPILE = ["/W4", "/wd4100", "/wd4152", "/wd4204", "/wd4221", "/wd4232"]
MSVC_COMPILE += ["/std:c11"]
MSVC_LINK_DLL = [f"/DEF:{DLL_EXPORTS}", "/NODEFAULTLIB", "/ENTRY:DllMain"]
# GCC for Windows aligns its stack to 16 bytes, but stores vectors of 32 bytes there as
# if it were aligned to 32 (GCC bug 54412). The assembler makes such moves unaligned.
MINGW_COMPILE = ["-std=c11", "-O2", "-Wall", "-Wextra"]
MINGW_COMPILE += [] if ARM64 else ["-Wa,-muse-unaligned-vector-move"]
# Stripped and without a time stamp, equal sources give equal files. (clang's linker for
# ARM64 writes a hash instead of the time.)
MINGW_LINK = ["-static-libgcc", "-s"]
MINGW_LINK += [] if ARM64 else ["-Wl,--no-insert-timestamp"]
MINGW_LINK_DLL = [DLL_EXPORTS, "-nostdlib"]
MINGW_LINK_DLL += ["-Wl,--entry=" + ("_DllMain@12" if BITS == 32 else "DllMain")]

# These DLLs are loaded when the first window is opened or looked for, not by the
# import: Windows takes a console program that has loaded them for a GUI program, and no
# longer sends it CTRL_LOGOFF_EVENT and CTRL_SHUTDOWN_EVENT.
DELAYED = ("user32", "imm32")
MSVC_DELAY = ["delayimp.lib", *(f"/DELAYLOAD:{dll}.dll" for dll in DELAYED)]
DLLTOOL = os.environ.get(
    "DLLTOOL", "x86_64-w64-mingw32-dlltool" if CROSS_PYTHON else "dlltool"
)

MACROS: list[tuple[str, str | None]] = [
    ("UNICODE", None),
    ("_UNICODE", None),
    ("WIN32_LEAN_AND_MEAN", None),
    ("_WIN32_WINNT", "0x0a00"),
]
PYTHON_MACROS = [("Py_LIMITED_API", "0x030B0000") if ABI3 else ("Py_GIL_DISABLED", "1")]


def repository_urls() -> dict[str, str]:
    """Links for the package index, known to the host that builds its repository."""
    server, name = map(os.environ.get, ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    if not server or not name:
        return {}
    home = f"{server}/{name}"
    return {
        "Source": home,
        "Issues": f"{home}/issues",
        "Documentation": f"{home}/tree/main/docs",
        "Changelog": f"{home}/blob/main/CHANGELOG.md",
    }


HEADERS = sorted(glob("csrc/*/*.h") + glob("include/*.h"))

setup(
    project_urls=repository_urls(),
    cmdclass={"build_ext": BuildExt},
    ext_modules=[
        Extension(
            "winipc._core",
            sources=[
                s for s in sorted(glob("csrc/*/*.c")) if Path(s) != Path(DLL_SOURCE)
            ],
            depends=HEADERS,
            include_dirs=["csrc", "include"],
            define_macros=[*MACROS, *PYTHON_MACROS],
            libraries=["user32", "advapi32", "imm32", "ntdll"],
            py_limited_api=ABI3,
        ),
        Extension(
            DLL,
            sources=[DLL_SOURCE],
            depends=[DLL_EXPORTS],
            define_macros=MACROS,
        ),
    ],
    options={
        "bdist_wheel": {
            **({"py_limited_api": "cp311"} if ABI3 else {}),
            **({"plat_name": PLATFORM} if CROSS_PYTHON else {}),
        }
    },
)
