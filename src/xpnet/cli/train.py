"""xpnet train."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import click
import numpy as np
from click.core import ParameterSource

from ..arrays import Array, Host
from ..backend import Placement, place
from ..network import Network
from ..optimizers import OPTIMIZERS, Clipped, Optimizer
from ..schedules import Constant, Cosine, StepDecay, WarmUp
from ..training import (
    Checkpoint,
    EarlyStopping,
    History,
    Log,
    NonFiniteLoss,
    Progress,
    distributed,
    fit,
)
from ..training.plan import BATCH_SIZE, Callback, Schedule
from ..training.sources import evaluate, held_out
from . import inputs, options, runs
from .errors import INTERRUPTED
from .inputs import MODEL, Split
from .tables import show

_Test = tuple[Array, Array, tuple[int, int] | None]  # the shape of a gray image, too
# The options that `fit` has under the same names.
FIT = (
    "steps", "epochs", "batch_size", "gradient", "dropout", "seed",
)  # fmt: skip


@click.command(params=[
    *options.placement, options.dtype, *options.net, *options.training,
    click.Option(
        ["--init"], type=options.PATH, metavar="MODEL",
        help="Begin with a saved model, its file or its run's folder, in place of a new net.",
    ),
    click.Option(
        ["--gradient"], default="backprop", metavar="backprop|numerical",
        help="Backpropagation, or central differences.",
    ),
    click.Option(
        ["--validation"], callback=options.rows_or_share, default="0", metavar="ROWS|SHARE",
        help="Keep the last so many training rows back, or a share of them such as 0.1, drawn by "
        "the seed, and measure loss and accuracy on these each epoch.",
    ),
    click.Option(
        ["--early-stopping"], type=options.COUNT, metavar="PATIENCE",
        help="Stop once the validation loss has not improved for so many epochs.",
    ),
    click.Option(
        ["--keep-best"], is_flag=True,
        help="Save the parameters after the epoch of the least validation loss, not the last.",
    ),
    *options.out("The run's folder.  [default: runs/DATASET-BACKEND-TIME]"),
    click.Option(
        ["--checkpoint-every"], type=options.COUNT, default=1000,
        help="Steps between two checkpoints, in the run's folder.",
    ),
    click.Option(
        ["--checkpoint-errors"], type=click.Choice(["warn", "stop"]), default="warn",
        help="Where a checkpoint cannot be written.",
    ),
    click.Option(
        ["--resume"], type=options.PATH, metavar="RUN", is_eager=True, callback=runs.options_of_run,
        help="Go on with a run that was stopped, from its folder: its options hold, but for those "
        "that are given anew (--steps or --epochs may be larger).",
    ),
    click.Option(["--pictures/--no-pictures"], default=True, help="Draw the run into PNG files."),
    click.Option(["--report"], is_flag=True, help="Write report.html: all of it in one file."),
    click.Option(["--quiet"], is_flag=True, help="Print the summary only."),
])  # fmt: skip
def train(**given: Any) -> int:
    """Train a net on DATA; leave model.safetensors, history.json and pictures.

    DATA is mnist, which it is by default, or fashion-mnist; a table, .csv or .parquet, whose last
    column or --target is predicted; a folder that has a folder of images for each class; an .npz
    file with the arrays x and t (or X and y) and perhaps x_test and t_test; or a folder of IDX
    files. What was learned of a table or of images is saved with the model: predict and evaluate
    turn new data into rows in the same way.

    The pictures are loss.png, confusion.png and mistakes.png of the test images, and weights.png
    of the first layer, or filters.png of a convolution, before and after training. The defaults
    train 784-100-10 on the embedded MNIST in 10,000 steps.
    Ctrl-C or SIGTERM ends a run early: what was trained so far is summed up and written as usual,
    and --resume goes on from there. A run that was killed goes on from its last checkpoint.

    Started by torchrun (torchrun --nproc-per-node N -m xpnet train), N processes train one net,
    each on its share of every batch. With --device cuda each takes a GPU of its own. After a
    restart (--max-restarts) they go on from the last checkpoint.
    """
    options.merge_data(given)
    run = _Run(given)
    start = _start(given)
    backend, device, dtype = (given[name] for name in ("backend", "device", "dtype"))
    where = inputs.place_early(backend, device, dtype)
    where = place(backend, distributed.own_device(where, device), dtype)  # where this rank computes
    with runs.run_folder(run.folder, given["force"] or run.resumes) if run.leads else nullcontext():
        net, loaded, (data, validation, test) = _load(where, given, start)
        run.say(repr(net)[1:-1])
        run.first = net.placement.to_host(net.params["W1"]).copy()
        for note in loaded.notes:
            run.say(note)
        run.say(
            f"{given['dataset']}: {data[0].shape[0] - _kept_back(data, given):,} {loaded.rows} to "
            f"train with, {test[0].shape[0]:,} to test with"
        )
        error = None
        try:
            history = _fit(run, net, data, validation)
        except NonFiniteLoss as raised:
            history, error = raised.history, raised
        if run.leads:
            _save(run, net, history, test if error is None else None)
    if error is not None and run.leads:
        raise error
    return INTERRUPTED if _unfinished(history) else 2 if error else 0


# --- what was asked for ----------------------------------------------------------------------


class _Run:
    """Options that go together, the folder of the run, and this process's part in it."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Raise where the options contradict each other."""
        out, resume = given["out"], given["resume"]
        if resume is not None and (out is not None or given["force"]):
            raise click.UsageError("--resume goes on in the run's own folder: no --out, no --force")
        options.one_length(given)
        if (given["early_stopping"] or given["keep_best"]) and not given["validation"]:
            raise click.UsageError(
                "--early-stopping and --keep-best look at the validation loss: give --validation, "
                "such as --validation 0.1"
            )
        if given["epochs"] is None:
            given["steps"] = given["steps"] or options.STEPS
        if given["pictures"] or given["report"]:
            from .. import plots  # noqa: F401  (without matplotlib the run would fail at its end)

        if distributed.restarts_allowed() and out is None and resume is None:
            raise click.UsageError(
                "give --out: after a restart the ranks look for checkpoints there"
            )
        self.given = given
        self.leads = distributed.rank() == 0  # writes; the other ranks only compute
        self.talks = self.leads and not given["quiet"]  # prints more than the summary
        self.folder = resume or out or runs.default_folder(given["dataset"], given["backend"])
        # Goes on from the checkpoints that the folder has.
        self.resumes = resume is not None or runs.started_again(out)
        self.first: Host | None = None  # the first layer's weights, as they begin
        self.trained = False

    def note(self, progress: Progress) -> None:
        """Note, as a callback, that a step was left to train."""
        self.trained = True

    def say(self, line: str) -> None:
        if self.talks:
            click.echo(line)


