"""Shared mappings: to have one, and to use one."""

from __future__ import annotations

import mmap
import multiprocessing
import struct
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory

import cffi
import numpy
from harness import OURS, RAW, Case, Goal, group, raw, timed
from world import World

import winipc

_SIZE = 1 << 20


@group("mapping")
def mapping(world: World) -> Iterator[Case]:
    limits = world.raw
    name = world.name("map")
    ours = world.enter(winipc.SharedMapping.create(name, _SIZE))
    theirs = world.enter(mmap.mmap(-1, _SIZE, world.name("mmap")))
    memory = SharedMemory(world.name("shm"), create=True, size=_SIZE)
    world.stack.callback(memory.close)
    shm = memory.buf
    view = world.enter(memoryview(ours))
    array = numpy.frombuffer(view, numpy.uint8)
    ffi = cffi.FFI()
    raw_buffer = ffi.buffer(ffi.cast("char *", ours.address), _SIZE)
    data = b"x" * 64
    other = world.enter(winipc.SharedMapping.create(world.name("other"), _SIZE))
    address = ours.address
    yield Case(
        "write 64 B",
        {
            RAW: raw(limits.raw_copy, address, other.address, 64),
            OURS: timed("write(data)", write=ours.write, data=data),
            "winipc slice": timed("m[0:64] = data", m=ours, data=data),
            "mmap": timed("m[0:64] = data", m=theirs, data=data),
            "SharedMemory": timed("m[0:64] = data", m=shm, data=data),
            "memoryview": timed("m[0:64] = data", m=view, data=data),
            "cffi": timed("m[0:64] = data", m=raw_buffer, data=data),
            "NumPy": timed("a[0:64] = b", a=array, b=numpy.frombuffer(data, "u1")),
        },
        (Goal(68),),
    )
    yield Case(
        "read 64 B",
        {
            RAW: raw(limits.raw_copy, other.address, address, 64),
            OURS: timed("read(64)", read=ours.read),
            "winipc slice": timed("m[0:64]", m=ours),
            "mmap": timed("m[0:64]", m=theirs),
            "SharedMemory": timed("bytes(m[0:64])", m=shm),
            "memoryview": timed("bytes(m[0:64])", m=view),
            "cffi": timed("m[0:64]", m=raw_buffer),
            "NumPy": timed("a[0:64].tobytes()", a=array),
        },
        (Goal(80),),
    )
    yield Case(
        "get one i64",
        {
            OURS: timed("get(0)", get=ours.get_i64),
            "mmap + struct": timed(
                "get(m, 0)[0]", get=struct.Struct("q").unpack_from, m=theirs
            ),
            "SharedMemory + struct": timed(
                "get(m, 0)[0]", get=struct.Struct("q").unpack_from, m=shm
            ),
            "memoryview": timed("m[0]", m=memoryview(shm).cast("q")),
            "cffi": timed("p[0]", p=ffi.cast("int64_t *", address)),
            "NumPy": timed("a[0]", a=array.view(numpy.int64)),
        },
        (Goal(45),),
    )
    value = multiprocessing.get_context("spawn").Value("q", 0)
    atomic = world.enter(winipc.Atomic(ours, 0))
    yield Case(
        "fetch_add",
        {
            RAW: raw(limits.raw_add, address),
            OURS: timed("add(1)", add=atomic.add),
            "mp.Value + lock": timed(
                "lock.acquire(); value.value += 1; lock.release()",
                value=value,
                lock=value.get_lock(),
            ),
        },
        (Goal(70),),
        note="winipc: `Atomic.add`; a lock of multiprocessing is a kernel object",
    )
    size = 16 << 20
    large = world.enter(winipc.SharedMapping.create(None, size))
    plain = world.enter(mmap.mmap(-1, size))
    source = bytearray(b"y") * size
    yield Case(
        "write 16 MiB",
        {
            RAW: raw(
                limits.raw_copy,
                large.address,
                numpy.frombuffer(source, "u1").ctypes.data,
                size,
            ),
            OURS: timed("write(data)", write=large.write, data=source),
            "mmap": timed("m[:] = data", m=plain, data=source),
        },
        size=size,
    )


@group("mapping life")
def life(world: World) -> Iterator[Case]:
    limits = world.raw
    name = world.name("made")
    yield Case(
        "create, close 1 MiB",
        {
            RAW: raw(limits.raw_create, name, _SIZE),
            OURS: timed(
                "create(name, size).close()",
                create=winipc.SharedMapping.create,
                name=name,
                size=_SIZE,
            ),
            "mmap": timed(
                "create(-1, size, name).close()",
                create=mmap.mmap,
                name=name,
                size=_SIZE,
            ),
            "SharedMemory": timed(
                "create(name, True, size).close()",
                create=SharedMemory,
                name=name,
                size=_SIZE,
            ),
        },
        (Goal(1.10, "times"),),
        note="wineserver calls; far less on Windows",
    )
    world.enter(winipc.SharedMapping.create(name, _SIZE))
    yield Case(
        "open, close 1 MiB",
        {
            RAW: raw(limits.raw_open, name),
            OURS: timed(
                "open(name, size=size).close()",
                open=winipc.SharedMapping.open,
                name=name,
                size=_SIZE,
            ),
            "winipc, size not known": timed(
                "open(name).close()", open=winipc.SharedMapping.open, name=name
            ),
            "mmap": timed(
                "open(-1, size, name).close()",
                open=mmap.mmap,
                name=name,
                size=_SIZE,
            ),
            "SharedMemory": timed("open(name).close()", open=SharedMemory, name=name),
        },
        (Goal(1.10, "times"),),
        note="wineserver calls; far less on Windows",
    )


@group("section")
def section(world: World) -> Iterator[Case]:
    """A shared section of a DLL is memory like any other once it is loaded."""
    ours = world.enter(winipc.SharedSection.load())
    other = world.enter(winipc.SharedMapping.create(None, _SIZE))
    theirs = world.enter(mmap.mmap(-1, 4096, world.name("mmap")))
    data = b"x" * 64
    yield Case(
        "write 64 B",
        {
            RAW: raw(world.raw.raw_copy, ours.address, other.address, 64),
            OURS: timed("write(data)", write=ours.write, data=data),
            "mmap": timed("m[0:64] = data", m=theirs, data=data),
        },
        note="the DLL's shared section; mmap: a mapping, as no other package has one",
    )
    yield Case(
        "read 64 B",
        {
            RAW: raw(world.raw.raw_copy, other.address, ours.address, 64),
            OURS: timed("read(64)", read=ours.read),
            "mmap": timed("m[0:64]", m=theirs),
        },
    )
    number = world.enter(winipc.Atomic(ours, 64))
    yield Case(
        "fetch_add",
        {
            RAW: raw(world.raw.raw_add, ours.address + 64),
            OURS: timed("add(1)", add=number.add),
        },
    )
    yield Case(
        "load, close",
        {OURS: timed("load().close()", load=winipc.SharedSection.load)},
        note="loaded once more; its headers are checked each time",
    )
