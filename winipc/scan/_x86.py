"""Instructions of x86, and what of them may change from build to build, by iced-x86."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

try:
    from iced_x86 import Code, Decoder, OpKind, Register
except Exception as error:  # it may be there, and its DLL cannot be loaded
    raise ImportError(
        "RemoteProcess.signature takes instructions apart by iced-x86: "
        "pip install winipc[signatures]"
    ) from error

_BRANCHES = (OpKind.NEAR_BRANCH16, OpKind.NEAR_BRANCH32, OpKind.NEAR_BRANCH64)
_FROM_THREAD = (Register.FS, Register.GS)


class Operand(NamedTuple):
    """Where the address that an instruction refers to is written in it."""

    offset: int
    """Of its first byte."""
    size: int
    """How many bytes it has."""
    end: int = 0
    """What it counts from, 0 where it is the address itself."""


class Instruction(NamedTuple):
    """One instruction, as a signature sees it."""

    size: int
    fixed: bytes
    """255 for each byte that stays, 0 for each of an operand that may change."""
    operand: Operand | None


def instructions(
    code: bytes,
    address: int,
    bitness: int,
    is_address: Callable[[int, int, int], bool],
    constants: bool,
) -> Iterator[Instruction]:
    """Those that `code` begins with, up to what is none.

    `is_address(offset, size, value)` tells whether `size` bytes at an offset of
    `code`, with that value, are an address, which the linker or the loader put there.
    With `constants`, only such bytes may change.
    """
    decoder = Decoder(bitness, code, ip=address)
    for found in decoder:
        if found.code == Code.INVALID:
            return
        at = found.ip - address
        fixed = bytearray(b"\xff" * found.len)
        operand = None
        for place, from_end, certain in _numbers(found, decoder):
            offset, size = place
            value = int.from_bytes(code[at + offset :][:size], "little")
            known = from_end or certain or is_address(at + offset, size, value)
            if known or not constants:
                fixed[offset : offset + size] = bytes(size)
            if known and operand is None:
                operand = Operand(offset, size, found.len if from_end else 0)
        yield Instruction(found.len, bytes(fixed), operand)


def _numbers(found: Any, decoder: Any) -> Iterator[tuple[tuple[int, int], bool, bool]]:
    """Place of each number in an instruction, whether it counts from its end, and
    whether it is an address in any case.
    """
    places = decoder.get_constant_offsets(found)
    if places.has_displacement:
        relative = found.is_ip_rel_memory_operand
        absolute = (
            found.memory_base == found.memory_index == Register.NONE
            and found.memory_segment not in _FROM_THREAD
        )
        place = places.displacement_offset, places.displacement_size
        yield place, relative, absolute
    if places.has_immediate:
        branch = found.op_count > 0 and found.op0_kind in _BRANCHES
        yield (places.immediate_offset, places.immediate_size), branch, False
    if places.has_immediate2:
        yield (places.immediate_offset2, places.immediate_size2), False, False
