"""Modules, exports, threads and addresses relative to a module.

Against tests/process/peers/target.c, whose memory is known.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from conftest import FULL
from helpers.c_target import Target

import winipc
from winipc import (
    GlobalMemory,
    PartialReadError,
    RemoteProcess,
)

#: How many times the headers of a module are spoilt at random.
HOSTILE_HEADERS = 150 if FULL else 50


@pytest.fixture
def target(targets: Callable[[], Target]) -> Target:
    """The same for all tests; one that spoils what is known there ends it."""
    return targets()


def test_pointer_chains(process: RemoteProcess, target: Target) -> None:
    """As the C program laid them out; a broken one says where it broke."""
    chain = target.where("chain")
    end = process.pointer([chain + 0x10, 0x18, 0x20])
    assert process.get(end, "i32") == 0x1337
    assert process.pointer([chain]) == chain
    assert process.pointer([hex(chain) + "+0x10", 0]) == process.read_pointer(
        chain + 16
    )
    with pytest.raises(PartialReadError) as caught:
        process.pointer([chain, 8, 0])  # the first one is NULL
    assert any("pointer 2 of 2, at 0x8" in note for note in caught.value.__notes__)
    with pytest.raises(ValueError, match="no address"):
        process.pointer([chain, -1])


def test_addresses_as_text(process: RemoteProcess) -> None:
    """Module names, quoted or not, with offsets."""
    base = process.module("target.exe").base
    for text, wanted in {
        '"target.exe"+0x10': base + 16,
        ' "TARGET.EXE" + 0x10 - 6 ': base + 10,
        "target.exe": base,
        "target.exe+16": base + 16,
        "0x1000+0x10": 0x1010,
        "4096": 4096,
    }.items():
        assert process.address(text) == process.pointer(text) == wanted
    assert (
        process.address(base) == process.address(process.module("target.exe")) == base
    )
    for text in ("", "+5", '"target.exe', "target.exe+", "target.exe*2", "1-2", "a+b"):
        with pytest.raises((ValueError, LookupError)):
            process.address(text)


@pytest.mark.parametrize(
    ("number", "meant"),
    [("00147198", "147198"), ("2628F8C", "2628F8C"), ("00492DA8", "492DA8")],
)
def test_bare_hexadecimal_is_refused_with_what_to_write(
    process: RemoteProcess, number: str, meant: str
) -> None:
    """As Cheat Engine shows addresses; never another number in silence."""
    for text in (f'"target.exe"+{number}', f"target.exe+{number}"):
        with pytest.raises(ValueError, match=f"write {number} as 0x{meant}") as error:
            process.address(text)
        assert text in str(error.value)
    for text in ("target.exe-0010", "0010"):
        with pytest.raises(ValueError, match="0x10"):
            process.address(text)


def test_exports_are_addresses(process: RemoteProcess) -> None:
    """As debuggers write them."""
    named = {one.name: one.address for one in process.exports("kernel32.dll")}
    sleep = named["Sleep"]
    assert process.address("kernel32.dll!Sleep") == sleep
    assert process.address('"KERNEL32.dll!Sleep"+0x10 - 1') == (sleep or 0) + 15
    with pytest.raises(LookupError, match=r"exports no 'Slep' \(did you mean Sleep\?"):
        process.address("kernel32.dll!Slep")
    with pytest.raises(LookupError, match=r"nope\.dll"):
        process.address("nope.dll!Sleep")


def test_brackets_are_pointers(process: RemoteProcess, target: Target) -> None:
    """As in the text of a chain; the pointers have the target's size."""
    at = target.alloc(4096)
    width = 8 if process.is_64bit else 4
    process.write(at, (at + 0x100).to_bytes(width, "little"))
    process.write(at + 0x108, (at + 0x200).to_bytes(width, "little"))
    for text, wanted in {
        f"[{at:#x}]": at + 0x100,
        f"[ {at:#x} ] - 4": at + 0xFC,
        f"[[{at}]+8]+0x10": at + 0x210,
        f"[[{at + 16:#x}-0x10] + 8]": at + 0x200,
    }.items():
        assert process.address(text) == wanted
    with pytest.raises(winipc.PartialReadError):
        process.address("[0x10]")
    with pytest.raises(LookupError, match=r"nope\.exe"):
        process.address('["nope.exe"+8]')
    for text in ("[", "[]", f"[{at}", f"{at}]", f"[{at}][{at}]", f"[{at}]8"):
        with pytest.raises((ValueError, LookupError)):
            process.address(text)


