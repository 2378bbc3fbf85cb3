"""What every picture is drawn on: figures that belong to no window, and their words."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from .lettering import write

# Below this width, in inches, an axes gets small words.
_SMALL = 4.5
# The longest lines of the box and of the title, in characters.
BOX_WIDTH, TITLE_WIDTH = 46, 100


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of so many inches; it belongs to no window."""
    return _ShownFigure(figsize=(width, height), layout="constrained")


def figure_of(ax: Axes) -> Figure:
    """Return the figure of an axes that one of these functions has made."""
    assert isinstance(ax.figure, Figure)
    return ax.figure


class _ShownFigure(Figure):
    """A figure that notebooks show although it does not belong to pyplot."""

    def __repr__(self) -> str:
        return super().__repr__().replace(type(self).__name__, "Figure", 1)

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()


class _ShownAxes(Axes):
    """The axes of such a figure: a notebook shows the picture, not the name of its class."""

    def __repr__(self) -> str:
        return super().__repr__().replace(type(self).__name__, "Axes", 1)

    def _repr_png_(self) -> bytes:
        assert isinstance(self.figure, _ShownFigure)
        return self.figure._repr_png_()


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the user's axes, or those of a new figure of so many inches."""
    return new_figure(width, height).add_subplot(axes_class=_ShownAxes) if ax is None else ax


def inches(ax: Axes) -> tuple[float, float]:
    """Return the width and height that the axes will have in the picture."""
    if ax.figure.get_layout_engine() is not None:
        ax.figure.figure.draw_without_rendering()  # layouts are made when drawing
    dpi: float = ax.figure.dpi
    return ax.bbox.width / dpi, ax.bbox.height / dpi


def lettering_of(ax: Axes) -> tuple[float, int]:
    """Return the size of words in points, and how many letters fit across the axes."""
    width = ax.bbox.width / ax.figure.dpi
    size, letters = (10, 12) if width > _SMALL else (7, 17)  # a small axes has small words
    return size, int(width * letters)


def entitle(ax: Axes, title: str) -> None:
    """Write the title over the axes, wrapped and sized to fit it."""
    size, letters = lettering_of(ax)
    write(ax.title, title, min(TITLE_WIDTH, int(0.8 * letters)))
    ax.title.set_fontsize(1.2 * size)


def explain(ax: Axes, lines: Sequence[Any], labels: Iterable[str]) -> Legend:
    """Add a legend that names the lines; matplotlib leaves out labels that begin with '_'."""
    size, letters = lettering_of(ax)
    legend = ax.legend(lines, ["" for _ in lines], loc="best")
    for line, text, label in zip(lines, legend.get_texts(), labels, strict=True):
        line.set_label(label)
        text.set_fontsize(size)
        write(text, label, letters // 2)
    return legend
