"""winipc layout, and --struct with a structure of a header."""

from __future__ import annotations

import argparse
import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import need_libclang
from test_cli import run_winipc

import winipc
from winipc import Cassette, ChangeEvent, Track
from winipc.cassette.file import Writer
from winipc.cli.overlay import Overlay
from winipc.cli.targets import changes

need_libclang()

HEADER = """
#ifndef COUNT
#define COUNT 2
#endif
namespace sim {
struct point { float x, y; };
struct state { unsigned id; char name[8]; point path[COUNT]; int gear : 4; void *next;
               wchar_t title[4]; int rest[]; };
}
"""


@pytest.fixture
def header(tmp_path: Path) -> Path:
    path = tmp_path / "state.h"
    path.write_text(HEADER)
    return path


def test_layout_prints_where_fields_are(header: Path) -> None:
    """As a table, and as JSON; for pointers of both widths."""
    lines = run_winipc("layout", str(header), "sim::state").stdout.decode().splitlines()
    assert [line.split() for line in lines] == [
        ["OFFSET", "SIZE", "TYPE", "NAME"],
        ["0", "4", "u32", "id"],
        ["4", "8", "char[8]", "name"],
        ["12", "16", "point[2]", "path"],
        ["12", "4", "f32", "path[0].x"],
        ["16", "4", "f32", "path[0].y"],
        ["28", "1", "i32,", "4", "bits", "from", "bit", "0", "gear"],
        ["32", "8", "pointer", "next"],
        ["40", "8", "wchar_t[4]", "title"],
        ["48", "0", "i32[]", "rest"],
        ["sim::state:", "48", "bytes,", "aligned", "to", "8"],
    ]
    options = ("--bits", "32", "--json", "--define", "COUNT=3")
    row = json.loads(run_winipc("layout", str(header), "state", *options).stdout)
    assert (row["size"], row["bits"], row["alignment"]) == (52, 32, 4)
    path = row["fields"][2]
    assert (path["shape"], path["fields"][1]["offset"]) == ([3], 4)
    assert row["fields"][3]["bits"] == [0, 4]
    done = run_winipc("layout", str(header), "nowhere", check=False)
    assert (done.returncode, done.stderr) == (
        1,
        b"winipc: no struct nowhere in the header: it has point, state\r\n",
    )
    done = run_winipc("layout", str(header), check=False)
    told = b"winipc: which struct in the header: it has point, state\r\n"
    assert (done.returncode, done.stderr) == (1, told)
    done = run_winipc("dump", "x", "--struct", f"{header}:stat", check=False)
    assert b"no struct stat in the header (did you mean state?)" in done.stderr
    folder = header.parent / "more"
    folder.mkdir()
    (folder / "gear.h").write_text("struct gear { short now; };")
    header.write_text('#include "gear.h"\n')
    options = ("--json", "--include", str(folder))
    row = json.loads(run_winipc("layout", str(header), "gear", *options).stdout)
    assert row["size"] == 2


def test_dump_takes_a_structure_of_a_header(header: Path, unique_name: str) -> None:
    """Its values by name, in text and in JSON."""
    layout = winipc.Layout.from_c(header, "state")
    with winipc.SharedMapping.create(unique_name, layout.size) as mapping:
        values = {"name": "Zo\xeb", "path": ({"x": 1}, {"y": 2}), "gear": -3}
        mapping.write(layout.pack(values, title="ab"))
        arguments = ("dump", unique_name, "--struct", f"{header}:sim::state")
        row = json.loads(run_winipc(*arguments, "--json").stdout)["values"]
        assert (row["name"], row["gear"], row["title"]) == ("Zo\xeb", -3, "ab")
        assert row["path"] == [{"x": 1.0, "y": 0.0}, {"x": 0.0, "y": 2.0}]
        line = run_winipc(*arguments).stdout.decode()
        assert "name=Zo\xeb path=[{x=1 y=0} {x=0 y=2}] gear=-3 next=0" in line