def test_texts_are_addresses_everywhere(process: RemoteProcess, target: Target) -> None:
    """What takes an address takes its text; a bad text, and one that closes."""
    at = target.alloc(4096)
    process.write(f"{at}+16", b"winipc\0")
    process.set(f"{at:#x}", "i32", 7)
    process.write_struct(f"{at}+8", "<Q" if process.is_64bit else "<I", at)
    buffer = bytearray(6)
    process.read_into(f"{at}+16", buffer)
    assert buffer == process.read(f"[{at}+8]+16", 6) == b"winipc"
    assert process.read_many([(f"{at}+16", 6), (at + 16, 6)]) == [b"winipc"] * 2
    assert process.get(f"{at}", "i32") == process.read_struct(f"{at}", "i32")[0] == 7
    assert process.read_cstr(f"{at}+16") == "winipc"
    assert process.read_pointer(f"{at}+8") == next(process.walk(f"{at}+8", 8)) - 8 == at
    assert next(process.regions(f"{at}", f"{at}+1")).base == at
    for chain in ([at + 8, 16], (f"{at}+8", 16), iter([f"{at}+8", 16]), [[at + 8, 16]]):
        assert process.read(chain, 6) == b"winipc"
    assert process.read_cstr([at + 8, 16]) == "winipc"
    assert process.watch(f"{at}", 4).value == b"\x07\0\0\0"
    with process.protect(f"{at}", 4):
        pass
    with pytest.raises(LookupError, match=r"nope\.dll"):
        process.get("nope.dll", "i32")
    wrong: Any
    for wrong in (b"nope.dll", bytearray(8), memoryview(b"1"), None, 1.5, [b"x"]):
        with pytest.raises(TypeError, match="an int, a text or a chain, not "):
            process.read(wrong, 4)
        with pytest.raises(TypeError, match="an int, a text or a chain, not "):
            process.at(wrong, "lives:i32")


def test_a_text_that_closes_the_process() -> None:
    """The text runs Python, and Python can do that."""

    class Closing(RemoteProcess):
        def address(self, expression: Any) -> int:
            self.close()
            return 4096

    for use in (
        lambda it: it.read("x", 4),
        lambda it: it.read_into("x", bytearray(4)),
        lambda it: it.write("x", b"1"),
        lambda it: it.get("x", "i32"),
        lambda it: it.set("x", "i32", 1),
        lambda it: it.read_many([("x", 4)]),
    ):
        with pytest.raises(ValueError, match="closed"):
            use(Closing.open(os.getpid(), access=winipc.ProcessAccess.WRITE))


def test_a_text_in_brackets_is_followed_again(
    process: RemoteProcess, target: Target
) -> None:
    """As the chain that it means."""
    at = target.alloc(4096)
    width = 8 if process.is_64bit else 4
    process.write(at, (at + 0x100).to_bytes(width, "little"))
    view = process.at(f"[{at}]+8", "lives:i32")
    view.lives = 3
    process.write(at, (at + 0x200).to_bytes(width, "little"))
    assert (view.lives, process.get(at + 0x108, "i32")) == (0, 3)


def test_modules_are_named_in_errors(process: RemoteProcess) -> None:
    """A name that no module has."""
    with pytest.raises(LookupError, match=r"nope\.dll"):
        process.address("nope.dll+1")
    with pytest.raises(LookupError, match=r"begins with 0x: 0x7FF6a0001000\)"):
        process.address("7FF6a0001000")


def test_modules_and_exports(process: RemoteProcess, target: Target) -> None:
    """What is loaded, and what it exports, agree with the target itself."""
    modules = process.modules()
    names = [module.name.casefold() for module in modules]
    assert names[0] == "target.exe"
    assert {"ntdll.dll", "kernel32.dll"} <= set(names)
    module = process.module("Target.EXE")
    assert module.path == process.path
    exported = target.where("exported")
    assert exported in module
    assert module + (exported - module.base) == exported
    exports = {export.name: export for export in process.exports(module)}
    assert exports["target_exported"].address == exported
    assert process.get(exported, "u32") == 0x600D600D
    witness = ctypes.WinDLL("kernel32")
    witness.GetModuleHandleW.restype = ctypes.c_void_p
    kernel32 = process.module("kernel32.dll")
    if witness.GetModuleHandleW("kernel32.dll") == kernel32.base:
        function = ctypes.cast(witness.GetTickCount, ctypes.c_void_p).value
        found = {export.name: export for export in process.exports("kernel32.dll")}
        assert found["GetTickCount"].address == function
        assert any(export.forwarder for export in found.values())
    with pytest.raises(LookupError, match="nope"):
        process.module("nope.dll")


