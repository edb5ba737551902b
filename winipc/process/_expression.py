"""Addresses as text.

They are such as '"game.exe"+0x10F4F4', 'game.exe!state' or '["game.exe"+0xc048]+0x4'.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from winipc.process.process import RemoteProcess

#: "game.exe"+0x10F4F4, game.exe-8+0x10, 0x7ff60000 or [ADDRESS]+0x4
_ADDRESS = re.compile(
    r"""\s* (?: \[(?P<pointer>.+)\] | "(?P<quoted>[^"]+)"
        | (?P<plain>[^\s"+[-][^"+]*?) ) \s*
        (?P<offsets> (?:
            (?: \+ \s* \w+ | - \s* (?:0[xX][0-9a-fA-F]+ | [0-9]+) ) \s*
        )* ) $""",
    re.VERBOSE,
)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+ | 0 | [1-9][0-9]*", re.VERBOSE)
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")


def chain_of(process: RemoteProcess, expression: str) -> list[int]:
    """The chain for `RemoteProcess.pointer` that a text means."""
    match = _ADDRESS.match(expression)
    if match is None:
        raise ValueError(f"{expression!r} is no address")
    offset = 0
    for sign, number in re.findall(r"([+-])\s*(\w+)", match["offsets"]):
        offset += int(sign + "1") * _number(number, expression)
    if match["pointer"] is not None:
        return [*chain_of(process, match["pointer"]), offset]
    name = match["quoted"] or match["plain"]
    if match["quoted"] is None and re.fullmatch(r"0[xX][0-9a-fA-F]+|\d+", name):
        place = _number(name, expression)
    else:
        place = _in_module(process, *name.split("!", 1))
    place += offset
    if not 0 <= place < 1 << 64:
        raise ValueError(f"{expression!r} is {place:#x}, which is no address")
    return [place]


def _in_module(process: RemoteProcess, name: str, export: str | None = None) -> int:
    module = process.module(name)
    if export is None:
        return module.base
    found = {one.name: one.address for one in process.exports(module) if one.name}
    if (place := found.get(export)) is None:
        from winipc.base.text import meant  # few programs need it

        raise LookupError(f"{name} exports no {export!r}{meant(export, found)}")
    return place


def _number(text: str, expression: str) -> int:
    """A number in the text of an address."""
    if _NUMBER.fullmatch(text):
        return int(text, 0)
    if _HEXADECIMAL.fullmatch(text):
        digits = text.lstrip("0") or "0"
        raise ValueError(
            f"{expression!r} is no address: write {text} as 0x{digits} if it is "
            "hexadecimal, and without zeros in front if it is decimal"
        )
    raise ValueError(f"{expression!r} is no address: {text!r} is no number")
