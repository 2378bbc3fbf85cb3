"""The `xpnet` command.

Each command is a function; the options that several share are named once, below `cli`. What a
command cannot do is one line on standard error and exit code 2; the class of the group sees
to that.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from . import __version__, datasets, distributed
from .backend import BACKENDS, DTYPES, FOR_TESTS, Placement, backends, place
from .callbacks import Log, Progress
from .checkpoint import Checkpoints
from .checks import all_finite
from .datasets.rows import read_rows
from .files import replace_atomically
from .functions import ACTIVATIONS
from .history import History
from .losses import OUTPUTS
from .network import MLP, load
from .optimizers import OPTIMIZERS
from .training import Callback, NonFiniteLoss, evaluate, fit

Command = TypeVar("Command", bound=Callable[..., Any])

DATASETS: dict[str, Callable[..., Any]] = {
    "mnist": datasets.load_mnist,
    "fashion-mnist": datasets.load_fashion_mnist,
}
INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended
STEPS = 10_000
CHECKPOINTS = "checkpoints"  # within the folder of a run


class OneLineErrors(click.Group):
    """A group of commands whose errors are one line; with ``--debug``, after a traceback."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and, in standalone mode, exit with its code."""
        arguments = [*(sys.argv[1:] if args is None else args)]
        debug = "--debug" in arguments
        try:
            # Without standalone mode click hands errors and exit codes over to us.
            code = super().main(arguments or ["--help"], prog_name, complete_var, False, **extra)
            sys.stdout.flush()  # a reader that has gone is noticed here, not at exit
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except (click.Abort, KeyboardInterrupt):
            code = _fail("interrupted", debug, INTERRUPTED)
        except Exception as error:  # whatever it is: one line
            code = _fail(one_line(error), debug)
        if standalone_mode:
            sys.exit(code)
        return code


def _fail(message: str, debug: bool, code: int = 2) -> int:
    if debug:
        traceback.print_exc()
    click.echo(f"xpnet: error: {message}", err=True)
    return code


def one_line(error: Exception) -> str:
    """Return what an error says to the user, in one line.

    Examples
    --------
    >>> one_line(FileNotFoundError(2, "No such file or directory", "images"))
    'images: No such file or directory'
    """
    if isinstance(error, click.ClickException):
        text = error.format_message()
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    else:
        text = str(error)
    text = " ".join(text.split())
    if isinstance(error, MemoryError):
        return f"not enough memory: {text}" if text else "not enough memory"
    meant = (click.ClickException, OSError, ValueError, TypeError, RuntimeError, ImportError)
    if text and isinstance(error, (*meant, ArithmeticError)):
        return text
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind) + " (a mistake in xpnet? --debug shows where)"


# --- options that commands share -------------------------------------------------------------


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


