"""What `import winipc` brings along, which every program that uses it waits for."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Each of them takes longer to import than most of winipc.
HEAVY = {"asyncio", "importlib.resources", "rich", "socket", "tempfile"}


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
