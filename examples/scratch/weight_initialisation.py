"""How the first weights decide what five layers make of their input, and how fast a net learns.

    python examples/scratch/weight_initialisation.py [--quick] [--xp torch] [--out histograms.png]
"""

import numpy as np
from _shared import curves, host, options, picture, save

from xpnet.scratch import MultiLayerNet, Trainer, load_mnist, smooth_curve

CASES = [("sigmoid", 1.0), ("sigmoid", 0.01), ("sigmoid", "xavier"), ("relu", 0.01), ("relu", "he")]


def activations(net, x):
    """Return what each activation of a net gives for a batch."""
    found = []
    net.predict(x[:1])  # the parameters go where x is
    for name, layer in net.layers.items():
        x = layer.forward(x)
        if name.startswith("Activation"):
            found.append(host(x))
    return found


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    (x, t), (x_test, t_test) = load_mnist(xp=xp)
    figure, axes = picture(len(CASES) + 1, 5, height=11)
    deviations = {}
    for row, (activation, init) in enumerate(CASES):
        net = MultiLayerNet(784, [100] * 5, 10, activation, init)
        outputs = activations(net, x[:500])
        deviations[activation, init] = [float(output.std()) for output in outputs]
        numbers = ", ".join(f"{std:.3f}" for std in deviations[activation, init])
        print(f"{activation}, weights {init}: deviations of the layers {numbers}")
        for column, output in enumerate(outputs):
            ax = axes[5 * row + column]
            ax.hist(output.ravel(), 30, range=(0, 1), color="tab:blue")
            ax.set_yticks([])
            ax.set_title(f"{activation}, {init}" if column == 0 else f"layer {column + 1}")
    below = axes[0].get_gridspec()[len(CASES), :]
    for ax in axes[5 * len(CASES) :]:
        ax.remove()

    rows, losses = (2000 if quick else 20000), {}
    for init in (0.01, "xavier", "he"):
        trainer = Trainer(
            MultiLayerNet(784, [100] * 5, 10, weight_init_std=init), x[:rows], t[:rows], x_test,
            t_test, epochs=3, evaluate_sample_num_per_epoch=500, verbose=False,
            optimizer_param={"lr": 0.05},
        )  # fmt: skip
        trainer.train()
        losses[init] = trainer.train_loss_list
        print(f"ReLU, weights {init}: loss at the end {np.mean(losses[init][-5:]):.3f}")
    ax = figure.add_subplot(below)
    curves(ax, {str(init): (smooth_curve(loss), "-") for init, loss in losses.items()}, "step",
           "loss")  # fmt: skip
    save(figure, out)
    return deviations, losses


if __name__ == "__main__":
    main(**options(__doc__))
