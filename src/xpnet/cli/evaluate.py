"""xpnet evaluate."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click

from ..training.sources import evaluate
from .inputs import load_data, load_model
from .options import debug_option, placement_options, split_option
from .tables import show


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data")
@placement_options
@split_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def evaluate_model(
    *,
    model: Path,
    data: str,
    backend: str,
    device: str | None,
    split: str | None,
    as_json: bool,
) -> None:
    """Measure the loss and the accuracy of a saved MODEL on DATA.

    DATA is the name of a data set; a folder of the four IDX files; or an .npz file with the
    arrays x, as for predict, and t: class numbers (n,), or a row of targets for each row of x.
    """
    net = load_model(model, backend, device)
    x, t = net.batch.checked_data(*load_data(data, split, net, labels=True))
    loss, accuracy = evaluate(net, x, t)
    if as_json:
        told: dict[str, Any] = {"model": str(model), "data": data, "rows": x.shape[0]}
        numbers = {"loss": loss, "accuracy": accuracy}
        # JSON has no NaN.
        told |= {k: v if v is not None and math.isfinite(v) else None for k, v in numbers.items()}
        click.echo(json.dumps(told, indent=2))
        return
    rows = [("model", repr(net)[1:-1]), ("data", f"{data}, {x.shape[0]:,} rows")]
    rows.append(("loss", f"{loss:.4f}"))
    if accuracy is not None:
        rows.append(("accuracy", f"{100 * accuracy:.2f} %"))
    show(rows)
