"""What is printed: as wide as the terminal, no word broken; numbers that JSON has."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Iterable, Sequence

import click

from ..gradients import GradientReport
from ..markup import split_columns, text_pairs, wrapped

# The columns of a table in a file.
FILE_WIDTH = 80
# What rich leaves free on both sides of a table.
EDGES = 2


def line_width() -> int | None:
    """Return how long a line may be: the terminal's width, or that of the variable COLUMNS.

    None in a file, where whoever reads it wraps sentences.
    """
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return None


def say(text: str) -> None:
    """Print a sentence."""
    click.echo("\n".join(wrapped(text, line_width())))


def show(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values, the names bold in a terminal."""
    rows = list(rows)
    lines = text_pairs(rows, line_width())
    if sys.stdout.isatty():
        indent = max(len(name) for name, _ in rows)
        lines = [
            line if line.startswith(" ") else click.style(line[:indent], bold=True) + line[indent:]
            for line in lines
        ]
    click.echo("\n".join(lines))


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]], keys: int = 2) -> None:
    """Print a table of numbers; the first columns, its keys, are left.

    Where it is wider than the line, as several tables with the same keys; or, where these are
    long, as a block of lines for each row.
    """
    rows = list(rows)
    tables = split_columns(head, rows, (line_width() or FILE_WIDTH) - EDGES, keys)
    for columns in tables:
        _print([head[i] for i in columns], [[row[i] for i in columns] for row in rows], keys)
    if not tables:
        names = [name.replace("\n", " ") for name in head]
        for row in rows:
            click.echo()
            show(zip(names, row, strict=True))
        click.echo()


def show_report(report: GradientReport) -> None:
    """Print the report of a gradient check."""
    say(report._headline())
    for line in report._table(line_width() or FILE_WIDTH):
        click.echo(line)
    for remark in report._remarks():
        say(remark)


def finite_or_none(value: float | None) -> float | None:
    """Return a number, or None in place of what JSON lacks: NaN and infinity."""
    return float(value) if value is not None and math.isfinite(value) else None


def _print(head: Sequence[str], rows: Iterable[Sequence[str]], keys: int) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < keys else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    # FORCE_COLOR must not write control characters into a file.
    terminal = sys.stdout.isatty()
    width = line_width() or FILE_WIDTH
    Console(width=width, color_system="auto" if terminal else None).print(table)
