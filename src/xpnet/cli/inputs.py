"""What commands work on: a data set and a new net for it; a saved net and rows for it."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from .. import datasets
from ..arrays import Array
from ..backend import BACKENDS, Placement, place
from ..datasets.idx_sets import Split
from ..datasets.rows import read_rows
from ..layers import NETS, Affine, Shift, checked_weight_init, layers_of_words
from ..network import MLP, Network, load

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
    image: tuple[int, ...], classes: int, where: Placement, described: dict[str, Any]
) -> Network:
    """Make the net of `options.net`, for images of this height and width."""
    names = ("net", "layers", "shift", "hidden", "activation", "weight_init")
    net, layers, shift, hidden, activation, weight_init = (described[name] for name in names)
    options = {name: value for name, value in described.items() if name not in names}
    listed = layers_of(net, layers, weight_init)
    if listed is not None:
        last = Affine(classes, weight_init=weight_init)
        listed = [*([Shift(shift)] if shift else []), *listed, last]
        with _naming(net, layers):
            return Network(listed, input_shape=(1, *image), **options, **_arguments(where))
    if shift:
        raise click.UsageError(
            "--shift moves images, and --net mlp takes rows: give --layers, such as --layers "
            "'affine100 sigmoid', or a convolutional --net"
        )
    sizes = [math.prod(image), *hidden, classes]
    options |= {"activation": activation, "weight_init": weight_init}
    return MLP(sizes, **options, **_arguments(where))


def layers_of(
    net: str, layers: str | None, weight_init: str | float | None = None
) -> list[Any] | None:
    """Return the layers of ``--net`` or ``--layers``, None for a perceptron; or raise."""
    words = NETS.get(net) if layers is None else layers
    if words is None:
        return None
    typed = click.get_current_context().get_parameter_source
    for name in ("hidden", "activation", *(["net"] if layers is not None else [])):
        if typed(name) == ParameterSource.COMMANDLINE:
            way = f"--net {net}" if layers is None else "--layers"
            raise click.UsageError(f"--{name} and {way} describe two nets: leave one out")
    if weight_init is not None:
        checked_weight_init(weight_init)
    with _naming(net, layers):
        return layers_of_words(words, weight_init)


@contextlib.contextmanager
def _naming(net: str, layers: str | None) -> Iterator[None]:
    """Put the option before an error that is about a layer."""
    try:
        yield
    except ValueError as error:
        if not str(error).startswith(("unknown layer", "the layer", "layers")):
            raise
        option = f"--net {net}" if layers is None else "--layers"
        raise ValueError(f"{option}: {error}") from error


def rows_for(net: Network, images: Array) -> Array:
    """Return images (n, height, width) in the shape that a net takes."""
    return net.placement.xp.reshape(images, (images.shape[0], *net.definition.input_shape))


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


# --- a saved net, and rows for it -------------------------------------------------------------


def load_model_and_data(
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
