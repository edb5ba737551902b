"""Lists of named objects, processes and windows as tables."""

from __future__ import annotations

from typing import Any

from winipc.base.rows import Rows, table_of
from winipc.views.markup import dim, escape, head, table
from winipc.views.view import View

#: More rows are of no use to a reader.
_MOST = 1000


class TableView(View):
    """A view of `winipc.base.rows.Rows`: the first `count` rows, at most 1000."""

    def __init__(self, rows: Rows[Any], count: int = _MOST) -> None:
        if count < 0:
            raise ValueError("count must not be negative")
        super().__init__(rows)
        self.count = min(count, _MOST)

    def _head(self) -> str:
        return head(f"{(count := len(self.target))} row{'s' * (count != 1)}")

    def _body(self) -> str:
        shown = self.target[: self.count]
        if not shown:
            return ""
        columns, rows, numbers = table_of(shown)
        right = [at for at, name in enumerate(columns) if name in numbers]
        more = len(self.target) - len(shown)
        cells = [
            [self._cell(*of, item) for of in zip(columns, row, strict=True)]
            for item, row in zip(shown, rows, strict=True)
        ]
        return table(columns, cells, right) + (dim(f"{more} more") if more else "")

    def _cell(self, column: str, text: str, item: Any) -> str:
        """A cell as HTML."""
        return escape(text)
