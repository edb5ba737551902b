"""The header in front of a SharedMapping."""

from __future__ import annotations

import os
import struct
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from conftest import DEADLINE, Peer
from hypothesis import given
from hypothesis import strategies as st

from winipc import Layout, LayoutError, SharedMapping, Snapshot


def test_header_tells_the_exact_size(unique_name: str) -> None:
    """With a header both sides know the size to the byte, and who made it."""
    with SharedMapping.create(unique_name, 1000, header=True) as a:
        assert (a.size, a.owner_pid, a.layout_version) == (1000, os.getpid(), 1)
        assert a.mapped_size == 4096 - 64
        with SharedMapping.open(unique_name, header=True) as b:
            assert (b.size, b.size_is_exact, b.owner_pid) == (1000, True, os.getpid())
            a.write(b"xyz", 997)
            assert b.read(3, 997) == b"xyz"
        with SharedMapping.open(unique_name, header=True, offset=997) as b:
            assert (b.size, b.offset, bytes(b)) == (3, 997, b"xyz")
        with SharedMapping.create(unique_name, 10, header=True, exist_ok=True) as b:
            assert (b.size, b.created) == (10, False)
        for offset, size in ((1001, None), (999, 2), (0, 1001)):
            with pytest.raises(ValueError, match="do not fit in the 1000 of"):
                SharedMapping.open(unique_name, header=True, offset=offset, size=size)
        with a.view(998) as view:
            assert (view.size, view.offset, bytes(view)) == (2, 998, b"yz")
        for offset in (1000, 1001):
            with pytest.raises(ValueError, match="do not fit in the 1000 of"):
                a.view(offset)


@pytest.mark.parametrize("kind", ["seqlock", "double"])
def test_no_snapshot_or_structure_lies_in_a_header(unique_name: str, kind: Any) -> None:
    """Of a mapping that was opened without `header=`; behind the header it may."""
    with SharedMapping.create(unique_name, 64, header=True) as made:
        made.write(b"WPIM\1\0")
        Snapshot.over(made, 8, kind=kind).close()
        with SharedMapping.open(unique_name) as raw, raw.view(0) as view:
            for memory in (raw, view):
                with pytest.raises(ValueError, match=r"open it with header=True"):
                    Snapshot.over(memory, 8, offset=56, kind=kind)
                with pytest.raises(ValueError, match=r"open it with header=True"):
                    memory.struct_view("speed:f32", offset=56)
                Snapshot.over(memory, 8, offset=64, kind=kind).close()
                memory.struct_view("speed:f32", offset=64)
        with SharedMapping.open(unique_name, header=True) as opened:
            Snapshot.over(opened, 8, kind=kind).close()
            with opened.view(0) as part:
                Snapshot.over(part, 8, kind=kind).close()


def test_header_bytes_are_as_documented(unique_name: str) -> None:
    """The layout of include/winipc.h, byte by byte."""
    with (
        SharedMapping.create(unique_name, 1000, header=True),
        SharedMapping.open(unique_name) as raw,
    ):
        fields = struct.unpack_from("<4sHHQIIQQ24s", raw)
    assert fields[:6] == (b"WPIM", 1, 64, 1000, os.getpid(), 0)
    assert fields[7:] == (0, bytes(24))
    seconds = fields[6] / 1e7 - 11644473600
    assert abs(seconds - time.time()) < 60


def c_reads_and_writes(
    m: SharedMapping, name: str, start_peer: Callable[..., Peer]
) -> None:
    """A C program finds the twelve bytes behind the header, and changes the last."""
    m[:] = b"from Python!"
    peer = start_peer("mapping_header.exe", "open", name)
    peer.expect(f"version 1 size 12 pid {os.getpid()}")
    peer.expect("from Python!")
    assert peer.finish() == 0
    assert bytes(m) == b"from PythonC"


