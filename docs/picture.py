"""The pictures of the start page, and that of the README: `python docs/picture.py` draws it."""

import functools
from pathlib import Path

from PIL import Image

import xpnet
from xpnet import plots

TITLES = {
    "loss": "The loss of 10,000 steps on MNIST",
    "weights": "What its 100 hidden units look for",
    "check": "Each gradient, and its central difference",
}


@functools.cache
def trained():
    """Train what `xpnet train` trains by default."""
    (x, t), _ = xpnet.load_mnist()
    net = xpnet.MLP([784, 100, 10], seed=0)
    return net, xpnet.fit(net, x, t, steps=10_000), net.check_gradient(x[:100], t[:100])


def draw(name, ax, size=13):
    """Draw one of the pictures into an axes."""
    net, history, report = trained()
    if name == "loss":
        plots.plot_loss(history, ax)
        ax.get_legend().set_title(None)  # the box has the time and the device of one machine
    elif name == "weights":
        plots.plot_weights(net, ax)
    else:
        plots.plot_gradient_check(report, ax)
    ax.set_title(TITLES[name], fontsize=size)


def write(folder):
    """Write each picture into a folder, for the build."""
    for name in TITLES:
        figure = plots.new_figure(3.4, 3.4)  # small: so its words are large on a third of a page
        draw(name, figure.add_subplot(), size=9)
        figure.savefig(folder / f"{name}.png", dpi=170)


if __name__ == "__main__":
    path = Path(__file__).with_name("xpnet.png")
    figure = plots.new_figure(10, 4.6)
    for ax, name in zip(figure.subplots(1, 2), ("loss", "weights"), strict=True):
        draw(name, ax)
    figure.savefig(path, dpi=100)
    Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)
