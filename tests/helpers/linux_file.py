"""Files that fail under their mapping, as only another system can have them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.deadlines import DEADLINE


class LinuxFile:
    """A file that Linux can cut short while Wine has it mapped."""

    def __init__(self, name: str) -> None:
        self.path = Path("Z:/dev/shm", name)
        self.linux_path = f"/dev/shm/{name}"

    def cut(self, size: int) -> None:
        """Set the file's size behind the back of Wine, which would refuse to."""
        subprocess.run(
            [
                "start.exe",
                "/unix",
                "/usr/bin/truncate",
                "-s",
                str(size),
                self.linux_path,
            ],
            check=True,
            timeout=DEADLINE,
        )
        deadline = time.monotonic() + DEADLINE
        while self.path.stat().st_size != size:  # start.exe does not wait for it
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def linux_file(unique_name: str) -> Iterator[LinuxFile]:
    """The file, which is made by the test and deleted after it."""
    if not Path("Z:/dev/shm").exists():
        pytest.skip("only under Wine is there another system to cut a file short")
    file = LinuxFile(unique_name)
    yield file
    file.path.unlink(missing_ok=True)
