"""Layers of images: convolution and pooling; backward under forward."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, Host, Params, array_namespace
from ..checks import positive_integer
from .base import Layer, Shape, checked_weight_init, first_weights
from .windows import (
    Pair,
    Windows,
    bordered,
    correlated,
    correlation,
    inside,
    outside,
    pair,
    short,
    uncorrelated,
)  # fmt: skip


def _image(inputs: Shape) -> Pair:
    """Return height and width of images, or raise where the inputs are none."""
    if len(inputs) != 3:
        raise ValueError(
            f"it takes images (channels, height, width), and is given rows of shape {inputs}; "
            "input_shape=(1, 28, 28), say, makes images of a net's input"
        )
    return inputs[1], inputs[2]


@dataclass(frozen=True)
class Convolution(Layer):
    """Convolution of images: each filter's sum over a window, at every place of the window.

    y[n, f, r, s] = b[f] + sum over c, i, j of W[f, c, i, j] x[n, c, r · stride + i, s · stride + j]
    (LeCun et al., *Gradient-based learning applied to document recognition*, 1998). As everywhere
    in this field, the filters are not turned round: mathematics calls it a correlation.

    Parameters
    ----------
    filters : int
        Channels of the output.
    size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int)
        From one place of the window to the next.
    padding : int or (int, int)
        Zeros around an image, on each side. (size - 1) / 2 keeps an image's size.
    weight_init : str or float
        How W begins: "he" (variance 2 / in, where a filter has in = channels · height · width
        weights; He et al., 2015), "xavier" (2 / (in + out)), or the standard deviation. b begins
        at 0.

    Raises
    ------
    TypeError, ValueError
        An argument is no such number. In a net: the input is no image, or the window is larger.

    Examples
    --------
    >>> Convolution(30, 5).shapes((1, 28, 28))
    ({'W': (30, 1, 5, 5), 'b': (30,)}, (30, 24, 24))
    """

    filters: int
    size: int | Pair
    _: KW_ONLY
    stride: int | Pair = 1
    padding: int | Pair = 0
    weight_init: str | float = "he"
    penalized: ClassVar[tuple[str, ...]] = ("W",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "filters", positive_integer(self.filters, "filters"))
        for name, least in (("size", 1), ("stride", 1), ("padding", 0)):
            object.__setattr__(self, name, short(pair(getattr(self, name), name, least)))
        checked_weight_init(self.weight_init)

    @property
    def _windows(self) -> Windows:
        """The windows that the filters see."""
        return Windows(
            pair(self.size, "size"), pair(self.stride, "stride"), pair(self.padding, "padding", 0)
        )

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return the shapes of W and b, and of the output."""
        places = self._windows.places(_image(inputs))
        weights = self.filters, inputs[0], *self._windows.size
        return {"W": weights, "b": (self.filters,)}, (self.filters, *places)

    def first(self, inputs: Shape, rng: np.random.Generator) -> dict[str, Host]:
        """Return the values with which W and b begin."""
        shape = self.filters, inputs[0], *self._windows.size
        window = math.prod(self._windows.size)
        sides = inputs[0] * window, self.filters * window
        weights = first_weights(shape, self.weight_init, *sides, rng)
        return {"W": weights, "b": np.zeros(self.filters)}

    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the images of the filters' sums."""
        image = x.shape[2:]
        x = bordered(inside(x), self._windows)
        return outside(correlated(x, p["W"], p["b"], self._unpadded)), (x, image)

    def gradient(self, p: Params, kept: Any, d: Array) -> Params:
        """Return for W the sum of the windows times `d`, for b the sum of `d`."""
        xp, d = array_namespace(d), inside(d)
        sums = xp.sum(xp.reshape(d, (d.shape[0], -1)), axis=1)
        return {"W": correlation(kept[0], d, self._unpadded), "b": sums}

    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return to each number the weights that have seen it, times `d` at their places."""
        return outside(uncorrelated(inside(d), p["W"], self._windows, kept[1]))

    @property
    def _unpadded(self) -> Windows:
        return Windows(self._windows.size, self._windows.stride)


@dataclass(frozen=True)
class _Pool(Layer):
    size: int | Pair
    _: KW_ONLY
    stride: int | Pair | None = None

    def __post_init__(self) -> None:
        stride = self.size if self.stride is None else self.stride
        for name, value in (("size", self.size), ("stride", stride)):
            object.__setattr__(self, name, short(pair(value, name)))

    @property
    def _windows(self) -> Windows:
        """The windows, of each of which one number is made."""
        return Windows(pair(self.size, "size"), pair(self.stride, "stride"))

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return no parameters, and the shape of the smaller images."""
        return {}, (inputs[0], *self._windows.places(_image(inputs)))

    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return one number for each window."""
        x = inside(x)
        y = self._pooled([*self._windows.slices(x, self._windows.places(x.shape[1:3]))])
        return outside(y), (x, y)

    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return each window's gradient at the numbers that it is made of."""
        x, y = kept
        d = inside(d)
        slices = self._windows.slices(x, self._windows.places(x.shape[1:3]))
        return outside(self._windows.placed([*self._shared(d, y, slices)], x.shape[1:3]))

    @abc.abstractmethod
    def _pooled(self, slices: list[Array]) -> Array:
        """Return one number for each window, of the numbers at each of its places."""

    @abc.abstractmethod
    def _shared(self, d: Array, y: Array, slices: Iterable[Array]) -> Iterable[Array]:
        """Yield what of `d` goes to each place of the windows."""


