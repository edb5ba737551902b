"""Interlocked operations on shared memory: one step, no lock.

::

    with mapping.atomic(8, "u64") as state:
        print(state.add(1))  # 0
        print(state.compare_exchange(1, 100))  # 1
        print(state.value)  # 100
"""

from __future__ import annotations

from winipc._core import Atomic

__all__ = ["Atomic"]
