"""Shared mappings: creating, opening and using them."""

from __future__ import annotations

import mmap
import multiprocessing
import struct
import tempfile
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import cffi
import numpy
from harness import OURS, RAW, Case, Goal, group, label, raw, timed
from world import World

import winipc
from winipc.pe import build_section_dll

_SIZE = 1 << 20


class _Memory:
    """A megabyte of shared memory by each package, and another one to copy from."""

    def __init__(self, world: World) -> None:
        self.ours = world.enter(winipc.SharedMapping.create(world.name("map"), _SIZE))
        self.theirs = world.enter(mmap.mmap(-1, _SIZE, world.name("mmap")))
        memory = SharedMemory(world.name("shm"), create=True, size=_SIZE)
        world.stack.callback(memory.close)
        self.shm = memory.buf
        self.view = world.enter(memoryview(self.ours))
        self.array = numpy.frombuffer(self.view, numpy.uint8)
        self.address = self.ours.address
        self.ffi = cffi.FFI()
        raw_memory = self.ffi.cast("char *", self.address)
        self.raw = self.ffi.buffer(raw_memory, _SIZE)
        other = winipc.SharedMapping.create(world.name("other"), _SIZE)
        self.other = world.enter(other).address


@group("mapping")
def mapping(world: World) -> Iterator[Case]:
    memory = _Memory(world)
    yield _write(world, memory)
    yield _read(world, memory)
    yield _get(memory)
    yield _get_prepared(world, memory)
    yield _add(world, memory)
    for size in (4096, 65536, 1 << 20, 16 << 20):
        yield _write_much(world, size)


def _write(world: World, memory: _Memory) -> Case:
    data = b"x" * 64
    return Case(
        "write 64 B",
        {
            RAW: raw(world.raw.raw_copy, memory.address, memory.other, 64),
            OURS: timed("write(data)", write=memory.ours.write, data=data),
            "winipc slice": timed("m[0:64] = data", m=memory.ours, data=data),
            "mmap": timed("m[0:64] = data", m=memory.theirs, data=data),
            "SharedMemory": timed("m[0:64] = data", m=memory.shm, data=data),
            "memoryview": timed("m[0:64] = data", m=memory.view, data=data),
            "cffi": timed("m[0:64] = data", m=memory.raw, data=data),
            "NumPy": timed(
                "a[0:64] = b", a=memory.array, b=numpy.frombuffer(data, "u1")
            ),
        },
        (Goal(0.75, "times", "mmap"),),
        size=64,
        series="mapping",
    )


def _read(world: World, memory: _Memory) -> Case:
    return Case(
        "read 64 B",
        {
            RAW: raw(world.raw.raw_copy, memory.other, memory.address, 64),
            OURS: timed("read(64)", read=memory.ours.read),
            "winipc slice": timed("m[0:64]", m=memory.ours),
            "mmap": timed("m[0:64]", m=memory.theirs),
            "SharedMemory": timed("bytes(m[0:64])", m=memory.shm),
            "memoryview": timed("bytes(m[0:64])", m=memory.view),
            "cffi": timed("m[0:64]", m=memory.raw),
            "NumPy": timed("a[0:64].tobytes()", a=memory.array),
        },
        (Goal(0.85, "times", "mmap"),),
    )


def _get(memory: _Memory) -> Case:
    get = struct.Struct("q").unpack_from
    return Case(
        "get one i64",
        {
            OURS: timed("get(0, 'i64')", get=memory.ours.get),
            "mmap + struct": timed("get(m, 0)[0]", get=get, m=memory.theirs),
            "SharedMemory + struct": timed("get(m, 0)[0]", get=get, m=memory.shm),
        },
        (Goal(0.75, "times", "mmap + struct"),),
    )


def _get_prepared(world: World, memory: _Memory) -> Case:
    atomic = world.enter(memory.ours.atomic())
    return Case(
        "get one i64, prepared",
        {
            OURS: timed("load()", load=atomic.load),
            "memoryview": timed("m[0]", m=memoryview(memory.shm).cast("q")),
            "cffi": timed("p[0]", p=memory.ffi.cast("int64_t *", memory.address)),
            "NumPy": timed("a[0]", a=memory.array.view(numpy.int64)),
        },
        note="the type of the number was given before; winipc: `Atomic.load`",
    )


def _add(world: World, memory: _Memory) -> Case:
    value = multiprocessing.get_context("spawn").Value("q", 0)
    atomic = world.enter(memory.ours.atomic())
    return Case(
        "fetch_add",
        {
            RAW: raw(world.raw.raw_add, memory.address),
            OURS: timed("add(1)", add=atomic.add),
            "mp.Value + lock": timed(
                "lock.acquire(); value.value += 1; lock.release()",
                value=value,
                lock=value.get_lock(),
            ),
        },
        (Goal(100, "faster", "mp.Value + lock"),),
        note="winipc: `Atomic.add`; a lock of multiprocessing is a kernel object",
    )


def _write_much(world: World, size: int) -> Case:
    large = world.enter(winipc.SharedMapping.create(None, size))
    plain = world.enter(mmap.mmap(-1, size))
    other = SharedMemory(world.name("large"), create=True, size=size)
    world.stack.callback(other.close)
    source = bytearray(b"y") * size
    array = numpy.frombuffer(source, "u1")
    return Case(
        f"write {label(size)}",
        {
            RAW: raw(world.raw.raw_copy, large.address, array.ctypes.data, size),
            OURS: timed("write(data)", write=large.write, data=source),
            "mmap": timed("m[:] = data", m=plain, data=source),
            "SharedMemory": timed("m[:] = data", m=other.buf, data=source),
            "NumPy": timed("a[:] = b", a=numpy.frombuffer(large, "u1"), b=array),
        },
        (Goal(1.05, "times"),) if size >= 1 << 20 else (),
        size=size,
        series="mapping",
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
            RAW: raw(limits.raw_open, name, 1),
            "raw C, nothing asked": raw(limits.raw_open, name, 0),
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
        note="raw C asks NtQuerySection, as winipc does, for the size and whether a "
        "file is behind it, whose pages may fail; mmap, and raw C, nothing asked, "
        "trust who made it",
    )


