"""Who is timed: xpnet on each library, the floor of each library, and other ways to the same step.

Each is a row of `CONTENDERS`: a name, its library and device, and a function that builds, from
a task, something that runs that many steps. All train the same net from the same weights on the
same batches with the same rate; where a program insists on an order of its own (scikit-learn,
Keras, the reference), batches of the same size of the same data.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import xpnet
from xpnet.training.blocks import Batches
from xpnet.training.plan import default_block
from xpnet.training.sources import Resident
from xpnet.training.step import make_step

# What times a turn. conftest.py's --cpu-time puts time.process_time here.
CLOCKS: list[Callable[[], float]] = [time.perf_counter]


def clock() -> float:
    return CLOCKS[-1]()


class Missing(Exception):
    """A contender that cannot run here; the text says why."""


@functools.cache
def mnist() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    (x, t), (x_test, t_test) = xpnet.load_mnist()
    return x, t, x_test, t_test


@dataclass
class Task:
    """A net, a batch size and a data set, the same for all contenders of a race."""

    layer_sizes: tuple[int, ...] = (784, 100, 10)
    batch: int = 100
    learning_rate: float = 0.1
    fresh_order: bool = False
    _next: int = 0

    @functools.cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        return mnist()[:2]

    def net(self, xp: Any = None, device: Any = None) -> xpnet.MLP:
        return xpnet.MLP(self.layer_sizes, weight_init="xavier", xp=xp, device=device, seed=0)

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        return self.net().params

    @functools.cached_property
    def block(self) -> int:
        """Steps that are asked for at once, by xpnet and by all peers that can."""
        return default_block(self.net(), self.batch, "backprop")

    @functools.cached_property
    def _order(self) -> Any:
        return Batches(len(self.data[0]), self.batch, seed=0)

    @functools.cached_property
    def _pool(self) -> list[np.ndarray]:
        return [self._draw() for _ in range(10)]

    def _draw(self) -> np.ndarray:
        return np.asarray(self._order.take(self.block))

    def rows(self) -> np.ndarray:
        """Row numbers of a block, (block, batch): drawn before, or now if `fresh_order`."""
        if self.fresh_order:
            return self._draw()
        self._next = (self._next + 1) % len(self._pool)
        return self._pool[self._next]


@dataclass
class Run:
    """What a contender builds.

    Attributes
    ----------
    go
        Runs that many steps and waits for the device. Returns None, or the seconds of the part
        that is to be timed.
    least
        The steps of one call that are no waste: `go` is called with multiples of it.
    reset
        Back to the initial weights.
    results
        Loss and accuracy after the last step.
    warms_up
        Whether an untimed call before each turn makes sense.
    extra
        More to be written beside the times.
    """

    go: Callable[[int], float | None]
    least: int
    reset: Callable[[], Any] | None = None
    results: Callable[[], dict[str, float]] | None = None
    warms_up: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Contender:
    """A row of the table."""

    name: str
    library: str
    kind: str  # "floor", "xpnet", "fit", "peer", "products"
    build: Callable[[Task], Run]
    device: str = "cpu"

    def __str__(self) -> str:
        return self.name


def blocks(task: Task, one_block: Callable[[np.ndarray], Any], finish: Callable[[], Any]) -> Any:
    """Return `go` for a contender that takes the row numbers of one block after the other."""

    def go(steps: int) -> None:
        for _ in range(steps // task.block):
            one_block(task.rows())
        finish()

    return go


def no_wait() -> None:
    pass


# --- xpnet -----------------------------------------------------------------------------------


def place(library: str, device: str) -> xpnet.backend.Placement:
    """Where a contender's arrays live, or Missing."""
    where = None if device == "cpu" or library in ("jax", "cupy") else device
    try:
        return xpnet.place(library, where)
    except xpnet.BackendNotAvailable as error:
        raise Missing(str(error)) from None


@functools.cache
def placed_data(library: str, device: str) -> tuple[Any, Any]:
    here = place(library, device)
    x, t = mnist()[:2]
    return here.asarray(x), here.asarray(t)


def net_on(task: Task, library: str, device: str) -> xpnet.MLP:
    here = place(library, device)
    return task.net(here.xp, here.device)


def net_results(net: xpnet.MLP, last: list[float]) -> Callable[[], dict[str, float]]:
    _, _, x, t = mnist()
    here = net.placement

    def results() -> dict[str, float]:
        accuracy = float(here.to_host(net.accuracy(here.asarray(x), here.asarray(t))))
        return {"loss": last[-1], "accuracy": accuracy}

    return results


