"""What PyInstaller asks a package: where its hook is (entry point pyinstaller40)."""

import os


def get_hook_dirs() -> list[str]:
    """The folder of hook-winipc.py. Win32: none."""
    return [os.path.dirname(__file__)]
