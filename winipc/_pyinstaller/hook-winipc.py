"""PyInstaller's hook: the files of the package that no import statement names."""

from PyInstaller.utils.hooks import collect_data_files, collect_dynamic_libs

binaries = collect_dynamic_libs("winipc")  # shared_section.dll
datas = collect_data_files("winipc")
