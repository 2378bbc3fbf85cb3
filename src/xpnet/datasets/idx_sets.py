"""Data sets: the embedded MNIST, any folder of IDX files, Fashion-MNIST by download.

Files are read on the host, as NumPy arrays of bytes. Bytes are what moves to the device; they
become floating-point numbers there, so that a GPU receives a quarter of the traffic.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import Placement, place
from ..checks import file_path, switch
from . import download
from .idx import IDXError, read_idx
from .shards import data_folder

Split = tuple[Any, Any]  # images, labels

# (images, labels) of the training and of the test set, by the names that MNIST gave them.
_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_SUFFIXES = ("", ".xz", ".gz")  # in the order of preference
_MAX_ONE_HOT = 1 << 30  # numbers: one damaged label of 2**31 must not fill the memory


def load_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False, *,
    xp: Any = None, device: Any = None, dtype: Any = None,
) -> tuple[Split, Split]:  # fmt: skip
    """Load the MNIST handwritten digits. They come with the package: no network is needed.

    60,000 training and 10,000 test images of 28 x 28 pixels, of the digits 0 to 9.

    Parameters
    ----------
    normalize : bool, optional
        True: pixels are divided by 255 and lie in [0, 1], in `dtype`. False: uint8, 0 to 255.
    flatten : bool, optional
        True: images are rows, (n, 784). False: (n, 28, 28).
    one_hot_label : bool, optional
        True: labels are one-hot rows, (n, 10), in `dtype`. False: class indices, (n,), int64
        (int32 where the library has no 64-bit integers turned on).
    xp : module or str, optional
        The array library, as for `xpnet.place`. None means NumPy.
    device : optional
        Whatever the library takes. None means its default.
    dtype : str or dtype, optional
        The floating-point dtype. None means float32.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)
        Four arrays, on the device.

    Raises
    ------
    TypeError
        One of the three switches is not a bool.
    xpnet.BackendNotAvailable
        The library is not installed or has no such device.

    See Also
    --------
    load_idx : The same for a folder of your own.
    load_fashion_mnist : A harder data set of the same shape.

    Notes
    -----
    Y. LeCun and C. Cortes, The MNIST database of handwritten digits, CC BY-SA 3.0.

    Examples
    --------
    >>> import xpnet
    >>> (x_train, t_train), (x_test, t_test) = xpnet.load_mnist()
    >>> x_train.shape, x_train.dtype, x_test.shape
    ((60000, 784), dtype('float32'), (10000, 784))
    >>> t_train[:5]
    array([5, 0, 4, 1, 9])
    """
    form = _Form(normalize, flatten, one_hot_label, place(xp, device, dtype))
    return _load(find_files(Path(__file__).with_name("mnist")), form)


def load_idx(
    directory: str | os.PathLike[str],
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False, *,
    prefix: str | None = None, xp: Any = None, device: Any = None, dtype: Any = None,
) -> tuple[Split, Split]:  # fmt: skip
    """Load a folder of the four IDX files that MNIST and its many relatives come in.

    The files are ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``,
    ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte``; a dot before ``idx`` is accepted
    too, as is ``test`` for ``t10k``. Each is plain or compressed, with ``.xz`` or ``.gz`` after
    its name; of several, the plain one is read, or else the ``.xz``. Names may begin with a prefix,
    such as EMNIST's ``emnist-letters-train-images-idx3-ubyte``; labels may have several columns,
    as QMNIST's ``qmnist-train-labels-idx2-int``: the first is the class.

    Parameters
    ----------
    directory : str or path-like
        The folder.
    normalize : bool, optional
        As for `load_mnist`.
    flatten : bool, optional
        True: images are rows, (n, rows * columns). False: (n, rows, columns).
    one_hot_label : bool, optional
        True: labels are one-hot rows, (n, classes), in `dtype`, where classes is the largest
        label of both sets and 1. False: class indices, as for `load_mnist`.
    prefix : str, optional
        What the names begin with, such as "emnist-letters". None: nothing, or else the one prefix
        that the folder has.
    xp, device, dtype : optional
        As for `load_mnist`.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)
        Four arrays, on the device.

    Raises
    ------
    FileNotFoundError
        The folder or one of the files is missing; the message has the names looked for.
    NotADirectoryError
        `directory` is a file.
    IDXError
        A file is damaged, is not of the right kind (uint8 images of three dimensions,
        integer labels, none negative), is empty, or does not fit its partner. Or the folder has
        files of several prefixes.
    TypeError
        One of the three switches is not a bool.
    xpnet.BackendNotAvailable
        The library is not installed or has no such device.

    See Also
    --------
    load_mnist : The embedded MNIST.
    read_idx : One file, of any shape and dtype.

    Examples
    --------
    >>> from pathlib import Path
    >>> import xpnet
    >>> folder = Path(xpnet.datasets.__file__).with_name("mnist")  # where xpnet keeps its own
    >>> (x_train, t_train), (x_test, t_test) = xpnet.load_idx(
    ...     folder, normalize=False, flatten=False, one_hot_label=True
    ... )
    >>> x_test.shape, x_test.dtype, t_test.shape
    ((10000, 28, 28), dtype('uint8'), (10000, 10))
    """
    form = _Form(normalize, flatten, one_hot_label, place(xp, device, dtype))
    return _load(find_files(data_folder(directory, "directory", "IDX files"), prefix), form)


def load_fashion_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False, *,
    cache: str | os.PathLike[str] | None = None,
    xp: Any = None, device: Any = None, dtype: Any = None,
) -> tuple[Split, Split]:  # fmt: skip
    """Load Fashion-MNIST, 31 MB, downloaded once with pooch and kept in a cache.

    60,000 training and 10,000 test images of 28 x 28 pixels, of ten kinds of clothing. The
    checksum of each file is known; a mirror that fails or has another file is passed over.

    Parameters
    ----------
    normalize, flatten, one_hot_label : bool, optional
        As for `load_mnist`: the images have the same size, the labels are of ten classes too.
    cache : str or path-like, optional
        The folder for downloads. None means the environment variable ``XPNET_CACHE``, or else
        ``pooch.os_cache("xpnet")``.
    xp, device, dtype : optional
        As for `load_mnist`.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)
        Four arrays, on the device.

    Raises
    ------
    ModuleNotFoundError
        pooch is not installed; the message has the line that installs it.
    DownloadError
        Every mirror failed; the message says how each did.
    TypeError
        One of the three switches is not a bool.
    xpnet.BackendNotAvailable
        The library is not installed or has no such device.

    See Also
    --------
    load_mnist : What the two data sets share.
    load_idx : The same for files that you have already.

    Notes
    -----
    H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking
    machine learning algorithms", arXiv:1708.07747, 2017. MIT licence, Zalando SE.

    Examples
    --------
    >>> import xpnet
    >>> (x_train, t_train), (x_test, t_test) = xpnet.load_fashion_mnist()  # doctest: +SKIP
    """
    form = _Form(normalize, flatten, one_hot_label, place(xp, device, dtype))
    if cache is not None:
        cache = file_path(cache, "cache")
    fetched = download.fetch(download.FASHION_MNIST, cache)
    return _load({name.removesuffix(".gz"): path for name, path in fetched.items()}, form)


@dataclass(frozen=True)
class _Form:
    """What the caller wants of images and labels, and where."""

    normalize: bool
    flatten: bool
    one_hot_label: bool
    placement: Placement

    def __post_init__(self) -> None:
        # A library's name given by position would otherwise be taken for normalize=True.
        for name in ("normalize", "flatten", "one_hot_label"):
            switch(getattr(self, name), name)

    def place_images(self, images: np.ndarray) -> Any:
        """Move uint8 images, (n, rows, columns), to the device in the wanted form."""
        if self.flatten:
            images = images.reshape(len(images), -1)
        x = self.placement.asarray(images)
        if self.normalize:
            x = self._floats(x)
            x /= 255
        return x

    def place_labels(self, labels: np.ndarray, classes: int) -> Any:
        """Move int64 labels, (n,), to the device in the wanted form."""
        if not self.one_hot_label:
            return self.placement.asarray(labels)
        one_hot = np.zeros((len(labels), classes), dtype=np.uint8)
        one_hot[np.arange(len(labels)), labels] = 1
        return self._floats(self.placement.asarray(one_hot))

    def _floats(self, array: Any) -> Any:
        return self.placement.xp.astype(array, self.placement.dtype)


def find_files(folder: Path, prefix: str | None = None) -> dict[str, Path]:
    """Find the four files in a folder, whatever their spelling and compression."""
    if prefix is not None and not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, not {type(prefix).__name__}")
    begins = _only_prefix(folder) if prefix is None else prefix and f"{prefix.rstrip('-')}-"
    paths = {}
    for name in _TRAIN + _TEST:
        looked_for = [f"{begins}{word}{end}" for word in _spellings(name) for end in _SUFFIXES]
        # is_file: some archives unpack each file into a folder of the same name.
        found = [folder / candidate for candidate in looked_for if (folder / candidate).is_file()]
        if not found:
            raise FileNotFoundError(
                f"{folder} has no {begins}{name}; looked for {', '.join(looked_for)}"
            )
        # The plain one, else the .xz, of whatever spelling.
        paths[name] = min(found, key=lambda path: _SUFFIXES.index(_suffix(path)))
    return paths


def _spellings(name: str) -> list[str]:
    """Return the names that a file may have, MNIST's own first."""
    names = [name, name.replace("idx1-ubyte", "idx2-int")] if "labels" in name else [name]
    names += [word.replace("t10k", "test") for word in names if word.startswith("t10k")]
    return [spelling for word in names for spelling in (word, word.replace("-idx", ".idx"))]


