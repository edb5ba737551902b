"""`winipc.decoders` and `Message.text()`: text in every encoding, of every length."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import winipc
from winipc import decoders

UNICODE = (
    *("utf-8", "utf-8-sig", "utf-7"),
    *("utf-16", "utf-16-le", "utf-16-be"),
    *("utf-32", "utf-32-le", "utf-32-be"),
)
NARROW = ("latin-1", "cp1252", "cp437", "shift_jis", "cp037", "mbcs")


def nul_of(encoding: str) -> bytes:
    """One code unit of zeroes: 1, 2 or 4 bytes."""
    return bytes({"16": 2, "32": 4}.get(encoding[4:6], 1))


@pytest.mark.parametrize("encoding", [*UNICODE, *NARROW])
@pytest.mark.parametrize("length", [0, 1, 2, 3, 7, 8])
def test_text_ends_at_its_nul(encoding: str, length: int) -> None:
    """With a NUL and anything behind it, without one, and with a part of one."""
    # U+0100 has a zero byte where "A" has none, and so has a NUL across two units.
    text = ("AĀ" * 4 if encoding in UNICODE else "Ab" * 4)[:length]
    raw, nul = text.encode(encoding), nul_of(encoding)
    decode = decoders.text(encoding)
    for tail in (b"", nul, nul + b"\xd8", nul + b"\xd8\x00" * 5, nul * 3 + b"\0"):
        assert decode(raw + tail) == text, tail
    for part in range(1, len(nul)):  # bytes counted as units * width + 1
        assert decode(raw + bytes(part)) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-be"])
def test_text_that_is_cut_off_is_an_error(encoding: str) -> None:
    """Half a character that is no half of a NUL is not passed over."""
    with pytest.raises(UnicodeDecodeError):
        decoders.text(encoding)("ab".encode(encoding) + b"x")
    assert decoders.text(encoding, "ignore")("ab".encode(encoding) + b"x") == "ab"


@given(text=st.text(), encoding=st.sampled_from(UNICODE), behind=st.binary())
def test_text_is_what_comes_before_the_nul(
    text: str, encoding: str, behind: bytes
) -> None:
    """Whatever the text is and whatever comes behind."""
    assume("\0" not in text)
    errors = "strict" if encoding == "utf-7" else "surrogatepass"
    data = text.encode(encoding, errors) + nul_of(encoding) + behind
    assert decoders.text(encoding, errors)(data) == text


DOCUMENTS = ["{}", '"Zoë"', '{"name": "Ā", "n": [1, 2]}', "[1]", '""', "12"]


@pytest.mark.parametrize("encoding", [one for one in UNICODE if one != "utf-7"])
@pytest.mark.parametrize("document", DOCUMENTS)
def test_json_in_every_encoding(encoding: str, document: str) -> None:
    """With no NUL, one, several, and a part of one."""
    raw = document.encode(encoding)
    for tail in range(9):
        assert decoders.json(raw + bytes(tail)) == json.loads(document), tail


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-32-le", "utf-8-sig"])
def test_message_text_is_that_of_the_decoders(unique_name: str, encoding: str) -> None:
    """What follows the NUL need not be text."""
    text = "track=Zoë Ā"
    data = text.encode(encoding) + nul_of(encoding) + b"\xcc\xd8" * 9 + b"\xff"
    with winipc.CopyDataWindow.create(unique_name) as window:
        winipc.send_copydata(window, data)
        message: Any = window.receive(10)
    assert message.text(encoding) == text
