"""The wheel: built on Linux for Windows, checked, and installed for ./dev python."""

import os
import shutil
import zipfile
from pathlib import Path

import arm64
from base import (
    BUILD,
    CACHE,
    ROOT,
    TOOLS,
    key_of,
    key_of_tree,
    locked,
    need_packages,
    new_folder,
    remove,
    run,
    say,
    scratch_folder,
    source_files,
)
from hostenv import clean_environ, host_python
from pins import AMD64, ARM64, Machine
from winpython import bare_python, machine_of, missing_mingw

# The files and folders from which the wheel is built.
SOURCES = (
    "csrc",
    "include",
    "winipc",
    "pytest_winipc.py",
    "setup.py",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
)

# The number of results to keep: a run may still use an older one.
KEPT = 5


def built_wheel(machine: Machine = AMD64) -> Path:
    """The wheel of this checkout."""
    folder = BUILD / f"wheel-{machine.platform}-{_sources_key()}"
    if not folder.exists():
        need_packages(missing_mingw(machine))
        with locked(BUILD / f"wheel-{machine.platform}.lock", "the build of the wheel"):
            if not folder.exists():
                say(f"building the wheel for {machine.platform}")
                with new_folder(folder) as part:
                    _build(part, machine)
                _prune(f"wheel-{machine.platform}-*")
    return next(folder.glob("*.whl"))


def site(version: str) -> Path:
    """A folder with the installed wheel, for PYTHONPATH of one Windows Python."""
    wheel = built_wheel(machine_of(version))
    # The key of the built wheel, as the sources may have changed meanwhile.
    folder = BUILD / f"site-{version}-{wheel.parent.name.rpartition('-')[2]}"
    if not folder.exists():
        with locked(BUILD / "site.lock"):
            if not folder.exists():
                with new_folder(folder) as part, zipfile.ZipFile(wheel) as archive:
                    archive.extractall(part)
                _prune(f"site-{version}-*")
    return folder


def _sources_key() -> str:
    return key_of(
        key_of_tree(ROOT, SOURCES), key_of_tree(TOOLS, ["requirements/host.txt"])
    )


def _prune(pattern: str) -> None:
    folders = [path for path in BUILD.glob(pattern) if path.suffix != ".part"]
    folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in folders[KEPT:]:
        remove(path)


def _build(target: Path, machine: Machine) -> None:
    with scratch_folder(BUILD) as folder:
        _copy_sources(folder)
        run(
            [
                *(host_python(), "-I", "-m", "build", "--wheel", "--no-isolation"),
                *("--outdir", target, folder),
            ],
            env=cross_environ(machine),
        )


def cross_environ(machine: Machine = AMD64) -> dict[str, str]:
    """The environment that makes setup.py build for Windows on Linux."""
    environ = clean_environ() | {
        "WINIPC_CROSS_PLATFORM": machine.platform,
        # Equal sources then make equal wheels, byte for byte.
        "SOURCE_DATE_EPOCH": "315532800",
    }
    if machine is ARM64:
        return environ | arm64.environ()
    return environ | {
        "WINIPC_CROSS_PYTHON": str(bare_python(machine.build_python)),
        # ccache does not compile the same source twice, in any clone.
        "CC": f"ccache {machine.gcc}",
        "DLLTOOL": f"{machine.mingw}dlltool",
        "CCACHE_DIR": str(CACHE / "ccache"),
        "CCACHE_BASEDIR": str(ROOT),
        "CCACHE_NOHASHDIR": "1",
    }


def _copy_sources(target: Path) -> None:
    """Copy the sources, as setuptools leaves files beside them."""
    for path in source_files(ROOT, SOURCES):
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def release(machine: Machine = AMD64) -> Path:
    """Build a wheel, check it, and copy it to dist/."""
    wheel = built_wheel(machine)
    check(wheel)
    dist = ROOT / "dist"
    dist.mkdir(exist_ok=True)
    part = dist / f".{wheel.name}.{os.getpid()}"
    shutil.copyfile(wheel, part)
    return part.rename(dist / wheel.name)


def check(wheel: Path) -> None:
    """Check that the wheel is what its name says."""
    say("checking the wheel")
    python = host_python()
    run([python, "-I", TOOLS / "devkit" / "check_wheel.py", wheel])
    run([python, "-I", "-m", "abi3audit", "--strict", "--report", wheel])
    run([python, "-I", "-m", "twine", "check", "--strict", wheel])
