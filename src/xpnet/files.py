"""How bytes reach the disk and come back: whole or not at all.

Files of arrays are safetensors with a JSON description in their metadata. Reading one runs no
code, and believes nothing that its header says before it is checked.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# The metadata's key; under it the version of the format and the description. One key, because
# safetensors writes several in any order, and the same arrays should give the same bytes.
KEY = "xpnet"
VERSION = 1

DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip

# A header of tiny arrays takes some 20 times its size once it is parsed.
MAX_HEADER = 1 << 20


class FileError(ValueError):
    """A file that is not what it should be; the message names it, what was expected, what came.

    A file that is not there, or may not be read or written, is an `OSError` instead.
    """


def replace_atomically(
    path: str | os.PathLike[str], write: Callable[[BinaryIO], object]
) -> None:
    """Write a file so that its name stands for the old content or the new, never for a part.

    The content goes to a temporary file in the same folder, named
    ``.<name>.<process>-<random>.partial``, is flushed to the disk, and takes the name of the old
    file. After an error, or Ctrl-C, the old file is as it was and the temporary one is gone; only
    a process that is killed leaves it behind.

    Parameters
    ----------
    path : path-like
        A link is followed. An existing file keeps its permissions.
    write : callable
        Is given the temporary file, open for writing and reading.

    Raises
    ------
    OSError
        The folder is missing or may not be written to, the disk is full, or `path` is something
        else than a file. The error has the name `path`, not the temporary one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "notes.txt")
    ...     replace_atomically(path, lambda file: file.write(b"all of it"))
    ...     path.read_bytes()
    b'all of it'
    """
    path = Path(os.path.realpath(path))
    partial = path.with_name(f".{path.name[:40]}.{os.getpid()}-{os.urandom(4).hex()}.partial")
    try:
        mode = _file_mode(path)
        with partial.open("x+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            partial.chmod(mode)
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def save_arrays(
    path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], description: dict[str, Any]
) -> None:
    """Save named arrays and a description of them in one safetensors file.

    What was written is read back and compared, bit by bit, before it replaces an old file.

    Parameters
    ----------
    path : path-like
        An existing file is replaced once the new one is whole.
    arrays : mapping of str to ndarray
        bool, integers and floats up to 64 bits; any shape, 0-d and empty too. The layout in
        memory (strides, byte order) does not matter and is not kept.
    description : dict
        What JSON can hold, with no NaN and no infinity; up to 1 MiB together with the names.

    Raises
    ------
    TypeError, ValueError
        An array or the description cannot be saved; the message names it.
    OSError
        As `replace_atomically`; or the disk gave back something else than was written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "arrays.safetensors")
    ...     save_arrays(path, {"x": np.eye(2)}, {"made by": "hand"})
    ...     load_arrays(path)
    ({'x': array([[1., 0.],
           [0., 1.]])}, {'made by': 'hand'})
    """
    from safetensors import numpy as safetensors

    native = {name: _native(name, array) for name, array in arrays.items()}
    try:
        text = json.dumps({"version": VERSION, "description": description}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"description must be what JSON can hold: {error}") from error
    content = safetensors.save(native, {KEY: text})
    header = int.from_bytes(content[:8], "little")
    if header > MAX_HEADER:
        raise ValueError(
            f"description and names take {header} bytes; expected at most {MAX_HEADER}: "
            "long lists belong into arrays"
        )

    def write(file: BinaryIO) -> None:
        file.write(content)
        file.flush()
        file.seek(0)
        problem = _difference(file, native, json.loads(text)["description"])
        if problem:
            raise OSError(errno.EIO, f"What was written reads back differently ({problem})")

    replace_atomically(path, write)


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Load what `save_arrays` has saved.

    No code of the file is run. Memory is bounded by a small multiple of the file's size.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    arrays : dict of str to ndarray
        Writable, C-contiguous, in native byte order; the dtypes as saved.
    description : dict

    Raises
    ------
    FileError
        The file is damaged or cut, is not of `save_arrays`, or is of a newer version of it.
    OSError
        The file is not there, is a folder, or cannot be read.

    Examples
    --------
    See `save_arrays`.
    """
    path = Path(path)
    # Asked before opening: opening a named pipe would wait for its writer.
    if _file_mode(path) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    with path.open("rb") as file:
        return _read(file, path)


