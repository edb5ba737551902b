"""winipc.pe: DLLs written without a compiler, and headers that lie."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pefile
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winipc import SectionError, SectionFlags, SharedSection
from winipc.pe import (
    MACHINE,
    ImageReader,
    PEImage,
    build_section_dll,
    definition_bytes,
    inspect_dll,
    section_dll_bytes,
)

GIB = 1 << 30
VARIABLES = {"MySharedData": 4096, "n": (8, b"\x05"), "text": b"hello\0"}
MACHINES = ["amd64", "x86", "arm64"]


# --------------------------------------------------------------------- built


@pytest.mark.smoke
def test_a_built_dll_has_its_variables_and_values(tmp_path: Path) -> None:
    """Sizes, initial bytes and zeros, as asked for."""
    path = tmp_path / "built.dll"
    image = build_section_dll(path, VARIABLES)
    assert [v.name for v in image.shared_variables] == list(VARIABLES)
    with SharedSection.load(path) as section:
        assert list(section.variables.values()) == image.shared_variables
        assert section.read() == bytes(4096)
        with section.variable("n") as n, section.variable("text", 6) as text:
            assert n.get(0, "i64") == 5
            assert bytes(text) == b"hello\0"
            assert n.address % 16 == 0


def test_equal_arguments_give_equal_bytes() -> None:
    """No time, no random number, no path."""
    assert section_dll_bytes(VARIABLES) == section_dll_bytes(dict(VARIABLES))


@pytest.mark.parametrize("machine", MACHINES)
def test_pefile_finds_a_sound_dll(machine: Any) -> None:
    """An independent parser sees the same, and nothing to complain about."""
    data = section_dll_bytes(VARIABLES, name="witness.dll", machine=machine)
    pe = pefile.PE(data=data)
    assert complaints(pe) == []
    assert pe.is_dll()
    assert (
        pe.FILE_HEADER.Machine
        == {"amd64": 0x8664, "x86": 0x14C, "arm64": 0xAA64}[machine]
    )
    assert (pe.PE_TYPE == pefile.OPTIONAL_HEADER_MAGIC_PE_PLUS) == (machine != "x86")
    optional = pe.OPTIONAL_HEADER
    assert optional.AddressOfEntryPoint == 0
    assert optional.IMAGE_DLLCHARACTERISTICS_NX_COMPAT
    assert optional.IMAGE_DLLCHARACTERISTICS_DYNAMIC_BASE
    assert not pe.FILE_HEADER.IMAGE_FILE_RELOCS_STRIPPED
    # What the loader insists on.
    assert optional.SizeOfImage % optional.SectionAlignment == 0
    assert optional.SizeOfHeaders % optional.FileAlignment == 0
    assert optional.ImageBase % 0x10000 == 0
    end = optional.SizeOfHeaders
    for section in pe.sections:
        assert section.VirtualAddress == -(-end // 0x1000) * 0x1000
        end = section.VirtualAddress + section.Misc_VirtualSize
        assert section.PointerToRawData % optional.FileAlignment == 0
        assert section.SizeOfRawData % optional.FileAlignment == 0
        assert section.PointerToRawData + section.SizeOfRawData <= len(data)
    assert optional.SizeOfImage == -(-end // 0x1000) * 0x1000
    [_, shared] = pe.sections
    assert shared.Name.rstrip(b"\0") == b".MYSEC"
    assert shared.IMAGE_SCN_MEM_SHARED
    assert not shared.IMAGE_SCN_MEM_EXECUTE
    exports = pe.DIRECTORY_ENTRY_EXPORT
    assert exports.name == b"witness.dll"
    names = [symbol.name for symbol in exports.symbols]
    assert sorted(names) == sorted(name.encode() for name in VARIABLES)
    table = [
        pe.get_string_at_rva(pe.get_dword_at_rva(exports.struct.AddressOfNames + 4 * i))
        for i in range(exports.struct.NumberOfNames)
    ]
    assert table == sorted(table)
    found = {v.name.encode(): shared.VirtualAddress + v.offset for v in described(data)}
    assert found == {symbol.name: symbol.address for symbol in exports.symbols}


def complaints(pe: Any) -> list[str]:
    """What pefile finds odd, but for zeros, and that there is no code to enter."""
    expected = ("Byte 0x00 makes up", "AddressOfEntryPoint")
    return [w for w in pe.get_warnings() if not any(part in w for part in expected)]


def described(data: bytes) -> Any:
    return image_of(data).shared_variables


def image_of(data: bytes, mapped: bool = False, away: int | None = None) -> PEImage:
    """What the reader says of bytes; `away` takes every third page from it."""

    def read(offset: int, size: int) -> bytes:
        assert 0 <= offset <= offset + size <= len(data)
        pages = range(offset // 4096, (offset + size - 1) // 4096 + 1)
        if away is not None and any((page + away) % 3 == 2 for page in pages):
            raise OSError("this page is away")
        return bytes(data[offset : offset + size])

    return ImageReader(read, len(data), "x", mapped=mapped).image()


def test_a_gib_takes_no_room_in_the_file(tmp_path: Path) -> None:
    """Nor does it matter in which order the variables are named."""
    # 32 bits have no free GiB in one piece for sure.
    size = GIB if sys.maxsize > GIB * 4 else GIB // 8
    path = tmp_path / "large.dll"
    build_section_dll(
        path,
        {"big": size, "small": b"small", "sparse": (1 << 20, b"x"), "last": b"last"},
    )
    assert path.stat().st_size < 8192
    with SharedSection.load(path, "big") as big:
        assert len(big) == size
        big[-1] = 7
        assert big[-1] == 7
        assert big[0] == big[size // 2] == 0
        with big.variable("small", 5) as small, big.variable("last", 4) as last:
            assert (bytes(small), bytes(last)) == (b"small", b"last")
        with big.variable("sparse", 1 << 20) as sparse:
            assert sparse[:2] == b"x\0"
    path.unlink()


@given(
    names=st.lists(
        st.text("ABCXYZabcxyz_$@?0189.", min_size=1, max_size=40),
        min_size=1,
        max_size=30,
        unique=True,
    ),
    data=st.data(),
)
def test_any_set_of_variables_reads_back(names: list[str], data: st.DataObject) -> None:
    """Each variable is where the headers say, with its bytes, and none overlap."""
    kind = (
        st.integers(1, 9000)
        | st.binary(min_size=1, max_size=300)
        | st.binary(max_size=50).map(lambda b: (len(b) + 5000, b))
    )
    variables = {name: data.draw(kind) for name in names}
    alignment = 1 << data.draw(st.integers(0, 12))
    built = section_dll_bytes(variables, alignment=alignment)
    pe = pefile.PE(data=built)
    image = bytes(pe.get_memory_mapped_image())
    assert complaints(pe) == []
    start = pe.sections[1].VirtualAddress
    found = described(built)
    assert {v.name for v in found} == set(names)
    end = 0
    for variable in found:
        value = variables[variable.name]
        if isinstance(value, int):
            value = (value, b"")
        if isinstance(value, bytes):
            value = (len(value), value)
        size, initial = value
        assert variable.offset % alignment == 0
        assert variable.offset >= end
        assert variable.size >= size
        end = variable.offset + size
        at = start + variable.offset
        assert image[at : at + size].ljust(size, b"\0") == initial.ljust(size, b"\0")
    # As a file and as the loader would lay it out, it reads the same.
    mapped = bytes(image).ljust(pe.OPTIONAL_HEADER.SizeOfImage, b"\0")
    assert image_of(mapped, mapped=True) == image_of(built)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        pytest.param({"variables": {}}, "between 1", id="none"),
        pytest.param({"variables": {"a": 0}}, "at least 1", id="empty"),
        pytest.param({"variables": {"a": b""}}, "at least 1", id="no-bytes"),
        pytest.param({"variables": {"a": -1}}, "at least 1", id="negative"),
        pytest.param({"variables": {"a": (1, b"ab")}}, "do not fit", id="too-long"),
        pytest.param({"variables": {"a": 2 * GIB}}, "more than", id="too-large"),
        pytest.param({"variables": {"a": GIB, "b": GIB}}, "more than", id="sum"),
        pytest.param({"variables": {"": 1}}, "printable", id="no-name"),
        pytest.param({"variables": {"a b": 1}}, "printable", id="space"),
        pytest.param({"variables": {"a\0": 1}}, "printable", id="nul"),
        pytest.param({"variables": {"ä": 1}}, "printable", id="not-ascii"),
        pytest.param({"variables": {"a" * 1025: 1}}, "1024", id="long-name"),
        pytest.param({"section": ".TOOLONGX"}, "at most 8", id="section"),
        pytest.param({"section": ""}, "printable", id="no-section"),
        pytest.param({"alignment": 3}, "power of two", id="alignment"),
        pytest.param({"alignment": 8192}, "power of two", id="alignment-large"),
        pytest.param({"machine": "mips"}, "amd64, x86, arm64", id="machine"),
    ],
)
def test_what_no_dll_can_have_is_refused(
    tmp_path: Path, arguments: dict[str, Any], match: str
) -> None:
    """ValueError, and no file is left."""
    with pytest.raises(ValueError, match=match):
        build_section_dll(tmp_path / "x.dll", **{"variables": {"a": 1}, **arguments})
    assert list(tmp_path.iterdir()) == []


def test_section_name_and_alignment_are_as_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "named.dll"
    build_section_dll(path, {"a": 1, "b": 1}, section="shared12", alignment=64)
    with SharedSection.load(path, "b") as section:
        assert section.section_name == "shared12"
        assert section.offset == 64
        assert section.address % 64 == 0


def test_a_loaded_dll_is_not_overwritten(tmp_path: Path) -> None:
    """It stays as it is, and no half-written file lies beside it."""
    path = tmp_path / "held.dll"
    build_section_dll(path, {"MySharedData": b"one"})
    with SharedSection.load(path):
        if sys.getwindowsversion().build and not _wine():
            with pytest.raises(PermissionError):
                build_section_dll(path, {"MySharedData": b"two"})
        assert [p.name for p in tmp_path.iterdir()] == ["held.dll"]
    build_section_dll(path, {"MySharedData": b"two"})
    with SharedSection.load(path, size=3) as section:
        assert bytes(section) == b"two"


def _wine() -> bool:
    import ctypes

    return hasattr(ctypes.WinDLL("ntdll"), "wine_get_version")


# ------------------------------------------------------------------ linkers


def test_the_definition_is_written_where_asked(tmp_path: Path) -> None:
    """Beside the DLL by default, or at a path."""
    other = tmp_path / "other.def"
    build_section_dll(tmp_path / "x.dll", VARIABLES, definition=other)
    build_section_dll(tmp_path / "x.dll", VARIABLES, definition=True)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["other.def", "x.def", "x.dll"]
    assert other.read_bytes() == (tmp_path / "x.def").read_bytes()
    assert other.read_text().splitlines() == [
        'LIBRARY "x.dll"',
        "EXPORTS",
        *(f"    {v} DATA" for v in VARIABLES),
    ]


def test_definitions_name_each_variable() -> None:
    assert b"    n DATA\r\n" in definition_bytes(VARIABLES, name="x.dll")
    with pytest.raises(ValueError, match="printable"):
        definition_bytes(["a b"], name="x.dll")


# ------------------------------------------------------------------ C peers


def test_a_c_program_shares_the_variables(
    tmp_path: Path, start_peer: Callable[..., Any]
) -> None:
    """A plain C program, by LoadLibrary and GetProcAddress, sees the same bytes."""
    path = tmp_path / "c.dll"
    build_section_dll(path, {"MySharedData": 4096, "counter": 4})
    peer = start_peer("section_client.exe", path)
    peer.expect("ready")
    with (
        SharedSection.load(path) as section,
        section.variable("counter") as counter,
        counter.atomic(0, "l") as number,
    ):
        section.write(b"from Python\0")
        peer.say("text")
        peer.expect("from Python")
        peer.say("reply")
        peer.expect("done")
        assert section[:7] == b"from C\0"
        peer.say("count")
        for _ in range(100_000):
            number.add(1)
        peer.expect("done")
        assert number.value == 200_000


# ----------------------------------------------------------- hostile headers

SOUND = section_dll_bytes(VARIABLES)
EXPORTS = struct.unpack_from("<I", SOUND, 0x40 + 24 + 112 + 4)[0]  # their size
HEADERS = 0x400 + EXPORTS  # the headers and the export directory behind them


def describe_or_refuse(
    data: bytes, mapped: bool = False, away: int | None = None
) -> None:
    """A sound answer or ValueError, and no read outside of the image."""
    try:
        image = image_of(data, mapped, away)
    except ValueError:
        return
    except OSError:
        assert away is not None
        return
    assert len(image.sections) <= 96
    for section in image.sections:
        assert 0 <= section.rva <= section.rva + section.size <= image.size
        assert "\0" not in section.name
    assert len(image.exports) <= 2 * 65536
    assert sum(len(export.name or "") for export in image.exports) <= len(data)
    for variable in image.shared_variables:
        assert 0 <= variable.offset < variable.offset + variable.size <= image.size


EDGES = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]


@pytest.mark.parametrize("width", [1, 2, 4])
def test_no_field_can_crash_the_parser(width: int) -> None:
    """Every position of the headers takes every edge value, in both layouts."""
    mapped = mapped_image(SOUND)
    exports = range(0x1000, 0x1000 + EXPORTS)
    for data, positions, layout in (
        (SOUND, range(HEADERS), False),
        (mapped, [*range(0x200), *exports], True),
    ):
        buffer = bytearray(data[: 0x1000 + EXPORTS] if layout else data)
        for at in positions:
            if at + width > len(buffer):
                break
            before = bytes(buffer[at : at + width])
            for edge in EDGES:
                buffer[at : at + width] = (edge & (1 << 8 * width) - 1).to_bytes(
                    width, "little"
                )
                describe_or_refuse(buffer, layout)
            buffer[at : at + width] = before


@given(
    changes=st.lists(
        st.tuples(st.integers(0, HEADERS - 1), st.binary(min_size=1, max_size=8)),
        max_size=12,
    ),
    cut=st.none() | st.integers(0, len(SOUND)),
    mapped=st.booleans(),
)
def test_damaged_images_are_refused_or_read(
    changes: list[tuple[int, bytes]], cut: int | None, mapped: bool
) -> None:
    """Any bytes anywhere, cut off anywhere."""
    data = bytearray(mapped_image(SOUND) if mapped else SOUND)
    for at, content in changes:
        data[at : at + len(content)] = content
    describe_or_refuse(bytes(data[:cut]), mapped)
    for away in range(3):
        describe_or_refuse(bytes(data[:cut]), mapped, away)


def mapped_image(data: bytes) -> bytes:
    """As the loader lays it out."""
    pe = pefile.PE(data=data)
    size = pe.OPTIONAL_HEADER.SizeOfImage
    return bytes(pe.get_memory_mapped_image()).ljust(size, b"\0")


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("mapped", [False, True])
def test_thousands_of_damaged_images_are_refused_or_read(
    machine: Any, mapped: bool
) -> None:
    """Edge values in the headers and exports, the end cut off, pages away."""
    sound = section_dll_bytes(VARIABLES, machine=machine)
    if mapped:
        sound = mapped_image(sound)
    seeds = [sound]
    if mapped:
        # A name that is longer than any buffer, and runs into the image's end.
        long = bytearray(sound)
        struct.pack_into("<I", long, 0x1000 + 40 + 4 * len(VARIABLES), len(long))
        seeds.append(bytes(long) + b"A" * 9000)
    rng = random.Random(7)
    for _ in range(1500):
        data = bytearray(rng.choice(seeds))
        reach = len(data) if rng.random() < 0.25 else 2048
        start = 0x1000 if mapped and rng.random() < 0.5 else 0
        for _ in range(rng.randint(1, 4)):
            value = rng.choice([*EDGES, rng.randrange(1 << 32)])
            width = rng.choice([1, 2, 4])
            at = rng.randrange(start, min(start + reach, len(data)) - width)
            data[at : at + width] = value.to_bytes(4, "little")[:width]
        if rng.random() < 0.125:
            del data[rng.randrange(1, len(data)) :]
        describe_or_refuse(bytes(data), mapped)
        describe_or_refuse(bytes(data), mapped, rng.randrange(3))


@given(data=st.binary(max_size=3000), mapped=st.booleans())
def test_noise_is_refused(data: bytes, mapped: bool) -> None:
    describe_or_refuse(data, mapped)
    describe_or_refuse(b"MZ" + data, mapped)


def test_every_cut_off_file_is_refused(tmp_path: Path) -> None:
    """A part of a DLL is no DLL; the message says so, and nothing is loaded."""
    for size in range(0, len(SOUND), 7):
        path = tmp_path / "cut.dll"
        path.write_bytes(SOUND[:size])
        with pytest.raises(ValueError, match=r"cut\.dll"):
            inspect_dll(path)


LOADED = """
import ctypes, sys
from winipc import SharedSection

