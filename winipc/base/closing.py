"""What has a `close()`, and is closed at the end of a `with`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Self

from winipc.errors import add_hint


@contextlib.contextmanager
def unless_on_its_way(owner: object, exc: Sequence[object]) -> Iterator[None]:
    """Raise a refusal to close (BufferError), or tell it to the exception of `with`."""
    try:
        yield
    except BufferError as refused:
        error = exc[1] if len(exc) > 1 else None
        if not isinstance(error, BaseException):
            raise
        add_hint(error, f"{owner!r} was not closed: {refused}")


class Closing:
    """The `with` of a class whose `close()` is its end.

    Last among the bases, so that the `close` of another one is found first.
    """

    __slots__ = ()

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with unless_on_its_way(self, exc):
            self.close()
