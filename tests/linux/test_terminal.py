"""What commands draw on a real terminal, tmux: below earlier lines, at all widths."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
import uuid
from collections.abc import Iterator

import pytest
from conftest import DEADLINE, ROOT, Dev, run

EARLIER = [f"earlier line {number}" for number in range(1, 31)]
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
WIDTHS = [64, 100, 160]
HEIGHT = 20

HOLDER = """
import struct, sys, time
from winipc import SharedMapping
with SharedMapping.create(sys.argv[1], 4096) as mapping:
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        mapping.write(struct.pack("<I", number))
        time.sleep(0.01)
"""

SCANS_ITSELF = """
import os, sys
from winipc import GlobalMemory
from winipc.cli import main
text = "".join(map(chr, range(65, 91)))
memory = GlobalMemory.allocate(64 << 20)
for place in range(3):
    memory.write(text.encode(), place << 20)
words = ["--type", "text", "--limit", "3", "--protection", "rw"]
status = main(["scan", str(os.getpid()), text, *words])
print("places", [hex(memory.address + (place << 20)) for place in range(3)])
sys.exit(status)
"""

WIDE = """
from winipc.cli.output import print_table
print_table(
    ("base", "name", "prot", "size", "committed"),
    [
        ("0x7ff6a0001000", "漢字" * 40, "rw- r-- rwx+", 123456789, 123456789),
        ("0x1", "\\N{GRINNING FACE} ab", "rw-", 7, 8),
    ],
    right=("base", "size", "committed"),
    styles=["bold red", ""],
)
"""


ENDS = """
import atexit, ctypes, msvcrt, os
from winipc.cli.terminal import console
kernel32, handle = ctypes.WinDLL("kernel32"), ctypes.c_void_p(msvcrt.get_osfhandle(1))
def state():
    mode = ctypes.c_ulong()
    assert kernel32.GetConsoleMode(handle, ctypes.byref(mode))
    buffer = (ctypes.c_short * 11)()
    assert kernel32.GetConsoleScreenBufferInfo(handle, buffer)
    return mode.value, buffer[0], buffer[1], os.get_terminal_size()
before = state()
atexit.register(lambda: print("as before:", before == state()))
console()
print("as before:", before == state())
"""


class Screen:
    """A terminal of tmux with lines on it, in which commands run."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._tmux = ["tmux", "-L", f"winipc-test-{uuid.uuid4().hex}"]
        size = ["-x", str(width), "-y", str(HEIGHT)]
        shell = "PS1= exec sh -i"
        options = ["-f", "/dev/null", "new-session", "-d", *size, shell]
        # Without the COLUMNS that readline has put into the environment in C.
        run(*self._tmux, *options, cwd=ROOT, env=dict(os.environ))

    def run(self, *command: str, until: str = "") -> list[str]:
        """All lines of the terminal, with colours, when the command has ended.

        Ctrl+C ends it once `until` is on the screen.
        """
        tmux = shlex.join(self._tmux)
        show = "; ".join(f"echo {shlex.quote(line)}" for line in EARLIER)
        line = f"clear; {show}; ./dev {shlex.join(command)}; {tmux} wait-for -S ended"
        line = f"trap : INT; {line}"  # Ctrl+C is for the command
        folder = ROOT / "build" / "reports"
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / f"terminal-{uuid.uuid4().hex}"
        script.write_text(line)
        run(*self._tmux, "send-keys", f" . build/reports/{script.name}", "Enter")
        if until:
            deadline = time.monotonic() + DEADLINE
            while until not in "\n".join(self._lines()):
                assert time.monotonic() < deadline, self._lines()
                time.sleep(0.05)
            run(*self._tmux, "send-keys", "C-c")
        run(*self._tmux, "wait-for", "ended", timeout=DEADLINE)
        script.unlink()
        return self._lines()

    def _lines(self) -> list[str]:
        shown = run(*self._tmux, "capture-pane", "-p", "-e", "-S", "-")
        return [line.rstrip() for line in shown.splitlines()]

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], check=False, capture_output=True)


@pytest.fixture(params=WIDTHS)
def screen(request: pytest.FixtureRequest, prefix: None) -> Iterator[Screen]:
    screen = Screen(request.param)
    yield screen
    screen.close()


@pytest.fixture(scope="module")
def counting(prefix: None) -> Iterator[str]:
    """The name of a mapping whose first number goes up."""
    dev, name = Dev(), f"winipc-test-{uuid.uuid4().hex}"
    holder = dev.start("python", "-c", HOLDER, name)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "ready\n"
    yield name
    dev.reap()


def below(lines: list[str]) -> list[str]:
    """The lines, without colours, after those that were there before."""
    plain = [ESCAPES.sub("", line) for line in lines]
    at = plain.index(EARLIER[0])
    assert plain[at : at + len(EARLIER)] == EARLIER
    return [line for line in plain[at + len(EARLIER) :] if line]


def test_dump_follows_in_place(screen: Screen, counting: str) -> None:
    """One picture is left, its changes marked in a colour that can be read."""
    words = ("dump", counting, "--size", "64", "--follow", "--count", "12")
    lines = screen.run("python", "-m", "winipc", *words)
    rows = [line.split()[0] for line in below(lines) if line.startswith("0000")]
    assert rows == [f"{at:08x}" for at in range(0, 64, 8 if screen.width < 76 else 16)]
    assert "\x1b[30m\x1b[103m" in "".join(lines)


def test_ctrl_c_leaves_the_last_picture_in_place(screen: Screen, counting: str) -> None:
    """The terminal itself echoes ^C, where the cursor is."""
    words = ("dump", counting, "--size", "64", "--follow")
    lines = below(screen.run("python", "-m", "winipc", *words, until="00000030"))
    rows = [line for line in lines if "0000" in line]
    assert [line[:8] for line in rows] == [
        f"{at:08x}" for at in range(0, 64, 8 if screen.width < 76 else 16)
    ]


def test_results_of_a_scan_stay_above_its_bar(screen: Screen) -> None:
    lines = below(screen.run("python", "-c", SCANS_ITSELF))
    found = [int(line, 16) for line in lines if line.startswith("0x")]
    text = " ".join(lines)
    assert len(found) == len(set(found)) == 3, text
    assert "3 found in" in text
    assert "scanning" not in text


def test_tables_break_no_number_and_count_wide_characters(screen: Screen) -> None:
    lines = screen.run("python", "-c", WIDE)
    first, second = (line.split() for line in below(lines) if "0x" in line)
    assert (first[0], *first[-2:]) == ("0x7ff6a0001000", *["123,456,789"] * 2)
    assert (second[0], *second[-2:]) == ("0x1", "7", "8")
    assert sum("漢" in line for line in lines) > 1
    assert {"\x1b[1m", "\x1b[31m"} <= set(ESCAPES.findall("".join(lines)))


def test_the_console_is_left_as_it_was(screen: Screen) -> None:
    lines = below(screen.run("python", "-c", ENDS))
    assert lines[-2:] == ["as before: False", "as before: True"]
