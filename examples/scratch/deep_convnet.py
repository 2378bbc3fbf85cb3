"""A net with six convolutions and dropout on MNIST.

    python examples/scratch/deep_convnet.py [--quick] [--xp torch] [--out loss.png]
"""

import numpy as np
from _shared import curves, options, picture, save
from simple_convnet import trained

from xpnet.scratch import DeepConvNet, smooth_curve

SMALL = {
    f"conv_param_{i}": {"filter_num": 8, "filter_size": 3, "pad": 2 if i == 4 else 1, "stride": 1}
    for i in range(1, 7)
}


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    net = DeepConvNet(**SMALL) if quick else DeepConvNet()
    trainer, accuracy = trained(net, quick, xp, *((1500, 3) if quick else (60000, 5)))
    losses = trainer.train_loss_list
    print(f"loss {np.mean(losses[:5]):.3f} → {np.mean(losses[-5:]):.3f}, with dropout")
    print(f"test accuracy {accuracy:.4f}, without")
    figure, (ax,) = picture(1, 1, width=6, height=3.6)
    curves(ax, {"loss": (smooth_curve(losses), "-")}, "step", "loss")
    save(figure, out)
    return losses, accuracy


if __name__ == "__main__":
    main(**options(__doc__))
