"""xpnet compare: the same training run on every backend and device of this machine, in turn.

Each runs as ``xpnet train`` in a process of its own: what a library sets up once (float64 on
JAX, memory taken from a GPU, threads) is gone before the next one starts, and a crash ends one
row only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from . import inputs, options
from .errors import INTERRUPTED
from .runs import default_folder, run_folder
from .tables import finite_or_none, say, show_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Libraries compile, record and warm up in the first block; Torch records its graph in the second.
START_BLOCKS = 2


@click.command(params=[
    *options.net, *options.training, options.dtype,
    *options.out("The folder of the results.  [default: runs/DATASET-compare-TIME]"), options.json,
])  # fmt: skip
def compare(*, out: Path | None, force: bool, as_json: bool, **given: Any) -> int:
    """Train the same net on every backend and device that this machine has.

    The runs follow one another, with the same seed and data. Writes compare.png and compare.json,
    and prints a table. The exit code is 1 if a backend that is installed failed.
    """
    from .. import plots  # noqa: F401  (without matplotlib the run would fail at its end)

    options.merge_data(given)
    options.one_length(given)
    if inputs.layers_of(given["net"], given["layers"]) is not None:
        for name in ("hidden", "activation", *(["net"] if given["layers"] is not None else [])):
            del given[name]  # a perceptron's
    words = options.as_words(given)
    with run_folder(out or default_folder(given["dataset"], "compare"), force) as folder:
        about = machine()
        rows = rows_of(about.pop("backends"))
        tried = [row for row in rows if row.available]
        for row in tried:
            row.reason = "interrupted"  # unless it comes to an end
        interrupted = False
        try:
            for row in tried:
                click.echo(f"training on {row.name}", err=True)
                train(row, words)
        except KeyboardInterrupt:
            interrupted = True
        relate(rows)
        if not any(row.history for row in tried):
            raise RuntimeError(tried[0].reason)
        result = json.dumps({**about, "rows": [row.to_dict() for row in rows]}, indent=1)
        (folder / "compare.json").write_text(result, encoding="utf-8")
        figure(rows).savefig(folder / "compare.png")
        if as_json:
            click.echo(result)
        else:
            show_table(HEAD, map(cells, rows))
            for note in notes(about, rows):
                say(note)
            say(f"compare.png and compare.json are in {folder}")
    return INTERRUPTED if interrupted else int(any(row.reason for row in tried))


@dataclass
class Row:
    """One backend on one device.

    Attributes
    ----------
    backend, version, device, device_name : str
    reason : str or None
        Why there is no result, or why it is not whole.
    available : bool
        False where this machine cannot run the backend.
    command : list of str
        What was run.
    history : dict
        The run's history.json; empty where there is none.
    difference : float or None
        The largest difference of its losses from NumPy's.
    speedup : float or None
        NumPy's time per step over its own.
    """

    backend: str
    version: str | None = None
    device: str | None = None
    device_name: str | None = None
    reason: str | None = None
    available: bool = True
    command: list[str] = field(default_factory=list)
    history: dict[str, Any] = field(default_factory=dict)
    difference: float | None = None
    speedup: float | None = None

    @property
    def name(self) -> str:
        """Backend and device in words."""
        return self.backend if self.device is None else f"{self.backend} on {self.device}"

    @property
    def loss(self) -> np.ndarray:
        """The losses of its steps; NaN where one is not finite."""
        return np.asarray(self.history.get("loss", []), dtype=np.float64)

    @property
    def _blocks(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and seconds of each block."""
        blocks = self.history.get("blocks", {"step": [], "seconds": []})
        ends = (np.asarray(blocks[name], dtype=np.float64) for name in ("step", "seconds"))
        steps, seconds = (np.diff(end, prepend=0.0) for end in ends)
        return steps, seconds

    @property
    def start_seconds(self) -> float | None:
        """Seconds of the first blocks, with all that libraries do once."""
        seconds = self._blocks[1][:START_BLOCKS]
        return float(seconds.sum()) if seconds.size else None

    @property
    def step_seconds(self) -> float | None:
        """Seconds per step: the median of the whole blocks after the first ones."""
        steps, seconds = self._blocks
        # A shorter last block is compiled or recorded again.
        later = (seconds / steps)[START_BLOCKS:][steps[START_BLOCKS:] == steps[:1]]
        return float(np.median(later)) if later.size else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        loss, step_seconds = self.loss, self.step_seconds
        given = ("backend", "version", "device", "device_name", "available", "reason", "command")
        return {
            **{name: getattr(self, name) for name in given},
            "first_loss": finite_or_none(loss[0]) if loss.size else None,
            "last_loss": finite_or_none(loss[-1]) if loss.size else None,
            "test_accuracy": self.history.get("test_accuracy"),
            "largest_difference_from_numpy": self.difference,
            "start_seconds": self.start_seconds,
            "microseconds_a_step": None if step_seconds is None else 1e6 * step_seconds,
            "speedup_over_numpy": self.speedup,
            "history": self.history,
        }