# --- the data --------------------------------------------------------------------------------


def _start(given: dict[str, Any]) -> Network | None:
    """Load the net of ``--init``, None where there is none; or raise."""
    if given["init"] is None:
        return None
    ctx = click.get_current_context()
    typed = ctx.get_parameter_source
    for name in options.NET:
        if name != "seed" and typed(name) == ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"--{name.replace('_', '-')} describes a new net, and --init brings one: leave one "
                "out"
            )
    net = inputs.saved_net(given["init"])
    if typed("dtype") == ParameterSource.DEFAULT:
        given["dtype"] = ctx.params["dtype"] = net.placement.dtype_name
    return net


def _load(
    where: Placement, given: dict[str, Any], start: Network | None
) -> tuple[Network, inputs.Data, tuple[Split, Split | None, _Test]]:
    """Load the data, and make the net that they ask for, or take the one to start with.

    The net; the data; rows in the net's shape and targets: to train with, to look at each epoch,
    to test with.
    """
    known = None if start is None else inputs.description_of(start, given["init"])
    loaded = inputs.load_data(given, where, known)
    if start is None:
        net = inputs.build(loaded, where, {name: given[name] for name in options.NET})
        if loaded.description is not None:
            net.class_names = loaded.description.class_names
            net.data = loaded.description.to_dict()
    else:
        net = start.to(where.backend.name, where.device, where.dtype_name)
    (x, t), (x_test, t_test) = (
        (inputs.rows_for(net, rows, loaded.name), targets)
        for rows, targets in (loaded.train, loaded.test)
    )
    validation = None
    if given["validation"] >= 1:
        rows = x.shape[0] - given["validation"]
        if rows < 1:
            raise ValueError(
                f"--validation must be below the {x.shape[0]} training {loaded.rows}"
            )
        validation = (x[rows:, ...], t[rows:])
        x, t = x[:rows, ...], t[:rows]
    return net, loaded, ((x, t), validation, (x_test, t_test, loaded.image))


# --- the fit ---------------------------------------------------------------------------------


def _fit(run: _Run, net: Network, data: Split, validation: Split | None) -> History:
    given = run.given
    if run.leads and not run.resumes and given["force"]:
        runs.delete_checkpoints(run.folder)  # of a run that this one replaces
    rows = data[0].shape[0] - _kept_back(data, given)
    batch_size = given["batch_size"] or min(BATCH_SIZE, rows)
    steps = given["steps"] or math.ceil(given["epochs"] * rows / batch_size)
    shown: AbstractContextManager[list[Callback]]
    shown = _progress(steps, bool(given["validation"])) if run.talks else nullcontext([])
    with shown as progress:
        return fit(
            net, *data, validation=validation or _share(given),
            callbacks=[*_callbacks(run), *progress],
            checkpoint=Checkpoint(
                run.folder / runs.CHECKPOINTS, given["checkpoint_every"],
                given["checkpoint_errors"], run.resumes,
            ),
            distributed=distributed.launched(), optimizer=_optimizer(given),
            learning_rate=_schedule(given, steps), sample_weight=_weights(net, data[1], given),
            **{name: given[name] for name in FIT},
        )  # fmt: skip


