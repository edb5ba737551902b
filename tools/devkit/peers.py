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
    scratch_folder,
)
from pins import AMD64, Machine
from wheels import cross_environ
from winpython import missing_mingw

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


def c_peers(machine: Machine = AMD64) -> Path:
    """The folder with the programs of all C peers of this checkout."""
    sources = sorted(
        str(path.relative_to(ROOT)) for path in ROOT.glob("tests/*/peers/*.[ch]")
    )
    key = key_of_tree(ROOT, [*sources, "include"])
    folder = BUILD / f"peers-{machine.platform}-{key}"
    if not folder.exists():
        need_packages(missing_mingw(machine))
        with locked(
            BUILD / f"peers-{machine.platform}.lock", "the build of the C peers"
        ):
            if not folder.exists():
                say(f"building the C peers for {machine.platform}")
                old = list(BUILD.glob(f"peers-{machine.platform}-*"))
                with new_folder(folder) as part:
                    _build(part, machine)
                for path in old:
                    remove(path)
    return folder


def _build(target: Path, machine: Machine) -> None:
    # With the dependencies of the compiler, ccache preprocesses nothing itself.
    env = cross_environ(machine) | {"CCACHE_DEPEND": "1"}
    with scratch_folder(BUILD) as folder:
        for source in sorted(ROOT.glob("tests/*/peers/*.c")):
            compiled = folder / f"{source.stem}.o"
            gcc = ["ccache", machine.gcc, *FLAGS, "-MD"]
            run([*gcc, "-c", source, "-o", compiled], cwd=ROOT, env=env)
            program = target / f"{source.stem}.exe"
            run([machine.gcc, "-static-libgcc", compiled, "-o", program, *LIBRARIES])