def machine() -> dict[str, Any]:
    """Return what ``xpnet info --json`` says.

    Asked in a process of its own: a library that lists its devices may take their memory.
    """
    done = _run(["info", "--json"])
    if done.returncode:
        raise RuntimeError(f"cannot ask for the backends: {_last_line(done)}")
    answer: dict[str, Any] = json.loads(done.stdout)
    # What decides how fast products are, and is not seen otherwise.
    names = ("OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    answer["environment"] = {name: os.environ[name] for name in names if name in os.environ}
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {**answer, "usable_cpu_count": count}


def rows_of(backends: Sequence[dict[str, Any]]) -> list[Row]:
    """Return a row for each device, and one for each backend that cannot run, with the reason."""
    rows = []
    for info in backends:
        name, version = info["name"], info["version"]
        rows += [Row(name, version, d["id"], d["name"]) for d in info["devices"]]
        if not info["available"]:
            rows.append(Row(name, version, reason=info["reason"], available=False))
    return rows


def train(row: Row, arguments: Sequence[str]) -> None:
    """Train on one row's device and fill the row in; what fails becomes its reason.

    Parameters
    ----------
    row : Row
    arguments : sequence of str
        Of ``xpnet train``, beside backend, device and folder.
    """
    row.command = ["train", "--backend", row.backend, "--device", str(row.device), *arguments]
    with TemporaryDirectory() as folder:
        done = _run([*row.command, "--quiet", "--no-pictures", "--out", folder])
        written = Path(folder, "history.json")
        if written.exists():
            row.history = json.loads(written.read_text(encoding="utf-8"))
    row.reason = _last_line(done) if done.returncode else None


def relate(rows: Sequence[Row]) -> None:
    """Fill in the differences from NumPy and the speed-ups over it."""
    numpy = next((row for row in rows if row.backend == "numpy"), Row("numpy"))
    for row in rows:
        n = min(row.loss.size, numpy.loss.size)
        if n:
            row.difference = finite_or_none(np.max(np.abs(row.loss[:n] - numpy.loss[:n])))
        if row.step_seconds and numpy.step_seconds:
            row.speedup = numpy.step_seconds / row.step_seconds


# The table's columns after backend and device: the key in `Row.to_dict`, and how it is written.
COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "first\nloss": ("first_loss", "{:.4f}".format),
    "last\nloss": ("last_loss", "{:.4f}".format),
    "test\naccuracy": ("test_accuracy", lambda share: f"{100 * share:.2f} %"),
    "largest\ndifference": ("largest_difference_from_numpy", lambda d: f"{d:.1e}" if d else "0"),
    "start\ns": ("start_seconds", "{:.2f}".format),
    "µs per\nstep": ("microseconds_a_step", lambda t: f"{t:,.0f}" if t >= 99.5 else f"{t:.1f}"),
    "speed-up": ("speedup_over_numpy", "{:.2f}".format),
}
HEAD = ("backend", "device", *COLUMNS)


def cells(row: Row) -> tuple[str, ...]:
    """Return a row of the table, in the order of `HEAD`."""
    values = row.to_dict()
    numbers = ((values[key], write) for key, write in COLUMNS.values())
    written = ("–" if value is None else write(value) for value, write in numbers)
    return (row.backend, row.device or "–", *written)


def notes(machine: dict[str, Any], rows: Sequence[Row]) -> list[str]:
    """Return the notes below the table: reasons, how times were taken, the CPU."""
    steps = next((row._blocks[0][:START_BLOCKS] for row in rows if row.history), np.empty(0))
    settings = "".join(f", {name}={value}" for name, value in machine["environment"].items())
    reasons = [
        f"{row.name}: {'' if row.available else 'not available: '}{row.reason}"
        for row in rows if row.reason
    ]  # fmt: skip
    return [
        *reasons,
        f"start: the first {steps.sum():,.0f} steps, with all that a library compiles, records "
        "and warms up; µs per step: the median block of the steps after them",
        f"CPU: {machine['cpu']}, {machine['usable_cpu_count']} of {machine['cpu_count']} "
        f"logical cores{settings}",
    ]


def figure(rows: Sequence[Row]) -> Figure:
    """Draw the loss curves over one another, and bars of the time per step.

    Raises
    ------
    ValueError
        No row has a loss.
    """
    from ..plots import new_figure, plot_losses, plot_times, title_of

    trained = [row for row in rows if row.loss.size]
    picture = new_figure(14, 6)
    left, right = picture.subplots(1, 2)
    title = title_of(trained[0].history["settings"] if trained else {})
    plot_losses({row.name: row.loss for row in trained}, left, title=title)
    times = {row.name: 1e6 * (row.step_seconds or np.nan) for row in trained}
    plot_times(times, right, unit="µs per step, after the start")
    return picture


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # -m would import from the current folder first; only where this process does so too.
    isolated = [] if {"", os.getcwd()} & {*sys.path} else ["-P"]
    return subprocess.run(
        [sys.executable, *isolated, "-m", "xpnet", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
        check=False, env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Return why a process ended: the last line of its errors, or its signal."""
    lines = done.stderr.strip().splitlines()
    last = lines[-1].removeprefix("xpnet: error: ") if lines else ""
    if done.returncode < 0:
        return f"ended by signal {-done.returncode}" + (f": {last}" if last else "")
    return last or f"ended with exit code {done.returncode}"
