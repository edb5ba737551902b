"""Debian's Chromium, in which tests look at pages."""

import shutil
from ctypes.util import find_library

from base import fail, need_packages

PROGRAM = "chromium"


def missing_chromium() -> list[str]:
    """The packages to install before tests can drive Chromium, and it write text."""
    missing = [] if shutil.which(PROGRAM) else [PROGRAM, "fonts-dejavu-core"]
    if find_library("atomic") is None:
        missing.append("libatomic1")  # of the Node.js in Playwright
    return missing


def chromium() -> str:
    """The path of the browser; its version is what Debian's security team keeps."""
    need_packages(missing_chromium())
    if (found := shutil.which(PROGRAM)) is None:
        fail(f"{PROGRAM} was installed, yet is not on the path")
    return found