def test_header_is_read_by_a_c_program(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """include/winipc.h, compiled: size, version, owner, and the bytes behind."""
    with SharedMapping.create(unique_name, 12, header=True) as m:
        c_reads_and_writes(m, unique_name, start_peer)
    with SharedMapping.create(unique_name, 4096) as m:
        m.write(struct.pack("<4sHHQ", b"WPIM", 1, 64, 4033))
        start_peer("mapping_header.exe", "open", unique_name).expect(
            "refused: a size that cannot be"
        )


def test_header_is_written_by_a_c_program(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """The other way: a C program creates, and we know the exact size."""
    peer = start_peer("mapping_header.exe", "create", unique_name, 5)
    with SharedMapping.wait_for(unique_name, DEADLINE, header=True) as m:
        peer.expect("ready")
        assert (m.size, m.owner_pid, m.layout_version) == (5, peer.pid, 1)
        m[:] = b"to C!"
        peer.say("look")
        peer.expect("to C!")


def test_mapping_without_header_is_refused(unique_name: str) -> None:
    """header=True on a mapping that has none is an error, after a short wait."""
    with SharedMapping.create(unique_name, 1000) as m:
        for find in (SharedMapping.open, SharedMapping.wait_for):
            with pytest.raises(TimeoutError, match="header is still 0") as caught:
                find(unique_name, header=True)
            assert (caught.value.winerror, caught.value.filename) == (1460, unique_name)
        m.write(b"ABCD")
        with pytest.raises(ValueError, match="no winipc header"):
            SharedMapping.open(unique_name, header=True)


@given(
    magic=st.sampled_from([b"WPIM", b"wpim"]),
    version=st.sampled_from([0, 1, 1, 1, 2, 0xFFFF]),
    header_size=st.one_of(st.just(64), st.integers(0, 0xFFFF)),
    size=st.one_of(st.integers(0, 5000), st.integers(0, 2**64 - 1)),
    rest=st.binary(min_size=48, max_size=48),
)
def test_hostile_headers_are_errors_or_fit(
    magic: bytes, version: int, header_size: int, size: int, rest: bytes
) -> None:
    """Whatever a peer writes there: what opens lies inside the mapping."""
    name = f"winipc-test-{uuid.uuid4().hex}"
    with SharedMapping.create(name, 4096) as raw:
        raw.write(magic + struct.pack("<HHQ", version, header_size, size) + rest)
        try:
            opened = SharedMapping.open(name, header=True)
        except ValueError:
            return
        with opened:
            assert (magic, version) == (b"WPIM", 1)
            assert header_size >= 64
            assert header_size + opened.size <= 4096
            assert opened.size == size
            opened.read()
            opened[-1] = 7
            assert raw[header_size + size - 1] == 7


@pytest.mark.parametrize(
    "options",
    [
        {"file": "x"},
        {"access": "read"},
        {"access": "copy"},
        {"offset": 1},
        {"reserve": True},
    ],
    ids=str,
)
def test_header_does_not_go_with_everything(options: dict[str, Any]) -> None:
    """Each combination that makes no sense says why, before anything is made."""
    with pytest.raises(ValueError, match=r"header|access"):
        SharedMapping.create(None, 100, header=True, **options)


# ------------------------------------------------------------------- its layout

STATE = Layout.of("state", "version:I speed:f name:8s")


def test_a_header_tells_the_layout(unique_name: str) -> None:
    """Openers with the same one are let in, by each way; so are those without."""
    with SharedMapping.create(unique_name, header=STATE) as m:
        assert (m.size, m.mapped_size) == (16, 4096 - 128)
        m.struct_view(STATE).speed = 2.5
        for header in (STATE, "version:I speed:f name:8s", True):
            opens: list[Callable[[], SharedMapping]] = [
                lambda h=header: SharedMapping.open(unique_name, header=h),
                lambda h=header: SharedMapping.wait_for(unique_name, 5, header=h),
                lambda h=header: SharedMapping.create(
                    unique_name, 16, header=h, exist_ok=True
                ),
                lambda h=header: SharedMapping.from_handle(
                    m.duplicate_to(os.getpid()), header=h
                ),
            ]
            for open_it in opens:
                with open_it() as other:
                    assert (other.size, other.layout_version) == (16, 1)
                    assert other.struct_view(STATE).speed == 2.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            "version:I speed:d name:8s",
            "it has speed:f64 at offset 8 here and speed:f32 at offset 4 there",
        ),
        ("version:i speed:f name:8s", "it has version:i32 at offset 0 here"),
        (
            "version:I name:8s speed:f",
            r"it has name:char\[8\] at offset 4 here and speed:f32 at offset 4 there",
        ),
        ("version:I speed:f", r"has no such field here and name:char\[8\] at offset 8"),
        (
            "version:I speed:f name:8s on:?",
            "it has on:bool at offset 16 here and no such field there",
        ),
    ],
)
def test_another_layout_is_an_error(
    fields: str, message: str, unique_name: str
) -> None:
    """Which names the first field that differs."""
    other = Layout.of("other", fields)
    with SharedMapping.create(unique_name, 4000, header=STATE) as m:
        for call in (
            lambda: SharedMapping.open(unique_name, header=other),
            lambda: SharedMapping.create(unique_name, header=other, exist_ok=True),
            lambda: SharedMapping.wait_for(unique_name, 5, header=other),
            lambda: SharedMapping.from_handle(
                m.duplicate_to(os.getpid()), header=other
            ),
        ):
            with pytest.raises(LayoutError, match=message):
                call()
    with SharedMapping.create(unique_name, header=STATE) as m:
        with SharedMapping.open(unique_name) as raw:
            raw.write(bytes(7) + b"\1", 32)
        with pytest.raises(LayoutError, match="state: its hash is another one"):
            SharedMapping.open(unique_name, header=STATE)
        assert m.size == 16
    inner = Layout.of("inner", {"gear": "i32", "wheels": ("f32", 4)})
    outer = Layout.of("outer", {"inner": inner})
    with SharedMapping.create(unique_name, header=outer) as m:
        with pytest.raises(LayoutError, match=r"inner:\(a structure of 20 bytes\) at"):
            SharedMapping.open(unique_name, header=STATE)
        with SharedMapping.open(unique_name) as raw:
            raw.write(b"?", raw.read().index(b" 0 {") + 1)
        with pytest.raises(LayoutError, match=r"'inner \? \{20\}' there"):
            SharedMapping.open(unique_name, header=STATE)
    with (
        SharedMapping.create(unique_name, header=Layout("s", STATE.fields, 20)),
        pytest.raises(LayoutError, match="it has 20 bytes there and 16 here"),
    ):
        SharedMapping.open(unique_name, header=STATE)


