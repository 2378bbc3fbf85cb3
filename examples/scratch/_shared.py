"""What the programs of this folder have in common: their options, and a picture's file."""

import argparse

from matplotlib.figure import Figure


def options(text):
    """Return the options of the command line: quick, xp, out."""
    parser = argparse.ArgumentParser(description=text.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="seconds, to see that it runs")
    parser.add_argument("--xp", default="numpy", help="numpy, torch, jax or cupy")
    parser.add_argument("--out", help="where the picture goes, a .png")
    return vars(parser.parse_args())


def picture(rows, columns, width=9.0, height=None):
    """Return a figure that no window shows, and its axes, a flat list."""
    figure = Figure(figsize=(width, height or 2.6 * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).ravel())


def save(figure, out):
    """Write the picture where the user wants it."""
    if out:
        figure.savefig(out, dpi=110)
        print(f"wrote {out}")


def curves(ax, lines, xlabel, ylabel, title=None):
    """Draw named curves; those of a pair are told apart by a dash."""
    for name, (values, style) in lines.items():
        ax.plot(values, style, label=name, linewidth=1.4)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)


def host(array):
    """Return an array of any library as NumPy's, for a picture."""
    import xpnet

    return xpnet.backend.placement_of(array).to_host(array)
