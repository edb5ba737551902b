"""winipc.pe from Linux: binutils as witness, linking with mingw, and fuzzing.

The writer is plain Python, so it is loaded here without the package, which needs
Windows. The parser is plain C, so it runs here under sanitizers.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pefile
import pytest
from conftest import ROOT, run

SECONDS = int(os.environ.get("WINIPC_FUZZ_SECONDS") or 20)
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
    assert counter.get_i32(0) == 42
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


# -------------------------------------------------------------------- fuzzing

FUZZ = ROOT / "tests" / "fuzz" / "fuzz_pe_image.c"
PARSER = ROOT / "csrc" / "section" / "pe_image.c"
STRICT = ("-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Werror")


def seeds(folder: Path) -> list[Path]:
    """Sound DLLs, as files and as the loader lays them out."""
    folder.mkdir()
    for machine in ("amd64", "x86"):
        data = pe.section_dll_bytes(VARIABLES, machine=machine)
        (folder / f"{machine}.file").write_bytes(data)
        image = bytearray(pefile.PE(data=data).get_memory_mapped_image())
        (folder / f"{machine}.mapped").write_bytes(image)
        # A name that is longer than any buffer, and runs into the image's end.
        struct.pack_into("<I", image, 0x1000 + 40 + 4 * len(VARIABLES), len(image))
        (folder / f"{machine}.name").write_bytes(image + b"A" * 9000)
    return sorted(folder.iterdir())


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no native gcc")
def test_the_parser_survives_damage_under_sanitizers(tmp_path: Path) -> None:
    """Address and undefined-behaviour sanitizers watch thousands of damaged images."""
    program = tmp_path / "torture"
    sanitize = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    run("gcc", *STRICT, *sanitize, "-DWI_FUZZ_MAIN", FUZZ, PARSER, "-o", program)
    output = run(program, 10_000, 7, *seeds(tmp_path / "seeds"))
    assert output == "survived\n"


def test_the_parser_survives_libfuzzer(tmp_path: Path) -> None:
    """Inputs that reach new code are kept and changed further."""
    program = tmp_path / "fuzz"
    sanitize = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all")
    built = (
        subprocess.run(
            ["clang", *STRICT, *sanitize, str(FUZZ), str(PARSER), "-o", str(program)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if shutil.which("clang")
        else None
    )
    if built is None or "libclang_rt" in built.stderr:
        pytest.skip("no clang with libFuzzer here (Debian: libclang-rt-14-dev)")
    assert built.returncode == 0, built.stderr
    corpus = seeds(tmp_path / "seeds")[0].parent
    options = (f"-max_total_time={SECONDS}", "-max_len=16384", "-timeout=10")
    run(program, *options, corpus, cwd=tmp_path, timeout=SECONDS + 300)