def _suffix(path: Path) -> str:
    return path.suffix if path.suffix in _SUFFIXES else ""


def prefixes(folder: Path) -> list[str]:
    """Return what the names of training images in a folder begin with, "" among them."""
    ends = tuple(word + end for word in _spellings(_TRAIN[0]) for end in _SUFFIXES)
    found = set()
    for path in folder.iterdir():
        for end in ends:
            begins = path.name.removesuffix(end)
            if begins != path.name and (not begins or begins.endswith("-")):
                found.add(begins)
    return sorted(found)


def _only_prefix(folder: Path) -> str:
    found = prefixes(folder)
    if "" in found or not found:
        return ""
    if len(found) > 1:
        names = ", ".join(repr(begins.rstrip("-")) for begins in found)
        raise IDXError(
            f"{folder}: expected IDX files of one prefix, found {names}: choose with prefix= "
            "(--prefix)"
        )
    return found[0]


def _load(paths: dict[str, Path], form: _Form) -> tuple[Split, Split]:
    """Read and check the four files, then place their arrays."""
    sets = read_sets(paths)
    classes = 1 + int(max(t.max() for _, t in sets))
    if form.one_hot_label and sum(len(t) for _, t in sets) * classes > _MAX_ONE_HOT:
        raise IDXError(
            f"{paths[_TRAIN[1]]} and {paths[_TEST[1]]}: expected labels that fit one-hot rows, "
            f"found {classes - 1}; load them with one_hot_label=False"
        )
    train, test = ((form.place_images(x), form.place_labels(t, classes)) for x, t in sets)
    return train, test


