"""xpnet train."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from ..arrays import Array
from ..backend import Placement, place
from ..network import MLP
from ..training import Checkpoint, History, Log, NonFiniteLoss, distributed, fit
from ..training.plan import Callback
from ..training.sources import evaluate
from . import inputs, options, runs
from .errors import INTERRUPTED
from .tables import show

# The options that `fit` has under the same names.
FIT = (
    "steps", "epochs", "batch_size", "optimizer", "learning_rate", "gradient", "dropout", "seed",
)  # fmt: skip


@click.command()
@options.placement
@options.dtype
@options.net
@options.training
@click.option(
    "--gradient", default="backprop", metavar="backprop|numerical",
    help="Backpropagation, or central differences.",
)
@click.option(
    "--validation", type=click.IntRange(min=0), default=0,
    help="Keep this many training rows back and measure loss and accuracy on them each epoch.",
)
@options.out("The run's folder.  [default: runs/DATASET-BACKEND-TIME]")
@click.option(
    "--checkpoint-every", type=options.COUNT, default=1000,
    help="Steps between two checkpoints, in the run's folder.",
)
@click.option(
    "--checkpoint-errors", type=click.Choice(["warn", "stop"]), default="warn",
    help="Where a checkpoint cannot be written.",
)
@click.option(
    "--resume", type=options.PATH, metavar="RUN", is_eager=True, callback=runs.options_of_run,
    help="Go on with a run that was stopped, from its folder: its options hold, but for those "
    "that are given anew (--steps may be larger).",
)
@click.option("--pictures/--no-pictures", default=True, help="Draw the run into PNG files.")
@click.option("--report", is_flag=True, help="Write report.html: all of it in one file.")
@click.option("--quiet", is_flag=True, help="Print the summary only.")
def train(**given: Any) -> int:
    """Train a net on a data set; leave model.safetensors, history.json and pictures.

    The pictures are loss.png, confusion.png and mistakes.png of the test images, and weights.png
    of the first layer. The defaults train 784-100-10 on the embedded MNIST in 10,000 steps.
    Ctrl-C or SIGTERM ends a run early: what was trained so far is summed up and written as usual,
    and --resume goes on from there. A run that was killed goes on from its last checkpoint.

    Started by torchrun (torchrun --nproc-per-node N -m xpnet train), N processes train one net,
    each on its share of every batch. With --device cuda each takes a GPU of its own. After a
    restart (--max-restarts) they go on from the last checkpoint.
    """
    run = _asked_for(given)
    where = _placement(given)
    overwrite = given["force"] or run.resumes
    with runs.run_folder(run.folder, overwrite) if run.leads else nullcontext():
        net, data = _net_and_data(where, given)
        run.say(repr(net)[1:-1])
        run.say(
            f"{given['dataset']}: {data.train[0].shape[0]:,} images to train with, "
            f"{data.test[0].shape[0]:,} to test with"
        )
        error = None
        try:
            history = _fit(run, net, data)
        except NonFiniteLoss as raised:
            history, error = raised.history, raised
        if run.leads:
            _save(run, net, data, history, tested=error is None)
    if error is not None and run.leads:
        raise error
    return INTERRUPTED if history.stopped else 2 if error else 0


# --- what was asked for ----------------------------------------------------------------------


@dataclass(frozen=True)
class _Run:
    """Options that go together, the folder of the run, and this process's part in it."""

    given: dict[str, Any]  # the options, by their names
    folder: Path
    resumes: bool  # goes on from the checkpoints that the folder has
    leads: bool  # writes; the other ranks only compute
    talks: bool  # prints more than the summary

    def say(self, line: str) -> None:
        if self.talks:
            click.echo(line)


def _asked_for(given: dict[str, Any]) -> _Run:
    """Return the run that the options describe, or raise where they contradict each other."""
    out, resume = given["out"], given["resume"]
    if resume is not None and (out is not None or given["force"]):
        raise click.UsageError("--resume goes on in the run's own folder: no --out, no --force")
    options.refuse_steps_and_epochs(given)
    if given["epochs"] is None:
        given["steps"] = given["steps"] or options.STEPS
    if given["pictures"] or given["report"]:
        from .. import plots  # noqa: F401  (without matplotlib the run would fail at its end)

    if distributed.restarts_allowed() and out is None and resume is None:
        raise click.UsageError("give --out: after a restart the ranks look for checkpoints there")
    leads = distributed.rank() == 0
    return _Run(
        given,
        folder=resume or out or runs.default_folder(given["dataset"], given["backend"]),
        resumes=resume is not None or runs.started_again(out),
        leads=leads,
        talks=leads and not given["quiet"],
    )


