"""Wine: its prefixes and its environment.

Windows programs in the same prefix see each other's names, windows and processes.
`./dev python`, `shell` and `notebook` of a checkout share a prefix, so that programs in
two terminals can talk to each other; a test run has a prefix of its own.
"""

import contextlib
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from base import (
    CACHE,
    ROOT,
    fail,
    key_of,
    locked,
    need_packages,
    new_folder,
    remove,
    run,
    say,
)
from hostenv import clean_environ

# Increase it if the same inputs give another result.
RECIPE = "3"

# wbemprox: platform.version() crashes in it. mscoree and mshtml offer downloads.
# winemenubuilder writes to the user's desktop. winedbg: a crashed program waits for it,
# and now and then it never returns.
OVERRIDES = "wbemprox=;mscoree=;mshtml=;winemenubuilder.exe=;winedbg.exe="

# These services take a quarter of the time in which a first program starts. With
# MountMgr, each stat and each open asks another process twice for a drive's serial
# number: half of the CPU time of `import winipc`.
UNUSED_SERVICES = (
    *("Eventlog", "MountMgr", "NDIS", "PlugPlay", "winebus", "winehid", "wineusb"),
)

# In Debian, the real programs are not in PATH; /usr/bin/wine may only hint at wine32.
# Up to Debian 13 they are in /usr/lib/wine.
NEWER = "/usr/lib/x86_64-linux-gnu/wine"
LOADERS = ("/usr/lib/wine/wine64", f"{NEWER}/wine", "wine64", "wine")
LOADERS_32BIT = ("/usr/lib/wine/wine", "/usr/lib/i386-linux-gnu/wine/wine")
SERVERS = ("/usr/lib/wine/wineserver64", f"{NEWER}/wineserver", "wineserver")


# The file in a shared prefix with the path of its checkout.
CHECKOUT = "checkout.txt"


def _first(candidates: tuple[str, ...]) -> str | None:
    return next((path for path in map(shutil.which, candidates) if path), None)


def missing(bits32: bool = False) -> list[str]:
    """The packages to install before Wine can run, with its 32-bit part on request."""
    wine = ["wine", "wine64"] if _first(LOADERS) is None else []
    return [*wine, "wine32:i386"] if bits32 and not runs_32bit() else wine


def runs_32bit() -> bool:
    """Whether Debian's wine32:i386 is installed."""
    return any(map(os.path.exists, LOADERS_32BIT))


def loader() -> str:
    """The program that starts Windows programs."""
    need_packages(missing())
    if (found := _first(LOADERS)) is None:
        fail("Wine was installed, yet there is none of: " + ", ".join(LOADERS))
    return found


def environ(prefix: Path) -> dict[str, str]:
    """The environment of a program under Wine: the user's, and Wine's variables."""
    return clean_environ() | {
        "WINEPREFIX": str(prefix),
        "WINEARCH": "win64",
        "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"),
        "WINEDLLOVERRIDES": OVERRIDES,
        # File names in UTF-8 and messages in English, whatever the user's locale is.
        "LC_ALL": "C.UTF-8",
    }


def windows_path(path: Path) -> str:
    """The path of a Linux file for a Windows program."""
    return "Z:" + str(path).replace("/", "\\")


def template() -> Path:
    """A prefix that was set up and never used: other prefixes are copies of it."""
    program = loader()
    # A newer Wine gets new prefixes.
    version = str(Path(program).stat().st_mtime_ns)
    bits = "32" if runs_32bit() else "64"
    folder = CACHE / f"wine-{key_of(RECIPE, program, version, bits)}"
    made = folder / "template"
    if not made.exists():
        with locked(CACHE / "wine.lock", "the Wine prefix"):
            if not made.exists():
                say("making the Wine prefix")
                with new_folder(made) as part:
                    _set_up(program, part)
    return made


def _set_up(program: str, prefix: Path) -> None:
    env = environ(prefix)
    settings = prefix / "settings.reg"
    settings.write_text(_settings())
    try:
        run([program, "wineboot", "-i"], env=env)
        # CPython asks for Windows 10.
        run([program, "winecfg", "-v", "win10"], env=env)
        run([program, "reg", "import", windows_path(settings)], env=env)
    finally:
        stop(prefix)
    settings.unlink()


def _settings() -> str:
    """Settings for windows without an X server, and for a start without devices."""
    services = "".join(
        rf"[HKEY_LOCAL_MACHINE\System\CurrentControlSet\Services\{service}]"
        '\n"Start"=dword:00000004\n'
        for service in UNUSED_SERVICES
    )
    return (
        "Windows Registry Editor Version 5.00\n\n"
        '[HKEY_CURRENT_USER\\Software\\Wine\\Drivers]\n"Graphics"="null"\n' + services
    )


def _copy(source: Path, target: Path) -> None:
    """Copy a prefix. Files are linked, except the registry: Wine writes it in place."""
    shutil.copytree(
        source, target, symlinks=True, copy_function=os.link, dirs_exist_ok=True
    )
    for registry in source.glob("*.reg"):
        remove(target / registry.name)
        shutil.copy2(registry, target)


def _named_prefix(name: str) -> Path:
    base = template()
    prefix = base.with_name(name)
    if not prefix.exists():
        with locked(base.with_name(f"{name}.new.lock")):
            if not prefix.exists():
                with new_folder(prefix) as part:
                    _copy(base, part)
    return prefix


@contextlib.contextmanager
def shared_prefix() -> Iterator[Path]:
    """The prefix that several runs of ./dev of this checkout share."""
    name = f"shared-{key_of(str(ROOT))}"
    new = not template().with_name(name).exists()
    prefix = _named_prefix(name)
    if new:
        (prefix / CHECKOUT).write_text(str(ROOT))
        _forget_checkouts_that_are_gone(prefix.parent)
    with prefix.with_name(f"{name}.lock").open("a") as lock:
        # The first run and the last one stop programs that other runs left behind.
        _stop_if_alone(lock, prefix)
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield prefix
        finally:
            _stop_if_alone(lock, prefix)


def _forget_checkouts_that_are_gone(folder: Path) -> None:
    """Remove the prefixes of checkouts that are gone, unless programs run there."""
    for note in folder.glob(f"shared-*/{CHECKOUT}"):
        prefix = note.parent
        with (
            prefix.with_name(f"{prefix.name}.lock").open("a") as lock,
            # The prefix is in use, or another ./dev has just removed it.
            contextlib.suppress(BlockingIOError, FileNotFoundError),
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not Path(note.read_text()).exists():
                stop(prefix)
                remove(prefix)


def _stop_if_alone(lock: IO[str], prefix: Path) -> None:
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        stop(prefix)


@contextlib.contextmanager
def private_prefix() -> Iterator[Path]:
    """A prefix that no other run of ./dev uses at the same time."""
    base = template()
    number = 1
    while True:
        with base.with_name(f"private-{number}.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                number += 1
                continue
            prefix = _named_prefix(f"private-{number}")
            # A killed run may have left programs behind.
            stop(prefix)
            try:
                yield prefix
            finally:
                stop(prefix)
            return


def server() -> str:
    """The path of wineserver, of which one runs in each prefix."""
    found = _first(SERVERS)
    assert found is not None
    return found


def stop(prefix: Path) -> None:
    """End all Windows programs of a prefix, and wait for their end."""
    env = environ(prefix)
    for option in ("-k", "-w"):
        command = [server(), option]
        subprocess.run(command, env=env, stdin=subprocess.DEVNULL, check=False)