@dataclass(frozen=True)
class MaxPool(_Pool):
    """The largest number of each window.

    Where several are largest, the first of them, row by row, gets the gradient.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int), optional
        From one place of the window to the next; None: the window's size. What is left over at
        the right and below is not looked at.

    Raises
    ------
    TypeError, ValueError
        An argument is no such number. In a net: the input is no image, or the window is larger.

    Examples
    --------
    >>> MaxPool(2).shapes((30, 24, 24))
    ({}, (30, 12, 12))
    """

    def _pooled(self, slices: list[Array]) -> Array:
        y, xp = slices[0], array_namespace(slices[0])
        for other in slices[1:]:
            y = xp.maximum(y, other)
        return y

    def _shared(self, d: Array, y: Array, slices: Iterable[Array]) -> Iterable[Array]:
        xp, *others = array_namespace(d), *slices
        for part in others[:-1]:
            share = xp.astype(part == y, d.dtype)
            share *= d
            yield share
            d -= share  # nothing is left for another that is as large
        yield d


@dataclass(frozen=True)
class AveragePool(_Pool):
    """The mean of each window.

    Parameters
    ----------
    size, stride
        As for `MaxPool`.

    Raises
    ------
    TypeError, ValueError
        As `MaxPool`.

    Examples
    --------
    >>> AveragePool(2).shapes((30, 24, 24))
    ({}, (30, 12, 12))
    """

    def _pooled(self, slices: list[Array]) -> Array:
        return sum(slices[1:], start=slices[0]) / len(slices)

    def _shared(self, d: Array, y: Array, slices: Iterable[Array]) -> Iterable[Array]:
        count = math.prod(self._windows.size)
        d /= count
        return [d] * count


@dataclass(frozen=True)
class Shift(Layer):
    """While training, each image is moved by some pixels at random, in each step anew.

    Up or down, and to either side, with zeros where nothing was; so a net sees more images than
    there are (Simard, Steinkraus and Platt, *Best practices for convolutional neural networks
    applied to visual document analysis*, 2003). The offsets are drawn on the host, from the seed of
    `fit`, which moves the images before they enter the net; all else leaves them as they are. It
    must be the first layer.

    Parameters
    ----------
    most : int
        Pixels in each direction, at least 1.

    Raises
    ------
    TypeError, ValueError
        `most` is no such number. In a net: the input is no image, or nothing would be left of it.

    Examples
    --------
    >>> Shift(2).shapes((1, 28, 28))
    ({}, (1, 28, 28))
    """

    most: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "most", positive_integer(self.most, "most"))

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return no parameters, and the shape of the images."""
        if self.most >= min(_image(inputs)):
            raise ValueError(f"nothing would be left of images of {inputs[1]}×{inputs[2]}")
        return {}, inputs

    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return x, which `fit` has moved."""
        return x, None

    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return d."""
        return d
