"""Interlocked operations on shared memory: one step, no lock.

counter = mapping.atomic(8, "u64")
before = counter.add(1)
"""

from __future__ import annotations

from winipc._core import Atomic

__all__ = ["Atomic"]
