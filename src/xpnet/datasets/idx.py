"""The IDX reader: the file format of MNIST, plain, gzip- or xz-compressed.

A file is a magic number (two zero bytes, a type code, the number of dimensions), one 32-bit
size for each dimension, and the values in C order; every number is big-endian. Files come from
mirrors and from strangers, so nothing that a header says is believed before it is checked.
"""

from __future__ import annotations

import gzip
import math
import operator
import os
import stat
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..files import FileError

# The type codes of the format: http://yann.lecun.com/exdb/mnist/ ("the IDX file format").
_CODES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"
_XZ_MAGIC = b"\xfd7zXZ\x00"

_MAX_DIMENSIONS = 32  # what every NumPy can hold; the format would allow 255
_CHUNK = 1 << 20
# An xz header may ask for a dictionary of 4 GiB; `xz -9` needs 65 MiB to decompress.
_XZ_MEMORY = 128 << 20

_Read = Callable[[int], bytes]


class IDXError(FileError):
    """A file that is no whole IDX file; the message names it, what was expected, what came."""


class _Damaged(Exception):
    """A compressed stream that cannot be decompressed."""


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = 4 << 30) -> np.ndarray:
    """Read one IDX file.

    The content decides whether the file is plain, gzip or xz; its name does not matter. Memory
    grows only with the data that really arrives, and never beyond what the header promises.

    Parameters
    ----------
    path : str or path-like
        The file.
    max_bytes : int, optional
        Refuse a file whose header promises more bytes of data than this; 4 GiB by default.

    Returns
    -------
    numpy.ndarray
        A writable array of the file's shape, in native byte order: uint8, int8, int16, int32,
        float32 or float64.

    Raises
    ------
    IDXError
        The file is damaged, is not an IDX file, holds less or more data than its header
        promises, or promises more than `max_bytes`. The message names the file.
    FileNotFoundError
        There is no such file. Other errors of the operating system, such as
        PermissionError, come through as they are.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from xpnet.datasets import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    ...     read_idx(path)
    array([5, 0, 4], dtype=uint8)
    """
    path = Path(path)
    max_bytes = min(operator.index(max_bytes), sys.maxsize)
    if max_bytes < 0:
        raise ValueError(f"max_bytes must not be negative, not {max_bytes}")
    # Asked before opening: opening a named pipe would wait for its writer.
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        found = "a directory" if stat.S_ISDIR(mode) else "something else"
        raise IDXError(f"{path}: expected a file, found {found}")
    with path.open("rb") as file:
        try:
            return _read(file, path, max_bytes)
        except (EOFError, zlib.error, gzip.BadGzipFile, _Damaged) as error:
            raise IDXError(f"{path}: expected a whole compressed file, found: {error}") from error


def _read(file: BinaryIO, path: Path, max_bytes: int) -> np.ndarray:
    read, plain = _open_stream(file)
    dtype, shape = read_header(read, path)
    promised = math.prod(shape) * dtype.itemsize
    # NumPy counts an empty dimension as 1 when it refuses a shape as too big: so does this.
    counted = math.prod(max(n, 1) for n in shape) * dtype.itemsize
    text = f"{promised} bytes of data, as promised by its header of shape {shape} and {dtype.name}"
    if counted > max_bytes:
        raise IDXError(f"{path}: expected at most max_bytes = {max_bytes}, found {text}")
    if plain:
        held = os.fstat(file.fileno()).st_size - file.tell()
        if held != promised:
            raise IDXError(f"{path}: expected {text}, found {held}")
    data = _read_up_to(read, promised)
    if len(data) < promised:
        raise IDXError(f"{path}: expected {text}, found {len(data)}")
    # Also makes a decompressor reach the checksum at the end of its stream.
    if read(1):
        raise IDXError(f"{path}: expected {text}, found more")
    array: np.ndarray = np.ndarray(shape, dtype=dtype, buffer=data)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return array


def _open_stream(file: BinaryIO) -> tuple[_Read, bool]:
    """Return a function that reads at most n bytes of content, and whether the file is plain."""
    start = file.read(len(_XZ_MAGIC))
    file.seek(0)
    if start.startswith(_GZIP_MAGIC):
        return gzip.GzipFile(fileobj=file, mode="rb").read, False
    if start == _XZ_MAGIC:
        return _xz_reader(file), False
    return file.read, True


def read_header(read: _Read, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read the values' dtype and shape at the start of a file, or raise IDXError."""
    magic = bytes(_read_up_to(read, 4))
    if len(magic) < 4 or magic[:2] != b"\x00\x00":
        raise IDXError(
            f"{path}: expected an IDX file, which starts with two zero bytes, a type code and "
            f"a number of dimensions, found {magic!r}{_advice(magic, path)}"
        )
    code, dimensions = magic[2], magic[3]
    if code not in _CODES:
        known = ", ".join(f"0x{known:02X}" for known in _CODES)
        raise IDXError(f"{path}: expected a type code of {known}, found 0x{code:02X}")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise IDXError(f"{path}: expected 1 to {_MAX_DIMENSIONS} dimensions, found {dimensions}")
    sizes = bytes(_read_up_to(read, 4 * dimensions))
    if len(sizes) < 4 * dimensions:
        raise IDXError(
            f"{path}: expected a header of {dimensions} sizes of 4 bytes, found {len(sizes)} bytes"
        )
    return np.dtype(_CODES[code]), struct.unpack(f">{dimensions}I", sizes)


def _advice(magic: bytes, path: Path) -> str:
    """What reads a file that was taken for an IDX file, where that is known."""
    if magic in (b"\x89PNG", b"GIF8", b"RIFF") or magic[:2] in (b"\xff\xd8", b"BM"):
        return ": an image; xpnet.load_images reads folders of them, a folder for each class"
    if path.suffix.lower() in (".csv", ".parquet"):
        return ": a table; xpnet.load_table reads it, and xpnet train takes it as it is"
    return ""


def _read_up_to(read: _Read, size: int) -> bytearray:
    """Read `size` bytes, or fewer where the content ends; allocates as the bytes come."""
    data = bytearray()
    while len(data) < size and (chunk := read(min(_CHUNK, size - len(data)))):
        data += chunk
    return data


def _xz_reader(file: BinaryIO) -> _Read:
    """Return a function that decompresses an .xz file step by step within `_XZ_MEMORY`.

    `lzma.LZMAFile` has no limit for the memory that a file may ask for, and it ignores what
    follows the end of the stream.
    """
    # Some Pythons are built without liblzma: they can still import xpnet.
    import lzma

    def new_decoder() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    decoder = new_decoder()

    def read(size: int) -> bytes:
        """Return at least one and at most `size` bytes, none at the end of the file."""
        nonlocal decoder
        while True:
            data = b""
            if decoder.eof:
                # What follows a stream and its padding of zeros: the next stream, or nothing.
                data = decoder.unused_data.lstrip(b"\x00")
                while not data and (chunk := file.read(_CHUNK)):
                    data = chunk.lstrip(b"\x00")
                if not data:
                    return b""
                decoder = new_decoder()
            elif decoder.needs_input and not (data := file.read(_CHUNK)):
                raise EOFError("the file ends before the end of its xz stream")
            try:
                content = decoder.decompress(data, size)
            except lzma.LZMAError as error:
                raise _Damaged(str(error)) from error
            if content:
                return content

    return read
