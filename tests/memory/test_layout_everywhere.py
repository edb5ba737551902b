"""One layout over all memory: whatever takes bytes takes it, and gives records."""

from __future__ import annotations

import asyncio
import ctypes
import html
import os
import struct
from collections.abc import Callable
from typing import Any

import pytest

import winipc
from winipc import Layout, ProcessAccess, RemoteProcess, SharedSection, decoders
from winipc.views.choosing import view_of

SHIP = Layout.of("ship", "id:I name:8s x:d")
RAW = SHIP.pack(id=7, name="alpha", x=1.5)
VALUES = {"id": 7, "name": "alpha", "x": 1.5}


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int32), ("y", ctypes.c_int32)]


@pytest.fixture
def block() -> Any:
    with winipc.GlobalMemory(RAW) as memory:
        yield memory


@pytest.fixture
def this() -> Any:
    with RemoteProcess.open(os.getpid(), access=ProcessAccess.WRITE) as process:
        yield process


def test_memory_of_every_kind_has_views(block: Any) -> None:
    """A mapping, a view of one, a shared section, a block to hand over."""
    with (
        winipc.SharedMapping.create(None, 4096) as mapping,
        mapping.view(8) as part,
        SharedSection.load() as section,
    ):
        for memory in (mapping, part, section, block):
            view = memory.struct_view(SHIP, 0)
            view.name, view.x = "beta", 2.5
            assert view.as_record().name == "beta"
            assert memory.struct_view("id:I name:8s x:d").x == 2.5
            assert memory.struct_view(Point, 4).x == int.from_bytes(b"beta", "little")
            with pytest.raises(ValueError, match="ship needs 24 bytes at offset"):
                memory.struct_view(SHIP, len(memory) - 23)


def test_structures_of_another_process(block: Any, this: RemoteProcess) -> None:
    """Read and written as a whole."""
    assert this.read_struct(block.address, SHIP).as_dict() == VALUES
    assert this.read_struct(block.address, "id:I name:8s").name == "alpha"
    assert this.write_struct(block.address, SHIP, {"id": 8, "name": "beta"}) == 24
    record = this.read_struct(block.address, SHIP)
    assert record.as_dict() == {"id": 8, "name": "beta", "x": 0.0}
    this.write_struct(block.address, SHIP, SHIP.unpack(SHIP.pack(record, x=1)))
    assert this.struct_view(SHIP, block.address).x == 1.0
    with pytest.raises(TypeError, match="a layout is"):
        this.read_struct(block.address, 5)


def test_a_handle_follows_its_chain_at_each_use(this: RemoteProcess) -> None:
    """So it finds the object that has taken the place of another."""
    node = Layout.of("node", {"value": "i", "inner": (Layout.of("in", "a:h b:h"), 2)})
    with (
        winipc.GlobalMemory(bytes(8 + node.size)) as first,
        winipc.GlobalMemory(bytes(8 + node.size)) as second,
        winipc.GlobalMemory(bytes(8)) as head,
    ):
        width = this.pointer_size
        head.write(first.address.to_bytes(width, "little"))
        handle = this.at([head.address, 8], node)
        inner = handle.inner[1]
        handle.value = 5
        inner.b = -3
        assert struct.unpack_from("<ihhhh", first, 8) == (5, 0, 0, 0, -3)
        assert f" at [{head.address:#x}, 0x10]>" in repr(inner)
        head.write(second.address.to_bytes(width, "little"))
        assert (handle.value, inner.b) == (0, 0)
        inner.b = 9
        assert handle.as_dict()["inner"][1] == {"a": 0, "b": 9}
        assert struct.unpack_from("<ihhhh", second, 8) == (0, 0, 0, 0, 9)
        assert this.at(hex(second.address + 8), "value:i").value == 0
        assert "9" in view_of(handle).html()
        head.write(bytes(8))
        with pytest.raises(winipc.PartialReadError):
            _ = handle.value
        with pytest.raises(AttributeError, match="node has no field"):
            _ = handle.speed


def test_a_word_is_no_format_of_struct() -> None:
    """Unless its letters have counts; other texts of codes are formats."""
    for word in ("speed", "sip", "Ipp"):
        with pytest.raises(ValueError, match="s and p have no count here"):
            winipc.Snapshot.needed(word)
    sizes = {"Iff": 12, "4sI": 8, "i32": 4, "I1p1s": 6, "=Is": 5, "I s p": 6, "?s": 2}
    for text, size in sizes.items():
        assert winipc.Snapshot.needed(text) == 16 + size


def test_views_of_bytes_take_every_layout() -> None:
    """The short form and a ctypes class; other kinds are told what is wanted."""
    for layout in (SHIP, "id:I name:8s x:d"):
        assert winipc.StructView(RAW, layout).as_dict() == VALUES
    assert winipc.StructView(RAW, Point, 0).x == 7
    for wrong in (5, None, b"id:I"):
        with pytest.raises(TypeError, match=r"a layout is a winipc\.Layout, fields"):
            winipc.StructView(RAW, wrong)
    with pytest.raises(TypeError, match=r"the memory is a mapping, .* not 'text'"):
        winipc.StructView("text", SHIP)  # type: ignore[arg-type]


