"""Layers as words: what each stands for, and what is none."""

import pytest

from xpnet import Network
from xpnet.layers import (
    NETS,
    Affine,
    AveragePool,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    MaxPool,
    Shift,
    layers_of_words,
)  # fmt: skip


@pytest.mark.parametrize(("word", "layer"), [
    ("conv30x5", Convolution(30, 5)), ("conv16x3p1", Convolution(16, 3, padding=1)),
    ("conv8x3s2p1", Convolution(8, 3, stride=2, padding=1)), ("pool2", MaxPool(2)),
    ("pool3s1", MaxPool(3, stride=1)), ("avgpool2", AveragePool(2)), ("affine100", Affine(100)),
    ("batchnorm", BatchNorm()), ("flatten", Flatten()), ("dropout0.5", Dropout(0.5)),
    ("dropout.25", Dropout(0.25)), ("gelu", "gelu"), ("shift2", Shift(2)),
])  # fmt: skip
def test_words(word, layer):
    """A number that ends at another place than it was written for."""
    assert layers_of_words(word) == [layer]


def test_how_weights_begin():
    """A word of the command line that reaches some layers only."""
    found = layers_of_words("conv3x2 relu affine4", 0.01)
    assert found == [Convolution(3, 2, weight_init=0.01), "relu", Affine(4, weight_init=0.01)]


@pytest.mark.parametrize("word", ["conv30", "conv30x", "pool", "affine", "dropout", "dropout1.5",
                                  "conv3x3p1s2", "lstm5", "Conv3x3"])  # fmt: skip
def test_words_that_are_none(word):
    """A layer that is left out in silence."""
    with pytest.raises(ValueError, match=f"unknown layer '{word}'; known are conv30x5"):
        layers_of_words(f"relu {word}")


@pytest.mark.parametrize(("word", "text"), [
    ("conv0x3", "filters must be at least 1"), ("pool0", "size must be at least 1"),
    ("conv3x3s0", "stride must be at least 1"), ("affine0", "units must be at least 1"),
    ("shift0", "most must be at least 1"),
])  # fmt: skip
def test_words_with_impossible_numbers(word, text):
    """A stride of 0, which would go on for ever."""
    with pytest.raises(ValueError, match=f"the layer '{word}': {text}"):
        layers_of_words(word)


@pytest.mark.parametrize(("name", "numbers"), [("simple-conv", 433_890), ("deep-conv", 123_552)])
def test_the_textbooks_nets(name, numbers):
    """A net with other layers than the book's has another number of parameters."""
    net = Network([*layers_of_words(NETS[name]), Affine(10)], input_shape=(1, 28, 28), seed=0)
    assert sum(p.size for p in net.params.values()) == numbers
