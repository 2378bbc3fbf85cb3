"""The same net with batch normalization and without, from first weights of several sizes.

    python examples/scratch/batch_normalization.py [--quick] [--xp torch] [--out curves.png]
"""

import numpy as np
from _shared import curves, options, picture, save

from xpnet.scratch import MultiLayerNetExtend, Trainer, load_mnist


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    (x, t), (x_test, t_test) = load_mnist(xp=xp)
    sizes = [0.3, 0.03] if quick else [1.0, 0.3, 0.1, 0.03, 0.01, 0.003]
    rows = -(-len(sizes) // 3)
    figure, axes = picture(rows, min(3, len(sizes)), height=3.0 * rows)
    found = {}
    for ax, size in zip(axes, sizes, strict=True):
        lines = {}
        for normalized in (True, False):
            net = MultiLayerNetExtend(784, [100] * 5, 10, weight_init_std=size,
                                      use_batchnorm=normalized)  # fmt: skip
            trainer = Trainer(net, x[:1000], t[:1000], x_test, t_test, verbose=False,
                              epochs=5 if quick else 20, evaluate_sample_num_per_epoch=1000)
            trainer.train()
            name = "with" if normalized else "without"
            found[size, name] = trainer.train_acc_list
            lines[name] = trainer.train_acc_list, "-" if normalized else "--"
        print(f"weights {size}: accuracy {found[size, 'with'][-1]:.3f} with, "
              f"{found[size, 'without'][-1]:.3f} without")  # fmt: skip
        curves(ax, lines, "epoch", "accuracy", f"deviation {size}")
        ax.set_ylim(0, 1)
    save(figure, out)
    return found


if __name__ == "__main__":
    main(**options(__doc__))
