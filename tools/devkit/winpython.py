"""The Windows CPythons: downloaded, completed, and with their packages."""

import os
import re
import shutil
import zipfile
from pathlib import Path

from base import (
    CACHE,
    TOOLS,
    fail,
    key_of,
    locked,
    need_packages,
    new_folder,
    run,
    say,
    scratch_folder,
    sha256,
)
from hostenv import REQUIREMENTS, clean_environ, host_python
from pins import (
    DEFAULT_PYTHON,
    MAVEN_DEPENDENCY_PLUGIN,
    WINDOWS_PYTHONS,
    X86,
    Jar,
    Machine,
)

JARS = CACHE / "jars"

# Increase it if the same inputs give another result.
RECIPE = "3"

INSIDE_JAR = "org/bytedeco/cpython/{}/"
# Python asks for Lib: Wine reads the whole folder each time when the case differs.
LIBRARY = "Lib"
# bin/ repeats python.exe; the rest is never used, and slow to unpack.
LEFT_OUT = ("bin/", "lib/test/", "lib/idlelib/", "lib/turtledemo/", "share/")


def selected() -> str:
    """The Windows Python that the user chose."""
    version = os.environ.get("WINIPC_PYTHON") or DEFAULT_PYTHON
    if version not in WINDOWS_PYTHONS:
        known = ", ".join(WINDOWS_PYTHONS)
        fail(f"WINIPC_PYTHON is {version!r}; it can be one of {known}")
    return version


def machine_of(version: str) -> Machine:
    """The machine of a Windows Python."""
    return WINDOWS_PYTHONS[version].machine


def release_of(version: str) -> str:
    """The version of Python itself: 3.11 for 3.11-32."""
    return version.partition("-")[0]


def missing_mingw(*machines: Machine) -> list[str]:
    """The packages to install before the cross-compilers can run."""
    needs = {m.gcc: m.compiler for m in machines if m.compiler}
    needs["ccache"] = "ccache"
    return [package for program, package in needs.items() if not shutil.which(program)]


def missing_maven(versions: list[str]) -> list[str]:
    """The packages to install before these Pythons can be downloaded."""
    if shutil.which("mvn") or all(_jar(version).exists() for version in versions):
        return []
    return ["maven", "default-jre-headless", "ca-certificates"]


def windows_python(version: str) -> Path:
    """The folder of a Windows CPython with the packages of its lock file."""
    lock = REQUIREMENTS / f"{machine_of(version).lock}.txt"
    key = key_of(RECIPE, WINDOWS_PYTHONS[version].sha256, lock.read_bytes())
    folder = CACHE / f"python-{version}-{key}"
    if not folder.exists():
        bare = bare_python(version)
        with locked(CACHE / f"python-{version}.lock", f"Windows Python {version}"):
            if not folder.exists():
                with new_folder(folder) as part:
                    shutil.copytree(bare, part, dirs_exist_ok=True)
                    install(lock, version, part / LIBRARY / "site-packages")
    return folder


def bare_python(version: str) -> Path:
    """The folder of a Windows CPython as published, with a python3.dll."""
    folder = (
        CACHE / f"cpython-{version}-{key_of(RECIPE, WINDOWS_PYTHONS[version].sha256)}"
    )
    if not folder.exists():
        need_packages(missing_mingw(machine_of(version)))
        with locked(CACHE / f"cpython-{version}.lock", f"Windows Python {version}"):
            if not folder.exists():
                jar = fetch([version])[0]
                say(f"unpacking Windows Python {version}")
                with new_folder(folder) as part:
                    _unpack(jar, INSIDE_JAR.format(machine_of(version).maven), part)
                    _forward_python3(version, part)
    return folder


def extra_packages(name: str, version: str) -> Path:
    """A folder with the packages of another lock file, for PYTHONPATH."""
    lock = REQUIREMENTS / f"{name}.txt"
    folder = CACHE / f"{name}-{version}-{key_of(RECIPE, lock.read_bytes())}"
    if not folder.exists():
        with locked(CACHE / f"{name}-{version}.lock", f"packages of {lock.name}"):
            if not folder.exists():
                with new_folder(folder) as part:
                    install(lock, version, part)
    return folder


def fetch(versions: list[str]) -> list[Path]:
    """Download missing jars, all at once; return the jars."""
    if not all(_jar(version).exists() for version in versions):
        with locked(JARS / "fetch.lock", "a download"):
            if missing := sorted({v for v in versions if not _jar(v).exists()}):
                _download(missing)
    return [_jar(version) for version in versions]


def _jar(version: str) -> Path:
    return JARS / WINDOWS_PYTHONS[version].filename


