"""Checkpoints of a training: a folder with the last states, of which a damaged one is no loss."""

from __future__ import annotations

import contextlib
import json
import os
import re
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import checks
from ..arrays import flat, mapped, places
from ..files import FileError, load_arrays, save_arrays
from ..network.net import Network
from ..optimizers import Slots
from .blocks import Batches
from .history import History, Reason

# The last one may be the one that was damaged; the one before is there for that.
KEPT = 2
# Where one cannot be written.
ERRORS = {"warn": None, "stop": None}

NAME = re.compile(r"step-(\d{12})\.safetensors")
PARTIAL = re.compile(r"\.step-\d{12}\.safetensors\..*\.partial")

State = tuple[dict[str, np.ndarray], dict[str, Any]]


class CheckpointWarning(UserWarning):
    """A checkpoint that could not be written or read, or that comes from another environment."""


@dataclass(frozen=True)
class Checkpoint:
    """Where `fit` keeps its state, how often, and whether it resumes from there.

    Parameters
    ----------
    folder : path-like
        Made if it is missing. It gets the parameters, the optimizer's slots, the batch order, the
        history and what the callbacks remember: those with methods `state` and `restore`, of
        what JSON can hold and NumPy arrays, in any nesting of dicts. The last two checkpoints are
        kept.
    every : int
        Steps between two checkpoints. One is also written at the end, however it comes.
    errors : str
        Where one cannot be written (a full disk): "warn" says so and goes on, "stop" ends the
        run. The last good one stays in either case.
    resume : bool
        Go on from the newest checkpoint that can be read; from the beginning where there is
        none. The result is that of a run that was never stopped, bit for bit, with the same
        data on the same backend, device and versions. `steps` may be larger than before.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is said above.

    Examples
    --------
    >>> Checkpoint("run", every=500)
    Checkpoint(folder='run', every=500, errors='warn', resume=False)
    """

    folder: str | os.PathLike[str]
    every: int = 1000
    errors: str = "warn"
    resume: bool = False

    def __post_init__(self) -> None:
        checks.file_path(self.folder, "folder")
        checks.positive_integer(self.every, "every")
        checks.known(ERRORS, self.errors, "errors")
        checks.switch(self.resume, "resume")


def checkpoint_of(words: dict[str, Any]) -> Checkpoint | None:
    """Take what a call of `fit` says of checkpoints out of its keywords.

    That is a `Checkpoint`, or a path and the words of version 0.1: `checkpoint_every`,
    `checkpoint_errors`, `resume`.
    """
    checkpoint = words.pop("checkpoint", None)
    older = [name for name in ("checkpoint_every", "checkpoint_errors", "resume") if name in words]
    every = checks.positive_integer(words.pop("checkpoint_every", 1000), "checkpoint_every")
    errors = words.pop("checkpoint_errors", "warn")
    checks.known(ERRORS, errors, "checkpoint_errors")
    resume = checks.switch(words.pop("resume", False), "resume")
    if isinstance(checkpoint, Checkpoint):
        if older:
            raise ValueError(f"{', '.join(older)}: say this in the Checkpoint instead")
        return checkpoint
    if checkpoint is None:
        if resume:
            raise ValueError("resume=True needs the folder: give checkpoint=")
        return None
    return Checkpoint(checks.file_path(checkpoint, "checkpoint"), every, errors, resume)


