"""HTML for notebooks and for the report: tables, escaped, with nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

# Notebooks align cells to the right, and have colours of their own, light or dark.
_LEFT = ' style="text-align: left"'


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> str:
    """Return a table; the first cell of a row is its name.

    Examples
    --------
    >>> print(table([("W1", "<3")], head=("array", "size")))
    <table>
    <thead><tr><th>array</th><th>size</th></tr></thead>
    <tbody>
    <tr><th style="text-align: left">W1</th><td style="text-align: left">&lt;3</td></tr>
    </tbody>
    </table>
    """
    heads = "".join(f"<th>{escape(str(cell))}</th>" for cell in head)
    lines = [f"<thead><tr>{heads}</tr></thead>"] if head else []
    for name, *cells in rows:
        values = "".join(f"<td{_LEFT}>{escape(str(cell))}</td>" for cell in cells)
        lines.append(f"<tr><th{_LEFT}>{escape(str(name))}</th>{values}</tr>")
    at = 1 if head else 0
    return "\n".join(["<table>", *lines[:at], "<tbody>", *lines[at:], "</tbody>", "</table>"])


def paragraph(text: str) -> str:
    """Return a line of text.

    Examples
    --------
    >>> paragraph("a < b")
    '<p>a &lt; b</p>'
    """
    return f"<p>{escape(text)}</p>"
