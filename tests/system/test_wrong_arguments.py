"""The error of a wrong argument names the argument, or what to write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import Any

import pytest

import winipc


@pytest.fixture
def given(unique_name: str) -> Iterator[SimpleNamespace]:
    """One object of each kind, and the name of the channel."""
    with ExitStack() as stack:
        enter = stack.enter_context
        mapping = enter(winipc.SharedMapping.create(None, 64))
        yield SimpleNamespace(
            enter=enter,
            mapping=mapping,
            snapshot=enter(winipc.Snapshot.over(mapping, 8)),
            process=enter(winipc.RemoteProcess.open(os.getpid())),
            event=enter(winipc.Event.create()),
            mutex=enter(closing(winipc.Mutex.create())),
            channel=enter(winipc.Channel.create(unique_name, 4096)),
            semaphore=enter(closing(winipc.Semaphore.create(None, 1, 2))),
            window=enter(winipc.CopyDataWindow.create(unique_name)),
            name=unique_name,
        )


_TIMEOUT = "timeout must be a number of seconds or None, not str"
_ADDRESS = "an address must be an int, a text or a chain, not bytes"
_SIZES = "sizes and offsets must be ints, not str"
_BYTES = r"bytes are needed, not str: text\.encode\(\)"
_RECORD = winipc.Layout.of("car", "speed:f32").unpack(bytes(4))
_RECORD_BYTES = r"bytes are needed, not Record: bytes\(\.\.\.\) of it gives them"


_WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "event.wait": (lambda on: on.event.wait("5"), _TIMEOUT),
    "mutex.acquire": (lambda on: on.mutex.acquire("5"), _TIMEOUT),
    "channel.recv": (lambda on: on.channel.recv("5"), _TIMEOUT),
    "process.wait": (lambda on: on.process.wait("5"), _TIMEOUT),
    "wait_any": (lambda on: winipc.wait_any([on.event], "5"), _TIMEOUT),
    "wait_any of a channel": (
        lambda on: winipc.wait_any(on.channel),
        r"wait_any\(\[event\]\), not Channel",
    ),
    "wait_any of two": (
        lambda on: winipc.wait_any(on.event, on.mutex),
        r"wait_any\(\[event\]\), not Event",
    ),
    "wait_all": (
        lambda on: winipc.wait_all(on.mutex),
        r"wait_all\(\[event\]\), not Mutex",
    ),
    "Event.wait_for": (lambda on: winipc.Event.wait_for(on.name, "5"), _TIMEOUT),
    "process.read": (lambda on: on.process.read(b"a", 4), _ADDRESS),
    "process.get": (lambda on: on.process.get(b"a", "i32"), _ADDRESS),
    "process.read_struct": (
        lambda on: on.process.read_struct(winipc.Layout.of("car", "a:i32"), 4096),
        "not 4096; read_struct takes the address first, then the layout$",
    ),
    "process.watch": (lambda on: on.process.watch(b"a", 4), _ADDRESS),
    "process.read_cstr": (lambda on: on.process.read_cstr(b"a"), _ADDRESS),
    "process.regions": (lambda on: next(on.process.regions(b"a")), _ADDRESS),
    "process.read 2": (
        lambda on: on.process.read(4, "a"),
        "size must be an int, not str",
    ),
    "process.watch 2": (
        lambda on: on.process.watch(4, "i32"),
        "size must be an int, not str",
    ),
    "mapping.read": (lambda on: on.mapping.read("a"), "size must be an int, not str"),
    "mapping.read 2": (
        lambda on: on.mapping.read(1, "a"),
        "offset must be an int, not str",
    ),
    "mapping.get": (
        lambda on: on.mapping.get("a", "i32"),
        "offset must be an int, not str",
    ),
    "mapping.find": (
        lambda on: on.mapping.find(b"a", "a"),
        "start must be an int, not str",
    ),
    "Atomic": (
        lambda on: winipc.Atomic(on.mapping, "a"),
        "offset must be an int, not str",
    ),
    "Event.from_handle": (
        lambda on: winipc.Event.from_handle("a"),
        "a handle must be an int, not str",
    ),
    "Event.create": (
        lambda on: winipc.Event.create(5),
        "name must be a str or None, not int",
    ),
    "Channel.create": (
        lambda on: winipc.Channel.create(4096, "x"),
        "name must be a str, not int",
    ),
    "Channel.create 2": (
        lambda on: winipc.Channel.create("x", "y"),
        "capacity must be an int, not s",
    ),
    "Channel.open": (lambda on: winipc.Channel.open(5), "name must be a str, not int"),
    "mapping.write in order": (
        lambda on: on.mapping.write(0, b"text"),
        r"write\(data, offset\): offset must be an int, not bytes",
    ),
    "mapping.set": (
        lambda on: on.mapping.set(0, 5, "i32"),
        r"such as 'i32', not 5: set\(offset, type, value\)$",
    ),
    "mapping.set 2": (
        lambda on: on.mapping.set(0, "i32", "5"),
        "i32 must be an int, not str",
    ),
    "mapping.get 2": (
        lambda on: on.mapping.get("i32", 0),
        r"such as 'i32', not 0: get\(offset, type\)$",
    ),
    "process.set": (
        lambda on: on.process.set(4, 5, "i32"),
        r"such as 'i32', not 5: set\(address, type, value\)$",
    ),
    "process.get 2": (
        lambda on: on.process.get("i32", 4),
        r"such as 'i32', not 4: get\(address, type\)$",
    ),
    "a byte": (
        lambda on: on.mapping.__setitem__(0, "5"),
        "a byte must be an int, not str",
    ),
    "Layout.of": (
        lambda on: winipc.Layout.of("speed:f32 gear:i32"),
        r"""Layout.of\("state", 'speed:f32 gear:i32'\)""",
    ),
    "Layout.of 2": (
        lambda on: winipc.Layout.of({"gear": "i32"}),
        r"""Layout.of\("state", {'gear': 'i32'}\)""",
    ),
    "Layout.of 3": (
        lambda on: winipc.Layout.of("car"),
        r"""Layout.of\("state", 'speed:f32 gear:i32'\)""",
    ),
    "Layout": (
        lambda on: winipc.Layout("speed:f32 gear:i32"),
        r"""Layout.of\("state", 'speed:f32 gear:i32'\)""",
    ),
    "Layout 2": (
        lambda on: winipc.Layout("car", "speed:f32"),  # type: ignore[arg-type]
        r"""Layout.of\("car", 'speed:f32'\)""",
    ),
    "Layout 3": (
        lambda on: winipc.Layout("car"),
        r"""Layout.of\("state", 'speed:f32 gear:i32'\)""",
    ),
    "send_copydata": (
        lambda on: winipc.send_copydata(on.window, b"", id="seven"),
        "id must be an int, not str",
    ),
    "call": (
        lambda on: winipc.call(on.window, b"", id="seven"),
        "id must be an int, not str",
    ),
    "send_message": (
        lambda on: winipc.send_message(on.window, 0x400, "a"),
        "wparam must be an int, not str",
    ),
    "post_message": (
        lambda on: winipc.post_message(on.window, 0x400, 0, "a"),
        "lparam must be an int, not str",
    ),
    "post_message 2": (
        lambda on: winipc.post_message(on.window, 1.5),
        "message must be an int or a str, not float",
    ),
    "Window": (
        lambda on: repr(winipc.Window("title")),  # type: ignore[arg-type]
        "a window handle must be an int, not str",
    ),
    "CopyDataWindow.create 0": (
        lambda on: winipc.CopyDataWindow.create(5),
        "title must be a str, not int",
    ),
    "CopyDataWindow.create class": (
        lambda on: winipc.CopyDataWindow.create("x", class_name=5),
        "class_name must be a str, not int",
    ),
    "window.latest": (
        lambda on: on.window.latest("5"),
        "count must be an int, not str",
    ),
    "semaphore.release": (
        lambda on: on.semaphore.release("5"),
        "count must be an int, not str",
    ),
    "CopyDataWindow.create": (
        lambda on: winipc.CopyDataWindow.create("x", max_message="5"),
        "max_message must be an int, not str",
    ),
    "CopyDataWindow.create 2": (
        lambda on: winipc.CopyDataWindow.create("x", max_count="5"),
        "max_count must be an int, not str",
    ),
    "CopyDataWindow.create 3": (
        lambda on: winipc.CopyDataWindow.create("x", max_bytes="5"),
        "max_bytes must be an int, not str",
    ),
    "Channel.create 3": (
        lambda on: winipc.Channel.create("x", 4096, max_record="y"),
        "max_record must be an int, not str",
    ),
    "GlobalMemory": (
        lambda on: winipc.GlobalMemory.allocate("5"),
        "size must be an int, not str",
    ),
    "GlobalMemory 2": (
        lambda on: winipc.GlobalMemory(1.5),
        "size must be an int, not float",
    ),
    "mapping.commit": (
        lambda on: on.mapping.commit("5"),
        "size must be an int, not str",
    ),
    "process.alloc": (
        lambda on: on.process.alloc("5"),
        "size must be an int, not str",
    ),
    "process.scan 0": (
        lambda on: on.process.scan(b"a", threads="5"),
        "threads must be an int or None, not str",
    ),
    "mapping.write": (lambda on: on.mapping.write("text"), _BYTES),
    "mapping.find 2": (lambda on: on.mapping.find("text"), _BYTES),
    "mapping": (lambda on: on.mapping.__setitem__(slice(0, 1), "t"), _BYTES),
    "channel.send": (lambda on: on.channel.send("text"), _BYTES),
    "snapshot.write": (lambda on: on.snapshot.write("text"), _BYTES),
    "process.write": (lambda on: on.process.write(4, "text"), _BYTES),
    "channel.send a record": (lambda on: on.channel.send(_RECORD), _RECORD_BYTES),
    "call with a record": (lambda on: winipc.call(on.window, _RECORD), _RECORD_BYTES),
    "channel.send_many": (
        lambda on: on.channel.send_many(b"abc"),
        "send_many takes an iterable of messages; send takes one message",
    ),
    "mapping.view": (lambda on: on.mapping.view("a"), _SIZES),
    "mapping.view 2": (lambda on: on.mapping.view(0, "a"), _SIZES),
    "SharedMapping.create": (lambda on: winipc.SharedMapping.create(None, "a"), _SIZES),
    "SharedMapping.open": (
        lambda on: winipc.SharedMapping.open("a", size="b"),
        _SIZES,
    ),
    "Semaphore.create": (
        lambda on: winipc.Semaphore.create("x", "y"),
        "initial and maximum must be ints, not str",
    ),
    "Event.open": (
        lambda on: winipc.Event.open("x", access="read"),
        r"SyncAccess\.SYNCHRONIZE, not 'read'",
    ),
    "Layout.of a list": (
        lambda on: winipc.Layout.of("car", [("speed", "f32")]),  # type: ignore[arg-type]
        r'members are a text such as "speed:f32 gear:i32", or a dict',
    ),
    "Layout.of an array": (
        lambda on: winipc.Layout.of("car", {"a": ("c",)}),  # type: ignore[dict-item]
        r"car\.a: an array is a type and the number of its elements, .*not \('c',\)",
    ),
    "Snapshot.over": (
        lambda on: winipc.Snapshot.over("my-app", 8),
        r"the memory is .*SharedMapping\.open\('my-app'\)",
    ),
    "Snapshot.foreign": (
        lambda on: winipc.Snapshot.foreign("my-app", 8, busy=8),
        r"the memory is .*SharedMapping\.open\('my-app'\)",
    ),
    "RemoteProcess.open": (
        lambda on: winipc.RemoteProcess.open(os.getpid(), access="write"),
        r"ProcessAccess\.WRITE, not 'write'",
    ),
    "process.scan": (lambda on: on.process.scan(100), r"not 100: .*Pattern\.value"),
    "process.scan 2": (lambda on: on.process.scan([100]), r"not 100: .*Pattern\.value"),
    "process.scan 3": (
        lambda on: on.process.scan(b"a", regions=[4096]),
        r"\(base, size\) do, not 4096",
    ),
    "process.scan 4": (
        lambda on: on.process.scan(b"a", regions=[(4096,)]),
        r"\(base, size\) do, not \(4096,\)",
    ),
}


@pytest.mark.parametrize(("call", "told"), _WRONG.values(), ids=_WRONG)
def test_the_wrong_argument_is_named(
    given: SimpleNamespace, call: Callable[[Any], object], told: str
) -> None:
    with pytest.raises(TypeError, match=told):
        call(given)


_SCAN = winipc.CandidateSet.scan


def _found(on: Any) -> winipc.CandidateSet:
    """A set that has no rescan to take back."""
    found = _SCAN(on.process, "i32", regions=[], keep_first=True)
    on.enter(found)
    return found


_VALUES: dict[str, tuple[Callable[[Any], object], str]] = {
    "text": (lambda on: on.process.scan("hello"), r"for a text, Pattern\.text"),
    "a number": (
        lambda on: on.process.scan("100"),
        r"for a number, Pattern\.value\('i32', 100\)",
    ),
    "text 2": (lambda on: on.process.scan("8g"), r"for a text, Pattern\.text"),
    "kind": (
        lambda on: _SCAN(on.process, "text", equals="x"),
        "i32 .*encodings, such as 'utf-8'; and 'bytes'",
    ),
    "needed": (
        lambda on: winipc.Snapshot.over(on.mapping, 56),
        r"needed\(size, kind='seqlock'\) is 72 bytes; .* 64 bytes .* offset 0",
    ),
    "needed 2": (
        lambda on: winipc.Snapshot.over(on.mapping, 24, offset=8, kind="double"),
        r"needed\(size, kind='double'\) is 64 bytes; .* 64 bytes .* offset 8",
    ),
    "overflow": (
        lambda on: winipc.CopyDataWindow.create(on.name, overflow="block"),
        'overflow must be "refuse" or "drop_oldest"',
    ),
    "negate": (
        lambda on: _SCAN(on.process, "f32", negate=True),
        r"negate what\? equals or between",
    ),
    "tolerance": (
        lambda on: _SCAN(on.process, "f32", tolerance=0.5),
        r"tolerance of what\? equals",
    ),
    "tolerance 2": (
        lambda on: _SCAN(on.process, "f32", between=(1, 2), tolerance=0.5),
        r"tolerance of what\? equals",
    ),
    "rescan": (
        lambda on: _found(on).rescan(equals=5, low=1),
        "low and high belong to a change, such as 'in_range'",
    ),
    "rescan 2": (
        lambda on: _found(on).rescan(between=(1, 9), high=5),
        "low and high belong to a change",
    ),
    "rescan 3": (
        lambda on: _found(on).rescan(equals=5, since="first"),
        "'equals' compares with numbers: it takes no since",
    ),
    "undo": (lambda on: _found(on).undo(), "there is no earlier set; undo keeps"),
    "a word": (
        lambda on: winipc.Snapshot.over(on.mapping, "speed"),
        r"'speed' is no type .*NAME:TYPE, such as speed:f32",
    ),
    "Layout.of nothing": (
        lambda on: winipc.Layout.of("car", ""),
        "car has no fields; a field is NAME:TYPE",
    ),
    "capacity": (
        lambda on: winipc.Channel.create(None, 1000),
        "a power of two from 256 bytes to 1 GiB, such as 1024$",
    ),
    "capacity 2": (lambda on: winipc.Channel.create(None, 0), "such as 256$"),
    "capacity 3": (
        lambda on: winipc.Channel.create(None, 1 << 31),
        "such as 1073741824$",
    ),
    "max_record": (
        lambda on: winipc.Channel.create(None, 256, max_record=300),
        "max_record is not from 16 to capacity - 8$",
    ),
}


@pytest.mark.parametrize(("call", "told"), _VALUES.values(), ids=_VALUES)
def test_a_wrong_value_is_told_what_to_write(
    given: SimpleNamespace, call: Callable[[Any], object], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        call(given)


def test_another_error_of_a_conversion_stays(given: SimpleNamespace) -> None:
    """It is the argument's own."""

    class Odd:
        def __index__(self) -> int:
            raise LookupError("odd")

    for call in (given.mapping.read, winipc.Event.from_handle):
        with pytest.raises(LookupError, match="odd"):
            call(Odd())


def test_a_pid_as_a_text_is_told() -> None:
    with pytest.raises(ProcessLookupError) as caught:
        winipc.RemoteProcess.open("12345678")
    assert caught.value.__notes__ == [
        "hint: a str is the name of a program; a pid is an int"
    ]
    with pytest.raises(ProcessLookupError) as caught:
        winipc.RemoteProcess.open("nothing-like-it")
    assert not hasattr(caught.value, "__notes__")
