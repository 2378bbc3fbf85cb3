"""A convolutional net with one convolution on MNIST; its parameters are saved and read again.

    python examples/scratch/simple_convnet.py [--quick] [--xp torch] [--out accuracy.png]
"""

import tempfile
from pathlib import Path

import numpy as np
from _shared import curves, options, picture, save

from xpnet.scratch import SimpleConvNet, Trainer, load_mnist


def trained(net, quick, xp, rows, epochs):
    """Train a net on the first images of MNIST; return it, and the trainer."""
    (x, t), (x_test, t_test) = load_mnist(flatten=False, xp=xp)
    if quick:
        x_test, t_test = x_test[:500], t_test[:500]
    trainer = Trainer(
        net, x[:rows], t[:rows], x_test, t_test, epochs=epochs, optimizer="Adam",
        mini_batch_size=50 if quick else 100, optimizer_param={"lr": 0.001},
        evaluate_sample_num_per_epoch=500, verbose=False,
    )  # fmt: skip
    trainer.train()
    return trainer, net.accuracy(x_test, t_test)


def main(quick=False, xp="numpy", out=None):
    np.random.seed(0)
    filters = {"filter_num": 8 if quick else 30, "filter_size": 5, "pad": 0, "stride": 1}
    net = SimpleConvNet((1, 28, 28), filters, hidden_size=50 if quick else 100)
    trainer, accuracy = trained(net, quick, xp, *((1500, 2) if quick else (60000, 5)))
    print(f"loss {trainer.train_loss_list[0]:.3f} → {trainer.train_loss_list[-1]:.3f}")
    print(f"test accuracy {accuracy:.4f}")
    with tempfile.TemporaryDirectory() as folder:
        net.save_params(Path(folder, "params.npz"))
        other = SimpleConvNet((1, 28, 28), filters, hidden_size=50 if quick else 100)
        other.load_params(Path(folder, "params.npz"))
    again = other.accuracy(trainer.x_test, trainer.t_test)
    print(f"test accuracy {again:.4f}, read from a file")
    figure, (ax,) = picture(1, 1, width=6, height=3.6)
    lines = {"train": (trainer.train_acc_list, "o--"), "test": (trainer.test_acc_list, "o-")}
    curves(ax, lines, "epoch", "accuracy")
    save(figure, out)
    return accuracy, again


if __name__ == "__main__":
    main(**options(__doc__))
