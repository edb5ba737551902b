"""Random structures: the compiler, the record, ctypes and NumPy make the same bytes.

mingw compiles the structures with values in them, for 64 and 32 bits; the bytes are in
its object files. Windows Python lays the same text out and packs the same values.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path
from typing import Any

import pytest
from conftest import FULL, Dev, run
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pins import AMD64, X86

#: C types and the bits of their values; negative for signed ones.
INTEGERS = {
    **{"signed char": -8, "uint8_t": 8, "short": -16, "unsigned short": 16},
    **{"int": -32, "uint32_t": 32, "long": -32, "int64_t": -64, "uint64_t": 64},
}
#: The one that a field has in C, and its value in Python and in C.
Member = tuple[str, Any, str]

#: Lays out the header and compares with the bytes of the compiler.
COMPARE = """
import ctypes, json, sys
import numpy as np, winipc
header, bits, cases = json.load(sys.stdin)

def plain(values, layout):
    # Without bit-fields, which NumPy does not have.
    if isinstance(values, list):
        return [plain(item, layout) for item in values]
    return {
        name: plain(value, layout[name].kind) if type(layout[name].kind) is not str
        else value
        for name, value in values.items() if layout[name].bits is None
    }

def same(seen, values):
    # Members of unions that were given no value are seen, too.
    if isinstance(values, dict):
        return all(same(seen[name], value) for name, value in values.items())
    if isinstance(values, list):
        return len(seen) == len(values) and all(map(same, seen, values))
    return seen == values

def fill_ctypes(target, value):
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, (dict, list)):
                fill_ctypes(getattr(target, name), item)
            else:
                kind = getattr(type(getattr(target, name)), "__name__", "")
                setattr(target, name, item.encode() if isinstance(item, str)
                        and kind == "bytes" else item)
        return
    for index, item in enumerate(value):
        if isinstance(item, (dict, list)):
            fill_ctypes(target[index], item)
        elif isinstance(item, str):
            narrow = isinstance(target[index].value, bytes)
            target[index].value = item.encode() if narrow else item
        else:
            target[index] = item

def fill_numpy(target, value):
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, (dict, list)):
                fill_numpy(target[name], item)
            elif isinstance(item, str):
                put_text(target[name], item)
            else:
                target[name] = item
        return
    for index, item in enumerate(value):
        part = target[:, index]
        if isinstance(item, (dict, list)):
            fill_numpy(part, item)
        elif isinstance(item, str):
            put_text(part, item)
        else:
            part[...] = item

def put_text(target, text):
    if target.dtype.kind == "S":
        target[...] = text.encode()
    else:
        target[:, : len(text)] = list(map(ord, text))

for name, values, size, offsets, data in cases:
    layout = winipc.Layout.from_c(header, name, bits=bits)
    data = bytes.fromhex(data)
    assert layout.size == size, (name, "size", layout.size, size)
    told = {field.name: field.offset for field in layout if field.bits is None}
    assert {k: told[k] for k in offsets} == offsets, (name, told, offsets)
    packed = layout.pack(values)
    assert packed == data, (name, values, packed.hex(), data.hex())
    record = layout.unpack(data)
    assert same(record.as_dict(), values), (name, record, values)
    instance = layout.ctypes_type()
    fill_ctypes(instance, values)
    assert bytes(instance) == data, (name, "ctypes", bytes(instance).hex(), data.hex())
    array = np.zeros(1, layout.dtype)
    fill_numpy(array, plain(values, layout))
    wanted = layout.pack(plain(values, layout))
    made = array.tobytes()
    assert made == wanted, (name, "numpy", made.hex(), wanted.hex())
