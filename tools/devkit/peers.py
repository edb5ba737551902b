"""The C programs that tests talk to: each tests/*/peers/*.c is one program."""

from pathlib import Path

from base import (
    BUILD,
    ROOT,
    key_of_tree,
    locked,
    need_packages,
    new_folder,
    remove,
    run,
    say,
)
from winpython import MINGW, missing_mingw

FLAGS = (
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-static-libgcc",
    "-Iinclude",
)
LIBRARIES = ("-luser32", "-lgdi32", "-ladvapi32", "-lntdll")


def c_peers() -> Path:
    """The folder with a program for each C peer of the checkout as it is now."""
    folders = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/*/peers"))
    folder = BUILD / f"peers-{key_of_tree(ROOT, [*folders, 'include'])}"
    if not folder.exists():
        need_packages(missing_mingw())
        with locked(BUILD / "peers.lock", "the build of the C peers"):
            if not folder.exists():
                say("building the C peers")
                old = list(BUILD.glob("peers-*"))
                with new_folder(folder) as part:
                    _build(part)
                for path in old:
                    remove(path)
    return folder


def _build(target: Path) -> None:
    for source in sorted(ROOT.glob("tests/*/peers/*.c")):
        program = target / f"{source.stem}.exe"
        run([MINGW + "gcc", *FLAGS, source, "-o", program, *LIBRARIES], cwd=ROOT)
