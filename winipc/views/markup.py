"""The HTML that views share; text of other programs is always escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from winipc.base.text import clean

#: The most characters shown of a text that another program wrote.
_LONGEST = 200

#: The style of all views.
STYLE = """
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
"""


def escape(text: object, limit: int = _LONGEST) -> str:
    """A text for HTML: between tags, or in a quoted attribute."""
    return html.escape(clean(text, limit), quote=True)


def framed(parts: Iterable[str], style: bool = True) -> str:
    """A whole view; with `style`, it brings its own style.

    A notebook moves and deletes outputs one by one, so each output needs the style; a
    page has it once.
    """
    own = f"<style>{STYLE}</style>" if style else ""
    return f"<div class='winipc'>{own}{''.join(parts)}</div>"


def head(title: object, *facts: object) -> str:
    """The first line of a view."""
    rest = "".join(f" · {escape(fact)}" for fact in facts)
    return f"<div class='wi-head'><b>{escape(title)}</b>{rest}</div>"


def note(text: object) -> str:
    """A remark, such as an error."""
    return f"<div class='wi-note'>{escape(text, 600)}</div>"


def dim(text: object) -> str:
    """A line in a pale colour."""
    return f"<div class='wi-dim'>{escape(text)}</div>"


def mono(text: object) -> str:
    """Text in a monospaced font."""
    return f"<span class='wi-mono'>{escape(text)}</span>"


def chip(colour: str) -> str:
    """A small square of this colour."""
    return f"<span class='wi-chip' style='background:{colour}'></span>"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()
) -> str:
    """A table of cells that are HTML already; columns in `right` are right-aligned."""
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
