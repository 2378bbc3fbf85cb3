"""The textbook's functions: cross-entropy, the numerical gradient, im2col, data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import is_writeable_array

from .. import datasets, losses
from ..arrays import Array, array_namespace, library_of
from ..backend.table import placement_of
from ..gradients.numerical import differenced
from ..layers.windows import Windows, bordered, fitted, inside, outside

STEP = 1e-4  # of the textbook's numerical gradients


def target_of(y: Array, t: Array) -> Array:
    """Return labels, or one-hot rows, of any shape that holds them as rows like those of `y`."""
    xp = array_namespace(t)
    if math.prod(t.shape) == math.prod(y.shape):
        return xp.astype(xp.reshape(t, y.shape), y.dtype)
    return losses.one_hot(xp.reshape(t, y.shape[:-1]), y.shape[-1], y.dtype)


def cross_entropy_error(y: Array, t: Array) -> Array:
    """Mean over the batch of -log(y[t] + 1e-7), from probabilities.

    Parameters
    ----------
    y : array, (classes,) or (n, classes)
    t : array
        One-hot, or class indices; (n, 1) is taken too.

    Returns
    -------
    array, 0-d

    Examples
    --------
    >>> round(float(cross_entropy_error(np.asarray([[0.25, 0.75]]), np.asarray([[1]]))), 4)
    0.2877
    """
    return losses.cross_entropy_error(y, target_of(y, t))


def numerical_gradient(f: Callable[[Array], Any], x: Array) -> Array:
    """Gradient by central differences with the step 1e-4: `x` itself is moved, and put back.

    Parameters
    ----------
    f : callable
        Its argument is `x`, so that it may ignore it where it computes with `x` otherwise.
    x : array, floating point
        One that can be written to, which JAX's cannot: TypeError.

    Returns
    -------
    array, of the shape of `x`

    Examples
    --------
    >>> x = np.asarray([3.0, 4.0])
    >>> numerical_gradient(lambda _: np.sum(x**2), x).round(6)
    array([6., 8.])
    """
    if not is_writeable_array(x):
        raise TypeError(
            f"scratch.numerical_gradient moves x, and this array of {library_of(x)} cannot be "
            "written to; xpnet.numerical_gradient hands moved copies to f"
        )

    def moved(copy: Array) -> Any:
        x[...] = copy
        return f(x)

    before = array_namespace(x).asarray(x, copy=True)
    try:
        return differenced(moved, before, STEP)
    finally:
        x[...] = before


def im2col(
    input_data: Array, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0
) -> Array:
    """Lay out the windows of images as rows: (n · out_h · out_w, channels · filter_h · filter_w).

    Parameters
    ----------
    input_data : array, (n, channels, height, width)
    filter_h, filter_w, stride, pad : int

    Returns
    -------
    array

    Examples
    --------
    >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), 2, 2, stride=1)[0]
    array([0., 1., 3., 4.])
    """
    xp, windows = array_namespace(input_data), _windows(filter_h, filter_w, stride, pad)
    places = windows.places(input_data.shape[2:])
    cut = xp.stack([*windows.slices(bordered(inside(input_data), windows), places)], axis=1)
    rows = input_data.shape[0] * places[0] * places[1]
    return xp.reshape(xp.permute_dims(cut, (4, 2, 3, 0, 1)), (rows, -1))


def col2im(
    col: Array, input_shape: tuple[int, int, int, int], filter_h: int, filter_w: int,
    stride: int = 1, pad: int = 0,
) -> Array:  # fmt: skip
    """Put rows of windows back into images, added up where windows overlap: im2col's adjoint.

    Parameters
    ----------
    col : array, as `im2col` returns it
    input_shape : (n, channels, height, width)
    filter_h, filter_w, stride, pad : int

    Returns
    -------
    array, (n, channels, height, width)

    Examples
    --------
    >>> col2im(np.ones((4, 4)), (1, 1, 3, 3), 2, 2)[0, 0, 1, :]
    array([2., 4., 2.])
    """
    xp, windows = array_namespace(col), _windows(filter_h, filter_w, stride, pad)
    (n, c, *image), places = input_shape, windows.places(input_shape[2:])
    parts = xp.permute_dims(xp.reshape(col, (n, *places, c, -1)), (4, 3, 1, 2, 0))
    whole = windows.placed(
        [parts[i, ...] for i in range(parts.shape[0])], [edge + 2 * pad for edge in image]
    )
    return outside(fitted(fitted(whole, 2, -pad, -pad), 1, -pad, -pad))


def _windows(filter_h: int, filter_w: int, stride: int, pad: int) -> Windows:
    return Windows((filter_h, filter_w), (stride, stride), (pad, pad))


def rows_of(x: Array, numbers: np.ndarray) -> Array:
    """Return rows of an array by their numbers, drawn on the host."""
    here = placement_of(x)
    return here._take(x, here.asarray(numbers))


def shuffle_dataset(x: Array, t: Array) -> tuple[Array, Array]:
    """Return images and labels in a new order, the same for both.

    Parameters
    ----------
    x, t : array, (n, ...)

    Returns
    -------
    x, t

    Examples
    --------
    >>> x, t = shuffle_dataset(np.arange(5), np.arange(5))
    >>> bool(np.all(x == t))
    True
    """
    order = np.random.permutation(x.shape[0])
    return rows_of(x, order), rows_of(t, order)


def smooth_curve(x: Any) -> np.ndarray:
    """Return a curve of losses smoothed by a Kaiser window of 11 numbers, beta = 2.

    Parameters
    ----------
    x : sequence of at least 11 numbers

    Returns
    -------
    ndarray, as long as `x`

    Examples
    --------
    >>> smooth_curve([1.0] * 12).round(6)[:2]
    array([1., 1.])
    """
    half, values = 5, np.asarray([float(value) for value in x])
    window = np.kaiser(2 * half + 1, 2)
    # Mirrored at both ends; the last number is repeated, the first is not, as in the textbook.
    around = np.pad(np.pad(values, (half, 0), "reflect"), (0, half), "symmetric")
    return np.convolve(window / window.sum(), around, mode="valid")


def load_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False, **where: Any
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Load MNIST; without `flatten` as images (n, 1, 28, 28).

    Parameters
    ----------
    normalize, flatten, one_hot_label : bool
        As for `xpnet.load_mnist`.
    **where
        ``xp=``, ``device=``, ``dtype=`` of `xpnet.load_mnist`.

    Returns
    -------
    (x_train, t_train), (x_test, t_test)

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_mnist(flatten=False)
    >>> x_test.shape
    (10000, 1, 28, 28)
    """
    train, test = datasets.load_mnist(normalize, flatten, one_hot_label, **where)
    if flatten:
        return train, test
    return (train[0][:, None, :, :], train[1]), (test[0][:, None, :, :], test[1])
