"""Data in many files: pairs of .npy or IDX files, opened without reading their contents."""

from __future__ import annotations

import fnmatch
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..checks import file_path
from ..files import FileError, said
from .idx import read_header
from .on_disk import RowsOnDisk, Shard
from .rows import read_npy_header


class _Header(NamedTuple):
    """What a file says of itself: where its values begin, and what they are."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class _Kind(NamedTuple):
    """A kind of shards: how its files are named, and how many dimensions they may have."""

    rows: str
    labels: str
    partner: Callable[[str], str]
    row_dimensions: range
    label_dimensions: range


_KINDS = (
    _Kind("x*.npy", "t*.npy", lambda name: f"t{name[1:]}", range(2, 33), range(1, 3)),
    _Kind(
        "*images*idx3-ubyte", "*labels*idx1-ubyte",
        lambda name: "labels".join(name.replace("idx3", "idx1").rsplit("images", 1)),
        range(3, 4), range(1, 2),
    ),
)  # fmt: skip
_COMPRESSED = (".gz", ".xz", ".npz", ".zst", ".bz2")


def open_shards(
    folder: str | os.PathLike[str], *, pattern: str = "*"
) -> tuple[RowsOnDisk, RowsOnDisk]:
    """Open a folder of data that need not fit into memory, for `xpnet.fit`.

    The folder holds pairs of files: ``x<any>.npy`` with ``t<the same>.npy``, or
    ``<any>images<any>idx3-ubyte`` with ``<any>labels<any>idx1-ubyte``, uncompressed. Taken
    together in the order of their names, they are one data set. Only their headers are read here.

    Parameters
    ----------
    folder : path-like
        Other files in it do not matter.
    pattern : str, optional
        Take only the files of x, or of images, with such names: ``"train-*"``, as a shell would.

    Returns
    -------
    x : RowsOnDisk, (n, inputs)
        Floats, or bytes (uint8): pixels, which `fit` divides by 255. Rows of more dimensions,
        such as images, are flattened.
    t : RowsOnDisk, (n,) or (n, outputs)
        Integers or floats.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    FileError
        There are no such files, or one lacks its partner; or a file is damaged, is longer or
        shorter than its header says, has values that are none of the above or lie column by
        column (Fortran order), or does not go together with the others. The message names it.
    TypeError
        An argument is not what is said above.

    See Also
    --------
    xpnet.fit : Trains on them.
    load_idx : MNIST and its relatives, which fit into memory.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, xpnet
    >>> rng = np.random.default_rng(0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(3):
    ...         x = rng.random((10, 4), dtype=np.float32)
    ...         np.save(pathlib.Path(folder, f"x-{i}.npy"), x)
    ...         np.save(pathlib.Path(folder, f"t-{i}.npy"), x.argmax(axis=1))
    ...     x, t = xpnet.open_shards(folder)
    ...     history = xpnet.fit(xpnet.MLP([4, 4], seed=0), x, t, steps=10, batch_size=5)
    >>> x, t, history.steps
    (<RowsOnDisk (30, 4), float32, in 3 files>, <RowsOnDisk (30,), int64, in 3 files>, 10)
    """
    folder = data_folder(folder, "folder", "shards")
    if not isinstance(pattern, str):
        raise TypeError(f"pattern must be a str, not {type(pattern).__name__}")
    kind, pairs = _pairs(folder, pattern)
    rows = [_checked(path, kind.row_dimensions, "rows", "fu") for path, _ in pairs]
    labels = [_checked(path, kind.label_dimensions, "labels", "iuf") for _, path in pairs]
    for (path, partner), x, t in zip(pairs, rows, labels, strict=True):
        if x.shape[0] != t.shape[0]:
            raise FileError(
                f"{partner}: expected a label for each of the {x.shape[0]} rows of {path}, found "
                f"{t.shape[0]}"
            )
    if not sum(x.shape[0] for x in rows):
        raise FileError(f"{folder}: expected rows, found {len(pairs)} files without any")
    paths, partners = zip(*pairs, strict=True)
    return _together(paths, rows), _together(partners, labels)


def data_folder(path: str | os.PathLike[str], name: str, what: str) -> Path:
    """Return a folder that is there, or raise."""
    folder = file_path(path, name)
    if not folder.exists():
        raise FileNotFoundError(f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(f"expected a folder of {what}, found the file {folder}")
    return folder


def _pairs(folder: Path, pattern: str) -> tuple[_Kind, list[tuple[Path, Path]]]:
    """The files of x and t that belong together, in the order of their names."""
    names = sorted(path.name for path in folder.iterdir())
    matching = [(k, fnmatch.filter(fnmatch.filter(names, k.rows), pattern)) for k in _KINDS]
    found = [(kind, images) for kind, images in matching if images]
    wanted = " or ".join(f"{kind.rows} with {kind.labels}" for kind in _KINDS)
    if not found:
        packed = [name for name in names if name.endswith(_COMPRESSED)]
        there = f"; {packed[0]} is compressed: unpack it" if packed else ""
        such = "" if pattern == "*" else f" of names like {pattern!r}"
        raise FileError(f"{folder}: expected files {wanted}{such}, found none{there}")
    if len(found) > 1:
        raise FileError(f"{folder}: expected files {wanted}, found both: choose with pattern=")
    kind, images = found[0]
    # Training on what is there to test with would be noticed by nobody.
    test = [name for name in images if name.startswith("t10k")]
    if pattern == "*" and test and len(test) < len(images):
        raise FileError(
            f"{folder}: expected one data set, found a test set too, {test[0]}: choose with "
            "pattern=, such as pattern='train*'"
        )
    labels = [kind.partner(name) for name in images]
    for name, label in zip(images, labels, strict=True):
        if label not in names:
            raise FileError(f"{folder / name}: expected its labels in {label}, found no such file")
    if pattern == "*":
        unpaired = set(fnmatch.filter(names, kind.labels)).difference(labels)
        if unpaired:
            raise FileError(
                f"{folder / min(unpaired)}: expected its rows beside it, found no file whose "
                f"labels these are; pattern={kind.rows!r} leaves it out"
            )
    return kind, [(folder / a, folder / b) for a, b in zip(images, labels, strict=True)]


def _checked(path: Path, dimensions: range, what: str, kinds: str) -> _Header:
    """The header of a file that holds what it says, or FileError."""
    if not path.is_file():  # asked before opening: a named pipe would wait for its writer
        raise FileError(f"{path}: expected a file, found something else")
    size = path.stat().st_size
    header = offset, shape, dtype = _header(path)
    text = f"{dtype} of shape {shape}"
    if dtype.kind not in kinds or (what == "rows" and dtype.kind == "u" and dtype != np.uint8):
        wanted = "floats, or images as uint8" if what == "rows" else "integers or floats as labels"
        raise FileError(f"{path}: expected {wanted}, found {text}")
    if len(shape) not in dimensions or 0 in shape[1:] or min(shape) < 0:
        several = " or ".join(map(str, dimensions)) if len(dimensions) < 3 else "2 or more"
        raise FileError(
            f"{path}: expected {what} in {several} dimensions of sizes above 0, found {text}"
        )
    promised = math.prod(shape) * dtype.itemsize
    if size - offset != promised:
        raise FileError(
            f"{path}: expected {promised} bytes of data, as promised by its header of {text}, "
            f"found {size - offset}"
        )
    return header


def _header(path: Path) -> _Header:
    with path.open("rb") as file:
        if path.suffix != ".npy":
            dtype, shape = read_header(file.read, path)
            return _Header(file.tell(), shape, dtype)
        try:
            shape, by_columns, dtype = read_npy_header(file)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # whatever a header of NumPy's can be wrong in
            raise FileError(f"{path}: expected a .npy file, found: {said(error)}") from error
        if by_columns and len(shape) > 1:
            raise FileError(
                f"{path}: expected rows one after the other (C order), found columns (Fortran "
                "order): save numpy.ascontiguousarray of it"
            )
        return _Header(file.tell(), tuple(map(int, shape)), dtype)


def _together(paths: Sequence[Path], headers: list[_Header]) -> RowsOnDisk:
    """The rows of several files as one, or FileError where they differ in kind."""
    first = headers[0]
    shards = []
    for path, header in zip(paths, headers, strict=True):
        if (header.dtype, header.shape[1:]) != (first.dtype, first.shape[1:]):
            raise FileError(
                f"{path}: expected rows of {first.dtype} {first.shape[1:]}, as in {paths[0]}, "
                f"found {header.dtype} {header.shape[1:]}"
            )
        shards.append(Shard(path, header.offset, header.shape[0]))
    # Rows are rows of a matrix: images are flattened.
    row_shape = (math.prod(first.shape[1:]),) if len(first.shape) > 1 else ()
    return RowsOnDisk(shards, row_shape, first.dtype)