def read_sets(paths: dict[str, Path]) -> tuple[Split, Split]:
    """Read and check the four files: images (n, rows, columns), uint8, and labels, int64."""
    train_paths, test_paths = ([paths[name] for name in names] for names in (_TRAIN, _TEST))
    x_train, t_train = _read_set(*train_paths)
    x_test, t_test = _read_set(*test_paths)
    if x_test.shape[1:] != x_train.shape[1:]:
        raise IDXError(
            f"{test_paths[0]}: expected images of {x_train.shape[1:]} pixels, as in "
            f"{train_paths[0]}, found {x_test.shape[1:]}"
        )
    return (x_train, t_train), (x_test, t_test)


def _read_set(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read images, (n, rows, columns) uint8, and their labels, (n,) int64."""
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise IDXError(
            f"{images_path}: expected images as uint8 of shape (n, rows, columns), "
            f"found {images.dtype} of shape {images.shape}"
        )
    if labels.ndim == 2 and labels.dtype == np.int32 and labels.shape[1]:
        labels = labels[:, 0]  # QMNIST's: the class, then where the digit is from
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise IDXError(
            f"{labels_path}: expected labels as integers of shape (n,), "
            f"found {labels.dtype} of shape {labels.shape}"
        )
    if len(images) != len(labels):
        raise IDXError(
            f"{labels_path}: expected one label for each of the {len(images)} images of "
            f"{images_path}, found {len(labels)}"
        )
    if not images.size:
        raise IDXError(f"{images_path}: expected images, found none: shape {images.shape}")
    if labels.min() < 0:
        raise IDXError(f"{labels_path}: expected labels from 0 up, found {labels.min()}")
    return images, labels.astype(np.int64)
