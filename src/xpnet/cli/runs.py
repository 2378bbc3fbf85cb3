"""The folder of a run."""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from ..files import replace_atomically
from ..training import distributed
from ..training.checkpoint import Checkpoints
from ..training.plan import Callback
from .inputs import DATASETS

CHECKPOINTS = "checkpoints"  # within the folder of a run
OPTIONS = "options.json"  # there too


@contextlib.contextmanager
def run_folder(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Make the folder of a run, or raise; if nothing was written, take it away again."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        found = set(folder.iterdir())
        if found == {folder / CHECKPOINTS} and not any((folder / CHECKPOINTS).iterdir()):
            found.clear()  # what a run leaves that was killed before its first checkpoint
        if found and not overwrite:
            raise FileExistsError(f"{folder} is not empty; --force writes into it all the same")
        # A folder that cannot be written to is noticed now, not after the training.
        with tempfile.TemporaryFile(dir=folder):
            pass
        yield folder
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # not empty: something was written
                path.rmdir()


def default_folder(dataset: str, backend: str) -> Path:
    """Return ``runs/<dataset>-<backend>-<time>``, with a number added where it exists."""
    path = Path(dataset).resolve()
    name = path.stem if path.is_file() else path.name
    stem = f"{name}-{backend}-{datetime.now():%Y%m%d-%H%M%S}"
    folder, number = Path("runs", stem), 1
    while folder.exists():
        number += 1
        folder = Path("runs", f"{stem}-{number}")
    return folder


def delete_checkpoints(folder: Path) -> None:
    """Delete the checkpoints of the run that a folder has, if any."""
    if (folder / CHECKPOINTS).is_dir():
        for path in Checkpoints(folder / CHECKPOINTS).files():
            path.unlink()


def remember_options(folder: Path) -> Callback:
    """Return a callback of `fit` that writes the options of this run, for ``--resume``.

    After the first block, because options that are refused leave nothing behind.
    """
    options = dict(click.get_current_context().params)
    for name in ("out", "force", "resume", "quiet"):
        del options[name]
    options["hidden"] = [",".join(map(str, options["hidden"])) or "none"]
    options["job"] = distributed.job()
    for name in ("dataset", "init"):  # it may be resumed from elsewhere
        if options[name] is not None and options[name] not in DATASETS:
            options[name] = str(Path(options[name]).resolve())
    text = json.dumps(options, indent=1).encode()

    @functools.cache
    def write_once() -> None:
        replace_atomically(folder / OPTIONS, lambda file: file.write(text))

    return lambda progress: write_once()


def options_of_run(ctx: click.Context, param: click.Parameter, folder: Path | None) -> Path | None:
    """Take the options of an earlier run as the defaults."""
    if folder is not None:
        path = folder / OPTIONS
        if not path.exists():
            raise click.BadParameter(f"{folder} is no folder of a run: it has no {OPTIONS}")
        try:
            ctx.default_map = _of_today(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise click.BadParameter(f"{path} is damaged: {error}") from error
    return folder


def _of_today(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a run as they mean the same today."""
    if options.get("weight_init") is None:  # a default that depended on the depth
        deep = len(",".join(options["hidden"]).split(",")) > 1
        listed = options.get("layers") is not None or options.get("net", "mlp") != "mlp"
        options["weight_init"] = "he" if listed else "xavier" if deep else 0.01
    return options


def started_again(folder: Path | None) -> bool:
    """Whether torchrun has started a run again that had begun to train into this folder."""
    path = None if folder is None else folder / OPTIONS
    if path is None or not distributed.launched() or not path.exists():
        return False
    return bool(json.loads(path.read_text(encoding="utf-8")).get("job") == distributed.job())
