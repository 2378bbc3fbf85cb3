"""What `xpnet train` leaves to look at: pictures, and one page with all of it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .. import plots
from ..arrays import Array, Host
from ..markup import paragraph, table
from ..network import Network
from ..training import History

Picture = Callable[..., Axes]  # of the axes to draw into, None for new ones

# The captions, and the height in inches on a phone: drawn again, so that its words can be read.
CAPTIONS = {
    "loss": ("Loss of each step", 3.6),
    "confusion": ("True and predicted classes of the test images", 4.2),
    "mistakes": ("Test images that the net misclassifies with the highest confidence", 6),
    "filters": ("Filters of the first convolution, before and after training", 2.6),
    "weights": ("Weights into the units of the first layer, as images", 3.8),
}


def pictures_of(
    history: History, net: Network | None = None, x: Array = None, t: Array = None,
    shape: tuple[int, int] | None = None, first: Host | None = None,
) -> dict[str, Picture]:  # fmt: skip
    """Return the pictures of a training run, by the names of their files.

    The loss; and, given a net and test data, its predictions for them: of classes, and of gray
    images where their `shape` is given. `first` are the weights of its first layer before training.

    Examples
    --------
    >>> from xpnet import History
    >>> list(pictures_of(History()))
    ['loss']
    """
    pictures: dict[str, Picture] = {"loss": partial(plots.plot_loss, history)}
    if net is not None and net.output.sums_to_one:
        names = net.class_names
        pictures["confusion"] = partial(plots.plot_confusion, net, x, t, names=names)
        if shape is not None:
            pictures["mistakes"] = partial(
                plots.plot_mistakes, net, x, t, shape=shape, names=names
            )
    if net is not None and net.params["W1"].ndim == 4:
        pictures["filters"] = partial(plots.plot_filters, net, before=first)
    elif net is not None and shape is not None:
        pictures["weights"] = partial(plots.plot_weights, net, shape=shape)
    return pictures


def save_pictures(folder: Path, pictures: Mapping[str, Picture]) -> list[str]:
    """Write each picture into a folder; return the names of the files."""
    for name, draw in pictures.items():
        plots.figure_of(draw(ax=None)).savefig(folder / f"{name}.png")
    return [f"{name}.png" for name in pictures]


def save_report(path: Path, history: History, pictures: Mapping[str, Picture]) -> None:
    """Write summary, settings and pictures as one HTML file that asks for nothing else."""
    settings = dict(history.settings)
    # The line of `net` says in words what the layers are, which are too many for a heading.
    layers = settings.pop("layers", None)
    net = "A net of layers" if layers else "-".join(map(str, settings["layer_sizes"]))
    if any(isinstance(entry, dict) and entry["layer"] == "Convolution" for entry in layers or ()):
        net = "A convolutional net"
    title = f"{net} on {settings['dataset']}"
    loss, *others = (_figure(name, draw) for name, draw in pictures.items())
    parts = [
        f"<h1>{escape(title)}</h1>",
        paragraph(f"Trained with xpnet {history.environment['xpnet']}, {history.device}."),
        loss, '<div class="beside">',
        _section("Summary", history._rows()), _section("Settings", _rows(settings)),
        *others, _section("Environment", _rows(history.environment)), "</div>",
    ]  # fmt: skip
    page = _PAGE.format(title=escape(title), style=_STYLE, body="\n".join(parts))
    path.write_text(page, encoding="utf-8")


def _section(heading: str, rows: list[tuple[str, str]]) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{table(rows)}\n</section>"


def _rows(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(key.replace("_", " "), _in_words(v)) for key, v in values.items() if v is not None]


def _in_words(value: Any) -> str:
    if isinstance(value, Mapping):  # an optimizer and its numbers
        first, *others = value.items()
        return ", ".join([str(first[1]), *(f"{key} {_in_words(v)}" for key, v in others)])
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:,}" if type(value) is int else str(value)


def _figure(name: str, draw: Picture) -> str:
    caption, height = CAPTIONS[name]
    wide = plots.figure_of(draw(ax=None))
    narrow = Figure(figsize=(4, height), layout="constrained")
    draw(ax=narrow.add_subplot())
    return (
        f'<figure class="{name}">\n<picture>'
        f'<source media="(max-width: 48rem)" srcset="{_svg(narrow)}">'
        f'<img src="{_svg(wide)}" alt="{caption}">'
        f"</picture>\n<figcaption>{caption}</figcaption>\n</figure>"
    )


def _svg(figure: Figure) -> str:
    """Return a figure as an address that contains it."""
    file = io.BytesIO()
    # Letters as shapes: the reader's machine may lack the fonts.
    with rc_context({"svg.fonttype": "path", "svg.hashsalt": "xpnet"}):
        figure.savefig(file, format="svg", dpi=150, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""

# Pictures keep their white paper in the dark: their colours are made for it.
_STYLE = """
:root { color-scheme: light dark; --line: #8884; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 0 auto;
  padding: 1rem 1rem 3rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0 0.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 1rem 0 0.5rem; }
.beside { display: grid; gap: 0 2rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 28rem), 1fr)); }
figure { margin: 1rem 0; }
img { display: block; width: 100%; height: auto; box-sizing: border-box; padding: 0.5rem;
  background: white; border: 1px solid var(--line); border-radius: 0.5rem; }
figcaption { font-size: 0.9rem; opacity: 0.8; margin-top: 0.25rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; }
th, td { padding: 0.3rem 0.5rem; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
th { font-weight: 600; width: 9rem; overflow-wrap: normal; padding-left: 0; }
@media print { body { font-size: 10pt; padding: 0; }
  .beside { grid-template-columns: 1fr 1fr; } .beside figure { grid-column: 1 / -1; }
  figure, section, tr { break-inside: avoid; } h2 { break-after: avoid; } }
"""
