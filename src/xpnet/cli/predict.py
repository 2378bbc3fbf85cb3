"""xpnet predict: a class, or all outputs, for each row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from ..arrays import all_finite
from ..files import replace_atomically
from . import options
from .inputs import load_model_and_data


@click.command(params=[
    *options.model,
    click.Option(
        ["--probabilities"], is_flag=True, help="All outputs of each row, in place of its class."
    ),
    *options.out(
        "A .csv or .npy file.  [default: standard output, as .csv]", "Replace a file that exists."
    ),
])  # fmt: skip
def predict(*, probabilities: bool, out: Path | None, force: bool, **source: Any) -> None:
    """Predict the rows of DATA with a saved MODEL: one line for each, with its class.

    Classes are numbers from 0 up, as in the labels of the training. A model whose outputs are no
    classes (output "sigmoid", "identity" or "exp") gives all its outputs.

    DATA is the name of a data set; a folder of the four IDX files; an IDX file of images; an
    .npy file; or an .npz file with the array x. Arrays are (n, inputs) or images (n, rows,
    columns): floats as the model was trained with, or uint8, which are divided by 255.
    """
    if out is not None:
        if out.suffix not in (".csv", ".npy"):
            raise click.UsageError(f"--out must end in .csv or .npy, not {out.name!r}")
        if not out.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {out.parent}")
        if out.exists() and not force:
            raise FileExistsError(f"{out} exists; --force replaces it")
    net, x, _ = load_model_and_data(**source, labels=False)
    outputs = net.placement.to_host(net.predict(x))
    if not all_finite(np, outputs):
        raise ValueError(f"{source['model']} predicts NaN or infinity for some rows")
    classes = net.output.sums_to_one and not probabilities
    result = outputs.argmax(axis=1) if classes else outputs
    if out is not None and out.suffix == ".npy":
        replace_atomically(out, lambda file: np.save(file, result))
        return
    lines = result.reshape(len(result), -1)  # a class is a line of one number
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    if out is None:
        click.echo(text, nl=False)
    else:
        replace_atomically(out, lambda file: file.write(text.encode("ascii")))
