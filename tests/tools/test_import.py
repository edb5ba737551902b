"""What `import winipc` brings along, which every program that uses it waits for."""

from __future__ import annotations

import importlib
import importlib.metadata
import modulefinder
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import winipc
from winipc import cli

#: Each of them takes longer to import than most of winipc.
HEAVY = {"asyncio", "importlib.resources", "rich", "socket", "tempfile", "json"}
HEAVY |= {"platform", "subprocess", "shutil"}

#: Modules whose names are not all names of winipc.
PARTS = {"decoders", "pe"}

#: The most modules of winipc that code imports: some milliseconds each, more under
#: Wine. So many more come from Python's library, in one version of it or another.
MODULES = {
    "import winipc": (2, 0),
    "from winipc import Event": (11, 28),
    "from winipc import SharedMapping": (11, 30),
    "from winipc import send_copydata": (6, 28),
    "from winipc import CopyDataWindow": (13, 35),
    "from winipc import RemoteProcess": (12, 28),
    "from winipc import Channel": (10, 30),
    "from winipc import Sender": (25, 33),
    "from winipc import Sender, Receiver": (28, 55),
    "from winipc import *": (66, 75),
    "import contextlib; from winipc.cli import main\n"
    "with contextlib.suppress(SystemExit): main(['--version'])": (11, 53),
    "from winipc.cli import main; main(['ls', 'no-such-name'])": (14, 54),
    "from winipc.cli import main; main(['ls', '--holders', 'no-such-name'])": (14, 54),
    "from winipc.cli import main; main(['send', '--title', 'no such', 'x'])": (32, 55),
    "from winipc.cli import main; main(['windows', '--title', 'no such'])": (18, 54),
    # With what finds a name that is like it.
    "from winipc.cli import main; main(['dump', 'no-such-name'])": (28, 59),
}


def test_pyinstaller_finds_the_hooks() -> None:
    """By the entry point; without them a frozen program lacks shared_section.dll, and
    the commands if it uses `winipc.cli`.
    """
    (entry,) = (
        entry
        for entry in importlib.metadata.entry_points(group="pyinstaller40")
        if entry.value.startswith("winipc.")
    )
    (folder,) = entry.load()()
    hook = Path(folder, "hook-winipc.py").read_text()
    # What PyInstaller's functions are asked for is there to be found.
    assert 'collect_dynamic_libs("winipc")' in hook
    assert Path(winipc.__path__[0], "shared_section.dll").exists()
    hook = Path(folder, "hook-winipc.cli.py").read_text()
    assert 'collect_submodules("winipc.cli")' in hook


def modules_after(code: str) -> set[str]:
    """What a fresh Python has imported, when it has run `code`."""
    script = f"import site, sys\n{code}\nprint('modules:', *sys.modules)"
    done = subprocess.run(
        # Not from this folder, whose sources have no extension beside them; and without
        # site-packages, so it starts sooner.
        [sys.executable, "-P", "-S", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("modules:")[2].split())


def test_freezers_see_every_import(tmp_path: Path) -> None:
    """They only read the code, so the table of names tells them nothing."""
    program = tmp_path / "program.py"
    program.write_text("import winipc")
    # In a folder with other packages it would follow imports into them.
    others = ["clang", "iced_x86", "IPython", "numpy"]
    folder = str(Path(winipc.__path__[0]).parent)
    finder = modulefinder.ModuleFinder([folder], 0, others)
    finder.run_script(str(program))
    needed = {
        name
        for name in modules_after("from winipc import *")
        if name.partition(".")[0] == "winipc"
    }
    assert len(needed) > 50
    assert needed <= finder.modules.keys(), needed - finder.modules.keys()


@pytest.fixture(scope="module")
def bare() -> set[str]:
    return modules_after("")


@pytest.mark.smoke
@pytest.mark.parametrize("code", MODULES)
def test_few_modules_are_imported(code: str, bare: set[str]) -> None:
    """None that is not needed yet, and above all no slow one."""
    imported = modules_after(code) - bare
    own = {name for name in imported if name.partition(".")[0] == "winipc"}
    assert "winipc._core" in imported
    assert not imported & HEAVY
    most_own, most_others = MODULES[code]
    assert len(own) <= most_own, sorted(own)
    assert len(imported - own) <= most_others, sorted(imported - own)


def test_each_public_name_has_its_home() -> None:
    """The table of names, by which they are imported late, is that of the modules."""
    for home, names in winipc._NAMES.items():
        module = importlib.import_module(f"winipc.{home}")
        package = importlib.import_module(module.__name__.rpartition(".")[0])
        assert home in PARTS or names.split() == sorted(module.__all__)
        for name in names.split():
            assert getattr(winipc, name) is getattr(module, name)
            assert name in package.__all__
            assert getattr(package, name) is getattr(module, name)
    assert set(winipc.__all__) <= set(dir(winipc))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        winipc.nothing  # noqa: B018
    with pytest.raises(AttributeError, match=r"'winipc\.memory' has no"):
        winipc.memory.nothing  # noqa: B018


def test_a_package_is_as_if_it_had_imported_its_modules() -> None:
    """Its modules are attributes, `import *` brings its names, and dir() has both."""
    script = """if True:
        import winipc.memory
        assert winipc.memory.layout.__name__ == "winipc.memory.layout"
        assert {"mapping", "SharedMapping"} <= set(dir(winipc.memory))
        from winipc.memory import *
        assert set(winipc.memory.__all__) <= set(globals())
    """
    imported = modules_after(script)
    assert "winipc.memory.locked" in imported
    assert "winipc.message" not in imported


@pytest.mark.parametrize("module", cli._MODULES)
def test_each_command_is_found_in_its_module(module: str) -> None:
    """A command imports the module that it is in, and no other."""
    for command in cli._COMMANDS.get(module, (module,)):
        _, commands = cli._parser(command)
        assert set(commands) == set(cli._COMMANDS.get(module, (module,)))
    assert len(cli._parser("no-such-command")[1]) > len(cli._MODULES)


@pytest.mark.smoke
def test_an_interpreter_with_its_own_gil_has_it_too() -> None:
    """Each has a state of its own, and what they share Windows guards."""
    interpreters = pytest.importorskip("_interpreters")
    code = """if True:
        import threading, winipc
        def work():
            with winipc.CopyDataWindow.create("") as window:
                for _ in range(100):
                    assert winipc.send_copydata(window, b"data", timeout=30) == 1
                    assert bytes(window.receive(30)) == b"data"
            with winipc.SharedMapping.create(None, 4096) as mapping:
                lock = winipc.SharedLock(mapping, 0)
                with lock:
                    mapping[100:104] = b"data"
                lock.close()
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    numbers = [interpreters.create("isolated") for _ in range(2)]
    failures: list[object] = []
    threads = [
        threading.Thread(
            target=lambda number=number: failures.append(
                interpreters.exec(number, code)
            )
        )
        for number in numbers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in numbers:
        interpreters.destroy(number)
    assert failures == [None, None]
