"""The labels of a classifier: sorted, on the host; and beside X where they stay what they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import assert_all_finite
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from ..arrays import Array
from ..backend import Placement
from .arrays import on_host


@dataclass(frozen=True)
class Labels:
    """What a classifier knows of its labels.

    Attributes
    ----------
    classes : ndarray
        Sorted, on the host.
    several : bool
        Whether a row has several of them: zeros and ones, a column for each.
    """

    classes: np.ndarray
    several: bool

    @property
    def outputs(self) -> int:
        """The columns of a net's output."""
        return len(self.classes) if self.several or len(self.classes) > 2 else 1

    @property
    def output(self) -> str:
        """Return xpnet's name of that output."""
        return "sigmoid" if self.outputs == 1 or self.several else "softmax"

    def are(self, classes: Any) -> bool:
        """Return whether these are, without a doubt, the labels that are given, in their order."""
        return isinstance(classes, (list, np.ndarray)) and np.array_equal(classes, self.classes)

    def refuse_other(self, known: Labels) -> None:
        """Raise where these, of y, are not among those that are known."""
        if self.several != known.several:
            raise ValueError("y has one label a row in one call, and several in another")
        numbers = [labels.classes.dtype.kind in "biufc" for labels in (self, known)]
        if numbers[0] != numbers[1] or len(np.setdiff1d(self.classes, known.classes)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {known.classes}. "
                f"'y' has {self.classes}."
            )

    def target(self, y: np.ndarray, here: Placement) -> Array:
        """Return y, of these labels, as a net is to learn it."""
        if self.several:
            return here.floats(y)
        numbers = np.searchsorted(self.classes, y)
        return here.asarray(numbers) if self.outputs > 1 else here.floats(numbers[:, None])


def labels_of(y: Any) -> tuple[Labels, np.ndarray]:
    """Return the labels in y, and y on the host; or raise."""
    y = on_host(y)
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multiclass-multioutput":
        raise ValueError("Multioutput target data is not supported with label binarization")
    several = kind.startswith("multilabel")
    if several:
        y = np.asarray(y.toarray() if issparse(y) else y)
    return Labels(np.arange(y.shape[1]) if several else np.unique(y), several), y


def given_classes(classes: Any) -> np.ndarray:
    """Return the labels that are announced to `partial_fit`, sorted, or raise."""
    classes = on_host(classes)
    if isinstance(classes, (set, frozenset)):
        raise TypeError(f"classes must be a sequence, not a {type(classes).__name__}")
    assert_all_finite(np.asarray(classes), input_name="classes")
    unique_labels(classes)  # for its checks: of objects it makes strings
    return np.unique(np.asarray(classes))


def announced(found: Labels, classes: np.ndarray) -> Labels:
    """Return the labels that a first `partial_fit` is to know: those announced, or raise.

    For several labels a row scikit-learn's documentation says to give the values in y, 0 and 1,
    and y itself says how many columns there are.
    """
    if not found.several:
        return Labels(classes, False)
    if not any(np.array_equal(classes, known) for known in (found.classes, [0, 1])):
        raise ValueError(
            f"y has several labels a row, and {len(found.classes)} columns: classes must be 0 to "
            f"{len(found.classes) - 1}, or [0, 1]; not {classes}"
        )
    return found


def placed_classes(classes: np.ndarray, here: Placement) -> Array:
    """Return labels where X is, or on the host where they would not stay what they are.

    Only NumPy has strings. Other libraries may lack 64 bits or some unsigned integers, or lack
    the gather that makes predictions of them.
    """
    if classes.dtype.kind not in "biuf":
        return classes
    try:
        placed = here.asarray(classes.copy())
        rows = here.asarray(np.arange(len(classes)))
        back = here.to_host(here.xp.take(placed, rows, axis=0))
    except Exception:  # whatever a library says of what it does not have
        return classes
    return placed if np.array_equal(back, classes) else classes


def weights_of_classes(class_weight: Any, found: Labels, y: np.ndarray) -> np.ndarray | None:
    """Return the weight of each row's class, None where all count the same."""
    if class_weight is None:
        return None
    if found.several:
        raise ValueError("class_weight is for one label a row; y has several")
    weights: np.ndarray = compute_sample_weight(class_weight, y)
    return weights
