"""What the tests of several subjects share."""

import struct

import pytest

#: Width of the pointers of this process, and of the numbers that messages carry.
BITS = 8 * struct.calcsize("P")


def need_libclang() -> None:
    """Skip where libclang has no DLL: a 32-bit Python."""
    pytest.importorskip(
        "winipc.memory._clang", reason="no libclang", exc_type=ImportError
    )
