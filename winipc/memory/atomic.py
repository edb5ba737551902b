"""Interlocked operations on shared memory: one instruction, no lock.

Several processes may count, flag and hand over numbers in a `SharedSection`, a
`SharedMapping` or any other writable buffer at the same time; no change is lost,
and each operation is a full memory barrier, as Win32's Interlocked functions are.

- `Atomic(buffer, offset, format)` is one number; it checks range and alignment
  once, and is the quickest.
- Sections and mappings have the methods `atomic_add(offset, value, format)` and
  so on.
- The functions here take any buffer: `atomic_add(buffer, offset, value, format)`.

`format` is a code of the struct module: b B h H i I l L q Q, for 1, 2, 4 and 8
bytes (l and L have 4). The address must be a multiple of the width; what is not
raises `ValueError`, since on some machines such an operation is not atomic.
Every operation but load and store returns the number as it was before.
"""

from __future__ import annotations

from winipc._core import (
    Atomic,
    atomic_add,
    atomic_and,
    atomic_compare_exchange,
    atomic_exchange,
    atomic_load,
    atomic_or,
    atomic_store,
    atomic_xor,
)

__all__ = [
    "Atomic",
    "atomic_add",
    "atomic_and",
    "atomic_compare_exchange",
    "atomic_exchange",
    "atomic_load",
    "atomic_or",
    "atomic_store",
    "atomic_xor",
]