def _placement(given: dict[str, Any]) -> Placement:
    """Return where this rank computes."""
    backend, device, dtype = (given[name] for name in ("backend", "device", "dtype"))
    where = inputs.place_early(backend, device, dtype)
    return place(backend, distributed.own_device(where, device), dtype)


# --- the data --------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """Images, a row each, and labels: to train with, to look at each epoch, to test with."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array] | None
    test: tuple[Array, Array]
    image_shape: tuple[int, int]


def _net_and_data(where: Placement, given: dict[str, Any]) -> tuple[MLP, _Data]:
    """Load the data set, and make the net that its sizes ask for."""
    (x, t), (x_test, t_test) = inputs.load_dataset(given["dataset"], where, flatten=False)
    image_shape = x.shape[1:]
    x, x_test = (where.xp.reshape(a, (a.shape[0], -1)) for a in (x, x_test))
    described = {name: given[name] for name in options.NET}
    net = inputs.build(x.shape[1], inputs.class_count(where, t, t_test), where, **described)
    rows, validation = x.shape[0] - given["validation"], None
    if given["validation"]:
        if rows < 1:
            raise ValueError(f"--validation must be below the {x.shape[0]} training images")
        validation = (x[rows:, :], t[rows:])
        x, t = x[:rows, :], t[:rows]
    return net, _Data((x, t), validation, (x_test, t_test), image_shape)


# --- the fit ---------------------------------------------------------------------------------


def _fit(run: _Run, net: MLP, data: _Data) -> History:
    given = run.given
    callbacks: list[Callback] = []
    if run.leads and not run.resumes:
        callbacks.append(runs.remember_options(run.folder))
        if given["force"]:
            runs.delete_checkpoints(run.folder)  # of a run that this one replaces
    rows = data.train[0].shape[0]
    steps = given["steps"] or math.ceil(given["epochs"] * rows / given["batch_size"])
    shown: AbstractContextManager[list[Callback]]
    shown = _progress(steps) if run.talks else nullcontext([])
    with shown as progress:
        return fit(
            net, *data.train, validation=data.validation, callbacks=[*callbacks, *progress],
            checkpoint=Checkpoint(
                run.folder / runs.CHECKPOINTS, given["checkpoint_every"],
                given["checkpoint_errors"], run.resumes,
            ),
            distributed=distributed.launched(), **{name: given[name] for name in FIT},
        )  # fmt: skip


@contextmanager
def _progress(steps: int) -> Iterator[list[Callback]]:
    """Make the callbacks for a bar in a terminal, and a line each 1,000 steps anywhere."""
    from rich.console import Console

    from ..training.bar import ProgressBar

    every = 1000 if steps >= 1000 else max(1, steps // 10)
    with ProgressBar(Console()) as bar:
        # In a file the bar would print lines of its own, which say the same.
        yield [bar, Log(every, bar.print)] if bar.drawn else [Log(every, click.echo)]


# --- what is written afterwards --------------------------------------------------------------


def _save(run: _Run, net: MLP, data: _Data, history: History, *, tested: bool) -> None:
    """Write and sum up what was trained; without the test where the loss is not finite."""
    given, folder = run.given, run.folder
    history.settings.update(dataset=given["dataset"], validation_rows=given["validation"])
    with ExitStack() as after:
        # Last in, first out, and in any case: hours of training must not be lost because of what
        # comes after them.
        after.callback(history.save, folder / "history.json")
        after.callback(net.save, folder / "model.safetensors")
        if tested:
            history.test_accuracy = evaluate(net, *data.test)[1]
    show(history.rows())
    files = ["model.safetensors", "history.json"]
    if given["pictures"] or given["report"]:
        from . import page

        test = (net, *data.test, data.image_shape) if tested else ()
        pictures = page.pictures_of(history, *test)
        if given["pictures"]:
            files += page.save_pictures(folder, pictures)
        if given["report"]:
            page.save_report(folder / "report.html", history, pictures)
            files.append("report.html")
    run.say(f"{', '.join(files)} are in {folder}")
    if history.stopped:
        click.echo(f"go on with: xpnet train --resume {shlex.quote(str(folder))}", err=True)