def _read(file: BinaryIO, path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    import safetensors.numpy

    size = os.fstat(file.fileno()).st_size
    start = file.read(8)
    length = int.from_bytes(start, "little")
    if len(start) < 8 or length > min(size - 8, MAX_HEADER):
        raise FileError(
            f"{path}: expected a safetensors file of xpnet, which starts with the length of its "
            f"header, found {start!r} at the start of {size} bytes"
        )
    description = _description(file.read(length), path)
    file.seek(0)
    try:
        arrays: dict[str, np.ndarray] = safetensors.numpy.load(file.read(size))
    except KeyError as error:
        raise FileError(f"{path}: expected dtypes that NumPy has, found {said(error)}") from error
    # The last two are NumPy's, for shapes that it cannot hold.
    except (safetensors.SafetensorError, ValueError, OverflowError) as error:
        raise FileError(
            f"{path}: expected a whole safetensors file, found: {said(error)}"
        ) from error
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES:
            raise FileError(f"{path}: expected real numbers, found {array.dtype} in {name!r:.50}")
        if array.dtype == bool and array.view(np.uint8).max(initial=0) > 1:
            raise FileError(f"{path}: expected bytes of 0 and 1 in {name!r:.50}, found others")
    return arrays, description


def _description(header: bytes, path: Path) -> dict[str, Any]:
    """The description within a safetensors header, or FileError where it is not ours."""
    try:
        content = json.loads(header.decode("utf-8"))
        content = json.loads(content["__metadata__"][KEY], parse_constant=_refuse)
        version, description = content["version"], content["description"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise FileError(
            f"{path}: expected a file of xpnet, found a header without its description"
        ) from error
    if type(version) is not int or version < 1 or not isinstance(description, dict):
        raise FileError(f"{path}: expected a version and a description, found {version!r:.50}")
    if version > VERSION:
        raise FileError(
            f"{path}: expected a file of version {VERSION} or before, written by this xpnet or an "
            f"older one, found version {version!r:.50}: a newer xpnet can read it"
        )
    return description


def said(error: Exception) -> str:
    """What an error says about a file, in one line; names in a file may hold any characters."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "?" for c in text)[:300]


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")


def _native(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array C-contiguous and in native byte order, or raise.

    safetensors writes the memory behind an array's first entry, whatever the strides are.
    """
    if not isinstance(name, str) or name == "__metadata__":
        raise ValueError(f"{name!r} cannot be the name of an array")
    if not isinstance(array, np.ndarray) or array.dtype.name not in DTYPES:
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name!r} must be a NumPy array of {', '.join(DTYPES)}, not {found}")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _difference(
    file: BinaryIO, arrays: Mapping[str, np.ndarray], description: dict[str, Any]
) -> str | None:
    """What is not in the file as it should be, None where all is."""
    try:
        found, described = _read(file, Path("it"))
    except FileError as error:
        return str(error)
    if described != description:
        return "the description"
    if found.keys() != arrays.keys():
        return "the names"
    for name, array in arrays.items():
        other = found[name]
        # As bytes: NaN must equal itself, and -0.0 must not equal 0.0.
        if (
            (other.shape, other.dtype) != (array.shape, array.dtype)
            or not np.array_equal(_bytes(other), _bytes(array))
        ):  # fmt: skip
            return f"array {name!r}"
    return None


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)


def _file_mode(path: Path) -> int | None:
    """The permissions of a file, None where there is none; raises where it is something else."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    return stat.S_IMODE(mode)


def _sync_folder(folder: Path) -> None:
    """Flush a folder, so that a new name in it survives a loss of power."""
    if os.name == "nt":
        return  # Windows opens no folders
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
