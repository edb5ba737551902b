"""What `winipc layout --as` writes is compiled: the asserts in it are the test."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Dev, run
from pins import AMD64, X86

HEADER = """
typedef struct { short x; int y; } point;
typedef union { float ratio; unsigned short halves[2]; struct { char a; short b; } c;
} both;
namespace sim {
enum way { AHEAD, BACK = -1, class_ };
enum class lamp : unsigned char { OFF, ON = 200, AHEAD, point };
enum class big : unsigned long long { OFF, ON = 0xffffffffffffffff };
namespace other { enum class way : signed char { AHEAD, BACK = -1, class_ }; }
struct state {
    unsigned char kind;
    double when;
    char name[5], rows[2][4];
    wchar_t title[3];
    bool on;
    point at, path[2][3];
    union { long long wide; struct { signed char low; point inner; }; };
    both u;
    int gear : 4, : 3, mode : 7;
    unsigned long long flags : 40, more : 2;
    struct { point class_; float type[2]; } nested[2];
    void *next;
    float last;
    way go, gone[2];
    lamp lamp;
    way bent : 3;
    int rest[];
};
#pragma pack(push, 1)
struct tag { int value; };
struct tight { char a; double b; point c; bool d : 1; struct tag tag; big big;
               enum { OFF, NEVER } when; way go; other::way back; };
#pragma pack(pop)
}
"""
#: Declarations in all languages, for all structures and both bitnesses.
WRITE = """
import json, sys, winipc
from winipc.memory._declare import declaration
made = {}
for bits in (32, 64):
    for name in ("state", "tight", "both", "point"):
        layout = winipc.Layout.from_c(sys.argv[1], name, bits=bits, enums=True)
        for language in ("c", "csharp", "rust"):
            made[f"{name}_{bits}.{language}"] = declaration(layout, language)
