"""winipc's own exceptions, and hints for vague errors of Windows.

A failing Win32 call raises `OSError`: `winerror` is the error code, `filename` the
object's name, and `filename2` the name of the call.
"""

from __future__ import annotations

from winipc._core import AbandonedError, PartialReadError, PartialWriteError

__all__ = ["AbandonedError", "PartialReadError", "PartialWriteError"]

_EXIST_OK = "exist_ok=True"
#: Notes that only help who writes Python.
_FOR_PYTHON = (f"hint: {_EXIST_OK}", "hint: lock(repair")


def add_hint(error: BaseException, hint: str) -> None:
    """Add `hint` to `error` as a note, unless it has that note."""
    note = f"hint: {hint}"
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def hint_taken(error: OSError, instead: str = "opens the one that exists") -> None:
    """Add what `exist_ok` is for to the error of a name that is taken."""
    from winipc.base.winerror import ERROR_ALREADY_EXISTS  # not for who gets no error

    if error.winerror == ERROR_ALREADY_EXISTS:
        add_hint(error, f"{_EXIST_OK} {instead}")


def unhint_taken(error: BaseException) -> None:
    """Take that back: what the caller called has no `exist_ok`."""
    notes = getattr(error, "__notes__", ())
    error.__notes__ = [n for n in notes if not n.startswith(f"hint: {_EXIST_OK}")]


def notes_of(error: BaseException) -> list[str]:
    """The notes of an error, without hints for who writes Python."""
    notes = getattr(error, "__notes__", ())
    return [note for note in notes if not note.startswith(_FOR_PYTHON)]
