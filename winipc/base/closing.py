"""What has a `close()`, and is closed at the end of a `with`."""

from __future__ import annotations

from typing import Self

from winipc.errors import add_hint


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
        error = exc[1] if len(exc) > 1 else None
        try:
            self.close()
        except BufferError as refused:
            if not isinstance(error, BaseException):
                raise
            add_hint(error, f"{self!r} was not closed: {refused}")
