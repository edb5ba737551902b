"""The entry point pyinstaller40, which tells PyInstaller where the hook is."""

import os


def get_hook_dirs() -> list[str]:
    """The folder of hook-winipc.py. Win32: none."""
    return [os.path.dirname(__file__)]
