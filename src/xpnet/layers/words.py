"""Layers as words, for command lines: "conv30x5 relu pool2 affine100 relu"."""

from __future__ import annotations

import re
from typing import Any

from ..functions import ACTIVATIONS
from .base import Layer
from .dense import Affine, Dropout, Flatten
from .images import AveragePool, Convolution, MaxPool, Shift
from .normalization import BatchNorm

# Nets of the textbook 'Deep Learning from Scratch' (chapters 7 and 8) without the last layer, which
# the classes decide.
NETS = {
    "simple-conv": "conv30x5 relu pool2 affine100 relu",
    "deep-conv": "conv16x3p1 relu conv16x3p1 relu pool2 conv32x3p1 relu conv32x3p2 relu pool2 "
    "conv64x3p1 relu conv64x3p1 relu pool2 affine50 relu dropout0.5",
}


def layers_of_words(words: str, weight_init: str | float | None = None) -> list[Layer | str]:
    """Return the layers that words stand for, as `xpnet.Network` takes them.

    Parameters
    ----------
    words : str
        Separated by blanks: "conv30x5" is ``Convolution(30, 5)``, "conv16x3s2p1" one with the
        stride 2 and the padding 1, "pool2" is ``MaxPool(2)``, "pool3s2" one with the stride 2,
        "avgpool2" is ``AveragePool(2)``, "affine100" is ``Affine(100)``; "batchnorm", "flatten",
        "dropout0.5", "shift2", and the names of activations.
    weight_init : str or float, optional
        Of all layers with weights. None: the layers' own.

    Returns
    -------
    list

    Raises
    ------
    ValueError
        A word is none of these, or has an impossible number; the message names it.

    Examples
    --------
    >>> layers_of_words("conv30x5 relu pool2 affine100")[1:]
    ['relu', MaxPool(size=2, stride=2), Affine(units=100, weight_init='xavier')]
    """
    init: dict[str, Any] = {} if weight_init is None else {"weight_init": weight_init}
    return [_layer_of_word(word, init) for word in words.split()]


def _layer_of_word(word: str, init: dict[str, Any]) -> Layer | str:
    try:
        return _layer(word, init)
    except ValueError as error:
        if str(error).startswith("unknown layer"):
            raise
        raise ValueError(f"the layer {word!r}: {error}") from None


def _layer(word: str, init: dict[str, Any]) -> Layer | str:
    if word in ACTIVATIONS:
        return word
    if word in ("batchnorm", "flatten"):
        return BatchNorm() if word == "batchnorm" else Flatten()
    if found := re.fullmatch(r"conv(\d+)x(\d+)(?:s(\d+))?(?:p(\d+))?", word):
        filters, size, stride, padding = (int(n or 0) for n in found.groups())
        stride = 1 if found[3] is None else stride
        return Convolution(filters, size, stride=stride, padding=padding, **init)
    if found := re.fullmatch(r"(avg)?pool(\d+)(?:s(\d+))?", word):
        kind = AveragePool if found[1] else MaxPool
        return kind(int(found[2]), stride=None if found[3] is None else int(found[3]))
    if found := re.fullmatch(r"shift(\d+)", word):
        return Shift(int(found[1]))
    if found := re.fullmatch(r"affine(\d+)", word):
        return Affine(int(found[1]), **init)
    if found := re.fullmatch(r"dropout(0?\.\d+)", word):
        return Dropout(float(found[1]))
    raise ValueError(
        f"unknown layer {word!r}; known are conv30x5 (with s2 for a stride, p1 for a padding), "
        "pool2 and avgpool2 (with s1), affine100, batchnorm, flatten, dropout0.5, shift2, and the "
        f"activations {', '.join(ACTIVATIONS)}"
    )
