"""The nets that users build from sizes, and the nets in files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

from ..backend.placement import DTYPES
from ..backend.table import place
from ..checks import finite_number, known
from ..files import FileError, load_arrays, said
from ..functions import Activation
from .definition import (
    activation_names,
    checked_data,
    checked_names,
    of_description,
    of_sizes,
    wrong_params,
)
from .net import Network


class MLP(Network):
    """Multi-layer perceptron: affine layers with an activation between them.

    Parameters
    ----------
    layer_sizes : sequence of int
        Inputs, hidden layers, outputs: at least two numbers.
    activation : str or Activation
        Of the hidden layers: "sigmoid", "relu", "tanh", "identity", "leaky_relu", "elu", "silu",
        "gelu", "gelu_tanh", "softplus" (``xpnet.functions.ACTIVATIONS``), or your own.
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

    _kind: ClassVar[str] = "MLP"

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
        definition = of_sizes(layer_sizes, activation, output, weight_init, l2)
        self._begin(definition, place(xp, device, dtype), seed)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Inputs, hidden layers, outputs."""
        return tuple(self._definition.widths)

    @property
    def depth(self) -> int:
        """The number of affine layers."""
        return len(self.layer_sizes) - 1

    @property
    def activation(self) -> Activation:
        """The activation of the hidden layers."""
        activation = self._definition.activation
        assert activation is not None
        return activation

    @property
    def weight_init(self) -> str | float:
        """How the weights began."""
        return self._definition.weight_init


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

    _kind: ClassVar[str] = "TwoLayerNet"

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


CLASSES: dict[str, type[Network]] = {kind._kind: kind for kind in (TwoLayerNet, MLP, Network)}


def load(
    path: str | os.PathLike[str],
    *,
    xp: Any = None,
    device: Any = None,
    activation: Activation | None = None,
) -> Network:
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
    See `Network.save`:

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     TwoLayerNet(4, 3, 2).save(path)
    ...     load(path)
    <TwoLayerNet 4-3-2, sigmoid, softmax: 23 parameters, float32, numpy on cpu>
    """
    if activation is not None and not isinstance(activation, Activation):
        raise TypeError(f"activation must be an Activation, not {type(activation).__name__}")
    arrays, saved = load_arrays(path)
    try:
        if saved["kind"] != "model":
            raise ValueError(f"it is no model, but {saved['kind']!r:.50}")
        kind = known(CLASSES, saved["class"], "class")
        dtype = known({name: name for name in DTYPES}, saved["dtype"], "dtype")
        definition = of_description(saved, activation)
        classes = checked_names(saved.get("class_names"), definition.widths[-1])
        data = checked_data(saved.get("data"))
        wrong = wrong_params(arrays, definition, dtype)
        if wrong:
            raise ValueError(f"its parameters {wrong}")
    except KeyError as error:
        raise FileError(f"{path}: expected a model, found a description without {error}") from error
    except (TypeError, ValueError) as error:
        raise FileError(f"{path}: expected a model that can be loaded: {said(error)}") from error
    names = activation_names(saved)
    if activation is not None and activation.name not in names:
        were = " and ".join(map(repr, names))
        raise ValueError(f"activation is {activation.name!r}; {path} was saved with {were}")
    net = kind._of(definition, place(xp, device, dtype), arrays)
    net.class_names, net.data = classes, data
    return net
