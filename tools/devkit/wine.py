"""Wine: its prefixes, its environment, and programs that run in it.

Windows programs that share a prefix share one world: names of mappings, windows,
processes. `./dev python`, `shell` and `notebook` of a checkout meet in one prefix, so
that two terminals can talk to each other; a test run has one to itself.
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

# Raise it when what is made from the same inputs changes.
RECIPE = "3"

# wbemprox: platform.version() crashes in it. mscoree, mshtml: offers of downloads.
# winemenubuilder: writes to the user's desktop. winedbg: a program that crashed
# waits for it, and now and then it never comes back.
OVERRIDES = "wbemprox=;mscoree=;mshtml=;winemenubuilder.exe=;winedbg.exe="

# They would take a quarter of the time that a first program needs to start. With
# MountMgr, each stat and each open asked another process twice for a drive's serial
# number: half of the CPU time that `import winipc` took.
UNUSED_SERVICES = (
    *("Eventlog", "MountMgr", "NDIS", "PlugPlay", "winebus", "winehid", "wineusb"),
)

# Debian keeps the real programs out of PATH; /usr/bin/wine is a hint about wine32.
# They are in /usr/lib/wine up to Debian 13.
NEWER = "/usr/lib/x86_64-linux-gnu/wine"
LOADERS = ("/usr/lib/wine/wine64", f"{NEWER}/wine", "wine64", "wine")
LOADERS_32BIT = ("/usr/lib/wine/wine", "/usr/lib/i386-linux-gnu/wine/wine")
SERVERS = ("/usr/lib/wine/wineserver64", f"{NEWER}/wineserver", "wineserver")


# In a shared prefix, the path of the checkout that it belongs to.
CHECKOUT = "checkout.txt"


def _first(candidates: tuple[str, ...]) -> str | None:
    return next((path for path in map(shutil.which, candidates) if path), None)


def missing(bits32: bool = False) -> list[str]:
    """The packages to install before Wine can run, with its 32-bit part if asked."""
    wine = ["wine", "wine64"] if _first(LOADERS) is None else []
    return [*wine, "wine32:i386"] if bits32 and not runs_32bit() else wine


def runs_32bit() -> bool:
    """Whether Debian's wine32:i386 is here."""
    return any(map(os.path.exists, LOADERS_32BIT))


def loader() -> str:
    """The program that starts Windows programs."""
    need_packages(missing())
    if (found := _first(LOADERS)) is None:
        fail("Wine was installed, yet there is none of: " + ", ".join(LOADERS))
    return found


def environ(prefix: Path) -> dict[str, str]:
    """What a program needs to run under Wine, beside the user's environment."""
    return clean_environ() | {
        "WINEPREFIX": str(prefix),
        "WINEARCH": "win64",
        "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"),
        "WINEDLLOVERRIDES": OVERRIDES,
        # File names are UTF-8, and messages in English, whatever the user speaks.
        "LC_ALL": "C.UTF-8",
    }


def windows_path(path: Path) -> str:
    """How a Windows program names a Linux file."""
    return "Z:" + str(path).replace("/", "\\")


def template() -> Path:
    """A fresh prefix, set up and never run again: the others are copies of it."""
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
    """Windows and messages without an X server, and a start without devices."""
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
    """Copy a prefix. Files are linked, but the registry: Wine writes it in place."""
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
    """The prefix where Windows programs of several ./dev runs of this checkout meet."""
    name = f"shared-{key_of(str(ROOT))}"
    new = not template().with_name(name).exists()
    prefix = _named_prefix(name)
    if new:
        (prefix / CHECKOUT).write_text(str(ROOT))
        _forget_checkouts_that_are_gone(prefix.parent)
    with prefix.with_name(f"{name}.lock").open("a") as lock:
        # The first to come and the last to leave stop what others left behind.
        _stop_if_alone(lock, prefix)
        fcntl.flock(lock, fcntl.LOCK_SH)
        try:
            yield prefix
        finally:
            _stop_if_alone(lock, prefix)


def _forget_checkouts_that_are_gone(folder: Path) -> None:
    """Remove their prefixes, but for those in which programs still run."""
    for note in folder.glob(f"shared-*/{CHECKOUT}"):
        prefix = note.parent
        with (
            prefix.with_name(f"{prefix.name}.lock").open("a") as lock,
            # In use; or another ./dev has just removed it.
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
    """A prefix that no other ./dev run uses at the same time."""
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
            # A run that was killed may have left programs behind.
            stop(prefix)
            try:
                yield prefix
            finally:
                stop(prefix)
            return


def server() -> str:
    """The program that each prefix has one of."""
    found = _first(SERVERS)
    assert found is not None
    return found


def stop(prefix: Path) -> None:
    """End every Windows program of a prefix, and wait for that."""
    env = environ(prefix)
    for option in ("-k", "-w"):
        command = [server(), option]
        subprocess.run(command, env=env, stdin=subprocess.DEVNULL, check=False)
