"""The static checks, side by side; each says ok, or shows what it found."""

import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msvc
import wine
import winpython
from base import BUILD, ROOT, Failure, fail, need_packages, run, say, together
from compilers import missing_clang
from hostenv import host_python
from pins import AMD64
from ready import ready
from run_python import python_command, python_environ
from winpython import bare_python, selected

import docs

# The flags of setup.py; each warning is an error.
C_FLAGS = (
    *("-fsyntax-only", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror"),
    *("-DUNICODE", "-D_UNICODE", "-DWIN32_LEAN_AND_MEAN", "-D_WIN32_WINNT=0x0a00"),
    *("-DPy_LIMITED_API=0x030B0000", "-Icsrc", "-Iinclude"),
)
# For separate programs, in either character set.
PROGRAM_FLAGS = (
    *("-fsyntax-only", "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-Iinclude"),
)
COMPILERS = {
    "mingw": (AMD64.gcc,),
    "clang": ("clang", "--target=x86_64-w64-windows-gnu"),
}
# Warnings that a peer's own build may enable for the header.
HEADER_FLAGS = ("-Wpedantic", "-Wconversion")
LANGUAGES = {"mingw": ("c11", "c17"), "clang": ("c11", "c17", "c++17", "c++20")}

# The headers of this Python are also those of its free-threaded build.
FREE_THREADED = "3.14"


def main(args: list[str]) -> int:
    """./dev lint [--fix] [--only NAME]"""
    os.chdir(ROOT)
    checks = all_checks()
    if args[:1] == ["--fix"]:
        fix()
        args = args[1:]
    if args[:1] == ["--only"]:
        names = args[1:]
        if unknown := set(names) - set(checks):
            fail(f"no check {sorted(unknown)}; there are {', '.join(checks)}")
        checks = {name: checks[name] for name in names}
    elif args:
        fail("lint takes only --fix and --only")
    else:
        ready([selected()], missing_clang())
    failed: list[str] = []
    printing = threading.Lock()

    def outcome(name: str, check: Callable[[], object]) -> None:
        try:
            check()
        except Failure as error:
            with printing:
                failed.append(name)
                print(f"{error.output.rstrip()}\n{name}: {error}", flush=True)
        else:
            with printing:
                print(f"{name}: ok", flush=True)

    together(*(partial(outcome, name, check) for name, check in checks.items()))
    print(f"{len(checks) - len(failed)} checks passed, {len(failed)} failed")
    return 1 if failed else 0


def fix() -> None:
    """Format all sources, and repair what ruff can repair."""
    ruff = tool("ruff")
    run([ruff, "format", "."])
    run([ruff, "check", "--fix", "--exit-zero", "."])
    if files := c_files():
        run([tool("clang-format"), "-i", *files])
    say("formatted")


def all_checks() -> dict[str, Callable[[], object]]:
    python = host_python()
    mypy: list[str | Path] = [python, "-I", "-m", "mypy"]
    # A cache of its own: the cache of one platform misleads mypy on the other.
    other = ("--platform=linux", "--cache-dir=.mypy_cache/linux")
    devkit = sorted(Path("tools/devkit").glob("*.py"))
    checks: dict[str, Callable[[], object]] = {
        "ruff check": partial(run, [tool("ruff"), "check", "."]),
        "ruff format": partial(run, [tool("ruff"), "format", "--check", "."]),
        "mypy winipc": partial(run, mypy),
        "mypy tools": partial(run, [*mypy, *other, *devkit]),
        "codespell": partial(run, [tool("codespell")]),
        "pyproject": partial(run, [tool("validate-pyproject"), "pyproject.toml"]),
        "shellcheck": partial(run, [tool("shellcheck"), *shell_files()]),
        "stubs": stubtest,
        "docs": docs.build,
    }
    if files := c_files():
        check: list[str | Path] = [tool("clang-format"), "--dry-run", "-Werror"]
        checks["clang-format"] = partial(run, [*check, *files])
    for name, compiler in COMPILERS.items():
        checks[name] = partial(compile_all, compiler, LANGUAGES[name])
    checks["msvc"] = compile_as_msvc
    checks["free-threaded"] = compile_free_threaded
    return checks


def tool(name: str) -> Path:
    return host_python().with_name(name)


def c_files() -> list[Path]:
    return [
        path
        for pattern in ("csrc/**/*.[ch]", "include/**/*.h", "tests/**/*.[ch]")
        for path in sorted(Path().glob(pattern))
    ] + sorted(Path().glob("benchmarks/**/*.[ch]"))


def shell_files() -> list[Path]:
    return [Path("dev"), *sorted(Path("tools").glob("*.sh")), Path(".ci/run")]


def extension() -> list[Path]:
    return [path for path in c_files() if path.match("csrc/*/*.c")]


def programs() -> list[Path]:
    """The C programs; tests compile those of tests/native for Linux."""
    return [
        path
        for path in c_files()
        if path.suffix == ".c"
        and path.parts[0] not in ("csrc", "include")
        and path.parts[:2] != ("tests", "native")
    ]


def compile_all(compiler: tuple[str, ...], languages: tuple[str, ...]) -> None:
    """Compile every C file; a warning is an error."""
    need_packages(winpython.missing_mingw(AMD64) + missing_clang())
    headers = bare_python(AMD64.build_python) / "include"
    run([*compiler, *C_FLAGS, "-isystem", headers, *extension()])
    run([*compiler, *PROGRAM_FLAGS, *programs()])
    # This finds a header that needs other headers first.
    for language in languages:
        flags = (*PROGRAM_FLAGS, *HEADER_FLAGS, f"-std={language}", "-include")
        kind = language.rstrip("0123456789")
        run([*compiler, *flags, "include/winipc.h", "-x", kind, "/dev/null"])


def compile_as_msvc() -> None:
    """Compile as MSVC would, for each processor and with each of its C standards."""
    need_packages(msvc.missing())
    files = map(str, extension())
    core = [*msvc.extension_flags(), "/Zs", "--", *files]
    header = ("/Zs", "-FIwinipc.h", "--", "/dev/null")
    for target in msvc.TARGETS:
        compiler = msvc.compiler(target)
        run([*compiler, *core])
        run([*compiler, "/std:c11", "/Zs", "--", *programs()])
        run([*compiler, "/TC", "/std:c17", *header])
        if target != "i686":  # clang does not accept Wine's headers as C++ there
            cxx = ("/TP", "/std:c++17", "/DWINE_UNICODE_NATIVE")
            run([*compiler, *cxx, *header])
    run([*msvc.compiler(itself=True), *core])


def compile_free_threaded() -> None:
    """Compile for the free-threaded Python, which has no limited API."""
    need_packages(winpython.missing_mingw(AMD64))
    flags = [flag for flag in C_FLAGS if not flag.startswith("-DPy_LIMITED_API")]
    headers = bare_python(FREE_THREADED) / "include"
    run([AMD64.gcc, *flags, "-DPy_GIL_DISABLED", "-isystem", headers, *extension()])


def stubtest() -> None:
    """Compare winipc/_core.pyi with the built module, on the Windows Python."""
    version = selected()
    with wine.private_prefix() as prefix:
        env = python_environ(prefix, version)
        run(
            [*python_command(version), "-m", "mypy.stubtest", "winipc._core"],
            env=env,
            cwd=BUILD,
        )
