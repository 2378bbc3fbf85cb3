"""Tables of numbers and words, .csv and .parquet, as rows for a net.

Numbers are standardised, words become one-hot columns, and what was learned of the training rows
(means, deviations, categories, the names of the classes) is kept in a `Table`, which turns new
files into rows in the same way.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, Host
from ..backend import place
from ..checks import known
from ..files import FileError
from .described import (
    held_out,
    named_classes,
    needed,
    numbers_of,
    place_rows,
    place_target,
    refuse_large,
    refuse_many,
    refuse_unknown,
)
from .frames import (
    kind_of,
    missing_rows,
    numbers_in,
    read_frame,
    refuse_missing,
    words_in,
)

Split = tuple[Host, Host]  # rows and targets
FILLS = {"mean": "mean"}
# A target of whole numbers is classes where it has so few different ones.
FEW = 20


@dataclass(frozen=True)
class Column:
    """A column of a table, as the training rows had it.

    Attributes
    ----------
    name : str
    kind : str
        "number", "boolean" or "category".
    mean, deviation : float
        Of a number's training rows; the deviation is 0 where they are all alike.
    words : tuple of str
        The categories, in order.
    usual : int
        The most frequent category, or boolean: what ``fill="mean"`` fills in.
    """

    name: str
    kind: str
    mean: float = 0.0
    deviation: float = 0.0
    words: tuple[str, ...] = ()
    usual: int = 0

    @property
    def width(self) -> int:
        """The columns of x that it becomes."""
        return len(self.words) if self.kind == "category" else 1


@dataclass(frozen=True)
class Table:
    """What was learned of a table; `xpnet.load_table` makes it.

    Attributes
    ----------
    columns : tuple of Column
    target : str
        The name of the column that is predicted.
    class_names : tuple of str or None
        None where the target is values.
    mean, deviation : float
        Of a target of values: a net learns ``(value - mean) / deviation``.
    fill : str or None
        What becomes of missing values: None refuses them.
    """

    kind: ClassVar[str] = "table"
    columns: tuple[Column, ...]
    target: str
    class_names: tuple[str, ...] | None
    mean: float = 0.0
    deviation: float = 1.0
    fill: str | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row of x."""
        return (sum(column.width for column in self.columns),)

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python objects, for JSON."""
        columns = [{**asdict(column), "words": list(column.words)} for column in self.columns]
        names = None if self.class_names is None else list(self.class_names)
        return {
            "kind": self.kind, "columns": columns, "target": self.target, "class_names": names,
            "mean": self.mean, "deviation": self.deviation, "fill": self.fill,
        }  # fmt: skip

    @classmethod
    def of_dict(cls, described: dict[str, Any]) -> Table:
        """Return what `to_dict` has described; any error where it is no such thing."""
        columns = tuple(
            Column(
                str(c["name"]), known(_NAMES, c["kind"], "kind"), float(c["mean"]),
                float(c["deviation"]), tuple(map(str, c["words"])), int(c["usual"]),
            )
            for c in described["columns"]
        )  # fmt: skip
        for column in columns:
            if not 0 <= column.usual < max(2, len(column.words)) or not column.deviation >= 0.0:
                raise ValueError(f"column {column.name!r} contradicts itself")
        names = described["class_names"]
        return cls(
            columns, str(described["target"]), None if names is None else tuple(map(str, names)),
            float(described["mean"]), float(described["deviation"]),
            _checked_fill(described["fill"]),
        )  # fmt: skip

    def load(
        self, source: Any, *, xp: Any = None, device: Any = None, dtype: Any = None
    ) -> tuple[Array, Array | None]:
        """Turn a new table into rows, exactly as the training rows were turned.

        Parameters
        ----------
        source : path or pandas.DataFrame
            Its columns are found by their names, in any order; others are ignored.
        xp, device, dtype : optional
            As for `xpnet.place`.

        Returns
        -------
        x : array, (n, width)
        t : array, (n,), or None
            None where the table lacks the target.

        Raises
        ------
        FileError
            A column is missing, a value is, or a word is one that the training rows did not
            have. The message names row and column.
        """
        where = place(xp, device, dtype)
        x, t = self.read(source, dtype=where.dtype_name)
        return place_rows(where, x), None if t is None else place_target(where, t)

    def read(
        self, source: Any, *, labels: bool = True, dtype: str = "float32"
    ) -> tuple[Host, Host | None]:
        """Return what `load` does, as NumPy arrays; the target only where `labels` says so."""
        words = [column.name for column in self.columns if column.kind == "category"]
        return self.of_frame(*read_frame(source, words), labels=labels, dtype=dtype)

    def of_frame(
        self, frame: Any, path: str, *, labels: bool = True, dtype: str = "float32"
    ) -> tuple[Host, Host | None]:
        """Return the rows of a frame that was read, and its target."""
        missing = [c.name for c in self.columns if c.name not in frame.columns]
        if missing:
            names = ", ".join(map(repr, missing[:10])) + (", ..." if len(missing) > 10 else "")
            raise FileError(f"{path}: expected the columns of the training, found no {names}")
        x = np.zeros((len(frame), *self.shape), dtype=dtype)
        start = 0
        for column in self.columns:
            part = x[:, start : start + column.width]
            _KINDS[column.kind](part, frame[column.name], column, path, self.fill is not None)
            start += column.width
        if not labels or self.target not in frame.columns:
            return x, None
        return x, self._target(frame[self.target], path)

    def values(self, predictions: Array) -> Array:
        """Return predictions of a target of values in the units of the table.

        Parameters
        ----------
        predictions : array
            Of ``net.predict``.

        Returns
        -------
        array
        """
        return predictions * self.deviation + self.mean

    def _target(self, series: Any, path: str) -> Host:
        refuse_missing(series, path)
        if self.class_names is not None:
            return numbers_of(words_in(series, path), self.class_names, path, self.target)
        return (numbers_in(series, path) - self.mean) / self.deviation


def load_table(
    path: str | os.PathLike[str], *, target: str | None = None, fill: str | None = None,
    xp: Any = None, device: Any = None, dtype: Any = None,
) -> tuple[Array, Array, Table]:  # fmt: skip
    r"""Load a table, .csv or .parquet, as rows for a net.

    Columns of numbers are standardised (mean 0 and deviation 1 over these rows; one whose numbers
    are all alike is 0), booleans are 0 and 1, and words become one column for each different one.
    A target of words, booleans or at most 20 different whole numbers is classes; any other is
    values, for a net with output "identity", and standardised too.

    Parameters
    ----------
    path : str or path-like
        A .csv file, with commas and a header, in UTF-8; or a .parquet file.
    target : str, optional
        The column to predict. None means the last.
    fill : str, optional
        "mean": missing numbers become their column's mean, missing words and booleans the most
        frequent one. None refuses them. A missing target is always refused.
    xp, device, dtype : optional
        As for `xpnet.place`.

    Returns
    -------
    x : array, (n, width)
        In `dtype`.
    t : array, (n,)
        Class indices, or values in `dtype`.
    description : Table
        What was learned: ``class_names``; ``load``, which turns a new file into rows in the same
        way; ``values``, which turns predictions back into the units of the table; and ``to_dict``,
        for ``net.data``.

    Raises
    ------
    ModuleNotFoundError
        pandas, or for .parquet pyarrow, is missing; the message has the line that installs it.
    FileError
        The file is no such table, or has missing values; the message names row and column. Row 1
        is the first below the header.
    OSError
        The file is not there, or cannot be read.

    See Also
    --------
    load_images : The same for a folder of images.

    Examples
    --------
    >>> import pathlib, tempfile, xpnet
    >>> text = "height,colour,kind\n1.0,red,a\n3.0,blue,b\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "kinds.csv")
    ...     _ = path.write_text(text)
    ...     x, t, description = xpnet.load_table(path)
    >>> x
    array([[-1.,  0.,  1.],
           [ 1.,  1.,  0.]], dtype=float32)
    >>> t, description.class_names
    (array([0, 1]), ('a', 'b'))
    """
    where = place(xp, device, dtype)
    frame, name = read_frame(path)
    description = learned(frame, name, target, fill)
    x, t = description.of_frame(frame, name, dtype=where.dtype_name)
    assert t is not None
    return place_rows(where, x), place_target(where, t), description


def learned(
    frame: Any, path: str, target: str | None = None, fill: str | None = None,
    rows: Host | None = None,
) -> Table:  # fmt: skip
    """Learn the description of a frame; means and deviations of the given rows only.

    Categories and the names of classes are those of all rows.
    """
    _checked_fill(fill)
    target = _checked_name(frame, path, target)
    rows = np.arange(len(frame)) if rows is None else rows
    columns = []
    for name in frame.columns:
        if name != target:
            kind = kind_of(frame[name], path)
            columns.append(_LEARN[kind](frame[name], path, rows))
    ends = _learn_target(frame[target], path, rows)
    table = Table(tuple(columns), target, **ends, fill=fill)
    refuse_large(table.to_dict(), path)
    return table


def split_table(
    path: str | os.PathLike[str], share: float, seed: int, *, target: str | None = None,
    fill: str | None = None, dtype: str = "float32",
) -> tuple[Split, Split, Table]:  # fmt: skip
    """Read a table as rows to train with and rows to test with; the former are learned from."""
    frame, name = read_frame(path)
    target = _checked_name(frame, name, target)
    strata = np.empty(len(frame))  # of values: nothing to keep in balance
    if is_classes(frame[target], name):
        strata = named_classes(np.asarray(words_in(frame[target], name)))[1]
    train, test = held_out(strata, share, seed)
    description = learned(frame, name, target, fill, train)
    x, t = description.of_frame(frame, name, dtype=dtype)
    assert t is not None
    return (x[train], t[train]), (x[test], t[test]), description


def _checked_name(frame: Any, path: str, target: str | None) -> str:
    """Return the name of the column to predict, or raise."""
    target = str(frame.columns[-1]) if target is None else target
    if not isinstance(target, str):
        raise TypeError(f"target must be the name of a column, not {type(target).__name__}")
    if target not in frame.columns:
        names = ", ".join(map(repr, frame.columns[:20]))
        raise FileError(f"{path}: expected the column {target!r} to predict, found {names}")
    if len(frame.columns) < 2:
        raise FileError(f"{path}: expected columns beside the target {target!r}, found none")
    refuse_missing(frame[target], path)
    return target


def _checked_fill(fill: str | None) -> str | None:
    return None if fill is None else known(FILLS, fill, "fill")


def is_classes(series: Any, path: str) -> bool:
    """Whether a target is classes: words, booleans, or few whole numbers."""
    if kind_of(series, path) != "number":
        return True
    distinct = np.unique(numbers_in(series, path))
    return len(distinct) <= FEW and bool((distinct == np.floor(distinct)).all())


def _learn_target(series: Any, path: str, rows: Host) -> dict[str, Any]:
    name = str(series.name)
    if is_classes(series, path):
        if kind_of(series, path) == "number":  # in the order of the numbers, 10 behind 9
            distinct = np.unique(numbers_in(series, path))
            names = tuple(f"{value:.0f}" for value in distinct)
        else:
            names, _ = named_classes(np.asarray(words_in(series, path)))
        refuse_many(len(names), path, name)
        if len(names) < 2:
            raise FileError(
                f"{path}: column {name!r} is to be predicted, and is {names[0]!r} everywhere"
            )
        return {"class_names": names}
    column = _learn_number(series, path, rows)
    # Training rows that are all alike: nothing to scale by.
    return {"class_names": None, "mean": column.mean, "deviation": column.deviation or 1.0}


# --- kinds of columns -------------------------------------------------------------------------


def _learn_number(series: Any, path: str, rows: Host) -> Column:
    numbers = numbers_in(series, path)[rows]
    numbers = numbers[~np.isnan(numbers)]
    name = str(series.name)
    if not numbers.size:
        raise FileError(f"{path}: column {name!r} has no values in the training rows: leave it out")
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(numbers.mean()), float(numbers.std())
    if not (math.isfinite(mean) and math.isfinite(deviation)):
        raise FileError(f"{path}: column {name!r} has numbers too large to standardise")
    # The deviation of many times 0.1 is rounding, not 0.
    return Column(name, "number", mean, 0.0 if np.ptp(numbers) == 0 else deviation)


def _learn_boolean(series: Any, path: str, rows: Host) -> Column:
    taken = series.iloc[rows]
    share = float(taken[~missing_rows(taken)].astype(float).mean())
    return Column(str(series.name), "boolean", usual=int(share > 0.5))


def _learn_category(series: Any, path: str, rows: Host) -> Column:
    names = tuple(sorted(map(str, series.dropna().unique())))
    refuse_many(len(names), path, str(series.name))
    taken = series.iloc[rows].dropna().astype(str)
    usual = names.index(taken.mode().iloc[0]) if len(taken) else 0
    return Column(str(series.name), "category", words=names, usual=usual)


def _fill_number(part: Host, series: Any, column: Column, path: str, fills: bool) -> None:
    if not fills:
        refuse_missing(series, path)
    numbers = numbers_in(series, path)
    if column.deviation:
        scaled = (numbers - column.mean) / column.deviation
        too_large = np.flatnonzero(np.abs(scaled) > np.finfo(part.dtype).max)
        if too_large.size:
            raise FileError(
                f"{path}: row {too_large[0] + 1}, column {series.name!r}: "
                f"{numbers[too_large[0]]:g} is too far from those of the training"
            )
        part[:, 0] = np.where(np.isnan(scaled), 0.0, scaled)  # a missing one is the mean


def _fill_boolean(part: Host, series: Any, column: Column, path: str, fills: bool) -> None:
    if not fills:
        refuse_missing(series, path)
    known_words = {"True": 1, "False": 0, "1": 1, "0": 0, "": column.usual}
    words = words_in(series, path)
    numbers = np.asarray([known_words.get(word, -1) for word in words])
    refuse_unknown(numbers, words, ("True", "False"), path, column.name)
    part[:, 0] = numbers


def _fill_category(part: Host, series: Any, column: Column, path: str, fills: bool) -> None:
    if not fills:
        refuse_missing(series, path)
    pandas = needed("pandas", "reading a table")
    words = words_in(series, path)
    numbers = pandas.Index(column.words).get_indexer(words).astype(np.int64)
    numbers[missing_rows(series)] = column.usual
    refuse_unknown(numbers, words, column.words, path, column.name)
    part[np.arange(len(numbers)), numbers] = 1.0


_LEARN = {"number": _learn_number, "boolean": _learn_boolean, "category": _learn_category}
_NAMES = {kind: kind for kind in _LEARN}
_KINDS = {"number": _fill_number, "boolean": _fill_boolean, "category": _fill_category}
