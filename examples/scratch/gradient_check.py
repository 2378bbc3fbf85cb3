"""Backpropagation against central differences, parameter by parameter.

    python examples/scratch/gradient_check.py [--quick] [--xp torch]
"""

import numpy as np
from _shared import options

from xpnet.scratch import MultiLayerNetExtend, SimpleConvNet, TwoLayerNet, load_mnist


def compare(net, x, t):
    """Print the largest difference of each parameter; return the largest of all."""
    exact, differences = net.gradient(x, t), net.numerical_gradient(x, t)
    largest = {key: float(abs(exact[key] - differences[key]).max()) for key in exact}
    for key, value in largest.items():
        print(f"  {key}: {value:.1e}")
    return max(largest.values())


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    (x, t), _ = load_mnist(flatten=False, xp=xp, dtype="float64")
    # Every second pixel, or fourth: a net that is checked soon.
    step = 4 if quick else 2
    size = 28 // step
    x, t = x[:5, :, ::step, ::step], t[:5]
    rows = x.reshape(5, size * size)
    filters = {"filter_num": 2, "filter_size": 4 if quick else 5, "pad": 0, "stride": 1}
    nets = {
        "two layers": (TwoLayerNet(size * size, 6, 10, 0.1), rows),
        "batch normalization": (
            MultiLayerNetExtend(size * size, [6, 6], 10, "sigmoid", "xavier", use_batchnorm=True),
            rows,
        ),
        "convolution": (SimpleConvNet((1, size, size), filters, 6, weight_init_std=0.1), x),
    }
    found = {}
    for name, (net, images) in nets.items():
        print(name)
        found[name] = compare(net, images, t)
    return found


if __name__ == "__main__":
    main(**options(__doc__))
