"""Downloads of public data sets: several mirrors, pinned checksums, one cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT = 30  # seconds without a byte, not in all


@dataclass(frozen=True)
class RemoteDataset:
    """A public data set: where it lies and what its files must be.

    Attributes
    ----------
    name
        The folder in the cache.
    mirrors
        Addresses that end in a slash; tried in this order.
    sha256
        From the name of each file to its SHA-256, in hexadecimal digits.
    """

    name: str
    mirrors: tuple[str, ...]
    sha256: dict[str, str]


# The compressed files as published, as sha256sum prints them. The same four checksums stand in
# Keras (keras/src/datasets/fashion_mnist.py) and in TFDS (url_checksums/fashion_mnist.txt).
_FASHION_MNIST_SHA256 = """\
3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84  train-images-idx3-ubyte.gz
a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845  train-labels-idx1-ubyte.gz
346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073  t10k-images-idx3-ubyte.gz
67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5  t10k-labels-idx1-ubyte.gz
"""
FASHION_MNIST = RemoteDataset(
    name="fashion-mnist",
    mirrors=(
        # The publisher's own: its repository, and the address that its README gives.
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        # The copy that Keras downloads.
        "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
    ),
    sha256={name: sha256 for sha256, name in map(str.split, _FASHION_MNIST_SHA256.splitlines())},
)


class DownloadError(OSError):
    """No mirror had the right file; the message names each and how it failed."""


def fetch(dataset: RemoteDataset, cache: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Make sure that the files of a data set lie in the cache, with the right checksums.

    A file that is there already needs no network. A mirror that fails, or whose file has
    another checksum, moves on to the next. A file appears under its name only when it is whole.

    Parameters
    ----------
    dataset : RemoteDataset
        Where it lies, and its checksums.
    cache : str or path-like, optional
        The folder for downloads; by default the environment variable ``XPNET_CACHE``, or else
        the user's cache folder.

    Returns
    -------
    dict of str to Path
        From the name of each file to its place in the cache.

    Raises
    ------
    ModuleNotFoundError
        pooch is not installed.
    DownloadError
        The cache cannot be made, or all mirrors failed.

    Examples
    --------
    >>> from xpnet.datasets.download import FASHION_MNIST, fetch
    >>> paths = fetch(FASHION_MNIST)  # doctest: +SKIP
    """
    try:
        import pooch  # only where a download is asked for: xpnet does not depend on it
    except ImportError as error:
        raise ModuleNotFoundError(
            "downloads need pooch, which is not installed; install it with: pip install pooch",
            name="pooch",
        ) from error
    chosen = cache or os.environ.get("XPNET_CACHE") or pooch.os_cache("xpnet")
    folder = Path(chosen).expanduser() / dataset.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(
            f"cannot make the cache folder {folder} ({error}); "
            "choose another by the argument cache or the environment variable XPNET_CACHE"
        ) from error
    mirrors = list(dataset.mirrors)
    return {name: _fetch_file(name, sha, mirrors, folder) for name, sha in dataset.sha256.items()}


def _fetch_file(name: str, sha256: str, mirrors: list[str], folder: Path) -> Path:
    """Fetch one file; moves the mirror that had it to the front of `mirrors`."""
    import pooch

    # The files are compressed already: a server must not wrap them once more.
    download = pooch.HTTPDownloader(timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})
    failures = []
    for mirror in mirrors:
        try:
            path = pooch.retrieve(
                mirror + name, f"sha256:{sha256}", fname=name, path=folder, downloader=download
            )
        except (OSError, ValueError) as error:  # the network's, the disk's; a wrong checksum
            failures.append(f"  {mirror}{name}: {error}")
        else:
            # To the front: a dead mirror costs its timeout once, not for each file.
            mirrors.sort(key=lambda other: other != mirror)
            return Path(path)
    raise DownloadError(
        f"{name} could not be downloaded to {folder}; the mirrors tried:\n"
        + "\n".join(failures)
        + '\nIf you have the files, load them from their folder: xpnet.load_idx("folder")'
    )
