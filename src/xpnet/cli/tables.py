"""What is printed: tables in a terminal, plain lines elsewhere; numbers that JSON has."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click


def show(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values: a table in a terminal, plain lines elsewhere."""
    rows = list(rows)
    if sys.stdout.isatty():
        _print([{"style": "bold", "no_wrap": True}, {}], rows, show_header=False)
    else:
        width = max(len(name) for name, _ in rows) + 2
        click.echo("\n".join(f"{name:<{width}}{value}" for name, value in rows))


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of numbers, the first two columns left."""
    from rich import box

    columns = [
        {"header": name, "justify": "left" if i < 2 else "right", "no_wrap": True}
        for i, name in enumerate(head)
    ]
    _print(columns, rows, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))


def finite_or_none(value: float | None) -> float | None:
    """Return a number, or None in place of what JSON lacks: NaN and infinity."""
    return float(value) if value is not None and math.isfinite(value) else None


def _print(columns: Iterable[dict[str, Any]], rows: Iterable[Sequence[str]], **style: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(**style)
    for column in columns:
        table.add_column(**column)
    for row in rows:
        table.add_row(*map(Text, row))
    # FORCE_COLOR must not write control characters into a file.
    terminal = sys.stdout.isatty()
    Console(width=None if terminal else 120, color_system="auto" if terminal else None).print(table)
