"""A 32-bit and a 64-bit Python in one prefix: what crosses, and what is refused."""

from __future__ import annotations

import hashlib
import subprocess
import uuid

import pytest
import wine
from conftest import DEADLINE, ROOT, Dev
from peers import c_peers
from pins import AMD64, DEFAULT_PYTHON, X86

pytestmark = pytest.mark.skipif(
    bool(wine.missing(bits32=True)), reason="no 32-bit part of Wine"
)

PEERS = ROOT / "tests" / "exchange" / "peers"
TEXT, BINARY, LARGE = b"text", b"one\0two", b"large" * 30_000
#: What the receiver prints of each.
SHOWN = {data: data.hex() for data in (TEXT, BINARY)}
SHOWN[LARGE] = hashlib.sha256(LARGE).hexdigest()

#: Sends all three, each by all that may carry it, and prints what came of it.
SENDER = f"""
import ctypes, os, sys, winipc

title = sys.argv[1]
with winipc.Sender(title, mapping=title) as sender:
    for via in (*winipc.Transport, "auto"):
        for data in ({TEXT!r}, {BINARY!r}, b"large" * 30_000):
            if via == "section" and len(data) > 4096:
                continue
            try:
                print(via, len(data), sender.send(data, via=via))
            except ValueError as error:
                print(via, len(data), error)
# As a program does that knows nothing of all this.
text = ctypes.create_string_buffer({TEXT!r})
lparam = ctypes.addressof(text)
print(winipc.send_message(title, "Handle", os.getpid(), lparam))
"""

#: What a target of this width has loaded, of which the headers say the machine.
MODULES = """
import sys, winipc

with winipc.RemoteProcess.open(int(sys.argv[1])) as target:
    print(target.pointer_size)
    modules = target.modules()
    heads = [target.read(m.base, 0x400) for m in modules]
    at = [int.from_bytes(head[0x3C:0x40], "little") for head in heads]
    print(*{head[i + 4 : i + 6].hex() for head, i in zip(heads, at)})
    print([m.name.lower() for m in modules].count("ntdll.dll"))
    exports = target.exports("ntdll.dll")
    print(any(export.name == "NtClose" for export in exports))
"""

SECTION = "section is not shared between 32 bits and 64 bits"
WIDE = "process carries nothing from 64 bits to 32 bits"
NARROW = "a 32-bit process sends only text without NUL by the process transport"


#: Tests of programs in C that know nothing of the width of Python.
C_PROGRAMS = [
    "tests/channel/test_channel_peers.py",
    "tests/interop/test_c_messages.py",
    "tests/memory/test_mapping_header.py",
    "tests/memory/test_snapshot_protocols.py",
    "tests/message/test_controls.py",
    "tests/process/test_process_memory.py",
    "tests/sync/test_shared_lock.py",
]


def python(dev: Dev, bits: int, *args: object, **env: str) -> subprocess.Popen[str]:
    version = X86.build_python if bits == 32 else DEFAULT_PYTHON
    env = dev.env | env | {"WINIPC_PYTHON": version}
    return dev.start("python", *map(str, args), env=env, stdin=subprocess.PIPE)


@pytest.mark.parametrize("bits", [64, 32])
def test_what_a_sender_of_other_width_delivers(dev: Dev, bits: int) -> None:
    """Every byte, or an error in words: never zeros, and never a part."""
    title = f"winipc-mixed-{uuid.uuid4().hex}"
    script = PEERS / "exchange_receiver.py"
    receiver = python(dev, 96 - bits, script, title, title, 1 << 20)
    assert receiver.stdout is not None
    assert receiver.stdout.readline() == "ready\n"
    sender = python(dev, bits, "-c", SENDER, title)
    said, errors = sender.communicate(timeout=DEADLINE)
    got, _ = receiver.communicate(timeout=DEADLINE)
    outcomes = said.splitlines()
    by_process = [WIDE] * 3 if bits == 64 else [1, NARROW, 1]
    by_hand = 0 if bits == 64 else 1
    sizes = [len(data) for data in (TEXT, BINARY, LARGE)]
    assert outcomes == [
        *(f"copydata {size} 1" for size in sizes),
        *(f"mapping {size} 1" for size in sizes),
        *(f"section {size} {SECTION}" for size in sizes[:2]),
        *(f"process {s} {what}" for s, what in zip(sizes, by_process, strict=True)),
        *(f"auto {size} 1" for size in sizes),
        str(by_hand),
    ], errors
    expected = [("copydata", data) for data in (TEXT, BINARY, LARGE)]
    expected += [("mapping", data) for data in (TEXT, BINARY, LARGE)]
    if bits == 32:
        expected += [("process", TEXT), ("process", LARGE)]
    expected += [("copydata", TEXT), ("copydata", BINARY), ("mapping", LARGE)]
    if bits == 32:
        expected += [("process", TEXT)]
    assert got.splitlines() == [f"{via} {SHOWN[data]}" for via, data in expected]


def test_modules_of_a_32_bit_target_are_its_own(dev: Dev) -> None:
    """Not the 64-bit ones that Windows has in the same process."""
    target = python(dev, 32, "-c", "import os; print(os.getpid(), flush=True); input()")
    assert target.stdout is not None
    pid = target.stdout.readline().strip()
    said, errors = python(dev, 64, "-c", MODULES, pid).communicate(timeout=DEADLINE)
    target.communicate("\n", timeout=DEADLINE)
    assert said.split() == ["4", "4c01", "1", "True"], errors


@pytest.mark.parametrize("bits", [64, 32])
def test_c_programs_of_the_other_width(dev: Dev, bits: int) -> None:
    """They do what those of the same width do: messages, channels, locks, records."""
    machine = X86 if bits == 64 else AMD64
    named = "_c_ or exe or writer or program or items or block"
    pytest = ["-m", "pytest", "-q", "-k", named]
    peers = wine.windows_path(c_peers(machine))
    ran = python(dev, bits, *pytest, *C_PROGRAMS, WINIPC_PEERS=peers)
    said, errors = ran.communicate(timeout=10 * DEADLINE)
    assert ran.returncode == 0, said + errors
