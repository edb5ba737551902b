"""Classes with a `close()` that a `with` calls at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Self

from winipc.errors import add_hint


@contextlib.contextmanager
def unless_on_its_way(owner: object, exc: Sequence[object]) -> Iterator[None]:
    """Raise a BufferError of `close`, or add it to the error that ends a `with`."""
    try:
        yield
    except BufferError as refused:
        error = exc[1] if len(exc) > 1 else None
        if not isinstance(error, BaseException):
            raise
        add_hint(error, f"{owner!r} was not closed: {refused}")


class Closing:
    """The context manager methods of a class with `close()`.

    It must be the last base, so that the `close` of another base is found first.
    """

    __slots__ = ()

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with unless_on_its_way(self, exc):
            self.close()


class ClosedAtExit(Closing):
    """A class whose daemon threads have work to end when Python does.

    Its `close` closes `_undo`; `_open_until_exit` comes when that is filled.
    """

    __slots__ = ()
    _undo: contextlib.ExitStack

    def _open_until_exit(self) -> None:
        import atexit  # few classes need these two

        atexit.register(self._at_exit)
        self._undo.callback(atexit.unregister, self._at_exit)

    def _at_exit(self) -> None:
        import warnings

        warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2)
        self.close()