def test_values_that_text_and_json_lack() -> None:
    """Bytes that are no text are shown as such."""
    overlay = Overlay("name:4s at:f")
    assert overlay.line(b"a\xff\0b" + b"\0\0\x80\x7f") == "name=a\\xff at=inf"
    assert overlay.as_json(b"a\xff\0b" + b"\0\0\x80\x7f") == {
        "name": "a\\xff",
        "at": None,
    }


def test_enums_are_shown_by_name(tmp_path: Path, unique_name: str) -> None:
    """JSON and CSV have the number; a number without a name is one."""
    path = tmp_path / "plant.h"
    path.write_text("enum mode { OFF, RUN = 5 }; struct plant { enum mode modes[2]; };")
    overlay = Overlay(f"{path}:plant")
    off, run = (number.to_bytes(4, "little") * 2 for number in (0, 5))
    odd = b"\7\0\0\0" + run[4:]
    words = ("layout", str(path), "plant")
    assert b"i32 mode[2]  modes" in run_winipc(*words).stdout
    [field] = json.loads(run_winipc(*words, "--json").stdout)["fields"]
    assert field["enum"] == {"OFF": 0, "RUN": 5}
    assert overlay.line(odd) == "modes=[7 RUN (5)]"
    assert [texts for _, _, texts in overlay.changes(off, run)] == [
        ("OFF (0)", "RUN (5)")
    ] * 2
    assert json.dumps(overlay.as_json(run)) == '{"modes": [5, 5]}'
    with winipc.SharedMapping.create(unique_name, 8) as mapping:
        mapping.write(run)
        words = ("dump", unique_name, "--struct", f"{path}:plant")
        assert run_winipc(*words).stdout.split() == [
            b"modes=[RUN",
            b"(5)",
            b"RUN",
            b"(5)]",
        ]


def test_a_field_is_written(header: Path, unique_name: str) -> None:
    """Numbers, texts, members of enums, and JSON; other bits and bytes stay."""
    header.write_text(
        "enum mode { OFF, RUN = 5 };"
        "struct s { int low : 4; int high : 4; mode m; char name[8]; float at[2];"
        "struct { short x, y; } in, ins[2]; void *next; };"
    )
    struct = ("--struct", f"{header}:s")
    layout = winipc.Layout.from_c(header, "s", enums=True)
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        mapping.write(b"\xff" * layout.size, 8)
        view = mapping.struct_view(layout, 8)
        place = ("write", unique_name, "--offset=8", *struct)
        for path, text, value in (
            ("high", "3", 3),
            ("m", "RUN", 5),
            ("name", "13", "13"),
            ("at", "[1.5, 2]", (1.5, 2.0)),
            ("at[1]", "inf", float("inf")),
            ("in.y", "0x10", 16),
            ("next", "0x1234", 0x1234),
        ):
            assert run_winipc(*place, "--field", path, text).stdout
            assert view[path] == value
        assert (view.low, view["in"].x) == (-1, -1)
        shown = run_winipc("dump", unique_name, "--offset=8", *struct).stdout
        assert b"next=0x1234" in shown
        some = ("dump", unique_name, "--offset=8", *struct, "--field=at[0]", "--field")
        shown = run_winipc(*some, "in", "--field", "m").stdout
        assert shown.split() == [b"at[0]=1.5", b"in={x=-1", b"y=16}", b"m=RUN", b"(5)"]
        [row] = run_winipc(*some, "next", "--json").stdout.splitlines()
        assert json.loads(row)["values"] == {"at[0]": 1.5, "next": 0x1234}
        assert "hex" not in json.loads(row)
        run_winipc(*place, "--field", "in", '{"x": 7}')
        assert (view["in"].x, view["in"].y) == (7, 16)
        run_winipc(*place, "--field", "ins[1]", '{"y": 7}')
        assert (view.ins[1].x, view.ins[1].y) == (-1, 7)
        before = mapping.read(64)
        for words, told in (
            (("--field", "m", "RNU"), "m: mode has no 'RNU': it has OFF, RUN"),
            (("--field", "hihg", "1"), "s has no field 'hihg' (did you mean high?)"),
            (("--field", "in", '{"z": 7}'), "no field 'z'"),
            (("--field", "high", "9"), "high: 9 does not fit in 4 bits"),
            (("--field", "at[1]", "x"), "at[1]: f32 is a number, not 'x'"),
            (  # as PowerShell passes '{"x": 7}'
                ("--field", "in", "{x: 7}"),
                'is not JSON, such as {"MEMBER": 1}; or write --field in.MEMBER',
            ),
            (("--field", "at", "1", "--type", "f32"), "a field has its own type"),
            (("13",), "--struct needs a --field of it"),
        ):
            done = run_winipc(*place, *words, check=False)
            assert done.returncode == 2
            assert done.stderr.decode().rstrip().endswith(told)
        done = run_winipc("write", unique_name, "--field=m", "1", check=False)
        assert b"--field needs a --struct with names" in done.stderr
        assert mapping.read(64) == before