@group("section")
def section(world: World) -> Iterator[Case]:
    """Once it is loaded, a DLL's shared section is memory like any other."""
    folder = world.enter(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
    dll = Path(folder) / "shared.dll"
    build_section_dll(dll, {"data": _SIZE})
    ours = world.enter(winipc.SharedSection.load(dll, "data"))
    other = world.enter(winipc.SharedMapping.create(None, _SIZE))
    theirs = world.enter(mmap.mmap(-1, _SIZE, world.name("mmap")))
    for size in (64, 4096, 65536, _SIZE):
        data = b"x" * size
        yield Case(
            f"write {label(size)}",
            {
                RAW: raw(world.raw.raw_copy, ours.address, other.address, size),
                OURS: timed("write(data)", write=ours.write, data=data),
                "mmap": timed(f"m[0:{size}] = data", m=theirs, data=data),
            },
            (Goal(0.75, "times", "mmap"),) if size == 64 else (),
            note="the DLL's shared section; mmap: a mapping, as no other package has "
            "one"
            if size == 64
            else "",
            size=size,
            series="section",
        )
    yield Case(
        "read 64 B",
        {
            RAW: raw(world.raw.raw_copy, other.address, ours.address, 64),
            OURS: timed("read(64)", read=ours.read),
            "mmap": timed("m[0:64]", m=theirs),
        },
    )
    number = world.enter(ours.atomic(64))
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
        note="once more; an object that is open knows what its headers say",
    )


#: Thirty numbers, such as programs share.
_THIRTY = " ".join(f"field{i}:{'fidIqhHbBi'[i % 10]}" for i in range(30))


@group("layout")
def layout(world: World) -> Iterator[Case]:
    """One field of a structure in shared memory, and all fields of a copy."""
    ours = winipc.Layout.of("thirty", _THIRTY)
    memory = world.enter(winipc.SharedMapping.create(None, _SIZE))
    yield from _one_field(memory, ours)
    yield from _all_fields(ours, bytes(range(ours.size)))


def _one_field(memory: winipc.SharedMapping, ours: winipc.Layout) -> Iterator[Case]:
    view = memory.struct_view(ours)
    theirs = ours.ctypes_type.from_buffer(memory)
    array = numpy.ndarray(1, ours.dtype, memory)[0]
    number = struct.Struct("<i")
    places = {"at": ours["field9"].offset, "m": memory}
    yield Case(
        "read a field",
        {
            OURS: timed("view.field9", view=view),
            "ctypes": timed("view.field9", view=theirs),
            "struct": timed("get(m, at)[0]", get=number.unpack_from, **places),
            "NumPy": timed("a['field9']", a=array),
        },
        (Goal(1.5, "times", "ctypes"), Goal(1.0, "times", "struct")),
        note="`StructView`, whose bounds are checked; ctypes lies in the memory itself",
    )
    yield Case(
        "write a field",
        {
            OURS: timed("view.field9 = 5", view=view),
            "ctypes": timed("view.field9 = 5", view=theirs),
            "struct": timed("put(m, at, 5)", put=number.pack_into, **places),
            "NumPy": timed("a['field9'] = 5", a=array),
        },
        (Goal(1.5, "times", "ctypes"),),
    )


def _all_fields(ours: winipc.Layout, data: bytes) -> Iterator[Case]:
    names = [field.name for field in ours]
    whole, at = "<", 0
    for field in ours:
        whole, at = (
            f"{whole}{field.offset - at}x{field.kind}",
            field.offset + field.size,
        )
    plain = struct.Struct(whole + f"{ours.size - at}x")
    kind, dtype = ours.ctypes_type, ours.dtype
    yield Case(
        "record of 30 fields",
        {
            OURS: timed("unpack(data)", unpack=ours.unpack, data=data),
            "struct": timed("unpack(data)", unpack=plain.unpack, data=data),
            "ctypes": timed("unpack(data)", unpack=kind.from_buffer_copy, data=data),
            "NumPy": timed(
                "unpack(data, dtype)[0]",
                unpack=numpy.frombuffer,
                data=data,
                dtype=dtype,
            ),
        },
        (Goal(1.0, "times", "ctypes"),),
        note="`Layout.unpack`; only struct makes the values before they are asked for",
    )
    yield Case(
        "record of 30 fields, all values by name",
        {
            OURS: timed("unpack(data).as_dict()", unpack=ours.unpack, data=data),
            "struct": timed(
                "dict(zip(names, unpack(data)))",
                unpack=plain.unpack,
                data=data,
                names=names,
            ),
            "ctypes": timed(
                "r = unpack(data); {name: getattr(r, name) for name in names}",
                unpack=kind.from_buffer_copy,
                data=data,
                names=names,
            ),
            "NumPy": timed(
                "dict(zip(names, unpack(data, dtype)[0].item()))",
                unpack=numpy.frombuffer,
                data=data,
                dtype=dtype,
                names=names,
            ),
        },
        (Goal(1.0, "times", "struct"),),
    )
