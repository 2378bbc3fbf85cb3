"""The arithmetic of a net: layers one behind the other, forward to the loss and back.

Nothing here checks its arguments, places an array or looks at a value: these are functions of
arrays that any library can trace, compile or record.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..arrays import Array, Params, array_namespace
from ..gradients import structured
from ..layers import Affine, Elementwise, Layer
from .definition import Definition

Masks = Sequence[Array]

_NONE: Params = {}  # what a layer without parameters is handed


@dataclass(frozen=True)
class Stack:
    """The layers of a net at work.

    Parameters
    ----------
    definition : Definition
    """

    definition: Definition

    def forward(
        self, params: Params, x: Array, masks: Masks | None = None
    ) -> tuple[Array, list[Any]]:
        """Return the logits while training; and for each layer its parameters, what it has kept.

        `masks`, one (n, ...) for each of the definition's `droppers`, are what the outputs of
        these are multiplied by.
        """
        drawn = {} if masks is None else dict(zip(self.definition.droppers, masks, strict=True))
        kept = []
        for i, layer, names in self._layers:
            p = {name: params[key] for name, key in names} if names else _NONE
            x, needed = layer.forward(p, x, drawn.get(i)) if drawn else layer.forward(p, x)
            kept.append((p, needed))
        return x, kept

    def predict(self, params: Params, state: Params, x: Array) -> Array:
        """Return the logits when training is over, from the layers' state."""
        for i, layer, names in self._layers:
            p = {name: params[key] for name, key in names} if names else _NONE
            keys = self.definition.state_keys[i]
            s = {name: state[key] for name, key in keys.items()} if keys else _NONE
            x = layer.predict(p, s, x)
        return x

    def move(self, state: Params, kept: Sequence[Any]) -> None:
        """Move the layers' state by a batch, in place where arrays are mutable."""
        for (_, needed), layer, keys in zip(
            kept, self.definition.layers, self.definition.state_keys, strict=True
        ):
            if keys:
                s = {name: state[key] for name, key in keys.items()}
                layer.move(s, needed)
                state.update({keys[name]: value for name, value in s.items()})

    def backward(self, kept: Sequence[Any], d: Array) -> Params:
        """Return the gradient of the parameters from `d`, that of the logits."""
        gradient: Params = {}
        for i, layer, names in reversed(self._layers[self._first :]):
            p, needed = kept[i]
            if names:
                found = layer.gradient(p, needed, d)
                for name, key in names:
                    gradient[key] = found[name]
            if i > self._first:  # nobody asks for the gradient of x
                d = layer.pull(p, needed, d)
        return gradient

    def backpropagate(
        self,
        params: Params,
        x: Array,
        target: Array,
        scale: Any = None,
        weights: Array | None = None,
        masks: Masks | None = None,
        state: Params | None = None,
    ) -> tuple[Array, Params]:
        """Forward → loss → backward: return the loss and its gradient at `params`.

        `scale` multiplies the gradient. It is applied to the gradient of the logits, the
        smallest array on the way, and passes through everything behind it, which is linear.
        `weights`, (n,), are those of the rows: the loss is the weighted mean. `state`, where it
        is given, is moved by the batch.
        """
        if weights is not None:
            weights = weights[:, None] * (x.shape[0] / array_namespace(weights).sum(weights))
        logits, kept = self.forward(params, x, masks)
        if state:
            self.move(state, kept)
        factor = 1.0 if scale is None else scale
        loss, d = self.definition.output.loss(logits, target, factor, weights)
        gradient = self.backward(kept, d)
        if self.definition.l2:
            return self.with_l2(loss, params), self.add_l2(gradient, params, scale)
        return loss, gradient

    def differentiate(
        self, params: Params, x: Array, target: Array, scale: Any = None
    ) -> tuple[Array, Params]:
        """Return what `backpropagate` does, by central differences; nothing waits."""
        point = self._point(0, params, x, target)
        loss, _ = self.definition.output.loss(point.logits, target)
        gradient = self.add_l2(structured.gradient(point, scale=scale), params, scale)
        return self.with_l2(loss, params), gradient

    def loss(self, params: Params, x: Array, target: Array) -> Array:
        """Return the mean loss over a batch while training, with the L2 term."""
        value, _ = self.definition.output.loss(self.forward(params, x)[0], target)
        return self.with_l2(value, params)

    def with_l2(self, loss: Array, params: Params) -> Array:
        """Add the L2 term to a loss."""
        return with_l2(loss, params, self._penalized, self.definition.l2)

    def add_l2(self, gradient: Params, params: Params, scale: Any = None) -> Params:
        """Add the gradient of the L2 term to a gradient, which `scale` multiplies."""
        # The central difference of l2/2 w² is l2·w, for any step.
        l2 = self.definition.l2
        if l2:
            factor = l2 if scale is None else l2 * scale
            for key in gradient.keys() & self._penalized:
                gradient[key] += factor * params[key]
        return gradient

    def tolerances(
        self, keys: list[str], loss: float, eps: float
    ) -> list[tuple[str, float | None]]:
        """Return the keys of a layer's parameters, each with how far off 0 it may be.

        None where the gradient is no 0. A bias before a normalization by the batch moves nothing:
        what its differences show is rounding, some eps · loss over a step of eps^(1/3).
        """
        pairs = zip(self.definition.layers[1:], self.definition.keys, strict=False)
        idle = {names["b"] for after, names in pairs if after.centers and "b" in names}
        tolerance = eps**0.5 * max(1.0, abs(loss))
        return [(key, tolerance if key in idle else None) for key in keys]

    def loss_from(
        self, params: Params, x: Array, target: Array, first: int = 0
    ) -> Callable[[Params], Array]:
        """Return the loss as a function of some parameters, from what comes to the first layer."""

        def loss(moved: Params) -> Array:
            every, z = {**params, **moved}, x
            for _, layer, names in self._layers[first:]:
                z, _ = layer.forward({name: every[key] for name, key in names}, z)
            return self.with_l2(self.definition.output.loss(z, target)[0], every)

        return loss

    # --- numerical gradients by the structure of affine layers -----------------------------------

    @functools.cached_property
    def perceptron(self) -> int:
        """Where the perceptron begins that the net ends in, or the number of layers.

        Its layers are affine, with one activation between each two; dropout aside.
        """
        both: tuple[type[Layer], ...] = (Affine, Elementwise)
        start, kinds = len(self._layers), itertools.cycle(both)
        for i, layer, _ in reversed(self._layers):
            if layer.rate:
                continue
            kind = next(kinds)
            if type(layer) is not kind:
                break
            start = i if kind is Affine else start
        return start

    @property
    def is_perceptron(self) -> bool:
        """Whether all layers are such; dropout aside."""
        return all(layer.rate for layer in self.definition.layers[: self.perceptron])

    def parts(
        self, params: Params, x: Array, target: Array, *, plain: bool = False
    ) -> tuple[list[tuple[list[str], Callable[[Params], Array]]], structured.Point | None]:
        """Return the loss as a function of each layer's parameters, and the perceptron behind.

        Of each layer before the perceptron, or with `plain` of every layer: the keys of its
        parameters, and the loss from these. What lies before the layer is computed once.
        """
        found, end = [], len(self._layers) if plain else self.perceptron
        for i, layer, names in self._layers[:end]:
            if names:
                found.append(([key for _, key in names], self.loss_from(params, x, target, i)))
            x, _ = layer.forward({name: params[key] for name, key in names}, x)
        if end == len(self._layers):
            return found, None
        return found, self._point(end, params, x, target)

    def differences(self, point: structured.Point, step: float | None, read: Any) -> Params:
        """Return the gradient at a point by central differences; `read` brings arrays to the host.

        Parameters
        ----------
        point : Point
            As `parts` gives it.
        """
        return self.add_l2(structured.gradient(point, step=step, read=read), point.params)

    def refuse_unstructured(self, what: str) -> None:
        """Raise ValueError where the layers are others than `structured` knows."""
        if not self.is_perceptron:
            raise ValueError(
                f"{what} is for affine layers with one activation between each two; this net is "
                f"{self.definition}"
            )

    def _point(self, first: int, params: Params, x: Array, target: Array) -> structured.Point:
        """Return the layers from the first on at a batch that comes to them."""
        own: Params = {}
        z: list[Array] = []
        a: list[Array] = []
        activations = []
        for _, layer, names in self._layers[first:]:
            own |= {key: params[key] for _, key in names}
            x, needed = layer.forward({name: params[key] for name, key in names}, x)
            if isinstance(layer, Affine):
                z.append(needed[0])
            elif isinstance(layer, Elementwise):
                a.append(needed[0])
                activations.append(layer.function)
        return structured.Point(own, activations, self.definition.output, x, z, a, target)

    @functools.cached_property
    def _layers(self) -> list[tuple[int, Layer, tuple[tuple[str, str], ...]]]:
        """The layers, numbered, each with its parameters' names: its own, and the net's."""
        pairs = zip(self.definition.layers, self.definition.keys, strict=True)
        return [(i, layer, tuple(names.items())) for i, (layer, names) in enumerate(pairs)]

    @functools.cached_property
    def _first(self) -> int:
        """The first layer that has parameters."""
        return next(i for i, _, names in self._layers if names)

    @functools.cached_property
    def _penalized(self) -> list[str]:
        return [key for _, layer, names in self._layers for name, key in names
                if name in layer.penalized]  # fmt: skip


def with_l2(loss: Array, params: Params, keys: Iterable[str], l2: float) -> Array:
    """Add l2 / 2 times the sum of some parameters' squares to a loss."""
    if l2:
        for key in keys:
            # In the weights' memory order, where this is a view.
            w = params[key].T if params[key].ndim == 2 else params[key]
            w = array_namespace(loss).reshape(w, (-1,))
            loss = loss + 0.5 * l2 * (w @ w)
    return loss