@contextlib.contextmanager
def run_folder(folder: Path, force: bool) -> Iterator[Path]:
    """Make the folder of a run, or raise; if nothing was written, take it away again."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = set(folder.iterdir())
        if found == {folder / CHECKPOINTS} and not any((folder / CHECKPOINTS).iterdir()):
            found.clear()  # what a run leaves that was killed before its first checkpoint
        if found and not force:
            raise FileExistsError(f"{folder} is not empty; --force writes into it all the same")
        # A folder that cannot be written to is noticed now, not after the training.
        with tempfile.TemporaryFile(dir=folder):
            pass
        yield folder
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # not empty: something was written
                path.rmdir()


def remember_options(folder: Path) -> Callback:
    """Return a callback of `fit` that writes the options of this run, for ``--resume``.

    After the first block, because options that are refused leave nothing behind.
    """
    ctx = click.get_current_context()
    own = ("out", "force", "resume", "quiet")
    options = {name: value for name, value in ctx.params.items() if name not in own}
    options["hidden"] = [",".join(map(str, options["hidden"])) or "none"]
    options["job"] = distributed.job()
    if options["dataset"] not in DATASETS:  # it may be resumed from elsewhere
        options["dataset"] = str(Path(options["dataset"]).resolve())
    text = json.dumps(options, indent=1).encode()
    written = False

    def remember(progress: Progress) -> None:
        nonlocal written
        if not written:
            replace_atomically(folder / "options.json", lambda file: file.write(text))
            written = True

    return remember


def started_again(folder: Path | None) -> bool:
    """Whether torchrun has started a run again that had begun to train into this folder."""
    path = None if folder is None else folder / "options.json"
    if path is None or not distributed.launched() or not path.exists():
        return False
    return bool(json.loads(path.read_text(encoding="utf-8")).get("job") == distributed.job())


def default_folder(dataset: str, backend: str) -> Path:
    """Return ``runs/<dataset>-<backend>-<time>``, with a number added where it exists."""
    stem = f"{Path(dataset).resolve().name}-{backend}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, number = Path("runs", stem), 1
    while folder.exists():
        number += 1
        folder = Path("runs", f"{stem}-{number}")
    return folder


def show(rows: Iterable[tuple[str, str]]) -> None:
    """Print names and values: a table in a terminal, plain lines elsewhere."""
    rows = list(rows)
    if not sys.stdout.isatty():
        width = max(len(name) for name, _ in rows) + 2
        click.echo("\n".join(f"{name:<{width}}{value}" for name, value in rows))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    table.add_column(style="bold", no_wrap=True)
    for name, value in rows:
        table.add_row(name, Text(value))
    Console().print(table)


def show_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of numbers, the first two columns left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    drawn = sys.stdout.isatty()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for i, name in enumerate(head):
        table.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # FORCE_COLOR must not write control characters into a file.
    Console(width=None if drawn else 120, color_system="auto" if drawn else None).print(table)


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


# --- the commands ----------------------------------------------------------------------------


@click.group(
    cls=OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="xpnet")
@debug_option
def cli() -> None:
    """Neural nets that run where your arrays live: NumPy, CuPy, Torch or JAX."""


@cli.command()
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
        from . import plots  # noqa: F401  (without matplotlib the run would fail at its end)

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
            from . import report as reports

            tested = (net, x_test, t_test, shape) if error is None else ()
            drawn = reports.pictures(history, *tested)
            if pictures:
                files += reports.save_pictures(folder, drawn)
            if report:
                reports.save_report(folder / "report.html", history, drawn)
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

    from .progress import ProgressBar

    total = options["steps"] or math.ceil(options["epochs"] * x.shape[0] / options["batch_size"])
    every = 1000 if total >= 1000 else max(1, total // 10)
    with ProgressBar(Console()) as bar:
        # The bar's own lines elsewhere would say the same once more.
        log = Log(every, bar.print if bar.drawn else click.echo)
        shown = [bar, log] if bar.drawn else [log]
        return fit(net, x, t, callbacks=[*callbacks, *shown], **options)


@cli.command()
@dataset_option
@net_options
@training_options
@dtype_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The folder of the results.  [default: runs/DATASET-compare-TIME]",
)
@force_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def compare(*, out: Path | None, force: bool, as_json: bool, **options: Any) -> int:
    """Train the same net on every backend and device that this machine has.

    One after the other, with the same seed and data. Leaves compare.png and compare.json, and
    prints the table. The exit code is 1 where a backend that is here failed.
    """
    from . import compare as comparison
    from . import plots  # noqa: F401  (without matplotlib the run would fail at its end)

    if options["steps"] is not None and options["epochs"] is not None:
        raise click.UsageError("give --steps or --epochs, not both")
    words = as_words(options)
    with run_folder(out or default_folder(options["dataset"], "compare"), force) as folder:
        machine = comparison.machine()
        rows = comparison.rows_of(machine.pop("backends"))
        tried = [row for row in rows if row.available]
        for row in tried:
            row.reason = "interrupted"  # unless it comes to an end
        interrupted = False
        try:
            for row in tried:
                click.echo(f"training on {row.name}", err=True)
                comparison.train(row, words)
        except KeyboardInterrupt:
            interrupted = True
        comparison.relate(rows)
        if not any(row.history for row in tried):
            raise RuntimeError(tried[0].reason)
        result = json.dumps({**machine, "rows": [row.to_dict() for row in rows]}, indent=1)
        (folder / "compare.json").write_text(result, encoding="utf-8")
        comparison.figure(rows).savefig(folder / "compare.png")
        if as_json:
            click.echo(result)
        else:
            show_table(comparison.HEAD, map(comparison.cells, rows))
            click.echo("\n".join(comparison.notes(machine, rows)))
            click.echo(f"compare.png and compare.json are in {folder}")
    if interrupted:
        return INTERRUPTED
    return 1 if any(row.reason for row in tried) else 0


@cli.command()
@placement_options
@dtype_option
@dataset_option
@net_options
@click.option("--output", type=click.Choice(list(OUTPUTS)), default="softmax")
@click.option("--batch-size", type=click.IntRange(min=1), default=100)
@debug_option
def check(
    *,
    backend: str,
    device: str | None,
    dtype: str,
    dataset: str,
    batch_size: int,
    **described: Any,
) -> int:
    """Check backpropagation against central differences, every entry of every parameter.

    On the first rows of the data set. The exit code is 1 where an entry fails.
    """
    prepare(backend, dtype)
    where = place(backend, device, dtype)
    here: dict[str, Any] = {"xp": backend, "device": device, "dtype": dtype}
    (x, t), _ = load_dataset(dataset, **here)
    if batch_size > x.shape[0]:
        raise ValueError(f"--batch-size is {batch_size}, more than the {x.shape[0]} images")
    net = build(x.shape[1], class_count(where, t), **described, **here)
    click.echo(repr(net)[1:-1])
    report = net.check_gradient(x[:batch_size, :], t[:batch_size])
    click.echo(str(report))
    return 1 if report.verdict == "failed" else 0


@cli.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data")
@placement_options
@split_option
@click.option(
    "--probabilities", is_flag=True, help="All outputs of each row, in place of its class."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A .csv or .npy file.  [default: standard output, as .csv]",
)
@click.option("--force", is_flag=True, help="Replace a file that exists.")
@debug_option
def predict(
    *,
    model: Path,
    data: str,
    backend: str,
    device: str | None,
    split: str | None,
    probabilities: bool,
    out: Path | None,
    force: bool,
) -> None:
    """Predict the rows of DATA with a saved MODEL: one line for each, with its class.

    Classes are numbers from 0 up, as in the labels of the training. A model whose outputs are no
    classes (output "sigmoid", "identity" or "exp") gives all its outputs.

    DATA is the name of a data set; a folder of the four IDX files; an IDX file of images; an
    .npy file; or an .npz file with the array x. Arrays are (n, inputs) or images (n, rows,
    columns): floats as the model was trained with, or uint8, which are divided by 255.
    """
    if out is not None:
        if out.suffix not in (".csv", ".npy"):
            raise click.UsageError(f"--out must end in .csv or .npy, not {out.name!r}")
        if not out.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {out.parent}")
        if out.exists() and not force:
            raise FileExistsError(f"{out} exists; --force replaces it")
    net = load_model(model, backend, device)
    x, _ = load_data(data, split, net, labels=False)
    outputs = net.placement.to_host(net.predict(x))
    if not all_finite(np, outputs):
        raise ValueError(f"{model} predicts NaN or infinity for some rows")
    classes = net.output.sums_to_one and not probabilities
    result = outputs.argmax(axis=1) if classes else outputs
    if out is not None and out.suffix == ".npy":
        replace_atomically(out, lambda file: np.save(file, result))
        return
    lines = result[:, np.newaxis] if classes else result
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    if out is None:
        click.echo(text, nl=False)
    else:
        replace_atomically(out, lambda file: file.write(text.encode("ascii")))


@cli.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("data")
@placement_options
@split_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def evaluate_model(
    *,
    model: Path,
    data: str,
    backend: str,
    device: str | None,
    split: str | None,
    as_json: bool,
) -> None:
    """Measure the loss and the accuracy of a saved MODEL on DATA.

    DATA is the name of a data set; a folder of the four IDX files; or an .npz file with the
    arrays x, as for predict, and t: class numbers (n,), or a row of targets for each row of x.
    """
    net = load_model(model, backend, device)
    x, t = net.checked_data(*load_data(data, split, net, labels=True))
    loss, accuracy = evaluate(net, x, t)
    if as_json:
        told: dict[str, Any] = {"model": str(model), "data": data, "rows": x.shape[0]}
        numbers = {"loss": loss, "accuracy": accuracy}
        # JSON has no NaN.
        told |= {k: v if v is not None and math.isfinite(v) else None for k, v in numbers.items()}
        click.echo(json.dumps(told, indent=2))
        return
    rows = [("model", repr(net)[1:-1]), ("data", f"{data}, {x.shape[0]:,} rows")]
    rows.append(("loss", f"{loss:.4f}"))
    if accuracy is not None:
        rows.append(("accuracy", f"{100 * accuracy:.2f} %"))
    show(rows)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def info(*, as_json: bool) -> None:
    """Say what this machine can run, or why not."""
    found = backends()
    cpu = found[0].devices[0].name if found[0].devices else platform.machine()
    machine: dict[str, Any] = {
        "xpnet": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "cpu": cpu,
        "cpu_count": os.cpu_count(),
    }
    if as_json:
        described = [
            {"available": backend.available, **dataclasses.asdict(backend)} for backend in found
        ]
        click.echo(json.dumps({**machine, "backends": described}, indent=2))
        return
    rows = [
        ("xpnet", machine["xpnet"]),
        ("Python", machine["python"]),
        ("system", machine["system"]),
        ("CPU", f"{cpu}, {machine['cpu_count']} logical cores"),
    ]
    for backend in found:
        title = f"{backend.name} {backend.version}" if backend.version else backend.name
        devices = [str(device) for device in backend.devices] or [f"no: {backend.reason}"]
        rows += [(title if i == 0 else "", device) for i, device in enumerate(devices)]
    show(rows)
