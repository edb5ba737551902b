"""`Rows`: a list that shows itself as a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, SupportsIndex, TypeVar, overload

from winipc.base.shown import Shown
from winipc.base.text import clean, text_table

#: The most rows of a repr, and the most characters of a cell in it.
_MOST = 60
_WIDEST = 80


class Row(Protocol):
    """An item that a table can show."""

    def _cells(self) -> dict[str, Any]:
        """The cells by the names of their columns; numbers are right-aligned."""
        ...


_R = TypeVar("_R", bound=Row)


class Rows(list[_R], Shown):
    """A list that shows itself as a table, on a terminal and in a notebook."""

    __slots__ = ()

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> _R: ...
    @overload
    def __getitem__(self, key: slice, /) -> Rows[_R]: ...
    def __getitem__(self, key: Any, /) -> Any:
        found = super().__getitem__(key)
        return Rows(found) if isinstance(key, slice) else found

    def __repr__(self) -> str:
        try:
            columns, rows, right = table_of(self[:_MOST])
        except ValueError:
            return super().__repr__()
        cells = [[clean(cell, _WIDEST) for cell in row] for row in rows]
        lines = list(text_table(columns, cells, right))
        if len(self) > _MOST:
            lines.append(f"... and {len(self) - _MOST} more")
        return "\n".join(lines)


def table_of(items: Iterable[Row]) -> tuple[list[str], list[list[str]], set[str]]:
    """Return the columns, the cells as text, and the columns that hold numbers.

    Raises ValueError if there are no items, or items of several types.
    """
    items = list(items)
    if len({type(item) for item in items}) != 1 or not hasattr(items[0], "_cells"):
        raise ValueError("a table has rows of one kind")
    rows = [item._cells() for item in items]
    columns = list(rows[0])
    right = {
        name for name in columns if all(str(row[name] or 0).isdigit() for row in rows)
    }
    return columns, [[cell_text(row[name]) for name in columns] for row in rows], right


def cell_text(value: object) -> str:
    """A value as a cell shows it; a number with commas between thousands."""
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else clean(value)
