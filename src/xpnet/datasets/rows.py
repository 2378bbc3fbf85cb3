"""Rows for a net from one file: .npy, .npz, or IDX.

NumPy's own `load` allocates what a header promises before it looks at what is there, so the data
are read first.
"""

from __future__ import annotations

import errno
import io
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..arrays import all_finite
from ..files import FileError, said
from .idx import read_idx

_MAX_HEADER = 10_000  # bytes, as in NumPy
_MAX_UNPACKED = 4 << 30  # bytes of an array in an .npz file: zeros pack to a thousandth


def read_rows(
    path: str | os.PathLike[str], *, labels: bool = False
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the rows of a file and, where asked for, their labels.

    The ending of the name decides: .npy is one array, .npz holds the arrays ``x`` and ``t``, and
    anything else is an IDX file of images, plain, gzip or xz.

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
        int64, or floats; any shape.

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
    try:
        if path.suffix == ".npz":
            x, t = _read_npz(path, labels)
        elif path.suffix == ".npy":
            with path.open("rb") as file:
                x, t = _read_npy(file), None
        else:
            x, t = read_idx(path), None
    except (MemoryError, FileError):
        raise
    except Exception as error:  # whatever a zip file or a header of NumPy's can be wrong in
        # A damaged zip file sends its reader to offsets below 0: not an error of the system.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise FileError(f"{path}: expected a {path.suffix} file, found: {said(error)}") from error
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise FileError(f"{path}: expected floats, or images as uint8, found {x.dtype}")
    if x.size and not all_finite(np, x):
        raise FileError(f"{path}: expected finite numbers, found NaN or infinity")
    if t is not None and t.dtype.kind not in "iuf":
        raise FileError(f"{path}: expected labels as integers or floats in t, found {t.dtype}")
    return x, t if t is None or t.dtype.kind == "f" else t.astype(np.int64)


def _read_npz(path: Path, labels: bool) -> tuple[np.ndarray, np.ndarray | None]:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}

        def read(name: str) -> np.ndarray:
            if name not in members:
                raise ValueError(f"no array {name!r}, but {', '.join(members) or 'none'}")
            # As NumPy writes them. Others may ask for gigabytes to be unpacked with.
            if members[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is neither stored nor deflated")
            unpacked = members[name].file_size
            if unpacked > _MAX_UNPACKED:
                raise ValueError(f"{unpacked} bytes in {name}; expected at most {_MAX_UNPACKED}")
            with archive.open(members[name]) as file:  # ends at file_size, whatever comes
                return _read_npy(file)

        return read("x"), read("t") if labels else None


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