class Losses:
    """The losses of all steps, in a file that grows: a checkpoint of step k has the checksum of k.

    A checkpoint that held them all would take longer from one to the next.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "losses.f64"
        self.count = self.checksum = 0

    def append(self, losses: np.ndarray) -> None:
        """Write the losses behind those that count; what was behind them is overwritten."""
        content = losses.astype("<f8").tobytes()
        with self.path.open("r+b" if self.path.exists() else "w+b") as file:
            file.seek(8 * self.count)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.count += len(losses)
        self.checksum = zlib.crc32(content, self.checksum)

    def read(self, count: int, checksum: int) -> np.ndarray:
        """Return the first losses, and go on behind them.

        Warns
        -----
        CheckpointWarning
            They are not those that were written; NaN stands in their place.
        """
        content = b""
        with contextlib.suppress(OSError), self.path.open("rb") as file:
            content = file.read(8 * count)
        losses = np.frombuffer(content[: len(content) // 8 * 8], dtype="<f8")
        if len(losses) == count and zlib.crc32(content) == checksum:
            self.count, self.checksum = count, checksum
            return losses.astype(np.float64)
        text = f"{self.path} is damaged: the losses of the first {count} steps are NaN"
        warnings.warn(text, CheckpointWarning, stacklevel=2)
        losses = np.full(count, np.nan)
        self.count = self.checksum = 0
        self.append(losses)
        return losses


class Checkpoints:
    """The checkpoints of one training.

    Parameters
    ----------
    folder : path-like
        Made if it is missing. The files are ``step-000000001000.safetensors`` and so on, and
        ``losses.f64``.

    Raises
    ------
    OSError
        The folder cannot be made, or may not be written to.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checkpoints = Checkpoints(folder)
    ...     for step in (100, 200, 300):
    ...         checkpoints.save(step, {"x": np.zeros(2)}, {"step": step})
    ...     [path.name for path in checkpoints.files()], checkpoints.newest()[1]
    (['step-000000000300.safetensors', 'step-000000000200.safetensors'], {'step': 300})
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.losses = Losses(self.folder)
        for path in self.folder.iterdir():
            if PARTIAL.fullmatch(path.name):  # left behind by a process that was killed
                path.unlink()

    def files(self) -> list[Path]:
        """The checkpoints in the folder, the newest first."""
        return sorted((p for p in self.folder.iterdir() if NAME.fullmatch(p.name)), reverse=True)

    def save(self, step: int, arrays: dict[str, np.ndarray], description: dict[str, Any]) -> None:
        """Write the state after a step; keep it and the one before.

        Raises
        ------
        OSError
            It cannot be written; the older ones are as they were.
        """
        newest = self.folder / f"step-{step:012d}.safetensors"
        save_arrays(newest, arrays, description)
        files = self.files()
        # One of a later step was damaged, and passed over.
        kept = [path for path in files if path <= newest][:KEPT]
        for path in {*files}.difference(kept):
            with contextlib.suppress(OSError):  # one too many is no harm
                path.unlink()

    def newest(self) -> State | None:
        """Read the newest checkpoint that can be read, None where there is no file at all.

        Raises
        ------
        FileError
            There are files, and all are damaged.

        Warns
        -----
        CheckpointWarning
            For each damaged one that is passed over.
        """
        files = self.files()
        for path in files:
            try:
                return load_arrays(path)
            except (FileError, OSError) as error:
                warnings.warn(f"passed over: {error}", CheckpointWarning, stacklevel=2)
        if files:
            raise FileError(f"{self.folder}: expected a checkpoint that can be read, found none")
        return None


def _taken_out(state: dict[str, Any], prefix: str) -> dict[str, np.ndarray]:
    """Take the NumPy arrays out of what a callback remembers; return them by their paths."""
    arrays = {}
    for path, holder, key in [*places(state, prefix)]:
        if isinstance(holder[key], np.ndarray):
            arrays[path] = holder.pop(key)
    return arrays


def _put_back(
    state: dict[str, Any], arrays: dict[str, np.ndarray], prefix: str
) -> dict[str, Any]:
    """Undo `_taken_out`."""
    for path, array in arrays.items():
        if path.startswith(prefix):
            *folders, key = path.removeprefix(prefix).split("/")
            holder = state
            for folder in folders:
                holder = holder.setdefault(folder, {})
            holder[key] = array
    return state


