"""Decoders: functions that turn the bytes of a message into a value.

A decoder takes any object with the buffer protocol, such as a `Message`. Pass it to
`CopyDataWindow.on(id, decode=...)`, or call it. For data that does not fit, it raises
`ValueError` (or a subclass such as `UnicodeDecodeError` and `json.JSONDecodeError`), or
`struct.error`.
"""

from __future__ import annotations

import json as _json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["ansi", "json", "structure", "text", "utf8", "utf16"]


def text(
    encoding: str = "utf-8", errors: str = "strict"
) -> Callable[[ReadableBuffer], str]:
    """Return a decoder of text in this encoding, up to its first NUL, if any."""

    def decode(data: ReadableBuffer) -> str:
        # Find the end first: what follows the NUL need not be text.
        return _up_to_nul(bytes(memoryview(data)), encoding).decode(encoding, errors)

    return decode


def _up_to_nul(raw: bytes, encoding: str) -> bytes:
    """The data up to its first NUL; without half a NUL at the end."""
    # The width of a NUL is the difference, as some encodings write a mark in front.
    width = len("\0\0".encode(encoding)) - len("\0".encode(encoding))
    if width not in (2, 4):
        width = 1  # bytes; UTF-7 spells NUL out
    nul = bytes(width)
    at = raw.find(nul)
    while at % width and at >= 0:  # these zeros belong to two code units
        at = raw.find(nul, at + width - at % width)
    if at >= 0:
        return raw[:at]
    # A sender that counts units * width + 1 bytes sends a part of the NUL.
    whole = len(raw) - len(raw) % width
    return raw if any(raw[whole:]) else raw[:whole]


#: Text in UTF-8.
utf8 = text("utf-8")
#: Text in UTF-16, Windows' wchar_t.
utf16 = text("utf-16-le")
#: Text in the ANSI code page of this machine, as the A functions of Win32 take it.
ansi = text("mbcs")


def json(data: ReadableBuffer) -> Any:
    """A JSON document in UTF-8, -16 or -32, with or without a NUL at its end."""
    raw = bytes(memoryview(data))
    encoding = _json.detect_encoding(raw)
    return _json.loads(_up_to_nul(raw, encoding).decode(encoding, "surrogatepass"))


def structure(layout: Any) -> Callable[[ReadableBuffer], Any]:
    """Return a decoder of one structure; it ignores bytes after the structure.

    `layout` is a `winipc.Layout`, or its short text form such as "speed:f32 gear:i32":
    the decoder returns a record. A type ("i32") or a format of the module `struct`
    gives a tuple, and a ctypes type an instance. The decoder raises `ValueError`, or
    `struct.error` for a format, if there are too few bytes.
    """
    from winipc.memory.layout import codec_of

    codec = codec_of(layout)
    decode: Callable[[ReadableBuffer], Any]
    decode = getattr(codec, "unpack_from", codec.unpack)
    return decode
