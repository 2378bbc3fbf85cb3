"""Learning rates and weight decays drawn at random, judged by images that training has not seen.

    python examples/scratch/hyperparameter_search.py [--quick] [--xp torch] [--out best.png]
"""

import numpy as np
from _shared import curves, options, picture, save

from xpnet.scratch import MultiLayerNet, Trainer, load_mnist, shuffle_dataset


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    (x, t), _ = load_mnist(xp=xp)
    x, t = shuffle_dataset(x[:500], t[:500])
    x_val, t_val, x, t = x[:100], t[:100], x[100:], t[100:]
    trials = []
    for _ in range(8 if quick else 60):
        decay, rate = 10 ** np.random.uniform(-8, -4), 10 ** np.random.uniform(-5, -0.5)
        trainer = Trainer(
            MultiLayerNet(784, [100] * 3, 10, weight_decay_lambda=decay), x, t, x_val, t_val,
            epochs=10 if quick else 30, optimizer_param={"lr": rate}, verbose=False,
        )  # fmt: skip
        trainer.train()
        trials.append((trainer.test_acc_list[-1], rate, decay, trainer))
    trials.sort(key=lambda trial: -trial[0])
    figure, axes = picture(2, 3 if quick else 4, height=5)
    for place, (ax, (accuracy, rate, decay, trainer)) in enumerate(
        zip(axes, trials, strict=False), start=1
    ):
        print(f"{place}: accuracy {accuracy:.2f}, rate {rate:.1e}, decay {decay:.1e}")
        lines = {"train": (trainer.train_acc_list, "--"), "held out": (trainer.test_acc_list, "-")}
        curves(ax, lines, "epoch", "accuracy", f"{place}: rate {rate:.1e}")
        ax.set_ylim(0, 1)
    save(figure, out)
    return [trial[:3] for trial in trials]


if __name__ == "__main__":
    main(**options(__doc__))
