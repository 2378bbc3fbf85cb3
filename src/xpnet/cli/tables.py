"""Tables in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import click


def show(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values: a table in a terminal, plain lines elsewhere."""
    rows = list(rows)
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in rows) + 2
        click.echo("\n".join(f"{name:<{width}}{value}" for name, value in rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    for name, value in rows:
        table.add_row(name, Text(value))
    Console().print(table)


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of numbers, the first two columns left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # FORCE_COLOR must not write control characters into a file.
    Console(width=None if drawn else 120, color_system="auto" if drawn else None).print(table)
