"""Data sets: the embedded MNIST, any folder of IDX files, Fashion-MNIST by download."""

from .download import DownloadError
from .idx import IDXError, read_idx
from .idx_sets import load_fashion_mnist, load_idx, load_mnist
from .on_disk import RowsOnDisk
from .shards import open_shards

__all__ = [
    "DownloadError", "IDXError", "RowsOnDisk", "load_fashion_mnist", "load_idx", "load_mnist",
    "open_shards", "read_idx",
]  # fmt: skip
