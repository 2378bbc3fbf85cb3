"""The data sets: the IDX reader against damaged files, the loaders, the downloads."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import lzma
import math
import os
import pickle
import socket
import struct
import sys
import threading
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xpnet import datasets
from xpnet.datasets import (
    DownloadError,
    IDXError,
    download,
    idx,
    load_fashion_mnist,
    load_idx,
    load_mnist,
    read_idx,
)

MNIST = Path(datasets.__file__).with_name("mnist")
# SHA-256 of the decompressed files, as MNIST has them.
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
COMPRESS = {"": bytes, ".gz": gzip.compress, ".xz": lambda data: lzma.compress(data, preset=0)}
# What a reader may hold beside the data: far below what hostile headers promise.
SMALL = 8 << 20


def to_idx(array: np.ndarray) -> bytes:
    """The bytes of an IDX file: an independent writer."""
    code = CODES[array.dtype.str[1:]]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def small_sets(n_train=7, n_test=4, shape=(3, 2), classes=5):
    """The four arrays of a small data set; the largest label is in the training set."""
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": rng.integers(0, 256, (n_train, *shape)).astype(np.uint8),
        "train-labels-idx1-ubyte": (np.arange(n_train) % classes).astype(np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (n_test, *shape)).astype(np.uint8),
        "t10k-labels-idx1-ubyte": (np.arange(n_test) % 3).astype(np.uint8),
    }


def write_folder(folder, arrays, suffix=""):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        (folder / (name + suffix)).write_bytes(COMPRESS[suffix](to_idx(array)))
    return folder


def peak_of(function):
    """The result of a call (an IDXError counts as one) and the bytes allocated at its peak."""
    tracemalloc.start()
    try:
        result = function()
    except IDXError as error:
        result = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return result, peak


# --- the IDX reader --------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("code", CODES)
def test_reads_each_dtype_in_native_order(tmp_path, code, suffix):
    """Otherwise a value or a byte order is lost, or the caller gets an array it cannot write."""
    array = np.arange(-12, 12).reshape(2, 3, 4).astype(code) * np.array(5, dtype=code)
    path = tmp_path / f"data{suffix}"
    path.write_bytes(COMPRESS[suffix](to_idx(array)))
    found = read_idx(path)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    assert found.flags.writeable
    assert found.flags.c_contiguous


@pytest.mark.parametrize("suffix", COMPRESS)
def test_the_content_decides_not_the_name(tmp_path, suffix):
    """Otherwise files that a browser decompressed or renamed cannot be read."""
    array = np.arange(5, dtype=np.uint8)
    for name in ("x.gz", "x.xz", "x", "x.idx"):
        path = tmp_path / name
        path.write_bytes(COMPRESS[suffix](to_idx(array)))
        np.testing.assert_array_equal(read_idx(str(path)), array)


def test_reads_an_empty_array(tmp_path):
    """Otherwise a well-formed file without data fails inside NumPy."""
    path = tmp_path / "empty"
    path.write_bytes(to_idx(np.zeros((0, 28, 28), np.uint8)))
    assert read_idx(path).shape == (0, 28, 28)


def test_reads_compressed_files_in_several_streams(tmp_path):
    """Otherwise files of parallel or appending compressors are cut at the first stream."""
    array = np.arange(200, dtype=np.uint8)
    data = to_idx(array)
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(data[:50]) + gzip.compress(data[50:]))
    np.testing.assert_array_equal(read_idx(path), array)
    path.write_bytes(lzma.compress(data[:50]) + bytes(8) + lzma.compress(data[50:]) + bytes(4))
    np.testing.assert_array_equal(read_idx(path), array)


def test_reads_data_longer_than_one_chunk(tmp_path, monkeypatch):
    """Otherwise the loop over chunks loses or repeats bytes at a boundary."""
    array = np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8)
    for chunk in (1, 7, 1008, 999, 1000):
        monkeypatch.setattr(idx, "_CHUNK", chunk)
        for suffix, compress in COMPRESS.items():
            path = tmp_path / f"x{suffix}"
            path.write_bytes(compress(to_idx(array)))
            np.testing.assert_array_equal(read_idx(path), array)


GOOD = to_idx(np.arange(6, dtype=np.uint8).reshape(2, 3))
HUGE = 2**32 - 1
BAD_CONTENT = {
    "empty": (b"", "two zero bytes"),
    "bad magic": (b"PK\x03\x04" + GOOD, "two zero bytes"),
    "a web page": (b"<!DOCTYPE html><html>moved</html>", "<!DO"),
    "three bytes": (GOOD[:3], "two zero bytes"),
    "unknown type": (b"\x00\x00\x0a\x01" + GOOD[4:], "type code of 0x08, .*found 0x0A"),
    "no dimensions": (b"\x00\x00\x08\x00\x05", "1 to 32 dimensions, found 0"),
    "too many dimensions": (b"\x00\x00\x08\xff" + bytes(5000), "found 255"),
    "header cut": (GOOD[:9], "2 sizes of 4 bytes, found 5 bytes"),
    "no data": (GOOD[:12], "expected 6 bytes .*found 0"),
    "truncated": (GOOD[:-1], r"expected 6 bytes .*shape \(2, 3\) and uint8, found 5"),
    "oversized": (GOOD + b"\x00", "expected 6 bytes .*found (7|more)"),
    "promises 3 GiB": (struct.pack(">HBBII", 0, 8, 2, 3, 2**30) + b"123", "found 3"),
    "huge": (struct.pack(">HBBIII", 0, 14, 3, HUGE, HUGE, HUGE), "at most max_bytes = 4294967296"),
    "huge and empty": (struct.pack(">HBBIII", 0, 8, 3, 0, HUGE, HUGE), "at most max_bytes"),
}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("case", BAD_CONTENT)
def test_bad_content_is_an_idx_error(tmp_path, case, suffix):
    """Otherwise a damaged file gives wrong data, another exception, or fills the memory."""
    content, message = BAD_CONTENT[case]
    path = tmp_path / "some-file"
    path.write_bytes(COMPRESS[suffix](content))
    error, peak = peak_of(lambda: read_idx(path))
    assert isinstance(error, IDXError)
    with pytest.raises(IDXError, match=message):
        raise error
    assert str(error).startswith(f"{path}: expected")
    assert peak < SMALL


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_damaged_compressed_file_is_an_idx_error(tmp_path, suffix):
    """Otherwise zlib's or lzma's own exceptions leak, or a bad checksum goes unseen."""
    whole = COMPRESS[suffix](to_idx(np.arange(99.0)))
    path = tmp_path / f"data{suffix}"
    for end in range(6, len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(IDXError, match=r"data.*expected a whole compressed file, found"):
            read_idx(path)
    path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 0xFF]) + whole[-8:])  # data or index
    with pytest.raises(IDXError, match="expected"):
        read_idx(path)
    path.write_bytes(whole + b"<html>")
    with pytest.raises(IDXError, match="expected a whole compressed file"):
        read_idx(path)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [(-8, 1, "CRC"), (2, 7, "Unknown compression method"), (10, 7, "invalid block type")],
)
def test_a_damaged_gzip_stream_is_an_idx_error(tmp_path, position, value, message):
    """Otherwise the checksum at the end is not reached, or another exception leaks."""
    whole = bytearray(gzip.compress(GOOD))
    assert whole[position] != value
    whole[position] = value
    path = tmp_path / "x.gz"
    path.write_bytes(whole)
    with pytest.raises(IDXError, match=f"expected a whole compressed file, .*{message}"):
        read_idx(path)


@pytest.mark.parametrize("promised", [32 << 20, 128 << 20])
def test_a_plain_file_of_another_size_is_not_read(tmp_path, promised):
    """Otherwise gigabytes are read before a file is found to be cut, or too long."""
    path = tmp_path / "x"
    with path.open("wb") as file:
        file.write(struct.pack(">HBBI", 0, 8, 1, promised))
        file.truncate(8 + (64 << 20))
    error, peak = peak_of(lambda: read_idx(path))
    assert isinstance(error, IDXError)
    assert str(error).endswith("found 67108864")
    assert peak < SMALL


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
def test_a_bomb_is_not_decompressed(tmp_path, suffix):
    """Otherwise a small file that unpacks to gigabytes fills the memory."""
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(COMPRESS[suffix](GOOD + bytes(64 << 20)))
    error, peak = peak_of(lambda: read_idx(path))
    assert isinstance(error, IDXError)
    assert "found more" in str(error)
    assert peak < SMALL


def test_an_xz_dictionary_of_4_gib_is_refused(tmp_path):
    """Otherwise an .xz header makes the decompressor itself allocate gigabytes."""
    whole = bytearray(lzma.compress(GOOD, preset=0))
    # The block header starts at 12: its length, flags, filter, length of properties, and the
    # dictionary's size as a code; then its CRC-32.
    assert whole[14] == 0x21
    whole[16] = 40
    end = 12 + 4 * (whole[12] + 1)
    whole[end - 4 : end] = struct.pack("<I", zlib.crc32(whole[12 : end - 4]))
    path = tmp_path / "x.xz"
    path.write_bytes(whole)
    error, peak = peak_of(lambda: read_idx(path))
    assert isinstance(error, IDXError)
    assert "Memory usage limit" in str(error)
    assert peak < SMALL


def test_max_bytes_is_a_limit_for_the_data(tmp_path):
    """Otherwise a caller cannot bound what a file may cost."""
    path = tmp_path / "x"
    path.write_bytes(to_idx(np.zeros(10, np.float64)))
    assert read_idx(path, max_bytes=80).shape == (10,)
    with pytest.raises(IDXError, match="at most max_bytes = 79, found 80 bytes"):
        read_idx(path, max_bytes=79)
    with pytest.raises(ValueError, match="max_bytes must not be negative, not -1"):
        read_idx(path, max_bytes=-1)
    with pytest.raises(TypeError):
        read_idx(path, max_bytes=1e9)


def test_what_is_not_a_file(tmp_path):
    """Otherwise a missing file looks damaged, or a folder or a pipe hangs or confuses."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_idx(tmp_path / "nowhere")
    with pytest.raises(IDXError, match="expected a file, found a directory"):
        read_idx(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(IDXError, match="expected a file, found something else"):
            read_idx(tmp_path / "pipe")


def test_idx_error_is_a_value_error_that_pickles():
    """Otherwise callers that catch ValueError, or worker processes, miss it."""
    error = pickle.loads(pickle.dumps(IDXError("x: expected y, found z")))
    assert isinstance(error, ValueError)
    assert str(error) == "x: expected y, found z"


@pytest.fixture(scope="module")
def fuzz_path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "fuzzed"


BYTE_CHANGES = st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=4)


