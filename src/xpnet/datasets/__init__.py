"""Data sets: the embedded MNIST, folders of IDX files, Fashion-MNIST, and data of your own."""

from .download import DownloadError
from .idx import IDXError, read_idx
from .idx_sets import load_fashion_mnist, load_idx, load_mnist
from .on_disk import RowsOnDisk
from .pictures import Images, load_images
from .shards import open_shards
from .tables import Table, load_table

__all__ = [
    "DownloadError", "IDXError", "Images", "RowsOnDisk", "Table", "load_fashion_mnist", "load_idx",
    "load_images", "load_mnist", "load_table", "open_shards", "read_idx",
]  # fmt: skip