path = sys.argv[1]
held = SharedSection.load(path)
protect = ctypes.WinDLL("kernel32").VirtualProtect
protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_ulong, ctypes.c_void_p]
old = ctypes.c_ulong()
assert protect(held.module, 0x2000, 0x04, ctypes.byref(old))
image = (ctypes.c_ubyte * 0x2000).from_address(held.module)
taken = refused = 0
for at in [*range(0x3C, 0x1D8), *range(0x1000, 0x1000 + int(sys.argv[2]))]:
    before = image[at]
    for value in (0, 1, 0x7F, 0x80, 0xFF, before ^ 0xFF, before + 1 & 0xFF):
        image[at] = value
        try:
            held.variables
            with SharedSection.load(path, "text") as section:
                assert len(section) <= section.section_size
                section.read()
            taken += 1
        except (OSError, ValueError) as error:
            refused += 1
        image[at] = before
with SharedSection.load(path, "text") as section:
    assert section[:5] == b"hello"
held.close()
print("taken" if taken else "", "refused" if refused else "")
"""


def test_hostile_headers_of_a_loaded_image_are_refused(tmp_path: Path) -> None:
    """Every header byte of the image changed after it was loaded, in a child.

    (The loader itself believes the headers of a file, and may fall over them.)
    """
    path = tmp_path / "hostile.dll"
    path.write_bytes(SOUND)
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(path), str(EXPORTS)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "taken refused\n"), done.stderr


def test_inspect_reads_real_dlls_unloaded() -> None:
    """What compilers wrote is read too: the bundled DLL, and Python's own."""
    import winipc

    bundled = inspect_dll(Path(winipc.__file__).with_name("shared_section.dll"))
    assert [v.name for v in bundled.shared_variables] == ["MySharedData"]
    assert bundled.machine == MACHINE
    python = inspect_dll(Path(sys.base_prefix) / "python3.dll")
    assert python.is_dll
    assert python.shared_variables == []
    with pytest.raises(FileNotFoundError):
        inspect_dll("missing.dll")


def test_a_lying_size_of_section_is_refused(tmp_path: Path) -> None:
    """A section that claims more than the image has is never handed out."""
    data = bytearray(SOUND)
    at = data.index(b".MYSEC")  # the section's header
    struct.pack_into("<I", data, at + 8, 0x7FFFFFFF)
    path = tmp_path / "liar.dll"
    path.write_bytes(data)
    with pytest.raises(ValueError, match="section leaves the image"):
        inspect_dll(path)
    with pytest.raises((SectionError, OSError)):
        SharedSection.load(path)


def test_flags_have_names() -> None:
    shared = SectionFlags(0xD0000040)
    assert SectionFlags.MEM_SHARED in shared
    assert "MEM_SHARED" in repr(shared)
