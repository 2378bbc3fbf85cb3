"""The textbook's nets: a dict of parameters, and layers that are handed them at each pass."""

from __future__ import annotations

import math
import os
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from array_api_compat import device

from ..arrays import Array, Params, array_namespace, floating_namespace
from ..backend.table import placement_of
from ..checks import known
from ..files import FileError, replace_atomically
from ..gradients.numerical import differenced
from ..layers import Convolution as Filters
from ..layers import MaxPool
from ..layers.base import first_weights
from ..network.stack import with_l2
from . import layers
from .tools import STEP

INITS = {"relu": "he", "he": "he", "sigmoid": "xavier", "xavier": "xavier"}
ACTIVATIONS = {"sigmoid": layers.Sigmoid, "relu": layers.Relu}
SIMPLE = MappingProxyType({"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1})
CONV_1, CONV_2, CONV_3, CONV_4, CONV_5, CONV_6 = (
    MappingProxyType({"filter_num": filters, "filter_size": 3, "pad": pad, "stride": 1})
    for filters, pad in ((16, 1), (16, 1), (32, 1), (32, 2), (64, 1), (64, 1))
)
Options = Mapping[str, int]


class _Net:
    """Layers in a row, and their parameters by the textbook's names."""

    weight_decay_lambda: float = 0.0
    trains_in_loss: ClassVar[bool] = False  # whether `loss` without train_flg drops numbers

    def __init__(self) -> None:
        self.params: Params = {}
        self.layers: OrderedDict[str, Any] = OrderedDict()
        self.last_layer = self.lastLayer = layers.SoftmaxWithLoss()
        self._bound: list[tuple[Any, dict[str, str]]] = []

    def _affine(self, number: int, n_in: int, n_out: int, init: Any) -> Any:
        return self._parametrized(layers.Affine, number, (n_in, n_out), init)

    def _parametrized(
        self, kind: Any, number: int, shape: Sequence[int], init: Any, *options: int
    ) -> Any:
        """Return a layer with new weights and biases, that are entries of `params`."""
        n_in, n_out = shape if len(shape) == 2 else (math.prod(shape[1:]), shape[0])
        if isinstance(init, str):
            init = known(INITS, init.lower(), "weight_init_std")
        # The textbook's Xavier is a variance of 1 / in: that of as many outputs as inputs.
        rng: Any = np.random
        weights = first_weights(tuple(shape), init, n_in, n_in, rng)
        return self._with(kind, number, {"W": weights, "b": np.zeros(n_out)}, *options)

    def _convolution(
        self, number: int, image: tuple[int, ...], conv: Options, init: Any
    ) -> tuple[Any, tuple[int, ...]]:
        """Return a convolution, and the shape of its output."""
        stride, pad = conv["stride"], conv["pad"]
        filters = Filters(conv["filter_num"], conv["filter_size"], stride=stride, padding=pad)
        shapes, after = filters.shapes(image)
        return self._parametrized(layers.Convolution, number, shapes["W"], init, stride, pad), after

    def _with(self, kind: Any, number: int, values: Params, *options: int) -> Any:
        names = {name: f"{name}{number}" for name in values}
        self.params.update({names[name]: value for name, value in values.items()})
        layer = kind(*values.values(), *options)
        self._bound.append((layer, names))
        return layer

    def _bind(self, x: Array) -> None:
        """Hand each layer its entries of `params`, which go where `x` lives."""
        first = next(iter(self.params.values()))
        if array_namespace(first) is not array_namespace(x) or device(first) != device(x):
            floating_namespace(x)
            here = placement_of(x)
            for key, value in self.params.items():
                self.params[key] = here.floats(placement_of(value).to_host(value))
        for layer, names in self._bound:
            for name, key in names.items():
                setattr(layer, name, self.params[key])

    def predict(self, x: Array, train_flg: bool = False) -> Array:
        """Return the logits (n, classes); `train_flg` where dropout and batch statistics act."""
        self._bind(x)
        for layer in self.layers.values():
            both = isinstance(layer, (layers.Dropout, layers.BatchNormalization))
            x = layer.forward(x, train_flg) if both else layer.forward(x)
        return x

    def loss(self, x: Array, t: Array, train_flg: bool | None = None) -> Array:
        """Return the mean loss of a batch, with the weights' squares where they decay."""
        train_flg = self.trains_in_loss if train_flg is None else train_flg
        loss = self.last_layer.forward(self.predict(x, train_flg), t)
        weights = (key for key in self.params if key.startswith("W"))
        return with_l2(loss, self.params, weights, self.weight_decay_lambda)

    def accuracy(self, x: Array, t: Array, batch_size: int = 1000) -> float:
        """Return the share of predictions that are right; t is one-hot, or labels."""
        xp, right = array_namespace(t), 0
        labels = xp.argmax(t, axis=1) if t.ndim != 1 else t
        for start in range(0, x.shape[0], batch_size):
            batch = slice(start, min(start + batch_size, x.shape[0]))
            y = self.predict(x[batch, ...])
            right += int(xp.count_nonzero(xp.argmax(y, axis=1) == labels[batch]))
        return right / int(x.shape[0])

    def gradient(self, x: Array, t: Array) -> Params:
        """Return the gradient of the loss while training, by backpropagation."""
        self.loss(x, t, train_flg=True)
        dout = self.last_layer.backward()
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)
        grads = {}
        for layer, names in self._bound:
            for name, key in names.items():
                grads[key] = getattr(layer, f"d{name}")
                if name == "W" and self.weight_decay_lambda:
                    grads[key] = grads[key] + self.weight_decay_lambda * self.params[key]
        return grads

    def numerical_gradient(self, x: Array, t: Array) -> Params:
        """Return the gradient of the loss while training, by central differences of 1e-4."""
        self._bind(x)
        before, grads = dict(self.params), {}

        def loss(moved: Params) -> Array:
            self.params.update(moved)
            return self.loss(x, t, train_flg=True)

        for key, value in before.items():
            found: Params = differenced(loss, {key: value}, STEP)
            grads.update(found)
            self.params[key] = value
        return grads

    def save_params(self, file_name: str | os.PathLike[str] = "params.npz") -> None:
        """Write the parameters as an .npz file, whatever its name; no pickle."""
        host: Any = {key: placement_of(value).to_host(value) for key, value in self.params.items()}
        replace_atomically(file_name, lambda file: np.savez(file, **host))

    def load_params(self, file_name: str | os.PathLike[str] = "params.npz") -> None:
        """Read what `save_params` has written; FileError where that is not it, as for a pickle."""
        try:
            with open(file_name, "rb") as file:
                stored = dict(np.load(file, allow_pickle=False))
        except (ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise FileError(
                f"{file_name}: expected an .npz file of save_params, which pickles are not: {error}"
            ) from error
        shapes = {key: value.shape for key, value in stored.items()}
        expected = {key: tuple(value.shape) for key, value in self.params.items()}
        if shapes != expected:
            raise FileError(f"{file_name}: expected arrays of {expected}, found {shapes}")
        for key, value in self.params.items():
            self.params[key] = placement_of(value).floats(stored[key])


class TwoLayerNet(_Net):
    """Affine, ReLU, affine, softmax: the net of chapter 5.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    weight_init_std : float

    Examples
    --------
    >>> net = TwoLayerNet(784, 50, 10)
    >>> [*net.layers], net.params["W1"].shape
    (['Affine1', 'Relu1', 'Affine2'], (784, 50))
    """

    def __init__(
        self, input_size: int, hidden_size: int, output_size: int, weight_init_std: float = 0.01
    ) -> None:
        super().__init__()
        self.layers["Affine1"] = self._affine(1, input_size, hidden_size, weight_init_std)
        self.layers["Relu1"] = layers.Relu()
        self.layers["Affine2"] = self._affine(2, hidden_size, output_size, weight_init_std)


class MultiLayerNetExtend(_Net):
    """Affine layers with activations; weight decay, dropout, batch normalization.

    Parameters
    ----------
    input_size : int
    hidden_size_list : list of int
    output_size : int
    activation : "relu" or "sigmoid"
    weight_init_std : str or float
        "relu" or "he": variance 2 / in; "sigmoid" or "xavier": 1 / in; or the deviation.
    weight_decay_lambda : float
        Factor of half the sum of the weights' squares.
    use_dropout : bool
    dropout_ration : float
        The textbook's spelling.
    use_batchnorm : bool

    Examples
    --------
    >>> net = MultiLayerNetExtend(784, [100], 10, use_dropout=True, use_batchnorm=True)
    >>> [*net.layers]
    ['Affine1', 'BatchNorm1', 'Activation_function1', 'Dropout1', 'Affine2']
    """

    def __init__(
        self, input_size: int, hidden_size_list: Sequence[int], output_size: int,
        activation: str = "relu", weight_init_std: str | float = "relu",
        weight_decay_lambda: float = 0.0, use_dropout: bool = False, dropout_ration: float = 0.5,
        use_batchnorm: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight_decay_lambda = weight_decay_lambda
        sizes = [input_size, *hidden_size_list, output_size]
        kind = known(ACTIVATIONS, activation, "activation")
        for i in range(1, len(sizes)):
            self.layers[f"Affine{i}"] = self._affine(i, sizes[i - 1], sizes[i], weight_init_std)
            if i == len(sizes) - 1:
                break
            if use_batchnorm:
                first = {"gamma": np.ones(sizes[i]), "beta": np.zeros(sizes[i])}
                self.layers[f"BatchNorm{i}"] = self._with(layers.BatchNormalization, i, first)
            self.layers[f"Activation_function{i}"] = kind()
            if use_dropout:
                self.layers[f"Dropout{i}"] = layers.Dropout(dropout_ration)


class MultiLayerNet(MultiLayerNetExtend):
    """Affine layers with activations, and weight decay.

    Parameters
    ----------
    input_size, hidden_size_list, output_size, activation, weight_init_std, weight_decay_lambda
        As for `MultiLayerNetExtend`.
    use_dropout, dropout_ration, use_batchnorm
        Likewise, though the textbook's net has them not.

    Examples
    --------
    >>> net = MultiLayerNet(784, [100, 50], 10, activation="sigmoid", weight_init_std="xavier")
    >>> [value.shape for key, value in net.params.items() if key.startswith("W")]
    [(784, 100), (100, 50), (50, 10)]
    """


class SimpleConvNet(_Net):
    """Convolution, ReLU, pooling, affine, ReLU, affine, softmax: the net of chapter 7.

    Parameters
    ----------
    input_dim : (channels, height, width)
    conv_param : dict
        With "filter_num", "filter_size", "pad", "stride".
    hidden_size, output_size : int
    weight_init_std : str or float

    Examples
    --------
    >>> net = SimpleConvNet()
    >>> net.params["W1"].shape, net.params["W2"].shape
    ((30, 1, 5, 5), (4320, 100))
    """

    def __init__(
        self, input_dim: tuple[int, int, int] = (1, 28, 28), conv_param: Options = SIMPLE,
        hidden_size: int = 100, output_size: int = 10, weight_init_std: str | float = 0.01,
    ) -> None:  # fmt: skip
        super().__init__()
        self.layers["Conv1"], image = self._convolution(1, input_dim, conv_param, weight_init_std)
        self.layers["Relu1"] = layers.Relu()
        self.layers["Pool1"] = layers.Pooling(pool_h=2, pool_w=2, stride=2)
        n_in = math.prod(MaxPool(2).shapes(image)[1])
        self.layers["Affine1"] = self._affine(2, n_in, hidden_size, weight_init_std)
        self.layers["Relu2"] = layers.Relu()
        self.layers["Affine2"] = self._affine(3, hidden_size, output_size, weight_init_std)


class DeepConvNet(_Net):
    """Three times conv, ReLU, conv, ReLU, pool; affine, ReLU, dropout, affine, dropout: chapter 8.

    Parameters
    ----------
    input_dim : (channels, height, width)
    conv_param_1, conv_param_2, conv_param_3, conv_param_4, conv_param_5, conv_param_6 : dict
        As for `SimpleConvNet`. All weights begin with the variance 2 / in.
    hidden_size, output_size : int

    Examples
    --------
    >>> net = DeepConvNet()
    >>> len(net.layers), net.params["W7"].shape
    (20, (1024, 50))
    """

    trains_in_loss = True

    def __init__(
        self, input_dim: tuple[int, int, int] = (1, 28, 28), conv_param_1: Options = CONV_1,
        conv_param_2: Options = CONV_2, conv_param_3: Options = CONV_3,
        conv_param_4: Options = CONV_4, conv_param_5: Options = CONV_5,
        conv_param_6: Options = CONV_6, hidden_size: int = 50, output_size: int = 10,
    ) -> None:  # fmt: skip
        super().__init__()
        image: tuple[int, ...] = input_dim
        convs = conv_param_1, conv_param_2, conv_param_3, conv_param_4, conv_param_5, conv_param_6
        for i, conv in enumerate(convs, start=1):
            self.layers[f"Conv{i}"], image = self._convolution(i, image, conv, "he")
            self.layers[f"Relu{i}"] = layers.Relu()
            if i % 2 == 0:
                self.layers[f"Pool{i // 2}"] = layers.Pooling(pool_h=2, pool_w=2, stride=2)
                image = MaxPool(2).shapes(image)[1]
        self.layers["Affine1"] = self._affine(7, math.prod(image), hidden_size, "he")
        self.layers["Relu7"] = layers.Relu()
        self.layers["Dropout1"] = layers.Dropout(0.5)
        self.layers["Affine2"] = self._affine(8, hidden_size, output_size, "he")
        self.layers["Dropout2"] = layers.Dropout(0.5)
