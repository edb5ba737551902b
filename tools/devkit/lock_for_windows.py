"""Print a lock file for one Python: lock_for_windows.py FILE 3.13 AMD64

pip evaluates environment markers for the Python on which it runs, even with --platform.
So this script evaluates them, and leaves them out. It runs in the host's virtual
environment, which has `packaging`.
"""

import re
import sys
from pathlib import Path

from packaging.markers import Marker

ENTRY = re.compile(r"^(?P<pin>[^\s;#]+)(?: ; (?P<marker>.*?))?(?P<rest> \\)?$")


def for_windows(text: str, version: str, machine: str = "AMD64") -> list[str]:
    """The lines of `text` for Windows with this Python and processor."""
    environment = {
        "implementation_name": "cpython",
        "os_name": "nt",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_system": "Windows",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "win32",
    }
    lines: list[str] = []
    wanted = False
    for line in text.splitlines():
        if entry := ENTRY.match(line):
            marker = entry["marker"]
            wanted = marker is None or Marker(marker).evaluate(environment)
            line = entry["pin"] + (entry["rest"] or "")
        if wanted and not line.lstrip().startswith("#"):
            lines.append(line)
    return lines


if __name__ == "__main__":
    lock, version, machine = sys.argv[1:]
    print("\n".join(for_windows(Path(lock).read_text("utf-8"), version, machine)))