def xpnet_runner(library: str, device: str) -> Callable[[Task], Run]:
    """The bare runner: blocks of row numbers in, losses out, nothing else."""

    def build(task: Task) -> Run:
        net = net_on(task, library, device)
        here = net.placement
        rule = xpnet.optimizers.SGD()
        source = Resident(here._take, placed_data(library, device))
        step = make_step(net, rule, net._backpropagate, source)
        state = {"params": net.params, "slots": rule.slots(net.params)}
        start = {key: here.floats(here.to_host(p)) for key, p in net.params.items()}
        run = here._runner(step, state, source.data)
        rates = np.full(task.block, task.learning_rate)
        coefficients = rule.coefficients(np.arange(task.block) + 1, rates)
        last: list[float] = [float("nan")]

        def one_block(rows: np.ndarray) -> None:
            last[0] = here.to_host(run((rows,), coefficients))[-1].item()

        def reset() -> None:
            for key, p in start.items():  # in place where arrays are: a captured graph reads there
                state["params"][key] *= 0.0
                state["params"][key] += p

        return Run(
            blocks(task, one_block, here.synchronize), task.block, reset, net_results(net, last)
        )

    return build


def graph_off(library: str, device: str) -> Callable[[Task], Run]:
    """The runner without a captured graph, on a GPU."""

    def build(task: Task) -> Run:
        before = os.environ.get("XPNET_CUDA_GRAPH")
        os.environ["XPNET_CUDA_GRAPH"] = "0"  # is looked at when a runner is made
        try:
            return xpnet_runner(library, device)(task)
        finally:
            os.environ.pop("XPNET_CUDA_GRAPH")
            if before is not None:
                os.environ["XPNET_CUDA_GRAPH"] = before

    return build


class _Screen(io.StringIO):
    """A terminal for the progress bar to draw on, wherever the benchmarks run."""

    def isatty(self) -> bool:
        return True


def progress_bar() -> Any:
    try:
        from rich.console import Console

        from xpnet.training.bar import ProgressBar
    except ImportError as error:
        raise Missing(f"the progress bar cannot be drawn: {error}") from None
    return ProgressBar(Console(file=_Screen(), force_terminal=True))


def xpnet_fit(
    library: str, device: str, *, whole: bool = False, progress: bool = False
) -> Callable[[Task], Run]:
    """`xpnet.fit` with a callback, and with a progress bar if asked for.

    Timed from the end of the first block to the end of the last, or, as a `whole`, from the
    call: with its checks of the data and, on JAX, the compiling.
    """

    def build(task: Task) -> Run:
        x, t = placed_data(library, device)
        last: list[Any] = [None, float("nan")]
        inside: list[float] = []

        def go(steps: int) -> float:
            stamps: list[float] = []
            net = last[0] = net_on(task, library, device)
            net.placement = _watched(net.placement, inside)
            watchers = [lambda state: stamps.append(clock())]
            watchers += [progress_bar()] if progress else []
            inside.clear()
            start = clock()
            history = xpnet.fit(
                net, x, t, steps=steps if whole else steps + task.block, batch_size=task.batch,
                learning_rate=task.learning_rate, callbacks=watchers,
            )
            end = clock()
            last[1] = float(history.loss[-1])
            took = end - start if whole else stamps[-1] - stamps[0]
            ours = sum(inside if whole else inside[1:])
            shares.append((took - ours) / ours)
            return took

        def results() -> dict[str, float]:
            return net_results(last[0], last[1:])()

        shares: list[float] = []
        extra = {"outside_runner": shares}
        least = 10 * task.block
        return Run(go, least, None, results, warms_up=False, extra=extra)

    return build


def _watched(here: Any, inside: list[float]) -> Any:
    """The placement, its runner noting the seconds of each block, device and all.

    What a fit takes beside these is its overhead, measured within one call: free of the drift
    between one call and the next.
    """

    def runner(*args: Any, **options: Any) -> Any:
        run = here.backend.runner(*args, **options)

        def timed(*block: Any) -> Any:
            start = clock()
            losses = run(*block)
            here.to_host(losses)
            inside.append(clock() - start)
            return losses

        return timed

    return dataclasses.replace(here, backend=dataclasses.replace(here.backend, runner=runner))


# --- floors: gathering the batch and the two large products, nothing else ----------------------