def _download(versions: list[str]) -> None:
    need_packages(missing_maven(versions))
    say(f"downloading Windows Python {', '.join(versions)} (Maven)")
    jars = [WINDOWS_PYTHONS[version] for version in versions]
    with scratch_folder(JARS) as folder:
        # One start of Maven for all, with a repository that is not kept.
        (folder / "pom.xml").write_text(_pom(jars, folder))
        run(
            [
                *("mvn", "-B", "-q", f"{MAVEN_DEPENDENCY_PLUGIN}:copy"),
                *("-f", folder / "pom.xml", f"-Dmaven.repo.local={folder}/repository"),
            ]
        )
        for jar in jars:
            path = folder / jar.filename
            found = sha256(path)
            if found != jar.sha256:
                fail(f"{jar.filename} has SHA-256 {found}, not {jar.sha256}")
            path.rename(JARS / jar.filename)


def _pom(jars: list[Jar], folder: Path) -> str:
    items = "".join(
        "<artifactItem><groupId>org.bytedeco</groupId><artifactId>cpython</artifactId>"
        f"<version>{jar.version}</version><classifier>{jar.machine.maven}</classifier>"
        "</artifactItem>"
        for jar in jars
    )
    group, artifact, version = MAVEN_DEPENDENCY_PLUGIN.split(":")
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>winipc</groupId>"
        "<artifactId>downloads</artifactId><version>1</version><packaging>pom"
        f"</packaging><build><plugins><plugin><groupId>{group}</groupId>"
        f"<artifactId>{artifact}</artifactId><version>{version}</version>"
        f"<configuration><outputDirectory>{folder}</outputDirectory>"
        f"<artifactItems>{items}</artifactItems></configuration>"
        "</plugin></plugins></build></project>"
    )


def _unpack(jar: Path, inside: str, folder: Path) -> None:
    with zipfile.ZipFile(jar) as archive:
        for info in archive.infolist():
            name = info.filename.removeprefix(inside)
            if name == info.filename or name.startswith(LEFT_OUT) or info.is_dir():
                continue
            top, _, rest = name.partition("/")
            target = folder / (LIBRARY if top == "lib" else top) / rest
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(info))


def _forward_python3(version: str, folder: Path) -> None:
    """Make python3.dll, which the published build lacks.

    abi3 extensions load it; it forwards each export to python3XY.dll.
    """
    machine = machine_of(version)
    full = "python" + release_of(version).replace(".", "")
    names = symbols(folder / "libs/python3.lib", machine) & symbols(
        folder / "libs" / f"{full}.lib", machine
    )
    definitions = folder / "python3.def"
    exports = "".join(f"  {name}={full}.{name}\n" for name in sorted(names))
    definitions.write_text(f"LIBRARY python3\nEXPORTS\n{exports}")
    run(
        [
            *(machine.gcc, "-shared", "-nostdlib", "-Wl,--no-insert-timestamp"),
            *("-o", folder / "python3.dll", definitions),
        ]
    )
    definitions.unlink()


def symbols(library: Path, machine: Machine) -> set[str]:
    """The names in an import library."""
    listing = run([machine.mingw + "nm", library])
    # In 32 bits, an underscore precedes each name of C.
    pattern = r" __imp__(\w+)$" if machine is X86 else r" __imp_(\w+)$"
    return set(re.findall(pattern, listing, re.MULTILINE))


def install(lock: Path, version: str, target: Path) -> None:
    """Install the Windows wheels of a lock file, from Linux."""
    say(f"installing {lock.name} for Windows Python {version}")
    python = host_python()
    machine, release = machine_of(version), release_of(version)
    reader = TOOLS / "devkit" / "lock_for_windows.py"
    pins = run([python, "-I", reader, lock, release, machine.name])
    with scratch_folder(CACHE) as folder:
        requirements = folder / "requirements.txt"
        requirements.write_text(pins)
        run(
            [
                *(python, "-I", "-m", "pip", "download", "--quiet", "--no-input"),
                *("--no-deps", "--require-hashes", "--progress-bar=off"),
                *(f"--platform={machine.platform}", "--implementation=cp"),
                *(f"--python-version={release}", "--only-binary=:all:"),
                *("--dest", folder, "-r", requirements),
            ],
            env=clean_environ(),
        )
        for wheel in sorted(folder.glob("*.whl")):
            _unpack_wheel(wheel, target)


def _unpack_wheel(wheel: Path, target: Path) -> None:
    """Unpack a wheel's modules: this is twice as fast as pip --target.

    The wheel's scripts and shared data are only for users' installations.
    """
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            head, _, rest = info.filename.partition("/")
            if head.endswith(".data"):
                scheme, _, info.filename = rest.partition("/")
                if scheme not in ("purelib", "platlib"):
                    continue
            archive.extract(info, target)
