"""The arithmetic of a net: layers one behind the other, forward to the loss and back.

Nothing here checks its arguments, places an array or looks at a value: these are functions of
arrays that any library can trace, compile or record.
"""

from __future__ import annotations

import functools
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
        point = self.point(params, x, target)
        loss, _ = self.definition.output.loss(point.logits, target)
        gradient = self.add_l2(structured.gradient(point, scale=scale), params, scale)
        return self.with_l2(loss, params), gradient

    def differences(
        self, params: Params, x: Array, target: Array, step: float | None, read: Any
    ) -> Params:
        """Return the gradient by central differences; `read` brings arrays to the host."""
        point = self.point(params, x, target)
        return self.add_l2(structured.gradient(point, step=step, read=read), params)

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
            for key in self._penalized:
                gradient[key] += factor * params[key]
        return gradient

    def tails(
        self, params: Params, x: Array, target: Array
    ) -> list[tuple[list[str], Callable[[Params], Array]]]:
        """Return for each layer that has parameters their keys, and the loss as a function of them.

        What lies before the layer is computed once.
        """
        found = []
        for i, layer, names in self._layers:
            if names:
                found.append(([key for _, key in names], self._tail(i, params, x, target)))
            p = {name: params[key] for name, key in names}
            x, _ = layer.forward(p, x)
        return found

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

    def _tail(
        self, first: int, params: Params, x: Array, target: Array
    ) -> Callable[[Params], Array]:
        def loss(moved: Params) -> Array:
            every, z = {**params, **moved}, x
            for _, layer, names in self._layers[first:]:
                z, _ = layer.forward({name: every[key] for name, key in names}, z)
            return self.with_l2(self.definition.output.loss(z, target)[0], every)

        return loss

    # --- numerical gradients by the structure of affine layers -----------------------------------

    @property
    def is_perceptron(self) -> bool:
        """Whether the layers are affine, with one activation between each two; dropout aside."""
        kinds = [type(layer) for layer in self.definition.layers if not layer.rate]
        return bool(kinds) and kinds == [*[Affine, Elementwise] * (len(kinds) // 2), Affine]

    def refuse_unstructured(self, what: str) -> None:
        """Raise ValueError where the layers are others than `structured` knows."""
        if not self.is_perceptron:
            raise ValueError(
                f"{what} is for affine layers with one activation between each two; this net is "
                f"{self.definition}"
            )

    def point(self, params: Params, x: Array, target: Array) -> structured.Point:
        """Return the net at a batch, as `structured` wants it: affine layers, activations."""
        logits, z, a = self.traced(params, x)
        activations = self.definition.activations
        return structured.Point(params, activations, self.definition.output, logits, z, a, target)

    def traced(self, params: Params, x: Array) -> tuple[Array, list[Array], list[Array]]:
        """Return logits; the input z of each affine layer; the input a of each activation."""
        logits, kept = self.forward(params, x)
        both = [*zip(self.definition.layers, kept, strict=True)]
        z = [needed[0] for layer, (_, needed) in both if isinstance(layer, Affine)]
        a = [needed[0] for layer, (_, needed) in both if isinstance(layer, Elementwise)]
        return logits, z, a

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
