"""Debian's Chromium, for tests of pages."""

import shutil
from ctypes.util import find_library

from base import fail, need_packages

PROGRAM = "chromium"


def missing_chromium() -> list[str]:
    """The packages that Chromium and the tests that drive it need."""
    missing = [] if shutil.which(PROGRAM) else [PROGRAM, "fonts-dejavu-core"]
    if find_library("atomic") is None:
        missing.append("libatomic1")  # for the Node.js in Playwright
    return missing


def chromium() -> str:
    """The path of the browser, in the version that Debian has."""
    need_packages(missing_chromium())
    if (found := shutil.which(PROGRAM)) is None:
        fail(f"{PROGRAM} was installed, yet is not on the path")
    return found
