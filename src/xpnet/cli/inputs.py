"""What commands work on: a data set and a new net for it; a saved net and rows for it."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
from click.core import ParameterSource

from .. import datasets
from ..arrays import Array
from ..backend import BACKENDS, Placement, place
from ..datasets import described, idx_sets, own
from ..datasets.frames import SUFFIXES
from ..datasets.own import Description
from ..datasets.pictures import Images, image_files
from ..datasets.rows import read_rows
from ..datasets.tables import Table
from ..files import FileError
from ..layers import NETS, Affine, Shift, checked_weight_init, layers_of_words
from ..network import MLP, Network, load

DATASETS: dict[str, Callable[..., Any]] = {
    "mnist": datasets.load_mnist, "fashion-mnist": datasets.load_fashion_mnist,
}  # fmt: skip
MODEL = "model.safetensors"  # within the folder of a run
Split = tuple[Array, Array]  # rows and targets
KNOWN = ", ".join(map(repr, DATASETS))


def place_early(backend: str, device: str | None, dtype: str) -> Placement:
    """Place a net, before anything else imports the library.

    Some libraries read their settings from the environment when they are imported, and leave
    these to the program; the command is one.
    """
    if dtype == "float64":
        os.environ.update(BACKENDS[backend].float64_environment)
    return place(backend, device, dtype)


def build(data: Data, where: Placement, described: dict[str, Any]) -> Network:
    """Make the net of `options.net` for data: their shape, their classes or values."""
    names = ("net", "layers", "shift", "hidden", "activation", "weight_init")
    net, layers, shift, hidden, activation, weight_init = (described[name] for name in names)
    options: dict[str, Any] = {"output": data.output}
    options |= {name: value for name, value in described.items() if name not in names}
    listed = layers_of(net, layers, weight_init)
    if len(data.shape) == 1 and (shift or (layers is None and listed is not None)):
        option = "--shift" if shift else f"--net {net}"
        raise click.UsageError(
            f"{option} is for images; {data.name} has rows of {data.shape[0]} numbers"
        )
    if listed is not None:
        listed = [*([Shift(shift)] if shift else []), *listed]
        listed.append(Affine(data.outputs, weight_init=weight_init))
        image = (1, *data.shape) if len(data.shape) == 2 else data.shape
        with _naming(net, layers):
            return Network(listed, input_shape=image, **options, **_arguments(where))
    if shift:
        raise click.UsageError(
            "--shift moves images, and --net mlp takes rows: give --layers, such as --layers "
            "'affine100 sigmoid', or a convolutional --net"
        )
    sizes = [math.prod(data.shape), *hidden, data.outputs]
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


def rows_for(net: Network, rows: Array, name: str) -> Array:
    """Return rows of any shape in the shape that a net takes, or raise."""
    shape = net._definition.input_shape
    if rows.ndim < 2 or math.prod(rows.shape[1:]) != math.prod(shape) or not rows.shape[0]:
        raise ValueError(
            f"{name}: expected rows of {math.prod(shape)} numbers, which is what the model takes, "
            f"found shape {tuple(rows.shape)}"
        )
    return net.placement.xp.reshape(rows, (rows.shape[0], *shape))


def _arguments(where: Placement) -> dict[str, Any]:
    return {"xp": where.backend.name, "device": where.device, "dtype": where.dtype_name}


# --- data to train with ------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Data to train with and to test with, placed.

    Attributes
    ----------
    name : str
        As it was typed.
    train, test : pair of arrays
        Rows in their own shape, such as (n, height, width), and targets.
    description : Description or None
        What was learned of them.
    outputs : int
        What a net for them has.
    output : str
        "softmax", or "identity" for values.
    notes : tuple of str
        Lines that the user should read.
    """

    name: str
    train: Split
    test: Split
    description: Description | None
    outputs: int
    output: str
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row."""
        return tuple(self.train[0].shape[1:])

    @property
    def rows(self) -> str:
        """What a row is called."""
        return "rows" if len(self.shape) == 1 else "images"

    @property
    def image(self) -> tuple[int, int] | None:
        """Height and width where a row is a gray image."""
        shape = self.shape[1:] if len(self.shape) == 3 and self.shape[0] == 1 else self.shape
        return (shape[0], shape[1]) if len(shape) == 2 else None


def load_data(given: dict[str, Any], where: Placement, known: Description | None = None) -> Data:
    """Load the data of `options.data`; by what is known of them, or by what they are."""
    name = given["dataset"]
    if name in DATASETS:
        _refuse_options(given, set(), "a data set of this name")
        train, test = DATASETS[name](flatten=False, **_arguments(where))
        return Data(name, train, test, None, class_count(where, train[1], test[1]), "softmax")
    path = Path(name)
    if not path.exists():
        raise ValueError(
            f"unknown dataset {name!r}, and there is no such folder or file; known are {KNOWN}, "
            ".csv, .parquet and .npz files, folders of images, and folders of IDX files"
        )
    takes, what = own.TAKES[own.kind_of(path)]
    _refuse_options(given, takes, what)
    if known is not None:
        _refuse_options(given, {"prefix", "test"}, f"read as the data of {given['init']} were")
    options = {name: given[name] for name in own.Asked._fields if name in given}
    parts = own.read_own(path, own.Asked(**options), known)
    train, test = (
        (described.place_rows(where, x), described.place_target(where, t))
        for x, t in (parts.train, parts.test)
    )
    outputs, output = _outputs(parts)
    return Data(name, train, test, parts.description, outputs, output, tuple(_notes(parts, given)))


def _refuse_options(given: dict[str, Any], takes: set[str], what: str) -> None:
    for name in ("target", "fill", "size", "gray", "prefix", "test"):
        if given.get(name) and name not in takes:
            raise click.UsageError(f"no --{name} here: {given['dataset']} is {what}")


def _outputs(parts: own.Parts) -> tuple[int, str]:
    """Return how many outputs a net for the data has, and of which kind."""
    names = None if parts.description is None else parts.description.class_names
    t = parts.train[1]
    if names is not None:
        return len(names), "softmax"
    if t.dtype.kind != "f":
        return 1 + max(int(labels.max()) for _, labels in (parts.train, parts.test)), "softmax"
    one_hot = t.ndim == 2 and t.shape[1] > 1 and bool(((t == 0) | (t == 1)).all())
    one_hot = one_hot and bool((t.sum(axis=1) == 1).all())
    return 1 if t.ndim == 1 else math.prod(t.shape[1:]), "softmax" if one_hot else "identity"


def _notes(parts: own.Parts, given: dict[str, Any]) -> Iterator[str]:
    description, (_, t) = parts.description, parts.train
    if isinstance(description, Table) and description.class_names is None:
        values = description.values(t)
        yield (
            f"target {description.target!r}: values, from {values.min():g} to {values.max():g}; "
            "the loss is that of the standardised ones"
        )
    elif isinstance(description, own.Rows):
        names = description.class_names
        yield (
            f"labels {names[0]} to {names[-1]} are the classes 0 to {len(names) - 1}; predictions "
            "have the labels"
        )
    elif description is not None:
        names = description.class_names or ()
        few = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
        yield f"target {description.target!r}: {len(names)} classes ({few})"
    if parts.held_out:
        n = len(parts.test[1])
        yield (
            f"held out {n:,} of {n + len(t):,} rows to test with, drawn by --seed {given['seed']}"
        )


def class_count(where: Placement, *labels: Array) -> int:
    """Return the number of classes: the largest label and one."""
    return 1 + max(int(where.to_host(t).max()) for t in labels)


def determination(net: Network, x: Array, t: Array) -> float | None:
    """Return R², the mean over the outputs; None where the net's output is no value.

    1 is what the predictions are where they are right, 0 where they are no better than the mean.
    """
    if net.output.name != "identity":
        return None
    y = net.placement.to_host(net.predict(x)).astype(np.float64)
    values = net.placement.to_host(t).astype(np.float64).reshape(y.shape)
    around = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = 1.0 - ((values - y) ** 2).sum(axis=0) / around
    mean = float(shares.mean())
    return mean if math.isfinite(mean) else None  # values that are all alike have none


# --- a saved net, and rows for it -------------------------------------------------------------


class Loaded(NamedTuple):
    """A saved net with rows for it; `files` are the names of images."""

    net: Network
    x: Array
    t: Array | None
    description: Description | None
    files: list[str] | None


def saved_net(path: Path) -> Network:
    """Load a net from its file, or from the folder of its run."""
    if path.is_dir():
        if not (path / MODEL).is_file():
            raise FileNotFoundError(f"{path} is no folder of a finished run: it has no {MODEL}")
        path = path / MODEL
    return load(path)


def description_of(net: Network, path: Path) -> Description | None:
    """Return what a saved net knows of its data, None where it knows nothing; or raise."""
    description = own.described_by(net.data, path)
    if description is not None:
        found, wanted = math.prod(description.shape), math.prod(net._definition.input_shape)
        if found != wanted:
            raise FileError(
                f"{path}: its description of the data is damaged: of {found} numbers a row; the "
                f"net takes {wanted}"
            )
    return description


def load_model_and_data(
    *, model: Path, data: str, split: str | None, backend: str, device: str | None, labels: bool,
    prefix: str | None = None,
) -> Loaded:  # fmt: skip
    """Load a saved net to where it is to compute; and rows, with labels or None, for it."""
    net = saved_net(model)
    description = description_of(net, model)
    # Its dtype is known only now, and JAX wants to know it before it is imported.
    place_early(backend, device, net.placement.dtype_name)
    net = net.to(backend, device)
    if data not in DATASETS and not Path(data).exists():
        raise FileNotFoundError(
            f"there is no file or folder {data}, nor a data set of this name; known are {KNOWN}"
        )
    rows, t, files = _read(data, split, net.placement, labels, (description, prefix))
    if labels and t is None:
        target = "class" if description is None else description.target
        raise FileError(f"{data}: expected data with labels, found no {target!r}")
    where = net.placement
    if isinstance(rows, np.ndarray):
        rows = described.place_rows(where, rows)
    if isinstance(t, np.ndarray):
        t = described.place_target(where, t)
    return Loaded(net, rows_for(net, rows, data), t, description, files)


def _read(
    name: str, split: str | None, where: Placement, labels: bool,
    known: tuple[Description | None, str | None],
) -> tuple[Any, Any, list[str] | None]:  # fmt: skip
    """Return rows, and targets and names of images or None; on the host, or placed."""
    description, prefix = known
    path = Path(name)
    if name in DATASETS:
        train, test = DATASETS[name](**_arguments(where))
        return *(train if split == "train" else test), None
    if split is not None and path.is_file():
        raise click.UsageError(f"--split is for data sets; {name} is a file")
    if isinstance(description, (Table, Images)):
        if split is not None:
            raise click.UsageError(f"--split is for data sets with a part to test with, not {name}")
        x, t = description.read(path, labels=labels, dtype=where.dtype_name)
        if isinstance(description, Table):
            return x, t, None
        folder = path if path.is_dir() else path.parent
        return x, t, [str(file.relative_to(folder)) for file in image_files(path)[0]]
    if path.is_dir():
        folder = datasets.shards.data_folder(name, "data", "IDX files")
        sets = idx_sets.read_sets(idx_sets.find_files(folder, prefix))
        rows, t = sets[0] if split == "train" else sets[1]
    elif path.suffix.lower() in SUFFIXES:
        raise FileError(
            f"{name}: the model was not trained on a table: it does not know what the columns are"
        )
    else:
        rows, t = read_rows(path, labels=labels)
    if rows.ndim > 2:
        rows = rows.reshape(rows.shape[0], math.prod(rows.shape[1:]))
    if t is not None and t.dtype.kind != "f" and t.ndim == 1:
        if description is not None:
            t = description.numbers(t, name) if labels else None
        elif t.dtype.kind == "U":
            raise FileError(f"{name}: expected labels as integers or floats in t, found {t.dtype}")
    return rows, t, None
