"""winipc.pe from Linux: binutils as witness, and linking with mingw.

It is plain Python, so it is loaded here without the package, which needs Windows.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pefile
import pytest
from conftest import ROOT, run

VARIABLES = {"MySharedData": (4096, b"from Python"), "counter": (4, b"\x02")}
MINGW = "x86_64-w64-mingw32-"


def load_writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pe", ROOT / "winipc" / "pe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses looks for it
    spec.loader.exec_module(module)
    return module


pe = load_writer()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder with shared.dll, its .def, and an import library made of that."""
    name = "shared.dll"
    definition = tmp_path / "shared.def"
    (tmp_path / name).write_bytes(pe.section_dll_bytes(VARIABLES, name=name))
    definition.write_bytes(pe.definition_bytes(VARIABLES, name=name))
    run(MINGW + "dlltool", "-d", definition, "-l", tmp_path / "shared.lib")
    return tmp_path


@pytest.mark.parametrize("machine", ["amd64", "x86"])
def test_objdump_reads_the_dll(tmp_path: Path, machine: str) -> None:
    """binutils finds the exports and the flags that were asked for."""
    path = tmp_path / "shared.dll"
    path.write_bytes(pe.section_dll_bytes(VARIABLES, name=path.name, machine=machine))
    headers = run("objdump", "-p", path)
    for line in ("DLL", "DYNAMIC_BASE", "NX_COMPAT", "shared.dll", "counter"):
        assert line in headers
    assert "MySharedData" in headers
    sections = run("objdump", "-h", path)
    assert ".MYSEC" in sections
    assert "SHARED" in sections


DRIVER = """
import subprocess, sys
from winipc import SharedSection

dll, program = sys.argv[1:]
with SharedSection.load(dll) as section, section.variable("counter") as counter:
    section.write(b"before the C program\\0")
    child = subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "before the C program\\n"
    assert child.stdout.readline() == "changed\\n"
    assert section[:7] == b"linked\\0", section[:7]
    assert counter.get(0, "i32") == 42
    child.communicate("end\\n", timeout=60)
    assert child.returncode == 0
print("shared")
"""


def test_a_c_program_links_by_the_definition(built: Path) -> None:
    """What dlltool makes of the .def imports the data, which winipc shares."""
    program = built / "linked.exe"
    source = ROOT / "tests" / "native" / "section_linked.c"
    flags = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-static-libgcc")
    run(MINGW + "gcc", *flags, source, built / "shared.lib", "-o", program)
    imports = pefile.PE(str(program)).DIRECTORY_ENTRY_IMPORT
    [mine] = [entry for entry in imports if entry.dll == b"shared.dll"]
    assert sorted(item.name for item in mine.imports) == [b"MySharedData", b"counter"]
    paths = [f"Z:{path}".replace("/", "\\") for path in (built / "shared.dll", program)]
    (built / "driver.py").write_text(DRIVER)
    output = run(
        ROOT / "dev", "python", f"Z:{built}/driver.py", *paths, cwd=built, timeout=600
    )
    assert "shared" in output.splitlines()
