"""The C programs of the guides are compiled as they stand, and run against Python."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import msvc
import pytest
from conftest import ROOT, Dev, compiled, run
from peers import FLAGS, LIBRARIES
from pins import AMD64

C_BLOCK = re.compile(r"^```c\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON_BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
TEXT_BLOCK = re.compile(r"^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
GUIDE = ROOT / "docs" / "c-layouts.md"

#: The kind comes as one more argument, and so it goes to the program of the guide.
SNAPSHOT = """
import subprocess, sys, winipc
program, name, *more = sys.argv[1:]
kind = more[0] if more else "seqlock"
size = winipc.Snapshot.needed(24, kind=kind)
with winipc.SharedMapping.create(name, size) as mapping:
    with winipc.Snapshot.over(mapping, 24, kind=kind) as snapshot:
        for text in ("first", "second", "third"):
            subprocess.run([program, name, text, *more], check=True)
            print(snapshot.read(5).rstrip(b"\\0").decode())
"""


READ_IN_C = """
import subprocess, sys, winipc
program, name, *more = sys.argv[1:]
kind = more[0] if more else "seqlock"
size = winipc.Snapshot.needed(24, kind=kind)
with winipc.SharedMapping.create(name, size) as mapping:
    with winipc.Snapshot.over(mapping, 24, kind=kind) as snapshot:
        argv = [program, name, *more]
        reader = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        for text in ("first", "second"):
            snapshot.write(text.encode().ljust(24, b"\\0"))
            print(reader.stdout.readline().strip())
        for number in range(20_000):
            snapshot.write(b"%c" % (97 + number % 26) * 24)
        snapshot.write(b"last".ljust(24, b"\\0"))
        rest = reader.communicate()[0].split()
        print(all(line == line[0] * 24 for line in rest[:-1]), rest[-1], reader.wait())
"""


CHANGES = """
import subprocess, sys, threading, winipc
program, name = sys.argv[1:]
with winipc.LockedMapping.create(name, 24) as mapping:
    with winipc.SharedMapping.open(name + ".changes") as changes:
        changes.write((7).to_bytes(4, "little"), 16 + 4 * 251)  # of one that died
        woken = []
        def wait():
            woken.append(mapping.wait_for_change(30))
        thread = threading.Thread(target=wait)
        thread.start()
        while not any(changes.read(4, 16)):
            pass
        subprocess.run([program, name, "from C"], check=True)
        thread.join()
        print(woken, mapping.changes, mapping.read(6).decode())
        print(any(changes.read(8, 8)), any(changes.read(4, 16 + 4 * 251)))
"""


WAIT_IN_C = """
import subprocess, sys, winipc
program, name = sys.argv[1:]
with winipc.LockedMapping.create(name, 24) as mapping:
    with winipc.SharedMapping.open(name + ".changes") as changes:
        waiter = subprocess.Popen([program, name], stdout=subprocess.PIPE, text=True)
        for text in ("first", "second", "last"):
            while not any(changes.read(4, 16)):
                pass
            with mapping.lock:
                mapping.write(b"half of it")
                mapping.notify_change()
                # It wakes, gives its slot back, and waits for the lock.
                while any(changes.read(4, 16)):
                    pass
                mapping.write(text.encode().ljust(24, b"\\0"))
            print(waiter.stdout.readline().strip())
        print(waiter.wait(), any(changes.read(252 * 4, 16)))
"""


def programs() -> Iterator[tuple[str, str]]:
    """A name for each block that is a whole program, and its text."""
    for path in sorted((ROOT / "docs").glob("*.md")):
        for number, block in enumerate(C_BLOCK.findall(path.read_text("utf-8")), 1):
            if "int main(" in block:
                yield f"{path.stem}-{number}", block


def c_program(sources: list[Path], program: Path) -> Path:
    """Build a Windows program of sources in its folder, by names that stay the same."""
    flags = [flag.replace("-Iinclude", f"-I{ROOT}/include") for flag in FLAGS]
    options = {"libraries": LIBRARIES, "cwd": program.parent}
    return compiled(AMD64.gcc, sources, program, *flags, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each of them as a Windows program."""
    folder = tmp_path_factory.mktemp("docs")
    found = {}
    for name, text in programs():
        source = Path(f"{name}.c")
        (folder / source).write_text(text, "utf-8")
        found[name] = c_program([source], folder / f"{name}.exe")
    return found


def test_all_programs_compile(built: dict[str, Path]) -> None:
    """Without a warning."""
    numbers = range(1, 5)
    assert {"channel-1", *(f"c-layouts-{one}" for one in numbers)} <= set(built)


