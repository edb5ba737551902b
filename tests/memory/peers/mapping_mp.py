"""What multiprocessing's children do with a mapping; imported by test_mapping.py."""

from __future__ import annotations

import os
from typing import Any

from winipc import SharedMapping


def write_pid(mapping: SharedMapping, offset: int = 0) -> int:
    """Leave this process's id in the memory."""
    with mapping:
        mapping.set(offset, "u32", os.getpid())
        return os.getpid()


def describe(mapping: SharedMapping) -> dict[str, Any]:
    """What arrived."""
    with mapping:
        return {
            "name": mapping.name,
            "size": mapping.size,
            "exact": mapping.size_is_exact,
            "offset": mapping.offset,
            "access": mapping.access,
            "created": mapping.created,
            "start": bytes(mapping[:4]),
            "pid": os.getpid(),
        }
