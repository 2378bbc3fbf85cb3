"""Rows that stay on the disk: read by their numbers, from shards or from a mapped file."""

from __future__ import annotations

import contextlib
import itertools
import math
import mmap
import operator
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arrays import is_array
from ..files import FileError

# Rows that are no further apart are read with what is between them, which a disk reads anyway;
# but so much at once.
PAGE_BYTES = 4096
READ_BYTES = 4 * 2**20
# What is in memory of a mapped file counts as the process's: so much at once. A number that is
# looked at may bring with it a large page of what the system has in its cache.
MAPPED_BYTES = 64 * 2**20
LARGE_PAGE = 2 * 2**20
# What a system reads of a mapped file that it expects to be read on: Linux, unless told otherwise.
READ_AHEAD = 128 * 2**10


class Shard(NamedTuple):
    """The rows that one file holds, side by side in C order from `offset`, in bytes."""

    path: Path
    offset: int
    rows: int


class RowsOnDisk:
    """The rows of one array in several files; what is asked for is read, nothing is kept.

    `xpnet.open_shards` makes them, and `xpnet.fit` trains on them.

    Parameters
    ----------
    shards : sequence of Shard
        Files in the order of their rows.
    row_shape : tuple of int
        Of one row; not empty in any dimension.
    dtype : dtype
        As it lies in the files, in any byte order.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        In the machine's byte order.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "numbers")
    ...     _ = path.write_bytes(np.arange(6, dtype="<f4").tobytes())
    ...     rows = RowsOnDisk([Shard(path, 0, 3)], (2,), np.dtype("<f4"))
    ...     rows, rows.take(np.asarray([2, 0]))
    (<RowsOnDisk (3, 2), float32, in 1 file>, array([[4., 5.],
           [0., 1.]], dtype=float32))
    """

    def __init__(
        self, shards: Sequence[Shard], row_shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> None:
        self._paths, offsets, rows = zip(*shards, strict=True)
        self._stored, self._ends = dtype, np.cumsum(rows)
        self._width = math.prod(row_shape) * dtype.itemsize
        # Where row 0 would lie in each file, did the file have it.
        self._zeros = np.asarray(offsets) - (self._ends - rows) * self._width
        self.shape = (int(self._ends[-1]), *row_shape)
        self.dtype = dtype.newbyteorder("=")

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        files = f"{len(self._paths)} file{'s' if len(self._paths) > 1 else ''}"
        return f"<RowsOnDisk {self.shape}, {self.dtype}, in {files}>"

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Read rows by their numbers.

        They are read in the order in which they lie on the disk, neighbours together.

        Parameters
        ----------
        rows : array of integers, (k,)
            From 0 to n - 1, in any order.

        Returns
        -------
        ndarray, (k, ...)
            In the order of `rows`.

        Raises
        ------
        TypeError, IndexError
            `rows` is no such array.
        FileError
            A file has become shorter since it was opened.
        OSError
            A file is no longer there, or cannot be read.

        Examples
        --------
        See the class.
        """
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise TypeError(f"rows must be integers (k,), not {rows.dtype} of shape {rows.shape}")
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            raise IndexError(f"rows must be 0 to {len(self) - 1}, not {rows.min()} to {rows.max()}")
        values = np.empty((len(rows), *self.shape[1:]), self._stored)
        memory = values.reshape(-1).view(np.uint8).data
        width = self._width
        order = np.argsort(rows, kind="stable")
        rows = rows[order].astype(np.int64, copy=False)
        for number, runs in itertools.groupby(self._runs(rows), key=operator.itemgetter(0)):
            path = self._paths[number]
            # Opened each time: no number of shards is too many, and nothing is left open.
            # Not mapped: what was read would count as memory of this process, and a file that
            # becomes shorter would end it.
            with path.open("rb", buffering=0) as file:
                for _, place, start, stop in runs:
                    file.seek(place)
                    if stop - start == 1:
                        target = int(order[start]) * width
                        _fill(memory[target : target + width], file, path)
                    else:
                        among = rows[start:stop] - rows[start]
                        several = np.empty((among[-1] + 1, *values.shape[1:]), values.dtype)
                        _fill(several.reshape(-1).view(np.uint8).data, file, path)
                        values[order[start:stop]] = several[among]
        return values if self._stored.isnative else values.byteswap(inplace=True).view(self.dtype)

    def _runs(self, rows: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
        """What is read at once of ascending rows: file, place in it, and which rows, from-to."""
        shards = np.searchsorted(self._ends, rows, side="right")
        places = self._zeros[shards] + rows * self._width
        ends = np.diff(places) > self._width + PAGE_BYTES
        for part in (shards, places // READ_BYTES):
            ends |= np.diff(part) != 0
        starts = np.flatnonzero(np.concatenate([[True], ends])[: len(rows)])
        stops = np.append(starts, len(rows))[1:]
        columns = shards[starts], places[starts], starts, stops
        return zip(*(column.tolist() for column in columns), strict=True)


def on_disk(x: Any, t: Any) -> bool:
    """Whether data are read from the disk batch by batch, instead of being arrays in memory."""
    return isinstance(x, RowsOnDisk) or isinstance(t, RowsOnDisk) or _mapping_of(x) is not None


def refuse_other_rows(array: Any, name: str) -> None:
    """Raise where rows of an array cannot be read one by one while others stay on the disk."""
    if isinstance(array, RowsOnDisk):
        return
    if not isinstance(array, np.ndarray) or not is_array(array):
        raise TypeError(
            f"{name} is a {type(array).__name__}; with data on disk, expected rows on disk (see "
            "xpnet.open_shards), a NumPy array, or one that is mapped into memory"
        )
    by_columns = array.ndim == 2 and array.shape[1] > 1 and array.shape[0] > 1
    if by_columns and _mapping_of(array) and abs(array.strides[1]) > abs(array.strides[0]):
        raise ValueError(
            f"{name} is mapped from a file that holds it column by column, so that a row lies all "
            "over the file: write it in C order, or load it into memory with numpy.array"
        )


def take_rows(array: Any, rows: np.ndarray) -> np.ndarray:
    """Return rows by their numbers: of files, of a mapped file, or of an array in memory."""
    if isinstance(array, RowsOnDisk):
        return array.take(rows)
    mapping = _mapping_of(array)
    values: np.ndarray = array[rows] if mapping is None else _take_mapped(array, mapping, rows)
    return values


def _fill(memory: memoryview, file: FileIO, path: Path) -> None:
    while memory:
        count = file.readinto(memory)
        if not count:
            raise FileError(
                f"{path}: expected the bytes up to {file.tell() + len(memory)} that it had when "
                f"it was opened, found its end at {file.tell()}"
            )
        memory = memory[count:]


def _mapping_of(array: Any) -> mmap.mmap | None:
    """The mapped file whose memory this is, None for any other array."""
    base: Any = array if type(array) is np.memmap else None
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def _take_mapped(array: np.memmap[Any, Any], mapping: mmap.mmap, rows: np.ndarray) -> np.ndarray:
    """Rows of a mapped file, little by little, so that not much of it is in memory at a time."""
    plain = np.asarray(array)
    values = np.empty((len(rows), *plain.shape[1:]), plain.dtype)
    order = np.argsort(rows, kind="stable")
    low, high = np.lib.array_utils.byte_bounds(plain[:1])
    count = max(1, MAPPED_BYTES // (high - low + LARGE_PAGE))
    # Changes to a copy-on-write mapping are in memory only.
    releases = hasattr(mmap, "MADV_DONTNEED") and array.mode != "c"
    with _no_read_ahead(mapping, abs(plain.strides[0]) * np.ptp(rows) / len(rows)):
        for start in range(0, len(rows), count):
            part = order[start : start + count]
            values[part] = plain[rows[part]]
            if releases:
                _release(mapping, plain[rows[part[0]] : rows[part[-1]] + 1])
    return values


@contextlib.contextmanager
def _no_read_ahead(mapping: mmap.mmap, distance: float) -> Iterator[None]:
    """Where rows lie far apart, have them read without what follows: 20 times as much."""
    far = distance > READ_AHEAD and hasattr(mmap, "MADV_RANDOM")
    if far:
        mapping.madvise(mmap.MADV_RANDOM)
    try:
        yield
    finally:
        if far:
            mapping.madvise(mmap.MADV_NORMAL)


def _release(mapping: mmap.mmap, part: np.ndarray) -> None:
    """Take this part of a file out of this process's memory; it stays in the system's cache."""
    start = np.frombuffer(mapping, np.uint8).ctypes.data
    low, high = np.lib.array_utils.byte_bounds(part)
    first = (low - start) // mmap.PAGESIZE * mmap.PAGESIZE
    mapping.madvise(mmap.MADV_DONTNEED, first, min(high - start, len(mapping)) - first)