def test_other_threads_run_while_modules_are_listed(me: RemoteProcess) -> None:
    """To the end: each module costs as many reads of the target as come before it."""
    last, over, interval = 0.0, threading.Event(), sys.getswitchinterval()

    def run() -> None:
        nonlocal last
        while not over.is_set():
            last = time.perf_counter()
            time.sleep(0)

    thread = threading.Thread(target=run)
    thread.start()
    sys.setswitchinterval(60)  # only the call itself gives the GIL up
    late = early = 0
    try:
        while late < 4 and early < 4:  # of seven
            began = time.perf_counter()
            me._modules()
            ended = time.perf_counter()
            if (last - began) / (ended - began) > 0.6:
                late += 1
            else:
                early += 1
    finally:
        sys.setswitchinterval(interval)
        over.set()
        thread.join()
    assert late == 4


def test_hostile_headers_are_errors(me: RemoteProcess) -> None:
    """A module whose headers lie is refused, whatever they say; never a crash."""
    import random

    real = me.module("kernel32.dll")
    image = me.read(real.base, real.size, partial=True).data
    rng = random.Random(1)
    pe = int.from_bytes(image[0x3C:0x40], "little")
    start = int.from_bytes(image[pe + 24 + 112 : pe + 24 + 116], "little")
    interesting = [*range(0x3C, 0x40), *range(pe, pe + 150), *range(start, start + 40)]
    refused = 0
    with GlobalMemory(real.size, kind=winipc.MemoryKind.VIRTUAL) as memory:
        fake = dataclasses.replace(real, base=memory.address)
        for _ in range(HOSTILE_HEADERS):
            memory.write(image)
            for _ in range(rng.randint(1, 4)):
                memory[rng.choice(interesting)] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
            try:
                me.exports(fake)
            except (ValueError, PartialReadError):
                refused += 1
        memory.write(bytes(4096))
        with pytest.raises(ValueError, match="no MZ header"):
            me.exports(fake)
    assert refused > HOSTILE_HEADERS // 8
    with pytest.raises(ValueError, match="outside"):
        me.exports(dataclasses.replace(real, size=100))


IMAGE = 1 << 20


EXPORTS = 0x1000  # offsets in a crafted image
FUNCTIONS, NAMES, ORDINALS, TEXTS = 0x2000, 0x50000, 0x90000, 0xC0000


def crafted_image(
    *,
    magic: int = 0x20B,
    size: int = 0x1000,
    ordinal_base: int = 1,
    functions: int = 2,
    names: int = 1,
    tables: tuple[int, int, int] = (FUNCTIONS, NAMES, ORDINALS),
    offsets: tuple[int, ...] = (0x100, 0x200),
    name_offsets: tuple[int, ...] = (TEXTS,),
    ordinals: tuple[int, ...] = (1,),
    texts: bytes = b"name\0",
    header: int = 0x80,
    directories: int = 16,
) -> bytearray:
    """A module with exports: two functions, the second has a name."""
    import struct

    image = bytearray(IMAGE)

    def put(at: int, code: str, *values: int) -> None:
        struct.pack_into("<" + code, image, at, *values)

    image[0:2] = b"MZ"
    put(0x3C, "I", header)
    image[0x80:0x84] = b"PE\0\0"
    put(0x80 + 20, "H", 240)
    put(0x80 + 24, "H", magic)
    data = 0x80 + 24 + (112 if magic == 0x20B else 96)
    put(data - 4, "III", directories, EXPORTS, size)
    put(EXPORTS + 16, "III", ordinal_base, functions, names)
    put(EXPORTS + 28, "III", *tables)
    put(FUNCTIONS, f"{len(offsets)}I", *offsets)
    put(NAMES, f"{len(name_offsets)}I", *name_offsets)
    put(ORDINALS, f"{len(ordinals)}H", *ordinals)
    image[TEXTS : TEXTS + len(texts)] = texts
    return image


