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
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from ..arrays import Array, mapped
from ..backend import BackendNotAvailable, Placement, place, placement_of
from ..network import MLP, Network
from ..network.definition import of_description
from .arrays import Rows, checked_sample_weight, library_and_place, moved, on_host, placed_classes
from .parameters import ACTIVATIONS, check_parameters, hidden_sizes
from .solvers import Epochs, Random, Score, minimize

# What a net is to learn; xpnet's name of its output; on the host the weight of each row's class.
Target = tuple[Array, str, np.ndarray | None]


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
    _multilabel: bool
    _fitted_on_numpy: bool

    # --- fitted attributes that are views of others ------------------------------------------

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrices, (inputs, outputs) each, where X was: NumPy for NumPy."""
        return self._parameters_of_layers("W")

    @property
    def intercepts_(self) -> list[Array]:
        """The bias vectors, where X was."""
        return self._parameters_of_layers("b")

    def _parameters_of_layers(self, letter: str) -> list[Array]:
        net = self.net_
        parameters = [net.params[f"{letter}{i}"] for i in range(1, net.depth + 1)]
        return [*map(net.placement.to_host, parameters)] if self._fitted_on_numpy else parameters

    @property
    def n_layers_(self) -> int:
        """Layers, those of the inputs and of the outputs included."""
        return self.net_.depth + 1

    @property
    def n_outputs_(self) -> int:
        """Columns of the output layer."""
        return int(self.net_.layer_sizes[-1])

    @property
    def out_activation_(self) -> str:
        """scikit-learn's name of the output's activation."""
        name = self.net_.output.name
        return "logistic" if name == "sigmoid" else name

    # --- fit ---------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, incremental: bool = False, classes: Any = None
    ) -> Self:
        """`fit`, or where it is incremental `partial_fit`."""
        check_parameters(self)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "net_") or not (self.warm_start or incremental)
        rows, sizes, output = self._read(X, y, sample_weight, first, incremental, classes)
        rng = check_random_state(self.random_state)
        if first:
            self.net_ = new_net(sizes, self.activation, output, rows.here, rng)
            self._epochs = Epochs()
        if first or not incremental:
            self._epochs.start(self.learning_rate_init)
        try:
            if self.solver == "lbfgs":
                minimize(self, rows)
            else:
                rows, score = self._hold_out(rows, rng)
                self._epochs.descend(self, rows, score, rng, incremental)
        except BaseException:
            if first:  # nothing that could predict has come of it
                del self.net_, self._epochs
            raise
        return self

    def _read(
        self, X: Any, y: Any, sample_weight: Any, first: bool, incremental: bool, classes: Any
    ) -> tuple[Rows, tuple[int, ...], str]:
        """Check what comes; return the rows to train on, and a net's sizes and output for them."""
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
        else:
            here = self.net_.placement
            self._check_same(library, "partial_fit" if incremental else "fit")
        t, output, by_class = self._read_target(y, here, first, classes)
        outputs = t.shape[1] if t.ndim == 2 else self.classes_.shape[0]
        sizes = (X.shape[1], *hidden_sizes(self.hidden_layer_sizes), outputs)
        if not first and sizes != self.net_.layer_sizes:
            raise ValueError(
                f"the net to go on with has layer sizes {self.net_.layer_sizes}, not {sizes}"
            )
        weights = checked_sample_weight(sample_weight, X.shape[0])
        if by_class is not None:
            weights = by_class if weights is None else weights * by_class
        return Rows(here, moved(X, here), t, weights), sizes, output

    def _hold_out(self, rows: Rows, rng: Random) -> tuple[Rows, Score | None]:
        """Set rows aside for validation, if any; return the others, and a net's score on those."""
        if not self.early_stopping:
            return rows, None
        here = rows.here
        one_label = not isinstance(self, RegressorMixin) and self.n_outputs_ == 1
        training, held_out = train_test_split(
            np.arange(len(rows)), random_state=rng, test_size=self.validation_fraction,
            stratify=here.to_host(rows.t)[:, 0].astype(int) if one_label else None,
        )  # fmt: skip
        if len(held_out) < 2:
            raise ValueError(
                f"the validation set is too small: validation_fraction="
                f"{self.validation_fraction} of {len(rows)} rows are {len(held_out)}"
            )
        validation = rows.take(held_out)
        target = here.to_host(validation.t)

        def score(net: Network) -> float:
            prediction = here.to_host(net.predict(validation.x))
            if not np.isfinite(prediction).all():
                return math.nan
            return float(self._score(target, prediction, sample_weight=validation.weights))

        return rows.take(training), score

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
        return validate_data(self, X, accept_sparse=("csr", "csc"), dtype=dtypes, **options)

    def _predicted(self, X: Any, method: str) -> Array:
        """The net's predictions, (rows, outputs), where X is."""
        check_is_fitted(self, "net_")
        library = library_and_place(X)
        self._check_same(library, method)
        X = self._validated(X, library, reset=False)
        prediction = self.net_.predict(moved(X, self.net_.placement))
        return prediction if library is not None else self.net_.placement.to_host(prediction)

    # --- copies ------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "net_" in state:
            net, here = self.net_, self.net_.placement
            state["net_"] = {
                **net.definition.describe(), "params": mapped(on_host, net.params),
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
            saved = {"own_activation": False, "weight_init": 0.0, **state["net_"]}
            try:
                here = place(saved["xp"], saved["device"], saved["dtype"])
            except (ValueError, RuntimeError) as error:
                warnings.warn(
                    f"the estimator was fitted on {saved['xp']}, which this machine cannot run "
                    f"({error}); it is on NumPy now", stacklevel=2,
                )  # fmt: skip
                here = place(dtype=saved["dtype"])
                state["_fitted_on_numpy"] = True
            net = state["net_"] = MLP.of(of_description(saved, None), here, saved["params"])
            optimizer = state["_epochs"].optimizer
            if "slots" in optimizer:
                optimizer["slots"] = mapped(net.placed, optimizer["slots"])
            if not state["_fitted_on_numpy"] and "classes_" in state:
                state["classes_"] = placed_classes(state["classes_"], here)
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
    for key, shape in net.definition.shapes.items():
        if len(shape) == 2:  # the bound of a layer's weights is that of its biases, which follow
            bound = math.sqrt(factor / sum(shape))
        net.params[key] = net.placed(rng.uniform(-bound, bound, shape))
    return net
