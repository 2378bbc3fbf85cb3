"""The nets: parameters, prediction, loss, and backpropagation."""

from __future__ import annotations

import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np

from .._version import __version__
from ..arrays import Array, Params, all_finite, is_kind, item_bytes
from ..backend.placement import DTYPES
from ..backend.table import place
from ..checks import finite_number, known, positive_integer, seed_or_none
from ..files import FileError, load_arrays, said, save_arrays
from ..functions import ACTIVATIONS, Activation
from ..gradients import numerical, structured
from ..gradients.net import check_point
from ..gradients.report import GradientReport
from ..gradients.structured import Point
from ..losses import OUTPUTS, index_rows, one_hot
from ..markup import paragraph, table

P = ParamSpec("P")
R = TypeVar("R")

# Predictions over many rows are computed in pieces of about this many bytes.
CHUNK_BYTES = 64 * 2**20

# The labels of a data set are kept as one-hot rows up to this many bytes.
ROWS_BYTES = 16 * 2**20


def _quietly(method: Callable[P, R]) -> Callable[P, R]:
    """Compute in the backend's own context: what overflows shows in the result."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        net: MLP = args[0]  # type: ignore[assignment]
        with net.placement.quietly():
            return method(*args, **kwargs)

    return call


class MLP:
    """Multi-layer perceptron: affine layers with an activation between them.

    Parameters
    ----------
    layer_sizes : sequence of int
        Inputs, hidden layers, outputs: at least two numbers.
    activation : str or Activation
        Of the hidden layers: "sigmoid", "relu", "tanh", "identity", or your own.
    output : str
        "softmax" (with cross-entropy), "sigmoid" (binary cross-entropy, several labels a row),
        "identity" (half mean squared error) or "exp" (half mean Poisson deviance).
    weight_init : str or float
        "xavier" (variance 2 / (in + out); Glorot and Bengio, 2010), "he" (2 / in; He et al.,
        2015), or the standard deviation. Biases start at 0.
    l2 : float
        ``l2 / 2`` times the sum of the squared weights, biases left out, is added to the loss.
    xp, device, dtype
        Where the net lives; see `xpnet.place`. Default: NumPy, float32.
    seed : int, optional
        The weights are drawn on the host by NumPy, so a seed means the same weights (up to
        rounding to the dtype) on every backend. None draws anew each time.

    Attributes
    ----------
    params : dict of arrays
        ``W1`` (in, out), ``b1`` (out,), ``W2``, ``b2``, ... Change them as you like.

    Raises
    ------
    ValueError, TypeError
        An argument is not what is said above; the message names it.
    BackendNotAvailable
        The library is missing, or has no such device.
    MemoryError
        The parameters do not fit on the device; the message says what they need.

    Examples
    --------
    >>> import numpy as np
    >>> net = MLP([4, 8, 3], activation="tanh", seed=0)
    >>> net.predict(np.ones((2, 4), dtype=np.float32)).shape
    (2, 3)
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Activation = "sigmoid",
        output: str = "softmax",
        weight_init: str | float = "xavier",
        l2: float = 0.0,
        xp: Any = None,
        device: Any = None,
        dtype: Any = None,
        seed: int | None = None,
    ) -> None:
        self._define(layer_sizes, activation, output, weight_init, l2)
        deviation = _weight_deviation(weight_init)
        self.placement = place(xp, device, dtype)
        self.params: Params = {}
        rng = np.random.default_rng(seed_or_none(seed))
        count = sum(math.prod(shape) for shape in _shapes(self.layer_sizes).values())
        bits = int(self.placement.xp.finfo(self.placement.dtype).bits)
        self.placement.refuse_too_large(
            count * bits // 8, f"a net of layer_sizes {list(self.layer_sizes)}"
        )
        for i in range(1, self.depth + 1):
            n_in, n_out = self.layer_sizes[i - 1 : i + 1]
            weights = rng.standard_normal((n_in, n_out)) * deviation(n_in, n_out)
            self.params[f"W{i}"] = self.placed(weights)
            self.params[f"b{i}"] = self.placed(np.zeros(n_out))

    def _define(
        self,
        layer_sizes: Sequence[int],
        activation: str | Activation,
        output: str,
        weight_init: str | float,
        l2: float,
    ) -> None:
        """Set what the net is, apart from its parameters and their place, or raise."""
        self.layer_sizes = _layer_sizes(layer_sizes)
        self.activation = (
            activation
            if isinstance(activation, Activation)
            else known(ACTIVATIONS, activation, "activation")
        )
        self.output = known(OUTPUTS, output, "output")
        self.l2 = finite_number(l2, "l2", minimum=0.0)
        _weight_deviation(weight_init)
        self.weight_init = weight_init if isinstance(weight_init, str) else float(weight_init)

    # --- what users call ---------------------------------------------------------------------

    @_quietly
    def predict(self, x: Array) -> Array:
        """Predictions: probabilities for "softmax" and "sigmoid", values for the others.

        Parameters
        ----------
        x : array, (n, inputs)
            Of the net's library and device; floating point.

        Returns
        -------
        array, (n, outputs)

        Raises
        ------
        TypeError, ValueError
            `x` is no such array, has no rows, or has values that are not finite (on a GPU,
            where looking would mean waiting, such values give NaN instead).

        Examples
        --------
        >>> import numpy as np
        >>> MLP([2, 2], weight_init=0.0).predict(np.zeros((1, 2), dtype=np.float32))
        array([[0.5, 0.5]], dtype=float32)
        """
        return self.output.link(self._logits(self._checked_input(x)))

    @_quietly
    def loss(self, x: Array, t: Array) -> Array:
        """Mean loss over a batch, the L2 term included.

        Parameters
        ----------
        x : array, (n, inputs)
        t : array
            Class indices, integers (n,); or one-hot rows, (n, outputs); for "sigmoid" any
            values in [0, 1], for "identity" any values, for "exp" any of at least 0, of that
            shape. A single output also takes (n,).

        Returns
        -------
        array, 0-d
            It stays on the device: nothing waits.

        Raises
        ------
        TypeError, ValueError
            An argument is no such array. Where the values cannot be read without waiting (on a
            GPU), a wrong label makes the loss NaN instead.

        Examples
        --------
        >>> import numpy as np
        >>> net = MLP([2, 2], weight_init=0.0)
        >>> round(float(net.loss(np.zeros((1, 2), dtype=np.float32), np.asarray([1]))), 6)
        0.693147
        """
        x, target = self._checked(x, t)
        value, _ = self.output.loss(self._logits(x), target)
        return self._with_l2(value, self.params)

    @_quietly
    def accuracy(self, x: Array, t: Array) -> Array:
        """Share of the rows that are predicted right.

        For "softmax", the rows whose largest output is the label's; for "sigmoid", those whose
        labels are all on the right side of 1/2.

        Parameters
        ----------
        x : array, (n, inputs)
        t : array
            As for `loss`.

        Returns
        -------
        array, 0-d
            In [0, 1], in the net's dtype; it stays on the device.

        Raises
        ------
        TypeError, ValueError
            As `loss`; and ValueError for "identity" and "exp", whose predictions are no classes.

        Examples
        --------
        >>> import numpy as np
        >>> net = MLP([2, 2], weight_init=0.0)
        >>> float(net.accuracy(np.zeros((2, 2), dtype=np.float32), np.asarray([0, 1])))
        0.5
        """
        if self.output.correct is None:
            raise ValueError(f"output '{self.output.name}' predicts values: there is no accuracy")
        x, target = self._checked(x, t)
        logits = self._logits(x)
        xp = self.placement.xp
        right = xp.astype(self.output.correct(logits, target), logits.dtype)
        # 0 * NaN = NaN: comparisons would count rows without a prediction as right or wrong.
        return xp.mean(right + 0.0 * xp.sum(logits + target, axis=1))

    def gradient(self, x: Array, t: Array) -> Params:
        """Gradient of `loss` by backpropagation.

        Parameters
        ----------
        x : array, (n, inputs)
        t : array
            As for `loss`.

        Returns
        -------
        dict of arrays
            The keys and shapes of `params`.

        Raises
        ------
        TypeError, ValueError
            As `loss`.

        Examples
        --------
        >>> import numpy as np
        >>> net = MLP([2, 2], weight_init=0.0)
        >>> net.gradient(np.ones((1, 2), dtype=np.float32), np.asarray([1]))["b1"]
        array([ 0.5, -0.5], dtype=float32)
        """
        return self.loss_and_gradient(x, t)[1]

    @_quietly
    def loss_and_gradient(self, x: Array, t: Array) -> tuple[Array, Params]:
        """`loss` and `gradient` from one pass.

        Parameters
        ----------
        x : array, (n, inputs)
        t : array
            As for `loss`.

        Returns
        -------
        loss : array, 0-d
        gradient : dict of arrays

        Raises
        ------
        TypeError, ValueError
            As `loss`.

        Examples
        --------
        >>> import numpy as np
        >>> net = MLP([2, 2], weight_init=0.0)
        >>> x = np.ones((1, 2), dtype=np.float32)
        >>> loss, gradient = net.loss_and_gradient(x, np.asarray([1]))
        >>> sorted(gradient)
        ['W1', 'b1']
        """
        x, target = self._checked(x, t)
        return self.backpropagate(self.params, x, target)

    @_quietly
    def numerical_gradient(
        self, x: Array, t: Array, *, step: float | None = None, method: str = "structured"
    ) -> Params:
        """Gradient of `loss` by central differences, (loss(p + h) - loss(p - h)) / 2h.

        Parameters
        ----------
        x : array, (n, inputs)
        t : array
            As for `loss`.
        step : float, optional
            h. None: the cube root of the dtype's epsilon; for "structured" divided in each
            layer by its largest input and the largest weight behind it, for "elementwise"
            times ``max(1, |entry|)``.
        method : str
            "structured" uses that a weight moves one pre-activation of each row only, and takes
            the difference of the losses without cancellation: the time of a few hundred forward
            passes, and good in float32 (see `xpnet.structured`). At a kink of the activation it
            is the central difference still.
            "elementwise" is the plain loop: two losses for each entry of each parameter, each
            rounded to the dtype before they are subtracted.

        Returns
        -------
        dict of arrays
            The keys and shapes of `params`.

        Raises
        ------
        TypeError, ValueError
            As `loss`; or `step` is not above 0, or the method is unknown.

        Notes
        -----
        Waits for the device, once a layer. Training (``fit(..., gradient="numerical")``) does
        not wait, and smooths a kink that lies within its step.

        Examples
        --------
        >>> import numpy as np
        >>> net = MLP([2, 2], weight_init=0.0, dtype="float64")
        >>> net.numerical_gradient(np.ones((1, 2)), np.asarray([1]))["b1"].round(6)
        array([ 0.5, -0.5])
        """
        x, target = self._checked(x, t)
        methods = {"structured": self._structured, "elementwise": self._elementwise}
        if step is not None:
            step = finite_number(step, "step", minimum=0.0, exclusive=True)
        return known(methods, method, "method")(self.params, x, target, step)

    @_quietly
    def check_gradient(
        self, x: Array, t: Array, *, gradient: Params | None = None
    ) -> GradientReport:
        """Check backpropagation against structured central differences, every entry.

        The tolerance of each entry follows from the measured noise of its own difference.

        Parameters
        ----------
        x : array, (n, inputs)
        t : array
            As for `loss`.
        gradient : dict of arrays, optional
            Checked in the place of ``net.gradient(x, t)``: your own backward pass.

        Returns
        -------
        GradientReport

        Raises
        ------
        TypeError, ValueError
            As `loss`; or `gradient` has other keys, shapes or another library.
        RuntimeError
            Matrix products are computed with reduced precision (TF32) on the net's device.

        Examples
        --------
        >>> import numpy as np
        >>> net = MLP([4, 3, 2], seed=0)
        >>> x, t = np.ones((2, 4), dtype=np.float32), np.asarray([0, 1])
        >>> net.check_gradient(x, t).ok
        True
        >>> wrong = {key: -g for key, g in net.gradient(x, t).items()}
        >>> net.check_gradient(x, t, gradient=wrong).causes
        ('W1, b1, W2, b2: the wrong sign',)
        """
        x, target = self._checked(x, t)
        if gradient is None:
            _, gradient = self.backpropagate(self.params, x, target)
        params = self.params
        activations = [self.activation] * (self.depth - 1)
        point = Point(params, activations, self.output, *self.forward(params, x), target)
        return check_point(point, gradient, self.l2, self.placement.to_host)

    def to(self, xp: Any = None, device: Any = None, dtype: Any = None) -> Self:
        """Copy the net to another library, device or dtype.

        Parameters
        ----------
        xp, device, dtype
            As for the constructor; None keeps the net's own (for `device`: the default device
            where the library changes).

        Returns
        -------
        MLP
            A copy that shares nothing with this net.

        Raises
        ------
        BackendNotAvailable, TypeError, ValueError
            As the constructor.

        Examples
        --------
        >>> net = MLP([4, 3], seed=0)
        >>> net.to(dtype="float64").params["W1"].dtype
        dtype('float64')
        """
        here = self.placement
        target = place(
            here.xp if xp is None else xp,
            here.device if xp is None and device is None else device,
            here.dtype_name if dtype is None else dtype,
        )
        net = object.__new__(type(self))
        net.__dict__.update(self.__dict__)
        net.placement = target
        net.params = {key: net.placed(here.to_host(v)) for key, v in self.params.items()}
        return net

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save the net in a safetensors file; `xpnet.load` reads it, on any backend.

        The file has the parameters and a description of the net. An activation of your own is
        saved by its name only.

        Parameters
        ----------
        path : path-like
            An existing file is replaced once the new one is whole, on the disk, and has been
            read back.

        Raises
        ------
        ValueError
            The parameters are no longer those of the net: other keys, shapes or dtypes.
        OSError
            The file cannot be written; an existing one is as it was.

        Notes
        -----
        Waits for the device. A net of a subclass is saved as the class of xpnet that it extends.

        Examples
        --------
        >>> import pathlib, tempfile, xpnet
        >>> net = MLP([4, 3], seed=0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "model.safetensors")
        ...     net.save(path)
        ...     xpnet.load(path)
        <MLP 4-3, sigmoid, softmax: 15 parameters, float32, numpy on cpu>
        """
        arrays = {key: self.placement.to_host(p) for key, p in self.params.items()}
        wrong = _wrong_params(arrays, self.layer_sizes, self.placement.dtype_name)
        if wrong:
            raise ValueError(f"params {wrong}")
        save_arrays(path, arrays, self.description())

    def description(self) -> dict[str, Any]:
        """Return what the net is, as plain Python objects: all but the parameters' values."""
        name = self.activation.name
        return {
            "kind": "model",
            "class": next(k for k, kind in CLASSES.items() if isinstance(self, kind)),
            "layer_sizes": list(self.layer_sizes),
            "activation": name,
            "own_activation": self.activation != ACTIVATIONS.get(name),
            "output": self.output.name,
            "weight_init": self.weight_init,
            "l2": self.l2,
            "dtype": self.placement.dtype_name,
            "xpnet": __version__,
        }

    def __repr__(self) -> str:
        here = self.placement
        count = sum(a * b + b for a, b in zip(self.layer_sizes, self.layer_sizes[1:], strict=False))
        l2 = f", l2={self.l2:g}" if self.l2 else ""
        return (
            f"<{type(self).__name__} {'-'.join(map(str, self.layer_sizes))}, "
            f"{self.activation.name}, {self.output.name}{l2}: {count:,} parameters, "
            f"{here.dtype_name}, {here.backend.name} on {here.device}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, " × ".join(map(str, array.shape)), f"{math.prod(array.shape):,}")
            for name, array in self.params.items()
        ]
        return paragraph(repr(self)[1:-1]) + table(rows, head=("", "shape", "numbers"))

    # --- the arithmetic ----------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """The number of affine layers."""
        return len(self.layer_sizes) - 1

    def forward(self, params: Params, x: Array) -> tuple[Array, list[Array], list[Array]]:
        """Logits; each layer's input z; each hidden layer's pre-activation a. Checks nothing."""
        return self._forward(params, x, None)[:3]

    def _forward(
        self, params: Params, x: Array, masks: Sequence[Array] | None
    ) -> tuple[Array, list[Array], list[Array], list[Array]]:
        """What `forward` does, with dropout where there are `masks`; last, z before it."""
        z, a, y = [x], [], []
        for i in range(1, self.depth):
            pre = z[-1] @ params[f"W{i}"]
            pre += params[f"b{i}"]
            a.append(pre)
            y.append(self.activation.forward(pre))
            z.append(y[-1] if masks is None else y[-1] * masks[i - 1])
        # In this memory order their maxima and sums over the few classes run along the many rows.
        logits = (params[f"W{self.depth}"].T @ z[-1].T).T
        logits += params[f"b{self.depth}"]
        return logits, z, a, y

    def backpropagate(
        self,
        params: Params,
        x: Array,
        target: Array,
        scale: Any = None,
        weights: Array | None = None,
        masks: Sequence[Array] | None = None,
    ) -> tuple[Array, Params]:
        """Loss and gradient at `params`; checks nothing.

        `scale` multiplies the gradient. It is applied to the gradient of the logits, the
        smallest array on the way, and passes through everything behind it, which is linear.
        `weights`, (n,), are those of the rows: the loss is the weighted mean.
        `masks`, one (n, units) for each hidden layer, are what its outputs are multiplied by.
        """
        xp = self.placement.xp
        if weights is not None:
            weights = weights[:, None] * (x.shape[0] / xp.sum(weights))
        logits, z, a, y = self._forward(params, x, masks)
        loss, d = self.output.loss(logits, target, 1.0 if scale is None else scale, weights)
        gradient = {}
        for i in range(self.depth, 0, -1):
            gradient[f"W{i}"] = (d.T @ z[i - 1]).T  # in the memory order of the weights
            gradient[f"b{i}"] = xp.sum(d, axis=0)
            if i > 1:
                w = params[f"W{i}"].T
                # A product with one column is slow in BLAS, and slowest in NumPy's.
                d = d @ w if w.shape[0] > 1 else d * w
                d *= self.activation.derivative(a[i - 2], y[i - 2])
                if masks is not None:
                    d *= masks[i - 2]
        return self._with_l2(loss, params), self._add_l2(gradient, params, scale)

    def differentiate(
        self, params: Params, x: Array, target: Array, scale: Any = None
    ) -> tuple[Array, Params]:
        """Compute what `backpropagate` does, by central differences; nothing waits."""
        logits, z, a = self.forward(params, x)
        loss, _ = self.output.loss(logits, target)
        activations = [self.activation] * (self.depth - 1)
        point = Point(params, activations, self.output, logits, z, a, target)
        gradient = self._add_l2(structured.gradient(point, scale=scale), params, scale)
        return self._with_l2(loss, params), gradient

    def _structured(
        self, params: Params, x: Array, target: Array, step: float | None = None
    ) -> Params:
        activations = [self.activation] * (self.depth - 1)
        point = Point(params, activations, self.output, *self.forward(params, x), target)
        gradient = structured.gradient(point, step=step, read=self.placement.to_host)
        return self._add_l2(gradient, params)

    def _add_l2(self, gradient: Params, params: Params, scale: Any = None) -> Params:
        # The central difference of l2/2 w² is l2·w, for any step.
        if self.l2:
            factor = self.l2 if scale is None else self.l2 * scale
            for i in range(1, self.depth + 1):
                gradient[f"W{i}"] += factor * params[f"W{i}"]
        return gradient

    def _elementwise(
        self, params: Params, x: Array, target: Array, step: float | None = None
    ) -> Params:
        sample = numerical.Sampler(lambda moved: self._loss(moved, x, target), params)
        return numerical.differences(sample, step)

    def _loss(self, params: Params, x: Array, target: Array) -> Array:
        return self._with_l2(self.output.loss(self.forward(params, x)[0], target)[0], params)

    def _with_l2(self, loss: Array, params: Params) -> Array:
        if self.l2:
            for i in range(1, self.depth + 1):
                # In the weights' memory order, where this is a view.
                w = self.placement.xp.reshape(params[f"W{i}"].T, (-1,))
                loss = loss + 0.5 * self.l2 * (w @ w)
        return loss

    def _logits(self, x: Array) -> Array:
        """Logits of any number of rows, in pieces that bound the memory of the hidden layers."""
        xp = self.placement.xp
        rows = max(1, CHUNK_BYTES // (item_bytes(x) * sum(self.layer_sizes[1:])))
        pieces = [self.forward(self.params, piece)[0] for piece in _pieces(x, rows)]
        return pieces[0] if len(pieces) == 1 else xp.concat(pieces, axis=0)

    # --- the checks --------------------------------------------------------------------------

    def _checked(self, x: Array, t: Array) -> tuple[Array, Array]:
        """The batch as floats, and its target as rows of the outputs' shape."""
        x = self._checked_input(x)
        t = self.checked_target(t, x.shape[0])
        return x, self.target_rows(t)

    @_quietly
    def checked_data(self, x: Array, t: Array) -> tuple[Array, Array]:
        """A whole data set in the net's dtype; waits to read the values.

        Class indices become one-hot rows where these are small: a step then gathers its rows
        and need not make them.
        """
        x = self._checked_input(x, read=True)
        t = self.checked_target(t, x.shape[0], read=True)
        small = x.shape[0] * self.layer_sizes[-1] * item_bytes(x) <= ROWS_BYTES
        return x, self.target_rows(t) if small else t

    def _checked_input(self, x: Array, *, read: bool = False) -> Array:
        """Return `x` in the net's dtype, or raise."""
        self.placement.check(x, "x")
        self.refuse_input(x.dtype, tuple(x.shape))
        xp = self.placement.xp
        if (read or self.placement.readable(x)) and not all_finite(xp, x, self.placement.dtype):
            raise ValueError(
                "x has values that are not finite (NaN or infinity), or not as "
                f"{self.placement.dtype_name}"
            )
        return xp.astype(x, self.placement.dtype, copy=False)

    def refuse_input(self, dtype: Any, shape: tuple[int, ...]) -> None:
        """Raise where an array of this dtype and shape is no batch for this net."""
        if not is_kind(self.placement.xp, dtype, "real floating"):
            raise TypeError(
                f"x has dtype {dtype}; expected floating-point values: scale images to [0, 1] "
                "first, for example xp.astype(x, xp.float32) / 255"
            )
        if len(shape) != 2 or shape[1] != self.layer_sizes[0]:
            raise ValueError(f"x must have shape (n, {self.layer_sizes[0]}), not {shape}")
        if shape[0] == 0:
            raise ValueError("x is an empty batch: it has no rows")

    def holds_indices(self, dtype: Any, shape: tuple[int, ...], n: int) -> bool:
        """Whether a target of this dtype and shape is class indices, not rows; or raise."""
        xp, outputs = self.placement.xp, self.layer_sizes[-1]
        column = outputs == 1 and not self.output.sums_to_one  # (n,) stands for (n, 1)
        expected = f"class indices (integers) of shape ({n},) or rows of shape ({n}, {outputs})"
        indices = not column and is_kind(xp, dtype, "integral") and len(shape) == 1
        if shape != (n, outputs) and not (shape == (n,) and (indices or column)):
            raise ValueError(f"t must be {expected}; it is {dtype} of shape {shape}")
        if not is_kind(xp, dtype, ("bool", "integral", "real floating")):
            raise TypeError(f"t has dtype {dtype}; expected {expected}")
        return indices

    def checked_target(self, t: Array, n: int, *, read: bool = False) -> Array:
        """Return `t` as class indices (n,) or as rows (n, outputs) in the net's dtype, or raise.

        Values are looked at where that does not wait for a device, or where `read` says so;
        otherwise rows that are no target become NaN.
        """
        self.placement.check(t, "t")
        xp, out, outputs = self.placement.xp, self.output, self.layer_sizes[-1]
        read = read or self.placement.readable(t)
        indices = self.holds_indices(t.dtype, tuple(t.shape), n)
        if t.ndim == 1 and not indices:
            t = xp.reshape(t, (-1, 1))
        if indices:
            if not read:
                return one_hot(t, outputs, self.placement.dtype)
            low, high = int(xp.min(t)), int(xp.max(t))
            if low < 0 or high >= outputs:
                raise ValueError(
                    f"t has the label {low if low < 0 else high}; expected 0 to {outputs - 1}"
                )
            return t
        t = xp.astype(t, self.placement.dtype, copy=False)
        wrong = ~xp.isfinite(t)
        if out.lower is not None and out.upper is not None:
            wrong = wrong | (t < out.lower) | (t > out.upper)
        if out.sums_to_one:
            # 1e-3 tells rows of probabilities in any float from rows that are none.
            wrong = wrong | (xp.abs(xp.sum(t, axis=1, keepdims=True) - 1.0) > 1e-3)
        if not read:
            return xp.where(wrong, xp.nan, t)
        if xp.any(wrong) or not all_finite(xp, t):
            bounds = "" if out.lower is None else f" in [{out.lower:g}, {out.upper:g}]"
            rows = ", each row with the sum 1 (one-hot)" if out.sums_to_one else ""
            raise ValueError(
                f"t has wrong values; expected finite numbers{bounds}{rows} for output '{out.name}'"
            )
        return t

    def checked_weights(self, weights: Array, n: int) -> Array:
        """Return weights of n rows in the net's dtype, or raise; waits to read the values."""
        name = "sample_weight"
        self.placement.check(weights, name)
        xp = self.placement.xp
        if tuple(weights.shape) != (n,):
            raise ValueError(f"{name} must have shape ({n},), not {tuple(weights.shape)}")
        if not xp.isdtype(weights.dtype, ("real floating", "integral")):
            raise TypeError(f"{name} has dtype {weights.dtype}; expected numbers")
        weights = xp.astype(weights, self.placement.dtype, copy=False)
        if not all_finite(xp, weights) or xp.any(weights < 0) or not xp.any(weights > 0):
            raise ValueError(f"{name} must be finite and at least 0, and not 0 everywhere")
        return weights

    def placed(self, values: np.ndarray) -> Array:
        """Move a parameter here, the weights that lead to one unit side by side in memory.

        Libraries are fastest so: z @ W and (d.T @ z).T both run along the inputs, the many.
        """
        floats = self.placement.floats
        return floats(values.T).T if values.ndim == 2 else floats(values)

    def masks(self, kept: Array, scale: float) -> list[Array]:
        """From the units that are kept, (n, all hidden units), to a mask for each hidden layer.

        The mask is `scale` where a unit is kept, and 0 where it is not.
        """
        factors = self.placement.xp.astype(kept, self.placement.dtype)
        factors *= scale
        ends = itertools.pairwise([0, *itertools.accumulate(self.layer_sizes[1:-1])])
        return [factors[:, start:end] for start, end in ends]

    def target_rows(self, t: Array) -> Array:
        """Class indices as one-hot rows; rows as they are. Checks nothing."""
        if t.ndim == 2:
            return t
        return index_rows(self.placement.xp, t, self.layer_sizes[-1], self.placement.dtype)


class TwoLayerNet(MLP):
    """The reference's net: affine → sigmoid → affine → softmax, from three sizes.

    It is an `MLP` with the layer sizes ``[input_size, hidden_size, output_size]``.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    weight_init_std : float
        Weights are drawn from N(0, weight_init_std²); biases are 0.
    xp, device, dtype, seed
        As for `MLP`.

    Examples
    --------
    >>> net = TwoLayerNet(784, 100, 10, seed=0)
    >>> net.params["W1"].shape, net.params["b2"].shape
    ((784, 100), (10,))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        weight_init_std: float = 0.01,
        *,
        xp: Any = None,
        device: Any = None,
        dtype: Any = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(
            [input_size, hidden_size, output_size],
            weight_init=finite_number(weight_init_std, "weight_init_std", minimum=0.0),
            xp=xp,
            device=device,
            dtype=dtype,
            seed=seed,
        )


# The classes that files name, the more special ones first.
CLASSES: dict[str, type[MLP]] = {"TwoLayerNet": TwoLayerNet, "MLP": MLP}


def load(
    path: str | os.PathLike[str],
    *,
    xp: Any = None,
    device: Any = None,
    activation: Activation | None = None,
) -> MLP:
    """Load a net that `net.save` has saved, on this or any other backend.

    No code of the file is run.

    Parameters
    ----------
    path : path-like
        The file.
    xp, device
        Where the net is to live; see `xpnet.place`. Default: NumPy. Its dtype is as saved.
    activation : Activation, optional
        For a net with an activation of your own, which a file cannot hold.

    Returns
    -------
    MLP or TwoLayerNet
        As it was saved.

    Raises
    ------
    FileError
        The file is damaged, is no model of xpnet, is of a newer version, or has an activation
        that is neither known nor given. The message says which.
    OSError
        The file is not there, or cannot be read.
    ValueError
        `activation` has another name than the net's.
    BackendNotAvailable
        The library is missing, or has no such device, or no such dtype.

    Examples
    --------
    See `MLP.save`:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     TwoLayerNet(4, 3, 2).save(path)
    ...     load(path)
    <TwoLayerNet 4-3-2, sigmoid, softmax: 23 parameters, float32, numpy on cpu>
    """
    if activation is not None and not isinstance(activation, Activation):
        raise TypeError(f"activation must be an Activation, not {type(activation).__name__}")
    arrays, told = load_arrays(path)
    try:
        if told["kind"] != "model":
            raise ValueError(f"it is no model, but {told['kind']!r:.50}")
        net = object.__new__(known(CLASSES, told["class"], "class"))
        dtype = known({name: name for name in DTYPES}, told["dtype"], "dtype")
        name, own = told["activation"], told["own_activation"]
        if activation is None and own:
            raise ValueError(f"its activation {name!r:.50} is not one of xpnet's: give activation=")
        net._define(
            told["layer_sizes"],
            activation or name,
            told["output"],
            told["weight_init"],
            told["l2"],
        )
        wrong = _wrong_params(arrays, net.layer_sizes, dtype)
        if wrong:
            raise ValueError(f"its parameters {wrong}")
    except KeyError as error:
        raise FileError(f"{path}: expected a model, found a description without {error}") from error
    except (TypeError, ValueError) as error:
        raise FileError(f"{path}: expected a model that can be loaded: {said(error)}") from error
    if net.activation.name != name:
        raise ValueError(f"activation is {net.activation.name!r}; {path} was saved with {name!r}")
    net.placement = place(xp, device, dtype)
    net.params = {key: net.placed(arrays[key]) for key in _shapes(net.layer_sizes)}
    return net


def _shapes(layer_sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, sizes in enumerate(itertools.pairwise(layer_sizes), 1):
        shapes[f"W{i}"], shapes[f"b{i}"] = sizes, sizes[1:]
    return shapes


def _wrong_params(
    arrays: Mapping[str, np.ndarray], layer_sizes: Sequence[int], dtype: str
) -> str | None:
    """What of the arrays contradicts the net's description, None where nothing does."""
    shapes = _shapes(layer_sizes)
    for key in arrays:
        if key not in shapes:
            return f"have {key!r:.50}, which a net of these layer_sizes does not have"
    for key, shape in shapes.items():
        found = arrays.get(key)
        if found is None:
            return f"lack {key}, {dtype} of shape {shape}"
        if found.shape != shape or found.dtype.name != dtype:
            return f"have {key} as {found.dtype} {found.shape}; expected {dtype} {shape}"
    return None


def _layer_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    try:
        entries = tuple(sizes)
    except TypeError:
        raise TypeError(
            f"layer_sizes must be a sequence of integers, not {type(sizes).__name__}"
        ) from None
    checked = tuple(positive_integer(size, "every entry of layer_sizes") for size in entries)
    if len(checked) < 2:
        raise ValueError(f"layer_sizes needs at least inputs and outputs, not {list(checked)}")
    return checked


def _weight_deviation(weight_init: str | float) -> Callable[[int, int], float]:
    rules: dict[str, Callable[[int, int], float]] = {
        "xavier": lambda n_in, n_out: (2.0 / (n_in + n_out)) ** 0.5,
        "he": lambda n_in, n_out: (2.0 / n_in) ** 0.5,
    }
    if isinstance(weight_init, str):
        return known(rules, weight_init, "weight_init")
    deviation = finite_number(weight_init, "weight_init", minimum=0.0)
    return lambda n_in, n_out: deviation


def _pieces(x: Array, rows: int) -> Iterator[Array]:
    n = x.shape[0]
    for start in range(0, n, rows):
        yield x[start : min(start + rows, n), :]
