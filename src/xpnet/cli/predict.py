"""xpnet predict: a class, or all outputs, for each row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..arrays import Host, all_finite
from ..datasets.tables import Table
from ..files import replace_atomically
from . import options
from .inputs import Loaded, load_model_and_data


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
    """Predict the rows of DATA with a saved MODEL, its file or its run's folder.

    One line for each row, below a header: its number, which is 1 for the first row of DATA (of a
    table, the first below its header), its class by name, and the probability of that class. For
    images the name of the file, too. A model whose outputs are no classes gives its outputs.

    DATA is of the kind that the model was trained with: a table with the same columns, in any
    order (others are ignored); a folder of images, or of folders of them, or one image; or the
    name of a data set, a folder of IDX files, an IDX file of images, an .npy file, or an .npz file
    with the array x. Arrays are (n, inputs) or images (n, rows, columns): floats as the model was
    trained with, or uint8, which are divided by 255.
    """
    if out is not None:
        if out.suffix not in (".csv", ".npy"):
            raise click.UsageError(f"--out must end in .csv or .npy, not {out.name!r}")
        if not out.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {out.parent}")
        if out.exists() and not force:
            raise FileExistsError(f"{out} exists; --force replaces it")
    loaded = load_model_and_data(**source, labels=False)
    net = loaded.net
    outputs = net.placement.to_host(net.predict(loaded.x))
    if not all_finite(np, outputs):
        raise ValueError(f"{source['model']} predicts NaN or infinity for some rows")
    if isinstance(loaded.description, Table) and loaded.description.class_names is None:
        outputs = loaded.description.values(outputs)
    classes = net.output.sums_to_one and not probabilities
    names = None if net.class_names is None else np.asarray(net.class_names)
    if out is not None and out.suffix == ".npy":
        result = outputs.argmax(axis=1) if classes else outputs
        result = names[result] if classes and names is not None else result
        replace_atomically(out, lambda file: np.save(file, result))
        return
    text = _as_csv(loaded, outputs, classes)
    if out is None:
        click.echo(text, nl=False)
    else:
        replace_atomically(out, lambda file: file.write(text.encode("utf-8")))


def _as_csv(loaded: Loaded, outputs: Host, classes: bool) -> str:
    """Return the lines of a .csv file, below a header."""
    head, lines = _columns(loaded, outputs, classes)
    numbers: Iterable[tuple[Any, ...]] = ((number,) for number in range(1, len(outputs) + 1))
    start = ["row"]
    if loaded.files is not None:
        start, numbers = ["row", "file"], enumerate(loaded.files, 1)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*start, *head])
    writer.writerows([*number, *line] for number, line in zip(numbers, lines, strict=True))
    return text.getvalue()


def _columns(
    loaded: Loaded, outputs: Host, classes: bool
) -> tuple[list[str], Iterable[Iterable[Any]]]:
    """Return the names of the columns of the predictions, and their lines."""
    net, width = loaded.net, outputs.shape[1]
    names = net.class_names or tuple(map(str, range(width)))
    if classes:
        best = outputs.argmax(axis=1)
        sure = outputs[np.arange(len(best)), best]
        return ["class", "probability"], zip((names[i] for i in best), sure, strict=True)
    if loaded.description is not None and net.class_names is None:
        return [loaded.description.target], outputs
    if net.output.sums_to_one or net.class_names is not None:
        return [*names], outputs
    return [f"output{i + 1}" for i in range(width)], outputs
