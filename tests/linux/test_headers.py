"""What winipc/data/include says of Windows is what mingw's headers say."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from conftest import ROOT, Dev, run
from pins import AMD64, X86

FOLDER = ROOT / "winipc" / "data" / "include"
#: Headers of mingw that together declare the same.
MINGW_HEADERS = (
    *("windows.h", "stdint.h", "stddef.h", "stdbool.h", "limits.h", "float.h"),
    *("time.h", "wchar.h", "tchar.h", "inttypes.h", "uchar.h", "lmcons.h"),
)
#: What mingw has not, or not as MSVC has it.
OTHERS = {"VOID", "DATE", "QWORD", "MMRESULT"}
OTHERS |= {"wint_t", "int_fast16_t", "uint_fast16_t"}
#: Print sizes of types, and offsets of fields.
SIZES = """
import json, sys, winipc
types, records, bits = json.loads(sys.argv[1])
text = "#include <windows.h>\\n"
text += "struct all {" + "".join(f"{n} m{i};" for i, n in enumerate(types)) + "};"
layout = winipc.Layout.from_c(text, "all", bits=bits)
told = {f"sizeof({name})": field.size for name, field in zip(types, layout)}
for name in records:
    for field in winipc.Layout.from_c(text, name, bits=bits):
        told[f"__builtin_offsetof({name}, {field.name})"] = field.offset
print(json.dumps(told))
"""


def declared() -> tuple[list[str], list[str], dict[str, str]]:
    """The types, those of them that are structures, and the numbers by name."""
    text = "".join((FOLDER / name).read_text() for name in ("stdint.h", "windows.h"))
    plain = text
    while "{" in plain:
        plain = re.sub(r"\{[^{}]*\}", "<>", plain)
    types, records = set(), set()
    for line in re.findall(r"^typedef .*;$", plain, re.MULTILINE):
        names = re.findall(r"\w+(?=[,;]|\)\()", line)
        if len(set(names)) == 1 and line == f"typedef {names[0]} {names[0]};":
            continue  # of std
        types |= set(names)
        if "<>" in line:
            records.add(re.findall(r"> (\w+)", line)[0])
    numbers = dict(re.findall(r"^#define (\w+) (\w*\d\w*)$", text, re.MULTILINE))
    return sorted(types - OTHERS), sorted(records), numbers


@pytest.mark.parametrize("bits", [64, 32])
def test_our_facts_are_those_of_mingw(dev: Dev, tmp_path: Path, bits: int) -> None:
    """Each size, each offset, each number, asserted by another compiler."""
    gcc = {64: AMD64.gcc, 32: X86.gcc}[bits]
    if shutil.which(gcc) is None:
        pytest.skip(f"no compiler for {bits} bits")
    types, records, numbers = declared()
    assert {"HANDLE", "FILETIME", "__time64_t"} <= set(types)
    assert {"FILETIME", "LARGE_INTEGER", "OVERLAPPED"} <= set(records)
    assert {"MAX_PATH", "UINT32_MAX"} <= numbers.keys()
    told = dev.run("python", "-c", SIZES, json.dumps([types, records, bits]))
    assert told.returncode == 0, told.stderr
    claims = {**json.loads(told.stdout), **numbers}
    lines = [f"#include <{name}>" for name in MINGW_HEADERS]
    lines += [f'_Static_assert({k} == {v}, "{k} is {v}");' for k, v in claims.items()]
    source = tmp_path / "facts.c"
    source.write_text("\n".join(lines))
    # As MSVC, which has 64 bits of time in 32 too.
    flags = ("-std=c11", "-D__MINGW_USE_VC2005_COMPAT", "-fsyntax-only", "-w")
    run(gcc, *flags, source)