def test_creators_that_tell_no_layout_are_believed(unique_name: str) -> None:
    """As the headers of older versions do."""
    with (
        SharedMapping.create(unique_name, 16, header=True),
        SharedMapping.open(unique_name, header=STATE) as m,
    ):
        assert m.size == 16
    with pytest.raises(ValueError, match="state has 16 bytes, not 15"):
        SharedMapping.create(unique_name, 15, header=STATE)


def test_a_layout_may_be_too_long_to_describe(unique_name: str) -> None:
    """Then there is its hash alone."""
    long = Layout.of("long", {f"field_with_a_name_{i}": "I" for i in range(3000)})
    with SharedMapping.create(unique_name, header=long) as m:
        assert (m.size, m.mapped_size) == (12000, 3 * 4096 - 64)
        SharedMapping.open(unique_name, header=long).close()
        with pytest.raises(LayoutError, match="did not have room to describe it"):
            SharedMapping.open(unique_name, header=STATE)


def test_c_programs_know_headers_with_a_layout(
    unique_name: str, start_peer: Callable[..., Peer]
) -> None:
    """They find the bytes behind it, whatever its size."""
    layout = Layout.of("text", "text:12s")
    with SharedMapping.create(unique_name, header=layout) as m:
        c_reads_and_writes(m, unique_name, start_peer)
    with (
        SharedMapping.create(unique_name, header=layout),
        SharedMapping.open(unique_name) as raw,
    ):
        fields = struct.unpack_from("<4sHHQIIQQ24s", raw)
        assert fields[2:4] == (128, 12)
        assert fields[7] == layout.fingerprint
        assert raw.read(64, 64).rstrip(b"\0").decode() == layout.description


@given(st.binary(max_size=200))
def test_hostile_descriptions_are_text(description: bytes) -> None:
    """Whatever a peer writes there is an error that quotes it."""
    name = f"winipc-test-{uuid.uuid4().hex}"
    with SharedMapping.create(name, 4096) as raw:
        head = struct.pack("<4sHHQIIQQ24x", b"WPIM", 1, 64 + 256, 16, 0, 0, 0, 1)
        raw.write(head + description)
        with pytest.raises(LayoutError, match="another layout than state"):
            SharedMapping.open(name, header=STATE)
