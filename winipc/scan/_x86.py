"""Instructions of x86 and their parts that change between builds, by iced-x86."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

try:
    from iced_x86 import Code, Decoder, OpKind, Register
except Exception as error:  # not installed, or its DLL cannot be loaded
    raise ImportError(
        "RemoteProcess.signature takes instructions apart by iced-x86: "
        "pip install winipc[signatures]"
    ) from error

_BRANCHES = (OpKind.NEAR_BRANCH16, OpKind.NEAR_BRANCH32, OpKind.NEAR_BRANCH64)
_FROM_THREAD = (Register.FS, Register.GS)


class Operand(NamedTuple):
    """The place in an instruction that holds the address that it refers to."""

    offset: int
    """The offset of the first byte."""
    size: int
    """The number of bytes."""
    end: int = 0
    """The offset to which a relative address is added; 0 for an absolute address."""


class Instruction(NamedTuple):
    """One instruction, as a signature sees it."""

    size: int
    fixed: bytes
    """255 for each byte that stays, 0 for each byte that may change."""
    operand: Operand | None


def instructions(
    code: bytes,
    address: int,
    bitness: int,
    is_address: Callable[[int, int, int], bool],
    constants: bool,
) -> Iterator[Instruction]:
    """Yield the instructions at the start of `code`, up to bytes that are none.

    `is_address(offset, size, value)` tells whether the `size` bytes at an offset of
    `code`, which have that value, are an address from the linker or the loader. With
    `constants`, only addresses may change.
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
    """Yield the numbers in an instruction.

    For each: its offset and size, whether it is relative to the end of the instruction,
    and whether it is certainly an address.
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