def test_a_bit_field_changes_alone(header: Path) -> None:
    """With --field, other bits of the same byte are no change."""
    header.write_text("struct s { unsigned low : 4, high : 4; };")
    overlay: Any = Overlay(f"{header}:s")
    overlay.only = [overlay.layout["high"]]
    looks = iter([b"\x12\0\0\0", b"\x13\0\0\0", b"\x23\0\0\0"])
    target: Any = SimpleNamespace(read=lambda: next(looks))
    arguments = argparse.Namespace(struct=overlay, seconds=None, interval=0)
    assert next(changes(target, target.read(), arguments)) == b"\x23\0\0\0"


def test_a_value_without_a_name_is_called_value() -> None:
    """As a field that changed and as a column of CSV; several have numbers."""
    one, two = Overlay("i32"), Overlay("<2i")
    assert one.rows(bytes(4)) == [("value", "0")]
    assert one.cells(bytes(4)) == {"value": 0}
    assert [*one.changes(bytes(4), b"\1\0\0\0")] == [("value", (0, 1), ("0", "1"))]
    assert (one.line(bytes(4)), one.as_json(bytes(4))) == ("0", [0])
    assert [*two.cells(bytes(8))] == ["0", "1"]


def test_recordings_are_values(header: Path, tmp_path: Path) -> None:
    """Records, a NumPy array, and CSV."""
    layout = winipc.Layout.from_c(header, "state")
    path = tmp_path / "file.wipc"
    with Writer(path, [Track("mapping", "state", size=layout.size + 8)]) as writer:
        for number in range(3):
            data = layout.pack(id=number, name=f"n{number}", gear=-number)
            event = ChangeEvent(number * 500_000_000, 0, ((8, data),))
            writer.add(event, stamp=False)
    reader = Cassette(path)
    found = list(reader.records(layout, 8))
    assert [(t, r.id, r.name, r.gear) for t, r in found] == [
        (n * 500_000_000, n, f"n{n}", -n) for n in range(3)
    ]
    assert [row for _, row in reader.records("<I", 8)] == [(0,), (1,), (2,)]
    array = pytest.importorskip("numpy") and reader.array(layout, 8)
    assert array["record"]["id"].tolist() == [0, 1, 2]
    assert array["record"]["name"][2] == b"n2"
    assert array["time_ns"][2] == 1_000_000_000
    for offset in (-1, 9):
        with pytest.raises(ValueError, match="do not fit in the 56"):
            reader.records(layout, offset)
    options = ("--csv", "--struct", f"{header}:state", "--offset", "8")
    text = run_winipc("replay", str(path), *options).stdout.decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["seconds"] for row in rows] == [f"{n / 2:.9f}" for n in range(3)]
    assert (rows[2]["name"], rows[2]["gear"], rows[2]["path[1].y"]) == (
        "n2",
        "-2",
        "0.0",
    )
    done = run_winipc("replay", str(path), "--csv", check=False)
    assert b"--csv and --struct go together: replay FILE --csv" in done.stderr
