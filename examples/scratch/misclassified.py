"""The digits that a convolutional net takes for others.

    python examples/scratch/misclassified.py [--quick] [--xp torch] [--out mistakes.png]
"""

import numpy as np
from _shared import host, options, picture, save
from simple_convnet import trained

from xpnet.scratch import SimpleConvNet


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    filters = {"filter_num": 8 if quick else 30, "filter_size": 5, "pad": 0, "stride": 1}
    net = SimpleConvNet((1, 28, 28), filters, hidden_size=50)
    trainer, accuracy = trained(net, quick, xp, *((1500, 2) if quick else (60000, 3)))
    x, t = trainer.x_test, host(trainer.t_test)
    batches = [host(net.predict(x[i : i + 100])) for i in range(0, x.shape[0], 100)]
    found = np.concatenate(batches).argmax(axis=1)
    wrong = np.flatnonzero(found != t)
    print(f"test accuracy {accuracy:.4f}: {len(wrong)} of {len(t)} are wrong")
    figure, axes = picture(3, 8, height=4.6)
    for ax in axes:
        ax.set_axis_off()
    for ax, i in zip(axes, wrong, strict=False):
        ax.imshow(host(x[int(i)])[0], cmap="gray_r")
        ax.set_title(f"{t[i]} taken for {found[i]}", fontsize=9)
    save(figure, out)
    return wrong, accuracy, len(t)


if __name__ == "__main__":
    main(**options(__doc__))