def test_the_complete_peer_does_what_the_guide_says(
    dev: Dev, built: dict[str, Path]
) -> None:
    """Both sides are those of the guide, and so is what they print."""
    guide = GUIDE.read_text("utf-8")
    script = PYTHON_BLOCK.findall(guide)[0] + "import sys\nmain(*sys.argv[1:])\n"
    name = f"winipc-docs-{uuid.uuid4().hex}"
    done = dev.run("python", "-c", script, f"Z:{built['c-layouts-1']}", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout == TEXT_BLOCK.findall(guide)[0]


@pytest.mark.parametrize("target", msvc.TARGETS)
def test_all_programs_compile_as_msvc(
    built: dict[str, Path], tmp_path: Path, target: str
) -> None:
    """For 32 bits too: structures assert their offsets."""
    if msvc.missing():
        pytest.skip("no compiler with MSVC's ABI")
    sources = [tmp_path / f"{name}.c" for name in built]
    for source, (_, text) in zip(sources, programs(), strict=True):
        source.write_text(text, "utf-8")
    lax = ("-Wno-deprecated-declarations",)  # strncpy
    run(*msvc.compiler(target), "/std:c11", "/Zs", *lax, "--", *sources)


@pytest.mark.parametrize("kind", [(), ("double",)], ids=["seqlock", "double"])
def test_records_written_in_c_are_read_whole(
    dev: Dev, built: dict[str, Path], kind: tuple[str, ...]
) -> None:
    name = f"winipc-docs-{uuid.uuid4().hex}"
    done = dev.run("python", "-c", SNAPSHOT, f"Z:{built['c-layouts-2']}", name, *kind)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["first", "second", "third"]


@pytest.mark.parametrize("kind", [(), ("double",)], ids=["seqlock", "double"])
def test_records_written_by_python_are_read_whole(
    dev: Dev, built: dict[str, Path], kind: tuple[str, ...]
) -> None:
    name = f"winipc-docs-{uuid.uuid4().hex}"
    done = dev.run("python", "-c", READ_IN_C, f"Z:{built['c-layouts-3']}", name, *kind)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["first", "second", "True last 0"]


def test_changes_told_in_c_wake_python(dev: Dev, built: dict[str, Path]) -> None:
    """The layout is that of the guide: the waiter wakes, and a dead one's slot goes."""
    name = f"winipc-docs-{uuid.uuid4().hex}"
    done = dev.run("python", "-c", CHANGES, f"Z:{built['c-layouts-4']}", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[True] 1 from C", "False False"]


def test_changes_told_by_python_wake_c(dev: Dev, built: dict[str, Path]) -> None:
    """It takes the lock of Python: what Python writes under it is whole."""
    name = f"winipc-docs-{uuid.uuid4().hex}"
    done = dev.run("python", "-c", WAIT_IN_C, f"Z:{built['c-layouts-4']}", name)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["first", "second", "last", "0 False"]


TWO_FILES = {
    "one.c": """
#include <stdio.h>
#include "winipc.h"
int other(winipc_lock *lock, uint64_t *me);
int main(void)
{
    static winipc_lock_word word;
    winipc_lock lock;
    uint64_t me;
    int taken, again;
    winipc_lock_attach(&lock, &word, NULL);
    taken = winipc_lock_acquire(&lock, 0);
    again = other(&lock, &me);
    printf("%d %d %d\\n", taken, again, me == winipc_lock_os_me());
    return 0;
}
""",
    "two.c": """
#include "winipc.h"
int other(winipc_lock *lock, uint64_t *me);
int other(winipc_lock *lock, uint64_t *me)
{
    *me = winipc_lock_os_me();
    return winipc_lock_acquire(lock, 0);
}
""",
}


FIBERS = {
    "fibers.c": """
#include <stdio.h>
#include "winipc.h"
static winipc_lock_word words[2];
static winipc_lock locks[2];
static int seen[3];
static void *first;
static void CALLBACK run(void *arg)
{
    (void)arg;
    seen[0] = winipc_lock_acquire(&locks[0], 0) == WINIPC_TIMEOUT;
    seen[1] = winipc_lock_acquire(&locks[1], 0) == WINIPC_OK;
    SwitchToFiber(first);
}
int main(void)
{
    void *second;
    first = ConvertThreadToFiber(NULL);
    winipc_lock_attach(&locks[0], &words[0], NULL);
    winipc_lock_attach(&locks[1], &words[1], NULL);
    winipc_lock_acquire(&locks[0], 0);
    winipc_lock_release(&locks[0]);
    winipc_lock_acquire(&locks[0], 0);
    second = CreateFiber(0, run, NULL);
    SwitchToFiber(second);
    DeleteFiber(second);
    seen[2] = winipc_lock_acquire(&locks[1], 0) == WINIPC_ABANDONED;
    printf("%d %d %d\\n", seen[0], seen[1], seen[2]);
    return 0;
}
"""
}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(TWO_FILES, "0 0 1", id="a thread, in two files"),
        pytest.param(FIBERS, "1 1 1", id="each of two fibers of a thread"),
    ],
)
def test_an_owner_of_locks_is(
    dev: Dev, tmp_path: Path, files: dict[str, str], said: str
) -> None:
    """What one file locks, another locks once more; fibers keep each other out."""
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    program = tmp_path / "owner.exe"
    c_program([Path(name) for name in files], program)
    script = "import subprocess, sys; subprocess.run(sys.argv[1:], check=True)"
    ran = dev.run("python", "-c", script, f"Z:{program}")
    assert ran.stdout.strip() == said, ran.stderr
