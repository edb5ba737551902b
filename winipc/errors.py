"""The exceptions of winipc's own, and hints where Windows is vague.

Every failing Win32 call is an `OSError` whose `winerror` is the error code,
whose `filename` is the object's name and whose `filename2` is the call.
"""

from __future__ import annotations

from winipc._core import AbandonedError, PartialReadError, PartialWriteError

__all__ = ["AbandonedError", "PartialReadError", "PartialWriteError"]


def add_hint(error: BaseException, hint: str) -> None:
    """Attach `hint` to `error` as a note, once."""
    note = f"hint: {hint}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
