"""PyInstaller's hook: the modules of the commands, which `winipc.cli` finds by name."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("winipc.cli")