def _share(given: dict[str, Any]) -> float | None:
    """Return the share of the rows that `fit` is to keep back, None where it keeps none."""
    return given["validation"] if 0 < given["validation"] < 1 else None


def _kept_back(data: Split, given: dict[str, Any]) -> int:
    """Return how many rows that share is."""
    share = _share(given)
    return held_out(data[0].shape[0], share) if share else 0


def _callbacks(run: _Run) -> list[Callback]:
    given = run.given
    callbacks: list[Callback] = [run.note]
    if run.leads:
        callbacks.append(runs.remember_options(run.folder))
    if given["early_stopping"] or given["keep_best"]:
        callbacks.append(EarlyStopping(given["early_stopping"], restore_best=given["keep_best"]))
    return callbacks


def _weights(net: Network, t: Array, given: dict[str, Any]) -> Array | None:
    """Return the weights of the rows that --class-weight asks for: scikit-learn's."""
    if given["class_weight"] is None:
        return None
    labels = net.placement.to_host(t)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise click.UsageError("--class-weight is for classes; this data set has other targets")
    counts = np.bincount(labels)
    return net.placement.floats(len(labels) / (np.count_nonzero(counts) * counts[labels]))


def _optimizer(given: dict[str, Any]) -> str | Optimizer:
    name, norm = given["optimizer"], given["clip_norm"]
    return name if norm is None else Clipped(name, norm)


def _schedule(given: dict[str, Any], steps: int) -> float | Schedule | None:
    rate: float | None = given["learning_rate"]
    kind, warm_up = given["schedule"], given["warm_up"]
    if rate is None:
        rate = OPTIMIZERS[given["optimizer"]]().default_rate
    if rate is None or (kind == "constant" and not warm_up):
        return rate  # None: `fit` says that there is none
    made: dict[str, Callable[[], Schedule]] = {
        "constant": lambda: Constant(rate),
        "cosine": lambda: Cosine(rate, steps),
        "step": lambda: StepDecay(rate, math.ceil(steps / 3)),
    }
    return WarmUp(made[kind](), warm_up) if warm_up else made[kind]()


@contextmanager
def _progress(steps: int, validated: bool) -> Iterator[list[Callback]]:
    """Make the callbacks for a bar in a terminal, and for a line an epoch, or each 1,000 steps."""
    from rich.console import Console

    from ..training.bar import ProgressBar

    every: int | str = 1000 if steps >= 1000 else max(1, steps // 10)
    with ProgressBar(Console()) as bar:
        # In a file the bar would print lines of its own, which say the same.
        if not bar.drawn:
            yield [Log("epoch" if validated else every, click.echo)]
        else:  # which has the lines of epochs
            yield [bar] if validated else [bar, Log(every, bar.print)]


# --- what is written afterwards --------------------------------------------------------------


def _save(run: _Run, net: Network, history: History, test: _Test | None) -> None:
    """Write and sum up what was trained; without the test where the loss is not finite."""
    given, folder = run.given, run.folder
    history.settings.update(
        dataset=given["dataset"], class_weight=given["class_weight"], net=str(net._definition)
    )
    # After a first block that was no number, the weights are not worth a file.
    model = [MODEL] if history.block_steps else []
    with ExitStack() as after:
        # Last in, first out, and in any case: hours of training must not be lost because of what
        # comes after them.
        after.callback(history.save, folder / "history.json")
        if model:
            after.callback(net.save, folder / MODEL)
        else:
            (folder / MODEL).unlink(missing_ok=True)  # of the run that this one replaces
        if test:
            history.test_accuracy = evaluate(net, *test[:2])[1]
            history.test_r2 = inputs.determination(net, *test[:2])
    show(history._rows())
    files = [*model, "history.json"]
    if given["pictures"] or given["report"]:
        from . import page

        parts = {"net": net, "x": test[0], "t": test[1], "shape": test[2]} if test else {}
        pictures = page.pictures_of(history, **parts, first=run.first)
        if given["pictures"]:
            files += page.save_pictures(folder, pictures)
        if given["report"]:
            page.save_report(folder / "report.html", history, pictures)
            files.append("report.html")
    run.say(f"{', '.join(files)} are in {folder}")
    if run.resumes and not run.trained:
        goes_on = history.stopped or f"{history.steps:,} steps; --steps M goes on"
        click.echo(f"already finished: {goes_on}")
    if _unfinished(history):
        click.echo(f"go on with: xpnet train --resume {shlex.quote(str(folder))}", err=True)


def _unfinished(history: History) -> bool:
    """Whether a run was ended before its end, by no decision of its own."""
    return history.reason is not None and history.reason.kind != "callback"
