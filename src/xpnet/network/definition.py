"""What a net is, apart from the values of its parameters and the place where they live."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..arrays import Host
from ..checks import finite_number, known, positive_integer
from ..files import MAX_HEADER
from ..functions import ACTIVATIONS, Activation
from ..layers import LAYERS, Affine, Elementwise, Layer, Shift, checked_weight_init, layer_of
from ..losses import OUTPUTS

Shape = tuple[int, ...]


class Definition:
    """A list of layers with an input and an output; it does not change.

    Parameters
    ----------
    layers : sequence of Layer
    input_shape : tuple of int
        Of a row of x.
    output : str
        A name of `OUTPUTS`.
    l2 : float
    activation : Activation, optional
        For a multi-layer perceptron: that of its hidden layers, whether it has some or not.

    Attributes
    ----------
    keys : list of dict
        For each layer, from the names of its parameters to those in the net: W to W2.
    shapes : dict of tuple
        The shape of each parameter of the net.
    state_keys, state_shapes : list of dict, dict of tuple
        The same of what training moves though no gradient does: running statistics.
    outputs : list of tuple
        The shape of a row of x, and of a row behind each layer.
    widths : list of int
        The numbers in a row of x, and in a row behind each layer that has parameters.
    droppers : list of int
        The layers that dropout is for: those that have a rate, or else every activation but one
        that gives the logits.
    shift : int
        By how many pixels images are moved while training.
    dropped, rates : list
        For each of these the numbers in a row behind it, and its rate, 0 for an activation.
    """

    def __init__(
        self, layers: Sequence[Layer], input_shape: Shape, output: str, l2: float,
        activation: Activation | None = None,
    ) -> None:  # fmt: skip
        self.input_shape, self.activation = input_shape, activation
        self.output = known(OUTPUTS, output, "output")
        self.l2 = finite_number(l2, "l2", minimum=0.0)
        self.layers = [*layers]
        if layers and isinstance(layers[-1], Affine):
            # The memory order that is best for logits.
            self.layers[-1] = dataclasses.replace(layers[-1], by_columns=True)
        self.keys: list[dict[str, str]] = []
        self.state_keys: list[dict[str, str]] = []
        self.shapes: dict[str, Shape] = {}
        self.state_shapes: dict[str, Shape] = {}
        self.outputs, self.widths, number = [input_shape], [math.prod(input_shape)], 0
        for i, layer in enumerate(self.layers):
            inputs = self.outputs[-1]
            try:
                shapes, output_shape = layer.shapes(inputs)
            except ValueError as error:
                raise ValueError(f"layers[{i}], {_word(layer)}: {error}") from None
            states = {name: value.shape for name, value in layer.first_state(inputs).items()}
            self.outputs.append(output_shape)
            number += "W" in shapes  # what follows a layer of weights is numbered like it
            suffix = str(max(number, 1))
            self.keys.append(self._named(shapes, suffix, self.shapes))
            self.state_keys.append(self._named(states, suffix, self.state_shapes))
            self.widths += [math.prod(output_shape)] if shapes else []
        begins = [i for i, layer in enumerate(self.layers) if isinstance(layer, Shift)]
        if begins not in ([], [0]):
            raise ValueError(f"layers[{begins[-1]}]: a Shift must be the first layer")
        self.shift = next((layer.most for layer in self.layers if isinstance(layer, Shift)), 0)
        # What comes last are the logits, not the outputs of a hidden layer.
        every = [i for i, layer in enumerate(self.layers[:-1]) if isinstance(layer, Elementwise)]
        self.droppers = [i for i, layer in enumerate(self.layers) if layer.rate] or every
        self.dropped = [math.prod(self.outputs[i + 1]) for i in self.droppers]
        self.rates = [self.layers[i].rate for i in self.droppers]

    def _named(
        self, shapes: Mapping[str, Shape], suffix: str, known_shapes: dict[str, Shape]
    ) -> dict[str, str]:
        """Give a layer's arrays names in the net, and note their shapes."""
        names = {}
        for name, shape in shapes.items():
            taken = self.shapes.keys() | self.state_shapes.keys()
            numbered = (f"{name}{suffix}_{i}" for i in itertools.count(2))  # where it is another's
            key = next(k for k in itertools.chain([name + suffix], numbered) if k not in taken)
            names[name], known_shapes[key] = key, shape
        return names

    def with_l2(self, l2: float) -> Definition:
        """Return the same net with another L2 term."""
        parts = self.layers, self.input_shape, self.output.name
        return Definition(*parts, l2, self.activation)

    @property
    def activations(self) -> list[Activation]:
        """The activations, in the order of the layers."""
        return [layer.function for layer in self.layers if isinstance(layer, Elementwise)]

    def first(self, rng: Any) -> dict[str, Host]:
        """Return the values with which the parameters begin, drawn on the host."""
        found: dict[str, Host] = {}
        for layer, names, inputs in zip(self.layers, self.keys, self.outputs, strict=False):
            found |= {names[name]: value for name, value in layer.first(inputs, rng).items()}
        return found

    def first_state(self) -> dict[str, Host]:
        """Return the values with which the state begins."""
        found: dict[str, Host] = {}
        for layer, names, inputs in zip(self.layers, self.state_keys, self.outputs, strict=False):
            found |= {names[name]: value for name, value in layer.first_state(inputs).items()}
        return found

    def refuse_rows(self, n: int, what: str) -> None:
        """Raise ValueError where a batch of n rows is too small to train with."""
        for i, layer in enumerate(self.layers):
            inputs = self.outputs[i]
            least = layer.least_rows(inputs)
            if n < least:
                rows = f"{n} row{'s' * (n != 1)}"
                raise ValueError(
                    f"{what} of {rows}: layers[{i}], {_word(layer)}, needs at least {least} while "
                    "training"
                )

    def describe(self) -> dict[str, Any]:
        """Return what JSON can hold of it; an activation of the user's own by its name."""
        used = [self.activation] if self.activation else self.activations
        foreign = any(f != ACTIVATIONS.get(f.name) for f in used)
        if self.activation is None:
            layers = [_described(layer) for layer in self.layers]
            kind: dict[str, Any] = {"layers": layers, "input_shape": list(self.input_shape)}
        else:
            kind = {"layer_sizes": list(self.widths), "activation": self.activation.name}
        ends = {"weight_init": self.weight_init} if self.activation else {}
        kind |= {"own_activation": foreign, "output": self.output.name}
        return {**kind, **ends, "l2": self.l2}

    @property
    def weight_init(self) -> str | float:
        """How the weights of the first affine layer began."""
        return next(layer.weight_init for layer in self.layers if isinstance(layer, Affine))

    def refuse_own_layers(self) -> None:
        """Raise ValueError where a file could not bring a layer back."""
        for layer in self.layers:
            if type(layer) not in (*LAYERS.values(), Elementwise):
                raise ValueError(f"a file cannot hold a layer of your own, such as {layer!r}")

    def __str__(self) -> str:
        """The line that stands for the net: its input, its layers, its output."""
        if self.activation is not None:
            words = ["-".join(map(str, self.widths)), self.activation.name]
        else:
            words = ["×".join(map(str, self.input_shape)), *map(_word, self.layers)]
        return ", ".join([*words, self.output.name])


