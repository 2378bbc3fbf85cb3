"""The pictures: each is drawn into a matplotlib Axes and returns it.

Nothing here touches pyplot: a user's backend, figures and settings stay as they are, and no
display is needed.
"""

try:
    import matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'the pictures need matplotlib; install it with: python -m pip install "xpnet[cli]"',
        name=error.name,
    ) from error

from .canvas import figure_of, new_figure
from .curves import loss_figure, plot_loss, plot_losses, plot_times, title_of
from .nets import plot_confusion, plot_filters, plot_gradient_check, plot_mistakes, plot_weights

__all__ = [
    "figure_of", "loss_figure", "new_figure", "plot_confusion", "plot_filters",
    "plot_gradient_check", "plot_loss", "plot_losses", "plot_mistakes", "plot_times",
    "plot_weights", "title_of",
]  # fmt: skip
