"""One step: batch → forward → loss → backward → update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..arrays import Array, Params
from ..backend.placement import Arrays, Step
from ..layers.windows import shifted
from ..network.net import Network
from ..optimizers import Optimizer
from .blocks import Masks
from .sources import Source


def make_step(
    net: Network,
    optimizer: Optimizer,
    compute: Callable[..., tuple[Array, Params]],
    source: Source,
    masks: Masks | None = None,
    reduce: Callable[[Params], Params] = lambda gradient: gradient,
    weight: float = 1.0,
) -> Step:
    """Return the step: batch → forward → loss → backward → update.

    It is one function of arrays, written once; how many of them run, and whether they are
    looped, compiled or captured, is the backend's affair. Where there are `masks`, the last of
    its inputs are theirs; those before are the offsets of images, where the net begins
    with a `Shift`. Where each of several ranks computes a part of the batch, `weight` is
    the part's size, and `reduce` adds the gradients up.
    """
    target_rows, shift = net._batch.target_rows, net._definition.shift
    scale_of_masks = None if masks is None else masks.scale
    if isinstance(scale_of_masks, np.ndarray):  # not one number, but one for each unit
        scale_of_masks = net.placement.floats(scale_of_masks)

    def step(
        state: dict[str, Any], data: Arrays, inputs: Arrays, numbers: Sequence[Any]
    ) -> Array:
        params, more = state["params"], {}
        if net.state:
            more["state"] = state["state"]
        if masks is not None:
            inputs, kept = inputs[:-1], inputs[-1]
            more["masks"] = net._masks(kept, scale_of_masks)
        if shift:
            inputs, offsets = inputs[:-1], inputs[-1]
        x, t, *weights = source.batch(data, inputs)
        if shift:
            x = shifted(x, offsets, shift)
        scale = weight * numbers[0] if optimizer.folds_rate else weight
        loss, gradient = compute(params, x, target_rows(t), scale, *weights, **more)
        optimizer.update(params, reduce(gradient), state["slots"], numbers)
        return loss

    return step
