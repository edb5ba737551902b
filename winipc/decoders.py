"""What turns the bytes of a message into a value.

Each is a callable that takes anything with the buffer protocol, a `Message`
for one: for `CopyDataWindow.on(id, decode=...)`, or to be called directly.
A decoder raises `ValueError` (or a subclass such as `UnicodeDecodeError` and
`json.JSONDecodeError`), or `struct.error`, for data that does not fit.
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
    """A decoder of text in this encoding, up to its first NUL if it has one."""

    def decode(data: ReadableBuffer) -> str:
        # The end first: what comes after it need not be text.
        return _up_to_nul(bytes(memoryview(data)), encoding).decode(encoding, errors)

    return decode


def _up_to_nul(raw: bytes, encoding: str) -> bytes:
    """The text without its first NUL and what follows, and without half a NUL."""
    # Two of them tell, as some encodings write a mark in front.
    width = len("\0\0".encode(encoding)) - len("\0".encode(encoding))
    if width not in (2, 4):
        width = 1  # bytes; UTF-7 spells NUL out
    nul = bytes(width)
    at = raw.find(nul)
    while at % width and at >= 0:  # across two code units
        at = raw.find(nul, at + width - at % width)
    if at >= 0:
        return raw[:at]
    # Bytes that are counted as units * width + 1 bring a part of the NUL along.
    whole = len(raw) - len(raw) % width
    return raw if any(raw[whole:]) else raw[:whole]


#: Text as most of the world writes it.
utf8 = text("utf-8")
#: Text as Windows keeps it (wchar_t).
utf16 = text("utf-16-le")
#: Text in the ANSI code page of this machine, as the A functions take it.
ansi = text("mbcs")


def json(data: ReadableBuffer) -> Any:
    """A JSON document in UTF-8, -16 or -32, with or without a NUL at its end."""
    raw = bytes(memoryview(data))
    encoding = _json.detect_encoding(raw)
    return _json.loads(_up_to_nul(raw, encoding).decode(encoding, "surrogatepass"))


def structure(layout: Any) -> Callable[[ReadableBuffer], Any]:
    """A decoder of one structure; what is behind it in the data is left out.

    `layout` is a `winipc.Layout`, or its short text form such as "speed:f32 gear:i32",
    for records; a type ("i32") or a format of the module `struct` for tuples; or a
    ctypes type for instances. Raises `ValueError`, or `struct.error` of a format, for
    too few bytes.
    """
    from winipc.memory.layout import codec_of

    codec = codec_of(layout)
    decode: Callable[[ReadableBuffer], Any]
    decode = getattr(codec, "unpack_from", codec.unpack)
    return decode
