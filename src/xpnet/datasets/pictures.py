"""Folders of image files, a folder for each class, as images for a net."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, Host
from ..backend import place
from ..checks import file_path, positive_integer, switch
from ..files import FileError, said
from .described import needed, numbers_of, place_rows, place_target, refuse_large, refuse_many

# Images of one channel of 8 bits, some with transparency.
_GRAY = ("1", "L", "LA")
_ORIENTATION = 0x0112  # of EXIF


@dataclass(frozen=True)
class Images:
    """What was learned of a folder of images; `xpnet.load_images` makes it.

    Attributes
    ----------
    size : tuple of int
        Height and width that every image is brought to.
    gray : bool
        Whether images have one channel in place of three.
    class_names : tuple of str
        The names of the folders.
    resized : bool
        Whether images of other sizes are taken.
    """

    kind: ClassVar[str] = "images"
    target: ClassVar[str] = "class"
    size: tuple[int, int]
    gray: bool
    class_names: tuple[str, ...]
    resized: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a row of x: channels, height, width."""
        return (1 if self.gray else 3, *self.size)

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python objects, for JSON."""
        return {
            "kind": self.kind, "size": list(self.size), "gray": self.gray,
            "class_names": list(self.class_names), "resized": self.resized,
        }  # fmt: skip

    @classmethod
    def of_dict(cls, described: dict[str, Any]) -> Images:
        """Return what `to_dict` has described; any error where it is no such thing."""
        height, width = (positive_integer(n, "size") for n in described["size"])
        names = tuple(map(str, described["class_names"]))
        gray, resized = (switch(described[name], name) for name in ("gray", "resized"))
        return cls((height, width), gray, names, resized)

    def load(
        self, source: str | os.PathLike[str], *, xp: Any = None, device: Any = None,
        dtype: Any = None,
    ) -> tuple[Array, Array | None]:  # fmt: skip
        """Turn other images into what the net takes, exactly as those of the training were.

        Parameters
        ----------
        source : path
            A folder of a folder for each class, a folder of images, or one image.
        xp, device, dtype : optional
            As for `xpnet.place`.

        Returns
        -------
        x : array, (n, channels, height, width)
        t : array, (n,), or None
            None where the images are not in folders of classes.

        Raises
        ------
        FileError
            There are no images, one cannot be read or has another size, or a folder has the name
            of no class. The message names the file.
        """
        where = place(xp, device, dtype)
        x, t = self.read(source)
        return place_rows(where, x), None if t is None else place_target(where, t)

    def read(
        self, source: Any, *, labels: bool = True, dtype: str = "float32"
    ) -> tuple[Host, Host | None]:
        """Return what `load` does on the host, pixels as uint8; `dtype` is for tables."""
        files, words = image_files(source)
        known = None
        if words is not None and labels:
            known = numbers_of(words, self.class_names, source, "class")
        return read_pixels(files, self.size, self.gray, self.resized), known


def load_images(
    folder: str | os.PathLike[str], *, size: int | Sequence[int] | None = None, gray: bool = False,
    xp: Any = None, device: Any = None, dtype: Any = None,
) -> tuple[Array, Array, Images]:  # fmt: skip
    """Load a folder that has a folder of image files for each class.

    In the order of the folders' names, and of the files' within each; what is no image by the
    ending of its name is passed over.

    Parameters
    ----------
    folder : str or path-like
        Such as ``animals`` with ``animals/cat/1.png``, ``animals/dog/1.jpg``, ...
    size : int or (height, width), optional
        Bring every image to this size. None: they must all have the same.
    gray : bool, optional
        Make one channel of colours. Images that are all gray have one in any case.
    xp, device, dtype : optional
        As for `xpnet.place`.

    Returns
    -------
    x : array, (n, channels, height, width)
        In [0, 1], in `dtype`.
    t : array, (n,)
        Class indices.
    description : Images
        What was learned: ``class_names``; ``load``, which turns other images into what the net
        takes; and ``to_dict``, for ``net.data``.

    Raises
    ------
    ModuleNotFoundError
        Pillow is missing; the message has the line that installs it.
    FileError
        There are fewer than two classes, an image cannot be read, or the sizes differ.
    OSError
        The folder is not there, or cannot be read.

    See Also
    --------
    load_table : The same for a table.

    Examples
    --------
    >>> import pathlib, tempfile, xpnet
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("dark", "light"):
    ...         path = pathlib.Path(folder, name, "1.png")
    ...         path.parent.mkdir()
    ...         Image.new("L", (4, 2), 255 * (name == "light")).save(path)
    ...     x, t, description = xpnet.load_images(folder)
    >>> x.shape, t, description.class_names
    ((2, 1, 2, 4), array([0, 1]), ('dark', 'light'))
    """
    where = place(xp, device, dtype)
    x, t, description = read_images(folder, size, gray)
    return place_rows(where, x), place_target(where, t), description


def read_images(
    folder: Any, size: int | Sequence[int] | None = None, gray: bool = False
) -> tuple[Host, Host, Images]:
    """Return what `load_images` does on the host, pixels as uint8."""
    switch(gray, "gray")
    wanted = _size(size)
    files, words = image_files(folder)
    if words is None or len(set(words)) < 2:
        found = "none" if words is None else f"only {words[0]!r}"
        raise FileError(
            f"{folder}: expected a folder of images for each of two or more classes, found {found}"
        )
    names = tuple(sorted(set(words)))
    refuse_many(len(names), folder, "class")
    looked = [_look(path) for path in files]
    gray = gray or all(mode in _GRAY for _, mode in looked)
    first = looked[0][0]
    for path, (found_size, _) in zip(files, looked, strict=True):
        if wanted is None and found_size != first:
            raise FileError(
                f"{path}: expected {_times(first)} pixels, as in {files[0]}, found "
                f"{_times(found_size)}: give size= (--size)"
            )
    description = Images(wanted or first, gray, names, wanted is not None)
    refuse_large(description.to_dict(), folder)
    pixels = read_pixels(files, description.size, gray, description.resized)
    return pixels, numbers_of(words, names, folder, "class"), description


def image_files(source: Any) -> tuple[list[Path], list[str] | None]:
    """Return image files in order, and the folder of each where they are in folders of classes."""
    path = file_path(source, "folder")
    if path.is_file():
        return [path], None
    endings = needed("PIL.Image", "reading images", "pillow").registered_extensions()

    def images(folder: Path) -> list[Path]:
        inside = sorted(folder.iterdir())
        return [p for p in inside if p.suffix.lower() in endings and p.is_file()
                and not p.name.startswith(".")]  # fmt: skip

    inside = sorted(path.iterdir())  # the system's own error where it is not there
    classes = [p for p in inside if p.is_dir() and not p.name.startswith((".", "__"))]
    pairs = [(file, folder.name) for folder in classes for file in images(folder)]
    flat = images(path)
    if pairs and flat:
        raise FileError(
            f"{path}: expected images or folders of them, found both, such as {flat[0].name} and "
            f"{pairs[0][1]}"
        )
    empty = [folder.name for folder in classes if folder.name not in {name for _, name in pairs}]
    if pairs and empty:
        raise FileError(f"{path / empty[0]}: expected images, found none")
    if pairs:
        return [file for file, _ in pairs], [name for _, name in pairs]
    if not flat:
        raise FileError(f"{path}: expected a folder of images for each class, found no image")
    return flat, None


def read_pixels(files: Sequence[Path], size: tuple[int, int], gray: bool, resized: bool) -> Host:
    """Return images as uint8, (n, channels, height, width)."""
    image = needed("PIL.Image", "reading images", "pillow")
    ops = needed("PIL.ImageOps", "reading images", "pillow")
    pixels = np.empty((len(files), *size, 1 if gray else 3), dtype=np.uint8)
    for i, path in enumerate(files):
        with _opened(path) as opened:
            if opened.mode.startswith(("I", "F")):
                raise FileError(f"{path}: expected 8 bits a channel, found {opened.mode!r}")
            whole = ops.exif_transpose(opened).convert("L" if gray else "RGB")
            if (whole.height, whole.width) != size:
                if not resized:
                    raise FileError(
                        f"{path}: expected {_times(size)} pixels, as the net was trained with, "
                        f"found {_times((whole.height, whole.width))}"
                    )
                whole = whole.resize(size[::-1], image.Resampling.BILINEAR)
            pixels[i] = np.asarray(whole).reshape(pixels.shape[1:])
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an image file; whatever is wrong with it is a FileError with its name."""
    image = needed("PIL.Image", "reading images", "pillow")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of metadata that nobody needs
            # Pillow only warns of as many pixels as may be meant to fill the memory.
            warnings.simplefilter("error", image.DecompressionBombWarning)
            with image.open(path) as opened:
                yield opened
    except FileError:
        raise
    except Exception as error:  # whatever a stranger's image can be wrong in
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno):
            raise
        raise FileError(f"{path}: expected an image, found: {said(error)}") from error


def _look(path: Path) -> tuple[tuple[int, int], str]:
    """Return height and width, and the mode, of an image file; its pixels are not read."""
    with _opened(path) as image:
        lies = image.getexif().get(_ORIENTATION, 1) > 4  # a camera that was held upright
        return (image.width, image.height) if lies else (image.height, image.width), image.mode


def _size(size: int | Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    pair: list[Any] = [*size] if isinstance(size, (list, tuple)) else [size, size]
    if len(pair) != 2:
        raise ValueError(f"size must be a number or (height, width), not {size!r}")
    height, width = (positive_integer(n, "size") for n in pair)
    return height, width


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
