"""xpnet compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from . import comparison
from .errors import INTERRUPTED
from .options import (
    as_words,
    dtype_option,
    json_option,
    net_options,
    out_options,
    refuse_steps_and_epochs,
    training_options,
)
from .runs import default_folder, run_folder
from .tables import show_table


@click.command()
@net_options
@training_options
@dtype_option
@out_options("The folder of the results.  [default: runs/DATASET-compare-TIME]")
@json_option
def compare(*, out: Path | None, force: bool, as_json: bool, **options: Any) -> int:
    """Train the same net on every backend and device that this machine has.

    One after the other, with the same seed and data. Leaves compare.png and compare.json, and
    prints the table. The exit code is 1 where a backend that is here failed.
    """
    from .. import plots  # noqa: F401  (without matplotlib the run would fail at its end)

    refuse_steps_and_epochs(options)
    words = as_words(options)
    with run_folder(out or default_folder(options["dataset"], "compare"), force) as folder:
        machine = comparison.machine()
        rows = comparison.rows_of(machine.pop("backends"))
        tried = [row for row in rows if row.available]
        for row in tried:
            row.reason = "interrupted"  # unless it comes to an end
        interrupted = False
        try:
            for row in tried:
                click.echo(f"training on {row.name}", err=True)
                comparison.train(row, words)
        except KeyboardInterrupt:
            interrupted = True
        comparison.relate(rows)
        if not any(row.history for row in tried):
            raise RuntimeError(tried[0].reason)
        result = json.dumps({**machine, "rows": [row.to_dict() for row in rows]}, indent=1)
        (folder / "compare.json").write_text(result, encoding="utf-8")
        comparison.figure(rows).savefig(folder / "compare.png")
        if as_json:
            click.echo(result)
        else:
            show_table(comparison.HEAD, map(comparison.cells, rows))
            click.echo("\n".join(comparison.notes(machine, rows)))
            click.echo(f"compare.png and compare.json are in {folder}")
    if interrupted:
        return INTERRUPTED
    return 1 if any(row.reason for row in tried) else 0