def test_swapped_arguments_are_told_the_order(block: Any, this: RemoteProcess) -> None:
    """Also if the address is text."""
    memory: Any = SHIP
    with pytest.raises(TypeError, match="StructView takes the memory first"):
        winipc.StructView(memory, RAW)
    with pytest.raises(TypeError, match="StructView takes the memory first"):
        winipc.StructView("id:I", RAW)  # type: ignore[arg-type]
    for address in (block.address, hex(block.address)):
        with pytest.raises(TypeError, match="; at takes the address first"):
            this.at(SHIP, address)
        with pytest.raises(TypeError, match="struct_view takes the layout first"):
            this.struct_view(address, SHIP)
        with pytest.raises(TypeError, match="'id:I' is not an address; at takes"):
            this.at("id:I", hex(block.address))
        with pytest.raises(TypeError, match="; struct_view takes the layout first"):
            this.struct_view(hex(block.address), "id:I")
    with pytest.raises(TypeError, match="not 5; at takes the address first"):
        this.at("id:I", 5)
    with pytest.raises(TypeError, match="not 5; struct_view takes the layout first"):
        this.struct_view(5, "id:I")


def test_snapshots_show_their_fields() -> None:
    """In a notebook, without being told the layout again."""
    with (
        winipc.SharedMapping.create(None, 4096) as mapping,
        winipc.Snapshot.over(mapping, SHIP) as snapshot,
    ):
        snapshot.write(RAW)
        assert snapshot.read() == SHIP.unpack(RAW)
        assert "'alpha'" in html.unescape(view_of(snapshot).html())
        assert "char[8]" in view_of(mapping.struct_view(SHIP, 16)).html()


def test_messages(unique_name: str) -> None:
    """The data of a WM_COPYDATA, also of one that a handler decodes."""
    with winipc.CopyDataWindow.create(unique_name) as window:
        winipc.send_copydata(unique_name, RAW + b"more")
        message = window.receive(10)
    assert message.unpack(SHIP).as_dict() == VALUES
    assert decoders.structure(SHIP)(message) == SHIP.unpack(RAW)
    assert decoders.structure("id:I")(message).id == 7
    assert decoders.structure(Point)(message).x == 7
    assert winipc.StructView(message, SHIP).as_dict() == VALUES
    with pytest.raises(ValueError, match="ship needs 24 bytes"):
        decoders.structure(SHIP)(RAW[:-1])


def test_channels(unique_name: str) -> None:
    """recv, with many, and in asyncio; a message that does not fit stays."""
    with winipc.Channel.create(unique_name, 4096) as channel:
        for _ in range(7):
            channel.send(RAW)
        receives: list[Callable[[], Any]] = [
            lambda: channel.recv(10, SHIP),
            lambda: channel.recv(timeout=10, layout=SHIP),
            lambda: asyncio.run(channel.recv_async(10, SHIP)),
            lambda: channel.recv_many(1, 10, SHIP)[0],
            lambda: asyncio.run(channel.recv_many_async(1, 10, layout=SHIP))[0],
        ]
        for receive in receives:
            assert receive().as_dict() == VALUES
        assert channel.recv(layout="<I8s4xd") == (7, b"alpha\0\0\0", 1.5)
        with pytest.raises(TypeError, match="a layout is"):
            channel.recv(layout=5)
        assert channel.recv(layout=None) == RAW
        for message in (RAW, RAW, b"short", RAW):
            channel.send(message)
        assert len(channel.recv_many(layout=SHIP)) == 2
        for _ in range(2):
            with pytest.raises(ValueError, match="bytes at offset 0, and there are 5"):
                channel.recv(layout=SHIP)
            with pytest.raises(ValueError, match="bytes at offset 0, and there are 5"):
                channel.recv_many(layout=SHIP)
        with pytest.raises(struct.error):
            channel.recv(layout="<I8s4xd")
        assert channel.recv() == b"short"
        assert channel.recv_many(8, 0, ctypes.c_char * len(RAW))[0].raw == RAW


def test_a_view_shows_the_values_that_it_has_now(unique_name: str) -> None:
    """Of this process, of another's, and none once the memory is closed."""
    layout = Layout.of("car", "speed:f gear:i")
    with winipc.SharedMapping.create(unique_name, 64) as mapping:
        view = mapping.struct_view(layout, 8)
        view.gear = 3
        assert repr(view) == "<StructView car(speed=0.0, gear=3) at offset 8>"
        with RemoteProcess.open(os.getpid()) as process:
            there = process.at(mapping.address + 8, layout)
            place = f"{mapping.address + 8:#x}"
            assert repr(there) == f"<StructView car(speed=0.0, gear=3) at {place}>"
            assert "PartialReadError at 0x10>" in repr(process.at(0x10, layout))
            outer = Layout.of("outer", {"before": "q", "inner": layout})
            inner = process.struct_view(outer, mapping.address).inner
            assert repr(inner) == repr(there)
        assert repr(there) == f"<StructView car, ValueError at {place}>"
    assert repr(view) == "<StructView car, ValueError at offset 8>"