layout = winipc.Layout.from_c(sys.argv[1], "state")
record = layout.unpack(bytes(range(50, 250)))
values = {name: record[name] for name in sys.argv[2].split()}
record = layout.unpack(layout.pack(record, **json.loads(sys.argv[3])))
after = {name: record[name] for name in sys.argv[2].split()}
print(json.dumps([made, values, after]))
"""
#: Bit-fields and members of unions, which Rust and C# have to compute.
SHARED = "gear mode flags more wide low bent"
#: What C# and Rust write to bit-fields.
WRITTEN = {"gear": -3, "mode": 5, "flags": 2**40 - 2, "more": 1}
Told = tuple[dict[str, str], dict[str, int], dict[str, int]]


@pytest.fixture(scope="module")
def told() -> Told:
    """The declarations by structure, bits and language; and some values of a state,
    before and after some are written.
    """
    done = Dev().run("python", "-c", WRITE, HEADER, SHARED, json.dumps(WRITTEN))
    assert done.returncode == 0, done.stderr
    made, values, after = json.loads(done.stdout)
    return made, values, after


@pytest.fixture(scope="module")
def sources(
    told: Told,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """The files of the declarations, by structure, bits and language."""
    folder = tmp_path_factory.mktemp("declarations")
    files = {}
    for name, text in told[0].items():
        files[name] = folder / name
        files[name].write_text(text)
    return files


def of(sources: dict[str, Path], language: str) -> list[Path]:
    found = [path for name, path in sources.items() if name.endswith(f".{language}")]
    assert len(found) == 8
    return found


@pytest.mark.parametrize("machine", [AMD64, X86], ids=["64", "32"])
def test_c_is_compiled(machine: object, sources: dict[str, Path]) -> None:
    """The same text for both: it has no type of the compiler's own size."""
    gcc = machine.gcc  # type: ignore[attr-defined]
    if shutil.which(gcc) is None:
        pytest.skip(f"no {gcc}")
    for path in of(sources, "c"):
        run(gcc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", path)


def test_c_reads_the_same_values(told: Told, tmp_path: Path) -> None:
    """Of bit-fields and unions, by the compiler of this system as Windows compiles;
    enums have their constants.
    """
    made, values, _ = told
    shown = "".join(f'printf("%lld ", (long long)x.{name});' for name in values)
    source = tmp_path / "main.c"
    source.write_text(
        f"#include <stdio.h>\n#include <string.h>\n{made['state_64.c']}\n"
        "int main(void) { unsigned char bytes[200]; state x;\n"
        "for (int i = 0; i < 200; i++) bytes[i] = (unsigned char)(50 + i);\n"
        f"memcpy(&x, bytes, sizeof(x)); {shown}\n"
        'static_assert(lamp_AHEAD == 201 && lamp_point == 202, "names are taken");\n'
        "x.lamp = ON; x.bent = BACK; x.go = AHEAD;\n"
        "return x.lamp != 200 || x.bent != -1 || x.go != 0; }\n"
    )
    flags = ("-std=c11", "-fshort-wchar", "-mms-bitfields")
    run("gcc", *flags, source, "-o", tmp_path / "main")
    assert run(tmp_path / "main").split() == list(map(str, values.values()))


def test_cplusplus_is_compiled(sources: dict[str, Path]) -> None:
    """By mingw, or by the compiler of this system as Windows compiles."""
    mingw = AMD64.gcc.replace("gcc", "g++")
    as_windows = ("-fshort-wchar", "-mms-bitfields")
    compiler = [mingw] if shutil.which(mingw) else ["g++", *as_windows]
    for path in of(sources, "c"):
        run(
            *compiler,
            "-std=c++17",
            "-Wall",
            "-Werror",
            "-x",
            "c++",
            "-fsyntax-only",
            path,
        )


def test_rust_is_compiled(sources: dict[str, Path], tmp_path: Path) -> None:
    """For Windows, where rustc has that target; else for this system."""
    if shutil.which("rustc") is None:
        pytest.skip("no rustc")
    options = ["--edition=2021", "--crate-type=lib", "--emit=metadata", "-Dwarnings"]
    probe = subprocess.run(
        [
            "rustc",
            *options,
            "--target=x86_64-pc-windows-gnu",
            "-",
            f"--out-dir={tmp_path}",
        ],
        input="",
        text=True,
        capture_output=True,
        check=False,
    )
    if probe.returncode == 0:
        options.append("--target=x86_64-pc-windows-gnu")
    for path in of(sources, "rust"):
        run("rustc", *options, f"--out-dir={tmp_path}", path)


def test_rust_reads_and_writes_the_same_values(told: Told, tmp_path: Path) -> None:
    """Of bit-fields and unions, by the functions that stand for them; enums have their
    constants.
    """
    if shutil.which("rustc") is None:
        pytest.skip("no rustc")
    made, values, after = told
    shown = ", ".join(f"x.{name}() as i64" for name in values)
    shown = f'println!("{" ".join(["{}"] * len(values))}", {shown});'
    put = "".join(f"x.set_{name}({value});" for name, value in WRITTEN.items())
    source = tmp_path / "main.rs"
    source.write_text(
        f"{made['state_64.rust']}\nfn main() {{\n"
        "let bytes: Vec<u8> = (50..250).collect();\n"
        "let mut x: state = unsafe { bytes.as_ptr().cast::<state>().read_unaligned() };"
        f"\n{shown}\n{put}\n{shown}\nx.set_low(-9);\nassert!(x.low() == -9);\n"
        "x.lamp = lamp::ON; x.set_bent(way::BACK); x.go = way::AHEAD;\n"
        "assert!(x.lamp == 200 && x.bent() == -1 && x.go == 0);\n}\n"
    )
    run("rustc", "--edition=2021", source, "-o", tmp_path / "main")
    expected = [*values.values(), *after.values()]
    assert run(tmp_path / "main").split() == list(map(str, expected))


def test_csharp_is_compiled_and_reads_the_same_values(
    told: Told, tmp_path: Path
) -> None:
    """C# has no asserts: a program compares the sizes, prints what it reads, and writes
    bit-fields and enums.
    """
    if shutil.which("mcs") is None or shutil.which("mono") is None:
        pytest.skip("no C# compiler (mono-mcs)")
    made, values, after = told
    declared = {name: text for name, text in made.items() if name.endswith(".csharp")}
    assert len(declared) == 8
    for name, text in declared.items():
        kind = name.split("_")[0]
        size = re.findall(r"Size = (\d+)", text)[-1]
        body = f"if (sizeof({kind}) != {size}) return 1;"
        if name == "state_64.csharp":
            shown = ' + " " + '.join(f"(long)x->{name}" for name in values)
            body += (
                "byte* bytes = stackalloc byte[200];"
                "for (int i = 0; i < 200; i++) bytes[i] = (byte)(50 + i);"
                f"state* x = (state*)bytes; System.Console.WriteLine({shown});"
                + "".join(f"x->{name} = {value};" for name, value in WRITTEN.items())
                + f"System.Console.WriteLine({shown});"
                "x->lamp = lamp.ON; x->bent = way.BACK; x->gone[1] = (int)way.BACK;"
                "if ((int)x->lamp != 200 || (int)x->bent != -1) return 2;"
            )
        source, program = tmp_path / f"{name}.cs", tmp_path / f"{name}.exe"
        main = f"unsafe static int Main() {{ {body} return 0; }}"
        source.write_text(f"{text}\nstatic class Program {{ {main} }}\n")
        run("mcs", "-unsafe", "-warn:0", source, f"-out:{program}")
        printed = run("mono", program).split()
        expected = [*values.values(), *after.values()] if "state_64" in name else []
        assert printed == list(map(str, expected))