def of_layers(
    layers: Iterable[Any], input_shape: Sequence[int], output: str, l2: float
) -> Definition:
    """Return the definition of `xpnet.Network`'s arguments, or raise."""
    if isinstance(layers, str) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a sequence of layers, not {type(layers).__name__}")
    found = [layer_of(entry) for entry in layers]
    definition = Definition(found, _sizes(input_shape, "input_shape", 1), output, l2)
    last = definition.outputs[-1]
    if len(last) != 1 or not definition.shapes:
        raise ValueError(
            "layers must end in one that gives a row of numbers, such as Affine(10), and have "
            f"parameters; they end in an output of shape (n, {', '.join(map(str, last))})"
        )
    return definition


def of_sizes(
    layer_sizes: Sequence[int], activation: str | Activation, output: str,
    weight_init: str | float, l2: float,
) -> Definition:  # fmt: skip
    """Return the definition of `xpnet.MLP`'s arguments, or raise."""
    sizes = _sizes(layer_sizes, "layer_sizes", 2)
    if not isinstance(activation, Activation):
        activation = known(ACTIVATIONS, activation, "activation")
    weight_init = checked_weight_init(weight_init)
    layers: list[Layer] = []
    for units in sizes[1:]:
        layers += [Affine(units, weight_init=weight_init), Elementwise(activation)]
    return Definition(layers[:-1], sizes[:1], output, l2, activation)