def change(data: bytes, changes, cut: int | None, tail: bytes) -> bytes:
    changed = bytearray(data)
    for position, value in changes:
        changed[position % len(changed)] = value
    return bytes(changed[:cut]) + tail


@settings(
    max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
@given(
    suffix=st.sampled_from(list(COMPRESS)),
    code=st.sampled_from(list(CODES)),
    inside=BYTE_CHANGES,
    outside=BYTE_CHANGES,
    cut=st.none() | st.integers(0, 150),
    tail=st.binary(max_size=20),
)
def test_no_bytes_break_the_reader(fuzz_path, suffix, code, inside, outside, cut, tail):
    """Otherwise some file raises what callers do not expect, or allocates what it promises."""
    content = change(to_idx(np.arange(24).reshape(4, 6).astype(code)), inside, None, b"")
    fuzz_path.write_bytes(change(COMPRESS[suffix](content), outside, cut, tail))
    result, peak = peak_of(lambda: read_idx(fuzz_path))
    if isinstance(result, IDXError):
        assert str(fuzz_path) in str(result)
    else:
        assert result.nbytes == math.prod(result.shape) * result.itemsize
    assert peak < SMALL


# --- the embedded MNIST ----------------------------------------------------------------------


@pytest.mark.parametrize("name", MNIST_SHA256)
def test_the_embedded_files_are_mnist(name):
    """Otherwise the package ships other data than it says."""
    with lzma.open(MNIST / f"{name}.xz") as file:
        assert hashlib.sha256(file.read()).hexdigest() == MNIST_SHA256[name]


@pytest.fixture(scope="module")
def mnist_bytes():
    return load_mnist(normalize=False, flatten=False, one_hot_label=True)


def test_load_mnist_as_bytes(mnist_bytes):
    """Otherwise normalize=False, flatten=False or one_hot_label=True does something else."""
    (x_train, t_train), (x_test, t_test) = mnist_bytes
    assert x_train.shape == (60000, 28, 28)
    assert x_test.shape == (10000, 28, 28)
    assert x_train.dtype == x_test.dtype == np.uint8
    assert x_train.min() == x_test.min() == 0
    assert x_train.max() == x_test.max() == 255
    assert t_train.shape == (60000, 10)
    assert t_test.shape == (10000, 10)
    assert t_train.dtype == t_test.dtype == np.float32
    assert set(np.unique(t_train)) == {0.0, 1.0}
    assert (t_train.sum(axis=1) == 1).all()
    assert t_train[:5].argmax(axis=1).tolist() == [5, 0, 4, 1, 9]


def test_load_mnist_by_default(mnist_bytes):
    """Otherwise the reference program gets other numbers, or the conversion a second copy."""
    result, peak = peak_of(load_mnist)
    (x_train, t_train), (x_test, t_test) = result
    assert x_train.shape == (60000, 784)
    assert x_test.shape == (10000, 784)
    assert x_train.dtype == x_test.dtype == np.float32
    assert x_train.flags.writeable
    assert (x_train.min(), x_train.max()) == (0.0, 1.0)
    assert t_train.shape == (60000,)
    assert t_test.shape == (10000,)
    assert t_train.dtype == t_test.dtype == np.int64
    assert t_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert t_test[:5].tolist() == [7, 2, 1, 0, 4]
    (bytes_train, one_hot), _ = mnist_bytes
    expected = bytes_train[:500].reshape(500, 784).astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(x_train[:500], expected)
    np.testing.assert_array_equal(t_train, one_hot.argmax(axis=1))
    images = x_train.size + x_test.size
    assert peak < 1.15 * images * (1 + 4)  # the bytes and their float32: nothing else


# --- folders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("dot", [False, True])
def test_load_idx_reads_every_spelling(tmp_path, suffix, dot):
    """Otherwise a folder as published, unpacked or recompressed cannot be loaded."""
    arrays = small_sets()
    named = {name.replace("-idx", ".idx") if dot else name: a for name, a in arrays.items()}
    folder = write_folder(tmp_path / "set", named, suffix)
    (x_train, t_train), (x_test, t_test) = load_idx(folder, normalize=False, flatten=False)
    for found, name in zip((x_train, t_train, x_test, t_test), arrays, strict=True):
        np.testing.assert_array_equal(found, arrays[name])
    assert t_train.dtype == np.int64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_load_idx_forms(tmp_path, dtype):
    """Otherwise shapes, scaling, dtype or the number of classes are wrong for other sizes."""
    arrays = small_sets()
    folder = write_folder(tmp_path / "set", arrays)
    (x_train, t_train), (x_test, t_test) = load_idx(str(folder), one_hot_label=True, dtype=dtype)
    assert x_train.shape == (7, 6)
    assert x_test.shape == (4, 6)
    assert {a.dtype.name for a in (x_train, t_train, x_test, t_test)} == {dtype}
    expected = arrays["train-images-idx3-ubyte"].reshape(7, 6) / np.asarray(255, dtype)
    np.testing.assert_array_equal(x_train, expected.astype(dtype))
    np.testing.assert_array_equal(t_train, np.eye(5)[arrays["train-labels-idx1-ubyte"]])
    # The test set has labels up to 2 only, and still as many classes.
    np.testing.assert_array_equal(t_test, np.eye(5)[arrays["t10k-labels-idx1-ubyte"]])


def test_load_idx_on_every_backend(tmp_path, lib):
    """Otherwise a backend gets other data, or arrays that live elsewhere."""
    here = lib.place("float32")
    arrays = small_sets()
    folder = write_folder(tmp_path / "set", arrays, ".gz")
    for one_hot_label in (False, True):
        found = load_idx(folder, one_hot_label=one_hot_label, **lib.kwargs)
        host = load_idx(folder, one_hot_label=one_hot_label)
        for (x, t), (x_host, t_host) in zip(found, host, strict=True):
            here._check(x, "x")
            here._check(t, "t")
            assert x.dtype == here.dtype
            # A GPU may multiply by 1/255 where the host divides.
            np.testing.assert_allclose(lib.host(x), x_host, rtol=1.2e-7)
            np.testing.assert_array_equal(lib.host(t), t_host)
    (x, _), _ = load_idx(folder, normalize=False, **lib.kwargs)
    assert x.dtype == lib.xp.uint8
    np.testing.assert_array_equal(lib.host(x), arrays["train-images-idx3-ubyte"].reshape(7, 6))


def test_of_several_files_the_plain_one_is_read(tmp_path):
    """Otherwise which of several files counts depends on the order of the folder."""
    folder = tmp_path / "set"
    for suffix, n_train in ((".gz", 3), (".xz", 5), ("", 7)):
        write_folder(folder, small_sets(n_train=n_train), suffix)
        (x_train, _), _ = load_idx(folder)
        assert len(x_train) == n_train


def test_a_folder_named_like_a_file_is_passed_over(tmp_path):
    """Otherwise archives that unpack each file into a folder of its name cannot be loaded."""
    folder = write_folder(tmp_path / "set", small_sets(), ".gz")
    (folder / "train-images-idx3-ubyte").mkdir()
    load_idx(folder)


def test_what_is_missing_is_named(tmp_path):
    """Otherwise the user has to guess which folder or file was looked for."""
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        load_idx(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"expected a folder .*file"):
        load_idx(tmp_path / "file")
    folder = write_folder(tmp_path / "set", small_sets())
    (folder / "t10k-labels-idx1-ubyte").unlink()
    names = [f"t10k-labels{sep}idx1-ubyte{suffix}" for suffix in ("", ".xz", ".gz") for sep in "-."]
    with pytest.raises(FileNotFoundError) as caught:
        load_idx(folder)
    for name in names:
        assert name in str(caught.value)
    assert str(folder) in str(caught.value)


BAD_SETS = {
    "counts differ": (
        {"train-labels-idx1-ubyte": np.zeros(6, np.uint8)},
        "train-labels-idx1-ubyte: expected one label for each of the 7 images .*found 6",
    ),
    "images not 3-D": (
        {"train-images-idx3-ubyte": np.zeros((7, 6), np.uint8)},
        r"train-images-idx3-ubyte: expected images as uint8 .*found uint8 of shape \(7, 6\)",
    ),
    "images not uint8": (
        {"t10k-images-idx3-ubyte": np.zeros((4, 3, 2), np.float32)},
        r"t10k-images-idx3-ubyte: expected images as uint8 .*found float32",
    ),
    "labels not 1-D": (
        {"train-labels-idx1-ubyte": np.zeros((7, 1), np.uint8)},
        r"train-labels-idx1-ubyte: expected labels as integers .*found uint8 of shape \(7, 1\)",
    ),
    "labels not integers": (
        {"t10k-labels-idx1-ubyte": np.zeros(4, np.float64)},
        "t10k-labels-idx1-ubyte: expected labels as integers .*found float64",
    ),
    "negative": (
        {"t10k-labels-idx1-ubyte": np.array([0, 1, -3, 0], np.int8)},
        "t10k-labels-idx1-ubyte: expected labels from 0 up, found -3",
    ),
    "empty": (
        {
            "t10k-images-idx3-ubyte": np.zeros((0, 3, 2), np.uint8),
            "t10k-labels-idx1-ubyte": np.zeros(0, np.uint8),
        },
        "t10k-images-idx3-ubyte: expected images, found none",
    ),
    "no pixels": (
        {"train-images-idx3-ubyte": np.zeros((7, 0, 2), np.uint8)},
        "train-images-idx3-ubyte: expected images, found none",
    ),
    "other size": (
        {"t10k-images-idx3-ubyte": np.zeros((4, 2, 3), np.uint8)},
        r"t10k-images-idx3-ubyte: expected images of \(3, 2\) pixels.*found \(2, 3\)",
    ),
    "a huge label": (
        {"t10k-labels-idx1-ubyte": np.array([0, 1, 2**31 - 1, 0], np.int32)},
        "expected labels that fit one-hot rows, found 2147483647",
    ),
}


@pytest.mark.parametrize("case", BAD_SETS)
def test_sets_that_do_not_fit_are_refused(tmp_path, case):
    """Otherwise a net is trained on images that belong to other labels, or fails far away."""
    changed, message = BAD_SETS[case]
    folder = write_folder(tmp_path / "set", {**small_sets(), **changed})
    with pytest.raises(IDXError, match=message):
        load_idx(folder, one_hot_label=True)


@pytest.mark.parametrize("load", [load_mnist, load_fashion_mnist, lambda **k: load_idx(".", **k)])
@pytest.mark.parametrize("name", ["normalize", "flatten", "one_hot_label"])
def test_switches_must_be_bools(load, name):
    """Otherwise load_mnist("torch") silently means normalize=True on NumPy."""
    with pytest.raises(TypeError, match=f"{name} must be True or False, not 'torch'"):
        load(**{name: "torch"})


def test_the_placement_is_checked_before_any_work(tmp_path):
    """Otherwise a misspelt backend is found only after a download."""
    for load in (load_mnist, load_fashion_mnist, lambda **k: load_idx(tmp_path / "no", **k)):
        with pytest.raises(ValueError, match="unknown backend 'nunpy'"):
            load(xp="nunpy")


# --- downloads -------------------------------------------------------------------------------


class Mirror:
    """A local server: `pages` maps a file's name to (status, body, promised length)."""

    def __init__(self, pages):
        self.pages = pages
        self.asked = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                mirror.asked.append(name)
                status, body, length = mirror.pages.get(name, (404, b"not here", 8))
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/data/"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


FILES = {name + ".gz": gzip.compress(to_idx(a), mtime=0) for name, a in small_sets().items()}


def good_pages():
    return {name: (200, body, len(body)) for name, body in FILES.items()}


def html_pages():
    page = b"<html>This data set has moved.</html>"
    return {name: (200, page, len(page)) for name in FILES}


def cut_pages():
    return {name: (200, body[:-5], len(body)) for name, body in FILES.items()}


def other_pages():
    other = {name + ".gz": gzip.compress(to_idx(a)) for name, a in small_sets(9, 9).items()}
    return {name: (200, body, len(body)) for name, body in other.items()}


@pytest.fixture
def mirror(monkeypatch):
    """Start mirrors; they stop with the test. No proxy of the machine comes between."""
    pytest.importorskip("pooch", reason="pooch is not installed")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("XPNET_CACHE", raising=False)
    started = []

    def start(pages):
        started.append(Mirror(pages))
        return started[-1]

    yield start
    for each in started:
        each.close()


@pytest.fixture
def refused():
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


@pytest.fixture
def use(monkeypatch):
    """Replace the table of Fashion-MNIST by the small files on the given mirrors."""

    def replace(*urls):
        sha256 = {name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()}
        source = dataclasses.replace(download.FASHION_MNIST, mirrors=urls, sha256=sha256)
        monkeypatch.setattr(download, "FASHION_MNIST", source)

    return replace


def check_small(result):
    (x_train, t_train), (x_test, t_test) = result
    arrays = small_sets()
    np.testing.assert_array_equal(t_train, arrays["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(t_test, arrays["t10k-labels-idx1-ubyte"])
    assert x_train.shape == (7, 6)
    assert x_test.dtype == np.float32


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_download_is_kept_and_needs_no_network_again(tmp_path, mirror, use, refused):
    """Otherwise each call downloads anew, or a machine without network cannot use its cache."""
    server = mirror(good_pages())
    use(server.url)
    check_small(load_fashion_mnist(cache=tmp_path))
    assert sorted(server.asked) == sorted(FILES)
    assert files_in(tmp_path) == sorted(FILES)
    use(refused)
    check_small(load_fashion_mnist(cache=tmp_path))


def test_a_damaged_file_in_the_cache_is_replaced(tmp_path, mirror, use):
    """Otherwise one broken file in the cache breaks every later call."""
    server = mirror(good_pages())
    use(server.url)
    load_fashion_mnist(cache=tmp_path)
    (tmp_path / "fashion-mnist" / "train-images-idx3-ubyte.gz").write_bytes(b"damaged")
    server.asked.clear()
    check_small(load_fashion_mnist(cache=str(tmp_path)))
    assert server.asked == ["train-images-idx3-ubyte.gz"]


@pytest.mark.parametrize("pages", [dict, html_pages, cut_pages, other_pages])
def test_a_bad_mirror_is_passed_over(tmp_path, mirror, use, pages):
    """Otherwise one mirror that is gone, moved, cut or changed stops the download."""
    bad, good = mirror(pages()), mirror(good_pages())
    use(bad.url, good.url)
    check_small(load_fashion_mnist(cache=tmp_path))
    assert len(bad.asked) == 1  # and is not asked again for the other files
    assert sorted(good.asked) == sorted(FILES)
    assert files_in(tmp_path) == sorted(FILES)


def test_a_mirror_with_some_of_the_files_is_used_for_these(tmp_path, mirror, use):
    """Otherwise the files have to come from one mirror."""
    names = sorted(FILES)
    first = mirror({name: good_pages()[name] for name in names[:2]})
    second = mirror({name: good_pages()[name] for name in names[2:]})
    use(first.url, second.url)
    check_small(load_fashion_mnist(cache=tmp_path))


def test_when_all_mirrors_fail_each_is_named(tmp_path, mirror, use, refused):
    """Otherwise the user cannot tell a firewall from a data set that is gone."""
    bad = [mirror(pages) for pages in ({}, html_pages(), cut_pages())]
    use(refused, *(server.url for server in bad))
    with pytest.raises(DownloadError) as caught:
        load_fashion_mnist(cache=tmp_path)
    lines = str(caught.value).splitlines()
    assert isinstance(caught.value, OSError)
    assert "train-images-idx3-ubyte.gz could not be downloaded" in lines[0]
    assert str(tmp_path) in lines[0]
    for line, url, reason in zip(
        lines[1:5],
        [refused, *(server.url for server in bad)],
        ["refused", "404", "does not match the known hash", "more expected"],
        strict=True,
    ):
        assert url in line
        assert reason in line
    assert 'xpnet.load_idx("folder")' in lines[-1]
    assert files_in(tmp_path) == []


def test_where_the_cache_is(tmp_path, mirror, use, monkeypatch):
    """Otherwise the argument, the environment or the default is not obeyed, in this order."""
    import pooch

    use(mirror(good_pages()).url)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "default" / project)
    load_fashion_mnist()
    assert files_in(tmp_path / "default" / "xpnet" / "fashion-mnist") == sorted(FILES)
    monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "environment"))
    load_fashion_mnist()
    assert files_in(tmp_path / "environment") == sorted(FILES)
    load_fashion_mnist(cache=tmp_path / "argument")
    assert files_in(tmp_path / "argument") == sorted(FILES)


def test_a_cache_that_cannot_be_made_is_named(tmp_path, mirror, use):
    """Otherwise the message blames the mirrors."""
    server = mirror(good_pages())
    use(server.url)
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=r"cannot make the cache folder .*XPNET_CACHE"):
        load_fashion_mnist(cache=tmp_path / "file")
    assert server.asked == []


def test_without_pooch_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    """Otherwise an optional dependency fails without help."""
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pooch"):
        load_fashion_mnist(cache=tmp_path)


def test_the_table_of_fashion_mnist():
    """Otherwise a slip in the table makes every download fail, and no test here would see it."""
    source = download.FASHION_MNIST
    assert set(source.sha256) == {f"{name}.gz" for name in MNIST_SHA256}
    assert all(len(bytes.fromhex(digest)) == 32 for digest in source.sha256.values())
    assert len(set(source.mirrors)) >= 2
    assert all(url.startswith("http") and url.endswith("/") for url in source.mirrors)
