"""What makes notebooks show an object as more than its repr."""

from __future__ import annotations


class Shown:
    """Objects that `winipc.views` can show; it costs nothing elsewhere."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        from winipc.views.choosing import view_of

        return view_of(self).html()
