"""Six optimizers on a long valley, and on MNIST: the loss of each.

    python examples/scratch/optimizers.py [--quick] [--xp torch] [--out optimizers.png]
"""

import numpy as np
from _shared import curves, options, picture, save

from xpnet.scratch import (
    SGD,
    AdaGrad,
    Adam,
    Momentum,
    MultiLayerNet,
    Nesterov,
    RMSprop,
    Trainer,
    load_mnist,
    smooth_curve,
)

VALLEY = {
    "SGD": SGD(lr=0.95), "Momentum": Momentum(lr=0.1), "Nesterov": Nesterov(lr=0.05),
    "AdaGrad": AdaGrad(lr=1.5), "RMSprop": RMSprop(lr=0.3, decay_rate=0.9), "Adam": Adam(lr=0.3),
}  # fmt: skip
RATES = {
    "SGD": 0.01, "Momentum": 0.01, "Nesterov": 0.01, "AdaGrad": 0.01, "RMSprop": 0.001,
    "Adam": 0.001,
}  # fmt: skip


def walk(optimizer, steps=30):
    """Return the places that an optimizer comes to in the valley x²/20 + y²."""
    place = {"x": -7.0, "y": 2.0}
    path = [(place["x"], place["y"])]
    for _ in range(steps):
        optimizer.update(place, {"x": place["x"] / 10, "y": 2 * place["y"]})
        path.append((place["x"], place["y"]))
    return np.asarray(path)


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    figure, axes = picture(3, 3, height=8.5)
    x, y = np.meshgrid(np.linspace(-9, 9, 80), np.linspace(-4, 4, 80))
    for ax, (name, optimizer) in zip(axes, VALLEY.items(), strict=False):
        path = walk(optimizer)
        ax.contour(x, y, x**2 / 20 + y**2, levels=8, linewidths=0.6, cmap="Greys")
        ax.plot(*path.T, "o-", markersize=3, linewidth=1, color="tab:red")
        ax.set(title=name, xlim=(-9, 9), ylim=(-4, 4))
    below = axes[6].get_gridspec()[2, :]
    for ax in axes[6:]:
        ax.remove()
    ax = figure.add_subplot(below)

    (x, t), (x_test, t_test) = load_mnist(xp=xp)
    rows = 2000 if quick else 20000
    losses = {}
    for name, rate in RATES.items():
        trainer = Trainer(
            MultiLayerNet(784, [100, 100], 10), x[:rows], t[:rows], x_test, t_test, epochs=2,
            optimizer=name, optimizer_param={"lr": rate}, evaluate_sample_num_per_epoch=500,
            verbose=False,
        )  # fmt: skip
        trainer.train()
        losses[name] = trainer.train_loss_list
        print(f"{name}: loss {np.mean(losses[name][:5]):.3f} → {np.mean(losses[name][-5:]):.3f}")
    curves(ax, {name: (smooth_curve(loss), "-") for name, loss in losses.items()}, "step", "loss")
    save(figure, out)
    return losses


if __name__ == "__main__":
    main(**options(__doc__))