def of_description(described: Mapping[str, Any], activation: Activation | None) -> Definition:
    """Return what `Definition.describe` has described, or raise.

    `activation` is one of the user's own, which a description has by its name only.
    """
    names = activation_names(described)
    if described["own_activation"] and activation is None:
        name = next((name for name in names if name not in ACTIVATIONS), names[0])
        raise ValueError(f"its activation {name!r:.50} is not one of xpnet's: give activation=")
    output, l2 = described["output"], described["l2"]
    if "layers" in described:
        layers = [_restored(entry, activation) for entry in described["layers"]]
        return of_layers(layers, described["input_shape"], output, l2)
    function = activation or names[0]
    return of_sizes(described["layer_sizes"], function, output, described["weight_init"], l2)


def activation_names(described: Mapping[str, Any]) -> list[str]:
    """Return the names of the activations in a description."""
    if "layers" in described:
        return [entry for entry in described["layers"] if isinstance(entry, str)]
    return [described["activation"]]


def wrong_params(
    arrays: Mapping[str, Host], definition: Definition, dtype: str
) -> str | None:
    """Return what of a net's arrays, state included, contradicts it; None where nothing does."""
    shapes = {**definition.shapes, **definition.state_shapes}
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


def checked_names(names: Iterable[str] | None, outputs: int) -> tuple[str, ...] | None:
    """Return the names of a net's classes, or raise."""
    if names is None:
        return None
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"class_names must be a sequence of strings, not {type(names).__name__}")
    found = tuple(names)
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"class_names must be strings, not {type(name).__name__}")
    found = tuple(map(str, found))  # NumPy's are strings of its own
    if len(found) != outputs:
        raise ValueError(f"class_names has {len(found)} names; the net has {outputs} outputs")
    if len(set(found)) < outputs:
        raise ValueError("class_names has a name twice")
    return found


def checked_data(described: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a copy of what a net's file is to hold of its data, or raise."""
    if described is None:
        return None
    if not isinstance(described, dict):
        raise TypeError(f"data must be a dict, not {type(described).__name__}")
    try:
        text = json.dumps(described, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise type(error)(f"data must be what JSON can hold: {error}") from None
    if len(text) > MAX_HEADER // 2:
        raise ValueError(
            f"data takes {len(text):,} bytes in a file; expected at most {MAX_HEADER // 2:,}"
        )
    copied: dict[str, Any] = json.loads(text)
    return copied


def _restored(entry: Any, activation: Activation | None) -> Layer:
    if isinstance(entry, str):
        unknown = entry not in ACTIVATIONS
        given = activation is not None and (unknown or activation.name == entry)
        return layer_of(activation if given else entry)
    fields = dict(entry)
    return known(LAYERS, fields.pop("layer"), "layer")(**fields)


def _described(layer: Layer) -> Any:
    if isinstance(layer, Elementwise):
        return layer.function.name
    fields: Any = dataclasses.fields(layer) if dataclasses.is_dataclass(layer) else ()
    values = {field.name: getattr(layer, field.name) for field in fields if field.repr}
    return {"layer": type(layer).__name__, **values}


def _word(layer: Layer) -> str:
    """Return a layer as a user would write it, without what is as usual."""
    if isinstance(layer, Elementwise):
        return layer.function.name
    fields: Any = dataclasses.fields(layer) if dataclasses.is_dataclass(layer) else None
    if fields is None:
        return str(layer)
    words = []
    for field in fields:
        value = getattr(layer, field.name)
        if not field.kw_only:
            words.append(repr(value))
        elif field.repr and value != field.default:
            words.append(f"{field.name}={value!r}")
    return f"{type(layer).__name__}({', '.join(words)})"


def _sizes(sizes: Sequence[int], name: str, least: int) -> Shape:
    try:
        entries = tuple(sizes)
    except TypeError:
        came = type(sizes).__name__
        raise TypeError(f"{name} must be a sequence of integers, not {came}") from None
    checked = tuple(positive_integer(size, f"every entry of {name}") for size in entries)
    if len(checked) < least:
        needs = "inputs and outputs" if least > 1 else "one number"
        raise ValueError(f"{name} needs at least {needs}, not {list(checked)}")
    return checked
