"""The filters of a convolution before training and after, and what they make of a digit.

    python examples/scratch/filters.py [--quick] [--xp torch] [--out filters.png]
"""

import numpy as np
from _shared import host, options, picture, save
from simple_convnet import trained

from xpnet.scratch import Convolution, SimpleConvNet


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    net = SimpleConvNet(
        (1, 28, 28), {"filter_num": 8, "filter_size": 5, "pad": 0, "stride": 1}, hidden_size=50
    )
    before = net.params["W1"].copy()
    trainer, accuracy = trained(net, quick, xp, *((1500, 2) if quick else (20000, 5)))
    after = net.params["W1"]
    moved = host(abs(after)).mean() / abs(before).mean()
    print(f"test accuracy {accuracy:.4f}; the filters' numbers are {moved:.1f} times as large")
    answers = host(Convolution(after, net.params["b1"]).forward(trainer.x_test[:1]))[0]
    figure, axes = picture(3, 8, height=3.8)
    for row, images in enumerate([before[:, 0], host(after)[:, 0], answers]):
        for ax, image in zip(axes[8 * row :], images, strict=False):
            ax.imshow(image, cmap="gray_r")
            ax.set(xticks=[], yticks=[])
        axes[8 * row].set_ylabel(["before", "after", "of a 7"][row])
    save(figure, out)
    return moved, accuracy


if __name__ == "__main__":
    main(**options(__doc__))
