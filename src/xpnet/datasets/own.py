"""A user's own data by the kind of its file or folder, to train with and to test with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..arrays import Host
from ..checks import positive_integer
from ..files import FileError, said
from . import idx_sets, pictures, tables
from .described import held_out, named_classes, numbers_of, refuse_large, refuse_many
from .frames import SUFFIXES
from .rows import Split, read_npz_sets


@dataclass(frozen=True)
class Rows:
    """Arrays of a file as they are, whose labels are no numbers from 0 up.

    Attributes
    ----------
    shape : tuple of int
        Of a row.
    class_names : tuple of str
        The labels in the files, as words.
    """

    kind: ClassVar[str] = "rows"
    target: ClassVar[str] = "class"
    shape: tuple[int, ...]
    class_names: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python objects, for JSON."""
        names = list(self.class_names)
        return {"kind": self.kind, "shape": list(self.shape), "class_names": names}

    @classmethod
    def of_dict(cls, described: dict[str, Any]) -> Rows:
        """Return what `to_dict` has described; any error where it is no such thing."""
        shape = tuple(positive_integer(n, "shape") for n in described["shape"])
        return cls(shape, tuple(map(str, described["class_names"])))

    def numbers(self, labels: Host, path: object) -> Host:
        """Return the classes of labels as they are in a file, or raise."""
        return numbers_of(list(map(str, labels.tolist())), self.class_names, path, self.target)


Description = tables.Table | pictures.Images | Rows
KINDS: dict[str, Any] = {kind.kind: kind for kind in (tables.Table, pictures.Images, Rows)}


def described_by(data: Mapping[str, Any] | None, path: object) -> Description | None:
    """Return the description that a net has as plain objects, None where it has none; or raise."""
    if data is None:
        return None
    try:
        description: Description = KINDS[data["kind"]].of_dict(dict(data))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise FileError(f"{path}: its description of the data is damaged: {said(error)}") from error
    return description


class Asked(NamedTuple):
    """How data are to be read, and what share of them is to be held out; see `load_table`."""

    target: str | None = None
    fill: str | None = None
    size: tuple[int, int] | None = None
    gray: bool = False
    prefix: str | None = None
    test: float | None = None
    seed: int = 0
    dtype: str = "float32"


class Parts(NamedTuple):
    """Rows to train with and to test with, on the host, and what was learned of them."""

    train: Split
    test: Split
    description: Description | None
    held_out: bool = True


SHARE = 0.2
# Of each kind the options that it takes, and how it is called.
TAKES = {
    "table": ({"target", "fill", "test"}, "a table"),
    "images": ({"size", "gray", "test"}, "a folder of images"),
    "npz": ({"test"}, "an .npz file"),
    "idx": ({"prefix"}, "a folder of IDX files"),
}


def kind_of(path: Path) -> str:
    """Return the kind of a file or folder, a key of `TAKES`; or raise."""
    suffix = path.suffix.lower()
    if path.is_dir():
        inside = (p for pattern in ("*/*", "*/*/*") for p in path.glob(pattern))
        images = not idx_sets.prefixes(path) and any(p.is_file() for p in inside)
        return "images" if images else "idx"
    if suffix in SUFFIXES:
        return "table"
    if suffix == ".npz":
        return "npz"
    raise FileError(
        f"{path}: expected a .csv, .parquet or .npz file, a folder of a folder of images for each "
        "class, or a folder of IDX files"
    )


def read_own(path: Path, asked: Asked, known: Description | None = None) -> Parts:
    """Read data by their kind.

    Parameters
    ----------
    path : Path
    asked : Asked
    known : Description, optional
        What was learned of other data, by which these are read; None learns it of these.

    Raises
    ------
    FileError, OSError, ValueError
        The data are damaged, are of no known kind, or do not go with the description.
    """
    kind = kind_of(path)
    if known is not None and known.kind not in (kind, "rows"):
        raise FileError(
            f"{path}: expected {TAKES[known.kind][1]}, which the model was trained with, found "
            f"{TAKES[kind][1]}"
        )
    return _READERS[kind](path, asked, known)


def _share(asked: Asked) -> float:
    return SHARE if asked.test is None else asked.test


def _parted(x: Host, t: Host, asked: Asked, description: Description | None) -> Parts:
    train, test = held_out(t, _share(asked), asked.seed)
    return Parts((x[train], t[train]), (x[test], t[test]), description)


def _table(path: Path, asked: Asked, known: Any) -> Parts:
    if known is None:
        train, test, description = tables.split_table(
            path, _share(asked), asked.seed, target=asked.target, fill=asked.fill,
            dtype=asked.dtype,
        )  # fmt: skip
        return Parts(train, test, description)
    x, t = known.read(path, dtype=asked.dtype)
    if t is None:
        raise FileError(f"{path}: expected the column {known.target!r}, which the model predicts")
    return _parted(x, t, asked, known)


def _images(path: Path, asked: Asked, known: Any) -> Parts:
    both = [path / name for name in ("train", "test")]
    parted = all(folder.is_dir() for folder in both)
    first = both[0] if parted else path
    if known is None:
        x, t, known = pictures.read_images(first, asked.size, asked.gray)
    else:
        x, t = _with_classes(known, first)
    if not parted:
        return _parted(x, t, asked, known)
    if asked.test is not None:
        raise ValueError(f"{path} has a folder of images to test with: leave --test out")
    return Parts((x, t), _with_classes(known, both[1]), known, held_out=False)


def _with_classes(known: Any, folder: Path) -> Split:
    x, t = known.read(folder)
    if t is None:
        raise FileError(f"{folder}: expected a folder of images for each class, found images")
    return x, t


def _npz(path: Path, asked: Asked, known: Any) -> Parts:
    train, test = read_npz_sets(path)
    if test is not None and asked.test is not None:
        raise ValueError(f"{path} has rows to test with: leave --test out")
    for x, t in (train, *([] if test is None else [test])):
        if x.shape[1:] != train[0].shape[1:] or len(x) != len(t) or x.ndim < 2 or not x.size:
            raise FileError(
                f"{path}: expected rows and a target for each, found shapes {x.shape} and {t.shape}"
            )
    if test is None:
        (x, t), description = _numbered(path, known, train)
        return _parted(x, t, asked, description)
    train, test, description = _numbered(path, known, train, test)
    return Parts(train, test, description, held_out=False)


def _idx(path: Path, asked: Asked, known: Any) -> Parts:
    sets = idx_sets.read_sets(idx_sets.find_files(path, asked.prefix))
    train, test, description = _numbered(path, known, *sets)
    return Parts(train, test, description, held_out=False)


def _numbered(path: Path, known: Rows | None, *sets: Split) -> Any:
    """Return sets whose labels are numbers from 0 up, and a description where they were not."""
    first = sets[0][1]
    if first.dtype.kind == "f" or first.ndim != 1:
        return *sets, None
    if known is not None:
        return *((x, known.numbers(t, path)) for x, t in sets), known
    every = np.concatenate([t for _, t in sets])
    if every.dtype.kind != "U" and every.min() == 0:
        return *sets, None
    names, numbers = named_classes(every)
    refuse_many(len(names), path, "labels")
    description = Rows(sets[0][0].shape[1:], names)
    refuse_large(description.to_dict(), path)
    ends = np.cumsum([len(t) for _, t in sets])[:-1]
    parts = np.split(numbers, ends)
    return *((x, t) for (x, _), t in zip(sets, parts, strict=True)), description


_READERS = {"table": _table, "images": _images, "npz": _npz, "idx": _idx}
