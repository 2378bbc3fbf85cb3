"""What a training leaves behind: losses, settings, times; as numbers, text, picture or file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..files import replace_atomically
from ..markup import table
from ..smoothing import rise, smoothed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


# Steps whose losses `reserve` makes room for at the most.
RESERVED = 2**22

# What is recorded now and then, and what makes an entry of a float.
RECORDS: dict[str, Callable[[float], Any]] = {
    "block_steps": int,
    "block_seconds": float,
    "validation_steps": int,
    "validation_loss": float,
    "validation_accuracy": lambda value: None if value != value else value,
}


@dataclass(frozen=True)
class Reason:
    """Why a run has ended before its last step.

    Attributes
    ----------
    kind : str
        "callback", "interrupt" or "checkpoint" (one could not be written).
    text : str
        The same as a sentence.
    """

    kind: str
    text: str


class Epoch(NamedTuple):
    """What a run has measured at the end of an epoch.

    Attributes
    ----------
    step : int
        The last step of the epoch.
    loss : float
        The mean loss of its batches, each before its update.
    validation_loss : float
    validation_accuracy : float or None
        Of the validation set, after that step; there is no accuracy of values.
    """

    step: int
    loss: float
    validation_loss: float
    validation_accuracy: float | None


class History:
    """The record of one training.

    Attributes
    ----------
    loss : ndarray, (steps,), float64
        One value a step: the loss of its batch before the update.
    steps : int
        Steps done.
    seconds : float
        From the first step to the last.
    block_steps, block_seconds : list
        At the end of each block: the steps done, and the seconds from the first step on. The
        first blocks include what libraries do once: compile, record, warm up.
    validation_steps, validation_loss, validation_accuracy : list
        Where a validation set was given: the step, the loss and the accuracy at each look, which
        is at the end of each epoch, and at the end of the run.
    best_step : int or None
        The step whose parameters `EarlyStopping(restore_best=True)` has given back to the net.
    test_accuracy : float or None
        For whoever measures it after the training; the summary shows it.
    test_r2 : float or None
        The same of a net that predicts values: R², the share of their variance that is predicted.
    reason : Reason or None
        Why the training ended before its last step: of which kind, and in words.
    stopped : str or None
        The words.
    settings, environment : dict
        What was asked for; library versions and the device.
    """

    # Of the class, for histories that version 0.1 has pickled.
    reason: Reason | None = None
    best_step: int | None = None
    test_r2: float | None = None

    def __init__(
        self, settings: dict[str, Any] | None = None, environment: dict[str, Any] | None = None
    ) -> None:
        for value, name in ((settings, "settings"), (environment, "environment")):
            if not isinstance(value, dict | None):
                raise TypeError(f"{name} must be a dict, not {type(value).__name__}")
        self.settings = settings or {}
        self.environment = environment or {}
        self.seconds = 0.0
        self.steps = 0
        self.block_steps: list[int] = []
        self.block_seconds: list[float] = []
        self.validation_steps: list[int] = []
        self.validation_loss: list[float] = []
        self.validation_accuracy: list[float | None] = []
        self.best_step: int | None = None
        self.test_accuracy: float | None = None
        self._losses = np.empty(0)

    @property
    def stopped(self) -> str | None:
        """Why the training ended before its last step, in words."""
        return None if self.reason is None else self.reason.text

    @property
    def loss(self) -> np.ndarray:
        """The losses of all steps so far."""
        return self._losses[: self.steps]

    @property
    def epochs(self) -> list[Epoch]:
        """An `Epoch` for each look at the validation set; [] without one.

        The loss of an epoch is the mean over the steps since the look before. An accuracy of the
        training rows is not among them: a step computes none, and measuring it would take a pass
        over the rows, as `net.accuracy` does.
        """
        return [self._epoch(i) for i in range(len(self.validation_steps))]

    def _epoch(self, i: int) -> Epoch:
        """Return one of `epochs`."""
        i %= len(self.validation_steps)
        start, step = self.validation_steps[i - 1] if i else 0, self.validation_steps[i]
        loss = self._mean_loss(start, step)
        return Epoch(step, loss, self.validation_loss[i], self.validation_accuracy[i])

    def _mean_loss(self, start: int, stop: int) -> float:
        """Return the mean loss of the steps after `start` up to `stop`."""
        return float(np.mean(self.loss[start:stop]))

    @property
    def diverged(self) -> str | None:
        """In words, where the loss has ended above its beginning, or as no number; else None.

        Both ends are smoothed as in the pictures. A run of fewer than 20 steps has not diverged.
        """
        if self.steps and not np.isfinite(self.loss[-1]):
            return f"the loss became {self.loss[-1]} at step {self.steps:,}"
        risen = rise(self.loss)
        if risen is None:
            return None
        first, last = map(_number, risen)
        return f"the loss ended at {last}, above {first} at the beginning (both smoothed)"

    def _reserve(self, steps: int) -> None:
        """Take the memory for the losses of so many steps now, up to a few million."""
        more = min(steps, RESERVED) - len(self._losses)
        if more > 0:
            # Filled, because an operating system counts pages when they are written to.
            self._losses = np.concatenate([self._losses, np.full(more, np.nan)])

    def extend(self, losses: np.ndarray, seconds: float) -> None:
        """Append the losses of a block; `seconds` have passed since the first step."""
        end = self.steps + len(losses)
        if end > len(self._losses):
            self._losses = np.concatenate([self.loss, np.empty(end)])
        self._losses[self.steps : end] = losses
        self.steps = end
        self.seconds = seconds
        self.block_steps.append(self.steps)
        self.block_seconds.append(seconds)

    def _truncate(self, steps: int) -> None:
        """Forget what came after `steps`."""
        self.steps = steps
        whole = sum(end <= steps for end in self.block_steps)
        del self.block_steps[whole:], self.block_seconds[whole:]

    def _validate(self, loss: float, accuracy: float | None) -> None:
        """Record a look at the validation set, after the steps so far."""
        self.validation_steps.append(self.steps)
        self.validation_loss.append(loss)
        self.validation_accuracy.append(accuracy)

    def _state(self) -> dict[str, np.ndarray]:
        """Return all but the losses that steps and looks have recorded, as arrays."""
        names = ("seconds", *RECORDS)
        return {name: np.asarray(getattr(self, name), dtype=np.float64) for name in names}

    def _restore(self, loss: np.ndarray, state: dict[str, np.ndarray]) -> None:
        """Take over losses, and what `state` has returned."""
        self.steps = 0
        self.extend(loss, float(state["seconds"]))
        for name, kind in RECORDS.items():
            setattr(self, name, [kind(value) for value in state[name].tolist()])

    @property
    def device(self) -> str:
        """The device in words: its name, the library, and where it is."""
        e = self.environment
        if not e:
            return "unknown device"
        name = f"{e['device_name']}, " if e["device_name"] != e["device"] else ""
        ranks = f", {e['ranks']} ranks" if e.get("ranks", 1) > 1 else ""
        return f"{name}{e['backend']} {e['backend_version']} on {e['device']}{ranks}"

    def summary(self) -> str:
        """Return the training in a few lines of text.

        Returns
        -------
        str
            Steps, first and last loss (from 100 steps on, also smoothed), the decrease, seconds,
            milliseconds per step, accuracies, device, and the GPU's name where there is one.

        Examples
        --------
        >>> history = History()
        >>> history.extend([2.0, 1.0], seconds=0.5)
        >>> print(history.summary())
        steps           2
        first loss      2.0000
        last loss       1.0000
        decrease        1.0000 (50.0 %)
        elapsed         0.50 s
        time per step   250.000 ms
        device          unknown device
        """
        return "\n".join(f"{name:<16}{value}" for name, value in self._rows())

    def _rows(self) -> list[tuple[str, str]]:
        """The lines of the summary, as (name, value)."""
        rows = [("steps", f"{self.steps:,}")]
        if self.steps:
            first, last = float(self.loss[0]), float(self.loss[-1])
            share = f" ({100 * (first - last) / first:.1f} %)" if first else ""
            rows += [
                ("first loss", _number(first)),
                ("last loss", _number(last) + self._smoothed_last()),
                ("decrease", _number(first - last) + share),
                ("elapsed", f"{self.seconds:.2f} s"),
                ("time per step", f"{1e3 * self.seconds / self.steps:.3f} ms"),
            ]
        if self.validation_accuracy and self.validation_accuracy[-1] is not None:
            rows.append(("validation", f"{100 * self.validation_accuracy[-1]:.2f} % accuracy"))
        elif self.validation_loss:
            rows.append(("validation", f"loss {self.validation_loss[-1]:.4f}"))
        if self.test_accuracy is not None:
            rows.append(("test accuracy", f"{100 * self.test_accuracy:.2f} %"))
        if self.test_r2 is not None:
            rows.append(("test R²", f"{self.test_r2:.4f}"))
        rows.append(("device", self.device))
        if self.environment.get("driver"):
            gpu = self.environment
            cuda = f", CUDA {gpu['cuda']}" if gpu.get("cuda") else ""
            rows.append(("GPU", f"{gpu['device_name']}, driver {gpu['driver']}{cuda}"))
        if self.best_step is not None:
            rows.append(("parameters", f"those after step {self.best_step:,}, the best"))
        for name, text in (("stopped", self.stopped), ("diverged", self.diverged)):
            if text:
                rows.append((name, text))
        return rows

    def _smoothed_last(self) -> str:
        """Return what stands beside the loss of the last batch, as in the pictures."""
        if self.steps < 100 or not np.isfinite(self.loss[-1]):
            return ""
        return f" (smoothed {_number(smoothed(self.loss)[2][-1])})"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python objects; losses that are not finite become None."""
        plain = ("settings", "environment", "steps", "seconds", "stopped", "diverged",
                 "best_step", "test_accuracy")  # fmt: skip
        return {
            **{name: getattr(self, name) for name in plain},
            **({} if self.test_r2 is None else {"test_r2": self.test_r2}),
            "loss": _finite_or_none(self.loss),
            "blocks": {"step": self.block_steps, "seconds": self.block_seconds},
            "validation": {
                "step": self.validation_steps,
                "training_loss": _finite_or_none([epoch.loss for epoch in self.epochs]),
                "loss": _finite_or_none(self.validation_loss),
                "accuracy": _finite_or_none(self.validation_accuracy),
            },
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file.

        Parameters
        ----------
        path : path-like
            An existing file is replaced once the new one is complete.

        Raises
        ------
        OSError
            The file cannot be written; an existing one is as it was.

        Examples
        --------
        >>> import tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     History().save(pathlib.Path(folder, "history.json"))
        """
        text = json.dumps(self.to_dict(), allow_nan=False, default=_plain)
        replace_atomically(path, lambda file: file.write(text.encode("utf-8")))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the loss over the steps, raw and smoothed (needs matplotlib).

        Parameters
        ----------
        path : path-like, optional
            Where to save the picture; its ending says the format.

        Returns
        -------
        matplotlib.figure.Figure
            12 × 6 inches.
        """
        from ..plots import loss_figure

        figure = loss_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def _repr_html_(self) -> str:
        return table(self._rows())

    def __repr__(self) -> str:
        if not self.steps:
            return "<History: no steps>"
        loss = self.loss
        way = f"loss {loss[0]:.4f} → {loss[-1]:.4f}"
        return f"<History: {self.steps:,} steps, {way}, {self.seconds:.2f} s>"


def _finite_or_none(values: Any) -> list[float | None]:
    # JSON knows neither NaN nor infinity; None is a NaN to NumPy.
    finite = np.isfinite(np.asarray(values, dtype=np.float64)).tolist()
    return [float(v) if ok else None for v, ok in zip(values, finite, strict=True)]


def _plain(value: Any) -> Any:
    # A setting may be a NumPy number, which JSON does not know.
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be saved as JSON: {value!r}")


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4e}"
