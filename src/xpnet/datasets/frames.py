"""Tables as pandas frames: read from .csv and .parquet, and asked for what their columns hold."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Host
from ..files import FileError, said
from .described import needed

SUFFIXES = (".csv", ".parquet")


def read_frame(source: Any, words: Sequence[str] = ()) -> tuple[Any, str]:
    """Read a table, or take a pandas frame as it is: with the name that errors have for it.

    `words` are columns of a .csv that are read as they are written.
    """
    pandas = needed("pandas", "reading a table")
    if isinstance(source, pandas.DataFrame):
        frame, name = source, "the frame"
    else:
        if not isinstance(source, (str, os.PathLike)):
            raise TypeError(
                f"expected a path or a pandas.DataFrame, not {type(source).__name__}"
            )
        path = Path(source)
        name = str(path)
        with path.open("rb"):  # not there, a folder: the system's own error
            pass
        if path.suffix.lower() == ".parquet":
            frame = _read_parquet(pandas, path)
        elif path.suffix.lower() == ".csv":
            frame = _read_csv(pandas, path, words)
        else:
            raise FileError(f"{name}: expected a table, a .csv or a .parquet file")
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise FileError(f"{name}: expected columns of different names, found {doubled[0]!r} twice")
    if not len(frame):
        raise FileError(f"{name}: expected rows, found none below the header")
    return frame, name


def _read_csv(pandas: Any, path: Path, words: Sequence[str]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a row that is longer than the header would be cut
            header = pandas.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
            names = header.iloc[0].tolist()
            _refuse_header(names, path)
            return pandas.read_csv(
                path, index_col=False, header=0, names=names, low_memory=False,
                dtype={name: str for name in words if name in names},
            )
    except FileError:
        raise
    except (ValueError, pandas.errors.ParserWarning) as error:
        if isinstance(error, UnicodeDecodeError):
            text = f"a text in UTF-8, found the byte 0x{error.object[error.start]:02x}"
        else:
            text = f"a .csv file with a header and commas, found: {said(error)}"
        raise FileError(f"{path}: expected {text}") from error


def _refuse_header(names: list[str], path: Path) -> None:
    for i, name in enumerate(names):
        if not name:
            raise FileError(
                f"{path}: column {i + 1} has no name in the header (the index of a frame? write it "
                "with index=False)"
            )
        if name in names[:i]:
            raise FileError(f"{path}: expected columns of different names, found {name!r} twice")
    other = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
    if other:
        raise FileError(f"{path}: expected commas between the columns, found {other!r}")


def _read_parquet(pandas: Any, path: Path) -> Any:
    needed("pyarrow", "reading a .parquet file")
    try:
        return pandas.read_parquet(path, engine="pyarrow").reset_index(drop=True)
    except (ValueError, OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileError(f"{path}: expected a .parquet file, found: {said(error)}") from error


# --- columns ------------------------------------------------------------------------------------


def kind_of(series: Any, path: str) -> str:
    """Return "number", "boolean" or "category"; or raise where a column is of another kind."""
    types = needed("pandas", "reading a table").api.types
    if types.is_bool_dtype(series.dtype):
        return "boolean"
    if types.is_numeric_dtype(series.dtype) and not types.is_complex_dtype(series.dtype):
        return "number"
    found = {type(value) for value in series.dropna().unique()}
    if found and found <= {bool, np.bool_}:
        return "boolean"
    if found == {str}:
        return "category"
    if not found:
        raise FileError(f"{path}: column {series.name!r} has no values: leave it out")
    kinds = ", ".join(sorted(kind.__name__ for kind in found))
    raise FileError(
        f"{path}: column {series.name!r} has {kinds}; expected numbers, booleans or words"
    )


def missing_rows(series: Any) -> Host:
    """Return which rows of a column are missing."""
    missing: Host = series.isna().to_numpy(dtype=bool)
    return missing


def refuse_missing(series: Any, path: str) -> None:
    """Raise FileError where a row of a column is missing."""
    rows = np.flatnonzero(missing_rows(series))
    if rows.size:
        raise FileError(
            f"{path}: column {series.name!r} has no value in row {rows[0] + 1}: it is empty, or a "
            f"word such as NA ({rows.size:,} missing in all). Leave such rows out, or, where it is "
            "not the target, train with fill='mean' (--fill mean)"
        )


def numbers_in(series: Any, path: str) -> Host:
    """Return a column's numbers, float64; NaN where one is missing. Or raise."""
    pandas = needed("pandas", "reading a table")
    parsed = series if is_number(series) else pandas.to_numeric(series, errors="coerce")
    numbers: Host = parsed.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.flatnonzero(~np.isfinite(numbers) & ~missing_rows(series))
    if wrong.size:
        raise FileError(
            f"{path}: row {wrong[0] + 1}, column {series.name!r}: expected a finite number, found "
            f"{str(series.iloc[wrong[0]])!r:.60}"
        )
    return numbers


def is_number(series: Any) -> bool:
    """Whether pandas has a column as numbers; booleans are some."""
    types = needed("pandas", "reading a table").api.types
    return bool(types.is_numeric_dtype(series.dtype))


def words_in(series: Any, path: str) -> list[str]:
    """Return each value as a word: 3 and 3.0 are both '3'. Missing ones are empty."""
    if not is_number(series) or kind_of(series, path) != "number":
        values = series.astype(object).where(~missing_rows(series), "")
        return [str(value) for value in values.tolist()]
    numbers = numbers_in(series, path).tolist()
    return ["" if math.isnan(n) else f"{n:.0f}" if n == math.floor(n) else str(n) for n in numbers]
