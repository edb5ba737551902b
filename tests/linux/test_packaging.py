"""What is built for Windows on Linux: the wheel and the source distribution."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from check_wheel import imports, problems, shared_sections
from conftest import ROOT
from lock_for_windows import for_windows
from wheels import SOURCES

#: The system's own; msvcrt.dll is the C library of mingw.
SYSTEM = {
    *("advapi32.dll", "imm32.dll", "kernel32.dll", "msvcrt.dll", "ntdll.dll"),
    "user32.dll",
}


def host(
    *args: str | Path, cross: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a module of the host's Python, set to build for Windows or not."""
    environ = {**os.environ, **env}
    if not cross:
        del environ["WINIPC_CROSS_PYTHON"]
    return subprocess.run(
        [sys.executable, "-I", "-m", *map(str, args)],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy to build in, for setuptools leaves things there."""
    folder = tmp_path / "sources"
    folder.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    return folder


def test_wheel_is_abi3_for_64_bit_windows(wheel: Path) -> None:
    """One wheel is for all Pythons from 3.11 on."""
    name, _version, *tags = wheel.stem.split("-")
    assert (name, tags) == ("winipc", ["cp311", "abi3", "win_amd64"])
    assert wheel.parent == ROOT / "dist"


def test_extension_imports_only_python3_and_the_system(wheel: Path) -> None:
    """python3XY.dll would tie the wheel to one Python."""
    with zipfile.ZipFile(wheel) as archive:
        core = archive.read("winipc/_core.pyd")
    assert "python3.dll" in imports(core)
    assert imports(core) - {"python3.dll"} <= SYSTEM


def test_shared_section_is_shared_and_free_of_runtimes(wheel: Path) -> None:
    """The article's DLL needs nothing, and .MYSEC alone is shared."""
    with zipfile.ZipFile(wheel) as archive:
        dll = archive.read("winipc/shared_section.dll")
    assert shared_sections(dll) == {".MYSEC"}
    assert imports(dll) == set()


def test_wheel_keeps_to_the_limited_api(wheel: Path) -> None:
    """abi3audit finds no function that 3.11 lacks or that is not stable."""
    audit = host("abi3audit", "--strict", wheel)
    assert audit.returncode == 0, audit.stdout


def test_wheel_description_renders(wheel: Path) -> None:
    """twine finds nothing to say about the metadata."""
    check = host("twine", "check", "--strict", wheel)
    assert check.returncode == 0, check.stdout


def test_wheel_holds_what_users_need_and_no_more(wheel: Path) -> None:
    """Types and licence are in, sources and tests are not."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"winipc/py.typed", "winipc/_core.pyi"} <= names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names}
    info = f"{'-'.join(wheel.stem.split('-')[:2])}.dist-info"
    assert tops == {"winipc", "pytest_winipc.py", info}
    ours = {name for name in names if name.startswith("winipc/data/include/")}
    assert {f"winipc/data/include/{name}" for name in ("windows.h", "cstdint")} <= ours
    sources = (".c", ".h", ".def")
    assert not [name for name in names - ours if name.endswith(sources)]


def test_check_wheel_finds_nothing(wheel: Path) -> None:
    """What ./dev wheel checks with agrees with the tests above."""
    assert problems(str(wheel)) == []


def test_check_wheel_finds_code_of_another_processor(
    wheel: Path, tmp_path: Path
) -> None:
    """A wheel that would be installed where it cannot run."""
    other = tmp_path / wheel.name.replace("win_amd64", "win_arm64")
    shutil.copy(wheel, other)
    expected = [
        f"winipc/{name} is for machine 0x8664"
        for name in ("_core.pyd", "shared_section.dll")
    ]
    assert sorted(problems(str(other))) == expected


def test_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    """Byte for byte, so nothing that the build needs is missing from it."""
    checkout = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(
        "build", "dist", ".git", "__pycache__", "*.egg-info"
    )
    shutil.copytree(ROOT, checkout, ignore=ignored)
    made = host(
        "build",
        "--sdist",
        "--no-isolation",
        "--outdir",
        tmp_path,
        checkout,
        cross=False,
        GITHUB_SERVER_URL="https://host.example",
        GITHUB_REPOSITORY="owner/winipc",
    )
    assert made.returncode == 0, made.stdout
    (sdist,) = tmp_path.glob("*.tar.gz")
    subprocess.run(["tar", "-xf", sdist, "-C", tmp_path], check=True)
    top = sdist.name.removesuffix(".tar.gz")
    for name in ("csrc", "tests", "tools", "dev", "LICENSE"):
        assert (tmp_path / top / name).exists(), name
    # The host that builds it says where its repository is.
    told = (tmp_path / top / "PKG-INFO").read_text("utf-8")
    assert "Project-URL: Source, https://host.example/owner/winipc\n" in told
    made = host(
        "build", "--wheel", "--no-isolation", "--outdir", tmp_path, tmp_path / top
    )
    assert made.returncode == 0, made.stdout
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


def test_pip_install_on_linux_says_what_to_do(sources: Path, tmp_path: Path) -> None:
    """It stops before anything is compiled, with one sentence and no traceback."""
    options = ("--no-build-isolation", "--no-deps", "--target", tmp_path / "target")
    pip = host("pip", "install", *options, sources, cross=False)
    assert pip.returncode != 0
    lines = [line.strip() for line in pip.stdout.splitlines()]
    (sentence,) = {line for line in lines if line.startswith("winipc is for Windows")}
    assert "./dev" in sentence
    assert "Traceback" not in pip.stdout
    assert not list(sources.rglob("*.o"))


def test_import_on_linux_says_what_to_do() -> None:
    """One sentence, and an ImportError that programs can catch."""
    done = subprocess.run(
        [sys.executable, "-c", "import winipc"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: winipc needs Windows")
    assert "./dev" in last


def test_build_stops_when_the_shared_flag_is_lost(
    sources: Path, tmp_path: Path
) -> None:
    """A toolchain that drops the flag makes no wheel."""
    # `used` is an attribute as well, one that shares nothing.
    compiler = tmp_path / "compiler"
    only = 'case "$*" in *shared_section.c*) set -- "$@" -Dshared=used ;; esac'
    compiler.write_text(f'#!/bin/sh\n{only}\nexec {os.environ["CC"]} "$@"\n')
    compiler.chmod(0o755)
    options = ("--wheel", "--no-isolation", "--outdir", tmp_path)
    made = host("build", *options, sources, CC=str(compiler))
    assert made.returncode != 0
    assert "section .MYSEC is not shared" in made.stdout
    assert not list(tmp_path.glob("*.whl"))


LOCK = """\
both==1 \\
    --hash=sha256:aa
    # via x
old==1 ; python_full_version < '3.12' \\
    --hash=sha256:bb
linux==1 ; sys_platform == 'linux' \\
    --hash=sha256:cc
windows==1 ; sys_platform == 'win32' and python_version >= '3.12' \\
    --hash=sha256:dd
"""


@pytest.mark.parametrize(
    ("version", "expected"), [("3.11", ["both", "old"]), ("3.13", ["both", "windows"])]
)
def test_lock_is_read_for_windows(version: str, expected: list[str]) -> None:
    """Markers are evaluated for the Python that runs the packages."""
    lines = for_windows(LOCK, version)
    assert [line.split("==")[0] for line in lines if "==" in line] == expected
    assert sum("--hash" in line for line in lines) == len(expected)
    assert not any(";" in line for line in lines)
