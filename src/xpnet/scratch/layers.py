"""The textbook's layers: each keeps what its forward leaves for its backward."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from .. import layers
from ..arrays import Array, Params, array_namespace, is_array
from ..backend.table import placement_of
from ..functions import softmax
from ..layers.windows import Windows, bordered, fitted, inside, outside
from ..losses import OUTPUTS, cross_entropy_error
from .tools import target_of


class _Layer:
    _kept: tuple[layers.Layer, Params, Any] | None = None

    def _through(self, layer: layers.Layer, p: Params, x: Array, mask: Any = None) -> Array:
        y, needed = layer.forward(p, x, mask)
        self._kept = layer, p, needed
        return y

    def backward(self, dout: Array) -> Array:
        """Return the gradient of the input; leave those of the parameters as attributes."""
        if self._kept is None:
            raise RuntimeError(f"{type(self).__name__}.backward comes after forward")
        layer, p, needed = self._kept
        dout = array_namespace(dout).asarray(dout, copy=True)  # a layer may write to it
        for name, value in layer.gradient(p, needed, dout).items():
            setattr(self, f"d{name}", value)
        return layer.pull(p, needed, dout)


class Relu(_Layer):
    """Rectified linear unit, max(x, 0).

    Examples
    --------
    >>> Relu().forward(np.asarray([-1.0, 2.0]))
    array([0., 2.])
    """

    function: ClassVar[str] = "relu"

    def forward(self, x: Array) -> Array:
        """Return the activation of each number."""
        return self._through(layers.layer_of(self.function), {}, x)


class Sigmoid(Relu):
    """Logistic function, 1 / (1 + exp(-x)).

    Examples
    --------
    >>> Sigmoid().forward(np.asarray([0.0]))
    array([0.5])
    """

    function = "sigmoid"


class Affine(_Layer):
    """Fully connected layer, x W + b; images are flattened. `dW` and `db` are the gradients.

    Parameters
    ----------
    W, b : array, (in, out) and (out,)

    Examples
    --------
    >>> Affine(np.ones((2, 1)), np.zeros(1)).forward(np.asarray([[1.0, 2.0]]))
    array([[3.]])
    """

    def __init__(self, W: Array, b: Array) -> None:
        self.W, self.b = W, b
        self.dW = self.db = None

    def forward(self, x: Array) -> Array:
        """Return x W + b."""
        return self._through(layers.Affine(self.W.shape[1]), {"W": self.W, "b": self.b}, x)


class SoftmaxWithLoss:
    """Softmax, with the mean cross-entropy -log(y[t] + 1e-7); `y` and `loss` are kept.

    Examples
    --------
    >>> layer = SoftmaxWithLoss()
    >>> round(float(layer.forward(np.zeros((1, 2)), np.asarray([0]))), 4), layer.backward()
    (0.6931, array([[-0.5,  0.5]]))
    """

    def __init__(self) -> None:
        self.loss = self.y = self.t = self._x = None

    def forward(self, x: Array, t: Array) -> Array:
        """Return the mean loss of logits (n, classes) and one-hot rows or labels."""
        self._x, self.y = x, softmax(x)
        self.t = target_of(x, t)
        self.loss = cross_entropy_error(self.y, self.t)
        return self.loss

    def backward(self, dout: Any = 1.0) -> Array:
        """Return dout · (y - t) / n, which leaves the 1e-7 out."""
        return OUTPUTS["softmax"].loss(self._x, self.t, dout)[1]


class Dropout(_Layer):
    """While training, numbers are 0 with a probability; else all are scaled by 1 less that.

    Parameters
    ----------
    dropout_ratio : float
        The probability, below 1. Masks are drawn by ``np.random``.

    Examples
    --------
    >>> Dropout(0.25).forward(np.asarray([4.0]), train_flg=False)
    array([3.])
    """

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        self.dropout_ratio, self._layer = dropout_ratio, layers.Dropout(dropout_ratio)

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """Return x times a new mask, or times 1 - dropout_ratio."""
        mask: Any = 1.0 - self.dropout_ratio
        if train_flg:
            kept = np.random.rand(*x.shape) > self.dropout_ratio
            mask = placement_of(x).asarray(kept, x.dtype)
        return self._through(self._layer, {}, x, mask)


class BatchNormalization(_Layer):
    """Batch normalization with epsilon 1e-6; images are normalized number by number, as rows.

    Parameters
    ----------
    gamma, beta : array, (d,)
        Their gradients are `dgamma` and `dbeta`.
    momentum : float
    running_mean, running_var : array, (d,), optional
        What prediction takes. None: zeros, both.

    Examples
    --------
    >>> layer = BatchNormalization(np.ones(1), np.zeros(1))
    >>> layer.forward(np.asarray([[1.0], [3.0]])).round(4).ravel(), layer.running_mean
    (array([-1.,  1.]), array([0.2]))
    """

    def __init__(
        self, gamma: Array, beta: Array, momentum: float = 0.9, running_mean: Array | None = None,
        running_var: Array | None = None,
    ) -> None:  # fmt: skip
        self.gamma, self.beta = gamma, beta
        self.momentum, self._layer = momentum, layers.BatchNorm(momentum=momentum, epsilon=1e-6)
        self.running_mean, self.running_var = running_mean, running_var
        self.dgamma = self.dbeta = None

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        """Return x normalized by its own statistics, which move the running ones; or by these."""
        xp, p = array_namespace(x), {"gamma": self.gamma, "beta": self.beta}
        rows = xp.reshape(x, (x.shape[0], -1))
        before = {"mean": self.running_mean, "variance": self.running_var}
        s = {
            key: xp.zeros_like(rows[0, :]) if value is None else xp.asarray(value, copy=True)
            for key, value in before.items()
        }
        if train_flg:
            y = self._through(self._layer, p, rows)
            assert self._kept is not None
            self._layer.move(s, self._kept[2])
        else:
            y = self._layer.predict(p, s, rows)
        self.running_mean, self.running_var = s["mean"], s["variance"]
        return xp.reshape(y, x.shape)

    def backward(self, dout: Array) -> Array:
        """Return the gradient of the input; leave `dgamma` and `dbeta`."""
        xp = array_namespace(dout)
        return xp.reshape(super().backward(xp.reshape(dout, (dout.shape[0], -1))), dout.shape)


class Convolution(_Layer):
    """Convolution of images (n, channels, height, width). `dW` and `db` are the gradients.

    Parameters
    ----------
    W : array, (filters, channels, height, width)
    b : array, (filters,), or 0
    stride, pad : int

    Examples
    --------
    >>> Convolution(np.ones((1, 1, 2, 2)), np.zeros(1)).forward(np.ones((1, 1, 2, 2)))
    array([[[[4.]]]])
    """

    def __init__(self, W: Array, b: Array, stride: int = 1, pad: int = 0) -> None:
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.dW = self.db = None

    def forward(self, x: Array) -> Array:
        """Return the filters' sums over the windows."""
        filters, _, *size = self.W.shape
        b = self.b if is_array(self.b) else array_namespace(x).zeros_like(self.W[:, 0, 0, 0])
        window = size[0], size[1]
        layer = layers.Convolution(filters, window, stride=self.stride, padding=self.pad)
        return self._through(layer, {"W": self.W, "b": b}, x)


class Pooling(_Layer):
    """The largest number of each window; the first of several that are largest gets the gradient.

    Parameters
    ----------
    pool_h, pool_w, stride : int
    pad : int
        Zeros around an image.

    Examples
    --------
    >>> Pooling(2, 2, stride=2).forward(np.arange(4.0).reshape(1, 1, 2, 2))
    array([[[[3.]]]])
    """

    def __init__(self, pool_h: int, pool_w: int, stride: int = 1, pad: int = 0) -> None:
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad

    def forward(self, x: Array) -> Array:
        """Return one number for each window."""
        if self.pad:
            around = Windows((1, 1), (1, 1), (self.pad, self.pad))
            x = outside(bordered(inside(x), around))
        return self._through(layers.MaxPool((self.pool_h, self.pool_w), stride=self.stride), {}, x)

    def backward(self, dout: Array) -> Array:
        """Return each window's gradient at its largest number."""
        d = super().backward(dout)
        return fitted(fitted(d, 3, -self.pad, -self.pad), 2, -self.pad, -self.pad)
