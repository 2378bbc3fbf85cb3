"""The nets: what users ask of them, predictions, losses and gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..arrays import Array, Params, all_finite, epsilon, item_bytes
from ..backend.table import place
from ..checks import finite_number, known, switch
from ..gradients import numerical
from ..gradients.check import check_gradient, given_leaves
from ..gradients.net import check_point
from ..gradients.report import GradientReport, merged
from ..gradients.sampling import Argument
from .base import BaseNetwork
from .definition import of_layers

P = ParamSpec("P")
R = TypeVar("R")

# Predictions over many rows are computed in pieces of about this many bytes.
CHUNK_BYTES = 64 * 2**20


def _quietly(method: Callable[P, R]) -> Callable[P, R]:
    """Compute in the backend's own context: what overflows shows in the result."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        net: Network = args[0]  # type: ignore[assignment]
        with net.placement._quietly():
            return method(*args, **kwargs)

    return call


class Network(BaseNetwork):
    """A net of layers, one behind the other.

    Parameters
    ----------
    layers : sequence
        Layers of `xpnet.layers`, activations, or names of activations. The last one must give a
        row of numbers for each row of x: the logits.
    input_shape : tuple of int
        Of one row of x: ``(features,)``, or ``(channels, height, width)`` for images.
    output : str
        "softmax" (with cross-entropy), "sigmoid" (binary cross-entropy, several labels a row),
        "identity" (half mean squared error) or "exp" (half mean Poisson deviance).
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
        ``W1`` (in, out), ``b1`` (out,), ``W2``, ``b2``, ..., numbered along the layers that have
        weights; what follows a layer with weights has its number. Change them as you like.
    state : dict of arrays
        What training moves though no gradient does, such as ``mean1`` and ``variance1`` of batch
        normalization; {} for most nets.
    class_names : tuple of str or None
        Names for `classify`, one for each output: set them as you like. Saved with the net.
    data : dict or None
        What was learned of the data that the net was trained with, such as the ``to_dict`` of
        `xpnet.load_table`'s description. Saved with the net, as JSON.

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
    >>> from xpnet.layers import Affine, Dropout
    >>> net = Network([Affine(8), "relu", Dropout(0.5), Affine(3)], input_shape=(4,), seed=0)
    >>> net.predict(np.ones((2, 4), dtype=np.float32)).shape
    (2, 3)

    A convolutional net; its batches are (n, 1, 28, 28):

    >>> from xpnet.layers import Convolution, MaxPool
    >>> layers = [Convolution(30, 5), "relu", MaxPool(2), Affine(100), "relu", Affine(10)]
    >>> Network(layers, input_shape=(1, 28, 28), seed=0).params["W1"].shape
    (30, 1, 5, 5)
    """

    def __init__(
        self,
        layers: Iterable[Any],
        *,
        input_shape: Sequence[int],
        output: str = "softmax",
        l2: float = 0.0,
        xp: Any = None,
        device: Any = None,
        dtype: Any = None,
        seed: int | None = None,
    ) -> None:
        definition = of_layers(layers, input_shape, output, l2)
        self._begin(definition, place(xp, device, dtype), seed)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one row of x."""
        return self._definition.input_shape

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
        >>> import numpy as np, xpnet
        >>> xpnet.MLP([2, 2], weight_init=0.0).predict(np.zeros((1, 2), dtype=np.float32))
        array([[0.5, 0.5]], dtype=float32)
        """
        return self.output.link(self._logits(self._batch.checked_input(x)))

    def classify(self, x: Array) -> Array:
        """Classes: of each row the one with the largest output.

        Parameters
        ----------
        x : array, (n, inputs)
            As for `predict`.

        Returns
        -------
        array, (n,)
            Class indices, integers of the net's library and device. Where the net has
            ``class_names``, their names, a NumPy array of strings; this waits for the device.
            For "sigmoid", whose labels are several a row: booleans (n, outputs), True where the
            probability is at least 1/2, with names or without.

        Raises
        ------
        TypeError, ValueError
            As `predict`; and ValueError for "identity" and "exp", whose predictions are no
            classes, and where predictions are NaN and the names are asked for.

        Examples
        --------
        >>> import numpy as np, xpnet
        >>> net = xpnet.MLP([2, 2], weight_init=0.0)
        >>> net.params["b1"][...] = [0.0, 1.0]
        >>> net.classify(np.zeros((1, 2), dtype=np.float32))
        array([1])
        >>> net.class_names = ["no", "yes"]
        >>> net.classify(np.zeros((1, 2), dtype=np.float32))
        array(['yes'], dtype='<U3')
        """
        if self.output.correct is None:
            raise ValueError(f"output '{self.output.name}' predicts values: there are no classes")
        predictions = self.predict(x)
        if not self.output.sums_to_one:
            return predictions >= 0.5
        classes = self.placement.xp.argmax(predictions, axis=1)
        if self.class_names is None:
            return classes
        if not all_finite(self.placement.xp, predictions):
            raise ValueError("the net predicts NaN or infinity for some rows: they have no class")
        return np.asarray(self.class_names)[self.placement.to_host(classes)]

    @_quietly
    def loss(self, x: Array, t: Array, *, training: bool = True) -> Array:
        """Mean loss over a batch, the L2 term included.

        Parameters
        ----------
        x : array, (n, inputs)
        t : array
            Class indices, integers (n,); or one-hot rows, (n, outputs); for "sigmoid" any
            values in [0, 1], for "identity" any values, for "exp" any of at least 0, of that
            shape. A single output also takes (n,).
        training : bool
            For nets with state, such as batch normalization's: True computes as training does,
            by the batch's own statistics, and is what `gradient` differentiates (dropout left
            out); False as `predict` does.

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
        >>> import numpy as np, xpnet
        >>> net = xpnet.MLP([2, 2], weight_init=0.0)
        >>> round(float(net.loss(np.zeros((1, 2), dtype=np.float32), np.asarray([1]))), 6)
        0.693147
        """
        learns = bool(self.state) and switch(training, "training")
        x, target = self._batch.checked(x, t, training=learns)
        if learns:  # the statistics are those of all rows: no pieces
            return self._stack.loss(self.params, x, target)
        value, _ = self.output.loss(self._logits(x), target)
        return self._stack.with_l2(value, self.params)

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
        >>> import numpy as np, xpnet
        >>> net = xpnet.MLP([2, 2], weight_init=0.0)
        >>> float(net.accuracy(np.zeros((2, 2), dtype=np.float32), np.asarray([0, 1])))
        0.5
        """
        if self.output.correct is None:
            raise ValueError(f"output '{self.output.name}' predicts values: there is no accuracy")
        x, target = self._batch.checked(x, t)
        return self._share_right(self._logits(x), target)

    def _share_right(self, logits: Array, target: Array) -> Array:
        assert self.output.correct is not None
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
        >>> import numpy as np, xpnet
        >>> net = xpnet.MLP([2, 2], weight_init=0.0)
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
        >>> import numpy as np, xpnet
        >>> net = xpnet.MLP([2, 2], weight_init=0.0)
        >>> x = np.ones((1, 2), dtype=np.float32)
        >>> loss, gradient = net.loss_and_gradient(x, np.asarray([1]))
        >>> sorted(gradient)
        ['W1', 'b1']
        """
        x, target = self._batch.checked(x, t, training=True)
        return self._backpropagate(self.params, x, target)

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
            passes, and good in float32 (see `xpnet.gradients.structured`). At a kink of the
            activation it is the central difference still. This goes as far back from the end as
            the layers are affine, with one activation between each two. For a layer before them,
            such as a convolution, it is the plain loop, but what lies before the layer is computed
            once.
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
        >>> import numpy as np, xpnet
        >>> net = xpnet.MLP([2, 2], weight_init=0.0, dtype="float64")
        >>> net.numerical_gradient(np.ones((1, 2)), np.asarray([1]))["b1"].round(6)
        array([ 0.5, -0.5])
        """
        x, target = self._batch.checked(x, t, training=True)
        if step is not None:
            step = finite_number(step, "step", minimum=0.0, exclusive=True)
        known({"structured": None, "elementwise": None}, method, "method")
        if method == "elementwise":
            loss = self._stack.loss_from(self.params, x, target)
            return numerical.differenced(loss, self.params, step)
        parts, point = self._stack.parts(self.params, x, target)
        found: Params = {}
        for keys, loss in parts:
            own: Params = {key: self.params[key] for key in keys}
            own = numerical.differenced(loss, own, step)
            found |= own
        if point is not None:
            found |= self._stack.differences(point, step, self.placement.to_host)
        return {key: found[key] for key in self.params}

    @_quietly
    def check_gradient(
        self, x: Array, t: Array, *, gradient: Params | None = None, directions: int | None = None
    ) -> GradientReport:
        """Check backpropagation against central differences, every entry.

        The tolerance of each entry follows from the measured noise of its own difference. The
        affine layers at the end of the net, with the activations between them, are checked by
        structured differences, which cost little and are good in float32; a layer before them as
        `xpnet.check_gradient` does it.

        Parameters
        ----------
        x : array, (n, inputs)
        t : array
            As for `loss`.
        gradient : dict of arrays, optional
            Checked in the place of ``net.gradient(x, t)``: your own backward pass.
        directions : int, optional
            For nets so large that every entry would take long: check so many random directions of
            each array that has more than twenty times as many entries; see
            `xpnet.check_gradient`. None checks every entry.

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
        >>> import numpy as np, xpnet
        >>> net = xpnet.MLP([4, 3, 2], seed=0)
        >>> x, t = np.ones((2, 4), dtype=np.float32), np.asarray([0, 1])
        >>> net.check_gradient(x, t).ok
        True
        >>> wrong = {key: -g for key, g in net.gradient(x, t).items()}
        >>> net.check_gradient(x, t, gradient=wrong).causes
        ('W1, b1, W2, b2: the wrong sign',)
        """
        x, target = self._batch.checked(x, t, training=True)
        if gradient is None:
            _, gradient = self._backpropagate(self.params, x, target)
        given_leaves(gradient, self.params, Argument(self.params))  # refused as a whole
        parts, point = self._stack.parts(self.params, x, target, plain=directions is not None)
        reports, eps = [], epsilon(x)
        for keys, loss in parts:
            size = float(self.placement.to_host(loss({})))
            for key, atol in self._stack.tolerances(keys, size, eps):
                pair = ({key: tree[key]} for tree in (gradient, self.params))
                # A few entries take no longer than some directions.
                small = directions is None or math.prod(self.params[key].shape) <= 20 * directions
                some = None if small else directions
                reports.append(check_gradient(loss, *pair, atol=atol, directions=some))
        if point is not None:
            given = {key: gradient[key] for key in point.params}
            reports.append(check_point(point, given, self.l2))
        return merged(reports, [*self.params])

    # --- the arithmetic, unchecked -----------------------------------------------------------

    def _backpropagate(
        self, params: Params, x: Array, target: Array, scale: Any = None,
        weights: Array | None = None, masks: Sequence[Array] | None = None,
        state: Params | None = None,
    ) -> tuple[Array, Params]:  # fmt: skip
        """Return loss and gradient at `params`; see ``Stack.backpropagate``. Checks nothing."""
        return self._stack.backpropagate(params, x, target, scale, weights, masks, state)

    def _differentiate(
        self, params: Params, x: Array, target: Array, scale: Any = None
    ) -> tuple[Array, Params]:
        """Return what `backpropagate` does, by central differences. Checks nothing."""
        return self._stack.differentiate(params, x, target, scale)

    def _logits(self, x: Array) -> Array:
        """Logits of any number of rows, in pieces that bound the memory of the hidden layers."""
        rows = max(1, CHUNK_BYTES // (item_bytes(x) * sum(self._definition.widths[1:])))
        starts = range(0, x.shape[0], rows)
        stack, params, state = self._stack, self.params, self.state
        ends = (min(i + rows, x.shape[0]) for i in starts)
        pieces = [
            stack.predict(params, state, x[i:end, ...]) for i, end in zip(starts, ends, strict=True)
        ]
        return pieces[0] if len(pieces) == 1 else self.placement.xp.concat(pieces, axis=0)
