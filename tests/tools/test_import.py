"""What `import winipc` brings along, which every program that uses it waits for."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import winipc

#: Each of them takes longer to import than most of winipc.
HEAVY = {"asyncio", "importlib.resources", "rich", "socket", "tempfile"}


def test_pyinstaller_finds_the_hook() -> None:
    """By the entry point; without it a frozen program lacks shared_section.dll."""
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


@pytest.mark.smoke
@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        pytest.param(
            "import winipc", HEAVY | {"json", "platform", "subprocess"}, id="package"
        ),
        pytest.param("import winipc.cli", HEAVY, id="command line"),
    ],
)
def test_nothing_heavy_is_imported(code: str, heavy: set[str]) -> None:
    """Not before something needs it."""
    script = f"import sys; before = set(sys.modules); {code}; "
    script += "print(*sorted(set(sys.modules) - before))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = set(done.stdout.split())
    assert "winipc._core" in imported
    assert not imported & heavy


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
