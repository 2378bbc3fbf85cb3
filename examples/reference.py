"""The reference program: a two-layer net on MNIST, trained by a loop of one's own.

This is what a program looks like that was written for NumPy alone: its functions come from
xpnet, the rest is as it was. `WHERE` is the one thing to change to run it elsewhere, for
example ``{"xp": "torch", "device": "cuda"}`` or ``{"xp": "jax"}``:

    python examples/reference.py            # NumPy
    python examples/reference.py torch      # the same on Torch
    python examples/reference.py torch cuda # the same on an NVIDIA GPU
"""

import sys
import time

import numpy as np

from xpnet import TwoLayerNet, load_mnist


def main(iters_num=10_000, batch_size=100, learning_rate=0.1, numerical=False, seed=None, **where):
    (x_train, t_train), (x_test, t_test) = load_mnist(
        normalize=True, flatten=True, one_hot_label=True, **where
    )
    network = TwoLayerNet(input_size=784, hidden_size=100, output_size=10, seed=seed, **where)
    rng = np.random.default_rng(seed)
    train_size = x_train.shape[0]
    train_loss_list = []

    start = time.perf_counter()
    for i in range(iters_num):
        batch_mask = rng.choice(train_size, batch_size)
        x_batch = x_train[batch_mask]
        t_batch = t_train[batch_mask]

        # One word switches from backpropagation to numerical gradients.
        if numerical:
            grad = network.numerical_gradient(x_batch, t_batch)
        else:
            grad = network.gradient(x_batch, t_batch)

        for key in ("W1", "b1", "W2", "b2"):
            network.params[key] -= learning_rate * grad[key]

        loss = network.loss(x_batch, t_batch)
        train_loss_list.append(loss)
        if i % 1000 == 0:
            print(f"step {i}: loss {float(loss):.4f}")
    losses = [float(loss) for loss in train_loss_list]
    elapsed = time.perf_counter() - start

    accuracy = float(network.accuracy(x_test, t_test))
    print(f"iterations      {iters_num}")
    print(f"first loss      {losses[0]:.4f}")
    print(f"last loss       {losses[-1]:.4f}")
    print(f"drop            {losses[0] - losses[-1]:.4f}")
    print(f"elapsed         {elapsed:.2f} s, {1e3 * elapsed / iters_num:.3f} ms a step")
    print(f"test accuracy   {100 * accuracy:.2f} %")
    print(f"device          {network.placement.describe()}")
    return losses, accuracy


if __name__ == "__main__":
    names = dict(zip(("xp", "device"), sys.argv[1:], strict=False))
    main(**names)
