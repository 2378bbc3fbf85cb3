"""Options that several commands share."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..backend import BACKENDS, FOR_TESTS
from ..backend.placement import DTYPES
from ..functions import ACTIVATIONS
from ..layers import NETS
from ..optimizers import OPTIMIZERS
from ..training.plan import BATCH_SIZE
from .inputs import DATASETS

COUNT = click.IntRange(min=1)
PATH = click.Path(path_type=Path)
STEPS = 10_000
# What describes a net.
NET = ("net", "layers", "shift", "hidden", "activation", "weight_init", "l2", "seed")


# --- what is typed, as values ----------------------------------------------------------------


def layer_sizes(ctx: object, param: object, values: tuple[str, ...]) -> tuple[int, ...]:
    """Return the sizes of ``100``, of ``100,50``, or of several such; ``none`` is no layer."""
    sizes = [size for value in values if value != "none" for size in value.split(",")]
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise click.BadParameter(
            f"{' '.join(values)!r} is not a size above 0, or several with commas, or 'none'"
        )
    return tuple(map(int, sizes))


def image_size(ctx: object, param: object, value: Any) -> tuple[int, int] | None:
    """Return height and width of ``28`` or ``28x32``."""
    if value is None:
        return None
    sizes = value.split("x") if isinstance(value, str) else [*map(str, value)]
    if not 1 <= len(sizes) <= 2 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise click.BadParameter(f"{value!r} is not a size above 0, or HEIGHTxWIDTH")
    return int(sizes[0]), int(sizes[-1])


def merge_data(given: dict[str, Any]) -> None:
    """Make one of DATA and ``--dataset``, or raise where they are two."""
    ctx = click.get_current_context()
    typed = ctx.get_parameter_source("dataset") == ParameterSource.COMMANDLINE
    data, dataset = given.pop("data"), given["dataset"]
    if typed and data not in (None, dataset):
        raise click.UsageError(f"two data sets, {data} and --dataset {dataset}: leave one out")
    given["dataset"] = data or dataset or "mnist"
    ctx.params = {**given}  # what a run remembers


def weight_init(ctx: click.Context, param: object, value: str | None) -> float | str:
    """Return a number where `value` is one, and what the net begins with where there is none."""
    if value is None:
        return "xavier" if ctx.params["net"] == "mlp" and ctx.params["layers"] is None else "he"
    try:
        return float(value)
    except ValueError:
        return value


def rows_or_share(ctx: object, param: object, value: str) -> int | float:
    """Return a number of rows as an int, a share below 1 as a float."""
    number = -1.0
    with contextlib.suppress(ValueError):
        number = float(value)
    if 0.0 < number < 1.0:
        return number
    if number < 0.0 or not number.is_integer():
        raise click.BadParameter(f"{value!r} is neither a number of rows nor a share below 1")
    return int(number)


def one_length(options: dict[str, Any]) -> None:
    """See to it that a run has one length; raise where two are typed.

    Of a run that is resumed, the one that is typed replaces the one that it had.
    """
    names = ("steps", "epochs")
    if any(options[name] is None for name in names):
        return
    ctx = click.get_current_context()
    earlier = [n for n in names if ctx.get_parameter_source(n) == ParameterSource.DEFAULT_MAP]
    if len(earlier) != 1:
        raise click.UsageError("give --steps or --epochs, not both")
    options[earlier[0]] = ctx.params[earlier[0]] = None  # there, for the next that resumes it


def refuse_lr(ctx: object, param: object, value: str | None) -> None:
    """Say what the option is called."""
    if value is not None:
        raise click.UsageError("no such option: --lr; did you mean --learning-rate?")


def default_rates() -> str:
    """Return the optimizers' own learning rates in words.

    Examples
    --------
    >>> default_rates()
    '0.1 for sgd; 0.01 for momentum, nesterov, adagrad; 0.001 for adam, adamw, rmsprop'
    """
    names: dict[float, list[str]] = {}
    for name, make in OPTIMIZERS.items():
        if (rate := make().default_rate) is not None:
            names.setdefault(rate, []).append(name)
    parts = [f"{rate:g} for {', '.join(names[rate])}" for rate in sorted(names, reverse=True)]
    return "; ".join(parts)


def as_words(options: dict[str, Any]) -> list[str]:
    """Return options as they are typed.

    Examples
    --------
    >>> as_words({"hidden": (100, 50), "batch_size": 10, "steps": None, "gray": True})
    ['--hidden', '100,50', '--batch-size', '10', '--gray']
    """
    words = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if isinstance(value, tuple):
            words.append(("x" if name == "size" else ",").join(map(str, value)) or "none")
        elif value is not True:
            words.append(str(value))
    return words


# --- one option ------------------------------------------------------------------------------

debug = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)
dtype = click.Option(["--dtype"], type=click.Choice(DTYPES), default="float32")
json = click.Option(["--json", "as_json"], is_flag=True, help="Print JSON.")


# --- several at once, in the order in which the help lists them ------------------------------


def out(text: str, force: str = "Write into a folder that is not empty.") -> list[click.Option]:
    """Return ``--out`` and ``--force``, from their helps."""
    return [
        click.Option(["--out"], type=PATH, help=text),
        click.Option(["--force"], is_flag=True, help=force),
    ]


placement: list[click.Parameter] = [
    click.Option(
        ["--backend"], default="numpy",
        type=click.Choice([name for name in BACKENDS if name not in FOR_TESTS]),
    ),
    click.Option(["--device"], help="Such as cpu, cuda or cuda:1; default: the library's."),
]  # fmt: skip
# Data to train with.
data: list[click.Parameter] = [
    click.Argument(["data"], required=False),
    click.Option(
        ["--dataset"], metavar=f"{'|'.join(DATASETS)}|PATH", help="Another way to give DATA."
    ),
    click.Option(
        ["--target"], metavar="COLUMN",
        help="The column of a table to predict.  [default: the last]",
    ),
    click.Option(
        ["--fill"], type=click.Choice(["mean"]),
        help="Fill missing numbers of a table with the mean, words with the most frequent one.",
    ),
    click.Option(
        ["--size"], callback=image_size, metavar="N|HEIGHTxWIDTH",
        help="Bring image files to this size.",
    ),
    click.Option(["--gray"], is_flag=True, help="Make image files gray."),
    prefix := click.Option(
        ["--prefix"], metavar="WORD",
        help="What the names of IDX files begin with, such as emnist-letters.",
    ),
    click.Option(
        ["--test"], type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True), metavar="SHARE",
        help="Hold this share of the rows out to test with, drawn by --seed, where DATA has no "
        "part to test with.  [default: 0.2]",
    ),
]  # fmt: skip
# A saved model, and rows for it.
model: list[click.Parameter] = [
    click.Argument(["model"], type=PATH),
    click.Argument(["data"]),
    *placement,
    click.Option(
        ["--split"], type=click.Choice(["test", "train"]),
        help="Which part of a data set.  [default: test]",
    ),
    prefix,
]  # fmt: skip
# Data, and a new net for them.
net: list[click.Parameter] = [
    *data,
    click.Option(
        ["--net"], type=click.Choice(["mlp", *NETS]), default="mlp",
        help="A multi-layer perceptron, or a convolutional net of the textbook's.",
    ),
    click.Option(
        ["--layers"], metavar="WORDS",
        help="In place of --net, such as 'conv30x5 relu pool2 affine100 relu'; the classes' own "
        "layer is added. Also conv16x3s2p1 (stride, padding), avgpool2, batchnorm, dropout0.5.",
    ),
    click.Option(
        ["--shift"], type=click.IntRange(min=0), default=0,
        help="Move each image of a batch by up to so many pixels, anew in each step.",
    ),
    click.Option(
        ["--hidden"], callback=layer_sizes, metavar="SIZES", multiple=True, default=["100"],
        help="Sizes of the hidden layers: --hidden 100,50 or --hidden 100 --hidden 50; or none.",
    ),
    click.Option(["--activation"], type=click.Choice(list(ACTIVATIONS)), default="sigmoid"),
    click.Option(
        ["--weight-init"], callback=weight_init, metavar="xavier|he|NUMBER",
        help="How weights are drawn; a number is their standard deviation.  [default: xavier; he "
        "for --net and --layers]",
    ),
    click.Option(["--l2"], default=0.0, help="Weight of the squared weights in the loss."),
    click.Option(
        ["--seed"], type=click.IntRange(min=0), default=0, help="Of the weights and the batches."
    ),
]  # fmt: skip
training: list[click.Parameter] = [
    click.Option(["--optimizer"], type=click.Choice(list(OPTIMIZERS)), default="sgd"),
    click.Option(
        ["--learning-rate"], type=float,
        help=f"[default: the optimizer's, {default_rates()}]",
    ),
    click.Option(["--lr"], hidden=True, expose_value=False, callback=refuse_lr),
    click.Option(
        ["--schedule"], type=click.Choice(["constant", "cosine", "step"]), default="constant",
        help="Keep the learning rate, let it fall to 0 along half a cosine wave, or take a tenth "
        "of it after each third of the run.",
    ),
    click.Option(
        ["--warm-up"], type=click.IntRange(min=0), default=0, metavar="STEPS",
        help="Let the learning rate rise from 0 over the first steps.",
    ),
    click.Option(
        ["--clip-norm"], type=float, metavar="NORM",
        help="Scale the gradient of a step down to this norm where it is longer.",
    ),
    click.Option(
        ["--batch-size"], type=COUNT,
        help=f"[default: {BATCH_SIZE}, or all rows where there are fewer]",
    ),
    click.Option(["--steps"], type=COUNT, help=f"[default: {STEPS:,}]"),
    click.Option(["--epochs"], type=COUNT, help="In place of --steps."),
    click.Option(
        ["--dropout"], type=click.FloatRange(0.0, 1.0, max_open=True), default=0.0,
        help="The probability with which a step leaves an output of a hidden layer out.",
    ),
    click.Option(
        ["--class-weight"], type=click.Choice(["balanced"]),
        help="Weigh each row by n / (classes * rows of its class): rare classes count as much.",
    ),
]  # fmt: skip
