"""xpnet evaluate: loss and accuracy of a saved model."""

from __future__ import annotations

import json
from typing import Any

import click

from ..training.sources import evaluate
from . import options
from .inputs import determination, load_model_and_data
from .tables import finite_or_none, show


@click.command("evaluate", params=[*options.model, options.json])
def evaluate_model(*, as_json: bool, **source: Any) -> None:
    """Measure the loss of a saved MODEL on DATA, and its accuracy, or R² where it predicts values.

    MODEL is its file, or its run's folder. DATA is of the kind that it was trained with: a table
    with the column of the target; a folder of images for each class; the name of a data set; a
    folder of IDX files; or an .npz file with the arrays x, as for predict, and t: class numbers
    (n,), or a row of targets for each row of x.
    """
    loaded = load_model_and_data(**source, labels=True)
    net = loaded.net
    x, t = net._batch.checked_data(loaded.x, loaded.t)
    loss, accuracy = evaluate(net, x, t)
    r2 = determination(net, x, t)
    if as_json:
        result = {
            "model": str(source["model"]), "data": source["data"], "rows": x.shape[0],
            "loss": finite_or_none(loss), "accuracy": finite_or_none(accuracy),
            **({} if net.output.name != "identity" else {"r2": r2}),
        }  # fmt: skip
        click.echo(json.dumps(result, indent=2))
        return
    rows = [
        ("model", repr(net)[1:-1]), ("data", f"{source['data']}, {x.shape[0]:,} rows"),
        ("loss", f"{loss:.4f}"),
    ]  # fmt: skip
    if accuracy is not None:
        rows.append(("accuracy", f"{100 * accuracy:.2f} %"))
    if r2 is not None:
        rows.append(("R²", f"{r2:.4f}"))
    show(rows)