print("same", len(cases))
"""


@st.composite
def scalars(draw: st.DrawFn) -> tuple[str, st.SearchStrategy[tuple[Any, str]]]:
    """A type, and its values in Python and in C."""
    kind = draw(st.sampled_from([*INTEGERS, "float", "double", "bool", "void *"]))
    if kind in INTEGERS:
        return kind, numbers(INTEGERS[kind])
    if kind == "bool":
        return kind, st.booleans().map(lambda b: (b, str(int(b))))
    if kind == "void *":
        values = st.integers(0, 2**32 - 1)
        return kind, values.map(lambda n: (n, f"(void *)(uintptr_t){n}u"))
    real = st.integers(-(2**20), 2**20).map(lambda n: n / 8)
    return kind, real.map(lambda x: (x, repr(x)))


def numbers(bits: int) -> st.SearchStrategy[tuple[int, str]]:
    low = -(2 ** (-bits - 1)) if bits < 0 else 0
    high = 2 ** (-bits - 1) - 1 if bits < 0 else 2**bits - 1
    # The least number has no literal in C.
    return st.integers(low, high).map(
        lambda n: (n, f"({n + 1}ll - 1)" if n < 0 else f"{n}ull")
    )


@st.composite
def members(draw: st.DrawFn, name: str, depth: int, bits: bool = True) -> list[Member]:
    """One field, or a union without a name, of which the first member has a value."""
    kinds = ["scalar", "scalar", "array", "rows", "text", "texts"]
    if bits:
        kinds += ["bits", "bits"]
    if depth:
        kinds += ["struct", "structs", "union"]
    kind = draw(st.sampled_from(kinds))
    lengths = st.integers(1, 3)
    if kind == "bits":
        ctype = draw(st.sampled_from(list(INTEGERS)))
        width = draw(st.integers(1, abs(INTEGERS[ctype])))
        signed = INTEGERS[ctype] < 0
        if signed and width == 1:
            width += 1
        value = draw(numbers(-width if signed else width))
        return [(f"{ctype} {name} : {width};", *value)]
    if kind in ("text", "texts"):
        ctype = draw(st.sampled_from(["char", "unsigned char", "wchar_t"]))
        length = draw(st.integers(1, 5))
        texts = st.text("abcXYZ ", max_size=length)
        shape = [draw(lengths), length] if kind == "texts" else [length]
        found = [draw(texts) for _ in range(shape[0] if kind == "texts" else 1)]
        prefix = "L" if ctype == "wchar_t" else ""
        literals = [f'{prefix}"{text}"' for text in found]
        dimensions = "".join(f"[{n}]" for n in shape)
        if kind == "text":
            return [(f"{ctype} {name}{dimensions};", found[0], literals[0])]
        return [(f"{ctype} {name}{dimensions};", found, f"{{{', '.join(literals)}}}")]
    if kind == "union":
        # Not MSVC's: what mingw makes of a bit-field that is a union's own member.
        first = draw(members(f"{name}a", 0, bits=False))
        second = draw(members(f"{name}b", depth - 1, bits=False))
        text = " ".join(declared for declared, _, _ in (*first, *second))
        return [(f"union {{ {text} }};", *first[0][1:])]
    if kind in ("struct", "structs"):
        inner = draw(st.lists(st.integers(0, 0), min_size=1, max_size=3))
        parts = [draw(members(f"m{i}", depth - 1)) for i, _ in enumerate(inner)]
        return structure(draw, name, parts, kind == "structs")
    ctype, values = draw(scalars())
    shape = {"scalar": [], "array": [draw(lengths)], "rows": [draw(lengths), 2]}[kind]
    value, literal = nest(draw, values, shape)
    return [(f"{ctype} {name}{''.join(f'[{n}]' for n in shape)};", value, literal)]


def nest(draw: st.DrawFn, values: Any, shape: list[int]) -> tuple[Any, str]:
    if not shape:
        value: tuple[Any, str] = draw(values)
        return value
    items = [nest(draw, values, shape[1:]) for _ in range(shape[0])]
    return [item for item, _ in items], f"{{{', '.join(text for _, text in items)}}}"


def structure(
    draw: st.DrawFn, name: str, parts: list[list[Member]], is_array: bool
) -> list[Member]:
    value, literal = initialised(parts)
    body = " ".join(declared for [(declared, _, _)] in parts)
    if is_array:
        return [
            (
                f"struct {{ {body} }} {name}[2];",
                [value] * 2,
                f"{{{literal}, {literal}}}",
            )
        ]
    return [(f"struct {{ {body} }} {name};", value, literal)]


def initialised(parts: list[list[Member]]) -> tuple[dict[str, Any], str]:
    """The values by name, and an initialiser with them."""
    values = {}
    literals = []
    for number, [(declared, value, literal)] in enumerate(parts):
        # The first member of a union has the value.
        name = field_name(declared, f"m{number}")
        values[name] = value
        literals.append(f".{name} = {literal}")
    return values, f"{{{', '.join(literals)}}}"


def field_name(declared: str, name: str) -> str:
    return f"{name}a" if declared.startswith("union") else name


@st.composite
def structures(draw: st.DrawFn) -> tuple[int, list[list[Member]]]:
    """A packing, and members."""
    pack = draw(st.sampled_from([0, 0, 0, 1, 2, 4]))
    count = draw(st.integers(1, 6))
    return pack, [draw(members(f"m{i}", 2)) for i in range(count)]


def header_of(cases: list[tuple[int, list[list[Member]]]]) -> str:
    lines = ["#include <stdbool.h>", "#include <stdint.h>", "#include <wchar.h>"]
    for number, (pack, parts) in enumerate(cases):
        lines.append(f"#pragma pack(push{f', {pack}' if pack else ''})")
        lines.append(f"struct s{number} {{")
        lines += [f"    {declared}" for [(declared, _, _)] in parts]
        lines += ["};", "#pragma pack(pop)"]
    return "\n".join(lines) + "\n"


def is_plain(declared: str) -> bool:
    """Whether a field has an offset in C."""
    return " : " not in declared or declared.startswith(("struct", "union"))


def compiled(gcc: str, folder: Path, header: str, cases: Any) -> list[Any]:
    """For each structure name, values, size, offsets and bytes."""
    lines = ["#include <stddef.h>", header]
    rows = []
    for number, (_, parts) in enumerate(cases):
        values, literal = initialised(parts)
        names = [
            field_name(declared, f"m{i}")
            for i, [(declared, _, _)] in enumerate(parts)
            if is_plain(declared)
            and not (declared.startswith("union") and " : " in declared)
        ]
        places = [f"sizeof(struct s{number})"]
        places += [f"offsetof(struct s{number}, {name})" for name in names]
        data = f'__attribute__((section(".v{number}"), used))'
        lines.append(f"const struct s{number} v{number} {data} = {literal};")
        told = f'__attribute__((section(".o{number}"), used))'
        lines.append(f"const uint32_t o{number}[] {told} = {{{', '.join(places)}}};")
        rows.append((number, values, names))
    source, target = folder / "all.c", folder / "all.o"
    source.write_text("\n".join(lines))
    run(gcc, "-std=gnu11", "-w", "-c", source, "-o", target)
    sections = sections_of(target.read_bytes())
    found = []
    for number, values, names in rows:
        numbers = struct.unpack_from(f"<{1 + len(names)}I", sections[f".o{number}"])
        size, offsets = numbers[0], dict(zip(names, numbers[1:], strict=True))
        data = sections[f".v{number}"][:size]
        found.append((f"s{number}", values, size, offsets, data.hex()))
    return found


def explained(error: str, header: str) -> str:
    """The error, and the structure that it is about."""
    name = re.search(r"\('(s\d+)'", error)
    text = name and re.search(rf"#pragma[^#]*struct {name[1]} {{.*?}};", header, re.S)
    return f"{error[-2000:]}\n{text[0] if text else header}"


def sections_of(data: bytes) -> dict[str, bytes]:
    """Those of a COFF object file."""
    _, count, _, _, _, optional, _ = struct.unpack_from("<HHIIIHH", data)
    sections = {}
    for number in range(count):
        at = 20 + optional + 40 * number
        name, _, _, size, place = struct.unpack_from("<8sIIII", data, at)
        sections[name.rstrip(b"\0").decode()] = data[place : place + size]
    return sections


@pytest.mark.parametrize("machine", [AMD64, X86], ids=["64", "32"])
@settings(
    max_examples=10 if FULL else 1,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],  # each smaller one takes a process
    suppress_health_check=list(HealthCheck),
)
@given(cases=st.lists(structures(), min_size=40, max_size=60))
def test_all_make_the_same_bytes(
    machine: Any,
    tmp_path_factory: pytest.TempPathFactory,
    cases: list[tuple[int, list[list[Member]]]],
) -> None:
    """Each value at its place, and each padding zero."""
    if shutil.which(machine.gcc) is None:
        pytest.skip(f"no {machine.gcc}")
    header = header_of(cases)
    folder = tmp_path_factory.mktemp("random")
    rows = compiled(machine.gcc, folder, header, cases)
    bits = 32 if machine is X86 else 64
    done = Dev().run("python", "-c", COMPARE, input=json.dumps([header, bits, rows]))
    assert done.returncode == 0, explained(done.stderr, header)
    assert done.stdout.split() == ["same", str(len(cases))]
