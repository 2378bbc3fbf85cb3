"""What commands work on: a data set, and a new net for it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import datasets
from ..arrays import Array
from ..backend import BACKENDS, Placement, place
from ..datasets.idx_sets import Split
from ..network import MLP

DATASETS: dict[str, Callable[..., Any]] = {
    "mnist": datasets.load_mnist, "fashion-mnist": datasets.load_fashion_mnist,
}  # fmt: skip
KNOWN = ", ".join(map(repr, DATASETS))


def place_early(backend: str, device: str | None, dtype: str) -> Placement:
    """Place a net, before anything else imports the library.

    Some libraries read their settings from the environment when they are imported, and leave
    these to the program; the command is one.
    """
    if dtype == "float64":
        os.environ.update(BACKENDS[backend].float64_environment)
    return place(backend, device, dtype)


def build(
    inputs: int, classes: int, where: Placement, *,
    hidden: tuple[int, ...], weight_init: float | str | None, **options: Any,
) -> MLP:  # fmt: skip
    """Make the net of `options.net`."""
    if weight_init is None:
        # The reference's value; deeper nets of such small weights hardly start to learn.
        weight_init = 0.01 if len(hidden) < 2 else "xavier"
    sizes = [inputs, *hidden, classes]
    return MLP(sizes, weight_init=weight_init, **options, **_arguments(where))


def _arguments(where: Placement) -> dict[str, Any]:
    return {"xp": where.backend.name, "device": where.device, "dtype": where.dtype_name}


def class_count(where: Placement, *labels: Array) -> int:
    """Return the number of classes: the largest label and one."""
    return 1 + max(int(where.to_host(t).max()) for t in labels)


def load_dataset(name: str, where: Placement, *, flatten: bool = True) -> tuple[Split, Split]:
    """Load a data set by its name, or from a folder: images and labels to train and to test."""
    if name not in DATASETS and not Path(name).exists():
        raise ValueError(
            f"unknown dataset {name!r}, and there is no such folder; known are {KNOWN}, "
            "and folders of IDX files"
        )
    load_it = DATASETS.get(name) or functools.partial(datasets.load_idx, name)
    train, test = load_it(flatten=flatten, **_arguments(where))
    return train, test
