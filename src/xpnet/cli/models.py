"""xpnet predict and xpnet evaluate: a saved model, and rows for it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..arrays import Array, all_finite
from ..backend import Placement
from ..datasets.rows import read_rows
from ..files import replace_atomically
from ..network import Network, load
from ..training.sources import evaluate
from . import options
from .inputs import DATASETS, KNOWN, load_dataset, place_early
from .tables import finite_or_none, show


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
    net, x, _ = _model_and_data(**source, labels=False)
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


@click.command("evaluate", params=[*options.model, options.json])
def evaluate_model(*, as_json: bool, **source: Any) -> None:
    """Measure the loss and the accuracy of a saved MODEL on DATA.

    DATA is the name of a data set; a folder of the four IDX files; or an .npz file with the
    arrays x, as for predict, and t: class numbers (n,), or a row of targets for each row of x.
    """
    net, *rows_and_labels = _model_and_data(**source, labels=True)
    x, t = net.batch.checked_data(*rows_and_labels)
    loss, accuracy = evaluate(net, x, t)
    if as_json:
        result = {
            "model": str(source["model"]), "data": source["data"], "rows": x.shape[0],
            "loss": finite_or_none(loss), "accuracy": finite_or_none(accuracy),
        }  # fmt: skip
        click.echo(json.dumps(result, indent=2))
        return
    rows = [
        ("model", repr(net)[1:-1]), ("data", f"{source['data']}, {x.shape[0]:,} rows"),
        ("loss", f"{loss:.4f}"),
    ]  # fmt: skip
    if accuracy is not None:
        rows.append(("accuracy", f"{100 * accuracy:.2f} %"))
    show(rows)


def _model_and_data(
    *, model: Path, data: str, split: str | None, backend: str, device: str | None, labels: bool
) -> tuple[Network, Array, Array]:
    """Load a saved net to where it is to compute; and rows, with labels or None, for it."""
    net = load(model)
    # Its dtype is known only now, and JAX wants to know it before it is imported.
    place_early(backend, device, net.placement.dtype_name)
    net = net.to(backend, device)
    x, t = _load_data(data, split, net.placement, labels)
    shape = net.definition.input_shape
    width = math.prod(shape)
    if x.ndim != 2 or x.shape[1] != width or not x.shape[0]:
        raise ValueError(
            f"{data}: expected rows of {width} numbers, which is what the model takes, found shape "
            f"{tuple(x.shape)}"
        )
    return net, net.placement.xp.reshape(x, (x.shape[0], *shape)), t


def _load_data(name: str, split: str | None, where: Placement, labels: bool) -> tuple[Array, Array]:
    path = Path(name)
    if name not in DATASETS and not path.exists():
        raise FileNotFoundError(
            f"there is no file or folder {name}, nor a data set of this name; known are {KNOWN}"
        )
    if name in DATASETS or not path.is_file():
        train, test = load_dataset(name, where)
        return train if split == "train" else test
    if split is not None:
        raise click.UsageError(f"--split is for data sets; {name} is a file")
    rows, t = read_rows(path, labels=labels)
    if rows.ndim > 2:
        rows = rows.reshape(rows.shape[0], math.prod(rows.shape[1:]))
    x = where.floats(rows)
    if rows.dtype == np.uint8:
        x /= 255
    if t is not None:
        t = where.floats(t) if t.dtype.kind == "f" else where.asarray(t)
    return x, t
