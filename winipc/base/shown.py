"""The base class of objects that notebooks show by a view."""

from __future__ import annotations


class Shown:
    """An object with a view; `winipc.views` is imported when a notebook shows it."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from winipc.views.choosing import view_of

        return view_of(self).html()
