"""Options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ..backend.placement import DTYPES
from ..backend.table import BACKENDS, FOR_TESTS
from ..functions import ACTIVATIONS
from ..optimizers import OPTIMIZERS
from .inputs import DATASETS

Command = TypeVar("Command", bound=Callable[..., Any])
STEPS = 10_000


def layer_sizes(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> tuple[int, ...]:
    """Return the sizes of ``100``, of ``100,50``, or of several such; ``none`` is no layer."""
    sizes = [size for value in values if value != "none" for size in value.split(",")]
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise click.BadParameter(
            f"{' '.join(values)!r} is not a size above 0, or several with commas, or 'none'"
        )
    return tuple(map(int, sizes))


def number_or_name(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> float | str | None:
    """Return a number where `value` is one."""
    try:
        return None if value is None else float(value)
    except ValueError:
        return value


def options_of_run(
    ctx: click.Context, param: click.Parameter, folder: Path | None
) -> Path | None:
    """Take the options of an earlier run as the defaults."""
    if folder is not None:
        path = folder / "options.json"
        if not path.exists():
            raise click.BadParameter(f"{folder} is no folder of a run: it has no options.json")
        try:
            ctx.default_map = dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise click.BadParameter(f"{path} is damaged: {error}") from error
    return folder


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, help="Show the traceback of an error."
)
dtype_option = click.option("--dtype", type=click.Choice(DTYPES), default="float32")
force_option = click.option("--force", is_flag=True, help="Write into a folder that is not empty.")


def placement_options(command: Command) -> Command:
    """Add ``--backend`` and ``--device``."""
    names = [name for name in BACKENDS if name not in FOR_TESTS]
    for option in (
        click.option("--device", help="Such as cpu, cuda or cuda:1; default: the library's."),
        click.option("--backend", type=click.Choice(names), default="numpy"),
    ):
        command = option(command)
    return command


split_option = click.option(
    "--split",
    type=click.Choice(["test", "train"]),
    help="Which part of a data set.  [default: test]",
)


def dataset_option(command: Command) -> Command:
    """Add ``--dataset``."""
    return click.option(
        "--dataset",
        default="mnist",
        metavar=f"{'|'.join(DATASETS)}|FOLDER",
        help="A name, or a folder of the four IDX files, plain, .gz or .xz.",
    )(command)


def net_options(command: Command) -> Command:
    """Add what describes a net: ``--hidden``, ``--activation``, ``--weight-init`` and so on."""
    for option in (
        click.option(
            "--seed", type=click.IntRange(min=0), default=0, help="Of the weights and the batches."
        ),
        click.option(
            "--l2", type=float, default=0.0, help="Weight of the squared weights in the loss."
        ),
        click.option(
            "--weight-init",
            callback=number_or_name,
            metavar="xavier|he|NUMBER",
            help="How weights are drawn; a number is their standard deviation.  [default: 0.01 "
            "with one hidden layer or none; xavier with more]",
        ),
        click.option("--activation", type=click.Choice(list(ACTIVATIONS)), default="sigmoid"),
        click.option(
            "--hidden",
            callback=layer_sizes,
            metavar="SIZES",
            multiple=True,
            default=["100"],
            help="Sizes of the hidden layers: --hidden 100,50 or --hidden 100 --hidden 50; or "
            "none.",
        ),
    ):
        command = option(command)
    return command


def training_options(command: Command) -> Command:
    """Add how a net is trained: ``--optimizer``, ``--batch-size``, ``--steps`` and so on."""
    for option in (
        click.option(
            "--dropout",
            type=click.FloatRange(0.0, 1.0, max_open=True),
            default=0.0,
            help="The probability with which a step leaves an output of a hidden layer out.",
        ),
        click.option("--epochs", type=click.IntRange(min=1), help="In place of --steps."),
        click.option("--steps", type=click.IntRange(min=1), help=f"[default: {STEPS:,}]"),
        click.option("--batch-size", type=click.IntRange(min=1), default=100),
        click.option("--learning-rate", type=float, default=0.1),
        click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)), default="sgd"),
    ):
        command = option(command)
    return command


def as_words(options: dict[str, Any]) -> list[str]:
    """Return options as they are typed.

    Examples
    --------
    >>> as_words({"hidden": (100, 50), "batch_size": 10, "steps": None})
    ['--hidden', '100,50', '--batch-size', '10']
    """
    words = []
    for name, value in options.items():
        if value is not None:
            text = ",".join(map(str, value)) or "none" if name == "hidden" else str(value)
            words += [f"--{name.replace('_', '-')}", text]
    return words