def floor_arrays(task: Task, here: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    d = rng.standard_normal((task.batch, task.layer_sizes[1])) / 1000
    return here.floats(task.weights["W1"]), here.floats(d)


def eager_floor(library: str, device: str) -> Callable[[Task], Run]:
    def build(task: Task) -> Run:
        here = place(library, device)
        w, d = floor_arrays(task, here)
        x, _ = placed_data(library, device)
        take = here.xp.take

        def one_block(rows: np.ndarray) -> None:
            for numbers in here.asarray(rows):
                batch = take(x, numbers, axis=0)
                batch @ w
                batch.T @ d

        return Run(blocks(task, one_block, here.synchronize), task.block)

    return build


def jax_floor(task: Task) -> Run:
    here = place("jax", "cpu")
    import jax

    w, d = floor_arrays(task, here)
    x, _ = placed_data("jax", "cpu")

    @jax.jit
    def scanned(products: Any, rows: Any, x: Any, w: Any, d: Any) -> Any:
        def body(products: Any, numbers: Any) -> Any:
            batch = x[numbers]
            # As the state that is handed on, both products must be computed in every step.
            return (batch @ w, batch.T @ d), None

        return jax.lax.scan(body, products, rows)[0]

    products = [(d, w)]  # of the products' shapes

    def one_block(rows: np.ndarray) -> None:
        products[0] = scanned(products[0], here.asarray(rows), x, w, d)

    return Run(blocks(task, one_block, lambda: jax.block_until_ready(products[0])), task.block)


# --- all matrix products of a step, and nothing else -------------------------------------------


def _products(z: list[Any], d: list[Any], w: list[Any]) -> list[Any]:
    """Forward and backward products of the shapes and transposes of a step."""
    found = [z[i] @ w[i] for i in range(len(w))]
    for i in range(len(w) - 1, -1, -1):
        found.append(z[i].T @ d[i])
        if i:
            found.append(d[i] @ w[i].T)
    return found


def products(library: str, device: str) -> Callable[[Task], Run]:
    def build(task: Task) -> Run:
        here = place(library, device)
        rng = np.random.default_rng(0)
        sizes = task.layer_sizes
        z = [here.floats(rng.random((task.batch, n), dtype=np.float32)) for n in sizes[:-1]]
        d = [here.floats(rng.random((task.batch, n), dtype=np.float32)) for n in sizes[1:]]
        w = [here.floats(task.weights[f"W{i + 1}"]) for i in range(len(sizes) - 1)]
        compute = _products
        if library == "jax":
            import jax

            compute = jax.jit(_products)

        def go(steps: int) -> None:
            for _ in range(steps):
                found = compute(z, d, w)
                if library == "jax":
                    found[-1].block_until_ready()
            here.synchronize()

        return Run(go, 1)

    return build


# --- peers -----------------------------------------------------------------------------------


def reference(task: Task) -> Run:
    """The reference's program, written anew: NumPy, float64 weights, the loss on every step."""
    x, _ = task.data
    t = np.eye(task.layer_sizes[-1])[task.data[1]]
    rng = np.random.default_rng(0)
    params: dict[str, np.ndarray] = {}
    losses: list[float] = [float("nan")]

    def reset() -> None:
        params.update({key: p.astype(np.float64) for key, p in task.weights.items()})

    def go(steps: int) -> None:
        for _ in range(steps):
            mask = rng.choice(len(x), task.batch)
            gradient = _reference_gradient(params, x[mask], t[mask])
            for key in ("W1", "b1", "W2", "b2"):
                params[key] -= task.learning_rate * gradient[key]
            losses.append(_reference_loss(params, x[mask], t[mask]))

    def results() -> dict[str, float]:
        _, _, x_test, t_test = mnist()
        right = _reference_predict(params, x_test).argmax(axis=1) == t_test
        return {"loss": float(losses[-1]), "accuracy": float(right.mean())}

    if len(task.layer_sizes) != 3:
        raise Missing("the reference has two layers")
    reset()
    return Run(go, task.block, reset, results)


def _sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def _softmax(a: np.ndarray) -> np.ndarray:
    e = np.exp(a - a.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _reference_predict(p: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    return _softmax(_sigmoid(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])


def _reference_loss(p: dict[str, np.ndarray], x: np.ndarray, t: np.ndarray) -> float:
    y = _reference_predict(p, x)
    return -np.log(y[np.arange(len(y)), t.argmax(axis=1)] + 1e-7).sum() / len(y)


def _reference_gradient(
    p: dict[str, np.ndarray], x: np.ndarray, t: np.ndarray
) -> dict[str, np.ndarray]:
    a1 = x @ p["W1"] + p["b1"]
    z1 = _sigmoid(a1)
    y = _softmax(z1 @ p["W2"] + p["b2"])
    dy = (y - t) / len(x)
    da1 = (dy @ p["W2"].T) * ((1 - _sigmoid(a1)) * _sigmoid(a1))
    return {"W2": z1.T @ dy, "b2": dy.sum(axis=0), "W1": x.T @ da1, "b1": da1.sum(axis=0)}


def torch_peer(device: str, *, compiled: bool = False) -> Callable[[Task], Run]:
    """Torch as its tutorials have it: a Sequential, CrossEntropyLoss, backward, optim.SGD."""

    def build(task: Task) -> Run:
        place("torch", device)
        import torch

        model = _torch_model(task).to(device)
        criterion = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=task.learning_rate)
        x, t = placed_data("torch", device)
        start = {key: value.clone() for key, value in model.state_dict().items()}
        last: list[Any] = [None]

        def objective(x: Any, t: Any) -> Any:
            return criterion(model(x), t)

        evaluate = _compiled(objective, x, t) if compiled else objective

        def one_block(rows: np.ndarray) -> None:
            losses = []
            for numbers in torch.from_numpy(rows).to(device):
                optimizer.zero_grad()
                loss = evaluate(x[numbers], t[numbers])
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            last[0] = torch.stack(losses).cpu()

        def results() -> dict[str, float]:
            _, _, x_test, t_test = mnist()
            with torch.no_grad():
                found = model(torch.from_numpy(x_test).to(device)).argmax(axis=1).cpu().numpy()
            return {"loss": float(last[0][-1]), "accuracy": float((found == t_test).mean())}

        wait = torch.cuda.synchronize if device == "cuda" else no_wait
        return Run(
            blocks(task, one_block, wait), task.block, lambda: model.load_state_dict(start), results
        )

    return build


def _torch_model(task: Task) -> Any:
    import torch

    layers: list[Any] = []
    for i, (n_in, n_out) in enumerate(itertools.pairwise(task.layer_sizes)):
        layers += [torch.nn.Sigmoid()] if i else []
        layer = torch.nn.Linear(n_in, n_out)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(task.weights[f"W{i + 1}"].T))
            layer.bias.zero_()
        layers.append(layer)
    return torch.nn.Sequential(*layers)


def _compiled(objective: Any, x: Any, t: Any) -> Any:
    import torch

    compiled = torch.compile(objective)
    try:
        compiled(x[:2], t[:2])
    except Exception as error:  # no C++ compiler, or none that it can use
        reason = str(error).strip().splitlines() or [""]
        raise Missing(f"torch.compile fails here: {reason[0][:200]}") from None
    torch._dynamo.reset()
    return torch.compile(objective)


def jax_peer(task: Task) -> Run:
    """JAX by hand: jax.grad of a loss, jit of a scan over a block of batches."""
    here = place("jax", "cpu")
    import jax
    import jax.numpy as jnp

    x, t = placed_data("jax", "cpu")
    depth = len(task.layer_sizes) - 1

    def logits(params: Any, x: Any) -> Any:
        for i in range(1, depth + 1):
            x = x @ params[f"W{i}"] + params[f"b{i}"]
            x = jax.nn.sigmoid(x) if i < depth else x
        return x

    def objective(params: Any, x: Any, t: Any) -> Any:
        chances = jax.nn.log_softmax(logits(params, x))
        return -jnp.mean(jnp.take_along_axis(chances, t[:, None], axis=1))

    @jax.jit
    def block(params: Any, x: Any, t: Any, rows: Any) -> Any:
        def step(params: Any, numbers: Any) -> Any:
            loss, gradient = jax.value_and_grad(objective)(params, x[numbers], t[numbers])
            move = lambda p, g: p - task.learning_rate * g  # noqa: E731
            return jax.tree.map(move, params, gradient), loss

        return jax.lax.scan(step, params, rows)

    last: list[Any] = [None, None]

    def reset() -> None:
        last[0] = {key: jnp.asarray(p) for key, p in task.weights.items()}

    def one_block(rows: np.ndarray) -> None:
        last[0], losses = block(last[0], x, t, here.asarray(rows))
        last[1] = np.asarray(losses)

    def results() -> dict[str, float]:
        _, _, x_test, t_test = mnist()
        found = np.asarray(jax.jit(logits)(last[0], x_test).argmax(axis=1))
        return {"loss": float(last[1][-1]), "accuracy": float((found == t_test).mean())}

    reset()
    return Run(blocks(task, one_block, no_wait), task.block, reset, results)


def epochs_of(task: Task, train: Callable[[np.ndarray, np.ndarray], Any]) -> Any:
    """Return `go` for a program that walks through a data set by itself."""
    x, t = task.data
    whole = len(x) // task.batch

    def go(steps: int) -> None:
        while steps:
            done = min(steps, whole)
            train(x[: done * task.batch], t[: done * task.batch])
            steps -= done

    return go


def sklearn_peer(task: Task) -> Run:
    """scikit-learn's MLPClassifier; told not to look for NaN again in every call."""
    model = _sklearn_model(task)
    import sklearn

    x, t = task.data
    classes = np.arange(task.layer_sizes[-1])

    def train(x: np.ndarray, t: np.ndarray) -> None:
        with sklearn.config_context(assume_finite=True):
            model.partial_fit(x, t, classes=classes)

    def reset() -> None:
        for i, (weights, biases) in enumerate(zip(model.coefs_, model.intercepts_, strict=True), 1):
            weights[...] = task.weights[f"W{i}"]
            biases[...] = 0.0

    def results() -> dict[str, float]:
        return {"loss": float(model.loss_), "accuracy": float(model.score(*mnist()[2:]))}

    train(x[: task.batch], t[: task.batch])
    reset()
    return Run(epochs_of(task, train), task.block, reset, results)


def _sklearn_model(task: Task) -> Any:
    try:
        from sklearn.neural_network import MLPClassifier
    except ImportError as error:
        raise Missing(f"scikit-learn is not installed ({error})") from None
    return MLPClassifier(
        task.layer_sizes[1:-1], activation="logistic", solver="sgd", alpha=0.0,
        batch_size=task.batch, learning_rate_init=task.learning_rate, momentum=0.0,
        nesterovs_momentum=False, random_state=0,
    )  # fmt: skip


def keras_peer(task: Task) -> Run:
    """Keras 3's fit; the backend is what KERAS_BACKEND says (see conftest.py)."""
    model = _keras_model(task)
    import keras

    start = [task.weights[key] for key in _in_order(task)]
    last: list[Any] = [None]

    def train(x: np.ndarray, t: np.ndarray) -> None:
        last[0] = model.fit(x, t, batch_size=task.batch, epochs=1, verbose=0)

    def reset() -> None:
        model.set_weights(start)

    def results() -> dict[str, float]:
        _, _, x_test, t_test = mnist()
        found = model.predict(x_test, batch_size=1000, verbose=0).argmax(axis=1)
        accuracy = float((found == t_test).mean())
        return {"loss": float(last[0].history["loss"][-1]), "accuracy": accuracy}

    reset()
    # A call of fit has costs of its own: half an epoch at least.
    least = max(1, 300 // task.block) * task.block
    extra = {"keras_backend": keras.backend.backend()}
    return Run(epochs_of(task, train), least, reset, results, extra=extra)


def _keras_model(task: Task) -> Any:
    try:
        import keras
    except ImportError as error:
        raise Missing(f"Keras is not installed ({error})") from None
    layers = [keras.Input((task.layer_sizes[0],))]
    layers += [keras.layers.Dense(n, activation="sigmoid") for n in task.layer_sizes[1:-1]]
    layers += [keras.layers.Dense(task.layer_sizes[-1])]
    model = keras.Sequential(layers)
    model.compile(
        optimizer=keras.optimizers.SGD(task.learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return model


def _in_order(task: Task) -> list[str]:
    return [f"{kind}{i}" for i in range(1, len(task.layer_sizes)) for kind in "Wb"]


# --- predictions -----------------------------------------------------------------------------


def predictor(make: Callable[[Task, np.ndarray], Callable[[], Any]]) -> Callable[[Task], Run]:
    """From a function that returns a prediction to a contender; a step is one prediction."""

    def build(task: Task) -> Run:
        predict = make(task, mnist()[2][: task.batch])

        def go(steps: int) -> None:
            for _ in range(steps):
                predict()

        return Run(go, 1)

    return build


def xpnet_predict(library: str, device: str) -> Callable[[Task], Run]:
    def make(task: Task, x: np.ndarray) -> Callable[[], Any]:
        net = net_on(task, library, device)
        rows = net.placement.asarray(x)

        def predict() -> None:
            net.predict(rows)
            net.placement.synchronize()

        return predict

    return predictor(make)


def torch_predict(device: str) -> Callable[[Task], Run]:
    def make(task: Task, x: np.ndarray) -> Callable[[], Any]:
        place("torch", device)
        import torch

        model = _torch_model(task).to(device).eval()
        rows = torch.from_numpy(x).to(device)

        def predict() -> None:
            with torch.inference_mode():
                torch.softmax(model(rows), dim=1)
            if device == "cuda":
                torch.cuda.synchronize()

        return predict

    return predictor(make)


def jax_predict(task: Task, x: np.ndarray) -> Callable[[], Any]:
    here = place("jax", "cpu")
    import jax

    w = {key: here.asarray(p) for key, p in task.weights.items()}
    rows = here.asarray(x)

    @jax.jit
    def probabilities(w: Any, x: Any) -> Any:
        return jax.nn.softmax(jax.nn.sigmoid(x @ w["W1"] + w["b1"]) @ w["W2"] + w["b2"])

    return lambda: probabilities(w, rows).block_until_ready()


def reference_predict(task: Task, x: np.ndarray) -> Callable[[], Any]:
    params = {key: p.astype(np.float64) for key, p in task.weights.items()}
    return lambda: _reference_predict(params, x)


def sklearn_predict(task: Task, x: np.ndarray) -> Callable[[], Any]:
    model = _sklearn_model(task)
    model.partial_fit(*(a[: task.batch] for a in task.data), classes=np.arange(10))
    return lambda: model.predict_proba(x)


def keras_predict(task: Task, x: np.ndarray) -> Callable[[], Any]:
    model = _keras_model(task)
    import keras

    # Keras on JAX answers a call at once and computes later.
    return lambda: keras.ops.convert_to_numpy(keras.ops.softmax(model.predict_on_batch(x)))


# --- the table ---------------------------------------------------------------------------------

# (name, library, device): where xpnet runs.
PLACES = [
    ("numpy", "numpy", "cpu"),
    ("torch", "torch", "cpu"),
    ("jax", "jax", "cpu"),
    ("torch-cuda", "torch", "cuda"),
    ("cupy", "cupy", "cuda"),
]


def _rows(kind: str, build: Any, **options: Any) -> list[Contender]:
    """One row for each place."""
    return [
        Contender(f"{kind}-{name}", library, kind, build(library, device, **options), device)
        for name, library, device in PLACES
    ]


def _floor(library: str, device: str) -> Callable[[Task], Run]:
    return jax_floor if library == "jax" else eager_floor(library, device)


FLOORS = _rows("floor", _floor)
RUNNERS = [
    *_rows("xpnet", xpnet_runner),
    Contender("xpnet-torch-cuda-no-graph", "torch", "xpnet", graph_off("torch", "cuda"), "cuda"),
]
FITS = _rows("fit", xpnet_fit)
PROGRESS_FITS = _rows("fit-progress", xpnet_fit, progress=True)
WHOLE_FITS = _rows("fit", xpnet_fit, whole=True)
PRODUCTS = _rows("products", products)
PEERS = [
    Contender("reference", "numpy", "peer", reference),
    Contender("scikit-learn", "sklearn", "peer", sklearn_peer),
    Contender("torch-eager", "torch", "peer", torch_peer("cpu")),
    Contender("torch-compile", "torch", "peer", torch_peer("cpu", compiled=True)),
    Contender("torch-eager-cuda", "torch", "peer", torch_peer("cuda"), "cuda"),
    Contender("torch-compile-cuda", "torch", "peer", torch_peer("cuda", compiled=True), "cuda"),
    Contender("jax-scan", "jax", "peer", jax_peer),
    Contender("keras", "keras", "peer", keras_peer),
]
PREDICTORS = [
    *_rows("xpnet", xpnet_predict),
    Contender("reference", "numpy", "peer", predictor(reference_predict)),
    Contender("scikit-learn", "sklearn", "peer", predictor(sklearn_predict)),
    Contender("torch-eager", "torch", "peer", torch_predict("cpu")),
    Contender("torch-eager-cuda", "torch", "peer", torch_predict("cuda"), "cuda"),
    Contender("jax-jit", "jax", "peer", predictor(jax_predict)),
    Contender("keras", "keras", "peer", predictor(keras_predict)),
]


def named(*names: str) -> list[Contender]:
    """Peers by their names."""
    rows = {row.name: row for row in PEERS}
    return [rows[name] for name in names]
