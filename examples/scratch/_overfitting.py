"""A net that has too few images to learn from, with a remedy and without."""

import numpy as np
from _shared import curves, picture, save

from xpnet.scratch import MultiLayerNetExtend, Trainer, load_mnist


def compare(remedies, quick, xp, out):
    """Train a net for each remedy, a dict of options by name; return the accuracies."""
    np.random.seed(0)
    (x, t), (x_test, t_test) = load_mnist(xp=xp)
    figure, axes = picture(1, len(remedies), height=3.4)
    found = {}
    for ax, (name, options) in zip(axes, remedies.items(), strict=True):
        net = MultiLayerNetExtend(784, [100] * 4, 10, **options)
        trainer = Trainer(
            net, x[:300], t[:300], x_test[:1000], t_test[:1000], epochs=25 if quick else 150,
            optimizer_param={"lr": 0.1 if quick else 0.03}, verbose=False,
        )  # fmt: skip
        trainer.train()
        train, test = trainer.train_acc_list, trainer.test_acc_list
        squares = float(sum((W * W).sum() for key, W in net.params.items() if key[0] == "W"))
        found[name] = train[-1], test[-1], squares
        print(
            f"{name}: accuracy {train[-1]:.3f} in training, {test[-1]:.3f} on the test set, "
            f"gap {train[-1] - test[-1]:.3f}; sum of the weights' squares {squares:.0f}"
        )
        curves(ax, {"train": (train, "-"), "test": (test, "--")}, "epoch", "accuracy", name)
        ax.set_ylim(0, 1)
    save(figure, out)
    return found
