"""What commands work on: a net, a data set, a saved model."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from .. import datasets
from ..backend.placement import Placement
from ..backend.table import BACKENDS
from ..datasets.rows import read_rows
from ..network.mlp import MLP, load

DATASETS: dict[str, Callable[..., Any]] = {
    "mnist": datasets.load_mnist,
    "fashion-mnist": datasets.load_fashion_mnist,
}


def build(
    inputs: int, classes: int, *, hidden: tuple[int, ...], weight_init: float | str | None,
    **options: Any,
) -> MLP:  # fmt: skip
    """Make the net of `net_options`."""
    if weight_init is None:
        # The reference's value; deeper nets of such small weights hardly start to learn.
        weight_init = 0.01 if len(hidden) < 2 else "xavier"
    return MLP([inputs, *hidden, classes], weight_init=weight_init, **options)


def class_count(where: Placement, *labels: Any) -> int:
    """Return the number of classes: the largest label and one."""
    return 1 + max(int(where.to_host(t).max()) for t in labels)


def prepare(backend: str, dtype: str) -> None:
    """Set what a library reads from the environment when it is imported.

    Libraries leave this to the program; the command is one.
    """
    if dtype == "float64":
        os.environ.update(BACKENDS[backend].float64_environment)


def load_dataset(name: str, **options: Any) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Load a data set by its name, or from a folder."""
    if name in DATASETS:
        loaded: tuple[tuple[Any, Any], tuple[Any, Any]] = DATASETS[name](**options)
        return loaded
    if not Path(name).exists():
        known = ", ".join(map(repr, DATASETS))
        raise ValueError(
            f"unknown dataset {name!r}, and there is no such folder; known are {known}, "
            "and folders of IDX files"
        )
    return datasets.load_idx(name, **options)


def load_model(path: Path, backend: str, device: str | None) -> MLP:
    """Load a saved net, to where it is to compute."""
    net = load(path)
    # Its dtype is known only now, and JAX wants to know it before it is imported.
    prepare(backend, net.placement.dtype_name)
    return net.to(backend, device)


def load_data(name: str, split: str | None, net: MLP, *, labels: bool) -> tuple[Any, Any]:
    """Load rows for a net, and their labels (None without): a data set, a folder or a file."""
    path = Path(name)
    if name not in DATASETS and not path.exists():
        raise FileNotFoundError(
            f"there is no file or folder {name}, nor a data set of this name; known are "
            f"{', '.join(map(repr, DATASETS))}"
        )
    if name in DATASETS or not path.is_file():
        here = net.placement
        where = {"xp": here.backend.name, "device": here.device, "dtype": here.dtype_name}
        train, test = load_dataset(name, **where)
        x, t = train if split == "train" else test
    else:
        if split is not None:
            raise click.UsageError(f"--split is for data sets; {name} is a file")
        rows, target = read_rows(path, labels=labels)
        if rows.ndim > 2:
            rows = rows.reshape(rows.shape[0], math.prod(rows.shape[1:]))
        x, t = net.placement.floats(rows), None
        if rows.dtype == np.uint8:
            x /= 255
        if target is not None:
            floats = target.dtype.kind == "f"
            t = net.placement.floats(target) if floats else net.placement.asarray(target)
    if x.ndim != 2 or x.shape[1] != net.layer_sizes[0] or not x.shape[0]:
        raise ValueError(
            f"{name}: expected rows of {net.layer_sizes[0]} numbers, which is what the model "
            f"takes, found shape {tuple(x.shape)}"
        )
    return x, t
