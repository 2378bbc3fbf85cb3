"""A progress bar for `fit`, drawn by rich."""

from __future__ import annotations

import importlib
import math
import sys
import time
from html import escape
from typing import Any, Self

from .callbacks import Progress, epoch_line, new_epochs

try:
    from rich import progress as bars
    from rich.console import Console
    from rich.table import Column
    from rich.text import Text
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'the progress bar needs rich; install it with: python -m pip install "xpnet[cli]"',
        name=error.name,
    ) from error


class ProgressBar:
    """Callback of `fit`: a bar with step, loss, steps a second and the time left.

    In a terminal or a notebook it is drawn in place. Anywhere else, such as in a log file, it
    is a plain line after each tenth of the steps. The loss is the mean over the steps since it
    was last shown. With a validation set there is a line an epoch, above the bar.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to draw. Default: standard error, so that a program's own output stays clean.

    Examples
    --------
    >>> import numpy as np, sys, xpnet
    >>> from rich.console import Console
    >>> from xpnet.training.bar import ProgressBar
    >>> net = xpnet.MLP([4, 2], weight_init=0.0)
    >>> x, t = np.zeros((4, 4), dtype=np.float32), np.asarray([0, 1, 0, 1])
    >>> bar = ProgressBar(Console(file=sys.stdout))
    >>> _ = xpnet.fit(net, x, t, steps=1, batch_size=4, callbacks=[bar])  # doctest: +ELLIPSIS
    step 1/1: loss 0.6931, ... steps/s
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._bar: bars.Progress | _Cell | None = None
        self._shown: int | None = None  # the last step that a line was about

    @property
    def drawn(self) -> bool:
        """Whether it is drawn in place here, rather than written as lines."""
        # Not console.is_terminal: FORCE_COLOR makes that true of log files as well.
        terminal = self._console.file.isatty() and not self._console.is_dumb_terminal
        return terminal or self._console.is_jupyter

    def __call__(self, progress: Progress) -> None:
        """Show where the training is."""
        before = progress.step - len(progress.losses)
        if self._shown is None:
            self._shown = before
        for epoch in new_epochs(progress):
            self.print(epoch_line(epoch))
        if self.drawn:
            self._draw(progress)
            return
        every = math.ceil(progress.steps / 10)
        ended = progress.step >= progress.steps
        due = progress.step // every > before // every or ended
        if due and not progress.history.validation_steps:
            loss = progress.history._mean_loss(self._shown, progress.step)
            self._shown = progress.step
            self.print(_line(progress, loss))

    def print(self, line: str) -> None:
        """Write a line above the bar."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Leave the bar as it is and give the terminal back; a later call starts a new bar."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._shown = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _draw(self, progress: Progress) -> None:
        if self._console.is_jupyter:
            if not isinstance(self._bar, _Cell):
                self._bar = _Cell()
            self._bar.update(progress)
            return
        loss = float(progress.losses.mean())
        if not isinstance(self._bar, bars.Progress):
            self._bar = bars.Progress(
                # Not the whole line: the ^C that terminals echo would wrap, and leave it behind.
                bars.BarColumn(bar_width=max(3, min(30, self._console.width - 50))),
                bars.TextColumn("{task.completed:,}/{task.total:,}"),
                bars.TextColumn("loss {task.fields[loss]:.4f}"),
                _Speed(Column(no_wrap=True)),
                bars.TimeRemainingColumn(),
                console=self._console,
                # rich would draw what a program prints into a file beside its bar.
                redirect_stdout=sys.stdout.isatty(),
                redirect_stderr=sys.stderr.isatty(),
            )
            self._bar.add_task("", total=progress.steps, loss=loss)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=progress.step, loss=loss)


class _Cell:
    """A bar below a notebook's cell. That of rich would need ipywidgets."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = 0.0

    def update(self, progress: Progress) -> None:
        """Show it, not more often than eyes can follow: each time is a message to the browser."""
        self._last, now = progress, time.monotonic()
        if self._handle is None or now - self._shown > 0.1 or progress.step == progress.steps:
            self.stop()
            self._shown = now

    def stop(self) -> None:
        """Show the last state, and leave it."""
        notebook: Any = importlib.import_module("IPython.display")
        progress = self._last
        line = _line(progress, float(progress.losses.mean()))
        bar = f'<progress value="{progress.step}" max="{progress.steps}"></progress>'
        content = {"text/plain": line, "text/html": f"<div>{bar} {escape(line)}</div>"}
        if self._handle is None:
            self._handle = notebook.display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


class _Speed(bars.ProgressColumn):
    """Steps a second, of the last seconds."""

    def render(self, task: bars.Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else _rate(speed), style="progress.data.speed")


def _line(progress: Progress, loss: float) -> str:
    rate = progress.history.steps / max(progress.history.seconds, 1e-9)
    left = (progress.steps - progress.step) / rate
    return (
        f"step {progress.step:,}/{progress.steps:,}: loss {loss:.4f}, "
        f"{_rate(rate)}" + (f", {left:.0f} s left" if progress.step < progress.steps else "")
    )


def _rate(steps: float) -> str:
    return f"{steps:,.0f} steps/s" if steps >= 10 else f"{steps:.2g} steps/s"
