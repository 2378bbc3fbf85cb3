"""xpnet train."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from ..backend.table import place
from ..network.mlp import MLP
from ..training import distributed
from ..training.callbacks import Log
from ..training.checkpoint import Checkpoints
from ..training.history import History
from ..training.loop import fit
from ..training.plan import Callback
from ..training.session import NonFiniteLoss
from ..training.sources import evaluate
from .errors import INTERRUPTED
from .inputs import build, class_count, load_dataset, prepare
from .options import (
    STEPS,
    dataset_option,
    debug_option,
    dtype_option,
    force_option,
    net_options,
    options_of_run,
    placement_options,
    training_options,
)
from .runs import CHECKPOINTS, default_folder, remember_options, run_folder, started_again
from .tables import show


@click.command()
@placement_options
@dtype_option
@dataset_option
@net_options
@training_options
@click.option(
    "--gradient",
    default="backprop",
    metavar="backprop|numerical",
    help="Backpropagation, or central differences.",
)
@click.option(
    "--validation",
    type=click.IntRange(min=0),
    default=0,
    help="Keep this many training rows back and measure loss and accuracy on them each epoch.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The run's folder.  [default: runs/DATASET-BACKEND-TIME]",
)
@force_option
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    default=1000,
    help="Steps between two checkpoints, in the run's folder.",
)
@click.option(
    "--checkpoint-errors",
    type=click.Choice(["warn", "stop"]),
    default="warn",
    help="Where a checkpoint cannot be written.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    is_eager=True,
    callback=options_of_run,
    help="Go on with a run that was stopped, from its folder: its options hold, but for those "
    "that are given anew (--steps may be larger).",
)
@click.option("--pictures/--no-pictures", default=True, help="Draw the run into PNG files.")
@click.option("--report", is_flag=True, help="Write report.html: all of it in one file.")
@click.option("--quiet", is_flag=True, help="Print the summary only.")
@debug_option
def train(
    *,
    backend: str,
    device: str | None,
    dtype: str,
    dataset: str,
    optimizer: str,
    learning_rate: float,
    batch_size: int,
    steps: int | None,
    epochs: int | None,
    dropout: float,
    gradient: str,
    validation: int,
    out: Path | None,
    force: bool,
    checkpoint_every: int,
    checkpoint_errors: str,
    resume: Path | None,
    pictures: bool,
    report: bool,
    quiet: bool,
    **described: Any,
) -> int:
    """Train a net on a data set; leave model.safetensors, history.json and pictures.

    The pictures are loss.png, confusion.png and mistakes.png of the test images, and weights.png
    of the first layer. The defaults train 784-100-10 on the embedded MNIST in 10,000 steps.
    Ctrl-C or SIGTERM ends a run early: what was trained so far is summed up and written as usual,
    and --resume goes on from there. A run that was killed goes on from its last checkpoint.

    Started by torchrun (torchrun --nproc-per-node N -m xpnet train), N processes train one net,
    each on its share of every batch. With --device cuda each takes a GPU of its own. After a
    restart (--max-restarts) they go on from the last checkpoint.
    """
    if resume is not None and (out is not None or force):
        raise click.UsageError("--resume goes on in the run's own folder: no --out, no --force")
    if steps is not None and epochs is not None:
        raise click.UsageError("give --steps or --epochs, not both")
    if steps is None and epochs is None:
        steps = STEPS
    if pictures or report:
        from .. import plots  # noqa: F401  (without matplotlib the run would fail at its end)

    if distributed.restarts_allowed() and out is None and resume is None:
        raise click.UsageError("give --out: after a restart the ranks look for checkpoints there")
    leads = distributed.rank() == 0  # the others only compute
    again = started_again(out)

    prepare(backend, dtype)
    where = place(backend, device, dtype)
    device = distributed.own_device(where, device)
    target = resume or out or default_folder(dataset, backend)
    anew = resume is None and not again
    with run_folder(target, force or not anew) if leads else nullcontext(target) as folder:
        here: dict[str, Any] = {"xp": backend, "device": device, "dtype": dtype}
        (x, t), (x_test, t_test) = load_dataset(dataset, flatten=False, **here)
        shape = x.shape[1:]
        x, x_test = (where.xp.reshape(a, (a.shape[0], -1)) for a in (x, x_test))
        net = build(x.shape[1], class_count(where, t, t_test), **described, **here)
        held_out = None
        if validation:
            rows = x.shape[0] - validation
            if rows < 1:
                raise ValueError(f"--validation must be below the {x.shape[0]} training images")
            held_out = (x[rows:, :], t[rows:])
            x, t = x[:rows, :], t[:rows]
        say: Callable[[str], None] = (lambda line: None) if quiet or not leads else click.echo
        say(repr(net)[1:-1])
        say(f"{dataset}: {x.shape[0]:,} images to train with, {x_test.shape[0]:,} to test with")

        remember: list[Callback] = []
        if anew and leads:
            remember.append(remember_options(folder))
            if force and (folder / CHECKPOINTS).is_dir():  # of a run that this one replaces
                for path in Checkpoints(folder / CHECKPOINTS).files():
                    path.unlink()

        history, error = None, None
        try:
            history = _fit(
                net,
                x,
                t,
                quiet=quiet or not leads,
                callbacks=remember,
                steps=steps,
                epochs=epochs,
                batch_size=batch_size,
                optimizer=optimizer,
                learning_rate=learning_rate,
                gradient=gradient,
                dropout=dropout,
                validation=held_out,
                seed=described["seed"],
                checkpoint=folder / CHECKPOINTS,
                checkpoint_every=checkpoint_every,
                checkpoint_errors=checkpoint_errors,
                resume=not anew,
                distributed=distributed.launched(),
            )
        except NonFiniteLoss as raised:
            history, error = raised.history, raised
        if not leads:
            return INTERRUPTED if history.stopped else 2 if error else 0
        history.settings.update(dataset=dataset, validation_rows=validation)
        try:
            if error is None:
                history.test_accuracy = evaluate(net, x_test, t_test)[1]
        finally:
            # Hours of training must not be lost because of what comes after them.
            try:
                net.save(folder / "model.safetensors")
            finally:
                history.save(folder / "history.json")
        show(history.rows())
        files = ["model.safetensors", "history.json"]
        if pictures or report:
            from . import page

            tested = (net, x_test, t_test, shape) if error is None else ()
            drawn = page.pictures(history, *tested)
            if pictures:
                files += page.save_pictures(folder, drawn)
            if report:
                page.save_report(folder / "report.html", history, drawn)
                files.append("report.html")
        say(f"{', '.join(files)} are in {folder}")
        if history.stopped:
            click.echo(f"go on with: xpnet train --resume {shlex.quote(str(folder))}", err=True)
    if error is not None:
        raise error
    return INTERRUPTED if history.stopped else 0


def _fit(
    net: MLP, x: Any, t: Any, *, quiet: bool, callbacks: Sequence[Callback], **options: Any
) -> History:
    """Train with a bar in a terminal, and a line each 1,000 steps anywhere."""
    if quiet:
        return fit(net, x, t, callbacks=callbacks, **options)
    from rich.console import Console

    from ..training.bar import ProgressBar

    total = options["steps"] or math.ceil(options["epochs"] * x.shape[0] / options["batch_size"])
    every = 1000 if total >= 1000 else max(1, total // 10)
    with ProgressBar(Console()) as bar:
        # The bar's own lines elsewhere would say the same once more.
        log = Log(every, bar.print if bar.drawn else click.echo)
        shown = [bar, log] if bar.drawn else [log]
        return fit(net, x, t, callbacks=[*callbacks, *shown], **options)
