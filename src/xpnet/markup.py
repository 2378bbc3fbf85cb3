"""Tables: as text that fits its width; and as HTML, escaped, with nothing from outside."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from html import escape

# Blanks between two columns of text.
GAP = 2
# Into how many tables one that is too wide is split at the most.
TABLES = 3

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


def split_columns(
    head: Sequence[str], rows: Sequence[Sequence[str]], width: int, keys: int = 1
) -> list[list[int]]:
    """Distribute the columns of a table that is too wide over several tables.

    Parameters
    ----------
    head : sequence of str
        A heading may have several lines.
    rows : sequence of sequences of str
    width : int
        In characters.
    keys : int
        How many of the first columns say what a row is; every table begins with them.

    Returns
    -------
    list of list of int
        The columns of each table. Empty where a column does not fit beside the keys, or where
        there would be more tables than anybody wants to look through.

    Examples
    --------
    >>> split_columns(["", "gradient", "noise"], [["W1", "0.25", "1e-9"]], width=20)
    [[0, 1, 2]]
    >>> split_columns(["", "gradient", "noise"], [["W1", "0.25", "1e-9"]], width=16)
    [[0, 1], [0, 2]]
    >>> split_columns(["", "gradient", "noise"], [["W1", "0.25", "1e-9"]], width=10)
    []
    """
    wide = _widths(head, rows)
    room = width - sum(wide[:keys]) - GAP * (keys - 1)
    columns = range(keys, len(head))
    need = {i: GAP + wide[i] for i in columns}
    if max(need.values()) > room:
        return []
    full: list[list[int]] = [[]]  # each as full as it gets
    for i in columns:
        if sum(need[j] for j in full[-1]) + need[i] > room:
            full.append([])
        full[-1].append(i)
    if len(full) > TABLES:
        return []
    # As many columns in each, so that what belongs together is not torn apart for one of them.
    share = -(-len(columns) // len(full))
    even = [[*columns[i : i + share]] for i in range(0, len(columns), share)]
    fits = all(sum(need[i] for i in part) <= room for part in even)
    return [[*range(keys), *part] for part in (even if fits else full)]


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    r"""Return the lines of a table: in several tables where it is too wide, or a block a row.

    Parameters
    ----------
    head : sequence of str
    rows : sequence of sequences of str
        The first cell of a row is its name.
    width : int
        In characters.

    Examples
    --------
    >>> print(*text_table(["", "gradient", "noise"], [["W1", "0.25", "1e-9"]], 16), sep="\n")
        gradient
    W1      0.25
    <BLANKLINE>
        noise
    W1   1e-9
    """
    tables = split_columns(head, rows, width)
    lines: list[str] = []
    for columns in tables:
        cells = [[row[i] for i in columns] for row in (head, *rows)]
        wide = _widths(cells[0], cells[1:])
        form = (" " * GAP).join(f"{{:{'>' if i else '<'}{w}}}" for i, w in enumerate(wide))
        lines += ["", *(form.format(*row).rstrip() for row in cells)]
    if not tables:
        for row in rows:
            pairs = [*zip(head, row, strict=True)][1:]
            lines += ["", row[0], *(f"  {line}" for line in text_pairs(pairs, width - 2))]
    return lines[1:]


def text_pairs(rows: Iterable[tuple[str, str]], width: int | None = None) -> list[str]:
    r"""Return names and values as lines; a value that is longer than its line goes on below.

    Parameters
    ----------
    rows : iterable of (str, str)
    width : int, optional
        In characters; no word is broken for it. None: as long as they are.

    Examples
    --------
    >>> print(*text_pairs([("steps", "2"), ("device", "some GPU, torch on cuda")], 22), sep="\n")
    steps   2
    device  some GPU,
            torch on cuda
    """
    rows = list(rows)
    indent = GAP + max((len(name) for name, _ in rows), default=0)
    lines: list[str] = []
    for name, value in rows:
        parts = wrapped(value, None if width is None else width - indent)
        if width is not None and max(map(len, parts)) > width - indent:
            parts = ["", *wrapped(value, width - GAP)]  # a long word: below its name
        rest = " " * (GAP if parts[0] == "" else indent)
        lines += [f"{name:<{indent}}{parts[0]}".rstrip(), *(rest + part for part in parts[1:])]
    return lines


def wrapped(text: str, width: int | None) -> list[str]:
    """Return the lines of a text between whose words there is a line's end where it is too wide.

    Examples
    --------
    >>> wrapped("see runs/mnist-numpy for more", 12)
    ['see', 'runs/mnist-numpy', 'for more']
    """
    if width is None or len(text) <= width:
        return [text]
    return textwrap.wrap(
        text, max(width, 1), break_long_words=False, break_on_hyphens=False
    ) or [text]  # fmt: skip


def _widths(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max((len(line) for cell in column for line in cell.split("\n")), default=0)
        for column in zip(head, *rows, strict=True)
    ]
