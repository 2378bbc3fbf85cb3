"""What a net is, apart from the values of its parameters and the place where they live."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arrays import Host
from ..checks import finite_number, known, positive_integer
from ..functions import ACTIVATIONS, Activation
from ..layers import LAYERS, Affine, Elementwise, Layer, checked_weight_init, layer_of
from ..losses import OUTPUTS, Output


@dataclass(frozen=True)
class Definition:
    """A list of layers with an output; see `checked`.

    Attributes
    ----------
    layers : tuple of Layer
    input_shape : tuple of int
        Of a row of x.
    output : Output
    l2 : float
    """

    layers: tuple[Layer, ...]
    input_shape: tuple[int, ...]
    output: Output
    l2: float

    @classmethod
    def checked(
        cls, layers: Iterable[Any], input_shape: Sequence[int], output: str, l2: float
    ) -> Definition:
        """Return the definition of `xpnet.Network`'s arguments, or raise."""
        if isinstance(layers, str) or not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a sequence of layers, not {type(layers).__name__}")
        found = [layer_of(entry) for entry in layers]
        shape = _sizes(input_shape, "input_shape", 1)
        definition = cls(
            tuple(_with_logits_by_columns(found)), shape, known(OUTPUTS, output, "output"),
            finite_number(l2, "l2", minimum=0.0),
        )  # fmt: skip
        if len(definition.output_shape) != 1 or not definition.shapes:
            raise ValueError(
                "layers must end in one that gives a row of numbers, such as Affine(10); they end "
                f"in an output of shape (n, {', '.join(map(str, definition.output_shape))})"
            )
        return definition

    @classmethod
    def saved(cls, described: Mapping[str, Any], activation: Activation | None) -> Definition:
        """Return what `describe` has described, or raise; `activation` is one of the user's own."""
        _refuse_unknown(described, activation)
        layers = [_restored(entry, activation) for entry in described["layers"]]
        shape, output, l2 = (described[key] for key in ("input_shape", "output", "l2"))
        return cls.checked(layers, shape, output, l2)

    @functools.cached_property
    def _walk(self) -> tuple[tuple[dict[str, str], ...], dict[str, tuple[int, ...]], list[Any]]:
        """For each layer its parameters' names in the net; the shapes by these; all outputs."""
        keys, shapes, outputs, number = [], {}, [self.input_shape], 0
        for layer in self.layers:
            own, output = layer.shapes(outputs[-1])
            outputs.append(output)
            number += "W" in own  # what follows a layer of weights is numbered like it
            names = {name: f"{name}{max(number, 1)}" for name in own}
            keys.append(names)
            shapes.update({names[name]: shape for name, shape in own.items()})
        return tuple(keys), shapes, outputs

    @property
    def keys(self) -> tuple[dict[str, str], ...]:
        """For each layer, from the names of its parameters to those in the net: W to W2."""
        return self._walk[0]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter of the net."""
        return self._walk[1]

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of a row of logits."""
        return tuple(self._walk[2][-1])

    @functools.cached_property
    def widths(self) -> tuple[int, ...]:
        """The numbers in a row of x, and in a row behind each layer that has parameters."""
        _, _, outputs = self._walk
        pairs = zip(self.keys, outputs[1:], strict=True)
        behind = [math.prod(output) for names, output in pairs if names]
        return math.prod(self.input_shape), *behind

    @functools.cached_property
    def droppers(self) -> tuple[int, ...]:
        """The layers that dropout is for: those that have a rate, or else every activation."""
        rated = [i for i, layer in enumerate(self.layers) if layer.rate]
        every = [i for i, layer in enumerate(self.layers) if isinstance(layer, Elementwise)]
        return tuple(rated or every)

    @functools.cached_property
    def dropped(self) -> tuple[int, ...]:
        """The numbers in a row behind each of the `droppers`."""
        return tuple(math.prod(self._walk[2][i + 1]) for i in self.droppers)

    @property
    def rates(self) -> list[float]:
        """The rate of each of the `droppers`, 0 for an activation."""
        return [self.layers[i].rate for i in self.droppers]

    def first(self, rng: Any) -> dict[str, Host]:
        """Return the values with which the parameters begin, drawn on the host."""
        found: dict[str, Host] = {}
        for layer, names, inputs in zip(self.layers, self.keys, self._walk[2], strict=False):
            values = layer.first(inputs, rng)
            found.update({names[name]: value for name, value in values.items()})
        return found

    def describe(self) -> dict[str, Any]:
        """Return what JSON can hold of it; an activation of the user's own by its name."""
        return {
            "layers": [_described(layer) for layer in self.layers],
            "input_shape": list(self.input_shape),
            "own_activation": any(_is_own(f) for f in self.activations),
            "output": self.output.name,
            "l2": self.l2,
        }

    def refuse_own_layers(self) -> None:
        """Raise ValueError where a file could not bring a layer back."""
        for layer in self.layers:
            if type(layer) not in (*LAYERS.values(), Elementwise):
                raise ValueError(f"a file cannot hold a layer of your own, such as {layer!r}")

    @property
    def sizes(self) -> str:
        """Words for an error about its size."""
        return f"layers {[_word(layer) for layer in self.layers]}"

    @property
    def activations(self) -> list[Activation]:
        """The activations, in the order of the layers."""
        return [layer.function for layer in self.layers if isinstance(layer, Elementwise)]

    def __str__(self) -> str:
        """The line that stands for the net: its input, its layers, its output."""
        words = [_word(layer) for layer in self.layers]
        return f"{'×'.join(map(str, self.input_shape))}, {', '.join([*words, self.output.name])}"


