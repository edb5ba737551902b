"""HTML of which no part comes from elsewhere unescaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["View", "clean", "escape", "head", "note", "size_text", "table"]

#: Characters of a text that somebody else wrote.
_LONGEST = 200

#: For one view, so that each stands alone: outputs are moved and deleted.
_STYLE = """<style>
.winipc{font-size:13px;line-height:1.35;margin:4px 0}
.winipc *{box-sizing:border-box}
.winipc .wi-head{margin:0 0 6px}
.winipc .wi-note{margin:4px 0;padding:4px 8px;border-left:3px solid #e8590c}
.winipc pre.wi-hex{font:12px/1.5 ui-monospace,Consolas,"DejaVu Sans Mono",monospace;
margin:0;padding:0;background:none;overflow-x:auto;color:inherit}
.winipc .wi-dim{opacity:.55}
.winipc .wi-f{color:#111;border-radius:2px;padding:1px 0}
.winipc b.wi-new{font-weight:700;color:#c00;text-decoration:underline}
.winipc table.wi-table{border-collapse:collapse;margin:6px 0;font-size:12px}
.winipc table.wi-table th,.winipc table.wi-table td{text-align:left;
padding:2px 12px 2px 4px;border:0;border-bottom:1px solid rgba(128,128,128,.25);
white-space:pre;vertical-align:top}
.winipc table.wi-table .wi-r{text-align:right}
.winipc .wi-mono{font-family:ui-monospace,Consolas,"DejaVu Sans Mono",monospace}
.winipc .wi-chip{display:inline-block;width:12px;height:12px;border-radius:2px;
margin-right:6px;vertical-align:-1px;border:1px solid rgba(0,0,0,.3)}
.winipc .wi-legend span.wi-item{display:inline-block;margin-right:16px;
white-space:nowrap}
.winipc svg{max-width:100%;height:auto;display:block}
.winipc details summary{cursor:pointer}
</style>"""


def clean(text: object, limit: int = _LONGEST) -> str:
    """A text of somebody else's on one line, with nothing invisible in it.

    Control characters, those that turn the direction of text, and halves of
    characters (which could not even be sent to a notebook) become escapes.
    """
    string = str(text)
    shown = "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "backslashreplace").decode("ascii")
        for letter in string[:limit]
    )
    return shown + "…" if len(string) > limit else shown


def escape(text: object, limit: int = _LONGEST) -> str:
    """The same, for HTML: as text, or in an attribute with quotes around it."""
    return html.escape(clean(text, limit), quote=True)


def size_text(size: int) -> str:
    """A number of bytes for people."""
    if size < 1024:
        return f"{size} bytes"
    power = min((size.bit_length() - 1) // 10, 4)
    return f"{size / 1024**power:.4g} {'KMGT'[power - 1]}iB"


def head(kind: str, name: object, *facts: object) -> str:
    """The first line of a view."""
    title = f"<b>{escape(kind)}</b>"
    if name is not None:
        title += f" <span class='wi-mono'>{escape(name)}</span>"
    rest = "".join(f" · {escape(fact)}" for fact in facts if fact is not None)
    return f"<div class='wi-head'>{title}{rest}</div>"


def note(text: object) -> str:
    return f"<div class='wi-note'>{escape(text, 600)}</div>"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()
) -> str:
    """A table of cells that are HTML already; those of `right` are numbers."""
    marks = [" class='wi-r'" if i in right else "" for i in range(len(columns))]
    names = "".join(
        f"<th{m}>{escape(c)}</th>" for c, m in zip(columns, marks, strict=True)
    )
    lines = "".join(
        "<tr>"
        + "".join(f"<td{m}>{cell}</td>" for cell, m in zip(row, marks, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table class='wi-table'><tr>{names}</tr>{lines}</table>"


class View:
    """What is shown of an object; each time it is shown, it looks anew."""

    def html(self) -> str:
        """The HTML now. An object that is closed or gone is said to be so."""
        # It may close or end between any two looks at it.
        parts = []
        for part in (self._head, self._body):
            try:
                parts.append(part())
            except (OSError, ValueError, LookupError, BufferError) as error:
                parts.append(note(f"{type(error).__name__}: {error}"))
        return f"<div class='winipc'>{_STYLE}{''.join(parts)}</div>"

    def gone(self) -> str | None:
        """Why there will be nothing new to see, or None."""
        return None

    def _head(self) -> str:
        raise NotImplementedError

    def _body(self) -> str:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return self.html()
