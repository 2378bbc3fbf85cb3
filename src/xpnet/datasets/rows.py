"""Rows for a net from one file: .npy, .npz, or IDX.

NumPy's own `load` allocates what a header promises before it looks at what is there, so the data
are read first.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..arrays import all_finite
from ..files import FileError, said
from .idx import read_idx

Split = tuple[np.ndarray, np.ndarray]  # rows and labels
_NAMES = (("x", "t"), ("X", "y"), ("x", "y"))
_TEST_NAMES = tuple((f"{x}_test", f"{t}_test") for x, t in _NAMES)

_MAX_HEADER = 10_000  # bytes, as in NumPy
_MAX_UNPACKED = 4 << 30  # bytes of an array in an .npz file: zeros pack to a thousandth


def read_rows(
    path: str | os.PathLike[str], *, labels: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the rows of a file and, where asked for, their labels.

    The ending of the name decides: .npy is one array, .npz holds the arrays ``x`` and ``t`` (or
    ``X`` and ``y``), and anything else is an IDX file of images, plain, gzip or xz.

    Parameters
    ----------
    path : path-like
        The file.
    labels : bool
        Read ``t`` too: only an .npz file has both.

    Returns
    -------
    x : ndarray
        Floats, or images as uint8; any shape.
    t : ndarray or None
        int64, floats or words; any shape.

    Raises
    ------
    FileError
        The file is damaged, is not of its kind, or its numbers are no floats, images or labels.
    OSError
        The file is not there, or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "both.npz")
    ...     np.savez(path, x=np.eye(2), t=np.asarray([0, 1], dtype=np.uint8))
    ...     read_rows(path, labels=True)
    (array([[1., 0.],
           [0., 1.]]), array([0, 1]))
    """
    path = Path(path)
    if labels and path.suffix != ".npz":
        raise FileError(
            f"{path}: expected data with labels: a data set, a folder of IDX files, or an .npz "
            "file of x and t"
        )
    with _naming(path):
        if path.suffix == ".npz":
            x, t = _read_npz(path, labels)
        elif path.suffix == ".npy":
            with path.open("rb") as file:
                x, t = _read_npy(file), None
        else:
            x, t = read_idx(path), None
    return _checked(path, x, t)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Make one error, with the file's name, of whatever is wrong with it."""
    try:
        yield
    except (MemoryError, FileError):
        raise
    except Exception as error:  # whatever a zip file or a header of NumPy's can be wrong in
        # A damaged zip file sends its reader to offsets below 0: not an error of the system.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise FileError(f"{path}: expected a {path.suffix} file, found: {said(error)}") from error


def _checked(
    path: Path, x: np.ndarray, t: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return rows, and a target as int64, floats or words; or raise."""
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise FileError(f"{path}: expected floats, or images as uint8, found {x.dtype}")
    if x.size and not all_finite(np, x):
        raise FileError(f"{path}: expected finite numbers, found NaN or infinity")
    if t is not None and t.dtype.kind not in "biufU":
        raise FileError(f"{path}: expected labels as integers, words or floats, found {t.dtype}")
    return x, t if t is None or t.dtype.kind in "fU" else t.astype(np.int64)


def read_npz_sets(path: Path) -> tuple[Split, Split | None]:
    """Read the rows to train with, and those to test with or None, of an .npz file.

    Raises
    ------
    FileError
        As `read_rows`.
    """
    with _naming(path), zipfile.ZipFile(path) as archive:
        members = _members(archive)
        train = _pair(archive, members, path, _NAMES)
        tests = any(name in members for pair in _TEST_NAMES for name in pair)
        test = _pair(archive, members, path, _TEST_NAMES) if tests else None
    x, t = _checked(path, *train)
    assert t is not None
    if test is None:
        return (x, t), None
    x_test, t_test = _checked(path, *test)
    assert t_test is not None
    return (x, t), (x_test, t_test)


def _read_npz(path: Path, labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
    with zipfile.ZipFile(path) as archive:
        found: tuple[np.ndarray, np.ndarray | None]
        found = _pair(archive, _members(archive), path, _NAMES, labels)
        return found


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def _pair(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], path: Path,
    names: tuple[tuple[str, str], ...], labels: bool = True,
) -> Any:  # fmt: skip
    """Return x and t by the first pair of names that an archive has."""
    for pair in names:
        if all(name in members for name in pair[: 1 + labels]):
            x, t = (_read_member(archive, members[name]) if i <= labels else None
                    for i, name in enumerate(pair))  # fmt: skip
            return x, t
    first, second = (" and ".join(pair[: 1 + labels]) for pair in names[:2])
    found = said(Exception(", ".join(sorted(members)) or "none"))
    raise FileError(f"{path}: expected {first}, or {second}, among its arrays, found {found}")


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    name = info.filename.removesuffix(".npy")
    # As NumPy writes them. Others may ask for gigabytes to be unpacked with.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is neither stored nor deflated")
    if info.file_size > _MAX_UNPACKED:
        raise ValueError(f"{info.file_size} bytes in {name}; expected at most {_MAX_UNPACKED}")
    with archive.open(info) as file:  # ends at file_size, whatever comes
        return _read_npy(file)


def _read_npy(file: IO[bytes]) -> np.ndarray:
    """Read an array in the format of `numpy.lib.format`; no pickles."""
    shape, fortran, dtype = read_npy_header(file)
    data = bytearray(file.read())
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether it lies in Fortran order, and dtype; raises any error of NumPy's."""
    headers: dict[Any, Any] = {  # with the size of their own length
        (1, 0): (np.lib.format.read_array_header_1_0, 2),
        (2, 0): (np.lib.format.read_array_header_2_0, 4),
    }
    version = np.lib.format.read_magic(file)
    if version not in headers:
        raise ValueError(f"version {version} of the format")
    parse, size = headers[version]
    start = file.read(size)
    length = int.from_bytes(start, "little")
    if length > _MAX_HEADER:  # NumPy would allocate it before it refuses it
        raise ValueError(f"a header of {length} bytes; expected at most {_MAX_HEADER}")
    shape, fortran, dtype = parse(io.BytesIO(start + file.read(length)))
    return shape, fortran, dtype