class Resumable:
    """All that a training goes on from: what a checkpoint holds."""

    def __init__(
        self, net: Network, slots: Slots, order: Batches, history: History, callbacks: Sequence[Any]
    ) -> None:
        self.net, self.order, self.history = net, order, history
        self.tree = {"params": net.params, "slots": slots, "state": net.state}
        self.callbacks = [c for c in callbacks if hasattr(c, "state") and hasattr(c, "restore")]
        self.checkpoints: Checkpoints | None = None

    def state(self, position: dict[str, Any] | None = None) -> State:
        """Return all but the losses: arrays, and what JSON can hold.

        `position` is that in the batch order: what is read ahead of the step has not been used.
        """
        arrays = mapped(self.net.placement.to_host, flat(self.tree))
        arrays |= flat(self.history._state(), "history/")
        callbacks = [callback.state() for callback in self.callbacks]
        for i, remembered in enumerate(callbacks):
            arrays |= _taken_out(remembered, f"callbacks/{i}/")
        reason = self.history.reason
        return arrays, {
            "kind": "checkpoint", "step": self.history.steps,
            "settings": self.history.settings, "environment": self.history.environment,
            "order": self.order.state() if position is None else position,
            "callbacks": callbacks,
            # An interrupted run goes on; one that a callback has ended is at its end.
            "stopped": reason.text if reason and reason.kind == "callback" else None,
        }  # fmt: skip

    def save(self, position: dict[str, Any]) -> OSError | None:
        """Write a checkpoint into the open folder; warn where it cannot be, return the error."""
        if self.checkpoints is None:
            return None
        arrays, description = self.state(position)
        step, losses = self.history.steps, self.checkpoints.losses
        try:
            losses.append(self.history.loss[losses.count :])
            description["losses"] = {"count": losses.count, "checksum": losses.checksum}
            self.checkpoints.save(step, arrays, description)
        except OSError as error:  # said where the user calls `fit`
            text = f"no checkpoint of step {step}: {error}; the last good one is kept"
            warnings.warn(text, CheckpointWarning, stacklevel=6)
            return error
        return None

    def open(self, checkpoint: Checkpoint | None) -> None:
        """Open the folder of the checkpoints; go back to the newest where that is asked."""
        if checkpoint is None:
            return
        self.checkpoints = checkpoints = Checkpoints(checkpoint.folder)
        if not checkpoint.resume and checkpoints.files():
            raise FileExistsError(
                f"{checkpoint.folder} has checkpoints of a training: resume=True goes on from "
                "there; for a new training give another folder"
            )
        found = checkpoints.newest()
        if found is not None:
            arrays, saved = found
            try:
                self._warn_of_another_place(saved["environment"])
                losses = checkpoints.losses.read(**saved["losses"])
                self.take_over(arrays, saved, losses, "the checkpoint is of")
            except KeyError as error:
                folder = checkpoints.folder
                raise FileError(f"{folder}: expected {error} in a checkpoint") from error

    def take_over(
        self, arrays: dict[str, np.ndarray], saved: dict[str, Any], losses: np.ndarray, whose: str
    ) -> None:
        """Go on from what `state` has returned; raise where the training is another one."""
        now = json.loads(json.dumps(self.history.settings))
        free = ("steps", "weight_init", "validation_rows")
        was = {"dropout": 0.0, **saved["settings"]}.get  # older ones do not say it
        other = [key for key in now if key not in free and now[key] != was(key)]
        if other:
            pairs = ", ".join(f"{key} {was(key)!r}, now {now[key]!r}" for key in other)
            raise ValueError(f"{whose} a training with other settings: {pairs}")
        if len(saved["callbacks"]) != len(self.callbacks):
            raise ValueError(
                f"{whose} a training with the states of {len(saved['callbacks'])} callbacks; "
                f"{len(self.callbacks)} of those given have one"
            )
        looks = {key.removeprefix("history/"): array for key, array in arrays.items()}
        self.history._restore(losses, looks)
        if saved["stopped"] is not None:
            self.history.reason = Reason("callback", saved["stopped"])
        self.order.restore(saved["order"])
        for i, callback in enumerate(self.callbacks):
            callback.restore(_put_back(saved["callbacks"][i], arrays, f"callbacks/{i}/"))
        for path, holder, key in places(self.tree):
            holder[key] = self.net._placed(arrays[path])

    def _warn_of_another_place(self, was: dict[str, Any]) -> None:
        here = self.history.environment.get
        changed = [f"{key} {v}, now {here(key)}" for key, v in was.items() if v != here(key)]
        text = (
            f"the checkpoint was written elsewhere ({'; '.join(changed)}): losses may differ "
            "in their last digits from those of an undisturbed run"
        )
        if changed:  # said where the user calls `fit`
            warnings.warn(text, CheckpointWarning, stacklevel=7)
