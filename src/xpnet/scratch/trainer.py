"""The textbook's loop of training."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from ..arrays import Array
from ..checks import known
from . import optimizers
from .tools import rows_of

OPTIMIZERS: dict[str, Any] = {
    "sgd": optimizers.SGD, "momentum": optimizers.Momentum, "nesterov": optimizers.Nesterov,
    "adagrad": optimizers.AdaGrad, "rmsprop": optimizers.RMSprop, "adam": optimizers.Adam,
}  # fmt: skip


class Trainer:
    """Trains a net on batches that are drawn with replacement, and keeps losses and accuracies.

    Parameters
    ----------
    network : net
        With `gradient`, `loss`, `accuracy`, `params`.
    x_train, t_train, x_test, t_test : array
    epochs, mini_batch_size : int
    optimizer : str
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", in any case.
    optimizer_param : dict
        Its arguments.
    evaluate_sample_num_per_epoch : int, optional
        So many images for the accuracies of each epoch. None: all.
    verbose : bool
        Whether losses and accuracies are printed.

    Examples
    --------
    >>> from xpnet.scratch import TwoLayerNet, load_mnist
    >>> (x, t), (x_test, t_test) = load_mnist()
    >>> trainer = Trainer(TwoLayerNet(784, 50, 10), x[:200], t[:200], x_test[:100], t_test[:100],
    ...                   epochs=2, verbose=False)
    >>> trainer.train()
    >>> len(trainer.train_loss_list), len(trainer.test_acc_list)
    (4, 2)
    """

    def __init__(
        self, network: Any, x_train: Array, t_train: Array, x_test: Array, t_test: Array,
        epochs: int = 20, mini_batch_size: int = 100, optimizer: str = "SGD",
        optimizer_param: Mapping[str, float] = MappingProxyType({"lr": 0.01}),
        evaluate_sample_num_per_epoch: int | None = None, verbose: bool = True,
    ) -> None:  # fmt: skip
        self.network, self.verbose = network, verbose
        self.x_train, self.t_train, self.x_test, self.t_test = x_train, t_train, x_test, t_test
        self.epochs, self.batch_size = epochs, mini_batch_size
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.optimizer = known(OPTIMIZERS, optimizer.lower(), "optimizer")(**optimizer_param)
        self.train_size = x_train.shape[0]
        self.iter_per_epoch = max(self.train_size / mini_batch_size, 1)
        self.max_iter = int(epochs * self.iter_per_epoch)
        self.current_iter = self.current_epoch = 0
        self.train_loss_list: list[float] = []
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []

    def train_step(self) -> None:
        """Take one step, and the accuracies where an epoch begins with it."""
        batch = np.random.choice(self.train_size, self.batch_size)
        x, t = rows_of(self.x_train, batch), rows_of(self.t_train, batch)
        self.optimizer.update(self.network.params, self.network.gradient(x, t))
        self.train_loss_list.append(float(self.network.loss(x, t)))
        self._say(f"train loss:{self.train_loss_list[-1]}")
        if self.current_iter % self.iter_per_epoch == 0:
            self.current_epoch += 1
            train = self._accuracy(self.x_train, self.t_train)
            test = self._accuracy(self.x_test, self.t_test)
            self.train_acc_list.append(train)
            self.test_acc_list.append(test)
            self._say(f"=== epoch:{self.current_epoch}, train acc:{train}, test acc:{test} ===")
        self.current_iter += 1

    def _accuracy(self, x: Array, t: Array) -> float:
        n = self.evaluate_sample_num_per_epoch
        some = slice(0, x.shape[0] if n is None else min(n, x.shape[0]))
        share: float = self.network.accuracy(x[some, ...], t[some, ...])
        return share

    def train(self) -> None:
        """Take all steps, and the accuracy of the test set at the end."""
        for _ in range(self.max_iter):
            self.train_step()
        accuracy = self.network.accuracy(self.x_test, self.t_test)
        self._say(f"=============== Final Test Accuracy ===============\ntest acc:{accuracy}")

    def _say(self, line: str) -> None:
        if self.verbose:
            print(line)