def exports_of(process: RemoteProcess, image: bytearray) -> list[winipc.Export]:
    with process.alloc(IMAGE) as block:
        process.write(block.address, image)
        module = winipc.Module("crafted.dll", "", block.address, IMAGE, 0)
        return [
            dataclasses.replace(e, address=e.address and e.address - block.address)
            for e in process.exports(module)
        ]


@pytest.mark.parametrize("magic", [0x20B, 0x10B], ids=["64-bit", "32-bit"])
def test_exports_of_a_crafted_image(process: RemoteProcess, magic: int) -> None:
    """Of either kind: by ordinal, by several names, unused and forwarded."""
    Export = winipc.Export
    assert exports_of(process, crafted_image(magic=magic)) == [
        Export(None, 1, 0x100),
        Export("name", 2, 0x200),
    ]
    image = crafted_image(
        magic=magic,
        functions=4,
        names=3,
        offsets=(0, 0x100, EXPORTS + 0x800, EXPORTS + 0x800),
        name_offsets=(TEXTS, TEXTS + 2, TEXTS + 4),
        ordinals=(1, 1, 2),
        ordinal_base=10,
    )
    # It stands in for itself, in a circle: that is said, and not followed.
    image[EXPORTS + 0x800 : EXPORTS + 0x80C] = b"crafted.#12\0"
    assert exports_of(process, image) == [
        Export("name", 11, 0x100),
        Export("me", 11, 0x100),
        Export("", 12, None, "crafted.#12"),
        Export(None, 13, None, "crafted.#12"),
    ]
    assert exports_of(process, crafted_image(magic=magic, directories=0)) == []
    assert exports_of(process, crafted_image(functions=0, names=0)) == []


HUGE = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param({"names": HUGE}, "too many", id="names"),
        pytest.param({"names": 65537}, "too many", id="names, one too many"),
        pytest.param({"functions": HUGE}, "too many", id="functions"),
        pytest.param({"tables": (HUGE - 3, NAMES, ORDINALS)}, "outside", id="table"),
        pytest.param({"tables": (FUNCTIONS, IMAGE - 2, ORDINALS)}, "outside", id="end"),
        pytest.param({"tables": (FUNCTIONS, NAMES, HUGE)}, "outside", id="ordinals"),
        pytest.param({"name_offsets": (HUGE,)}, "outside", id="a name"),
        pytest.param({"name_offsets": (IMAGE,)}, "outside", id="a name at the end"),
        pytest.param({"texts": b"x" * 5000}, "no NUL", id="a name without end"),
        pytest.param({"ordinals": (2,)}, "belongs to export 2", id="an ordinal"),
        pytest.param({"ordinals": (65535,)}, "belongs", id="the last ordinal"),
        pytest.param({"size": HUGE}, "outside", id="directory"),
        pytest.param({"header": HUGE}, "outside", id="header"),
        pytest.param({"header": IMAGE - 3}, "outside", id="header at the end"),
        pytest.param({"header": 0x90}, "no PE", id="no header"),
        pytest.param({"magic": 0x107}, "unknown", id="magic"),
        pytest.param(
            {
                "names": 65536,
                "name_offsets": (TEXTS,) * 65536,
                "ordinals": (0,) * 65536,
                "texts": b"x" * 4000 + b"\0",
            },
            "longer than the image",
            id="one long name for all",
        ),
        pytest.param(
            {
                "functions": 65536,
                "names": 0,
                "offsets": (TEXTS,) * 65536,
                "size": IMAGE - EXPORTS,
                "texts": b"x" * 4000 + b"\0",
            },
            "longer than the image",
            id="one long forwarder for all",
        ),
    ],
)
def test_exports_that_lie_are_refused(
    process: RemoteProcess, fields: dict[str, object], said: str
) -> None:
    """Before memory or time is spent on them."""
    import tracemalloc

    image = crafted_image(**fields)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=said):
            exports_of(process, image)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_threads(process: RemoteProcess, target: Target) -> None:
    """A thread more when it churns."""
    before = process.threads()
    assert before
    target.ask("churn on")
    assert len(process.threads()) == len(before) + 1
    target.ask("churn off")


def test_processes_lists_this_one(target: Target) -> None:
    """And the target."""
    rows = {row.pid: row for row in winipc.processes()}
    assert rows[target.pid].name == "target.exe"
    assert os.getpid() in rows
