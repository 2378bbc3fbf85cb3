"""What the two estimators have in common."""

from __future__ import annotations

import abc
import copy
import math
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from ..arrays import Array, mapped
from ..backend import BackendNotAvailable, Placement, place, placement_of
from ..network import MLP, Network
from ..network.definition import Definition, of_description
from ..network.stack import Stack
from ..training.sparse import SparseRows, predicted
from .arrays import Rows, checked_sample_weight, library_and_place, moved, on_host
from .labels import Labels, placed_classes
from .parameters import ACTIVATIONS, check_together, hidden_sizes, made_with, refuse_changes
from .solvers import OF_EPOCHS, Epochs, Random, Score, minimize

# What `fit` sets, but for the features, which scikit-learn's own function sets anew.
FITTED = (
    "net_", "classes_", "n_iter_", "t_", "loss_", "n_layers_", "n_outputs_", "out_activation_",
    *OF_EPOCHS, "_labels", "_fitted_on_numpy", "_made_with", "_epochs", "_first_parameters",
)  # fmt: skip
# What a net is to learn, and how many numbers a row; xpnet's name of its output; on the host the
# weight of each row's class.
Target = tuple[Array, int, str, np.ndarray | None]


class BaseMLP(BaseEstimator, abc.ABC):
    """What the two estimators have in common.

    Attributes
    ----------
    net_ : xpnet.MLP
        The net, with all that it can do.
    history_ : xpnet.History
        Of the last `fit` or `partial_fit`: one loss a step, times; ``history_.plot(path)`` draws
        the loss.
    coefs_, intercepts_ : list of arrays
        The net's parameters.
    loss_, best_loss_, loss_curve_
        Of the epochs: the mean over its batches, with the L2 term.
    validation_scores_, best_validation_score_
        With `early_stopping`, one score an epoch.
    n_iter_, t_ : int
        Epochs of the last call; rows trained on in all.
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As scikit-learn's.
    """

    net_: MLP
    classes_: Any
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    _parameter_constraints: dict[str, Any]
    _labels: Labels
    _fitted_on_numpy: bool

    # --- parameters of the net ---------------------------------------------------------------

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrices, (inputs, outputs) each, where X was: NumPy for NumPy."""
        return self._parameters_of_layers("W")

    @coefs_.setter
    def coefs_(self, values: list[Array]) -> None:
        self._set_parameters("W", values)

    @property
    def intercepts_(self) -> list[Array]:
        """The bias vectors, where X was."""
        return self._parameters_of_layers("b")

    @intercepts_.setter
    def intercepts_(self, values: list[Array]) -> None:
        self._set_parameters("b", values)

    def _parameters_of_layers(self, letter: str) -> list[Array]:
        given = vars(self).get("_first_parameters", {})
        if "net_" not in vars(self):
            if letter in given:
                return given[letter]  # type: ignore[no-any-return]
            raise NotFittedError(
                f"This {type(self).__name__} instance has no coefs_ or intercepts_: it is not "
                "fitted yet, and none were set"
            )
        net = self.net_
        parameters = [net.params[f"{letter}{i}"] for i in range(1, net.depth + 1)]
        return [*map(net.placement.to_host, parameters)] if self._fitted_on_numpy else parameters

    def _set_parameters(self, letter: str, values: list[Array]) -> None:
        """Set the weights or the biases of all layers; before `fit`, those to go on with."""
        if "net_" not in vars(self):
            self._first_parameters = {**vars(self).get("_first_parameters", {}), letter: values}
        else:
            self.net_.params.update(checked_parameters(self.net_, letter, values))

    # --- fit ---------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool = False, classes: Any = None
    ) -> Self:
        """`fit`, or where it is incremental `partial_fit`."""
        if incremental:
            self._validate_changes()
            if self.early_stopping:
                raise ValueError("partial_fit does not support early_stopping=True")
        check_together(self)
        first = not hasattr(self, "net_") or not (self.warm_start or incremental)
        before = dict(vars(self))
        try:
            rng = check_random_state(self.random_state)
            rows = self._begin(X, y, sample_weight, first, incremental, classes, rng)
            score = None
            if self.solver != "lbfgs":
                rows, score = self._hold_out(rows, rng)
            rows = rows.weighing()
        except BaseException:  # what was refused has changed nothing
            self.__dict__ = before
            raise
        if first or not incremental:
            self._epochs.start(self.learning_rate_init)
        try:
            if self.solver == "lbfgs":
                minimize(self, rows)
            else:
                self._epochs.descend(self, rows, score, rng, incremental)
        except BaseException:
            if first:  # nothing that could predict has come of it
                self._forget()
            raise
        return self

    def _validate_changes(self) -> None:
        """Validate parameters that have changed since the last call of `partial_fit`.

        scikit-learn's decorator validates before the first call alone, and takes its time.
        """
        now = tuple(vars(self).get(name) for name in self._parameter_constraints)
        before = vars(self).get("_validated_parameters", ())
        if len(now) != len(before) or any(a is not b for a, b in zip(now, before, strict=True)):
            self._validate_params()
            self._validated_parameters = now

    def _begin(
        self, X: Any, y: Any, sample_weight: Any, first: bool, incremental: bool, classes: Any,
        rng: Random,
    ) -> Rows:  # fmt: skip
        """Check what comes, and make a net for it, or take the last one; return the rows."""
        given = vars(self).get("_first_parameters", {}) if incremental or self.warm_start else {}
        if first:
            self._forget()
        else:
            refuse_changes(self, vars(self).get("_made_with", {}))
        library = library_and_place(X)
        X, y = self._validated(
            X, library, y=y, multi_output=True, y_numeric=isinstance(self, RegressorMixin),
            order="C", reset=first,
        )  # fmt: skip
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if first:
            here = self._place(X, library)
            self._fitted_on_numpy = library is None
            self._made_with = made_with(self)
        else:
            here = self.net_.placement
            self._check_same(library, "partial_fit" if incremental else "fit")
        t, outputs, output, by_class = self._read_target(y, here, first, classes)
        sizes = (X.shape[1], *hidden_sizes(self.hidden_layer_sizes), outputs)
        weights = checked_sample_weight(sample_weight, X.shape[0])
        if by_class is not None:
            weights = by_class if weights is None else weights * by_class
        rows = Rows(here, moved(X, here), t, weights)
        rows.refuse_weightless("of X")
        if first:
            self._set_net(new_net(sizes, self.activation, output, here, rng))
            for letter, values in given.items():
                self.net_.params.update(checked_parameters(self.net_, letter, values))
            self._epochs = Epochs()
        elif sizes != self.net_.layer_sizes:
            raise ValueError(
                f"the net to go on with has layer sizes {self.net_.layer_sizes}, not {sizes}"
            )
        return rows

    def _set_net(self, net: MLP) -> None:
        """Set a net, and what scikit-learn says of it."""
        self.net_ = net
        self.n_layers_, self.n_outputs_ = net.depth + 1, int(net.layer_sizes[-1])
        name = net.output.name
        self.out_activation_ = "logistic" if name == "sigmoid" else name

    def _forget(self) -> None:
        """Be as before the first `fit`; what others have set stays."""
        for name in FITTED:
            self.__dict__.pop(name, None)

    def _hold_out(self, rows: Rows, rng: Random) -> tuple[Rows, Score | None]:
        """Set rows aside for validation, if any; return the others, and a net's score on those."""
        if not self.early_stopping:
            return rows, None
        here = rows.here
        label = here.to_host(rows.t) > 0.5
        stratify = not isinstance(self, RegressorMixin) and self.n_outputs_ == 1
        ones = int(label.sum())
        if not (stratify and 1 in (ones, len(rows) - ones)):  # which has a message of its own
            refuse_fraction(self.validation_fraction, len(rows), 2 if stratify else 1)
        try:
            training, held_out = train_test_split(
                np.arange(len(rows)), random_state=rng, test_size=self.validation_fraction,
                stratify=label if stratify else None,
            )  # fmt: skip
        except ValueError as error:  # the labels, as scikit-learn's own message has them
            names = self._labels.classes.tolist()
            stands = f"False stands for {names[0]!r}, True for {names[-1]!r}"
            raise ValueError(f"{error}; {stands}") from None
        rows, validation = rows.take(training), rows.take(held_out)
        rows.refuse_weightless("to train on")
        validation.refuse_weightless("to validate with")
        target = here.to_host(validation.t)

        def score(net: Network) -> float:
            prediction = here.to_host(predictions(net, validation.x))
            if not np.isfinite(prediction).all():
                return math.nan
            with np.errstate(over="ignore", invalid="ignore"):  # before it diverges
                return float(self._score(target, prediction, sample_weight=validation.weights))

        return rows, score

    @abc.abstractmethod
    def _read_target(self, y: Array, here: Placement, first: bool, classes: Any) -> Target:
        """Make of y what the net is to learn, or raise where it does not suit."""

    @abc.abstractmethod
    def _score(self, target: np.ndarray, prediction: np.ndarray, **weights: Any) -> Any:
        """Accuracy or R² of what the net has predicted, on the host."""

    # --- where things are --------------------------------------------------------------------

    def _place(self, X: Any, library: Placement | None) -> Placement:
        """Return where the net is to live."""
        if library is not None:
            if (self.xp, self.device, self.dtype) != (None, None, None):
                raise ValueError(
                    f"xp, device and dtype are for NumPy input; X is an array of "
                    f"{library.backend.name}, and everything follows it"
                )
            return placement_of(X)
        try:
            return place(self.xp, self.device, self.dtype or X.dtype.name)
        except BackendNotAvailable:
            if self.dtype is not None or X.dtype == np.float32:
                raise
            # Apple's GPUs have no float64, and JAX has it on request only.
            return place(self.xp, self.device, "float32")

    def _check_same(self, library: Placement | None, method: str) -> None:
        """Raise where X lives elsewhere than the X of fit."""
        here = self.net_.placement
        fitted = "numpy" if self._fitted_on_numpy else f"{here.backend.name} on {here.device}"
        came = "numpy" if library is None else f"{library.backend.name} on {library.device}"
        # Without dispatch everything is NumPy outside, whatever it was.
        if came != fitted and get_config()["array_api_dispatch"]:
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace "
                f"and the same device as those passed to fit(): expected {fitted}, not {came}"
            )

    def _validated(self, X: Any, library: Placement | None, **options: Any) -> Any:
        """Return X, and y where there is one, as scikit-learn checks them."""
        dtypes: list[Any] = [np.float64, np.float32]  # others become the first
        if library is not None:
            info = library.xp.__array_namespace_info__()
            offered = info.dtypes(device=library.device, kind="real floating")
            dtypes = [offered[name] for name in ("float64", "float32") if name in offered]
        return validate_data(self, X, accept_sparse="csr", dtype=dtypes, **options)

    def _predicted(self, X: Any, method: str, *, logits: bool = False) -> Array:
        """The net's predictions, or its logits, (rows, outputs), where X is."""
        check_is_fitted(self, "net_")
        library = library_and_place(X)
        self._check_same(library, method)
        X = self._validated(X, library, reset=False)
        net = of_logits(self.net_) if logits else self.net_
        prediction = predictions(net, moved(X, net.placement))
        return prediction if library is not None else net.placement.to_host(prediction)

    # --- copies ------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "net_" in state:
            net, here = self.net_, self.net_.placement
            state["net_"] = {
                **net._definition.describe(), "params": mapped(on_host, net.params),
                "xp": here.backend.name, "device": here.device_info().id, "dtype": here.dtype_name,
            }  # fmt: skip
            epochs = state["_epochs"] = copy.copy(self._epochs)
            epochs.optimizer = mapped(on_host, epochs.optimizer)
            if "classes_" in state:
                state["classes_"] = on_host(state["classes_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        if "net_" in state:
            # Version 0.1 has saved less of a net's definition.
            saved = {"own_activation": False, "weight_init": 0.0, **state.pop("net_")}
            try:
                here = place(saved["xp"], saved["device"], saved["dtype"])
            except (ValueError, RuntimeError) as error:
                warnings.warn(
                    f"the estimator was fitted on {saved['xp']}, which this machine cannot run "
                    f"({error}); it is on NumPy now", stacklevel=2,
                )  # fmt: skip
                here = place(dtype=saved["dtype"])
                state["_fitted_on_numpy"] = True
            net = MLP._of(of_description(saved, None), here, saved["params"])
            self._set_net(net)
            optimizer = state["_epochs"].optimizer
            if "slots" in optimizer:
                optimizer["slots"] = mapped(net._placed, optimizer["slots"])
            if "classes_" in state:
                # Version 0.1 had the labels in `classes_` alone.
                labels = Labels(state["classes_"], state.pop("_multilabel", False))
                labels = state.setdefault("_labels", labels)
                numpy = state["_fitted_on_numpy"]
                state["classes_"] = (
                    labels.classes if numpy else placed_classes(labels.classes, here)
                )
        super().__setstate__(state)

    def __sklearn_array_api_convert__(self, converter: Callable[[Array], Array]) -> Self:
        """Return a copy whose arrays were moved: for scikit-learn's `move_estimator_to`."""
        copied: Self = clone(self)
        state = self.__getstate__()
        if "net_" in state:
            here = placement_of(converter(self.net_.params["W1"]))
            state["net_"].update(xp=here.xp, device=here.device)
            state["_fitted_on_numpy"] = here.backend.name == "numpy"
        copied.__setstate__(state)
        return copied

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


def of_logits(net: MLP) -> MLP:
    """Return a net with the same parameters, whose predictions are the logits."""
    is_, net = net._definition, copy.copy(net)
    net._stack = Stack(Definition(is_.layers, is_.input_shape, "identity", 0.0, is_.activation))
    return net


def predictions(net: Network, x: Array) -> Array:
    """Return the net's predictions of rows, sparse ones too."""
    return predicted(net, x) if isinstance(x, SparseRows) else net.predict(x)


def refuse_fraction(fraction: float, n: int, least: int) -> None:
    """Raise where a fraction of n rows is no validation set, or leaves fewer than `least`."""
    held_out = math.ceil(fraction * n)
    if held_out < 2 or n - held_out < least:
        size, change = ("small", "Increase") if held_out < 2 else ("large", "Decrease")
        raise ValueError(
            f"The validation set is too {size}. {change} 'validation_fraction' or the size of "
            f"your dataset: validation_fraction={fraction} of n_samples={n} are {held_out}"
        )


def checked_parameters(net: MLP, letter: str, values: Any) -> dict[str, Array]:
    """Return the weights, or biases, of all layers, where the net is; or raise."""
    name = {"W": "coefs_", "b": "intercepts_"}[letter]
    arrays = [np.asarray(on_host(value)) for value in values]
    shapes = [net._definition.shapes[f"{letter}{i}"] for i in range(1, net.depth + 1)]
    came = [array.shape for array in arrays]
    if came != shapes or any(array.dtype.kind not in "biuf" for array in arrays):
        raise ValueError(f"{name} must be arrays of numbers of the shapes {shapes}, not {came}")
    return {f"{letter}{i}": net._placed(array) for i, array in enumerate(arrays, 1)}


def new_net(sizes: tuple[int, ...], activation: str, output: str, here: Placement, rng: Any) -> MLP:
    """Return a net with the first weights that scikit-learn draws from the same generator.

    Uniform within ±√(6 / (in + out)), for the logistic activation ±√(2 / (in + out)), biases
    too: Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural
    networks* (2010), equation 16.
    """
    net = MLP(
        sizes, activation=ACTIVATIONS[activation], output=output, weight_init=0.0,
        xp=here.xp, device=here.device, dtype=here.dtype,
    )  # fmt: skip
    factor = 2.0 if activation == "logistic" else 6.0
    for key, shape in net._definition.shapes.items():
        if len(shape) == 2:  # the bound of a layer's weights is that of its biases, which follow
            bound = math.sqrt(factor / sum(shape))
        net.params[key] = net._placed(rng.uniform(-bound, bound, shape))
    return net
