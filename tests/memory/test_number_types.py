"""One spelling of the types of numbers: whatever takes a type takes each of them."""

from __future__ import annotations

import os
import struct
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

import pytest

from winipc import (
    CandidateSet,
    Channel,
    GlobalMemory,
    Layout,
    Pattern,
    ProcessAccess,
    RemoteProcess,
    SharedMapping,
    Snapshot,
    ValueType,
    decoders,
    scan_bytes,
)
from winipc.cli.overlay import Overlay
from winipc.cli.scan import value_type

CODES = {"i16": "h", "u16": "H", "i32": "i", "u32": "I", "i64": "q", "u64": "Q"}
CODES |= {"i8": "b", "u8": "B", "f32": "f", "f64": "d"}
VALUE = 42

#: What an unknown type is to them.
REFUSALS = ValueError, ArgumentTypeError

#: One where the memory holds VALUE at its beginning, as `code`; the rest is 0.
Use = Callable[[GlobalMemory, str], object]


def _process(memory: GlobalMemory, word: str) -> object:
    with RemoteProcess.open(os.getpid()) as process:
        assert process.read_struct(memory.address, word) == (VALUE,)
        return process.get(memory.address, word)


def _write_process(memory: GlobalMemory, word: str) -> object:
    with RemoteProcess.open(os.getpid(), access=ProcessAccess.WRITE) as process:
        process.set(memory.address, word, 7)
        with process.freeze(memory.address, VALUE, word):
            pass
    return _process(memory, word)


def _set(memory: GlobalMemory, word: str) -> object:
    memory.set(8, word, VALUE)
    return memory.get(8, word)


def _scan(memory: GlobalMemory, word: str) -> object:
    for pattern in (Pattern.value(word, VALUE), Pattern.range(word, VALUE, VALUE)):
        assert list(scan_bytes(memory, pattern)) == [0]
    group = Pattern.group({0: (word, VALUE)})
    assert list(scan_bytes(memory, group)) == [0]
    return VALUE


def _candidates(memory: GlobalMemory, word: str) -> object:
    with RemoteProcess.open(os.getpid()) as process:
        where = [(memory.address, memory.size)]
        with CandidateSet.scan(process, word, equals=VALUE, regions=where) as found:
            assert list(found) == [memory.address]
            return VALUE


def _layout(memory: GlobalMemory, word: str) -> object:
    # In a text, a number in front of a code is that of its elements.
    assert memory.struct_view(f"a:{word} b:2{word}").a == VALUE
    assert Layout.of("s", f"a:{word} b:2{word}") == Layout.of(
        "s", {"a": word, "b": (word, 2)}
    )
    return memory.struct_view(Layout.of("s", {"a": word})).a


def _channel(memory: GlobalMemory, word: str) -> object:
    with Channel.create(None, 4096) as channel:
        channel.send(_first(memory, word))
        return channel.recv(0, layout=word)[0]


def _snapshot(memory: GlobalMemory, word: str) -> object:
    with Snapshot.over(bytearray(64), word) as snapshot:
        snapshot.write(memory.read(snapshot.size))
        return snapshot.read(layout=word)[0]


USES: dict[str, Use] = {
    "get": lambda m, word: m.get(0, word),
    "set": _set,
    "process get, read_struct": _process,
    "process set, freeze": _write_process,
    "scan": _scan,
    "CandidateSet": _candidates,
    "Layout": _layout,
    "Channel.recv": _channel,
    "decoders.structure": lambda m, w: decoders.structure(w)(_first(m, w))[0],
    "--struct": lambda m, word: Overlay(word).as_json(m.read())[0],
    "--type": lambda m, word: struct.unpack_from(value_type()(word).format, m)[0],
    "ValueType": lambda m, w: struct.unpack_from(ValueType.named(w).format, m)[0],
}


def _first(memory: GlobalMemory, word: str) -> bytes:
    return memory.read(ValueType.named(word).size)


def spellings(name: str) -> list[str]:
    code = CODES[name]
    return [name, code, f"<{code}", f"={code}", f"@{code}"]


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("use", USES)
def test_each_type_in_each_spelling(use: str, name: str) -> None:
    """The table of all entry points: name and struct code mean the same."""
    with GlobalMemory(64) as memory:
        for word in spellings(name):
            memory.write(struct.pack(f"<{CODES[name]}", VALUE).ljust(64, b"\0"))
            assert USES[use](memory, word) == VALUE


@pytest.mark.parametrize("name", [name for name in CODES if name[0] != "f"])
def test_interlocked_numbers_in_each_spelling(name: str) -> None:
    for word in spellings(name):
        with GlobalMemory(64) as memory, memory.atomic(8, word) as number:
            assert number.add(VALUE) == 0
            assert (number.type, number.value) == (name, VALUE)


@pytest.mark.parametrize("kind", ValueType)
def test_a_member_is_a_type(kind: ValueType) -> None:
    """A ValueType of this machine's order does where its name does."""
    assert ValueType.named(str(kind)) is ValueType.named(kind.format) is kind
    with GlobalMemory(16) as memory:
        if kind.format.startswith("<"):
            memory.set(0, kind, VALUE)
            assert memory.get(0, str(kind)) == VALUE
        else:
            with pytest.raises(ValueError, match="no type of numbers"):
                memory.get(0, kind)


def test_arrays_take_types_beside_those_of_numpy(unique_name: str) -> None:
    """They mean what they mean everywhere; what winipc does not know is NumPy's."""
    ours = {
        str(kind): f"{str(kind)[0]}{kind.size}"
        for kind in ValueType
        if "be" not in str(kind)
    }
    theirs = {"f8": "<f8", "i4": "<i4", "<u8": "<u8", ">u2": ">u2", "S16": "|S16"}
    with SharedMapping.create(unique_name, 64) as mapping:
        mapping.set(1, "i8", -1)
        assert mapping.array("i8")[1] == -1
        for name, expected in ours.items():
            assert mapping.array(name).dtype.str[1:] == expected
        for name, expected in theirs.items():
            assert mapping.array(name).dtype.str == expected
        with pytest.raises(TypeError, match="x32"):
            mapping.array("x32")


def test_other_words_are_refused_everywhere() -> None:
    """No entry point knows a type that the others do not."""
    uses: Any = USES
    with GlobalMemory(64) as memory:
        for use in uses.values():
            for word in ("i24", "int32", "long", "I32"):
                with pytest.raises(REFUSALS):
                    use(memory, word)


def test_big_endian_types_are_read_where_formats_are() -> None:
    """ "i32be" is ">i" there, not the 34 numbers that it is as a format."""
    memory = GlobalMemory(b"\0\0\0\x2a")
    with memory, Snapshot.over(bytearray(64), "i32be") as snapshot:
        assert snapshot.size == 4
        assert decoders.structure("i32be")(memory.read()) == (VALUE,)
        with pytest.raises(ValueError, match="no type of numbers"):
            Layout.of("s", "a:>i")


@pytest.mark.parametrize("kind", [3, None, b"i"])
def test_what_is_no_text_is_no_type(kind: Any) -> None:
    with pytest.raises(TypeError, match="a type of numbers is a str"):
        Pattern.value(kind, 1)


@pytest.mark.parametrize(
    "word",
    ["", "<", "i32x", "i8\0", "i8x", "f64f", "f8", "f16", "u1", "<ix", "<i32", ">i"],
)
def test_what_only_begins_like_a_type_is_none(word: str) -> None:
    with GlobalMemory(64) as memory, pytest.raises(ValueError, match="no type of"):
        memory.get(0, word)
