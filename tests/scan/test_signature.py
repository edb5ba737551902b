"""Signatures: of tests/scan/peers/signed.h in several builds, and of code made here."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import c_peer_path

from winipc import (
    Module,
    PartialReadError,
    Pattern,
    ProcessAccess,
    RemoteProcess,
    Signature,
    scan_bytes,
)
from winipc.pe import ImageReader

PAGE = 4096
NAMES = ("score_of", "hit", "heal", "level_of")
BITNESS = 64 if sys.maxsize > 1 << 32 else 32


@pytest.fixture(autouse=True)
def iced(request: pytest.FixtureRequest) -> None:
    """Where iced-x86 has no wheel, what needs it says so; that is tested then."""
    if "no_iced" in request.node.name or importlib.util.find_spec("iced_x86"):
        return
    with (
        RemoteProcess.open(os.getpid()) as me,
        pytest.raises(ImportError, match=r"winipc\[signatures\]"),
    ):
        me.signature(me.modules()[0].base)
    pytest.skip("iced-x86 is not installed: the error says so")


# -------------------------------------------------------------- builds of a program


class Program:
    """A build of the program that runs, which tells where its functions are."""

    def __init__(self, peer: object, path: Path) -> None:
        self.peer, self.pid, self.path = peer, peer.pid, path
        peer.expect("ready")

    def where(self, name: str) -> int:
        self.peer.say(name)
        return int(self.peer.read_line(), 16)

    def offset(self, name: str) -> int:
        return self.where(name) - self.where("module")


@pytest.fixture
def start(start_process: Callable[[list[str]], object]) -> Callable[[str], Program]:
    def start(build: str) -> Program:
        path = c_peer_path(f"signed_{build}.exe")
        return Program(start_process([str(path)]), path)

    return start


@pytest.fixture
def one(start: Callable[[str], Program]) -> Program:
    return start("one")


@pytest.fixture
def process(one: Program) -> Iterator[RemoteProcess]:
    with RemoteProcess.open(one) as process:
        yield process


def test_a_signature_is_once_in_its_module(
    process: RemoteProcess, one: Program
) -> None:
    """At the function, for a scan of all of it, and for the regular expressions of
    Python on the bytes of the file.
    """
    module = process.module(one.path.name)
    data = process.read(module.base, module.size, partial=True).data
    for name in NAMES:
        made = process.signature(one.where(name))
        assert made.module == one.path.name
        assert made.bitness == BITNESS
        assert made.find(process) == one.where(name)
        assert list(process.scan(made, start=module.base, end=module.end)) == [
            one.where(name)
        ]
        assert [found.start() for found in naive(made, data)] == [one.offset(name)]
        (row,) = made.check(process)
        assert (row.matches, row.in_code, row.unique) == ((one.offset(name),), 1, True)
        assert row.version == made.version
        assert f"pid {one.pid}" in row.build


def naive(made: Signature, data: bytes) -> Iterator[re.Match[bytes]]:
    expression = b"".join(
        b"." if word == "??" else re.escape(bytes.fromhex(word))
        for word in str(made).split()
    )
    return re.finditer(b"(?=" + expression + b")", data, re.DOTALL)


def test_it_finds_the_function_in_the_next_build(
    process: RemoteProcess, one: Program, start: Callable[[str], Program]
) -> None:
    """In the file and in another process, where constants, offsets of fields and all
    addresses are others; and what it refers to is there.
    """
    two = start("two")
    paths = [one.path, str(two.path)]
    with RemoteProcess.open(two) as second:
        for name in NAMES:
            made = process.signature(one.where(name))
            first, file = made.check(*paths)
            assert first.matches == (one.offset(name),)
            assert file.matches == (two.offset(name),)
            assert file.in_code == 1
            assert first.version == made.version != file.version
            # As if the program had kept its name.
            renamed = Signature(
                made.text, two.path.name, made.bitness, made.operand, made.version
            )
            assert renamed.find(second) == two.where(name)
            (live,) = renamed.check(second)
            assert (live.matches, live.target) == (file.matches, file.target)


def test_code_that_is_not_optimised_has_none_of_them(
    process: RemoteProcess, one: Program
) -> None:
    """Nothing is found, and said so: no near miss."""
    other = c_peer_path("signed_three.exe")
    for name in NAMES:
        (row,) = process.signature(one.where(name)).check(other)
        assert (row.matches, row.unique, row.target) == ((), False, None)


def test_the_operand_behind_it_is_an_address(
    process: RemoteProcess, one: Program, start: Callable[[str], Program]
) -> None:
    """The variable that the instruction refers to, in each build; the code of
    `score_of` begins with the one or the other, or has it soon.
    """
    two = start("two")
    variables = {one.where(name): name for name in ("score", "lives", "level")}
    at = next(
        at
        for at in range(one.where("score_of"), one.where("score_of") + 32)
        if (made := sign_or_none(process, at)) and made.operand
    )
    made = process.signature(at)
    name = variables[made.target(process)]
    assert process.get(made.target(process), "i32") == process.get(
        one.where(name), "i32"
    )
    first, file = made.check(one.path, two.path)
    assert first.target == one.offset(name)
    assert file.target == two.offset(name)


def sign_or_none(process: RemoteProcess, at: int) -> Signature | None:
    try:
        return process.signature(at)
    except ValueError:
        return None


def test_with_constants_it_is_shorter(process: RemoteProcess, one: Program) -> None:
    """What stays in one build is fixed then."""
    for name in NAMES:
        masked = process.signature(one.where(name))
        fixed = process.signature(one.where(name), constants=True)
        assert fixed.pattern.size <= masked.pattern.size
        assert fixed.find(process) == one.where(name)


def test_addresses_that_have_no_signature(process: RemoteProcess, one: Program) -> None:
    """The error says why."""
    base = one.where("module")
    for address, words in {
        0x10: "in no module",
        one.where("score"): r"\.data, which is data",
        base + 0x10: "in the headers",
    }.items():
        with pytest.raises(ValueError, match=words):
            process.signature(address)
    hit = one.where("hit")
    made = process.signature(hit)
    one.peer.kill()
    with pytest.raises(ProcessLookupError):
        process.signature(hit)
    with pytest.raises(ProcessLookupError):
        made.find(process)


# ---------------------------------------------------------------- code made here


def image(
    code: bytes, *, bits: int = 64, data: bytes = b"", relocated: tuple[int, ...] = ()
) -> bytes:
    """An image with code at 0x1000, data at 0x2000 and relocations at 0x3000; in a
    file it is as in memory.
    """
    machine = {64: 0x8664, 32: 0x014C, 0: 0xAA64}[bits]
    fixed = 96 if bits == 32 else 112
    sections = [(b".text", 0x60000020), (b".data", 0xC0000040), (b".reloc", 0x42000040)]
    kind = 3 if bits == 32 else 10
    places = b"".join(struct.pack("<H", kind << 12 | at) for at in relocated)
    blocks = struct.pack("<II", 0x1000, 8 + len(places)) + places if relocated else b""
    optional = bytearray(fixed + 16 * 8)
    struct.pack_into("<H", optional, 0, 0x10B if bits == 32 else 0x20B)
    if bits == 32:
        struct.pack_into("<I", optional, 28, 0x400000)
    else:
        struct.pack_into("<Q", optional, 24, 0x1_4000_0000)
    struct.pack_into("<II", optional, 56, 0x4000, 0x1000)
    struct.pack_into("<I", optional, fixed - 4, 16)
    struct.pack_into("<II", optional, fixed + 5 * 8, 0x3000, len(blocks))
    headers = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    headers += struct.pack(
        "<4sHHIIIHH", b"PE\0\0", machine, 3, 7, 0, 0, len(optional), 2
    )
    headers += optional
    made = bytearray(0x4000)
    for number, (name, flags) in enumerate(sections, 1):
        headers += struct.pack(
            "<8s4I12xI", name, PAGE, number * PAGE, PAGE, number * PAGE, flags
        )
    made[: len(headers)] = headers
    made[PAGE : PAGE + len(code)] = code
    made[2 * PAGE : 2 * PAGE + len(data)] = data
    made[3 * PAGE : 3 * PAGE + len(blocks)] = blocks
    return bytes(made)


class Loaded(RemoteProcess):
    """This process, which says that an image in its memory is a module of it."""

    rows: list[Module]

    def modules(self) -> list[Module]:
        return self.rows


@pytest.fixture
def load() -> Iterator[Callable[[bytes], tuple[Loaded, int]]]:
    with Loaded.open(os.getpid(), access=ProcessAccess.WRITE) as process:
        process.rows = []
        blocks = []

        def load(data: bytes) -> tuple[Loaded, int]:
            blocks.append(process.alloc(len(data)))
            base = blocks[-1].address
            process.write(base, data)
            process.rows.append(Module("made.dll", "made.dll", base, len(data), 0))
            return process, base + PAGE

        yield load
        for block in blocks:
            block.close()


#: Code, its bits, the pattern that it becomes, and where its operand is.
INSTRUCTIONS = {
    "rip": (64, "48 8B 05 11 22 33 44", "48 8B 05 ?? ?? ?? ??", (3, 4, 7)),
    "rip and immediate": (
        64,
        "83 3D 11 22 33 44 05",
        "83 3D ?? ?? ?? ?? ??",
        (2, 4, 7),
    ),
    "lea": (64, "48 8D 0D 11 22 33 44", "48 8D 0D ?? ?? ?? ??", (3, 4, 7)),
    "call": (64, "E8 11 22 33 44", "E8 ?? ?? ?? ??", (1, 4, 5)),
    "jcc": (64, "0F 84 11 22 33 44", "0F 84 ?? ?? ?? ??", (2, 4, 6)),
    "short": (64, "75 11", "75 ??", (1, 1, 2)),
    "field": (64, "48 8B 47 18", "48 8B 47 ??", None),
    "far field": (64, "8B 88 11 22 00 00", "8B 88 ?? ?? ?? ??", None),
    "stack": (64, "48 83 EC 28", "48 83 EC ??", None),
    "immediate": (64, "B9 11 22 33 44", "B9 ?? ?? ?? ??", None),
    "wide": (64, "48 B8 1 2 3 4 5 6 7 8", "48 B8" + " ??" * 8, None),
    "thread": (64, "65 48 8B 04 25 30 0 0 0", "65 48 8B 04 25 ?? ?? ?? ??", None),
    "absolute": (64, "8B 04 25 11 22 33 44", "8B 04 25 ?? ?? ?? ??", (3, 4, 0)),
    "moffs": (64, "A1 1 2 3 4 5 6 7 8", "A1" + " ??" * 8, (1, 8, 0)),
    "registers": (64, "48 01 C8", "48 01 C8", None),
    "enter": (64, "C8 11 22 03", "C8 ?? ?? ??", None),
    "moffs32": (32, "A1 11 22 33 44", "A1 ?? ?? ?? ??", (1, 4, 0)),
    "absolute32": (32, "8B 0D 11 22 33 44", "8B 0D ?? ?? ?? ??", (2, 4, 0)),
    "table32": (32, "FF 24 85 11 22 33 44", "FF 24 85 ?? ?? ?? ??", None),
    "call32": (32, "E8 11 22 33 44", "E8 ?? ?? ?? ??", (1, 4, 5)),
    "push32": (32, "68 11 22 33 44", "68 ?? ?? ?? ??", None),
}
END = bytes.fromhex("0F 0B 0F 05 0F A2")  # ud2, syscall, cpuid: nothing to mask


def parse(text: str) -> bytes:
    return bytes(int(word, 16) for word in text.split())


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_operands_are_masked(
    load: Callable[[bytes], tuple[Loaded, int]], name: str
) -> None:
    """All of them, and no byte else; the operand is where the processor reads it."""
    bits, code, pattern, operand = INSTRUCTIONS[name]
    data = parse(code) + END
    # Twice, so that it takes what is behind it.
    process, at = load(image(data + b"\x0f\x31" + parse(code) + b"\x90\x90", bits=bits))
    made = process.signature(at)
    assert (str(made) + " ").startswith(pattern + " ")
    assert made.bitness == bits
    assert made.operand == operand
    assert made.version == "000000074000"


@pytest.mark.parametrize(
    ("constants", "relocated", "pattern", "operand"),
    [
        (False, (1,), "B8 ?? ?? ?? ?? 83 C0 ?? 8B 81 ?? ?? ?? ??", (1, 4, 0)),
        (True, (1,), "B8 ?? ?? ?? ?? 83 C0 05 8B 81 44 33 22 11", (1, 4, 0)),
        (True, (1, 10), "B8 ?? ?? ?? ?? 83 C0 05 8B 81 ?? ?? ?? ??", (1, 4, 0)),
        (True, (4,), "B8 78 56 34 12 83 C0 05 8B 81 44 33 22 11", None),
        (True, (), "B8 78 56 34 12 83 C0 05 8B 81 44 33 22 11", None),
    ],
)
def test_relocations_are_masked(
    load: Callable[[bytes], tuple[Loaded, int]],
    constants: bool,
    relocated: tuple[int, ...],
    pattern: str,
    operand: tuple[int, int, int] | None,
) -> None:
    """An immediate of 32-bit code that the loader changes is an address."""
    code = parse("B8 78 56 34 12 83 C0 05 8B 81 44 33 22 11")
    other = code[:13] + b"\x12\xf4"  # the same, as far as constants go
    process, at = load(image(code + END + other, bits=32, relocated=relocated))
    made = process.signature(at, constants=constants)
    assert (str(made) + " ").startswith(pattern[: len(str(made))])
    assert made.operand == operand


def test_addresses_in_32_bit_files(tmp_path: Path) -> None:
    """What an absolute operand means counts from where the file wants to be."""
    made = Signature("A1 ? ? ? ? 0F 0B", "made.dll", 32, (1, 4, 0))
    path = tmp_path / "made.dll"
    path.write_bytes(image(parse("90 A1 20 20 40 00 0F 0B"), bits=32))
    (row,) = made.check(path)
    assert (row.matches, row.in_code, row.target) == ((0x1001,), 1, 0x2020)
    backwards = Signature("EB ? 0F 0B", "made.dll", 32, (1, 1, 2))
    path.write_bytes(image(parse("90 EB FD 0F 0B"), bits=32))
    assert backwards.check(path)[0].target == 0x1000
    with pytest.raises(ValueError, match=r"code of x86, .* 64 bits"):
        Signature("EB ? 0F 0B", "made.dll").check(path)


def test_matches_in_data_are_told_apart(tmp_path: Path) -> None:
    """How often in the module, and how often of these in code."""
    made = Signature("0F 0B 0F 05", "made.dll")
    path = tmp_path / "made.dll"
    path.write_bytes(image(END + b"\x90" + END, data=b"\0" + END))
    (row,) = made.check(path)
    assert (row.matches, row.in_code) == ((0x1000, 0x1007, 0x2001), 2)
    assert not row.unique
    with Loaded.open(os.getpid()) as me:
        me.rows = []
        with pytest.raises(LookupError, match=r"made\.dll"):
            made.check(me)


def test_data_that_looks_the_same_makes_it_longer(
    load: Callable[[bytes], tuple[Loaded, int]],
) -> None:
    """It is once in the module, not only once in its code."""
    code = parse("48 01 C8 48 01 D0 48 01 D8")
    process, at = load(image(code, data=code[:6]))
    assert str(process.signature(at)) == "48 01 C8 48 01 D0 48"


@pytest.mark.parametrize("name", ["rip and immediate", "wide", "registers", "call"])
def test_the_first_instruction_is_whole(
    load: Callable[[bytes], tuple[Loaded, int]], name: str
) -> None:
    """Though its first byte is there once, since the operand is where it is in that
    instruction only. Wildcards at the end say nothing.
    """
    bits, code, pattern, operand = INSTRUCTIONS[name]
    process, at = load(image(b"\x90" * 64 + parse(code), bits=bits))
    made = process.signature(at + 64)
    assert str(made) == pattern.rstrip(" ?")
    assert made.operand == operand
    if operand is not None:
        offset, size, end = operand
        written = int.from_bytes(parse(code)[offset : offset + size], "little")
        assert made.target(process) == at + 64 + end + written


@pytest.mark.parametrize("seed", range(20))
def test_the_shortest_one_is_made(
    load: Callable[[bytes], tuple[Loaded, int]], seed: int
) -> None:
    """As a search of all lengths by regular expressions finds it."""
    rng = random.Random(seed)
    words = [
        parse(w) for w in ("48 01 C8", "90", "E8 1 2 3 4", "50", "74 05", "48 8B 4F 8")
    ]
    code = b"".join(rng.choices(words, k=rng.choice([40, 150, 400])))[:4000]
    process, at = load(image(code))
    data = process.read(at - PAGE, 4 * PAGE)
    start = 0
    for _ in range(10):
        made = sign_or_none(process, at + start)
        if made is not None:
            assert [m.start() for m in naive(made, data)] == [PAGE + start]
            words_of = str(made).split()
            for size in range(1, len(words_of)):
                shorter = Signature(" ".join(words_of[:size]), "x")
                if len(list(naive(shorter, data))) == 1:
                    # Only to have the first instruction whole.
                    first = {0x48: 4 if data[PAGE + start + 1] == 0x8B else 3}
                    assert len(words_of) <= first.get(data[PAGE + start], 1)
        size = {0x48: 3, 0xE8: 5, 0x74: 2}.get(code[start], 1)
        start += 4 if code[start : start + 2] == b"\x48\x8b" else size


def test_code_that_cannot_be_told_apart(
    load: Callable[[bytes], tuple[Loaded, int]],
) -> None:
    """How often it is there, how far it was looked at, and what to do."""
    block = parse("48 01 C8 E8 1 2 3 4 50 58 83 C0 05 C3")
    other = block[:-2] + b"\x06\xc3"
    process, at = load(image(block + other + block + b"\xcc" + END, data=block))
    with pytest.raises(ValueError, match=r"made\.dll\+0x1000: .* max_size, 12 bytes"):
        process.signature(at, max_size=12)
    with pytest.raises(ValueError, match=r"4 times in made\.dll, 3 of them in code"):
        process.signature(at, max_size=12)
    with pytest.raises(ValueError, match=r"3 times .*another instruction$"):
        process.signature(at, max_size=13, constants=True)
    assert str(process.signature(at + 28)).endswith("C3 CC")
    with pytest.raises(ValueError, match=">= 1"):
        process.signature(at, max_size=0)


def test_the_end_of_code(load: Callable[[bytes], tuple[Loaded, int]]) -> None:
    """Of the section, of what is code, and of what can be read."""
    code = b"\x90" * 16 + b"\x0f\x04" + b"\x90" * 2000
    process, at = load(image(code.ljust(PAGE, b"\x90")))
    with pytest.raises(ValueError, match=r"the end of \.text"):
        process.signature(at + PAGE - 20)
    with pytest.raises(ValueError, match="bytes that are no code"):
        process.signature(at)
    with pytest.raises(ValueError, match=r"no instruction begins at made\.dll\+0x1010"):
        process.signature(at + 16)


def test_pages_that_cannot_be_read(load: Callable[[bytes], tuple[Loaded, int]]) -> None:
    """The error is that of a read; the other pages of the module do not matter."""
    process, at = load(image(END))
    with process.protect(at, PAGE, 1), pytest.raises(PartialReadError):
        process.signature(at)
    with process.protect(at + PAGE, PAGE, 1):
        assert str(process.signature(at)) == "0F 0B"


def test_a_module_that_is_unloaded_meanwhile() -> None:
    """It was in the list, and is gone when it is read."""

    class Unloading(Loaded):
        def modules(self) -> list[Module]:
            rows, self.rows = self.rows, []
            if rows:
                block.close()
            return rows

    with Unloading.open(os.getpid(), access=ProcessAccess.WRITE) as process:
        block = process.alloc(4 * PAGE)
        at = block.address
        process.write(at, image(END))
        process.rows = [Module("gone.dll", "gone.dll", at, 4 * PAGE, 0)]
        with pytest.raises(LookupError, match=r"gone\.dll .* was unloaded meanwhile"):
            process.signature(at + PAGE)


def test_a_module_that_is_unloaded_when_half_is_read() -> None:
    """Its relocations are read last."""

    class Unloading(Loaded):
        def read(self, address: Any, size: int, *, partial: bool = False) -> Any:
            found = super().read(address, size, partial=partial)
            if partial:
                block.close()
                self.rows = []
            return found

    with Unloading.open(os.getpid(), access=ProcessAccess.WRITE) as process:
        block = process.alloc(4 * PAGE)
        at = block.address
        process.write(at, image(END, relocated=(0,)))
        process.rows = [Module("gone.dll", "gone.dll", at, 4 * PAGE, 0)]
        with pytest.raises(LookupError, match=r"gone\.dll .* was unloaded meanwhile"):
            process.signature(at + PAGE)


def test_code_of_another_processor(load: Callable[[bytes], tuple[Loaded, int]]) -> None:
    process, at = load(image(END, bits=0))
    with pytest.raises(ValueError, match="code of arm64, not of x86"):
        process.signature(at)


# ------------------------------------------------------------ the object, no iced


def test_no_iced_a_signature_is_a_pattern() -> None:
    """Printed as one, taken as one, and equal whatever build it is from."""
    made = Signature("48 8b ? 4? 05", "game.exe", version="1")
    assert str(made) == made.text == "48 8B ?? 4? 05"
    assert made == Signature(r"48 8B ?? 4? 05", "game.exe", version="2")
    assert Signature(r"\x48\x8B\x00 xx?", "a.dll").text == "48 8B ??"
    data = bytes.fromhex("00 48 8b ff 4c 05 90")
    assert list(scan_bytes(data, made)) == [1]
    found = list(scan_bytes(data, {"sig": made, "byte": b"\x90"}))
    assert [(row.address, row.pattern) for row in found] == [(1, "sig"), (6, "byte")]
    assert made.pattern == Pattern.hex(made.text)
    assert "game.exe" in repr(made)


def test_no_iced_they_are_kept_in_files(tmp_path: Path) -> None:
    """As text, and what is none is refused."""
    path = tmp_path / "score.json"
    for made in (
        Signature("48 8B 05 ? ? ? ? 90", "game.exe", 64, (3, 4, 7), "0000000A5000"),
        Signature("4? C3", 'a "b" é.dll', 32),
    ):
        made.save(path)
        again = Signature.load(path)
        assert (again, again.version) == (made, made.version)
        assert json.loads(path.read_text("utf-8"))["signature"]["pattern"] == made.text
    good = json.loads(path.read_text("utf-8"))
    for change in (
        {"format": "other"},
        {"version": 2},
        {"signature": []},
        {"signature": {**good["signature"], "pattern": "4"}},
        {"signature": {**good["signature"], "pattern": 4}},
        {"signature": {**good["signature"], "bitness": 16}},
        {"signature": {**good["signature"], "module": 5}},
        {"signature": {**good["signature"], "operand": [1, 3, 0]}},
        {"signature": {**good["signature"], "operand": [1, 4]}},
        {"signature": {**good["signature"], "operand": "abc"}},
        {"signature": {**good["signature"], "operand": [1.5, 4, 0]}},
        {"signature": {**good["signature"], "operand": [1, 4.0, 0]}},
        {"signature": {**good["signature"], "bitness": 32.0}},
        {"signature": {**good["signature"], "more": 1}},
    ):
        path.write_text(json.dumps({**good, **change}), encoding="utf-8")
        with pytest.raises(ValueError, match="no file of a signature"):
            Signature.load(path)
    for text in ("[]", "[" * 100_000):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="no file of a signature"):
            Signature.load(path)


def test_no_iced_users_need_no_decoder(
    process: RemoteProcess, one: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signature of others is found, and making one says what is missing."""
    monkeypatch.setitem(sys.modules, "iced_x86", None)
    monkeypatch.delitem(sys.modules, "winipc.scan._x86", raising=False)
    with pytest.raises(ImportError, match=r"pip install winipc\[signatures\]"):
        process.signature(one.where("hit"))
    code = process.read(one.where("hit"), 24)
    made = Signature(code.hex(" "), one.path.name, BITNESS)
    assert made.find(process) == one.where("hit")
    with pytest.raises(ValueError, match="refers to no address"):
        made.target(process)
    with pytest.raises(LookupError, match=r"not in signed_one\.exe"):
        Signature("0F 04 0F 04 0F 04 99", one.path.name).find(process)
    with pytest.raises(LookupError, match="more than once"):
        Signature("00 00", one.path.name).find(process)
    with pytest.raises(LookupError, match="no module"):
        Signature("00 00", "other.exe").find(process)


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        (struct.pack("<II", 0x1000, 0), "block"),
        (struct.pack("<II", 0x1000, 9) + bytes(8), "block"),
        (struct.pack("<II", 0x1000, 4096), "block"),
    ],
)
def test_no_iced_hostile_relocations(blocks: bytes, words: str) -> None:
    """They end, and with an error."""
    data = bytearray(image(END, relocated=(1, 2, 3, 4)))
    data[3 * PAGE : 3 * PAGE + len(blocks)] = blocks
    reader = ImageReader(lambda at, size: bytes(data[at : at + size]), len(data), "it")
    with pytest.raises(ValueError, match=words):
        list(reader.relocations(PAGE, 2 * PAGE))
