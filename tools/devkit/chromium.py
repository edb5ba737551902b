"""Debian's Chromium, in which tests look at pages."""

import shutil

from base import fail, need_packages

PROGRAM = "chromium"


def missing_chromium() -> list[str]:
    """The packages to install before Chromium can run and write text."""
    return [] if shutil.which(PROGRAM) else [PROGRAM, "fonts-dejavu-core"]


def chromium() -> str:
    """The path of the browser; its version is what Debian's security team keeps."""
    need_packages(missing_chromium())
    if (found := shutil.which(PROGRAM)) is None:
        fail(f"{PROGRAM} was installed, yet is not on the path")
    return found
