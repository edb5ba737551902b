"""Interlocked operations on shared memory: one step, no lock.

Several processes may count, flag and hand over numbers in a `SharedSection`, a
`SharedMapping` or any other writable buffer at the same time. No change is lost,
and each operation is a full memory barrier, as Win32's Interlocked functions are.

    counter = Atomic(mapping, 8, "u64")
    before = counter.add(1)

An `Atomic` is one number: it checks range and alignment once. Its type is i8, i16,
i32, i64, u8, u16, u32 or u64, or a code of the struct module (l and L have 4 bytes).
The address must be a multiple of the type's size, or `ValueError` is raised: on some
machines such an operation is not atomic. Every operation but load and store returns
the number as it was before.
"""

from __future__ import annotations

from winipc._core import Atomic

__all__ = ["Atomic"]