@dataclass(frozen=True)
class Perceptron(Definition):
    """The definition of a multi-layer perceptron, from which its list of layers follows.

    Attributes
    ----------
    layer_sizes : tuple of int
    activation : Activation
    weight_init : str or float
    """

    layer_sizes: tuple[int, ...]
    activation: Activation
    weight_init: str | float

    @classmethod
    def of(
        cls, layer_sizes: Sequence[int], activation: str | Activation, output: str,
        weight_init: str | float, l2: float,
    ) -> Perceptron:  # fmt: skip
        """Return the definition of `xpnet.MLP`'s arguments, or raise."""
        sizes = _sizes(layer_sizes, "layer_sizes", 2)
        function = (
            activation
            if isinstance(activation, Activation)
            else known(ACTIVATIONS, activation, "activation")
        )
        out = known(OUTPUTS, output, "output")
        l2 = finite_number(l2, "l2", minimum=0.0)
        weight_init = checked_weight_init(weight_init)
        layers: list[Layer] = []
        for units in sizes[1:]:
            layers += [Affine(units, weight_init), Elementwise(function)]
        layers = _with_logits_by_columns(layers[:-1])
        return cls(tuple(layers), sizes[:1], out, l2, sizes, function, weight_init)

    @classmethod
    def saved(cls, described: Mapping[str, Any], activation: Activation | None) -> Perceptron:
        """Return what `describe` has described, or raise; `activation` is one of the user's own."""
        _refuse_unknown(described, activation)
        function = activation or described["activation"]
        sizes, output, weight_init, l2 = (
            described[key] for key in ("layer_sizes", "output", "weight_init", "l2")
        )
        return cls.of(sizes, function, output, weight_init, l2)

    def describe(self) -> dict[str, Any]:
        """Return what JSON can hold of it; an activation of the user's own by its name."""
        return {
            "layer_sizes": list(self.layer_sizes),
            "activation": self.activation.name,
            "own_activation": _is_own(self.activation),
            "output": self.output.name,
            "weight_init": self.weight_init,
            "l2": self.l2,
        }

    @property
    def sizes(self) -> str:
        """Words for an error about its size."""
        return f"layer_sizes {list(self.layer_sizes)}"

    def __str__(self) -> str:
        """The line that stands for the net: its sizes, its activation, its output."""
        sizes = "-".join(map(str, self.layer_sizes))
        return f"{sizes}, {self.activation.name}, {self.output.name}"


def activation_names(described: Mapping[str, Any]) -> list[str]:
    """Return the names of the activations in what `Definition.describe` has returned."""
    if "activation" in described:
        return [described["activation"]]
    return [entry for entry in described["layers"] if isinstance(entry, str)]


def _refuse_unknown(described: Mapping[str, Any], activation: Activation | None) -> None:
    if described["own_activation"] and activation is None:
        names = [name for name in activation_names(described) if name not in ACTIVATIONS]
        name = next(iter(names or activation_names(described)))
        raise ValueError(f"its activation {name!r:.50} is not one of xpnet's: give activation=")


def _restored(entry: Any, activation: Activation | None) -> Layer:
    if isinstance(entry, str):
        own = activation is not None and (activation.name == entry or entry not in ACTIVATIONS)
        return layer_of(activation if own else entry)
    fields = dict(entry)
    return known(LAYERS, fields.pop("layer"), "layer")(**fields)


def _described(layer: Layer) -> Any:
    if isinstance(layer, Elementwise):
        return layer.function.name
    fields: Any = dataclasses.fields(layer) if dataclasses.is_dataclass(layer) else ()
    values = {field.name: getattr(layer, field.name) for field in fields if field.repr}
    return {"layer": type(layer).__name__, **values}


def _is_own(activation: Activation) -> bool:
    """Whether an activation is the user's own, which its name does not say."""
    return activation != ACTIVATIONS.get(activation.name)


def _word(layer: Layer) -> str:
    return layer.function.name if isinstance(layer, Elementwise) else str(layer)


def _with_logits_by_columns(layers: list[Layer]) -> list[Layer]:
    """Have the last layer give its output in the memory order that is best for logits."""
    if not layers or not isinstance(layers[-1], Affine):
        return layers
    return [*layers[:-1], dataclasses.replace(layers[-1], by_columns=True)]


def _sizes(sizes: Sequence[int], name: str, least: int) -> tuple[int, ...]:
    try:
        entries = tuple(sizes)
    except TypeError:
        raise TypeError(
            f"{name} must be a sequence of integers, not {type(sizes).__name__}"
        ) from None
    checked = tuple(positive_integer(size, f"every entry of {name}") for size in entries)
    if len(checked) < least:
        needs = "inputs and outputs" if least > 1 else "one number"
        raise ValueError(f"{name} needs at least {needs}, not {list(checked)}")
    return checked


def wrong_params(
    arrays: Mapping[str, Host], shapes: Mapping[str, tuple[int, ...]], dtype: str
) -> str | None:
    """Return what of the arrays contradicts a net's shapes, None where nothing does."""
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
